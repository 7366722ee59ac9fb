import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lrcn.data.cloud import Camera
from lrcn.data.flow import Kind
from lrcn.data.subject import SubjectConfig
from lrcn.data.transforms import Augment, Preprocess
from lrcn.data.video import Resize
from lrcn.errors import LrcnError

EVERYTHING = Augment(scale=0.5, flip=True, colour=0.4, rotate=15, stretch=0.1)

augments = st.builds(
    Augment,
    scale=st.floats(0.05, 1),
    flip=st.booleans(),
    colour=st.floats(0, 1),
    rotate=st.floats(0, 180),
    stretch=st.floats(0, 0.9),
)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def drawn(augment: Augment, frames: Tensor, size: int, seed: int, kind: Kind = "none") -> Tensor:
    return augment(frames, size, torch.Generator().manual_seed(seed), kind)


@settings(max_examples=40, deadline=None)
@given(
    augments,
    st.integers(1, 3),
    st.integers(1, 24),
    st.integers(1, 24),
    st.integers(1, 20),
    st.integers(0, 999),
)
def test_any_augmentation_gives_uint8_frames_of_the_size(augment, count, height, width, size, seed):
    changed = drawn(augment, noise(count, 3, height, width), size, seed)
    assert changed.dtype == torch.uint8
    assert changed.shape == (count, 3, size, size)


@settings(max_examples=40, deadline=None)
@given(augments, st.integers(0, 999))
def test_equal_frames_of_a_clip_stay_equal(augment, seed):
    # Between them stands another frame: a draw or a mean taken per frame would show.
    frames = torch.stack(
        [noise(3, 24, 24), torch.full((3, 24, 24), 250, dtype=torch.uint8), noise(3, 24, 24)]
    )
    changed = drawn(augment, frames, 16, seed)
    assert torch.equal(changed[0], changed[2])


def test_equal_colours_in_different_frames_stay_equal():
    frames = noise(2, 3, 16, 16)
    frames[:, :, 4, 4] = torch.tensor([10, 120, 200], dtype=torch.uint8)
    frames[1, :, 8:] = 255
    changed = drawn(Augment(colour=0.4), frames, 16, 1)
    assert not torch.equal(changed, frames)
    assert torch.equal(changed[0, :, 4, 4], changed[1, :, 4, 4])


@given(st.integers(0, 999))
@settings(max_examples=10, deadline=None)
def test_the_generator_is_the_only_source_of_chance(seed):
    frames = noise(2, 3, 24, 24)
    torch.manual_seed(1)
    first = drawn(EVERYTHING, frames, 16, seed)
    state = torch.random.get_rng_state()
    torch.manual_seed(2)
    again = drawn(EVERYTHING, frames, 16, seed)
    torch.manual_seed(1)
    assert torch.equal(first, again)
    assert torch.equal(state, torch.random.get_rng_state())


def test_draws_differ():
    frames = noise(1, 3, 24, 24)
    assert len({drawn(EVERYTHING, frames, 16, seed).numpy().tobytes() for seed in range(10)}) == 10


def test_the_defaults_change_nothing_and_the_input_is_left_alone():
    frames = noise(2, 3, 16, 16)
    before = frames.clone()
    assert torch.equal(drawn(Augment(), frames, 16, 3), before)
    drawn(EVERYTHING, frames, 16, 3)
    assert torch.equal(frames, before)


def test_flip_mirrors_about_half_of_the_clips_whole():
    frames = noise(2, 3, 8, 8)
    clips = [drawn(Augment(flip=True), frames, 8, seed) for seed in range(200)]
    mirrored = sum(torch.equal(clip, frames.flip(-1)) for clip in clips)
    assert all(torch.equal(clip, frames) or torch.equal(clip, frames.flip(-1)) for clip in clips)
    assert 70 <= mirrored <= 130


def test_switching_one_change_on_leaves_the_draws_of_the_others():
    frames = noise(1, 3, 32, 32)
    for seed in range(8):
        plain = drawn(Augment(scale=0.3), frames, 16, seed)
        flipped = drawn(Augment(scale=0.3, flip=True), frames, 16, seed)
        assert torch.equal(flipped, plain) or torch.equal(flipped, plain.flip(-1))


def test_the_crop_keeps_at_least_its_share_of_the_area_and_reaches_all_sides():
    # Each pixel tells where it stood, so the first and last ones of a crop tell its box.
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    frames = torch.stack([rows * 4, columns * 4, rows]).to(torch.uint8)[None]
    shares, firsts = [], []
    for seed in range(300):
        crop = drawn(Augment(scale=0.25), frames, 32, seed)[0].double()
        height = (crop[0, -1, 0] - crop[0, 0, 0]) / 4
        width = (crop[1, 0, -1] - crop[1, 0, 0]) / 4
        shares.append(float(height * width) / 64**2)
        firsts.append((float(crop[0, 0, 0]), float(crop[1, 0, 0])))
    assert 0.2 < min(shares) < 0.3
    assert max(shares) > 0.85
    assert min(map(min, firsts)) <= 4
    assert max(map(max, firsts)) > 80


def test_stretching_makes_things_larger_and_smaller_and_moves_them():
    frames = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    frames[:, :, 24:40, 24:40] = 255
    boxes = []
    for seed in range(100):
        rows, columns = torch.nonzero(drawn(Augment(stretch=0.3), frames, 64, seed)[0, 0] > 127).T
        boxes.append([*(int(ends.max() - ends.min() + 1) for ends in (rows, columns)), int(rows.min())])
    heights, widths, tops = zip(*boxes, strict=True)
    assert min(heights) <= 13 and max(heights) >= 19 and min(widths) <= 13 and max(widths) >= 19
    assert min(tops) < 20 and max(tops) > 28
    assert any(abs(height - width) >= 3 for height, width, _ in boxes)


def test_stretched_flow_moves_further_the_same_way():
    frames = torch.full((1, 3, 16, 16), 128, dtype=torch.uint8)
    frames[:, 0], frames[:, 1], frames[:, 2] = 128 + 30, 128 - 40, 128 + 50
    for seed in range(10):
        u, v, length = (
            drawn(Augment(stretch=0.3), frames, 16, seed, "flow")[0, :, 8, 8].double() - 128
        ).tolist()
        assert 20 <= u <= 40 and -53 <= v <= -27
        assert length == pytest.approx(math.hypot(u, v), abs=1.5)


def test_rotation_turns_about_the_centre_and_shows_no_black_corners():
    frames = torch.full((1, 3, 32, 32), 200, dtype=torch.uint8)
    for seed in range(10):
        assert int(drawn(Augment(rotate=45), frames, 32, seed).min()) >= 199
    bright = torch.zeros(1, 3, 33, 33, dtype=torch.uint8)
    bright[:, :, 14:19, 14:19] = 255
    turned = drawn(Augment(rotate=45), bright, 33, 1)[0, 0].double()
    ahead = torch.arange(33, dtype=torch.float64)
    assert not torch.equal(turned, bright[0, 0].double())
    assert float((turned.sum(0) * ahead).sum() / turned.sum()) == pytest.approx(16, abs=0.2)
    assert float((turned.sum(1) * ahead).sum() / turned.sum()) == pytest.approx(16, abs=0.2)


def test_training_frames_are_those_of_evaluation_when_nothing_is_cropped():
    preprocess = Preprocess(112, "crop")
    assert preprocess.resize == Resize(112, "crop")
    for augment in (None, Augment(), Augment(flip=True, colour=0.4, rotate=10)):
        assert preprocess.training_resize(augment) == preprocess.resize


@given(st.floats(0.25, 1), st.integers(8, 256))
def test_the_smallest_crop_still_has_the_pixels_of_the_input(scale, size):
    decoded = Preprocess(size).training_resize(Augment(scale=scale)).size
    assert decoded * math.sqrt(scale) >= size - 1e-6
    assert decoded <= size / math.sqrt(scale) + 1


def test_the_margin_has_a_limit():
    assert Preprocess(100).training_resize(Augment(scale=0.01)).size == 200


def places(height: int, width: int) -> Tensor:
    """Frames whose every pixel says its row and column."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns, rows]).to(torch.uint8)[None].repeat(3, 1, 1, 1)


def test_a_larger_frame_is_cut_at_its_centre_or_anywhere_in_training():
    preprocess = Preprocess(24, frame=(30, 40))
    assert preprocess.resize == Resize(30, width=40) == preprocess.training_resize(Augment(scale=0.5))
    frames = places(30, 40)
    for augment in (None, Augment(), Augment(flip=True)):
        images, _ = preprocess.preparation(augment)(frames.numpy())
        assert np.array_equal(images, frames[..., 3:27, 8:32])
    shift = Augment(shift=True)
    images, _ = preprocess.preparation(shift)(frames.numpy())
    assert np.array_equal(images, frames)
    corners = set()
    for seed in range(200):
        cut = drawn(shift, frames, 24, seed)
        top, left = cut[0, :2, 0, 0].tolist()
        # As it is, and at one place for the whole clip.
        assert torch.equal(cut, frames[..., top : top + 24, left : left + 24])
        corners.add((top, left))
    assert {top for top, _ in corners} == set(range(7)) and {left for _, left in corners} == set(range(17))
    small = drawn(Augment(shift=True, scale=0.25), frames, 24, 1)
    assert small.shape == (3, 3, 24, 24)
    assert 11 <= int(small[0, 0].max()) - int(small[0, 0].min()) <= 23


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (
            lambda: Preprocess(24, frame=(23, 40)),
            "Preprocess.frame is 23x40; give a height and a width of at least",
        ),
        (lambda: Preprocess(24, "crop", frame=(30, 40)), 'with fit "squash"'),
        (lambda: Preprocess(24).preparation(Augment(shift=True)), "augment.shift has no room to move in"),
        (lambda: Augment(scale=0), "Augment.scale is 0"),
        (lambda: Augment(scale=1.2), "Augment.scale is 1.2"),
        (lambda: Augment(scale=float("nan")), "Augment.scale is nan"),
        (lambda: Augment(colour=-0.1), "Augment.colour is -0.1"),
        (lambda: Augment(rotate=181), "Augment.rotate is 181"),
        (lambda: Preprocess(size=0), "Preprocess.size is 0"),
        (lambda: Preprocess(fit="stretch"), 'Preprocess.fit is "stretch"'),
        (lambda: Preprocess(fit="short"), 'Preprocess.fit is "short"'),
    ],
)
def test_a_bad_field_is_named_with_its_value(make, named):
    with pytest.raises(LrcnError, match=named):
        make()


def test_a_mirrored_clip_of_flow_moves_the_other_way():
    images = noise(3, 3, 12, 12)
    plain = [Augment()(images, 12, torch.Generator().manual_seed(seed), "flow") for seed in range(8)]
    assert all(torch.equal(one, images) for one in plain)
    changed = [
        Augment(flip=True)(images, 12, torch.Generator().manual_seed(seed), "flow") for seed in range(8)
    ]
    flipped = [one for one in changed if not torch.equal(one, images)]
    assert 0 < len(flipped) < 8
    for one in flipped:
        assert torch.equal(one[:, 0], 255 - images[:, 0].flip(-1))
        assert torch.equal(one[:, 1:], images[:, 1:].flip(-1))


def test_a_smaller_crop_of_flow_moves_further():
    images = torch.full((2, 3, 32, 32), 140, dtype=torch.uint8)
    augment, generator = Augment(scale=0.25), torch.Generator().manual_seed(3)
    area = 0.25 + 0.75 * float(torch.rand(8, generator=generator, dtype=torch.float64)[0])
    changed = drawn_of("flow", augment, images, seed=3)
    assert torch.equal(changed, torch.full_like(changed, round(128 + 12 / math.sqrt(area))))
    assert torch.equal(drawn_of("difference", augment, images, seed=3), torch.full_like(changed, 140))


@pytest.mark.parametrize("kind", ["difference", "flow"])
def test_images_of_motion_keep_their_colours(kind):
    images = noise(2, 3, 16, 16)
    assert torch.equal(drawn_of(kind, Augment(colour=0.9), images, seed=1), images)


def drawn_of(kind: Kind, augment: Augment, images: Tensor, seed: int) -> Tensor:
    return augment(images, 16, torch.Generator().manual_seed(seed), kind)


# ---- cameras of depth images ----

DEPTH = SubjectConfig(crop=True, level=96, depth=330)


@given(seed=st.integers(0, 999))
def test_a_camera_stays_within_what_is_asked_for(seed):
    asked = Augment(turn=25, tilt=10, rotate=7, stretch=0.14)
    camera = asked.camera(torch.Generator().manual_seed(seed))
    assert abs(camera.turn) <= 25
    assert abs(camera.tilt) <= 10
    assert abs(camera.roll) <= 7
    assert all(0.86 <= factor <= 1.14 for factor in camera.stretch)
    assert all(abs(place) <= 0.07 for place in camera.shift)
    assert Augment().camera(torch.Generator().manual_seed(seed)) == Camera()


def test_what_a_camera_has_done_is_not_done_to_the_picture_again():
    asked = Augment(turn=25, tilt=10, rotate=7, stretch=0.14, colour=0.3)
    assert asked.in_picture == Augment(colour=0.3)


def test_only_depth_can_be_seen_from_elsewhere():
    with pytest.raises(LrcnError, match="need depth"):
        Preprocess(48).preparation(Augment(turn=5))
    with pytest.raises(LrcnError, match="need depth"):
        Preprocess(48, frame=(60, 80)).preparation(Augment(turn=5))
    with pytest.raises(LrcnError, match="need depth"):
        Preprocess(48, subject=SubjectConfig(crop=True)).preparation(Augment(tilt=5))
    for name, degrees in (("turn", 90.0), ("tilt", -1.0)):
        with pytest.raises(LrcnError, match=name):
            Augment(**{name: degrees})


@pytest.mark.parametrize("augment", [Augment(flip=True), Augment(scale=0.5)])
def test_three_views_in_a_picture_are_not_mixed(augment):
    sides = SubjectConfig(crop=True, depth=330, sides=True)
    with pytest.raises(LrcnError, match="three views"):
        Preprocess(48, subject=sides).preparation(augment)
    assert Preprocess(48, subject=DEPTH).preparation(augment).steps
