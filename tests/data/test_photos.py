"""Photos with sentences: preprocessing, draws that follow from the seed, and batches."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_photos import captioned_photos
from PIL import Image

from lrcn.data.cache import FeatureCache
from lrcn.data.manifest import Row, read_manifest
from lrcn.data.photo import PhotoError
from lrcn.data.photos import (
    CaptionedPhotos,
    PhotoDataset,
    PhotoPreprocess,
    collate_captioned,
    encoded_rows,
    prepared,
)
from lrcn.data.tokenizer import EOS, Tokenizer
from lrcn.data.transforms import Augment
from lrcn.errors import LrcnError


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return read_manifest(captioned_photos(tmp_path_factory.mktemp("photos"), train=4, dev=0, size=48))


def ramp(height, width):
    """Brighter to the right in red, and downwards in green."""
    photo = np.zeros((height, width, 3), np.uint8)
    photo[..., 0] = np.linspace(0, 255, width)
    photo[..., 1] = np.linspace(0, 255, height)[:, None]
    return photo


def test_the_centre_is_cut_out_of_a_larger_square():
    pixels = PhotoPreprocess(size=227, resize=256)(ramp(256, 256))
    assert pixels.shape == (3, 227, 227) and pixels.dtype == torch.uint8
    assert torch.equal(pixels, torch.from_numpy(ramp(256, 256)[14:241, 14:241]).permute(2, 0, 1))
    assert PhotoPreprocess(8, fit="letterbox")(ramp(10, 20))[:, 0].sum() == 0


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 12),
    st.sampled_from(["squash", "crop", "letterbox"]),
)
def test_a_photo_of_any_shape_has_the_size_the_network_reads(height, width, size, fit):
    assert PhotoPreprocess(size, fit=fit)(ramp(height, width)).shape == (3, size, size)


def test_training_draws_follow_from_seed_photo_and_view(rows):
    args = (rows, PhotoPreprocess(32, 40), Augment(flip=True))
    one, same, other = (PhotoDataset(*args, train=True, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.item(2, 5)["frames"], same.item(2, 5)["frames"])
    assert not torch.equal(one.item(2, 5)["frames"], other.item(2, 5)["frames"])
    assert len({one.key(index, view) for index in range(4) for view in range(3)}) == 12
    assert one.key(1, 1) != other.key(1, 1)


def test_without_room_every_other_view_is_the_mirror_of_the_photo(rows):
    plain = PhotoDataset(rows, PhotoPreprocess(32))
    drawn = PhotoDataset(rows, PhotoPreprocess(32), Augment(flip=True), train=True)
    for index in range(4):
        views = [drawn.item(index, view)["frames"] for view in range(2)]
        photo = plain.item(index, 0)["frames"]
        assert torch.equal(views[index % 2], photo) and torch.equal(views[1 - index % 2], photo.flip(-1))


def test_without_changes_training_photos_share_their_features_with_others(rows):
    drawn, plain = (
        PhotoDataset(rows, PhotoPreprocess(32), Augment(), train=True),
        PhotoDataset(rows, PhotoPreprocess(32)),
    )
    assert drawn.key(0, 3) == plain.key(0, 0)


def test_a_photo_that_cannot_be_read_is_replaced_in_training_with_its_sentences(rows, tmp_path, caplog):
    (tmp_path / "bad.jpg").write_text("no photo")
    several = [Row(str(tmp_path / "bad.jpg"), captions=("wrong",)), *rows]
    photos = PhotoDataset(several, PhotoPreprocess(32), train=True)
    clips = CaptionedPhotos(photos, [[[9, EOS]], *[[[number, EOS]] for number in range(1, 5)]])
    with caplog.at_level(logging.WARNING):
        item = clips.item(0, 0)
        clips.item(0, 1)
    assert item["index"] == 1 and item["sentences"] == [[1, EOS]] and len(caplog.records) == 1
    assert list(photos.failed) == [str(tmp_path / "bad.jpg")]
    with pytest.raises(PhotoError, match="no picture of a known format"):
        PhotoDataset(several, PhotoPreprocess(32)).item(0, 0)
    with pytest.raises(PhotoError, match="None of the 1 photos"):
        PhotoDataset(several[:1], PhotoPreprocess(32), train=True).item(0, 0)


@given(
    st.lists(
        st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=1, max_size=4), min_size=1, max_size=4
    )
)
def test_a_batch_holds_every_sentence_once_with_its_photo(texts):
    items = [
        {"frames": torch.full((1, 3, 2, 2), place, dtype=torch.uint8), "index": place + 7, "sentences": some}
        for place, some in enumerate([[*ids, EOS] for ids in of_photo] for of_photo in texts)
    ]
    batch = collate_captioned(items)
    assert batch["index"].tolist() == [place + 7 for place in range(len(texts))]
    assert batch["frames"][:, 0, 0, 0].tolist() == list(range(len(texts)))
    lengths = batch["lengths"].tolist()
    assert lengths == sorted(lengths, reverse=True)
    told = [
        (int(place), row[:length].tolist())
        for row, length, place in zip(batch["said"], lengths, batch["image_of"], strict=True)
    ]
    wanted = [(place, ids) for place, item in enumerate(items) for ids in item["sentences"]]
    assert sorted(told) == sorted(wanted)
    inside = torch.arange(batch["said"].shape[1]) < batch["lengths"][:, None]
    assert bool((batch["said"][~inside] == -100).all())


def test_features_take_the_place_of_photos(rows, tmp_path):
    photos = PhotoDataset(rows, PhotoPreprocess(32), Augment(flip=True), train=True)
    cache = FeatureCache(tmp_path, lambda frames: frames.float().mean((2, 3)), "mean")
    kept = cache.dataset(photos, views=2)
    kept.fill()
    clips = CaptionedPhotos(kept, encoded_rows(rows, Tokenizer.learn(rows[0].captions, min_count=1))[0])
    batch = clips.join([clips.item(0, 0), clips.item(1, 5)])
    assert batch["maps"].shape == (2, 3) and len(batch["said"]) == 4
    wanted = photos.item(1, 1)["frames"].float().mean((2, 3))[0]
    assert torch.allclose(batch["maps"][1].float(), wanted, atol=0.2)


def test_rows_are_encoded_in_order_and_must_have_sentences(rows):
    tokenizer = Tokenizer.learn([caption for row in rows for caption in row.captions], min_count=1)
    sentences, report = encoded_rows(rows, tokenizer)
    assert [[tokenizer.encode(text) for text in row.captions] for row in rows] == sentences
    assert report.captions == 8 and report.unknown == 0
    with pytest.raises(LrcnError, match=r"a\.jpg has no captions"):
        encoded_rows([Row("a.jpg")], tokenizer)


def test_prepared_says_of_each_photo_why_it_cannot_be_read(rows, tmp_path):
    Image.new("RGB", (5, 9)).save(tmp_path / "a.png")
    one, two, three = prepared([tmp_path / "a.png", tmp_path / "none.png", ramp(4, 4)], PhotoPreprocess(16))
    assert one.shape == three.shape == (3, 16, 16) and isinstance(two, PhotoError)
