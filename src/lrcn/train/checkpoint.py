"""Checkpoints from which a killed run goes on to the same weights; safetensors and JSON, nothing pickled.

All randomness in training is a function of (seed, step), and rates are a function of the step, so weights, optimiser
moments and a few counters are the whole state; of a network that goes through streams, also what it remembers of them.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lrcn.errors import LrcnError
from lrcn.files import whole_folder, write_whole

_MEMORY = "memory.safetensors"
_AVERAGE = "average.safetensors"


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        step: optimiser steps done.
        epoch: the epoch under way.
        batch: batches of it done.
        best: the best dev score so far, None before the first.
        best_epoch: when that was.
        scaler: loss scale of half-precision training.
        recipe: fingerprint of what is being trained; another's checkpoint is refused.
        finished: whether the run ended.
    """

    recipe: str
    step: int = 0
    epoch: int = 0
    batch: int = 0
    best: float | None = None
    best_epoch: int = 0
    scaler: dict[str, Any] = field(default_factory=dict)
    finished: bool = False


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    memory: Mapping[str, Tensor] | None = None,
    average: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes a checkpoint folder, whole or not at all, in place of the one before.

    `memory` is the recurrent state after the last batch, where the next goes on from it, and `average` the mean of the
    weights so far, where they are averaged.
    """
    with whole_folder(folder) as temporary:
        for name, tensors in ((_MEMORY, memory), (_AVERAGE, average)):
            if tensors:
                kept = {key: value.cpu().contiguous() for key, value in tensors.items()}
                save_file(kept, temporary / name)
        save_file(_learned(model), temporary / "model.safetensors")
        save_file(_moments(optimizer), temporary / "optimizer.safetensors")
        write_whole(temporary / "progress.json", json.dumps(asdict(progress)))


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, recipe: str
) -> Progress | None:
    """Restores model and optimiser in place.

    Returns:
        How far the run had come; None where there is no checkpoint.

    Raises:
        LrcnError: the checkpoint is of another recipe, or damaged.
    """
    if not (folder / "progress.json").exists():
        return None
    try:
        progress = Progress(**json.loads((folder / "progress.json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(folder, error) from error
    if progress.recipe != recipe:
        raise LrcnError(
            f"{folder} is of a run with other settings or data; give another --out, or remove that folder."
        )
    load_weights(folder, model)
    try:
        state = _by_index(load_file(folder / "optimizer.safetensors"))
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _damaged(folder, error) from error
    return progress


def load_memory(folder: Path, device: torch.device) -> dict[str, Tensor] | None:
    """The recurrent state that a checkpoint holds; None where it holds none.

    Raises:
        LrcnError: it is damaged.
    """
    return _tensors(folder / _MEMORY, device)


def load_average(folder: Path, device: torch.device) -> dict[str, Tensor]:
    """The mean of the weights that a checkpoint holds.

    Raises:
        LrcnError: it is missing or damaged.
    """
    means = _tensors(folder / _AVERAGE, device)
    if means is None:
        raise _damaged(folder, FileNotFoundError(f"it has no {_AVERAGE}"))
    return means


def _tensors(path: Path, device: torch.device) -> dict[str, Tensor] | None:
    try:
        return load_file(path, device=str(device))
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError) as error:
        raise _damaged(path.parent, error) from error


def save_weights(path: Path, model: nn.Module) -> None:
    """Writes a model's weights as they are, whole or not at all."""
    with whole_folder(path) as temporary:
        save_file(_learned(model), temporary / "model.safetensors")


def load_weights(path: Path, model: nn.Module) -> None:
    """Reads what `save_weights` wrote.

    Raises:
        LrcnError: it is not there, or damaged.
    """
    try:
        model.load_state_dict(load_file(path / "model.safetensors"))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise _damaged(path, error) from error


def _damaged(folder: Path, error: Exception) -> LrcnError:
    reason = " ".join(str(error).split())
    return LrcnError(f"The checkpoint {folder} is damaged ({reason}); remove {folder.parent} to start again.")


def _learned(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": value.detach().cpu().contiguous()
        for index, values in state.items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def _by_index(moments: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in moments.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    return state
