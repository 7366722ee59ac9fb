"""A live picture with a band below it: what happens now, and the last half minute; for a window or a film."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from lrcn.annotate import Canvas
from lrcn.data.picture import Picture
from lrcn.errors import LrcnError
from lrcn.predict import Recognition
from lrcn.track import Answer

SPAN = 30.0
"""Seconds that the band goes back."""

_WIDEST = 1280
_TICK = Fraction(1, 90_000)
_DARK = 0.3


class LiveCanvas(Canvas):
    """Draws frames as they come, all at the size of the first.

    Args:
        labels: the K class names.
        width: of the first frame, pixels.
        height: of the first frame, pixels.
    """

    def __init__(self, labels: tuple[str, ...], width: int, height: int) -> None:
        self._said: deque[tuple[float, int, float]] = deque()
        self._latest: tuple[str | None, float] = None, 0.0
        shrunk = min(1.0, _WIDEST / width)
        nothing = Recognition(
            path="",
            label=labels[0],
            probability=0.0,
            probabilities={},
            per_frame=np.zeros((1, len(labels)), np.float32),
            times=np.array([-SPAN]),
            segments=[],
            labels=list(labels),
            start=-SPAN,
            end=0.0,
        )
        super().__init__(nothing, round(width * shrunk), round(height * shrunk))
        self._ground = np.zeros((1, 3)) + self.played[self.bar[0], self.left]
        self._inks = np.array([self.colours[label] for label in labels], np.float64)

    def live(self, picture: Picture, answer: Answer) -> NDArray[np.uint8]:
        """The picture (H, W, 3) with its band."""
        k = int(answer.smoothed.argmax())
        self._said.append((answer.time, k, float(answer.smoothed[k])))
        while self._said[0][0] < answer.time - SPAN:
            self._said.popleft()
        self._latest = answer.label, answer.probability
        canvas = self.draw(picture, 0.0)
        bar = canvas[self.picture[1] :][self.bar[0] : self.bar[1], self.left : self.right]
        bar[:] = self._columns(answer.time, *bar.shape[:2])
        return canvas

    def _now(self, time: float) -> tuple[str | None, float]:
        return self._latest

    def _columns(self, now: float, high: int, wide: int) -> NDArray[np.uint8]:
        """The last seconds, the latest on the right: in the colour of what was said, as high as it was probable."""
        times, classes, shares = (np.array(column) for column in zip(*self._said, strict=True))
        moments = now - SPAN + SPAN * (np.arange(wide) + 1) / wide
        place = np.searchsorted(times, moments + 1e-9, side="right") - 1
        inks = self._inks[classes[place]]
        full = (high - np.arange(high)[:, None]) <= np.rint(shares[place] * high)
        columns = np.where(full[..., None], inks, self._ground + _DARK * (inks - self._ground))
        columns[:, place < 0] = self._ground
        return np.asarray(columns, np.uint8)

    def _ticks(self) -> Iterator[tuple[float, str, str]]:
        for seconds in (30, 20, 10):
            yield -float(seconds), f"-{seconds} s", "lm" if seconds == SPAN else "mm"
        yield 0.0, "now", "rm"


class LiveFilm:
    """Writes pictures of one size at their own times into a film; a context manager, whole once it is left.

    Args:
        path: .mp4, .mov or .mkv.
        rate: frames a second, about.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self._path = path
        self._container = av.open(path, "w", options={"movflags": "+faststart"})
        self._stream: Any = self._container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
        self._step = round(1 / rate / _TICK)
        self._began: float | None = None
        self._last = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._began is not None:
                self._mux(None)
        finally:
            self._container.close()

    def write(self, picture: NDArray[np.uint8], time: float) -> None:
        """Writes a picture (H, W, 3) with even sides, which is shown from `time` on, seconds.

        Raises:
            LrcnError: the disk is full, or the like.
        """
        if self._began is None:
            self._began = time
            self._set_up(picture.shape[1], picture.shape[0])
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        self._last = frame.pts = max(round((time - self._began) / _TICK), self._last + 1)
        frame.time_base = _TICK
        self._mux(frame)

    def _set_up(self, width: int, height: int) -> None:
        stream = self._stream
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "23", "preset": "veryfast", "tune": "zerolatency"}
        context = stream.codec_context
        context.time_base = _TICK
        # Said in the file, so that players do not guess the colours from the size (1 is BT.709).
        context.color_range, context.colorspace = ColorRange.MPEG, Colorspace.ITU709
        context.color_primaries = context.color_trc = 1

    def _mux(self, frame: av.VideoFrame | None) -> None:
        try:
            for packet in self._stream.encode(frame):
                packet.duration = self._step
                self._container.mux(packet)
        except av.FFmpegError as error:
            raise LrcnError(f"Cannot write {self._path}: {error.strerror}; make room there.") from error
