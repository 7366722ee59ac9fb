"""The subject of a depth image as points in space, drawn as a camera sees it that may stand elsewhere.

Grey levels of depth images are distances: near is bright. A training clip can then be seen from a little to the side
(Wang et al. 2016, "Action recognition from depth maps using deep convolutional neural networks", rotate the points for
this reason), and a movement towards the camera, hardly seen from in front, shows in the views from the side and from
above (the three projections of Yang et al. 2012, depth motion maps).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

FRONT = 0.7
"""Share of the picture's side that the view from in front has, where the other two stand beside and below it."""

# Share of those views' depth that is behind the subject's median: arms reach forward.
_BEHIND = 0.35

# Points across a pixel of the view from in front, so that a turned surface has few holes.
_FINER = 1.4

_CLOSE = np.ones((3, 3), np.uint8)


class Points(NamedTuple):
    """Points of a surface, float32 (N,) each, in sides of the subject's box from its centre.

    Attributes:
        x: to the right.
        y: down.
        z: towards the camera.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    z: NDArray[np.float32]


@dataclass(frozen=True)
class Camera:
    """From where points are seen; the defaults are the camera that filmed them.

    Attributes:
        turn: degrees about the upright axis.
        tilt: degrees about the axis from left to right.
        roll: degrees about the axis of sight.
        stretch: factors along x, y and z.
        shift: of the picture to the right and down, as shares of its side.
    """

    turn: float = 0.0
    tilt: float = 0.0
    roll: float = 0.0
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)

    def seen(self, points: Points) -> Points:
        """The points as they lie for this camera."""
        x, y, z = points
        x, z = _turned(x, z, self.turn)
        y, z = _turned(y, z, self.tilt)
        x, y = _turned(x, y, self.roll)
        wide, high, deep = self.stretch
        right, down = self.shift
        return Points(wide * x + right, high * y + down, deep * z)


def points_of(picture: NDArray[np.uint8], background: int, level: float, per_side: float) -> Points:
    """The points of a square depth image (S, S) that shows the subject's box.

    Args:
        picture: grey levels.
        background: the brightest level that is no subject.
        level: that of the middle of the depth.
        per_side: levels that make a side of the box.
    """
    rows, columns = np.nonzero(picture > background)
    across = np.float32(1 / len(picture))
    depth = (picture[rows, columns].astype(np.float32) - np.float32(level)) / np.float32(per_side)
    return Points(
        (columns + np.float32(0.5)) * across - np.float32(0.5),
        (rows + np.float32(0.5)) * across - np.float32(0.5),
        depth,
    )


def finer(size: int, sides: bool) -> int:
    """Pixels a side of the depth image whose points a picture of `size` is drawn with."""
    return math.ceil(_FINER * (front_size(size) if sides else size))


def front_size(size: int) -> int:
    """Pixels a side of the view from in front, of a picture of three views."""
    return round(FRONT * size)


def drawn(points: Points, size: int, lowest: int, level: float, per_side: float) -> NDArray[np.uint8]:
    """The depth image (size, size) of points: what is nearest is seen, `level` in the middle of the depth."""
    levels = np.clip(points.z * per_side + level, lowest, 255).astype(np.uint8)
    return _picture(points.x + 0.5, points.y + 0.5, points.z, levels, size, size, size)


def drawn_from_three_sides(
    points: Points, size: int, lowest: int, level: float, per_side: float
) -> NDArray[np.uint8]:
    """The same from in front, with the view from the right beside it and the one from above below: (size, size).

    In each view grey levels are what it looks along: depth, the place from left to right, the height.
    """
    front = front_size(size)
    beside = size - front
    picture = np.zeros((size, size), np.uint8)
    picture[:front, :front] = drawn(points, front, lowest, level, per_side)
    depth = points.z + _BEHIND * beside / front
    across, up = (
        np.clip((0.5 + place) * 255, lowest, 255).astype(np.uint8) for place in (points.x, -points.y)
    )
    picture[:front, front:] = _picture(depth, points.y + 0.5, points.x, across, front, beside, front)
    picture[front:, :front] = _picture(points.x + 0.5, depth, -points.y, up, front, front, beside)
    return picture


def _picture(
    right: NDArray[np.float32],
    down: NDArray[np.float32],
    near: NDArray[np.float32],
    levels: NDArray[np.uint8],
    scale: int,
    width: int,
    height: int,
) -> NDArray[np.uint8]:
    """Levels at places in units of `scale` pixels, the nearest on top, (height, width)."""
    order = np.argsort(near, kind="stable")
    columns, rows = (np.floor(place[order] * scale).astype(np.int64) for place in (right, down))
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    picture = np.zeros((height, width), np.uint8)
    picture[rows[inside], columns[inside]] = levels[order][inside]
    # A turned surface has its points farther apart than pixels here and there.
    closed = cv2.morphologyEx(picture, cv2.MORPH_CLOSE, _CLOSE)
    return np.where(picture > 0, picture, closed).astype(np.uint8, copy=False)


def _turned(
    first: NDArray[np.float32], second: NDArray[np.float32], degrees: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if not degrees:
        return first, second
    sine, cosine = (np.float32(f(math.radians(degrees))) for f in (math.sin, math.cos))
    return first * cosine + second * sine, second * cosine - first * sine
