"""Weights on disk: one safetensors file, or several where one would be too large to keep in a repository."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

WHOLE = "model.safetensors"

LARGEST = 15 * 2**20
"""Bytes of tensors a file holds at most; a tensor alone may be larger."""

_PART = re.compile(r"model-(\d+)-of-(\d+)\.safetensors")


def write_weights(tensors: Mapping[str, torch.Tensor], folder: Path, largest: int = LARGEST) -> None:
    """Writes model.safetensors into `folder`, or model-1-of-2.safetensors and so on, none above `largest` bytes."""
    parts: list[dict[str, torch.Tensor]] = [{}]
    filled = 0
    for name, value in tensors.items():
        if filled + value.nbytes > largest and parts[-1]:
            parts.append({})
            filled = 0
        parts[-1][name] = value
        filled += value.nbytes
    if len(parts) == 1:
        save_file(parts[0], folder / WHOLE)
        return
    for number, part in enumerate(parts, start=1):
        save_file(part, folder / f"model-{number}-of-{len(parts)}.safetensors")


def load_weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a model folder.

    Raises:
        FileNotFoundError: there are none, or a part is missing; it names the file.
        OSError, SafetensorError: a file cannot be read.
    """
    tensors: dict[str, torch.Tensor] = {}
    for path in weight_files(folder):
        tensors |= load_file(path)
    return tensors


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a folder's weights.

    Raises:
        FileNotFoundError: as `load_weights`.
    """
    found = [match for path in folder.glob("model-*.safetensors") if (match := _PART.fullmatch(path.name))]
    if (folder / WHOLE).is_file() or not found:
        wanted = [WHOLE]
    else:
        count = int(found[0][2])
        wanted = [f"model-{number}-of-{count}.safetensors" for number in range(1, min(count, 999) + 1)]
    for name in wanted:
        if not (folder / name).is_file():
            raise FileNotFoundError(2, "No such file", str(folder / name))
    return [folder / name for name in wanted]
