"""What is wrong with a data set, found before a night of training finds it."""

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from lrcn.data.manifest import Row, is_url, labels_of
from lrcn.data.media import IMAGE_SUFFIXES
from lrcn.data.splits import find_leakage, listed

# Decoding is already threaded inside a file; more files at once than this only fight for the disk.
_MOST_WORKERS = 8

R = TypeVar("R")


@dataclass(frozen=True)
class Problem:
    """A clip that cannot be used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Duplicate:
    """Clips that are one and the same, byte for byte.

    Attributes:
        paths: the files (or folders of frames); one alone when the manifest itself names it under two labels.
        splits: the splits they stand in, when those differ; else empty.
        labels: the labels they carry, when those differ; else empty.
    """

    paths: tuple[str, ...]
    splits: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def harmful(self) -> bool:
        """Whether the copies contradict each other or carry test clips into training."""
        return bool(self.splits or self.labels)


@dataclass(frozen=True)
class Report:
    """What `check_manifest` found.

    Attributes:
        rows: how many rows were looked at.
        decoded: whether every frame was read, or files were only opened.
        min_frames: the length below which a clip counts as short.
        unreadable: clips that cannot be opened, or of which no frame can be decoded.
        damaged: clips that are cut off or broken on the way; what can be read of them is used.
        empty: clips without a single frame, or whose start lies beyond the file's end.
        short: clips of fewer frames than `min_frames`.
        duplicates: clips that are the same, byte for byte.
        leaking: groups, or files cut into several clips, that stand in more than one split.
        classes: label -> rows.
        splits: split -> rows; rows without a split are not counted.
        single: classes of one clip, which can be learnt or tested but not both.
        untrained: classes that stand in some split and not in train.
    """

    rows: int
    decoded: bool
    min_frames: int
    unreadable: tuple[Problem, ...]
    damaged: tuple[Problem, ...]
    empty: tuple[Problem, ...]
    short: tuple[Problem, ...]
    duplicates: tuple[Duplicate, ...]
    leaking: tuple[str, ...]
    classes: dict[str, int]
    splits: dict[str, int]
    single: tuple[str, ...]
    untrained: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the data can be trained on and tested on honestly as they are.

        Copies that agree, and classes of one clip, are told and not counted against the data.
        """
        harmful = any(duplicate.harmful for duplicate in self.duplicates)
        clips = self.unreadable or self.damaged or self.empty or self.short
        return not (clips or self.leaking or self.untrained or harmful)

    def lines(self, most: int = 10) -> list[str]:
        """Gives the report as sentences for a terminal, naming at most `most` clips a kind of problem."""
        how = "every frame was read" if self.decoded else "files were opened, not decoded"
        splits = "; " + ", ".join(f"{n} {split}" for split, n in self.splits.items()) if self.splits else ""
        lines = [f"{self.rows} rows of {len(self.classes)} classes{splits} ({how})."]
        if self.classes:
            fewest, largest = min(self.classes.values()), max(self.classes.values())
            lines.append(f"Clips a class: {fewest}" + (f" to {largest}." if largest > fewest else "."))
        lines += _problem_lines("Unreadable", self.unreadable, most)
        lines += _problem_lines("Damaged", self.damaged, most)
        lines += _problem_lines("Without a frame", self.empty, most)
        lines += _problem_lines(f"Shorter than {self.min_frames} frames", self.short, most)
        if self.leaking:
            lines.append(
                f"Groups in more than one split ({len(self.leaking)}): {listed(self.leaking, most)}."
            )
        lines += _duplicate_lines(self.duplicates, most)
        if self.untrained:
            lines.append(f"Classes that train lacks: {listed(self.untrained, most)}.")
        if self.single:
            lines.append(f"Classes of one clip: {listed(self.single, most)}.")
        lines.append("The data are ready." if self.ok else "The data need mending.")
        return lines

    def to_json(self) -> str:
        """Gives the whole report as one JSON object, with `ok` in it."""
        return json.dumps({"ok": self.ok, **asdict(self)})


def check_manifest(
    rows: Sequence[Row],
    decode: bool = True,
    min_frames: int = 2,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Looks for what would spoil training or make its numbers dishonest. A corrupt file never stops it.

    Args:
        rows: the data set.
        decode: read every frame; otherwise only open each file, and believe what it says of its length.
        min_frames: clips of fewer frames are reported; photos are exempt.
        workers: files read at once; None chooses by the machine.
        progress: called with (files done, files in all), in the caller's thread.

    Returns:
        The report; its parts follow the order of the rows.
    """
    paths = list(dict.fromkeys(row.path for row in rows))
    media = _in_threads(lambda path: _inspect(path, decode), paths, workers, progress)
    empty: list[Problem] = []
    short: list[Problem] = []
    for row in rows:
        found = media[row.path]
        if found.error is not None:
            continue
        if (frames := found.frames_between(row.start, row.end)) == 0:
            empty.append(Problem(row.path, _no_frame(row)))
        elif frames is not None and frames < min_frames and not found.photo:
            short.append(Problem(row.path, f"{frames} frame{'s' if frames > 1 else ''}"))
    classes = Counter(row.label for row in rows if row.label is not None)
    trained = {row.label for row in rows if row.split == "train"}
    split = {row.label for row in rows if row.split is not None and row.label is not None}
    return Report(
        rows=len(rows),
        decoded=decode,
        min_frames=min_frames,
        unreadable=tuple(Problem(path, why) for path in paths if (why := media[path].error)),
        damaged=tuple(Problem(path, why) for path in paths if (why := media[path].warning)),
        empty=tuple(empty),
        short=tuple(short),
        duplicates=tuple(_duplicates(rows, workers)),
        leaking=tuple(find_leakage(rows)),
        classes={label: classes[label] for label in labels_of(rows)},
        splits=dict(Counter(row.split for row in rows if row.split is not None)),
        single=tuple(label for label in labels_of(rows) if classes[label] == 1),
        untrained=tuple(sorted(split - trained)) if trained else (),
    )


# ---- one file ----


@dataclass(frozen=True)
class _Medium:
    """What a file turned out to hold: its frames' times, or only how long it says it is."""

    times: npt.NDArray[np.float64] | None = None
    frames: int | None = None
    duration: float | None = None
    photo: bool = False
    error: str | None = None
    warning: str | None = None

    def frames_between(self, start: float | None, end: float | None) -> int | None:
        """Counts the frames of a clip from `start` to `end` seconds; None when the file does not tell."""
        if self.times is not None:
            # The frame shown at `start` belongs to the clip, though it may have come a little earlier.
            shown = max(int(np.searchsorted(self.times, (start or 0.0) + 1e-6, side="right")) - 1, 0)
            if start and self.duration is not None and start >= self.duration:
                return 0
            last = (
                len(self.times) if end is None else int(np.searchsorted(self.times, end - 1e-6, side="left"))
            )
            return max(last - shown, 0)
        if start is None and end is None:
            return self.frames
        beyond = start is not None and self.duration is not None and start >= self.duration
        return 0 if beyond else None


def _inspect(path: str, decode: bool) -> _Medium:
    # Only here, since it brings in the decoders.
    from lrcn.data.video import open_video

    try:
        if not is_url(path) and not os.path.exists(path):
            return _Medium(error="the file does not exist")
        if Path(path).suffix.lower() in IMAGE_SUFFIXES and os.path.isfile(path):
            return _inspect_photo(path, decode)
        with open_video(path) as video:
            if not decode:
                return _Medium(frames=video.info.frames, duration=video.info.duration)
            times = np.array([time for _, time in video.frames()], dtype=np.float64)
            end = _end_of(times, video.info.rate)
            return _Medium(
                times=times, duration=end, warning=video.warning or _loss(video.info.duration, end)
            )
    # Whatever a broken file does to a decoder, the other files are still to be checked.
    except Exception as error:  # noqa: BLE001
        return _Medium(error=" ".join(str(error).split()) or type(error).__name__)


def _inspect_photo(path: str, decode: bool) -> _Medium:
    from PIL import Image

    with Image.open(path) as photo:
        if decode:
            photo.load()
    return _Medium(frames=1, photo=True)


def _end_of(times: npt.NDArray[np.float64], rate: float) -> float:
    """The last frame is shown for one more tick."""
    return float(times[-1]) + (1 / rate if rate > 0 else 0.0) if len(times) else 0.0


def _loss(promised: float | None, read: float) -> str | None:
    """Tells a file that was cut off where the decoder takes it for one that simply ends: by its header."""
    # Sound that goes on a little after the last picture is no loss.
    if not read or promised is None or promised - read < max(0.5, 0.1 * promised):
        return None
    return f"it should last {promised:.1f} s, and only the first {read:.1f} s can be read"


def _no_frame(row: Row) -> str:
    if row.start is None and row.end is None:
        return "no frame could be read"
    until = "its end" if row.end is None else f"{row.end:g} s"
    return f"no frame from {row.start or 0:g} s to {until}"


def _in_threads(
    work: Callable[[str], R],
    items: Sequence[str],
    workers: int | None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, R]:
    done: dict[str, R] = {}
    pool = ThreadPoolExecutor(workers or min(_MOST_WORKERS, os.cpu_count() or 1))
    try:
        waiting = {pool.submit(work, item): item for item in items}
        for number, future in enumerate(as_completed(waiting), start=1):
            done[waiting[future]] = future.result()
            if progress is not None:
                progress(number, len(items))
    finally:
        # An interrupted check ends at once instead of after the last file.
        pool.shutdown(cancel_futures=True)
    return done


# ---- copies ----


def _duplicates(rows: Sequence[Row], workers: int | None) -> list[Duplicate]:
    rows_of: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        rows_of[row.path].append(row)
    content = _content_of(list(rows_of), workers)
    same: defaultdict[str, list[str]] = defaultdict(list)
    for path in rows_of:
        same[content.get(path, path)].append(path)
    found: list[Duplicate] = []
    for paths in same.values():
        members = [row for path in paths for row in rows_of[path]]
        labels = _conflicting_labels(members)
        # Clips cut from one file into several splits are leakage, and are told as such.
        if len(paths) > 1:
            splits = sorted({row.split for row in members if row.split is not None})
            found.append(Duplicate(tuple(paths), tuple(splits) if len(splits) > 1 else (), labels))
        elif labels:
            found.append(Duplicate(tuple(paths), labels=labels))
    return found


def _conflicting_labels(rows: Iterable[Row]) -> tuple[str, ...]:
    """Two labels on one file contradict each other only where they are on the same stretch of it."""
    of_stretch: defaultdict[tuple[float, float | None], set[str]] = defaultdict(set)
    for row in rows:
        if row.label is not None:
            of_stretch[row.start or 0.0, row.end].add(row.label)
    return tuple(sorted({label for labels in of_stretch.values() if len(labels) > 1 for label in labels}))


def _content_of(paths: Sequence[str], workers: int | None) -> dict[str, str]:
    """Gives a hash of the bytes of each path whose size another path shares; no other can have a copy."""
    of_size: defaultdict[tuple[int, ...], list[str]] = defaultdict(list)
    for path in paths:
        try:
            of_size[tuple(file.stat().st_size for file in _files_of(path))].append(path)
        except OSError:
            continue  # It stands among the unreadable already.
    candidates = [path for sizes, alike in of_size.items() if len(alike) > 1 and any(sizes) for path in alike]
    hashes = _in_threads(_hash_of, candidates, workers)
    return {path: digest for path, digest in hashes.items() if digest is not None}


def _files_of(path: str) -> list[Path]:
    """Gives a file itself, or the files of a folder of frames in their order."""
    where = Path(path)
    return sorted(file for file in where.iterdir() if file.is_file()) if where.is_dir() else [where]


def _hash_of(path: str) -> str | None:
    digest = hashlib.sha256()
    try:
        for file in _files_of(path):
            with file.open("rb") as stream:
                # A hash of hashes, so that bytes that slide from one frame into the next are another content.
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    except OSError:
        return None
    return digest.hexdigest()


# ---- sentences ----


def _problem_lines(what: str, problems: Sequence[Problem], most: int) -> list[str]:
    if not problems:
        return []
    lines = [f"{what} ({len(problems)}):", *(f"  {p.path}: {p.reason}" for p in problems[:most])]
    return [*lines, f"  and {len(problems) - most} more"] if len(problems) > most else lines


def _duplicate_lines(duplicates: Sequence[Duplicate], most: int) -> list[str]:
    lines = []
    for duplicate in sorted(duplicates, key=lambda duplicate: not duplicate.harmful)[:most]:
        what = "The same bytes" if len(duplicate.paths) > 1 else "The same clip"
        if duplicate.splits:
            what += f" in {' and '.join(duplicate.splits)}"
        if duplicate.labels:
            what += f" under the labels {' and '.join(duplicate.labels)}"
        lines.append(f"{what}: {listed(duplicate.paths)}.")
    return (
        [*lines, f"  and {len(duplicates) - most} more sets of copies"] if len(duplicates) > most else lines
    )
