"""Video from anywhere: a file, a folder of frames, an array, a camera or an address, as uint8 frames with
times.

    with open_video("clip.mp4", resize=Resize(112)) as video:
        for frame, time in video.frames(rate=12.5):
            ...                       # frame: uint8 (112,112,3) RGB; time: seconds since the first frame

Times are seconds since the first frame, by the time stamps of the container, so that variable rates come out
right.
"""

import re
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrcn.data.background import in_background
from lrcn.data.decode import FileSource
from lrcn.data.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_camera, is_url, list_media
from lrcn.data.picture import MAX_PIXELS, Fit, Picture, Resize, scale
from lrcn.data.resample import selected, shown_at
from lrcn.data.source import (
    DEFAULT_RATE,
    ArraySource,
    CameraSource,
    FolderSource,
    Source,
    TorchcodecSource,
    VideoError,
    VideoInfo,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_CLIP_BYTES",
    "MAX_PIXELS",
    "VIDEO_SUFFIXES",
    "Backend",
    "Clip",
    "Fit",
    "Resize",
    "VideoError",
    "VideoInfo",
    "VideoReader",
    "VideoSource",
    "list_media",
    "open_video",
    "read_clip",
]

Backend = Literal["auto", "pyav", "torchcodec"]
VideoSource = str | Path | int | NDArray[np.uint8]

MAX_CLIP_BYTES = 8 << 30
"""A clip that takes more is refused, since it must fit in memory; `VideoReader.frames` reads any length."""

_AHEAD_FRAMES = 4
_AHEAD_BYTES = 64 << 20
_STREAMED = frozenset(
    {"rtsp", "rtsps", "rtp", "rtmp", "rtmps", "rtmpt", "udp", "srt", "mms", "mmsh", "mmst", "tcp"}
)


@dataclass(frozen=True)
class Clip:
    """Frames in memory.

    Attributes:
        frames: uint8 (T,3,H,W), RGB.
        times: float64 (T,), seconds since the first frame of the source, ascending.
    """

    frames: NDArray[np.uint8]
    times: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.frames)


def open_video(
    source: VideoSource,
    *,
    resize: Resize | None = None,
    backend: Backend = "auto",
    frame_rate: float = DEFAULT_RATE,
) -> "VideoReader":
    """Opens a video; use it as a context manager, or close it.

    Args:
        source: a video file; a folder of pictures, one a frame; an array uint8 (T,H,W,3) RGB; the number of a
            camera (0 or "0"); an address (http, https, rtsp, ...).
        resize: how each frame is scaled, once, in the thread that decodes.
        backend: what decodes files. `auto` is `pyav`, which needs nothing installed and is the faster one
            where the frames are also scaled; `torchcodec` must be installed, and its colours differ by
            rounding.
        frame_rate: frames per second of sources that carry no times: folders and arrays.

    Raises:
        VideoError: it does not exist, is no video, cannot be reached, is larger than `MAX_PIXELS`, or no
            frame of it can be decoded.
    """
    if not 0 < frame_rate < float("inf"):
        raise VideoError(f"A frame rate of {frame_rate} cannot be used: give frames per second above 0.")
    if backend not in ("auto", "pyav", "torchcodec"):
        raise VideoError(f"Unknown backend {backend!r}: choose auto, pyav or torchcodec.")
    return VideoReader(_opener(source, backend, frame_rate), resize)


def read_clip(
    source: VideoSource,
    *,
    rate: float | None = None,
    start: float = 0.0,
    end: float | None = None,
    times: ArrayLike | None = None,
    resize: Resize | None = None,
    backend: Backend = "auto",
    frame_rate: float = DEFAULT_RATE,
) -> Clip:
    """Reads frames into memory: those `VideoReader.at` gives for `times`, else those `VideoReader.frames`
    gives.

    Raises:
        VideoError: as `open_video`; or no frame lies between `start` and `end`, or the clip is over
            `MAX_CLIP_BYTES`.
    """
    with open_video(source, resize=resize, backend=backend, frame_rate=frame_rate) as video:
        if times is not None:
            return video.at(times)
        return video.clip(rate, start, end)


class VideoReader:
    """A video that is open; made by `open_video`.

    Attributes:
        info: size, rate, duration, codec: known without decoding more than the first frame.
        half_tick: seconds below which two of its times are the same, as its clock is no finer.
    """

    def __init__(self, open_source: Callable[[], Source], resize: Resize | None) -> None:
        self._open_source = open_source
        self._resize = resize
        self._lock = threading.Lock()
        self._closed = False
        self._warning: str | None = None
        self._spare: Source | None = None
        # Opening decodes one frame; the first to read goes on from there instead of opening again.
        self._spare = open_source()
        self._live = self._spare.live
        self.info: VideoInfo = self._spare.info
        self.half_tick: float = self._spare.half_tick

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        # A container refers to itself in a circle: unless closed it stays, with its threads, until the garbage
        # collector comes by, which may be in a forked process where those threads do not exist.
        self.close()

    def close(self) -> None:
        """Lets go of the file or camera; readers still at work end as soon as they are asked for more."""
        with self._lock:
            self._closed = True
            spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()

    @property
    def warning(self) -> str | None:
        """One sentence when a part could not be decoded, known once that part was read; else None."""
        return self._warning

    @property
    def truncated(self) -> bool:
        """Whether the video turned out to be damaged or cut off, so that frames are missing; as `warning`."""
        return self._warning is not None

    def frames(
        self, rate: float | None = None, start: float = 0.0, end: float | None = None
    ) -> Iterator[tuple[Picture, float]]:
        """Yields (frame uint8 (H,W,3) RGB, time in seconds), decoding and scaling in a thread a few frames
        ahead.

        With a rate, frames come at the times start, start + 1/rate, ... up to the end of the last frame, and
        each is the last frame of the source whose time is not later (within the rounding of the container's
        clock): frames are repeated or left out, never looked ahead to. Without one, every frame comes with
        its own time.

        A camera, or a live address, does not wait: where frames are not taken in time, the oldest are lost.

        Args:
            rate: frames per second.
            start: seconds, from this time on.
            end: seconds, up to but without this time.

        Raises:
            VideoError: the video is closed, or is live and being read already.
        """
        _check_span(rate, start, end)
        self._check_open()
        height, width = self._shape()
        depth = max(1, min(_AHEAD_FRAMES, _AHEAD_BYTES // (height * width * 3)))
        return in_background(partial(self._pictures, rate, start, end), depth, drop_oldest=self._live)

    def at(self, times: ArrayLike) -> Clip:
        """The frames shown at the given times, the same pixels that reading everything gives.

        Before the first frame the first is shown, and after the last the last.

        Args:
            times: seconds, (T,), ascending.

        Raises:
            VideoError: the times do not ascend, the video is live, or the clip is over `MAX_CLIP_BYTES`.
        """
        wanted = np.asarray(times, np.float64)
        if wanted.ndim != 1 or not np.isfinite(wanted).all() or (np.diff(wanted) < 0).any():
            raise VideoError("Frames can be had at finite times in ascending order only: sort the times.")
        if self._live:
            raise VideoError("A camera or live stream cannot be read at given times: use frames().")
        self._check_open()
        return _stack(self._pictures_at(wanted.tolist()), self._shape(), len(wanted))

    def clip(self, rate: float | None = None, start: float = 0.0, end: float | None = None) -> Clip:
        """What `frames` yields, in memory.

        Raises:
            VideoError: there is no such frame, the clip is over `MAX_CLIP_BYTES`, or a live video has no
                `end`.
        """
        _check_span(rate, start, end)
        self._check_open()
        if self._live and end is None:
            raise VideoError("A camera or live stream has no end: say up to which second to read.")
        clip = _stack(self._pictures(rate, start, end), self._shape(), None)
        if not len(clip):
            length = "of unknown length" if self.info.duration is None else f"{self.info.duration:.2f} s long"
            until = "its end" if end is None else f"{end:g} s"
            raise VideoError(f"No frame lies between {start:g} s and {until}: the video is {length}.")
        return clip

    def _check_open(self) -> None:
        if self._closed:
            raise VideoError("The video was closed: open it again to read on.")

    def _shape(self) -> tuple[int, int]:
        """Height and width of the frames given out."""
        info, resize = self.info, self._resize
        if resize is None:
            return info.height, info.width
        if resize.fit in ("crop", "letterbox"):
            return resize.size, resize.size
        width, height = resize.scaled(info.width, info.height)
        return height, width

    @contextmanager
    def _borrow(self) -> Generator[Source, None, None]:
        with self._lock:
            self._check_open()
            source, self._spare = self._spare, None
        if source is None:
            if self._live:
                raise VideoError(
                    "A camera or live stream can be read by one reader at a time: end the first one."
                )
            source = self._open_source()
        try:
            yield source
        finally:
            self._warning = source.warning or self._warning
            with self._lock:
                keep = self._spare is None and not self._closed
                if keep:
                    self._spare = source
            if not keep:
                source.close()

    def _pictures(
        self, rate: float | None, start: float, end: float | None
    ) -> Generator[tuple[Picture, float], None, None]:
        with self._borrow() as source:
            yield from self._converted(source, selected(source, rate, start, end))

    def _pictures_at(self, times: list[float]) -> Generator[tuple[Picture, float], None, None]:
        if not times:
            return
        with self._borrow() as source:
            for run in source.runs(times):
                with closing(source.frames(times[run.start])) as frames:
                    shown = shown_at(frames, iter(times[run]), source.half_tick, float("inf"))
                    yield from self._converted(source, shown)

    def _converted(
        self, source: Source, tokens: Iterator[tuple[Any, float]]
    ) -> Generator[tuple[Picture, float], None, None]:
        height, width = self._shape()
        for token, time in tokens:
            self._check_open()
            # Some streams change their size on the way; what is given out has one. A frame shown twice is
            # made twice, because whoever got the first may have drawn on it.
            yield scale(source.picture(token, self._resize), width, height), time


def _stack(pictures: Iterator[tuple[Picture, float]], shape: tuple[int, int], expected: int | None) -> Clip:
    height, width = shape
    most = MAX_CLIP_BYTES // (height * width * 3)
    kept: list[Picture] = []
    times: list[float] = []

    def refuse_over(number: int) -> None:
        if number > most:
            raise VideoError(
                f"A clip of more than {most} frames of {width}x{height} is over {MAX_CLIP_BYTES >> 20} MiB: "
                "read a shorter span, a lower rate, smaller frames, or one frame after the other."
            )

    refuse_over(expected or 0)
    for picture, time in pictures:
        refuse_over(len(kept) + 1)
        kept.append(picture)
        times.append(time)
    if expected is not None and len(kept) < expected:
        raise VideoError("The video can no longer be read: it changed or is damaged; open it again.")
    frames = np.empty((len(kept), 3, height, width), np.uint8)
    for slot, picture in zip(frames, kept, strict=True):
        slot[:] = picture.transpose(2, 0, 1)
    return Clip(frames, np.array(times, np.float64))


def _check_span(rate: float | None, start: float, end: float | None) -> None:
    if rate is not None and not 0 < rate < float("inf"):
        raise VideoError(f"A rate of {rate} cannot be used: give frames per second above 0.")
    if not 0 <= start < float("inf"):
        raise VideoError(f"A start of {start} cannot be used: give seconds from 0 on.")
    if end is not None and not end > start:
        raise VideoError(f"The end ({end:g} s) must come after the start ({start:g} s).")


def _opener(source: VideoSource, backend: Backend, frame_rate: float) -> Callable[[], Source]:
    if isinstance(source, np.ndarray):
        return partial(ArraySource, source, frame_rate)
    if isinstance(source, int):
        return partial(CameraSource, source)
    if isinstance(source, str) and is_camera(source):
        return partial(CameraSource, int(source))
    if isinstance(source, str) and is_url(source):
        address = urlsplit(source)
        if address.scheme.lower() != "file":
            # The name goes into messages and logs, the password must not.
            name = re.sub(r"//[^/]*@", "//", source)
            live = address.scheme.lower() in _STREAMED
            return partial(FileSource, source, name, network=True, live=live)
        source = unquote(address.path)
    return _path_opener(Path(source), backend, frame_rate)


def _path_opener(path: Path, backend: Backend, frame_rate: float) -> Callable[[], Source]:
    if path.is_dir():
        return partial(FolderSource, path, frame_rate)
    if not path.exists():
        raise VideoError(f"There is no video {path}: check the name.")
    if path.is_file() and path.stat().st_size == 0:
        raise VideoError(f"{path} is empty (0 bytes): get a whole copy of it.")
    if backend == "torchcodec":
        return partial(TorchcodecSource, path)
    # The prefix keeps a colon in a name from being read as a protocol.
    return partial(FileSource, f"file:{path}", str(path))
