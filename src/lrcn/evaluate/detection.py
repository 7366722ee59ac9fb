"""How well timed segments are found: frame by frame, segment by segment.

F1 at an overlap and the edit score are those of action segmentation (Lea et al. 2017, section 4, and its evaluation
code): runs of equal frame labels are segments, and one that is found counts when it overlaps a true one of its class,
not taken yet, by the threshold or more (intersection over union, in frames). Counts are summed over all videos, as
Farha and Gall 2019 do.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lrcn.data.datasets import IGNORED_LABEL, ClipSource, Item
from lrcn.data.manifest import Row
from lrcn.data.timed import TimedVideos, videos_of
from lrcn.data.video import VideoError
from lrcn.errors import LrcnError
from lrcn.models.folder import Loaded
from lrcn.models.recognizer import Recognizer
from lrcn.segments import segments

OVERLAPS = (0.1, 0.25, 0.5)
"""The thresholds of F1@{10,25,50}."""

PIECE = 256
"""Frames of a long video that are in memory at a time."""

_NOTHING = -1


class Said(NamedTuple):
    """What was said of one video.

    Attributes:
        probabilities: (T, K).
        truths: (T,) true class, `IGNORED_LABEL` where there is none: such frames are not judged.
        times: (T,) seconds.
    """

    probabilities: NDArray[np.float32]
    truths: NDArray[np.int64]
    times: NDArray[np.float64]


class Run(NamedTuple):
    """Frames from `first` to before `last` of class `k`."""

    first: int
    last: int
    k: int


@dataclass(frozen=True)
class DetectionMetrics:
    """What was measured on videos with timed segments; every rate is from 0 to 1.

    Attributes:
        labels: names of the K classes.
        videos: how many.
        frames: how many of their frames have a label.
        frame_accuracy: share of those frames whose most probable class is right.
        frame_map: mean over `average_precision`.
        average_precision: of each class that occurs, over all frames; the background has none.
        f1: overlap in percent -> F1 of runs of the most probable class.
        edit: 1 less the edit distance of the segments' order, as a share of the longer one; mean over videos.
        segment_f1: F1 at half overlap of the segments that `lrcn recognize` reports, smoothed and of some length.
        confusion: (K, K) counts of frames: true class by most probable class.
        left_out: how many more videos could not be read.
    """

    labels: list[str]
    videos: int
    frames: int
    frame_accuracy: float
    frame_map: float
    average_precision: dict[str, float]
    f1: dict[int, float]
    edit: float
    segment_f1: float
    confusion: NDArray[np.int64]
    left_out: int = 0

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "videos": self.videos,
            "left_out": self.left_out,
            "frames": self.frames,
            "frame_accuracy": self.frame_accuracy,
            "frame_map": self.frame_map,
            **{f"f1@{overlap}": value for overlap, value in self.f1.items()},
            "edit": self.edit,
            "segment_f1": self.segment_f1,
            "average_precision": self.average_precision,
            "labels": self.labels,
            "confusion": self.confusion.tolist(),
        }

    def lines(self) -> list[str]:
        """The main numbers, for a terminal."""
        worst = sorted(self.average_precision.items(), key=itemgetter(1))[:3]
        return [
            f"{self.videos} videos, {self.frames} labelled frames, {len(self.average_precision)} classes"
            + (f"; {self.left_out} more could not be read and are left out" if self.left_out else ""),
            f"frames right {self.frame_accuracy:.1%}, frame mAP {self.frame_map:.1%}",
            ", ".join(f"F1@{overlap} {value:.1%}" for overlap, value in self.f1.items())
            + f", edit {self.edit:.1%}; reported segments F1@50 {self.segment_f1:.1%}",
            "weakest: " + ", ".join(f"{label} {value:.0%}" for label, value in worst),
        ]


def evaluate(
    loaded: Loaded,
    rows: Sequence[Row],
    *,
    background: str = "",
    progress: Callable[[int, int], None] | None = None,
    report: Callable[[str], None] | None = None,
) -> DetectionMetrics:
    """Measures a model on videos whose rows are their timed segments, each video read from its beginning to its end.

    Videos that cannot be read are left out and counted; `report` is called with the reason of each.

    Args:
        loaded: the model.
        rows: the segments.
        background: the class of frames in no segment; empty: they are not judged.
        progress: called with (videos done, videos in all).
        report: as above.

    Raises:
        LrcnError: the model reads no frames at a rate, no videos, none that can be read, or a label that the model does
            not know.
    """
    if loaded.sampling.spread == "uniform":
        raise LrcnError(
            "This model reads a fixed number of frames spread over a clip, which says nothing of when: train one with "
            "sampling.spread window to find segments."
        )
    videos = videos_of([row for row in rows if row.label is not None])
    said: list[Said] = []
    reasons: list[str] = []
    piece = PIECE if loaded.model.causal else None
    loaded.model.eval()
    for done, video in enumerate(videos, start=1):
        try:
            parts = TimedVideos(
                video,
                loaded.labels,
                loaded.sampling,
                loaded.preprocess,
                train=False,
                piece=piece,
                background=background,
            )
            said.append(_said(loaded.model, (parts.item(index, 0) for index in range(len(parts)))))
        except VideoError as error:
            reasons.append(str(error))
            if report is not None:
                report(str(error))
        if progress is not None:
            progress(done, len(videos))
    if reasons and not said:
        raise LrcnError(f"None of the {len(videos)} videos can be read: {reasons[0]}")
    return metrics_of(loaded.labels, said, background=background, left_out=len(reasons))


def measure(model: Recognizer, clips: ClipSource, background: str = "") -> DetectionMetrics:
    """Measures a recogniser on `TimedVideos`, or on cached features of them, taken in pieces.

    Args:
        model: in any mode; it is put back in that mode.
        clips: items with a label at every frame; one whose "first" is above 0 goes on with the video before.
        background: the class that is nobody's aim.

    Raises:
        LrcnError: no frame has a label.
    """
    was_training = model.training
    model.eval()
    said = [
        _said(model, (item for _, item in video)) for _, video in groupby(_numbered(clips), key=itemgetter(0))
    ]
    model.train(was_training)
    return metrics_of(model.labels, said, background=background)


def metrics_of(
    labels: Sequence[str], said: Sequence[Said], *, background: str = "", left_out: int = 0
) -> DetectionMetrics:
    """All numbers of some videos.

    Raises:
        LrcnError: no frame of them has a label.
    """
    if not any((part.truths != IGNORED_LABEL).any() for part in said):
        raise LrcnError("No frame has a label to be judged by: check the segments and --split.")
    probabilities = np.concatenate([part.probabilities for part in said])
    truths = np.concatenate([part.truths for part in said])
    judged = truths != IGNORED_LABEL
    probabilities, truths = probabilities[judged], truths[judged]
    best = probabilities.argmax(1)
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, (truths, best), 1)
    precisions = {
        label: average_precision(probabilities[:, k], truths == k)
        for k, label in enumerate(labels)
        if label != background and (truths == k).any()
    }
    aimless = list(labels).index(background) if background in labels else _NOTHING
    found = [part.probabilities.argmax(1) for part in said]
    true = [part.truths for part in said]
    reported = [_reported(part, labels) for part in said]
    return DetectionMetrics(
        labels=list(labels),
        videos=len(said),
        frames=int(judged.sum()),
        frame_accuracy=float((best == truths).mean()),
        frame_map=float(np.mean(list(precisions.values()))) if precisions else 0.0,
        average_precision=precisions,
        f1={round(100 * overlap): f1(found, true, overlap, aimless) for overlap in OVERLAPS},
        edit=float(np.mean([edit_score(*pair, aimless) for pair in zip(found, true, strict=True)])),
        segment_f1=f1(reported, true, 0.5, aimless),
        confusion=confusion,
        left_out=left_out,
    )


def average_precision(scores: NDArray[Any], truths: NDArray[np.bool_]) -> float:
    """Area under precision over recall, as steps: the sum over thresholds of precision x recall gained.

    Equal scores stand at one threshold, so their order does not matter.

    Args:
        scores: (N,), large where the class is said to be.
        truths: (N,), where it is; at least once.
    """
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(truths[order])
    last_of_equals = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    precision = right[last_of_equals] / (last_of_equals + 1)
    recall = right[last_of_equals] / right[-1]
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def runs(classes: NDArray[np.int64], judged: NDArray[np.bool_], aimless: int = _NOTHING) -> list[Run]:
    """Stretches of judged frames of one class; those of the class `aimless` and of none (-1) are left out."""
    changes = (np.diff(classes) != 0) | (np.diff(judged) != 0)
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), len(classes)]
    stretches = [Run(first, last, int(classes[first])) for first, last in pairwise(edges) if first < last]
    return [run for run in stretches if judged[run.first] and run.k not in (aimless, _NOTHING)]


def f1(
    found: Sequence[NDArray[np.int64]],
    true: Sequence[NDArray[np.int64]],
    overlap: float,
    aimless: int = _NOTHING,
) -> float:
    """Segmental F1 over videos given class by frame, (T,) each; 0 where there is nothing at all.

    Args:
        found: classes that were said; -1 is none.
        true: true classes; frames without one (`IGNORED_LABEL`) are not judged, and end a segment.
        overlap: least intersection over union.
        aimless: the background, whose segments do not count.
    """
    right = both = 0
    for said, truth in zip(found, true, strict=True):
        judged = truth != IGNORED_LABEL
        mine, theirs = runs(said, judged, aimless), runs(truth, judged, aimless)
        right += _matches(mine, theirs, overlap)
        both += len(mine) + len(theirs)
    return 2 * right / both if both else 0.0


def edit_score(found: NDArray[np.int64], true: NDArray[np.int64], aimless: int = _NOTHING) -> float:
    """1 less the edit distance of the segments' classes in their order, as a share of the longer list."""
    judged = true != IGNORED_LABEL
    mine, theirs = ([run.k for run in runs(classes, judged, aimless)] for classes in (found, true))
    distances = list(range(len(theirs) + 1))
    for row, said in enumerate(mine, start=1):
        diagonal, distances[0] = distances[0], row
        for column, truth in enumerate(theirs, start=1):
            best = min(diagonal + (said != truth), distances[column] + 1, distances[column - 1] + 1)
            diagonal, distances[column] = distances[column], best
    return 1 - distances[-1] / max(len(mine), len(theirs), 1)


def _matches(mine: Sequence[Run], theirs: Sequence[Run], overlap: float) -> int:
    """How many found segments take a true one, in the order of time; each tries the one it overlaps most."""
    taken: set[int] = set()
    for run in mine:
        shares = [_overlap(run, other) for other in theirs]
        best = int(np.argmax(shares)) if shares else -1
        if best >= 0 and shares[best] >= overlap and best not in taken:
            taken.add(best)
    return len(taken)


def _overlap(one: Run, other: Run) -> float:
    """Intersection over union of two segments of one class; 0 for two of different ones."""
    common = min(one.last, other.last) - max(one.first, other.first)
    if one.k != other.k or common <= 0:
        return 0.0
    return common / (max(one.last, other.last) - min(one.first, other.first))


def _reported(said: Said, labels: Sequence[str]) -> NDArray[np.int64]:
    """The class at each frame by the segments that are reported of it."""
    classes = np.full(len(said.times), _NOTHING, dtype=np.int64)
    # A video of one frame has no step to say how long it lasts.
    step = float(np.median(np.diff(said.times))) if len(said.times) > 1 else 1.0
    for segment in segments(said.probabilities, said.times, labels, end=float(said.times[-1]) + step):
        inside = (segment.start <= said.times) & (said.times < segment.end)
        classes[inside] = labels.index(segment.label)
    return classes


def _numbered(clips: ClipSource) -> Iterator[tuple[int, Item]]:
    """Items, each with the number of its video."""
    video = 0
    for index in range(len(clips)):
        item = clips.item(index, 0)
        video += item.get("first", 0) == 0
        yield video, item


@torch.no_grad()
def _said(model: Recognizer, items: Iterable[Item]) -> Said:
    """What a model says of one video that comes in pieces, its state carried from one to the next."""
    device = model.classifier.weight.device
    state = None
    parts: list[Said] = []
    for item in items:
        content = "maps" if "maps" in item else "frames"
        scores, state = model.unroll(**{content: item[content][None].to(device)}, state=state)
        probabilities = scores[0].float().softmax(-1).cpu().numpy()
        parts.append(Said(probabilities, np.asarray(item["label"]), np.asarray(item["times"])))
    return Said(*(np.concatenate(part) for part in zip(*parts, strict=True)))
