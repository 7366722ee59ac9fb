"""How one picture is scaled: the same code for files, cameras, folders and arrays."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from lrcn.errors import LrcnError

Picture = NDArray[np.uint8]
"""One picture, uint8 (H,W,3), RGB."""

Fit = Literal["squash", "crop", "letterbox", "short"]

MAX_PIXELS = 8192 * 8192
"""Larger pictures are refused: one alone would take more than 200 MB as RGB."""


@dataclass(frozen=True)
class Resize:
    """How a picture of any shape becomes one of the size a network sees.

    Attributes:
        size: pixels of a side.
        fit: `squash`: (size,size), the aspect is lost. `crop`: the short side becomes `size`, then the centre
            (size,size). `letterbox`: the whole picture inside (size,size), black bars around it. `short`: the
            short side becomes `size` and the aspect is kept, so the result need not be square.
        width: of `squash`, pixels across where they are not `size`, which is then the height.

    Raises:
        LrcnError: the size is below 1, the fit is unknown, or there is a width without `squash`.
    """

    size: int
    fit: Fit = "squash"
    width: int | None = None

    def __post_init__(self) -> None:
        least = self.size if self.width is None else min(self.size, self.width)
        if least < 1:
            raise LrcnError(f"A picture of {least} pixels a side cannot be made: give a size of 1 or more.")
        if self.fit not in get_args(Fit):
            raise LrcnError(f"Unknown fit {self.fit!r}: choose one of {', '.join(get_args(Fit))}.")
        if self.width is not None and self.fit != "squash":
            raise LrcnError(
                f"A width of {self.width} goes with fit squash, not with {self.fit}: leave it out."
            )

    def __call__(self, frame: Picture) -> Picture:
        """Scales uint8 (H,W,3) to uint8 (size,size,3), (size,width,3), or (h,w,3) with h or w = size under `short`."""
        height, width = frame.shape[:2]
        return self.place(scale(frame, *self.scaled(width, height)))

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """The (width, height) that a picture is scaled to before `place` cuts it or adds bars."""
        if self.fit == "squash":
            return self.width or self.size, self.size
        ratio = self.size / (max if self.fit == "letterbox" else min)(width, height)
        scaled = max(1, round(width * ratio)), max(1, round(height * ratio))
        if scaled[0] * scaled[1] > MAX_PIXELS:
            raise LrcnError(
                f"A picture of {width}x{height} is too thin for fit {self.fit!r}: use squash or letterbox."
            )
        return scaled

    def place(self, frame: Picture) -> Picture:
        """Cuts or pads a picture already of the size `scaled` names."""
        if self.fit not in ("crop", "letterbox"):
            return frame
        height, width = frame.shape[:2]
        top, left = abs(height - self.size) // 2, abs(width - self.size) // 2
        if self.fit == "crop":
            return np.ascontiguousarray(frame[top : top + self.size, left : left + self.size])
        square = np.zeros((self.size, self.size, 3), np.uint8)
        square[top : top + height, left : left + width] = frame
        return square


def scale(plane: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """Scales (H,W) or (H,W,C): by area along a side that shrinks, linearly along one that grows."""
    old_height, old_width = plane.shape[:2]
    shrunk = min(width, old_width), min(height, old_height)
    if shrunk != (old_width, old_height):
        plane = cv2.resize(plane, shrunk, interpolation=cv2.INTER_AREA)
    if shrunk != (width, height):
        plane = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
    return plane
