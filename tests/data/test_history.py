import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrcn.data.flow import MotionConfig
from lrcn.data.history import MotionHistory
from lrcn.data.transforms import Preprocess
from lrcn.errors import LrcnError


def film(*levels: int) -> np.ndarray:
    """Grey frames (T,3,2,2), each of one level."""
    return np.stack([np.full((3, 2, 2), level, np.uint8) for level in levels])


def test_traces_follow_the_written_sums():
    images, _ = MotionHistory((0.5, 0.8), 1.0).images(film(100, 110, 110, 130))
    fast = [0, 10, 5, 22.5]
    slow = np.sqrt(0.2 / 0.5) * np.array([0, 10, 8, 26.4])
    assert images[:, 0, 0, 0].tolist() == [100, 110, 110, 130]
    assert images[:, 1, 0, 0].tolist() == np.floor(fast).tolist()
    assert images[:, 2, 0, 0].tolist() == np.floor(slow).tolist()


def test_what_never_moves_leaves_no_trace_and_much_motion_is_cut_off():
    still, _ = MotionHistory((0.5, 0.9), 2.0).images(film(80, 80, 80))
    wild, _ = MotionHistory((0.5, 0.9), 2.0).images(film(0, 255, 0, 255))
    assert not still[:, 1:].any()
    assert (wild[2:, 1:] == 255).all()


@given(cut=st.integers(0, 6), seed=st.integers(0, 99))
def test_pieces_give_the_images_of_one_pass(cut, seed):
    frames = np.random.default_rng(seed).integers(0, 256, (6, 3, 4, 5), dtype=np.uint8)
    step = MotionHistory((0.4, 0.9), 1.3)
    whole, _ = step.images(frames)
    first, carry = step.images(frames[:cut])
    rest, _ = step.images(frames[cut:], carry)
    assert np.array_equal(np.concatenate([first, rest]), whole)


def test_it_is_a_kind_of_motion_that_a_model_reads():
    preparation = Preprocess(32, motion=MotionConfig(kind="history", gain=1.2)).preparation()
    assert preparation.steps == (MotionHistory((0.5, 0.85), 1.2),)


def test_decays_that_never_fade_are_refused():
    with pytest.raises(LrcnError, match=r"motion\.decay"):
        MotionConfig(kind="history", decay=(0.5, 1.0))
