"""Karpathy's splits of Flickr8k, Flickr30k and COCO (Karpathy, Fei-Fei 2015): `dataset_NAME.json`, and the photos."""

from pathlib import Path
from typing import Any

from lrcn.data.importers.captioned import Captioned, caption_in, captioned_rows, found_lists, read_json
from lrcn.data.manifest import Row
from lrcn.data.splits import standard_split


def import_karpathy(source: Path, *, lists: Path | None = None) -> tuple[list[Row], list[str]]:
    """Reads `dataset_flickr8k.json`, `dataset_flickr30k.json` or `dataset_coco.json`.

    Its val is dev. COCO's restval, what is left of COCO's val2014, is put in train, as everybody does.

    Args:
        source: the JSON file, with the photos anywhere below its folder; or the folder with photos and file.
        lists: the JSON file or the folder with it, where it does not lie with the photos.

    Returns:
        The rows, in the file's order, and sentences that say what was found, missing and damaged.

    Raises:
        LrcnError: the file is missing or in another form, or no photo is there.
    """
    (file,), folder = found_lists(source, lists, ["dataset*.json"])
    entries, damaged, rest = [], [], 0
    for number, image in enumerate(read_json(file, "images")["images"], start=1):
        entry = _entry(image)
        if entry is None:
            damaged.append(f"{file.name} image {number}")
            continue
        entries.append(entry)
        rest += image.get("split") == "restval"
        damaged += [
            f"{file.name} image {number} sentence {place}"
            for place, sentence in enumerate(image["sentences"], start=1)
            if caption_in(sentence, "raw") is None
        ]
    rows, sentences = captioned_rows(file.stem.removeprefix("dataset_"), folder, entries, damaged)
    if rest:
        sentences.append(f"Of restval, which is in train here: {rest} images.")
    return rows, sentences


def _entry(image: Any) -> Captioned | None:
    name = caption_in(image, "filename")
    if name is None or not isinstance(image.get("sentences"), list):
        return None
    folder, split = caption_in(image, "filepath"), caption_in(image, "split") or ""
    captions = [caption for sentence in image["sentences"] if (caption := caption_in(sentence, "raw"))]
    return Captioned(
        name=f"{folder}/{name}" if folder else name,
        captions=captions,
        split="train" if split == "restval" else standard_split(split) or split or None,
        id=str(image["cocoid"]) if isinstance(image.get("cocoid"), int) else Path(name).stem,
    )
