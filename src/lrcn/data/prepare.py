"""From the frames of a video to the images a network reads: the steps between, each with what it carries over.

Training, evaluation and use take this one way. A step is a function of its frames and of what it left behind after
the frames before, so a film taken in pieces, live or from a cache, gives the images of one pass:

    preparation = preprocess.preparation()
    images, carry = preparation(frames, None)       # the first piece
    images, carry = preparation(more_frames, carry)
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lrcn.data.picture import Resize
from lrcn.data.video import Clip, VideoReader

Frames = NDArray[np.uint8]
"""uint8 (T,3,H,W), RGB."""

Carry: TypeAlias = tuple[Any, ...]
"""What each step carries from piece to piece; None before the first frame."""

Progress = Callable[[float], None]

# Frames prepared between two reports of progress.
_PIECE = 32


class Step(Protocol):
    """One change to the frames on their way; a frozen dataclass, so that it can stand in a cache's key."""

    @property
    def reach(self) -> int | None:
        """How many frames before its own an image follows from; None: all of them, from the clip's first."""
        ...

    def images(self, frames: Frames, before: Any, /) -> tuple[Frames, Any]:
        """An image for each frame, and what to give as `before` with the next frames; None before the first."""
        ...


@dataclass(frozen=True)
class CentreCrop:
    """Cuts the centre out of frames as they are: a step of a preparation.

    Attributes:
        size: side of what is cut, pixels.
    """

    size: int
    reach: ClassVar[int] = 0

    def images(self, frames: Frames, before: None = None) -> tuple[Frames, None]:
        """Frames uint8 (T,3,H,W) -> (T,3,size,size)."""
        top, left = ((side - self.size) // 2 for side in frames.shape[-2:])
        return np.ascontiguousarray(frames[..., top : top + self.size, left : left + self.size]), None


@dataclass(frozen=True)
class Preparation:
    """All that happens to a frame between the file and the network (or, in training, its random changes).

    Attributes:
        resize: what the video reader does to each frame by itself.
        steps: what is then done to the frames in their order.
    """

    resize: Resize
    steps: tuple[Step, ...] = ()

    def __call__(self, frames: Frames, carry: Carry | None = None) -> tuple[Frames, Carry]:
        """The images of frames uint8 (T,3,H,W) that the reader resized, and what to carry to those after them."""
        after = []
        for step, before in zip(self.steps, carry or (None,) * len(self.steps), strict=True):
            frames, held = step.images(frames, before)
            after.append(held)
        return frames, tuple(after)

    def read(
        self,
        reader: VideoReader,
        grid: NDArray[np.float64],
        chosen: NDArray[np.int64],
        progress: Progress | None = None,
    ) -> Clip:
        """The images at chosen points of a grid: those that a pass over the whole grid gives there.

        Only the frames are read that they follow from.

        Args:
            reader: opened with `resize`.
            grid: times of the clip, ascending, in seconds (N,).
            chosen: places in the grid, ascending, (T,).
            progress: called with the share that is done, above 0 to 1.

        Raises:
            VideoError: as `VideoReader.at`.
        """
        if not self.steps or not len(chosen):
            return reader.at(grid[chosen])
        needed = self._needed(chosen)
        frames = reader.at(grid[needed]).frames
        wanted = np.searchsorted(needed, chosen)
        images = frames[:0]
        for run in np.split(np.arange(len(needed)), np.flatnonzero(np.diff(needed) != 1) + 1):
            carry: Carry | None = None
            for first, last in pairwise([*range(run[0], run[-1] + 1, _PIECE), run[-1] + 1]):
                piece, carry = self(frames[first:last], carry)
                if not len(images):
                    images = np.empty((len(chosen), *piece.shape[1:]), np.uint8)
                inside = (first <= wanted) & (wanted < last)
                images[inside] = piece[wanted[inside] - first]
                if progress is not None:
                    progress(last / len(needed))
        return Clip(images, grid[chosen])

    def _needed(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places in the grid that the chosen ones follow from."""
        reach = 0
        for step in self.steps:
            if step.reach is None:
                return np.arange(chosen.max() + 1)
            reach += step.reach
        return np.unique(np.maximum(chosen[:, None] - np.arange(reach + 1), 0))
