"""Kinetics-400, -600, -700 (Kay et al. 2017 and after): ten seconds each of web videos, as far as they survive."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lrcn.data.importers.lists import (
    Clips,
    bad_line,
    data_folder,
    found_sentence,
    list_files,
    no_list,
    table_of,
    with_groups_that_hold,
)
from lrcn.data.manifest import Row
from lrcn.data.splits import standard_split
from lrcn.errors import LrcnError

_COLUMNS = frozenset(["youtube_id", "time_start", "time_end"])


def import_kinetics(source: Path, *, lists: Path | None = None) -> tuple[list[Row], list[str]]:
    """Reads Kinetics: tables `label,youtube_id,time_start,time_end,split` and clips ID_SSSSSS_EEEEEE.mp4.

    The clips may lie in class folders, in a folder a split, or all in one. A file called by the id alone is
    taken for the whole video, and the clip's times are kept. Many videos are gone from the web, so clips that
    are not there are counted and left out. The group is the video; `validate` is dev.

    Args:
        source: the folder with the clips, and with the tables unless `lists` says where they are.
        lists: the folder with the tables; every table there that has these columns is read.

    Returns:
        The rows, in the tables' order, and sentences that say what was found.

    Raises:
        LrcnError: there is no table or no clip, or a line is bad.
    """
    folder = data_folder(source)
    where = folder if lists is None else data_folder(lists)
    files = list_files(where, "*.csv", _is_table)
    if not files:
        raise LrcnError(no_list(where, "table with the columns label,youtube_id,time_start,time_end,split"))
    # The table of one version and of a part of it name clips twice.
    named = list(dict.fromkeys(row for file in files for row in _listed_rows(file)))
    labelled = [row for row in named if row.label is not None]
    rows, missing = _located(labelled, Clips(folder))
    if not rows:
        raise LrcnError(
            f"None of the {len(labelled)} labelled clips in the tables is below {folder}"
            f"{f', such as {labelled[0].id}' if labelled else ''}; give the folder that holds the clips."
        )
    rows, said = with_groups_that_hold(rows)
    sentences = [found_sentence("Kinetics", rows, folder), *_told_gone(missing, labelled), *said]
    if len(labelled) < len(named):
        sentences.append(f"Clips without a label, left out: {len(named) - len(labelled)}.")
    return rows, sentences


def _is_table(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        return {cell.strip() for cell in next(csv.reader([stream.readline()]), [])} >= _COLUMNS


def _listed_rows(file: Path) -> list[Row]:
    """The clips of a table, with their times in the whole video."""
    of_file = _split_of_file(file)
    rows = []
    for line, cells in table_of(file):
        try:
            start, end = float(cells["time_start"]), float(cells["time_end"])
        except ValueError:
            bad_line(file, line, "time_start and time_end must be numbers of seconds; mend them.")
        if not 0 <= start < end:
            bad_line(file, line, f"the clip ends at {end:g} s, not after its start at {start:g} s; mend it.")
        video = cells["youtube_id"]
        if not video:
            bad_line(file, line, "the youtube_id is missing; fill it in.")
        rows.append(
            Row(
                path=video,
                # Some tables came out with quotes inside the quotes.
                label=cells.get("label", "").strip('"') or None,
                split=_split(cells.get("split", "")) or of_file,
                group=video,
                start=start,
                end=end,
                id=f"{video}_{int(start):06d}_{int(end):06d}",
            )
        )
    return rows


def _split_of_file(file: Path) -> str | None:
    """What train.csv, validate.csv, kinetics_400_val.csv and the like are a table of."""
    words = re.split(r"[^a-z]+", file.stem.lower())
    return next((split for word in reversed(words) if (split := _split(word))), None)


def _split(text: str) -> str | None:
    return "dev" if text == "validate" else standard_split(text)


def _located(rows: Sequence[Row], clips: Clips) -> tuple[list[Row], list[Row]]:
    """The rows whose clips, or whole videos, are there, and the others."""
    found: list[Row] = []
    missing: list[Row] = []
    for row in rows:
        if (clip := clips.find(str(row.id))) is not None:
            found.append(replace(row, path=clip, start=None, end=None))
        elif (video := clips.find(row.path)) is not None:
            found.append(replace(row, path=video))
        else:
            missing.append(row)
    return found, missing


def _told_gone(missing: Sequence[Row], listed: Sequence[Row]) -> list[str]:
    if not missing:
        return []
    of_split = Counter(row.split or "no split" for row in listed)
    gone = Counter(row.split or "no split" for row in missing)
    parts = ", ".join(f"{n} of {of_split[split]} {split}" for split, n in gone.items())
    return [
        f"Not there and left out: {parts}, such as {missing[0].id}; say so beside every number, since fewer "
        "clips make another test."
    ]
