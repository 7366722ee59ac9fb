"""A crop that stays on who is there: for footage in which all but the subject is black.

Depth cameras, silhouettes and other footage with the background taken away show people at any place and distance.
The box is set once, by the first frames in which someone is there, so it is known to a stream as early as to a clip,
and what moves within it is the subject's own motion. Where grey levels are distances, what is in the box may be drawn
from its points in space, see `cloud`.
"""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lrcn.data.cloud import Camera, drawn, drawn_from_three_sides, finer, front_size, points_of
from lrcn.errors import LrcnError

Frames = NDArray[np.uint8]
"""uint8 (T,3,H,W), RGB."""

# Share of a subject's pixels beyond which a few stray ones do not move its box.
_STRAY = 0.5


@dataclass(frozen=True)
class SubjectConfig:
    """Whether and how frames are cropped to their subject.

    Attributes:
        crop: off leaves frames as they are.
        background: the brightest grey level that is no subject.
        least: share of the frame that a subject fills at least; until one is there, frames are left whole.
        room: side of the box in heights of the subject, so that arms and legs stay inside.
        level: the grey level that the subject's median is brought to, which takes its distance out of depth images;
            0 leaves levels as they are.
        depth: for depth images, in which a grey level is a distance: how many levels are as far as the subject is high.
            Levels are then moved to `level` and not multiplied, and what is seen is drawn from points in space, which
            `Augment.turn` and `tilt` may turn. 0: levels are no distances.
        sides: draws those points from in front and, smaller, from the side and from above.

    Raises:
        LrcnError: a field is outside its range.
    """

    crop: bool = False
    background: int = 16
    least: float = 0.01
    room: float = 1.7
    level: int = 0
    depth: float = 0.0
    sides: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.background < 255 or not 0 <= self.level <= 255:
            raise LrcnError(
                f"subject.background is {self.background} and level {self.level}: give grey levels, 0 to 255."
            )
        if not 0 < self.least <= 1 or self.room < 1:
            raise LrcnError(
                f"subject.least is {self.least} and room {self.room}: give a share above 0, and 1 or more."
            )
        if self.depth < 0 or (self.sides and not self.depth):
            raise LrcnError(
                f"subject.depth is {self.depth} and sides {self.sides}: give the grey levels that are as far as the "
                "subject is high, such as 330; the sides cannot be drawn without."
            )


class Box(NamedTuple):
    """Where the subject was when it was first seen: centre and side in pixels, and its median level."""

    x: float
    y: float
    side: float
    level: float


@dataclass(frozen=True)
class SubjectCrop:
    """Frames of any size -> square ones around their subject.

    Attributes:
        config: how.
        size: pixels a side that come out.
        camera: from where depth images are seen; not from where they were filmed in training alone.
    """

    config: SubjectConfig
    size: int
    camera: Camera = field(default_factory=Camera)

    @property
    def reach(self) -> None:
        """The box is that of the first frames."""
        return

    def images(self, frames: Frames, before: Box | None = None) -> tuple[Frames, Box | None]:
        """Cropped frames uint8 (T,3,size,size), and the box; None until a subject is there."""
        images = np.empty((len(frames), 3, self.size, self.size), np.uint8)
        box = before
        for image, frame in zip(images, frames, strict=True):
            if box is None:
                box = self._found(frame)
            found = box or self._whole(frame)
            image[:] = self._drawn(frame, found) if self.config.depth else self._cropped(frame, found)
        return images, box

    def covered(self, box: Box) -> Box:
        """The square of the frame that the whole picture stands for, of which `shown` is seen from in front."""
        side = box.side / self.shown
        return box._replace(x=box.x + (side - box.side) / 2, y=box.y + (side - box.side) / 2, side=side)

    @property
    def shown(self) -> float:
        """The share of the picture's side, from its upper left corner, that shows the frame itself."""
        return front_size(self.size) / self.size if self.config.sides else 1.0

    def _whole(self, frame: NDArray[np.uint8]) -> Box:
        height, width = frame.shape[1:]
        return Box(width / 2, height / 2, max(height, width), self.config.level)

    def _found(self, frame: NDArray[np.uint8]) -> Box | None:
        grey = frame.max(axis=0)
        there = grey > self.config.background
        if there.mean() < self.config.least:
            return None
        rows, columns = np.nonzero(there)
        top, bottom = np.percentile(rows, [_STRAY, 100 - _STRAY])
        height = bottom - top + 1
        # A little above the middle: arms go higher than the head, and nothing goes below the feet.
        centre = top + (0.5 - 0.12) * height
        return Box(
            float(np.median(columns)),
            float(centre),
            float(self.config.room * height),
            float(np.median(grey[there])),
        )

    def _drawn(self, frame: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
        """The points of a depth image as the camera sees them, (size,size)."""
        config = self.config
        side = finer(self.size, config.sides)
        # Levels between those of two things would be points between them.
        picture = _cut(np.ascontiguousarray(frame.max(axis=0)), box, side, cv2.INTER_NEAREST)
        per_side = config.depth * config.room
        points = self.camera.seen(points_of(picture, config.background, box.level, per_side))
        draw = drawn_from_three_sides if config.sides else drawn
        return draw(points, self.size, config.background + 1, config.level or box.level, per_side)

    def _cropped(self, frame: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
        # Drawn at no less than the source's own sharpness, then shrunk by area.
        times = max(1, math.ceil(box.side / self.size))
        colours = np.ascontiguousarray(frame.transpose(1, 2, 0))
        picture: NDArray[Any] = _cut(colours, box, self.size * times, cv2.INTER_LINEAR)
        if times > 1:
            picture = cv2.resize(picture, (self.size, self.size), interpolation=cv2.INTER_AREA)
        if self.config.level and box.level:
            picture = cv2.convertScaleAbs(picture, alpha=self.config.level / box.level)
        return picture.transpose(2, 0, 1).astype(np.uint8, copy=False)


def _cut(frame: NDArray[np.uint8], box: Box, side: int, between: int) -> NDArray[np.uint8]:
    """The box of a frame (H,W) or (H,W,3) as `side` pixels, black where it is beyond the frame."""
    ratio, middle = side / box.side, side / 2
    shift = np.array([[ratio, 0, middle - ratio * box.x], [0, ratio, middle - ratio * box.y]], np.float32)
    return cv2.warpAffine(frame, shift, (side, side), flags=between).astype(np.uint8, copy=False)
