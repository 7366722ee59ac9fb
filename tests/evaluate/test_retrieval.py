"""Ranks, recall and median rank, against sorting every list."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrcn.errors import LrcnError
from lrcn.evaluate.retrieval import Recall, measure_retrieval, ranks_of_captions, ranks_of_images

few = settings(max_examples=40, deadline=None, derandomize=True)

# Two images with captions, and one without that only stands in the way.
SCORES = np.array(
    [
        [0.9, 0.1, 0.2],
        [0.8, 0.3, 0.5],
        [0.1, 0.6, 0.4],
    ]
)
IMAGE_OF = [0, 0, 1]


def test_the_rank_of_each_captions_image():
    assert ranks_of_images(SCORES, IMAGE_OF).tolist() == [1, 3, 1]


def test_the_rank_of_each_images_best_placed_caption():
    assert ranks_of_captions(SCORES, IMAGE_OF).tolist() == [1, 2]


@few
@given(images=st.integers(1, 300), captions=st.integers(1, 40), seed=st.integers(0, 9999))
def test_ranks_are_places_in_the_sorted_list(images, captions, seed):
    random = np.random.default_rng(seed)
    scores, image_of = random.normal(size=(images, captions)), random.integers(0, images, captions)
    for caption, rank in enumerate(ranks_of_images(scores, image_of)):
        assert np.argsort(-scores[:, caption])[rank - 1] == image_of[caption]
    asked = np.unique(image_of)
    for image, rank in zip(asked, ranks_of_captions(scores, image_of), strict=True):
        found = image_of[np.argsort(-scores[image])] == image
        assert rank == 1 + int(found.argmax())


def test_scores_that_are_all_alike_are_no_success():
    scores = np.zeros((4, 8))
    image_of = [0, 0, 1, 1, 2, 2, 3, 3]
    assert (ranks_of_images(scores, image_of) == 4).all()
    # Its own second caption stands in nobody's way.
    assert (ranks_of_captions(scores, image_of) == 7).all()


def test_recall_and_median_count_from_one():
    recall = Recall.of(np.array([1, 1, 4, 7, 11, 30]), 100)
    assert recall == Recall(6, 100, 2 / 6, 3 / 6, 4 / 6, 5.5, 9.0)


def test_both_directions():
    metrics = measure_retrieval(SCORES, IMAGE_OF)
    assert metrics.caption_to_image.queries == 3 and metrics.caption_to_image.candidates == 3
    assert metrics.image_to_caption.queries == 2 and metrics.image_to_caption.candidates == 3
    assert metrics.image_to_caption.recall_at_1 == 0.5 and metrics.image_to_caption.recall_at_5 == 1
    assert metrics.to_json()["caption_to_image"]["median_rank"] == 1.0
    text = "\n".join(metrics.lines())
    assert "caption -> image: R@1 66.7%" in text and "median rank 1.5 of 3 (2 queries)" in text


def test_captions_may_be_ranked_by_other_scores_than_images():
    metrics = measure_retrieval(SCORES, IMAGE_OF, captions_scores=-SCORES)
    assert metrics.caption_to_image == measure_retrieval(SCORES, IMAGE_OF).caption_to_image
    assert metrics.image_to_caption == measure_retrieval(-SCORES, IMAGE_OF).image_to_caption


@pytest.mark.parametrize(
    ("scores", "image_of", "said"),
    [
        (SCORES, [0, 0], "do not fit"),
        (SCORES[0], IMAGE_OF, "do not fit"),
        (SCORES[:, :0], [], "do not fit"),
        (SCORES, [0, 0, 3], "image 3 of 3"),
        (SCORES, [0, -1, 2], "image -1 of 3"),
        (np.full((3, 3), np.nan), IMAGE_OF, "no numbers"),
    ],
)
def test_what_does_not_fit_is_refused(scores, image_of, said):
    with pytest.raises(LrcnError, match=said):
        measure_retrieval(scores, image_of)
