"""Photos as people have them, by command: odd ones are read, bad ones told on a line each, and the rest goes on."""

import json
import os

import numpy as np
import pytest
from made_words import tiny_captioner, tiny_finder
from PIL import Image

from lrcn.cli import main
from lrcn.models.joint_folder import LoadedJoint

ODD = (
    "alpha.png",
    "animated.gif",
    "cmyk.jpg",
    "deep.png",
    "grey.png",
    "one.png",
    "palette.png",
    "turned.jpg",
)
BAD = {
    "bomb.png": "more than 67 million; scale it down first",
    "cut.jpg": "cannot be read as a picture",
    "empty.png": "is no picture of a known format",
    "text.jpg": "is no picture of a known format",
}


def odd_photos(folder):
    """One photo of each kind that can be read and that cannot."""
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    photo = Image.fromarray(pixels)
    photo.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray((pixels[..., 0].astype(np.uint16) << 8) + 7).save(folder / "deep.png")
    photo.convert("L").save(folder / "grey.png")
    photo.convert("P").save(folder / "palette.png")
    photo.convert("RGBA").save(folder / "alpha.png")
    photo.resize((1, 1)).save(folder / "one.png")
    others = [Image.fromarray(255 - pixels)]
    photo.save(folder / "animated.gif", save_all=True, append_images=others, duration=50)
    notes = Image.Exif()
    notes[0x0112] = 6
    photo.save(folder / "turned.jpg", exif=notes)
    photo.save(folder / "whole.jpg")
    whole = (folder / "whole.jpg").read_bytes()
    (folder / "whole.jpg").unlink()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("no photo at all")
    (folder / "empty.png").touch()
    # 67 million and more, in a file of some kilobytes.
    Image.new("1", (9000, 9000)).save(folder / "bomb.png")
    assert sorted(os.listdir(folder)) == sorted([*ODD, *BAD])


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with the photos, a captioner `writer` and two joint embeddings, `finder` and `other`."""
    folder = tmp_path_factory.mktemp("odd")
    odd_photos(folder / "photos")
    tiny_captioner(folder / "writer")
    tiny_finder(folder / "finder")
    tiny_finder(folder / "other", seed=1)
    return folder


@pytest.fixture
def run(work, monkeypatch, capsys):
    """Runs a command there -> exit code, standard output, lines on standard error."""
    monkeypatch.chdir(work)

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err.splitlines()

    return run


def assert_bad_are_told(lines):
    assert len(lines) == len(BAD)
    for name, why in BAD.items():
        (line,) = (line for line in lines if name in line)
        assert line.startswith("lrcn: ") and why in line


def test_caption_writes_about_odd_photos_and_tells_of_bad_ones(run):
    code, out, err = run("caption", "photos", "--model", "writer", "--format", "jsonl")
    assert code == 1
    assert_bad_are_told(err)
    records = {os.path.basename(record["path"]): record for record in map(json.loads, out.splitlines())}
    assert sorted(name for name in records if "caption" in records[name]) == sorted(ODD)
    assert sorted(name for name in records if "error" in records[name]) == sorted(BAD)
    assert run("caption", "photos/deep.png", "--model", "writer")[0] == 0


def test_search_finds_odd_photos_and_tells_of_bad_ones_once(run):
    code, out, err = run("search", "photos", "a red square", "--model", "finder", "--top", 99)
    assert code == 1 and len(out.splitlines()) == len(ODD)
    assert_bad_are_told(err)
    code, again, err = run("search", "photos", "a red square", "--model", "finder", "--top", 99)
    assert (code, again, err) == (0, out, [])


def test_an_index_of_another_model_is_refused(run):
    run("search", "photos", "red", "--model", "finder")
    code, out, (line,) = run("search", "photos", "red", "--model", "other")
    assert code == 2 and not out and "made by another model, finder, than other" in line


@pytest.mark.parametrize("verb", ["caption", "search"])
def test_a_folder_without_photos_is_one_sentence(run, work, verb):
    (work / "nothing").mkdir(exist_ok=True)
    words = ["red"] if verb == "search" else []
    model = "finder" if verb == "search" else "writer"
    code, out, (line,) = run(verb, "nothing", *words, "--model", model)
    # One of several inputs may fail; the one folder of a search is the call.
    assert code == (2 if verb == "search" else 1) and not out and "No image in the folder nothing" in line


def test_photos_deleted_and_changed_since_are_seen_as_they_are(run, work):
    folder = work / "album"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (9, 9), (90 * number, 0, 99)).save(folder / f"{number}.png")
    search = ("search", "album", "a blue square", "--model", "finder", "--format", "jsonl")
    before = {json.loads(line)["path"]: json.loads(line)["score"] for line in run(*search)[1].splitlines()}
    (folder / "0.png").unlink()
    Image.effect_noise((30, 20), 99).save(folder / "1.png")
    code, out, err = run(*search, "--no-update")
    assert (code, err) == (0, []) and "0.png" not in out
    assert {json.loads(line)["path"] for line in out.splitlines()} == {"album/1.png", "album/2.png"}
    after = {json.loads(line)["path"]: json.loads(line)["score"] for line in run(*search)[1].splitlines()}
    assert sorted(after) == ["album/1.png", "album/2.png"]
    assert after["album/2.png"] == before["album/2.png"] and after["album/1.png"] != before["album/1.png"]


def test_an_interrupted_index_goes_on(run, work, monkeypatch):
    folder = work / "many"
    folder.mkdir()
    for number in range(20):
        Image.new("RGB", (9, 9), (12 * number, 0, 99)).save(folder / f"{number:02}.png")
    images, seen = LoadedJoint.images, []

    def interrupted(self, photos):
        if seen:
            raise KeyboardInterrupt
        seen.append(len(photos))
        return images(self, photos)

    search = ("search", "many", "red", "--model", "finder", "--top", 99)
    with monkeypatch.context() as patch:
        patch.setattr(LoadedJoint, "images", interrupted)
        code, out, lines = run(*search)
    assert code == 130 and not out and len(lines) <= 1
    monkeypatch.setattr(
        LoadedJoint, "images", lambda self, photos: seen.append(len(photos)) or images(self, photos)
    )
    code, out, _ = run(*search)
    assert code == 0 and len(out.splitlines()) == 20 and seen == [16, 4]
