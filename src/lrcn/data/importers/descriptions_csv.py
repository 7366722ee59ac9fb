"""A table of sentences about videos, or stretches of them: a line a sentence, or a line a clip with several."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lrcn.data.importers.captioned import found_lists
from lrcn.data.importers.captions_csv import columns_called, table_lines
from lrcn.data.importers.described import Described, described_rows, split_named
from lrcn.data.importers.segments import seconds_in
from lrcn.data.manifest import STANDARD_FIELDS, Row
from lrcn.errors import LrcnError

TABLES = ("descriptions.csv", "descriptions.tsv", "*.csv", "*.tsv", "*.txt")

# What such tables call their columns, the surest first.
_COLUMNS = {
    "video": (
        "path",
        "video",
        "clip",
        "video_id",
        "clip_id",
        "video_name",
        "videoid",
        "file",
        "filename",
        "id",
        "name",
    ),
    "caption": ("sentence", "caption", "captions", "description", "descriptions", "text"),
    "split": ("split", "set", "subset", "partition"),
    "start": ("start", "start_time", "time_start", "begin"),
    "end": ("end", "end_time", "time_end"),
    # Not "source", which in tuples is where a thing is taken from.
    "group": ("group", "recording", "subject", "person"),
}


def import_descriptions_csv(source: Path, *, lists: Path | None = None) -> tuple[list[Row], list[str]]:
    """Reads a table with a header, a column of videos and one or more of sentences.

    Columns of splits, of times (seconds, or 1:02.5) and of groups are known by their usual names; all others are kept
    as they are, labels among them. Lines that differ in nothing but the sentence are one clip.

    Args:
        source: the table, with the videos anywhere below its folder; or the folder with both.
        lists: the table or the folder with it, where it does not lie with the videos.

    Returns:
        The rows, in the table's order, and sentences that say what was found, missing and damaged.

    Raises:
        LrcnError: there is no table or several, or its columns are not known.
    """
    (file,), folder = found_lists(source, lists, TABLES)
    entries, damaged = table_entries(file)
    return described_rows(file.name, folder, entries, damaged)


def table_entries(file: Path) -> tuple[list[Described], list[str]]:
    """The clips of a table, and the places in it that are damaged.

    Raises:
        LrcnError: its columns are not known.
    """
    lines = table_lines(file)
    header = [cell.strip() for cell in next(lines, (1, None))[1] or []]
    lower = [cell.casefold() for cell in header]
    places = {
        what: columns_called(lower, names, numbered=what == "caption") for what, names in _COLUMNS.items()
    }
    if not places["video"] or not places["caption"]:
        raise LrcnError(
            f"{file} has the columns {', '.join(header) or 'none'}: name one 'video' and one 'sentence' in its first "
            "line."
        )
    entries: dict[Any, Described] = {}
    damaged = []
    for number, row in lines:
        cells = [" ".join(cell.split()) for cell in row or []]
        entry = _entry(file, number, header, places, cells) if len(cells) == len(header) else None
        if entry is None or not entry.captions:
            damaged.append(f"{file.name} line {number}")
            continue
        key = (entry.name, entry.split, entry.start, entry.end, tuple(entry.extra.items()))
        if key in entries:
            entries[key].captions += entry.captions
        else:
            entries[key] = entry
    return list(entries.values()), damaged


def _entry(
    file: Path, number: int, header: Sequence[str], places: dict[str, list[int]], cells: Sequence[str]
) -> Described | None:
    def cell(what: str) -> str:
        return cells[places[what][0]] if places[what] else ""

    try:
        start, end = (seconds_in(file, number, what, cell(what)) for what in ("start", "end"))
    except LrcnError:
        return None
    if not cell("video") or (end is not None and end <= (start or 0.0)):
        return None
    taken = {place for columns in places.values() for place in columns}
    own_id = next((cells[place] for place, name in enumerate(header) if name.casefold() == "id"), "")
    stretch = "" if start is None and end is None else f"_{start or 0:g}_{'' if end is None else f'{end:g}'}"
    return Described(
        name=cell("video"),
        captions=[cells[place] for place in places["caption"] if cells[place]],
        split=split_named(cell("split")),
        group=cell("group") or (cell("video") if stretch else None),
        start=start,
        end=end,
        id=own_id or Path(cell("video")).stem + stretch,
        extra={
            name: cells[place]
            for place, name in enumerate(header)
            if place not in taken and cells[place] and name and name not in (*STANDARD_FIELDS, "caption")
        },
    )
