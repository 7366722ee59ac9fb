"""Clips laid end to end in parallel streams, cut into batches of a fixed number of steps: nothing is padded.

A row of a batch goes on where the same row of the batch before ended, and sequence markers say where a new clip begins
(the paper's `cont`; recurrent_layer.cpp and the caption data layer of the released code). A network whose state is
carried from batch to batch, and no gradient with it, so learns from videos of any length at the cost of a few frames:
back-propagation through time, truncated to the steps of a batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lrcn.data.datasets import IGNORED_LABEL, ClipSource, Item, collate
from lrcn.data.sampler import seeded_order
from lrcn.errors import LrcnError


@dataclass(frozen=True)
class StreamsConfig:
    """Training on clips laid end to end, in as many streams as a batch has rows.

    Attributes:
        length: T, steps of a batch; gradients go back no further.
        rows: "clips" lays the clips of the manifest end to end; "segments" takes the rows of one file as the timed
            segments of one video, which is read from its beginning to its end with a label at every frame.
        background: the class of frames in no segment; empty: they teach nothing.
    """

    length: int = 16
    rows: Literal["clips", "segments"] = "clips"
    background: str = ""

    def __post_init__(self) -> None:
        if self.length < 1:
            raise LrcnError(f"data.streams.length is {self.length}: give 1 step or more.")


@dataclass(frozen=True, eq=False)
class Layout:
    """What there is to lay end to end.

    Attributes:
        lengths: (N,) frames of each item.
        begins: (N,) whether an item begins a clip, rather than going on with the one before it.
    """

    lengths: NDArray[np.int64]
    begins: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if not self.lengths.sum():
            raise LrcnError("There are no frames to lay end to end: give clips that hold some.")


class Stretch(NamedTuple):
    """Frames from `first` to before `last` of draw `view` of an item; `begins` where they begin a clip or a stream."""

    item: int
    view: int
    first: int
    last: int
    begins: bool


class Streams(Dataset[Item]):
    """A clip source as streams.

    Args:
        source: where items come from, with a label each or one a frame.
        length: T, steps of a batch.
        layout: how long the items are; None reads every item once to see.
    """

    def __init__(self, source: ClipSource, length: int, layout: Layout | None = None) -> None:
        self.source = source
        self.length = length
        self.layout = layout or _measured(source)

    def __len__(self) -> int:
        return len(self.source)

    def sampler(self, streams: int, seed: int, rank: int = 0, world: int = 1) -> "StreamSampler":
        """The batches of `streams` rows for one of `world` processes."""
        return StreamSampler(self.layout, self.length, streams, seed, rank, world)

    def __getitem__(self, row: Sequence[Stretch]) -> Item:
        """{"frames" or "maps" (T, ...), "label" int64 (T,), "cont" float32 (T,), "index"} of one row of a batch."""
        parts = [self._part(stretch) for stretch in row]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]} | {"index": row[0].item}

    def _part(self, stretch: Stretch) -> Item:
        item = self.source.item(stretch.item, stretch.view)
        content = "maps" if "maps" in item else "frames"
        places = torch.arange(stretch.first, stretch.last)
        # Another clip may stand in for one that cannot be read, and be shorter.
        inside = places < len(item[content])
        places = places.clamp(max=len(item[content]) - 1)
        labels = torch.as_tensor(item["label"], dtype=torch.int64).expand(len(item[content]))
        cont = torch.ones(len(places))
        cont[0] = not stretch.begins
        return {
            content: item[content][places],
            "label": labels[places].masked_fill(~inside, IGNORED_LABEL),
            "cont": cont,
        }


def collate_streams(rows: Sequence[Item]) -> dict[str, Tensor]:
    """Rows of equal length as one batch.

    Returns:
        {"frames" uint8 (B,T,3,H,W) or "maps" float16 (B,T,...), "labels" int64 (B,T), "cont" float32 (B,T),
        "index" int64 (B,)}.
    """
    batch = collate(rows)
    del batch["lengths"]
    return {**batch, "cont": torch.stack([row["cont"] for row in rows])}


@dataclass(frozen=True, eq=False)
class StreamSampler:
    """The batches of streams of one rank, a function of seed, epoch and place.

    Each epoch lays all clips end to end in an order of its own and cuts that tape into `streams * world` pieces of
    equal length, one a stream. So a clip may be cut where a stream begins, at most one for each, and a few frames at
    the tape's beginning come twice to fill the last.

    Attributes:
        layout: the items.
        length: T, steps of a batch; the last of an epoch may have fewer.
        streams: rows of a batch on this rank (B).
        seed: the run's seed.
        rank: which of the processes this is, from 0.
        world: how many processes share the work.
    """

    layout: Layout
    length: int
    streams: int
    seed: int
    rank: int = 0
    world: int = 1

    @cached_property
    def steps(self) -> int:
        """Steps of a stream in an epoch."""
        return -(-int(self.layout.lengths.sum()) // (self.streams * self.world))

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return (self.steps + self.length - 1) // self.length

    def bound(self, epoch: int, start_batch: int = 0) -> "EpochStreams":
        """The batches of an epoch from `start_batch` on, as a DataLoader's `batch_sampler` wants them."""
        return EpochStreams(self, epoch, start_batch)

    def tape(self, epoch: int) -> NDArray[np.int64]:
        """The items (N,) as they are laid: clips in an order drawn for the epoch, the items of each in theirs."""
        clips = np.split(np.arange(len(self.layout.lengths)), np.flatnonzero(self.layout.begins)[1:])
        return np.concatenate([clips[place] for place in seeded_order(len(clips), self.seed, epoch)])


@dataclass(frozen=True, eq=False)
class EpochStreams:
    """The batches of one epoch from one of them on; can be gone through again and again."""

    sampler: StreamSampler
    epoch: int
    start_batch: int = 0

    def __len__(self) -> int:
        """How many batches are left to give."""
        return len(self.sampler) - self.start_batch

    def __iter__(self) -> Iterator[list[list[Stretch]]]:
        whole = self.sampler
        tape = whole.tape(self.epoch)
        ends = np.cumsum(whole.layout.lengths[tape])
        own = range(whole.rank * whole.streams, (whole.rank + 1) * whole.streams)
        for batch in range(self.start_batch, len(whole)):
            start, stop = batch * whole.length, min((batch + 1) * whole.length, whole.steps)
            yield [
                list(self._stretches(tape, ends, stream * whole.steps + start, stop - start, batch == 0))
                for stream in own
            ]

    def _stretches(
        self, tape: NDArray[np.int64], ends: NDArray[np.int64], place: int, count: int, fresh: bool
    ) -> Iterator[Stretch]:
        """The next `count` frames of the tape from `place` on, item by item; past its end it begins again."""
        while count:
            place %= int(ends[-1])
            at = int(np.searchsorted(ends, place, side="right"))
            item = int(tape[at])
            left = int(ends[at]) - place
            first = int(self.sampler.layout.lengths[item]) - left
            taken = min(count, left)
            begins = fresh or (first == 0 and bool(self.sampler.layout.begins[item]))
            yield Stretch(item, self.epoch, first, first + taken, begins)
            place, count, fresh = place + taken, count - taken, False


def _measured(source: ClipSource) -> Layout:
    items: Iterator[Any] = (source.item(index, 0) for index in range(len(source)))
    lengths = [len(item["maps" if "maps" in item else "frames"]) for item in items]
    return Layout(np.array(lengths, dtype=np.int64), np.ones(len(lengths), dtype=np.bool_))
