"""A folder of clips: a table inside, or one sub-folder a class, with train/dev/test above them or not."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lrcn.data.manifest import Row, is_url, labels_of, read_manifest
from lrcn.data.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from lrcn.data.splits import SPLIT_NAMES, listed, standard_split
from lrcn.errors import LrcnError

TABLES = ("manifest.jsonl", "clips.csv")

# What others call the column that says what a clip was cut from, the surest first.
GROUP_COLUMNS = ("source", "recording", "video_id", "subject", "person", "speaker")


def import_folder(path: str | Path) -> tuple[list[Row], list[str]]:
    """Reads a folder of clips.

    A `manifest.jsonl` or `clips.csv` inside is used as it is. Otherwise every sub-folder is a class, and a
    clip is a video file or a folder of nothing but frames anywhere below it. Where the top folders are train,
    val (or dev, valid) and test, with class folders inside, those are the splits.

    Returns:
        The rows in a fixed order, and sentences that say what was found and what was left out.

    Raises:
        LrcnError: not a folder, no clips, or clips of one class only.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise LrcnError(
            f"{folder} is not a folder; give a folder that holds one sub-folder of clips a class."
        )
    for name in TABLES:
        if (folder / name).is_file():
            return _import_table(folder / name)
    folder = Path(os.path.abspath(folder))
    splits = _split_folders(folder)
    rows, sentences = _import_splits(folder, splits) if splits else _import_classes(folder, split=None)
    _refuse_one_class(folder, rows)
    return rows, [f"Found {len(rows)} clips of {len(labels_of(rows))} classes in {folder}.", *sentences]


# ---- a table inside ----


def _import_table(table: Path) -> tuple[list[Row], list[str]]:
    rows = read_manifest(table)
    sentences = [f"Used {table}: {len(rows)} rows of {len(labels_of(rows))} classes."]
    rows, said = _with_standard_splits(rows)
    sentences += said
    rows, said = _with_groups_from_columns(rows)
    sentences += said
    missing = [row.path for row in rows if not is_url(row.path) and not os.path.exists(row.path)]
    if len(missing) == len(rows):
        raise LrcnError(
            f"None of the {len(rows)} files named in {table} exists, such as {missing[0]}; mend its paths."
        )
    if missing:
        sentences.append(
            f"Missing: {len(missing)} of the {len(rows)} files named there, such as {missing[0]}."
        )
    if not any(row.captions for row in rows):
        _refuse_one_class(table, rows)
        if unlabelled := sum(row.label is None for row in rows):
            sentences.append(f"Without a label: {unlabelled} of {len(rows)} rows.")
    return rows, sentences


def _with_standard_splits(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    named = [
        row if row.split is None else replace(row, split=standard_split(row.split) or row.split)
        for row in rows
    ]
    counts = Counter(row.split for row in named if row.split is not None)
    if not counts:
        return named, []
    text = ", ".join(f"{n} {split}" for split, n in counts.items())
    without = f", {len(rows) - counts.total()} without one" if counts.total() < len(rows) else ""
    return named, [f"Its splits were kept: {text}{without}."]


def _with_groups_from_columns(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Fills the group, when no row has one, from a full column of another name that tells something."""
    if any(row.group is not None for row in rows):
        return list(rows), []
    for column in GROUP_COLUMNS:
        values = [row.field(column) for row in rows]
        if not all(isinstance(value, str | int) and str(value).strip() for value in values):
            continue
        groups = [str(value) for value in values]
        if 2 <= len(set(groups)) < len(rows):
            grouped = [replace(row, group=group) for row, group in zip(rows, groups, strict=True)]
            return grouped, [f"Took the column '{column}' as the group: {len(set(groups))} groups."]
    return list(rows), []


# ---- class folders ----


def _split_folders(folder: Path) -> dict[Path, str]:
    """Gives the folders that are ready-made splits; none when such a name is but a class ("train", "bus")."""
    folders = _folders_in(folder)
    splits = {sub: split for sub in folders if (split := standard_split(sub.name))}
    if "train" in splits.values() and (len(set(splits.values())) > 1 or len(folders) == 1):
        return splits
    return {}


def _import_splits(folder: Path, splits: dict[Path, str]) -> tuple[list[Row], list[str]]:
    rows: list[Row] = []
    sentences: list[str] = []
    for sub, split in sorted(splits.items(), key=lambda item: list(SPLIT_NAMES.values()).index(item[1])):
        found, said = _import_classes(sub, split)
        rows += found
        sentences += said
    counts = Counter(row.split for row in rows)
    kept = ", ".join(f"{n} {split}" for split, n in counts.items())
    sentences.insert(0, f"The folders' splits were kept: {kept}.")
    if ignored := [sub.name for sub in _folders_in(folder) if sub not in splits]:
        sentences.append(f"Left out, being no split: {listed(ignored)}.")
    trained = {row.label for row in rows if row.split == "train"}
    if unseen := [label for label in labels_of(rows) if label not in trained]:
        sentences.append(f"Not in train, so nothing can learn them: {listed(unseen)}.")
    return rows, sentences


def _import_classes(folder: Path, split: str | None) -> tuple[list[Row], list[str]]:
    classes = _folders_in(folder)
    clips = {sub.name: _clips_in(sub, frozenset()) for sub in classes}
    rows = [Row(str(clip), label=label, split=split) for label, found in clips.items() for clip in found]
    if not rows:
        raise LrcnError(_why_no_clips(folder, classes))
    empty = [label for label, found in clips.items() if not found]
    return rows, [f"No clips in: {listed(empty)}; left out."] if empty else []


def _why_no_clips(folder: Path, classes: Sequence[Path]) -> str:
    videos, images = _media_in(folder)
    if videos:
        return (
            f"{folder} holds videos but no class folders; put the clips of each class into one of its name."
        )
    for sub in classes:
        if _media_in(sub)[1]:
            return f"{sub} holds loose images; put the frames of each clip into a sub-folder of their own."
    if images:
        return f"{folder} holds images but no clips; put videos, or folders of frames, into class folders."
    return f"There are no clips in {folder}; it should hold class folders with videos or folders of frames."


def _clips_in(folder: Path, above: frozenset[Path]) -> list[Path]:
    """Gives the clips below a class folder, sorted; `above` stops a link that leads back up."""
    real = folder.resolve()
    if real in above:
        return []
    clips = _media_in(folder)[0]
    for sub in _folders_in(folder):
        clips += [sub] if _is_frames_folder(sub) else _clips_in(sub, above | {real})
    return sorted(clips)


def _is_frames_folder(folder: Path) -> bool:
    videos, images = _media_in(folder)
    return bool(images) and not videos and not _folders_in(folder)


def _folders_in(folder: Path) -> list[Path]:
    return sorted(sub for sub in _visible(folder) if sub.is_dir())


def _media_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """Gives the videos and the images that lie in a folder itself."""
    files = [file for file in _visible(folder) if file.is_file()]
    videos = [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
    return videos, [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]


def _visible(folder: Path) -> list[Path]:
    """Gives what lies in a folder, less what systems and archives leave behind there."""
    try:
        return [
            entry for entry in folder.iterdir() if not entry.name.startswith(".") and entry.name != "__MACOSX"
        ]
    except OSError as error:
        raise LrcnError(
            f"Cannot read the folder {folder}: {error.strerror or error}; check its permissions."
        ) from error


def _refuse_one_class(where: Path, rows: Sequence[Row]) -> None:
    labels = labels_of(rows)
    if len(labels) > 1:
        return
    if not labels:
        raise LrcnError(f"No row of {where} has a label or a caption; add a column 'label'.")
    inner = where / labels[0]
    hint = f", or give {inner} if the classes are inside it" if inner.is_dir() and _folders_in(inner) else ""
    raise LrcnError(
        f"{where} holds clips of one class only ('{labels[0]}'); add a folder or a label for another{hint}."
    )
