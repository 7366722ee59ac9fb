"""HMDB51 (Kuehne et al. 2011): clips of 51 actions from films and the web, in the official three splits."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from lrcn.data.importers.lists import (
    Clips,
    bad_line,
    clip_name,
    data_folder,
    found_sentence,
    lines_of,
    list_files,
    no_list,
    not_official,
    told_missing,
    with_groups_that_hold,
)
from lrcn.data.manifest import Row
from lrcn.data.splits import listed
from lrcn.errors import LrcnError

OFFICIAL_CLASSES = 51
OFFICIAL_COUNTS = (70, 30)
"""The clips of train and of test of each class in every official split."""

_SPLITS = {"0": None, "1": "train", "2": "test"}

# What a name says of its clip: the visible part of the body, the camera, people, viewpoint, quality, number.
_PROPERTIES = r"_[fulh]_(?:nm|cm)_np\d+_(?:fr|ba|le|ri)_(?:goo|med|bad)_\d+"


def import_hmdb51(
    source: Path, *, split_number: int = 1, lists: Path | None = None, allow_missing: bool = False
) -> tuple[list[Row], list[str]]:
    """Reads HMDB51: one `CLASS_test_splitN.txt` a class, with lines `NAME.avi 0|1|2`, and the clips.

    0 is not used in this split, 1 is train, 2 is test. The clips may lie anywhere below the source, as
    videos or folders of frames.

    The group is class and source film, SOURCE in SOURCE_CLASS_f_cm_np1_fr_med_0. The official splits keep a
    source on one side within each class only: a film that shows two actions may stand in train with one and
    in test with the other, and parts of one film (Two_Towers_1, Two_Towers_3) count as two sources. How many
    names are shared in that way is told.

    Args:
        source: the folder with the clips, and with the lists unless `lists` says where they are.
        split_number: which official split, 1 to 3.
        lists: the folder with the lists.
        allow_missing: go on where lists are shortened or clips are not there.

    Returns:
        The rows, class by class in the lists' order, and sentences that say what was found.

    Raises:
        LrcnError: lists or clips are missing, a line is bad, or all 51 lists are there and one does not name
            70 clips to train on and 30 to test on.
    """
    if split_number not in (1, 2, 3):
        raise LrcnError(f"HMDB51 has the official splits 1, 2 and 3, not {split_number}; pass one of them.")
    folder = data_folder(source)
    where = folder if lists is None else data_folder(lists)
    ending = f"_test_split{split_number}.txt"
    files = list_files(where, f"*{ending}")
    if not files:
        raise LrcnError(no_list(where, f"CLASS{ending}"))
    parts = {file.name.removesuffix(ending): file for file in files}
    listed_rows = {label: _listed_rows(file, label) for label, file in parts.items()}
    sentences = _told_counts(listed_rows, allow_missing)
    used = [row for part in listed_rows.values() for row in part if row.split is not None]
    rows, missing = Clips(folder).located(used)
    sentences += told_missing(missing, len(used), folder, allow_missing)
    if unused := sum(map(len, listed_rows.values())) - len(used):
        sentences.append(f"Clips that this split does not use, left out: {unused}.")
    rows, said = with_groups_that_hold(rows)
    found = found_sentence(f"HMDB51 (official split {split_number})", rows, folder)
    return rows, [found, *sentences, *said, *_told_shared(used)]


def _listed_rows(file: Path, label: str) -> list[Row]:
    """The clips of one class; those that the split does not use have no split."""
    found: dict[str, Row] = {}
    for line, text in lines_of(file):
        # From the right: the name itself may hold blanks.
        path, _, number = text.rpartition(" ")
        name = clip_name(path.strip())
        if number not in _SPLITS or not name:
            bad_line(file, line, f"this is no clip with 0, 1 or 2 ({text!r}); write 'NAME.avi 1'.")
        if name in found:
            bad_line(file, line, f"{name} stands twice; keep one.")
        group = f"{label}/{_source_of(name, label)}"
        found[name] = Row(path.strip(), label, split=_SPLITS[number], group=group, id=name)
    return list(found.values())


def _source_of(name: str, label: str) -> str:
    """What a clip was cut from, by its name; the whole name where it has another form."""
    match = re.fullmatch(rf"(.+?)(?:_{re.escape(label)})?{_PROPERTIES}", name, re.IGNORECASE)
    return match[1] if match else name


def _told_counts(parts: Mapping[str, Sequence[Row]], allow: bool) -> list[str]:
    """Holds the lists against the official lengths, if they are the official lists at all."""
    if len(parts) != OFFICIAL_CLASSES:
        return [not_official(len(parts), "HMDB51", OFFICIAL_CLASSES)]
    wrong = []
    for label, part in parts.items():
        counts = tuple(sum(row.split == split for row in part) for split in ("train", "test"))
        if counts != OFFICIAL_COUNTS:
            wrong.append(f"{label} has {counts[0]} train and {counts[1]} test instead of 70 and 30")
    if wrong and not allow:
        raise LrcnError(
            f"The list of {wrong[0]}; take the official lists, or pass --allow-missing to go on with these."
        )
    return [f"Not the official lists: {listed(wrong)}."] if wrong else []


def _told_shared(rows: Sequence[Row]) -> list[str]:
    splits_of: defaultdict[str, set[str | None]] = defaultdict(set)
    for row in rows:
        splits_of[str(row.group).partition("/")[2]].add(row.split)
    shared = sorted(name for name, splits in splits_of.items() if len(splits) > 1)
    if not shared:
        return []
    return [
        f"The official split parts the sources within each class only: {len(shared)} of {len(splits_of)} stand "
        f"in train under one class and in test under another, such as {shared[0]}."
    ]
