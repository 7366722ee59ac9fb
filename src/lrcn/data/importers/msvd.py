"""MSVD, also called YouTube2Text (Chen, Dolan 2011): 1,970 clips with about 40 sentences each."""

import re
from pathlib import Path

from lrcn.data.importers.captions_csv import table_lines
from lrcn.data.importers.described import Described, described_rows
from lrcn.data.importers.lists import clip_name, data_folder, lines_of, list_files, no_list
from lrcn.data.manifest import Row
from lrcn.errors import LrcnError

_SENTENCES = "AllVideoDescriptions.txt"
_TABLES = ("MSR Video Description Corpus.csv", "video_corpus.csv")
_MAPPING = "youtube_mapping.txt"
_SPLITS = {"train": "train_list*.txt", "dev": "val*_list*.txt", "test": "test_list*.txt"}
# Of the 1,970 clips in the order of the mapping (Venugopalan et al. 2014): 1,200, 100 and 670.
_LAST_OF = {"train": 1200, "dev": 1300, "test": 1970}
_SOURCE = re.compile(r"(.+)_\d+_\d+")


def import_msvd(source: Path, *, lists: Path | None = None) -> tuple[list[Row], list[str]]:
    """Reads `AllVideoDescriptions.txt` (NAME sentence), or the corpus as a table, of which the English sentences.

    Clips are called VIDEO_START_END and are cut already. The split is that of `train_list.txt`, `val_list.txt` and
    `test_list.txt` where these are there, else the usual one by the numbers in `youtube_mapping.txt` (NAME vid1); with
    neither there is none. The group is the video.

    Args:
        source: the folder with the clips, and with the lists unless `lists` says where they are.
        lists: the folder with the lists.

    Returns:
        The rows, in the lists' order, and sentences that say what was found, missing and damaged.

    Raises:
        LrcnError: the sentences are missing.
    """
    folder = data_folder(source)
    where = folder if lists is None else data_folder(lists)
    captions, damaged = _captions(where)
    splits, told = _splits(where)
    entries = [
        Described(
            name, said, splits.get(name.casefold()), match[1] if (match := _SOURCE.fullmatch(name)) else None
        )
        for name, said in captions.items()
    ]
    if splits and (others := [entry.name for entry in entries if entry.split is None]):
        told.append(f"In no list, and so without a split: {len(others)} clips, such as {others[0]}.")
    rows, sentences = described_rows("MSVD", folder, entries, damaged)
    return rows, sentences + told


def _captions(where: Path) -> tuple[dict[str, list[str]], list[str]]:
    captions: dict[str, list[str]] = {}
    damaged: list[str] = []
    files = list_files(where, _SENTENCES)
    if files:
        for number, line in lines_of(files[0]):
            name, _, sentence = line.partition(" ")
            if sentence.strip() and not line.startswith("#"):
                captions.setdefault(name, []).append(" ".join(sentence.split()))
            elif not line.startswith("#"):
                damaged.append(f"{_SENTENCES} line {number}")
        return captions, damaged
    tables = [file for name in _TABLES for file in list_files(where, name)]
    if not tables:
        raise LrcnError(no_list(where, f"{_SENTENCES} or {_TABLES[0]}"))
    lines = table_lines(tables[0])
    header = [cell.strip() for cell in next(lines, (1, None))[1] or []]
    for number, cells in lines:
        row = dict(zip(header, cells, strict=True)) if cells and len(cells) == len(header) else {}
        named = [row.get(name, "").strip() for name in ("VideoID", "Start", "End")]
        sentence = " ".join(row.get("Description", "").split())
        if row.get("Language", "English") != "English":
            continue
        if all(named) and sentence:
            captions.setdefault("_".join(named), []).append(sentence)
        else:
            damaged.append(f"{tables[0].name} line {number}")
    return captions, damaged


def _splits(where: Path) -> tuple[dict[str, str], list[str]]:
    """The split of each clip, by its name in small letters, and a sentence on where it comes from."""
    found = {split: list_files(where, pattern) for split, pattern in _SPLITS.items()}
    if found["train"] and found["test"]:
        named = {
            clip_name(line.split()[0]).casefold(): split
            for split, files in found.items()
            for file in files[:1]
            for _, line in lines_of(file)
        }
        return named, []
    mapping = list_files(where, _MAPPING)
    if not mapping:
        return {}, [f"There is neither a train_list.txt nor a {_MAPPING}, so no clip has a split."]
    splits: dict[str, str] = {}
    for _, line in lines_of(mapping[0]):
        name, _, number = line.rpartition(" ")
        digits = number.removeprefix("vid")
        if digits.isdecimal():
            last = (split for split, last in _LAST_OF.items() if int(digits) <= last)
            splits[clip_name(name.strip()).casefold()] = next(last, "test")
    return splits, [f"The split is the usual one, by the numbers in {_MAPPING}."]
