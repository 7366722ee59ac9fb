"""Frame and segment numbers against brute force and by hand, and what is read to get them."""

import json
from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_clips import MadeClips, small_model
from made_video import make_video

from lrcn.cli import main
from lrcn.data.datasets import IGNORED_LABEL
from lrcn.data.manifest import Row
from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Preprocess
from lrcn.errors import LrcnError
from lrcn.evaluate.detection import (
    Run,
    Said,
    average_precision,
    edit_score,
    evaluate,
    f1,
    measure,
    metrics_of,
    runs,
)
from lrcn.models.folder import load_folder, save_model

LABELS = ["a", "b", "c"]
frames = st.lists(st.integers(0, 2), min_size=1, max_size=14)


def classes(text):
    """One letter a frame; "." is no label, "-" no answer."""
    return np.array([{".": IGNORED_LABEL, "-": -1}.get(letter, "abc".find(letter)) for letter in text])


# ---- frames ----


@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=12).filter(
        lambda pairs: any(truth for _, truth in pairs)
    )
)
def test_average_precision_is_the_sum_over_thresholds(pairs):
    scores, truths = np.array([s / 4 for s, _ in pairs]), np.array([t for _, t in pairs])
    area = recall = 0.0
    for threshold in sorted(set(scores), reverse=True):
        said = scores >= threshold
        gained = (said & truths).sum() / truths.sum() - recall
        area, recall = area + gained * (said & truths).sum() / said.sum(), recall + gained
    assert average_precision(scores, truths) == pytest.approx(area)
    assert average_precision(scores[::-1], truths[::-1]) == pytest.approx(area)
    assert average_precision(truths.astype(float), truths) == 1


def test_average_precision_by_hand():
    scores, truths = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False])
    assert average_precision(scores, truths) == pytest.approx((1 + 2 / 3) / 2)
    # Of four equal scores two are right: nothing was ranked.
    assert average_precision(np.zeros(4), truths) == 0.5


# ---- segments ----


def test_runs_end_where_the_class_or_the_judging_does():
    found, judged = classes("aab-bbca"), classes("aaa.aaaa") != IGNORED_LABEL
    assert runs(found, judged) == [Run(0, 2, 0), Run(2, 3, 1), Run(4, 6, 1), Run(6, 7, 2), Run(7, 8, 0)]
    assert runs(found, judged, aimless=0) == [Run(2, 3, 1), Run(4, 6, 1), Run(6, 7, 2)]
    assert runs(classes("aaaa"), np.array([True, False, False, True])) == [Run(0, 1, 0), Run(3, 4, 0)]
    assert runs(np.array([], dtype=np.int64), np.array([], dtype=bool)) == []


def as_sets(classes, truth, aimless):
    """Segments as sets of frames with a class."""
    found, before = [], None
    for place, (k, true) in enumerate(zip(classes.tolist(), truth.tolist(), strict=True)):
        if true == IGNORED_LABEL:
            before = None
            continue
        if k != before:
            found.append((k, set()))
        found[-1][1].add(place)
        before = k
    return [(k, places) for k, places in found if k not in (aimless, -1)]


def by_hand(found, true, overlap, aimless):
    """Right, said and true segments: each said one tries the true one it overlaps most."""
    said, truths = (as_sets(part, true, aimless) for part in (found, true))
    right, taken = 0, set()
    for k, places in said:
        shares = [
            len(places & others) / len(places | others) if k == other else 0.0 for other, others in truths
        ]
        best = max(range(len(truths)), key=lambda n: (shares[n], -n), default=None)
        if best is not None and shares[best] >= overlap and best not in taken:
            taken.add(best)
            right += 1
    return right, len(said), len(truths)


videos = st.lists(
    st.integers(1, 12).flatmap(
        lambda steps: st.tuples(
            st.lists(st.integers(-1, 2), min_size=steps, max_size=steps),
            st.lists(st.sampled_from([IGNORED_LABEL, 0, 1, 2]), min_size=steps, max_size=steps),
        )
    ),
    min_size=1,
    max_size=3,
)


@given(videos, st.sampled_from([0.1, 0.25, 0.5, 0.75]), st.sampled_from([-1, 0]))
def test_f1_is_brute_force(videos, overlap, aimless):
    found, true = ([np.array(video[k]) for video in videos] for k in (0, 1))
    counts = np.sum([by_hand(*pair, overlap, aimless) for pair in zip(found, true, strict=True)], axis=0)
    right, said, truths = counts.tolist()
    precision, recall = right / max(said, 1), right / max(truths, 1)
    expected = 2 * precision * recall / (precision + recall) if right else 0.0
    assert f1(found, true, overlap, aimless) == pytest.approx(expected)


@given(frames, st.sampled_from([0.1, 0.5, 1.0]))
def test_what_is_right_is_all_right(truth, overlap):
    assert (
        f1([np.array(truth)], [np.array(truth)], overlap) == 1 == edit_score(np.array(truth), np.array(truth))
    )


@pytest.mark.parametrize(
    ("found", "true", "expected"),
    [
        ("aabb", "aaab", {10: 1, 25: 1, 50: 1}),  # 2/3 and 1/2
        ("abbb", "aaab", {10: 1, 25: 1, 50: 0}),  # 1/3 and 1/3
        ("abababab", "aaaabbbb", {10: 0.4, 25: 0.4, 50: 0}),  # 1/4 each; the others find theirs taken
        ("aacc", "aabb", {10: 0.5, 25: 0.5, 50: 0.5}),
        ("aa--", "aabb", {10: 2 / 3, 25: 2 / 3, 50: 2 / 3}),
        ("aaaa", "aa..", {10: 1, 25: 1, 50: 1}),  # what is not judged costs nothing
        ("----", "aabb", {10: 0, 25: 0, 50: 0}),
    ],
)
def test_f1_by_hand(found, true, expected):
    assert {
        percent: f1([classes(found)], [classes(true)], percent / 100) for percent in expected
    } == pytest.approx(expected)


def test_counts_are_summed_over_videos():
    found, true = [classes("ab"), classes("aaaa")], [classes("ab"), classes("bbbb")]
    assert f1(found, true, 0.5) == pytest.approx(2 * 2 / (3 + 3))


@given(frames, frames)
def test_the_edit_score_is_the_recursion(one, other):
    @lru_cache
    def distance(m, n):
        if not m or not n:
            return m + n
        same = mine[m - 1] == theirs[n - 1]
        return min(distance(m - 1, n) + 1, distance(m, n - 1) + 1, distance(m - 1, n - 1) + (not same))

    length = max(len(one), len(other))
    found, true = (np.array((part * length)[:length]) for part in (one, other))
    mine, theirs = (
        [k for place, k in enumerate(part) if not place or part[place - 1] != k]
        for part in (found.tolist(), true.tolist())
    )
    expected = 1 - distance(len(mine), len(theirs)) / max(len(mine), len(theirs))
    assert edit_score(found, true) == pytest.approx(expected)


def test_the_edit_score_tells_order_alone():
    assert edit_score(classes("aaaaab"), classes("abbbbb")) == 1
    assert edit_score(classes("abab"), classes("aabb")) == 0.5
    assert edit_score(classes("cacb"), classes("aacb"), aimless=2) == 1


# ---- all numbers of some videos ----


def said(text, truth, sure=0.9, rate=10):
    """What a model says that is `sure` of one class a frame."""
    best = classes(text)
    probabilities = np.full((len(text), 3), (1 - sure) / 2, np.float32)
    probabilities[np.arange(len(text)), best] = sure
    return Said(probabilities, classes(truth), np.arange(len(text)) / rate)


def test_all_numbers_by_hand():
    found = metrics_of(LABELS, [said("aaabbbcc", "aaaabbb."), said("ab", "ac")], background="a", left_out=1)
    assert (found.videos, found.frames, found.left_out) == (2, 9, 1)
    assert found.frame_accuracy == pytest.approx(6 / 9)
    assert found.confusion.tolist() == [[4, 1, 0], [0, 2, 1], [0, 1, 0]]
    # b is said of four frames of which two are right, then of all others at once.
    assert found.average_precision == pytest.approx({"b": 2 / 3 * 2 / 4 + 1 / 3 * 3 / 9, "c": 1 / 9})
    assert found.frame_map == pytest.approx(sum(found.average_precision.values()) / 2)
    # Segments but for a: b and c of the first, one b of the second; b and c are true. 2 of 4 frames overlap.
    assert found.f1 == pytest.approx({10: 2 / 5, 25: 2 / 5, 50: 2 / 5})
    assert found.edit == pytest.approx((0.5 + 0) / 2)
    values = json.loads(json.dumps(found.to_json()))
    assert values["f1@50"] == pytest.approx(0.4) and values["left_out"] == 1
    assert found.lines() == [
        "2 videos, 9 labelled frames, 2 classes; 1 more could not be read and are left out",
        "frames right 66.7%, frame mAP 27.8%",
        f"F1@10 40.0%, F1@25 40.0%, F1@50 40.0%, edit 25.0%; reported segments F1@50 {found.segment_f1:.1%}",
        "weakest: c 11%, b 44%",
    ]


def test_reported_segments_forgive_a_flicker():
    found = metrics_of(LABELS, [said("a" * 9 + "b" + "a" * 10, "a" * 20)])
    assert found.f1[50] == pytest.approx(2 / 4) and found.segment_f1 == 1


def test_a_video_of_one_frame_is_a_segment():
    found = metrics_of(LABELS, [said("b", "b")])
    assert found.segment_f1 == found.f1[50] == found.edit == found.frame_map == 1


def test_without_a_label_there_is_nothing_to_judge():
    for nothing in ([], [said("ab", "..")]):
        with pytest.raises(LrcnError, match="No frame has a label"):
            metrics_of(LABELS, nothing)


# ---- reading videos ----


class Timed(MadeClips):
    """Pieces of videos of features."""

    def __init__(self, maps, labels, first):
        super().__init__(maps, labels)
        self.first = first

    def item(self, index, view):
        times = (self.first[index] + np.arange(len(self.maps[index]))) / 10
        return {**super().item(index, view), "times": torch.from_numpy(times), "first": self.first[index]}


cached_model = lru_cache(small_model)


@settings(max_examples=20)
@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=1, max_size=3))
def test_a_video_in_pieces_is_the_video(pieces):
    generator = torch.Generator().manual_seed(0)
    whole = [torch.randn(sum(lengths), 256, generator=generator) for lengths in pieces]
    labels = [torch.randint(0, 2, (len(video),), generator=generator) for video in whole]
    cut = Timed(
        [part for video, lengths in zip(whole, pieces, strict=True) for part in video.split(lengths)],
        [part for video, lengths in zip(labels, pieces, strict=True) for part in video.split(lengths)],
        [sum(lengths[:n]) for lengths in pieces for n in range(len(lengths))],
    )
    model = cached_model().train()
    found, expected = measure(model, cut), measure(model, Timed(whole, labels, [0] * len(whole)))
    assert model.training and found.videos == len(pieces)
    assert found.average_precision == pytest.approx(expected.average_precision)
    assert found.confusion.tolist() == expected.confusion.tolist()
    assert (found.edit, found.f1, found.segment_f1) == (expected.edit, expected.f1, expected.segment_f1)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a tiny model and a manifest of two videos with segments."""
    folder = tmp_path_factory.mktemp("home")
    for count in (20, 12):
        make_video(folder / f"{count}.mp4", count, rate=10)
    save_model(folder / "model", small_model(), Preprocess(32), Sampling(rate=10, frames=4))
    rows = [
        {"path": "20.mp4", "label": "left", "start": 0.2, "end": 1.0},
        {"path": "20.mp4", "label": "right", "start": 1.0},
        {"path": "12.mp4", "label": "left", "end": 0.6},
    ]
    (folder / "timed.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_the_command_line_reads_each_video_once_and_whole(home, tmp_path, capsys):
    arguments = ["eval", "--model", str(home / "model"), "--device", "cpu", "--segments"]
    data = ["--data", str(home / "timed.jsonl")]
    assert main([*arguments, *data, "--format", "json", "--out", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["videos"], found["frames"]) == (2, 18 + 6)
    assert json.loads((tmp_path / "metrics.json").read_text()) == found
    assert (tmp_path / "confusion.png").exists()
    assert main([*arguments, *data, "--background", "right"]) == 0
    assert "2 videos, 32 labelled frames, 1 classes" in capsys.readouterr().out
    assert main([*arguments, *data, "--protocol", "clips"]) == 2
    assert "leave --protocol out" in capsys.readouterr().err


def test_what_was_read_is_what_recognizing_says(home):
    loaded = load_folder(home / "model")
    path = str(home / "20.mp4")
    rows = [Row(path, "left", end=1.0), Row(path, "right", start=1.0)]
    seen = loaded.recognize(path)
    truth = (seen.times >= 0.999).astype(int)
    assert evaluate(loaded, rows).frame_accuracy == pytest.approx((seen.per_frame.argmax(1) == truth).mean())


def test_videos_that_cannot_be_read_are_told_and_left_out(home, tmp_path):
    loaded, bad = load_folder(home / "model"), Row(str(tmp_path / "missing.mp4"), "left")
    told, done = [], []
    good = Row(str(home / "12.mp4"), "left")
    found = evaluate(loaded, [bad, good], report=told.append, progress=lambda *n: done.append(n))
    assert (found.videos, found.left_out, done) == (1, 1, [(1, 2), (2, 2)])
    assert len(told) == 1 and "missing.mp4" in told[0]
    with pytest.raises(LrcnError, match="None of the 1 videos can be read"):
        evaluate(loaded, [bad])
    loaded.sampling = Sampling(frames=4, spread="uniform")
    with pytest.raises(LrcnError, match="fixed number of frames"):
        evaluate(loaded, [good])
