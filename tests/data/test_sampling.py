import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrcn.data.sampling import Sampling
from lrcn.errors import LrcnError

rates = st.sampled_from([5.0, 12.5, 24000 / 1001, 25.0, 30000 / 1001, 30.0, 60.0])
starts = st.floats(0, 100)
durations = st.floats(0.05, 60)
seeds = st.integers(0, 2**32)


@st.composite
def samplings(draw: st.DrawFn) -> Sampling:
    spread = draw(st.sampled_from(["window", "uniform"]))
    frames = draw(st.integers(1, 40) if spread == "uniform" else st.none() | st.integers(1, 40))
    return Sampling(draw(st.none() | st.floats(0.5, 60)), frames, spread)


@given(samplings(), starts, durations, rates, st.none() | seeds)
def test_times_ascend_within_the_clip(sampling, start, duration, rate, seed):
    rng = None if seed is None else np.random.default_rng(seed)
    times = sampling.times(start, start + duration, rate, rng)
    assert times.dtype == np.float64
    assert len(times) >= 1
    assert np.all(np.diff(times) >= 0)
    if sampling.spread == "window":
        assert np.all(np.diff(times) > 0)
    assert times[0] >= start
    assert times[-1] < start + duration


@given(st.integers(1, 2000), rates, st.floats(-0.4, 0.4), starts)
def test_source_rate_gives_every_source_frame_whatever_the_rounding_of_the_duration(
    count, rate, doubt, start
):
    times = Sampling(frames=None).times(start, start + (count + doubt) / rate, rate)
    np.testing.assert_allclose(times, start + np.arange(count) / rate)


@given(samplings(), starts, durations, rates, seeds)
def test_a_training_window_has_its_length_and_lies_on_the_grid(sampling, start, duration, rate, seed):
    grid = sampling.grid(start, start + duration, rate)
    times = sampling.times(start, start + duration, rate, np.random.default_rng(seed))
    wanted = len(grid) if sampling.frames is None else sampling.frames
    if sampling.spread == "window":
        assert len(times) == min(wanted, len(grid))
        first = int(np.searchsorted(grid, times[0]))
        np.testing.assert_array_equal(times, grid[first : first + len(times)])
    else:
        assert len(times) == wanted
        assert np.isin(times, grid).all()


@given(st.integers(1, 40), st.integers(1, 500), st.none() | seeds)
def test_uniform_takes_one_frame_from_each_segment(frames, count, seed):
    rng = None if seed is None else np.random.default_rng(seed)
    chosen = Sampling(frames=frames, spread="uniform").pick(count, rng)
    edges = np.arange(frames + 1) * count / frames
    # A frame is shown until the next one, so it belongs to a segment that begins while it is shown.
    assert np.all(chosen + 1 > edges[:-1])
    assert np.all(chosen < edges[1:])


@given(samplings(), starts, durations, rates)
def test_evaluation_is_the_same_every_time_and_a_seed_repeats_a_draw(sampling, start, duration, rate):
    end = start + duration
    np.testing.assert_array_equal(sampling.times(start, end, rate), sampling.times(start, end, rate))
    first, again = (sampling.times(start, end, rate, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_evaluation_by_windows_takes_all_frames():
    np.testing.assert_allclose(Sampling(rate=10, frames=4).times(2, 4, 30), 2 + np.arange(20) / 10)


def test_training_reaches_every_window():
    sampling = Sampling(frames=4)
    starts = {int(sampling.pick(7, np.random.default_rng(seed))[0]) for seed in range(100)}
    assert starts == {0, 1, 2, 3}


def test_uniform_takes_the_centres_in_evaluation():
    assert Sampling(frames=4, spread="uniform").pick(40).tolist() == [5, 15, 25, 35]


def test_uniform_repeats_frames_of_a_short_clip():
    assert Sampling(frames=4, spread="uniform").pick(2).tolist() == [0, 0, 1, 1]


def test_a_clip_that_ends_before_it_starts_has_no_times():
    assert len(Sampling().times(3, 3, 30)) == 0


@pytest.mark.parametrize(
    ("n", "starts"),
    [(16, [0]), (17, [0, 1, 1]), (24, [0, 8, 8]), (40, [0, 8, 16, 24, 24]), (41, [0, 8, 16, 24, 25, 25])],
)
def test_windows_at_the_tail_are_moved_back_as_in_the_paper(n, starts):
    windows = Sampling(frames=16, stride=8).windows(n)
    assert [window.start for window in windows] == starts
    assert {window.stop - window.start for window in windows} == {16}


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 40))
def test_windows_stay_within_the_clip_and_leave_no_frame_out_unless_told_to(n, frames, stride):
    windows = Sampling(frames=frames, stride=stride).windows(n)
    seen = {position for window in windows for position in range(n)[window]}
    assert all(0 <= window.start < window.stop <= n for window in windows)
    if stride <= frames:
        assert seen == set(range(n))


def test_windows_without_stride_or_with_a_short_clip_are_one_pass():
    assert Sampling().windows(40) == [slice(0, 40)]
    assert Sampling(frames=16, stride=8).windows(5) == [slice(0, 5)]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"rate": 0}, "rate is 0"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"frames": 0}, "frames is 0"),
        ({"spread": "random"}, 'spread is "random"'),
        ({"stride": 0}, "stride is 0"),
        ({"frames": None, "spread": "uniform"}, "frames is null"),
        ({"frames": None, "stride": 8}, "stride is 8"),
        ({"spread": "uniform", "stride": 8}, "stride is 8"),
    ],
)
def test_a_bad_field_is_named_with_its_value(fields, named):
    with pytest.raises(LrcnError, match=named):
        Sampling(**fields)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf"), float("nan")])
def test_a_source_without_a_rate_is_refused(rate):
    with pytest.raises(LrcnError, match="frame rate of the source"):
        Sampling().times(0, 1, rate)


def test_an_empty_clip_has_no_windows():
    with pytest.raises(LrcnError, match="no windows"):
        Sampling().windows(0)
