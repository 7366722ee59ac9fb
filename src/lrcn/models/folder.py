"""The model folder: everything a model needs to be used again, in files anybody can read; nothing pickled.

config.json         task, model, preprocessing, sampling, library version
model.safetensors   weights (half precision unless asked otherwise), in parts where they are large
labels.json         names of the classes, in the order of the scores; of what reads or writes words
tokenizer.json      the vocabulary, in its place
metrics.json        what was measured, and how
README.md           the model card

What each task keeps besides is read and written in a file of its own, which `TASKS` names.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError
from torch import nn

from lrcn.config import from_values, to_values
from lrcn.data.sampling import Sampling
from lrcn.data.tokenizer import Tokenizer
from lrcn.data.transforms import Preprocess
from lrcn.errors import LrcnError
from lrcn.files import whole_folder, write_whole
from lrcn.models.cnn import without_pretrained
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.weights import WHOLE, load_weights, write_weights

if TYPE_CHECKING:
    from lrcn.predict import Recognition, Source

Part = TypeVar("Part")
Model = TypeVar("Model", bound=nn.Module)


class TaskFolder(NamedTuple):
    """How the folders of one task are read.

    Attributes:
        loader: `module:function`, which takes a folder and a device and gives the model with all it takes to use it.
        does: what such a model does, after "it".
    """

    loader: str
    does: str


TASKS = {
    "recognize": TaskFolder("lrcn.models.folder:load_folder", "says what happens in videos"),
    "fuse": TaskFolder(
        "lrcn.models.fusion:load_fused", "fuses several models that say what happens in videos"
    ),
    "caption": TaskFolder("lrcn.models.captioner_folder:load_captioner", "writes sentences about photos"),
    "describe": TaskFolder(
        "lrcn.models.shot_describer_folder:load_any_describer", "writes sentences about videos"
    ),
    "embed": TaskFolder("lrcn.models.joint_folder:load_joint", "finds photos by sentences"),
}
"""The tasks in config.json, and who reads the rest of the folder."""

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
    parts = {"preprocess": preprocess, "sampling": sampling}
    save_task(folder, "recognize", model, parts, model.labels, metrics=metrics, card=card, half=half)


def load_folder(folder: str | Path, device: str | torch.device = "cpu") -> Loaded:
    """Reads a model folder.

    Raises:
        LrcnError: a piece is missing, or does not fit the others; the sentence names it.
    """
    folder = Path(folder)
    config = read_config(folder, ("recognize",))
    labels = read_labels(folder / "labels.json")
    preprocess = read_part(Preprocess, "preprocess", config, folder)
    sampling = read_part(Sampling, "sampling", config, folder)
    model_config = read_part(RecognizerConfig, "model", config, folder)
    tensors = read_weights(folder)
    _compare_labels(tensors, labels, folder)
    # The folder's own weights are all there is to load; the pretrained ones it began from are not looked for.
    network = Recognizer(without_pretrained(model_config), labels)
    return Loaded(
        model=filled(network, tensors, folder).to(device).eval(),
        preprocess=preprocess,
        sampling=sampling,
        labels=labels,
        folder=folder,
        metrics=read_metrics(folder),
    )


# ---- what the folders of all tasks share ----


def load_task(
    folder: str | Path, device: str | torch.device = "cpu", tasks: Collection[str] | None = None
) -> Any:
    """Reads a model folder of any task, as its entry in `TASKS` says.

    Args:
        folder: the model folder.
        device: where the network goes.
        tasks: what the model must be for; None takes all.

    Raises:
        LrcnError: it is for another task, or a piece is missing or does not fit the others.
    """
    task = read_config(Path(folder), TASKS if tasks is None else tasks)["task"]
    module, _, function = TASKS[task].loader.partition(":")
    return getattr(import_module(module), function)(folder, device)


def save_task(
    folder: str | Path,
    task: str,
    model: nn.Module,
    parts: Mapping[str, Any],
    words: Sequence[str] | Tokenizer,
    *,
    metrics: Mapping[str, Any] | None = None,
    card: str = "",
    half: bool = True,
) -> None:
    """Writes the folder of a model that is one network, whole or not at all.

    Args:
        folder: is replaced when it exists.
        task: one of `TASKS`.
        model: the network; its settings are `model.config`.
        parts: other settings (dataclasses) by the name they have in config.json.
        words: names of classes, or the vocabulary.
        metrics: what was measured, and how.
        card: the model card, Markdown.
        half: writes the weights in half precision, all but those too large for it.

    Raises:
        LrcnError: the folder holds something else than a model, or cannot be written.
    """
    refuse_other_things(folder)
    config = {"lrcn": version("lrcn"), "task": task, "model": to_values(model.config)}
    config |= {name: to_values(part) for name, part in parts.items()}
    tensors = {name: _stored(value, half) for name, value in model.state_dict().items()}
    with whole_folder(folder) as temporary:
        write_pieces(temporary, config, words, metrics, card or f"# {Path(folder).name}\n")
        write_weights(tensors, temporary)


def read_config(folder: Path, tasks: Collection[str]) -> dict[str, Any]:
    """A folder's config.json.

    Raises:
        LrcnError: there is none, or it is of another task than these.
    """
    if not folder.is_dir():
        raise LrcnError(f"{folder} is no model folder: there is no such folder.")
    config: dict[str, Any] = read_json(folder / "config.json", dict)
    task = config.get("task")
    if task in tasks:
        return config
    if task == FUSED_TASK and "recognize" in tasks:
        raise LrcnError(
            f"{folder} fuses several models, and here one network is needed: give one of its folders."
        )
    if task in TASKS:
        wanted = TASKS[next(iter(tasks))].does
        raise LrcnError(
            f"{folder} is a model that {TASKS[task].does}, and here one is needed that {wanted}: give such a model."
        )
    raise LrcnError(
        f"{folder} holds a model for the task {task!r}, which lrcn {version('lrcn')} does not know; "
        f"it was made by lrcn {config.get('lrcn', '?')}: install that version or a newer one."
    )


def read_metrics(folder: Path) -> dict[str, Any]:
    """What was measured when a model was made; nothing where the folder does not say."""
    path = folder / "metrics.json"
    metrics: dict[str, Any] = read_json(path, dict) if path.exists() else {}
    return metrics


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
    words: Sequence[str] | Tokenizer,
    metrics: Mapping[str, Any] | None,
    card: str,
) -> None:
    """Writes all of a model folder but weights."""
    write_whole(folder / "config.json", json.dumps(config, indent=2) + "\n")
    if isinstance(words, Tokenizer):
        words.save(folder / "tokenizer.json")
    else:
        write_whole(folder / "labels.json", json.dumps(list(words), indent=0, ensure_ascii=False) + "\n")
    write_whole(folder / "metrics.json", json.dumps(metrics or {}, indent=2) + "\n")
    write_whole(folder / "README.md", card)


def _stored(value: torch.Tensor, half: bool) -> torch.Tensor:
    value = value.detach().cpu().contiguous()
    if not half or not value.is_floating_point():
        return value
    # Some statistics of BatchNorm are larger than half precision can say.
    too_large = value.isfinite().all() and not value.half().isfinite().all()
    return value if too_large else value.half()


def read_part(kind: type[Part], name: str, config: dict[str, Any], folder: Path) -> Part:
    """Settings of that name in a folder's config.json.

    Raises:
        LrcnError: they are missing, or not of this kind.
    """
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


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of a folder's model.safetensors, or of its parts.

    Raises:
        LrcnError: it is missing or damaged.
    """
    with _readable(folder / WHOLE, "safetensors"):
        return load_weights(folder)


def _compare_labels(tensors: dict[str, torch.Tensor], labels: list[str], folder: Path) -> None:
    scores = tensors.get("classifier.bias")
    if scores is not None and scores.numel() != len(labels):
        raise LrcnError(
            f"{folder / 'labels.json'} names {len(labels)} classes, but model.safetensors scores {scores.numel()}; "
            "copy the whole folder again."
        )


def filled(model: Model, tensors: Mapping[str, torch.Tensor], folder: Path) -> Model:
    """The network with these weights, which must be all of its own and no others.

    Raises:
        LrcnError: one is missing, too many, of another shape, or no number.
    """
    path, needed = folder / WHOLE, model.state_dict()
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
    return model


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
    except FileNotFoundError as error:
        missing = Path(error.filename or path).name
        raise LrcnError(
            f"{path.parent} is no complete model folder: {missing} is missing; copy it there."
        ) from None
    except (OSError, ValueError, SafetensorError) as error:
        raise LrcnError(f"{path} cannot be read as {form} ({error}); copy it again.") from error
