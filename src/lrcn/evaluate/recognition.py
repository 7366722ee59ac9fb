"""How well clips are recognised: clip and frame accuracy, per class, top-5, confusion; all from one pass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lrcn.data.datasets import ClipDataset, ClipSource, collate
from lrcn.data.manifest import Row
from lrcn.data.sampling import Sampling
from lrcn.data.video import VideoError
from lrcn.errors import LrcnError
from lrcn.evaluate.readers import Clips
from lrcn.models.folder import Loaded
from lrcn.models.fusion import Fused
from lrcn.models.heads import Verdict
from lrcn.models.recognizer import IGNORED, Recognizer, step_labels

_SHOWN_FRAMES = 2048


@dataclass(frozen=True)
class RecognitionMetrics:
    """What was measured on a set of clips; every rate is a share from 0 to 1.

    Attributes:
        labels: names of the K classes.
        confusion: (K, K) counts of clips: true class by predicted class (mean of per-frame probabilities).
        accuracy: share of clips whose class is right.
        mean_class_accuracy: mean over the classes that occur.
        top5: share of clips whose class is among the five most probable.
        frame_accuracy: share of frames whose own score is right.
        middle_frame_accuracy: share of clips whose middle frame's score alone is right.
        last_frame_accuracy: share of clips whose last frame's score is right: what a stream says at the end.
        truths: (N,) class of each clip; predictions: (N,) predicted class, in the order given.
        probabilities: (N, K), what was said of each clip.
        left_out: how many more clips there were that could not be read.
    """

    labels: list[str]
    confusion: NDArray[np.int64]
    accuracy: float
    mean_class_accuracy: float
    top5: float
    frame_accuracy: float
    middle_frame_accuracy: float
    last_frame_accuracy: float
    truths: NDArray[np.int64]
    predictions: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    left_out: int = 0

    @property
    def per_class(self) -> dict[str, float]:
        """Accuracy of each class that occurs."""
        totals = self.confusion.sum(axis=1)
        return {
            label: float(self.confusion[k, k] / totals[k]) for k, label in enumerate(self.labels) if totals[k]
        }

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "clips": len(self.truths),
            "left_out": self.left_out,
            **{name: getattr(self, name) for name in _RATES},
            "per_class": self.per_class,
            "labels": self.labels,
            "confusion": self.confusion.tolist(),
        }

    def lines(self) -> list[str]:
        """The main numbers, for a terminal."""
        worst = sorted(self.per_class.items(), key=lambda pair: pair[1])[:3]
        return [
            f"{len(self.truths)} clips, {len(self.per_class)} classes"
            + (f"; {self.left_out} more could not be read and are left out" if self.left_out else ""),
            f"clip accuracy {self.accuracy:.1%}, mean over classes {self.mean_class_accuracy:.1%}, "
            f"top-5 {self.top5:.1%}",
            f"single frames {self.frame_accuracy:.1%}, last frame {self.last_frame_accuracy:.1%}",
            "weakest: " + ", ".join(f"{label} {share:.0%}" for label, share in worst),
        ]


_RATES = (
    "accuracy",
    "mean_class_accuracy",
    "top5",
    "frame_accuracy",
    "middle_frame_accuracy",
    "last_frame_accuracy",
)


def evaluate(
    loaded: Loaded | Fused,
    rows: Sequence[Row],
    *,
    progress: Callable[[int, int], None] | None = None,
    report: Callable[[str], None] | None = None,
) -> RecognitionMetrics:
    """Measures a model on the labelled clips of a manifest, each read as the model reads it when it is used.

    Clips that cannot be read are left out and counted; `report` is called with the reason of each.

    Raises:
        LrcnError: no clips, none that can be read, or a label that the model does not know.
    """
    if not rows:
        raise LrcnError("There are no clips to evaluate on: check the manifest and --split.")
    if isinstance(loaded, Fused):
        # Not above: protocols build on these metrics.
        from lrcn.evaluate.protocols import measure_protocols, own_protocol

        config = own_protocol(loaded)
        (found,) = measure_protocols(loaded, rows, config, progress=progress, report=report).values()
        return found.videos
    clips = ClipDataset(rows, loaded.labels, loaded.sampling, loaded.preprocess, train=False)
    return measure(
        loaded.model,
        clips,
        sampling=loaded.sampling,
        progress=progress,
        report_unreadable=report or (lambda _: None),
    )


@torch.no_grad()
def measure(
    model: Recognizer,
    clips: ClipSource,
    *,
    sampling: Sampling | None = None,
    shuffle_seed: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    report_unreadable: Callable[[str], None] | None = None,
) -> RecognitionMetrics:
    """Measures a recogniser on frames or cached features.

    Args:
        model: in any mode; it is put back in that mode.
        clips: where items come from; per-frame labels are judged frame by frame, and a clip by its most frequent one.
        sampling: where it has a stride, clips are read in its windows, each from a fresh state; otherwise in one pass.
        shuffle_seed: puts each clip's frames in random order first: what is lost is what order tells.
        progress: called with (clips done, clips in all).
        report_unreadable: called with the reason for each clip that is left out; without it, there must be none.

    Raises:
        LrcnError: there are no clips, or some cannot be read.
    """
    if not len(clips):
        raise LrcnError("There are no clips to evaluate on.")
    was_training = model.training
    model.eval()
    device = model.classifier.weight.device
    results = []
    done = 0
    left_out: list[str] = []

    def leave_out(error: VideoError) -> None:
        if report_unreadable is None:
            raise error
        left_out.append(str(error))
        report_unreadable(str(error))

    for batch in _batches(clips, shuffle_seed, leave_out):
        on_device = {key: value.to(device) for key, value in batch.items()}
        lengths = batch["lengths"]
        if sampling is None or sampling.stride is None:
            verdict = model.judge(on_device.get("frames"), lengths, maps=on_device.get("maps"))
        else:
            verdict = _in_windows(model, on_device, sampling)
        results.append(_judged(verdict, lengths, batch["labels"]))
        done += len(lengths)
        if progress is not None:
            progress(done + len(left_out), len(clips))
    model.train(was_training)
    if not results:
        raise LrcnError(f"None of the {len(clips)} clips can be read: {left_out[0]}")
    return metrics_of(model.labels, results, len(left_out))


def _in_windows(model: Recognizer, batch: Mapping[str, torch.Tensor], sampling: Sampling) -> Verdict:
    """The verdict on clips from the means over their windows, of probabilities at a frame and of the clip."""
    assert sampling.frames is not None
    assert sampling.stride is not None
    maps = batch.get("maps")
    if maps is None:
        frames = batch["frames"]
        maps = model.encoder.maps(frames.flatten(0, 1))
        maps = maps.reshape(*frames.shape[:2], *maps.shape[1:])
    scores = torch.zeros(*maps.shape[:2], len(model.labels))
    clips = torch.zeros(len(maps), len(model.labels))
    for row, length in enumerate(batch["lengths"].tolist()):
        reader = Clips(model, sampling.frames, sampling.stride, {"": torch.ones(1)})
        reader.read(maps[row : row + 1, :length])
        seen = reader.seen(np.arange(length))[""]
        scores[row, :length] = torch.from_numpy(seen.per_frame).log()
        clips[row] = torch.from_numpy(seen.video).log()
    return Verdict(scores, clips, torch.ones(maps.shape[:2]))


class ClipResults(NamedTuple):
    """What was found of n clips, arrays of n rows."""

    truths: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    frames_right: NDArray[np.int64]
    frames: NDArray[np.int64]
    middle_right: NDArray[np.bool_]
    last_right: NDArray[np.bool_]


def _judged(verdict: Verdict, lengths: torch.Tensor, labels: torch.Tensor) -> ClipResults:
    scores = verdict.scores.float().cpu()
    truth_steps = step_labels(labels, scores.shape[1], lengths)
    truth = labels if labels.ndim == 1 else _most_frequent(truth_steps)
    right = scores.argmax(-1) == truth_steps
    rows = torch.arange(len(lengths))
    return ClipResults(
        truth.numpy(),
        verdict.log_probabilities.float().exp().cpu().numpy(),
        right.sum(1).numpy(),
        (truth_steps != IGNORED).sum(1).numpy(),
        right[rows, lengths // 2].numpy(),
        right[rows, lengths - 1].numpy(),
    )


class ClipRates(NamedTuple):
    """What follows from the probabilities of whole clips alone; the fields are those of `RecognitionMetrics`."""

    confusion: NDArray[np.int64]
    accuracy: float
    mean_class_accuracy: float
    top5: float
    predictions: NDArray[np.int64]


def clip_rates(truths: NDArray[np.int64], probabilities: NDArray[np.floating[Any]]) -> ClipRates:
    """Rates of N clips of classes (N,), given what was said of them (N, K)."""
    predictions = probabilities.argmax(1)
    classes = probabilities.shape[1]
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (truths, predictions), 1)
    occurring = confusion.sum(axis=1) > 0
    top = np.argsort(-probabilities, axis=1)[:, :5]
    return ClipRates(
        confusion,
        accuracy=float((predictions == truths).mean()),
        mean_class_accuracy=float(
            (confusion.diagonal()[occurring] / confusion.sum(axis=1)[occurring]).mean()
        ),
        top5=float((top == truths[:, None]).any(axis=1).mean()),
        predictions=predictions,
    )


def metrics_of(labels: Sequence[str], judged: Sequence[ClipResults], left_out: int = 0) -> RecognitionMetrics:
    """All numbers of the clips that were judged, in any portions.

    Args:
        labels: names of the K classes.
        judged: arrays (n,) of each portion, in the order of `ClipResults`.
        left_out: how many more clips could not be read.
    """
    parts = ClipResults(*(np.concatenate(part) for part in zip(*judged, strict=True)))
    rates = clip_rates(parts.truths, parts.probabilities)
    return RecognitionMetrics(
        labels=list(labels),
        **rates._asdict(),
        frame_accuracy=float(parts.frames_right.sum() / parts.frames.sum()),
        middle_frame_accuracy=float(parts.middle_right.mean()),
        last_frame_accuracy=float(parts.last_right.mean()),
        truths=parts.truths,
        probabilities=parts.probabilities,
        left_out=left_out,
    )


def _batches(clips: ClipSource, shuffle_seed: int | None, leave_out: Callable[[VideoError], None]) -> Any:
    """Batches of a bounded number of frames, padding included, clips in order."""
    items: list[Any] = []
    longest = 0
    for index in range(len(clips)):
        try:
            item = dict(clips.item(index, 0))
        except VideoError as error:
            leave_out(error)
            continue
        content = "maps" if "maps" in item else "frames"
        if shuffle_seed is not None:
            order = np.random.default_rng([shuffle_seed, index]).permutation(len(item[content]))
            item[content] = item[content][torch.from_numpy(order)]
            labels = torch.as_tensor(item["label"])
            item["label"] = labels[torch.from_numpy(order)] if labels.ndim else labels
        longest = max(longest, len(item[content]))
        if items and (len(items) + 1) * longest > _SHOWN_FRAMES:
            yield collate(items)
            items, longest = [], len(item[content])
        items.append(item)
    if items:
        yield collate(items)


def _most_frequent(labels: torch.Tensor) -> torch.Tensor:
    return torch.stack([row[row != IGNORED].mode().values for row in labels])
