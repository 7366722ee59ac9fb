"""Features of frames that were made elsewhere, `.npy`, `.npz` or `.safetensors`: a source as good as pixels.

An array is (T, D), a step a frame or a second; one vector (D,) is one step. It lies in a file of its own, called as the
clip or its id, or under that name in a file that holds many. Files of others may hold anything, so shapes are looked at
before anything is read, what is larger than `MOST_BYTES` is refused, and nothing pickled is ever loaded.
"""

import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lrcn.data.datasets import Item
from lrcn.data.manifest import Row
from lrcn.data.sampling import Sampling
from lrcn.errors import LrcnError
from lrcn.fingerprint import fingerprint, fingerprint_file

SUFFIXES = (".npy", ".npz", ".safetensors")
MOST_BYTES = 1 << 30
"""Of one array, or of the steps of it that are read at a time."""

_FORMAT = 1


class FeatureError(LrcnError):
    """Features that cannot be read: one sentence that names the file and the fix."""


@dataclass(frozen=True)
class FeatureArray:
    """One array of features in a file, of which any steps can be read.

    Attributes:
        path: the file.
        name: the array's name in it; empty in a `.npy` file.
        steps: T.
        size: D.
    """

    path: Path
    name: str
    steps: int
    size: int

    def read(self, first: int = 0, last: int | None = None) -> Tensor:
        """Steps from `first` up to but without `last`, float32 (n, D).

        Raises:
            FeatureError: they are too large, damaged, or hold values that are no numbers.
        """
        last = self.steps if last is None else min(last, self.steps)
        first = min(first, last)
        if (last - first) * self.size * 4 > MOST_BYTES:
            raise FeatureError(
                f"{self.path} has {last - first} steps of {self.size} features, more than {MOST_BYTES >> 20} MiB: give "
                "start and end, or fewer steps a second."
            )
        with _readable(self.path):
            if self.path.suffix == ".safetensors":
                with safe_open(self.path, framework="pt") as file:
                    part = file.get_slice(self.name)
                    found = part[:] if len(part.get_shape()) == 1 else part[first:last]
            elif self.path.suffix == ".npz":
                # It reads as many bytes as the header says, however much the file would unpack to.
                with _in_zip(self.path, self.name) as stream:
                    array = np.lib.format.read_array(stream, allow_pickle=False)
                found = torch.from_numpy(array.astype(np.float32)).reshape(self.steps, -1)[first:last]
            else:
                mapped = np.load(self.path, mmap_mode="r", allow_pickle=False)
                part = mapped if mapped.ndim == 1 else mapped[first:last]
                found = torch.from_numpy(np.array(part, dtype=np.float32))
        values: Tensor = found.float().reshape(last - first, self.size)
        if not bool(values.isfinite().all()):
            raise FeatureError(f"{self.path} holds features that are no numbers: make them again.")
        return values

    def pieces(self, size: int, first: int = 0, last: int | None = None) -> Iterator[Tensor]:
        """The same steps, `size` at a time, so that memory holds as many (of a `.npz`, all)."""
        last = self.steps if last is None else min(last, self.steps)
        for begin in range(first, last, size):
            yield self.read(begin, min(begin + size, last))


def open_features(path: str | Path, names: Sequence[str] = ()) -> FeatureArray:
    """Looks at an array of features.

    Args:
        path: the file.
        names: what the array may be called where the file holds several; of one alone the name does not matter.

    Raises:
        FeatureError: the file cannot be read, or holds no such array of numbers (T, D).
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise FeatureError(f"{path} is no file of features: give {', '.join(SUFFIXES)}.")
    with _readable(path):
        name = "" if path.suffix == ".npy" else _name_in(path, names)
        shape, numbers = _shape(path, name)
    # Networks that pool to 1 x 1 leave these.
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    if not numbers or not 1 <= len(shape) <= 2 or min(shape) < 1:
        what = f"{name} of {path}" if name else str(path)
        raise FeatureError(f"{what} has shape {shape}: features are numbers (T, D), a step a row.")
    return FeatureArray(path, name, *((1, *shape) if len(shape) == 1 else shape))


def located(row: Row, place: str | Path = "") -> FeatureArray:
    """The features of a manifest's row.

    Args:
        row: its `id`, and its path without folder and suffix, are names that the features may go by.
        place: a folder of files, or one file of many arrays; empty: the row's path is the file itself.

    Raises:
        FeatureError: there are none, or they cannot be read.
    """
    names = list(dict.fromkeys(name for name in (row.id, Path(row.path).stem, Path(row.path).name) if name))
    place = Path(place or row.path)
    if not place.is_dir():
        return open_features(place, names)
    for name in names:
        for suffix in SUFFIXES:
            # A name may hold a dot, or come with folders of its own: neither may lead out of the folder.
            file = place / f"{Path(name).name}{suffix}"
            if file.is_file():
                return open_features(file, names)
    raise FeatureError(
        f"There are no features of {names[0]} in {place}, such as {names[0]}.npy: put them there."
    )


class FeatureClips:
    """The features of a manifest's rows, in place of frames: a clip source.

    Args:
        rows: one per clip.
        place: see `located`.
        rate: steps a second, by which `start` and `end` of a row choose among those of a whole video; 0: an array is a
            row's own, whatever its times.
        sampling: which steps; its rate does not count.
        train: whether items are random draws.
        seed: everything random follows from it.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        place: str | Path = "",
        rate: float = 0.0,
        sampling: Sampling | None = None,
        *,
        train: bool = False,
        seed: int = 0,
    ) -> None:
        self.rows = list(rows)
        self.place = place
        self.rate = rate
        self.sampling = sampling or Sampling(frames=None)
        self.train = train
        self.seed = seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, draw: tuple[int, int]) -> Item:
        return self.item(*draw)

    def item(self, index: int, view: int) -> Item:
        """{"maps": float32 (T, D), "index": int}.

        Raises:
            FeatureError: they cannot be read.
        """
        array = located(self.rows[index], self.place)
        first, last = span_of(self.rows[index], array.steps, self.rate)
        rng = np.random.default_rng([self.seed, index, max(view, 0)]) if self.train else None
        chosen = self.sampling.pick(last - first, rng)
        return {"maps": array.read(first, last)[torch.from_numpy(chosen)], "index": index}

    def key(self, index: int, view: int) -> str:
        """A hash of everything that made the item."""
        row = self.rows[index]
        array = located(row, self.place)
        draw = (self.seed, index, max(view, 0)) if self.train else ()
        parts = (
            fingerprint_file(array.path),
            array.name,
            row.start,
            row.end,
            self.rate,
            self.sampling,
            *draw,
        )
        return fingerprint("features of others", _FORMAT, *parts)


def span_of(row: Row, steps: int, rate: float) -> tuple[int, int]:
    """The steps of a row among those of its array: first, and one past the last; at least one."""
    if not rate:
        return 0, steps
    first = min(math.floor((row.start or 0.0) * rate), steps - 1)
    last = steps if row.end is None else min(math.ceil(row.end * rate), steps)
    return first, max(last, first + 1)


# ---- files ----


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what reading a file of others raises into one sentence."""
    try:
        yield
    except LrcnError:
        raise
    except OSError as error:
        raise FeatureError(f"Cannot read {path}: {error.strerror or error}.") from error
    except _DAMAGE as error:
        raise FeatureError(f"{path} cannot be read as features ({error}); make it again.") from error


_DAMAGE = (
    ValueError,
    KeyError,
    EOFError,
    NotImplementedError,
    SafetensorError,
    TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def _name_in(path: Path, names: Sequence[str]) -> str:
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as file:
            held = [name.removesuffix(".npy") for name in file.namelist() if name.endswith(".npy")]
    else:
        with safe_open(path, framework="pt") as file:
            held = list(file.keys())
    found = next((name for name in names if name in held), held[0] if len(held) == 1 else None)
    if found is None:
        wanted = names[0] if names else "a name"
        raise FeatureError(
            f"{path} holds no array {wanted}: it has {', '.join(held[:5]) or 'none'} ({len(held)})."
        )
    return found


def _shape(path: Path, name: str) -> tuple[tuple[int, ...], bool]:
    """An array's shape, and whether it is of real numbers."""
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            part = file.get_slice(name)
            return tuple(part.get_shape()), str(part.get_dtype()) != "BOOL"
    if path.suffix == ".npz":
        with _in_zip(path, name) as stream:
            shape, kind = _header(stream)
        if math.prod(shape) * max(kind.itemsize, 4) > MOST_BYTES:
            raise FeatureError(
                f"{name} of {path} has shape {shape}, more than {MOST_BYTES >> 20} MiB: write it as .npy."
            )
    else:
        with path.open("rb") as stream:
            shape, kind = _header(stream)
    return shape, kind.kind in "fiu"


@contextmanager
def _in_zip(path: Path, name: str) -> Iterator[Any]:
    with zipfile.ZipFile(path) as file, file.open(f"{name}.npy") as stream:
        yield stream


def _header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(stream)
    return shape, kind
