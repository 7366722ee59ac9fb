"""The training loop: any task, one page. Killed at any step and started again, it ends with the same weights."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lrcn.data.datasets import ClipSource, collate
from lrcn.data.sampler import ResumableSampler
from lrcn.errors import LrcnError
from lrcn.train.checkpoint import Progress, load_checkpoint, load_weights, save_checkpoint, save_weights
from lrcn.train.distributed import Team
from lrcn.train.optim import OptimConfig, build_optimizer, set_rates
from lrcn.train.tracking import Tracker

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class LoopConfig:
    """How long and in which portions.

    Attributes:
        epochs: passes over the training clips.
        batch: clips in a batch (of each process).
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

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or self.accumulate < 1:
            raise LrcnError(
                f"epochs is {self.epochs}, batch {self.batch}, accumulate {self.accumulate}: each must be at least 1."
            )


class Task(Protocol):
    """What the loop needs to know of a task."""

    clips: ClipSource

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The scalar to make small."""
        ...

    def dev_score(self, model: nn.Module) -> dict[str, float] | None:
        """Dev metrics with "score", which is to be large; None where there are no dev clips."""
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
    sampler = ResumableSampler(
        len(task.clips), config.batch, config.seed, team.rank, team.world, drop_last=False
    )
    per_epoch = -(-len(sampler) // config.accumulate)
    steps = config.epochs * per_epoch
    device = next(model.parameters()).device
    scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
    if progress.scaler:
        scaler.load_state_dict(progress.scaler)
    team_model = team.wrap(model)
    board = folder / "tensorboard" if config.tensorboard else None
    saved = time.monotonic()
    with Tracker(
        folder / "log.jsonl", progress.step, steps, silent=not team.leads, tensorboard=board, name=name
    ) as tracker:
        while progress.epoch < config.epochs:
            model.train()
            started, clips = time.monotonic(), 0
            for group in _groups(_batches(task.clips, sampler, config, progress), config.accumulate):
                # Dropout follows from (seed, step) alone, so a resumed run draws what the uninterrupted one drew.
                torch.manual_seed(_draw_seed(config.seed, progress.step, team.rank))
                rate = set_rates(optimizer, config.optim, progress.step, steps)
                loss = _step(team_model, task, group, optimizer, scaler, config, device)
                progress.step += 1
                progress.batch += len(group)
                clips += sum(len(batch["index"]) for batch in group) * team.world
                speed = clips / (time.monotonic() - started)
                tracker.log(progress.step, loss=loss, lr=rate, clips_per_second=round(speed, 2))
                tracker.show(progress.step, loss, speed)
                if team.leads and time.monotonic() - saved > config.checkpoint_seconds:
                    progress.scaler = scaler.state_dict()
                    save_checkpoint(folder / "checkpoint", model, optimizer, progress)
                    saved = time.monotonic()
            progress.epoch, progress.batch = progress.epoch + 1, 0
            if _judge(model, task, config, folder, progress, tracker, team):
                break
        progress.finished = True
        if team.leads:
            save_checkpoint(folder / "checkpoint", model, optimizer, progress)
        team.wait()


def _step(
    model: nn.Module,
    task: Task,
    group: list[Batch],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    config: LoopConfig,
    device: torch.device,
) -> float:
    """One optimiser step over the batches of `group`; returns their mean loss."""
    optimizer.zero_grad(set_to_none=True)
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(config.precision)
    total = 0.0
    for batch in group:
        on_device = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
        with torch.autocast(device.type, dtype=half, enabled=half is not None):
            loss = task.loss(model, on_device) / len(group)
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    if total != total:
        raise LrcnError("The loss is not a number any more: lower optim.lr, or set precision to fp32.")
    scaler.unscale_(optimizer)
    if config.optim.clip_norm:
        nn.utils.clip_grad_norm_(model.parameters(), config.optim.clip_norm)
    scaler.step(optimizer)
    scaler.update()
    return total


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


def _batches(
    clips: ClipSource, sampler: ResumableSampler, config: LoopConfig, progress: Progress
) -> Iterator[Batch]:
    bound: Any = sampler.bound(progress.epoch, progress.batch)
    loader: Any = DataLoader(
        clips,  # type: ignore[arg-type]
        batch_sampler=bound,
        num_workers=config.workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
    )
    yield from loader


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
