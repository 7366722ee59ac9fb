"""Captions from files of every form, what a bad entry gets, and which images are the same."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrcn.errors import LrcnError
from lrcn.evaluate.caption_files import CaptionFile, matched, read_predictions, read_references

COCO = {
    "images": [{"id": 7, "file_name": "seven.jpg"}, {"id": 9, "file_name": "nine.jpg"}],
    "annotations": [
        {"id": 1, "image_id": 7, "caption": "a dog"},
        {"id": 2, "image_id": 9, "caption": "a cat"},
        {"id": 3, "image_id": 7, "caption": "the dog"},
    ],
}
BOTH = {"7": ["a dog", "the dog"], "9": ["a cat"]}


@pytest.fixture
def write(tmp_path):
    """Writes text, or a value as JSON -> its path."""

    def to(name, content):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return to


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.mark.parametrize(
    "content",
    [
        COCO,
        COCO["annotations"],
        BOTH,
        {"7": [{"caption": "a dog"}, {"caption": "the dog"}], "9": "a cat"},
        lines({"image_id": 7, "captions": ["a dog", "the dog"]}, {"image_id": 9, "caption": "a cat"}),
        lines({"id": "7", "path": "x.jpg", "caption": "a dog"}, {"id": 9, "caption": "a cat"})
        + "\n"
        + lines({"id": "7", "caption": "the dog"}),
        lines({"path": "7", "captions": ["a dog", "the dog"]}, {"path": "9", "captions": ["a cat"]}),
        "\ufeff" + json.dumps(COCO, indent=1),
    ],
    ids=[
        "COCO",
        "list",
        "mapping",
        "official mapping",
        "lines",
        "lines with ids",
        "manifest",
        "indented, marked",
    ],
)
def test_references_of_every_form(write, content):
    assert read_references(write("r.json", content)).captions == BOTH


def test_a_manifest_as_a_table(write):
    path = write("r.csv", 'path,id,captions\nx.jpg,7,"[""a dog"", ""the dog""]"\ny.jpg,9,"[""a cat""]"\n')
    assert read_references(path).captions == BOTH
    with pytest.raises(LrcnError, match="y.jpg has no caption"):
        read_references(write("s.csv", "path,caption\nx.jpg,a dog\ny.jpg,\n"))


@pytest.mark.parametrize(
    "content",
    [
        [{"image_id": 7, "caption": "a dog"}, {"image_id": 9, "caption": ""}],
        {"7": "a dog", "9": ""},
        {"7": ["a dog"], "9": [""]},
        lines({"path": "7", "caption": "a dog", "log_prob": -3.5}, {"path": "9", "caption": ""}),
        lines(
            {"path": "7", "caption": "a dog"},
            {"path": "8", "error": "not an image"},
            {"path": "9", "caption": ""},
        ),
    ],
)
def test_predictions_of_every_form(write, content):
    assert read_predictions(write("p.json", content)).captions == {"7": ["a dog"], "9": [""]}


def test_one_line_is_one_record(write):
    path = write("p.jsonl", lines({"path": "a.jpg", "caption": "a\u2028dog"}))
    assert read_predictions(path).captions == {"a.jpg": ["a\u2028dog"]}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "line 1: this is not JSON"),
        ("[1,\n2", "line 2: this is not JSON"),
        ('{"a": 1}\n{"b"\n', "line 2: this is not JSON"),
        ("[" * 10**5, "this is not JSON"),
        ("3", "holds 3; write COCO's JSON"),
        ("[]", "holds no captions"),
        ("{}", "holds no captions"),
        ("[7]", "entry 1: this is 7"),
        ([{"caption": "x"}], "entry 1: it does not say which image; give image_id, id or path"),
        ([{"image_id": True, "caption": "x"}], "entry 1: true is no name of an image"),
        ([{"image_id": 1.5, "caption": "x"}], "entry 1: 1.5 is no name of an image"),
        ([{"image_id": 1, "caption": "x"}, {"image_id": 2}], "entry 2: it has no caption"),
        ([{"image_id": 1, "captions": []}], "entry 1: it has no caption"),
        ([{"image_id": 1, "caption": 5}], "entry 1: it has no caption"),
        ([{"image_id": 1, "captions": "x"}], "entry 1: it has no caption"),
        ({"annotations": [{"image_id": 1}]}, r"annotations\[0\]: it has no caption"),
        ({"a.jpg": None}, "image 'a.jpg': it has no caption"),
        (
            lines({"id": 1, "caption": "x"}, {"id": 1, "caption": "y"}),
            "line 2: the image '1' has a second caption",
        ),
        ([{"image_id": 1, "captions": ["x", "y"]}], "entry 1: the image '1' has a second caption"),
    ],
)
def test_a_bad_file_is_one_sentence_that_says_where(write, content, sentence):
    path = write("p.json", content)
    with pytest.raises(LrcnError, match=sentence) as error:
        read_predictions(path)
    assert str(error.value).startswith(str(path))


def test_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "p.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(LrcnError, match="not UTF-8 text"):
        read_references(tmp_path / "p.json")
    with pytest.raises(LrcnError, match="Cannot read"):
        read_references(tmp_path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["image_id", "id", "path", "caption", "captions", "x"]), inner)
    ),
    max_leaves=8,
)


@given(json_values)
def test_whatever_the_file_holds_is_captions_or_one_sentence(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    for read in (read_references, read_predictions):
        told, captions = str(path), {}
        try:
            captions = read(path).captions
        except LrcnError as error:
            told = str(error)
        assert str(path) in told
        assert all(isinstance(text, str) for texts in captions.values() for text in texts)


# ---- the same image ----


def predicted(*names, **options):
    return CaptionFile({name: [f"seen in {name}"] for name in names}, **options)


def test_images_called_the_same():
    found = matched(CaptionFile({"1": ["x"], "2": ["y"]}), predicted("2", "3"))
    assert found == {"2": "seen in 2", "3": "seen in 3"}


def test_images_at_the_same_place(tmp_path, monkeypatch):
    """A manifest's paths start from its folder, what `lrcn caption` wrote starts from where it was called."""
    monkeypatch.chdir(tmp_path)
    references = CaptionFile({"a.jpg": ["x"], "b/a.jpg": ["y"]}, folder=Path("data"))
    found = matched(references, predicted("data/b/a.jpg", str(tmp_path / "data" / "a.jpg")))
    assert found == {"b/a.jpg": "seen in data/b/a.jpg", "a.jpg": f"seen in {tmp_path / 'data' / 'a.jpg'}"}


def test_images_whose_files_are_named_the_same(write):
    references = read_references(write("r.json", COCO))
    assert matched(references, predicted("val/nine.jpg", "val/seven.jpg")) == {
        "9": "seen in val/nine.jpg",
        "7": "seen in val/seven.jpg",
    }


def test_file_names_that_are_not_distinct_say_nothing():
    references = CaptionFile({"x/a.jpg": ["x"], "y/a.jpg": ["y"]})
    assert matched(references, predicted("z/a.jpg")) == {"z/a.jpg": "seen in z/a.jpg"}
    assert matched(CaptionFile({"x/a.jpg": ["x"]}), predicted("y/a.jpg", "z/a.jpg")).keys() == {
        "y/a.jpg",
        "z/a.jpg",
    }
