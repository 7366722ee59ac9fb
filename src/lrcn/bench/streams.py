"""What benches of streams are made of: a network by itself, frames that are ready, a film as a camera sends it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lrcn.errors import LrcnError

if TYPE_CHECKING:
    from lrcn.data.picture import Resize
    from lrcn.models.folder import Loaded
    from lrcn.stream import Stream, Streamable

CAMERA_RATE = 10
"""Frames a second of a camera."""

_READY = 32
_NOISE = 3.0
"""Standard deviation of a small camera's noise, of 255."""

Frames = NDArray[np.uint8]


@contextmanager
def film_for(clip: str, height: int) -> Iterator[str]:
    """The film, or one of `height` rows made of it, which goes away again."""
    from lrcn.demo_film import shipped, write_clip

    path = clip or str(shipped("big-buck-bunny.mp4"))
    if not height:
        yield path
        return
    if height < 2 or height % 2:
        raise LrcnError(f"height is {height}: give an even number of rows, such as 720, or 0.")
    with TemporaryDirectory() as folder:
        made = Path(folder) / "camera.mp4"
        write_clip(made, _as_from_a_camera(path, height), 25)
        yield str(made)


def _as_from_a_camera(path: str, height: int) -> Iterator[Frames]:
    """A film's frames, (3,H,W) each, enlarged and with noise, without which they would be easy to decode."""
    import cv2

    from lrcn.data.video import open_video

    rng = np.random.default_rng(0)
    with open_video(path) as reader:
        for frame, _ in reader.frames():
            width = 2 * round(height * frame.shape[1] / frame.shape[0] / 2)
            large = cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC)
            noisy = large + rng.normal(scale=_NOISE, size=large.shape)
            yield np.clip(noisy, 0, 255).astype(np.uint8).transpose(2, 0, 1)


def streamable_of(model: str, encoder: str, size: int) -> Streamable:
    """The network on this engine, at the rate of the frames it is given."""
    from lrcn.memory import keep_freed_memory
    from lrcn.stream import Streamable

    keep_freed_memory()
    found = Streamable.of(loaded_of(model, encoder, size))
    return replace(found, members=tuple(replace(member, rate=None) for member in found.members))


def loaded_of(model: str, encoder: str, size: int) -> Loaded:
    """A model, or `encoder` with random weights under an LSTM; it reads frames of `size` pixels, 0 is its own size."""
    from lrcn.models.zoo import load_model

    if encoder:
        return _random(encoder, size or 224)
    loaded = load_model(model, "cpu")
    return replace(loaded, preprocess=replace(loaded.preprocess, size=size)) if size else loaded


def _random(encoder: str, size: int) -> Loaded:
    from lrcn.data.sampling import Sampling
    from lrcn.data.transforms import Preprocess
    from lrcn.models.cnn import EncoderConfig
    from lrcn.models.folder import Loaded
    from lrcn.models.recognizer import Recognizer, RecognizerConfig

    labels = [f"class {k}" for k in range(101)]
    network = Recognizer(RecognizerConfig(EncoderConfig(encoder, "none")), labels).eval()
    return Loaded(network, Preprocess(size), Sampling(), labels)


def ready_frames(path: str, streamable: Streamable) -> Frames:
    """The first frames of a film at the network's size, (T,H,W,3)."""
    from lrcn.data.video import open_video

    with open_video(path, resize=resize_of(streamable)) as reader:
        frames = np.stack([frame for frame, _ in islice(reader.frames(), _READY)])
    # No two in a row are equal, or the CNN would be spared.
    frames[:, 0, 0, 0] = np.arange(len(frames))
    return frames


def resize_of(streamable: Streamable) -> Resize:
    """What becomes of a film's frames before the network."""
    assert streamable.resize is not None
    return streamable.resize


def pushed(streamable: Streamable, frames: Frames) -> Iterator[Stream]:
    """A stream that takes the next of the frames, over and over, whenever it is asked for."""
    from lrcn.stream import Stream

    one = Stream(streamable)
    for number, frame in enumerate(cycle(frames)):
        one.push(frame, number / CAMERA_RATE)
        yield one


def skip(pushing: Iterator[Any], number: int) -> None:
    """Takes so many."""
    for _ in islice(pushing, number):
        pass


def seconds_of_next(pushing: Iterator[Any]) -> float:
    """How long the next takes."""
    began = time.perf_counter()
    next(pushing)
    return time.perf_counter() - began


def resident_mib() -> float:
    """MiB of memory this process has at present; 0 where the system does not say."""
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return 0.0
