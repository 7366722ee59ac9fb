"""A folder of photos with a table of sentences: a line a sentence, or a line a photo with several columns."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from lrcn.data.importers.captioned import Captioned, captioned_rows, found_lists
from lrcn.data.importers.lists import text_of
from lrcn.data.manifest import Row
from lrcn.data.splits import standard_split
from lrcn.errors import LrcnError

TABLES = ("captions.csv", "captions.tsv", "captions.txt", "results.csv", "*.csv", "*.tsv")

# What such tables call their columns, the surest first.
_PHOTO = (
    "path",
    "image",
    "image_name",
    "image_path",
    "image_file",
    "file_name",
    "filename",
    "file",
    "photo",
    "name",
)
_CAPTION = ("caption", "captions", "comment", "sentence", "description", "text")
_SPLIT = ("split", "set", "subset", "partition")


def import_captions_csv(source: Path, *, lists: Path | None = None) -> tuple[list[Row], list[str]]:
    """Reads a table with a header, a column of photos and one or more of captions, and maybe one of splits.

    Lines about one photo are put together. Cells are parted by `,` `;` `|` or tabs, whichever the header has most of.
    Columns of captions are called caption, comment, sentence, description or text, or caption1, caption2 and so on.

    Args:
        source: the table, with the photos anywhere below its folder; or the folder with both.
        lists: the table or the folder with it, where it does not lie with the photos.

    Returns:
        The rows, in the table's order, and sentences that say what was found, missing and damaged.

    Raises:
        LrcnError: there is no table or several, its columns are not known, or no photo is there.
    """
    (file,), folder = found_lists(source, lists, TABLES)
    lines = table_lines(file)
    header = [cell.strip().casefold() for cell in next(lines, (1, None))[1] or []]
    photo = columns_called(header, _PHOTO)
    captions = columns_called(header, _CAPTION, numbered=True)
    if not photo or not captions:
        raise LrcnError(
            f"{file} has the columns {', '.join(header) or 'none'}: name one 'image' and one 'caption' in its first "
            "line."
        )
    split = columns_called(header, _SPLIT)
    entries: dict[str, Captioned] = {}
    damaged = []
    for number, row in lines:
        cells = [] if row is None else [" ".join(cell.split()) for cell in row]
        said = [cells[column] for column in captions if cells[column]] if len(cells) == len(header) else []
        if not said or not cells[photo[0]]:
            damaged.append(f"{file.name} line {number}")
            continue
        name = cells[photo[0]]
        part = cells[split[0]] if split else ""
        entry = entries.setdefault(
            name, Captioned(name, split=standard_split(part) or part or None, id=Path(name).stem)
        )
        entry.captions += said
    return captioned_rows(file.name, folder, list(entries.values()), damaged)


def table_lines(file: Path) -> Iterator[tuple[int, list[str] | None]]:
    """The cells of each line that is not blank, with its number; None for what is no table's line."""
    text = text_of(file)
    first = text.lstrip().partition("\n")[0]
    separator = max(",;|\t", key=first.count)
    # Where neither `,` nor `;` parts the cells, a quote is a character like any other.
    quote = '"' if separator in ",;" else None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, quotechar=quote, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error:
            yield number, None
            continue
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield number, cells


def columns_called(header: Sequence[str], names: Sequence[str], *, numbered: bool = False) -> list[int]:
    """The columns of the surest of these names; with `numbered`, those called by it and a number."""
    for name in names:
        found = [
            column
            for column, title in enumerate(header)
            if title == name
            or (numbered and title.startswith(name) and title[len(name) :].strip("_ -").isdecimal())
        ]
        if found:
            return found
    return []
