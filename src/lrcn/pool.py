"""Many streams through one network: what is due goes through it in batches, and each is answered as if alone.

pool = lrcn.StreamPool(lrcn.load("camera-moves"))
pool.add("door")
pool.add("yard")
answers = pool.step({"door": (frame, time), "yard": (other, when)})
answers["door"].label
last = pool.remove("yard")
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lrcn.data.picture import Picture
from lrcn.errors import LrcnError
from lrcn.stream import Streamable
from lrcn.stream_state import StreamState
from lrcn.track import Answer, Counts, StreamOptions, Track

if TYPE_CHECKING:
    from lrcn.models.folder import Loaded
    from lrcn.models.fusion import Fused

Name = TypeVar("Name", bound=Hashable)


class StreamPool(Generic[Name]):
    """A recogniser on streams that come and go, each with its own clock and its own pace.

    Answers are those of a `Stream` of its own, but for rounding: a batch is summed in another order.

    Args:
        model: what `lrcn.load` gave, or a `Streamable`.
        options: those of `StreamOptions`, by name; for all streams.

    Raises:
        LrcnError: the model cannot stream.
    """

    def __init__(self, model: Loaded | Fused | Streamable, **options: Any) -> None:
        self.model = Streamable.of(model)
        self.options = StreamOptions(**options)
        self._tracks: dict[Name, Track] = {}

    def __len__(self) -> int:
        return len(self._tracks)

    def __iter__(self) -> Iterator[Name]:
        return iter(self._tracks)

    def __contains__(self, name: object) -> bool:
        return name in self._tracks

    def add(self, name: Name, state: StreamState | None = None) -> None:
        """Begins a stream, or goes on with one that was saved.

        Raises:
            LrcnError: there is one of this name, or the state is another model's.
        """
        if name in self._tracks:
            raise LrcnError(f"There is a stream {name!r} in the pool already: remove it first.")
        track = Track(self.model.labels, self.model.members, self.options)
        if state is not None:
            self.model.restore(track, state)
        self._tracks[name] = track

    def step(self, frames: Mapping[Name, tuple[Picture, float]]) -> dict[Name, Answer]:
        """Takes the next frame of some of the streams.

        Args:
            frames: name -> (frame uint8 (H, W, 3) RGB, time in seconds), as `Stream.push` takes them.

        Raises:
            LrcnError: there is no such stream, or a frame is none or comes at a time that does not rise; then none of
                the streams took any. Or the model gives scores that are not numbers.
        """
        tracks = {name: self._track(name) for name in frames}
        for name, (frame, time) in frames.items():
            try:
                tracks[name].check(frame, time)
            except LrcnError as error:
                raise LrcnError(f"Stream {name!r}: {error}") from error
        for name, (frame, time) in frames.items():
            tracks[name].take(frame, time)
        self.model.advance(list(tracks.values()))
        return {name: track.answer() for name, track in tracks.items()}

    def remove(self, name: Name, lasts: float | None = None, end: float | None = None) -> Answer | None:
        """Ends a stream, as `Stream.finish` does, and lets it go.

        Raises:
            LrcnError: there is no such stream.
        """
        track = self._track(name)
        del self._tracks[name]
        return self.model.finish(track, lasts, end)

    def reset(self, name: Name) -> None:
        """Lets a stream forget everything.

        Raises:
            LrcnError: there is no such stream.
        """
        self._track(name).reset()

    def counts(self, name: Name) -> Counts:
        """What a stream has seen since it began.

        Raises:
            LrcnError: there is no such stream.
        """
        return self._track(name).counts

    def state(self, name: Name) -> StreamState:
        """All that is remembered of a stream, to be restored in a `Stream`, or in a `StreamPool` of this model.

        Raises:
            LrcnError: there is no such stream.
        """
        return self.model.saved(self._track(name))

    def _track(self, name: Name) -> Track:
        if name not in self._tracks:
            raise LrcnError(f"There is no stream {name!r} in the pool: add it first.")
        return self._tracks[name]
