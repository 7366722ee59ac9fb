"""A stream of frames -> what is happening now, and from when to when: at every frame, at a cost that does not grow.

    stream = lrcn.Stream(lrcn.load("camera-moves"))
    for frame, time in camera:              # frame: uint8 (H, W, 3) RGB of any size; time: seconds
        answer = stream.push(frame, time)
        answer.label, answer.probability    # now
        answer.open, answer.closed          # the segment that goes on, and those that are over for good
    rest = stream.finish()

A stream of a film's frames at their own times gives the numbers of `lrcn.recognize` in one pass. Nothing here needs
torch: what runs a network stands behind `Network`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lrcn.data.picture import Picture, Resize
from lrcn.errors import LrcnError
from lrcn.fingerprint import fingerprint
from lrcn.stream_state import StreamState
from lrcn.track import Answer, Counts, StreamOptions, Track

if TYPE_CHECKING:
    from lrcn.data.prepare import Preparation
    from lrcn.models.folder import Loaded
    from lrcn.models.fusion import Fused

__all__ = ["Answer", "Member", "Network", "Stream", "StreamOptions", "StreamState", "Streamable"]


class Network(Protocol):
    """What runs a recogniser one frame at a time; a memory is whatever it likes, and is never changed, only replaced.

    `lrcn.models.onestep.OneStep` is the one on torch.
    """

    @property
    def fingerprint(self) -> str:
        """Text that differs where the weights do."""
        ...

    @property
    def at_once(self) -> int:
        """Streams in one batch at most: libraries of a CPU keep memory for every size of batch they ever had."""
        ...

    def fresh(self) -> Any:
        """The memory of a stream before its first frame."""
        ...

    def step(
        self, images: Sequence[NDArray[np.uint8]], memories: Sequence[Any]
    ) -> tuple[NDArray[np.float32], Sequence[Any]]:
        """The next image (3, H, W) and the memory of each of B streams -> probabilities (B, K), and B memories."""
        ...

    def to_arrays(self, memory: Any) -> dict[str, NDArray[Any]]:
        """What is to be saved of a memory."""
        ...

    def from_arrays(self, arrays: dict[str, NDArray[Any]]) -> Any:
        """The memory that was saved; ValueError where it is another network's."""
        ...


@dataclass(frozen=True, eq=False)
class Member:
    """A network, and what it asks for.

    Attributes:
        network: what runs it.
        preparation: what is done to every frame that it is shown.
        rate: how many a second, as in `lrcn.data.sampling`; None: every one.
        weight: its share in the answer.
    """

    network: Network
    preparation: Preparation
    rate: float | None
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Streamable:
    """Everything it takes to stream: made once, for as many streams as you like.

    Attributes:
        labels: the K class names, in the order of the probabilities.
        members: one network, or several whose weights sum to 1.
    """

    labels: tuple[str, ...]
    members: tuple[Member, ...]

    @classmethod
    def of(cls, model: Loaded | Fused | Streamable) -> Streamable:
        """A model on torch, its weights copied.

        Raises:
            LrcnError: it needs the whole clip, or reads the future.
        """
        if isinstance(model, Streamable):
            return model
        from lrcn.models.fusion import Fused
        from lrcn.models.onestep import OneStep

        parts = model.members if isinstance(model, Fused) else {"The model": model}
        weights = model.weights if isinstance(model, Fused) else (1.0,)
        for name, part in parts.items():
            if part.sampling.spread == "uniform":
                raise LrcnError(
                    f"{name} spreads its frames over the whole clip (sampling.spread is uniform), so it cannot stream: "
                    "use `lrcn recognize`, or train one with spread window."
                )
        members = [
            Member(OneStep(part.model), part.preprocess.preparation(), part.sampling.rate, weight)
            for part, weight in zip(parts.values(), weights, strict=True)
        ]
        return cls(tuple(model.labels), tuple(members))

    @property
    def resize(self) -> Resize | None:
        """What a reader may do to the frames already; None where the networks ask for different things."""
        resizes = {member.preparation.resize for member in self.members}
        return resizes.pop() if len(resizes) == 1 else None

    def advance(self, tracks: Sequence[Track]) -> None:
        """Shows every network the images that are due in these streams, many in a batch, until none is."""
        for number, member in enumerate(self.members):
            feeds = [track.feeds[number] for track in tracks]
            while waiting := [feed for feed in feeds if feed.due]:
                for first in range(0, len(waiting), member.network.at_once):
                    some = waiting[first : first + member.network.at_once]
                    images = [feed.image() for feed in some]
                    said, memories = member.network.step(images, [feed.memory for feed in some])
                    for feed, probabilities, memory in zip(some, said, memories, strict=True):
                        feed.take(probabilities, memory)

    def finish(self, track: Track, lasts: float | None, end: float | None) -> Answer | None:
        """Ends a stream; the arguments are those of `Stream.finish`."""
        over = track.end(lasts)
        if over is None:
            return None
        self.advance([track])
        return track.close(over if end is None else end)

    def saved(self, track: Track) -> StreamState:
        """A stream of it between two frames."""
        state = track.state()
        return StreamState(state.values | {"model": self._fingerprint()}, state.arrays)

    def restore(self, track: Track, state: StreamState) -> None:
        """Goes on where that stream was; what goes wrong leaves a new one.

        Raises:
            LrcnError: it was a stream of another model, or it is damaged.
        """
        if state.values.get("model") != self._fingerprint():
            raise LrcnError(
                "The saved stream is one of another model: load the model that it was saved with."
            )
        try:
            track.restore(state)
        except (KeyError, TypeError, ValueError) as error:
            track.reset()
            raise LrcnError(f"The saved stream is damaged ({error}): begin a new one.") from error

    def _fingerprint(self) -> str:
        members = [
            (one.network.fingerprint, one.rate, one.weight, one.preparation.resize, one.preparation.steps)
            for one in self.members
        ]
        return fingerprint(self.labels, members)


class Stream:
    """A recogniser on one stream of frames.

    Time and memory per frame do not grow. A network that was trained in windows (`sampling.stride`) reads on without
    them, and the probabilities are those of its steps, whatever its head makes of a whole clip.

    Args:
        model: what `lrcn.load` gave, or a `Streamable`, which several streams can share.
        options: those of `StreamOptions`, by name.

    Raises:
        LrcnError: the model cannot stream.
    """

    def __init__(self, model: Loaded | Fused | Streamable, **options: Any) -> None:
        self.model = Streamable.of(model)
        self.options = StreamOptions(**options)
        self._track = Track(self.model.labels, self.model.members, self.options)

    @property
    def labels(self) -> tuple[str, ...]:
        """The K class names, in the order of the probabilities."""
        return self.model.labels

    @property
    def counts(self) -> Counts:
        """What it has seen since it began."""
        return self._track.counts

    def push(self, frame: Picture, time: float) -> Answer:
        """Takes the next frame.

        The network is shown, as in `lrcn.recognize`, the last frame that is not later at each of the times its rate
        asks for; so a frame may lead to no step, or to several where frames come slower than that.

        Args:
            frame: uint8 (H, W, 3) RGB, of any size, also another than the one before. Frames that a reader made with
                `model.resize` are taken as they are.
            time: seconds, later than the frame before.

        Raises:
            LrcnError: it is no frame, its time does not rise, or the model gives scores that are not numbers.
        """
        self._track.check(frame, time)
        self._track.take(frame, time)
        self.model.advance([self._track])
        return self._track.answer()

    def finish(self, lasts: float | None = None, end: float | None = None) -> Answer | None:
        """Ends the stream, and forgets everything: the next frame is the first of a new one.

        Args:
            lasts: seconds that the last frame is shown; as long as the one before it by default.
            end: seconds, where the last segment ends; where the last frame ends by default.

        Returns:
            What is still to be said, with every segment closed; None where there were no frames.
        """
        return self.model.finish(self._track, lasts, end)

    def reset(self) -> None:
        """Forgets everything, the open segment too."""
        self._track.reset()

    def state(self) -> StreamState:
        """All that is remembered, to be restored in another `Stream` or `StreamPool` of this model."""
        return self.model.saved(self._track)

    def restore(self, state: StreamState) -> None:
        """Goes on where that stream was, with this one's options.

        Raises:
            LrcnError: it was a stream of another model, or it is damaged.
        """
        self.model.restore(self._track, state)

    def save(self, path: str | Path) -> None:
        """Writes `state` to a file."""
        self.state().write(path)

    def load(self, path: str | Path) -> None:
        """Goes on from such a file.

        Raises:
            LrcnError: there is none, or it is one of another model.
        """
        self.restore(StreamState.read(path))
