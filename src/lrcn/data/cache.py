"""Frames decoded once and CNN features computed once, on disk, each under a key of everything that made it.

A file is written whole and carries checksums of what it holds, so a damaged one is noticed and made again.
Nothing here keeps a file open: any number of threads and loader processes may share a folder.
"""

import json
import logging
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from lrcn.data.video import Clip, Resize
from lrcn.errors import LrcnError
from lrcn.files import whole_file
from lrcn.fingerprint import fingerprint
from lrcn.memory import return_freed_memory

if TYPE_CHECKING:
    from lrcn.data.datasets import ClipSource, Item

_logger = logging.getLogger(__name__)

# Changes when the contents of the files do, so that files of another version are not found.
_FORMAT = 1

MEBIBYTE = 1 << 20

Progress = Callable[[int, int], None]

_Read = TypeVar("_Read")


class _DamagedError(Exception):
    """A cache file does not hold what was written."""


class FrameCache:
    """The small frames of whole clips, a file per clip, from which any frames are read without decoding.

    Args:
        folder: where the files are; made when missing.
        clip_limit: bytes; a clip whose frames take more is not kept.
    """

    def __init__(self, folder: str | Path, clip_limit: int = 512 * MEBIBYTE) -> None:
        self.folder = Path(folder)
        self.clip_limit = clip_limit

    def fits(self, count: int, resize: Resize) -> bool:
        """Says whether `count` RGB frames of that size are few enough to be kept."""
        return count * 3 * resize.size * (resize.width or resize.size) <= self.clip_limit

    def get(self, key: str, pick: Callable[[int], NDArray[np.int64]]) -> Clip | None:
        """Reads the frames of a clip that `pick` chooses by their positions, given how many there are.

        Returns:
            The chosen frames and their times, or None when the clip is not kept or its file is damaged.
        """
        path = _place(self.folder, key)
        return _whole_or_none(path, lambda: _read_frames(path, pick))

    def put(self, key: str, clip: Clip) -> None:
        """Keeps a whole clip.

        Raises:
            LrcnError: the folder cannot be written.
        """
        frames = np.ascontiguousarray(clip.frames)
        arrays: dict[str, NDArray[Any]] = {
            "frames": frames,
            "times": np.ascontiguousarray(clip.times),
            "checksums": np.array(_frame_checksums(frames), dtype=np.int64),
        }
        path = _place(self.folder, key)
        with whole_file(path) as temporary, _full_disk_as_system_error():
            safetensors.numpy.save_file(arrays, temporary)


class FeatureCache:
    """CNN features of clips in half precision: training the recurrent part runs the CNN once per clip.

    Args:
        folder: where the files are, one per item; made when missing.
        encode: uint8 frames (N,3,H,W) -> features (N,C,h,w) or (N,C) on any device, called without gradients.
        encoder_key: a fingerprint of the CNN's weights and settings.
        memory_limit: bytes of features also held in memory, so that epochs spare the disk.
    """

    def __init__(
        self,
        folder: str | Path,
        encode: Callable[[Tensor], Tensor],
        encoder_key: str,
        *,
        memory_limit: int = 2048 * MEBIBYTE,
    ) -> None:
        self.folder = Path(folder)
        self.encoder_key = encoder_key
        self.memory_limit = memory_limit
        self._encode: Callable[[Tensor], Tensor] | None = encode
        self._memory: dict[str, Item] = {}
        self._memory_bytes = 0

    def dataset(
        self, dataset: "ClipSource", views: int = 1, progress: Progress | None = None
    ) -> "CachedClips":
        """The same clips with features in place of frames.

        Args:
            dataset: where the clips come from.
            views: how many random draws of each clip are kept; an epoch uses draw `view % views`.
            progress: called with (items done, items in all) while `fill` runs.
        """
        return CachedClips(self, dataset, views, progress)

    def get(self, key: str) -> "Item | None":
        """Reads an item; None when it was never stored or its file is damaged."""
        if key in self._memory:
            return dict(self._memory[key])
        path = _place(self.folder, key)
        item = _whole_or_none(path, lambda: _read_item(path))
        if item is None:
            return None
        self._remember(key, item)
        return dict(item)

    def put(self, key: str, item: "Item") -> None:
        """Stores an item: tensors and plain values by name.

        Raises:
            LrcnError: the folder cannot be written.
        """
        _write_item(_place(self.folder, key), item)
        self._remember(key, dict(item))

    def encode(self, frames: Tensor, batch_frames: int) -> Tensor:
        """Features float16 (N,...) of uint8 frames (N,3,H,W), at most `batch_frames` in the CNN at once.

        Raises:
            LrcnError: this is a loader process, or the CNN gave features that are not numbers.
        """
        if self._encode is None or get_worker_info() is not None:
            raise LrcnError(
                f"Some features are not in {self.folder} yet and a loader process cannot compute them; "
                "call fill() before the loader starts, or load with workers set to 0."
            )
        # Not inference mode: what it makes cannot take part in training.
        with torch.no_grad():
            maps = torch.cat([self._encode(part).half().cpu() for part in torch.split(frames, batch_frames)])
        if len(maps) != len(frames) or not bool(maps.isfinite().all()):
            raise LrcnError(
                "The CNN must give one feature per frame, all finite in half precision; "
                f"{len(frames)} frames gave {tuple(maps.shape)}, {int((~maps.isfinite()).sum())} not finite: "
                "check its weights and its preprocessing."
            )
        return maps

    def _remember(self, key: str, item: "Item") -> None:
        size = sum(value.nbytes for value in item.values() if isinstance(value, Tensor))
        # Each loader process would hold its own copy; the system's file cache serves them all.
        if (
            key in self._memory
            or get_worker_info() is not None
            or self._memory_bytes + size > self.memory_limit
        ):
            return
        self._memory[key] = item
        self._memory_bytes += size

    def __getstate__(self) -> dict[str, Any]:
        # For loader processes that start from a pickle: they read features, they do not compute them.
        return self.__dict__ | {"_encode": None, "_memory": {}, "_memory_bytes": 0}


class CachedClips(Dataset["Item"]):
    """Clips as CNN features: {"maps": float16 (T,C,h,w) or (T,C), ...}, all else as the clip source gave it.

    Items that are not there yet are computed when asked for, in the main process; `fill` computes all of them
    in large batches and goes on where an earlier run stopped. Tensors may be shared: do not change them in
    place.

    Args:
        cache: where features are kept.
        source: where the clips come from.
        views: random draws kept of each clip.
        progress: called with (items done, items in all) by `fill`.

    Raises:
        LrcnError: `views` is below 1.
    """

    def __init__(
        self, cache: FeatureCache, source: "ClipSource", views: int = 1, progress: Progress | None = None
    ) -> None:
        if views < 1:
            raise LrcnError(f"views is {views}; give how many random draws of each clip to keep, 1 or more.")
        self.cache = cache
        self.source = source
        self.views = views
        self.progress = progress
        self._keys: dict[tuple[int, int], str] = {}

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, draw: tuple[int, int]) -> "Item":
        return self.item(*draw)

    def key(self, index: int, view: int) -> str:
        """A hash of everything that made the item; files are taken not to change while in use."""
        draw = (index, view % self.views)
        if draw not in self._keys:
            self._keys[draw] = fingerprint(
                "features", _FORMAT, self.source.key(*draw), self.cache.encoder_key
            )
        return self._keys[draw]

    def item(self, index: int, view: int, batch_frames: int = 256) -> "Item":
        """The features of draw `view % views` of clip `index`, computed when they are not there.

        Raises:
            LrcnError: they are not there and this is a loader process.
        """
        key = self.key(index, view)
        item = self.cache.get(key)
        if item is None:
            item = self.source.item(index, view % self.views)
            item["maps"] = self.cache.encode(item.pop("frames"), batch_frames)
            item = _without_own_index(item, index)
            self.cache.put(key, item)
        return {"index": index, **item}

    def fill(self, batch_frames: int = 256, workers: int = 0, progress: Progress | None = None) -> None:
        """Computes every item that is not there; may be stopped at any time and called again.

        Args:
            batch_frames: frames in the CNN at once, taken from several clips.
            workers: processes that decode ahead of the CNN.
            progress: called with (items done, items in all); the one given to the constructor when None.
        """
        report = progress or self.progress or _unreported
        draws = {
            self.key(index, view): (index, view) for view in range(self.views) for index in range(len(self))
        }
        missing = {key: draw for key, draw in draws.items() if self.cache.get(key) is None}
        done = len(draws) - len(missing)
        report(done, len(draws))
        items = zip(missing, _items(self.source, list(missing.values()), workers), strict=True)
        for batch in _batches(items, batch_frames):
            clips = [item.pop("frames") for _, item in batch]
            encoded = self.cache.encode(torch.cat(clips), batch_frames)
            maps = torch.split(encoded, [len(clip) for clip in clips])
            for (key, item), features in zip(batch, maps, strict=True):
                # Copied: a part of a batch keeps all of it in memory, and what a loader process sent keeps a file open.
                encoded_item = {name: _own(value) for name, value in {**item, "maps": features}.items()}
                self.cache.put(key, _without_own_index(encoded_item, draws[key][0]))
            done += len(batch)
            report(done, len(draws))


class _Draws(Dataset["Item | LrcnError"]):
    """Chosen draws of a clip source; errors are handed over: raised in a loader, they are hard to read."""

    def __init__(self, source: "ClipSource", draws: Sequence[tuple[int, int]]) -> None:
        self.source = source
        self.draws = draws

    def __len__(self) -> int:
        return len(self.draws)

    def __getitem__(self, position: int) -> "Item | LrcnError":
        try:
            return self.source.item(*self.draws[position])
        except LrcnError as error:
            return error


def _items(source: "ClipSource", draws: Sequence[tuple[int, int]], workers: int) -> Iterator["Item"]:
    loader = DataLoader(
        _Draws(source, draws),
        batch_size=None,
        num_workers=workers,
        collate_fn=_unchanged,
        worker_init_fn=return_freed_memory,
    )
    for item in loader:
        if isinstance(item, LrcnError):
            raise item
        yield item


def _unreported(_done: int, _total: int) -> None:
    pass


def _unchanged(item: Any) -> Any:
    return item


def _own(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _batches(items: Iterable[tuple[str, "Item"]], batch_frames: int) -> Iterator[list[tuple[str, "Item"]]]:
    """Groups of items that together have just about `batch_frames` frames, one item at least."""
    batch: list[tuple[str, Item]] = []
    frames = 0
    for key, item in items:
        batch.append((key, item))
        frames += len(item["frames"])
        if frames >= batch_frames:
            yield batch
            batch, frames = [], 0
    if batch:
        yield batch


def _place(folder: Path, key: str) -> Path:
    # Folders of hundreds of thousands of files are slow on many file systems.
    return folder / key[:2] / f"{key}.safetensors"


def _runs(positions: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Ascending positions as (first, last + 1) runs of neighbours: a repeated position starts a new run."""
    parts = np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1)
    return [(int(part[0]), int(part[-1]) + 1) for part in parts]


def _frame_checksums(frames: NDArray[np.uint8]) -> list[int]:
    return [zlib.crc32(frame.data) for frame in frames]


def _read_frames(path: Path, pick: Callable[[int], NDArray[np.int64]]) -> Clip:
    with safe_open(path, framework="numpy") as file:
        times = file.get_tensor("times")
        chosen = pick(len(times))
        stored = file.get_slice("frames")
        frames = np.concatenate([stored[first:last] for first, last in _runs(chosen)])
        if _frame_checksums(frames) != file.get_tensor("checksums")[chosen].tolist():
            raise _DamagedError("checksums differ")
    return Clip(frames, times[chosen])


def _write_item(path: Path, item: "Item") -> None:
    tensors = {name: value.contiguous() for name, value in item.items() if isinstance(value, Tensor)}
    values = json.dumps({name: value for name, value in item.items() if name not in tensors})
    metadata = {"values": values, "checksum": str(_checksum(values, tensors))}
    with whole_file(path) as temporary, _full_disk_as_system_error():
        safetensors.torch.save_file(tensors, temporary, metadata)


def _read_item(path: Path) -> "Item":
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        # Cloned, as what the file gives is a view of it, which would not outlive its being cut short.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    values = metadata.get("values", "")
    if metadata.get("checksum") != str(_checksum(values, tensors)):
        raise _DamagedError("checksums differ")
    return {**json.loads(values), **tensors}


def _checksum(values: str, tensors: dict[str, Tensor]) -> int:
    checksum = zlib.crc32(values.encode())
    for _, tensor in sorted(tensors.items()):
        checksum = zlib.crc32(tensor.flatten().view(torch.uint8).numpy().data, checksum)
    return checksum


def _without_own_index(item: "Item", index: int) -> "Item":
    # Equal clips share a file, so it cannot say which of them it is; a clip that stands in for another must.
    return {name: value for name, value in item.items() if name != "index" or value != index}


def _whole_or_none(path: Path, read: Callable[[], _Read]) -> _Read | None:
    """What `read` makes of a cache file; None when there is no file or a damaged one, which is reported."""
    try:
        return read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LrcnError(
            f"Cannot read {path}: {error.strerror or error}; mend its permissions or remove it."
        ) from error
    except (SafetensorError, _DamagedError) as error:
        _logger.warning("The cache file %s is damaged (%s); it will be made again.", path, error)
        return None


@contextmanager
def _full_disk_as_system_error() -> Iterator[None]:
    """What safetensors raises when writing fails, as the OSError it was."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(str(error)) from error
