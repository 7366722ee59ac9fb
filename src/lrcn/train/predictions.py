"""What a run said of every clip it was tested on, kept beside it, so that runs can be fused without training again."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from lrcn.data.cache import CachedClips
from lrcn.data.datasets import ClipDataset, ClipSource, PreparedClips
from lrcn.data.manifest import Row
from lrcn.errors import LrcnError
from lrcn.evaluate.recognition import RecognitionMetrics
from lrcn.files import whole_file
from lrcn.models.fusion import refuse_other_classes, tuned_weights, weighted
from lrcn.train.splits import Chosen


@dataclass(frozen=True)
class Predictions:
    """What was said of N clips.

    Attributes:
        labels: names of the K classes.
        clips: N names, each once, the same for every run on the same clips.
        truths: (N,) class of each clip.
        probabilities: (N, K) mean probabilities of each clip.
    """

    labels: list[str]
    clips: list[str]
    truths: NDArray[np.int64]
    probabilities: NDArray[np.float32]


def predictions_of(metrics: RecognitionMetrics, clips: ClipSource) -> Predictions:
    """What `measure` found on all of `clips`."""
    return Predictions(metrics.labels, clip_names(clips), metrics.truths, metrics.probabilities)


def save_predictions(path: Path, predictions: Predictions) -> None:
    """Writes safetensors: `truths` and `probabilities`, with labels and clip names as JSON in the header."""
    names = {"labels": json.dumps(predictions.labels), "clips": json.dumps(predictions.clips)}
    tensors: dict[str, NDArray[Any]] = {
        "truths": np.ascontiguousarray(predictions.truths),
        "probabilities": np.ascontiguousarray(predictions.probabilities, np.float32),
    }
    with whole_file(path) as temporary:
        save_file(tensors, temporary, names)


def load_predictions(path: Path) -> Predictions:
    """Reads what `save_predictions` wrote.

    Raises:
        LrcnError: it is missing or damaged.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            names = file.metadata() or {}
            found = Predictions(
                labels=json.loads(names["labels"]),
                clips=json.loads(names["clips"]),
                truths=file.get_tensor("truths"),
                probabilities=file.get_tensor("probabilities"),
            )
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise LrcnError(
            f"{path} cannot be read ({type(error).__name__}); remove it and run the study again, which makes it anew."
        ) from error
    if found.probabilities.shape != (len(found.clips), len(found.labels)) or len(found.truths) != len(
        found.clips
    ):
        raise LrcnError(
            f"{path} does not fit together; remove it and run the study again, which makes it anew."
        )
    return found


def clip_names(clips: ClipSource) -> list[str]:
    """A name for each clip, whatever its frames became: its row's id or place, else its position."""
    if isinstance(clips, (CachedClips, PreparedClips)):
        return clip_names(clips.source)
    if isinstance(clips, Chosen):
        names = clip_names(clips.source)
        return [names[index] for index in clips.indices]
    if isinstance(clips, ClipDataset):
        return _each_once([_row_name(row) for row in clips.rows])
    return [f"clip {index}" for index in range(len(clips))]


def fused_predictions(
    members: Sequence[Predictions], weights: Sequence[float], names: Sequence[str]
) -> Predictions:
    """The members' probabilities of the same clips as one.

    Raises:
        LrcnError: the members were tested on other clips, or know other classes.
    """
    same = in_one_order(members, names)
    return Predictions(
        same[0].labels,
        same[0].clips,
        same[0].truths,
        weighted([member.probabilities for member in same], weights).astype(np.float32),
    )


def tuned_elsewhere(
    members: Sequence[Sequence[Predictions]], fold: int, names: Sequence[str]
) -> tuple[float, ...]:
    """Weights for one fold, tuned on what the members said of the clips that the other folds hold out.

    No label of a clip of this fold is looked at to choose them. The networks that said it had those clips among their
    training clips, as in all nested cross-validation that trains once a fold.

    Args:
        members: of each, its predictions fold by fold, of one seed.
        fold: the fold that is left out.
        names: the members' names, for messages.
    """
    others = [number for number in range(len(members[0])) if number != fold]
    same = [in_one_order([member[number] for member in members], names) for number in others]
    probabilities = [
        np.concatenate([part[place].probabilities for part in same]) for place in range(len(members))
    ]
    return tuned_weights(probabilities, np.concatenate([part[0].truths for part in same]))[0]


def in_one_order(members: Sequence[Predictions], names: Sequence[str]) -> list[Predictions]:
    """The members' predictions with their clips in the order of the first.

    Raises:
        LrcnError: the members were tested on other clips, or know other classes.
    """
    refuse_other_classes({name: member.labels for name, member in zip(names, members, strict=True)})
    first = members[0]
    ordered = []
    for name, member in zip(names, members, strict=True):
        places = {clip: place for place, clip in enumerate(member.clips)}
        if len(places) < len(member.clips) or places.keys() != set(first.clips):
            raise LrcnError(
                f"{name} and {names[0]} were not tested on the same clips: fuse variants of the same data, or give its "
                "rows ids."
            )
        order = [places[clip] for clip in first.clips]
        ordered.append(
            Predictions(member.labels, first.clips, member.truths[order], member.probabilities[order])
        )
        if not np.array_equal(ordered[-1].truths, first.truths):
            raise LrcnError(f"{name} and {names[0]} have other labels for the same clips: mend the variants.")
    return ordered


def _row_name(row: Row) -> str:
    if row.id is not None:
        return row.id
    # A file may hold many clips.
    return row.path if row.start is None and row.end is None else f"{row.path} {row.start}-{row.end}"


def _each_once(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that came before."""
    seen: Counter[str] = Counter()
    told = []
    for name in names:
        seen[name] += 1
        told.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return told
