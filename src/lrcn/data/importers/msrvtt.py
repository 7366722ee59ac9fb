"""MSR-VTT (Xu et al. 2016): 10,000 clips of web videos with 20 sentences each."""

import re
from pathlib import Path
from typing import Any

from lrcn.data.importers.captioned import caption_in, found_lists, read_json
from lrcn.data.importers.described import Described, described_rows, split_named
from lrcn.data.manifest import Row

_YOUTUBE = re.compile(r"[?&/](?:v=|v/|embed/)?([\w-]{11})(?:$|[?&#])")


def import_msrvtt(source: Path, *, lists: Path | None = None) -> tuple[list[Row], list[str]]:
    """Reads `train_val_videodatainfo.json` and `test_videodatainfo.json`, or one file of all.

    Clips are called video0.mp4 and so on and are cut already; `validate` is dev. The group is the web video, the number
    of the category stays the field `category`.

    Args:
        source: the folder with the clips and the JSON files; or one of these.
        lists: a JSON file or the folder with them, where they do not lie with the clips.

    Returns:
        The rows, in the files' order, and sentences that say what was found, missing and damaged.

    Raises:
        LrcnError: the files are missing or in another form.
    """
    patterns = ["*videodatainfo*.json", "MSRVTT_data.json", "*.json"]
    files, folder = found_lists(source, lists, patterns, several=True)
    entries: dict[str, Described] = {}
    damaged: list[str] = []
    for file in files:
        values = read_json(file, "videos", "sentences")
        for number, video in enumerate(values["videos"], start=1):
            entry = _entry(video)
            if entry is None:
                damaged.append(f"{file.name} video {number}")
            else:
                entries.setdefault(entry.name, entry)
        for number, said in enumerate(values["sentences"], start=1):
            name, caption = caption_in(said, "video_id"), caption_in(said, "caption")
            if name not in entries or caption is None:
                damaged.append(f"{file.name} sentence {number}")
            else:
                entries[name].captions.append(caption)
    return described_rows("MSR-VTT", folder, list(entries.values()), damaged)


def _entry(video: Any) -> Described | None:
    name = caption_in(video, "video_id")
    if name is None:
        return None
    web = _YOUTUBE.search(caption_in(video, "url") or "")
    category = video.get("category")
    return Described(
        name,
        split=split_named(caption_in(video, "split") or ""),
        group=web[1] if web else None,
        extra={"category": category} if isinstance(category, int) else {},
    )
