"""The judge of camera moves: known movements of a known picture, and scenes it must not be sure of."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lrcn.errors import LrcnError
from lrcn.evaluate.global_motion import (
    LABELS,
    Moment,
    Motion,
    Sure,
    summary,
    sure_moments,
    track,
    track_frames,
)

RATE = 10.0
WIDTH, HEIGHT = 240, 160
Image = NDArray[np.uint8]
Frames = list[tuple[Image, float]]

# What the content does in one step: right and down in shares, growth (logarithm), clockwise turn (degrees).
CONTENT = {
    "static": (0.0, 0.0, 0.0, 0.0),
    "pan left": (0.02, 0.0, 0.0, 0.0),
    "pan right": (-0.02, 0.0, 0.0, 0.0),
    "tilt up": (0.0, 0.02, 0.0, 0.0),
    "tilt down": (0.0, -0.02, 0.0, 0.0),
    "zoom in": (0.0, 0.0, 0.02, 0.0),
    "zoom out": (0.0, 0.0, -0.02, 0.0),
    "roll clockwise": (0.0, 0.0, 0.0, -1.5),
    "roll anticlockwise": (0.0, 0.0, 0.0, 1.5),
}


def texture(seed: int = 0, height: int = 2 * HEIGHT, width: int = 2 * WIDTH) -> Image:
    """A random picture with detail at every scale."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for size in (4, 8, 16, 32):
        noise = rng.normal(size=(height // size, width // size, 3))
        picture += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 35 * picture, 0, 255).astype(np.uint8)


def seen(picture: Image, right: float, down: float, growth: float, turn: float) -> Image:
    """The picture's middle after its content moved (pixels), grew (logarithm), turned (degrees clockwise)."""
    matrix = cv2.getRotationMatrix2D(
        ((picture.shape[1] - 1) / 2, (picture.shape[0] - 1) / 2), -turn, np.exp(growth)
    )
    matrix[:, 2] += [right - (picture.shape[1] - WIDTH) / 2, down - (picture.shape[0] - HEIGHT) / 2]
    return cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT_101).astype(
        np.uint8
    )


def play(steps: list[tuple[float, float, float, float]], seed: int = 0) -> Frames:
    """Frames of a texture whose content makes these steps (shares of the frame, logarithm, degrees)."""
    picture = texture(seed)
    places = np.cumsum([(0.0, 0.0, 0.0, 0.0), *steps], axis=0) * [WIDTH, HEIGHT, 1, 1]
    places -= places.mean(axis=0)
    return [(seen(picture, *place), index / RATE) for index, place in enumerate(places)]


def last_label(frames: Frames, sure: Sure | None = None) -> str | None:
    return sure_moments(track_frames(frames, RATE), sure)[-1].label


@pytest.mark.parametrize("label", LABELS)
def test_names_each_move_by_the_camera(label: str) -> None:
    moments = sure_moments(track_frames(play([CONTENT[label]] * 16), RATE))
    assert [moment.label for moment in moments] == [label] * 2
    assert [moment.time for moment in moments] == pytest.approx([1.5, 1.6])


@settings(max_examples=15, deadline=None)
@given(
    st.floats(-0.05, 0.05),
    st.floats(-0.05, 0.05),
    st.floats(-0.05, 0.05),
    st.floats(-4.0, 4.0),
    st.integers(0, 9),
)
def test_measures_a_known_similarity(
    right: float, down: float, growth: float, turn: float, seed: int
) -> None:
    picture = texture(seed)
    first, second = seen(picture, 0, 0, 0, 0), seen(picture, right * WIDTH, down * HEIGHT, growth, turn)
    motion = track_frames([(first, 0.0), (second, 0.1)], RATE)
    assert motion.dx[0] == pytest.approx(right * RATE, abs=0.015)
    assert motion.dy[0] == pytest.approx(down * RATE, abs=0.015)
    assert motion.log_scale[0] == pytest.approx(growth * RATE, abs=0.02)
    assert motion.angle[0] == pytest.approx(-np.deg2rad(turn) * RATE, abs=0.02)
    assert motion.inliers[0] > 0.9
    assert motion.cells[0] == 16


def test_measures_the_same_twice() -> None:
    frames = play([(0.01, 0.02, 0.01, 0.5)] * 3)
    first, second = (track_frames(frames, RATE) for _ in range(2))
    assert np.array_equal(first.dx, second.dx)
    assert np.array_equal(first.angle, second.angle)


def test_a_moving_blob_before_a_still_camera_is_static() -> None:
    blob = texture(1, 80, 90)
    frames = play([CONTENT["static"]] * 15)
    for index, (frame, _) in enumerate(frames):
        frame[40:120, 5 * index : 5 * index + 90] = blob
    assert last_label(frames) == "static"


def test_a_move_that_fills_half_the_frame_is_not_the_cameras() -> None:
    frames = play([CONTENT["pan left"]] * 15)
    for frame, _ in frames:
        frame[:, : WIDTH // 2] = frames[0][0][:, : WIDTH // 2]
    assert last_label(frames) is None


def test_a_cut_gives_none_until_it_has_left_the_window() -> None:
    frames = play([CONTENT["static"]] * 5) + play([CONTENT["static"]] * 24, seed=3)
    motion = track_frames(frames, RATE)
    assert np.flatnonzero(motion.cut).tolist() == [5]
    labels = [moment.label for moment in sure_moments(motion)]
    assert labels == [None] * 6 + ["static"] * 10


def test_a_hard_change_of_light_counts_as_a_cut() -> None:
    frames = play([CONTENT["static"]] * 15)
    dark = [((frame // 4).astype(np.uint8), time) for frame, time in frames[8:]]
    assert last_label(frames[:8] + dark) is None


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([(0.002, 0.0, 0.0, 0.0)] * 15, id="too slow for a pan, too fast for static"),
        pytest.param([(0.02, 0.0, 0.0, 0.0)] * 10 + [(-0.02, 0.0, 0.0, 0.0)] * 5, id="comes back"),
        pytest.param([(0.06, 0.0, 0.0, 0.0)] * 5 + [(0.0, 0.0, 0.0, 0.0)] * 10, id="stops"),
        pytest.param([(0.014, 0.02, 0.0, 0.0)] * 15, id="diagonal"),
        pytest.param([(0.02, 0.0, 0.02, 0.0)] * 15, id="pan with zoom"),
        pytest.param([(0.015, 0.0, 0.0, 0.0), (-0.015, 0.0, 0.0, 0.0)] * 8, id="shakes"),
    ],
)
def test_is_not_sure_of(steps: list[tuple[float, float, float, float]]) -> None:
    assert last_label(play(steps)) is None


def test_blank_frames_give_no_motion_and_no_label() -> None:
    frames = [(np.full((HEIGHT, WIDTH, 3), 90, np.uint8), index / RATE) for index in range(16)]
    motion = track_frames(frames, RATE)
    assert np.isnan(motion.dx).all()
    assert not motion.cut.any()
    assert last_label(frames) is None


def test_faint_noise_is_not_followed() -> None:
    rng = np.random.default_rng(0)
    frames = [(rng.integers(90, 93, (HEIGHT, WIDTH, 3)).astype(np.uint8), index / RATE) for index in range(3)]
    assert track_frames(frames, RATE).features.max() == 0


def test_thresholds_are_obeyed() -> None:
    frames = play([(0.005, 0.0, 0.0, 0.0)] * 15)
    assert last_label(frames) == "pan left"
    assert last_label(frames, Sure(shift=0.1)) is None
    assert last_label(frames, Sure(still_shift=0.1)) == "static"


def made(dx: list[float], **arrays: list[float]) -> Motion:
    """A motion with perfect evidence but for `arrays`."""
    count = len(dx)
    fill = {
        "dy": 0.0,
        "log_scale": 0.0,
        "angle": 0.0,
        "inliers": 1.0,
        "spread": 1.0,
        "features": 300,
        "cells": 16,
    }
    columns = {name: np.array(arrays.get(name, [value] * count)) for name, value in fill.items()}
    return Motion(
        times=np.arange(1, count + 1) / RATE,
        dx=np.array(dx),
        cut=np.zeros(count, bool),
        rate=RATE,
        width=WIDTH,
        height=HEIGHT,
        **columns,
    )


@pytest.mark.parametrize("name", ["inliers", "spread", "features", "cells"])
def test_weak_evidence_gives_none(name: str) -> None:
    assert sure_moments(made([0.1] * 15))[0].label == "pan left"
    assert sure_moments(made([0.1] * 15, **{name: [0.1] * 15}))[0].label is None


def test_one_bad_interval_is_forgiven_but_not_two() -> None:
    one, two = ([0.4] * count + [1.0] * (15 - count) for count in (1, 2))
    assert sure_moments(made([0.1] * 15, inliers=one))[0].label == "pan left"
    assert sure_moments(made([0.1] * 15, inliers=two))[0].label is None


def test_a_clip_shorter_than_the_window_has_no_moments() -> None:
    assert sure_moments(made([0.1] * 14)) == []


def test_the_window_trails_the_moment() -> None:
    moments = sure_moments(made([0.0] * 15 + [0.3] * 20))
    assert moments[0] == Moment(1.5, "static")
    assert moments[-1] == Moment(3.5, "pan left")
    assert all(later.time > earlier.time for earlier, later in pairwise(moments))


def test_summary_counts_every_moment_once() -> None:
    counts = summary(
        [Moment(1.5, "static"), Moment(1.6, None), Moment(1.7, "static"), Moment(1.8, "tilt up")]
    )
    assert list(counts) == [*LABELS, "not sure"]
    assert {label: count for label, count in counts.items() if count} == {
        "static": 2,
        "tilt up": 1,
        "not sure": 1,
    }


def test_one_frame_is_refused_with_the_fix() -> None:
    with pytest.raises(LrcnError, match="at least two frames"):
        track_frames(play([])[:1], RATE)


def write_video(path: Path, frames: Frames, rate: int) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=Fraction(rate))
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", 4_000_000
        for frame, _ in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())


def test_tracks_a_video_file_at_its_own_rate(tmp_path: Path) -> None:
    write_video(tmp_path / "pan.mp4", play([(0.01, 0.0, 0.0, 0.0)] * 32), rate=20)
    motion = track(tmp_path / "pan.mp4", size=HEIGHT)
    assert (motion.width, motion.height) == (WIDTH, HEIGHT)
    assert motion.times == pytest.approx(np.arange(1, 17) / RATE, abs=0.051)
    assert np.median(motion.dx) == pytest.approx(0.2, abs=0.01)
    assert {moment.label for moment in sure_moments(motion)} == {"pan left"}


@pytest.mark.real
def test_a_fixed_camera_is_static_though_people_move(shared_data: Path) -> None:
    moments = sure_moments(track(shared_data / "fights" / "fight" / "fi034.mp4"))
    assert moments
    assert {moment.label for moment in moments} == {"static"}
