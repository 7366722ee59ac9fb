"""Shot cuts: found between different pictures, and not in motion, flashes or fades."""

import numpy as np
import pytest

from lrcn.cuts import CutDetector
from lrcn.data.picture import Resize
from lrcn.data.video import read_clip
from lrcn.demo_film import shipped


@pytest.fixture(scope="module")
def photos():
    """Four photos that ship, uint8 (H, W, 3)."""
    from lrcn.data.source import read_image

    return [read_image(shipped(f"{name}.jpg")) for name in ("cat", "coffee", "galaxies", "rocket")]


def cuts(frames):
    detector = CutDetector()
    return [i for i, frame in enumerate(frames) if detector.push(np.ascontiguousarray(frame))]


def test_each_other_picture_is_a_cut(photos):
    shots = [photo[:200, :200] for photo in photos for _ in range(3)]
    assert cuts(shots) == [3, 6, 9]


def test_a_fast_pan_is_none(photos):
    for photo in photos:
        wide = photo.shape[1] // 2
        assert cuts([photo[:, x : x + wide] for x in range(0, wide, wide // 10)]) == []


def test_a_flash_and_a_fade_are_none(photos):
    for photo in photos:
        flash = np.minimum(photo.astype(int) + 70, 255).astype(np.uint8)
        assert cuts([photo, photo, flash, photo]) == []
        fade = [(photo * share).astype(np.uint8) for share in np.linspace(1, 0.1, 12)]
        assert cuts(fade) == []


def test_noise_on_a_black_picture_is_none():
    rng = np.random.default_rng(0)
    assert cuts(rng.integers(0, 3, (10, 60, 80, 3), dtype=np.uint8)) == []


def test_a_film_has_its_cut_and_no_more(photos):
    film = read_clip(shipped("big-buck-bunny.mp4"), rate=10, start=2.0).frames.transpose(0, 2, 3, 1)
    assert cuts(film) == []
    other = [photos[0][:200, :300]] * 2
    assert cuts([*film, *other]) == [len(film)]


def test_it_goes_on_from_its_state(photos):
    first, second = CutDetector(), CutDetector()
    first.push(photos[0])
    second.restore(first.state())
    assert not second.push(photos[0])
    second.restore(first.state())
    assert second.push(photos[1])
    second.restore(CutDetector().state())
    assert not second.push(photos[2])
    with pytest.raises(ValueError, match="no state"):
        second.restore({"grid": np.zeros(3, np.float32)})


@pytest.mark.real
def test_clips_follow_each_other_by_cuts_and_their_own_frames_do_not(shared_data):
    paths = sorted((shared_data / "fights").glob("*/*.mp4"))[::16]
    clips = [read_clip(path, end=1.0, resize=Resize(112)).frames.transpose(0, 2, 3, 1) for path in paths]
    starts = np.cumsum([len(clip) for clip in clips])[:-1]
    found = cuts(np.concatenate(clips))
    assert set(found) <= set(starts)
    assert len(found) >= len(starts) - 1
