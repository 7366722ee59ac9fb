"""The training loop: any task, one page. Killed at any step and started again, it ends with the same weights."""

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from lrcn.data.datasets import ClipSource, collate
from lrcn.data.loader import epoch_batches
from lrcn.data.sampler import ResumableSampler
from lrcn.data.streams import Streams, StreamSampler, collate_streams
from lrcn.errors import LrcnError
from lrcn.models.recurrent import State
from lrcn.train.average import WeightAverage
from lrcn.train.checkpoint import (
    Progress,
    load_average,
    load_checkpoint,
    load_memory,
    load_weights,
    save_checkpoint,
    save_weights,
)
from lrcn.train.distributed import Team
from lrcn.train.optim import OptimConfig, build_optimizer, set_rates
from lrcn.train.tracking import Tracker

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class LoopConfig:
    """How long and in which portions.

    Attributes:
        epochs: passes over the training clips.
        steps: steps in all, in place of `epochs`: the last pass ends where they do.
        average: share of a running mean of the weights that each step leaves as it is, such as 0.99; the mean is what
            training ends with. 0 ends with the weights themselves. With `keep: last`.
        batch: clips in a batch (of each process); streams, where clips are laid end to end.
        accumulate: batches whose gradients make one step.
        precision: "fp32", "bf16", or "fp16" with a loss scale (GPU).
        patience: epochs without a better dev score before the run ends early; 0 never ends early.
        keep: "best" keeps the weights of the best dev score, "last" those of the last step.
        workers: processes that prepare batches.
        checkpoint_seconds: time between checkpoints.
        tensorboard: also log to TensorBoard.
        seed: everything random follows from it.
        optim: how weights are changed.
    """

    epochs: int = 30
    batch: int = 16
    accumulate: int = 1
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    patience: int = 0
    keep: Literal["best", "last"] = "best"
    workers: int = 0
    checkpoint_seconds: float = 60.0
    tensorboard: bool = False
    seed: int = 0
    optim: OptimConfig = field(default_factory=OptimConfig)
    steps: int | None = None
    average: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.average < 1:
            raise LrcnError(f"average is {self.average}: give a share from 0 (none) up to but without 1.")
        if self.average and self.keep != "last":
            raise LrcnError(
                f'average is {self.average}, which goes with keep "last": the mean is of no one epoch.'
            )
        if self.steps is not None and self.steps < 1:
            raise LrcnError(f"steps is {self.steps}: give 1 or more, or null to count epochs.")
        if self.epochs < 1 or self.batch < 1 or self.accumulate < 1:
            raise LrcnError(
                f"epochs is {self.epochs}, batch {self.batch}, accumulate {self.accumulate}: each must be at least 1."
            )


class Task(Protocol):
    """What the loop needs to know of a task."""

    @property
    def clips(self) -> ClipSource | Streams:
        """What is learned from; a source with a function `join` has its batches made by that."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The scalar to make small."""
        ...

    def dev_score(self, model: nn.Module) -> dict[str, float] | None:
        """Dev metrics with "score", which is to be large; None where there are no dev clips."""
        ...


class StreamTask(Task, Protocol):
    """What the loop needs to know of a task whose clips may be `Streams`."""

    def stream_loss(self, model: nn.Module, batch: Batch, state: State | None) -> tuple[Tensor, State]:
        """The loss given the state after the batch before, and the state after this one, detached."""
        ...


def fit(
    model: nn.Module,
    task: Task,
    config: LoopConfig,
    folder: Path,
    *,
    recipe: str,
    team: Team,
    name: str = "train",
) -> Progress:
    """Trains `model` in place, or takes up the run that `folder` holds.

    Args:
        model: on its device; only parameters that require gradients learn.
        task: gives clips, loss and dev score.
        config: how long and in which portions.
        folder: checkpoints, best weights and log go there.
        recipe: fingerprint of all settings and data; a checkpoint of another is refused.
        team: the processes that train together.
        name: stands before the progress bar.

    Raises:
        LrcnError: the loss is no number, or the folder holds another run.
    """
    optimizer = build_optimizer(model, config.optim)
    progress = load_checkpoint(folder / "checkpoint", model, optimizer, recipe) or Progress(recipe)
    if not progress.finished:
        _run(model, task, config, folder, optimizer, progress, team, name)
    # Only the leader knows of scores.
    if config.keep == "best" and team.agree(progress.best is not None):
        load_weights(folder / "best", model)
    return progress


def _run(
    model: nn.Module,
    task: Task,
    config: LoopConfig,
    folder: Path,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    team: Team,
    name: str,
) -> None:
    sampler = _sampler(task.clips, config, team)
    per_epoch = -(-len(sampler) // config.accumulate)
    steps = config.steps or config.epochs * per_epoch
    epochs = -(-steps // per_epoch)
    device = next(model.parameters()).device
    scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
    if progress.scaler:
        scaler.load_state_dict(progress.scaler)
    learner = team.wrap(_Learner(model, task))
    state = load_memory(folder / "checkpoint", device) if progress.batch else None
    average = WeightAverage(model, config.average) if config.average else None
    if average is not None and progress.step:
        average.load(load_average(folder / "checkpoint", device))
    board = folder / "tensorboard" if config.tensorboard else None
    saved = time.monotonic()

    def save_when_due() -> None:
        nonlocal saved
        # The leader does not know what other processes remember of their streams; between epochs, none remembers any.
        whole = team.world == 1 or not state
        if team.leads and whole and time.monotonic() - saved > config.checkpoint_seconds:
            progress.scaler = scaler.state_dict()
            means = None if average is None else average.values
            save_checkpoint(folder / "checkpoint", model, optimizer, progress, state, means)
            saved = time.monotonic()

    with (
        Tracker(
            folder / "log.jsonl", progress.step, steps, silent=not team.leads, tensorboard=board, name=name
        ) as tracker,
        closing(
            _batches(task.clips, sampler, range(progress.epoch, epochs), progress, config.workers)
        ) as batches,
    ):
        while progress.epoch < epochs:
            model.train()
            started, clips = time.monotonic(), 0
            left = len(sampler.bound(progress.epoch, progress.batch))
            left = min(left, (steps - progress.step) * config.accumulate)
            for group in _groups(islice(batches, left), config.accumulate):
                # Dropout follows from (seed, step) alone, so a resumed run draws what the uninterrupted one drew.
                torch.manual_seed(_draw_seed(config.seed, progress.step, team.rank))
                rate = set_rates(optimizer, config.optim, progress.step, steps)
                loss, state = _step(learner, group, state, optimizer, scaler, config, device)
                progress.step += 1
                if average is not None:
                    average.update(model, progress.step)
                progress.batch += len(group)
                clips += sum(len(batch["index"]) for batch in group) * team.world
                speed = clips / (time.monotonic() - started)
                tracker.log(progress.step, loss=loss, lr=rate, clips_per_second=round(speed, 2))
                tracker.show(progress.step, loss, speed)
                save_when_due()
            progress.epoch, progress.batch, state = progress.epoch + 1, 0, None
            if _judge(model, task, config, folder, progress, tracker, team):
                break
            if team.world > 1:
                save_when_due()
        if average is not None:
            average.put_into(model)
        progress.finished = True
        if team.leads:
            save_checkpoint(folder / "checkpoint", model, optimizer, progress)
        team.wait()


class _Learner(nn.Module):
    """A model with its loss: one forward pass, whatever of the model a task calls, as averaging gradients needs it."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model = model
        self.task = task

    def forward(self, batch: Batch, state: State | None) -> tuple[Tensor, State | None]:
        """The loss, and for streams the state after the batch."""
        if "cont" in batch:
            return cast(StreamTask, self.task).stream_loss(self.model, batch, state)
        return self.task.loss(self.model, batch), None


def _step(
    learner: nn.Module,
    group: list[Batch],
    state: State | None,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    config: LoopConfig,
    device: torch.device,
) -> tuple[float, State | None]:
    """One optimiser step over the batches of `group`; returns their mean loss, and the state after them."""
    optimizer.zero_grad(set_to_none=True)
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(config.precision)
    total = 0.0
    for batch in group:
        on_device = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
        with torch.autocast(device.type, dtype=half, enabled=half is not None):
            loss, state = learner(on_device, state)
            loss = loss / len(group)
        scaler.scale(loss).backward()
        total += float(loss.detach())
    if total != total:
        raise LrcnError("The loss is not a number any more: lower optim.lr, or set precision to fp32.")
    scaler.unscale_(optimizer)
    if config.optim.clip_norm:
        nn.utils.clip_grad_norm_(learner.parameters(), config.optim.clip_norm)
    scaler.step(optimizer)
    scaler.update()
    return total, state


def _judge(
    model: nn.Module,
    task: Task,
    config: LoopConfig,
    folder: Path,
    progress: Progress,
    tracker: Tracker,
    team: Team,
) -> bool:
    """Measures on dev at an epoch's end and keeps the best weights; returns whether to stop early."""
    stop = False
    if team.leads:
        model.eval()
        scores = task.dev_score(model)
        if scores is not None:
            tracker.log(
                progress.step, epoch=progress.epoch, **{f"dev_{key}": value for key, value in scores.items()}
            )
            if progress.best is None or scores["score"] > progress.best:
                progress.best, progress.best_epoch = scores["score"], progress.epoch
                if config.keep == "best":
                    save_weights(folder / "best", model)
            stop = 0 < config.patience <= progress.epoch - progress.best_epoch
    return team.agree(stop)


def _sampler(clips: ClipSource | Streams, config: LoopConfig, team: Team) -> ResumableSampler | StreamSampler:
    if isinstance(clips, Streams):
        return clips.sampler(config.batch, config.seed, team.rank, team.world)
    return ResumableSampler(len(clips), config.batch, config.seed, team.rank, team.world, drop_last=False)


def _batches(
    clips: ClipSource | Streams,
    sampler: ResumableSampler | StreamSampler,
    epochs: range,
    progress: Progress,
    workers: int,
) -> Generator[Batch, None, None]:
    join = collate_streams if isinstance(clips, Streams) else getattr(clips, "join", collate)
    return epoch_batches(clips, sampler, epochs, progress.batch, workers=workers, join=join)


def _groups(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    group: list[Batch] = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _draw_seed(*path: int) -> int:
    return int(np.random.SeedSequence(path).generate_state(1, np.uint32)[0])
