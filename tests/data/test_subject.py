import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrcn.config import from_values, to_values
from lrcn.data.cloud import Camera
from lrcn.data.subject import SubjectConfig, SubjectCrop
from lrcn.errors import LrcnError


def person(x: int, y: int, height: int, level: int = 80, size: int = 160) -> np.ndarray:
    """One frame (3,size,size), black but for an upright box three times as high as wide."""
    frame = np.zeros((3, size, size), np.uint8)
    half = height // 6
    frame[:, y - height // 2 : y + height // 2, x - half : x + half] = level
    return frame


def crop(size: int = 48, **settings: object) -> SubjectCrop:
    return SubjectCrop(SubjectConfig(crop=True, **settings), size)


def test_a_subject_is_centred_at_its_own_scale_wherever_it_stands():
    near, _ = crop().images(person(100, 80, 90)[None])
    far, _ = crop().images(person(40, 60, 45)[None])
    overlap = ((near[0, 0] > 40) & (far[0, 0] > 40)).sum() / (far[0, 0] > 40).sum()
    assert overlap > 0.85
    columns = np.nonzero(near[0, 0] > 40)[1]
    assert columns.mean() == pytest.approx(23.5, abs=1)
    rows = np.nonzero(near[0, 0] > 40)[0]
    assert (rows.max() - rows.min() + 1) == pytest.approx(48 / 1.7, abs=2)


def test_the_box_stays_where_the_subject_was_first_seen():
    empty, first, moved = np.zeros_like(person(60, 80, 60)), person(60, 80, 60), person(75, 80, 60)
    images, box = crop().images(np.stack([empty, first, moved]))
    alone, _ = crop().images(first[None])
    assert box is not None
    assert images[0].max() == 0
    assert np.array_equal(images[1], alone[0])
    shift = np.nonzero(images[2, 0] > 40)[1].mean() - np.nonzero(images[1, 0] > 40)[1].mean()
    assert shift == pytest.approx(15 * 48 / box.side, abs=1)


def test_levels_are_told_from_the_subject_on():
    images, _ = crop(level=128).images(np.stack([person(80, 80, 60, 60), person(80, 80, 60, 90)]))
    assert images[0].max() == pytest.approx(128, abs=1)
    assert images[1].max() == pytest.approx(192, abs=1)
    unchanged, _ = crop().images(person(80, 80, 60, 60)[None])
    assert unchanged.max() == 60


def test_without_a_subject_the_whole_frame_is_shown():
    frame = np.random.default_rng(0).integers(0, 16, (3, 40, 60), dtype=np.uint8)
    images, box = crop(size=60).images(frame[None])
    assert box is None
    assert np.array_equal(images[0, :, 10:50], frame)


@given(cut=st.integers(0, 5), seed=st.integers(0, 9))
def test_pieces_give_the_images_of_one_pass(cut, seed):
    rng = np.random.default_rng(seed)
    frames = np.stack([person(int(rng.integers(30, 90)), 60, 60, size=120) for _ in range(5)])
    frames[: seed % 3] = 0
    whole, _ = crop(size=24, level=100).images(frames)
    first, box = crop(size=24, level=100).images(frames[:cut])
    rest, _ = crop(size=24, level=100).images(frames[cut:], box)
    assert np.array_equal(np.concatenate([first, rest]), whole)


def test_levels_that_are_distances_are_moved_and_not_multiplied():
    frames = np.stack([person(80, 80, 60, 60), person(80, 80, 60, 90)])
    images, _ = crop(level=128, depth=300).images(frames)
    assert (images[0].max(), images[1].max()) == (128, 158)
    unchanged, _ = crop(depth=300).images(frames[:1])
    assert unchanged.max() == 60


def test_distances_are_told_from_the_median_wherever_a_subject_stands():
    def reaching(level: int) -> np.ndarray:
        frame = person(80, 80, 60, level)
        frame[:, 60:66, 84:90] = level + 70
        return frame

    near, _ = crop(level=90, depth=300, sides=True).images(reaching(120)[None])
    far, _ = crop(level=90, depth=300, sides=True).images(reaching(60)[None])
    assert np.array_equal(near, far)


@given(cut=st.integers(0, 5), seed=st.integers(0, 9))
def test_pieces_of_depth_give_the_images_of_one_pass(cut, seed):
    rng = np.random.default_rng(seed)
    frames = np.stack([person(int(rng.integers(30, 90)), 60, 60, size=120) for _ in range(5)])
    frames[: seed % 3] = 0
    step = crop(size=30, level=100, depth=300.0, sides=True)
    whole, _ = step.images(frames)
    first, box = step.images(frames[:cut])
    rest, _ = step.images(frames[cut:], box)
    assert np.array_equal(np.concatenate([first, rest]), whole)


@pytest.mark.parametrize("sides", [False, True])
def test_what_the_picture_covers_holds_the_box_in_its_upper_left_corner(sides):
    step = crop(size=100, level=90, depth=300.0 if sides else 0.0, sides=sides)
    _, box = step.images(person(80, 80, 60)[None])
    assert box is not None
    whole = step.covered(box)
    assert whole.side * step.shown == pytest.approx(box.side)
    assert whole.x - whole.side / 2 == pytest.approx(box.x - box.side / 2)
    assert whole.y - whole.side / 2 == pytest.approx(box.y - box.side / 2)


@pytest.mark.parametrize(
    "settings",
    [{"background": 255}, {"level": -1}, {"least": 0.0}, {"room": 0.5}, {"depth": -1.0}, {"sides": True}],
)
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(LrcnError, match=next(iter(settings))):
        SubjectConfig(**settings)


def test_a_step_written_down_with_a_model_is_read_again():
    step = SubjectCrop(SubjectConfig(crop=True, level=96, depth=330.0, sides=True), 160)
    assert from_values(SubjectCrop, to_values(step)) == step
    turned = SubjectCrop(step.config, 160, Camera(turn=5.0, stretch=(1.0, 1.1, 0.9)))
    assert from_values(SubjectCrop, to_values(turned)) == turned
