"""N-grams of many captions as sorted integers, and the scores that count them: BLEU, CIDEr and CIDEr-D.

No step loops over captions: a word is a number, an n-gram the number of its first n-1 words beside that of its last,
and sorting brings equal ones together. The scores are those of the official code: Bleu and Cider of pycocoevalcap 1.2
(its Cider is CIDEr-D) and the CIDEr of github.com/vrama91/cider, `pyciderevalcap/cider`.

Letters: P predictions, R reference captions, I images, Q pairs of a prediction and a reference of its image, N = 4.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

ORDERS = 4
_SIGMA = 6.0  # words; how slowly CIDEr-D falls with the difference in length

# The official BLEU's guards against division by zero; they show in its last digits.
_SMALL, _TINY = 1e-9, 1e-15


# ---- the scores ----


@dataclass(frozen=True)
class Matches:
    """What predictions share with the references of their images; the last axis is the order of the n-grams.

    Attributes:
        lengths: (P,) words of each prediction.
        closest: (P,) words of the reference nearest in length; of two as near, the shorter.
        correct: (P, N) n-grams that a reference holds too, each as often as it stands in that which has most.
        prediction: (Q,) of each pair, its prediction.
        surplus: (Q,) by how many 2-grams the prediction is longer than the reference.
        cosines: (Q, N) of the two vectors of counts times idf.
        clipped: (Q, N) the same, no n-gram counted more often than it stands in the reference.
    """

    lengths: Integers
    closest: Integers
    correct: Integers
    prediction: Integers
    surplus: Integers
    cosines: Floats
    clipped: Floats


def bleu(matches: Matches) -> tuple[Floats, Floats]:
    """BLEU-1 to 4 of the corpus (N,), from the sums of all counts, and of each prediction (P, N)."""
    guesses = np.maximum(matches.lengths[:, None] - np.arange(ORDERS), 0)
    counts = (matches.correct, guesses, matches.lengths, matches.closest)
    return _bleu(*(values.sum(axis=0, keepdims=True) for values in counts))[0], _bleu(*counts)


def _bleu(correct: Integers, guesses: Integers, lengths: Integers, closest: Integers) -> Floats:
    precisions = np.cumprod((correct + _TINY) / (guesses + _SMALL), axis=1)
    ratio = (lengths + _TINY) / (closest + _SMALL)
    brevity = np.exp(np.minimum(1 - 1 / ratio, 0.0))
    return np.asarray(precisions ** (1 / np.arange(1, ORDERS + 1)) * brevity[:, None])


def cider(matches: Matches) -> Floats:
    """(P,) CIDEr: ten times the cosine, mean over orders and references."""
    return _mean_over_references(matches, matches.cosines)


def cider_d(matches: Matches) -> Floats:
    """(P,) CIDEr-D: as CIDEr, but clipped, and damped by a Gaussian of the difference in length."""
    damping = np.exp(-(matches.surplus**2) / (2 * _SIGMA**2))
    return _mean_over_references(matches, matches.clipped * damping[:, None])


def _mean_over_references(matches: Matches, similarities: Floats) -> Floats:
    sums = np.bincount(matches.prediction, similarities.mean(axis=1), minlength=len(matches.lengths))
    return np.asarray(10 * sums / np.bincount(matches.prediction, minlength=len(matches.lengths)))


# ---- the words ----


@dataclass(frozen=True)
class Row:
    """Captions one after the other.

    Attributes:
        words: the numbers of their words.
        captions: of each word, its caption.
        room: of each word, how many words its caption holds from there on.
        lengths: of each caption, how many words it holds.
    """

    words: Integers
    captions: Integers
    room: Integers
    lengths: Integers


class Vocabulary:
    """Numbers for the words of some captions.

    Args:
        captions: their texts.
        blank: what stands between words; None for any number of blanks of any kind.

    Attributes:
        row: those captions.
    """

    def __init__(self, captions: Sequence[str], blank: str | None = None) -> None:
        numbers: defaultdict[str, int] = defaultdict(count().__next__)
        self._blank = blank
        self.row = _row(captions, numbers.__getitem__, blank)
        self._numbers = dict(numbers)

    def numbered(self, captions: Sequence[str]) -> Row:
        """Other captions; words that are new have higher numbers, which hold for this row alone."""
        known = self._numbers
        new: defaultdict[str, int] = defaultdict(count(len(known)).__next__)
        return _row(captions, lambda word: known[word] if word in known else new[word], self._blank)


# A word that stands between captions: split as one text, they need no list each.
_MARK = "\0"


def _row(captions: Sequence[str], number: Callable[[str], int], blank: str | None) -> Row:
    text = f" {_MARK} ".join(captions)
    if text.count(_MARK) > max(len(captions) - 1, 0):
        text = f" {_MARK} ".join(caption.replace(_MARK, "\ufffd") for caption in captions)
    parted = text.split(blank)
    mark = number(_MARK)
    numbers = np.fromiter(map(number, parted), np.int64, len(parted))
    ends = np.append(np.flatnonzero(numbers == mark), len(parted))[: len(captions)]
    lengths = np.diff(ends, prepend=-1) - 1
    words = numbers[numbers != mark]
    room = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(words))
    return Row(words, np.repeat(np.arange(len(lengths)), lengths), room, lengths)


# ---- the counts ----


class References:
    """The reference captions of many images, counted once for any number of predictions.

    Args:
        row: the captions, those of one image after those of the other.
        sizes: (I,) how many each image has, at least one.
    """

    def __init__(self, row: Row, sizes: Integers) -> None:
        self._lengths = row.lengths
        self._sizes = sizes
        self._first = np.cumsum(sizes) - sizes
        self._vocabulary = _vocabulary(row)
        image_of = np.repeat(np.arange(len(sizes)), sizes)
        self._orders = [_order(runs, image_of, len(sizes)) for _, _, runs in _ngrams(row, self._vocabulary)]

    def matched(self, row: Row, images: Integers) -> Matches:
        """Compares predictions with the references of their images.

        Args:
            row: the predictions, their words numbered as the references' are; new words have higher numbers.
            images: (P,) the number of each one's image; an image may have several predictions, or none.
        """
        known = self._vocabulary
        pairs = _pairs(self._first[images], self._sizes[images])
        orders = []
        found = np.zeros(1, dtype=np.int64)
        ngrams = _ngrams(row, max(known, _vocabulary(row)))
        for order, (prefix, last, runs) in zip(self._orders, ngrams, strict=True):
            held = (found[prefix] >= 0) & (last < known)
            codes = np.where(held, found[prefix] * known + last, -1)
            found = np.empty(len(runs.codes), dtype=np.int64)
            found[runs.gram_of] = places(order.codes, codes)
            orders.append(_compared(order, runs, found[runs.grams], images, len(self._sizes), pairs))
        correct, cosines, clipped = (np.stack(values, axis=1) for values in zip(*orders, strict=True))
        theirs, ours = self._lengths[pairs.reference], row.lengths[pairs.prediction]
        return Matches(
            lengths=row.lengths,
            closest=_closest(ours, theirs, pairs.starts),
            correct=correct,
            prediction=pairs.prediction,
            surplus=np.maximum(ours - 1, 0) - np.maximum(theirs - 1, 0),
            cosines=cosines,
            clipped=clipped,
        )


def _vocabulary(row: Row) -> int:
    return int(row.words.max(initial=-1)) + 1


@dataclass(frozen=True)
class _Runs:
    """The n-grams of one order, equal ones brought together.

    Attributes:
        codes: the distinct ones, ascending; a code's place here is its gram.
        gram_of: gram at each place of the row.
        grams: gram of each (gram, caption) that occurs; both ascending.
        captions: caption of each of these.
        counts: how often the gram stands in it.
    """

    codes: Integers
    gram_of: Integers
    grams: Integers
    captions: Integers
    counts: Integers


def _ngrams(row: Row, vocabulary: int) -> Iterator[tuple[Integers, Integers, _Runs]]:
    """For each order: of every n-gram in the row the gram of its first n-1 words and its last word, and the runs."""
    starts = np.arange(len(row.words))
    prefix = np.zeros(len(starts), dtype=np.int64)
    for n in range(1, ORDERS + 1):
        last = row.words[starts + n - 1]
        runs = _runs(prefix * vocabulary + last, row.captions[starts])
        yield prefix, last, runs
        longer = row.room[starts] > n
        starts, prefix = starts[longer], runs.gram_of[longer]


def _runs(codes: Integers, captions: Integers) -> _Runs:
    order = _stable_order(codes)
    codes, captions = codes[order], captions[order]
    new_code = changes(codes)
    ranks = np.cumsum(new_code) - 1
    gram_of = np.empty_like(ranks)
    gram_of[order] = ranks
    starts = np.flatnonzero(new_code | changes(captions))
    return _Runs(
        codes[new_code], gram_of, ranks[starts], captions[starts], np.diff(starts, append=len(codes))
    )


def _stable_order(codes: Integers) -> Integers:
    """The order that sorts codes from 0 up; equal ones keep theirs."""
    shift = len(codes).bit_length()
    if int(codes.max(initial=0)).bit_length() + shift > 62:
        return np.argsort(codes, kind="stable")
    # Code and place in one number: what numpy sorts with vector instructions, five times as fast.
    return np.sort(codes << shift | np.arange(len(codes))) & (1 << shift) - 1


def changes(values: Integers) -> NDArray[np.bool_]:
    """Whether each value differs from the one before; the first one does."""
    changes = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return changes


@dataclass(frozen=True)
class _Order:
    """What the references hold of one order of n-grams.

    Attributes:
        codes: the distinct ones, ascending; a code's place here is its gram.
        idf: of each, log(I / number of images in whose references it stands).
        groups: gram * I + image for all that occur, ascending.
        most: of each group, how often the gram stands in the reference that has most.
        starts: of each group, where its references begin in the next two; at the end, how many these are.
        references: the references, group after group.
        counts: how often the gram stands in each.
        norms: (R,) length of each reference's vector of counts times idf.
    """

    codes: Integers
    idf: Floats
    groups: Integers
    most: Integers
    starts: Integers
    references: Integers
    counts: Integers
    norms: Floats


def _order(runs: _Runs, image_of: Integers, images: int) -> _Order:
    groups = runs.grams * images + image_of[runs.captions]
    starts = np.flatnonzero(changes(groups))
    groups = groups[starts]
    idf = np.log(images) - np.log(np.bincount(groups // images, minlength=len(runs.codes)))
    return _Order(
        codes=runs.codes,
        idf=idf,
        groups=groups,
        most=np.maximum.reduceat(runs.counts, starts) if len(starts) else starts,
        starts=np.append(starts, len(runs.counts)),
        references=runs.captions,
        counts=runs.counts,
        norms=_norms(runs.captions, runs.counts * idf[runs.grams], len(image_of)),
    )


def _norms(captions: Integers, weights: Floats, total: int) -> Floats:
    return np.sqrt(np.bincount(captions, weights**2, minlength=total))


@dataclass(frozen=True)
class _Pairs:
    """All pairs of a prediction and a reference of its image, prediction after prediction.

    Attributes:
        starts: (P,) where each prediction's pairs begin.
        first: (P,) the reference of that first pair.
        prediction: (Q,) of each pair, its prediction.
        reference: (Q,) and its reference.
    """

    starts: Integers
    first: Integers
    prediction: Integers
    reference: Integers


def _pairs(first: Integers, sizes: Integers) -> _Pairs:
    starts = np.cumsum(sizes) - sizes
    prediction = np.repeat(np.arange(len(sizes)), sizes)
    return _Pairs(starts, first, prediction, np.arange(len(prediction)) + (first - starts)[prediction])


def _compared(
    order: _Order, runs: _Runs, grams: Integers, images: Integers, total: int, pairs: _Pairs
) -> tuple[Integers, Floats, Floats]:
    """One order of `Matches`: correct (P,), cosines (Q,) and clipped (Q,).

    Args:
        order: of the references.
        runs: of the predictions.
        grams: of each run, its gram among the references; -1 where they do not have it.
        images: (P,) of each prediction, its image.
        total: how many images there are.
        pairs: of predictions and references.
    """
    known = grams >= 0
    idf = np.full(len(grams), np.log(total))
    idf[known] = order.idf[grams[known]]
    norms = _norms(runs.captions, runs.counts * idf, len(images))

    groups = places(order.groups, np.where(known, grams * total + images[runs.captions], -1))
    shared = groups >= 0
    groups, idf, counts, by = groups[shared], idf[shared], runs.counts[shared], runs.captions[shared]
    correct = np.bincount(by, np.minimum(counts, order.most[groups]), minlength=len(images))

    # From here on an entry for every reference that has the n-gram.
    starts, sizes = order.starts[groups], order.starts[groups + 1] - order.starts[groups]
    entry = np.arange(sizes.sum()) + np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
    theirs, ours = order.counts[entry], np.repeat(counts, sizes)
    pair = np.repeat((pairs.starts - pairs.first)[by], sizes) + order.references[entry]
    weight = theirs * np.repeat(idf, sizes) ** 2
    scale = norms[pairs.prediction] * order.norms[pairs.reference]
    scale[scale == 0] = 1
    cosines = np.bincount(pair, ours * weight, minlength=len(scale)) / scale
    clipped = np.bincount(pair, np.minimum(ours, theirs) * weight, minlength=len(scale)) / scale
    return correct.astype(np.int64), cosines, clipped


def _closest(ours: Integers, theirs: Integers, starts: Integers) -> Integers:
    """Of each prediction's pairs, the reference's length that is nearest to the prediction's."""
    if not len(starts):
        return starts
    base = theirs.max() + 1
    return np.asarray(np.minimum.reduceat(np.abs(ours - theirs) * base + theirs, starts) % base)


def places(table: Integers, values: Integers) -> Integers:
    """Where each value stands in an ascending table; -1 where it does not."""
    if not len(table):
        return np.full(len(values), -1)
    places = np.minimum(np.searchsorted(table, values), len(table) - 1)
    return np.where(table[places] == values, places, -1)
