"""Where motion was a moment ago: each frame with a fast and a slow trace of what changed before it, as one picture.

Motion-history images (Bobick and Davis 2001) in the form a stream can keep: a trace is multiplied by its decay at
every frame and the absolute difference is added. A CNN that was made for colour pictures then sees the course of a
movement in the colours of a single frame.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
"""uint8 (T,3,H,W), RGB."""

Traces = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""The last frame's grey levels and the two traces, (H,W) each."""


@dataclass(frozen=True)
class MotionHistory:
    """red = grey level now, green = fast trace, blue = slow trace, the traces cut off at 255.

    Attributes:
        decay: what a trace keeps from frame to frame: the fast one's share, then the slow one's.
        gain: what the fast trace is multiplied by. The slow one sums over longer and is multiplied by less, as far as
            motions of a random sign do: by the square root of the ratio of (1 - decay).
    """

    decay: tuple[float, float]
    gain: float

    @property
    def reach(self) -> None:
        """A trace follows from all frames before it."""
        return

    def images(self, frames: Frames, before: Traces | None = None) -> tuple[Frames, Traces | None]:
        """The picture of each frame uint8 (T,3,H,W), and the traces after the last."""
        fast_decay, slow_decay = self.decay
        slow_gain = self.gain * math.sqrt((1 - slow_decay) / (1 - fast_decay))
        images = np.empty_like(frames)
        traces = before
        for image, frame in zip(images, frames, strict=True):
            now = cv2.cvtColor(cv2.merge(list(frame)), cv2.COLOR_RGB2GRAY).astype(np.float32)
            last, fast, slow = traces or (now, np.zeros_like(now), np.zeros_like(now))
            change = np.abs(now - last)
            traces = now, fast_decay * fast + change, slow_decay * slow + change
            image[0] = now
            image[1] = np.minimum(self.gain * traces[1], 255)
            image[2] = np.minimum(slow_gain * traces[2], 255)
        return images, traces
