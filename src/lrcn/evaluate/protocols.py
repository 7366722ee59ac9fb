"""How a video is read and judged, as papers report it: whole or in clips, one crop or ten; all from one pass.

Every frame is decoded once and every crop of it goes through the CNN once; the network over time then reads its maps as
a stream and in clips. What is said of a video is the mean of the probabilities over steps, clips and crops (Donahue et
al. 2015, section 4).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import numpy as np
import torch

from lrcn.data.datasets import ClipDataset
from lrcn.data.manifest import Row
from lrcn.data.video import VideoError
from lrcn.errors import LrcnError
from lrcn.evaluate.readers import Clips, Seen, Stream
from lrcn.evaluate.recognition import ClipResults, RecognitionMetrics, metrics_of
from lrcn.evaluate.views import CENTRE, SQUASHED, TEN_CROPS, View, pieces
from lrcn.models.folder import Loaded
from lrcn.models.fusion import Fused, at_times, weighted
from lrcn.models.recognizer import Recognizer
from lrcn.predict import MAX_WHOLE

Protocol = Literal["stream", "clips", "centre-crop", "ten-crop", "released-demo"]

Looked = TypeVar("Looked")

USUAL: tuple[Protocol, ...] = ("stream", "clips", "centre-crop", "ten-crop")

_CROPS: dict[str, dict[int, float]] = {
    "centre-crop": {CENTRE: 1.0},
    "ten-crop": dict.fromkeys(TEN_CROPS, 0.1),
    "released-demo": {**dict.fromkeys(TEN_CROPS[5:], 0.1), SQUASHED: 0.5},
}
"""The share of each crop."""


@dataclass(frozen=True)
class ProtocolConfig:
    """What is measured; the defaults are the paper's.

    Attributes:
        protocols: any of "stream": the whole video, its state carried from the first frame to the last, as a model is
            used; "clips": clips of `frames`, each from a fresh state, of the same frames; "centre-crop": the same clips
            of the centre of a larger frame (the released `LRCN_evaluate`); "ten-crop": of four corners, centre and
            their mirror images (the released `classify_video.py`); "released-demo": as that script did it, whose
            unmirrored crops are by a slip the whole frame squashed.
        frames: of a clip.
        stride: frames from the start of one clip to that of the next; one that would run past the end is moved back.
        crop: side of the crops, pixels; None is what the network reads.
        resize: height and width that frames are scaled to before crops are cut; None keeps to the model's own fit.
        chunk: frames of a video in the CNN at a time: bounds memory.

    Raises:
        LrcnError: a field has a value that means nothing.
    """

    protocols: tuple[Protocol, ...] = ("stream",)
    frames: int = 16
    stride: int = 8
    crop: int | None = None
    resize: tuple[int, int] | None = None
    chunk: int = 32

    def __post_init__(self) -> None:
        unknown = [name for name in self.protocols if name not in get_args(Protocol)]
        if unknown or not self.protocols:
            what = f"There is no protocol {unknown[0]!r}" if unknown else "No protocol is asked for"
            raise LrcnError(f"{what}: give one or more of {', '.join(get_args(Protocol))}.")
        for name in ("frames", "stride", "chunk", "crop"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise LrcnError(f"The protocol's {name} is {value}: give 1 or more.")
        if self.resize is not None and min(self.resize) < 1:
            raise LrcnError(f"Frames cannot be resized to {self.resize[0]}x{self.resize[1]}: give 1 or more.")


@dataclass(frozen=True)
class ProtocolMetrics:
    """What one protocol found.

    Attributes:
        videos: every number of whole videos; a frame's probabilities are the mean over the clips that hold it.
        clips: how many clips were judged alone.
        clip_accuracy: share of them whose class is right, from their own frames alone.
    """

    videos: RecognitionMetrics
    clips: int
    clip_accuracy: float

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values; "accuracy" is that of videos."""
        own = {"videos": len(self.videos.truths), "clips": self.clips, "clip_accuracy": self.clip_accuracy}
        return {**own, **{name: value for name, value in self.videos.to_json().items() if name not in own}}


def own_protocol(model: Loaded | Fused) -> ProtocolConfig:
    """How a model is read when it is used: in clips where its sampling has a stride; fused models as the first is."""
    first = next(iter(model.members.values())) if isinstance(model, Fused) else model
    sampling = first.sampling
    if sampling.frames is None or sampling.stride is None:
        return ProtocolConfig(("stream",))
    return ProtocolConfig(("clips",), sampling.frames, sampling.stride)


def measure_protocols(
    model: Loaded | Fused,
    rows: Sequence[Row],
    config: ProtocolConfig,
    *,
    progress: Callable[[int, int], None] | None = None,
    report: Callable[[str], None] | None = None,
) -> dict[str, ProtocolMetrics]:
    """Measures a model on the labelled clips of a manifest, by every protocol of `config`.

    Videos are read one after the other, `config.chunk` frames at a time, so memory does not grow with their length but
    for the probabilities at each frame. A network that needs the whole clip, because it reads the future or attends,
    keeps its maps for "stream", of up to `MAX_WHOLE` frames. Videos that cannot be read are left out and counted;
    `report` is called with the reason of each.

    Raises:
        LrcnError: no clips, none that can be read, or a label that the model does not know.
    """
    classes = class_numbers(model, rows)

    def look(row: Row) -> dict[str, _Result]:
        return {
            name: _result(seen, classes[str(row.label)]) for name, seen in see(model, row, config).items()
        }

    found, left_out = of_each(rows, look, progress, report)
    return {
        name: _metrics(model.labels, [results[name] for results in found], left_out)
        for name in config.protocols
    }


def of_each(
    rows: Sequence[Row],
    look: Callable[[Row], Looked],
    progress: Callable[[int, int], None] | None = None,
    report: Callable[[str], None] | None = None,
) -> tuple[list[Looked], int]:
    """What `look` says of each clip that can be read, and how many cannot; `report` is called with the reasons.

    Raises:
        LrcnError: none can be read.
    """
    found, left_out = [], []
    for number, row in enumerate(rows, 1):
        try:
            found.append(look(row))
        except VideoError as error:
            left_out.append(str(error))
            if report is not None:
                report(str(error))
        if progress is not None:
            progress(number, len(rows))
    if not found:
        raise LrcnError(f"None of the {len(rows)} clips can be read: {left_out[0]}")
    return found, len(left_out)


def class_numbers(model: Loaded | Fused, rows: Sequence[Row]) -> dict[str, int]:
    """Label -> class of the model.

    Raises:
        LrcnError: there are no rows, or one has no label, or one that the model does not know.
    """
    if not rows:
        raise LrcnError("There are no clips to evaluate on: check the manifest and --split.")
    loaded = next(iter(model.members.values())) if isinstance(model, Fused) else model
    # It refuses such labels.
    ClipDataset(rows, model.labels, loaded.sampling, loaded.preprocess, train=False)
    return {label: place for place, label in enumerate(model.labels)}


@torch.inference_mode()
def see(model: Loaded | Fused, row: Row, config: ProtocolConfig) -> dict[str, Seen]:
    """What every protocol says of one clip of a manifest.

    A fused model's members each read it; what they say is added up at the times of the first, to which each of the
    others gives what it said last.

    Raises:
        VideoError: the clip cannot be read, or has no frames.
    """
    if isinstance(model, Fused):
        parts = [see(member, row, config) for member in model.members.values()]
        return {name: _fused([part[name] for part in parts], model.weights) for name in config.protocols}
    network = model.model.eval()
    plan = _plan(model, config)
    times = []
    for views, at in pieces(row, model.sampling, [view for view, _ in plan], config.chunk):
        times.append(at)
        _refuse_too_long(network, row, config, sum(map(len, times)))
        for crops, (_, readers) in zip(views, plan, strict=True):
            maps = network.encoder.maps(crops.flatten(0, 1).to(network.classifier.weight.device))
            for reader in readers:
                reader.read(maps.reshape(*crops.shape[:2], *maps.shape[1:]))
    whole = np.concatenate(times)
    return {
        name: seen for _, readers in plan for reader in readers for name, seen in reader.seen(whole).items()
    }


def lines_of(found: Mapping[str, ProtocolMetrics]) -> list[str]:
    """The main numbers of each protocol as a table, for a terminal."""
    videos = next(iter(found.values())).videos
    rows = [["protocol", "videos right", "mean over classes", "top-5", "clips alone", "frames", "last frame"]]
    for name, metrics in found.items():
        of = metrics.videos
        shares = [of.accuracy, of.mean_class_accuracy, of.top5, metrics.clip_accuracy]
        rows.append(
            [name, *(f"{share:.1%}" for share in (*shares, of.frame_accuracy, of.last_frame_accuracy))]
        )
    wide = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        f"{len(videos.truths)} videos, {len(videos.per_class)} classes"
        + (f"; {videos.left_out} more could not be read and are left out" if videos.left_out else ""),
        *(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, wide, strict=True)).rstrip()
            for row in rows
        ),
    ]


class _Result(NamedTuple):
    video: ClipResults
    clips: int
    clips_right: int


def _refuse_too_long(network: Recognizer, row: Row, config: ProtocolConfig, frames: int) -> None:
    if frames > MAX_WHOLE and "stream" in config.protocols and network.needs_whole_clip:
        raise VideoError(
            f"{row.path} has more than {MAX_WHOLE} frames, the most that a model reads which needs the whole clip at "
            "once: give it a start and an end, or judge it in clips."
        )


def _plan(model: Loaded, config: ProtocolConfig) -> list[tuple[View, list[Stream | Clips]]]:
    """The views that the protocols need, each with those who read it."""
    plan: list[tuple[View, list[Stream | Clips]]] = []
    own: list[Stream | Clips] = [Stream(model.model)] if "stream" in config.protocols else []
    if "clips" in config.protocols:
        own.append(Clips(model.model, config.frames, config.stride, {"clips": torch.ones(1)}))
    if own:
        plan.append((View(model.preprocess), own))
    wanted: dict[str, dict[int, float]] = {name: _CROPS[name] for name in config.protocols if name in _CROPS}
    if wanted:
        crops = tuple(sorted({crop for shares in wanted.values() for crop in shares}))
        shares = {name: torch.tensor([of.get(crop, 0.0) for crop in crops]) for name, of in wanted.items()}
        view = View(model.preprocess, config.resize, config.crop or model.preprocess.size, crops)
        plan.append((view, [Clips(model.model, config.frames, config.stride, shares)]))
    return plan


def _fused(parts: Sequence[Seen], weights: Sequence[float]) -> Seen:
    first = parts[0]
    per_frame = [at_times(part.per_frame, part.times, first.times) for part in parts]
    clips = [at_times(part.clips, part.starts, first.starts) for part in parts]
    return Seen(
        first.times,
        weighted(per_frame, weights).astype(np.float32),
        first.starts,
        weighted(clips, weights).astype(np.float32),
        weighted([part.video for part in parts], weights),
    )


def _result(seen: Seen, truth: int) -> _Result:
    right = seen.per_frame.argmax(1) == truth
    middle, last = right[len(right) // 2], right[-1]
    video = ClipResults(
        truths=np.array([truth]),
        probabilities=seen.video[None].astype(np.float32),
        frames_right=np.array([right.sum()]),
        frames=np.array([len(right)]),
        middle_right=np.array([middle]),
        last_right=np.array([last]),
    )
    return _Result(video, len(seen.clips), int((seen.clips.argmax(1) == truth).sum()))


def _metrics(labels: Sequence[str], found: Sequence[_Result], left_out: int) -> ProtocolMetrics:
    clips = sum(result.clips for result in found)
    right = sum(result.clips_right for result in found)
    return ProtocolMetrics(
        metrics_of(labels, [result.video for result in found], left_out), clips, right / clips
    )
