"""From a network's steps to sentences: greedy, beam search and sampling, over any step function.

A step takes the last word of each of N sentences and a state (named tensors whose first dimension is N), and gives
scores of the next word (N, V), logits or log-probabilities, and the next state. Many items go through at once; what is
finished takes no further part, and what is equal is run once.

Beam and sampling are those of Donahue et al. 2015 (the released captioner.py): no length normalisation, at most 50
words, and a temperature that multiplies the scores.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lrcn.data.tokenizer import EOS
from lrcn.errors import LrcnError
from lrcn.models.recurrent import State

Step = Callable[[Tensor, State], tuple[Tensor, State]]


@dataclass(frozen=True)
class Decoding:
    """How sentences are chosen.

    Attributes:
        beam: sentences kept at a time; 1 is greedy.
        samples: sentences drawn at random in place of a beam, of which the most probable are taken; 0 draws none (the
            paper's best captions: 100).
        temperature: multiplies the scores before a word is drawn: 1 draws as the network says, more draws what is
            probable yet more often, infinity is greedy (the paper: 1.5).
        max_length: the most words of a sentence, its end included.
        length_penalty: beams are ranked by log-probability / length ** this; 0 is none.
    """

    beam: int = 1
    samples: int = 0
    temperature: float = 1.5
    max_length: int = 50
    length_penalty: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("beam", 1), ("samples", 0), ("max_length", 1), ("length_penalty", 0)):
            if getattr(self, name) < least:
                raise LrcnError(f"{name} is {getattr(self, name)}: give {least} or more.")
        if not self.temperature > 0:
            raise LrcnError(f"temperature is {self.temperature}: give a number above 0, or infinity.")


@dataclass(frozen=True)
class Sentence:
    """What was written.

    Attributes:
        words: ids, without the end.
        log_prob: natural logarithm of its probability, the end included where it came to one.
        finished: whether it came to its end within the most words allowed.
    """

    words: tuple[int, ...]
    log_prob: float
    finished: bool


def generate(
    step: Step, state: State, decoding: Decoding, *, best: int = 1, seeds: Sequence[int] | None = None
) -> list[list[Sentence]]:
    """The `best` sentences about each item, the best first; `seeds` as in `sample`."""
    if not decoding.samples:
        return beam(
            step,
            state,
            decoding.beam,
            best=best,
            max_length=decoding.max_length,
            length_penalty=decoding.length_penalty,
        )
    drawn = sample(
        step,
        state,
        decoding.samples,
        temperature=decoding.temperature,
        seeds=seeds,
        max_length=decoding.max_length,
    )
    return [list(dict.fromkeys(sentences))[:best] for sentences in drawn]


def greedy(step: Step, state: State, *, max_length: int = 50) -> list[Sentence]:
    """The most probable word, again and again: one sentence about each item."""
    return [sentences[0] for sentences in beam(step, state, 1, max_length=max_length)]


# ---- beam ----


@torch.no_grad()
def beam(
    step: Step,
    state: State,
    size: int,
    *,
    best: int = 1,
    max_length: int = 50,
    length_penalty: float = 0.0,
) -> list[list[Sentence]]:
    """Beam search over N items at once.

    The `size` best sentences of each item are kept; each that is not finished is continued by its `size` best words,
    and of all of them, the finished ones included, the `size` best are kept again. An item is done when its `best`
    ones are finished and no other can overtake them: a log-probability only falls, and no sentence grows beyond
    `max_length`.

    Args:
        step: the network.
        state: before the first word, N rows.
        size: sentences kept.
        best: how many are returned of each item, at most `size`.
        max_length: the most words, the end included.
        length_penalty: the rank of a sentence is its log-probability / length ** this.

    Returns:
        The best sentences about each item, the best first; fewer where there are not as many.
    """
    items, device = _rows(state), _device(state)
    kept = _Beams(
        words=torch.zeros(items, 1, 0, dtype=torch.int64, device=device),
        log_probs=torch.zeros(items, 1, device=device),
        finished=torch.zeros(items, 1, dtype=torch.bool, device=device),
    )
    # The places in `kept`, counted through all items, whose sentences go on; each has a row in the state.
    live = torch.arange(items, device=device)
    words = torch.full_like(live, EOS)
    # What no step has changed is the same for all sentences about an item; it is most of the state.
    same = set(state)
    for _ in range(max_length):
        before, item_of = state, live // kept.log_probs.shape[1]
        scores, state = step(words, before)
        same = {name for name in same if state.get(name) is before[name]}
        row_of = torch.zeros(kept.log_probs.numel(), dtype=torch.int64, device=device)
        row_of[live] = torch.arange(len(live), device=device)
        kept, parents = _continued(kept, live, log_probabilities(scores), size, length_penalty)
        going = ~kept.finished & ~kept.log_probs.isneginf()
        going &= ~_settled(kept, going, best, max_length, length_penalty)[:, None]
        live = going.flatten().nonzero().squeeze(1)
        if not len(live):
            break
        stay = torch.equal(item_of, live // kept.log_probs.shape[1])
        state = _taken(state, row_of[parents.flatten()[live]], same if stay else ())
        words = kept.words[..., -1].flatten()[live]
    return _sentences(kept.words[:, :best], kept.log_probs[:, :best], kept.finished[:, :best])


@dataclass(frozen=True)
class _Beams:
    """The sentences kept of each of N items, the best first; one of log-probability -inf is no sentence.

    Attributes:
        words: (N, beams, length so far), EOS past the end.
        log_probs: (N, beams).
        finished: (N, beams).
    """

    words: Tensor
    log_probs: Tensor
    finished: Tensor


def _settled(kept: _Beams, going: Tensor, best: int, max_length: int, length_penalty: float) -> Tensor:
    """Whether the `best` sentences of each item (N,) are finished, and none that goes on can come before them."""
    length = (kept.words != EOS).sum(2) + 1
    ranks = (kept.log_probs / length**length_penalty)[:, :best]
    bound = (kept.log_probs / max_length**length_penalty).masked_fill(~going, -math.inf)
    settled: Tensor = kept.finished[:, :best].all(1) & (ranks.amin(1) >= bound.amax(1))
    return settled


def _continued(
    kept: _Beams, live: Tensor, log_probs: Tensor, size: int, length_penalty: float
) -> tuple[_Beams, Tensor]:
    """The best among the finished sentences and the continuations of the live ones, and the place each came from."""
    items, beams = kept.log_probs.shape
    more, chosen = log_probs.topk(min(size, log_probs.shape[1]), dim=1)
    # A row a sentence: itself, if it is finished, and its continuations, if it is live.
    candidates = log_probs.new_full((items * beams, 1 + more.shape[1]), -math.inf)
    candidates[:, 0] = kept.log_probs.masked_fill(~kept.finished, -math.inf).flatten()
    candidates[live, 1:] = kept.log_probs.flatten()[live, None] + more
    words = torch.full_like(candidates, EOS, dtype=torch.int64)
    words[live, 1:] = chosen
    # With one more: the end of a finished one, or the new word.
    length = (kept.words != EOS).sum(2).view(-1, 1) + 1
    rank = (candidates / length**length_penalty).view(items, -1)
    places = rank.topk(min(size, rank.shape[1]), dim=1).indices
    places = places + rank.shape[1] * torch.arange(items, device=places.device)[:, None]
    parents = places // candidates.shape[1]
    words = words.flatten()[places]
    best = candidates.flatten()[places]
    before = kept.words.flatten(0, 1)[parents]
    return _Beams(torch.cat([before, words[..., None]], 2), best, (words == EOS) & ~best.isneginf()), parents


# ---- sampling ----


@torch.no_grad()
def sample(
    step: Step,
    state: State,
    count: int,
    *,
    temperature: float = 1.0,
    seeds: Sequence[int] | None = None,
    max_length: int = 50,
) -> list[list[Sentence]]:
    """Sentences drawn word by word from softmax(temperature * scores).

    Sentences about an item that began alike are run as one for as long as they are. What is drawn for an item follows
    from its seed alone, whatever else is in the batch.

    Args:
        step: the network.
        state: before the first word, N rows.
        count: sentences drawn for each item.
        temperature: above 0; infinity takes the most probable word.
        seeds: one for each item, 0 or more; None is 0, 1, 2, ...
        max_length: the most words, the end included.

    Returns:
        All sentences drawn about each item, the most probable first, as the network itself (at temperature 1) says.
    """
    items, device = _rows(state), _device(state)
    seeds = range(items) if seeds is None else seeds
    draws = np.stack([np.random.default_rng(seed).random((count, max_length)) for seed in seeds])
    uniform = torch.from_numpy(draws).to(device).flatten(0, 1)
    said = torch.full((items * count, max_length), EOS, device=device)
    log_probs = torch.zeros(items * count, dtype=torch.float64, device=device)
    live = torch.arange(items * count, device=device)
    row = live // count
    words = torch.full((items,), EOS, device=device)
    for t in range(max_length):
        scores, state = step(words, state)
        after = log_probabilities(scores)
        word = _drawn(after, temperature, row, uniform[live, t])
        said[live, t] = word
        log_probs[live] += after[row, word]
        goes_on = word != EOS
        live = live[goes_on]
        if not len(live):
            break
        # Sentences that are still alike share a row.
        alike, row = torch.unique((row * after.shape[1] + word)[goes_on], return_inverse=True)
        state, words = _taken(state, alike // after.shape[1]), alike % after.shape[1]
    finished = torch.ones_like(log_probs, dtype=torch.bool)
    finished[live] = False
    order = log_probs.view(items, count).sort(dim=1, descending=True, stable=True).indices
    order = order + count * torch.arange(items, device=device)[:, None]
    return _sentences(said[order], log_probs[order], finished[order])


def _drawn(log_probs: Tensor, temperature: float, row: Tensor, uniform: Tensor) -> Tensor:
    """Words drawn from rows of (R, V) by numbers in [0, 1): where each falls among the sums of probabilities."""
    if math.isinf(temperature):
        return log_probs.argmax(1)[row]
    sums = (log_probs.double() * temperature).softmax(1).cumsum(1)
    # Row r's sums are moved to r..r+1, so that one search finds all.
    rows, choices = log_probs.shape
    ladder = sums / sums[:, -1:] + torch.arange(rows, device=row.device)[:, None]
    place = torch.searchsorted(ladder.flatten(), uniform + row, right=True) - row * choices
    return place.clamp(0, choices - 1)


# ---- other steps of networks ----


def without(step: Step, words: Sequence[int]) -> Step:
    """The same step, which never says these words: the others share their probability."""

    def other(last: Tensor, state: State) -> tuple[Tensor, State]:
        scores, state = step(last, state)
        return scores.index_fill(1, torch.tensor(words, device=scores.device), -math.inf), state

    return other


def ensemble(steps: Sequence[Step]) -> Step:
    """One step of several networks over one vocabulary: the mean of their probabilities, as log-probabilities.

    Its state is that of all of them, as `joined` makes it of theirs.
    """

    def step(words: Tensor, state: State) -> tuple[Tensor, State]:
        log_probs, after = [], []
        for number, one in enumerate(steps):
            own = {name[len(f"{number}:") :]: state[name] for name in state if name.startswith(f"{number}:")}
            scores, own = one(words, own)
            log_probs.append(log_probabilities(scores))
            after.append(own)
        return torch.stack(log_probs).logsumexp(0) - math.log(len(steps)), joined(after)

    return step


def joined(states: Sequence[State]) -> State:
    """The state of an `ensemble`, from those of its networks, in their order."""
    return {f"{number}:{name}": value for number, state in enumerate(states) for name, value in state.items()}


# ---- what all share ----


def log_probabilities(scores: Tensor) -> Tensor:
    """Scores (..., V) -> log-probabilities, in single precision or better; of log-probabilities the identity."""
    return scores.log_softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))


def _rows(state: State) -> int:
    return len(next(iter(state.values())))


def _device(state: State) -> torch.device:
    return next(iter(state.values())).device


def _taken(state: State, rows: Tensor, same: Collection[str] = ()) -> State:
    """The rows of a state; what is named in `same` has them already."""
    return {name: value if name in same else value[rows] for name, value in state.items()}


def _sentences(words: Tensor, log_probs: Tensor, finished: Tensor) -> list[list[Sentence]]:
    """Tensors (N, n, L), (N, n), (N, n) -> n sentences or fewer of each item."""
    return [
        [
            Sentence(tuple(ids[: ids.index(EOS)] if EOS in ids else ids), log_prob, ended)
            for ids, log_prob, ended in zip(*item, strict=True)
            if log_prob > -math.inf
        ]
        for item in zip(words.tolist(), log_probs.tolist(), finished.tolist(), strict=True)
    ]
