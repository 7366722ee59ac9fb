"""Any video -> what several models together say of it: each reads the video, and their probabilities are added up."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from lrcn.data.media import is_camera, is_url
from lrcn.errors import LrcnError
from lrcn.models.fusion import Fused, at_times, weighted
from lrcn.predict import Progress, Recognition, Source, recognize, source_name
from lrcn.segments import segments


def recognize_fused(
    fused: Fused,
    source: Source,
    *,
    smoothing: float = 0.5,
    min_duration: float = 0.4,
    threshold: float = 0.0,
    progress: Progress | None = None,
    **options: Any,
) -> Recognition:
    """Says what happens in a video, as `lrcn.predict.recognize` does.

    The clip's probabilities are the weighted sum of the members' own. So are those at each frame, at the times of the
    first member; where another has none at just that time, what it said last counts. The video is read once for each
    member.

    Raises:
        LrcnError: as `recognize`; or the source is live, and cannot be read twice.
    """
    if _is_live(source):
        raise LrcnError(
            f"{source_name(source)} is live and cannot be read once for each of {len(fused.members)} models: record it "
            "to a file, or give one of them."
        )
    parts = [
        recognize(member, source, progress=_share(progress, number, len(fused.members)), **options)
        for number, member in enumerate(fused.members.values())
    ]
    first, spread = parts[0], next(iter(fused.members.values())).sampling.spread
    # A frame of few that are spread over the clip stands for its part of it.
    parts_of_clip = np.linspace(first.start, first.end, len(first.times), endpoint=False)
    rows = [at_times(part.per_frame, part.times, first.times) for part in parts]
    per_frame = weighted(rows, fused.weights).astype(np.float32)
    clip = weighted([_in_order(part) for part in parts], fused.weights)
    order = np.argsort(-clip, kind="stable")
    return Recognition(
        path=first.path,
        label=fused.labels[int(order[0])],
        probability=float(clip[order[0]]),
        probabilities={fused.labels[int(k)]: float(clip[k]) for k in order},
        per_frame=per_frame,
        times=first.times,
        segments=segments(
            per_frame,
            parts_of_clip if spread == "uniform" else first.times,
            fused.labels,
            smoothing=smoothing,
            min_duration=min_duration,
            threshold=threshold,
            end=first.end,
        ),
        labels=list(fused.labels),
        start=first.start,
        end=first.end,
        warning=next((part.warning for part in parts if part.warning), None),
    )


def _in_order(part: Recognition) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([part.probabilities[label] for label in part.labels])


def _share(
    progress: Progress | None, number: int, count: int
) -> Callable[[float, float | None], None] | None:
    """The progress of one of several passes over a video, as part of all."""
    if progress is None:
        return None
    return lambda done, end: progress(done if end is None else (number * end + done) / count, end)


def _is_live(source: Source) -> bool:
    if isinstance(source, int):
        return True
    if not isinstance(source, str):
        return False
    return is_camera(source) or (
        is_url(source) and urlsplit(source).scheme.lower() not in ("http", "https", "file")
    )
