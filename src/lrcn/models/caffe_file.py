"""What is in a file that Caffe saved (.caffemodel): names of layers and their weights, read without Caffe.

The file is one protobuf message, NetParameter (caffe.proto), read here by hand. The message has a known depth, so
nothing nests further than that; every length is held against what is there, and fields are counted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrcn.errors import LrcnError
from lrcn.text import one_line

Values = NDArray[np.float32]

MAX_BYTES = 2**31
"""Protobuf itself refuses larger messages."""

MAX_FIELDS = 1_000_000
"""A large network has some ten thousand."""


@dataclass(frozen=True)
class CaffeLayer:
    """A layer that has weights.

    Attributes:
        name: as in its prototxt.
        blobs: its weights, in Caffe's order, without leading dimensions of 1.
    """

    name: str
    blobs: tuple[Values, ...]

    @property
    def shapes(self) -> str:
        """The blobs' shapes, for sentences."""
        return ", ".join("x".join(map(str, blob.shape)) for blob in self.blobs)


def read_caffemodel(path: str | Path) -> list[CaffeLayer]:
    """The layers with weights, in the order of the file.

    Raises:
        LrcnError: the file cannot be read, or is no .caffemodel.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise LrcnError(f"There is no file {path}: give a .caffemodel.")
        if path.stat().st_size > MAX_BYTES:
            raise LrcnError(f"{path} is larger than 2 GiB, which no .caffemodel is: give another file.")
        content = path.read_bytes()
    except OSError as error:
        raise LrcnError(f"Cannot read {path}: {error.strerror or error}.") from error
    try:
        layers = list(_Message(MAX_FIELDS).layers(memoryview(content)))
    except _MalformedError as error:
        raise LrcnError(
            f"{path} is no .caffemodel, or damaged ({error}): fetch it again, or export it from Caffe anew."
        ) from error
    if not layers:
        raise LrcnError(f"{path} holds no weights: give a .caffemodel that Caffe saved in training.")
    return layers


class _MalformedError(Exception):
    """What is read is not what it should be."""


class _Message:
    """Reads messages, up to so many fields in all: each field costs time and memory, however short it is."""

    def __init__(self, fields: int) -> None:
        self.fields_left = fields

    def fields(self, message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """Field numbers and values: whole numbers as such, all else as bytes."""
        at = 0
        while at < len(message):
            self.fields_left -= 1
            if self.fields_left < 0:
                raise _MalformedError("it has too many fields")
            key, at = _varint(message, at)
            kind = key & 7
            if kind == 0:
                value, at = _varint(message, at)
                yield key >> 3, value
                continue
            if kind not in (1, 2, 5):
                raise _MalformedError(f"a field of the unknown kind {kind}")
            size, at = _varint(message, at) if kind == 2 else (8 if kind == 1 else 4, at)
            if size > len(message) - at:
                raise _MalformedError("it ends too early")
            yield key >> 3, message[at : at + size]
            at += size

    def layers(self, net: memoryview) -> Iterator[CaffeLayer]:
        """NetParameter: `layer` is 100 (LayerParameter), `layers` 2 (V1LayerParameter, until 2015)."""
        for number, value in self.fields(net):
            if number in (2, 100):
                layer = self.layer(_bytes(value), *((4, 6) if number == 2 else (1, 7)))
                if layer.blobs:
                    yield layer

    def layer(self, message: memoryview, name_field: int, blobs_field: int) -> CaffeLayer:
        name, blobs = "", []
        for number, value in self.fields(message):
            if number == name_field:
                name = one_line(bytes(_bytes(value)[:200]).decode("utf-8", "replace"))
            elif number == blobs_field:
                blobs.append(self.blob(_bytes(value)))
        return CaffeLayer(name or "(nameless)", tuple(blobs))

    def blob(self, message: memoryview) -> Values:
        """BlobProto: numbers packed or one by one, single or double; a shape, or the four sizes of old."""
        shape: list[int] | None = None
        sizes = [1, 1, 1, 1]
        parts: dict[int, list[memoryview]] = {5: [], 8: []}
        for number, value in self.fields(message):
            if number in parts:
                parts[number].append(_bytes(value))
            elif number == 7:
                shape = self.dims(_bytes(value))
            elif 1 <= number <= 4 and isinstance(value, int):
                sizes[number - 1] = value
        kind, data = ("<f8", parts[8]) if parts[8] else ("<f4", parts[5])
        whole = b"".join(data)
        if len(whole) % int(kind[2:]):
            raise _MalformedError("a number is cut off")
        with np.errstate(over="ignore"):
            values = np.frombuffer(whole, kind).astype(np.float32)
        return _shaped(values, sizes if shape is None else shape)

    def dims(self, message: memoryview) -> list[int]:
        """BlobShape: sizes, packed or one by one."""
        found: list[int] = []
        for number, value in self.fields(message):
            if number == 1 and isinstance(value, int):
                found.append(value)
            elif number == 1:
                # Caffe has 32 dimensions at most; more are not read, and the numbers will not fit them.
                packed, at = _bytes(value)[:320], 0
                while at < len(packed):
                    size, at = _varint(packed, at)
                    found.append(size)
        return found


def _shaped(values: Values, shape: list[int]) -> Values:
    """The values in their shape, less leading dimensions of 1: of old, all weights had four."""
    if prod(shape[:32]) != len(values) or len(shape) > 32:
        raise _MalformedError(f"{len(values)} numbers for the shape {'x'.join(map(str, shape[:8]))}")
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return values.reshape(shape) if len(values) else values


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The whole number at a place (seven bits a byte, lowest first), and the place after it."""
    value = 0
    for place, byte in enumerate(message[at : at + 10]):
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, at + place + 1
    raise _MalformedError("it ends too early" if at + 10 > len(message) else "a number is too long")


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _MalformedError("a number where a message should be")
    return value
