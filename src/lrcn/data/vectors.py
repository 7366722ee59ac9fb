"""The vectors of a folder's files, kept on disk: what a search reads, and what an update adds to.

The store is a folder of parts, `00000012-3f9c1a.safetensors`, each written whole and never changed. A part has the
vectors of some files, and of each file its name, its size and time, and a hash of its content; and the names of files
that have no vector, with the reason. Where several parts tell of a file, the latest counts. Parts that are small, or
mostly of files that are gone, are put together into new ones, so that there are never many.

Vectors stay on disk and are mapped into memory; names, times and hashes are held, about 300 bytes a file.
"""

import json
import logging
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lrcn.errors import LrcnError
from lrcn.files import write_whole

_logger = logging.getLogger(__name__)

# Changes when what is in the files does.
_FORMAT = 1

PART_ROWS = 32768
"""Vectors of a full part: 32 MiB of 512 in half precision."""


class Stamp(NamedTuple):
    """By what a file is known not to have changed.

    Attributes:
        size: bytes.
        modified: nanoseconds since 1970.
    """

    size: int
    modified: int


class Filed(NamedTuple):
    """A file with its vector.

    Attributes:
        name: its path below the folder.
        stamp: of the file when the vector was made.
        digest: of its content, 16 bytes.
        vector: (D,).
    """

    name: str
    stamp: Stamp
    digest: bytes
    vector: Tensor


class Failed(NamedTuple):
    """A file that no vector can be made of, until it changes."""

    stamp: Stamp
    reason: str


@dataclass(frozen=True)
class Part:
    """One file of vectors.

    Attributes:
        path: the file.
        names: of the n files that have a vector.
        stamps: (n, 2), sizes and times.
        digests: (n, 16).
        vectors: float16 (n, D), on disk.
        live: bool (n,), the files that no later part tells of and that are not gone.
        failed: of files without a vector.
    """

    path: Path
    names: list[str]
    stamps: NDArray[np.int64]
    digests: NDArray[np.uint8]
    vectors: Tensor
    live: NDArray[np.bool_]
    failed: dict[str, Failed] = field(default_factory=dict)

    def stamp(self, row: int) -> Stamp:
        """Of the file in that row."""
        return Stamp(int(self.stamps[row, 0]), int(self.stamps[row, 1]))

    def digest(self, row: int) -> bytes:
        """Of the content of the file in that row."""
        return bytes(self.digests[row])


class VectorStore:
    """The vectors of files, by name.

    Args:
        folder: where the parts are; made when missing.
        key: of what made the vectors.
        size: D.
        model: the name of what made them, for people.
        what: whose vectors they are, for people.

    Raises:
        LrcnError: the store is of vectors that something else made, or cannot be read.
    """

    def __init__(self, folder: Path, key: str, size: int, *, model: str, what: str) -> None:
        self.folder = folder
        self.key = key
        self.size = size
        self._about = {"lrcn": version("lrcn"), "format": _FORMAT, "key": key, "model": model, "size": size}
        self._compare(model, what)
        self.parts: list[Part] = []
        self._places: dict[str, tuple[Part, int]] = {}
        self._failed: dict[str, Failed] = {}
        self._digests: dict[bytes, tuple[Part, int]] | None = None
        self._strays: list[Path] = []
        for path in sorted(folder.glob("[0-9]*.safetensors")):
            part = _read(path, key, size)
            if part is None:
                self._strays.append(path)
            else:
                self._take(part)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def failed(self) -> Mapping[str, Failed]:
        """Files that no vector can be made of."""
        return self._failed

    def names(self) -> Iterator[str]:
        """All files that the store tells of."""
        return chain(self._places, self._failed)

    def stamp(self, name: str) -> Stamp | None:
        """Of a file when it was last read; None where the store does not tell of it."""
        if name in self._failed:
            return self._failed[name].stamp
        if name not in self._places:
            return None
        part, row = self._places[name]
        return part.stamp(row)

    def of_content(self, digest: bytes) -> Tensor | None:
        """The vector (D,) of a file with that content, gone or not."""
        digests = self._digests
        if digests is None:
            digests = {part.digest(row): (part, row) for part in self.parts for row in range(len(part.names))}
            self._digests = digests
        if digest not in digests:
            return None
        part, row = digests[digest]
        return part.vectors[row]

    def add(self, filed: Sequence[Filed], failed: Mapping[str, Failed] | None = None) -> None:
        """Writes a part.

        Raises:
            LrcnError: the folder cannot be written.
        """
        failed = dict(failed or {})
        if not filed and not failed:
            return
        if not (self.folder / "index.json").exists():
            write_whole(self.folder / "index.json", json.dumps(self._about, indent=2) + "\n")
        vectors = [each.vector for each in filed]
        tensors = {
            "vectors": (torch.stack(vectors) if vectors else torch.empty(0, self.size)).half(),
            "stamps": torch.tensor([each.stamp for each in filed], dtype=torch.int64).view(-1, 2),
            "digests": torch.tensor(list(b"".join(each.digest for each in filed)), dtype=torch.uint8).view(
                -1, 16
            ),
        }
        metadata = {
            "key": self.key,
            "names": json.dumps([each.name for each in filed]),
            "failed": json.dumps({name: [*why.stamp, why.reason] for name, why in failed.items()}),
        }
        path = self.folder / f"{self._next_number():08d}-{secrets.token_hex(3)}.safetensors"
        write_whole(path, save(tensors, metadata))
        part = _read(path, self.key, self.size)
        if part is None:
            raise LrcnError(f"What was written to {path} cannot be read again: check that disk.")
        self._take(part)

    def forget(self, name: str) -> None:
        """Leaves a file out from now on; what is on disk of it goes with the next `tidy`, or later."""
        self._failed.pop(name, None)
        if name in self._places:
            part, row = self._places.pop(name)
            part.live[row] = False

    def tidy(self) -> None:
        """Puts small parts together, without what is gone.

        Raises:
            LrcnError: the folder cannot be written.
        """
        loose = [part for part in self.parts if part.live.sum() < PART_ROWS // 2]
        if len(loose) > 1 or not all(part.live.all() for part in loose):
            self._merge(loose)
        _remove(self._strays)
        self._strays = []

    def _compare(self, model: str, what: str) -> None:
        path = self.folder / "index.json"
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            known = (about["format"], about["key"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise LrcnError(
                f"{path} cannot be read ({error}); give --rebuild to index {what} anew."
            ) from error
        if known[0] != _FORMAT:
            raise LrcnError(
                f"The index of {what} was made by lrcn {about.get('lrcn', '?')} in another form: give --rebuild to "
                "make it anew."
            )
        if known[1] != self.key:
            raise LrcnError(
                f"The index of {what} was made by another model, {about.get('model', '?')}, than {model}: give that "
                "one with --model, or --rebuild to make the index anew."
            )

    def _take(self, part: Part) -> None:
        """Lets a part tell of its files, in place of what was told of them before."""
        for name in chain(part.names, part.failed):
            self.forget(name)
        self.parts.append(part)
        self._places.update((name, (part, row)) for row, name in enumerate(part.names))
        self._failed.update(part.failed)
        if self._digests is not None:
            self._digests.update((part.digest(row), (part, row)) for row in range(len(part.names)))

    def _merge(self, parts: Sequence[Part]) -> None:
        rows = [
            Filed(name, part.stamp(row), part.digest(row), part.vectors[row])
            for part in parts
            for row, name in enumerate(part.names)
            if part.live[row]
        ]
        failed = {
            name: why for part in parts for name, why in part.failed.items() if self._failed.get(name) == why
        }
        for first in range(0, max(len(rows), 1), PART_ROWS):
            self.add(rows[first : first + PART_ROWS], {} if first else failed)
        gone = {part.path for part in parts}
        self.parts = [part for part in self.parts if part.path not in gone]
        self._digests = None
        _remove(gone)

    def _next_number(self) -> int:
        numbers = [int(path.name.partition("-")[0]) for path in self.folder.glob("[0-9]*-*.safetensors")]
        return max(numbers, default=0) + 1


def remove_vectors(folder: Path) -> None:
    """Removes a store."""
    _remove([*folder.glob("[0-9]*.safetensors"), folder / "index.json"])


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        # What another process removed, or has open where that forbids it: later parts count in its place.
        with suppress(OSError):
            path.unlink()


def _read(path: Path, key: str, size: int) -> Part | None:
    """A part; None where it is damaged or of something else."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # What the file gives is a view of it on disk: kept as it is of the vectors, and of nothing else.
            vectors = file.get_tensor("vectors")
            stamps, digests = (file.get_tensor(name).clone().numpy() for name in ("stamps", "digests"))
        names: list[str] = json.loads(metadata["names"])
        failed: dict[str, Any] = json.loads(metadata["failed"])
        fits = (
            metadata["key"] == key
            and vectors.dtype == torch.float16
            and vectors.shape == (len(names), size)
            and (stamps.dtype, stamps.shape) == (np.int64, (len(names), 2))
            and (digests.dtype, digests.shape) == (np.uint8, (len(names), 16))
        )
        if not fits:
            return None
        unreadable = {
            str(name): Failed(Stamp(int(bytes_), int(time)), str(why))
            for name, (bytes_, time, why) in failed.items()
        }
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        _logger.warning("%s is damaged (%s); what it told of is indexed again.", path, error)
        return None
    live = np.ones(len(names), dtype=np.bool_)
    return Part(path, names, stamps, digests, vectors, live, unreadable)
