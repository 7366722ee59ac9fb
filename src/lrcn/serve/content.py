"""What a file from outside is, told by its content alone, and whether it is too much.

FFmpeg also reads lists that name other files and addresses (HLS, DASH, concat, SDP), scripts and text. None of these is
among the containers it may take a file for here, and it may open nothing but the file itself: a list is refused before
its first line is followed.
"""

from __future__ import annotations

import io
import warnings
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lrcn.data.picture import Picture
from lrcn.serve.limits import Limits
from lrcn.serve.problem import RefusedError

VIDEO_FORMATS = (
    *(
        "mov",
        "mp4",
        "matroska",
        "webm",
        "avi",
        "mpeg",
        "mpegts",
        "mpegvideo",
        "flv",
        "asf",
        "ogg",
        "gif",
        "ivf",
    ),
    *("h264", "hevc", "yuv4mpegpipe", "mjpeg"),
)
"""FFmpeg's names of the containers that hold their frames themselves."""

PHOTO_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""Pillow's names."""

_CHECKED = 256
"""Packets between two looks at the clock."""

LIVE_FORMATS = ("JPEG", "PNG", "WEBP")
"""Of frames that are sent live, by Pillow's names."""

Check = Callable[[], None]


def check_video(path: Path, limits: Limits, check: Check) -> None:
    """Counts a video's frames without decoding them, and decodes the first.

    What a header says of length and rate is held against the limits too, since readers go by it.

    Raises:
        RefusedError: it is no video, or too long, too large, or too dense.
    """
    from lrcn.data.video import VideoError, open_video

    _check_packets(path, limits, check)
    check()
    try:
        with open_video(path) as reader:
            info = reader.info
    except VideoError as error:
        raise RefusedError(415, str(error)) from error
    _check_size(info.width, info.height, limits.video_pixels)
    _check_length(info.duration or 0.0, limits)
    _check_length(1 / info.rate, limits)


def check_photo(path: Path, limits: Limits) -> None:
    """Reads a photo's header, and none of its pixels.

    Raises:
        RefusedError: it is no photo, or too large.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Pillow warns of sizes that are refused below.
            warnings.simplefilter("ignore")
            Image.init()
            known = [name for name in PHOTO_FORMATS if name in Image.OPEN]
            with Image.open(path, formats=known) as image:
                width, height = image.size
    except Image.DecompressionBombError as error:
        raise _too_many_pixels("far too many", limits.pixels) from error
    except Exception as error:  # damaged headers make Pillow raise whatever they lead it to
        raise RefusedError(
            415, "This is no photo that can be read here: send a JPEG, PNG or WebP."
        ) from error
    _check_size(width, height, limits.pixels)


def read_frame(data: bytes, most: int) -> Picture:
    """A frame that was sent live, uint8 (H,W,3) RGB, upright.

    Args:
        data: a JPEG, PNG or WebP.
        most: pixels.

    Raises:
        RefusedError: it is none, not a whole one, or too large.
    """
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=LIVE_FORMATS) as image:
                _check_size(*image.size, most)
                upright = ImageOps.exif_transpose(image)
                return np.asarray((upright or image).convert("RGB"))
    except RefusedError:
        raise
    except Exception as error:  # damaged pictures make Pillow raise whatever they lead it to
        raise RefusedError(415, "The frame cannot be decoded: send a whole JPEG, PNG or WebP.") from error


def _check_packets(path: Path, limits: Limits, check: Check) -> None:
    import av
    import av.error

    only = {"format_whitelist": ",".join(VIDEO_FORMATS), "protocol_whitelist": "file"}
    try:
        with av.open(f"file:{path}", options=only) as container:
            stream = _pictures(container)
            _check_size(stream.codec_context.width, stream.codec_context.height, limits.video_pixels)
            tick = float(stream.time_base or 1 / 90_000)
            for stated in (stream.duration and stream.duration * tick, (container.duration or 0) / 1e6):
                _check_length(float(stated or 0), limits)
            _count(container.demux(stream), tick, limits, check)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise RefusedError(
            415,
            "This is no video that can be read here, or only a part of one: send a whole MP4, MOV, WebM or AVI.",
        ) from error


def _pictures(container: Any) -> Any:
    """The first stream of pictures that is no cover.

    Raises:
        RefusedError: there is none that can be decoded.
    """
    import av.stream

    cover = av.stream.Disposition.attached_pic
    streams = [one for one in container.streams.video if not one.disposition & cover]
    if not streams or getattr(streams[0], "codec_context", None) is None:
        raise RefusedError(415, "There is no video in this file, only sound or data: send one with pictures.")
    return streams[0]


def _count(packets: Any, tick: float, limits: Limits, check: Check) -> None:
    """Looks at every packet's time.

    Raises:
        RefusedError: they are too many, in all or in a second, or too far apart; or the work should end.
    """
    import av.error

    count, earliest, latest = 0, float("inf"), float("-inf")
    recent: deque[int] = deque()
    read = iter(packets)
    while True:
        try:
            packet = next(read, None)
        except av.error.InvalidDataError:
            # Damaged from here on: what came before can be used.
            return
        if packet is None:
            return
        if not packet.size:
            continue
        count += 1
        if count % _CHECKED == 0:
            check()
        if count > limits.frames:
            raise RefusedError(413, f"The video has more than {limits.frames} frames: send a shorter one.")
        if packet.pts is None:
            continue
        time = packet.pts * tick
        earliest, latest = min(earliest, time), max(latest, time)
        _check_length(latest - earliest, limits)
        # By the clock of decoding, which never goes back.
        recent.append(packet.pts if packet.dts is None else packet.dts)
        if len(recent) > limits.frame_rate and (recent[-1] - recent.popleft()) * tick < 1 - tick / 2:
            raise RefusedError(
                413, f"The video has more than {limits.frame_rate} frames a second: send one with fewer."
            )


def _check_length(seconds: float, limits: Limits) -> None:
    if not seconds <= limits.video_seconds:
        raise RefusedError(
            413,
            f"The video is longer than {limits.video_seconds:g} seconds: send a shorter one, or a part of it.",
        )


def _check_size(width: int, height: int, most: int) -> None:
    if width * height > most:
        raise _too_many_pixels(f"{width}x{height}", most)


def _too_many_pixels(size: str, most: int) -> RefusedError:
    return RefusedError(
        413, f"It has {size} pixels, more than the {most / 1e6:.3g} million allowed: scale it down first."
    )
