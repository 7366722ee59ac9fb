"""Video files and network streams by PyAV: times, jumps, orientation and colour."""

import multiprocessing
import os
from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import av
import av.error
import cv2
import numpy as np
from numpy.typing import NDArray

from lrcn.data import picture
from lrcn.data.picture import Picture, Resize, scale
from lrcn.data.source import DEFAULT_RATE, EXACT, Source, VideoError, VideoInfo, refuse_too_large

# Text that FFmpeg would draw as a picture, and lists that would make it open other files.
_NOT_VIDEO = frozenset({"tty", "hls", "concat", "dash", "sdp", "ffmetadata"})
# In these containers a jump lands on a keyframe whose time is stored; elsewhere frames are read in one pass.
_INDEXED = ("mov", "avi")
_SEEKABLE = (*_INDEXED, "matroska")

_NETWORK = "http,https,httpproxy,tcp,tls,udp,rtp,rtsp,rtsps,rtmp,rtmps,rtmpt,srt,mms,mmsh,mmst,crypto,data"
_WAIT = (10.0, 10.0)
"""Seconds to wait for a connection, and for the next part of a stream."""

_SEEK_FRAMES = 8
"""A jump costs about as much as decoding this many frames."""
_SEEK_SECONDS = 10.0
"""A gap worth a jump where the keyframes are not known: longer than encoders leave between them."""

_THREADS = min(4, os.cpu_count() or 1)


def _thread_count() -> int:
    """Threads of a decoder: its own alone in a process that works for another.

    Loaders keep every core busy already, and threads are lost when a process forks.
    """
    return 1 if multiprocessing.parent_process() else _THREADS


class FileSource(Source):
    """A video file, or an address that FFmpeg can open.

    Args:
        location: what FFmpeg opens.
        name: what messages call it.
        network: whether it is an address.
        live: whether it cannot be gone back in.

    Raises:
        VideoError: it cannot be opened, holds no video, or none of its frames can be decoded.
    """

    # None once closed.
    _stream: Any = None

    def __init__(self, location: str, name: str, network: bool = False, live: bool = False) -> None:
        self._location, self._name, self._network, self.live = location, name, network, live
        self._began: int | None = None
        self._keys: list[float] | None = None
        self._open()
        try:
            self._prime()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        options = {
            "max_pixels": str(picture.MAX_PIXELS),
            "protocol_whitelist": _NETWORK if self._network else "file",
        }
        if self._network:
            options["rtsp_transport"] = "tcp"
        try:
            self._container = av.open(
                self._location, options=options, timeout=_WAIT if self._network else None
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise VideoError(self._why(error)) from error
        try:
            self._choose_stream()
        except BaseException:
            self._container.close()
            raise

    def _choose_stream(self) -> None:
        formats = self._container.format.name.split(",")
        if not self._network and _NOT_VIDEO.intersection(formats):
            raise VideoError(f"{self._name} is text or a list of files, not a video: name the video itself.")
        cover = av.stream.Disposition.attached_pic
        streams = [stream for stream in self._container.streams.video if not stream.disposition & cover]
        if not streams:
            raise VideoError(
                f"{self._name} has no video in it (only sound or data): name a file with pictures."
            )
        self._stream = stream = streams[0]
        if getattr(stream, "codec_context", None) is None:
            raise VideoError(
                f"{self._name} is in a format that cannot be decoded here: convert it to H.264 first."
            )
        refuse_too_large(self._name, stream.codec_context.width, stream.codec_context.height)
        stream.codec_context.options = {"max_pixels": str(picture.MAX_PIXELS)}
        # Threads over frames are fastest but hand each frame over late, which a live picture must not be.
        stream.thread_type = "SLICE" if self.live else "AUTO"
        stream.codec_context.thread_count = _thread_count()
        self._tick = float(stream.time_base or 1 / 90_000)
        self._formats = formats
        self._fresh: Iterator[tuple[Any, float]] | None = None

    def _why(self, error: Exception) -> str:
        reason = getattr(error, "strerror", None) or str(error)
        if self._network:
            return f"Cannot open {self._name}: {reason}; check the address and the network."
        if isinstance(error, (av.error.InvalidDataError, ValueError)):
            return (
                f"Cannot read {self._name}: it is no video, or is cut off or damaged; get a whole copy of it."
            )
        return f"Cannot read {self._name}: {reason}; check the file and that you may read it."

    def _prime(self) -> None:
        """Decodes the first frame: the only sure way to know size, orientation and that the file works."""
        stream = self._stream
        self._interval = 1 / _frame_rate(stream)
        # Half a tick mends rounding; but a tick as long as a frame (AVI) is not rounded, it is the frame.
        self.half_tick = self._tick / 2 if 3 * self._tick <= self._interval else EXACT
        frames = self._timed(self._decoded(whole=True))
        first = next(frames, None)
        if first is None:
            raise VideoError(
                f"None of the frames of {self._name} can be decoded: it is damaged, or has over "
                f"{picture.MAX_PIXELS} pixels a frame; get a whole copy, or scale it down."
            )
        self._fresh = chain([first], frames)
        self._turn = _Turn.of(first[0])
        width, height = self._turn.shown(first[0].width, first[0].height)
        duration = None if self.live else self._duration()
        rate, count = 1 / self._interval, stream.frames or None
        codec = getattr(stream.codec_context.codec, "canonical_name", stream.codec_context.name)
        self.info = VideoInfo(width, height, rate, duration, count, codec, self._turn.degrees)

    def _duration(self) -> float | None:
        if self._stream.duration:
            return float(self._stream.duration * self._tick)
        if not self._container.duration:
            return None
        # Matroska states when the last frame ends, not how long after the first.
        began = (self._began or 0) * self._tick if self._formats[0] == "matroska" else 0.0
        return float(self._container.duration / 1_000_000 - began)

    def close(self) -> None:
        # The generator that waits for a reader refers back to this source, and the stream holds the decoder: let
        # go of both, the decoder and its threads end here and not when garbage happens to be collected.
        self._fresh = None
        self._container.close()
        self._stream = None

    # Reading

    def frames(self, start: float) -> Generator[tuple[Any, float], None, None]:
        frames = self._jump(start) if self._pays(0.0, start) else None
        if frames is None:
            frames, kept = self._fresh, self._fresh if self.live else None
            if frames is None:
                self._container.close()
                self._open()
                frames = self._timed(self._decoded(whole=True))
            self._fresh = kept
        yield from frames

    def _decoded(self, whole: bool) -> Iterator[Any]:
        """Frames as the decoder gives them; what cannot be decoded is passed over and noted.

        Args:
            whole: reading from the very beginning, so that a missing end can be noticed.
        """
        packets, read = 0, self._container.demux(self._stream)
        while True:
            try:
                packet = next(read, None)
            except (av.error.FFmpegError, OSError):
                self._note_damage()
                yield from self._flushed()
                return
            if packet is None:
                break
            packets += packet.size > 0
            try:
                frames = packet.decode()
            except (av.error.FFmpegError, OSError):
                self._note_damage()
                continue
            if packet.is_corrupt:
                self._note_damage()
            yield from frames
        if whole and packets < self._stream.frames:
            self._note_damage()

    def _flushed(self) -> Iterator[Any]:
        try:
            yield from self._stream.codec_context.decode(None)
        except (av.error.FFmpegError, OSError):
            return

    def _note_damage(self) -> None:
        self.warning = f"{self._name} is damaged or cut off: only the frames that can be decoded are used."

    def _timed(self, frames: Iterator[Any]) -> Iterator[tuple[Any, float]]:
        last: float | None = None
        for frame in frames:
            if self._began is None:
                self._began = frame.pts or 0
            time = None if frame.pts is None else (frame.pts - self._began) * self._tick
            # Raw streams store no times, and joined recordings go back in time.
            if time is None or (last is not None and time <= last):
                time = 0.0 if last is None else last + self._interval
            last = time
            yield frame, time

    # Jumping

    def runs(self, times: Sequence[float]) -> list[slice]:
        cuts = [i for i in range(1, len(times)) if self._pays(times[i - 1], times[i])]
        return [slice(*ends) for ends in zip([0, *cuts], [*cuts, len(times)], strict=True)]

    def _pays(self, position: float, target: float) -> bool:
        """Whether a jump to `target` costs less than reading on from `position`."""
        if (
            self.live
            or target - position <= _SEEK_FRAMES * self._interval
            or self._formats[0] not in _SEEKABLE
        ):
            return False
        # AVI stores no times: after a jump those of reordered frames cannot be told.
        if self._formats[0] == "avi" and self._stream.codec_context.has_b_frames:
            return False
        keyframes = self._keyframes()
        if not keyframes:
            return target - position > _SEEK_SECONDS
        before = keyframes[max(0, bisect_right(keyframes, target + self.half_tick) - 1)]
        return before - position > _SEEK_FRAMES * self._interval

    def _keyframes(self) -> list[float]:
        if self._formats[0] not in _INDEXED:
            return []
        if self._keys is None:
            # Before PyAV 16 the index cannot be asked for.
            entries = list(getattr(self._stream, "index_entries", ()))
            self._keys = [(e.timestamp - entries[0].timestamp) * self._tick for e in entries if e.is_keyframe]
        return self._keys

    def _jump(self, start: float) -> Iterator[tuple[Any, float]] | None:
        """Frames from a keyframe at or before `start`; None when the file does not allow it."""
        self._fresh = None
        for earlier in (0.0, 0.25, 1.0, 4.0, 16.0):
            if start - earlier <= 0:
                break
            offset = (self._began or 0) + int((start - earlier + self.half_tick) / self._tick)
            try:
                self._container.seek(offset, stream=self._stream)
            except (av.error.FFmpegError, OSError):
                break
            frames = self._decoded(whole=False)
            # Frames ahead of the keyframe may lean on ones that were not read.
            first = next((frame for frame in frames if frame.key_frame), None)
            if first is None or first.pts is None:
                continue
            if (first.pts - (self._began or 0)) * self._tick <= start + self.half_tick:
                return self._timed(chain([first], frames))
        return None

    # Pictures

    def picture(self, token: Any, resize: Resize | None) -> Picture:
        turn = self._turn
        try:
            if resize is None:
                return turn(_rgb(token, token.width, token.height))
            wanted = resize.scaled(*turn.shown(token.width, token.height))
            return resize.place(turn(_rgb(token, *turn.shown(*wanted))))
        except (av.error.FFmpegError, OSError, cv2.error) as error:
            raise VideoError(
                f"Cannot turn {token.format.name} frames of {self._name} into RGB: convert it."
            ) from error


def _frame_rate(stream: Any) -> float:
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and 0 < rate <= 1000:
            return float(rate)
    return DEFAULT_RATE


class _Turn:
    """How stored pictures are turned to be shown: the display matrix, by steps of 90 degrees and mirrors."""

    def __init__(
        self, swap: bool = False, flip_rows: bool = False, flip_columns: bool = False, degrees: int = 0
    ):
        self._swap, self._rows, self._columns, self.degrees = swap, flip_rows, flip_columns, degrees

    @classmethod
    def of(cls, frame: Any) -> "_Turn":
        try:
            matrix = np.frombuffer(frame.side_data["DISPLAYMATRIX"], np.int32)
        except KeyError:
            return cls()
        # A stored point (x, y) is shown at (a x + c y, b x + d y).
        a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
        swap = abs(b) + abs(c) > abs(a) + abs(d)
        degrees = round(frame.rotation / 90) * 90 % 360
        return cls(True, b < 0, c < 0, degrees) if swap else cls(False, d < 0, a < 0, degrees)

    def shown(self, width: int, height: int) -> tuple[int, int]:
        """Size as shown for the size as stored, and the other way round."""
        return (height, width) if self._swap else (width, height)

    def __call__(self, frame: Picture) -> Picture:
        if not (self._swap or self._rows or self._columns):
            return frame
        frame = frame.transpose(1, 0, 2) if self._swap else frame
        return np.ascontiguousarray(frame[:: -1 if self._rows else 1, :: -1 if self._columns else 1])


# Colour. Scaling comes first, plane by plane, because the planes are small: then one small matrix product
# gives RGB.

_PLANAR = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p"})
_LUMA = {1: (0.2126, 0.0722)} | dict.fromkeys((2, 5, 6), (0.299, 0.114))
"""Weights of red and blue by FFmpeg's colour space number: BT.709, and BT.601 also where none is stated."""
_FULL_RANGE = 2


def _rgb(frame: Any, width: int, height: int) -> Picture:
    """An av.VideoFrame as uint8 RGB (height,width,3)."""
    planes = _planes(frame)
    if planes is None:
        # Unusual pixels: 10 bits, alpha, grey, palettes, odd sizes, wide gamuts.
        return scale(frame.reformat(format="rgb24").to_ndarray(), width, height)
    full = frame.format.name.startswith("yuvj") or frame.color_range == _FULL_RANGE
    merged = cv2.merge([scale(plane, width, height) for plane in planes])
    return np.asarray(cv2.transform(merged, _yuv_to_rgb(frame.colorspace, full)), np.uint8)


def _planes(frame: Any) -> list[NDArray[np.uint8]] | None:
    """Views of Y, Cb and Cr; None where the pixels are stored in some other way."""
    if (
        frame.format.name not in _PLANAR
        or frame.colorspace not in _LUMA
        or frame.width % 2
        or frame.height % 2
    ):
        return None
    planes = frame.planes
    if any(plane.line_size < plane.width for plane in planes):
        return None
    return [
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in planes
    ]


@lru_cache
def _yuv_to_rgb(colorspace: int, full: bool) -> NDArray[np.float32]:
    red, blue = _LUMA[colorspace]
    green = 1 - red - blue
    to_red, to_blue = 2 * (1 - red), 2 * (1 - blue)
    matrix = np.array(
        [
            [1, 0, to_red],
            [1, -to_blue * blue / green, -to_red * red / green],
            [1, to_blue, 0],
        ]
    )
    if not full:
        matrix *= [255 / 219, 255 / 224, 255 / 224]
    offset = matrix @ [0.0 if full else -16.0, -128.0, -128.0]
    return np.column_stack([matrix, offset]).astype(np.float32)
