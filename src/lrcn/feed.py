"""The way of one stream's frames to one network: which of them it is shown, and what it said."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from lrcn.data.picture import Picture
from lrcn.data.resample import shown_at
from lrcn.stream_state import StreamState, packed, prefixed, unpacked

if TYPE_CHECKING:
    from lrcn.data.prepare import Carry, Step
    from lrcn.stream import Member

Said = list[tuple[float, NDArray[np.float32]]]
"""Moments in seconds, and what a network said of each, (K,)."""


class Feed:
    """The way of a stream's frames to one network, and what that said.

    Args:
        member: the network, and what it asks for.
        half_tick: seconds below which two times are the same.
    """

    def __init__(self, member: Member, half_tick: float) -> None:
        self.member = member
        self.half_tick = half_tick
        self.begin_anew()

    def begin_anew(self) -> None:
        """The next frame is the first."""
        self.memory: Any = self.member.network.fresh()
        self.due: deque[tuple[Picture, float]] = deque()
        self.new: Said = []
        self._last: Said = []
        self._carry: Carry | None = None
        self._held: tuple[Picture, float] | None = None
        self._began = 0.0
        self._asked = 0

    def push(self, picture: Picture, time: float) -> None:
        """Takes a frame of the network's size, and makes due what is to be shown to it by now."""
        if self.member.rate is None:
            self.due.append((picture, time))
            return
        if self._held is None:
            self._began = time
        # The frame before and this one are all that the rule looks at.
        before = [] if self._held is None else [self._held]
        self._show([*before, (picture, time)], self.member.rate, 0.0)
        self._held = picture, time

    def end(self, lasts: float) -> None:
        """Makes due what is left where the last frame is shown for `lasts` seconds."""
        if self._held is not None and self.member.rate is not None:
            self._show([self._held], self.member.rate, lasts)

    def image(self) -> NDArray[np.uint8]:
        """The next image that is due, uint8 (3,H,W), as the network reads it."""
        picture, _ = self.due[0]
        images, self._carry = self.member.preparation(picture.transpose(2, 0, 1)[None], self._carry)
        image: NDArray[np.uint8] = images[0]
        return image

    def take(self, probabilities: NDArray[np.float32], memory: Any) -> None:
        """Takes what the network said of that image, (K,), and remembers now."""
        _, time = self.due.popleft()
        self.new.append((time, probabilities))
        self.memory = memory

    def known(self) -> Said:
        """What it said last before this frame, and all it said since."""
        return [*self._last, *self.new]

    def settle(self) -> None:
        """Lets go of what is no longer new."""
        self._last, self.new = (self.new or self._last)[-1:], []

    def state(self) -> StreamState:
        """All of it between two frames."""
        arrays = prefixed("memory.", self.member.network.to_arrays(self.memory))
        carry, carried = packed(self._carry, "carry")
        values: dict[str, Any] = {"began": self._began, "asked": self._asked, "carry": carry}
        arrays |= carried
        if self._held is not None:
            arrays["held"], values["held"] = self._held
        if self._last:
            values["last"], arrays["last"] = self._last[0]
        return StreamState(values, arrays)

    def restore(self, state: StreamState) -> None:
        """Goes on from a `state`.

        Raises:
            KeyError, TypeError, ValueError: it is none of this network.
        """
        self.begin_anew()
        values, arrays = state.values, state.arrays
        self.memory = self.member.network.from_arrays(state.below("memory."))
        self._began, self._asked = float(values["began"]), int(values["asked"])
        if "held" in values:
            self._held = _picture(arrays["held"]), float(values["held"])
        if "last" in values:
            self._last = [(float(values["last"]), np.asarray(arrays["last"], np.float32))]
        if values["carry"] is not None:
            steps = zip(self.member.preparation.steps, values["carry"], strict=True)
            # What kind of tuple a step carries is told by the step, never by a file.
            self._carry = tuple(unpacked(kept, arrays, _carried(step)) for step, kept in steps)

    def _show(self, frames: Iterable[tuple[Picture, float]], rate: float, lasts: float) -> None:
        grid = (self._began + k / rate for k in count(self._asked))
        shown = list(shown_at(iter(frames), grid, self.half_tick, lasts))
        self._asked += len(shown)
        self.due += shown


def _carried(step: Step) -> tuple[Any, ...]:
    """The types of what a step carries."""
    return get_args(get_type_hints(step.images)["before"])


def _picture(array: NDArray[Any]) -> Picture:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"{array.dtype} {array.shape} is no picture")
    return array
