"""A crop that stays on who is there: for footage in which all but the subject is black.

Depth cameras, silhouettes and other footage with the background taken away show people at any place and distance.
The box is set once, by the first frames in which someone is there, so it is known to a stream as early as to a clip,
and what moves within it is the subject's own motion.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

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

    Raises:
        LrcnError: a field is outside its range.
    """

    crop: bool = False
    background: int = 16
    least: float = 0.01
    room: float = 1.7
    level: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.background < 255 or not 0 <= self.level <= 255:
            raise LrcnError(
                f"subject.background is {self.background} and level {self.level}: give grey levels, 0 to 255."
            )
        if not 0 < self.least <= 1 or self.room < 1:
            raise LrcnError(
                f"subject.least is {self.least} and room {self.room}: give a share above 0, and 1 or more."
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
    """

    config: SubjectConfig
    size: int

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
            image[:] = self._cropped(frame, box)
        return images, box

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

    def _cropped(self, frame: NDArray[np.uint8], box: Box | None) -> NDArray[np.uint8]:
        height, width = frame.shape[1:]
        found = box or Box(width / 2, height / 2, max(height, width), self.config.level)
        ratio = self.size / found.side
        # Drawn at no less than the source's own sharpness, then shrunk by area.
        finer = 1 if ratio >= 1 else int(np.ceil(1 / ratio))
        ratio *= finer
        middle = self.size * finer / 2
        shift = np.array(
            [[ratio, 0, middle - ratio * found.x], [0, ratio, middle - ratio * found.y]], np.float32
        )
        side = self.size * finer
        picture = cv2.warpAffine(np.ascontiguousarray(frame.transpose(1, 2, 0)), shift, (side, side))
        if finer > 1:
            picture = cv2.resize(picture, (self.size, self.size), interpolation=cv2.INTER_AREA)
        if self.config.level and found.level:
            picture = cv2.convertScaleAbs(picture, alpha=self.config.level / found.level)
        return picture.transpose(2, 0, 1).astype(np.uint8, copy=False)
