"""Several recognisers as one (the paper's two streams, section 4): a weighted sum of the videos' mean probabilities.

The paper trains one network on RGB and one on flow images and takes p * RGB + (1 - p) * flow of what each says of the
whole video, with p = 1/2 or 1/3. A fused model is one folder:

config.json         task "fuse", the members' names, their weights, library version
labels.json         names of the classes, the same as those of every member
metrics.json        what was measured, and how
README.md           the model card
NAME/               a complete model folder for each member
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from lrcn.errors import LrcnError
from lrcn.files import whole_folder
from lrcn.models.folder import (
    FUSED_TASK,
    Loaded,
    load_folder,
    read_json,
    read_labels,
    refuse_other_things,
    write_pieces,
)

if TYPE_CHECKING:
    from lrcn.predict import Recognition, Source

Probabilities = NDArray[np.floating[Any]]
Weights = tuple[float, ...]

GRID_STEPS = 20
"""Tuning tries weights in steps of one in so many."""

_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?|\d{1,9}/\d{1,9}")
_MEMBER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


@dataclass
class Fused:
    """Several models that are asked one after the other and answer as one.

    Attributes:
        members: name -> model, each with its own preprocessing and sampling.
        weights: one for each member, in their order; they sum to 1.
        folder: where it came from.
        metrics: what was measured when it was made.

    Raises:
        LrcnError: fewer than two members, other classes in one than in another, or weights that do not fit.
    """

    members: dict[str, Loaded]
    weights: Weights
    folder: Path | None = None
    metrics: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        refuse_other_classes({name: member.labels for name, member in self.members.items()})
        _check_weights(self.weights, len(self.members))

    @property
    def labels(self) -> list[str]:
        """Names of the classes, in the order of the probabilities."""
        return next(iter(self.members.values())).labels

    def recognize(self, source: "Source", **options: Any) -> "Recognition":
        """Says what happens in a video; the options are those of `lrcn.predict.recognize`."""
        # Not above: prediction builds on models, and models know nothing of it.
        from lrcn.predict_fused import recognize_fused

        return recognize_fused(self, source, **options)


def weighted(probabilities: Sequence[Probabilities], weights: Sequence[float]) -> NDArray[np.float64]:
    """The members' probabilities (..., K), all of one shape, as one."""
    return sum(
        (weight * part.astype(np.float64) for weight, part in zip(weights, probabilities, strict=True)),
        start=np.zeros(probabilities[0].shape),
    )


def at_times(values: NDArray[Any], times: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[Any]:
    """What was said last at the wanted times (M,) by one who said `values` (N, ...) at ascending times (N,).

    Times within a millisecond are the same. Before the first, the first is given: the first image of flow, say, comes a
    frame later than the first frame.
    """
    return values[np.maximum(np.searchsorted(times, wanted + 1e-3, side="right") - 1, 0)]


def read_weights(text: str | float, members: int) -> Weights:
    """Weights as people write them: "1/3" is p of the first of two; "0.5,0.3,0.2" is one for each.

    Raises:
        LrcnError: it is no such text, or the weights do not sum to 1.
    """
    parts = [part.strip() for part in str(text).split(",")]
    if not all(_NUMBER.fullmatch(part) for part in parts):
        raise LrcnError(f"The weights {text!r} are no numbers from 0 to 1: write 1/3, or 0.5,0.3,0.2.")
    try:
        values = [Fraction(part) for part in parts]
    except ZeroDivisionError:
        raise LrcnError(f"The weights {text!r} divide by 0: write 1/3, or 0.5,0.3,0.2.") from None
    if len(values) == 1 and members == 2:
        values.append(1 - values[0])
    weights = tuple(map(float, values))
    _check_weights(weights, members)
    return weights


def tuned_weights(
    probabilities: Sequence[Probabilities], truths: NDArray[np.int64], steps: int = GRID_STEPS
) -> tuple[Weights, float]:
    """The weights on a grid that have most videos right, and the share they have right.

    Of equals, those under which the true classes are the more probable (mean logarithm) are taken, then the more even.
    What they are tuned on must not be what they are judged on.

    Args:
        probabilities: of each member, (N, K).
        truths: (N,) classes.
        steps: weights are multiples of 1 / steps.
    """
    best: tuple[float, float, float] | None = None
    chosen: Weights = ()
    for weights in weight_grid(len(probabilities), steps):
        fused = weighted(probabilities, weights)
        likely = np.log(np.maximum(fused[np.arange(len(truths)), truths], 1e-12)).mean()
        score = float((fused.argmax(1) == truths).mean()), round(float(likely), 9), -max(weights)
        if best is None or score > best:
            best, chosen = score, weights
    assert best is not None
    return chosen, best[0]


def weight_grid(members: int, steps: int = GRID_STEPS) -> list[Weights]:
    """All weights of so many members that are multiples of 1 / steps and sum to 1."""
    return [
        tuple((b - a - 1) / steps for a, b in zip((-1, *bars), (*bars, steps + members - 1), strict=True))
        for bars in combinations(range(steps + members - 1), members - 1)
    ]


def refuse_other_classes(labels: Mapping[str, Sequence[str]]) -> None:
    """Compares the classes of models that are to answer as one.

    Raises:
        LrcnError: there are fewer than two models, or one knows other classes, or in another order.
    """
    if len(labels) < 2:
        raise LrcnError(f"Fusion takes two or more models; it was given {len(labels)}.")
    (first, known), *others = labels.items()
    for name, theirs in others:
        if list(theirs) == list(known):
            continue
        if len(theirs) != len(known):
            how = f"{len(theirs)} classes and {first} {len(known)}"
        else:
            place = next(k for k, pair in enumerate(zip(known, theirs, strict=True)) if pair[0] != pair[1])
            how = f'"{theirs[place]}" as class {place}, where {first} has "{known[place]}"'
        raise LrcnError(f"{name} has {how}: only models of the same classes in the same order can be fused.")


def save_fused(
    folder: str | Path,
    members: Mapping[str, Path],
    weights: Weights,
    *,
    metrics: Mapping[str, Any] | None = None,
    card: str = "",
) -> None:
    """Writes one folder that holds all it takes, whole or not at all.

    Args:
        folder: what is written; a model that is there is replaced.
        members: name -> the model folder that is copied under this name.
        weights: one for each member.
        metrics: what was measured, and how.
        card: the model card, Markdown.

    Raises:
        LrcnError: a member is no whole model of the same classes, or the folder cannot be written.
    """
    refuse_other_things(folder)
    refuse_other_classes({name: load_folder(source).labels for name, source in members.items()})
    _check_weights(weights, len(members))
    config = {"lrcn": version("lrcn"), "task": FUSED_TASK, "members": list(members), "weights": list(weights)}
    labels = read_labels(next(iter(members.values())) / "labels.json")
    with whole_folder(folder) as temporary:
        write_pieces(temporary, config, labels, metrics, card or f"# {Path(folder).name}\n")
        for name, source in members.items():
            _refuse_name(name, Path(folder))
            (temporary / name).mkdir()
            for file in source.iterdir():
                if file.is_file():
                    shutil.copyfile(file, temporary / name / file.name)


def load_fused(folder: str | Path, device: str | torch.device = "cpu") -> Fused:
    """Reads the folder of a fused model.

    Raises:
        LrcnError: a piece is missing, or does not fit the others; the sentence names it.
    """
    folder = Path(folder)
    config: dict[str, Any] = read_json(folder / "config.json", dict)
    names, weights = config.get("members"), config.get("weights")
    if not isinstance(names, list) or not isinstance(weights, list) or len(set(map(str, names))) < len(names):
        raise LrcnError(f"{folder / 'config.json'} must list members, each once, and weights; copy it again.")
    for name in names:
        _refuse_name(name, folder)
    if not all(isinstance(weight, (int, float)) and not isinstance(weight, bool) for weight in weights):
        raise LrcnError(f"{folder / 'config.json'} has weights that are no numbers; copy it again.")
    fused = Fused(
        members={name: load_folder(folder / name, device) for name in names},
        weights=tuple(map(float, weights)),
        folder=folder,
        metrics=read_json(folder / "metrics.json", dict) if (folder / "metrics.json").exists() else {},
    )
    if read_labels(folder / "labels.json") != fused.labels:
        raise LrcnError(
            f"{folder / 'labels.json'} names other classes than {names[0]}; copy the whole folder again."
        )
    return fused


def member_names(folders: Sequence[Path]) -> list[str]:
    """A name for each model folder, by what it is called or, for runs/rgb/model, by what it is in."""
    names: list[str] = []
    for folder in folders:
        path = folder.resolve()
        word = path.parent.name if path.name == "model" else path.name
        word = re.sub(r"[^A-Za-z0-9_-]+", "-", word).strip("-")[:48] or "model"
        while word in names:
            word += "-2"
        names.append(word)
    return names


def _check_weights(weights: Sequence[float], members: int) -> None:
    if len(weights) != members:
        raise LrcnError(f"There are {len(weights)} weights for {members} models: give one for each.")
    if not all(0 <= weight <= 1 for weight in weights) or abs(sum(weights) - 1) > 1e-6:
        shown = ", ".join(f"{weight:g}" for weight in weights)
        raise LrcnError(f"The weights {shown} must lie from 0 to 1 and sum to 1: mend them.")


def _refuse_name(name: Any, folder: Path) -> None:
    # A name of another kind could lead out of the folder.
    if not isinstance(name, str) or not _MEMBER.fullmatch(name):
        raise LrcnError(f"{folder} has a member {name!r}: names are letters, digits, dots, - and _; mend it.")
