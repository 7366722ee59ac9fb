"""How probable each caption is of each image: what retrieval with a captioner ranks by (the paper, section 5.1).

Every image meets every caption, which is the cost, so each thing is computed as few times as it can be:

- sentences that begin alike are one path in a tree until they part (a third of the words of 5,000 Flickr8k captions);
- layers below the first that sees the image are run once per caption;
- what an image, or each of its cells, adds to the gates is computed once for many captions;
- pairs go through in pieces of bounded memory, of whose scores over the vocabulary only the words that follow are kept.

What remains is large matrix products. For half precision call these functions under `torch.autocast`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lrcn.data.tokenizer import EOS
from lrcn.errors import LrcnError
from lrcn.generate import log_probabilities
from lrcn.models.decoder import Decoder
from lrcn.models.recurrent import Memory, State

FLOOR = 1e-12
"""The least probability a word counts with (the released retrieval_experiment.py)."""

MEMORY = 128 * 2**20
"""Bytes that the largest tensors of one piece of work may take."""


def log_likelihoods(
    decoder: Decoder,
    images: Tensor,
    captions: Sequence[Sequence[int]],
    *,
    memory: int = MEMORY,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The log-likelihood of every caption of every image, float32 (I, C) on the CPU.

    The arguments are those of `blocks`; `progress` is called with (captions done, captions in all).
    """
    table = torch.empty(len(images), len(captions))
    done = 0
    for numbers, scores in blocks(decoder, images, captions, memory=memory):
        table[:, numbers] = scores.float().cpu()
        done += len(numbers)
        if progress is not None:
            progress(done, len(captions))
    return table


def normalised(scores: Tensor) -> Tensor:
    """Log-likelihoods (I, C) less the logarithm of each caption's mean likelihood over all images.

    Captions that are probable of anything then do not come first; the ranks of images for one caption stay.
    """
    return scores - (scores.logsumexp(0) - math.log(len(scores)))


def best_captions(
    decoder: Decoder, images: Tensor, captions: Sequence[Sequence[int]], k: int, *, memory: int = MEMORY
) -> tuple[Tensor, Tensor]:
    """Of each image the k captions of the highest normalised likelihood: scores (I, k) and numbers (I, k), best first.

    Nothing as large as all pairs is held.
    """
    k = min(k, len(captions))
    best = torch.full((len(images), k), -math.inf)
    which = torch.zeros(len(images), k, dtype=torch.int64)
    for numbers, scores in blocks(decoder, images, captions, memory=memory):
        candidates = torch.cat([best, normalised(scores).float().cpu()], dim=1)
        names = torch.cat([which, numbers.expand(len(images), -1)], dim=1)
        best, places = candidates.topk(k, dim=1)
        which = names.gather(1, places)
    return best, which


def best_images(
    decoder: Decoder, images: Tensor, captions: Sequence[Sequence[int]], k: int, *, memory: int = MEMORY
) -> tuple[Tensor, Tensor]:
    """Of each caption the k images it is most probable of: log-likelihoods (C, k) and numbers (C, k), best first."""
    k = min(k, len(images))
    best = torch.empty(len(captions), k)
    which = torch.empty(len(captions), k, dtype=torch.int64)
    for numbers, scores in blocks(decoder, images, captions, memory=memory):
        top = scores.T.topk(k, dim=1)
        best[numbers], which[numbers] = top.values.float().cpu(), top.indices.cpu()
    return best, which


@torch.inference_mode()
def blocks(
    decoder: Decoder, images: Tensor, captions: Sequence[Sequence[int]], *, memory: int = MEMORY
) -> Iterator[tuple[Tensor, Tensor]]:
    """Log-likelihoods of the captions, a few at a time, of all images.

    The end of a sentence is not counted, and no word with less than `FLOOR`.

    Args:
        decoder: in evaluation mode.
        images: what it is shown of each image, (I, D) or cells (I, G, D) (`Captioner.look`).
        captions: ids of each (`Tokenizer.encode`); an end among them ends the caption.
        memory: bytes.

    Yields:
        Numbers of captions, int64 (n,), and their log-likelihoods (I, n) on the decoder's device.

    Raises:
        LrcnError: a caption holds no word.
    """
    sentences = [tuple(ids[: ids.index(EOS)] if EOS in ids else ids) for ids in map(list, captions)]
    if () in sentences:
        raise LrcnError(
            f"Caption {sentences.index(())} holds no word, so it fits all images alike: leave it out."
        )
    # The widest rows: the scores, or the gates and what they are added from.
    rows = max(1, memory // (4 * max(len(decoder.bias), 12 * decoder.config.size)))
    at_once = min(256, max(1, rows // 16))
    # Alphabetically, so that those which begin alike meet in one tree.
    order = sorted(range(len(sentences)), key=sentences.__getitem__)
    for begin in range(0, len(order), at_once):
        numbers = order[begin : begin + at_once]
        tree = _tree([sentences[number] for number in numbers], images.device)
        below = _below_images(decoder, tree)
        widths = [len(level.words) for level in tree]
        cells = images.shape[1] if images.ndim == 3 else 1
        at_gates = sum(widths) > cells
        size = max(1, rows // max(*widths, cells if at_gates else 1))
        parts = [
            # A decoder that sees no image gives one row for all.
            _tree_scores(decoder, tree, below, decoder.context(seen, at_gates=at_gates)).expand(len(seen), -1)
            for seen in torch.split(images, size)
        ]
        yield torch.tensor(numbers), torch.cat(parts)


@dataclass(frozen=True)
class _Level:
    """All different beginnings of one length in a set of sentences.

    Attributes:
        words: (P,) the last word of each.
        parents: (P,) the beginning on the level before that it goes on from.
        via: (P,) the link on the level before that led to it.
        linked: (E,) of each different next word the beginning it follows, and
        links: (E,) the word.
        ends: (n,) the links after which a sentence ends, and
        ended: (n,) which sentence.
    """

    words: Tensor
    parents: Tensor
    via: Tensor
    linked: Tensor
    links: Tensor
    ends: Tensor
    ended: Tensor


def _tree(sentences: Sequence[tuple[int, ...]], device: torch.device) -> list[_Level]:
    levels: list[_Level] = []
    # The beginning each sentence has come to; those that are through are left out.
    at = dict.fromkeys(range(len(sentences)), 0)
    words, parents, via = [EOS], [0], [0]
    while at:
        links: dict[tuple[int, int], int] = {}
        next_at: dict[int, int] = {}
        next_nodes: dict[int, int] = {}
        ends, ended = [], []
        for number, node in at.items():
            sentence = sentences[number]
            depth = len(levels)
            link = links.setdefault((node, sentence[depth]), len(links))
            if depth + 1 == len(sentence):
                ends.append(link)
                ended.append(number)
            else:
                next_at[number] = next_nodes.setdefault(link, len(next_nodes))
        pairs = list(links)
        values = (words, parents, via, [node for node, _ in pairs], [word for _, word in pairs], ends, ended)
        levels.append(_Level(*(torch.tensor(value, dtype=torch.int64, device=device) for value in values)))
        via = list(next_nodes)
        parents, words = [pairs[link][0] for link in via], [pairs[link][1] for link in via]
        at = next_at
    return levels


def _below_images(decoder: Decoder, tree: Sequence[_Level]) -> list[Tensor]:
    """What the lowest layer that sees the image reads at each level, (1, P, ...)."""
    memories = _blank(decoder, _first_that_sees(decoder))
    given = []
    for level in tree:
        words = decoder.embedding(level.words)[None]
        below, memories = decoder.advance(words, _branched(memories, level), {})
        given.append(below)
    return given


def _tree_scores(decoder: Decoder, tree: Sequence[_Level], below: Sequence[Tensor], context: State) -> Tensor:
    """Log-likelihoods (N, n) of the tree's n sentences about N images."""
    first = _first_that_sees(decoder)
    memories = _blank(decoder, decoder.config.layers - first)
    scores: list[Tensor] = []
    ended: list[Tensor] = []
    path: Tensor | None = None
    for level, given in zip(tree, below, strict=True):
        hidden, memories = decoder.advance(given, _branched(memories, level), context, first=first)
        log_probs = log_probabilities(decoder.scores(hidden))[:, level.linked, level.links]
        log_probs = log_probs.clamp(min=math.log(FLOOR))
        path = log_probs if path is None else path[:, level.via][:, level.linked] + log_probs
        scores.append(path[:, level.ends])
        ended.append(level.ended)
    return torch.cat(scores, 1)[:, torch.cat(ended).argsort()]


def _first_that_sees(decoder: Decoder) -> int:
    return min(decoder.config.image_at, default=decoder.config.layers)


def _blank(decoder: Decoder, layers: int) -> list[Memory]:
    zero = decoder.bias.new_zeros(1, 1, decoder.config.size)
    return [tuple(zero for _ in decoder.names)] * layers


def _branched(memories: Sequence[Memory], level: _Level) -> list[Memory]:
    """The memory of each beginning's parent."""
    return [tuple(value[:, level.parents] for value in memory) for memory in memories]
