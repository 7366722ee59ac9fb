"""The model folder: everything a model needs to be used again, in files anybody can read; nothing pickled.

config.json         task, model, preprocessing, sampling, library version
model.safetensors   weights (half precision unless asked otherwise)
labels.json         names of the classes, in the order of the scores
metrics.json        what was measured, and how
README.md           the model card
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lrcn.config import from_values, to_values
from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Preprocess
from lrcn.errors import LrcnError
from lrcn.files import whole_folder, write_whole
from lrcn.models.recognizer import Recognizer, RecognizerConfig

if TYPE_CHECKING:
    from lrcn.predict import Recognition, Source

Part = TypeVar("Part")

FUSED_TASK = "fuse"
"""The task in the config.json of a folder that holds several models; `lrcn.models.fusion` reads it."""


@dataclass
class Loaded:
    """A model with all it takes to use it.

    Attributes:
        model: the network, in evaluation mode on its device.
        preprocess: how a frame reaches it; the only way there is.
        sampling: which frames it reads.
        labels: names of the classes, in the order of the scores.
        folder: where it came from.
        metrics: what was measured when it was made.
    """

    model: Recognizer
    preprocess: Preprocess
    sampling: Sampling
    labels: list[str]
    folder: Path | None = None
    metrics: dict[str, Any] = field(default_factory=dict)

    def recognize(self, source: "Source", **options: Any) -> "Recognition":
        """Says what happens in a video; the options are those of `lrcn.predict.recognize`."""
        # Not above: prediction builds on models, and models know nothing of it.
        from lrcn.predict import recognize

        return recognize(self, source, **options)


def save_model(
    folder: str | Path,
    model: Recognizer,
    preprocess: Preprocess,
    sampling: Sampling,
    *,
    metrics: Mapping[str, Any] | None = None,
    card: str = "",
    half: bool = True,
) -> None:
    """Writes a model folder, whole or not at all.

    Args:
        folder: is replaced when it exists.
        model: the network.
        preprocess: stored with the weights.
        sampling: stored with the weights.
        metrics: what was measured, and how.
        card: the model card, Markdown.
        half: writes the weights in half precision, all but those too large for it.

    Raises:
        LrcnError: the folder holds something else than a model, or cannot be written.
    """
    refuse_other_things(folder)
    config = {
        "lrcn": version("lrcn"),
        "task": "recognize",
        "model": to_values(model.config),
        "preprocess": to_values(preprocess),
        "sampling": to_values(sampling),
    }
    tensors = {name: _stored(value, half) for name, value in model.state_dict().items()}
    with whole_folder(folder) as temporary:
        write_pieces(temporary, config, model.labels, metrics, card or f"# {Path(folder).name}\n")
        save_file(tensors, temporary / "model.safetensors")


def load_folder(folder: str | Path, device: str | torch.device = "cpu") -> Loaded:
    """Reads a model folder.

    Raises:
        LrcnError: a piece is missing, or does not fit the others; the sentence names it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise LrcnError(f"{folder} is no model folder: there is no such folder.")
    config = read_json(folder / "config.json", dict)
    _refuse_unknown(config, folder)
    labels = read_labels(folder / "labels.json")
    preprocess = _part(Preprocess, "preprocess", config, folder)
    sampling = _part(Sampling, "sampling", config, folder)
    model_config = _part(RecognizerConfig, "model", config, folder)
    tensors = _read_weights(folder / "model.safetensors")
    _compare_labels(tensors, labels, folder)
    # The folder's own weights are all there is to load; the pretrained ones it began from are not looked for.
    model_config = replace(model_config, encoder=replace(model_config.encoder, weights="none"))
    model = Recognizer(model_config, labels)
    _load_weights(model, tensors, folder / "model.safetensors")
    return Loaded(
        model=model.to(device).eval(),
        preprocess=preprocess,
        sampling=sampling,
        labels=labels,
        folder=folder,
        metrics=read_json(folder / "metrics.json", dict) if (folder / "metrics.json").exists() else {},
    )


def refuse_other_things(folder: str | Path) -> None:
    """Keeps a model from replacing what is no model.

    Raises:
        LrcnError: the folder holds something else.
    """
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "config.json").is_file():
        raise LrcnError(
            f"{folder} holds other things than a model, which would be lost: choose another folder."
        )


def write_pieces(
    folder: Path,
    config: Mapping[str, Any],
    labels: Sequence[str],
    metrics: Mapping[str, Any] | None,
    card: str,
) -> None:
    """Writes all of a model folder but weights."""
    write_whole(folder / "config.json", json.dumps(config, indent=2) + "\n")
    write_whole(folder / "labels.json", json.dumps(list(labels), indent=0, ensure_ascii=False) + "\n")
    write_whole(folder / "metrics.json", json.dumps(metrics or {}, indent=2) + "\n")
    write_whole(folder / "README.md", card)


def _stored(value: torch.Tensor, half: bool) -> torch.Tensor:
    value = value.detach().cpu().contiguous()
    if not half or not value.is_floating_point():
        return value
    # Some statistics of BatchNorm are larger than half precision can say.
    too_large = value.isfinite().all() and not value.half().isfinite().all()
    return value if too_large else value.half()


def _part(kind: type[Part], name: str, config: dict[str, Any], folder: Path) -> Part:
    if name not in config:
        raise LrcnError(f"{folder / 'config.json'} lacks {name}; copy it again.")
    return from_values(kind, config[name], f"{folder / 'config.json'}: {name}")


def read_labels(path: Path) -> list[str]:
    """Names of the classes in a labels.json.

    Raises:
        LrcnError: it is missing, or no list of names.
    """
    labels: list[str] = read_json(path, list)
    if (
        len(labels) < 2
        or not all(isinstance(label, str) for label in labels)
        or len(set(labels)) < len(labels)
    ):
        raise LrcnError(f"{path} must be a list of two or more names of classes, each once; copy it again.")
    return labels


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    with _readable(path, "safetensors"):
        tensors: dict[str, torch.Tensor] = load_file(path)
    return tensors


def _compare_labels(tensors: dict[str, torch.Tensor], labels: list[str], folder: Path) -> None:
    scores = tensors.get("classifier.bias")
    if scores is not None and scores.numel() != len(labels):
        raise LrcnError(
            f"{folder / 'labels.json'} names {len(labels)} classes, but model.safetensors scores {scores.numel()}; "
            "copy the whole folder again."
        )


def _load_weights(model: Recognizer, tensors: dict[str, torch.Tensor], path: Path) -> None:
    needed = model.state_dict()
    for name, value in needed.items():
        if name not in tensors:
            raise LrcnError(
                f"{path} lacks {name}: it belongs to another config.json; copy the whole folder again."
            )
        if tensors[name].shape != value.shape:
            raise LrcnError(
                f"{path} holds {name} with shape {tuple(tensors[name].shape)}, config.json asks for "
                f"{tuple(value.shape)}; copy the whole folder again."
            )
        if not tensors[name].isfinite().all():
            raise LrcnError(
                f"{path} holds values of {name} that are no numbers: its training diverged or it is damaged; "
                "copy it again, or train again with a lower learning rate."
            )
    extra = sorted(set(tensors) - set(needed))
    if extra:
        raise LrcnError(
            f"{path} holds {extra[0]}, which config.json knows nothing of; copy the whole folder again."
        )
    model.load_state_dict({name: tensors[name].to(needed[name].dtype) for name in needed})


def _refuse_unknown(config: dict[str, Any], folder: Path) -> None:
    if config.get("task") == FUSED_TASK:
        raise LrcnError(
            f"{folder} fuses several models, and here one network is needed: give one of its folders."
        )
    if config.get("task") != "recognize":
        raise LrcnError(
            f"{folder} holds a model for the task {config.get('task')!r}, which lrcn {version('lrcn')} does not know; "
            f"it was made by lrcn {config.get('lrcn', '?')}: install that version or a newer one."
        )


def read_json(path: Path, kind: type) -> Any:
    """What a JSON file of a model folder holds: a dict or a list, as `kind` says.

    Raises:
        LrcnError: it is missing, or holds something else.
    """
    with _readable(path, "JSON"):
        value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, kind):
        raise LrcnError(f"{path} holds no JSON {'object' if kind is dict else 'list'}; copy it again.")
    return value


@contextmanager
def _readable(path: Path, form: str) -> Iterator[None]:
    """Turns what reading a piece of a model folder raises into one sentence."""
    try:
        yield
    except FileNotFoundError:
        raise LrcnError(
            f"{path.parent} is no complete model folder: {path.name} is missing; copy it there."
        ) from None
    except (OSError, ValueError, SafetensorError) as error:
        raise LrcnError(f"{path} cannot be read as {form} ({error}); copy it again.") from error
