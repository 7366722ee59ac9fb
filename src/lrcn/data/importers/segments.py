"""A table of timed segments: which stretch of which video shows what."""

import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from lrcn.data.importers.lists import Clips, bad_line, table_of, told_missing
from lrcn.data.manifest import STANDARD_FIELDS, Row, labels_of
from lrcn.data.media import is_url
from lrcn.data.splits import refuse_leakage, standard_split
from lrcn.errors import LrcnError

TABLE = "segments.csv"

# The names that tables of others give to what is asked for, ours first.
_COLUMNS = {
    "path": ("path", "file", "filename", "video", "video_id", "youtube_id"),
    "start": ("start", "start_time", "time_start", "t_start", "begin"),
    "end": ("end", "end_time", "time_end", "t_end"),
    "label": ("label", "class", "action", "activity"),
}

_WHOLE = re.compile(r"[0-9]+")
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")


def import_segments(
    source: Path, *, allow_missing: bool = False, allow_leakage: bool = False
) -> tuple[list[Row], list[str]]:
    """Reads a table with the columns `path,start,end,label` and, where there are such, `group`, `split`, `id`.

    Times are seconds (62.5) or clock times (1:02.5, 00:01:02.500); an empty start is the video's start, an
    empty end its end. Segments may overlap. A path is taken from the table's folder; a name without a folder
    or suffix, such as a video's id, is looked for below it. The columns may be called as other tables do,
    `youtube_id,time_start,time_end` among them. Other columns are kept as they are.

    Args:
        source: the table, or the folder that holds it as `segments.csv`.
        allow_missing: go on where videos are not there.
        allow_leakage: go on where a group, or a video, stands in more than one split.

    Returns:
        The rows, in the table's order, and sentences that say what was found.

    Raises:
        LrcnError: there is no table, a line is bad, videos are missing, or the splits leak.
    """
    table = Path(os.path.abspath(source / TABLE if source.is_dir() else source))
    if not table.is_file():
        raise LrcnError(f"There is no table {table}; give a CSV file with the columns {','.join(_COLUMNS)}.")
    written = _rows(table)
    if not written:
        raise LrcnError(f"{table} holds no segments; write one line a segment.")
    rows, sentences = _located(list(dict.fromkeys(written)), table.parent, allow_missing)
    if twice := len(written) - len(set(written)):
        sentences.append(f"Written twice and taken once: {twice} lines.")
    refuse_leakage(rows, allow_leakage)
    return rows, [_told_found(rows, table), *sentences, *_told_overlaps(rows)]


def _rows(table: Path) -> list[Row]:
    records = table_of(table)
    columns = _columns(table, records[0][1]) if records else {}
    return [_row(table, line, cells, columns) for line, cells in records]


def _columns(table: Path, header: Iterable[str]) -> dict[str, str]:
    """What we ask for -> the column that has it."""
    known = {name.lower(): name for name in header}
    columns: dict[str, str] = {}
    for wanted, names in _COLUMNS.items():
        name = next((known[name] for name in names if name in known), None)
        if name is None:
            bad_line(
                table, 1, f"the column '{wanted}' is missing (columns here: {', '.join(header)}); add it."
            )
        columns[wanted] = name
    return columns


def _row(table: Path, line: int, cells: Mapping[str, str], columns: Mapping[str, str]) -> Row:
    for name in ("path", "label"):
        if not cells[columns[name]]:
            bad_line(table, line, f"'{columns[name]}' is empty; fill it in.")
    start, end = (seconds_in(table, line, columns[name], cells[columns[name]]) for name in ("start", "end"))
    if end is not None and end <= (start or 0.0):
        bad_line(
            table, line, f"the segment ends at {end:g} s, not after its start at {start or 0.0:g} s; mend it."
        )
    split = cells.get("split") or None
    taken = {*columns.values(), *STANDARD_FIELDS, "caption"}
    return Row(
        path=cells[columns["path"]],
        label=cells[columns["label"]],
        split=split and (standard_split(split) or split),
        group=cells.get("group") or None,
        start=start,
        end=end,
        id=cells.get("id") or None,
        extra={name: text for name, text in cells.items() if name not in taken and text},
    )


def seconds_in(table: Path, line: int, column: str, text: str) -> float | None:
    """Seconds (62.5) or a clock time (1:02.5) in a cell; None where it is empty.

    Raises:
        LrcnError: it is neither.
    """
    if not text:
        return None
    parts = text.replace(",", ".").split(":")
    numbers = all(map(_WHOLE.fullmatch, parts[:-1])) and _SECONDS.fullmatch(parts[-1])
    if len(parts) > 3 or not numbers or any(float(part) >= 60 for part in parts[1:]):
        bad_line(table, line, f"'{column}' is {text!r}; write seconds (62.5) or a time (00:01:02.5).")
    return sum(float(part) * 60.0**power for power, part in enumerate(reversed(parts)))


def _located(rows: Sequence[Row], folder: Path, allow_missing: bool) -> tuple[list[Row], list[str]]:
    # The folder is searched only if some path is but a name.
    clips_in = cache(Clips)
    paths = {path: _video(path, folder, clips_in) for path in dict.fromkeys(row.path for row in rows)}
    missing = [path for path, found in paths.items() if found is None]
    sentences = told_missing(missing, len(paths), folder, allow_missing)
    located = [(row, paths[row.path]) for row in rows]
    return [replace(row, path=path) for row, path in located if path is not None], sentences


def _video(path: str, folder: Path, clips_in: Callable[[Path], Clips]) -> str | None:
    if is_url(path):
        return path
    where = os.path.abspath(folder / path)
    if os.path.exists(where):
        return where
    return None if "/" in path else clips_in(folder).find(path)


def _told_found(rows: Sequence[Row], table: Path) -> str:
    videos = len({row.path for row in rows})
    splits = Counter(row.split for row in rows if row.split is not None)
    parts = "".join(f", {n} {split}" for split, n in splits.items())
    return (
        f"Found {len(rows)} segments of {len(labels_of(rows))} classes in {videos} videos of {table}{parts}."
    )


def _told_overlaps(rows: Sequence[Row]) -> list[str]:
    """Overlaps are allowed, but of two labels on one and the same stretch a model can give only one."""
    latest: defaultdict[str, float] = defaultdict(float)
    overlapping = 0
    for row in sorted(rows, key=lambda row: row.start or 0.0):
        overlapping += (row.start or 0.0) < latest[row.path]
        latest[row.path] = max(latest[row.path], math.inf if row.end is None else row.end)
    stretches = Counter((row.path, row.start or 0.0, row.end) for row in rows)
    doubled = sum(n > 1 for n in stretches.values())
    sentences = (
        [f"Segments that begin before another of their video ends: {overlapping}."] if overlapping else []
    )
    return sentences + ([f"Stretches with more than one label: {doubled}."] if doubled else [])
