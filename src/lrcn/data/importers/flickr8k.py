"""Flickr8k (Hodosh, Young, Hockenmaier 2013): 8,000 photos with five sentences each, in the official layout."""

import re
from pathlib import Path

from lrcn.data.importers.captioned import Captioned, captioned_rows
from lrcn.data.importers.lists import data_folder, lines_of, list_file, list_files, no_list
from lrcn.data.manifest import Row
from lrcn.errors import LrcnError

_TOKENS = "Flickr8k.token.txt"
_SPLIT_LIST = "Flickr_8k.{}Images.txt"
_LINE = re.compile(r"(?P<image>\S+)#\d+\t(?P<caption>.+)")


def import_flickr8k(source: Path, *, lists: Path | None = None) -> tuple[list[Row], list[str]]:
    """Reads Flickr8k: `Flickr8k.token.txt`, `Flickr_8k.trainImages.txt`, dev and test alike, and the photos.

    A line of the first is a photo's file, # and a number, a tab, and a sentence; of the others, a photo's file. Photos
    in no list are left out, as everybody does.

    Args:
        source: the folder with the photos, and with the lists unless `lists` says where they are.
        lists: the folder with the lists.

    Returns:
        The rows, in the order of the lists, and sentences that say what was found, missing and damaged.

    Raises:
        LrcnError: a list is missing, a photo stands in two, or no photo is there.
    """
    folder = data_folder(source)
    where = folder if lists is None else data_folder(lists)
    captions, damaged = _captions(list_file(where, _TOKENS))
    splits, sentences = _splits(where)
    entries = [
        Captioned(name, captions.get(name, []), split, Path(name).stem) for name, split in splits.items()
    ]
    rows, told = captioned_rows("Flickr8k", folder, entries, damaged)
    if others := [name for name in captions if name not in splits]:
        sentences.append(f"In no list and left out: {len(others)} photos, such as {others[0]}.")
    return rows, told + sentences


def _captions(file: Path) -> tuple[dict[str, list[str]], list[str]]:
    """The sentences of each photo, and the lines that hold none."""
    captions: dict[str, list[str]] = {}
    damaged = []
    for number, line in lines_of(file):
        match = _LINE.fullmatch(line)
        if match:
            captions.setdefault(match["image"], []).append(" ".join(match["caption"].split()))
        else:
            damaged.append(f"{file.name} line {number}")
    return captions, damaged


def _splits(where: Path) -> tuple[dict[str, str], list[str]]:
    """The split of each photo that is in a list, and sentences on lists that are not there."""
    splits: dict[str, str] = {}
    sentences = []
    for split in ("train", "dev", "test"):
        files = list_files(where, _SPLIT_LIST.format(split))
        if not files:
            sentences.append(f"There is no {_SPLIT_LIST.format(split)}, so no photo is in {split}.")
            continue
        for number, name in lines_of(files[0]):
            if splits.setdefault(name, split) != split:
                raise LrcnError(
                    f"{files[0]} line {number}: {name} is in {splits[name]} too; take it out of one of the lists."
                )
    if not splits:
        raise LrcnError(no_list(where, _SPLIT_LIST.format("train")))
    return splits, sentences
