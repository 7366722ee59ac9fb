"""How well camera moves are recognised: made ones, and those of real footage."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrcn.bench.measuring import Rows, rows_of
from lrcn.errors import LrcnError


def moves(photos: str = "", names: str = "", clips: int = 450, seed: int = 2) -> Rows:
    """The camera-move models on moves made over photos, with their frames in order and shuffled.

    Clips have 16 frames at 10 per second. No single frame of them tells the move: every camera may be held tilted.

    Args:
        photos: a folder of photos.
        names: a text file of photo names in it, one a line; empty takes all.
        clips: how many.
        seed: everything random follows from it.
    """
    from lrcn.data.moves import MovesDataset, MoveStyle
    from lrcn.evaluate.recognition import measure
    from lrcn.models.zoo import load_model
    from lrcn.train.splits import listed_photos

    if not photos:
        raise LrcnError("bench moves needs photos: give --photos a folder.")
    style = MoveStyle(pan=(0.06, 0.4), zoom=(0.08, 0.35), roll=(6.0, 25.0), view=(0.35, 0.6), tilt=30.0)
    made = MovesDataset(listed_photos(photos, names), style, length=clips, seed=seed)
    rows: Rows = []
    for model in ("camera-moves", "camera-moves-single-frame"):
        loaded = load_model(model, "cpu")
        for order, shuffle_seed in (("in order", None), ("shuffled", seed)):
            found = measure(loaded.model, made, shuffle_seed=shuffle_seed)
            rows.append(
                {
                    "name": f"{model}, frames {order}",
                    "clips": clips,
                    "accuracy": found.accuracy,
                    "last_frame_accuracy": found.last_frame_accuracy,
                    "direction": direction_accuracy(found.confusion),
                }
            )
    return rows


def direction_accuracy(confusion: NDArray[np.int64]) -> float | None:
    """Of the clips whose kind of move (pan, tilt, zoom, roll) is found, the share with the right direction."""
    from lrcn.data.moves import DIRECTION_PAIRS

    right = sum(int(confusion[k, k]) for pair in DIRECTION_PAIRS for k in pair)
    wrong = sum(int(confusion[a, b] + confusion[b, a]) for a, b in DIRECTION_PAIRS)
    return right / (right + wrong) if right + wrong else None


def footage(
    clips: str = "", skip: str = "", model: str = "camera-moves", refilm: int = 60, device: str = "auto"
) -> Rows:
    """A camera-move model on real footage, against an independent feature tracker.

    Args:
        clips: a manifest or folder of real clips.
        skip: a manifest of clips to leave out: those the model was trained on.
        model: name or folder.
        refilm: how many of the clips at rest are also filmed again by a moving window; 0 is none.
        device: where the model runs.
    """
    from lrcn.evaluate.agreement import agreement_as_filmed, agreement_refilmed
    from lrcn.evaluate.global_motion import sure_moments, track
    from lrcn.models.zoo import load_model
    from lrcn.train.tracking import counting

    if not clips:
        raise LrcnError("bench footage needs real clips: give --clips a manifest or a folder.")
    loaded = load_model(model, device)
    left_out = {Path(row.path).resolve() for row in rows_of(skip)} if skip else set()
    paths = [row.path for row in rows_of(clips) if Path(row.path).resolve() not in left_out]
    rows: Rows = [{"name": "as filmed", **agreement_as_filmed(loaded, paths, counting("clips")).to_json()}]
    if refilm:
        at_rest = [path for path in paths if _at_rest(sure_moments(track(path)))][:refilm]
        found = agreement_refilmed(loaded, at_rest, progress=counting("refilmed clips"))
        rows.append({"name": "refilmed by a moving window", **found.to_json()})
    return rows


def _at_rest(moments: list[Any]) -> bool:
    return bool(moments) and all(moment.label == "static" for moment in moments)
