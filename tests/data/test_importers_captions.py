"""Data sets of captioned photos, each in a layout in miniature."""

import json
from pathlib import Path

import pytest

from lrcn.data.importers import import_data
from lrcn.data.manifest import Row, read_manifest, write_manifest
from lrcn.errors import LrcnError


def put(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def photos(folder: Path, *names: str) -> None:
    for name in names:
        put(folder / name)


def told(rows: list[Row]) -> dict[str, tuple[str | None, tuple[str, ...]]]:
    return {Path(row.path).name: (row.split, row.captions) for row in rows}


# ---- flickr8k ----


TOKENS = (
    "a.jpg#0\tA dog runs .\na.jpg#1\tThe  dog is here .\n"
    "b.jpg#0\tA café .\n\nc.jpg#0\tTwo men .\nd.jpg#0\tNobody lists me .\n"
)


@pytest.fixture
def flickr8k(tmp_path: Path) -> Path:
    photos(tmp_path / "Flicker8k_Dataset", "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    put(tmp_path / "Flickr8k_text/Flickr8k.token.txt", TOKENS)
    put(tmp_path / "Flickr8k_text/Flickr8k.lemma.token.txt", "not this one")
    for split, name in (("train", "a.jpg"), ("dev", "b.jpg"), ("test", "c.jpg")):
        put(tmp_path / f"Flickr8k_text/Flickr_8k.{split}Images.txt", f"{name}\n")
    return tmp_path


def test_flickr8k(flickr8k, tmp_path):
    rows, sentences = import_data("flickr8k", flickr8k)
    assert told(rows) == {
        "a.jpg": ("train", ("A dog runs .", "The dog is here .")),
        "b.jpg": ("dev", ("A café .",)),
        "c.jpg": ("test", ("Two men .",)),
    }
    assert [row.id for row in rows] == ["a", "b", "c"] and all(Path(row.path).is_file() for row in rows)
    assert sentences == [
        f"Found 3 images with 4 captions of Flickr8k in {flickr8k}: 1 train, 1 dev, 1 test.",
        "In no list and left out: 1 photos, such as d.jpg.",
    ]
    write_manifest(rows, tmp_path / "photos.jsonl")
    assert read_manifest(tmp_path / "photos.jsonl") == rows


def test_flickr8k_tells_what_is_missing_and_damaged(flickr8k):
    put(
        flickr8k / "Flickr8k_text/Flickr8k.token.txt",
        TOKENS + "a.jpg#2\nno tab at all\n#3\tno photo\na.jpg\tno number\n",
    )
    put(flickr8k / "Flickr8k_text/Flickr_8k.devImages.txt", "b.jpg\nwithout.jpg\n")
    (flickr8k / "Flicker8k_Dataset/c.jpg").unlink()
    (flickr8k / "Flickr8k_text/Flickr_8k.testImages.txt").unlink()
    put(flickr8k / "Flickr8k_text/Flickr_8k.trainImages.txt", "a.jpg\nc.jpg\n")
    rows, sentences = import_data("flickr8k", flickr8k)
    assert list(told(rows)) == ["a.jpg", "b.jpg"] and len(rows[0].captions) == 2
    said = "\n".join(sentences)
    assert "Missing and left out: 1 images: c.jpg." in said
    assert "Without a caption and left out: 1 images: without.jpg." in said
    places = ", ".join(f"Flickr8k.token.txt line {line}" for line in (7, 8, 9, 10))
    assert f"Damaged and left out: 4 places: {places}." in said
    assert "There is no Flickr_8k.testImages.txt, so no photo is in test." in said


def test_flickr8k_with_its_lists_elsewhere(flickr8k, tmp_path):
    moved = (flickr8k / "Flickr8k_text").rename(tmp_path / "lists")
    rows, _ = import_data("flickr8k", flickr8k / "Flicker8k_Dataset", lists=moved)
    assert len(rows) == 3


def test_flickr8k_refuses_a_photo_in_two_lists_and_lists_that_are_not_there(flickr8k):
    put(flickr8k / "Flickr8k_text/Flickr_8k.testImages.txt", "c.jpg\na.jpg\n")
    with pytest.raises(LrcnError, match=r"testImages.txt line 2: a.jpg is in train too"):
        import_data("flickr8k", flickr8k)
    for split in ("train", "dev", "test"):
        (flickr8k / f"Flickr8k_text/Flickr_8k.{split}Images.txt").unlink()
    with pytest.raises(LrcnError, match="There is no Flickr_8k.trainImages.txt"):
        import_data("flickr8k", flickr8k)
    (flickr8k / "Flickr8k_text/Flickr8k.token.txt").unlink()
    with pytest.raises(LrcnError, match="There is no Flickr8k.token.txt"):
        import_data("flickr8k", flickr8k)
    with pytest.raises(LrcnError, match="not a folder"):
        import_data("flickr8k", flickr8k / "nowhere")


@pytest.mark.real
def test_flickr8k_as_it_is(shared_data):
    rows, sentences = import_data("flickr8k", shared_data / "flickr8k")
    assert [sum(row.split == split for row in rows) for split in ("train", "dev", "test")] == [6000, 1000, 0]
    assert all(len(row.captions) == 5 for row in rows) and len(sentences) == 2


# ---- karpathy ----


def karpathy(**changes) -> dict:
    image = {
        "filename": "a.jpg",
        "split": "train",
        "sentences": [{"raw": "A dog.", "tokens": ["a", "dog"]}, {"raw": " Two \n dogs."}],
    }
    return image | changes


def test_karpathy(tmp_path):
    photos(tmp_path / "train2014", "same.jpg")
    photos(tmp_path / "val2014", "same.jpg", "rest.jpg", "v.jpg")
    images = [
        karpathy(filepath="val2014", filename="same.jpg", cocoid=7, split="test"),
        karpathy(filepath="train2014", filename="same.jpg", cocoid=8),
        karpathy(filepath="val2014", filename="rest.jpg", split="restval"),
        karpathy(filename="v.jpg", split="val"),
    ]
    put(tmp_path / "dataset_coco.json", json.dumps({"images": images, "dataset": "coco"}))
    for source in (tmp_path, tmp_path / "dataset_coco.json"):
        rows, sentences = import_data("karpathy", source)
        assert [(row.split, row.id) for row in rows] == [
            ("test", "7"),
            ("train", "8"),
            ("train", "rest"),
            ("dev", "v"),
        ]
        assert [Path(row.path).parent.name for row in rows[:2]] == ["val2014", "train2014"]
        assert rows[0].captions == ("A dog.", "Two dogs.")
        assert "of coco in" in sentences[0] and "Of restval, which is in train here: 1 images." in sentences


def test_karpathy_tells_what_is_missing_and_damaged(tmp_path):
    photos(tmp_path, "a.jpg")
    images = [
        karpathy(),
        karpathy(filename="gone.jpg"),
        karpathy(filename=3),
        "nothing",
        karpathy(sentences=None),
        karpathy(sentences=[{"raw": ""}, {"tokens": []}, 5]),
    ]
    put(tmp_path / "lists/dataset.json", json.dumps({"images": images}))
    rows, sentences = import_data("karpathy", tmp_path, lists=tmp_path / "lists")
    assert len(rows) == 1
    said = "\n".join(sentences)
    assert "Missing and left out: 1 images: gone.jpg." in said
    assert "Without a caption and left out: 1 images: a.jpg." in said
    assert (
        "6 places: dataset.json image 3, dataset.json image 4, dataset.json image 5, dataset.json image 6 sentence 1"
        in said
    )


def test_karpathy_refuses_what_it_cannot_read(tmp_path):
    photos(tmp_path, "a.jpg")
    with pytest.raises(LrcnError, match=r"There is no dataset\*.json"):
        import_data("karpathy", tmp_path)
    file = put(tmp_path / "dataset_x.json", "{")
    with pytest.raises(LrcnError, match="is not JSON"):
        import_data("karpathy", tmp_path)
    put(file, "[" * 100_000)
    with pytest.raises(LrcnError, match="is not JSON"):
        import_data("karpathy", tmp_path)
    put(file, '{"images": {}}')
    with pytest.raises(LrcnError, match="no list 'images'"):
        import_data("karpathy", tmp_path)
    put(file, json.dumps({"images": [karpathy(filename="gone.jpg")]}))
    with pytest.raises(LrcnError, match=r"None of the 1 images .* such as gone.jpg"):
        import_data("karpathy", tmp_path)
    put(tmp_path / "dataset_y.json", "{}")
    with pytest.raises(LrcnError, match="several data sets: dataset_x.json, dataset_y.json"):
        import_data("karpathy", tmp_path)


# ---- coco ----


def coco(*names: str, first: int = 1) -> dict:
    images = [{"id": number, "file_name": name} for number, name in enumerate(names, start=first)]
    notes = [
        {"image_id": number, "id": 10 * number + k, "caption": f"Caption {k} of {name}."}
        for number, name in enumerate(names, start=first)
        for k in range(2)
    ]
    return {"images": images, "annotations": notes}


def test_coco_captions(tmp_path):
    photos(tmp_path / "train2014", "t1.jpg", "t2.jpg")
    photos(tmp_path / "val2014", "v.jpg")
    put(tmp_path / "annotations/captions_train2014.json", json.dumps(coco("t1.jpg", "t2.jpg")))
    put(tmp_path / "annotations/captions_val2014.json", json.dumps(coco("v.jpg", first=9)))
    put(tmp_path / "annotations/instances_val2014.json", "{}")
    rows, sentences = import_data("coco-captions", tmp_path)
    assert [(row.split, row.id) for row in rows] == [("train", "1"), ("train", "2"), ("dev", "9")]
    assert rows[0].captions == ("Caption 0 of t1.jpg.", "Caption 1 of t1.jpg.")
    assert sentences == [f"Found 3 images with 6 captions of COCO in {tmp_path}: 2 train, 1 dev."]
    rows, _ = import_data("coco-captions", tmp_path / "annotations/captions_val2014.json")
    assert [row.split for row in rows] == ["dev"]


def test_coco_captions_tells_what_is_missing_and_damaged(tmp_path):
    photos(tmp_path, "t1.jpg")
    values = coco("t1.jpg", "gone.jpg")
    values["images"] += [{"id": 3}, {"file_name": "x.jpg"}]
    values["annotations"] += [{"image_id": 1, "caption": " "}, {"image_id": 99, "caption": "Of none."}, None]
    put(tmp_path / "captions_train2014.json", json.dumps(values))
    rows, sentences = import_data("coco-captions", tmp_path)
    assert len(rows) == 1 and len(rows[0].captions) == 2
    said = "\n".join(sentences)
    assert "Missing and left out: 1 images: gone.jpg." in said
    assert "Damaged and left out: 5 places: captions_train2014.json image 3," in said
    assert "annotation 5," in said and "annotation 7." in said


# ---- csv ----


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("captions.csv", 'image,caption,split\na.jpg,"One, two.",train\nb.jpg,Three.,valid\na.jpg,Four.,train\n'),
        ("captions.txt", "image;caption;split\na.jpg;One, two.;train\n\nb.jpg;Three.;val\na.jpg;Four.;train\n"),
        ("t.tsv", "split\tfile name\n".replace("file name", "filename\tcaption1\tcaption 2")
         + "train\tsub/a.jpg\tOne, two.\tFour.\ndev\tb.jpg\tThree.\t\n"),
        ("results.csv", "image_name| comment| set\na.jpg| One, two.| train\nb.jpg| Three.| dev\nA.JPG| Four.| train\n"),
    ],
)  # fmt: skip
def test_tables_of_captions(tmp_path, name, text):
    photos(tmp_path / "sub", "a.jpg")
    photos(tmp_path, "b.jpg")
    put(tmp_path / name, text)
    rows, sentences = import_data("captions-csv", tmp_path)
    by_name: dict[str, list] = {}
    for row in rows:
        by_name.setdefault(Path(row.path).name, []).extend([row.split, *row.captions])
    assert [item for item in by_name["a.jpg"] if item != "train"] == ["One, two.", "Four."]
    assert by_name["b.jpg"] == ["dev", "Three."]
    assert f"with 3 captions of {name} in {tmp_path}" in sentences[0]


def test_a_table_tells_what_is_missing_and_damaged(tmp_path):
    photos(tmp_path, "a.jpg", "b.jpg")
    # The third line is one of Flickr30k's, as it came.
    put(
        tmp_path / "results.csv",
        'image_name| comment_number| comment\na.jpg| 0| A "dog .\na.jpg| 4   A dog runs .\nb.jpg| 0|\n'
        "gone.jpg| 0| Away .\nb.jpg| 1| Here .\n",
    )
    rows, sentences = import_data("captions-csv", tmp_path)
    assert told(rows) == {"a.jpg": (None, ('A "dog .',)), "b.jpg": (None, ("Here .",))}
    said = "\n".join(sentences)
    assert "Missing and left out: 1 images: gone.jpg." in said
    assert "Damaged and left out: 2 places: results.csv line 3, results.csv line 4." in said


def test_a_quote_that_goes_wrong_costs_its_line_alone(tmp_path):
    photos(tmp_path, "a.jpg", "b.jpg")
    put(tmp_path / "captions.csv", 'image,caption\na.jpg,"One" dog\nb.jpg,Two.\na.jpg,"Three.\n')
    rows, sentences = import_data("captions-csv", tmp_path / "captions.csv")
    assert list(told(rows)) == ["b.jpg"]
    assert "Damaged and left out: 2 places: captions.csv line 2, captions.csv line 4." in sentences


def test_tables_that_are_not_known_are_refused(tmp_path):
    photos(tmp_path, "a.jpg")
    put(tmp_path / "captions.csv", "one,two\na.jpg,Text\n")
    with pytest.raises(LrcnError, match="columns one, two: name one 'image' and one 'caption'"):
        import_data("captions-csv", tmp_path)
    put(tmp_path / "captions.csv", "")
    with pytest.raises(LrcnError, match="columns none"):
        import_data("captions-csv", tmp_path)
    (tmp_path / "captions.csv").unlink()
    with pytest.raises(LrcnError, match="There is no captions.csv"):
        import_data("captions-csv", tmp_path)
