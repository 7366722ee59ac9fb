"""Small videos whose every frame says its own number, for the tests of the video input."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

LEVEL, STEP = 20, 5


def write_noise(path: Path, count: int, seed: int = 0) -> None:
    """Encodes `count` small frames of noise at 10 a second."""
    generator = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for _ in range(count):
            pixels = generator.integers(0, 255, (32, 48, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def numbered(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A picture (H,W,3) with moving stripes on the right; the grey of its left half is `number` (0..46)."""
    frame = np.full((height, width, 3), LEVEL + STEP * number, np.uint8)
    ramp = (np.arange(width - width // 2) * 7 + np.arange(height)[:, None] * 3 + number * 11) % 256
    frame[:, width // 2 :, 0] = ramp
    frame[:, width // 2 :, 1] = 255 - ramp
    frame[:, width // 2 :, 2] = number * 5
    return frame


def number_of(frame: np.ndarray) -> int:
    """The number in a picture (H,W,3), however it was scaled."""
    height, width = frame.shape[:2]
    block = frame[height // 4 : 3 * height // 4, width // 8 : 3 * width // 8]
    return round((float(block.mean()) - LEVEL) / STEP)


def numbers_of(frames: np.ndarray) -> list[int]:
    """The numbers of frames (T,3,H,W)."""
    return [number_of(frame.transpose(1, 2, 0)) for frame in frames]


def make_video(
    path: Path,
    count: int = 30,
    codec: str = "libx264",
    rate: int = 25,
    ticks: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    size: tuple[int, int] = (64, 48),
    pix_fmt: str = "yuv420p",
    gop: int = 250,
    options: dict[str, str] | None = None,
    rotation: int | None = None,
    audio: bool = False,
    pictures: Sequence[np.ndarray] | None = None,
    mux_options: dict[str, str] | None = None,
    colour: tuple[int, int] | None = None,
) -> Path:
    """Encodes numbered frames; skips the test where the codec is missing.

    Args:
        ticks: the time of each frame in units of `time_base`; without it, frames follow at `rate`.
        size: width and height.
        colour: FFmpeg's numbers of the colour space and range to convert to and to state.
    """
    try:
        av.codec.Codec(codec, "w")
    except Exception:
        pytest.skip(f"this PyAV cannot encode {codec}")
    quality: dict[str, dict[str, str]] = {
        "libx264": {"qp": "12"},
        "libx265": {"x265-params": "log-level=none:qp=12"},
        "libsvtav1": {"crf": "20", "preset": "10"},
        "libaom-av1": {"crf": "20", "cpu-used": "8"},
        "libvpx-vp9": {"crf": "15", "b": "0", "cpu-used": "8"},
    }
    base = time_base or Fraction(1, rate)
    with _own_schedule(), av.open(str(path), "w", options=mux_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = base
        stream.codec_context.gop_size = gop
        stream.codec_context.options = quality.get(codec, {}) | (options or {})
        if codec not in quality:
            stream.bit_rate = 4_000_000
        if colour is not None:
            stream.codec_context.colorspace, stream.codec_context.color_range = colour
        if rotation is not None:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV cannot write a rotation")
            stream.set_display_rotation(rotation)
        sound: Any = container.add_stream("aac", rate=16000, layout="mono") if audio else None
        for index in range(count):
            pixels = numbered(index, *size) if pictures is None else pictures[index]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            if colour is not None:
                frame = frame.reformat(format=pix_fmt, dst_colorspace=colour[0], dst_color_range=colour[1])
            frame.pts = index if ticks is None else ticks[index]
            frame.time_base = base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            for block in range(math.ceil(count / rate * 16000 / 1024)):
                wave = av.AudioFrame.from_ndarray(
                    np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
                )
                wave.sample_rate, wave.pts = 16000, block * 1024
                container.mux(sound.encode(wave))
            container.mux(sound.encode())
    return path


@contextmanager
def _own_schedule() -> Iterator[None]:
    """Leaves the thread as urgent as it was: SVT-AV1 makes root's a real-time one, for which all others wait."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)
