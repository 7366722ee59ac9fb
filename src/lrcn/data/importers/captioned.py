"""What data sets of captioned images share: finding the images, and telling what is missing, damaged or left out."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lrcn.data.importers.lists import data_folder, found_said, list_files, text_of, told_left_out
from lrcn.data.manifest import Row
from lrcn.data.media import list_media
from lrcn.data.splits import listed
from lrcn.errors import LrcnError


@dataclass
class Captioned:
    """What a data set says of one image.

    Attributes:
        name: its file, as the data set writes it, with folders or without.
        captions: its sentences, so far.
        split: "train", "dev" or "test", or None.
        id: a name that outlives the file.
    """

    name: str
    captions: list[str] = field(default_factory=list)
    split: str | None = None
    id: str | None = None


def captioned_rows(
    name: str, folder: Path, entries: Sequence[Captioned], damaged: Sequence[str]
) -> tuple[list[Row], list[str]]:
    """The rows of the images that are there and have captions, and sentences on them and on all others.

    Args:
        name: of the data set, as people write it.
        folder: the images lie anywhere below it.
        entries: what the data set says of its images.
        damaged: places in its lists that could not be read, each in a few words.

    Raises:
        LrcnError: no image is there, or none has a caption.
    """
    photos = _Photos(folder)
    rows, missing, silent = [], [], []
    for entry in entries:
        path = photos.find(entry.name)
        if not entry.captions:
            silent.append(entry.name)
        elif path is None:
            missing.append(entry.name)
        else:
            rows.append(Row(path, captions=tuple(entry.captions), split=entry.split, id=entry.id))
    if not rows:
        example = f", such as {missing[0]}" if missing else ""
        raise LrcnError(
            f"None of the {len(entries)} images that {name} has captions for is below {folder}{example}; give the "
            "folder that holds the images."
        )
    left_out = {
        "Missing and left out: {} images": missing,
        "Without a caption and left out: {} images": silent,
        "Damaged and left out: {} places": damaged,
    }
    return rows, [found_said(name, rows, folder, "images", "captions"), *told_left_out(left_out)]


def found_lists(
    source: Path, lists: Path | None, patterns: Sequence[str], *, several: bool = False
) -> tuple[list[Path], Path]:
    """The files a data set is told in, and the folder its images lie below.

    Args:
        source: the folder of the images, or a file that lies with them.
        lists: a file, or the folder with it, that does not.
        patterns: names of files; those of the first that is there count.
        several: whether there may be more than one.

    Raises:
        LrcnError: there is none, or there are several.
    """
    where = source if lists is None else lists
    if where.is_file():
        files = [where]
    else:
        files = next((files for pattern in patterns if (files := list_files(where, pattern))), [])
    if not files:
        raise LrcnError(f"There is no {patterns[0]} in or below {where}; give its place with --lists.")
    if len(files) > 1 and not several:
        names = listed([file.name for file in files])
        raise LrcnError(f"{where} holds several data sets: {names}; give one of them with --lists.")
    if lists is not None or not source.is_file():
        return files, data_folder(source)
    # COCO's lie in a folder of their own, beside the folders of images.
    return files, data_folder(source.parent.parent if source.parent.name == "annotations" else source.parent)


def read_json(file: Path, *names: str) -> dict[str, list[Any]]:
    """The lists of those names in a JSON object.

    Raises:
        LrcnError: the file cannot be read, or lacks one.
    """
    try:
        values = json.loads(text_of(file))
    except (ValueError, RecursionError) as error:
        raise LrcnError(f"{file} is not JSON ({error}); download it again.") from error
    for name in names:
        if not isinstance(values, dict) or not isinstance(values.get(name), list):
            raise LrcnError(f"{file} has no list '{name}': it is in another form; name its own importer.")
    return {name: values[name] for name in names}


def caption_in(entry: Any, name: str) -> str | None:
    """The text of that name in a JSON object, blanks made single; None where there is none."""
    text = entry.get(name) if isinstance(entry, Mapping) else None
    return (" ".join(text.split()) or None) if isinstance(text, str) else None


class _Photos:
    """The images below a folder, found by name; capitals do not count."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: defaultdict[str, list[str]] = defaultdict(list)
        for path in list_media([folder], ("image",)):
            self._paths[_file_name(path)].append(path)

    def find(self, name: str) -> str | None:
        """The image of that name: in the folder that the name says, if it says one, else anywhere."""
        paths = self._paths.get(_file_name(name), [])
        ending = "/" + name.replace("\\", "/").casefold()
        return next(
            (path for path in paths if Path(path).as_posix().casefold().endswith(ending)),
            next(iter(paths), None),
        )


def _file_name(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2].casefold()
