"""Sentences that say camera moves: what is put before a caption is read back, and clips are what is said of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_photos import captioned_photos

from lrcn.data.described_moves import (
    DESCRIBED_STYLE,
    PHRASES,
    DescribedMoves,
    clause_words,
    described_rows,
    finite_verbs,
    move_and_rest,
    sentence_of,
)
from lrcn.data.manifest import Row, read_manifest
from lrcn.data.moves import DIRECTION_PAIRS, MOVES, MoveStyle
from lrcn.data.tokenizer import split_words

SMALL = MoveStyle(frames=5, size=24)
VERBS = frozenset(["is", "runs"])
SAID = ["a", "two", "dogs", "as", "over", "on", "from", "the", "camera", "pans", "left", "runs", "is", "snow"]
words = st.lists(st.sampled_from(SAID), min_size=1)


@given(st.sampled_from(MOVES), words, st.integers(0, 99))
def test_a_clause_is_read_back_and_the_rest_is_the_caption(move, said, seed):
    caption = " ".join(said)
    sentence = sentence_of(move, caption.capitalize(), VERBS, np.random.default_rng(seed))
    assert move_and_rest(sentence) == (move, caption)
    # Also of what the network would write, whose words are those of the metrics.
    assert move_and_rest(" ".join(split_words(sentence, "modern")))[0] == move
    assert set(sentence.split()) <= set(clause_words()) | set(said)


@pytest.mark.parametrize(
    "text", ["Two dogs run.", "The camera is on a table.", "", "the camera pans leftover"]
)
def test_what_says_no_move_is_left_whole(text):
    assert move_and_rest(text) == (None, text.lower())


def test_every_move_has_words_of_its_own():
    said = [phrase for phrases in PHRASES.values() for phrase in phrases]
    assert set(PHRASES) == set(MOVES) and len(set(said)) == len(said)
    for one, other in DIRECTION_PAIRS:
        assert not set(PHRASES[MOVES[one]]) & set(PHRASES[MOVES[other]])


def test_a_sentence_is_told_from_a_thing():
    captions = [
        "A dog running",
        "A dog runs",
        "Dogs running on rocks",
        "Dogs",
        "He carries it",
        "carrying a ball",
    ]
    verbs = finite_verbs(captions)
    assert {"runs", "carries", "is"} <= verbs and not verbs & {"dogs", "rocks", "running"}
    rng = np.random.default_rng(0)
    assert " as a dog runs" in sentence_of("tilt up", "A dog runs", verbs, rng)
    assert " over a running dog" in sentence_of("tilt up", "A running dog", verbs, rng)
    assert " on a running dog" in sentence_of("static", "A running dog", verbs, rng)


def test_rows_and_clips_say_the_same_move_and_follow_from_the_seed(tmp_path):
    photos = [row for row in read_manifest(captioned_photos(tmp_path, train=10)) if row.split == "train"]
    rows = described_rows(photos, VERBS, seed=3)
    assert rows == described_rows(photos, VERBS, seed=3) != described_rows(photos, VERBS, seed=4)
    assert [row.extra["move"] for row in rows] == [MOVES[k % 9] for k in range(10)]
    clips = DescribedMoves(rows, SMALL, seed=3)
    for index, row in enumerate(rows):
        assert {move_and_rest(said)[0] for said in row.captions} == {row.extra["move"]}
        item = clips.item(index, 0)
        assert set(item["label"].tolist()) == {MOVES.index(row.extra["move"])}
        assert item["frames"].shape == (5, 3, 24, 24)
    assert len({clips.key(index, 0) for index in range(10)}) == len(clips) == 10
    assert clips.key(0, 0) == clips.key(0, 1) != DescribedMoves(rows, SMALL, seed=4).key(0, 0)


def test_a_clip_is_one_move_whatever_the_style():
    rows = [Row("a.jpg", extra={"move": "tilt up"}), Row("b.jpg", extra={"move": "tilt up"})]
    clips = DescribedMoves(rows, MoveStyle(switch=1.0, cut=1.0))
    assert clips.style == MoveStyle() and [clips.label(0), clips.label(1, 7)] == [MOVES.index("tilt up")] * 2
    # Of 17 frames the two that are key frames lie as far before the middle as after it.
    assert DESCRIBED_STYLE.frames % 2 == 1
