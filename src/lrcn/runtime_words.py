"""Beam search over a step function on numpy alone: the sentences of `lrcn.generate.beam`.

Nothing is shared with it but the rules, as that one runs on tensors of torch: the `size` best sentences are kept, ended
ones among them, each that goes on is continued by its `size` best words, and it is over when the `best` of those kept
have ended (with a length penalty: all), or at the most words allowed.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrcn.data.tokenizer import EOS
from lrcn.runtime_engine import Arrays

Step = Callable[[NDArray[np.int64], Arrays], tuple[NDArray[np.float32], Arrays]]
"""The last word of each of N sentences and their state (N rows) -> scores (N, V) and the next state."""


class Sentence(NamedTuple):
    """A sentence on its way; as `lrcn.generate.Sentence` when it is done.

    Attributes:
        words: ids, without the end.
        log_prob: natural logarithm of its probability so far.
        finished: whether it came to its end.
    """

    words: tuple[int, ...]
    log_prob: float
    finished: bool


def beam(
    step: Step, state: Arrays, size: int, *, best: int = 1, max_length: int = 50, length_penalty: float = 0.0
) -> list[Sentence]:
    """The `best` sentences about one item, the best first.

    Args:
        step: the network.
        state: before the first word, one row.
        size: sentences kept; 1 is greedy.
        best: how many are returned, at most `size`.
        max_length: the most words, the end included.
        length_penalty: the rank of a sentence is its log-probability / length ** this.
    """

    def rank(one: Sentence) -> float:
        # Ended ones count their end; those that go on were given a word just now.
        return one.log_prob / float((len(one.words) + one.finished) ** length_penalty)

    kept = [Sentence((), 0.0, False)]
    live, words = [0], np.full(1, EOS)
    for _ in range(max_length):
        scores, state = step(words, state)
        candidates = [(one, -1) for one in kept if one.finished]
        for row, place in enumerate(live):
            candidates += [(one, row) for one in _continued(kept[place], log_softmax(scores[row]), size)]
        chosen = sorted(candidates, key=lambda pair: rank(pair[0]), reverse=True)[:size]
        kept = [one for one, _ in chosen]
        enough = len(kept) if length_penalty else best
        live = [place for place, one in enumerate(kept) if not one.finished]
        if not live or all(one.finished for one in kept[:enough]):
            break
        rows = [chosen[place][1] for place in live]
        state = {name: value[rows] for name, value in state.items()}
        words = np.array([kept[place].words[-1] for place in live])
    return kept[:best]


def log_softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores (V,) -> log-probabilities."""
    shifted = scores - scores.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()), np.float32)


def _continued(one: Sentence, log_probs: NDArray[np.float32], size: int) -> list[Sentence]:
    """A sentence with each of its `size` best next words; the end finishes it."""
    found = []
    for word in np.argsort(-log_probs, kind="stable")[:size].tolist():
        if np.isneginf(log_probs[word]):
            break
        after = one.log_prob + float(log_probs[word])
        found.append(
            Sentence(one.words, after, True) if word == EOS else Sentence((*one.words, word), after, False)
        )
    return found
