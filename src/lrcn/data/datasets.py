"""Manifest rows -> tensors, and a list of items -> one padded batch with lengths."""

import gc
import logging
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lrcn.data.cache import FrameCache
from lrcn.data.manifest import Row, is_url
from lrcn.data.prepare import Preparation, Progress
from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Augment, Preprocess
from lrcn.data.video import Clip, VideoError, VideoReader, open_video
from lrcn.errors import LrcnError
from lrcn.fingerprint import fingerprint, fingerprint_file

_logger = logging.getLogger(__name__)

# Changes when the same row and settings give other pixels, so that files of the old rules are not found.
_FORMAT = 1

if hasattr(os, "register_at_fork"):
    # A decoder waits for its threads when it is freed, and threads do not fork: a loader process that
    # collects a decoder of its parent as garbage waits for ever. The readers of this package let go of theirs
    # without the collector; frozen, those of other libraries and of readers still in use are never collected.
    os.register_at_fork(after_in_child=gc.freeze)

# Sets the chances of a camera apart from those of what is done to its pictures.
_CAMERA = 1

# What `collate` puts where a frame has no label; the target cross-entropy ignores.
IGNORED_LABEL = -100

Item: TypeAlias = dict[str, Any]
"""One clip: "frames" uint8 (T,3,H,W) or "maps" float16 (T,...), "label" int or int64 (T,), "index" int."""


class ClipSource(Protocol):
    """Anything that gives clips: a data set of files, generated camera moves, cached features of either."""

    def __len__(self) -> int: ...

    def item(self, index: int, view: int) -> Item:
        """Random draw `view` of clip `index`."""
        ...

    def key(self, index: int, view: int) -> str:
        """A hash of everything that made the item."""
        ...


class ClipDataset(Dataset[Item]):
    """Clips of a manifest as uint8 tensors.

    In training, item (index, view) is a random draw that follows from (seed, index, view) alone, so an epoch
    can be taken up anywhere by any process; in evaluation a clip has one item and `view` means nothing.
    No file stays open and no item depends on an earlier one: loader processes may share the data set.

    Args:
        rows: one per clip; `start` and `end` (seconds) are kept to.
        labels: the classes; the position in this list is the class number.
        sampling: which frames of a clip.
        preprocess: how a frame reaches the network.
        augment: random changes in training; evaluation makes none.
        train: whether items are random draws.
        seed: everything random follows from it.
        frame_cache: folder that keeps each clip's small frames, so that it is decoded once.

    Raises:
        LrcnError: a row has no label or one that is not in `labels`.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        labels: Sequence[str],
        sampling: Sampling,
        preprocess: Preprocess,
        augment: Augment | None = None,
        *,
        train: bool,
        seed: int = 0,
        frame_cache: str | Path | None = None,
    ) -> None:
        self.rows = list(rows)
        self.labels = list(labels)
        self.sampling = sampling
        self.preprocess = preprocess
        self.augment = augment if train else None
        self.train = train
        self.seed = seed
        self._classes = _class_numbers(self.rows, self.labels)
        preprocess.preparation(self.augment)  # refuses what does not go together
        self._cache = None if frame_cache is None else FrameCache(frame_cache)
        self._reasons: dict[int, str] = {}
        # Shared with loader processes, so that a clip one of them fails on is known to all and reported once.
        self._unreadable = torch.zeros(len(self.rows), dtype=torch.bool).share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, draw: tuple[int, int]) -> Item:
        return self.item(*draw)

    @property
    def failed(self) -> dict[str, str]:
        """Clips that could not be read so far: path -> reason."""
        return {
            self.rows[index].path: self._reasons.get(index, "could not be read by a loader process")
            for index in self._unreadable.nonzero().flatten().tolist()
        }

    def item(self, index: int, view: int) -> Item:
        """Reads a clip.

        Returns:
            {"frames": uint8 (T,3,size,size), "times": float64 (T,) seconds, "label": int, "index": int}. In
            training an unreadable clip is reported once and the next readable one given, with its own label
            and index.

        Raises:
            VideoError: the clip cannot be read (evaluation), or no clip can (training).
        """
        if not self.train:
            return self._read_item(index, 0)
        for candidate in [*range(index, len(self)), *range(index)]:
            if self._unreadable[candidate]:
                continue
            try:
                return self._read_item(candidate, view)
            except VideoError as error:
                self._report(candidate, str(error))
        raise VideoError(
            f"None of the {len(self)} clips can be read, the first being {self.rows[0].path}: "
            "see `lrcn data check` for the reasons."
        )

    def key(self, index: int, view: int) -> str:
        """A hash of everything that made the item: file, times, label, settings, and in training the draw."""
        row = self.rows[index]
        try:
            source = _source_key(row)
        except VideoError:
            if not self.train:
                raise
            source = f"unreadable {row.path}"
        draw = (self.augment, self.seed, index, max(view, 0)) if self.train else ()
        parts = (source, row.start, row.end, self._classes[index], self.sampling, self.preprocess, *draw)
        return fingerprint("clip", _FORMAT, *parts)

    def _read_item(self, index: int, view: int) -> Item:
        clip = self.read_clip(index, view)
        frames = torch.from_numpy(clip.frames)
        augment = self._augment(view)
        if augment is not None:
            generator = self._generator(index, view)
            pictured = augment.in_picture if self.preprocess.in_space else augment
            frames = pictured(frames, self.preprocess.size, generator, self.preprocess.motion.kind)
        return {
            "frames": frames,
            "times": torch.from_numpy(clip.times),
            "label": self._classes[index],
            "index": index,
        }

    def read_clip(self, index: int, view: int, progress: Progress | None = None) -> Clip:
        """The images of a draw before its random changes; into the frame cache goes the whole clip.

        Raises:
            VideoError: the clip cannot be read.
        """
        row = self.rows[index]
        preparation = self._preparation(index, view)
        pick = partial(self._chosen, index, view)
        key = ""
        # Of frames that only one draw sees, nothing is kept.
        cache = None if self._turned(view) else self._cache
        if cache is not None:
            made_by = (row.start, row.end, self.sampling.rate, preparation.resize, *preparation.steps)
            key = fingerprint("frames", _FORMAT, _source_key(row), *made_by)
            kept = cache.get(key, pick)
            if kept is not None:
                return kept
        with open_video(row.path, resize=preparation.resize) as reader:
            grid = grid_of(reader, row, self.sampling)
            chosen = pick(len(grid))
            if cache is None or not cache.fits(len(grid), preparation.resize):
                return preparation.read(reader, grid, chosen, progress)
            whole = preparation.read(reader, grid, np.arange(len(grid)), progress)
        cache.put(key, whole)
        return Clip(whole.frames[chosen], whole.times[chosen])

    def _chosen(self, index: int, view: int, count: int) -> NDArray[np.int64]:
        """The places of a draw's frames among the `count` of the clip."""
        # A generator of its own for every call: a second attempt must choose the same frames.
        random = self.train and not self._spared(view)
        return self.sampling.pick(
            count, np.random.default_rng(self._entropy(index, view)) if random else None
        )

    def _preparation(self, index: int, view: int) -> Preparation:
        """The way to the pictures of a draw; of depth images, from a camera drawn for it."""
        turned = self._turned(view)
        camera = None if turned is None else turned.camera(self._generator(index, view, _CAMERA))
        return self.preprocess.preparation(self._augment(view), camera)

    def _augment(self, view: int) -> Augment | None:
        """The random changes of a draw, if it has any."""
        return None if self._spared(view) else self.augment

    def _turned(self, view: int) -> Augment | None:
        """The same where a camera is drawn for them."""
        return self._augment(view) if self.preprocess.in_space else None

    def _spared(self, view: int) -> bool:
        return self.augment is not None and self.augment.spare_first and view <= 0

    def _generator(self, index: int, view: int, *more: int) -> torch.Generator:
        entropy = [*self._entropy(index, view), *more]
        state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))

    def _entropy(self, index: int, view: int) -> list[int]:
        return [self.seed, index, max(view, 0)]

    def _report(self, index: int, reason: str) -> None:
        self._reasons[index] = reason
        self._unreadable[index] = True
        _logger.warning("A clip is left out, the next one takes its place: %s", reason)


class PreparedClips(Dataset[Item]):
    """Clips that were made at the network's size, taken through the steps that follow resizing.

    Args:
        source: where the frames come from.
        preparation: what is done to them.
    """

    def __init__(self, source: ClipSource, preparation: Preparation) -> None:
        self.source = source
        self.preparation = preparation

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, draw: tuple[int, int]) -> Item:
        return self.item(*draw)

    def item(self, index: int, view: int) -> Item:
        """Draw `view` of clip `index`."""
        item = self.source.item(index, view)
        images, _ = self.preparation(item["frames"].numpy())
        return {**item, "frames": torch.from_numpy(images)}

    def key(self, index: int, view: int) -> str:
        """A hash of everything that made the item."""
        return fingerprint("prepared", self.source.key(index, view), *self.preparation.steps)


def collate(items: Sequence[Item]) -> dict[str, Tensor]:
    """Pads clips to the longest one.

    Returns:
        {"frames": uint8 (B,T,3,H,W) or "maps": float16 (B,T,...), zeros after a clip's end,
        "lengths": int64 (B,), "labels": int64 (B,), or (B,T) with -100 after a clip's end when labels are per
        frame, "index": int64 (B,)}.

    Raises:
        LrcnError: the clips differ in frame size, or some have a label per frame and others one per clip.
    """
    content = "maps" if "maps" in items[0] else "frames"
    clips: list[Tensor] = [item[content] for item in items]
    shapes = {tuple(clip.shape[1:]) for clip in clips}
    if len(shapes) > 1:
        raise LrcnError(f"The clips of a batch differ in frame size, {sorted(shapes)}; give them one size.")
    labels = [torch.as_tensor(item["label"], dtype=torch.int64) for item in items]
    if len({label.ndim for label in labels}) > 1:
        raise LrcnError(
            "The clips of a batch have labels of two kinds, per frame and per clip; give them one kind."
        )
    return {
        content: _padded(clips, 0),
        "lengths": torch.tensor([len(clip) for clip in clips]),
        "labels": _padded(labels, IGNORED_LABEL) if labels[0].ndim else torch.stack(labels),
        "index": torch.tensor([item["index"] for item in items]),
    }


def grid_of(reader: VideoReader, row: Row, sampling: Sampling) -> NDArray[np.float64]:
    """All sampled times of a row's clip, seconds, (N,).

    Raises:
        VideoError: there are none.
    """
    start = row.start or 0.0
    end = _end(reader)
    grid = sampling.grid(start, end if row.end is None else min(row.end, end), reader.info.rate)
    if not len(grid):
        raise VideoError(
            f"{row.path} has no frames from {start:g} s to {row.end or end:g} s (it ends at {end:g} s); "
            "mend start and end in the manifest."
        )
    return grid


def _padded(parts: Sequence[Tensor], value: int) -> Tensor:
    longest = max(len(part) for part in parts)
    batch = parts[0].new_full((len(parts), longest, *parts[0].shape[1:]), value)
    for row, part in zip(batch, parts, strict=True):
        row[: len(part)] = part
    return batch


def _class_numbers(rows: Sequence[Row], labels: Sequence[str]) -> list[int]:
    numbers: Mapping[str, int] = {label: number for number, label in enumerate(labels)}
    for row in rows:
        if row.label is None:
            raise LrcnError(f"{row.path} has no label; give it one in the manifest or leave the row out.")
        if row.label not in numbers:
            raise LrcnError(
                f'{row.path} has the label "{row.label}", not one of the known ones ({_listed(labels)}); '
                "mend the label or the list."
            )
    return [numbers[str(row.label)] for row in rows]


def _listed(labels: Sequence[str], most: int = 20) -> str:
    shown = ", ".join(labels[:most])
    return shown if len(labels) <= most else f"{shown} and {len(labels) - most} more"


def _source_key(row: Row) -> str:
    """Changes whenever the file or the folder of frames does.

    Raises:
        VideoError: there is no such file.
    """
    if is_url(row.path):
        return row.path
    try:
        return fingerprint_file(row.path)
    except LrcnError as error:
        raise VideoError(str(error)) from error


def _end(reader: VideoReader) -> float:
    """When the last frame of a video stops being shown, in seconds."""
    info = reader.info
    if info.duration is not None:
        return info.duration
    if info.frames is not None:
        return info.frames / info.rate
    return max((time for _, time in reader.frames()), default=0.0) + 1 / info.rate
