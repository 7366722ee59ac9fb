"""Frames of a camera, an address or a film as they come: some are late, some are lost, and the camera may go away.

    with LiveSource("rtsp://door") as source:
        for one in source:
            if isinstance(one, Frame):
                answer = stream.push(one.picture, one.time)

A thread takes the frames, so that a slow network never holds up a camera. What becomes of frames that come faster than
they are used is the policy: under "latest" one frame waits, a newer one takes its place, and the older is counted as
dropped; under "all" they wait for their turn, a film's for as long as it takes, a camera's up to `MOST_WAITING`, after
which the oldest is dropped and counted. A camera or stream that breaks off is opened again, at first soon, then at ever
longer intervals.
"""

from __future__ import annotations

import threading
import time as clock
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from lrcn.data.media import is_camera, is_url
from lrcn.data.picture import Picture, Resize
from lrcn.data.video import VideoError, VideoReader, VideoSource, open_video
from lrcn.errors import LrcnError

Policy = Literal["latest", "all"]

MOST_WAITING = 64
"""Frames of a live source that wait under the policy "all"."""

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
"""Seconds before a source that broke off is opened again: twice as many each time."""

_LATE = 5.0
"""A network stream's clock that is off by more seconds is set anew."""

_FILM_AHEAD = 4
_IDLE = 0.1


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame.

    Attributes:
        picture: uint8 (H, W, 3) RGB.
        time: seconds: of a film its own, of a live source since its first frame, over all interruptions.
        arrived: when it came, on `time.monotonic`'s clock.
    """

    picture: Picture
    time: float
    arrived: float


@dataclass(frozen=True)
class Lost:
    """A live source broke off; it is being looked for.

    Attributes:
        time: seconds, as frames have.
        reason: one sentence.
    """

    time: float
    reason: str


@dataclass(frozen=True)
class Found:
    """It is there again.

    Attributes:
        time: seconds, as frames have.
        attempts: how often it was tried.
        seconds: how long it was away.
    """

    time: float
    attempts: int
    seconds: float


class LiveSource:
    """A source that is read in a thread from the moment it is entered; use it as a context manager.

    Attributes:
        reader: what reads it at present.
        live: whether it does not wait, and is opened again when it breaks off: a camera, or a stream without an end.
        policy: what becomes of frames that are not used in time.
        dropped: frames that were never given out.
        reconnects: how often it came back.

    Args:
        source: a file, a folder of frames, a camera's number, an address.
        resize: what the reader does to each frame.
        policy: see above; None is "latest" for live sources and "all" for films.
        realtime: plays a film at its own speed instead of as fast as its frames are used.
        retries: attempts in a row to open a live source again; None: for ever.
        waits: seconds before the first attempt, and at most.
        opens: what opens a source.

    Raises:
        LrcnError: it cannot be opened.
    """

    def __init__(
        self,
        source: VideoSource,
        *,
        resize: Resize | None = None,
        policy: Policy | None = None,
        realtime: bool = False,
        retries: int | None = None,
        waits: tuple[float, float] = (_FIRST_WAIT, _LONGEST_WAIT),
        opens: Callable[..., VideoReader] = open_video,
    ) -> None:
        self._source, self._resize, self._opens = source, resize, opens
        self._realtime, self._retries, self._waits = realtime, retries, waits
        self.reader = opens(source, resize=resize)
        self.live, self._by_arrival = _kind(source, self.reader.info.duration)
        self.policy: Policy = policy or ("latest" if self.live else "all")
        self.dropped = 0
        self.reconnects = 0
        waits_long = MOST_WAITING if self.live else _FILM_AHEAD
        self._depth = 1 if self.policy == "latest" else waits_long
        self._waiting: deque[Frame | Lost | Found] = deque()
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._over = False
        self._error: BaseException | None = None
        self._began: float | None = None
        self._last = -1.0
        self._thread = threading.Thread(target=self._work, name="lrcn-live", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame | Lost | Found | None]:
        """What comes, until it is over; None where nothing came for a moment, so that others can do their work.

        Raises:
            LrcnError: the source did not come back, or a film turned out to be unreadable.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._over, _IDLE)
                one = self._waiting.popleft() if self._waiting else None
                over = self._over and one is None
                self._changed.notify_all()
            if over:
                break
            yield one
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Lets go of the source; iteration ends."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        self.reader.close()
        if self._thread.ident is not None:
            # One that waits on a dead network is left behind: it is a daemon, and ends with its time limit.
            self._thread.join(timeout=2)

    @property
    def now(self) -> float:
        """Seconds, as frames of a live source have."""
        return 0.0 if self._began is None else clock.monotonic() - self._began

    @property
    def _not_before(self) -> float:
        """Now, or the last frame's time: a stream may hand on frames ahead of the clock, such as those it had kept."""
        return max(self.now, self._last)

    def _work(self) -> None:
        try:
            reason = self._read()
            while self.live and not self._stop.is_set():
                self._put(Lost(self._not_before, reason))
                self._open_again(reason)
                if not self._stop.is_set():
                    reason = self._read()
        except Exception as error:  # noqa: BLE001 - raised again where the frames are used
            self._error = error
        finally:
            self.reader.close()
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _read(self) -> str:
        """Hands on the frames until there are no more; says why."""
        try:
            with closing(self.reader.frames()) as frames:  # type: ignore[type-var]
                ahead = None
                for picture, time in frames:
                    if self._began is None:
                        self._began = clock.monotonic()
                    if self.live:
                        self._last, ahead = self._live_time(time, ahead)
                    else:
                        self._last = time
                        self._stop.wait(time - self.now if self._realtime else 0)
                    if self._stop.is_set():
                        break
                    self._put(Frame(picture, self._last, clock.monotonic()))
        except LrcnError as error:
            if not self.live and not self._stop.is_set():
                raise
            return str(error)
        return self.reader.warning or "The stream ended."

    def _live_time(self, time: float, ahead: float | None) -> tuple[float, float]:
        """A frame's time over all interruptions, and by how much it is ahead of the source's own."""
        now, least = self.now, self._last + 1e-3
        if ahead is None or self._by_arrival or abs(time + ahead - now) > _LATE:
            ahead = max(now, least) - time
        return max(time + ahead, least), ahead

    def _put(self, one: Frame | Lost | Found) -> None:
        with self._changed:
            if isinstance(one, Frame):
                self._make_room()
            self._waiting.append(one)
            self._changed.notify_all()

    def _make_room(self) -> None:
        """For one more frame: by waiting, or by dropping the oldest."""
        if self.policy == "all" and not self.live:
            self._changed.wait_for(lambda: len(self._waiting) < self._depth or self._stop.is_set())
            return
        frames = [one for one in self._waiting if isinstance(one, Frame)]
        if len(frames) >= self._depth:
            self._waiting.remove(frames[0])
            self.dropped += 1

    def _open_again(self, reason: str) -> None:
        """Tries until it is there, or nobody wants it any more.

        Raises:
            VideoError: it was tried `retries` times.
        """
        self.reader.close()
        wait, most = self._waits
        left, attempts = clock.monotonic(), 0
        while not self._stop.wait(wait):
            attempts += 1
            try:
                reader = self._opens(self._source, resize=self._resize)
            except LrcnError as error:
                reason = str(error)
            else:
                self.reader = reader
                self.reconnects += 1
                self._put(Found(self._not_before, attempts, clock.monotonic() - left))
                return
            if self._retries is not None and attempts >= self._retries:
                raise VideoError(f"It was lost, and {attempts} attempts did not bring it back: {reason}")
            wait = min(2 * wait, most)


def _kind(source: VideoSource, duration: float | None) -> tuple[bool, bool]:
    """Whether a source is live, and whether its frames' times are best taken from when they come."""
    if isinstance(source, int) or (isinstance(source, str) and is_camera(source)):
        return True, True
    scheme = urlsplit(source).scheme.lower() if isinstance(source, str) and is_url(source) else "file"
    live = scheme != "file" and duration is None
    # Motion JPEG over HTTP carries no times; FFmpeg makes up some.
    return live, live and scheme in ("http", "https")


class Pace:
    """How fast answers come, over the last of them.

    Args:
        seconds: how far back is looked.
    """

    def __init__(self, seconds: float = 2.0) -> None:
        self._seconds = seconds
        self._frames: deque[tuple[float, float, int]] = deque(maxlen=512)

    def tell(self, arrived: float, steps: int) -> None:
        """A frame that arrived at that moment has now been answered, by so many steps of the network."""
        now = clock.monotonic()
        self._frames.append((now, now - arrived, steps))

    def rates(self) -> tuple[float, float]:
        """Frames and steps a second."""
        now = clock.monotonic()
        recent = [(then, steps) for then, _, steps in self._frames if now - then <= self._seconds]
        if not recent:
            return 0.0, 0.0
        # Since the first of them, as there may not have been so many seconds yet.
        span = min(self._seconds, max(now - self._frames[0][0], 1e-3))
        return len(recent) / span, sum(steps for _, steps in recent) / span

    def latency(self, share: float = 0.5) -> float:
        """Seconds from the arrival of a frame to its answer, such that this share of frames took no longer."""
        found: NDArray[np.float64] = np.array([latency for _, latency, _ in self._frames])
        return float(np.quantile(found, share)) if len(found) else 0.0
