"""The demo's part about words: what it shows is what the models said, and its verdicts are right."""

import re
from html import unescape

import numpy as np
import pytest
from made_words import tiny_captioner, tiny_finder

import lrcn
from lrcn.demo_words import words_of_media, words_section
from lrcn.errors import LrcnError


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    return tiny_captioner(folder / "writer"), tiny_finder(folder / "finder")


@pytest.fixture(scope="module")
def told(models):
    """(words, lines for the terminal)."""
    lines = []
    return words_of_media(models, "cpu", lines.append), lines


def test_every_picture_has_the_captioners_sentence(told, models):
    words, lines = told
    assert list(words.pictures) == ["coffee", "cat", "galaxies", "rocket", "film at 0.5 s", "film at 6 s"]
    captioner = lrcn.load(models[0], "cpu")
    for name, picture in words.pictures.items():
        assert words.written[name].caption == captioner.caption(picture).caption
        assert any(line.split()[0] == name.split()[0] for line in lines)
    assert not np.array_equal(words.pictures["film at 0.5 s"], words.pictures["film at 6 s"])


def test_the_picture_found_is_the_nearest_and_the_verdict_is_right(told, models):
    words, lines = told
    finder = lrcn.load(models[1], "cpu")
    names = list(words.pictures)
    seen = [finder.images(finder.preprocess(one)[None])[0] for one in words.pictures.values()]
    about = {
        "lights": "galaxies",
        "a rocket": "rocket",
        "an animal": "film",
        "a cup": "coffee",
        "a cat": "cat",
    }
    for hit in words.found:
        (read,) = finder.sentences([finder.tokenizer.encode(hit.sentence)])
        scores = [float(read @ one) for one in seen]
        assert hit.name == names[int(np.argmax(scores))] and hit.score == pytest.approx(max(scores), abs=1e-5)
        (right,) = (medium for begin, medium in about.items() if hit.sentence.startswith(begin + " "))
        assert hit.right == (hit.name.split()[0] == right)
        assert any(hit.sentence in line and ("right" if hit.right else "wrong") in line for line in lines)


def test_the_section_shows_them_all(told):
    words, _ = told
    body = words_section(words).body
    assert body.count("data:image/jpeg;base64,") == 11 == body.count("<figcaption>")
    right = sum(hit.right for hit in words.found)
    assert f"the right picture first for {right} of 5" in body
    assert len(re.findall(r", right<", body)) == right
    assert all(unescape(one.caption) in unescape(body) for one in words.written.values())


def test_models_of_other_tasks_are_refused(models):
    with pytest.raises(LrcnError, match="writes sentences about photos"):
        words_of_media((models[1], models[0]), "cpu", print)
