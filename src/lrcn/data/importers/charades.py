"""Charades (Sigurdsson et al. 2016): 9,848 videos of people at home, with sentences, actions, objects and scenes."""

from pathlib import Path

from lrcn.data.importers.described import Described, described_rows
from lrcn.data.importers.lists import data_folder, lines_of, list_file, list_files, table_of
from lrcn.data.manifest import Row

_TABLE = "Charades_v1_{}.csv"
_CLASSES = "Charades_v1_classes.txt"


def import_charades(source: Path, *, lists: Path | None = None) -> tuple[list[Row], list[str]]:
    """Reads `Charades_v1_train.csv` and `Charades_v1_test.csv`; with `Charades_v1_classes.txt` actions have names.

    The sentences are what people wrote who saw the video (`descriptions`). For a tuple there are the fields `scene`, a
    label; `objects`, a list; and `actions`, a list in the order in which they begin. The group is the person.

    Args:
        source: the folder with the videos, if they are there, and with the tables unless `lists` says where they are.
        lists: the folder with the tables.

    Returns:
        The rows, in the tables' order, and sentences that say what was found, missing and damaged.

    Raises:
        LrcnError: a table is missing, or a line of it is bad.
    """
    folder = data_folder(source)
    where = folder if lists is None else data_folder(lists)
    names = _class_names(where)
    entries: list[Described] = []
    damaged: list[str] = []
    tables = {split: list_files(where, _TABLE.format(split)) for split in ("train", "test")}
    if not any(tables.values()):
        list_file(where, _TABLE.format("train"))
    for split, files in tables.items():
        for file in files[:1]:
            for number, cells in table_of(file):
                actions = _actions(cells.get("actions", ""), names)
                if not cells.get("id") or actions is None:
                    damaged.append(f"{file.name} line {number}")
                    continue
                objects = _parts(cells.get("objects", ""))
                labels = {"scene": cells.get("scene"), "objects": objects, "actions": actions}
                entries.append(
                    Described(
                        cells["id"],
                        [" ".join(text.split()) for text in _parts(cells.get("descriptions", ""))],
                        split,
                        cells.get("subject") or None,
                        extra={name: label for name, label in labels.items() if label},
                    )
                )
    rows, sentences = described_rows("Charades", folder, entries, damaged)
    if not names:
        sentences.append(f"There is no {_CLASSES}, so actions are called by their codes.")
    return rows, sentences


def _class_names(where: Path) -> dict[str, str]:
    """Code -> name: "c000 Holding some clothes"."""
    lines = [line for file in list_files(where, _CLASSES)[:1] for _, line in lines_of(file)]
    return {code: name for code, _, name in (line.partition(" ") for line in lines)}


def _actions(text: str, names: dict[str, str]) -> list[str] | None:
    """The actions of "c092 11.90 21.20;c147 0.00 12.60", the first to begin first; None where that is not its form."""
    begun: list[tuple[float, str]] = []
    for part in _parts(text):
        code, *times = part.split()
        try:
            begun.append((float(times[0]), names.get(code, code)))
        except (ValueError, IndexError):
            return None
    return list(dict.fromkeys(name for _, name in sorted(begun, key=lambda action: action[0])))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]
