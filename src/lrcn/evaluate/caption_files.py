"""Captions as they lie in files, COCO's JSON or JSON lines, and which image of one file is which of another."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from lrcn.data.manifest import read_manifest
from lrcn.errors import LrcnError

# What names an image in a record, the first that is there. (COCO's annotations have an `id` of their own.)
_KEYS = ("image_id", "id", "path")


@dataclass
class CaptionFile:
    """The captions of a file.

    Attributes:
        captions: by image, in the file's order.
        paths: of images that have one, the path or file name.
        folder: what relative paths start from.
    """

    captions: dict[str, list[str]] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    folder: Path = field(default_factory=Path)


def read_references(path: str | Path) -> CaptionFile:
    """Reads the human captions of images: any number of them for each.

    The file is a COCO annotation file (`{"annotations": [{"image_id", "caption"}], "images": ...}`), a list of such
    annotations, a mapping from image to captions, JSON lines with `caption` or `captions` beside `image_id`, `id` or
    `path`, or a manifest (.csv too).

    Raises:
        LrcnError: the file cannot be read, or an entry of it (named by its line or number) is no caption.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        return _manifest(path)
    return _read(path, folder=path.parent, most=None)


def read_predictions(path: str | Path) -> CaptionFile:
    """Reads one caption for each image, in any of the forms of `read_references`.

    What `lrcn caption --format jsonl` writes is read too: paths start from the current folder, and a record with
    `error` in place of a caption is an image without a prediction.

    Raises:
        LrcnError: as for `read_references`, or an image has two captions.
    """
    return _read(Path(path), folder=Path(), most=1)


def matched(references: CaptionFile, predictions: CaptionFile) -> dict[str, str]:
    """The predictions under the references' names of the images; those that match no reference keep their own.

    Images are the same if they are called the same; if no image of the two files is, if their paths lead to the
    same place; if none do, if their files are named the same and no two in one file are.
    """
    ways: tuple[Callable[[CaptionFile, str], str], ...] = (
        lambda _, image: image,
        lambda file, image: os.path.abspath(file.folder / file.paths.get(image, image)),
        lambda file, image: Path(file.paths.get(image, image)).name,
    )
    names: dict[str, str] = {}
    for way in ways:
        theirs = {way(references, image): image for image in references.captions}
        ours = {image: way(predictions, image) for image in predictions.captions}
        distinct = len(theirs) == len(references.captions) and len(set(ours.values())) == len(ours)
        names = {image: theirs[name] for image, name in ours.items() if name in theirs} if distinct else {}
        if names:
            break
    return {names.get(image, image): texts[0] for image, texts in predictions.captions.items()}


def _read(path: Path, folder: Path, most: int | None) -> CaptionFile:
    records, paths = _records(path)
    file = CaptionFile(paths=paths, folder=folder)
    for where, record in records:
        image = _image(record, path, where)
        if "path" in record:
            file.paths[image] = str(record["path"])
        if most == 1 and "error" in record and "caption" not in record:
            continue
        captions = file.captions.setdefault(image, [])
        captions += _captions(record, path, where)
        if most is not None and len(captions) > most:
            _bad(
                path, where, f"the image {image!r} has a second caption; give one prediction for each image."
            )
    if not file.captions:
        raise LrcnError(f"{path} holds no captions.")
    return file


def _manifest(path: Path) -> CaptionFile:
    file = CaptionFile(folder=path.parent)
    for row in read_manifest(path):
        image = row.id or row.path
        if not row.captions:
            raise LrcnError(f"{path}: {image} has no caption; fill it in or leave the row out.")
        file.captions.setdefault(image, []).extend(row.captions)
        file.paths[image] = row.path
    return file


def _records(path: Path) -> tuple[list[tuple[str, Any]], dict[str, str]]:
    """The records of a file, each with where it stands, and the file names that COCO gives its images."""
    text = _text(path)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        if not text.lstrip().startswith("{") or not _is_json(text.lstrip().partition("\n")[0]):
            _bad(path, f"line {getattr(error, 'lineno', 1)}", f"this is not JSON ({error}); mend it there.")
        return _lines(text, path), {}
    if isinstance(document, list):
        return [(f"entry {n}", record) for n, record in enumerate(document, 1)], {}
    if not isinstance(document, dict):
        raise LrcnError(f"{path} holds {_shown(document)}; write COCO's JSON, or one JSON object a line.")
    annotations = document.get("annotations")
    if isinstance(annotations, list):
        return [(f"annotations[{n}]", record) for n, record in enumerate(annotations)], _coco_names(document)
    if any(isinstance(document.get(key), str | int) for key in _KEYS):
        return [("line 1", document)], {}
    return [(f"image {image!r}", _entry(image, value)) for image, value in document.items()], {}


def _lines(text: str, path: Path) -> list[tuple[str, Any]]:
    records = []
    # Not splitlines(): a caption may hold a line separator that JSON does not escape.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                records.append((f"line {number}", json.loads(line)))
            except (ValueError, RecursionError) as error:
                _bad(path, f"line {number}", f"this is not JSON ({error}); write one JSON object a line.")
    return records


def _entry(image: str, value: Any) -> dict[str, Any]:
    """The record for one entry of a mapping from image to its captions, or to records that have them."""
    texts = value if isinstance(value, list) else [value]
    texts = [text.get("caption") if isinstance(text, dict) else text for text in texts]
    return {"image_id": image, "captions": texts}


def _coco_names(document: dict[str, Any]) -> dict[str, str]:
    images = document.get("images")
    return {
        str(image.get("id")): image["file_name"]
        for image in (images if isinstance(images, list) else ())
        if isinstance(image, dict) and isinstance(image.get("file_name"), str)
    }


def _image(record: Any, path: Path, where: str) -> str:
    if not isinstance(record, dict):
        _bad(path, where, f"this is {_shown(record)}; write an object with an image and its caption.")
    value = next((record[key] for key in _KEYS if record.get(key) is not None), None)
    if value is None:
        _bad(path, where, f"it does not say which image; give {', '.join(_KEYS[:-1])} or {_KEYS[-1]}.")
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        _bad(path, where, f"{_shown(value)} is no name of an image; give a text or a whole number.")
    return str(value)


def _captions(record: dict[str, Any], path: Path, where: str) -> list[str]:
    captions = record["captions"] if "captions" in record else [record.get("caption")]
    if not isinstance(captions, list) or not captions or not all(isinstance(text, str) for text in captions):
        _bad(path, where, "it has no caption; give a text as caption, or a list of texts as captions.")
    return captions


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LrcnError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error
    except OSError as error:
        raise LrcnError(f"Cannot read {path}: {error.strerror or error}; check the path.") from error


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _shown(value: Any) -> str:
    """A value as the file spells it, cut to a length that fits a sentence."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."


def _bad(path: Path, where: str, problem: str) -> NoReturn:
    raise LrcnError(f"{path} {where}: {problem}")
