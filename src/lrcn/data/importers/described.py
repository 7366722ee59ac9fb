"""What data sets of described videos share: finding the videos, or doing without, and telling what is left out."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lrcn.data.importers.lists import Clips, found_said, told_left_out, with_groups_that_hold
from lrcn.data.manifest import Row
from lrcn.data.splits import standard_split
from lrcn.errors import LrcnError


@dataclass
class Described:
    """What a data set says of one clip.

    Attributes:
        name: its video, with suffix or without.
        captions: its sentences, so far.
        split: "train", "dev" or "test", or None.
        group: the video or person it was cut from.
        start: seconds into the video; None is its start.
        end: the same; None is its end.
        id: a name that outlives the file; None is `name`.
        extra: other fields, such as labels.
    """

    name: str
    captions: list[str] = field(default_factory=list)
    split: str | None = None
    group: str | None = None
    start: float | None = None
    end: float | None = None
    id: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def described_rows(
    name: str, folder: Path, entries: Sequence[Described], damaged: Sequence[str]
) -> tuple[list[Row], list[str]]:
    """The rows of the clips that have sentences, and sentences on them and on all others.

    Where none of the videos is there, all clips stay, called by their names: labels and features need no videos.

    Args:
        name: of the data set, as people write it.
        folder: the videos lie anywhere below it.
        entries: what the data set says of its clips.
        damaged: places in its lists that could not be read, each in a few words.

    Raises:
        LrcnError: no clip has a sentence.
    """
    told = [entry for entry in entries if entry.captions]
    if not told:
        raise LrcnError(
            f"{name} in {folder} has no sentences: give the folder, or the file, that holds them."
        )
    paths = _paths(folder, told)
    rows = [
        Row(
            path=paths.get(entry.name, str(folder / entry.name)),
            captions=tuple(entry.captions),
            split=entry.split,
            group=entry.group,
            start=entry.start,
            end=entry.end,
            id=entry.id or entry.name,
            extra=entry.extra,
        )
        for entry in told
        if entry.name in paths or not paths
    ]
    rows, on_groups = with_groups_that_hold(rows)
    missing = sorted({entry.name for entry in told} - set(paths)) if paths else []
    silent = [entry.id or entry.name for entry in entries if not entry.captions]
    sentences = [found_said(name, rows, folder, "clips", "sentences")]
    if not paths:
        sentences.append(
            f"No video of them is below {folder}: their rows serve for labels and features alone."
        )
    left_out = {
        "Missing and left out: {} videos": missing,
        "Without a sentence and left out: {} clips": silent,
        "Damaged and left out: {} places": damaged,
    }
    return rows, [*sentences, *told_left_out(left_out), *on_groups]


def split_named(text: str) -> str | None:
    """The split of that name; one that is not known stays as it is, an empty one is None."""
    text = text.strip()
    return "dev" if text == "validate" else standard_split(text) or text or None


def _paths(folder: Path, entries: Sequence[Described]) -> dict[str, str]:
    clips = None
    # No videos at all are no mistake here.
    with suppress(LrcnError):
        clips = Clips(folder)
    found = {} if clips is None else {entry.name: clips.find(entry.name) for entry in entries}
    return {name: path for name, path in found.items() if path is not None}
