"""How well captions find their image, and images their captions: ranks, recall and median rank (the paper, 5.1).

A rank is 1 for the best. Whatever scores as high as the right answer is taken to stand before it, so that scores that
are all alike are no success.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrcn.errors import LrcnError

Scores = NDArray[np.floating[Any]]
Ranks = NDArray[np.int64]

_ROWS = 256


@dataclass(frozen=True)
class Recall:
    """How high the right answers stand, in one direction.

    Attributes:
        queries: how many were asked.
        candidates: among how many each looked.
        recall_at_1: share of queries whose right answer stands first; recall_at_5, recall_at_10: among as many.
        median_rank: 1 is the best.
        mean_rank: 1 is the best.
    """

    queries: int
    candidates: int
    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    median_rank: float
    mean_rank: float

    @classmethod
    def of(cls, ranks: Ranks, candidates: int) -> "Recall":
        """What the ranks of the right answers come to."""
        return cls(
            queries=len(ranks),
            candidates=candidates,
            recall_at_1=float((ranks <= 1).mean()),
            recall_at_5=float((ranks <= 5).mean()),
            recall_at_10=float((ranks <= 10).mean()),
            median_rank=float(np.median(ranks)),
            mean_rank=float(ranks.mean()),
        )

    def line(self, direction: str) -> str:
        """The main numbers, for a terminal."""
        return (
            f"{direction}: R@1 {self.recall_at_1:.1%}, R@5 {self.recall_at_5:.1%}, R@10 {self.recall_at_10:.1%}, "
            f"median rank {self.median_rank:g} of {self.candidates} ({self.queries} queries)"
        )


@dataclass(frozen=True)
class RetrievalMetrics:
    """Both directions.

    Attributes:
        caption_to_image: each caption looks for the one image it is about.
        image_to_caption: each image looks for any of its captions; the best-placed counts.
    """

    caption_to_image: Recall
    image_to_caption: Recall

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The main numbers, for a terminal."""
        return [
            self.caption_to_image.line("caption -> image"),
            self.image_to_caption.line("image -> caption"),
        ]


def measure_retrieval(
    scores: Scores, image_of: Sequence[int], *, captions_scores: Scores | None = None
) -> RetrievalMetrics:
    """Both directions from the scores of all pairs.

    Args:
        scores: (I, C), higher is a better match.
        image_of: (C,) the image each caption is about.
        captions_scores: (I, C) by which captions are ranked for an image, where it is by others than images for a
            caption: the normalised likelihoods (`lrcn.likelihood.normalised`). None is `scores`.

    Raises:
        LrcnError: the sizes do not fit, or a score is no number.
    """
    by_image = scores if captions_scores is None else captions_scores
    return RetrievalMetrics(
        Recall.of(ranks_of_images(scores, image_of), scores.shape[0]),
        Recall.of(ranks_of_captions(by_image, image_of), scores.shape[1]),
    )


def ranks_of_images(scores: Scores, image_of: Sequence[int]) -> Ranks:
    """For each caption the rank of its image among all: scores (I, C) -> (C,).

    Raises:
        LrcnError: the sizes do not fit, or a score is no number.
    """
    owners = _checked(scores, image_of)
    right = scores[owners, np.arange(len(owners))]
    # A few rows at a time: what compares all pairs at once is as large as all scores.
    ranks = np.zeros(len(owners), dtype=np.int64)
    for first in range(0, len(scores), _ROWS):
        ranks += (scores[first : first + _ROWS] >= right).sum(axis=0)
    return ranks


def ranks_of_captions(scores: Scores, image_of: Sequence[int]) -> Ranks:
    """For each image that has captions the rank of its best-placed one among all: scores (I, C) -> (images,).

    Raises:
        LrcnError: the sizes do not fit, or a score is no number.
    """
    owners = _checked(scores, image_of)
    ranks = []
    for image in np.unique(owners):
        own = scores[image, owners == image]
        ranks.append(1 + int((scores[image, owners != image] >= own.max()).sum()))
    return np.array(ranks, dtype=np.int64)


def _checked(scores: Scores, image_of: Sequence[int]) -> NDArray[np.int64]:
    owners = np.asarray(image_of, dtype=np.int64)
    if scores.ndim != 2 or owners.shape != (scores.shape[1],) or not owners.size:
        raise LrcnError(
            f"Scores of {scores.shape} pairs and the images of {owners.size} captions do not fit: give (images, "
            "captions) and an image for each caption."
        )
    strange = owners[(owners < 0) | (owners >= len(scores))]
    if strange.size:
        raise LrcnError(f"A caption is about image {strange[0]} of {len(scores)}: count images from 0.")
    if np.isnan(scores).any():
        raise LrcnError("Some scores are no numbers: the network's training diverged; train again.")
    return owners
