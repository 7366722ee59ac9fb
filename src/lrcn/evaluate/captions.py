"""How good captions are: BLEU-1 to 4, ROUGE-L, CIDEr and CIDEr-D without Java, METEOR and SPICE with it.

The numbers are those of the official code on the text that the official tokeniser gives; docs/metrics.md says what is
computed, how it was checked and what happens at the edges.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from lrcn.data.ptb import ptb_tokenize
from lrcn.errors import LrcnError
from lrcn.evaluate.ngrams import Floats, References, Vocabulary, bleu, cider, cider_d
from lrcn.evaluate.rouge import rouge_l

_NAMES = {
    "bleu_1": "BLEU-1",
    "bleu_2": "BLEU-2",
    "bleu_3": "BLEU-3",
    "bleu_4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
    "cider_d": "CIDEr-D",
    "meteor": "METEOR",
    "spice": "SPICE",
}


@dataclass(frozen=True)
class CaptionScores:
    """Scores of captions; CIDEr and CIDEr-D go from 0 to 10, the others from 0 to 1.

    Attributes:
        corpus: of all images together, by metric.
        per_image: by image, then by metric.
        references: how many reference captions they have.
        left_out: images that have only references or only a prediction.
    """

    corpus: dict[str, float]
    per_image: dict[str, dict[str, float]]
    references: int
    left_out: int = 0

    def to_json(self) -> dict[str, Any]:
        """`{"corpus": ..., "per_image": ...}` as plain values; a score that is no number is None."""
        return {
            "corpus": _plain(self.corpus),
            "per_image": {image: _plain(scores) for image, scores in self.per_image.items()},
        }

    def lines(self) -> list[str]:
        """The scores of the corpus, for a terminal."""
        images = len(self.per_image)
        head = f"{images} image{'' if images == 1 else 's'}, {self.references} references"
        if self.left_out:
            head += f"; left out, for want of references or a prediction: {self.left_out}"
        return [head, *(f"{_NAMES[metric]:<8} {score:.4f}" for metric, score in self.corpus.items())]


def _plain(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {metric: score if math.isfinite(score) else None for metric, score in scores.items()}


def score_captions(
    references: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    *,
    tokenized: bool = False,
    partial: bool = False,
    meteor: bool = False,
    spice: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> CaptionScores:
    """Scores one caption for each image against its references.

    Args:
        references: of each image its human captions.
        predictions: of each image the caption to score.
        tokenized: both are words with single blanks between them already; otherwise `ptb_tokenize` makes them so.
        partial: score the images that have both, as if there were no others; otherwise others are an error.
        meteor: also METEOR, which needs the extra `metrics`.
        spice: also SPICE, which needs the extra and Stanford's models.
        progress: called with (images done, images in all) while METEOR, which takes longest, runs.

    Raises:
        LrcnError: images do not match, an image has no reference, or what METEOR or SPICE need is missing.
    """
    images = _images(references, predictions, partial)
    groups = [list(references[image]) for image in images]
    captions = [predictions[image] for image in images]
    if not tokenized:
        groups, captions = [ptb_tokenize(texts) for texts in groups], ptb_tokenize(captions)
    corpus, columns = _without_java(groups, captions)
    if meteor:
        from lrcn.evaluate import java

        corpus["meteor"], columns["meteor"] = java.meteor(groups, captions, progress=progress)
    if spice:
        from lrcn.evaluate import java

        corpus["spice"], columns["spice"] = java.spice(groups, captions)
    rows = zip(*columns.values(), strict=True)
    per_image = {image: dict(zip(columns, row, strict=True)) for image, row in zip(images, rows, strict=True)}
    left_out = len(references.keys() ^ predictions.keys())
    return CaptionScores(corpus, per_image, sum(map(len, groups)), left_out)


def _without_java(
    groups: Sequence[Sequence[str]], captions: Sequence[str]
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """By metric: the score of the corpus, and of each image."""
    sizes = np.array([len(texts) for texts in groups])
    texts = list(chain.from_iterable(groups))
    vocabulary = Vocabulary(texts)
    row = vocabulary.numbered(captions)
    matches = References(vocabulary.row, sizes).matched(row, np.arange(len(captions)))
    if not _single_blanks([*texts, *captions]):
        # The official ROUGE-L alone parts words at single blanks, and nowhere else.
        vocabulary = Vocabulary(texts, blank=" ")
        row = vocabulary.numbered(captions)
    corpus_bleu, image_bleu = bleu(matches)
    columns = {f"bleu_{n}": scores.tolist() for n, scores in enumerate(image_bleu.T, 1)}
    columns |= {
        "rouge_l": rouge_l(vocabulary.row, sizes, row).tolist(),
        "cider": cider(matches).tolist(),
        "cider_d": cider_d(matches).tolist(),
    }
    corpus = {metric: float(np.mean(scores)) for metric, scores in columns.items()}
    return corpus | {f"bleu_{n}": score for n, score in enumerate(corpus_bleu.tolist(), 1)}, columns


_ODD_BLANKS = [
    character for character in map(chr, range(0x3001)) if character.isspace() and character not in " \n"
]


def _single_blanks(texts: Sequence[str]) -> bool:
    """Whether nothing but single blanks stands between words, as nearly always."""
    joined = "\n".join(["", *texts, ""])
    odd = any(blanks in joined for blanks in ("  ", " \n", "\n ", *_ODD_BLANKS))
    return joined.count("\n") == len(texts) + 1 and not odd


class CiderD:
    """CIDEr-D against references that are counted once: a reward for many sampled captions.

    The document frequencies are those of these references, whatever is scored later.

    Args:
        references: of each image its human captions, at least one.
        tokenized: they are words with single blanks between them already.

    Raises:
        LrcnError: there are no images, or one has no reference.
    """

    def __init__(self, references: Mapping[str, Sequence[str]], *, tokenized: bool = False) -> None:
        _check(references)
        self._number_of = {image: number for number, image in enumerate(references)}
        texts = list(chain.from_iterable(references.values()))
        self._vocabulary = Vocabulary(texts if tokenized else ptb_tokenize(texts))
        sizes = np.array([len(captions) for captions in references.values()])
        self._references = References(self._vocabulary.row, sizes)

    def scores(self, predictions: Iterable[tuple[str, str]], *, tokenized: bool = False) -> Floats:
        """(P,) CIDEr-D of captions, in their order.

        Args:
            predictions: (image, caption) of each; an image may come any number of times.
            tokenized: the captions are words with single blanks between them already.

        Raises:
            LrcnError: an image has no references.
        """
        pairs = list(predictions)
        try:
            images = np.fromiter((self._number_of[image] for image, _ in pairs), np.int64, len(pairs))
        except KeyError as error:
            raise LrcnError(f"The image {error.args[0]!r} has no references to score against.") from error
        captions = [caption for _, caption in pairs]
        row = self._vocabulary.numbered(captions if tokenized else ptb_tokenize(captions))
        return cider_d(self._references.matched(row, images))


def _images(
    references: Mapping[str, Sequence[str]], predictions: Mapping[str, str], partial: bool
) -> list[str]:
    """The images to score, in the order of the references."""
    _check(references)
    if not partial:
        for there, here, what in (
            (predictions, references, "a prediction but no references"),
            (references, predictions, "references but no prediction"),
        ):
            lonely = [image for image in there if image not in here]
            if lonely:
                raise LrcnError(
                    f"{_some(lonely)} {'has' if len(lonely) == 1 else 'have'} {what}; add what is missing, or score "
                    "only the images that have both (--partial)."
                )
    images = [image for image in references if image in predictions]
    if not images:
        raise LrcnError(
            "No image has both references and a prediction; check that both name the images alike."
        )
    return images


def _check(references: Mapping[str, Sequence[str]]) -> None:
    if not references:
        raise LrcnError("There are no references to score against.")
    empty = [image for image, captions in references.items() if not captions]
    if empty:
        raise LrcnError(f"{_some(empty)} came without a single reference caption; add one or leave it out.")


def _some(images: Sequence[str]) -> str:
    """Names images, the first three of them."""
    named = ", ".join(repr(image) for image in images[:3])
    if len(images) == 1:
        return f"The image {named}"
    return f"{len(images)} images ({named}{', ...' if len(images) > 3 else ''})"
