"""ActivityNet Captions (Krishna et al. 2017): 20,000 videos, each stretch of which has a sentence."""

import json
import math
from pathlib import Path
from typing import Any

from lrcn.data.importers.captioned import caption_in, found_lists
from lrcn.data.importers.described import Described, described_rows, split_named
from lrcn.data.importers.lists import text_of
from lrcn.data.manifest import Row
from lrcn.errors import LrcnError


def import_activitynet(source: Path, *, lists: Path | None = None) -> tuple[list[Row], list[str]]:
    """Reads `train.json`, `val_1.json` and `val_2.json`: a row a stretch, its times in the whole video.

    Both val files are dev: they are the same videos, cut by two people. The group is the video.

    Args:
        source: the folder with the videos, if they are there, and the JSON files; or one of these.
        lists: a JSON file or the folder with them, where they do not lie with the videos.

    Returns:
        The rows, in the files' order, and sentences that say what was found, missing and damaged.

    Raises:
        LrcnError: the files are missing or in another form.
    """
    patterns = ["[tv]*[0-9n].json", "*.json"]
    files, folder = found_lists(source, lists, patterns, several=True)
    entries: list[Described] = []
    damaged: list[str] = []
    for file in files:
        for video, told in _videos(file).items():
            found, bad = _stretches(file, video, told)
            entries += found
            damaged += bad
    return described_rows("ActivityNet Captions", folder, entries, damaged)


def _videos(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(text_of(file))
    except (ValueError, RecursionError) as error:
        raise LrcnError(f"{file} is not JSON ({error}); download it again.") from error
    if not isinstance(values, dict):
        raise LrcnError(
            f"{file} is in another form: ActivityNet Captions maps videos to timestamps and sentences."
        )
    return values


def _stretches(file: Path, video: str, told: Any) -> tuple[list[Described], list[str]]:
    times, said = (told.get(name) if isinstance(told, dict) else None for name in ("timestamps", "sentences"))
    if not isinstance(times, list) or not isinstance(said, list) or len(times) != len(said):
        return [], [f"{file.name} {video}"]
    # val_1 -> val
    split = split_named(file.stem.partition("_")[0])
    seconds = told.get("duration")
    last = float(seconds) if isinstance(seconds, int | float) else math.inf
    entries, damaged = [], []
    for number, (stretch, sentence) in enumerate(zip(times, said, strict=True), start=1):
        caption = caption_in({"caption": sentence}, "caption")
        span = _span(stretch, last)
        if caption is None or span is None:
            damaged.append(f"{file.name} {video} sentence {number}")
        else:
            name = f"{video}_{file.stem}_{number}"
            entries.append(Described(video, [caption], split, video, *span, name))
    return entries, damaged


def _span(stretch: Any, last: float) -> tuple[float, float] | None:
    """Start and end, the end not after that of the video."""
    if not isinstance(stretch, list) or len(stretch) != 2:
        return None
    if not all(isinstance(time, int | float) and math.isfinite(time) for time in stretch):
        return None
    start, end = max(float(stretch[0]), 0.0), min(float(stretch[1]), last)
    return (start, end) if start < end else None
