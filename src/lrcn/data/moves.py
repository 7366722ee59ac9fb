"""Camera moves played over still photos and clips: videos whose label no single frame can tell.

A photo (or each frame of a clip) is a plane; a camera looks at a window of it and pans, tilts, zooms or rolls.
The pixels are real, the supply is endless and the truth is exact, at every frame.

The names are the *camera's* movement, as an editor logs it: "pan left" turns the camera left, so what is seen slides to
the right; "roll clockwise" turns the camera clockwise, so what is seen turns anticlockwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from lrcn.data.video import VIDEO_SUFFIXES, Resize, read_clip
from lrcn.errors import LrcnError
from lrcn.fingerprint import fingerprint, fingerprint_file

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

# Changes when the same style and seed give other pixels, so that features of the old rules are not found.
_FORMAT = 2

MOVES = (
    "static",
    "pan left",
    "pan right",
    "tilt up",
    "tilt down",
    "zoom in",
    "zoom out",
    "roll clockwise",
    "roll anticlockwise",
)
DIRECTION_PAIRS = ((1, 2), (3, 4), (5, 6), (7, 8))


@dataclass(frozen=True)
class MoveStyle:
    """How the camera moves; every range is drawn from log-uniformly.

    Attributes:
        frames: T, frames of a clip.
        rate: frames per second.
        size: height and width of a frame in pixels.
        pan: speed of pans and tilts, in shares of the frame per second.
        zoom: speed of zooms, in natural logarithm of scale per second.
        roll: speed of rolls, in degrees per second.
        view: how much of the photo's shorter side the middle frame shows.
        tilt: largest tilt of the camera in the middle of a clip, either way, in degrees, whatever the move, since a
            tilted horizon alone hints at a roll; 0 starts every clip level.
        easing: how far the speed may swing about its mean within a move (0 constant, below 1 so that it never stops).
        cross: the largest share of a second, parasitic move beside the named one.
        shake: hand shake, as a share of the frame (standard deviation; rolls and zooms shake in proportion).
        switch: probability that another move takes over within the clip.
        cut: probability that the film is cut to another source, with a move of its own.
        objects: probability that a patch of another photo flies across on a path of its own.
        wear: strength of what cameras and codecs do to pictures (blur, noise, light drift, grey, bars), 0 to 1.
    """

    frames: int = 16
    rate: float = 10.0
    size: int = 112
    pan: tuple[float, float] = (0.06, 0.6)
    zoom: tuple[float, float] = (0.08, 0.6)
    roll: tuple[float, float] = (6.0, 45.0)
    view: tuple[float, float] = (0.4, 0.6)
    tilt: float = 0.0
    easing: float = 0.6
    cross: float = 0.2
    shake: float = 0.003
    switch: float = 0.0
    cut: float = 0.0
    objects: float = 0.0
    wear: float = 0.0

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise LrcnError(f"moves.frames is {self.frames}: a move needs at least 2 frames.")
        if self.size < 8:
            raise LrcnError(f"moves.size is {self.size}: give 8 pixels or more.")
        if not self.rate > 0:
            raise LrcnError(f"moves.rate is {self.rate}: give frames per second above 0.")
        if not self.shake >= 0:
            raise LrcnError(f"moves.shake is {self.shake}: give 0 or more.")
        if not 0 <= self.tilt <= 90:
            raise LrcnError(f"moves.tilt is {self.tilt}: give degrees from 0 to 90.")
        for name in ("pan", "zoom", "roll", "view"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise LrcnError(
                    f"moves.{name} is {low}..{high}: give two positive numbers, the smaller first."
                )
        for name in ("easing", "cross", "switch", "cut", "objects", "wear"):
            if not 0 <= getattr(self, name) <= 1:
                raise LrcnError(f"moves.{name} is {getattr(self, name)}: give a number from 0 to 1.")


@dataclass(frozen=True)
class Path:
    """A camera's path.

    Attributes:
        poses: (T, 2, 3), map frame coordinates (origin at the centre, unit one frame width) to those of the first
            frame.
        labels: (T,), the move of the step that led to each frame, an index into MOVES.
    """

    poses: Floats
    labels: NDArray[np.int64]


def draw_path(style: MoveStyle, label: int, rng: np.random.Generator) -> Path:
    """A random path that starts with the move `label` (an index into MOVES)."""
    steps = style.frames - 1
    labels = np.full(steps, label, dtype=np.int64)
    if steps >= 4 and rng.random() < style.switch:
        labels[rng.integers(2, steps - 1) :] = rng.choice(
            [move for move in range(len(MOVES)) if move != label]
        )
    motion = np.concatenate([_move_steps(style, int(run[0]), len(run), rng) for run in _runs(labels)])
    shake = _shake(style, steps + 1, rng)
    pose = np.eye(3)
    poses = [pose @ _similarity(shake[0])]
    for step in range(steps):
        pose = pose @ _similarity(motion[step])
        poses.append(pose @ _similarity(shake[step + 1]))
    levelled = _tilted(np.stack(poses), style, rng)
    return Path(levelled[:, :2], np.concatenate([labels[:1], labels]))


def render(
    source: Pixels, path: Path, style: MoveStyle, rng: np.random.Generator, flying: Pixels | None = None
) -> Pixels:
    """The frames a camera on `path` sees.

    Args:
        source: one photo (H, W, 3) or the frames of a clip (N, H, W, 3); a shorter clip is played to and fro.
        path: where the camera goes.
        style: gives the frame size and the wear.
        rng: places the path within the photo, and draws the wear.
        flying: a photo (H, W, 3), a patch of which crosses the view on its own path.

    Returns:
        uint8 (T, 3, size, size).
    """
    pictures = source[None] if source.ndim == 3 else source
    placed, prefilter = _place(path, pictures.shape[1:3], style.size, style.view, rng)
    if prefilter < 1:
        pictures = _stacked(
            [cv2.resize(p, None, fx=prefilter, fy=prefilter, interpolation=cv2.INTER_AREA) for p in pictures]
        )
    order = _to_and_fro(len(pictures), len(placed))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    frames = _stacked(
        [
            cv2.warpAffine(pictures[n], m, (style.size,) * 2, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
            for n, m in zip(order, placed, strict=True)
        ]
    )
    if flying is not None:
        _fly(frames, flying, rng)
    return _wear(frames, style.wear, rng).transpose(0, 3, 1, 2)


class MovesDataset:
    """Camera moves over photos and clips, as a source of training or test clips.

    Item (index, view) is a pure function of (seed, index, view): the same clip wherever and whenever it is asked for.
    Sources take turns and so do moves, so a pass over all items is balanced.

    Args:
        sources: paths of photos, and of videos filmed by a camera that does not move.
        style: how the camera moves.
        length: number of items; None is one per source; with nine, every source gets every move.
        seed: everything random follows from it.

    Raises:
        LrcnError: no sources, or an impossible length; and when an item is asked for, a source cannot be read.
    """

    labels: ClassVar[list[str]] = list(MOVES)

    def __init__(
        self, sources: Sequence[str], style: MoveStyle, *, length: int | None = None, seed: int = 0
    ) -> None:
        if not sources:
            raise LrcnError("Camera moves need at least one photo or clip to move over; none was given.")
        self.sources = list(sources)
        self.style = style
        self.seed = seed
        if length is not None and length < 1:
            raise LrcnError(f"The length is {length}: camera moves need at least 1 item.")
        self.length = length or len(self.sources)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, draw: tuple[int, int]) -> dict[str, Any]:
        return self.item(*draw)

    def label(self, index: int, view: int = 0) -> int:
        """The move that item (index, view) starts with."""
        turn, source = divmod(index, len(self.sources))
        # Each turn and each view shifts the moves by one, so that in nine of them a source gets every move.
        return (source + turn + max(view, 0)) % len(MOVES)

    def item(self, index: int, view: int) -> dict[str, Any]:
        """{"frames": uint8 (T, 3, size, size), "label": int64 (T,), "index": int}."""
        rng = np.random.default_rng([self.seed, index, max(view, 0)])
        source, label = index % len(self.sources), self.label(index, view)
        shots = [(source, label, self.style.frames)]
        if self.style.frames >= 4 and rng.random() < self.style.cut:
            first = int(rng.integers(2, self.style.frames - 1))
            other = int(rng.integers(len(self.sources))), int(rng.integers(len(MOVES)))
            shots = [(source, label, first), (*other, self.style.frames - first)]
        frames, labels = zip(*(self._shot(*shot, rng) for shot in shots), strict=True)
        return {
            "frames": torch.from_numpy(np.concatenate(frames)),
            "label": torch.from_numpy(np.concatenate(labels)),
            "index": index,
        }

    def _shot(
        self, source: int, label: int, frames: int, rng: np.random.Generator
    ) -> tuple[Pixels, NDArray[np.int64]]:
        """One move over one source: frames (T, 3, size, size) and labels (T,)."""
        style = replace(self.style, frames=frames)
        path = draw_path(style, label, rng)
        flying = None
        if rng.random() < style.objects:
            other = _pixels(self.sources[int(rng.integers(len(self.sources)))], self.style)
            flying = other if other.ndim == 3 else other[0]
        pixels = render(_pixels(self.sources[source], self.style), path, style, rng, flying)
        return np.ascontiguousarray(pixels), path.labels

    def key(self, index: int, view: int) -> str:
        """A hash of everything that made the item."""
        source = fingerprint_file(self.sources[index % len(self.sources)])
        # A flying patch or the shot after a cut comes from any source, so all their names count.
        others = tuple(self.sources) if self.style.objects or self.style.cut else ()
        return fingerprint(
            _FORMAT, source, others, self.style, self.seed, self.label(index, view), index, max(view, 0)
        )


def _move_steps(style: MoveStyle, label: int, steps: int, rng: np.random.Generator) -> Floats:
    """(steps, 4) camera motion per step: right and down in frame shares, log magnification, clockwise radians."""
    amounts = np.zeros(4)
    if label > 0:
        axis, sign = divmod(label - 1, 2)
        # MOVES lists the pairs as left/right, up/down, in/out, clockwise/anticlockwise.
        direction = (1.0 if sign else -1.0) if axis < 2 else (-1.0 if sign else 1.0)
        amounts[axis] = direction * _speed(style, axis, rng)
        others = [other for other in range(4) if other != axis]
        # A unit of corner travel is about the same for a share of pan, of log scale * 0.6 and of radian * 0.7.
        travel = abs(amounts[axis]) * _CORNER[axis] * style.cross * rng.random()
        other = int(rng.choice(others))
        amounts[other] = rng.choice([-1, 1]) * travel / _CORNER[other]
    phase, swing = rng.random() * 2 * np.pi, style.easing * rng.random()
    pace = 1 + swing * np.sin(phase + np.pi * rng.choice([1, 2]) * np.linspace(0, 1, steps))
    motion: Floats = amounts[None] * pace[:, None] / style.rate
    return motion


# Travel of a frame's corner for one unit of each motion (frame shares, log scale, radians).
_CORNER = np.array([1.0, 1.0, 0.6, 0.7])


def _speed(style: MoveStyle, axis: int, rng: np.random.Generator) -> float:
    low, high = (style.pan, style.pan, style.zoom, style.roll)[axis]
    speed = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    return float(np.radians(speed)) if axis == 3 else speed


def _shake(style: MoveStyle, frames: int, rng: np.random.Generator) -> Floats:
    """(frames, 4) smooth noise that returns to zero: a hand shakes, but does not wander off."""
    noise = rng.normal(size=(frames, 4))
    for t in range(1, frames):
        noise[t] = 0.7 * noise[t - 1] + np.sqrt(1 - 0.7**2) * noise[t]
    shaken: Floats = noise * style.shake * rng.random() * np.array([1.0, 1.0, 0.7, 0.7])
    return shaken


def _tilted(poses: Floats, style: MoveStyle, rng: np.random.Generator) -> Floats:
    """The path turned as a whole, so that its middle frame is held at a random tilt."""
    if style.tilt == 0:
        return poses
    middle = poses[len(poses) // 2]
    turn = np.radians(rng.uniform(-style.tilt, style.tilt)) - np.arctan2(middle[1, 0], middle[0, 0])
    turned: Floats = _similarity(np.array([0.0, 0.0, 0.0, turn])) @ poses
    return turned


def _similarity(motion: Floats) -> Floats:
    """The 3x3 camera step of one (right, down, log magnification, clockwise) motion."""
    right, down, zoom, turn = motion
    # Magnifying narrows the window, hence the minus.
    scale = np.exp(-zoom)
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    return np.array([[cos, -sin, right], [sin, cos, down], [0.0, 0.0, 1.0]])


def _place(
    path: Path, shape: tuple[int, ...], size: int, view_share: tuple[float, float], rng: np.random.Generator
) -> tuple[list[Floats], float]:
    """Lays the path over a picture of `shape` (H, W).

    Returns:
        The T matrices from output pixels to picture pixels, and the factor by which the picture is shrunk first so
        that sampling it does not alias.
    """
    corners = np.array([[-0.5, 0.5, -0.5, 0.5], [-0.5, -0.5, 0.5, 0.5], [1, 1, 1, 1]])
    seen = path.poses @ corners
    low, high = seen.min(axis=(0, 2)), seen.max(axis=(0, 2))
    height, width = shape
    fits = min(width / (high[0] - low[0]), height / (high[1] - low[1]))
    # The middle frame's size and the path's place do not depend on the move, so that no single frame hints at it.
    scales = np.sqrt(np.linalg.det(path.poses[:, :, :2]))
    # Of an even number of frames no single one is the middle, and a move and its reverse must look alike.
    middle = np.sqrt(scales[(len(scales) - 1) // 2] * scales[len(scales) // 2])
    wanted = rng.uniform(*view_share) * min(height, width) / middle
    # Where even a small window would leave the picture, its mirror image goes on beyond the edge.
    view = max(min(wanted, fits), min(height, width) / 4)
    slack = np.array([width, height]) - view * (high - low)
    corner = -view * low + rng.uniform(0, 1, 2) * slack
    shrink = min(1.0, 1.25 * size / (view * scales.min()))
    pixels = np.array([[1 / size, 0, -0.5 + 0.5 / size], [0, 1 / size, -0.5 + 0.5 / size], [0, 0, 1]])
    matrices = []
    for pose in path.poses:
        matrix = view * (pose @ pixels)
        matrix[:, 2] += corner
        matrices.append(shrink * matrix)
    return matrices, shrink


def _fly(frames: Pixels, photo: Pixels, rng: np.random.Generator) -> None:
    """Moves a soft-edged patch of `photo` across the frames, in place."""
    frame_count, size = frames.shape[:2]
    side = int(size * rng.uniform(0.2, 0.5))
    patch = cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    grid = np.linspace(-1, 1, side)
    round_mask = (grid[:, None] ** 2 + grid[None] ** 2 < 1).astype(np.float32)
    mask = cv2.GaussianBlur(round_mask, (0, 0), max(side / 20, 0.5))[:, :, None]
    start, stop = rng.uniform(0, size, 2), rng.uniform(0, size, 2)
    for t in range(frame_count):
        centre = start + (stop - start) * t / max(frame_count - 1, 1)
        place = np.array([[1, 0, centre[0] - side / 2], [0, 1, centre[1] - side / 2]])
        layer = cv2.warpAffine(patch, place, (size, size))
        alpha = cv2.warpAffine(mask, place, (size, size))[:, :, None]
        frames[t] = (frames[t] * (1 - alpha) + layer * alpha).astype(np.uint8)


def _wear(frames: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """What cameras and codecs do: light, contrast, grey, blur, noise, bars and printed clocks."""
    if strength == 0:
        return frames
    frame_count, size = frames.shape[:2]
    worn = frames.astype(np.float32)
    if rng.random() < 0.2 * strength:
        worn[:] = worn.mean(axis=3, keepdims=True)
    gain = (
        1
        + strength * rng.uniform(-0.4, 0.4)
        + 0.1 * strength * np.sin(rng.uniform(0, 6) + rng.uniform(0, 4) * np.linspace(0, 1, frame_count))
    )
    worn = (worn - 128) * gain[:, None, None, None].astype(np.float32) + 128 + strength * rng.uniform(-50, 50)
    if rng.random() < 0.5 * strength:
        sigma = rng.uniform(0.4, 1.5)
        worn = np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in worn])
    if rng.random() < 0.5 * strength:
        worn += rng.normal(size=worn.shape).astype(np.float32) * rng.uniform(1, 12)
    if rng.random() < 0.2 * strength:
        bar = int(size * rng.uniform(0.03, 0.16))
        worn[:, :bar] = worn[:, size - bar :] = 0
    if rng.random() < 0.3 * strength:
        _print_clock(worn, rng)
    return np.clip(worn, 0, 255).astype(np.uint8)


def _print_clock(frames: NDArray[np.float32], rng: np.random.Generator) -> None:
    """A line of text that stays where it is while the picture moves, as on surveillance tapes."""
    size = frames.shape[1]
    place = (int(rng.uniform(0, 0.5) * size), int(rng.choice([0.1, 0.95]) * size))
    text = "".join(rng.choice(list("0123456789:-/ CAM"), 14))
    level = float(rng.choice([0, 255]))
    ink = np.zeros((size, size), np.uint8)
    cv2.putText(ink, text, place, cv2.FONT_HERSHEY_SIMPLEX, size / 400, 255, 1, cv2.LINE_AA)
    alpha = (ink / np.float32(255))[:, :, None]
    frames[:] = frames * (1 - alpha) + level * alpha


def _stacked(pictures: list[Any]) -> Pixels:
    return np.asarray(np.stack(pictures), np.uint8)


def _runs(labels: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.split(labels, np.flatnonzero(np.diff(labels)) + 1)


def _to_and_fro(count: int, frames: int) -> NDArray[np.int64]:
    """Indices 0, 1, .., count-1, count-2, .., 1, 0, 1, .. so that a short clip goes on without a jump."""
    if count == 1:
        return np.zeros(frames, dtype=np.int64)
    turn = np.arange(frames) % (2 * count - 2)
    return np.where(turn < count, turn, 2 * count - 2 - turn)


_DETAIL = 8
"""Photos are kept this many times as large as a frame: more would fill the memory and is never seen."""


@lru_cache(maxsize=256)
def _pixels(path: str, style: MoveStyle) -> Pixels:
    """A photo as (H, W, 3), or the first seconds of a clip as (N, H, W, 3)."""
    if path.lower().endswith(tuple(VIDEO_SUFFIXES)):
        short = Resize(2 * style.size, "short")
        seconds = style.frames / style.rate
        return np.ascontiguousarray(
            read_clip(path, rate=style.rate, end=seconds, resize=short).frames.transpose(0, 2, 3, 1)
        )
    photo = cv2.imread(path, cv2.IMREAD_COLOR_RGB)
    if photo is None:
        raise LrcnError(
            f"Cannot read the photo {path}: it is missing or not an image OpenCV can decode; "
            "replace it or leave it out."
        )
    most = _DETAIL * style.size
    if min(photo.shape[:2]) > most:
        return Resize(most, "short")(np.asarray(photo, np.uint8))
    return np.asarray(photo, np.uint8)


def plain(style: MoveStyle) -> MoveStyle:
    """The same moves without switches, cuts, flying patches or wear: the test every figure is quoted on."""
    return replace(style, switch=0.0, cut=0.0, objects=0.0, wear=0.0)
