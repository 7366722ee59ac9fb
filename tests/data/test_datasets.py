import gc
import logging
import os
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from lrcn.data import datasets
from lrcn.data.datasets import ClipDataset, PreparedClips, collate
from lrcn.data.flow import MotionConfig, mirrored
from lrcn.data.manifest import Row
from lrcn.data.sampling import Sampling
from lrcn.data.subject import SubjectConfig
from lrcn.data.transforms import Augment, Preprocess
from lrcn.data.video import VideoError, read_clip
from lrcn.errors import LrcnError

PREPROCESS = Preprocess(size=24)
WINDOW = Sampling(rate=10, frames=4)
UNIFORM = Sampling(rate=None, frames=5, spread="uniform")
AUGMENT = Augment(scale=0.6, flip=True, colour=0.3, rotate=5)
LABELS = ["fall", "rise"]


def write_video(path, frames, rate=25):
    """Writes a clip whose grey level tells the frame: 5 levels a frame, with a pattern to crop and flip."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        stream.bit_rate = 1_000_000
        pattern = np.linspace(0, 60, 48, dtype=np.uint8)[None, :, None]
        for number in range(frames):
            picture = np.full((32, 48, 3), 5 * number, dtype=np.uint8) + pattern
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(stream.encode())


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "a.mp4", 30)
    write_video(folder / "b.mp4", 20)
    (folder / "c").mkdir()
    for number in range(12):
        picture = np.full((32, 48, 3), 20 * number, dtype=np.uint8)
        cv2.imwrite(str(folder / "c" / f"{number:04d}.png"), picture)
    named = [("a.mp4", "rise"), ("b.mp4", "fall"), ("c", "rise")]
    return [Row(str(folder / name), label) for name, label in named]


def clips(rows, sampling=WINDOW, augment=None, train=True, **options):
    return ClipDataset(rows, LABELS, sampling, PREPROCESS, augment, train=train, **options)


def assert_same(first, second):
    assert torch.equal(first["frames"], second["frames"])
    assert torch.equal(first["times"], second["times"])
    assert (first["label"], first["index"]) == (second["label"], second["index"])


@pytest.mark.parametrize("rate", [None, 7, 10, 25, 50])
def test_an_evaluation_item_is_what_the_reader_gives_in_one_pass(rows, rate):
    data = clips(rows, Sampling(rate=rate), train=False)
    for index, row in enumerate(rows):
        item = data[index, 5]
        wanted = read_clip(row.path, rate=rate, resize=PREPROCESS.resize)
        np.testing.assert_array_equal(item["frames"], wanted.frames)
        np.testing.assert_allclose(item["times"], wanted.times)
        assert item["frames"].dtype == torch.uint8
        assert item["label"] == LABELS.index(row.label)
        assert item["index"] == index


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2), st.integers(0, 99), st.integers(0, 2**40))
def test_a_training_item_follows_from_seed_index_and_view(rows, index, view, seed):
    first = clips(rows, augment=AUGMENT, seed=seed)
    second = clips(rows, augment=AUGMENT, seed=seed)
    second[(index + 1) % 3, view]
    torch.manual_seed(view)
    np.random.seed(index)
    assert_same(first[index, view], second[index, view])


@pytest.mark.parametrize("sampling", [WINDOW, UNIFORM])
def test_views_and_seeds_give_other_draws(rows, sampling):
    data, other = clips(rows, sampling, AUGMENT), clips(rows, sampling, AUGMENT, seed=1)
    pixels = [data[0, view]["frames"].numpy().tobytes() for view in range(6)]
    pixels += [other[0, view]["frames"].numpy().tobytes() for view in range(6)]
    assert len(set(pixels)) == 12
    assert len({tuple(data[0, view]["times"].tolist()) for view in range(6)}) > 2


def test_training_frames_are_the_evaluation_frames_of_their_times_when_augmentation_does_nothing(rows):
    whole = clips(rows, train=False)[0, 0]
    for view in range(5):
        item = clips(rows, augment=Augment())[0, view]
        position = int(torch.searchsorted(whole["times"], item["times"][0]))
        assert torch.equal(item["times"], whole["times"][position : position + 4])
        assert torch.equal(item["frames"], whole["frames"][position : position + 4])
    everything = Sampling(rate=10, frames=None)
    assert_same(clips(rows, everything, Augment())[0, 3], clips(rows, everything, train=False)[0, 0])


def test_augmentation_leaves_the_choice_of_frames_and_evaluation_alone(rows):
    for view in range(3):
        plain, augmented = clips(rows)[0, view], clips(rows, augment=AUGMENT)[0, view]
        assert torch.equal(plain["times"], augmented["times"])
        assert augmented["frames"].shape == plain["frames"].shape
    assert_same(clips(rows, augment=AUGMENT, train=False)[0, 0], clips(rows, train=False)[0, 0])


def test_start_and_end_are_kept_to(rows):
    part = [replace(rows[0], start=0.4, end=0.8)]
    item = clips(part, train=False)[0, 0]
    np.testing.assert_allclose(item["times"], [0.4, 0.5, 0.6, 0.7])
    np.testing.assert_array_equal(item["frames"], clips(rows, train=False)[0, 0]["frames"][4:8])
    assert_same(clips([replace(rows[0], end=99.0)], train=False)[0, 0], clips(rows, train=False)[0, 0])
    for view in range(10):
        times = clips(part, Sampling(rate=25, frames=3))[0, view]["times"]
        assert times.min() >= 0.4
        assert times.max() < 0.8


@pytest.mark.parametrize("sampling", [WINDOW, UNIFORM, Sampling(frames=None)])
@pytest.mark.parametrize("train", [True, False])
def test_the_frame_cache_changes_nothing_and_decodes_once(rows, tmp_path, monkeypatch, sampling, train):
    plain = clips(rows, sampling, AUGMENT, train)
    draws = [(index, view) for index in range(3) for view in range(3)]
    wanted = [plain[draw] for draw in draws]
    opened = []
    real = datasets.open_video
    monkeypatch.setattr(
        datasets, "open_video", lambda path, **options: opened.append(path) or real(path, **options)
    )
    cached = clips(rows, sampling, AUGMENT, train, frame_cache=tmp_path)
    for draw, item in zip(draws, wanted, strict=True):
        assert_same(cached[draw], item)
    again = clips(rows, sampling, AUGMENT, train, frame_cache=tmp_path)
    for draw, item in zip(draws, wanted, strict=True):
        assert_same(again[draw], item)
    assert sorted(opened) == sorted(row.path for row in rows)


def test_the_frame_cache_serves_only_what_made_it(rows, tmp_path, monkeypatch):
    clips(rows[:1], frame_cache=tmp_path)[0, 0]
    opened = []
    real = datasets.open_video
    monkeypatch.setattr(
        datasets, "open_video", lambda path, **options: opened.append(path) or real(path, **options)
    )
    others = [
        clips(rows[:1], Sampling(rate=5), frame_cache=tmp_path),
        clips(rows[:1], augment=AUGMENT, frame_cache=tmp_path),
        clips([replace(rows[0], end=0.9)], frame_cache=tmp_path),
        ClipDataset(rows[:1], LABELS, WINDOW, Preprocess(20), train=True, frame_cache=tmp_path),
    ]
    for data in others:
        data[0, 0]
    assert len(opened) == 4
    clips(rows[:1], Sampling(rate=10, frames=7), frame_cache=tmp_path)[0, 0]
    assert len(opened) == 4


def test_a_damaged_cached_clip_is_decoded_again_to_the_same_item(rows, tmp_path):
    data = clips(rows, augment=AUGMENT, frame_cache=tmp_path)
    wanted = data[0, 1]
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-5])
    assert_same(data[0, 1], wanted)
    assert_same(data[0, 1], wanted)


def test_clips_too_large_for_the_frame_cache_are_read_without_it(rows, tmp_path, monkeypatch):
    data = clips(rows, frame_cache=tmp_path)
    data._cache.clip_limit = 100
    assert_same(data[0, 1], clips(rows)[0, 1])
    assert list(tmp_path.iterdir()) == []


FLOW = Preprocess(24, motion=MotionConfig("flow"))
DIFFERENCE = Preprocess(24, motion=MotionConfig("difference"))


def moving(rows, sampling=WINDOW, augment=None, train=True, preprocess=FLOW, **options):
    return ClipDataset(rows, LABELS, sampling, preprocess, augment, train=train, **options)


@pytest.mark.parametrize("preprocess", [FLOW, DIFFERENCE])
def test_an_evaluation_item_of_motion_is_between_all_frames_of_the_grid(rows, preprocess):
    plain = clips(rows, train=False)[0, 0]
    item = moving(rows, train=False, preprocess=preprocess)[0, 0]
    images, _ = preprocess.motion.images(plain["frames"].numpy())
    np.testing.assert_array_equal(item["frames"], images)
    assert torch.equal(item["times"], plain["times"])
    assert (item["frames"][0] == 128).all()


@pytest.mark.parametrize("sampling", [WINDOW, UNIFORM])
@pytest.mark.parametrize("preprocess", [FLOW, DIFFERENCE])
def test_training_images_of_motion_are_those_of_evaluation_at_their_times(rows, sampling, preprocess):
    everything = replace(sampling, spread="window")
    whole = moving(rows, everything, train=False, preprocess=preprocess)[1, 0]
    for view in range(5):
        item = moving(rows, sampling, preprocess=preprocess)[1, view]
        places = torch.searchsorted(whole["times"], item["times"] - 1e-6)
        assert torch.equal(item["frames"], whole["frames"][places])


@pytest.mark.parametrize("sampling", [WINDOW, UNIFORM])
@pytest.mark.parametrize("preprocess", [FLOW, DIFFERENCE])
def test_the_frame_cache_keeps_images_of_motion(rows, tmp_path, monkeypatch, sampling, preprocess):
    options = {"sampling": sampling, "augment": AUGMENT, "preprocess": preprocess}
    draws = [(index, view) for index in range(3) for view in range(2)]
    wanted = [moving(rows, **options)[draw] for draw in draws]
    moving(rows, **options, frame_cache=tmp_path)[0, 0]
    for draw, item in zip(draws, wanted, strict=True):
        assert_same(moving(rows, **options, frame_cache=tmp_path)[draw], item)
    monkeypatch.setattr(datasets, "open_video", lambda *_, **__: pytest.fail("decoded again"))
    monkeypatch.setattr(MotionConfig, "images", lambda *_: pytest.fail("computed again"))
    for draw, item in zip(draws, wanted, strict=True):
        assert_same(moving(rows, **options, frame_cache=tmp_path)[draw], item)


def test_each_motion_setting_has_frames_and_keys_of_its_own(rows, tmp_path):
    motions = [
        MotionConfig(),
        MotionConfig("difference"),
        MotionConfig("difference", gain=2.0),
        MotionConfig("flow"),
        MotionConfig("flow", "farneback"),
        MotionConfig("flow", preset="medium"),
        MotionConfig("flow", scale=8.0),
    ]
    keys = set()
    for motion in motions:
        data = moving(rows[:1], preprocess=Preprocess(24, motion=motion), frame_cache=tmp_path)
        data[0, 0]
        keys.add(data.key(0, 0))
    assert len(keys) == len(motions)
    assert len(list(tmp_path.rglob("*.safetensors"))) == len(motions)


def test_a_mirrored_draw_of_flow_is_mirrored_in_its_vectors(rows):
    plain, flipped = moving(rows), moving(rows, augment=Augment(flip=True))
    pairs = [(plain[0, view]["frames"], flipped[0, view]["frames"]) for view in range(8)]
    changed = [pair for pair in pairs if not torch.equal(*pair)]
    assert 0 < len(changed) < 8
    assert all(torch.equal(mirrored(first), second) for first, second in changed)


def test_clips_made_elsewhere_take_the_same_steps(rows):
    plain = clips(rows, augment=AUGMENT)
    made = PreparedClips(plain, DIFFERENCE.preparation())
    item, frames = made[1, 2], plain[1, 2]["frames"].numpy()
    np.testing.assert_array_equal(item["frames"], DIFFERENCE.motion.images(frames)[0])
    assert (len(made), item["index"], item["label"]) == (3, 1, LABELS.index("fall"))
    keys = {made.key(1, 2), made.key(1, 3), plain.key(1, 2)}
    keys.add(PreparedClips(plain, FLOW.preparation()).key(1, 2))
    assert len(keys) == 4


@pytest.fixture
def with_broken(rows, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    return [
        rows[0],
        Row(str(tmp_path / "broken.mp4"), "fall"),
        Row(str(tmp_path / "gone.mp4"), "fall"),
        rows[1],
    ]


@pytest.mark.parametrize("cached", [True, False])
def test_in_training_the_next_readable_clip_stands_in_and_the_failure_is_reported_once(
    with_broken, rows, tmp_path, caplog, cached
):
    data = clips(with_broken, frame_cache=tmp_path / "cache" if cached else None)
    with caplog.at_level(logging.WARNING):
        for view in range(3):
            item = data[1, view]
            assert_same(item, data[3, view])
            assert (item["index"], item["label"]) == (3, LABELS.index("fall"))
    assert list(data.failed) == [with_broken[1].path, with_broken[2].path]
    assert len(caplog.records) == 2
    assert "broken.mp4" in caplog.records[0].getMessage()


def test_the_stand_in_may_be_at_the_start_of_the_list(with_broken):
    assert clips(with_broken[:3])[2, 0]["index"] == 0


def test_in_evaluation_an_unreadable_clip_is_an_error(with_broken):
    data = clips(with_broken, train=False)
    with pytest.raises(VideoError, match=r"broken\.mp4"):
        data[1, 0]
    with pytest.raises(VideoError, match=r"gone\.mp4"):
        data[2, 0]


def test_with_no_readable_clip_training_ends(with_broken):
    with pytest.raises(VideoError, match="None of the 2 clips"):
        clips(with_broken[1:3])[0, 0]


def test_a_span_outside_the_clip_counts_as_unreadable(rows):
    with pytest.raises(VideoError, match=r"no frames from 9 s.*mend start and end"):
        clips([replace(rows[0], start=9.0)], train=False)[0, 0]


def test_loader_processes_give_the_same_items_and_share_what_failed(with_broken):
    data = clips(with_broken, augment=AUGMENT)
    draws = [[(0, 0), (1, 0)], [(2, 1), (3, 1)]]
    batches = list(DataLoader(data, batch_sampler=draws, collate_fn=collate, num_workers=2))
    assert set(data.failed) == {with_broken[1].path, with_broken[2].path}
    alone = clips(with_broken, augment=AUGMENT)
    for batch, group in zip(batches, draws, strict=True):
        wanted = collate([alone[draw] for draw in group])
        assert all(torch.equal(batch[name], wanted[name]) for name in wanted)


class Collecting(ClipDataset):
    def __getitem__(self, draw):
        gc.collect()
        return super().__getitem__(draw)


@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="needs processes that fork")
def test_a_forked_loader_process_does_not_free_the_decoders_of_its_parent(rows):
    data = Collecting(rows, LABELS, WINDOW, PREPROCESS, train=True)
    gc.disable()
    try:
        # Readers left half way are garbage waiting for the collector, with threads that do not fork.
        unfinished = [datasets.open_video(row.path) for row in rows[:2]]
        unfinished.append(unfinished)
        del unfinished
        loader = DataLoader(
            data,
            batch_sampler=[[(0, 0)]],
            collate_fn=collate,
            num_workers=1,
            timeout=5,
            multiprocessing_context="fork",
        )
        (batch,) = loader
    finally:
        gc.enable()
    assert torch.equal(batch["frames"][0], clips(rows)[0, 0]["frames"])


def test_an_unknown_label_is_named_with_the_known_ones(rows):
    with pytest.raises(LrcnError, match=r'a\.mp4 has the label "jump".*fall, rise'):
        clips([replace(rows[0], label="jump")])
    with pytest.raises(LrcnError, match=r"a\.mp4 has no label"):
        clips([replace(rows[0], label=None)])


def test_the_key_changes_with_everything_that_makes_an_item(rows, tmp_path):
    path = tmp_path / "clip.mp4"
    write_video(path, 5)
    row = Row(str(path), "rise")

    def key(
        row=row,
        sampling=WINDOW,
        augment=AUGMENT,
        view=0,
        preprocess=PREPROCESS,
        labels=LABELS,
        train=True,
        seed=0,
    ):
        return ClipDataset([row], labels, sampling, preprocess, augment, train=train, seed=seed).key(0, view)

    keys = [
        key(),
        key(view=1),
        key(seed=1),
        key(train=False),
        key(augment=None),
        key(sampling=UNIFORM),
        key(preprocess=Preprocess(20)),
        key(row=replace(row, start=0.1)),
        key(row=replace(row, end=0.1)),
        key(row=rows[0]),
        key(labels=["rise", "fall"]),
    ]
    assert key() == keys[0]
    os.utime(path, ns=(1, 1))
    keys.append(key())
    assert len(set(keys)) == len(keys)
    assert key(train=False, view=0, seed=0) == key(train=False, view=3, seed=4, augment=None)


def test_a_missing_clip_has_a_key_in_training_only(with_broken):
    assert clips(with_broken).key(2, 0) != clips(with_broken).key(1, 0)
    with pytest.raises(VideoError, match=r"gone\.mp4"):
        clips(with_broken, train=False).key(2, 0)


def item(length, label=0, index=0, content="frames", size=2):
    if content == "maps":
        return {"maps": torch.rand(length, 5).half(), "label": label, "index": index}
    return {
        "frames": torch.full((length, 3, size, size), 9, dtype=torch.uint8),
        "label": label,
        "index": index,
    }


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.sampled_from(["frames", "maps"]))
def test_collating_keeps_every_clip_and_pads_the_rest_with_zeros(lengths, content):
    items = [item(length, label=k, index=7 + k, content=content) for k, length in enumerate(lengths)]
    batch = collate(items)
    assert batch[content].dtype == items[0][content].dtype
    assert batch[content].shape[:2] == (len(lengths), max(lengths))
    for k, length in enumerate(lengths):
        assert torch.equal(batch[content][k, :length], items[k][content])
        assert not batch[content][k, length:].any()
    assert batch["lengths"].tolist() == lengths
    assert batch["labels"].tolist() == list(range(len(lengths)))
    assert batch["index"].tolist() == [7 + k for k in range(len(lengths))]
    assert {batch[name].dtype for name in ("lengths", "labels", "index")} == {torch.int64}


def test_labels_per_frame_are_padded_with_the_ignored_label():
    batch = collate([item(2, torch.tensor([1, 2])), item(3, torch.tensor([3, 4, 5]))])
    assert batch["labels"].tolist() == [[1, 2, -100], [3, 4, 5]]


def test_clips_that_do_not_go_together_are_refused():
    with pytest.raises(LrcnError, match="differ in frame size"):
        collate([item(2), item(2, size=3)])
    with pytest.raises(LrcnError, match="labels of two kinds"):
        collate([item(2), item(2, torch.tensor([1, 2]))])


@pytest.mark.real
def test_real_clips_come_the_same_from_the_frame_cache(shared_data, tmp_path):
    real = [Row(str(path), "fall") for path in sorted((shared_data / "fights").rglob("*.mp4"))[:2]]
    plain, cached = clips(real, augment=AUGMENT), clips(real, augment=AUGMENT, frame_cache=tmp_path)
    for draw in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        assert_same(plain[draw], cached[draw])


# ---- draws that are as in evaluation, and draws of a camera ----

DEPTH = Preprocess(24, subject=SubjectConfig(crop=True, depth=300))


@pytest.mark.parametrize("preprocess", [PREPROCESS, DEPTH], ids=["pictures", "depth"])
def test_the_first_draw_is_left_as_evaluation_has_it_where_that_is_asked_for(rows, preprocess):
    augment = Augment(rotate=20, stretch=0.3, spare_first=True)
    trained = ClipDataset(rows, LABELS, UNIFORM, preprocess, augment, train=True)
    judged = ClipDataset(rows, LABELS, UNIFORM, preprocess, train=False)
    for index in range(len(rows)):
        assert_same(trained.item(index, 0), judged.item(index, 0))
        assert not torch.equal(trained.item(index, 1)["frames"], trained.item(index, 0)["frames"])
    unspared = ClipDataset(rows, LABELS, UNIFORM, preprocess, replace(augment, spare_first=False), train=True)
    assert not torch.equal(unspared.item(0, 0)["frames"], judged.item(0, 0)["frames"])


def test_a_draw_has_its_own_camera_and_none_of_its_frames_are_kept(rows, tmp_path):
    data = ClipDataset(
        rows, LABELS, UNIFORM, DEPTH, Augment(turn=30, tilt=20), train=True, frame_cache=tmp_path
    )
    first, second = data.item(0, 1), data.item(0, 2)
    assert not torch.equal(first["frames"], second["frames"])
    assert_same(data.item(0, 1), first)
    assert not list(tmp_path.iterdir())
    # One camera a clip: a frame that is there twice is seen twice alike.
    still = ClipDataset(
        rows[2:], LABELS, Sampling(frames=24, spread="uniform"), DEPTH, Augment(turn=30), train=True
    )
    item = still.item(0, 3)
    twice = [at for at in range(23) if item["times"][at] == item["times"][at + 1]]
    assert twice
    assert all(torch.equal(item["frames"][at], item["frames"][at + 1]) for at in twice)
