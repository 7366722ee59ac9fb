import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrcn.data.sampler import ResumableSampler, seeded_order
from lrcn.errors import LrcnError


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, int | bool]:
    """The arguments all ranks of one run share."""
    world, batch = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    drop_last = draw(st.booleans())
    n = draw(st.integers(world * batch if drop_last else 1, 70))
    shuffle, seed = draw(st.booleans()), draw(st.integers(0, 2**64))
    return {"n": n, "batch": batch, "seed": seed, "world": world, "shuffle": shuffle, "drop_last": drop_last}


def ranks_of(run: dict[str, int | bool]) -> list[ResumableSampler]:
    return [ResumableSampler(rank=rank, **run) for rank in range(run["world"])]


@given(run=worlds(), epoch=st.integers(0, 100), data=st.data())
def test_going_on_from_any_batch_gives_the_rest_of_the_epoch(
    run: dict[str, int | bool], epoch: int, data: st.DataObject
) -> None:
    sampler = data.draw(st.sampled_from(ranks_of(run)))
    whole = list(sampler.epoch_batches(epoch))
    start = data.draw(st.integers(0, len(whole)))
    np.random.seed(start)
    random.seed(start)
    again = ResumableSampler(**{**run, "rank": sampler.rank})
    rest = again.bound(epoch, start)
    assert list(again.epoch_batches(epoch, start)) == whole[start:]
    assert list(rest) == list(rest) == whole[start:]
    assert len(rest) == len(whole) - start


@given(run=worlds(), epoch=st.integers(0, 100))
def test_the_ranks_share_the_data_evenly_and_miss_nothing(run: dict[str, int | bool], epoch: int) -> None:
    epochs = [list(sampler.epoch_batches(epoch)) for sampler in ranks_of(run)]
    assert {len(batches) for batches in epochs} == {len(sampler) for sampler in ranks_of(run)}
    assert len({tuple(map(len, batches)) for batches in epochs}) == 1
    items = [item for batches in epochs for batch in batches for item in batch]
    assert all(type(index) is int and view == epoch for index, view in items)
    times = Counter(index for index, _ in items)
    if run["drop_last"]:
        assert {len(batch) for batches in epochs for batch in batches} == {run["batch"]}
        assert max(times.values()) == 1
        assert run["n"] - len(times) < run["batch"] * run["world"]
    else:
        assert set(times) == set(range(run["n"]))
        assert times.total() - run["n"] < run["world"]


@given(n=st.integers(1, 60), seed=st.integers(0, 9), epoch=st.integers(0, 9))
def test_a_global_batch_is_the_same_however_many_ranks_make_it(n: int, seed: int, epoch: int) -> None:
    def global_batches(world: int) -> list[set[int]]:
        ranks = [ResumableSampler(n, 6 // world, seed, rank, world) for rank in range(world)]
        steps = zip(*(sampler.epoch_batches(epoch) for sampler in ranks), strict=True)
        return [{index for batch in step for index, _ in batch} for step in steps]

    alone = global_batches(1)
    for world in (2, 3, 6):
        assert global_batches(world)[: n // 6] == alone[: n // 6]


def test_epochs_and_seeds_differ_and_the_order_is_fixed_for_ever() -> None:
    sampler = ResumableSampler(8, batch=3, seed=7)
    assert sampler.epoch_order(0).tolist() == [0, 5, 2, 3, 4, 7, 6, 1]
    orders = {
        tuple(ResumableSampler(50, 5, seed).epoch_order(epoch)) for seed in range(4) for epoch in range(4)
    }
    assert len(orders) == 16


def test_without_shuffling_the_order_is_plain() -> None:
    sampler = ResumableSampler(5, batch=2, seed=0, shuffle=False)
    assert list(sampler.epoch_batches(3)) == [[(0, 3), (1, 3)], [(2, 3), (3, 3)], [(4, 3)]]


@given(n=st.integers(0, 300), key=st.lists(st.integers(0, 2**70), min_size=1, max_size=3))
def test_a_seeded_order_holds_each_number_once(n: int, key: list[int]) -> None:
    assert sorted(seeded_order(n, *key).tolist()) == list(range(n))


def test_a_seeded_order_favours_no_place() -> None:
    where = np.array([np.argwhere(seeded_order(4, seed) == 0).item() for seed in range(2000)])
    assert np.bincount(where).min() > 430


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"n": 0}, "n of at least 1"),
        ({"batch": 0}, "batch of at least 1"),
        ({"world": 0}, "world of at least 1"),
        ({"seed": -1}, "from 0 up, not -1"),
        ({"rank": 2, "world": 2}, "Rank 2 is not one of 2 ranks"),
        ({"rank": -1}, "Rank -1"),
        ({"batch": 6, "world": 2, "drop_last": True}, "10 clips make no full batch of 6 on 2 ranks"),
    ],
)
def test_what_cannot_be_sampled_is_said_at_once(changed: dict[str, int], says: str) -> None:
    with pytest.raises(LrcnError, match=says):
        ResumableSampler(**{"n": 10, "batch": 2, "seed": 0, **changed})


@pytest.mark.parametrize(("epoch", "start"), [(-1, 0), (0, 6), (0, -1)])
def test_there_is_nothing_beyond_an_epoch(epoch: int, start: int) -> None:
    sampler = ResumableSampler(10, batch=2, seed=0)
    with pytest.raises(LrcnError):
        sampler.epoch_batches(epoch, start)
    assert list(sampler.epoch_batches(0, 5)) == []


def test_a_data_loader_takes_it() -> None:
    from torch.utils.data import DataLoader, Dataset

    class Items(Dataset[tuple[int, int]]):
        def __getitem__(self, item: tuple[int, int]) -> tuple[int, int]:
            return item

    sampler = ResumableSampler(7, batch=3, seed=1)
    loader = DataLoader(Items(), batch_sampler=sampler.bound(2, 1), collate_fn=list)
    assert len(loader) == 2
    assert list(loader) == list(loader) == list(sampler.epoch_batches(2, 1))


def test_torch_is_not_needed_for_the_data_s_bookkeeping() -> None:
    modules = "sampler, lrcn.data.manifest, lrcn.data.splits, lrcn.data.check, lrcn.data.importers.folder"
    code = f"import sys, lrcn.data.{modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
