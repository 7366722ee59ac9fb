from collections import Counter
from pathlib import Path

import pytest
from official_trees import HMDB51, make_hmdb51, touch, write

from lrcn.data.importers.hmdb51 import import_hmdb51
from lrcn.data.splits import find_leakage
from lrcn.errors import LrcnError


@pytest.fixture
def hmdb(tmp_path: Path) -> Path:
    return make_hmdb51(tmp_path / "hmdb")


def test_clips_get_split_label_and_group(hmdb: Path) -> None:
    rows, sentences = import_hmdb51(hmdb)
    assert Counter((row.label, row.split) for row in rows) == {
        ("eat", "train"): 5,
        ("eat", "test"): 2,
        ("kick_ball", "train"): 5,
        ("kick_ball", "test"): 2,
    }
    name = "Amazing_Soccer_#2_kick_ball_u_cm_np1_fr_med_1"
    row = next(row for row in rows if row.id == name)
    assert row.path == str(hmdb / f"hmdb51_org/kick_ball/{name}.avi")
    assert (row.split, row.group) == ("test", "kick_ball/Amazing_Soccer_#2")
    assert not find_leakage(rows)
    assert sentences == [
        f"Found 14 clips of 2 classes of HMDB51 (official split 1) in {hmdb}: 10 train, 4 test.",
        "The lists name 2 classes, not HMDB51's 51: a choice of clips, not HMDB51.",
        "Clips that this split does not use, left out: 2.",
    ]


def test_sources_that_two_classes_share_are_told(hmdb: Path) -> None:
    write(
        hmdb / "testTrainMulti_7030_splits/kick_ball_test_split2.txt",
        "BIG_FISH_kick_ball_u_cm_np1_fr_med_0.avi 1",
        "LONGESTYARD_kick_ball_u_cm_np1_fr_med_0.avi 2",
    )
    rows, sentences = import_hmdb51(hmdb, split_number=2)
    assert {(row.split, row.group) for row in rows} >= {
        ("train", "kick_ball/BIG_FISH"),
        ("test", "eat/BIG_FISH"),
    }
    assert not find_leakage(rows)
    assert (
        "1 of 5 stand in train under one class and in test under another, such as BIG_FISH" in sentences[-1]
    )


def test_a_source_that_the_split_cuts_in_two_is_no_group(hmdb: Path) -> None:
    file = hmdb / "testTrainMulti_7030_splits/eat_test_split1.txt"
    file.write_text(
        file.read_text().replace("AMADEUS_eat_u_cm_np1_fr_med_0.avi 2", "AMADEUS_eat_u_cm_np1_fr_med_0.avi 1")
    )
    rows, sentences = import_hmdb51(hmdb)
    assert {row.group for row in rows if "AMADEUS" in row.path} == {None}
    assert all(row.group for row in rows if "AMADEUS" not in row.path)
    assert "Groups that the official split cuts in two, left out as groups: eat/AMADEUS." in sentences


def test_names_of_another_form_are_sources_of_their_own(tmp_path: Path) -> None:
    names = ("plain.avi", "a b_eat_f_nm_np12_le_goo_3.avi", "Other_chew_l_cm_np1_ba_bad_0.avi")
    write(tmp_path / "eat_test_split1.txt", *(f"{name} 1" for name in names))
    touch(*(tmp_path / name for name in names))
    rows, _ = import_hmdb51(tmp_path)
    assert [row.group for row in rows] == ["eat/plain", "eat/a b", "eat/Other_chew"]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_split_has_lists_of_its_own(hmdb: Path, number: int) -> None:
    rows, _ = import_hmdb51(hmdb, split_number=number)
    tested = {row.group for row in rows if row.split == "test"}
    assert tested == {f"{label}/{sources[number - 1]}" for label, sources in HMDB51.items()}


def test_what_an_operating_system_leaves_beside_the_lists_is_no_list(hmdb: Path) -> None:
    (hmdb / "testTrainMulti_7030_splits/._eat_test_split1.txt").write_bytes(b"\x00\xff")
    assert len(import_hmdb51(hmdb)[0]) == 14


def test_missing_clips_are_refused_or_left_out(hmdb: Path) -> None:
    (hmdb / "hmdb51_org/eat/AMADEUS_eat_u_cm_np1_fr_med_0.avi").unlink()
    with pytest.raises(LrcnError, match=r"1 of the 14 clips .* such as AMADEUS_eat.*--allow-missing"):
        import_hmdb51(hmdb)
    assert len(import_hmdb51(hmdb, allow_missing=True)[0]) == 13


def test_clips_that_no_split_uses_need_not_be_there(hmdb: Path) -> None:
    (hmdb / "hmdb51_org/eat/RETURN_OF_THE_KING_eat_u_cm_np1_fr_med_1.avi").unlink()
    assert len(import_hmdb51(hmdb)[0]) == 14


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["AMADEUS_eat_u_cm_np1_fr_med_0.avi 3"], "line 1: this is no clip with 0, 1 or 2"),
        (["", "AMADEUS_eat_u_cm_np1_fr_med_0.avi"], "line 2: this is no clip with 0, 1 or 2"),
        (["a.avi 1", "a.avi 2"], "line 2: a stands twice"),
    ],
)
def test_a_bad_line_is_named(hmdb: Path, lines: list[str], says: str) -> None:
    write(hmdb / "testTrainMulti_7030_splits/eat_test_split1.txt", *lines)
    with pytest.raises(LrcnError, match=f"eat_test_split1.txt {says}"):
        import_hmdb51(hmdb)


def test_no_lists_and_no_such_split(tmp_path: Path) -> None:
    with pytest.raises(LrcnError, match="There is no CLASS_test_split2.txt in or below .*--lists"):
        import_hmdb51(tmp_path, split_number=2)
    with pytest.raises(LrcnError, match="official splits 1, 2 and 3, not 5"):
        import_hmdb51(tmp_path, split_number=5)


def test_full_lists_are_held_against_the_official_lengths(tmp_path: Path) -> None:
    classes = {f"act{n:02d}": ("A", "B", "C", "D") for n in range(51)}
    folder = make_hmdb51(tmp_path, classes, clips=1)
    with pytest.raises(LrcnError, match="The list of act00 has 2 train and 1 test instead of 70 and 30"):
        import_hmdb51(folder)
    rows, sentences = import_hmdb51(folder, allow_missing=True)
    assert len(rows) == 153
    assert sentences[1].startswith("Not the official lists: act00 has 2 train")
