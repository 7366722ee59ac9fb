"""Honest splits: what was cut from one recording, person or source never stands on both sides."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import NamedTuple

from lrcn.data.manifest import Row
from lrcn.data.media import natural
from lrcn.data.sampler import seeded_order
from lrcn.errors import LrcnError

SHARES: Mapping[str, float] = {"train": 0.7, "dev": 0.15, "test": 0.15}

# How folders and tables of others name the three splits.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
    "testing": "test",
}


class Fold(NamedTuple):
    """One round of cross-validation."""

    train: list[Row]
    test: list[Row]


def standard_split(name: str) -> str | None:
    """Gives "train", "dev" or "test" for any common spelling of it, else None."""
    return SPLIT_NAMES.get(name.strip().lower())


# ---- leakage ----


def find_leakage(rows: Sequence[Row]) -> list[str]:
    """Gives the groups that stand in more than one split, sorted; also files with clips in several splits.

    Rows without a split are in none. A file is only named when its group does not already tell.
    """
    return sorted(_offenders(rows, [row.split for row in rows]))


def refuse_leakage(rows: Sequence[Row], allow: bool = False) -> None:
    """Stops when a group stands in more than one split.

    Raises:
        LrcnError: names up to five offenders and where they stand, unless `allow`.
    """
    offenders = _offenders(rows, [row.split for row in rows])
    if offenders and not allow:
        raise LrcnError(
            f"{_offence(offenders, 'split')}; "
            "split the data by group, or pass --allow-leakage to go on regardless."
        )


def _offenders(rows: Sequence[Row], places: Sequence[Hashable | None]) -> dict[str, list[str]]:
    """Gives group (or file) -> the places it stands in, for those that stand in more than one."""
    of_group: defaultdict[str, set[str]] = defaultdict(set)
    of_file: defaultdict[str, set[str]] = defaultdict(set)
    groups_of_file: defaultdict[str, set[str]] = defaultdict(set)
    for row, place in zip(rows, places, strict=True):
        if place is None:
            continue
        of_file[row.path].add(str(place))
        if row.group is not None:
            of_group[row.group].add(str(place))
            groups_of_file[row.path].add(row.group)
    offenders = {name: sorted(where) for name, where in of_group.items() if len(where) > 1}
    for path, where in of_file.items():
        if len(where) > 1 and not groups_of_file[path] & offenders.keys():
            offenders[path] = sorted(where)
    return offenders


def _offence(offenders: Mapping[str, Sequence[str]], kind: str) -> str:
    named = ", ".join(f"{name} ({' and '.join(offenders[name])})" for name in sorted(offenders)[:5])
    more = f" and {len(offenders) - 5} more" if len(offenders) > 5 else ""
    subject = "1 group stands" if len(offenders) == 1 else f"{len(offenders)} groups stand"
    return f"{subject} in more than one {kind}: {named}{more}"


# ---- splitting ----


@dataclass(frozen=True)
class _Unit:
    """Rows that must stay together."""

    members: tuple[int, ...]
    labels: Counter[str | None]

    @property
    def size(self) -> int:
        return len(self.members)


def split_rows(
    rows: Sequence[Row], shares: Mapping[str, float] = SHARES, seed: int = 0
) -> tuple[list[Row], str]:
    """Gives the rows, in their order, each with its split set, and a sentence that says what was done.

    Rows of one group stay together, and so do clips cut from one file. Within that, the classes are spread as
    evenly as a greedy pass can, every class keeps clips in train before any other split gets some, and no
    split is left empty while there is something to give it. The answer depends on the seed and on which rows
    there are, not on their order. Splits the rows came with are replaced.

    Args:
        rows: the data set.
        shares: split -> its part of the rows; the parts add up to 1.
        seed: another seed, another split.

    Raises:
        LrcnError: no rows, or shares that are not parts of one whole.
    """
    _check_shares(rows, shares)
    names = [name for name, share in shares.items() if share > 0]
    # When there is too little for all, training comes first and an honest test second.
    names.sort(key=lambda name: {"train": 0, "test": 1}.get(name, 2))
    units = _in_seeded_order(_units_of(rows), rows, seed)
    places = _spread(units, [shares[name] for name in names], every_class_in_first=True)
    _give_every_class_to_first(units, places)
    split_of = {
        index: names[place] for unit, place in zip(units, places, strict=True) for index in unit.members
    }
    done = [replace(row, split=split_of[index]) for index, row in enumerate(rows)]
    return done, _split_sentence(done, names, units)


def group_folds(
    rows: Sequence[Row], k: int | None = None, by: str = "group", allow_leakage: bool = False
) -> list[Fold]:
    """Gives folds for cross-validation: every value of the field `by` is tested in exactly one of them.

    Args:
        rows: the data set; splits the rows came with are not looked at.
        k: how many folds, with the classes spread as evenly as a greedy pass can; None, or as many as there
            are values, gives one fold per value, in the values' order.
        by: a standard or extra field, such as "group", or "fold" where the data set comes with folds.
        allow_leakage: go on when `by` is another field than the group and cuts a group in two.

    Returns:
        One (train, test) a fold; every row is in exactly one test part.

    Raises:
        LrcnError: a row lacks the field, there are fewer values than folds, or a group would be in two folds.
    """
    values = [_fold_value(row, by) for row in rows]
    distinct = sorted(set(values), key=lambda value: (natural(value), value))
    if len(distinct) < 2:
        raise LrcnError(
            f"Folds need at least two values of '{by}', and there are {len(distinct)}; take another field."
        )
    if k is not None and not 2 <= k <= len(distinct):
        raise LrcnError(
            f"{k} folds cannot be made of {len(distinct)} values of '{by}'; ask for 2 to {len(distinct)}."
        )
    if k is None or k == len(distinct):
        fold_of = {value: number for number, value in enumerate(distinct)}
    else:
        fold_of = _balanced_folds(rows, values, k)
    places = [fold_of[value] for value in values]
    if not allow_leakage and (offenders := _offenders(rows, [place + 1 for place in places])):
        raise LrcnError(
            f"{_offence(offenders, 'fold')}; cut the folds by a field that keeps each of them whole."
        )
    return [
        Fold(
            train=[row for row, place in zip(rows, places, strict=True) if place != number],
            test=[row for row, place in zip(rows, places, strict=True) if place == number],
        )
        for number in range(max(places) + 1)
    ]


def _check_shares(rows: Sequence[Row], shares: Mapping[str, float]) -> None:
    if not rows:
        raise LrcnError("There are no rows to split; import a data set that holds clips.")
    parts = list(shares.values())
    if not all(math.isfinite(part) and part >= 0 for part in parts) or abs(sum(parts) - 1) > 1e-6:
        shown = ", ".join(f"{name} {part:g}" for name, part in shares.items())
        raise LrcnError(f"The shares of the splits must be parts that add up to 1, not {shown}; mend them.")


def _units_of(rows: Sequence[Row]) -> list[_Unit]:
    """Joins rows that share a group or a file, through any chain of both."""
    parent = list(range(len(rows)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[tuple[str, str], int] = {}
    for index, row in enumerate(rows):
        for kind, name in (("file", row.path), ("group", row.group)):
            if name is not None:
                parent[root(index)] = root(first.setdefault((kind, name), index))
    members: defaultdict[int, list[int]] = defaultdict(list)
    for index in range(len(rows)):
        members[root(index)].append(index)
    return [_unit(rows, indices) for indices in members.values()]


def _unit(rows: Sequence[Row], indices: Sequence[int]) -> _Unit:
    # Sorted, so that sums over labels round the same way whatever the rows' order.
    labels = sorted((rows[index].label for index in indices), key=lambda label: (label is None, label or ""))
    return _Unit(tuple(indices), Counter(labels))


def _in_seeded_order(units: list[_Unit], rows: Sequence[Row], seed: int) -> list[_Unit]:
    """Large units first, since they are the hardest to place; within about one size, drawn by the seed."""
    units = sorted(
        units,
        key=lambda unit: min((rows[i].group or "", rows[i].path, rows[i].start or 0.0) for i in unit.members),
    )
    drawn = [units[position] for position in seeded_order(len(units), seed)]
    return sorted(drawn, key=lambda unit: -unit.size.bit_length())


def _spread(units: Sequence[_Unit], shares: Sequence[float], every_class_in_first: bool) -> list[int]:
    """Gives each unit a place, so that rows and classes come near the shares; earlier places win a tie.

    Each unit goes where it lowers most the squared distance to the wanted counts, per class and in all. Per
    class alone would starve the small places when every class has few units; in all alone would not spread
    the classes.
    """
    total = sum(unit.size for unit in units)
    of_label: Counter[str | None] = Counter()
    for unit in units:
        of_label.update(unit.labels)
    units_of_label = Counter(label for unit in units for label in unit.labels)
    counts: list[Counter[str | None]] = [Counter() for _ in shares]
    sizes = [0] * len(shares)
    places: list[int] = []

    def cost(unit: _Unit, place: int) -> float:
        gap = sizes[place] - shares[place] * total
        change = unit.size * (unit.size + 2 * gap) / total
        for label, n in unit.labels.items():
            gap = counts[place][label] - shares[place] * of_label[label]
            change += n * (n + 2 * gap) / of_label[label]
        return change

    for left, unit in zip(range(len(units), 0, -1), units, strict=True):
        empty = [place for place, size in enumerate(sizes) if not size]
        only_one = every_class_in_first and any(units_of_label[label] == 1 for label in unit.labels)
        if only_one or 0 in empty:
            choice = [0]
        else:
            choice = empty if left <= len(empty) else list(range(len(shares)))
        place = min(choice, key=lambda place: cost(unit, place))
        places.append(place)
        sizes[place] += unit.size
        counts[place].update(unit.labels)
    return places


def _give_every_class_to_first(units: Sequence[_Unit], places: list[int]) -> None:
    """Moves to place 0 the smallest unit of each class it lacks, from a place that can spare one if any."""
    holders_of: defaultdict[str | None, list[int]] = defaultdict(list)
    for number, unit in enumerate(units):
        for label in unit.labels:
            holders_of[label].append(number)
    for _, holders in sorted(holders_of.items(), key=lambda item: (item[0] is None, item[0] or "")):
        if all(places[number] for number in holders):
            spare = Counter(places)
            moved = min(holders, key=lambda number: (spare[places[number]] == 1, units[number].size, number))
            places[moved] = 0


def _split_sentence(rows: Sequence[Row], names: Sequence[str], units: Sequence[_Unit]) -> str:
    counts = Counter(row.split for row in rows)
    parts = ", ".join(f"{counts[name]} {name}" for name in names)
    grouped = sum(row.group is not None for row in rows)
    if grouped == len(rows):
        how = f"by group ({len(units)} groups, none in two splits)"
    elif grouped:
        how = f"by label, keeping together the clips of a group ({len(rows) - grouped} rows have none)"
    else:
        how = "by label (no row has a group, so clips of one recording may stand in two splits)"
    text = f"Split {len(rows)} rows {how}: {parts}."
    if empty := [name for name in names if not counts[name]]:
        text += f" Nothing is left for {' and '.join(empty)}."
    of_label = Counter(label for unit in units for label in unit.labels if label is not None)
    if single := sorted(label for label, n in of_label.items() if n == 1 and len(of_label) > 1):
        what = "group" if grouped == len(rows) else "clip"
        text += f" Only in {names[0]}, having one {what}: {listed(single)}."
    tested = {row.label for row in rows if row.split == "test"}
    if tested and (
        missing := sorted(label for label, n in of_label.items() if n > 1 and label not in tested)
    ):
        text += f" Not in test: {listed(missing)}."
    return text


def listed(names: Sequence[str], most: int = 8) -> str:
    """Gives names for a sentence, the first few of them when they are many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _fold_value(row: Row, by: str) -> str:
    value = row.field(by)
    if value is None or isinstance(value, list | tuple | dict):
        raise LrcnError(
            f"{row.path} has no value in the field '{by}' to cut the folds by; fill it in for every row."
        )
    return str(value)


def _balanced_folds(rows: Sequence[Row], values: Sequence[str], k: int) -> dict[str, int]:
    indices: defaultdict[str, list[int]] = defaultdict(list)
    for index, value in enumerate(values):
        indices[value].append(index)
    ordered = sorted(indices, key=lambda value: (-len(indices[value]), natural(value), value))
    places = _spread(
        [_unit(rows, indices[value]) for value in ordered], [1 / k] * k, every_class_in_first=False
    )
    return dict(zip(ordered, places, strict=True))


# ---- groups from file names ----


@dataclass(frozen=True)
class _NameForm:
    """A way of naming clips that tells what they were cut from."""

    says: str
    pattern: re.Pattern[str]
    generic: bool = False

    def group_of(self, name: str) -> str | None:
        match = self.pattern.fullmatch(name)
        return "_".join(match.groups()) if match else None


_NAME_FORMS = (
    # In UCF101 g01 of one class and g01 of another are different recordings.
    _NameForm("v_CLASS_gNN_cNN: class and group", re.compile(r"v_(.+)_(g\d+)_c\d+", re.IGNORECASE)),
    _NameForm("aNN_sNN_eNN: the subject", re.compile(r"a\d+_(s\d+)_e\d+(?:_.*)?", re.IGNORECASE)),
    _NameForm(
        "SNNNCNNNPNNNRNNNANNN: the person",
        re.compile(r"S\d{3}C\d{3}(P\d{3})R\d{3}A\d{3}(?:_.*)?", re.IGNORECASE),
    ),
    _NameForm("personNN_ACTION_dN: the person", re.compile(r"(person\d+)_.+_d\d+(?:_.*)?", re.IGNORECASE)),
    _NameForm("NAME_NN: the part before the number", re.compile(r"(.*[^\W_].*)_\d{1,4}"), generic=True),
)


def guess_groups(rows: Sequence[Row]) -> tuple[list[Row], str]:
    """Fills the group from the file names where one known way of naming fits every row.

    Known are the forms of UCF101, MSR-Action3D, NTU RGB+D and KTH, and NAME_NN where NAME is a person or a
    recording rather than a class. A guess that finds one group, or as many as rows, tells nothing and is not
    taken.

    Returns:
        The rows, changed or not, and a sentence that says which.
    """
    named = sum(row.group is not None for row in rows)
    if named:
        return list(rows), f"{named} of {len(rows)} rows have a group already; none was guessed."
    names = [_clip_name(row.path) for row in rows]
    for form in _NAME_FORMS:
        groups = [form.group_of(name) for name in names]
        found = [group for group in groups if group is not None]
        if len(found) < len(rows) or not 2 <= len(set(found)) < len(rows):
            continue
        if form.generic and not _tells_more_than_label(rows, found):
            continue
        guessed = [replace(row, group=group) for row, group in zip(rows, found, strict=True)]
        return guessed, f"Took {len(set(found))} groups from file names of the form {form.says}."
    return list(rows), "The file names follow no known form, so no groups were guessed."


def _clip_name(path: str) -> str:
    name = PurePosixPath(path.replace("\\", "/")).name
    stem, dot, suffix = name.rpartition(".")
    # A folder of frames has no suffix, and its name may still hold a dot.
    return stem if dot and suffix.isalnum() and not suffix.isdecimal() else name


def _tells_more_than_label(rows: Sequence[Row], groups: Sequence[str]) -> bool:
    """Tells a person or recording (F01_03) from a mere class name (boxing_03).

    A name with a number in it must leave every class at least two groups, and a plain word must also be used
    by several classes.
    """
    labels_of_group: defaultdict[str, set[str | None]] = defaultdict(set)
    groups_of_label: defaultdict[str | None, set[str]] = defaultdict(set)
    for row, group in zip(rows, groups, strict=True):
        labels_of_group[group].add(row.label)
        groups_of_label[row.label].add(group)
    if min(map(len, groups_of_label.values())) < 2:
        return False
    return all(
        any(c.isdecimal() for c in group) or len(labels_of_group[group]) > 1 for group in labels_of_group
    )
