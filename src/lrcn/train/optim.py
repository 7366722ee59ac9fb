"""Optimisers with a rate per part of the network, and learning-rate schedules."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lrcn.errors import LrcnError


@dataclass(frozen=True)
class RateRule:
    """Shares of the rate and of the decay for a part of the model: Caffe's `lr_mult` and `decay_mult`.

    Attributes:
        parameters: their names, with `*` for any text, such as "encoder.*", "recurrent.*" or "classifier.*".
        lr: share of `lr` on matrices and kernels.
        bias_lr: the same on biases and norms; None is as `lr`.
        decay: share of `weight_decay` on matrices and kernels.
        bias_decay: the same on biases and norms.
    """

    parameters: str
    lr: float = 1.0
    bias_lr: float | None = None
    decay: float = 1.0
    bias_decay: float = 0.0

    def __post_init__(self) -> None:
        for name in ("lr", "bias_lr", "decay", "bias_decay"):
            if (getattr(self, name) or 0) < 0:
                raise LrcnError(f"{name} of {self.parameters} is {getattr(self, name)}: give 0 or more.")


@dataclass(frozen=True)
class OptimConfig:
    """How weights are changed.

    Attributes:
        optimizer: "adamw", "sgd", or "caffe-sgd" (`CaffeSGD`, the paper's).
        lr: learning rate of everything learned from scratch.
        encoder_lr: the pretrained network's rate, as a share of `lr`.
        momentum: of SGD.
        weight_decay: on matrices and kernels; biases and norms are spared.
        schedule: "constant", "cosine" (to zero), or "step" (times `gamma` every `step_every` steps, as the paper).
        warmup: share of all steps over which the rate climbs from zero.
        step_every: steps between drops of "step".
        gamma: factor of a drop.
        clip_norm: largest L2 norm of all gradients together; 0 is no limit.
        rules: rates and decays by part of the model, in place of `encoder_lr` and of what is said above of biases; of
            the rules that fit a parameter the first counts.
    """

    optimizer: Literal["adamw", "sgd", "caffe-sgd"] = "adamw"
    lr: float = 1e-3
    encoder_lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.01
    schedule: Literal["constant", "cosine", "step"] = "cosine"
    warmup: float = 0.05
    step_every: int = 10_000
    gamma: float = 0.1
    clip_norm: float = 5.0
    rules: tuple[RateRule, ...] = ()

    def __post_init__(self) -> None:
        if self.lr <= 0 or self.encoder_lr < 0 or self.clip_norm < 0 or self.weight_decay < 0:
            raise LrcnError(
                f"lr is {self.lr}, encoder_lr {self.encoder_lr}, clip_norm {self.clip_norm}, weight_decay "
                f"{self.weight_decay}: lr must be above zero and none of the others below it."
            )
        if not 0 <= self.warmup < 1:
            raise LrcnError(f"warmup is {self.warmup}: give a share of the training from 0 to below 1.")


class CaffeSGD(torch.optim.Optimizer):
    """SGD whose velocity holds the rate: v <- m v + lr (g + decay w), w <- w - v (Caffe, sgd_solver.cpp).

    PyTorch's leaves the rate out of v, which is the same only while the rate stays: after a drop Caffe goes on with the
    steps it was taking, and slows down over the next few.

    Args:
        params: parameters or groups of them.
        lr: rate.
        momentum: m.
        weight_decay: decay.
    """

    def __init__(self, params: Any, lr: float, momentum: float = 0.9, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step on the gradients as they are; what the closure returns, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    velocity = self._velocity(weight).mul_(group["momentum"])
                    velocity.add_(weight.grad.add(weight, alpha=group["weight_decay"]), alpha=group["lr"])
                    weight.sub_(velocity)
        return loss

    def _velocity(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["velocity"] = torch.zeros_like(weight)
        velocity: Tensor = state["velocity"]
        return velocity


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """An optimiser over the parameters that learn, in groups of one share of the rate and one decay.

    Raises:
        LrcnError: a rule fits no part of the model.
    """
    # A part may have no parameters, such as the recurrent network of a single-frame model.
    known = [f"{name}." for name, _ in model.named_modules()] + [name for name, _ in model.named_parameters()]
    for rule in config.rules:
        if not any(fnmatchcase(name, rule.parameters) for name in known):
            parts = ", ".join(f"{name}.*" for name, _ in model.named_children())
            raise LrcnError(
                f"optim.rules has {rule.parameters}, which fits no part of the model: its parts are {parts}."
            )
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(_shares(name, parameter, config), []).append(parameter)
    settings = [
        {"params": parameters, "scale": scale, "weight_decay": decay * config.weight_decay}
        for (scale, decay), parameters in sorted(groups.items(), key=lambda group: group[0])
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(settings, lr=config.lr, momentum=config.momentum)
    if config.optimizer == "caffe-sgd":
        return CaffeSGD(settings, lr=config.lr, momentum=config.momentum)
    return torch.optim.AdamW(settings, lr=config.lr)


def _shares(name: str, parameter: nn.Parameter, config: OptimConfig) -> tuple[float, float]:
    """A parameter's shares of the rate and of the decay."""
    matrix = parameter.ndim > 1
    for rule in config.rules:
        if fnmatchcase(name, rule.parameters):
            bias_lr = rule.lr if rule.bias_lr is None else rule.bias_lr
            return (rule.lr, rule.decay) if matrix else (bias_lr, rule.bias_decay)
    return config.encoder_lr if ".backbone." in f".{name}" else 1.0, float(matrix)


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
