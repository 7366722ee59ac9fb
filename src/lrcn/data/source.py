"""What frames can be read from besides files: arrays, folders of pictures, cameras, and another decoder."""

import importlib
import time
import warnings
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lrcn.data import picture
from lrcn.data.media import images_in
from lrcn.data.picture import Picture, Resize
from lrcn.errors import LrcnError

DEFAULT_RATE = 25.0
"""Frames per second of a source that does not know its own."""

EXACT = 1e-6
"""Half a tick, in seconds, of clocks that round nothing but the last digit."""


class VideoError(LrcnError):
    """A video that cannot be read: one sentence that names it and the fix."""


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video before it is read.

    Attributes:
        width: pixels, as shown (after rotation).
        height: pixels, as shown.
        rate: frames per second, the average where it varies.
        duration: seconds; None for cameras and streams.
        frames: how many, as the container states it; None where it does not.
        codec: FFmpeg's name of the codec, or `images`, `array`, `camera`.
        rotation: degrees counterclockwise that the stored pictures are turned to be shown (already done).
    """

    width: int
    height: int
    rate: float
    duration: float | None
    frames: int | None
    codec: str
    rotation: int = 0


class Source(ABC):
    """Frames in the order they are shown, as tokens that become pictures only when somebody wants them.

    Times are seconds since the first frame, strictly ascending.

    Attributes:
        info: what is known before reading.
        half_tick: seconds below which two times are the same: containers round the times they store.
        live: the source does not wait and cannot be gone back in.
        warning: one sentence when only a part could be decoded.
    """

    info: VideoInfo
    half_tick: float = EXACT
    live: bool = False
    warning: str | None = None

    @abstractmethod
    def frames(self, start: float) -> Generator[tuple[Any, float], None, None]:
        """Yields (token, time) from the frame shown at `start`, or from any earlier one."""

    @abstractmethod
    def picture(self, token: Any, resize: Resize | None) -> Picture:
        """The picture of a token, a new array uint8 (H,W,3)."""

    def runs(self, times: Sequence[float]) -> list[slice]:
        """Splits ascending times where starting anew (`frames(time)`) costs less than reading on."""
        return [slice(0, len(times))]

    def close(self) -> None:  # noqa: B027 - most sources hold nothing
        """Lets go of files and devices."""


def refuse_too_large(name: str, width: int, height: int) -> None:
    """Raises VideoError for pictures that could exhaust the memory."""
    if width * height > picture.MAX_PIXELS:
        limit = picture.MAX_PIXELS
        raise VideoError(
            f"{name} has {width}x{height} pixels, over the limit of {limit}: scale it down first."
        )


class ArraySource(Source):
    """Frames that are in memory already, uint8 (T,H,W,3) RGB."""

    def __init__(self, frames: NDArray[Any], rate: float) -> None:
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
            raise VideoError(
                f"An array {frames.shape} of {frames.dtype} is no video: give uint8 RGB of shape (T,H,W,3)."
            )
        count, height, width, _ = frames.shape
        refuse_too_large("The array", width, height)
        self._frames = frames
        self.info = VideoInfo(width, height, rate, count / rate, count, "array")

    def frames(self, start: float) -> Generator[tuple[Any, float], None, None]:
        yield from _numbered(len(self._frames), self.info.rate, start)

    def picture(self, token: Any, resize: Resize | None) -> Picture:
        frame: Picture = self._frames[token]
        return frame.copy() if resize is None else resize(frame)


class FolderSource(Source):
    """A folder of pictures, one a frame, in the natural order of their names."""

    def __init__(self, folder: Path, rate: float) -> None:
        self._files = images_in(folder)
        if not self._files:
            raise VideoError(
                f"The folder {folder} holds no frames: put numbered pictures (frame_0001.jpg) in it."
            )
        height, width, _ = read_image(self._files[0]).shape
        count = len(self._files)
        self.info = VideoInfo(width, height, rate, count / rate, count, "images")

    def frames(self, start: float) -> Generator[tuple[Any, float], None, None]:
        yield from _numbered(len(self._files), self.info.rate, start)

    def picture(self, token: Any, resize: Resize | None) -> Picture:
        frame = read_image(self._files[token])
        return frame if resize is None else resize(frame)


def read_image(path: Path) -> Picture:
    """A picture file as uint8 RGB (H,W,3), turned upright; alpha is dropped and grey spread over the
    channels.

    Raises:
        VideoError: it is no picture, damaged beyond reading, or larger than `MAX_PIXELS`.
    """
    # Pillow reads the size from the header, where OpenCV would first allocate whatever the header says.
    from PIL import Image

    unreadable = f"Cannot read the picture {path}: it is damaged or no picture; replace or remove it."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as header:
                refuse_too_large(f"The picture {path}", *header.size)
        pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except Image.DecompressionBombError as error:
        limit = picture.MAX_PIXELS
        raise VideoError(f"The picture {path} has more than {limit} pixels: scale it down first.") from error
    except (OSError, ValueError, SyntaxError, cv2.error) as error:
        raise VideoError(unreadable) from error
    if pixels is None:
        raise VideoError(unreadable)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


class CameraSource(Source):
    """A camera of this machine; times are when the frames arrived."""

    live = True

    def __init__(self, number: int) -> None:
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            self._camera = cv2.VideoCapture(number)
            opened = self._camera.isOpened() and self._camera.grab()
        finally:
            cv2.utils.logging.setLogLevel(level)
        if not opened:
            self._camera.release()
            raise VideoError(
                f"Camera {number} cannot be opened: check that it is plugged in, that no other program uses "
                "it and that you may use it."
            )
        self._number = number
        self._began: float | None = None
        width, height = (
            int(self._camera.get(k)) for k in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        rate = self._camera.get(cv2.CAP_PROP_FPS)
        self.info = VideoInfo(
            width, height, rate if 1 <= rate <= 1000 else DEFAULT_RATE, None, None, "camera"
        )

    def frames(self, start: float) -> Generator[tuple[Any, float], None, None]:
        while True:
            ok, frame = self._camera.read()
            now = time.monotonic()
            if not ok:
                self.warning = f"Camera {self._number} stopped giving frames."
                return
            self._began = self._began or now
            yield frame, now - self._began

    def picture(self, token: Any, resize: Resize | None) -> Picture:
        small = token if resize is None else resize(token)
        return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)

    def close(self) -> None:
        self._camera.release()


class TorchcodecSource(Source):
    """A file read by torchcodec, where it is installed: exact frames in one pass, without jumps."""

    def __init__(self, path: Path) -> None:
        try:
            decoders = importlib.import_module("torchcodec.decoders")
        except (ImportError, OSError, RuntimeError) as error:
            raise VideoError(
                "torchcodec cannot be loaded: install FFmpeg and 'lrcn[codec]', or leave the backend at auto."
            ) from error
        try:
            self._decoder = decoders.VideoDecoder(str(path), dimension_order="NHWC", seek_mode="exact")
            first = self._decoder.get_frame_at(0)
        except Exception as error:
            raise VideoError(f"torchcodec cannot read {path}: try the backend pyav.") from error
        self._began = float(first.pts_seconds)
        height, width, _ = first.data.shape
        refuse_too_large(str(path), width, height)
        about, count = self._decoder.metadata, len(self._decoder)
        rate = float(about.average_fps or DEFAULT_RATE)
        self.info = VideoInfo(width, height, rate, about.duration_seconds, count, about.codec)

    def frames(self, start: float) -> Generator[tuple[Any, float], None, None]:
        for index in range(len(self._decoder)):
            frame = self._decoder.get_frame_at(index)
            yield frame.data.numpy(), float(frame.pts_seconds) - self._began

    def picture(self, token: Any, resize: Resize | None) -> Picture:
        frame: Picture = token
        return frame.copy() if resize is None else resize(frame)


def _numbered(count: int, rate: float, start: float) -> Generator[tuple[int, float], None, None]:
    first = bisect_right(range(count), start + EXACT, key=lambda index: index / rate) - 1
    for index in range(max(first, 0), count):
        yield index, index / rate
