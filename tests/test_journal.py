"""The journal: what is written was certain, starts and ends belong together, and nothing grows."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lrcn import journal as module
from lrcn.journal import Journal
from lrcn.live import Found, Lost
from lrcn.segments import Segment, SegmentTracker
from lrcn.track import Answer

LABELS = ("a", "b", "c")


def answers(rows, times, resets=(), **options):
    """What a stream would answer that heard these probabilities, and its last answer."""
    tracker = SegmentTracker(LABELS, **options)
    for k, (time, row) in enumerate(zip(times, rows, strict=True)):
        closed = tracker.close(time) if k in resets else []
        closed += tracker.push(time, row)
        now = tracker.open, tracker.settled, tuple(closed), "cut" if k in resets else None
        yield Answer(time, row, row, np.array([time]), row[None].astype(np.float32), *now, LABELS)
    over = times[-1] + 0.1
    row = rows[-1]
    none = np.zeros(0), np.zeros((0, 3), np.float32)
    yield Answer(over, row, row, *none, None, False, tuple(tracker.close(over)), None, LABELS)


def told(rows, times, resets=(), **options):
    book = Journal("camera 0", LABELS)
    *all_but_last, last = answers(rows, times, resets, **options)
    records = [record for one in all_but_last for record in book.answered(one)]
    return book, [*records, *book.ended(last, "end", 0)]


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=40),
    st.floats(0, 0.5),
    st.sampled_from([0.0, 0.6, 0.75]),
    st.sets(st.integers(1, 39)),
)
def test_starts_and_ends_belong_together(text, min_duration, threshold, resets):
    rows = np.full((len(text), 3), 0.15)
    rows[np.arange(len(text)), ["abc".index(c) for c in text]] = 0.7
    times = np.arange(len(text)) / 10
    book, records = told(rows, times, resets, min_duration=min_duration, smoothing=0.2, threshold=threshold)
    going = None
    for record in records:
        json.dumps(record)
        if record["event"] == "start":
            assert going is None
            going = record["time"], record["label"]
        elif record["event"] in ("end", "withdrawn"):
            assert going == (record["start"], record["label"])
            going = None
    assert going is None
    ends = [(r["start"], r["time"], r["label"]) for r in records if r["event"] == "end"]
    assert ends == [(round(s.start, 3), round(s.end, 3), s.label) for s in book.segments]
    if threshold == 0:
        assert not any(record["event"] == "withdrawn" for record in records)
    assert sum(record["event"] == "reset" for record in records) == len({k for k in resets if k < len(text)})
    assert records[-1] == {
        "event": "stopped",
        "time": records[-1]["time"],
        "reason": "end",
        "frames": len(text),
        "steps": len(text),
        "dropped": 0,
        "reconnects": 0,
    }


def test_a_segment_is_told_when_it_is_certain_not_before():
    rows = np.full((10, 3), 0.1)
    rows[:, 0] = 0.8
    book = Journal("camera 0", LABELS)
    events = [
        [r["event"] for r in book.answered(one)]
        for one in list(answers(rows, np.arange(10) / 10, smoothing=0, min_duration=0.35))[:-1]
    ]
    assert events == [[], [], [], [], ["start"], [], [], [], [], []]


def test_what_became_of_the_camera_is_told():
    book = Journal("camera 0", LABELS)
    first = book.begin("camera-moves")
    assert first["event"] == "watching"
    assert first["labels"] == list(LABELS)
    assert book.happened(Lost(3.0, "gone")) == {"event": "lost", "time": 3.0, "reason": "gone"}
    assert book.happened(Found(5.0, 2, 1.23456)) == {
        "event": "found",
        "time": 5.0,
        "attempts": 2,
        "seconds": 1.235,
    }
    assert list(book.dropped(0)) == []
    assert [r["frames"] for r in book.dropped(3)] == [3]
    assert [r["frames"] for r in book.dropped(7)] == []  # not a second later
    left, last = book.ended(None, "stopped", 9)
    assert left["frames"] == 6
    assert (last["dropped"], last["reconnects"]) == (9, 1)
    assert book.summary() is None


def test_the_summary_is_the_mean_of_all_steps():
    rows = np.array([[0.8, 0.1, 0.1]] * 3 + [[0.1, 0.8, 0.1]] * 5)
    book, _ = told(rows, np.arange(8) / 10, smoothing=0, min_duration=0)
    seen = book.summary()
    assert seen.label == "b"
    np.testing.assert_allclose(seen.probability, rows.mean(0)[1])
    assert [s.label for s in seen.segments] == ["a", "b"]


def test_only_the_last_segments_are_kept():
    book = Journal("camera 0", LABELS)
    row = np.full(3, 1 / 3)
    for k in range(module.KEPT + 5):
        closed = (Segment(k, k + 1, LABELS[k % 3], 0.5),)
        answer = Answer(
            k + 1, row, row, np.zeros(0), np.zeros((0, 3), np.float32), None, False, closed, None, LABELS
        )
        list(book.answered(answer))
    assert len(book.segments) == module.KEPT
    assert book.closed == module.KEPT + 5
