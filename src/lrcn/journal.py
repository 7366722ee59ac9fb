"""What happened on a live stream, as records: one JSON object each, in the order it became certain."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from lrcn.live import Found, Lost
from lrcn.segments import Segment
from lrcn.track import Answer

if TYPE_CHECKING:
    from lrcn.predict import Recognition

KEPT = 1000
"""Segments that are kept for the summary; how many there were is counted."""

Record = dict[str, Any]


class Journal:
    """Turns a stream's answers into records, and keeps what the summary at the end tells.

    Every record has `event` and, but for the first, `time` in seconds (3 decimals):

    - `watching`: `source`, `model`, `labels`, and `began`, the time of day (ISO 8601, UTC)
    - `start`: `label`; a segment has lasted long enough, `time` is where it began
    - `end`: `start`, `label`, `score`; it is over, and this never changes
    - `withdrawn`: `start`, `label`; a segment that was started ended with less than the score asked for
    - `reset`: `reason`, gap or cut; a new sequence begins
    - `dropped`: `frames`, since the last such record
    - `lost`: `reason`; `found`: `attempts`, `seconds` away
    - `stopped`: `reason`, `frames`, `steps`, `dropped`, `reconnects`

    Args:
        source: what it is called.
        labels: the K class names.
    """

    def __init__(self, source: str, labels: tuple[str, ...]) -> None:
        self.source = source
        self.labels = labels
        self.segments: deque[Segment] = deque(maxlen=KEPT)
        self.closed = 0
        self.frames = 0
        self.steps = 0
        self._started: Segment | None = None
        self._total = np.zeros(len(labels))
        self._time = 0.0
        self._dropped = 0
        self._dropped_at = -math.inf
        self._reconnects = 0

    def begin(self, model: str) -> Record:
        """The first record."""
        began = datetime.now(UTC).isoformat(timespec="milliseconds")
        labels = list(self.labels)
        return {"event": "watching", "source": self.source, "model": model, "labels": labels, "began": began}

    def answered(self, answer: Answer) -> Iterator[Record]:
        """What is certain since this answer."""
        self.frames += 1
        yield from self._told(answer)

    def ended(self, answer: Answer | None, reason: str, dropped: int) -> Iterator[Record]:
        """The last records, after the stream's last answer, with all frames that were dropped."""
        self._dropped_at = -math.inf
        yield from self.dropped(dropped)
        if answer is not None:
            yield from self._told(answer)
        counts = {"frames": self.frames, "steps": self.steps, "dropped": self._dropped}
        counts["reconnects"] = self._reconnects
        yield self._record("stopped", self._time, reason=reason, **counts)

    def dropped(self, frames: int) -> Iterator[Record]:
        """How many frames have been dropped in all by now; told once a second at most."""
        if frames > self._dropped and self._time - self._dropped_at >= 1:
            yield self._record("dropped", self._time, frames=frames - self._dropped)
            self._dropped, self._dropped_at = frames, self._time

    def happened(self, one: Lost | Found) -> Record:
        """A live source went away or came back."""
        if isinstance(one, Lost):
            return self._record("lost", one.time, reason=one.reason)
        self._reconnects += 1
        return self._record("found", one.time, attempts=one.attempts, seconds=round(one.seconds, 3))

    def summary(self) -> Recognition | None:
        """The stream as a recognition without its frames; None where there were none."""
        # Here, as records can be written without torch.
        from lrcn.predict import Recognition

        if not self.steps:
            return None
        clip = self._total / self.steps
        order = np.argsort(-clip, kind="stable")
        return Recognition(
            path=self.source,
            label=self.labels[int(order[0])],
            probability=float(clip[order[0]]),
            probabilities={self.labels[int(k)]: float(clip[k]) for k in order},
            per_frame=np.zeros((0, len(self.labels)), np.float32),
            times=np.zeros(0),
            segments=list(self.segments),
            labels=list(self.labels),
            start=0.0,
            end=self._time,
        )

    def _told(self, answer: Answer) -> Iterator[Record]:
        self._time = answer.time
        self._total += answer.per_step.sum(axis=0, dtype=np.float64)
        self.steps += len(answer.times)
        for segment in answer.closed:
            yield from self._start(segment)
            self._started = None
            self.segments.append(segment)
            self.closed += 1
            score = round(segment.score, 6)
            yield self._record(
                "end", segment.end, start=round(segment.start, 3), label=segment.label, score=score
            )
        if answer.reset is not None:
            yield from self._withdraw()
            yield self._record("reset", answer.time, reason=answer.reset)
        if answer.open is None:
            yield from self._withdraw()
        elif answer.settled:
            yield from self._start(answer.open)

    def _start(self, segment: Segment) -> Iterator[Record]:
        before = self._started
        if before is not None and (before.start, before.label) == (segment.start, segment.label):
            return
        yield from self._withdraw()
        self._started = segment
        yield self._record("start", segment.start, label=segment.label)

    def _withdraw(self) -> Iterator[Record]:
        """Takes back a start that no end followed."""
        if self._started is not None:
            at, label = self._started.start, self._started.label
            yield self._record("withdrawn", self._time, start=round(at, 3), label=label)
            self._started = None

    def _record(self, event: str, time: float, **told: Any) -> Record:
        return {"event": event, "time": round(time, 3), **told}
