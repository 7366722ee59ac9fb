import shutil
from collections import Counter
from pathlib import Path

import pytest
from official_trees import make_ucf101, touch

from lrcn.cli import main
from lrcn.data.importers import import_data
from lrcn.data.importers.lists import dev_from_train
from lrcn.data.importers.ucf101 import OFFICIAL_COUNTS, import_ucf101
from lrcn.data.manifest import read_manifest
from lrcn.data.splits import find_leakage
from lrcn.data.video import open_video
from lrcn.errors import LrcnError


@pytest.fixture
def ucf(tmp_path: Path) -> Path:
    return make_ucf101(tmp_path / "ucf")


def put(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_clips_get_split_label_and_group(ucf: Path) -> None:
    rows, sentences = import_ucf101(ucf)
    assert Counter(row.split for row in rows) == {"train": 18, "test": 6}
    first = rows[0]
    assert (first.path, first.label) == (str(ucf / "UCF-101/Archery/v_Archery_g02_c01.avi"), "Archery")
    assert (first.split, first.group, first.id) == ("train", "Archery_g02", "v_Archery_g02_c01")
    assert all(Path(row.path).is_file() for row in rows)
    assert not find_leakage(rows)
    assert sentences == [
        f"Found 24 clips of 3 classes of UCF101 (official split 1) in {ucf}: 18 train, 6 test.",
        "The lists name 3 classes, not UCF101's 101: a choice of clips, not UCF101.",
    ]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_official_split_tests_on_other_groups(ucf: Path, number: int) -> None:
    rows, _ = import_ucf101(ucf, split_number=number)
    tested = {str(row.group).rpartition("_")[2] for row in rows if row.split == "test"}
    assert tested == {f"g0{number}"}
    assert len(rows) == 24


def test_a_split_that_is_not_official(ucf: Path) -> None:
    with pytest.raises(LrcnError, match="official splits 1, 2 and 3, not 4"):
        import_ucf101(ucf, split_number=4)


@pytest.mark.parametrize("spelling", ["HandstandPushups", "HandStandPushups"])
def test_handstand_pushups_are_one_class_however_spelled(ucf: Path, spelling: str) -> None:
    old = ucf / "UCF-101/HandstandPushups"
    files = sorted(old.iterdir())
    assert files[0].name == "v_HandStandPushups_g01_c01.avi"
    for file in files:
        touch(ucf / "UCF-101" / spelling / f"v_{spelling}_{file.name.partition('Pushups_')[2]}")
        if spelling == "HandstandPushups":
            file.unlink()
    if spelling == "HandStandPushups":
        shutil.rmtree(old)
    rows, _ = import_ucf101(ucf)
    found = [row for row in rows if row.label == "HandstandPushups"]
    assert len(found) == 8
    assert {row.group for row in found} == {f"HandstandPushups_g0{n}" for n in (1, 2, 3, 4)}


def test_layouts_of_clips(ucf: Path, tmp_path: Path) -> None:
    reference, _ = import_ucf101(ucf)

    flat = tmp_path / "flat"
    touch(*(flat / Path(row.path).name for row in reference))
    shutil.copytree(ucf / "ucfTrainTestlist", flat / "UCF101TrainTestSplits-RecognitionTask/ucfTrainTestlist")
    rows, _ = import_ucf101(flat)
    assert [row.id for row in rows] == [row.id for row in reference]

    rows, _ = import_ucf101(ucf / "UCF-101", lists=ucf / "ucfTrainTestlist")
    assert rows == reference

    frames = tmp_path / "frames"
    touch(*(frames / str(row.label) / str(row.id) / f"{n:04d}.jpg" for row in reference for n in (1, 2)))
    rows, _ = import_ucf101(frames, lists=ucf / "ucfTrainTestlist")
    assert [row.path for row in rows] == [str(frames / str(row.label) / str(row.id)) for row in reference]


def test_test_lists_with_numbers_are_read_too(ucf: Path) -> None:
    reference, _ = import_ucf101(ucf)
    file = ucf / "ucfTrainTestlist/testlist01.txt"
    numbers = {"Archery": 1, "HandstandPushups": 2, "YoYo": 3}
    lines = [f"{line} {numbers[line.partition('/')[0]]}\r\n" for line in file.read_text().split()]
    file.write_text("".join(lines))
    assert import_ucf101(ucf)[0] == reference


def test_missing_clips_are_refused_or_left_out(ucf: Path) -> None:
    (ucf / "UCF-101/YoYo/v_YoYo_g03_c02.avi").unlink()
    with pytest.raises(LrcnError, match=r"1 of the 24 clips .* such as v_YoYo_g03_c02; .*--allow-missing"):
        import_ucf101(ucf)
    rows, sentences = import_ucf101(ucf, allow_missing=True)
    assert len(rows) == 23
    assert sentences[-1].startswith("Missing and left out: 1 of the 24 clips")


def test_clips_of_something_else(ucf: Path, tmp_path: Path) -> None:
    touch(tmp_path / "other/clip.mp4")
    with pytest.raises(LrcnError, match="None of the 24 clips in the lists is below .*other"):
        import_ucf101(tmp_path / "other", lists=ucf / "ucfTrainTestlist", allow_missing=True)
    with pytest.raises(LrcnError, match="There is no classInd.txt in or below .*--lists"):
        import_ucf101(tmp_path / "other")
    with pytest.raises(LrcnError, match="none is not a folder"):
        import_ucf101(tmp_path / "none")


def test_clips_in_neither_list_are_told(ucf: Path) -> None:
    extra = ucf / "UCF-101/YoYo/v_YoYo_g26_c01.avi"
    touch(extra, ucf / "UCF-101/holiday.mp4")
    rows, sentences = import_ucf101(ucf)
    assert len(rows) == 24
    assert sentences[-1] == f"Clips in neither list, left out: 1, such as {extra}."


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        (
            "trainlist01.txt",
            "v_Archery_g02_c01.avi",
            "clip.avi",
            r"trainlist01.txt line 1: this names no clip",
        ),
        ("trainlist01.txt", ".avi 1", ".avi 3", r"line 1: Archery is not class 3 in classInd.txt"),
        ("trainlist01.txt", ".avi 1", ".avi one", r"line 1: Archery is not class one"),
        ("trainlist01.txt", "g02_c02", "g02_c01", r"line 2: v_Archery_g02_c01 stands twice"),
        ("testlist01.txt", "v_Archery", "v_Arching", r"testlist01.txt line 1: the class 'Arching' is not in"),
        ("classInd.txt", "2 Hand", "Hand", r"classInd.txt line 2: this is no class \('HandstandPushups'\)"),
        ("classInd.txt", "2 Hand", "1 Hand", r"classInd.txt line 2: class 1 stands twice"),
    ],
)
def test_a_bad_line_is_named(ucf: Path, file: str, old: str, new: str, says: str) -> None:
    put(ucf / "ucfTrainTestlist" / file, old, new)
    with pytest.raises(LrcnError, match=says):
        import_ucf101(ucf)


def test_lists_that_leak_are_refused(ucf: Path) -> None:
    train, test = (ucf / f"ucfTrainTestlist/{part}list01.txt" for part in ("train", "test"))
    put(train, "v_YoYo_g02_c01", "v_YoYo_g01_c01")
    put(test, "v_YoYo_g01_c01", "v_YoYo_g02_c01")
    with pytest.raises(LrcnError, match="2 groups stand in more than one split: YoYo_g01"):
        import_ucf101(ucf)
    assert len(import_ucf101(ucf, allow_leakage=True)[0]) == 24


def test_full_lists_are_held_against_the_official_lengths(tmp_path: Path) -> None:
    classes = [f"Class{n:03d}" for n in range(101)]
    folder = make_ucf101(tmp_path, classes, groups=3, clips=1)
    says = (
        "trainlist02.txt names 202 clips instead of 9586 and testlist02.txt names 101 clips instead of 3734"
    )
    with pytest.raises(LrcnError, match=says):
        import_ucf101(folder, split_number=2)
    rows, sentences = import_ucf101(folder, split_number=2, allow_missing=True)
    assert len(rows) == 303
    assert sentences[1].startswith("Not the official lists: trainlist02.txt names 202")


def test_every_official_split_covers_all_clips() -> None:
    assert {sum(counts) for counts in OFFICIAL_COUNTS.values()} == {13_320}


# ---- dev ----


def test_dev_is_taken_from_train_by_whole_groups(tmp_path: Path) -> None:
    rows, _ = import_ucf101(make_ucf101(tmp_path, groups=8, clips=3))
    parted, sentence = dev_from_train(rows, 0.2, seed=1)
    counts = Counter(row.split for row in parted)
    assert counts["test"] == sum(row.split == "test" for row in rows)
    assert 0 < counts["dev"] < counts["train"]
    assert not find_leakage(parted)
    assert {row.label for row in parted if row.split == "dev"} == {row.label for row in rows}
    assert [row.path for row in parted] == [row.path for row in rows]
    assert sentence.startswith("Of train: Split 54 rows by group")
    assert parted == dev_from_train(rows, 0.2, seed=1)[0]


def test_a_dev_that_cannot_be_taken(ucf: Path) -> None:
    rows, _ = import_ucf101(ucf)
    parted, _ = dev_from_train(rows, 0.3)
    for case, share, says in (
        (rows, 0.0, "a share between 0 and 1"),
        (rows, 1.0, "a share between 0 and 1"),
        (parted, 0.3, "has a dev part of its own"),
        ([row for row in rows if row.split == "test"], 0.3, "No clip is in train"),
    ):
        with pytest.raises(LrcnError, match=says):
            dev_from_train(case, share)


# ---- the command ----


def test_from_the_command_line(ucf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = ucf / "ucf101.jsonl"
    call = ["data", "import", "ucf101", str(ucf), "-o", str(manifest)]
    assert main([*call, "--split-number", "3", "--dev", "0.3"]) == 0
    assert "Of train: Split 18 rows by group" in capsys.readouterr().out
    rows = read_manifest(manifest)
    assert {row.group for row in rows if row.split == "test"} == {
        f"{label}_g03" for label in ("Archery", "HandstandPushups", "YoYo")
    }
    assert {row.split for row in rows} == {"train", "dev", "test"}
    assert main([*call, "--split-number", "3", "--lists", str(ucf / "UCF-101")]) == 2
    assert "There is no classInd.txt" in capsys.readouterr().err


def test_an_option_that_an_importer_does_not_take(tmp_path: Path) -> None:
    with pytest.raises(LrcnError, match="'folder' takes no --split-number; it takes no options"):
        import_data("folder", tmp_path, split_number=1)
    with pytest.raises(LrcnError, match="'kinetics' takes no --allow-leakage; it takes --lists"):
        import_data("kinetics", tmp_path, allow_leakage=True)


def test_the_made_clips_are_real_videos(tmp_path: Path) -> None:
    rows, _ = import_ucf101(make_ucf101(tmp_path, ("Archery", "YoYo"), groups=4, clips=1, frames=6))
    with open_video(rows[0].path) as video:
        assert (video.info.width, video.info.height, video.info.rate) == (320, 240, 25)
        frames = [frame for frame, _ in video.frames()]
    assert len(frames) == 6
    assert abs(frames[0].astype(int) - frames[-1]).max() > 30
