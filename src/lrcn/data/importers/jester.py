"""Jester (Materzynska et al. 2019): hand gestures in front of a camera, as folders of frames."""

from pathlib import Path

from lrcn.data.importers.twentybn import import_numbered
from lrcn.data.manifest import Row


def import_jester(
    source: Path, *, lists: Path | None = None, allow_missing: bool = False
) -> tuple[list[Row], list[str]]:
    """Reads Jester: `jester-v1-train.csv`, `-validation.csv`, `-test.csv`, `-labels.csv`, and folders of frames.

    The lists have lines `number;label`, and the frames of clip 7 are 20bn-jester-v1/7/00001.jpg and on. The
    official test clips have no labels and are left out; validation is dev. Who made a gesture is not told, so
    there are no groups.

    Args:
        source: the folder with the clips or the one above it, and with the lists unless `lists` tells.
        lists: the folder with the lists.
        allow_missing: go on where clips are not there.

    Returns:
        The rows, in the lists' order, and sentences that say what was found.

    Raises:
        LrcnError: lists or clips are missing, or a line is bad.
    """
    return import_numbered("Jester", "jester-v1", source, lists, allow_missing)
