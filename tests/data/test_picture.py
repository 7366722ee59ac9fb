import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrcn.data import picture
from lrcn.data.picture import Resize, scale
from lrcn.errors import LrcnError

sides = st.integers(1, 80)


@given(
    width=sides, height=sides, size=st.integers(1, 40), fit=st.sampled_from(["squash", "crop", "letterbox"])
)
def test_square_fits_give_squares(width, height, size, fit):
    assert Resize(size, fit)(np.zeros((height, width, 3), np.uint8)).shape == (size, size, 3)


@given(width=sides, height=sides, size=st.integers(1, 40), across=st.integers(1, 40))
def test_a_picture_may_be_squashed_to_any_shape(width, height, size, across):
    frame = np.zeros((height, width, 3), np.uint8)
    assert Resize(size, width=across)(frame).shape == (size, across, 3)


@given(width=sides, height=sides, size=st.integers(1, 40))
def test_short_makes_the_short_side_exact_and_keeps_the_aspect(width, height, size):
    out = Resize(size, "short")(np.zeros((height, width, 3), np.uint8))
    assert min(out.shape[:2]) == size
    assert max(out.shape[:2]) == pytest.approx(size * max(width, height) / min(width, height), abs=0.51)


@given(value=st.integers(0, 255), width=sides, height=sides, fit=st.sampled_from(["squash", "crop", "short"]))
def test_a_plain_picture_stays_plain(value, width, height, fit):
    assert (Resize(16, fit)(np.full((height, width, 3), value, np.uint8)) == value).all()


def test_crop_keeps_the_centre_and_letterbox_keeps_everything():
    frame = np.zeros((20, 60, 3), np.uint8)
    frame[:, 20:40] = 200
    assert (Resize(20, "crop")(frame) == 200).all()
    boxed = Resize(30, "letterbox")(frame)
    assert (boxed[10:20, 10:20] == 200).all()
    assert not boxed[:10].any() and not boxed[20:].any() and not boxed[:, :10].any()


def test_shrinking_averages_an_area():
    checks = np.indices((64, 64)).sum(0) % 2 * 200
    small = scale(np.repeat(checks[..., None], 3, 2).astype(np.uint8), 8, 8)
    assert (small == 100).all()


def test_shrinking_one_side_and_enlarging_the_other():
    frame = np.zeros((4, 64, 3), np.uint8)
    frame[:, 1::2] = 200
    assert (scale(frame, 8, 16) == 100).all()


def test_what_cannot_be_made_is_refused(monkeypatch):
    with pytest.raises(LrcnError, match="size of 1"):
        Resize(0)
    with pytest.raises(LrcnError, match="of 0 pixels a side"):
        Resize(8, width=0)
    with pytest.raises(LrcnError, match="A width of 9 goes with fit squash, not with crop"):
        Resize(8, "crop", 9)
    with pytest.raises(LrcnError, match="squash, crop, letterbox, short"):
        Resize(8, "stretch")
    monkeypatch.setattr(picture, "MAX_PIXELS", 10_000)
    with pytest.raises(LrcnError, match="too thin"):
        Resize(100, "short")(np.zeros((1, 200, 3), np.uint8))
