from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from official_trees import touch, write

from lrcn.data.importers.segments import import_segments, seconds_in
from lrcn.data.manifest import Row
from lrcn.errors import LrcnError


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    touch(tmp_path / "kitchen/p01.mp4", tmp_path / "kitchen/p02.mp4")
    return tmp_path


def test_rows_are_segments(videos: Path) -> None:
    write(
        videos / "segments.csv",
        "path,start,end,label,group,split,id,camera",
        "kitchen/p01.mp4,0,12.5,cut,p01,training,s1,left",
        "kitchen/p01.mp4,00:00:12.500,0:20,pour,p01,training,,",
        "kitchen/p02.mp4,,1:02:03.25,cut,p02,val,,",
        "kitchen/p02.mp4,4000,,wash,p02,val,,",
    )
    rows, sentences = import_segments(videos)
    first, second = str(videos / "kitchen/p01.mp4"), str(videos / "kitchen/p02.mp4")
    assert rows == [
        Row(first, "cut", (), "train", "p01", 0.0, 12.5, "s1", {"camera": "left"}),
        Row(first, "pour", (), "train", "p01", 12.5, 20.0),
        Row(second, "cut", (), "dev", "p02", None, 3723.25),
        Row(second, "wash", (), "dev", "p02", 4000.0, None),
    ]
    table = videos / "segments.csv"
    assert sentences == [f"Found 4 segments of 3 classes in 2 videos of {table}, 2 train, 2 dev."]
    assert import_segments(table) == (rows, sentences)


def test_columns_as_other_tables_call_them(videos: Path) -> None:
    (videos / "kitchen/p02.mp4").rename(videos / "kitchen/0aBcDeFgHiJ.mp4")
    write(
        videos / "t.csv",
        "Label;youtube_id;time_start;time_end;subset",
        "cut;0aBcDeFgHiJ;1,5;00:00:02,750;training",
        "https;https://host/v.mp4;0;1;",
    )
    rows, _ = import_segments(videos / "t.csv")
    assert (rows[0].path, rows[0].start, rows[0].end) == (str(videos / "kitchen/0aBcDeFgHiJ.mp4"), 1.5, 2.75)
    assert (rows[1].path, rows[0].extra) == ("https://host/v.mp4", {"subset": "training"})


def test_overlaps_are_allowed_and_told(videos: Path) -> None:
    write(
        videos / "t.csv",
        "path,start,end,label",
        "kitchen/p01.mp4,5,9,pour",
        "kitchen/p01.mp4,0,6,cut",
        "kitchen/p01.mp4,9,10,cut",
        "kitchen/p01.mp4,9,10,pour",
        "kitchen/p02.mp4,0,6,cut",
        "kitchen/p02.mp4,0,6,cut",
    )
    rows, sentences = import_segments(videos / "t.csv")
    assert len(rows) == 5
    assert sentences[1:] == [
        "Written twice and taken once: 1 lines.",
        "Segments that begin before another of their video ends: 2.",
        "Stretches with more than one label: 1.",
    ]


@pytest.mark.parametrize("header", ["path,start,end,label,split", "path,start,end,label,split,group"])
def test_splits_that_leak_are_refused(videos: Path, header: str) -> None:
    lines = ["kitchen/p01.mp4,0,5,cut,train", "kitchen/p01.mp4,5,9,cut,test"]
    if header.endswith("group"):
        lines = [f"{lines[0]},anna", f"{lines[1].replace('p01', 'p02')},anna"]
    write(videos / "t.csv", header, *lines)
    with pytest.raises(LrcnError, match="1 group stands in more than one split: .*--allow-leakage"):
        import_segments(videos / "t.csv")
    assert len(import_segments(videos / "t.csv", allow_leakage=True)[0]) == 2


def test_missing_videos_are_refused_or_left_out(videos: Path) -> None:
    write(
        videos / "t.csv",
        "path,start,end,label",
        "kitchen/p01.mp4,0,1,a",
        "kitchen/gone.mp4,0,1,a",
        "gone.mp4,0,1,b",
    )
    with pytest.raises(LrcnError, match=r"2 of the 3 clips .* such as kitchen/gone.mp4"):
        import_segments(videos / "t.csv")
    rows, sentences = import_segments(videos / "t.csv", allow_missing=True)
    assert len(rows) == 1
    assert sentences[1].startswith("Missing and left out: 2 of the 3 clips")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("kitchen/p01.mp4,1:75,2:00,a", "'start' is '1:75'; write seconds"),
        ("kitchen/p01.mp4,1:60:00,2:00:00,a", "'start' is '1:60:00'"),
        ("kitchen/p01.mp4,-1,2,a", "'start' is '-1'"),
        ("kitchen/p01.mp4,0,soon,a", "'end' is 'soon'"),
        ("kitchen/p01.mp4,3,2,a", "the segment ends at 2 s, not after its start at 3 s"),
        ("kitchen/p01.mp4,,0,a", "the segment ends at 0 s, not after its start at 0 s"),
        (",0,2,a", "'path' is empty"),
        ("kitchen/p01.mp4,0,2,", "'label' is empty"),
        ("kitchen/p01.mp4,0,2", "3 cells under 4 columns"),
    ],
)
def test_a_bad_line_is_named(videos: Path, line: str, says: str) -> None:
    write(videos / "t.csv", "path,start,end,label", "kitchen/p01.mp4,0,2,a", line)
    with pytest.raises(LrcnError, match=f"t.csv line 3: {says}"):
        import_segments(videos / "t.csv")


def test_what_is_no_table(videos: Path) -> None:
    with pytest.raises(LrcnError, match="There is no table .*segments.csv; give a CSV file with the columns"):
        import_segments(videos)
    write(videos / "t.csv", "path,start,end,label")
    with pytest.raises(LrcnError, match="t.csv holds no segments"):
        import_segments(videos / "t.csv")
    write(videos / "t.csv", "path,start,label", "kitchen/p01.mp4,0,a")
    with pytest.raises(
        LrcnError, match="line 1: the column 'end' is missing .columns here: path, start, label"
    ):
        import_segments(videos / "t.csv")


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59_999), st.sampled_from(".,"))
def test_a_clock_time_is_its_seconds(hours: int, minutes: int, thousandths: int, point: str) -> None:
    seconds = f"{thousandths // 1000:02d}{point}{thousandths % 1000:03d}"
    value = seconds_in(Path("t.csv"), 1, "start", f"{hours}:{minutes:02d}:{seconds}")
    assert value == pytest.approx(3600 * hours + 60 * minutes + thousandths / 1000)
    assert seconds_in(Path("t.csv"), 1, "start", f"{minutes}:{seconds}") == pytest.approx(
        60 * minutes + thousandths / 1000
    )
