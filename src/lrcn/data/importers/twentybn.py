"""The layout of 20BN's data sets: clips in one folder, each called by its number, and one list a split."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lrcn.data.importers.lists import (
    bad_line,
    data_folder,
    found_sentence,
    lines_of,
    list_file,
    list_files,
    told_missing,
)
from lrcn.data.manifest import Row
from lrcn.errors import LrcnError

SPLITS = {"train": "train", "validation": "dev", "test": "test"}
"""The word in the name of a list -> our split."""

# Looking for a few clips tells which folder holds them; listing it would take minutes.
_TRIED = 20


def import_numbered(
    name: str, prefix: str, source: Path, lists: Path | None, allow_missing: bool
) -> tuple[list[Row], list[str]]:
    """Reads a data set whose lists are tables `number;label` called PREFIX-train.csv and so on.

    Args:
        name: the data set's, for sentences.
        prefix: what the names of its lists start with.
        source: the folder with the clips or the one above it, and with the lists unless `lists` tells.
        lists: the folder with the lists.
        allow_missing: go on where clips are not there.

    Raises:
        LrcnError: lists or clips are missing, or a line is bad.
    """
    folder = data_folder(source)
    where = folder if lists is None else data_folder(lists)
    labels = frozenset(text for _, text in lines_of(list_file(where, f"{prefix}-labels.csv")))
    named = [
        row
        for word, file in files_by_split(where, prefix + "-{}.csv").items()
        for row in _listed_rows(file, SPLITS[word], labels)
    ]
    return located(name, named, folder, allow_missing)


def files_by_split(folder: Path, pattern: str) -> dict[str, Path]:
    """The list of each split, by the official word for it; test may be absent, since it tells no labels.

    Raises:
        LrcnError: train or validation is absent.
    """
    files = {word: list_file(folder, pattern.format(word)) for word in SPLITS if word != "test"}
    if test := list_files(folder, pattern.format("test")):
        files["test"] = test[0]
    return files


def located(
    name: str, named: Sequence[Row], folder: Path, allow_missing: bool
) -> tuple[list[Row], list[str]]:
    """Finds the clips: folders of frames or videos called by their numbers, in the folder or one below it.

    Args:
        name: the data set's, for sentences.
        named: the clips of its lists; the id is the number, and those without a label are left out.
        folder: where to look.
        allow_missing: go on where clips are not there.

    Raises:
        LrcnError: clips are missing, or none has a label.
    """
    rows = [row for row in named if row.label is not None]
    if not rows:
        raise LrcnError(f"The lists of {name} hold no labelled clip; take the official ones.")
    home = _home_of(rows, folder)
    paths = [_clip(home, str(row.id)) for row in rows]
    found = [replace(row, path=path) for row, path in zip(rows, paths, strict=True) if path is not None]
    missing = [str(row.id) for row, path in zip(rows, paths, strict=True) if path is None]
    sentences = told_missing(missing, len(rows), home, allow_missing)
    if len(rows) < len(named):
        sentences.append(f"Clips of the test list without a label, left out: {len(named) - len(rows)}.")
    return found, [found_sentence(name, found, home), *sentences]


def _listed_rows(file: Path, split: str, labels: frozenset[str]) -> list[Row]:
    """The clips of a list `number;label`; in test the number may stand alone."""
    found: dict[str, Row] = {}
    for line, text in lines_of(file):
        number, _, label = (part.strip() for part in text.partition(";"))
        if not number.isdecimal() or (not label and split != "test"):
            bad_line(
                file, line, f"this is no clip ({text!r}); write its number and label, as '1;Swiping Left'."
            )
        if label and label not in labels:
            bad_line(file, line, f"the label {label!r} is not in the list of labels; mend either of them.")
        if number in found:
            bad_line(file, line, f"clip {number} stands twice; keep one.")
        found[number] = Row(number, label or None, split=split, id=number)
    return list(found.values())


def _home_of(rows: Sequence[Row], folder: Path) -> Path:
    """The folder that holds the clips: itself, or the one below it with most of some first clips."""
    tried = [str(row.id) for row in rows[:: max(1, len(rows) // _TRIED)]]

    def held(home: Path) -> int:
        return sum(_clip(home, number) is not None for number in tried)

    if held(folder):
        return folder
    return max((sub for sub in sorted(folder.iterdir()) if sub.is_dir()), key=held, default=folder)


def _clip(home: Path, number: str) -> str | None:
    frames = home / number
    if frames.is_dir():
        return str(frames)
    # The official videos are webm; the others are what copies are made in.
    for suffix in (".webm", ".mp4", ".avi", ".mkv"):
        video = home / f"{number}{suffix}"
        if video.is_file():
            return str(video)
    return None
