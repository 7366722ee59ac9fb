"""Which frames of a clip: rate, length, spread and stride, one object for training, evaluation, streams."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lrcn.errors import LrcnError

# A frame's share that rounding in float arithmetic may take away from a count without losing the frame.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Sampling:
    """How the frames of a clip are chosen.

    A clip is first laid on a grid of times `start + k / rate`; every choice is a choice of grid points, so a
    clip decoded once onto the grid serves every later draw.

    Attributes:
        rate: grid points per second; None takes the source's own frame rate.
        frames: T, the frames of a training clip and of an evaluation window; None takes all of them.
        spread: "window" takes consecutive grid points, "uniform" one from each of `frames` equal segments.
        stride: steps between evaluation windows; None evaluates the clip in one pass.

    Raises:
        LrcnError: a field has a value that means nothing.
    """

    rate: float | None = None
    frames: int | None = 16
    spread: Literal["window", "uniform"] = "window"
    stride: int | None = None

    def __post_init__(self) -> None:
        if self.rate is not None and not (math.isfinite(self.rate) and self.rate > 0):
            raise LrcnError(
                f"Sampling.rate is {self.rate}; give frames per second above 0, or null for the source's."
            )
        if self.frames is not None and self.frames < 1:
            raise LrcnError(f"Sampling.frames is {self.frames}; give 1 or more, or null for all frames.")
        if self.spread not in ("window", "uniform"):
            raise LrcnError(f'Sampling.spread is "{self.spread}"; give "window" or "uniform".')
        if self.stride is not None and self.stride < 1:
            raise LrcnError(f"Sampling.stride is {self.stride}; give 1 or more, or null for one pass.")
        if self.spread == "uniform" and self.frames is None:
            raise LrcnError('Sampling.frames is null with spread "uniform"; give the number of frames.')
        if self.stride is not None and (self.frames is None or self.spread == "uniform"):
            raise LrcnError(
                f"Sampling.stride is {self.stride} but there are no windows to move; set frames and spread "
                '"window", or stride to null.'
            )

    def times(
        self, start: float, end: float, source_rate: float, rng: np.random.Generator | None = None
    ) -> NDArray[np.float64]:
        """The times of the chosen frames, ascending, in seconds, shape (T,).

        Args:
            start: time of the clip's first frame.
            end: time at which its last frame stops being shown.
            source_rate: frames per second of the source.
            rng: given, this is a training draw; without it the answer is evaluation's and always the same.

        Raises:
            LrcnError: `source_rate` is not a rate.
        """
        grid = self.grid(start, end, source_rate)
        return grid[self.pick(len(grid), rng)]

    def grid(self, start: float, end: float, source_rate: float) -> NDArray[np.float64]:
        """All sampled times of a clip, shape (N,); empty when `end` is not after `start`.

        Raises:
            LrcnError: `source_rate` is not a rate.
        """
        if not (math.isfinite(source_rate) and source_rate > 0):
            raise LrcnError(
                f"The frame rate of the source is {source_rate}; it must be above 0 frames per second."
            )
        if not end > start:
            return np.empty(0)
        rate = self.rate or source_rate
        # Containers round durations; that doubt, a share of a source frame, must not add a frame.
        doubt = 0.5 if self.rate is None else 0.1
        count = max(1, math.floor((end - start - doubt / source_rate) * rate + _ROUNDING) + 1)
        grid: NDArray[np.float64] = start + np.arange(count) / rate
        return grid

    def pick(self, count: int, rng: np.random.Generator | None = None) -> NDArray[np.int64]:
        """The chosen ones of `count` grid points, ascending, shape (T,).

        "window" gives `frames` consecutive points at a random place (fewer when there are fewer), all points
        without `rng`. "uniform" gives exactly `frames`, and so repeats points when there are fewer.
        """
        if count < 1:
            return np.empty(0, dtype=np.int64)
        if self.spread == "uniform":
            assert self.frames is not None
            inside = np.full(self.frames, 0.5) if rng is None else rng.random(self.frames)
            places = (np.arange(self.frames) + inside) * count / self.frames
            return np.minimum(places.astype(np.int64), count - 1)
        if rng is None or self.frames is None:
            return np.arange(count)
        length = min(self.frames, count)
        first = int(rng.integers(count - length + 1))
        return np.arange(first, first + length)

    def windows(self, n: int) -> list[slice]:
        """The evaluation windows over `n` sampled frames.

        One starts at every `stride` frames while there are frames, and one that would run past the end is
        moved back onto the last `frames` frames, so the tail may be taken twice (as the paper does).
        """
        if n < 1:
            raise LrcnError("A clip without frames has no windows; leave it out.")
        if self.stride is None or self.frames is None or n <= self.frames:
            return [slice(0, n)]
        last = n - self.frames
        return [
            slice(first, first + self.frames) for first in (min(k, last) for k in range(0, n, self.stride))
        ]
