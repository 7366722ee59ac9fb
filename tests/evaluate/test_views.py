"""Which pixels are looked at: ten crops in the paper's order, of frames that are scaled and made motion of first."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_video import make_video

from lrcn.data.flow import MotionConfig
from lrcn.data.manifest import Row
from lrcn.data.picture import Resize
from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Preprocess
from lrcn.data.video import VideoError, read_clip
from lrcn.errors import LrcnError
from lrcn.evaluate.views import CENTRE, SQUASHED, TEN_CROPS, View, pieces


@given(st.integers(3, 9), st.integers(0, 6), st.integers(0, 6))
def test_the_crops_are_corners_centre_and_their_mirror_images(side, more_rows, more_columns):
    height, width = side + more_rows, side + more_columns
    # Every pixel says its own row and column.
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    images = torch.stack([rows, columns, rows]).to(torch.uint8)[None].repeat(2, 1, 1, 1)
    crops = View(Preprocess(), (height, width), side, tuple(TEN_CROPS)).cut(images)
    assert crops.shape == (10, 2, 3, side, side)
    corners = [tuple(crop[0, :2, 0, 0].tolist()) for crop in crops[:5]]
    middle = (more_rows // 2, more_columns // 2)
    assert corners == [(0, 0), (0, more_columns), (more_rows, 0), (more_rows, more_columns), middle]
    assert torch.equal(crops[5:].flip(-1), crops[:5])
    assert torch.equal(View(Preprocess(), (height, width), side, (CENTRE,)).cut(images)[0], crops[CENTRE])
    flow = View(Preprocess(32, motion=MotionConfig("flow")), (height, width), side, tuple(TEN_CROPS)).cut(
        images
    )
    assert torch.equal(flow[:5], crops[:5]) and torch.equal(flow[5:, :, 1:], crops[5:, :, 1:])
    assert torch.equal(flow[5:, :, 0], 255 - crops[5:, :, 0])


def test_the_whole_frame_may_be_squashed():
    images = torch.full((1, 3, 20, 40), 7, dtype=torch.uint8)
    images[..., 20:] = 99
    (squashed,) = View(Preprocess(), (20, 40), 10, (SQUASHED,)).cut(images)
    assert squashed.shape == (1, 3, 10, 10)
    assert set(squashed[..., :4].unique().tolist()) == {7} and set(squashed[..., 6:].unique().tolist()) == {
        99
    }


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A video of 20 frames at 10 a second, 64 x 48 pixels."""
    return make_video(tmp_path_factory.mktemp("film") / "film.mp4", 20, rate=10)


def read(film, view, sampling=None, **row):
    parts = list(pieces(Row(str(film), **row), sampling or Sampling(), [view], chunk=7))
    return torch.cat([images for (images,), _ in parts], 1), np.concatenate([times for _, times in parts])


def test_the_networks_own_view_is_what_it_is_used_with(film):
    for fit in ("squash", "crop", "letterbox"):
        images, times = read(film, View(Preprocess(32, fit)), start=0.3, end=1.5)
        whole = read_clip(film, start=0.3, end=1.5, resize=Resize(32, fit))
        assert np.array_equal(images[0], whole.frames) and times.tolist() == whole.times.tolist()


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(rate=5), Sampling(frames=4, spread="uniform")])
@pytest.mark.parametrize("kind", ["none", "difference"])
def test_frames_are_scaled_then_made_motion_of_then_cropped(film, sampling, kind):
    motion = MotionConfig(kind)
    images, times = read(film, View(Preprocess(32, motion=motion), (36, 44), 32, (3,)), sampling)
    grid = sampling.grid(0, 2.0, 10)
    small = read_clip(film, times=grid, resize=Resize(36, width=44)).frames
    moved, _ = motion.images(small)
    chosen = sampling.pick(len(grid))
    assert np.array_equal(images[0], moved[chosen][..., 4:, 12:])
    np.testing.assert_allclose(times, grid[chosen])
    framed = Preprocess(32, motion=motion, frame=(36, 44))
    assert np.array_equal(read(film, View(framed, crop=32, crops=(3,)), sampling)[0], images)
    middle = read(film, View(framed, crop=32, crops=(CENTRE,)), sampling)[0]
    assert np.array_equal(read(film, View(framed), sampling)[0], middle)


def test_no_frames_are_an_error(film):
    with pytest.raises(VideoError, match="film.mp4 has no frames there"):
        read(film, View(Preprocess(32)), start=50.0)
    with pytest.raises(VideoError, match="film.mp4 has no frames there"):
        read(film, View(Preprocess(32)), Sampling(frames=4, spread="uniform"), start=50.0)
    with pytest.raises(LrcnError, match="Crops of 40 pixels do not fit into frames of 39x80"):
        View(Preprocess(), (39, 80), 40, (0,))
