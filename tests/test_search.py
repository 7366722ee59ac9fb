"""The index of photos: its updates, its answers, the command and the page."""

import json
import os
import re
import shutil
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

import lrcn.search
from lrcn import Index
from lrcn.cli import main
from lrcn.data.photos import PhotoPreprocess
from lrcn.data.tokenizer import UNKNOWN, Tokenizer
from lrcn.errors import LrcnError
from lrcn.models.cnn import EncoderConfig
from lrcn.models.joint import JointConfig, JointEmbedding
from lrcn.models.joint_folder import LoadedJoint, load_joint, save_joint
from lrcn.models.recurrent import RecurrentConfig
from lrcn.search import unknown_words

WORDS = ("red", "green", "blue", "square", "circle", "a")
COLOURS = ("red", "green", "blue", "orange", "purple", "black")


@lru_cache
def joint(seed: int = 0) -> LoadedJoint:
    """A tiny model with random weights; tests must not change it."""
    torch.manual_seed(seed)
    tokenizer = Tokenizer((UNKNOWN, *WORDS))
    config = JointConfig(
        EncoderConfig("test_efficientnet", "none"),
        size=8,
        embedding=6,
        recurrent=RecurrentConfig("gru", 7, dropout=0),
    )
    return LoadedJoint(JointEmbedding(config, tokenizer.size).eval(), PhotoPreprocess(32), tokenizer)


def write_photo(path: Path, seed: int) -> None:
    """A coloured shape; each seed gives another."""
    draws = np.random.default_rng(seed)
    image = Image.new("RGB", (40, 30), COLOURS[seed % len(COLOURS)])
    x, y = draws.integers(2, 18, 2).tolist()
    draw = ImageDraw.Draw(image)
    (draw.rectangle if seed % 2 else draw.ellipse)(
        (x, y, x + 8 + seed % 5, y + 9), fill=COLOURS[(seed * 7 + 1) % 6]
    )
    image.putpixel((0, 0), (seed % 256, seed // 256, 7))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture
def photos(tmp_path):
    """A folder of seven photos, one in a folder below it."""
    folder = tmp_path / "photos"
    for seed in range(6):
        write_photo(folder / f"p{seed}.png", seed)
    write_photo(folder / "more" / "p6.png", 6)
    return folder


def scores(index: Index, words: str = "a red square") -> dict[str, float]:
    """The score of every photo, by its path below the folder."""
    return {os.path.relpath(hit.path, index.folder): hit.score for hit in index.search(words, k=1000)}


def by_hand(folder: Path, words: str = "a red square") -> dict[str, float]:
    """The same without an index: each photo on its own."""
    model = joint()
    (query,) = model.sentences([model.tokenizer.encode(words)])
    found = {}
    for path in sorted(path for path in folder.rglob("*.png") if path.stat().st_size > 20):
        pixels = model.preprocess(np.asarray(Image.open(path).convert("RGB")))
        found[os.path.relpath(path, folder)] = float(model.images(pixels[None])[0] @ query)
    return found


def forbid(*_: object, **__: object) -> None:
    raise AssertionError("not needed")


# ---- answers ----


@pytest.mark.parametrize("k", [1, 3, 7, 50])
def test_a_search_is_the_sorted_list_of_all_photos(photos, k):
    index = Index(photos, joint())
    hits = index.search("a red square", k)
    expected = sorted(by_hand(photos).items(), key=lambda pair: -pair[1])[:k]
    assert len(index) == 7
    assert [hit.path for hit in hits] == [str(photos / name) for name, _ in expected]
    assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected], abs=2e-3)


def test_similar_photos_leave_the_photo_itself_out_but_not_its_copies(photos):
    shutil.copy(photos / "p3.png", photos / "copy.png")
    index = Index(photos, joint())
    hits = index.similar(photos / "more" / ".." / "p3.png", k=3)
    assert hits[0].path == str(photos / "copy.png")
    assert hits[0].score == pytest.approx(1, abs=2e-3)
    assert len(hits) == 3
    assert str(photos / "p3.png") not in [hit.path for hit in hits]
    pixels = np.asarray(Image.open(photos / "p3.png"))
    assert {hit.path for hit in index.similar(pixels, 2)} == {
        str(photos / "copy.png"),
        str(photos / "p3.png"),
    }


def test_words_that_are_not_known_are_told(photos):
    index = Index(photos, joint())
    assert unknown_words("A purple square!", joint()) == ["purple"]
    index.search("A purple square!")
    with pytest.raises(LrcnError, match="None of the words in 'purple cows' is among the 6 that"):
        index.search("purple cows")
    for words in ("", "  "):
        with pytest.raises(LrcnError, match="holds no word"):
            index.search(words)


# ---- what is kept ----


def test_an_index_is_kept(photos, monkeypatch):
    first = Index(photos, joint())
    assert (first.updated.added, first.place) == (7, photos / ".lrcn" / "index")
    monkeypatch.setattr(lrcn.search, "read_photo", forbid)
    again = Index(photos, joint())
    assert again.updated == lrcn.search.Update()
    assert scores(again) == scores(first)
    assert scores(Index(photos, joint(), update=False)) == scores(first)


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "change", "delete", "rename", "touch", "copy", "break"]), st.integers(0, 5)
    ),
    min_size=1,
    max_size=6,
)


def do(operation: str, path: Path, number: int) -> None:
    """One thing that may happen to a photo."""
    if operation == "add":
        write_photo(path.with_name(f"p{number}.png"), number)
    elif operation == "change":
        write_photo(path, number)
    elif operation == "delete":
        path.unlink()
    elif operation == "rename":
        path.rename(path.with_name(f"r{number}.png"))
    elif operation == "touch":
        os.utime(path, ns=(number, number))
    elif operation == "copy":
        shutil.copy(path, path.with_name(f"c{number}.png"))
    else:
        path.write_bytes(b"no photo")


@settings(max_examples=5, deadline=None, derandomize=True)
@given(rounds=st.lists(OPERATIONS, min_size=1, max_size=2))
def test_an_updated_index_is_that_of_the_photos_as_they_are_now(tmp_path_factory, rounds):
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(3):
        write_photo(folder / f"p{seed}.png", seed)
    Index(folder, joint())
    number = 10
    for operations in rounds:
        for operation, which in operations:
            number += 1
            whole = sorted(path for path in folder.glob("*.png") if path.stat().st_size > 20)
            if len(whole) > 1 or operation not in ("delete", "break"):
                do(operation, whole[which % len(whole)], number)
        broken = {str(path) for path in folder.glob("*.png") if path.stat().st_size <= 20}
        index = Index(folder, joint())
        assert scores(index) == pytest.approx(by_hand(folder), abs=2e-3)
        assert set(index.failed) == broken
        assert scores(Index(folder, joint(), update=False)) == pytest.approx(scores(index), abs=1e-6)
        assert len(list(index.place.glob("*.safetensors"))) <= 2


def test_a_photo_that_is_moved_or_touched_does_not_go_through_the_network_again(photos, monkeypatch):
    before = scores(Index(photos, joint()))
    (photos / "more" / "p6.png").rename(photos / "other.png")
    os.utime(photos / "p0.png", ns=(5, 5))
    monkeypatch.setattr(lrcn.search, "read_photo", forbid)
    index = Index(photos, joint())
    assert (index.updated.added, index.updated.moved, index.updated.removed) == (0, 2, 1)
    after = scores(index)
    assert after.pop("other.png") == before.pop("more/p6.png")
    assert after == pytest.approx(before, abs=1e-6)


def test_a_stopped_update_goes_on_where_it_was(photos, monkeypatch):
    monkeypatch.setattr(lrcn.search, "_BATCH", 2)

    def stop(done: int, total: int) -> None:
        assert total == 7
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Index(photos, joint(), progress=stop)
    index = Index(photos, joint())
    assert index.updated.added == 3
    assert scores(index) == pytest.approx(by_hand(photos), abs=2e-3)


def test_what_is_done_is_written_now_and_then(photos, monkeypatch):
    monkeypatch.setattr(lrcn.search, "_BATCH", 2)
    monkeypatch.setattr(lrcn.search, "_SAVED", 2)
    parts = []
    place = photos / ".lrcn" / "index"
    Index(photos, joint(), progress=lambda *_: parts.append(len(list(place.glob("*.safetensors")))))
    assert parts == [1, 2, 3, 3]
    assert len(list(place.glob("*.safetensors"))) == 1


def test_the_index_of_another_model_is_refused_and_can_be_made_anew(photos):
    Index(photos, joint())
    with pytest.raises(LrcnError, match=r"made by another model, .*--rebuild"):
        Index(photos, joint(1))
    index = Index(photos, joint(1), rebuild=True)
    assert index.updated.added == 7
    assert scores(index) != pytest.approx(by_hand(photos), abs=2e-3)
    with pytest.raises(LrcnError, match="made by another model"):
        Index(photos, joint())


def test_a_model_and_its_folder_have_the_same_index(photos, tmp_path):
    model = joint()
    save_joint(tmp_path / "model", model.model, model.preprocess, model.tokenizer, half=False)
    Index(photos, model)
    assert Index(photos, tmp_path / "model", device="cpu").updated.added == 0


def test_a_photo_that_cannot_be_read_is_told_once_until_it_changes(photos, monkeypatch):
    (photos / "bad.jpg").write_bytes(b"no photo")
    told = []
    index = Index(photos, joint(), report=lambda path, reason: told.append((path, reason)))
    assert [path for path, _ in told] == [str(photos / "bad.jpg")]
    assert "bad.jpg" in told[0][1]
    assert index.failed == dict(told) == index.updated.failed
    assert len(index) == 7
    with monkeypatch.context() as patch:
        patch.setattr(lrcn.search, "read_photo", forbid)
        again = Index(photos, joint(), report=forbid)
    assert (again.failed, again.updated.failed) == (index.failed, {})
    write_photo(photos / "good.png", 9)
    (photos / "good.png").rename(photos / "bad.jpg")
    assert Index(photos, joint()).failed == {}


def test_a_photo_that_is_too_large_is_left_out(photos, monkeypatch):
    monkeypatch.setattr("lrcn.data.photo.MAX_PIXELS", 1250)
    Image.new("RGB", (50, 40)).save(photos / "huge.png")
    index = Index(photos, joint())
    assert list(index.failed) == [str(photos / "huge.png")]
    assert len(index) == 7


def test_a_photo_deleted_since_gives_its_place_to_the_next(photos):
    order = [hit.path for hit in Index(photos, joint()).search("blue", 7)]
    os.unlink(order[0])
    os.unlink(order[2])
    index = Index(photos, joint(), update=False)
    assert [hit.path for hit in index.search("blue", 2)] == [order[1], order[3]]
    assert [hit.path for hit in index.search("blue", 7)] == [order[n] for n in (1, 3, 4, 5, 6)]


def test_a_folder_without_photos_is_refused(tmp_path, photos):
    with pytest.raises(LrcnError, match="is no folder"):
        Index(photos / "p0.png", joint())
    (tmp_path / "empty").mkdir()
    with pytest.raises(LrcnError, match="No image in the folder"):
        Index(tmp_path / "empty", joint())
    assert list((tmp_path / "empty").rglob("*")) == []
    with pytest.raises(LrcnError, match="none is indexed yet"):
        Index(photos, joint(), update=False)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"")
    with pytest.raises(LrcnError, match="none can be read"):
        Index(tmp_path / "bad", joint())


def test_a_damaged_part_is_indexed_again(photos, caplog):
    before = scores(Index(photos, joint()))
    (part,) = (photos / ".lrcn" / "index").glob("*.safetensors")
    part.write_bytes(part.read_bytes()[:-10])
    index = Index(photos, joint())
    assert "is damaged" in caplog.text
    assert index.updated.added == 7
    assert scores(index) == before
    assert not part.exists()


def test_a_folder_that_cannot_be_written_has_its_index_in_the_cache(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (photos / ".lrcn").write_bytes(b"in the way")
    index = Index(photos, joint())
    assert index.place.parent == tmp_path / "cache" / "lrcn" / "index"
    assert Index(str(photos) + "/", joint()).updated.added == 0


# ---- the command ----


@pytest.fixture
def work(photos, tmp_path, monkeypatch):
    """A folder to work in, with the photos and a model folder."""
    model = joint()
    save_joint(tmp_path / "model", model.model, model.preprocess, model.tokenizer, half=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(capsys, *arguments: str, code: int = 0) -> tuple[str, str]:
    assert main(["search", *arguments, "--model", "model"]) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.out, captured.err


def test_words_find_photos(work, capsys):
    expected = sorted(by_hand(work / "photos").items(), key=lambda pair: -pair[1])
    out, err = found(capsys, "photos", "a red square", "--top", "3")
    assert [line.split(maxsplit=1)[1] for line in out.splitlines()] == [
        f"photos/{name}" for name, _ in expected[:3]
    ]
    assert err == ""
    # Words without quotes, after an option.
    assert found(capsys, "photos", "--top", "3", "a", "red", "square")[0] == out
    records = [
        json.loads(line)
        for line in found(capsys, "photos", "a red square", "--format", "jsonl")[0].splitlines()
    ]
    assert [record["path"] for record in records] == [f"photos/{name}" for name, _ in expected]
    assert [record["score"] for record in records] == pytest.approx(
        [score for _, score in expected], abs=2e-3
    )
    table = found(capsys, "photos", "a red square", "--format", "csv")[0].splitlines()
    assert table[0] == "path,score"
    assert len(table) == 8


def test_a_photo_finds_photos(work, capsys):
    out, _ = found(capsys, "photos", "--image", "photos/p1.png", "--top", "2")
    assert len(out.splitlines()) == 2
    assert "p1.png" not in out


def test_failures_are_told_and_the_rest_is_found(work, capsys):
    (work / "photos" / "bad.jpg").write_bytes(b"no photo")
    out, err = found(capsys, "photos", "purple square", code=1)
    assert len(out.splitlines()) == 7
    assert [line.split()[1] for line in err.splitlines() if "bad.jpg" in line] == ["photos/bad.jpg"]
    assert "not among the words that the model knows: purple." in err
    out, err = found(capsys, "photos", "square")
    assert len(out.splitlines()) == 7
    assert err == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["photos"], "say what to look for"),
        (["photos", "red", "--image", "photos/p0.png"], "one of the two"),
        (["photos", "cows"], "say it in plainer words"),
        (["photos", "--image", "none.jpg"], "none.jpg does not exist"),
        (["none", "red"], "none does not exist"),
        (["empty", "red"], "No image in the folder empty"),
        (["photos", "red", "--rebuild", "--no-update"], "either --no-update or --rebuild"),
        (["photos", "red", "--html", "empty"], "is a folder"),
        (["photos", "red", "--top", "0"], "whole number from 1 up"),
    ],
)
def test_a_wrong_call_is_one_sentence(work, capsys, arguments, sentence):
    (work / "empty").mkdir()
    out, err = found(capsys, *arguments, code=2)
    assert out == ""
    assert sentence in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("what", [["cows"], ["--image", "bad.jpg"]])
def test_what_cannot_be_looked_for_is_told_before_any_photo_is_read(work, capsys, what):
    (work / "bad.jpg").write_bytes(b"no photo")
    found(capsys, "photos", *what, code=2)
    assert not (work / "photos" / ".lrcn").exists()


def test_another_model_is_one_sentence(work, capsys):
    found(capsys, "photos", "red")
    other = joint(1)
    save_joint(work / "other", other.model, other.preprocess, other.tokenizer)
    assert main(["search", "photos", "red", "--model", "other"]) == 2
    assert "The index of photos was made by another model, model, than other" in capsys.readouterr().err
    assert main(["search", "photos", "red", "--model", "other", "--rebuild"]) == 0


class Page(HTMLParser):
    """The tags of a page with what they say."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_shows_the_photos_and_fetches_nothing(work, capsys):
    strange = "a <b> & 'c' #1.png"
    write_photo(work / "photos" / strange, 20)
    found(capsys, "photos", "a red square", "--html", "pages/found.html")
    text = (work / "pages" / "found.html").read_text(encoding="utf-8")
    tags = Page(text).tags
    images = [attributes for tag, attributes in tags if tag == "img"]
    assert len(images) == 8
    assert all(image["src"].startswith("data:image/jpeg;base64,") and image["alt"] for image in images)
    assert any(strange in image["alt"] for image in images)
    for tag, attributes in tags:
        assert tag not in ("link", "iframe", "object", "embed") or attributes.get("href", "").startswith(
            "data:"
        )
        assert "srcset" not in attributes
        if "src" in attributes:
            assert attributes["src"].startswith("data:")
    assert not re.search(r"https?://|@import|url\((?!['\"]?data:)", re.sub(r"base64,[\w+/=]+", "", text))
    links = [
        attributes["href"] for tag, attributes in tags if tag == "a" and attributes["href"].startswith("..")
    ]
    assert len(links) == 8
    assert "../photos/p0.png" in links
    assert "../photos/a%20%3Cb%3E%20%26%20%27c%27%20%231.png" in links
    assert ("html", {"lang": "en"}) in tags
    assert len(text) < 200_000


def test_the_page_of_a_photo_shows_it_first(work, capsys):
    found(capsys, "photos", "--image", "photos/p1.png", "--top", "2", "--html", "found.html")
    tags = Page((work / "found.html").read_text(encoding="utf-8")).tags
    images = [attributes["alt"] for tag, attributes in tags if tag == "img"]
    assert images[0] == "The photo that was asked about"
    assert len(images) == 3


def test_a_model_is_measured_both_ways(work, capsys):
    rows = [
        {"path": f"photos/p{n}.png", "captions": [f"a {COLOURS[n % 3]} square", "a circle"], "split": "dev"}
        for n in range(6)
    ]
    (work / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert (
        main(["eval", "--model", "model", "--data", "rows.jsonl", "--split", "dev", "--format", "json"]) == 0
    )
    values = json.loads(capsys.readouterr().out)
    assert (values["caption_to_image"]["queries"], values["image_to_caption"]["queries"]) == (12, 6)
    (work / "photos" / "p0.png").write_bytes(b"")
    assert main(["eval", "--model", "model", "--data", "rows.jsonl", "--split", "dev"]) == 1
    captured = capsys.readouterr()
    assert "caption -> image: R@1" in captured.out
    assert "p0.png" in captured.err


def test_a_model_folder_comes_back_as_it_was(tmp_path):
    model = joint()
    save_joint(
        tmp_path / "model", model.model, model.preprocess, model.tokenizer, metrics={"dev": 1}, half=False
    )
    again = load_joint(tmp_path / "model")
    assert (again.preprocess, again.tokenizer, again.metrics) == (
        model.preprocess,
        model.tokenizer,
        {"dev": 1},
    )
    ids = [model.tokenizer.encode("a red circle"), model.tokenizer.encode("blue")]
    assert torch.equal(again.sentences(ids), model.sentences(ids))
    (tmp_path / "model" / "tokenizer.json").write_text('{"words": ["<unk>", "red"]}')
    with pytest.raises(LrcnError, match="copy the whole folder again"):
        load_joint(tmp_path / "model")
