import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lrcn.data.cache import FeatureCache, FrameCache
from lrcn.data.datasets import collate
from lrcn.data.picture import Resize
from lrcn.data.video import Clip
from lrcn.errors import LrcnError


@dataclass
class Clips:
    """A source of small clips whose pixels, lengths and labels follow from (index, view)."""

    count: int = 5
    per_frame: bool = False
    fails_at: int | None = None
    read: list[tuple[int, int]] = field(default_factory=list)

    def __len__(self):
        return self.count

    def key(self, index, view):
        return f"{index}-{view}-{self.per_frame}"

    def item(self, index, view):
        if index == self.fails_at:
            raise LrcnError(f"clip {index} is broken")
        self.read.append((index, view))
        length = 2 + index
        frames = torch.full((length, 3, 4, 4), 10 * index + view, dtype=torch.uint8)
        frames[:, 0, 0, 0] = torch.arange(length)
        label = torch.arange(length) if self.per_frame else index % 2
        return {"frames": frames, "times": torch.arange(length) / 10, "label": label, "index": index}


@dataclass
class Encoder:
    """Average colours as features (N,3), counting what it was asked."""

    sizes: list[int] = field(default_factory=list)

    def __call__(self, frames):
        self.sizes.append(len(frames))
        return frames.float().mean((2, 3))


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        if isinstance(value, torch.Tensor):
            assert value.dtype == second[name].dtype
            assert torch.equal(value, second[name])
        else:
            assert type(value) is type(second[name])
            assert value == second[name]


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("per_frame", [False, True])
def test_an_item_has_features_for_frames_and_all_else_unchanged(tmp_path, per_frame):
    source = Clips(per_frame=per_frame)
    item = FeatureCache(tmp_path, Encoder(), "cnn").dataset(source)[3, 0]
    wanted = source.item(3, 0)
    wanted["maps"] = wanted.pop("frames").float().mean((2, 3)).half()
    assert_same({name: item[name] for name in wanted}, wanted)
    assert item.keys() == wanted.keys()


def test_lazy_filled_and_reread_items_are_the_same(tmp_path):
    lazy = FeatureCache(tmp_path / "lazy", Encoder(), "cnn").dataset(Clips(), views=2)
    filled = FeatureCache(tmp_path / "filled", Encoder(), "cnn").dataset(Clips(), views=2)
    filled.fill(batch_frames=7)
    reread = FeatureCache(tmp_path / "filled", Encoder(), "cnn").dataset(Clips(), views=2)
    for index in range(5):
        for view in range(2):
            assert_same(lazy[index, view], filled[index, view])
            assert_same(lazy[index, view], reread[index, view])
            assert_same(lazy[index, view], lazy[index, view])


def test_views_come_round_again(tmp_path):
    source = Clips()
    clips = FeatureCache(tmp_path, Encoder(), "cnn").dataset(source, views=2)
    assert_same(clips[1, 0], clips[1, 2])
    assert not torch.equal(clips[1, 0]["maps"], clips[1, 1]["maps"])
    assert source.read == [(1, 0), (1, 1)]
    with pytest.raises(LrcnError, match="views is 0"):
        FeatureCache(tmp_path, Encoder(), "cnn").dataset(source, views=0)


def test_filling_runs_the_encoder_in_bounded_batches_over_several_clips_and_tells_progress(tmp_path):
    encoder, told = Encoder(), []
    clips = FeatureCache(tmp_path, encoder, "cnn").dataset(
        Clips(), progress=lambda done, total: told.append((done, total))
    )
    clips.fill(batch_frames=8)
    assert sum(encoder.sizes) == 2 + 3 + 4 + 5 + 6
    assert max(encoder.sizes) <= 8
    assert len(encoder.sizes) == 4
    assert told[0] == (0, 5)
    assert told[-1] == (5, 5)
    assert told == sorted(told)


def test_interrupted_filling_is_taken_up_again(tmp_path):
    class StoppedError(Exception):
        pass

    def stop(done, total):
        if done == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        FeatureCache(tmp_path, Encoder(), "cnn").dataset(Clips()).fill(batch_frames=1, progress=stop)
    source, told = Clips(), []
    clips = FeatureCache(tmp_path, Encoder(), "cnn").dataset(source)
    clips.fill(batch_frames=1, progress=lambda done, total: told.append(done))
    assert told[0] == 2
    assert source.read == [(2, 0), (3, 0), (4, 0)]
    again = Clips()
    FeatureCache(tmp_path, Encoder(), "cnn").dataset(again).fill()
    assert again.read == []


def test_filling_with_loader_processes_gives_the_same_and_passes_errors_on_as_they_are(tmp_path):
    alone = FeatureCache(tmp_path / "alone", Encoder(), "cnn").dataset(Clips())
    helped = FeatureCache(tmp_path / "helped", Encoder(), "cnn").dataset(Clips())
    helped.fill(workers=1)
    for index in range(5):
        assert_same(alone[index, 0], helped[index, 0])
        # One that is keeps a file open, and systems allow so many.
        assert not any(isinstance(v, torch.Tensor) and v.is_shared() for v in helped[index, 0].values())
    broken = FeatureCache(tmp_path / "broken", Encoder(), "cnn").dataset(Clips(fails_at=2))
    with pytest.raises(LrcnError, match=r"^clip 2 is broken$"):
        broken.fill(workers=1)


@pytest.mark.parametrize("damage", ["cut", "emptied", "changed"])
def test_a_damaged_file_is_made_again(tmp_path, damage, caplog):
    whole = FeatureCache(tmp_path, Encoder(), "cnn").dataset(Clips(count=1))[0, 0]
    (path,) = files(tmp_path)
    content = path.read_bytes()
    damaged = {"cut": content[:-3], "emptied": b"", "changed": content[:-1] + bytes([content[-1] ^ 1])}[
        damage
    ]
    path.write_bytes(damaged)
    source = Clips(count=1)
    assert_same(FeatureCache(tmp_path, Encoder(), "cnn").dataset(source)[0, 0], whole)
    assert source.read == [(0, 0)]
    assert str(path) in caplog.text
    assert_same(FeatureCache(tmp_path, Encoder(), "cnn").dataset(source)[0, 0], whole)
    assert source.read == [(0, 0)]


def test_another_encoder_or_another_clip_has_another_file(tmp_path):
    FeatureCache(tmp_path, Encoder(), "one").dataset(Clips(count=1)).fill()
    source = Clips(count=1)
    FeatureCache(tmp_path, Encoder(), "two").dataset(source).fill()
    assert source.read == [(0, 0)]
    FeatureCache(tmp_path, Encoder(), "two").dataset(Clips(count=1, per_frame=True)).fill()
    assert len(files(tmp_path)) == 3


def test_memory_spares_the_disk_up_to_its_limit(tmp_path):
    size = 3 * 2 * 2 + 8 * 2
    cache = FeatureCache(tmp_path, Encoder(), "cnn", memory_limit=size)
    source = Clips()
    clips = cache.dataset(source)
    clips.fill()
    for path in files(tmp_path):
        path.unlink()
    source.read.clear()
    for index in range(5):
        clips[index, 0]
    assert source.read == [(1, 0), (2, 0), (3, 0), (4, 0)]


def test_equal_clips_share_a_file_but_keep_their_index(tmp_path):
    class Twins(Clips):
        def key(self, index, view):
            return "same"

        def item(self, index, view):
            return super().item(1, view) | {"index": index}

    source = Twins(count=3)
    clips = FeatureCache(tmp_path, Encoder(), "cnn").dataset(source)
    clips.fill()
    assert [clips[index, 0]["index"] for index in range(3)] == [0, 1, 2]
    assert len(source.read) == 1


def test_a_stand_in_keeps_its_own_index(tmp_path):
    class StandIn(Clips):
        def item(self, index, view):
            return super().item(3, view)

    clips = FeatureCache(tmp_path, Encoder(), "cnn").dataset(StandIn())
    clips.fill()
    assert clips[1, 0]["index"] == 3


def test_loader_processes_read_features_but_do_not_compute_them(tmp_path):
    clips = FeatureCache(tmp_path, Encoder(), "cnn", memory_limit=0).dataset(Clips())
    draws = [[(index, 0) for index in range(5)]]
    with pytest.raises(LrcnError, match="call fill"):
        list(DataLoader(clips, batch_sampler=draws, collate_fn=collate, num_workers=1))
    clips.fill()
    (batch,) = DataLoader(clips, batch_sampler=draws, collate_fn=collate, num_workers=1)
    assert batch["maps"].shape == (5, 6, 3)
    assert torch.equal(batch["maps"][2, :4], clips[2, 0]["maps"])


def test_it_can_be_sent_to_another_process_whatever_the_encoder(tmp_path):
    clips = FeatureCache(tmp_path, lambda frames: frames.float().mean((2, 3)), "cnn").dataset(Clips())
    clips.fill()
    assert_same(pickle.loads(pickle.dumps(clips))[2, 0], clips[2, 0])


@pytest.mark.parametrize(
    "encode",
    [
        lambda frames: torch.full((len(frames), 2), torch.nan),
        lambda frames: torch.full((len(frames), 2), 1e6),
        lambda frames: torch.zeros(len(frames) + 1, 2),
    ],
)
def test_features_that_cannot_be_kept_are_refused(tmp_path, encode):
    with pytest.raises(LrcnError, match="one feature per frame, all finite"):
        FeatureCache(tmp_path, encode, "cnn").dataset(Clips())[0, 0]
    assert files(tmp_path) == []


def test_features_may_take_part_in_training(tmp_path):
    maps = FeatureCache(tmp_path, Encoder(), "cnn").dataset(Clips())[0, 0]["maps"]
    weight = torch.ones(3, dtype=torch.float16, requires_grad=True)
    (maps @ weight).sum().backward()
    assert torch.equal(weight.grad, maps.sum(0))


@pytest.fixture
def clip():
    frames = np.random.default_rng(0).integers(0, 256, (9, 3, 5, 5), dtype=np.uint8)
    return Clip(frames, np.arange(9) / 10)


@pytest.mark.parametrize("chosen", [[0, 1, 2, 3], [5], [0, 2, 3, 8], [4, 4, 5, 5], list(range(9))])
def test_frames_are_found_again_by_position(tmp_path, clip, chosen):
    cache = FrameCache(tmp_path)
    cache.put("key", clip)
    kept = cache.get("key", lambda count: np.array(chosen) if count == 9 else np.array([0]))
    np.testing.assert_array_equal(kept.frames, clip.frames[chosen])
    np.testing.assert_array_equal(kept.times, clip.times[chosen])


def test_frames_not_kept_or_damaged_are_none(tmp_path, clip, caplog):
    cache = FrameCache(tmp_path)
    assert cache.get("key", np.arange) is None
    cache.put("key", clip)
    (path,) = files(tmp_path)
    content = path.read_bytes()
    start = content.index(clip.frames.tobytes())
    path.write_bytes(content[:start] + bytes([content[start] ^ 1]) + content[start + 1 :])
    assert cache.get("key", lambda count: np.array([0, 1])) is None
    assert "damaged" in caplog.text
    assert cache.get("key", lambda count: np.array([1, 2])) is not None
    path.write_bytes(content[:-1])
    assert cache.get("key", lambda count: np.array([1, 2])) is None


def test_clips_over_the_limit_do_not_fit():
    cache = FrameCache("unused", clip_limit=3 * 10 * 10 * 4)
    assert cache.fits(4, Resize(10))
    assert not cache.fits(5, Resize(10))
    assert cache.fits(2, Resize(10, width=20))
    assert not cache.fits(3, Resize(10, width=20))


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, clip):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LrcnError, match="Cannot write"):
        FrameCache(tmp_path / "file").put("key", clip)
