"""Optimisers with a rate per part of the network, and learning-rate schedules."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from lrcn.errors import LrcnError


@dataclass(frozen=True)
class OptimConfig:
    """How weights are changed.

    Attributes:
        optimizer: "adamw" or "sgd".
        lr: learning rate of everything learned from scratch.
        encoder_lr: the pretrained network's rate, as a share of `lr`.
        momentum: of SGD.
        weight_decay: on matrices and kernels; biases and norms are spared.
        schedule: "constant", "cosine" (to zero), or "step" (times `gamma` every `step_every` steps, as the paper).
        warmup: share of all steps over which the rate climbs from zero.
        step_every: steps between drops of "step".
        gamma: factor of a drop.
        clip_norm: largest L2 norm of all gradients together; 0 is no limit.
    """

    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = 1e-3
    encoder_lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.01
    schedule: Literal["constant", "cosine", "step"] = "cosine"
    warmup: float = 0.05
    step_every: int = 10_000
    gamma: float = 0.1
    clip_norm: float = 5.0

    def __post_init__(self) -> None:
        if self.lr <= 0 or self.encoder_lr < 0 or self.clip_norm < 0 or self.weight_decay < 0:
            raise LrcnError(
                f"lr is {self.lr}, encoder_lr {self.encoder_lr}, clip_norm {self.clip_norm}, weight_decay "
                f"{self.weight_decay}: lr must be above zero and none of the others below it."
            )
        if not 0 <= self.warmup < 1:
            raise LrcnError(f"warmup is {self.warmup}: give a share of the training from 0 to below 1.")


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """An optimiser over the parameters that learn, in four groups: pretrained or new, decayed or not."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((".backbone." in f".{name}", parameter.ndim > 1), []).append(parameter)
    settings = [
        {
            "params": parameters,
            "scale": config.encoder_lr if pretrained else 1.0,
            "weight_decay": config.weight_decay if decayed else 0.0,
        }
        for (pretrained, decayed), parameters in sorted(groups.items())
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(settings, lr=config.lr, momentum=config.momentum)
    return torch.optim.AdamW(settings, lr=config.lr)


def set_rates(optimizer: torch.optim.Optimizer, config: OptimConfig, step: int, steps: int) -> float:
    """Sets every group's rate for `step` of `steps`; a function of the two alone, so a resumed run has no schedule to
    restore. Returns the rate of what is learned from scratch.
    """
    rate = config.lr * schedule_factor(config, step, steps)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
    return rate


def schedule_factor(config: OptimConfig, step: int, steps: int) -> float:
    """The share of the full rate at `step` (counted from 0) of `steps`."""
    warmup = round(config.warmup * steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "step":
        return float(config.gamma ** (step // config.step_every))
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))
