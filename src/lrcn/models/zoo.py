"""Models by name: those that ship, a folder of your own, or one on the Hugging Face hub."""

from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from lrcn.errors import LrcnError
from lrcn.models.folder import Loaded, load_folder, load_task

HUB = "hf-hub:"


def shipped_folder() -> Path:
    """Where the models that ship are."""
    return Path(str(files("lrcn") / "zoo"))


def list_models() -> list[str]:
    """Names of the models that ship."""
    return sorted(path.parent.name for path in shipped_folder().glob("*/config.json"))


def model_folder(model: str | Path) -> Path:
    """The folder of a model.

    Args:
        model: a name of `list_models()`, a path, or "hf-hub:owner/name", which is downloaded once and kept.

    Raises:
        LrcnError: there is no such model; the sentence lists the names.
    """
    name = str(model)
    if name.startswith(HUB):
        return _from_hub(name.removeprefix(HUB))
    if name in list_models():
        return shipped_folder() / name
    if Path(name).is_dir():
        return Path(name)
    raise LrcnError(
        f"There is no model {name!r}: give one of {', '.join(list_models()) or '(none ship)'}, "
        "the path of a model folder, or hf-hub:owner/name."
    )


def load(
    model: str | Path, device: str | torch.device = "auto", *, tasks: Collection[str] | None = None
) -> Any:
    """Loads a model by name, path or hub id.

    Args:
        model: see `model_folder`.
        device: "auto" (the GPU if there is one), "cpu", "cuda", "cuda:1", "mps".
        tasks: what the model must be for, names of `lrcn.models.folder.TASKS`; None takes all.

    Returns:
        What its task makes of it: `Loaded` or `Fused`, which `recognize`, or `LoadedCaptioner`, which can `caption`.

    Raises:
        LrcnError: no such model or device, a model for another task, or a piece of the folder is missing or does not
            fit.
    """
    return load_task(model_folder(model), chosen_device(device), tasks)


def load_model(model: str | Path, device: str | torch.device = "auto") -> Loaded:
    """A recogniser that is one network, for what needs its frames or its state; all other models are refused."""
    return load_folder(model_folder(model), chosen_device(device))


def chosen_device(device: str | torch.device) -> torch.device:
    """The device of that name; "auto" is the GPU if there is one.

    Raises:
        LrcnError: this machine has no such device.
    """
    if device == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return found or torch.device("cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise LrcnError(f"--device {device}: this machine has no such device; use cpu or auto.") from error
    return chosen


def _from_hub(repository: str) -> Path:
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.md", "model*.safetensors", "*/model*.safetensors"]
    try:
        return Path(snapshot_download(repository, allow_patterns=wanted))
    except Exception as error:  # the hub client passes on whatever its network library raises
        raise LrcnError(
            f"hf-hub:{repository} could not be fetched ({type(error).__name__}): check the name and the network, "
            "or download the folder and give its path."
        ) from error
