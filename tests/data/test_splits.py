import random
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrcn.data.importers.folder import import_folder
from lrcn.data.manifest import Row, labels_of
from lrcn.data.splits import (
    find_leakage,
    group_folds,
    guess_groups,
    refuse_leakage,
    split_rows,
    standard_split,
)
from lrcn.errors import LrcnError

LABELS = st.sampled_from(["a", "b", "c", None])
GROUPS = st.integers(0, 6).map("g{}".format)


@st.composite
def data_sets(draw: st.DrawFn, grouped: bool | None = None) -> list[Row]:
    """Rows in groups, in none, or in some; several may be clips of one file."""
    if grouped is None:
        grouped = draw(st.booleans())
    group = GROUPS if grouped else st.none() | GROUPS
    parts = draw(st.lists(st.tuples(st.integers(0, 40), LABELS, group), min_size=1, max_size=40))
    return [
        Row(f"/d/{file}.mp4", label, group=group, start=float(number))
        for number, (file, label, group) in enumerate(parts)
    ]


def singles(counts: dict[str, int], group: str | None = None) -> list[Row]:
    return [Row(f"/d/{label}{i}.mp4", label, group=group) for label, n in counts.items() for i in range(n)]


def splits_of(rows: list[Row]) -> Counter[str | None]:
    return Counter(row.split for row in rows)


# ---- split_rows ----


@given(rows=data_sets(), seed=st.integers(0, 5))
def test_nothing_that_belongs_together_is_split(rows: list[Row], seed: int) -> None:
    done, sentence = split_rows(rows, seed=seed)
    assert [replace(row, split=None) for row in done] == rows
    assert find_leakage(done) == []
    refuse_leakage(done)
    assert {row.label for row in done} == {row.label for row in done if row.split == "train"}
    assert sentence.startswith(f"Split {len(rows)} rows by ")


@given(rows=data_sets(), seed=st.integers(0, 5), shuffle=st.randoms(use_true_random=False))
def test_the_split_depends_on_the_seed_and_not_on_the_order(
    rows: list[Row], seed: int, shuffle: random.Random
) -> None:
    done, sentence = split_rows(rows, seed=seed)
    shuffled = list(rows)
    shuffle.shuffle(shuffled)
    random.seed(seed + 1)  # The global state has no say either.
    again, said = split_rows(shuffled, seed=seed)
    assert {row.start: row.split for row in again} == {row.start: row.split for row in done}
    assert said == sentence


def test_another_seed_is_another_split() -> None:
    rows = singles({"a": 20, "b": 20})
    assert len({tuple(row.split for row in split_rows(rows, seed=seed)[0]) for seed in range(5)}) == 5
    people = [Row(f"/d/{p}{i}.mp4", "a", group=f"p{p}") for p in range(10) for i in range(10 + p % 3)]
    tested = {
        frozenset(row.group for row in split_rows(people, seed=s)[0] if row.split == "test") for s in range(8)
    }
    assert len(tested) > 2


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(7, 60), min_size=1))
def test_without_groups_every_class_is_spread_by_the_shares(counts: dict[str, int]) -> None:
    done, sentence = split_rows(singles(counts))
    assert "no row has a group" in sentence
    for label, n in counts.items():
        of_label = splits_of([row for row in done if row.label == label])
        for name, share in {"train": 0.7, "dev": 0.15, "test": 0.15}.items():
            assert abs(of_label[name] - share * n) <= 2
    for name, share in {"train": 0.7, "dev": 0.15, "test": 0.15}.items():
        assert abs(splits_of(done)[name] - share * len(done)) <= 2 + len(counts) / 2


def test_groups_are_spread_by_class_and_by_the_shares() -> None:
    rows = [
        Row(f"/d/{c}/{g}_{i}.mp4", f"class{c}", group=f"class{c}_g{g}")
        for c in range(5)
        for g in range(20)
        for i in range(3)
    ]
    done, sentence = split_rows(rows)
    assert "by group (100 groups, none in two splits)" in sentence
    for label in labels_of(rows):
        assert splits_of([row for row in done if row.label == label]) == {"train": 42, "dev": 9, "test": 9}


def test_a_class_of_one_clip_stays_in_train_and_the_sentence_says_so() -> None:
    done, sentence = split_rows(singles({"many": 10, "one": 1}))
    assert [row.split for row in done if row.label == "one"] == ["train"]
    assert "Only in train, having one clip: one." in sentence


@pytest.mark.parametrize(
    ("groups", "expected"),
    [(1, {"train"}), (2, {"train", "test"}), (3, {"train", "test", "dev"}), (4, {"train", "test", "dev"})],
)
def test_too_few_groups_go_to_train_and_then_to_test(groups: int, expected: set[str]) -> None:
    rows = [Row(f"/d/{g}{label}.mp4", label, group=f"g{g}") for g in range(groups) for label in "ab"]
    done, sentence = split_rows(rows)
    assert set(splits_of(done)) == expected
    for name in {"train", "test", "dev"} - expected:
        assert name in sentence.partition("Nothing is left for")[2]


def test_classes_that_miss_the_test_are_named() -> None:
    rows = [Row(f"/d/{g}.mp4", "ab"[g % 2], group=f"g{g}") for g in range(4)]
    done, sentence = split_rows(rows, {"train": 0.75, "test": 0.25})
    (tested,) = {row.label for row in done if row.split == "test"}
    assert f"Not in test: {'b' if tested == 'a' else 'a'}." in sentence


def test_a_share_of_nothing_is_no_split() -> None:
    done, _ = split_rows(singles({"a": 10}), {"train": 0.8, "dev": 0.0, "test": 0.2})
    assert splits_of(done) == {"train": 8, "test": 2}


@pytest.mark.parametrize(
    "shares", [{}, {"train": 0.7}, {"train": 1.2, "test": -0.2}, {"train": float("nan")}]
)
def test_shares_must_be_parts_of_one_whole(shares: dict[str, float]) -> None:
    with pytest.raises(LrcnError, match="add up to 1"):
        split_rows(singles({"a": 4}), shares)


def test_nothing_cannot_be_split() -> None:
    with pytest.raises(LrcnError, match="no rows"):
        split_rows([])
    with pytest.raises(LrcnError, match="from 0 up, not -1"):
        split_rows(singles({"a": 4}), seed=-1)


# ---- folds ----


@given(rows=data_sets(grouped=True), k=st.integers(2, 5))
def test_every_row_is_tested_once_and_never_by_its_own_group(rows: list[Row], k: int) -> None:
    rows = [replace(row, path=f"/d/{number}.mp4") for number, row in enumerate(rows)]
    groups = {row.group for row in rows}
    if len(groups) < k:
        with pytest.raises(LrcnError, match=f"{k} folds cannot be made of|at least two values"):
            group_folds(rows, k)
        return
    folds = group_folds(rows, k)
    assert len(folds) == k
    assert sorted(row.path for fold in folds for row in fold.test) == sorted(row.path for row in rows)
    for train, test in folds:
        assert test
        assert not {row.group for row in train} & {row.group for row in test}
        assert len(train) + len(test) == len(rows)
    assert group_folds(rows, k) == folds


def test_folds_are_balanced_by_class() -> None:
    rows = [Row(f"/d/{c}{g}{i}.mp4", c, group=f"{c}{g}") for c in "abc" for g in range(10) for i in range(4)]
    for _, test in group_folds(rows, 5):
        assert Counter(row.label for row in test) == {"a": 8, "b": 8, "c": 8}


def test_one_fold_a_value_of_any_field_in_natural_order() -> None:
    rows = [Row(f"/d/{i}.mp4", "a", extra={"fold": i % 3 + 8}) for i in range(9)]
    for k in (None, 3):
        folds = group_folds(rows, k, by="fold")
        assert [{row.extra["fold"] for row in fold.test} for fold in folds] == [{8}, {9}, {10}]


def test_ready_made_folds_that_cut_a_group_are_refused_unless_allowed() -> None:
    rows = [Row(f"/d/{i}.mp4", "a", group=f"g{i // 2}", extra={"fold": i % 3}) for i in range(6)]
    with pytest.raises(LrcnError, match=r"3 groups stand in more than one fold: g0 \(1 and 2\)"):
        group_folds(rows, by="fold")
    assert len(group_folds(rows, by="fold", allow_leakage=True)) == 3


def test_folds_that_cannot_be_made() -> None:
    rows = [Row(f"/d/{i}.mp4", "a", group=f"g{i}") for i in range(3)]
    for k in (0, 1, 4):
        with pytest.raises(LrcnError, match="ask for 2 to 3"):
            group_folds(rows, k)
    with pytest.raises(LrcnError, match="/d/x.mp4 has no value in the field 'group'"):
        group_folds([*rows, Row("/d/x.mp4")], 2)
    with pytest.raises(LrcnError, match="at least two values of 'group'"):
        group_folds(rows[:1])


# ---- leakage ----


def test_leaking_groups_and_files_are_found() -> None:
    rows = [
        Row("/d/1.mp4", group="g1", split="train"),
        Row("/d/2.mp4", group="g1", split="test"),
        Row("/d/3.mp4", group="g2", split="train"),
        Row("/d/4.mp4", group="g2"),
        Row("/d/5.mp4", split="train", start=0.0),
        Row("/d/5.mp4", split="dev", start=5.0),
        Row("/d/6.mp4", group="g3", split="train"),
        Row("/d/6.mp4", group="g3", split="test"),
    ]
    assert find_leakage(rows) == ["/d/5.mp4", "g1", "g3"]


def test_leakage_is_refused_with_five_offenders_named() -> None:
    rows = [
        Row(f"/d/{g}{split}.mp4", group=f"g{g}", split=split) for g in range(7) for split in ("train", "test")
    ]
    with pytest.raises(LrcnError) as caught:
        refuse_leakage(rows)
    message = str(caught.value)
    assert message.startswith("7 groups stand in more than one split: g0 (test and train), g1")
    assert "g4 (test and train) and 2 more; " in message
    assert "g5" not in message
    assert "--allow-leakage" in message
    refuse_leakage(rows, allow=True)
    refuse_leakage([row for row in rows if row.split == "train"])


def test_names_of_splits() -> None:
    assert [standard_split(name) for name in ("Train", "val", "VALID", "dev", "test", "wave")] == [
        "train",
        "dev",
        "dev",
        "dev",
        "test",
        None,
    ]


# ---- groups from names ----


def named(*names: str) -> list[Row]:
    """Rows of paths such as wave/F01_03.mp4, labelled by their folder."""
    return [Row(f"/d/{name}", label=name.split("/")[0]) for name in names]


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (("Run/v_Run_g01_c01.avi", "Run/v_Run_g01_c02.avi", "Sit/v_Sit_g01_c01.avi"),
         ["Run_g01", "Run_g01", "Sit_g01"]),
        (("x/a01_s01_e01.mp4", "x/a01_s02_e01.mp4", "y/a02_s01_e01_sdepth.mp4"), ["s01", "s02", "s01"]),
        (("x/S001C001P001R001A001_rgb.avi", "y/S002C003P001R001A002", "x/S001C001P002R001A001.avi"),
         ["P001", "P001", "P002"]),
        (("x/person01_boxing_d1_uncomp.avi", "y/person01_jog_d1.avi", "x/person02_boxing_d1.avi"),
         ["person01"] * 2 + ["person02"]),
        (("x/F01_01.mp4", "x/F02_01.mp4", "y/F01_01.mp4", "y/F02_01.mp4"), ["F01", "F02", "F01", "F02"]),
        (("x/anna_1", "x/bo_1", "y/anna_1", "y/bo_1"), ["anna", "bo", "anna", "bo"]),
        (("x/v_x_01_01.mpg", "x/v_x_02_01.mpg", "y/v_y_01_01.mpg", "y/v_y_02_01.mpg", "y/v_y_02_02.mpg"),
         ["v_x_01", "v_x_02", "v_y_01", "v_y_02", "v_y_02"]),
    ],
)  # fmt: skip
def test_groups_are_read_from_known_names(names: tuple[str, ...], groups: list[str]) -> None:
    rows, sentence = guess_groups(named(*names))
    assert [row.group for row in rows] == groups
    assert sentence.startswith(f"Took {len(set(groups))} groups from file names of the form ")


@pytest.mark.parametrize(
    "names",
    [
        ("x/v_Run_g01_c01.avi", "x/v_Run_g02_c01.avi", "x/v_Run_g02_c02.avi", "x/other.avi"),  # fits not all
        ("x/a01_s01_e01.mp4", "y/a02_s01_e01.mp4"),  # one group
        ("x/a01_s01_e01.mp4", "y/a01_s02_e01.mp4"),  # as many as rows
        ("boxing/boxing_1.avi", "boxing/boxing_2.avi", "run/run_1.avi", "run/run_2.avi"),  # only the class
        ("boxing/c1_1.avi", "boxing/c1_2.avi", "run/c2_1.avi", "run/c2_2.avi"),  # only the class
        ("x/fi001.mp4", "y/fi002.mp4", "x/fi003.mp4"),
    ],
)
def test_groups_are_not_guessed_where_names_do_not_tell(names: tuple[str, ...]) -> None:
    rows = named(*names)
    unchanged, sentence = guess_groups(rows)
    assert unchanged == rows
    assert "no groups were guessed" in sentence


def test_given_groups_are_left_alone() -> None:
    rows = named("x/F01_01.mp4", "x/F02_01.mp4", "y/F01_01.mp4", "y/F02_01.mp4")
    rows[0] = replace(rows[0], group="mine")
    unchanged, sentence = guess_groups(rows)
    assert unchanged == rows
    assert sentence == "1 of 4 rows have a group already; none was guessed."


# ---- real data ----


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "clips", "classes", "groups"),
    [("msr-action3d", 283, 20, 5), ("fights", 208, 2, 32), ("miracl-words", 1000, 10, 10)],
)
def test_real_data_split_honestly(
    shared_data: Path, name: str, clips: int, classes: int, groups: int
) -> None:
    rows, sentences = import_folder(shared_data / name)
    assert (len(rows), len(labels_of(rows)), len({row.group for row in rows})) == (clips, classes, groups)
    assert all(Path(row.path).is_file() for row in rows)
    assert any("group" in sentence for sentence in sentences) == (name == "fights")
    done, _ = split_rows(rows)
    assert find_leakage(done) == []
    assert set(splits_of(done)) == {"train", "dev", "test"}
    assert len(group_folds(rows, 5)) == 5


@pytest.mark.real
@pytest.mark.parametrize("name", ["msr-action3d", "miracl-words"])
def test_real_file_names_tell_the_groups_the_table_gives(shared_data: Path, name: str) -> None:
    rows, _ = import_folder(shared_data / name)
    guessed, _ = guess_groups([replace(row, group=None) for row in rows])
    assert [row.group for row in guessed] == [row.group for row in rows]


@pytest.mark.real
def test_the_ready_made_folds_of_fights_keep_sources_whole(shared_data: Path) -> None:
    rows, _ = import_folder(shared_data / "fights")
    folds = group_folds(rows, by="fold")
    assert [{row.field("fold") for row in fold.test} for fold in folds] == [{"0"}, {"1"}, {"3"}, {"4"}]
    places: defaultdict[str | None, set[int]] = defaultdict(set)
    for number, fold in enumerate(folds):
        for row in fold.test:
            places[row.group].add(number)
    assert {len(where) for where in places.values()} == {1}
