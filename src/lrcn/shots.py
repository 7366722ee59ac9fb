"""A film -> its shot list: from when to when each shot lasts, how the camera moves in it, and a sentence about it.

One pass over the frames does it. Every frame goes to the detector of cuts; ten a second, counted from the beginning of
each shot, go to the recogniser of moves, whose state begins anew with the shot; a few of these are kept as key frames,
for the captioner's CNN and the thumbnail. Memory holds one shot's candidates for key frames, and the shots whose
sentences are being written, however long the film is.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from lrcn.cuts import CutDetector
from lrcn.data.manifest import Row
from lrcn.data.picture import scale
from lrcn.data.sampling import Sampling
from lrcn.data.tokenizer import UNKNOWN_ID
from lrcn.data.video import VideoReader, open_video
from lrcn.errors import LrcnError
from lrcn.generate import Decoding, generate, without
from lrcn.predict import Progress, Source, source_name
from lrcn.predict_descriptions import Description, Shot, refuse_too_many
from lrcn.segments import Segment, SegmentTracker

if TYPE_CHECKING:
    from lrcn.models.recurrent import State
    from lrcn.models.shot_describer_folder import LoadedShotDescriber

Pixels = NDArray[np.uint8]

SHORTEST = 0.5
"""Seconds: a cut that comes sooner after the one before is a flash, or a change that nobody would call a shot."""

CHUNK = 32
"""Frames that go through the recogniser at a time."""

TOGETHER = 8
"""Shots whose sentences are written at a time."""

_CANDIDATES = 64
_THUMBNAIL, _QUALITY = 240, 80


@dataclass(frozen=True, eq=False)
class SeenShot:
    """What was seen in a shot.

    Attributes:
        start: seconds.
        end: seconds.
        frames: key frames, uint8 (F, S, S, 3).
        middle: the frame in its middle, uint8 (S, S, 3).
        seen: (K,), the recogniser's probabilities, mean over its frames; none without a recogniser.
        moves: what the camera does from when to when; none without a recogniser.
    """

    start: float
    end: float
    frames: Pixels
    middle: Pixels
    seen: NDArray[np.float32]
    moves: tuple[Segment, ...]


def describe_shots(
    loaded: LoadedShotDescriber,
    source: Source | Row,
    *,
    start: float = 0.0,
    end: float | None = None,
    shortest: float = SHORTEST,
    decoding: Decoding | None = None,
    best: int = 1,
    seed: int = 0,
    thumbnails: bool = True,
    recognizers: Sequence[Any] = (),
    progress: Progress | None = None,
) -> Description:
    """Writes the shot list of a video.

    Args:
        loaded: a describer of shots.
        source: a file, a folder of numbered frames, a URL, frames (T, H, W, 3) uint8, or a row of a manifest, whose
            own start and end count.
        start: seconds into the video to begin at.
        end: seconds to stop at; None for its end.
        shortest: seconds; a shot lasts as long or longer, but for the last.
        decoding: how sentences are chosen; None is as the model was measured.
        best: how many sentences about each shot.
        seed: of what is drawn at random.
        thumbnails: makes a small picture of each shot.
        recognizers: none, as the model has its own.
        progress: called with (seconds read so far, seconds in all or None) as the video is read.

    Raises:
        LrcnError: the video cannot be read or has no frames there, or an option does not suit the model.
    """
    if recognizers:
        raise LrcnError("This model has a recogniser of its own: leave the other one out.")
    decoding = loaded.decoding if decoding is None else decoding
    refuse_too_many(best, decoding)
    name = None
    if isinstance(source, Row):
        row = source
        name, start, end = row.id, row.start or start, end if row.end is None else row.end
        source = row.path
    path = source_name(source)
    shots: list[Shot] = []
    with open_video(source, resize=loaded.preprocess.resize) as reader, torch.inference_mode():
        shape = (reader.info.width, reader.info.height) if thumbnails else None
        seen = seen_shots(loaded, reader, start=start, end=end, shortest=shortest, progress=progress)
        while together := list(islice(seen, TOGETHER)):
            place = zlib.crc32(f"{path} {len(shots)}".encode("utf-8", "backslashreplace"))
            shots += _written(loaded, together, decoding, best, place + (seed << 32), shape)
        warning = reader.warning
    if not shots:
        raise LrcnError(f"{path} has no frames from {start:g} s on: give another start or end.")
    return Description(path, tuple(shots), name, warning=warning)


def seen_shots(
    loaded: LoadedShotDescriber,
    reader: VideoReader,
    *,
    start: float = 0.0,
    end: float | None = None,
    shortest: float = SHORTEST,
    progress: Progress | None = None,
) -> Iterator[SeenShot]:
    """The shots of a video that is open, each as soon as it has ended; the arguments are those of `describe_shots`."""
    cuts, shot, time = CutDetector(), None, start
    stop = reader.info.duration if end is None else end
    loaded.model.eval()
    for picture, time in reader.frames(start=start, end=end):
        if progress is not None:
            progress(time, stop)
        # The detector sees every frame, also of a shot that is too young to end.
        cut = cuts.push(picture)
        if shot is None:
            shot = _OpenShot(loaded, time)
        elif cut and time - shot.start >= shortest:
            yield shot.ended(time)
            shot = _OpenShot(loaded, time)
        shot.take(picture, time)
    if shot is not None:
        last = time + 1 / reader.info.rate
        yield shot.ended(last if end is None else min(last, end))


class KeyFrames:
    """Frames evenly spread over all that came, however many: every n-th is kept, and n doubles when there is no room.

    Args:
        most: frames kept at a time.
    """

    def __init__(self, most: int = _CANDIDATES) -> None:
        self.most = most
        self.count = 0
        self._every = 1
        self._kept: list[Pixels] = []

    def push(self, picture: Pixels) -> None:
        """Takes the next frame."""
        if self.count % self._every == 0:
            if len(self._kept) == self.most:
                self._kept = self._kept[::2]
                self._every *= 2
            if self.count % self._every == 0:
                self._kept.append(picture)
        self.count += 1

    def chosen(self, frames: int) -> Pixels:
        """The frames (F, S, S, 3) in the middle of F equal parts, or those kept that are nearest to them."""
        places = Sampling(frames=frames, spread="uniform").pick(self.count)
        nearest = np.minimum(np.rint(places / self._every).astype(int), len(self._kept) - 1)
        return np.stack([self._kept[place] for place in nearest])


class _OpenShot:
    """A shot that goes on: the frames of its grid, ten a second, as they come."""

    def __init__(self, loaded: LoadedShotDescriber, start: float) -> None:
        self.start = start
        self._loaded = loaded
        self._key_frames = KeyFrames()
        self._before: Pixels | None = None
        self._waiting: list[Pixels] = []
        self._state: State | None = None
        labels = loaded.model.config.labels
        self._sum = np.zeros(len(labels))
        self._tracker = SegmentTracker(labels) if labels else None
        self._moves: list[Segment] = []
        self._watched = 0

    def take(self, picture: Pixels, time: float) -> None:
        """The next frame, which is shown from `time` on."""
        self._show_until(time)
        self._before = picture

    def ended(self, end: float) -> SeenShot:
        """The shot as a whole."""
        self._show_until(end)
        self._watch()
        if self._tracker is not None:
            self._moves += self._tracker.close(end)
        frames = self._loaded.model.config.key_frames
        return SeenShot(
            self.start,
            end,
            self._key_frames.chosen(frames),
            self._key_frames.chosen(1)[0],
            (self._sum / max(self._watched, 1)).astype(np.float32),
            tuple(self._moves),
        )

    def _show_until(self, time: float) -> None:
        """The frame before is what was shown at the grid's points before `time`; a shot has one point at least."""
        rate = self._loaded.sampling.rate or 10.0
        # The clocks of containers round, and a point that falls on a frame belongs to it.
        while self._before is not None and (
            not self._key_frames.count or self.start + self._key_frames.count / rate < time - 1e-3
        ):
            self._key_frames.push(self._before)
            self._waiting.append(self._before)
            if len(self._waiting) == CHUNK:
                self._watch()

    def _watch(self) -> None:
        """Gives the frames that wait to the recogniser."""
        recognizer = self._loaded.model.recognizer
        if recognizer is None or self._tracker is None or not self._waiting:
            self._waiting = []
            return
        resize = self._loaded.watched.resize
        small = np.stack([resize(frame) for frame in self._waiting]).transpose(0, 3, 1, 2)
        frames = torch.from_numpy(np.ascontiguousarray(small))[None].to(recognizer.classifier.weight.device)
        scores, self._state = recognizer.unroll(frames, state=self._state)
        rows = scores[0].softmax(-1).double().cpu().numpy()
        rate = self._loaded.sampling.rate or 10.0
        for row in rows:
            self._moves += self._tracker.push(self.start + self._watched / rate, row)
            self._watched += 1
        self._sum += rows.sum(axis=0)
        self._waiting = []


def _written(
    loaded: LoadedShotDescriber,
    shots: Sequence[SeenShot],
    decoding: Decoding,
    best: int,
    seed: int,
    shape: tuple[int, int] | None,
) -> list[Shot]:
    """The shots with sentences, and thumbnails where the film's (width, height) is given."""
    model = loaded.model
    device = model.decoder.bias.device
    pictures = np.stack([shot.frames for shot in shots]).transpose(0, 1, 4, 2, 3)
    frames = torch.from_numpy(np.ascontiguousarray(pictures)).to(device)
    seen = torch.from_numpy(np.stack([shot.seen for shot in shots])).to(device)
    step = without(model.step, [UNKNOWN_ID])
    state = model.initial_state(frames, seen=seen)
    found = generate(step, state, decoding, best=best, seeds=[seed + number for number in range(len(shots))])
    written = []
    for shot, sentences in zip(shots, found, strict=True):
        told = [
            (loaded.tokenizer.sentence(one.words, finished=one.finished), one.log_prob) for one in sentences
        ]
        labels = model.config.labels
        written.append(
            Shot(
                *told[0],
                shot.start,
                shot.end,
                tuple(told[1:]),
                move=labels[int(shot.seen.argmax())] if labels else None,
                moves=shot.moves,
                thumbnail=None if shape is None else thumbnail(shot.middle, *shape),
            )
        )
    return written


def thumbnail(picture: Pixels, width: int, height: int) -> bytes:
    """A small JPEG of a picture uint8 (S, S, 3) that was squashed from `width` x `height`."""
    share = _THUMBNAIL / max(width, height)
    small = scale(picture, max(1, round(width * share)), max(1, round(height * share)))
    encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    jpeg: bytes = encoded[1].tobytes()
    return jpeg
