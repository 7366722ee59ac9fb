"""A recipe: everything one experiment is, in one YAML file; a folder of class folders becomes one by itself."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from lrcn.config import from_values, merge, read_layers, to_values
from lrcn.data.moves import MoveStyle
from lrcn.data.sampling import Sampling
from lrcn.data.streams import StreamsConfig
from lrcn.data.transforms import Augment, Preprocess
from lrcn.errors import LrcnError
from lrcn.models.cnn import EncoderConfig, pretrained_within_reach
from lrcn.models.fusion import read_weights
from lrcn.models.recognizer import RecognizerConfig
from lrcn.train.loop import LoopConfig
from lrcn.train.tasks import ClipLoss

AnyRecipe = TypeVar("AnyRecipe")


@dataclass(frozen=True)
class MovesData:
    """Camera moves made over photos, as training and dev clips.

    Attributes:
        photos: a folder of photos.
        train: a text file of photo names, one a line, in that folder; empty takes all photos.
        dev: the same, for photos never trained on.
        clips: folders or manifests of clips filmed by a camera at rest, over which moves are played in training too.
        length: training clips in an epoch.
        dev_length: dev clips.
        style: how the camera moves in training.
        dev_style: how it moves on dev; None is `style` without switches, flying patches and wear.
        seed: everything random about the clips follows from it.
    """

    photos: str
    train: str = ""
    dev: str = ""
    clips: tuple[str, ...] = ()
    length: int = 3600
    dev_length: int = 999
    style: MoveStyle = field(default_factory=MoveStyle)
    dev_style: MoveStyle | None = None
    seed: int = 0


@dataclass(frozen=True)
class DataConfig:
    """Where clips come from and how they are divided.

    Attributes:
        source: a manifest, or a folder with a folder of clips per class.
        moves: camera moves over photos, instead of `source`.
        shares: how clips without a split of their own are divided, by group where there are groups.
        resplit: divides anew even where the data bring splits.
        allow_leakage: accepts a group that stands in both train and test.
        seed: of the division and of the random draws.
        frame_cache: a folder that keeps each clip's small frames, so that it is decoded once though the CNN is tuned;
            `lrcn data cache` fills it beforehand. Empty keeps none.
        streams: training clips, or whole videos with timed segments, end to end in `train.batch` streams, the recurrent
            state carried from batch to batch; None pads a batch of clips.
    """

    source: str = ""
    moves: MovesData | None = None
    shares: dict[str, float] = field(default_factory=lambda: {"train": 0.7, "dev": 0.15, "test": 0.15})
    resplit: bool = False
    allow_leakage: bool = False
    seed: int = 0
    frame_cache: str = ""
    streams: StreamsConfig | None = None


@dataclass(frozen=True)
class FusedConfig:
    """A row of a study that needs no training: variants whose probabilities of each clip are added up.

    Attributes:
        members: names of variants.
        weights: p of the first of two, such as "1/3"; one for each, such as "0.5,0.3,0.2"; or "dev": tuned for each
            fold on what was said of the clips that the other folds hold out.
    """

    members: tuple[str, ...]
    weights: str | float = "1/2"

    def __post_init__(self) -> None:
        if len(set(self.members)) < max(2, len(self.members)):
            raise LrcnError(f"study.fused has the members {list(self.members)}: give two or more, each once.")
        if self.weights != "dev":
            read_weights(self.weights, len(self.members))


@dataclass(frozen=True)
class StudyConfig:
    """Many runs of one recipe: cross-validation, seeds, and variants side by side.

    Attributes:
        folds: how many; None is one per value of `by`. 0 keeps the data's own splits.
        by: the manifest field whose values are never divided.
        seeds: each fold is trained once with each.
        variants: name -> settings laid over the recipe.
        fused: name -> which variants are taken together, without training again.
        shuffle: also tests every model on frames in random order.
    """

    folds: int | None = 0
    by: str = "group"
    seeds: tuple[int, ...] = (0,)
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    fused: dict[str, FusedConfig] = field(default_factory=dict)
    shuffle: bool = True

    def __post_init__(self) -> None:
        for name, row in self.fused.items():
            unknown = [member for member in row.members if member not in self.variants]
            if unknown:
                raise LrcnError(
                    f"study.fused.{name} has the member {unknown[0]!r}: the variants are {', '.join(self.variants)}."
                )
            if name in self.variants:
                raise LrcnError(f"study.fused.{name} is the name of a variant too: give it another.")


@dataclass(frozen=True)
class Recipe:
    """One experiment.

    Attributes:
        name: of the model.
        description: what it is for, with the expected number and its source.
        task: what is learned; `lrcn.train.jobs` knows the others.
        data: where clips come from.
        model: the networks.
        preprocess: how a frame reaches them; stored with the weights.
        sampling: which frames they read; stored with the weights.
        augment: random changes to training clips.
        views: random draws of each clip that are kept as features while the CNN is frozen.
        train: the first stretch of training.
        tune: a second one, in which the CNN's last `tune_stages` learn too; None leaves it out.
        tune_stages: stages of the CNN that learn in `tune`; -1 is all.
        label_smoothing: share of the target spread over the other classes.
        step_loss: share of the loss that is taken at every step, the rest is that of each clip as a whole; None is 1,
            and 0.5 where `model.head` pools by attention, which learns from the clip alone.
        clip_loss: what of a clip as a whole the loss is taken of: "probability", the mean of its steps' as the clip is
            judged, or "score", the mean of their logits, by which every step learns alike, not most those that are
            sure already.
        device: "auto", "cpu", "cuda", ...
        study: many runs instead of one.
    """

    name: str = "model"
    description: str = ""
    task: Literal["recognize"] = "recognize"
    data: DataConfig = field(default_factory=DataConfig)
    model: RecognizerConfig = field(default_factory=RecognizerConfig)
    preprocess: Preprocess = field(default_factory=Preprocess)
    sampling: Sampling = field(default_factory=Sampling)
    augment: Augment = field(default_factory=Augment)
    views: int = 4
    train: LoopConfig = field(default_factory=LoopConfig)
    tune: LoopConfig | None = None
    tune_stages: int = -1
    label_smoothing: float = 0.0
    step_loss: float | None = None
    clip_loss: ClipLoss = "probability"
    device: str = "auto"
    study: StudyConfig | None = None

    def __post_init__(self) -> None:
        attends = self.model.head.pool == "attention"
        if self.step_loss is not None and not 0 <= self.step_loss <= 1:
            raise LrcnError(f"step_loss is {self.step_loss}: give a share from 0 to 1.")
        if attends and self.step_loss == 1:
            raise LrcnError(
                "step_loss is 1, and model.head.pool attention learns from the rest of the loss alone: give less."
            )
        if self.data.streams is not None:
            self._check_streams(self.data.streams, attends)
        self.preprocess.preparation(self.augment)  # refuses what does not go together

    def _check_streams(self, streams: StreamsConfig, attends: bool) -> None:
        if attends or self.model.recurrent.bidirectional or self.step_loss not in (None, 1):
            raise LrcnError(
                "data.streams cuts clips where a batch ends, and what needs a whole clip cannot learn from that: leave "
                "it out, or set model.head.pool to mean, model.recurrent.bidirectional to false and step_loss to 1."
            )
        one_pass = self.sampling.spread == "window" and self.sampling.stride is None
        if streams.rows == "segments" and (self.data.moves or self.study or not one_pass):
            raise LrcnError(
                "data.streams.rows is segments, which needs data.source, no study, and videos read in one pass: "
                "sampling.spread window and no sampling.stride."
            )


def read_recipe(path: str | Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Reads a recipe, with `changes` (nested settings) laid over it.

    A recipe with `base: other.yaml` says only what is not as in that file, which is beside it. Relative paths of data
    and models are taken from the folder one works in; `~` and environment variables are filled in.

    Raises:
        LrcnError: the file cannot be read, or a setting in it is wrong.
    """
    recipe = read_as(Recipe, path, changes)
    if not recipe.data.source and recipe.data.moves is None:
        raise LrcnError(f"{path} names no data: set data.source or data.moves.")
    return recipe


def read_as(kind: type[AnyRecipe], path: str | Path, changes: Mapping[str, Any] | None = None) -> AnyRecipe:
    """Reads a recipe of a kind, with `changes` (nested settings) laid over it.

    Raises:
        LrcnError: the file cannot be read, or a setting in it is wrong.
    """
    return from_values(kind, _with_whole_paths(merge(read_layers(path), changes or {})))


def changed(recipe: AnyRecipe, changes: Mapping[str, Any]) -> AnyRecipe:
    """The recipe, of whatever kind, with nested settings laid over it."""
    return from_values(type(recipe), _with_whole_paths(merge(to_values(recipe), changes)))


def _with_whole_paths(values: dict[str, Any]) -> dict[str, Any]:
    """A recipe's values with `~` and environment variables in its paths filled in."""
    # Only where paths are: a description may well begin with "~".
    return {name: _filled_in(value) if name in ("data", "model") else value for name, value in values.items()}


def _filled_in(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled_in(below) for name, below in value.items()}
    if isinstance(value, list):
        return [_filled_in(below) for below in value]
    return os.path.expanduser(os.path.expandvars(value)) if isinstance(value, str) else value


def recipe_for_source(
    source: str | Path, changes: Mapping[str, Any] | None = None
) -> tuple[Recipe, list[str]]:
    """A recipe for a folder of class folders or a manifest, with defaults that suit this machine.

    Returns:
        The recipe and sentences that say what was chosen.
    """
    source = Path(source)
    on_gpu = torch.accelerator.is_available()
    values: dict[str, Any] = {
        "name": source.stem or "model",
        "data": {"source": str(source)},
        "model": DEFAULT_MODEL,
        "sampling": {"frames": 16, "spread": "uniform"},
        "augment": {"scale": 0.7, "flip": True, "colour": 0.2},
        "train": {"epochs": 40, "batch": 16, "keep": "last", "optim": {"lr": 1e-3}},
    }
    sentences = [
        "16 frames spread over each clip, at 112 px; clips are also mirrored at random "
        "(--augment.flip false where left and right are part of the label)."
    ]
    if on_gpu:
        values["tune"] = {
            "epochs": 20,
            "batch": 16,
            "precision": "bf16",
            "workers": min(os.cpu_count() or 1, 8),
        }
        sentences.append("A GPU is here: after the recurrent network, the CNN is tuned too.")
    else:
        sentences.append(
            "No GPU is here: the CNN stays as it is and runs once per clip; its features are kept."
        )
    if not _names_weights(changes or {}) and not pretrained_within_reach(EncoderConfig().name):
        values = merge(values, {"model": {"encoder": {"weights": OFFLINE_WEIGHTS}}})
        sentences.append(
            f"timm's hub is out of reach, so the CNN is that of {OFFLINE_WEIGHTS}, which ships "
            "(--model.encoder.weights FILE takes another)."
        )
    return from_values(Recipe, merge(values, changes or {})), sentences


def _names_weights(changes: Mapping[str, Any]) -> bool:
    encoder = changes.get("model", {}).get("encoder", {})
    return bool({"weights", "name", "stage"} & set(encoder))


OFFLINE_WEIGHTS = "camera-moves"
"""A model that ships, whose CNN is a start where no hub can be reached."""

DEFAULT_MODEL: dict[str, Any] = {
    "encoder": {"pool": "grid", "stage": 2, "grid": 14, "squeeze": 32},
    "reading": {"reads": ["appearance", "difference", "correlation"], "features": 128},
    "recurrent": {"unit": "lstm", "size": 128},
}
