"""Laws of segments: they cover the clip, ascend, differ from their neighbours, and live equals batch."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lrcn.segments import Segment, SegmentTracker, segments

LABELS = ["a", "b", "c"]


@st.composite
def clips(draw):
    """Probabilities (T, 3), uneven ascending times and the clip's end."""
    count = draw(st.integers(1, 40))
    scores = draw(arrays(np.float64, (count, 3), elements=st.floats(-4, 4)))
    gaps = draw(st.lists(st.floats(0.01, 0.7), min_size=count + 1, max_size=count + 1))
    times = np.cumsum(gaps)
    exp = np.exp(scores)
    return exp / exp.sum(1, keepdims=True), times[:-1], float(times[-1])


OPTIONS = st.fixed_dictionaries({"smoothing": st.floats(0, 2), "min_duration": st.floats(0, 2)})


def one_hot(text, p=0.8):
    """'aab' -> (3, 3) probabilities of p for the named class."""
    rows = np.full((len(text), 3), (1 - p) / 2)
    rows[np.arange(len(text)), [LABELS.index(c) for c in text]] = p
    return rows


def spans(found):
    return [(round(s.start, 6), round(s.end, 6), s.label) for s in found]


@given(clips(), OPTIONS)
def test_segments_cover_the_clip_in_order_and_neighbours_differ(clip, options):
    probabilities, times, end = clip
    found = segments(probabilities, times, LABELS, end=end, **options)
    assert found[0].start == times[0]
    assert found[-1].end == end
    for before, after in pairwise(found):
        assert before.end == after.start
        assert before.label != after.label
    assert all(s.start < s.end and 0 <= s.score <= 1 + 1e-12 for s in found)


@given(clips(), OPTIONS)
def test_no_segment_is_shorter_than_asked_unless_it_is_the_whole_clip(clip, options):
    probabilities, times, end = clip
    found = segments(probabilities, times, LABELS, end=end, **options)
    if len(found) > 1:
        assert min(s.end - s.start for s in found) >= options["min_duration"] - 1e-9


@given(clips(), OPTIONS)
def test_the_score_is_the_mean_probability_over_the_segment(clip, options):
    probabilities, times, end = clip
    for s in segments(probabilities, times, LABELS, end=end, **options):
        inside = (times >= s.start) & (times < s.end)
        assert s.score == pytest.approx(probabilities[inside, LABELS.index(s.label)].mean())


@given(clips(), OPTIONS, st.floats(0, 1))
def test_live_segments_are_the_batch_segments(clip, options, threshold):
    probabilities, times, end = clip
    tracker = SegmentTracker(LABELS, threshold=threshold, **options)
    live = []
    for time, row in zip(times, probabilities, strict=True):
        live += tracker.push(time, row)
        assert tracker.open is not None
        assert tracker.open.end == time
        if live and threshold == 0:
            assert tracker.open.start == live[-1].end
    live += tracker.close(end)
    assert live == segments(probabilities, times, LABELS, end=end, threshold=threshold, **options)


@given(clips(), OPTIONS, st.data())
def test_a_tracker_goes_on_from_its_state(clip, options, data):
    probabilities, times, end = clip
    place = data.draw(st.integers(0, len(times)))
    first, second = SegmentTracker(LABELS, **options), SegmentTracker(LABELS, **options)
    live = [s for time, row in zip(times[:place], probabilities, strict=False) for s in first.push(time, row)]
    second.restore(first.state())
    assert (second.open, second.settled) == (first.open, first.settled)
    for time, row in zip(times[place:], probabilities[place:], strict=True):
        live += second.push(time, row)
    assert live + second.close(end) == segments(probabilities, times, LABELS, end=end, **options)


@given(clips(), OPTIONS)
def test_what_is_settled_keeps_its_start_and_label(clip, options):
    probabilities, times, end = clip
    tracker, told, closed = SegmentTracker(LABELS, **options), set(), []
    assert tracker.smoothed is None
    for time, row in zip(times, probabilities, strict=True):
        closed += tracker.push(time, row)
        if tracker.settled:
            told.add((tracker.open.start, tracker.open.label))
    closed += tracker.close(end)
    assert told <= {(s.start, s.label) for s in closed}


def test_a_state_of_another_tracker_is_refused():
    tracker, other = SegmentTracker(LABELS), SegmentTracker(["a", "b"])
    tracker.push(0.0, [0.1, 0.8, 0.1])
    with pytest.raises(ValueError, match="no state of a tracker of 2 labels"):
        other.restore(tracker.state())
    for name in tracker.state():
        with pytest.raises(ValueError, match="no state of a tracker"):
            tracker.restore(tracker.state() | {name: np.zeros((1, 2, 3))})


@given(clips(), OPTIONS, st.floats(0, 1))
def test_a_threshold_only_leaves_segments_out(clip, options, threshold):
    probabilities, times, end = clip
    everything = segments(probabilities, times, LABELS, end=end, **options)
    kept = segments(probabilities, times, LABELS, end=end, threshold=threshold, **options)
    assert kept == [s for s in everything if s.score >= threshold]


@given(clips())
@settings(max_examples=30)
def test_the_future_never_changes_a_closed_segment(clip):
    probabilities, times, end = clip
    tracker = SegmentTracker(LABELS)
    closed = []
    for time, row in zip(times, probabilities, strict=True):
        closed += tracker.push(time, row)
    assert segments(probabilities, times, LABELS, end=end)[: len(closed)] == closed


def test_runs_of_the_most_probable_class():
    times = np.arange(6) * 0.5
    found = segments(one_hot("aaabbb"), times, LABELS, smoothing=0, min_duration=0)
    assert spans(found) == [(0, 1.5, "a"), (1.5, 3.0, "b")]
    assert found[0].score == pytest.approx(0.8)


def test_smoothing_bridges_a_flicker():
    times = np.arange(11) * 0.1
    text = "aaaaabaaaaa"
    rough = segments(one_hot(text), times, LABELS, smoothing=0, min_duration=0)
    smooth = segments(one_hot(text), times, LABELS, smoothing=0.5, min_duration=0)
    assert len(rough) == 3
    assert spans(smooth) == [(0, 1.1, "a")]


@pytest.mark.parametrize("smoothing", [0.0, 0.2, 0.5, 1.0])
def test_smoothing_does_not_move_a_clear_boundary(smoothing):
    found = segments(one_hot("a" * 30 + "b" * 30), np.arange(60) * 0.1, LABELS, smoothing=smoothing)
    assert spans(found) == [(0, 3, "a"), (3, 6, "b")]


def test_memory_does_not_grow_with_the_video():
    tracker = SegmentTracker(LABELS, smoothing=0.5)
    for i in range(2000):
        tracker.push(i * 0.1, one_hot("a" if i < 1000 else "b")[0])
    assert len(tracker._sure.tail) < 30


@pytest.mark.parametrize(("second", "winner"), [("a", (1.2, "c")), ("c", (1.0, "c"))])
def test_a_short_run_goes_to_the_more_probable_neighbour(second, winner):
    rows = one_hot("aaaaabcccccc")
    rows[5] = [0.05, 0.6, 0.05]
    rows[5, LABELS.index(second)] = 0.35
    found = segments(rows, np.arange(12) * 0.2, LABELS, smoothing=0, min_duration=0.4)
    assert (round(found[1].start, 6), found[1].label) == winner
    assert len(found) == 2


def test_short_first_and_last_runs_have_one_neighbour_to_go_to():
    found = segments(one_hot("abbbbba"), np.arange(7) * 0.2, LABELS, smoothing=0, min_duration=0.4)
    assert spans(found) == [(0, 1.4, "b")]


def test_a_clip_shorter_than_a_segment_is_one_segment():
    assert spans(segments(one_hot("b"), np.array([0.0]), LABELS, end=0.04)) == [(0, 0.04, "b")]
    assert segments(np.zeros((0, 3)), np.zeros(0), LABELS) == []


def test_a_tracker_is_fresh_after_close():
    tracker = SegmentTracker(LABELS)
    first = [tracker.push(t, [0.1, 0.8, 0.1]) for t in (0.0, 1.0)] + [tracker.close(2.0)]
    assert tracker.open is None
    again = [tracker.push(t, [0.1, 0.8, 0.1]) for t in (0.0, 1.0)] + [tracker.close(2.0)]
    assert first == again == [[], [], [Segment(0.0, 2.0, "b", pytest.approx(0.8))]]


def test_wrong_calls_say_what_is_wrong():
    tracker = SegmentTracker(LABELS)
    tracker.push(1.0, [1, 0, 0])
    with pytest.raises(ValueError, match="ascend"):
        tracker.push(1.0, [1, 0, 0])
    with pytest.raises(ValueError, match="expected 3"):
        tracker.push(2.0, [1, 0])
    with pytest.raises(ValueError, match="2 rows of probabilities for 1 times"):
        segments(np.zeros((2, 3)), np.zeros(1), LABELS)
    with pytest.raises(ValueError, match="at least one label"):
        SegmentTracker([])
    with pytest.raises(ValueError, match="seconds"):
        SegmentTracker(LABELS, smoothing=-1)
