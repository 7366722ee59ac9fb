import os

import pytest
import torch

from lrcn.data.loader import epoch_batches
from lrcn.data.sampler import ResumableSampler


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
