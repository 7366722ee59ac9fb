"""Which inputs a command line names: files, folders, globs, URLs and cameras."""

import glob
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from lrcn.errors import LrcnError

VIDEO_SUFFIXES = frozenset(
    [
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".mpg",
        ".mpeg",
        ".mpe",
        ".m2v",
        ".ts",
        ".mts",
        ".m2ts",
        ".vob",
        ".wmv",
        ".asf",
        ".flv",
        ".f4v",
        ".3gp",
        ".3g2",
        ".ogv",
        ".mxf",
        ".dv",
        ".gif",
        ".mjpeg",
        ".mjpg",
        ".y4m",
        ".h264",
        ".264",
        ".h265",
        ".hevc",
        ".ivf",
        ".obu",
        ".rm",
        ".rmvb",
    ]
)
IMAGE_SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"])
# Of an animation the first picture counts where photos are asked for.
PHOTO_SUFFIXES = IMAGE_SUFFIXES | {".gif", ".avif", ".jp2", ".jfif"}

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Whether `text` is an address rather than a path; a drive letter, as in C:/clip.mp4, makes a path."""
    return _URL.match(text) is not None


def is_camera(text: str) -> bool:
    """Whether `text` is the number of a camera: digits that no file is called."""
    return text.isascii() and text.isdigit() and not os.path.exists(text)


def is_live(text: str) -> bool:
    """Whether `text` names a camera, or a stream that comes from one: it never ends and cannot be read twice."""
    return is_camera(text) or text.lower().startswith(("rtsp://", "rtsps://"))


def natural(text: str) -> list[tuple[int, int, str]]:
    """A sort key under which `frame2` comes before `frame10`."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part.casefold()) for part in parts if part]


def images_in(folder: Path) -> list[Path]:
    """The pictures that lie directly in `folder`, in natural order."""
    files = (Path(entry.path) for entry in os.scandir(folder) if entry.is_file())
    return sorted(
        (file for file in files if _has_suffix(file, IMAGE_SUFFIXES)), key=lambda file: natural(file.name)
    )


def list_media(inputs: Iterable[str | Path], kinds: Collection[str] = ("video",)) -> list[str]:
    """The media that `inputs` name, each once, in the order they were named.

    A file that is named stands for itself whatever its suffix; folders are searched below by suffix, in
    natural order; globs (also `**`) are expanded; URLs, and camera numbers where videos are asked for, pass
    through. Where only videos are asked for, a folder of numbered frames (two or more pictures of one name
    and running number) counts as one video.

    Args:
        inputs: what the user named.
        kinds: `("video",)`, `("image",)` or both.

    Raises:
        LrcnError: an input matches nothing, or a folder holds none of the media asked for.
    """
    found: dict[str, None] = {}
    for text in map(str, inputs):
        if is_url(text) or ("video" in kinds and is_camera(text)) or os.path.isfile(text):
            matches = [text]
        elif os.path.isdir(text):
            matches = _below(text, kinds)
            if not matches:
                raise LrcnError(
                    f"No {' or '.join(kinds)} in the folder {text}: name a folder that holds some."
                )
        else:
            matches = _globbed(text, kinds)
            if not matches:
                raise LrcnError(f"Nothing matches {text}: check the name, and quote a pattern of names.")
        found.update(dict.fromkeys(matches))
    return list(found)


def _globbed(pattern: str, kinds: Collection[str]) -> list[str]:
    # `clips/*` names the media in clips, but `clips/*.dat` names those files whatever they are.
    any_suffix = re.fullmatch(r"\.\w+", Path(pattern).suffix) is not None
    found = []
    for match in sorted(glob.glob(pattern, recursive=True), key=natural):
        if os.path.isdir(match):
            found += _below(match, kinds)
        elif any_suffix or _has_suffix(Path(match), _suffixes(kinds)):
            found.append(match)
    return found


def _below(folder: str, kinds: Collection[str]) -> list[str]:
    found: list[str] = []
    entered: set[str] = set()
    for here, folders, files in os.walk(folder, followlinks=True):
        # A link may lead back up, which would go round for ever.
        real = os.path.realpath(here)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        media = [name for name in files if _has_suffix(Path(name), _suffixes(kinds))]
        if not media and "image" not in kinds and _numbered_frames(files):
            found.append(here)
        found += [os.path.join(here, name) for name in media]
    return sorted(found, key=lambda path: [natural(part) for part in Path(path).parts])


def _numbered_frames(names: list[str]) -> bool:
    stems = [Path(name).stem for name in names if _has_suffix(Path(name), IMAGE_SUFFIXES)]
    if len(stems) < 2 or not all(stem[-1].isdecimal() for stem in stems):
        return False
    return len({re.sub(r"\d+$", "", stem) for stem in stems}) == 1


def _suffixes(kinds: Collection[str]) -> frozenset[str]:
    return frozenset().union(*({"video": VIDEO_SUFFIXES, "image": PHOTO_SUFFIXES}[kind] for kind in kinds))


def _has_suffix(file: Path, suffixes: frozenset[str]) -> bool:
    # Names with a leading dot are an operating system's own notes beside the media.
    return file.suffix.lower() in suffixes and not file.name.startswith(".")
