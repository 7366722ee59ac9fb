"""Batches of epoch after epoch, prepared ahead by processes that live as long as the training does."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lrcn.data.datasets import Item, collate
from lrcn.memory import return_freed_memory


class EpochSampler(Protocol):
    """The order of every epoch, as `ResumableSampler` has it."""

    def bound(self, epoch: int, start_batch: int = 0) -> Any:
        """What to read for each batch of an epoch, from one of them on."""
        ...


def epoch_batches(
    clips: Any,
    sampler: EpochSampler,
    epochs: range,
    start_batch: int = 0,
    *,
    workers: int = 0,
    join: Callable[[Sequence[Item]], dict[str, Tensor]] = collate,
) -> Generator[dict[str, Tensor], None, None]:
    """The batches of one epoch after the other, without a break between them.

    Starting loader processes and ending them takes as long as a few batches, so that an epoch of a small data set would
    spend much of its time on it; these are started once, and prepare the next epoch while dev clips are judged. They
    end with the last batch, or when this iterator is closed.

    Args:
        clips: read by the sampler's draws: a clip source, or streams.
        sampler: the order of each epoch.
        epochs: their numbers.
        start_batch: how many batches of the first one are left out.
        workers: processes that prepare batches; 0 prepares each when it is asked for.
        join: makes a batch of items.
    """
    batches: Any = _Epochs(sampler, epochs, start_batch)
    source: Dataset[Item] = clips
    yield from DataLoader(
        source,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=join,
        worker_init_fn=return_freed_memory,
        pin_memory=torch.cuda.is_available(),
    )


@dataclass(frozen=True)
class _Epochs:
    sampler: EpochSampler
    epochs: range
    start_batch: int

    def __iter__(self) -> Iterator[Any]:
        for epoch in self.epochs:
            yield from self.sampler.bound(epoch, self.start_batch if epoch == self.epochs[0] else 0)
