import json
from pathlib import Path

import pytest
from official_trees import make_numbered, make_something_v2, touch, write

from lrcn.data.importers.jester import import_jester
from lrcn.data.importers.something import import_something_v1, import_something_v2
from lrcn.data.manifest import Row, read_manifest, write_manifest
from lrcn.errors import LrcnError

GESTURES = ("Swiping Left", "No gesture", "Zooming In With Two Fingers")
ACTIONS = ("Holding something", "Moving something up, then letting it drop down")


@pytest.fixture
def jester(tmp_path: Path) -> Path:
    return make_numbered(tmp_path / "jester", "jester-v1", GESTURES)


@pytest.fixture
def something(tmp_path: Path) -> Path:
    return make_something_v2(tmp_path / "something")


# ---- lists `number;label` ----


def test_jester(jester: Path) -> None:
    rows, sentences = import_jester(jester)
    assert [(row.id, row.label, row.split) for row in rows][:4] == [
        ("1", "Swiping Left", "train"),
        ("2", "Swiping Left", "train"),
        ("3", "Swiping Left", "train"),
        ("5", "No gesture", "train"),
    ]
    assert [row.id for row in rows if row.split == "dev"] == ["4", "8", "12"]
    assert rows[0].path == str(jester / "20bn-jester-v1/1")
    assert sentences == [
        f"Found 12 clips of 3 classes of Jester in {jester / '20bn-jester-v1'}: 9 train, 3 dev.",
        "Clips of the test list without a label, left out: 2.",
    ]


def test_something_v1(tmp_path: Path) -> None:
    make_numbered(tmp_path, "something-something-v1", ACTIONS)
    rows, _ = import_something_v1(tmp_path)
    assert {row.label for row in rows} == set(ACTIONS)
    assert rows[0].path == str(tmp_path / "20bn-something-something-v1/1")


def test_clips_may_lie_in_the_folder_itself_and_be_videos(jester: Path, tmp_path: Path) -> None:
    (jester / "20bn-jester-v1").rename(tmp_path / "clips")
    rows, _ = import_jester(tmp_path / "clips", lists=jester)
    assert rows[0].path == str(tmp_path / "clips/1")
    touch(*(tmp_path / "small" / f"{n}.mp4" for n in range(1, 13)))
    rows, _ = import_jester(tmp_path / "small", lists=jester)
    assert rows[0].path == str(tmp_path / "small/1.mp4")


def test_test_lists_may_be_absent_or_have_labels(jester: Path) -> None:
    (jester / "jester-v1-test.csv").unlink()
    assert {row.split for row in import_jester(jester)[0]} == {"train", "dev"}
    write(jester / "jester-v1-test.csv", "13;No gesture", "14")
    rows, sentences = import_jester(jester)
    assert [(row.id, row.label) for row in rows if row.split == "test"] == [("13", "No gesture")]
    assert sentences[-1] == "Clips of the test list without a label, left out: 1."


def test_missing_clips_are_refused_or_left_out(jester: Path, tmp_path: Path) -> None:
    (jester / "20bn-jester-v1/3").rename(tmp_path / "3")
    with pytest.raises(LrcnError, match=r"1 of the 12 clips in the lists are not below .*, such as 3;"):
        import_jester(jester)
    assert len(import_jester(jester, allow_missing=True)[0]) == 11
    with pytest.raises(LrcnError, match="None of the 12 clips in the lists is below"):
        import_jester(tmp_path / "3", lists=jester, allow_missing=True)


@pytest.mark.parametrize("name", ["labels", "train", "validation"])
def test_a_list_that_is_not_there(jester: Path, name: str) -> None:
    (jester / f"jester-v1-{name}.csv").unlink()
    with pytest.raises(LrcnError, match=f"There is no jester-v1-{name}.csv in or below"):
        import_jester(jester)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("99", "this is no clip"),
        ("clip;No gesture", "this is no clip"),
        ("99,No gesture", "this is no clip"),
        ("99;Waving", "the label 'Waving' is not in the list of labels"),
        ("1;Swiping Left", "clip 1 stands twice"),
    ],
)
def test_a_bad_line_is_named(jester: Path, line: str, says: str) -> None:
    train = jester / "jester-v1-train.csv"
    train.write_text(f"{train.read_text()}{line}\n")
    with pytest.raises(LrcnError, match=f"jester-v1-train.csv line 10: {says}"):
        import_jester(jester)


# ---- Something-Something v2 ----


@pytest.mark.parametrize("prefix", ["something-something-v2-", ""])
def test_something_v2(tmp_path: Path, prefix: str) -> None:
    rows, sentences = import_something_v2(make_something_v2(tmp_path, prefix))
    clips = tmp_path / "20bn-something-something-v2"
    assert rows[:2] == [
        Row(
            str(clips / "78687.webm"),
            "Holding something next to something",
            split="train",
            id="78687",
            extra={"placeholders": ["potato", "vicks vaporub bottle"]},
        ),
        Row(
            str(clips / "42326.webm"),
            "Putting something similar to other things on the table",
            split="train",
            id="42326",
            extra={"placeholders": ["plates"]},
        ),
    ]
    assert [(row.id, row.split) for row in rows[2:]] == [("100904", "dev")]
    assert sentences[-1] == "Clips of the test list without a label, left out: 1."
    write_manifest(rows, tmp_path / "m.jsonl")
    assert read_manifest(tmp_path / "m.jsonl") == rows


def test_answers_make_test_clips(tmp_path: Path) -> None:
    rows, sentences = import_something_v2(make_something_v2(tmp_path, answers=True))
    assert [(row.id, row.label) for row in rows if row.split == "test"] == [
        ("1420", "Holding something next to something")
    ]
    assert len(sentences) == 1


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"template": "Holding [something]"}, "entry 1: the number of the clip, 'id', is missing"),
        (7, "entry 1: the number of the clip, 'id', is missing"),
        ({"id": "1"}, "entry 1: the 'template' is missing"),
        ({"id": "1", "template": "Eating [something]"}, "entry 1: the label 'Eating something' is not in"),
    ],
)
def test_a_bad_entry_is_named(something: Path, entry: object, says: str) -> None:
    write(something / "labels/something-something-v2-train.json", json.dumps([entry]))
    with pytest.raises(LrcnError, match=f"something-something-v2-train.json {says}"):
        import_something_v2(something)


def test_files_that_are_no_lists(something: Path, tmp_path: Path) -> None:
    train = something / "labels/something-something-v2-train.json"
    write(train, "{}")
    with pytest.raises(LrcnError, match="train.json holds no list"):
        import_something_v2(something)
    write(train, "[")
    with pytest.raises(LrcnError, match="train.json is not JSON"):
        import_something_v2(something)
    train.write_bytes(b"\xff\xfe")
    with pytest.raises(LrcnError, match="train.json is not UTF-8"):
        import_something_v2(something)
    touch(tmp_path / "other/1.webm")
    with pytest.raises(LrcnError, match="There is no something-something-v2-labels.json in or below"):
        import_something_v2(tmp_path / "other")
