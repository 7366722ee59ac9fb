"""UCF101 (Soomro, Zamir, Shah 2012): 13,320 clips of 101 actions in the official three splits."""

import re
from collections.abc import Mapping
from pathlib import Path

from lrcn.data.importers.lists import (
    Clips,
    bad_line,
    clip_name,
    data_folder,
    found_sentence,
    lines_of,
    list_file,
    not_official,
    told_missing,
)
from lrcn.data.manifest import Row
from lrcn.data.splits import listed, refuse_leakage
from lrcn.errors import LrcnError

OFFICIAL_CLASSES = 101
OFFICIAL_COUNTS = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}
"""The clips of train and of test in each official split."""

_CLIP = re.compile(r"v_(?P<label>.+)_(?P<group>g\d+)_c\d+", re.IGNORECASE)


def import_ucf101(
    source: Path,
    *,
    split_number: int = 1,
    lists: Path | None = None,
    allow_missing: bool = False,
    allow_leakage: bool = False,
) -> tuple[list[Row], list[str]]:
    """Reads UCF101: `classInd.txt`, `trainlist0N.txt`, `testlist0N.txt`, and clips called v_CLASS_gNN_cNN.

    The clips may lie in class folders or all in one, as videos or as folders of frames, at any depth below
    the source. The group is class and gNN: g01 of two classes are different recordings. Capitals do not
    count in names: the lists and the files spell HandStandPushups, the classes HandstandPushups. Where the
    lists name all 101 classes, their lengths must be the official ones; other lists are a part of UCF101
    and are taken as they are.

    Args:
        source: the folder with the clips, and with the lists unless `lists` says where they are.
        split_number: which official split, 1 to 3.
        lists: the folder with the lists.
        allow_missing: go on where lists are shortened or clips are not there.
        allow_leakage: go on where lists put one group into both train and test, as the official ones never do.

    Returns:
        The rows, in the lists' order, and sentences that say what was found.

    Raises:
        LrcnError: lists or clips are missing, a line is bad, the lists are not the official ones, or they
            leak.
    """
    if split_number not in OFFICIAL_COUNTS:
        raise LrcnError(f"UCF101 has the official splits 1, 2 and 3, not {split_number}; pass one of them.")
    folder = data_folder(source)
    where = folder if lists is None else data_folder(lists)
    classes = _classes(list_file(where, "classInd.txt"))
    parts = {
        split: _listed_rows(list_file(where, f"{split}list0{split_number}.txt"), classes, split)
        for split in ("train", "test")
    }
    sentences = _told_counts(parts, len(classes), split_number, allow_missing)
    named = [row for part in parts.values() for row in part]
    clips = Clips(folder)
    rows, missing = clips.located(named)
    sentences += told_missing(missing, len(named), folder, allow_missing)
    others = [
        path for path in clips.besides([str(row.id) for row in named]) if _CLIP.fullmatch(clip_name(path))
    ]
    if others:
        sentences.append(f"Clips in neither list, left out: {len(others)}, such as {others[0]}.")
    refuse_leakage(rows, allow_leakage)
    return rows, [found_sentence(f"UCF101 (official split {split_number})", rows, folder), *sentences]


def _classes(file: Path) -> dict[int, str]:
    """The names of the classes by their numbers."""
    classes: dict[int, str] = {}
    for line, text in lines_of(file):
        number, _, name = text.partition(" ")
        if not number.isdecimal() or not name.strip():
            bad_line(
                file, line, f"this is no class ({text!r}); write its number and name, such as '1 Archery'."
            )
        if int(number) in classes:
            bad_line(file, line, f"class {number} stands twice; keep one.")
        classes[int(number)] = name.strip()
    return classes


def _listed_rows(file: Path, classes: Mapping[int, str], split: str) -> list[Row]:
    """The clips of a list; train lists end a line with the number of the class, test lists need not."""
    spelled = {name.casefold(): name for name in classes.values()}
    found: dict[str, Row] = {}
    for line, text in lines_of(file):
        path, _, number = text.partition(" ")
        name = clip_name(path)
        match = _CLIP.fullmatch(name)
        if match is None:
            bad_line(file, line, f"this names no clip ({text!r}); write CLASS/v_CLASS_gNN_cNN.avi.")
        label = spelled.get(match["label"].casefold())
        if label is None:
            bad_line(file, line, f"the class {match['label']!r} is not in classInd.txt; mend either of them.")
        if number.strip() and classes.get(_number(number)) != label:
            bad_line(
                file, line, f"{label} is not class {number.strip()} in classInd.txt; mend either of them."
            )
        if name.casefold() in found:
            bad_line(file, line, f"{name} stands twice; keep one.")
        group = f"{label}_{match['group'].lower()}"
        found[name.casefold()] = Row(path, label, split=split, group=group, id=name)
    return list(found.values())


def _number(text: str) -> int:
    return int(text) if text.strip().isdecimal() else 0


def _told_counts(parts: Mapping[str, list[Row]], classes: int, split_number: int, allow: bool) -> list[str]:
    """Holds the lists against the official lengths, if they are the official lists at all."""
    if classes != OFFICIAL_CLASSES:
        return [not_official(classes, "UCF101", OFFICIAL_CLASSES)]
    wrong = [
        f"{split}list0{split_number}.txt names {len(part)} clips instead of {official}"
        for (split, part), official in zip(parts.items(), OFFICIAL_COUNTS[split_number], strict=True)
        if len(part) != official
    ]
    if wrong and not allow:
        raise LrcnError(
            f"{' and '.join(wrong)}; take the official list, or pass --allow-missing to go on with this one."
        )
    return [f"Not the official lists: {listed(wrong)}."] if wrong else []
