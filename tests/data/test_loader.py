import os
import platform
from pathlib import Path

import pytest
import torch

from lrcn.data.loader import epoch_batches
from lrcn.data.sampler import ResumableSampler
from lrcn.memory import keep_freed_memory, return_freed_memory


class Clips:
    """Seven clips that tell their draw and the process that read them."""

    def __len__(self):
        return 7

    def __getitem__(self, draw):
        index, view = draw
        frames = torch.tensor([[index, view]], dtype=torch.uint8)
        return {"frames": frames, "label": os.getpid(), "index": index}


def draws(batch):
    return [tuple(clip[0].tolist()) for clip in batch["frames"]]


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_follow_each_other_in_the_samplers_order_from_any_batch_on(workers):
    sampler = ResumableSampler(7, 3, seed=4)
    wanted = [batch for epoch in range(2, 5) for batch in sampler.bound(epoch)]
    for start in (0, 2):
        given = list(epoch_batches(Clips(), sampler, range(2, 5), start, workers=workers))
        assert [draws(batch) for batch in given] == wanted[start:]


def test_the_same_processes_serve_all_epochs():
    batches = list(epoch_batches(Clips(), ResumableSampler(7, 3, seed=0), range(4), workers=2))
    readers = {int(reader) for batch in batches for reader in batch["labels"]}
    assert len(readers) == 2
    assert os.getpid() not in readers


def test_items_are_joined_as_asked():
    sampler = ResumableSampler(7, 7, seed=0)
    (count,) = epoch_batches(Clips(), sampler, range(1), join=len)
    assert count == 7


def resident() -> int:
    """MiB of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


class Hungry(Clips):
    """Clips whose label is how much memory is kept of 256 MiB that were needed to read them."""

    def __getitem__(self, draw):
        before = resident()
        torch.ones(1 << 26)
        return {**super().__getitem__(draw), "label": resident() - before}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is told")
def test_processes_give_back_what_the_program_would_keep():
    sampler = ResumableSampler(7, 7, seed=0)
    keep_freed_memory()
    try:
        (kept,), (helped,) = (epoch_batches(Hungry(), sampler, range(1), workers=n) for n in (0, 1))
    finally:
        return_freed_memory()
    assert kept["labels"].max() > 200
    assert helped["labels"].max() < 50
