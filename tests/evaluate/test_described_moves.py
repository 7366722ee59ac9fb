"""Measuring sentences about camera moves: clauses are counted, and the rest is scored without them."""

import pytest

from lrcn.data.manifest import Row
from lrcn.data.tokenizer import Tokenizer
from lrcn.evaluate.described_moves import moves_in_words
from lrcn.generate import Sentence

ROWS = [
    Row(
        "a",
        captions=("the camera pans left over two dogs", "the camera pans to the left as two dogs run"),
        extra={"move": "pan left"},
    ),
    Row("b", captions=("the camera pans right over a red car",), extra={"move": "pan right"}),
    Row("c", captions=("the camera rests on a boy",), extra={"move": "static"}),
    Row("d", captions=("the camera zooms in on snow",), extra={"move": "zoom in"}),
]
TOKENIZER = Tokenizer(("<unk>", *dict.fromkeys(" ".join(c for row in ROWS for c in row.captions).split())))


def measured(*texts):
    sentences = [Sentence(tuple(TOKENIZER.encode(text)[:-1]), -1.0, True) for text in texts]
    return moves_in_words(TOKENIZER, ROWS, sentences)


def test_what_is_right_is_right():
    found = measured(*(row.captions[0] for row in ROWS))
    assert (found.clips, found.right, found.direction, found.wrong) == (4, 1.0, 1.0, ())
    assert found.rest.corpus["bleu_1"] == pytest.approx(1)
    assert found.to_json()["rest"] == found.rest.to_json()["corpus"]


def test_moves_directions_and_the_rest_are_apart():
    found = measured(
        "the camera pans right over two dogs",
        "the camera pans to the right over a red car",
        "the camera pans left over a boy",
        "snow",
    )
    assert found.right == 0.25
    # Of left and right one of two; a shot at rest has no direction, and nothing was said of the zoom.
    assert found.direction == 0.5
    assert set(found.wrong) == {("pan left", "pan right", 1), ("static", "pan left", 1), ("zoom in", None, 1)}
    assert found.rest.corpus["bleu_1"] == pytest.approx(1)
    assert "right of 25.0% (direction 50.0%)" in found.line()


def test_without_moves_there_is_no_direction():
    found = moves_in_words(
        TOKENIZER, ROWS[2:3], [Sentence(tuple(TOKENIZER.encode("a boy")[:-1]), -1.0, True)]
    )
    assert (found.right, found.direction) == (0, None) and "direction" not in found.line()
