from pathlib import Path

import pytest
from official_trees import KINETICS, make_kinetics, touch, write

from lrcn.data.importers.kinetics import import_kinetics
from lrcn.data.manifest import Row
from lrcn.errors import LrcnError


@pytest.mark.parametrize("flat", [False, True])
def test_clips_in_class_folders_and_in_one(tmp_path: Path, flat: bool) -> None:
    rows, sentences = import_kinetics(make_kinetics(tmp_path, flat))
    assert [(row.label, row.split, row.group) for row in rows] == [
        ("air drumming", "train", "_dbcJuKJQNs"),
        ("air drumming", "train", "0aBcDeFgHiJ"),
        ("testifying", "train", "--GkrdYZ9Tc"),
        ("testifying", "dev", "---QUuC4vJs"),
    ]
    where = "clips" if flat else "train/air drumming"
    assert rows[0] == Row(
        str(tmp_path / where / "_dbcJuKJQNs_000040_000050.mp4"),
        "air drumming",
        split="train",
        group="_dbcJuKJQNs",
        id="_dbcJuKJQNs_000040_000050",
    )
    assert sentences == [
        f"Found 4 clips of 2 classes of Kinetics in {tmp_path}: 3 train, 1 dev.",
        "Clips without a label, left out: 1.",
    ]


def test_clips_that_are_gone_are_counted(tmp_path: Path) -> None:
    make_kinetics(tmp_path)
    (tmp_path / "train/air drumming/0aBcDeFgHiJ_000005_000015.mp4").unlink()
    (tmp_path / "validate/testifying/---QUuC4vJs_000084_000094.mp4").unlink()
    rows, sentences = import_kinetics(tmp_path)
    assert len(rows) == 2
    assert (
        "Not there and left out: 1 of 3 train, 1 of 1 dev, such as 0aBcDeFgHiJ_000005_000015;" in sentences[1]
    )


def test_a_whole_video_is_cut_at_the_clips_times(tmp_path: Path) -> None:
    make_kinetics(tmp_path)
    (tmp_path / "train/testifying/--GkrdYZ9Tc_000001_000011.mp4").rename(tmp_path / "--GkrdYZ9Tc.webm")
    rows, _ = import_kinetics(tmp_path)
    row = next(row for row in rows if row.group == "--GkrdYZ9Tc")
    assert (row.path, row.start, row.end) == (str(tmp_path / "--GkrdYZ9Tc.webm"), 1.0, 11.0)


def test_tables_elsewhere_by_other_names_and_twice(tmp_path: Path) -> None:
    folder = make_kinetics(tmp_path / "data")
    header = "label,youtube_id,time_start,time_end,is_cc"
    lines = [f'"""{label}""",{video},{start}.0,{end}.0,0' for label, video, start, end, _ in KINETICS]
    write(tmp_path / "lists/kinetics_400_val.csv", header, *lines)
    write(tmp_path / "lists/tiny_val.csv", header, lines[0])
    write(tmp_path / "lists/classes.csv", "id,name", "0,abseiling")
    rows, _ = import_kinetics(folder, lists=tmp_path / "lists")
    assert [row.label for row in rows] == [label for label, *_ in KINETICS]
    assert {row.split for row in rows} == {"dev"}


def test_a_video_that_the_tables_put_on_both_sides(tmp_path: Path) -> None:
    make_kinetics(tmp_path)
    train = tmp_path / "annotations/train.csv"
    train.write_text(train.read_text() + "testifying,---QUuC4vJs,200,210,train\n")
    touch(tmp_path / "train/testifying/---QUuC4vJs_000200_000210.mp4")
    rows, sentences = import_kinetics(tmp_path)
    assert [row.group for row in rows].count(None) == 2
    assert "Groups that the official split cuts in two, left out as groups: ---QUuC4vJs." in sentences


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("a,x,ten,20,train", "line 6: time_start and time_end must be numbers of seconds"),
        ("a,x,20,20,train", "line 6: the clip ends at 20 s, not after its start at 20 s"),
        ("a,x,nan,20,train", "line 6: the clip ends at 20 s"),
        ("a,,10,20,train", "line 6: the youtube_id is missing"),
        ("a,x,10,20", "line 6: 4 cells under 5 columns"),
        ('"a,x,10,20,train', "line 6: this is not CSV"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    make_kinetics(tmp_path)
    train = tmp_path / "annotations/train.csv"
    train.write_text(f"{train.read_text()}\n{line}\n")
    with pytest.raises(LrcnError, match=f"train.csv {says}"):
        import_kinetics(tmp_path)


def test_what_is_no_kinetics(tmp_path: Path) -> None:
    with pytest.raises(LrcnError, match="There is no table with the columns label,youtube_id.*--lists"):
        import_kinetics(tmp_path)
    make_kinetics(tmp_path / "data")
    touch(tmp_path / "other/clip.mp4")
    with pytest.raises(LrcnError, match="None of the 4 labelled clips in the tables is below .*other"):
        import_kinetics(tmp_path / "other", lists=tmp_path / "data")
