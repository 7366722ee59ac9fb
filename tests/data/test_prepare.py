"""One way from frames to images: pieces, chosen points and the use of a model give what one pass over a clip gives."""

import json
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrcn.config import from_values, to_values
from lrcn.data.flow import MotionConfig
from lrcn.data.picture import Resize
from lrcn.data.prepare import Preparation
from lrcn.data.transforms import Augment, Preprocess
from lrcn.data.video import open_video
from lrcn.errors import LrcnError


@dataclass(frozen=True)
class Since:
    """A step that adds to each frame how bright the clip's first one was: it follows from all before it."""

    reach: None = None

    def images(self, frames, before):
        first = frames[0].mean(dtype=np.float64) if before is None else before
        return np.clip(frames + np.uint8(first), 0, 255).astype(np.uint8), first


@dataclass(frozen=True)
class Half:
    """A step that cuts the left half out; it carries nothing."""

    reach: int = 0

    def images(self, frames, before):
        return frames[..., : frames.shape[-1] // 2], None


DIFFERENCE = MotionConfig("difference")
STEPS = [(), (DIFFERENCE,), (DIFFERENCE, DIFFERENCE), (Since(),), (Half(), Since(), DIFFERENCE)]
COUNT = 70


def clip():
    """(T,H,W,3): noise of which every frame is another."""
    return np.random.default_rng(0).integers(0, 200, (COUNT, 6, 8, 3), dtype=np.uint8)


def one_pass(preparation):
    frames = np.stack([preparation.resize(frame).transpose(2, 0, 1) for frame in clip()])
    return preparation(frames)[0]


@given(st.sampled_from(STEPS), st.lists(st.integers(0, 12), max_size=4))
def test_pieces_give_the_images_of_one_pass(steps, cuts):
    frames = np.ascontiguousarray(clip()[:12].transpose(0, 3, 1, 2))
    preparation = Preparation(Resize(8), steps)
    pieces, carry = [], None
    for piece in np.split(frames, sorted(cuts)):
        if len(piece):
            images, carry = preparation(piece, carry)
            pieces.append(images)
    np.testing.assert_array_equal(np.concatenate(pieces), preparation(frames)[0])


@given(st.sampled_from(STEPS), st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=9))
def test_chosen_points_of_a_grid_show_what_a_pass_over_all_of_it_shows(steps, chosen):
    preparation = Preparation(Resize(8), steps)
    grid, chosen = np.arange(COUNT) / 10, np.sort(chosen)
    with open_video(clip(), resize=preparation.resize, frame_rate=10) as reader:
        found = preparation.read(reader, grid, chosen)
    np.testing.assert_array_equal(found.frames, one_pass(preparation)[chosen])
    np.testing.assert_array_equal(found.times, grid[chosen])


def test_only_the_frames_that_images_follow_from_are_read(monkeypatch):
    with open_video(clip(), resize=Resize(8), frame_rate=10) as reader:
        asked = []
        at = reader.at
        monkeypatch.setattr(reader, "at", lambda times: asked.append(len(times)) or at(times))
        for steps in ((), (DIFFERENCE,), (Since(),)):
            Preparation(Resize(8), steps).read(reader, np.arange(COUNT) / 10, np.array([0, 30, 31, 60]))
    assert asked == [4, 6, 61]


def test_progress_is_told_from_piece_to_piece():
    told = []
    with open_video(clip(), resize=Resize(8), frame_rate=10) as reader:
        grid = np.arange(COUNT) / 10
        Preparation(Resize(8), (DIFFERENCE,)).read(reader, grid, np.arange(COUNT), told.append)
    assert told == [32 / 70, 64 / 70, 1.0]


def test_preprocessing_without_motion_has_no_steps_and_training_has_its_margin():
    plain = Preprocess(24, "crop")
    assert plain.preparation() == Preparation(Resize(24, "crop"))
    assert plain.preparation(Augment(scale=0.25)) == Preparation(Resize(48, "crop"))


def test_flow_is_told_in_pixels_of_the_networks_input():
    preprocess = Preprocess(24, motion=MotionConfig("flow", scale=10.0))
    assert preprocess.preparation().steps == (MotionConfig("flow", scale=10.0),)
    assert preprocess.preparation(Augment()).steps == (MotionConfig("flow", scale=10.0),)
    assert preprocess.preparation(Augment(scale=0.25)).steps == (MotionConfig("flow", scale=5.0),)


def test_settings_from_before_there_was_motion_are_read_as_they_were_meant():
    assert from_values(Preprocess, {"size": 32, "fit": "crop"}) == Preprocess(32, "crop")
    shipped = json.loads((files("lrcn") / "zoo" / "camera-moves" / "config.json").read_text())["preprocess"]
    assert from_values(Preprocess, shipped).preparation().steps == ()


def test_settings_of_motion_are_written_and_read():
    preprocess = Preprocess(32, motion=MotionConfig("flow", "farneback", scale=8.0))
    assert from_values(Preprocess, json.loads(json.dumps(to_values(preprocess)))) == preprocess


def test_flow_of_frames_too_small_for_it_is_refused():
    with pytest.raises(LrcnError, match=r"size is 15; flow needs 16"):
        Preprocess(15, motion=MotionConfig("flow"))
    Preprocess(15, motion=MotionConfig("difference"))
