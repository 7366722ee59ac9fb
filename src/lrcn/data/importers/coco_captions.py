"""COCO captions (Chen et al. 2015): `annotations/captions_train2014.json` and its like, and the photos."""

from pathlib import Path
from typing import Any

from lrcn.data.importers.captioned import Captioned, caption_in, captioned_rows, found_lists, read_json
from lrcn.data.manifest import Row
from lrcn.data.splits import standard_split


def import_coco_captions(source: Path, *, lists: Path | None = None) -> tuple[list[Row], list[str]]:
    """Reads every `captions_SPLITYEAR.json` of COCO; val is dev.

    Captions are mostly compared on other splits of the same photos, which `import_karpathy` reads.

    Args:
        source: the folder with the photos and with `annotations`; or one JSON file.
        lists: the folder with the JSON files, or one of them, where they do not lie with the photos.

    Returns:
        The rows, in the files' order, and sentences that say what was found, missing and damaged.

    Raises:
        LrcnError: the files are missing or in another form, or no photo is there.
    """
    files, folder = found_lists(source, lists, ["captions_*.json"], several=True)
    entries: list[Captioned] = []
    damaged: list[str] = []
    for file in files:
        found, bad = _entries(file)
        entries += found
        damaged += bad
    return captioned_rows("COCO", folder, entries, damaged)


def _entries(file: Path) -> tuple[list[Captioned], list[str]]:
    values = read_json(file, "images", "annotations")
    # captions_train2014 -> train
    split = standard_split(file.stem.removeprefix("captions_").rstrip("0123456789_"))
    entries: dict[int, Captioned] = {}
    damaged = []
    for number, image in enumerate(values["images"], start=1):
        name, key = caption_in(image, "file_name"), _number(image, "id")
        if name is None or key is None:
            damaged.append(f"{file.name} image {number}")
        else:
            entries[key] = Captioned(name, split=split, id=str(key))
    for number, annotation in enumerate(values["annotations"], start=1):
        caption, key = caption_in(annotation, "caption"), _number(annotation, "image_id")
        if caption is None or key not in entries:
            damaged.append(f"{file.name} annotation {number}")
        else:
            entries[key].captions.append(caption)
    return list(entries.values()), damaged


def _number(entry: Any, name: str) -> int | None:
    value = entry.get(name) if isinstance(entry, dict) else None
    return value if isinstance(value, int) else None
