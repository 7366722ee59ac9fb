"""Scores at every frame -> what happens from when to when."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the clip with one label.

    Attributes:
        start: seconds, inclusive.
        end: seconds, exclusive; the next segment may start there.
        label: what happens.
        score: mean probability of `label` over the frames of the stretch, 0 to 1, before smoothing.
    """

    start: float
    end: float
    label: str
    score: float


class _Run:
    """Frames in a row that go under one class, as the sums that give any class's mean over them.

    Attributes:
        start: time of the first frame, seconds.
        k: the class.
        total: (K,), the sum of the frames' probabilities.
        frames: how many they are.
        tail: the latest of them with their times, while another run may still claim them.
    """

    def __init__(self, time: float, k: int, raw: NDArray[np.float64]) -> None:
        self.start = time
        self.k = k
        self.total = raw
        self.frames = 1
        self.tail: deque[tuple[float, NDArray[np.float64]]] = deque([(time, raw)])

    def state(self) -> dict[str, NDArray[np.float64]]:
        """The run as arrays."""
        times, rows = zip(*self.tail, strict=True)
        return {
            "about": np.array([self.start, self.k, self.frames]),
            "total": self.total,
            "times": np.array(times),
            "tail": np.stack(rows),
        }

    @classmethod
    def restored(cls, state: dict[str, NDArray[np.float64]], prefix: str, classes: int) -> "_Run | None":
        """The run whose arrays have names with this prefix; None where there are none."""
        if f"{prefix}about" not in state:
            return None
        names = ("about", "total", "times", "tail")
        about, total, times, tail = (np.asarray(state.get(prefix + name, ()), np.float64) for name in names)
        shapes = about.shape, total.shape, tail.shape
        if shapes != ((3,), (classes,), (times.size, classes)) or not (
            times.size and 0 <= about[1] < classes
        ):
            raise ValueError(f"this is no state of a tracker of {classes} labels")
        run = cls(float(about[0]), int(about[1]), total)
        run.frames = int(about[2])
        run.tail = deque(zip(times.tolist(), tail, strict=True))
        return run

    def absorb(self, later: "_Run", horizon: float) -> None:
        """Takes over the run that follows, and forgets the tail that is older than `horizon` seconds."""
        self.total = self.total + later.total
        self.frames += later.frames
        self.tail += later.tail
        while self.tail[0][0] < self.tail[-1][0] - horizon:
            self.tail.popleft()

    def claim(self, earlier: "_Run", not_before: float) -> None:
        """Takes the last frames of the run before that spoke for this class already."""
        while len(earlier.tail) > 1 and earlier.frames > 1:
            time, raw = earlier.tail[-1]
            if time < not_before or raw[self.k] <= raw[earlier.k]:
                break
            earlier.tail.pop()
            earlier.total = earlier.total - raw
            earlier.frames -= 1
            self.tail.appendleft((time, raw))
            self.total = self.total + raw
            self.frames += 1
            self.start = time


class SegmentTracker:
    """Turns probabilities into segments while they arrive.

    The probabilities are smoothed by a causal exponential mean, the most probable class at each frame makes
    runs, and a run shorter than `min_duration` is given to the neighbour that is more probable over its
    frames. Smoothing sees a change about 0.7 x `smoothing` seconds late; the boundary is then put back to
    where the unsmoothed probabilities changed over. A segment is closed as soon as a run after it has lasted
    `min_duration`: nothing seen later can change it.

    Memory and time per frame do not grow with the length of the video.

    Args:
        labels: the K class names, in the order of the probabilities.
        smoothing: time constant of the exponential mean, seconds; 0 for none.
        min_duration: shortest segment, seconds; only a clip that is shorter itself gives a shorter one.
        threshold: segments with a lower score are left out, which leaves a gap.

    Raises:
        ValueError: no labels, or a negative number of seconds.
    """

    def __init__(
        self,
        labels: Sequence[str],
        *,
        smoothing: float = 0.5,
        min_duration: float = 0.4,
        threshold: float = 0.0,
    ) -> None:
        if not labels:
            raise ValueError("segments need at least one label")
        if smoothing < 0 or min_duration < 0:
            raise ValueError(
                f"smoothing and min_duration are seconds >= 0, not {smoothing} and {min_duration}"
            )
        self.labels = list(labels)
        self.smoothing = smoothing
        self.min_duration = min_duration
        self.threshold = threshold
        # What is older than this weighs less than 2 % in the smoothing, so no change can date from before.
        self._horizon = 4 * smoothing
        self._time = -np.inf
        self._smooth: NDArray[np.float64] | None = None
        # `_sure` has lasted long enough to be a segment; `_young`, the run after it, not yet.
        self._sure: _Run | None = None
        self._young: _Run | None = None

    @property
    def open(self) -> Segment | None:
        """The segment that is still going on, as far as the last frame; None before the first frame.

        Its score is not held against `threshold`: it can still rise.
        """
        run = self._sure or self._young
        return None if run is None else self._segment(run, self._time)

    @property
    def settled(self) -> bool:
        """Whether the open segment has lasted `min_duration`: its start and label are as they will be told."""
        return self._sure is not None

    @property
    def smoothed(self) -> NDArray[np.float64] | None:
        """The smoothed probabilities (K,) at the last frame; None before the first."""
        return None if self._smooth is None else self._smooth.copy()

    def push(self, time: float, probabilities: ArrayLike) -> list[Segment]:
        """Takes the next frame.

        Args:
            time: seconds, later than the frame before.
            probabilities: (K,).

        Returns:
            The segments that this frame closed: none or one.

        Raises:
            ValueError: the time does not advance, or there are not K probabilities.
        """
        raw = np.array(probabilities, dtype=np.float64)
        if raw.shape != (len(self.labels),):
            raise ValueError(f"expected {len(self.labels)} probabilities, one per label, got {raw.shape}")
        if not time > self._time:
            raise ValueError(f"frame times must ascend, but {time} follows {self._time}")
        k = self._smoothed_class(time, raw)
        self._time = time
        closed = self._settle(time)
        self._extend(_Run(time, k, raw))
        return closed

    def close(self, end: float) -> list[Segment]:
        """Ends the video: returns the segments that were still open and forgets everything.

        Args:
            end: seconds, where the last segment ends; not before the last frame.
        """
        end = max(end, self._time)
        closed = self._settle(end)
        if self._young is not None:
            if self._sure is None:
                self._sure = self._young
            else:
                self._sure.absorb(self._young, self._horizon)
        if self._sure is not None:
            closed += self._kept(self._sure, end)
        self._sure = self._young = self._smooth = None
        self._time = -np.inf
        return closed

    def state(self) -> dict[str, NDArray[np.float64]]:
        """All that is remembered, as arrays; the tracker that `restore` gives them to goes on as this one."""
        if self._smooth is None:
            return {}
        arrays = {"time": np.array([self._time]), "smooth": self._smooth}
        for name, run in (("sure", self._sure), ("young", self._young)):
            if run is not None:
                arrays |= {f"{name}.{part}": value for part, value in run.state().items()}
        return arrays

    def restore(self, state: dict[str, NDArray[np.float64]]) -> None:
        """Goes on from a `state`.

        Raises:
            ValueError: it is none, or one of other labels.
        """
        classes = len(self.labels)
        self._smooth, self._time = None, -np.inf
        if state:
            smooth, time = (np.asarray(state.get(name, ()), np.float64) for name in ("smooth", "time"))
            if smooth.shape != (classes,) or time.shape != (1,):
                raise ValueError(f"this is no state of a tracker of {classes} labels")
            self._smooth, self._time = smooth, float(time[0])
        self._sure, self._young = (_Run.restored(state, f"{name}.", classes) for name in ("sure", "young"))

    def _smoothed_class(self, time: float, raw: NDArray[np.float64]) -> int:
        if self._smooth is None or self.smoothing < 1e-6:
            self._smooth = raw
        else:
            # The weight follows the time that passed, so frames at uneven times smooth alike.
            keep = np.exp((self._time - time) / self.smoothing)
            self._smooth = keep * self._smooth + (1 - keep) * raw
        return int(self._smooth.argmax())

    def _settle(self, time: float) -> list[Segment]:
        """Promotes the young run once it has lasted up to `time`; that closes the run before it."""
        young = self._young
        if young is None or time - young.start < self.min_duration:
            return []
        closed = [] if self._sure is None else self._kept(self._sure, young.start)
        self._sure, self._young = young, None
        return closed

    def _extend(self, frame: _Run) -> None:
        """Adds a run of one frame to the run it belongs to, or lets it stand as the young one."""
        sure, young = self._sure, self._young
        if young is not None:
            if young.k != frame.k:
                frame.claim(young, young.start)
            if young.k == frame.k or sure is None or self._leans_right(sure, young, frame):
                young.absorb(frame, self._horizon)
                young.k = frame.k
                return
            sure.absorb(young, self._horizon)
            self._young = None
        if sure is not None and sure.k == frame.k:
            sure.absorb(frame, self._horizon)
            return
        if sure is not None:
            frame.claim(sure, sure.start + self.min_duration)
        self._young = frame

    @staticmethod
    def _leans_right(sure: _Run, young: _Run, frame: _Run) -> bool:
        """Whether a run that stayed short belongs to the run after it rather than to the one before."""
        return sure.k != frame.k and bool(young.total[frame.k] > young.total[sure.k])

    def _kept(self, run: _Run, end: float) -> list[Segment]:
        segment = self._segment(run, end)
        return [segment] if segment.score >= self.threshold else []

    def _segment(self, run: _Run, end: float) -> Segment:
        score = float(run.total[run.k]) / run.frames
        return Segment(float(run.start), float(end), self.labels[run.k], score)


def segments(
    probabilities: NDArray[np.floating],
    times: NDArray[np.floating],
    labels: Sequence[str],
    *,
    smoothing: float = 0.5,
    min_duration: float = 0.4,
    threshold: float = 0.0,
    end: float | None = None,
) -> list[Segment]:
    """Finds what happens from when to when in a whole clip; the same numbers as `SegmentTracker` gives live.

    With `threshold` 0 the segments cover the clip from the first time to `end` without gaps or overlaps, and
    neighbours differ in label.

    Args:
        probabilities: (T, K).
        times: (T,), seconds, ascending.
        labels: the K class names.
        smoothing: time constant of the causal exponential mean, seconds; 0 for none.
        min_duration: shortest segment, seconds.
        threshold: segments with a lower score are left out.
        end: the end of the clip, seconds; by default the last frame lasts as long as frames usually do here.

    Raises:
        ValueError: the shapes do not fit or the times do not ascend.
    """
    if len(probabilities) != len(times):
        raise ValueError(f"{len(probabilities)} rows of probabilities for {len(times)} times")
    if len(times) == 0:
        return []
    if end is None:
        end = float(times[-1]) + (float(np.median(np.diff(times))) if len(times) > 1 else 0.0)
    tracker = SegmentTracker(labels, smoothing=smoothing, min_duration=min_duration, threshold=threshold)
    found: list[Segment] = []
    for time, row in zip(times, probabilities, strict=True):
        found += tracker.push(float(time), row)
    return found + tracker.close(end)
