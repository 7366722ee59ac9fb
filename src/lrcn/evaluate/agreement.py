"""A camera-move recogniser against the feature tracker, at the moments where the tracker is sure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lrcn.data.moves import MovesDataset, MoveStyle
from lrcn.errors import LrcnError
from lrcn.evaluate.global_motion import LABELS, Moment, sure_moments, track, track_frames
from lrcn.models.folder import Loaded
from lrcn.predict import recognize

Progress = Callable[[int, int], None]

# The tracker wants larger frames than the network.
_TRACKED_SIZE = 240


@dataclass
class Agreement:
    """Counts of sure moments.

    Attributes:
        confusion: (9, 9), what the tracker says by what the recogniser says, in the order of `LABELS`.
        moments: all moments looked at, sure or not.
        clips: clips that gave at least one sure moment.
    """

    confusion: NDArray[np.int64] = field(default_factory=lambda: np.zeros((len(LABELS),) * 2, dtype=np.int64))
    moments: int = 0
    clips: int = 0

    def add(self, moments: Sequence[Moment], said: Sequence[str]) -> None:
        """Counts one clip: what the tracker says at each moment and what the recogniser says there."""
        sure = [
            (moment.label, label)
            for moment, label in zip(moments, said, strict=True)
            if moment.label is not None
        ]
        for tracked, label in sure:
            self.confusion[LABELS.index(tracked), LABELS.index(label)] += 1
        self.moments += len(moments)
        self.clips += bool(sure)

    def to_json(self) -> dict[str, Any]:
        """Figures of a bench row: moments, agreement, and agreement on the moments with a move."""
        sure, right = self.confusion.sum(axis=1), self.confusion.diagonal()
        return {
            "clips": self.clips,
            "moments": self.moments,
            "sure": int(sure.sum()),
            "agreement": float(right.sum() / sure.sum()) if sure.sum() else None,
            "sure_moving": int(sure[1:].sum()),
            "agreement_moving": float(right[1:].sum() / sure[1:].sum()) if sure[1:].sum() else None,
            "confusion": self.confusion.tolist(),
        }


def agreement_as_filmed(loaded: Loaded, paths: Sequence[str], progress: Progress | None = None) -> Agreement:
    """On clips as they were filmed."""
    refuse_other_labels(loaded)
    found = Agreement()
    for done, path in enumerate(paths, 1):
        moments = sure_moments(track(path, rate=loaded.sampling.rate or 10.0))
        recognition = recognize(loaded, path)
        at = np.searchsorted(recognition.times, [moment.time + 1e-6 for moment in moments], side="right") - 1
        found.add(moments, [loaded.labels[k] for k in recognition.per_frame[at].argmax(axis=1)])
        if progress is not None:
            progress(done, len(paths))
    return found


def agreement_refilmed(
    loaded: Loaded,
    paths: Sequence[str],
    *,
    seconds: float = 4.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Agreement:
    """On the same clips filmed again by a moving camera: a window travels over the frames while they play.

    The pixels, people and noise are real, the camera's path is made; the tracker judges it, not the path.
    """
    refuse_other_labels(loaded)
    rate = loaded.sampling.rate or 10.0
    style = MoveStyle(
        frames=round(seconds * rate),
        rate=rate,
        size=_TRACKED_SIZE,
        view=(0.5, 0.7),
        pan=(0.04, 0.2),
        zoom=(0.05, 0.25),
        roll=(3.0, 15.0),
        easing=0.3,
        cross=0.1,
        shake=0.001,
    )
    clips = MovesDataset(paths, style, length=len(LABELS) * len(paths), seed=seed)
    found = Agreement()
    for index in range(len(clips)):
        frames = clips.item(index, 0)["frames"]
        pictures = frames.permute(0, 2, 3, 1).contiguous().numpy()
        moments = sure_moments(track_frames(_timed(pictures, rate), rate))
        said = _said(loaded, pictures)
        found.add(moments, [said[round(moment.time * rate)] for moment in moments])
        if progress is not None:
            progress(index + 1, len(clips))
    return found


def refuse_other_labels(loaded: Loaded) -> None:
    """Raises LrcnError for a model that does not tell camera moves."""
    if set(loaded.labels) != set(LABELS):
        raise LrcnError(
            f"This model tells {', '.join(loaded.labels[:4])}...: only camera moves can be compared."
        )


@torch.inference_mode()
def _said(loaded: Loaded, pictures: NDArray[np.uint8]) -> list[str]:
    preparation = loaded.preprocess.preparation()
    small, _ = preparation(np.stack([preparation.resize(picture).transpose(2, 0, 1) for picture in pictures]))
    device = loaded.model.classifier.weight.device
    scores = loaded.model(torch.from_numpy(small)[None].to(device))[0]
    return [loaded.labels[k] for k in scores.argmax(-1).tolist()]


def _timed(pictures: NDArray[np.uint8], rate: float) -> Iterable[tuple[NDArray[np.uint8], float]]:
    return ((picture, index / rate) for index, picture in enumerate(pictures))
