"""What a describer is given, with the sentences about it -> one batch, each side padded and counted."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lrcn.data.datasets import Item
from lrcn.data.manifest import Row
from lrcn.data.photos import CaptionedPhotos, collate_captioned
from lrcn.data.slots import Slots
from lrcn.fingerprint import fingerprint


class LabelClips:
    """The labels of a manifest's rows, in place of frames: a clip source.

    Args:
        rows: one per clip.
        slots: the labels that are known.
        kind: "labels" gives their ids, int64 (T,); "max" and "prob" one step that is a vector, (1, K).
    """

    def __init__(self, rows: Sequence[Row], slots: Slots, kind: Literal["labels", "max", "prob"]) -> None:
        self.rows = list(rows)
        self.slots = slots
        self.kind = kind
        # Read once: they are small, and what is no label is told before training.
        self._given = [given_labels(slots, kind, row) for row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, draw: tuple[int, int]) -> Item:
        return self.item(*draw)

    def item(self, index: int, view: int) -> Item:
        """{"maps": what is given, "index": int}, the same in every view."""
        return {"maps": self._given[index], "index": index}

    def key(self, index: int, view: int) -> str:
        """A hash of what is given."""
        return fingerprint("labels", self.kind, self._given[index].tolist())


def given_labels(slots: Slots, kind: Literal["labels", "max", "prob"], row: Row) -> Tensor:
    """What a describer is given of a row: ids int64 (T,), or a vector (1, K)."""
    said = slots.of_row(row)
    return slots.ids(said, row.path) if kind == "labels" else slots.vector(said, kind, row.path)[None]


class DescribedClips(CaptionedPhotos):
    """Labels, features or frames of any number of steps, with their sentences."""

    @staticmethod
    def join(items: Sequence[Item]) -> dict[str, Tensor]:
        """What `collate_captioned` makes of them, with "steps": int64 (N,), how many each has before it is padded."""
        content = "maps" if "maps" in items[0] else "frames"
        shown = padded([item[content] for item in items])
        singles = [{**item, content: one[None]} for item, one in zip(items, shown["maps"], strict=True)]
        return {**collate_captioned(singles), "steps": shown["steps"]}


def padded(given: Sequence[Tensor]) -> dict[str, Tensor]:
    """What some clips give, (T, ...) each -> {"maps": (N, T, ...), zeros past a clip's end, "steps": int64 (N,)}."""
    return {
        "maps": pad_sequence(list(given), batch_first=True),
        "steps": torch.tensor([len(one) for one in given]),
    }


def shown(items: Sequence[Item]) -> dict[str, Tensor]:
    """Items of a clip source, by the names of the arguments of `Describer.initial_state`."""
    content = "maps" if "maps" in items[0] else "frames"
    batch = padded([item[content] for item in items])
    return {"maps" if content == "maps" else "source": batch["maps"], "steps": batch["steps"]}
