"""ROUGE-L of many captions at once: the numbers of pycocoevalcap's `rouge/rouge.py`.

The longest common subsequence is found with one bit for each word of the prediction, so that one addition goes a word
forward in all references at once (Hyyrö 2004, "Bit-parallel LCS-length computation revisited").

Letters: I images, R texts, each of which has a pattern.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrcn.evaluate.ngrams import Floats, Integers, Row, changes, places

_BETA = 1.2  # how much more recall counts than precision
_WIDTH = 64  # words of a pattern that one number has bits for


def rouge_l(references: Row, sizes: Integers, predictions: Row) -> Floats:
    """(I,) ROUGE-L of one prediction for each image.

    A caption without words counts as one empty word, as in the official code.

    Args:
        references: the captions of all images, those of one after those of the other.
        sizes: (I,) how many each image has, at least one.
        predictions: one for each image, their words numbered as the references' are.
    """
    prediction_of = np.repeat(np.arange(len(sizes)), sizes)
    common = lcs_lengths(references, predictions, prediction_of)
    common[(references.lengths == 0) & (predictions.lengths == 0)[prediction_of]] = 1
    starts = np.cumsum(sizes) - sizes
    precision = np.maximum.reduceat(common, starts) / np.maximum(predictions.lengths, 1)
    recall = np.maximum.reduceat(common / np.maximum(references.lengths, 1), starts)
    # Both are 0, or neither.
    divisor = np.where(recall > 0, recall + _BETA**2 * precision, 1)
    return np.asarray((1 + _BETA**2) * precision * recall / divisor)


def lcs_lengths(texts: Row, patterns: Row, pattern_of: Integers) -> Integers:
    """(R,) words in the longest common subsequence of each text and its pattern.

    Args:
        texts: R of them.
        patterns: their words numbered as those of the texts.
        pattern_of: (R,) of each text, the number of its pattern.
    """
    masks = _masks(texts, patterns, pattern_of)
    # The longest texts first, so that those which still go on are always the first ones.
    order = np.argsort(-texts.lengths, kind="stable")
    lengths = texts.lengths[order]
    starts = (np.cumsum(texts.lengths) - texts.lengths)[order]
    going = np.searchsorted(-lengths, -np.arange(lengths.max(initial=0)))
    zeros = np.full(len(lengths), np.iinfo(np.uint64).max)
    for place, number in enumerate(going):
        now = zeros[:number]
        mask = masks[starts[:number] + place]
        zeros[:number] = (now + (now & mask)) | (now & ~mask)
    common = np.empty(len(lengths), dtype=np.int64)
    common[order] = np.bitwise_count(~zeros)

    for text in np.flatnonzero(patterns.lengths[pattern_of] > _WIDTH).tolist():
        common[text] = _lcs_length(_words(texts, text), _words(patterns, pattern_of[text]))
    return common


def _masks(texts: Row, patterns: Row, pattern_of: Integers) -> NDArray[np.uint64]:
    """Of every word of the texts: a bit for each place, up to the 64th, where it stands in its text's pattern."""
    vocabulary = max(int(row.words.max(initial=0)) for row in (texts, patterns)) + 1
    place = patterns.lengths[patterns.captions] - patterns.room
    fits = place < _WIDTH
    keys = (patterns.captions * vocabulary + patterns.words)[fits]
    if not len(keys):
        return np.zeros(len(texts.words), dtype=np.uint64)
    order = np.argsort(keys)
    keys, bits = keys[order], np.uint64(1) << place[fits][order].astype(np.uint64)
    starts = np.flatnonzero(changes(keys))
    masks = np.bitwise_or.reduceat(bits, starts)
    found = places(keys[starts], pattern_of[texts.captions] * vocabulary + texts.words)
    return np.where(found >= 0, masks[found], np.uint64(0))


def _words(row: Row, caption: int) -> list[int]:
    start, end = np.searchsorted(row.captions, [caption, caption + 1])
    return [int(word) for word in row.words[start:end]]


def _lcs_length(text: Sequence[int], pattern: Sequence[int]) -> int:
    """The same steps for one pair of any length."""
    masks: dict[int, int] = {}
    for place, word in enumerate(pattern):
        masks[word] = masks.get(word, 0) | 1 << place
    full = (1 << len(pattern)) - 1
    zeros = full
    for word in text:
        mask = masks.get(word, 0)
        zeros = (zeros + (zeros & mask) | zeros & ~mask) & full
    return (full ^ zeros).bit_count()
