"""The films of the demo: a camera goes over photos and film that ship, on paths known at every frame."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from lrcn.data.moves import MOVES, MoveStyle, render
from lrcn.data.moves import Path as CameraPath
from lrcn.data.video import read_clip
from lrcn.errors import LrcnError
from lrcn.files import whole_file
from lrcn.report import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Frames = NDArray[np.uint8]

TRUTH = "Truth"

_SIZE = 320
# Smooth to the eye; the models read ten of these a second. The film is played at its own rate.
PHOTO_RATE, FILM_RATE = 30, 25
_EASE = 0.3
# Frame shares, log scale and degrees per second: what a documentary camera does, neither hasty nor sleepy.
_PAN, _ZOOM, _ROLL = 0.3, 0.3, 20.0


@dataclass(frozen=True)
class Shot:
    """A camera's moves over one photo or piece of film.

    Attributes:
        media: file in `assets/media`.
        moves: (move, seconds) one after the other.
        seed: where in the picture the path lies.
        start: for film, seconds to begin at.
    """

    media: str
    moves: tuple[tuple[str, float], ...]
    seed: int
    start: float = 0.0


PHOTO_SHOTS = (
    Shot("coffee.jpg", (("pan right", 2.0), ("static", 1.2)), 2),
    Shot("cat.jpg", (("zoom out", 2.2), ("pan left", 1.6)), 3),
    Shot("galaxies.jpg", (("zoom in", 2.0), ("roll clockwise", 2.0)), 1),
    Shot("rocket.jpg", (("tilt up", 1.8), ("tilt down", 1.4), ("roll anticlockwise", 1.6)), 4),
)
# From here on the film's own camera stands still, so the camera laid over it is the only one that moves.
BUNNY_SHOT = Shot(
    "big-buck-bunny.mp4",
    (("static", 1.2), ("pan left", 1.6), ("zoom in", 1.6), ("tilt up", 1.2)),
    5,
    start=3.4,
)


def camera_path(moves: Sequence[tuple[str, float]], rate: float) -> CameraPath:
    """A path of several moves one after the other, each flowing into the next.

    Args:
        moves: (one of MOVES, seconds) each.
        rate: frames per second.

    Returns:
        Poses and labels of every frame; the label is the move of the step that led to the frame.
    """
    labels = np.concatenate([np.full(round(seconds * rate), MOVES.index(move)) for move, seconds in moves])
    speeds = np.array([_speed(move) for move in MOVES])[labels] / rate
    # A camera has mass: where one move gives way to the next, the speeds cross over within `_EASE` seconds.
    width = max(3, round(_EASE * rate) | 1)
    kernel = np.hanning(width + 2)[1:-1]
    padded = np.pad(speeds, ((width // 2, width // 2), (0, 0)), mode="edge")
    eased = np.stack(
        [np.convolve(column, kernel / kernel.sum(), mode="valid") for column in padded.T], axis=1
    )
    pose = np.eye(3)
    poses = [pose]
    for step in eased:
        pose = pose @ _step(*step)
        poses.append(pose)
    # The last step has no frame of its own: a film of n steps at n frames lasts as long as its moves.
    return CameraPath(np.stack(poses)[:-1, :2], np.concatenate([labels[:1], labels[:-1]]))


def film(shots: Sequence[Shot], rate: int) -> tuple[Frames, Reference]:
    """What a camera sees on the shots' paths, cut together: frames (T, 3, H, W) and their truth."""
    parts, names = [], []
    for shot in shots:
        path = camera_path(shot.moves, rate)
        style = MoveStyle(frames=len(path.labels), rate=rate, size=_SIZE, view=(1.0, 1.0), shake=0.0)
        parts.append(render(_media(shot, rate), path, style, np.random.default_rng(shot.seed)))
        names += [MOVES[k] for k in path.labels]
    frames = np.concatenate(parts)
    return frames, Reference(TRUTH, np.arange(len(frames)) / rate, names)


def write_clip(path: Path, frames: Iterable[Frames], rate: int) -> None:
    """Writes frames (3, H, W) uint8, one at least, as an .mp4 that browsers play.

    Raises:
        LrcnError: the file cannot be written or encoded.
    """
    with whole_file(path) as temporary:
        try:
            _encode(temporary, frames, rate)
        except av.FFmpegError as error:
            raise LrcnError(f"Cannot write {path}: {error.strerror}; choose another place.") from error


def _encode(path: Path, frames: Iterable[Frames], rate: int) -> None:
    pictures = iter(frames)
    first = next(pictures)
    with av.open(path, "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(rate))
        stream.width, stream.height, stream.pix_fmt = first.shape[2], first.shape[1], "yuv420p"
        stream.options = {"crf": "22", "preset": "fast"}
        context = stream.codec_context
        # Said in the file, so that players do not guess the colours from the size (1 is BT.709).
        context.color_range, context.colorspace = ColorRange.MPEG, Colorspace.ITU709
        context.color_primaries = context.color_trc = 1
        for picture in chain([first], pictures):
            rgb = np.ascontiguousarray(picture.transpose(1, 2, 0))
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _media(shot: Shot, rate: int) -> Frames:
    """A photo (H, W, 3), or the frames (N, H, W, 3) of a film."""
    path = shipped(shot.media)
    if path.suffix == ".mp4":
        return np.ascontiguousarray(read_clip(path, rate=rate, start=shot.start).frames.transpose(0, 2, 3, 1))
    photo = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if photo is None:
        raise LrcnError(f"{path} is missing or damaged: install lrcn again.")
    return np.asarray(photo, np.uint8)


def shipped(name: str) -> Path:
    """A file of `assets/media`."""
    return Path(str(files("lrcn") / "assets" / "media" / name))


def _speed(move: str) -> tuple[float, float, float, float]:
    """Right and down in frame shares, log magnification, clockwise radians; per second."""
    roll = float(np.radians(_ROLL))
    return {
        "static": (0.0, 0.0, 0.0, 0.0),
        "pan left": (-_PAN, 0.0, 0.0, 0.0),
        "pan right": (_PAN, 0.0, 0.0, 0.0),
        "tilt up": (0.0, -_PAN, 0.0, 0.0),
        "tilt down": (0.0, _PAN, 0.0, 0.0),
        "zoom in": (0.0, 0.0, _ZOOM, 0.0),
        "zoom out": (0.0, 0.0, -_ZOOM, 0.0),
        "roll clockwise": (0.0, 0.0, 0.0, roll),
        "roll anticlockwise": (0.0, 0.0, 0.0, -roll),
    }[move]


def _step(right: float, down: float, zoom: float, turn: float) -> NDArray[np.float64]:
    """The camera's 3x3 step; magnifying narrows what it sees."""
    cos, sin = np.exp(-zoom) * np.cos(turn), np.exp(-zoom) * np.sin(turn)
    return np.array([[cos, -sin, right], [sin, cos, down], [0.0, 0.0, 1.0]])
