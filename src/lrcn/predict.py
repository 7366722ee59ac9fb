"""Any video -> what is happening, frame by frame and from when to when."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lrcn.data.video import VideoReader, open_video
from lrcn.errors import LrcnError
from lrcn.segments import Segment, segments

if TYPE_CHECKING:
    from lrcn.data.prepare import Carry, Preparation
    from lrcn.data.sampling import Sampling
    from lrcn.models.folder import Loaded
    from lrcn.models.fusion import Fused
    from lrcn.models.recognizer import Recognizer
    from lrcn.models.recurrent import State

Source = str | Path | int | NDArray[np.uint8]
Progress = Callable[[float, float | None], None]
MAX_WHOLE = 4096
"""Frames of a clip that a model reads at once where it needs the whole of it."""

_Frame = tuple[NDArray[np.uint8], float]
"""A picture uint8, (H,W,3) as the reader gives it or (3,H,W) as the network reads it, and its time in seconds."""


@dataclass(frozen=True, eq=False)
class Recognition:
    """What a recognizer saw in one video.

    Attributes:
        path: where the video came from, as it was given.
        label: the most probable class of the whole clip.
        probability: its clip-level probability.
        probabilities: clip-level probability of every class, falling: the mean of the frames' probabilities.
        per_frame: (T, K) float32, the probabilities at every sampled frame.
        times: (T,) float64, seconds.
        segments: what happens from when to when.
        labels: the K class names, in the order of the columns of `per_frame`.
        start: seconds, where reading began.
        end: seconds, where the clip (or the part that was read) ends.
        warning: one sentence when a part of the video could not be decoded.
    """

    path: str
    label: str
    probability: float
    probabilities: dict[str, float]
    per_frame: NDArray[np.float32]
    times: NDArray[np.float64]
    segments: list[Segment]
    labels: list[str]
    start: float
    end: float
    warning: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The JSONL record: plain values that `json.dumps` takes.

        `per_frame` holds the most probable class at each frame, `{"time", "label", "probability"}`, so that a
        record grows with the frames and not with frames x classes; the full matrix is `self.per_frame`.
        Probabilities have 6 decimals, times 3 (milliseconds). A damaged video's record also has `warning`.
        """
        best = self.per_frame.argmax(axis=1)
        return {
            "path": self.path,
            "label": self.label,
            "probability": round(self.probability, 6),
            "probabilities": {label: round(p, 6) for label, p in self.probabilities.items()},
            "per_frame": [
                {"time": round(float(t), 3), "label": self.labels[k], "probability": round(float(row[k]), 6)}
                for t, k, row in zip(self.times, best, self.per_frame, strict=True)
            ],
            "segments": [
                {
                    "start": round(s.start, 3),
                    "end": round(s.end, 3),
                    "label": s.label,
                    "score": round(s.score, 6),
                }
                for s in self.segments
            ],
            **({} if self.warning is None else {"warning": self.warning}),
        }


@dataclass(frozen=True)
class Failure:
    """An input that could not be recognized.

    Attributes:
        path: the input, as it was given.
        error: one sentence.
        exception: what was raised, for a traceback on request.
    """

    path: str
    error: str
    exception: Exception | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """The JSONL record."""
        return {"path": self.path, "error": self.error}


def recognize(
    loaded: Loaded | Fused,
    source: Source,
    *,
    start: float = 0.0,
    end: float | None = None,
    smoothing: float = 0.5,
    min_duration: float = 0.4,
    threshold: float = 0.0,
    chunk: int = 32,
    progress: Progress | None = None,
) -> Recognition:
    """Says what happens in a video.

    The video is decoded and read `chunk` frames at a time with the recurrent state carried over, so memory
    holds one chunk whatever the length; only 4 K bytes per frame are kept. A model whose sampling has a
    `stride` reads as it was evaluated instead: in overlapping windows, each from a fresh state, and a
    frame's probabilities are the mean over the windows that hold it. Clip-level probabilities are the mean
    of the softmax over all steps, or what else the model's head makes of them, and over all windows. A model
    that reads the future, or whose head needs all steps, reads a clip of up to `MAX_WHOLE` frames at once.

    Args:
        loaded: a model with the preprocessing and sampling stored beside it, put in evaluation mode; or a fused one.
        source: a file, a folder of numbered frames, a URL, a camera number, or frames (T, H, W, 3) uint8.
        start: seconds into the video to begin at.
        end: seconds to stop at; None for the end of the video.
        smoothing: time constant of the smoothing before segmentation, seconds.
        min_duration: shortest segment, seconds.
        threshold: segments with a lower score are left out.
        chunk: frames that go through the network at once.
        progress: called with (seconds read so far, seconds in all or None) as the video is read.

    Raises:
        LrcnError: the video cannot be read, holds no frames in this range or too many for a model that reads
            all at once, or the model gives scores that are not numbers.
    """
    # Here, as a list of inputs can be looked at without a network.
    from lrcn.models.fusion import Fused

    if isinstance(loaded, Fused):
        from lrcn.predict_fused import recognize_fused

        read: dict[str, Any] = {"start": start, "end": end, "chunk": chunk, "progress": progress}
        cut: dict[str, Any] = {"smoothing": smoothing, "min_duration": min_duration, "threshold": threshold}
        return recognize_fused(loaded, source, **read, **cut)
    path = source_name(source)
    loaded.model.eval()
    sampling = loaded.sampling
    preparation = loaded.preprocess.preparation()
    with open_video(source, resize=preparation.resize) as reader:
        duration, rate = reader.info.duration, sampling.rate or reader.info.rate
        stop = duration if end is None else end
        frames = sampled_frames(reader, preparation, sampling, path, start, end, chunk, progress)
        if sampling.stride is not None:
            scores = _in_windows(loaded.model, frames, sampling)
        elif loaded.model.needs_whole_clip:
            scores = _at_once(loaded.model, frames, path)
        else:
            scores = _in_one_pass(loaded.model, frames, chunk)
        warning = reader.warning
    _check(scores, path, start, end)
    if sampling.spread == "uniform":
        # Each frame stands for one of the equal parts of the clip, so its segment begins with that part.
        last = max(stop or 0.0, float(scores.times[-1]))
        onsets = np.linspace(start, last, len(scores.times), endpoint=False)
    else:
        last = _end(scores.times, rate, end, duration)
        onsets = scores.times
    order = np.argsort(-scores.clip, kind="stable")
    return Recognition(
        path=path,
        label=loaded.labels[int(order[0])],
        probability=float(scores.clip[order[0]]),
        probabilities={loaded.labels[int(k)]: float(scores.clip[k]) for k in order},
        per_frame=scores.per_frame,
        times=scores.times,
        segments=segments(
            scores.per_frame,
            onsets,
            loaded.labels,
            smoothing=smoothing,
            min_duration=min_duration,
            threshold=threshold,
            end=last,
        ),
        labels=list(loaded.labels),
        start=start,
        end=last,
        warning=warning,
    )


def recognize_many(
    loaded: Loaded | Fused,
    inputs: Iterable[Source],
    on_error: Callable[[Failure], None] | None = None,
    **options: Any,
) -> Iterator[Recognition | Failure]:
    """Recognizes one input after the other; an input that fails gives a `Failure` and the rest goes on.

    Args:
        loaded: a model with its preprocessing and sampling.
        inputs: what `recognize` takes, one at a time.
        on_error: called with each failure before it is yielded, to report or count it (or to raise).
        options: passed to `recognize`.
    """
    for source in inputs:
        try:
            result: Recognition | Failure = recognize(loaded, source, **options)
        except Exception as error:  # noqa: BLE001 - one broken input, whatever its fault, must not take the others along
            result = _failure(source_name(source), error)
            if on_error is not None:
                on_error(result)
        yield result


def source_name(source: Source) -> str:
    """How a source is called in results: the path or URL as given, "camera N", or "frames" for an array."""
    if isinstance(source, np.ndarray):
        return "frames"
    return f"camera {source}" if isinstance(source, int) else str(source)


class _Scores(NamedTuple):
    per_frame: NDArray[np.float32]  # (T, K)
    times: NDArray[np.float64]  # (T,)
    clip: NDArray[np.float64]  # (K,), mean over all steps


def _failure(path: str, error: Exception) -> Failure:
    sentence = " ".join(str(error).split())
    if not isinstance(error, LrcnError):
        sentence = f"{path} failed with {type(error).__name__}: {sentence or 'no message'}"
    return Failure(path, sentence, error)


def sampled_frames(
    reader: VideoReader,
    preparation: Preparation,
    sampling: Sampling,
    path: str,
    start: float = 0.0,
    end: float | None = None,
    chunk: int = 32,
    progress: Progress | None = None,
) -> Iterator[_Frame]:
    """The frames (3,H,W) of a video that a network reads, with their times; the arguments are those of `recognize`."""
    stop = reader.info.duration if end is None else end
    if sampling.spread == "uniform":
        return _watched(_spread(reader, preparation, sampling, start, stop, path), stop, progress)
    shown = _watched(reader.frames(rate=sampling.rate, start=start, end=end), stop, progress)
    return _prepared(shown, preparation, chunk)


def _spread(
    reader: VideoReader,
    preparation: Preparation,
    sampling: Sampling,
    start: float,
    end: float | None,
    path: str,
) -> Iterator[_Frame]:
    """The prepared frames (3,H,W) of a model that takes a fixed number of them from the whole clip."""
    if end is None:
        raise LrcnError(
            f"{path} does not say how long it is, which this model needs to spread its frames; give an end."
        )
    grid = sampling.grid(start, end, reader.info.rate)
    clip = preparation.read(reader, grid, sampling.pick(len(grid)))
    for frame, time in zip(clip.frames, clip.times, strict=True):
        yield frame, float(time)


def _prepared(frames: Iterator[_Frame], preparation: Preparation, chunk: int) -> Iterator[_Frame]:
    """Frames (H,W,3) -> prepared (3,H,W), `chunk` at a time."""
    carry: Carry | None = None
    while batch := list(islice(frames, chunk)):
        pictures = np.stack([frame for frame, _ in batch]).transpose(0, 3, 1, 2)
        images, carry = preparation(np.ascontiguousarray(pictures), carry)
        for image, (_, time) in zip(images, batch, strict=True):
            yield image, time


def _watched(frames: Iterator[_Frame], end: float | None, progress: Progress | None) -> Iterator[_Frame]:
    for frame, time in frames:
        if progress is not None:
            progress(time, end)
        yield frame, time


def _in_one_pass(model: Recognizer, frames: Iterator[_Frame], chunk: int) -> _Scores:
    """The whole video as one sequence, its state carried from chunk to chunk."""
    state: State | None = None
    times: list[float] = []
    rows: list[NDArray[np.float32]] = []
    total = np.zeros(len(model.labels))
    while batch := list(islice(frames, chunk)):
        probabilities, state = _probabilities(model, [frame for frame, _ in batch], state)
        times += [time for _, time in batch]
        rows.append(probabilities)
        total += probabilities.sum(axis=0, dtype=np.float64)
    per_frame = np.concatenate(rows) if rows else np.zeros((0, len(total)), np.float32)
    if rows and model.config.head.pool == "last":
        return _Scores(per_frame, np.array(times), per_frame[-1].astype(np.float64))
    return _Scores(per_frame, np.array(times), total / max(len(times), 1))


def _at_once(model: Recognizer, frames: Iterator[_Frame], path: str) -> _Scores:
    """The whole clip as one batch."""
    clip = list(islice(frames, MAX_WHOLE + 1))
    if len(clip) > MAX_WHOLE:
        raise LrcnError(
            f"{path} has more than {MAX_WHOLE} frames, the most that a model reads which needs the whole clip at "
            "once: give a start and an end, or set sampling.stride in its config.json to have it read in windows."
        )
    if not clip:
        return _Scores(np.zeros((0, len(model.labels)), np.float32), np.zeros(0), np.zeros(len(model.labels)))
    per_frame, verdict = _judged(model, [frame for frame, _ in clip])
    return _Scores(per_frame, np.array([time for _, time in clip]), verdict)


def _in_windows(model: Recognizer, frames: Iterator[_Frame], sampling: Sampling) -> _Scores:
    """The windows of `sampling.windows`, each read from a fresh state as soon as its last frame is there."""
    assert sampling.frames is not None
    assert sampling.stride is not None
    length, stride = sampling.frames, sampling.stride
    recent: deque[NDArray[np.uint8]] = deque(maxlen=length)
    times: list[float] = []
    sums: list[NDArray[np.float64]] = []
    counts: list[int] = []
    verdicts: list[NDArray[np.float64]] = []

    def read(window: slice) -> None:
        offset = len(times) - len(recent)
        shown = list(recent)[window.start - offset : window.stop - offset]
        per_frame, verdict = _judged(model, shown)
        verdicts.append(verdict)
        for i, row in enumerate(per_frame, start=window.start):
            sums[i] += row
            counts[i] += 1

    done = 0
    for frame, time in frames:
        recent.append(frame)
        times.append(time)
        sums.append(np.zeros(len(model.labels)))
        counts.append(0)
        if len(times) == done * stride + length:
            read(slice(len(times) - length, len(times)))
            done += 1
    # The last windows depend on where the video ended; they lie within the last `length` frames.
    for window in sampling.windows(len(times))[done:] if times else []:
        read(window)
    stacked = np.array(sums).reshape(len(times), len(model.labels))
    share = np.maximum(np.array(counts, dtype=np.float64), 1)[:, None]
    # Windows are of one length, so the mean over all steps is that of the windows.
    clip = np.mean(verdicts, axis=0) if verdicts else np.zeros(len(model.labels))
    return _Scores((stacked / share).astype(np.float32), np.array(times), clip)


def _probabilities(
    model: Recognizer, frames: list[NDArray[np.uint8]], state: State | None
) -> tuple[NDArray[np.float32], State]:
    """Frames (3,H,W) uint8 and the state before them -> probabilities (T, K) and the state after them."""
    with torch.inference_mode():
        clip = torch.from_numpy(np.stack(frames)).to(_device(model))
        scores, state = model.unroll(clip[None], state=state)
        return scores[0].float().softmax(dim=-1).cpu().numpy(), state


def _judged(
    model: Recognizer, frames: list[NDArray[np.uint8]]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Frames (3,H,W) uint8 of a whole clip -> probabilities (T, K) at each, and (K,) of the clip."""
    with torch.inference_mode():
        clip = torch.from_numpy(np.stack(frames)).to(_device(model))
        verdict = model.judge(clip[None])
        per_frame = verdict.scores[0].float().softmax(dim=-1).cpu().numpy()
        return per_frame, verdict.log_probabilities[0].double().exp().cpu().numpy()


def _device(model: torch.nn.Module) -> torch.device:
    parameter = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def _check(scores: _Scores, path: str, start: float, end: float | None) -> None:
    if not len(scores.times):
        if start > 0 or end is not None:
            until = "its end" if end is None else f"{end:g} s"
            raise LrcnError(
                f"{path} has no frames between {start:g} s and {until}; give another start or end."
            )
        raise LrcnError(f"{path} holds no frames; give a video with at least one.")
    if not np.isfinite(scores.clip).all():
        raise LrcnError(
            f"The model's scores for {path} are not numbers; its weights are damaged, so fetch it again."
        )


def _end(times: NDArray[np.float64], rate: float, end: float | None, duration: float | None) -> float:
    """Where the clip ends, seconds.

    A container's own duration counts only where it fits the frames that were there: a truncated file still
    claims its full length.
    """
    last = float(times[-1])
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1 / rate if rate > 0 else 0.0
    for claim in (end, duration):
        if claim is not None and last < claim <= last + 2 * step:
            return claim
    return last + step
