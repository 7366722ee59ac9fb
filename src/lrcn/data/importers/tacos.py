"""Tables in the way of TACoS Multi-Level (Rohrbach et al. 2014): a clip, what is to be seen in it, and a sentence."""

import re
from dataclasses import replace
from pathlib import Path

from lrcn.data.importers.captioned import found_lists
from lrcn.data.importers.described import described_rows
from lrcn.data.importers.descriptions_csv import TABLES, table_entries
from lrcn.data.manifest import Row
from lrcn.errors import LrcnError

_TUPLE = ("tuple", "labels", "semantics", "sr")
_NOTHING = frozenset(["", "null", "none", "nil", "-"])


def import_tacos(source: Path, *, lists: Path | None = None) -> tuple[list[Row], list[str]]:
    """Reads a table with a header: clip, tuple, sentence, and maybe split, start, end and others.

    A tuple is written `<knife, cut, carrot, board>`, with or without its brackets, parted by `,` `;` or `|`; what is
    null, none or - is left out. It becomes the field `tuple`, a list of labels. Labels in columns of their own
    (activity, object, tool, ...) stay fields of these names. All else is as in `descriptions-csv`.

    Args:
        source: the table, with the videos anywhere below its folder if they are there; or the folder with both.
        lists: the table or the folder with it, where it does not lie with the videos.

    Returns:
        The rows, in the table's order, and sentences that say what was found, missing and damaged.

    Raises:
        LrcnError: there is no table or several, or it has no columns of clips, labels and sentences.
    """
    (file,), folder = found_lists(source, lists, TABLES)
    entries, damaged = table_entries(file)
    column = next((name for entry in entries for name in entry.extra if name.casefold() in _TUPLE), None)
    if entries and not any(entry.extra for entry in entries):
        raise LrcnError(
            f"{file} has no column of labels: name one 'tuple' in its first line, or use descriptions-csv."
        )
    if column is not None:
        entries = [
            replace(
                entry,
                extra={name: text for name, text in entry.extra.items() if name != column}
                | {"tuple": _labels(entry.extra.get(column, ""))},
            )
            for entry in entries
        ]
    return described_rows(file.name, folder, entries, damaged)


def _labels(text: str) -> list[str]:
    inside = text.strip().removeprefix("<").removesuffix(">").strip("()[]")
    labels = [label.strip().strip("'\"") for label in re.split(r"[,;|]", inside)]
    return [label for label in labels if label.casefold() not in _NOTHING]
