import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrcn.data.manifest import STANDARD_FIELDS, Row, labels_of, read_manifest, write_manifest
from lrcn.errors import LrcnError

RESERVED = {*STANDARD_FIELDS, "caption"}


def written(folder: Path, text: str | bytes, name: str = "m.jsonl") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# ---- reading ----


def test_reads_every_field_and_keeps_the_unknown_ones(tmp_path: Path) -> None:
    record = {
        "path": "clips/a.mp4",
        "label": "wave",
        "captions": ["A hand.", "Eine Hand."],
        "split": "train",
        "group": "s01",
        "start": 1,
        "end": 2.5,
        "id": "a",
        "fold": 3,
        "camera": {"height": 2},
    }
    (row,) = read_manifest(written(tmp_path, "\n" + json.dumps(record) + "\n\n"))
    assert row == Row(
        path=str(tmp_path / "clips/a.mp4"),
        label="wave",
        captions=("A hand.", "Eine Hand."),
        split="train",
        group="s01",
        start=1.0,
        end=2.5,
        id="a",
        extra={"fold": 3, "camera": {"height": 2}},
    )
    assert row.field("group") == "s01"
    assert row.field("fold") == 3
    assert row.field("no such") is None


def test_paths_are_absolute_wherever_the_reader_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["a.mp4", "../b.mp4", "/elsewhere/c.mp4", "https://host/d.mp4"]
    written(tmp_path, "\n".join(json.dumps({"path": path}) for path in lines))
    monkeypatch.chdir(tmp_path)
    paths = [row.path for row in read_manifest("m.jsonl")]
    assert paths == [str(tmp_path / "a.mp4"), str(tmp_path.parent / "b.mp4"), *lines[2:]]


def test_null_is_absent_and_numbered_groups_become_text(tmp_path: Path) -> None:
    (row,) = read_manifest(
        written(tmp_path, '{"path": "a", "label": null, "group": 7, "id": 0, "caption": "One."}')
    )
    assert row == Row(str(tmp_path / "a"), group="7", id="0", captions=("One.",))


def test_a_line_separator_in_a_caption_ends_no_line(tmp_path: Path) -> None:
    (row,) = read_manifest(written(tmp_path, '{"path": "a", "captions": ["one\u2028two"]}\r\n'))
    assert row.captions == ("one\u2028two",)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not JSON"),
        ('{"path": "a", "x": NaN}', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("3", "this is 3"),
        ('{"label": "x"}', "'path' is missing"),
        ('{"path": null}', "'path' is missing"),
        ('{"path": ""}', "'path' is empty"),
        ('{"path": "a\\u0000"}', "zero byte"),
        ('{"path": ["a"]}', "'path' must be text"),
        ('{"path": "a", "label": 3}', "'label' must be text in quotes, not 3"),
        ('{"path": "a", "label": " "}', "'label' is empty"),
        ('{"path": "a", "split": 1}', "'split' must be text"),
        ('{"path": "a", "group": true}', "'group' must be text"),
        ('{"path": "a", "start": "0"}', "'start' must be a number"),
        ('{"path": "a", "start": -1}', "'start' must be a number of seconds from 0 up"),
        ('{"path": "a", "end": 1e999}', "'end' must be a number of seconds from 0 up"),
        ('{"path": "a", "end": 1' + "0" * 400 + "}", "'end' must be a number of seconds from 0 up"),
        ('{"path": "a", "end": true}', "'end' must be a number"),
        ('{"path": "a", "start": 2, "end": 2}', "ends at 2 s, not after its start at 2 s"),
        ('{"path": "a", "end": 0}', "ends at 0 s, not after its start at 0 s"),
        ('{"path": "a", "captions": "one"}', "'captions' must be a list of texts"),
        ('{"path": "a", "captions": ["one", 2]}', "'captions' must be a list of texts"),
        ('{"path": "a", "captions": ["one"], "caption": "two"}', "keep one"),
    ],
)
def test_a_bad_line_is_one_sentence_with_its_number(tmp_path: Path, line: str, says: str) -> None:
    path = written(tmp_path, '{"path": "good.mp4"}\n\n' + line + "\n")
    with pytest.raises(LrcnError) as caught:
        read_manifest(path)
    message = str(caught.value)
    assert message.startswith(f"{path} line 3: ")
    assert says in message
    assert "\n" not in message
    assert len(message) < 300 + len(str(path))


def test_a_file_that_is_no_manifest(tmp_path: Path) -> None:
    for path, says in [
        (tmp_path / "none.jsonl", "No such file"),
        (tmp_path, "directory"),
        (written(tmp_path, b"\xff\xfe"), "UTF-8"),
        (written(tmp_path, "\n \n", "blank.jsonl"), "no rows"),
        (written(tmp_path, "path,label\n", "blank.csv"), "no rows"),
        (written(tmp_path, "", "empty.csv"), "no rows"),
    ]:
        with pytest.raises(LrcnError, match=says):
            read_manifest(path)


# ---- CSV ----


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_reads_tables_as_spreadsheets_write_them(
    tmp_path: Path, mark: bytes, separator: str, end: str
) -> None:
    lines = ["path,label , group,start,fold", '"a,b.mp4",wave,,1.5, 3', ",,,,", "c.mp4,,s1,,"]
    if separator != ",":
        lines = [line.replace("a,b", "a b").replace(",", separator) for line in lines]
    first, second = read_manifest(written(tmp_path, mark + end.join(lines).encode(), "m.csv"))
    name = "a,b.mp4" if separator == "," else "a b.mp4"
    assert first == Row(str(tmp_path / name), label="wave", start=1.5, extra={"fold": "3"})
    assert second == Row(str(tmp_path / "c.mp4"), group="s1")


def test_captions_in_a_table(tmp_path: Path) -> None:
    several = read_manifest(written(tmp_path, 'path,captions\na.jpg,"[""One."", ""Two.""]"\n', "several.csv"))
    plain = read_manifest(written(tmp_path, 'path,caption\na.jpg,"One, and\nmore."\n', "plain.csv"))
    assert several[0].captions == ("One.", "Two.")
    assert plain[0].captions == ("One, and\nmore.",)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("file,class\na,b\n", "line 1: the column 'path' is missing (columns here: file, class)"),
        ("path,label,label\na,b,c\n", "line 1: the column 'label' stands twice"),
        ("path,,label\na,b,c\n", "line 1: a column has no name"),
        ("path,label\na,b\nc,d,e\n", "line 3: 3 cells under 2 columns"),
        ('path,label\n"a\nb",x\nc\n', "line 4: 1 cells under 2 columns"),
        ("path,label\n,x\n", "line 2: the field 'path' is missing"),
        ("path,start\na,soon\n", "line 2: 'start' must be a number of seconds"),
        ("path,start\na,nan\n", "line 2: 'start' must be a number of seconds"),
        ("path,captions\na,One.\n", "line 2: 'captions' must be a JSON list"),
        ('path,label\na,b\n"c,d\n', "line 3: this is not CSV"),
    ],
)
def test_a_bad_table_is_one_sentence_with_the_line(tmp_path: Path, table: str, says: str) -> None:
    path = written(tmp_path, table, "m.csv")
    with pytest.raises(LrcnError) as caught:
        read_manifest(path)
    assert f"{path} {says}" in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- writing ----

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(
    str.strip
)
NAME = st.text("abcXYZ 0123.-_é漢", min_size=1, max_size=12).filter(lambda name: name.strip(" .") == name)
PATH = st.one_of(
    st.lists(NAME, min_size=1, max_size=3).map("/".join),
    NAME.map(lambda name: f"../{name}"),
    NAME.map(lambda name: f"/elsewhere/{name}"),
    NAME.map(lambda name: f"https://host/{name}"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=4,
)
SECONDS = st.floats(0, 1e6)


def rows_of(text: st.SearchStrategy[str], extra: st.SearchStrategy[object]) -> st.SearchStrategy[list[Row]]:
    row = st.builds(
        Row,
        path=PATH,
        label=st.none() | text,
        captions=st.lists(text, max_size=3).map(tuple),
        split=st.none() | text,
        group=st.none() | text,
        start=st.none() | SECONDS,
        end=st.none() | SECONDS.map(lambda seconds: seconds + 2e6),
        id=st.none() | text,
        extra=st.dictionaries(text.filter(lambda name: name not in RESERVED), extra, max_size=3),
    )
    return st.lists(row, min_size=1, max_size=4)


def placed(rows: list[Row], folder: Path) -> list[Row]:
    """The rows as a reader gives them: with absolute paths."""
    return [
        row if "://" in row.path else replace(row, path=os.path.abspath(folder / row.path)) for row in rows
    ]


@given(rows=rows_of(TEXT, JSON))
def test_json_lines_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> None:
    folder = tmp_path_factory.mktemp("round")
    rows = placed(rows, folder)
    write_manifest(rows, folder / "m.jsonl")
    assert read_manifest(folder / "m.jsonl") == rows


STRIPPED = TEXT.filter(lambda text: text.strip() == text)


@given(rows=rows_of(STRIPPED, STRIPPED))
def test_tables_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> None:
    folder = tmp_path_factory.mktemp("round")
    rows = placed(rows, folder)
    write_manifest(rows, folder / "m.csv")
    assert read_manifest(folder / "m.csv") == rows


def test_paths_below_the_folder_move_with_it(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    outside = str(tmp_path / "outside.mp4")
    write_manifest([Row(str(here / "sub/a.mp4")), Row(outside)], here / "m.jsonl")
    assert [json.loads(line)["path"] for line in (here / "m.jsonl").read_text().splitlines()] == [
        "sub/a.mp4",
        outside,
    ]
    here.rename(there)
    assert [row.path for row in read_manifest(there / "m.jsonl")] == [str(there / "sub/a.mp4"), outside]


def test_a_name_that_is_not_utf8_survives_in_json_lines_and_is_refused_in_tables(tmp_path: Path) -> None:
    rows = [Row(str(tmp_path / "caf\udce9.mp4"))]
    write_manifest(rows, tmp_path / "m.jsonl")
    assert read_manifest(tmp_path / "m.jsonl") == rows
    with pytest.raises(LrcnError, match="not UTF-8"):
        write_manifest(rows, tmp_path / "m.csv")


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv"])
@pytest.mark.parametrize("value", [math.nan, {1, 2}, object()])
def test_what_cannot_be_written_leaves_the_old_manifest(tmp_path: Path, name: str, value: object) -> None:
    write_manifest([Row("/a")], tmp_path / name)
    with pytest.raises(LrcnError, match="an extra field is not JSON"):
        write_manifest([Row("/b", extra={"x": value})], tmp_path / name)
    assert [row.path for row in read_manifest(tmp_path / name)] == ["/a"]
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_no_rows_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(LrcnError, match="no rows"):
        write_manifest([], tmp_path / "m.jsonl")


def test_extra_cannot_shadow_a_standard_field() -> None:
    with pytest.raises(ValueError, match="'label'"):
        Row("/a", extra={"label": "x"})


def test_labels_are_distinct_and_sorted() -> None:
    assert labels_of([Row("/a", "b"), Row("/b"), Row("/c", "a"), Row("/d", "b")]) == ["a", "b"]
