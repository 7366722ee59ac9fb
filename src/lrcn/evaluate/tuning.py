"""The weights of models that are to answer as one, by what they say of clips that are not for testing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lrcn.data.manifest import Row
from lrcn.evaluate.protocols import class_numbers, of_each, own_protocol, see
from lrcn.evaluate.recognition import clip_rates
from lrcn.models.folder import Loaded
from lrcn.models.fusion import Fused, Weights, tuned_weights, weighted


def tune(
    members: Mapping[str, Loaded],
    rows: Sequence[Row],
    *,
    progress: Callable[[int, int], None] | None = None,
    report: Callable[[str], None] | None = None,
) -> tuple[Weights, dict[str, Any]]:
    """The weights under which most clips are right, each read by every member as the fused model will be read.

    Returns:
        One weight for each member, and as plain values what was measured with them, and of each member alone. It
        flatters: the weights were chosen for these very clips.

    Raises:
        LrcnError: the members know other classes, or there are no clips, none that can be read, or unknown labels.
    """
    even = Fused(dict(members), (1 / len(members),) * len(members))
    config = own_protocol(even)
    classes = class_numbers(even, rows)

    def look(row: Row) -> tuple[int, list[np.ndarray[Any, np.dtype[np.float64]]]]:
        said = [see(member, row, config)[config.protocols[0]].video for member in members.values()]
        return classes[str(row.label)], said

    found, left_out = of_each(rows, look, progress, report)
    truths = np.array([truth for truth, _ in found])
    said = [np.stack(part) for part in zip(*(said for _, said in found), strict=True)]
    weights, _ = tuned_weights(said, truths)
    rates = clip_rates(truths, weighted(said, weights))
    return weights, {
        "clips": len(found),
        "left_out": left_out,
        "weights": dict(zip(members, weights, strict=True)),
        "accuracy": rates.accuracy,
        "mean_class_accuracy": rates.mean_class_accuracy,
        "top5": rates.top5,
        "alone": {name: clip_rates(truths, part).accuracy for name, part in zip(members, said, strict=True)},
    }
