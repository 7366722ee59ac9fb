"""Many live connections through one network: whoever has a frame takes part in the next step, many in a batch.

Of each connection one frame waits as it came; a newer one takes its place, and the older is counted as dropped. Threads
decode what waits while the network is at the frames before, so that one frame of a connection waits, one is decoded or
ready, and one is in the network. One thread alone touches the pool of streams.
"""

from __future__ import annotations

import math
import threading
import time as clock
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lrcn.data.picture import Picture
from lrcn.errors import LrcnError
from lrcn.serve.metrics import Metrics

if TYPE_CHECKING:
    from lrcn.segments import Segment
    from lrcn.stream import Streamable
    from lrcn.track import Answer

Tell = Callable[[dict[str, Any]], None]
Decode = Callable[[bytes], Picture]

KEPT_SEGMENTS = 1_000
"""Segments of a connection that are told again at its end; of more, the last."""

_UNSENT = 16
"""Answers that wait to be sent; while there are so many, a connection's frames are dropped instead of read."""

_LATEST = 2.0**32
"""Seconds; later times are none, as in `lrcn.track`."""


@dataclass(eq=False)
class _Frame:
    time: float
    data: bytes
    arrived: float
    picture: Picture | None = None
    error: str | None = None


@dataclass(eq=False)
class Seat:
    """A connection's place; all but `unsent` belongs to `LivePool`, under its lock.

    Attributes:
        tell: takes what is said, in the order of the frames, from any thread.
        waiting: the newest frame, as it came.
        reset: whether a new sequence begins with the frame that waits, or the next one.
        finish: whether the end was asked for.
        taken: the frame that is decoded, ready or in the network.
        dropped: frames that were never used.
        segments: those that ended.
        unsent: answers that were told and are not sent yet.
    """

    tell: Tell
    waiting: _Frame | None = None
    reset: bool = False
    finish: bool = False
    taken: _Frame | None = None
    ready: bool = False
    last: float | None = None
    dropped: int = 0
    segments: deque[Segment] = field(default_factory=lambda: deque(maxlen=KEPT_SEGMENTS))
    unsent: int = 0
    open: bool = True


class LivePool:
    """The network and the threads around it.

    Args:
        streamable: the network.
        decode: a message's bytes -> uint8 (H, W, 3); raises LrcnError.
        most: connections.
        metrics: where frames are counted.
        readers: threads that decode.
    """

    def __init__(
        self, streamable: Streamable, decode: Decode, most: int, metrics: Metrics, readers: int = 2
    ) -> None:
        from lrcn.pool import StreamPool

        self.labels = streamable.labels
        self.rate = streamable.members[0].rate
        self._decode, self._most, self._metrics = decode, most, metrics
        self._resize = streamable.resize
        self._pool: StreamPool[Seat] = StreamPool(streamable)
        self._seats: dict[Seat, None] = {}
        self._left: list[Seat] = []
        self._changed = threading.Condition()
        self._closed = False
        self._readers = ThreadPoolExecutor(readers, "lrcn-decode")
        self._thread = threading.Thread(target=self._work, name="lrcn-live", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._seats)

    def join(self, tell: Tell) -> Seat | None:
        """A place; None where all are taken."""
        with self._changed:
            if self._closed or len(self._seats) >= self._most:
                return None
            seat = Seat(tell)
            self._seats[seat] = None
            return seat

    def leave(self, seat: Seat) -> None:
        """Lets go of a place and of all that it remembers."""
        with self._changed:
            if seat.open:
                seat.open = False
                del self._seats[seat]
                self._left.append(seat)
                self._changed.notify_all()

    def put(self, seat: Seat, time: float, data: bytes) -> None:
        """A frame that came."""
        with self._changed:
            self._drop(seat)
            seat.waiting = _Frame(time, data, clock.monotonic())
            self._take(seat)

    def reset(self, seat: Seat) -> None:
        """Begins a new sequence after the frames that are being worked on; one that only waits is dropped."""
        with self._changed:
            self._drop(seat)
            seat.reset = True
            self._changed.notify_all()

    def finish(self, seat: Seat) -> None:
        """Asks for the end, after the frame that waits."""
        with self._changed:
            seat.finish = True
            self._changed.notify_all()

    def sent(self, seat: Seat) -> None:
        """An answer was sent."""
        with self._changed:
            seat.unsent -= 1
            self._take(seat)

    def close(self) -> None:
        """Ends the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._readers.shutdown(cancel_futures=True)
        self._thread.join(timeout=10)

    # ---- under the lock ----

    def _drop(self, seat: Seat) -> None:
        if seat.waiting is not None:
            seat.waiting = None
            seat.dropped += 1
            self._metrics.frames.add(result="dropped")

    def _take(self, seat: Seat) -> None:
        """Has the frame that waits decoded, if the one before is done with."""
        wanted = seat.open and not seat.reset and not self._closed
        if wanted and seat.waiting and seat.taken is None and seat.unsent < _UNSENT:
            seat.taken, seat.waiting, seat.ready = seat.waiting, None, False
            self._readers.submit(self._read, seat, seat.taken)

    def _idle(self, seat: Seat) -> bool:
        return seat.waiting is None and seat.taken is None

    # ---- the threads that decode ----

    def _read(self, seat: Seat, frame: _Frame) -> None:
        try:
            picture = self._decode(frame.data)
            # Smaller at once: a frame may wait a while for its step.
            frame.picture = picture if self._resize is None else self._resize(picture)
        except LrcnError as error:
            frame.error = str(error)
        frame.data = b""
        with self._changed:
            seat.ready = True
            self._changed.notify_all()

    # ---- the thread of the network ----

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._something)
                if self._closed:
                    return
                left, self._left = self._left, []
                ready = [seat for seat in self._seats if seat.ready]
                frames: dict[Seat, _Frame] = {}
                for seat in ready:
                    assert seat.taken is not None
                    frames[seat] = seat.taken
                    seat.ready = False
                # Where no frame of the sequence before is left.
                resets = [seat for seat in self._seats if seat.reset and seat.taken is None]
                ends = [seat for seat in self._seats if seat.finish and self._idle(seat)]
                for seat in ends:
                    seat.finish = False
            for seat in left:
                if seat in self._pool:
                    self._pool.remove(seat)
            for seat in resets:
                self._begin_anew(seat)
            if frames:
                self._step(frames)
            for seat in ends:
                self._end(seat)

    def _something(self) -> bool:
        if self._closed or self._left:
            return True
        return any(
            seat.ready or (seat.reset and seat.taken is None) or (seat.finish and self._idle(seat))
            for seat in self._seats
        )

    def _begin_anew(self, seat: Seat) -> None:
        if seat in self._pool:
            self._pool.reset(seat)
        seat.last = None
        seat.segments.clear()
        with self._changed:
            seat.reset = False
            self._take(seat)

    def _step(self, frames: dict[Seat, _Frame]) -> None:
        good: dict[Seat, tuple[Picture, float]] = {}
        for seat, frame in frames.items():
            error = frame.error or _why_no_time(frame.time, seat.last)
            if error is None and frame.picture is not None:
                good[seat] = (frame.picture, frame.time)
                if seat not in self._pool:
                    self._pool.add(seat)
            else:
                self._metrics.frames.add(result="refused")
                time = frame.time if math.isfinite(frame.time) else None
                self._done(seat, {"error": error, "time": time, "dropped": seat.dropped})
        if not good:
            return
        self._metrics.batches.tell(len(good))
        # The next frames are decoded meanwhile.
        self._free(good)
        try:
            answers = self._pool.step(good)
        except Exception as error:  # noqa: BLE001 - told to whoever is concerned; the others' next frames go on
            sentence = str(error) if isinstance(error, LrcnError) else "The network failed: begin anew."
            for seat, (_, time) in good.items():
                self._pool.reset(seat)
                seat.last = None
                self._metrics.frames.add(result="refused")
                self._tell(seat, {"error": sentence, "time": time, "dropped": seat.dropped})
            return
        for seat, answer in answers.items():
            seat.last = answer.time
            seat.segments += answer.closed
            took = clock.monotonic() - frames[seat].arrived
            self._metrics.frames.add(result="answered")
            self._metrics.answer_seconds.tell(took)
            self._tell(seat, _record(answer, seat.dropped, took))

    def _end(self, seat: Seat) -> None:
        last = self._pool.remove(seat) if seat in self._pool else None
        if last is not None:
            seat.segments += last.closed
        self._tell(
            seat,
            {
                "finished": True,
                "segments": [_segment(one) for one in seat.segments],
                "dropped": seat.dropped,
            },
        )

    def _free(self, seats: dict[Seat, Any]) -> None:
        with self._changed:
            for seat in seats:
                seat.taken = None
                self._take(seat)

    def _done(self, seat: Seat, message: dict[str, Any]) -> None:
        self._free({seat: None})
        self._tell(seat, message)

    def _tell(self, seat: Seat, message: dict[str, Any]) -> None:
        with self._changed:
            if not seat.open:
                return
            seat.unsent += 1
        seat.tell(message)


def _why_no_time(time: float, last: float | None) -> str | None:
    if not abs(time) < _LATEST:
        return "The frame's time is no number of seconds: mend the clock."
    if last is not None and time <= last:
        return (
            f"The frame's time, {time:g} s, does not rise after {last:g} s: send frames in order, or a reset."
        )
    return None


def _record(answer: Answer, dropped: int, took: float) -> dict[str, Any]:
    going = answer.open
    return {
        "time": answer.time,
        "label": answer.label,
        "probability": round(answer.probability, 6),
        "probabilities": [round(float(value), 6) for value in answer.probabilities],
        "open": None if going is None else {"start": round(going.start, 3), "label": going.label},
        "closed": [_segment(one) for one in answer.closed],
        "dropped": dropped,
        "milliseconds": round(1000 * took, 2),
    }


def _segment(one: Segment) -> dict[str, Any]:
    return {
        "start": round(one.start, 3),
        "end": round(one.end, 3),
        "label": one.label,
        "score": round(one.score, 6),
    }
