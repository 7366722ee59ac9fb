import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrcn.data.cloud import Camera, drawn, drawn_from_three_sides, front_size, points_of

PER_SIDE = 400.0


def body(seed: int = 0, size: int = 84) -> np.ndarray:
    """An upright slab with a hand before it, as a depth image (size,size)."""
    picture = np.zeros((size, size), np.uint8)
    picture[16:70, 30:54] = 90
    picture[20:60, 30:54] += np.random.default_rng(seed).integers(0, 12, (40, 24), dtype=np.uint8)
    picture[30:36, 44:50] = 190
    return picture


def points(picture: np.ndarray) -> tuple:
    return points_of(picture, 16, 90.0, PER_SIDE)


@given(seed=st.integers(0, 5), level=st.sampled_from([90.0, 120.0]))
def test_from_where_it_was_filmed_a_picture_is_itself_with_its_levels_moved(seed, level):
    picture = body(seed)
    again = drawn(Camera().seen(points(picture)), len(picture), 17, level, PER_SIDE)
    # A level is cut off to whole numbers.
    assert np.abs(again[picture > 0] - (picture[picture > 0] + level - 90)).max() <= 1
    assert not again[picture == 0].any()


@given(turn=st.floats(-40, 40), tilt=st.floats(-40, 40), roll=st.floats(-180, 180))
def test_a_camera_keeps_how_far_points_are_apart(turn, tilt, roll):
    before, after = points(body()), Camera(turn, tilt, roll).seen(points(body()))
    lengths = [
        np.sqrt(sum(np.diff(axis).astype(np.float64) ** 2 for axis in some)) for some in (before, after)
    ]
    assert np.allclose(*lengths, atol=1e-4)


def test_what_is_near_moves_with_the_camera_and_covers_what_is_behind():
    moved = {}
    for turn in (-20, 0, 20):
        picture = drawn(Camera(turn).seen(points(body())), 84, 17, 90.0, PER_SIDE)
        moved[turn] = np.nonzero(picture > 150)[1].mean()
    assert moved[-20] < moved[0] - 3
    assert moved[20] > moved[0] + 3
    slab_behind_hand = drawn(Camera(20).seen(points(body())), 84, 17, 90.0, PER_SIDE)
    assert (slab_behind_hand > 150).sum() > 20


def test_stretch_and_shift_change_sizes_and_places_about_the_middle():
    picture = np.zeros((100, 100), np.uint8)
    picture[40:60, 40:60] = 100
    changed = Camera(stretch=(1.5, 0.5, 1.0), shift=(0.1, -0.2)).seen(points_of(picture, 16, 100.0, PER_SIDE))
    rows, columns = np.nonzero(drawn(changed, 100, 17, 100.0, PER_SIDE))
    assert (columns.min(), columns.max()) == (pytest.approx(45, abs=1), pytest.approx(74, abs=1))
    assert (rows.min(), rows.max()) == (pytest.approx(25, abs=1), pytest.approx(34, abs=1))


def test_a_turned_surface_has_no_holes():
    picture = np.zeros((140, 140), np.uint8)
    picture[20:120, 50:90] = np.arange(80, 120, dtype=np.uint8)
    turned = drawn(Camera(25).seen(points_of(picture, 16, 100.0, PER_SIDE)), 100, 17, 100.0, PER_SIDE)
    rows, columns = np.nonzero(turned)
    inside = turned[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert (inside == 0).mean() < 0.02


def test_the_views_from_the_side_and_above_show_how_far_a_hand_reaches():
    picture = body()
    size = 120
    front = front_size(size)
    seen = drawn_from_three_sides(points(picture), size, 17, 90.0, PER_SIDE)
    assert np.array_equal(seen[:front, :front], drawn(points(picture), front, 17, 90.0, PER_SIDE))
    side, top = seen[:front, front:], seen[front:, :front]
    hand = slice(round(30 / 84 * front), round(36 / 84 * front))
    chest = slice(round(45 / 84 * front), round(60 / 84 * front))
    assert np.nonzero(side[hand])[1].max() > np.nonzero(side[chest])[1].max() + 10
    reach = np.nonzero(top)[0].max() - np.nonzero(side[chest])[1].max()
    assert reach == pytest.approx(100 / PER_SIDE * front, abs=6)
    assert not seen[front:, front:].any()


def test_an_empty_picture_stays_empty():
    nothing = points_of(np.zeros((30, 30), np.uint8), 16, 0.0, PER_SIDE)
    assert not drawn_from_three_sides(Camera(10, 10, 10).seen(nothing), 40, 17, 90.0, PER_SIDE).any()
