"""Something-Something v1 and v2 (Goyal et al. 2017): people doing something with something."""

import json
from pathlib import Path
from typing import Any, NoReturn

from lrcn.data.importers.lists import data_folder, lines_of, list_files, no_list, text_of
from lrcn.data.importers.twentybn import SPLITS, files_by_split, import_numbered, located
from lrcn.data.manifest import Row
from lrcn.errors import LrcnError


def import_something_v1(
    source: Path, *, lists: Path | None = None, allow_missing: bool = False
) -> tuple[list[Row], list[str]]:
    """Reads Something-Something v1: `something-something-v1-train.csv` and so on, and folders of frames.

    The lists have lines `number;label`, and the frames of clip 7 are 20bn-something-something-v1/7/00001.jpg
    and on. The official test clips have no labels and are left out; validation is dev. Who made a clip is
    not told, so there are no groups.

    Args:
        source: the folder with the clips or the one above it, and with the lists unless `lists` tells.
        lists: the folder with the lists.
        allow_missing: go on where clips are not there.

    Returns:
        The rows, in the lists' order, and sentences that say what was found.

    Raises:
        LrcnError: lists or clips are missing, or a line is bad.
    """
    return import_numbered("Something-Something v1", "something-something-v1", source, lists, allow_missing)


def import_something_v2(
    source: Path, *, lists: Path | None = None, allow_missing: bool = False
) -> tuple[list[Row], list[str]]:
    """Reads Something-Something v2: `train.json`, `validation.json`, `labels.json` and so on, and NUMBER.webm.

    The lists may be called something-something-v2-train.json too. The label is the template less its
    brackets, so that "Putting [something] on [something]" is "Putting something on something"; the extra
    field `placeholders` keeps what the brackets stood for. Test clips get their labels from
    `test-answers.csv` where it is there, and are left out otherwise; validation is dev. Who made a clip is
    not told, so there are no groups.

    Args:
        source: the folder with the clips or the one above it, and with the lists unless `lists` tells.
        lists: the folder with the lists.
        allow_missing: go on where clips are not there.

    Returns:
        The rows, in the lists' order, and sentences that say what was found.

    Raises:
        LrcnError: lists or clips are missing, or an entry is bad.
    """
    folder = data_folder(source)
    where = folder if lists is None else data_folder(lists)
    for prefix in ("something-something-v2-", ""):
        if labels_file := list_files(where, f"{prefix}labels.json"):
            break
    else:
        raise LrcnError(no_list(where, "something-something-v2-labels.json"))
    labels = frozenset(_json(labels_file[0], dict))
    files = files_by_split(where, prefix + "{}.json")
    answers = _answers(list_files(where, f"{prefix}test-answers.csv"))
    named = [
        row
        for word, file in files.items()
        for row in _listed_rows(file, SPLITS[word], labels, answers if word == "test" else {})
    ]
    return located("Something-Something v2", named, folder, allow_missing)


def _json(file: Path, kind: type) -> Any:
    try:
        value = json.loads(text_of(file))
    except (ValueError, RecursionError) as error:
        raise LrcnError(f"{file} is not JSON ({error}); take the official file.") from error
    if not isinstance(value, kind):
        what = "list" if kind is list else "mapping"
        raise LrcnError(f"{file} holds no {what}; take the official file.")
    return value


def _answers(files: list[Path]) -> dict[str, str]:
    """The labels of test clips, by number."""
    pairs = [text.partition(";") for file in files[:1] for _, text in lines_of(file)]
    return {number.strip(): label.strip() for number, _, label in pairs}


def _listed_rows(file: Path, split: str, labels: frozenset[str], answers: dict[str, str]) -> list[Row]:
    rows: dict[str, Row] = {}
    for place, entry in enumerate(_json(file, list), start=1):
        number, template = (
            (entry.get("id"), entry.get("template")) if isinstance(entry, dict) else (None, None)
        )
        if not isinstance(number, str | int) or not str(number).isdecimal():
            _bad_entry(file, place, "the number of the clip, 'id', is missing")
        label = _label(template) or answers.get(str(number))
        if label is None and split != "test":
            _bad_entry(file, place, "the 'template' is missing")
        if label is not None and label not in labels:
            _bad_entry(file, place, f"the label {label!r} is not in the list of labels")
        if str(number) in rows:
            _bad_entry(file, place, f"clip {number} stands twice")
        placeholders = entry.get("placeholders")
        extra = {"placeholders": placeholders} if placeholders else {}
        rows[str(number)] = Row(str(number), label, split=split, id=str(number), extra=extra)
    return list(rows.values())


def _label(template: object) -> str | None:
    return template.replace("[", "").replace("]", "").strip() or None if isinstance(template, str) else None


def _bad_entry(file: Path, place: int, problem: str) -> NoReturn:
    raise LrcnError(f"{file} entry {place}: {problem}; take the official file.")
