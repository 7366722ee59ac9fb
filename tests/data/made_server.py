"""A small server: models with chance for weights, or a network of arithmetic, behind the real application."""

import asyncio
import io
import json
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lrcn.data.picture import Resize
from lrcn.data.prepare import Preparation
from lrcn.serve.limits import Limits
from lrcn.serve.models import Served
from lrcn.serve.service import Service
from lrcn.stream import Member, Streamable

HOME = "http://localhost"
LIVE = "ws://localhost/api/live"
LABELS = ("dark", "bright")


class Arithmetic:
    """Says how bright frames were, the last ones more; remembers one number. Not a network at all, but quick.

    Attributes:
        delay: seconds a step takes.
        largest: streams in one step.
        gate: steps wait until it is set.
    """

    fingerprint = "arithmetic"
    at_once = 16

    def __init__(self, delay: float = 0.0) -> None:
        self.delay, self.largest, self.fails = delay, 0, False
        self.gate = threading.Event()
        self.gate.set()

    def fresh(self):
        return 0.0

    def step(self, images, memories):
        self.gate.wait(10)
        time.sleep(self.delay)
        if self.fails:
            raise RuntimeError("no")
        self.largest = max(self.largest, len(images))
        after = [0.5 * old + 0.5 * image.mean() / 255 for image, old in zip(images, memories, strict=True)]
        return np.array([[1 - value, value] for value in after], np.float32), after

    def to_arrays(self, memory):
        return {"value": np.array([memory])}

    def from_arrays(self, arrays):
        return float(arrays["value"][0])


def streamable(network: Arithmetic, rate: float | None = None) -> Streamable:
    return Streamable(LABELS, (Member(network, Preparation(Resize(8)), rate),))


class Labelled:
    """What stands for a recogniser where only live streams are asked for."""

    labels = LABELS


def arithmetic(network: Arithmetic | None = None, limits: Limits | None = None) -> Service:
    """A service whose live streams are answered by arithmetic."""
    limits = limits or Limits()
    streams = streamable(network or Arithmetic())
    return Service(
        lambda: Served({"recognize": "arithmetic"}, limits, recognizer=Labelled(), streamable=streams), limits
    )


def picture(level: int = 128, side: int = 16) -> np.ndarray:
    """A grey picture (side, side, 3)."""
    return np.full((side, side, 3), level, np.uint8)


def encoded(pixels: np.ndarray, form: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form)
    return out.getvalue()


def message(at: float, pixels: np.ndarray | None = None, form: str = "PNG") -> bytes:
    """A live frame as it is sent."""
    return struct.pack("<d", at) + encoded(picture() if pixels is None else pixels, form)


def multipart(content: bytes, name: str = "clip.mp4") -> tuple[bytes, dict[str, str]]:
    """A form with one file, and the headers that go with it."""
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}


def told(socket) -> dict:
    """The next thing a live connection says."""
    return json.loads(socket.receive_text())


def begun(socket) -> dict:
    """The first thing it says."""
    first = told(socket)
    assert first["ready"] is True
    return first


def closed(socket) -> int:
    """Why the other side closed; all that was said before is passed over."""
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect) as seen:
        while True:
            socket.receive_text()
    assert seen.value.reason
    return seen.value.code


def ready(client) -> None:
    """Waits until the models are there."""
    until = time.monotonic() + 120
    while client.get("/ready").status_code != 200:
        assert time.monotonic() < until, client.get("/ready").text
        time.sleep(0.01)


@lru_cache
def recognizer():
    from made_recognizer import tiny

    return tiny(rate=10.0)


@lru_cache
def captioner():
    import torch

    from lrcn.data.photos import PhotoPreprocess
    from lrcn.data.tokenizer import UNKNOWN, Tokenizer
    from lrcn.generate import Decoding
    from lrcn.models.captioner import Captioner, CaptionerConfig
    from lrcn.models.captioner_folder import LoadedCaptioner
    from lrcn.models.cnn import EncoderConfig
    from lrcn.models.decoder import DecoderConfig

    torch.manual_seed(2)
    words = Tokenizer((UNKNOWN, "a", "red", "blue", "circle", "square", "of", "left"))
    config = CaptionerConfig(
        EncoderConfig("test_efficientnet", "none", pool="grid", grid=2, squeeze=0),
        features=8,
        decoder=DecoderConfig(size=8, embedding=8, attention=4, init_range=1.0),
    )
    model = Captioner(config, words.size).eval()
    return LoadedCaptioner(model, PhotoPreprocess(32), words, decoding=Decoding(beam=2, max_length=6))


@lru_cache
def describer():
    import torch

    from lrcn.config import from_values
    from lrcn.data.tokenizer import Tokenizer
    from lrcn.data.transforms import Preprocess
    from lrcn.generate import Decoding
    from lrcn.models.describer import Describer, DescriberConfig
    from lrcn.models.describer_folder import LoadedDescriber

    torch.manual_seed(3)
    words = Tokenizer(("<unk>", "a", "person", "cuts", "it"))
    values = {
        "inputs": "frames",
        "features": 4,
        "encoder": {"name": "test_efficientnet", "weights": "none"},
        "decoder": {"size": 8, "embedding": 4, "init_range": 0.9},
    }
    model = Describer(from_values(DescriberConfig, values), words.size).eval()
    return LoadedDescriber(
        model, words, None, preprocess=Preprocess(size=32), decoding=Decoding(beam=3, max_length=6)
    )


@lru_cache
def finder():
    import torch

    from lrcn.data.photos import PhotoPreprocess
    from lrcn.data.tokenizer import UNKNOWN, Tokenizer
    from lrcn.models.cnn import EncoderConfig
    from lrcn.models.joint import JointConfig, JointEmbedding
    from lrcn.models.joint_folder import LoadedJoint
    from lrcn.models.recurrent import RecurrentConfig

    torch.manual_seed(0)
    words = Tokenizer((UNKNOWN, "red", "green", "blue", "a"))
    config = JointConfig(
        EncoderConfig("test_efficientnet", "none"),
        size=8,
        embedding=6,
        recurrent=RecurrentConfig("gru", 7, dropout=0),
    )
    return LoadedJoint(JointEmbedding(config, words.size).eval(), PhotoPreprocess(32), words)


def everything(limits: Limits, photos: Path | None = None) -> Service:
    """A service with a small model for each job."""

    def load() -> Served:
        from lrcn.serve.photos import Photos

        names = {job: f"tiny-{job}" for job in ("recognize", "caption", "describe")}
        found = None
        if photos is not None:
            found = Photos.of(str(photos), finder(), print)
            names["search"] = "tiny-search"
        return Served(
            names,
            limits,
            recognizer(),
            Streamable.of(recognizer()),
            captioner(),
            describer(),
            found,
        )

    return Service(load, limits)


@contextmanager
def listening(make, hosts=()) -> Iterator[tuple[str, int, Service]]:
    """The real server on a free port, in a thread of this process."""
    from lrcn.serve.server import Running, listen

    socket = listen("127.0.0.1", 0)
    addresses: list[str] = []
    there = threading.Event()

    def told(address: str) -> None:
        addresses.append(address)
        there.set()

    service = make()
    running = Running(service, socket, ["127.0.0.1", *hosts])
    thread = threading.Thread(target=lambda: asyncio.run(running.run(told)), daemon=True)
    thread.start()
    try:
        assert there.wait(120)
        yield "127.0.0.1", socket.getsockname()[1], service
    finally:
        with suppress(RuntimeError):
            running.end()
        thread.join(60)
        assert not thread.is_alive()
