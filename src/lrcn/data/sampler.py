"""The order of training as a pure function of the seed: stop at any step and go on as if one never had."""

import operator
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lrcn.errors import LrcnError


def seeded_order(n: int, seed: int, *path: int) -> npt.NDArray[np.int64]:
    """Gives the numbers 0..n-1 in an order drawn by the seed alone, on any machine and any numpy.

    Args:
        n: how many numbers.
        seed: from 0 up.
        path: numbers from 0 up that tell apart the orders of one seed, such as the epoch.

    Raises:
        LrcnError: the seed is negative.
    """
    if seed < 0:
        raise LrcnError(f"A seed must be a whole number from 0 up, not {seed}; choose another.")
    # Raw draws: numpy promises to keep a generator's bits for ever, and no such thing of its shuffles.
    draws = np.random.Philox(np.random.SeedSequence(seed, spawn_key=path)).random_raw(n)
    return np.argsort(draws, kind="stable").astype(np.int64)


@dataclass(frozen=True)
class ResumableSampler:
    """Batches of (index, epoch) pairs for one rank; the order is a function of seed, epoch and place.

    Every rank gets equally many indices, as ranks that wait for each other must. Where `n` is no multiple of
    `world`, the epoch's order is filled up from its own beginning, so up to `world - 1` clips come twice in
    that epoch. With `drop_last` the order is cut short instead and a last batch that is not full is left out:
    nothing comes twice, and up to `batch * world - 1` clips wait for another epoch.

    Batch k of all ranks together is one stretch of the epoch's order, as long as `batch * world`; so a run
    can go on with another number of ranks when `batch * world` stays the same.

    Attributes:
        n: how many items there are.
        batch: items a batch on this rank (B).
        seed: the run's seed.
        rank: which of the processes this is, from 0.
        world: how many processes share the work.
        shuffle: False gives 0..n-1 in every epoch.
        drop_last: leave out a last batch that is not full.

    Raises:
        LrcnError: a number is out of its range, or `drop_last` would leave no batch at all.
    """

    n: int
    batch: int
    seed: int
    rank: int = 0
    world: int = 1
    shuffle: bool = True
    drop_last: bool = False

    def __post_init__(self) -> None:
        for name in ("n", "batch", "world"):
            if operator.index(getattr(self, name)) < 1:
                raise LrcnError(
                    f"The sampler needs {name} of at least 1, not {getattr(self, name)}; mend it."
                )
        if self.seed < 0:
            raise LrcnError(f"A seed must be a whole number from 0 up, not {self.seed}; choose another.")
        if not 0 <= self.rank < self.world:
            raise LrcnError(f"Rank {self.rank} is not one of {self.world} ranks; count ranks from 0.")
        if not len(self):
            raise LrcnError(
                f"{self.n} clips make no full batch of {self.batch} on {self.world} ranks; "
                "lower the batch size or keep the last batch."
            )

    @property
    def share(self) -> int:
        """How many indices a rank gets in an epoch, the same for all ranks."""
        if self.drop_last:
            return self.n // self.world // self.batch * self.batch
        return (self.n + self.world - 1) // self.world

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return (self.share + self.batch - 1) // self.batch

    def epoch_order(self, epoch: int) -> npt.NDArray[np.int64]:
        """Gives this rank's indices of an epoch, int64 (share,)."""
        order = seeded_order(self.n, self.seed, epoch) if self.shuffle else np.arange(self.n, dtype=np.int64)
        return np.resize(order, self.share * self.world)[self.rank :: self.world]

    def epoch_batches(self, epoch: int, start_batch: int = 0) -> Iterator[list[tuple[int, int]]]:
        """Gives the batches of an epoch from `start_batch` on, exactly as the whole epoch would have gone on.

        Raises:
            LrcnError: the epoch has fewer batches than `start_batch`.
        """
        return iter(self.bound(epoch, start_batch))

    def bound(self, epoch: int, start_batch: int = 0) -> "EpochBatches":
        """Binds the sampler to an epoch, as a DataLoader's `batch_sampler` wants it.

        Raises:
            LrcnError: the epoch has fewer batches than `start_batch`.
        """
        return EpochBatches(self, epoch, start_batch)


@dataclass(frozen=True)
class EpochBatches:
    """The batches of one epoch from one of them on; can be gone through again and again."""

    sampler: ResumableSampler
    epoch: int
    start_batch: int = 0

    def __post_init__(self) -> None:
        if self.epoch < 0:
            raise LrcnError(f"Epochs count from 0, so there is none numbered {self.epoch}.")
        if not 0 <= self.start_batch <= len(self.sampler):
            raise LrcnError(
                f"Batch {self.start_batch} is beyond the {len(self.sampler)} batches of an epoch; "
                "go on with the data and the batch size the run began with."
            )

    def __len__(self) -> int:
        """How many batches are left to give."""
        return len(self.sampler) - self.start_batch

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = self.sampler.epoch_order(self.epoch)
        size = self.sampler.batch
        for start in range(self.start_batch * size, len(order), size):
            yield [(index, self.epoch) for index in order[start : start + size].tolist()]
