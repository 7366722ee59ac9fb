"""Timed segments as labels of frames, and whole videos in pieces."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_video import make_video, numbers_of

from lrcn.data.datasets import IGNORED_LABEL, collate
from lrcn.data.manifest import Row
from lrcn.data.sampling import Sampling
from lrcn.data.streams import Streams, collate_streams
from lrcn.data.timed import TimedVideos, frame_labels, videos_of
from lrcn.data.transforms import Augment, Preprocess
from lrcn.data.video import VideoError
from lrcn.errors import LrcnError

LABELS = ["none", "run", "sit"]
tenths = st.integers(0, 20).map(lambda tenth: tenth / 10)


@given(
    st.lists(
        st.tuples(st.none() | tenths, st.none() | tenths, st.sampled_from(["run", "sit", None])), max_size=5
    ),
    st.sampled_from(["", "none"]),
)
def test_a_frame_has_the_label_of_the_last_segment_that_began(segments, background):
    rows = [Row("a.mp4", label, start=start, end=end) for start, end, label in segments]
    # As a grid gives them: 0.30000000000000004 is not past a boundary at 0.3.
    times = 0.1 * np.arange(21)
    expected = []
    for tenth in range(21):
        holding = [
            (start or 0.0, label)
            for start, end, label in segments
            if label is not None
            and round(10 * (start or 0)) <= tenth
            and (end is None or tenth < round(10 * end))
        ]
        latest = max((start for start, _ in holding), default=None)
        found = [label for start, label in holding if start == latest]
        expected.append(LABELS.index(found[-1]) if found else 0 if background else IGNORED_LABEL)
    found = frame_labels(rows, times, LABELS, background)
    assert found.dtype == torch.int64 and found.tolist() == expected


def test_labels_that_are_not_known_are_refused():
    with pytest.raises(LrcnError, match='label "jump" is not one of the known ones, none, run, sit'):
        frame_labels([Row("a.mp4", "jump")], [0.0], LABELS)
    with pytest.raises(LrcnError, match='label "rest" is not one of the known'):
        frame_labels([], [0.0], LABELS, "rest")


def test_rows_of_one_file_are_one_video():
    rows = [
        Row("a.mp4", "run", split="train"),
        Row("b.mp4", "sit"),
        Row("a.mp4", "sit", split="train", start=1.0),
    ]
    assert videos_of(rows) == [[rows[0], rows[2]], [rows[1]]]
    with pytest.raises(LrcnError, match=r"The segments of a\.mp4 stand in several splits"):
        videos_of([rows[0], replace(rows[2], split="dev")])


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Two videos of 30 and 17 frames at ten a second, with segments."""
    folder = tmp_path_factory.mktemp("timed")
    one, two = (str(make_video(folder / f"{count}.mp4", count, rate=10)) for count in (30, 17))
    return [
        Row(one, "run", start=0.5, end=1.2),
        Row(two, "sit"),
        Row(one, "sit", start=1.0, end=2.0),
        Row(two, "run", start=1.5),
    ]


def videos(rows, **options) -> TimedVideos:
    sampling = Sampling(rate=10, frames=4)
    return TimedVideos(rows, LABELS, sampling, Preprocess(48), **{"train": False, **options})


def test_a_whole_video_is_an_item(rows):
    one, two = (videos(rows)[index, 0] for index in range(2))
    assert numbers_of(one["frames"].numpy()) == list(range(30))
    assert one["label"].tolist() == [IGNORED_LABEL] * 5 + [1] * 5 + [2] * 10 + [IGNORED_LABEL] * 10
    assert two["label"].tolist() == [2] * 15 + [1] * 2
    assert videos(rows, background="none")[0, 0]["label"].tolist() == [0] * 5 + [1] * 5 + [2] * 10 + [0] * 10
    batch = collate([one, two])
    assert batch["lengths"].tolist() == [30, 17] and batch["labels"].shape == (2, 30)


@pytest.mark.parametrize("cached", [False, True], ids=["decoded", "cached"])
def test_the_pieces_of_a_video_are_the_video(rows, cached, tmp_path):
    augment = Augment(scale=0.5, flip=True, colour=0.0, rotate=10)
    options = {"train": True, "augment": augment, "seed": 3, "frame_cache": tmp_path if cached else None}
    whole, pieces = videos(rows, **options), videos(rows, piece=7, **options)
    assert pieces.layout.lengths.tolist() == [7, 7, 7, 7, 2, 7, 7, 3]
    assert pieces.layout.begins.tolist() == [True, *[False] * 4, True, False, False]
    for view in (0, 1):
        items = [pieces[index, view] for index in range(len(pieces))]
        assert [item["first"] for item in items] == [0, 7, 14, 21, 28, 0, 7, 14]
        for name in ("frames", "label", "times"):
            for video, part in enumerate((items[:5], items[5:])):
                assert torch.equal(torch.cat([item[name] for item in part]), whole[video, view][name]), name
    assert not torch.equal(pieces[0, 0]["frames"], pieces[0, 1]["frames"]), "each view is drawn anew"


def test_pieces_laid_end_to_end_are_the_videos_whatever_the_steps_of_a_batch(rows):
    pieces, whole = videos(rows, piece=7), videos(rows)
    source = Streams(pieces, 5, pieces.layout)
    rows_of = [row for batch in source.sampler(1, 0).bound(0) for row in batch]
    batches = [collate_streams([source[row]]) for row in rows_of]
    order = [0, 1] if rows_of[0][0].item == 0 else [1, 0]
    frames = torch.cat([batch["frames"][0] for batch in batches])
    assert torch.equal(frames, torch.cat([whole[video, 0]["frames"] for video in order]))
    cont = torch.cat([batch["cont"][0] for batch in batches])
    assert (cont == 0).nonzero().flatten().tolist() == [0, 30 if order[0] == 0 else 17]


def test_the_key_follows_from_all_that_made_the_item(rows):
    keys = {videos(rows).key(index, 0) for index in range(2)}
    keys |= {videos(rows, piece=7).key(index, 0) for index in range(8)}
    keys.add(videos(rows, background="none").key(0, 0))
    keys.add(videos([replace(rows[0], end=1.3), *rows[1:]]).key(0, 0))
    keys |= {videos(rows, train=True, augment=Augment(), seed=seed).key(0, 0) for seed in (0, 1)}
    assert len(keys) == 14
    assert videos(rows, piece=7).key(3, 0) == videos(rows, piece=7).key(3, 5)


def test_a_video_that_cannot_be_opened_is_told_when_it_is_cut_or_read(tmp_path):
    bad = [Row(str(tmp_path / "missing.mp4"), "run")]
    assert len(videos(bad)) == 1
    with pytest.raises(VideoError, match=r"missing\.mp4"):
        videos(bad)[0, 0]
    with pytest.raises(VideoError, match=r"missing\.mp4"):
        videos(bad, piece=7)
