"""What data sets with official lists share: finding lists and clips, telling what is missing, a dev part."""

import csv
import io
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from lrcn.data.manifest import Row, labels_of
from lrcn.data.media import VIDEO_SUFFIXES, list_media
from lrcn.data.splits import find_leakage, listed, split_rows
from lrcn.errors import LrcnError

# Lists are looked for in the data set's folder, in those below it, and in those below these.
_DEPTH = 3


# ---- files ----


def data_folder(source: Path) -> Path:
    """The folder as an absolute path.

    Raises:
        LrcnError: it is no folder.
    """
    if not source.is_dir():
        raise LrcnError(f"{source} is not a folder; give the folder that holds the data set.")
    return Path(os.path.abspath(source))


def list_files(folder: Path, pattern: str, accept: Callable[[Path], bool] = Path.is_file) -> list[Path]:
    """The files of a name in the folder, or in the uppermost folders below it that hold some, sorted."""
    for depth in range(_DEPTH):
        # Names with a leading dot are what an operating system leaves beside the lists.
        found = folder.glob("*/" * depth + pattern)
        files = [file for file in found if not file.name.startswith(".") and accept(file)]
        if files:
            return sorted(files)
    return []


def list_file(folder: Path, name: str) -> Path:
    """The official list of that name in or below a folder.

    Raises:
        LrcnError: there is none.
    """
    files = list_files(folder, name)
    if not files:
        raise LrcnError(no_list(folder, name))
    return files[0]


def no_list(folder: Path, name: str) -> str:
    """The sentence on an official list that is not there."""
    return f"There is no {name} in or below {folder}; put the official lists there, or name their folder with --lists."


# ---- lines ----


def bad_line(file: Path, line: int, problem: str) -> NoReturn:
    """Says what is wrong with one line of a list.

    Raises:
        LrcnError: always.
    """
    raise LrcnError(f"{file} line {line}: {problem}")


def text_of(file: Path) -> str:
    """The text of a list, which is UTF-8.

    Raises:
        LrcnError: it cannot be read or is another encoding.
    """
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LrcnError(f"{file} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error
    except OSError as error:
        raise LrcnError(f"Cannot read {file}: {error.strerror or error}; check the path.") from error


def lines_of(file: Path) -> list[tuple[int, str]]:
    """The lines of a list that are not blank, stripped, with their numbers."""
    lines = enumerate(text_of(file).split("\n"), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def table_of(file: Path) -> list[tuple[int, dict[str, str]]]:
    """The records of a table with a header in its first line, with their line numbers; cells are stripped.

    The separator (`,` `;` or a tab) is whichever parts the header into most columns.

    Raises:
        LrcnError: it cannot be read, or a line has another number of cells than the header.
    """
    text = text_of(file)
    first = text.lstrip().partition("\n")[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header: list[str] = []
    records: list[tuple[int, dict[str, str]]] = []
    line = 1
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells) and not header:
                header = cells
            elif any(cells):
                if len(cells) != len(header):
                    bad_line(file, line, f"{len(cells)} cells under {len(header)} columns; mend the line.")
                records.append((line, dict(zip(header, cells, strict=True))))
            line = reader.line_num + 1
    except csv.Error as error:
        bad_line(file, line, f"this is not CSV ({error}); check its quotes.")
    return records


# ---- clips ----


class Clips:
    """The videos and folders of frames below a folder, found by name; suffix and capitals do not count.

    Args:
        folder: searched to any depth.

    Raises:
        LrcnError: there are none.
    """

    def __init__(self, folder: Path) -> None:
        self._paths: defaultdict[str, list[str]] = defaultdict(list)
        for path in list_media([folder]):
            self._paths[_key(path)].append(path)

    def find(self, name: str) -> str | None:
        """The clip of that name; the first in natural order where there are several."""
        paths = self._paths.get(_key(name))
        return paths[0] if paths else None

    def located(self, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
        """Gives each row the path of the clip called by the row's id, and the names of those not there."""
        paths = [self.find(row.id or row.path) for row in rows]
        found = [replace(row, path=path) for row, path in zip(rows, paths, strict=True) if path is not None]
        return found, [row.id or row.path for row, path in zip(rows, paths, strict=True) if path is None]

    def besides(self, names: Sequence[str]) -> list[str]:
        """The clips that go by none of these names."""
        known = set(map(_key, names))
        return [paths[0] for key, paths in self._paths.items() if key not in known]


def clip_name(path: str) -> str:
    """A clip's name without folder and suffix; the dot in the name of a folder of frames is no suffix."""
    name = path.replace("\\", "/").rpartition("/")[2]
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in VIDEO_SUFFIXES else name


def _key(path: str) -> str:
    return clip_name(path).casefold()


# ---- what is told ----


def told_missing(missing: Sequence[str], total: int, folder: Path, allow: bool) -> list[str]:
    """The sentence on listed clips that are not there; none when all are.

    Raises:
        LrcnError: all are missing, or some are and that is not allowed.
    """
    if not missing:
        return []
    if len(missing) == total:
        raise LrcnError(
            f"None of the {total} clips in the lists is below {folder}, such as {missing[0]}; "
            "give the folder that holds the clips."
        )
    text = f"{len(missing)} of the {total} clips in the lists are not below {folder}, such as {missing[0]}"
    if not allow:
        raise LrcnError(f"{text}; put them there, or pass --allow-missing to go on with the others.")
    return [f"Missing and left out: {text}."]


def found_sentence(name: str, rows: Sequence[Row], folder: Path) -> str:
    """The sentence that says how many clips of a data set were found, by split."""
    counts = Counter(row.split for row in rows)
    parts = ", ".join(f"{counts[split]} {split}" for split in ("train", "dev", "test") if counts[split])
    return f"Found {len(rows)} clips of {len(labels_of(rows))} classes of {name} in {folder}: {parts}."


def found_said(name: str, rows: Sequence[Row], folder: Path, what: str, said: str) -> str:
    """The same of a data set that says something of `what` it has, such as "images" with "captions"."""
    counts = Counter(row.split or "no split" for row in rows)
    parts = ", ".join(f"{count} {split}" for split, count in counts.items())
    captions = sum(len(row.captions) for row in rows)
    return f"Found {len(rows)} {what} with {captions} {said} of {name} in {folder}: {parts}."


def told_left_out(names: Mapping[str, Sequence[str]]) -> list[str]:
    """A sentence on each kind of things left out, such as "Missing and left out: {} images", that there are some of."""
    return [f"{what.format(len(those))}: {listed(those)}." for what, those in names.items() if those]


def not_official(classes: int, name: str, official: int) -> str:
    """The sentence on lists that name other than all classes of a data set, which then are not checked."""
    return f"The lists name {classes} classes, not {name}'s {official}: a choice of clips, not {name}."


def with_groups_that_hold(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Takes off groups that an official split does not keep together, and says so.

    An official split is what others measure on, so it stays as it is; a group that it cuts in two would have
    it refused everywhere.
    """
    cut = set(find_leakage(rows))
    groups = sorted({row.group for row in rows if row.group in cut and row.group is not None})
    if not groups:
        return list(rows), []
    kept = [replace(row, group=None) if row.group in cut else row for row in rows]
    return kept, [f"Groups that the official split cuts in two, left out as groups: {listed(groups)}."]


# ---- dev ----


def dev_from_train(rows: Sequence[Row], share: float, seed: int = 0) -> tuple[list[Row], str]:
    """Takes a part of train as dev, groups kept whole; the other splits stay as they are.

    Args:
        rows: the data set; only rows in train may change.
        share: dev's part of train, above 0 and below 1.
        seed: another seed, another dev.

    Returns:
        The rows in their order, and a sentence that says what was done.

    Raises:
        LrcnError: there is no train, there is a dev already, or the share is none.
    """
    if not 0 < share < 1:
        raise LrcnError(
            f"A dev part of {share:g} cannot be taken; give a share between 0 and 1, such as 0.1."
        )
    if any(row.split == "dev" for row in rows):
        raise LrcnError("The data set has a dev part of its own; leave --dev out.")
    train = [index for index, row in enumerate(rows) if row.split == "train"]
    if not train:
        raise LrcnError(
            "No clip is in train, so no dev can be taken from it; pass --split to make all three."
        )
    parted, sentence = split_rows(
        [rows[index] for index in train], {"train": 1 - share, "dev": share}, seed=seed
    )
    changed: Mapping[int, Row] = dict(zip(train, parted, strict=True))
    return [changed.get(index, row) for index, row in enumerate(rows)], f"Of train: {sentence}"
