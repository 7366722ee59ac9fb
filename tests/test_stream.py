"""A stream says what one pass over the film says, remembers a fixed amount, and can be put aside and taken up."""

import gc
import json
import subprocess
import sys
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_recognizer import LABELS, pictures, tiny
from made_video import make_video

from lrcn.data.subject import SubjectConfig
from lrcn.data.transforms import Preprocess
from lrcn.data.video import open_video
from lrcn.errors import LrcnError
from lrcn.models.fusion import Fused
from lrcn.predict import recognize
from lrcn.segments import segments
from lrcn.stream import Stream, Streamable, StreamState


@pytest.fixture(scope="module")
def model():
    return tiny(rate=10.0)


@pytest.fixture(scope="module")
def streamable(model):
    return Streamable.of(model)


def pushed(stream, frames, times):
    return [stream.push(frame, time) for frame, time in zip(frames, times, strict=True)]


def all_steps(answers):
    return np.concatenate([one.times for one in answers]), np.concatenate([one.per_step for one in answers])


# ---- the same as one pass ----


MATROSKA = {"codec": "libx264", "rate": 24, "time_base": Fraction(1, 1000)}


@pytest.mark.parametrize(
    ("film", "kind", "sampling"),
    [
        ({"rate": 25}, "none", {"rate": 10.0}),
        ({"rate": 25}, "none", {"rate": None}),
        ({"rate": 6, "count": 12}, "none", {"rate": 10.0}),
        (MATROSKA | {"ticks": [round(1000 * k / 24) for k in range(30)]}, "none", {"rate": 3.0}),
        ({"ticks": np.cumsum([1, 3, 1, 9, 2, 2, 14, 1, 1, 5] * 3).tolist()}, "none", {"rate": 12.5}),
        ({"rate": 25}, "difference", {"rate": 10.0}),
        ({"rate": 25}, "none", {"rate": 10.0, "frames": 8, "stride": None}),
    ],
    ids=[
        "faster",
        "own rate",
        "slower",
        "rounded times",
        "uneven times",
        "differences",
        "trained in windows",
    ],
)
def test_a_stream_of_a_films_frames_says_what_one_pass_says(tmp_path, film, kind, sampling):
    suffix = ".mkv" if "ticks" in film else ".mp4"
    path = make_video(tmp_path / f"film{suffix}", **{"count": 30} | film)
    loaded = tiny(motion=kind, **sampling)
    whole = recognize(loaded, path)
    with open_video(path, resize=loaded.preprocess.resize) as reader:
        stream = Stream(loaded, half_tick=reader.half_tick)
        answers = [stream.push(frame, time) for frame, time in reader.frames()]
        answers.append(stream.finish(lasts=1 / reader.info.rate, end=whole.end))
    times, per_step = all_steps(answers)
    np.testing.assert_array_equal(times, whole.times)
    np.testing.assert_allclose(per_step, whole.per_frame, atol=1e-5)
    found = [segment for one in answers for segment in one.closed]
    assert [(s.start, s.end, s.label) for s in found] == [(s.start, s.end, s.label) for s in whole.segments]
    assert [s.score for s in found] == pytest.approx([s.score for s in whole.segments], abs=1e-5)


def test_several_networks_answer_as_one(tmp_path):
    path = make_video(tmp_path / "film.mp4", 30)
    fused = Fused(
        {
            "colours": tiny(0, rate=10.0),
            "changes": tiny(1, "difference", rate=None),
            "slow": tiny(2, rate=4.0),
        },
        (0.5, 0.3, 0.2),
    )
    whole = recognize(fused, path)
    stream = Stream(fused)
    with open_video(path, resize=stream.model.resize) as reader:
        answers = [stream.push(frame, time) for frame, time in reader.frames()]
    times, per_step = all_steps([*answers, stream.finish(lasts=1 / 25)])
    np.testing.assert_array_equal(times, whole.times)
    np.testing.assert_allclose(per_step, whole.per_frame, atol=1e-5)


gaps = st.lists(st.floats(0.004, 0.6), min_size=1, max_size=25)


@settings(max_examples=25)
@given(gaps, st.floats(0, 1), st.floats(0, 0.8), st.integers(0, 99))
def test_segments_are_those_of_the_whole_and_closed_ones_stay(
    streamable, between, smoothing, min_duration, seed
):
    times = np.cumsum(between)
    stream = Stream(streamable, smoothing=smoothing, min_duration=min_duration)
    answers = pushed(stream, pictures(len(times), seed), times)
    last = stream.finish()
    steps, rows = all_steps([*answers, last])
    closed = [segment for one in [*answers, last] for segment in one.closed]
    assert closed == segments(
        rows, steps, LABELS, smoothing=smoothing, min_duration=min_duration, end=closed[-1].end
    )
    for one in answers:
        assert one.open.end == one.times[-1] if len(one.times) else one.open.end <= one.time
        if one.settled:
            # What is settled is told in the end as it was told first.
            told = next(s for s in closed if s.start == one.open.start)
            assert told.label == one.open.label


def test_the_network_is_shown_the_last_frame_that_is_not_later(streamable):
    """At 4 frames a second and 10 asked for, frames are repeated, and a repeated frame changes only the memory."""
    frames = pictures(3)
    stream = Stream(streamable)
    answers = pushed(stream, frames, [0.0, 0.25, 0.5])
    assert [one.times.round(6).tolist() for one in answers] == [[0], [0.1, 0.2], [0.3, 0.4, 0.5]]
    alone = Stream(streamable)
    shown = frames[[0, 0, 0, 1, 1, 2]]
    again = pushed(alone, shown, np.arange(6) / 10)
    np.testing.assert_allclose(all_steps(answers)[1], all_steps(again)[1], atol=1e-6)
    assert stream.counts.frames == 3
    assert stream.counts.steps == 6


def test_the_time_of_day_is_a_time(streamable):
    frames, times = pictures(4), np.array([0.0, 0.04, 0.13, 0.2])
    expected = all_steps(pushed(Stream(streamable), frames, times))[1]
    found = all_steps(pushed(Stream(streamable), frames, 1.8e9 + times))[1]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_frames_between_those_asked_for_repeat_the_last_answer(streamable):
    stream = Stream(streamable)
    first, second, third = pushed(stream, pictures(3), [0.0, 0.04, 0.1])
    assert len(second.times) == 0
    np.testing.assert_array_equal(second.probabilities, first.probabilities)
    np.testing.assert_array_equal(second.smoothed, first.smoothed)
    assert (second.label, second.probability) == (first.label, first.probability)
    assert not np.array_equal(third.probabilities, second.probabilities)


# ---- gaps, cuts, sizes ----


def test_after_a_gap_a_new_sequence_begins(streamable):
    frames = pictures(6)
    stream = Stream(streamable, gap=1.0)
    before = pushed(stream, frames[:3], [0.0, 0.1, 0.2])
    after = pushed(stream, frames[3:], [1.21, 1.31, 1.41])
    assert [one.reset for one in before + after] == [None, None, None, "gap", None, None]
    assert after[0].closed[-1].end == pytest.approx(0.3)
    assert after[0].open.start == 1.21
    fresh = pushed(Stream(streamable), frames[3:], [0.0, 0.1, 0.2])
    np.testing.assert_allclose(all_steps(after)[1], all_steps(fresh)[1], atol=1e-6)
    assert stream.counts.gaps == 1


def test_a_gap_that_is_allowed_shows_the_frame_before_for_all_of_it(streamable):
    for gap in (None, 5.0):
        stream = Stream(streamable, gap=gap)
        answers = pushed(stream, pictures(2), [0.0, 5.0])
        assert len(answers[1].times) == 50
        assert answers[1].reset is None


def shots(streamable):
    """Two shots of four frames each: stripes that run, then others."""
    ramp = np.indices((32, 32))
    first = [np.repeat((ramp[0] * 8 + 4 * k)[..., None] % 256, 3, -1) * [1, 0.2, 0.2] for k in range(4)]
    second = [np.repeat((ramp[1] * 8 + 4 * k)[..., None] % 256, 3, -1) * [0.2, 0.2, 1] for k in range(4)]
    return np.array(first + second).astype(np.uint8)


def test_a_shot_cut_begins_a_new_sequence_where_that_is_asked_for(streamable):
    frames, times = shots(streamable), np.arange(8) / 10
    plain, cut = Stream(streamable), Stream(streamable, cuts=True)
    assert [one.reset for one in pushed(plain, frames, times)] == [None] * 8
    answers = pushed(cut, frames, times)
    assert [one.reset for one in answers] == [None] * 4 + ["cut"] + [None] * 3
    assert answers[4].closed[-1].end == answers[4].open.start == 0.4
    fresh = pushed(Stream(streamable), frames[4:], times[:4])
    np.testing.assert_allclose(all_steps(answers[4:])[1], all_steps(fresh)[1], atol=1e-6)
    assert cut.counts.cuts == 1


def test_a_frame_may_have_another_size_and_any_strides(streamable):
    stream = Stream(streamable)
    frame = pictures(1, side=64)[0]
    for time, other in enumerate(
        [frame, frame[:40], frame[::2, ::2], frame[..., ::-1], frame.transpose(1, 0, 2)]
    ):
        assert stream.push(other, float(time)).probabilities.shape == (3,)


def test_who_draws_on_a_frame_after_it_was_pushed_changes_nothing(streamable):
    frames = pictures(4)
    expected = all_steps(pushed(Stream(streamable), frames, [0.0, 0.06, 0.14, 0.3]))[1]
    stream, found = Stream(streamable), []
    for frame, time in zip(frames.copy(), [0.0, 0.06, 0.14, 0.3], strict=True):
        found.append(stream.push(frame, time))
        frame[:] = 0
    np.testing.assert_array_equal(all_steps(found)[1], expected)


@pytest.mark.parametrize(
    ("frame", "time", "sentence"),
    [
        (np.zeros((4, 4), np.uint8), 1.0, r"uint8 \(H, W, 3\) RGB; it was given uint8 \(4, 4\)"),
        (np.zeros((4, 4, 3), np.float32), 1.0, "it was given float32"),
        (np.zeros((0, 4, 3), np.uint8), 1.0, "it was given"),
        (np.zeros((4, 4, 3), np.uint8), 0.5, "rising times, but one came at 0.5 s after one at 0.5 s"),
        (np.zeros((4, 4, 3), np.uint8), float("nan"), "times in seconds, but one came at nan"),
        (np.zeros((4, 4, 3), np.uint8), 1.7e12, "times in seconds"),
    ],
)
def test_what_is_no_next_frame_is_refused_and_changes_nothing(streamable, frame, time, sentence):
    frames = pictures(2)
    stream = Stream(streamable)
    stream.push(frames[0], 0.5)
    with pytest.raises(LrcnError, match=sentence):
        stream.push(frame, time)
    other = Stream(streamable)
    expected = pushed(other, frames, [0.5, 0.6])[1]
    np.testing.assert_array_equal(stream.push(frames[1], 0.6).probabilities, expected.probabilities)


# ---- what cannot stream ----


def test_models_that_cannot_stream_are_refused_in_one_sentence():
    with pytest.raises(LrcnError, match="reads the future cannot stream"):
        Stream(tiny(bidirectional=True))
    with pytest.raises(LrcnError, match="The model spreads its frames over the whole clip"):
        Stream(tiny(frames=8, spread="uniform"))
    with pytest.raises(LrcnError, match="changes spreads its frames"):
        Stream(Fused({"colours": tiny(), "changes": tiny(frames=8, spread="uniform")}, (0.5, 0.5)))


def test_scores_that_are_no_numbers_are_refused():
    one = tiny()
    one.model.classifier.bias.data.fill_(float("nan"))
    with pytest.raises(LrcnError, match="not numbers"):
        Stream(one).push(pictures(1)[0], 0.0)


@pytest.mark.parametrize(
    "options", [{"gap": 0}, {"smoothing": -1}, {"min_duration": float("inf")}, {"half_tick": 0}]
)
def test_options_that_mean_nothing_are_refused(streamable, options):
    with pytest.raises(LrcnError, match=f"A stream's {next(iter(options))} is"):
        Stream(streamable, **options)


def test_what_is_no_network_needs_no_torch():
    """What runs the network may be something else."""
    modules = "lrcn.stream, lrcn.pool, lrcn.live, lrcn.journal"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- end, reset, save ----


def test_a_finished_stream_is_a_new_one(streamable):
    frames, times = pictures(5), np.arange(5) / 10
    stream = Stream(streamable)
    assert stream.finish() is None
    first = pushed(stream, frames, times)
    last = stream.finish()
    assert last.open is None
    assert last.closed[-1].end == pytest.approx(0.5)
    assert stream.counts.frames == 0
    again = pushed(stream, frames, times)
    np.testing.assert_array_equal(all_steps(first)[1], all_steps(again)[1])
    stream.reset()
    np.testing.assert_array_equal(all_steps(pushed(stream, frames, times))[1], all_steps(first)[1])


@pytest.fixture(scope="module")
def carrying():
    """Models whose images follow from those before them in several ways."""
    people = tiny(motion="history", rate=10.0)
    people.preprocess = Preprocess(32, motion=people.preprocess.motion, subject=SubjectConfig(crop=True))
    return [Streamable.of(one) for one in (tiny(rate=10.0), tiny(motion="difference", rate=10.0), people)]


@settings(max_examples=15)
@given(data=st.data())
def test_a_stream_goes_on_from_a_file_as_if_nothing_had_happened(tmp_path_factory, carrying, data):
    between, model = data.draw(gaps), data.draw(st.sampled_from(carrying))
    times, place = np.cumsum(between), data.draw(st.integers(0, len(between)))
    cuts = data.draw(st.booleans())
    frames = pictures(len(times))
    through = Stream(model, cuts=cuts, gap=0.5)
    expected = [*pushed(through, frames, times), through.finish()]
    path = tmp_path_factory.mktemp("saved") / "stream.safetensors"
    first, second = Stream(model, cuts=cuts, gap=0.5), Stream(model, cuts=cuts, gap=0.5)
    found = pushed(first, frames[:place], times[:place])
    first.save(path)
    second.load(path)
    assert second.counts == first.counts
    found += [*pushed(second, frames[place:], times[place:]), second.finish()]
    for one, other in zip(found, expected, strict=True):
        assert (one.closed, one.open, one.settled, one.reset) == (
            other.closed,
            other.open,
            other.settled,
            other.reset,
        )
        np.testing.assert_array_equal(one.smoothed, other.smoothed)
        np.testing.assert_array_equal(one.per_step, other.per_step)


def test_nothing_grows_with_the_frames(streamable):
    frames, stream = pictures(7), Stream(streamable, cuts=True)
    sizes, memory = [], []
    tracemalloc.start()
    try:
        for number in range(1500):
            stream.push(frames[number % 7], number / 10)
            if number in (299, 899, 1499):
                state = stream.state()
                json.dumps(state.values)
                # What is garbage already is not growth, whenever the collector comes by.
                gc.collect()
                sizes.append(sum(value.nbytes for value in state.arrays.values()))
                memory.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(sizes) < 12_000
    assert max(sizes) - min(sizes) < 1000
    # Less than a number a frame; Python's own lists of what may be used again make some thousand bytes of difference.
    assert memory[2] - memory[0] < 16 * 1200


def test_a_state_of_another_model_or_a_damaged_one_is_refused(tmp_path, streamable):
    stream = Stream(streamable)
    pushed(stream, pictures(3), [0.0, 0.1, 0.2])
    state = stream.state()
    with pytest.raises(LrcnError, match="one of another model"):
        Stream(tiny(seed=1, rate=10.0)).restore(state)
    for name in state.arrays:
        broken = {key: value for key, value in state.arrays.items() if key != name}
        broken[name] = np.zeros((2, 7, 1), np.float32)
        with pytest.raises(LrcnError, match="The saved stream is damaged"):
            stream.restore(StreamState(state.values, broken))
    assert stream.counts.frames == 0
    path = tmp_path / "saved"
    with pytest.raises(LrcnError, match="no saved stream"):
        stream.load(path)
    path.write_bytes(b"something else")
    with pytest.raises(LrcnError, match="holds no saved stream"):
        stream.load(path)
