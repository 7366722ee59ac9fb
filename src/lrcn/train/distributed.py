"""Many processes, one training: what `torchrun` started is read from its environment; alone, nothing changes."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

_PATIENCE = timedelta(hours=12)


@dataclass(frozen=True)
class Team:
    """This process among those that train together."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    def heard(self, report: Callable[[str], None]) -> Callable[[str], None]:
        """Whom this process tells: the leader `report`, the others nobody."""
        return report if self.leads else lambda _: None

    def device(self, wanted: torch.device) -> torch.device:
        """The GPU of this process, where GPUs are used."""
        return (
            torch.device(wanted.type, self.local_rank) if wanted.type == "cuda" and self.world > 1 else wanted
        )

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, with gradients averaged over the team."""
        return DistributedDataParallel(model) if self.world > 1 else model

    def wait(self) -> None:
        """Returns when every process has come here."""
        if self.world > 1:
            dist.barrier()

    def agree(self, flag: bool) -> bool:
        """The leader's answer, for all."""
        if self.world == 1:
            return flag
        answer = [flag]
        dist.broadcast_object_list(answer, src=0)
        return answer[0]


@contextmanager
def joined_team() -> Iterator[Team]:
    """Joins the processes `torchrun` started, or stands alone."""
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        yield Team()
        return
    if dist.is_initialized():
        yield _team()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    # The leader may measure, or compute features, for longer than the few minutes others wait by default.
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=_PATIENCE)
    try:
        yield _team()
    finally:
        dist.destroy_process_group()


def _team() -> Team:
    return Team(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))
