"""One stream of frames, and what several networks say of it as one answer: when a sequence begins, and its segments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from lrcn.cuts import CutDetector
from lrcn.data.picture import Picture
from lrcn.data.source import DEFAULT_RATE, EXACT
from lrcn.errors import LrcnError
from lrcn.feed import Feed, Said
from lrcn.segments import Segment, SegmentTracker
from lrcn.stream_state import StreamState, prefixed

if TYPE_CHECKING:
    from lrcn.stream import Member

Reset = Literal["gap", "cut"]

_LATEST = 2.0**32
"""Seconds; the clock of the day, which counts them since 1970, is within. Beyond, `EXACT` is lost in rounding."""


@dataclass(frozen=True)
class StreamOptions:
    """How a stream is read, and how its segments are cut.

    Attributes:
        smoothing: time constant of the causal exponential mean, seconds; 0 for none.
        min_duration: shortest segment, seconds.
        threshold: segments with a lower score are left out.
        gap: where the next frame comes more than so many seconds later, a new sequence begins with it; None: never. Up
            to that, the frame before is taken to have been shown all the time.
        cuts: begins a new sequence at every shot cut (`lrcn.cuts`).
        half_tick: seconds below which two times are the same: half a tick of the clock that the times come from.

    Raises:
        LrcnError: a field has a value that means nothing.
    """

    smoothing: float = 0.5
    min_duration: float = 0.4
    threshold: float = 0.0
    gap: float | None = 2.0
    cuts: bool = False
    half_tick: float = EXACT

    def __post_init__(self) -> None:
        for name in ("smoothing", "min_duration", "threshold"):
            if not 0 <= getattr(self, name) < math.inf:
                raise LrcnError(f"A stream's {name} is {getattr(self, name)}: give 0 or more.")
        if self.gap is not None and not self.gap > 0:
            raise LrcnError(f"A stream's gap is {self.gap}: give seconds above 0, or None for no limit.")
        if not EXACT <= self.half_tick < math.inf:
            raise LrcnError(f"A stream's half_tick is {self.half_tick}: give {EXACT:g} seconds or more.")


@dataclass(frozen=True, eq=False)
class Answer:
    """What a stream says at a frame.

    Attributes:
        time: the frame's, seconds.
        probabilities: (K,) float32, now: what the network said last.
        smoothed: (K,) float64, the same smoothed over time.
        times: (N,) float64, the moments that the network was asked about for this frame: none where its rate asks for
            none, several where frames come slower than that.
        per_step: (N, K) float32, what it said of them.
        open: the segment that goes on, as far as it is known. Until it has lasted `min_duration` (`settled`), later
            frames may move its start or take it back.
        settled: whether its start and its label are for good.
        closed: the segments that ended with this frame; they never change.
        reset: why a new sequence began with this frame, if one did.
        labels: the K class names.
    """

    time: float
    probabilities: NDArray[np.float32]
    smoothed: NDArray[np.float64]
    times: NDArray[np.float64]
    per_step: NDArray[np.float32]
    open: Segment | None
    settled: bool
    closed: tuple[Segment, ...]
    reset: Reset | None
    labels: tuple[str, ...]

    @property
    def label(self) -> str:
        """The most probable class now, smoothed."""
        return self.labels[int(self.smoothed.argmax())]

    @property
    def probability(self) -> float:
        """Its smoothed probability."""
        return float(self.smoothed.max())


@dataclass
class Counts:
    """What a stream has seen since it began.

    Attributes:
        frames: that were pushed.
        steps: of the network (of the first, where several answer as one).
        gaps: after which a new sequence began.
        cuts: at which one began.
    """

    frames: int = 0
    steps: int = 0
    gaps: int = 0
    cuts: int = 0


class Track:
    """One stream: `take` a frame, have what is due in every feed seen by its network, then `answer`.

    Args:
        labels: the K class names.
        members: the networks.
        options: how the stream is read.
    """

    def __init__(self, labels: Sequence[str], members: Sequence[Member], options: StreamOptions) -> None:
        self.labels = tuple(labels)
        self.members = members
        self.options = options
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        one = self.options
        self.feeds = [Feed(member, one.half_tick) for member in self.members]
        self.counts = Counts()
        self._cuts = CutDetector() if one.cuts else None
        self._tracker = SegmentTracker(
            self.labels,
            smoothing=one.smoothing,
            min_duration=one.min_duration,
            threshold=one.threshold,
        )
        self._time: float | None = None
        self._interval: float | None = None
        self._now = np.zeros(len(self.labels), np.float32)
        self._closed: list[Segment] = []
        self._reset: Reset | None = None

    def check(self, frame: NDArray[Any], time: float) -> None:
        """Looks at a frame before it changes anything.

        Raises:
            LrcnError: it is no frame, or its time does not follow that of the frame before.
        """
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
            raise LrcnError(
                f"A stream takes frames uint8 (H, W, 3) RGB; it was given {frame.dtype} {frame.shape}."
            )
        if not abs(time) < _LATEST:
            raise LrcnError(
                f"A stream's frames have times in seconds, but one came at {time:g}: mend its clock."
            )
        if self._time is not None and time <= self._time:
            raise LrcnError(
                f"A stream's frames have rising times, but one came at {time:g} s after one at {self._time:g} s."
            )

    def take(self, frame: Picture, time: float) -> None:
        """Takes the next frame, uint8 (H,W,3) of any size."""
        self._reset = None
        gap = 0.0 if self._time is None else time - self._time
        if self._time is not None and self.options.gap is not None and gap > self.options.gap:
            self._begin_anew("gap", min(self._time + self._lasts(), time))
        elif gap:
            self._interval = gap
        resizes = {member.preparation.resize for member in self.members}
        # Pictures are held until the next frame, and the caller may draw on his in the meantime.
        pictures = {resize: _other_than(frame, resize(frame)) for resize in resizes}
        shown = [pictures[member.preparation.resize] for member in self.members]
        if self._cuts is not None and self._cuts.push(shown[0]) and self._reset is None:
            self._begin_anew("cut", time)
        for feed, picture in zip(self.feeds, shown, strict=True):
            feed.push(picture, time)
        self._time = time
        self.counts.frames += 1

    def end(self, lasts: float | None) -> float | None:
        """Makes due what is left where the last frame is shown for `lasts` seconds.

        Returns:
            The time when that is over; None where there was no frame.
        """
        if self._time is None:
            return None
        lasts, self._reset = self._lasts() if lasts is None else lasts, None
        for feed in self.feeds:
            feed.end(lasts)
        return self._time + lasts

    def answer(self) -> Answer:
        """What the networks said of the last frame, as one.

        Raises:
            LrcnError: they said no numbers.
        """
        assert self._time is not None
        times, rows = self._said()
        if not np.isfinite(rows).all():
            raise LrcnError("The model's scores are not numbers; its weights are damaged, so fetch it again.")
        for time, row in zip(times.tolist(), rows, strict=True):
            self._closed += self._tracker.push(time, row)
            self._now = row
        self.counts.steps += len(times)
        closed, self._closed = tuple(self._closed), []
        smoothed = self._tracker.smoothed
        assert smoothed is not None
        return Answer(
            time=self._time,
            probabilities=self._now.copy(),
            smoothed=smoothed,
            times=times,
            per_step=rows,
            open=self._tracker.open,
            settled=self._tracker.settled,
            closed=closed,
            reset=self._reset,
            labels=self.labels,
        )

    def close(self, end: float) -> Answer:
        """The same where the stream ends at `end` seconds: every segment is closed, and everything forgotten."""
        last = self.answer()
        closed = (*last.closed, *self._tracker.close(end))
        self.reset()
        return replace(last, open=None, settled=False, closed=closed)

    def state(self) -> StreamState:
        """All of it between two frames."""
        feeds = [feed.state() for feed in self.feeds]
        values = {
            "time": self._time,
            "interval": self._interval,
            "counts": asdict(self.counts),
            "feeds": [feed.values for feed in feeds],
        }
        arrays = {"now": self._now} | prefixed("segments.", self._tracker.state())
        if self._cuts is not None:
            arrays |= prefixed("cuts.", self._cuts.state())
        for number, feed in enumerate(feeds):
            arrays |= prefixed(f"feed.{number}.", feed.arrays)
        return StreamState(values, arrays)

    def restore(self, state: StreamState) -> None:
        """Goes on from a `state`.

        Raises:
            KeyError, TypeError, ValueError: it is none of these networks.
        """
        self.reset()
        values = state.values
        self._time, self._interval = (_seconds(values[name]) for name in ("time", "interval"))
        self.counts = Counts(**values["counts"])
        self._now = state.arrays["now"].astype(np.float32).reshape(len(self.labels))
        self._tracker.restore(state.below("segments."))
        if self._cuts is not None:
            self._cuts.restore(state.below("cuts."))
        for number, (feed, told) in enumerate(zip(self.feeds, values["feeds"], strict=True)):
            feed.restore(StreamState(told, state.below(f"feed.{number}.")))
            # Fails where it speaks of other labels.
            self._as_arrays(feed.known())

    def _begin_anew(self, why: Reset, end: float) -> None:
        """Closes what is open at `end`; no network remembers what was before."""
        self._reset = why
        if why == "gap":
            self.counts.gaps += 1
        else:
            self.counts.cuts += 1
        self._closed += self._tracker.close(end)
        self._interval = None
        for feed in self.feeds:
            feed.begin_anew()

    def _lasts(self) -> float:
        """How long the last frame is shown: as long as the one before it, else a step of the network."""
        return self._interval or 1 / (self.members[0].rate or DEFAULT_RATE)

    def _said(self) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """The first network's new moments (N,), and what all say then (N, K): the sum by their weights."""
        times, rows = self._as_arrays(self.feeds[0].new)
        if len(self.feeds) > 1 and len(times):
            from lrcn.models.fusion import at_times, weighted

            known = [self._as_arrays(feed.known()) for feed in self.feeds[1:]]
            parts = [rows, *(at_times(theirs, then, times) for then, theirs in known)]
            rows = weighted(parts, [member.weight for member in self.members]).astype(np.float32)
        for feed in self.feeds:
            feed.settle()
        return times, rows

    def _as_arrays(self, said: Said) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        rows = np.array([row for _, row in said], np.float32).reshape(len(said), len(self.labels))
        return np.array([time for time, _ in said], np.float64), rows


def _other_than(frame: Picture, resized: Picture) -> Picture:
    """The resized frame in memory of its own."""
    return resized.copy() if np.may_share_memory(frame, resized) else resized


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)
