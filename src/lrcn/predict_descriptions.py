"""A video, features of one, or labels -> a sentence about it."""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lrcn.data.descriptions import given_labels
from lrcn.data.features import SUFFIXES, located, span_of
from lrcn.data.manifest import Row
from lrcn.data.tokenizer import UNKNOWN_ID
from lrcn.data.video import open_video
from lrcn.errors import LrcnError
from lrcn.generate import Decoding, generate, without
from lrcn.predict import Failure, Progress, sampled_frames

if TYPE_CHECKING:
    from lrcn.data.slots import Slots
    from lrcn.models.describer_folder import LoadedDescriber
    from lrcn.models.folder import Loaded
    from lrcn.models.fusion import Fused
    from lrcn.models.recurrent import State
    from lrcn.models.shot_describer_folder import LoadedShotDescriber
    from lrcn.segments import Segment

Given = Row | str
"""A row of a manifest, or the path or URL of a video, or of a file of features."""

CHUNK = 32
"""Frames, or steps of features, that are read at a time."""


@dataclass(frozen=True)
class Shot:
    """A stretch of a video and what was written about it.

    Attributes:
        sentence: as people read it.
        log_prob: natural logarithm of its probability, its end included.
        start: seconds.
        end: seconds; None where it is not known, as of labels alone.
        others: the next best sentences, each with its log-probability, where more than one was asked for.
        move: what the camera does for the most part, where the model watches it.
        moves: what it does from when to when.
        thumbnail: a small JPEG of the middle, where one was made.
    """

    sentence: str
    log_prob: float
    start: float = 0.0
    end: float | None = None
    others: tuple[tuple[str, float], ...] = ()
    move: str | None = None
    moves: tuple[Segment, ...] = ()
    thumbnail: bytes | None = field(default=None, repr=False)

    def to_json(self, *, thumbnails: bool = False) -> dict[str, Any]:
        """Plain values; times have 3 decimals, log-probabilities and scores 4; thumbnails are JPEG in base64."""
        others = [{"sentence": text, "log_prob": round(log_prob, 4)} for text, log_prob in self.others]
        moves = {"move": self.move, "moves": [_plain(move) for move in self.moves]}
        return {
            "start": round(self.start, 3),
            "end": None if self.end is None else round(self.end, 3),
            "sentence": self.sentence,
            "log_prob": round(self.log_prob, 4),
            **({"others": others} if others else {}),
            **({} if self.move is None else moves),
            **({"thumbnail": b64encode(self.thumbnail).decode()} if thumbnails and self.thumbnail else {}),
        }


def _plain(move: Segment) -> dict[str, Any]:
    times = {"start": round(move.start, 3), "end": round(move.end, 3)}
    return {**times, "label": move.label, "score": round(move.score, 4)}


@dataclass(frozen=True)
class Description:
    """What a describer wrote about one video.

    Attributes:
        path: where it came from, as it was given.
        shots: in the order of time; a description of the whole is one shot.
        id: the name of the row it came from.
        labels: the most probable labels, where it was written from recognised ones: slot -> label.
        warning: one sentence when a part of the video could not be decoded.
    """

    path: str
    shots: tuple[Shot, ...]
    id: str | None = None
    labels: dict[str, str] | None = None
    warning: str | None = None

    def to_json(self, *, thumbnails: bool = False) -> dict[str, Any]:
        """The JSONL record: plain values that `json.dumps` takes; without thumbnails unless they are asked for."""
        record = {"id": self.id, "labels": self.labels, "warning": self.warning}
        return {
            "path": self.path,
            "shots": [shot.to_json(thumbnails=thumbnails) for shot in self.shots],
            **{name: value for name, value in record.items() if value is not None},
        }


def describe(
    loaded: LoadedDescriber | LoadedShotDescriber,
    given: Given,
    *,
    recognizers: Sequence[Loaded | Fused] = (),
    start: float = 0.0,
    end: float | None = None,
    decoding: Decoding | None = None,
    best: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> Description:
    """Writes about a video, whose steps are read `CHUNK` at a time: memory does not grow with their number.

    Args:
        loaded: a describer; one of shots is told as `lrcn.shots.describe_shots` has it.
        given: what is written about; a row's own start and end count.
        recognizers: of a describer that is given labels: models that say them of the video, each for the slot whose
            labels it shares most of; without any, the row must have them.
        start: seconds into a video to begin at.
        end: seconds to stop at; None for its end.
        decoding: how sentences are chosen; None is as the model was measured.
        best: how many sentences.
        seed: of what is drawn at random.
        progress: called with (seconds read so far, seconds in all or None) as a video is read.

    Raises:
        LrcnError: what is given cannot be read, is not what the model reads, or more sentences are asked for than a
            beam or a number of samples gives.
    """
    from lrcn.models.describer_folder import LoadedDescriber

    if not isinstance(loaded, LoadedDescriber):
        from lrcn.shots import describe_shots

        read: dict[str, Any] = {"start": start, "end": end, "recognizers": recognizers, "progress": progress}
        return describe_shots(loaded, given, **read, decoding=decoding, best=best, seed=seed)
    decoding = loaded.decoding if decoding is None else decoding
    refuse_too_many(best, decoding)
    row = given if isinstance(given, Row) else Row(given, start=start or None, end=end)
    loaded.model.eval()
    labels = warning = None
    last = row.end
    with torch.inference_mode():
        if loaded.slots is not None:
            if recognizers:
                row = _recognised(loaded.slots, row, recognizers, progress)
                labels = _most_probable(loaded.slots, row)
            state = _from_labels(loaded, loaded.slots, row)
        elif loaded.model.config.inputs == "features":
            state = _from_features(loaded, row)
        else:
            state, last, warning = _from_frames(loaded, row, progress)
        name = zlib.crc32((row.id or row.path).encode("utf-8", "backslashreplace"))
        step = without(loaded.model.step, [UNKNOWN_ID])
        (found,) = generate(step, state, decoding, best=best, seeds=[name + (seed << 32)])
    told = [(loaded.tokenizer.sentence(one.words, finished=one.finished), one.log_prob) for one in found]
    shot = Shot(*told[0], row.start or 0.0, last, tuple(told[1:]))
    return Description(row.path, (shot,), row.id, labels, warning)


def refuse_too_many(best: int, decoding: Decoding) -> None:
    """Refuses to give more sentences than are kept while they are written.

    Raises:
        LrcnError: `best` is not from 1 to that number.
    """
    most = decoding.samples or decoding.beam
    if not 1 <= best <= most:
        raise LrcnError(
            f"{best} sentences are asked for, and {most} are kept: give a larger beam, or more samples."
        )


def describe_many(
    loaded: LoadedDescriber | LoadedShotDescriber, given: Iterable[Given], **options: Any
) -> Iterator[Description | Failure]:
    """Describes one after the other; one that cannot be read gives a `Failure` and the rest goes on."""
    for one in given:
        try:
            yield loaded.describe(one, **options)
        except LrcnError as error:
            yield Failure(one.path if isinstance(one, Row) else one, str(error), error)


# ---- labels ----


def _from_labels(loaded: LoadedDescriber, slots: Slots, row: Row) -> State:
    if not any(slots.of_row(row).values()):
        raise LrcnError(
            f"{row.path} says nothing of {', '.join(slots.labels)}: give a manifest that has these fields, or a "
            "recogniser that sees them."
        )
    kind: Any = loaded.model.config.inputs
    return loaded.model.initial_state(given_labels(slots, kind, row)[None].to(_device(loaded)))


def _recognised(
    slots: Slots, row: Row, recognizers: Sequence[Loaded | Fused], progress: Progress | None
) -> Row:
    """The row with the probabilities of the recognisers in its slots."""
    found: dict[str, dict[str, float]] = {}
    for recognizer in recognizers:
        shared = {slot: len(set(labels) & set(recognizer.labels)) for slot, labels in slots.labels.items()}
        slot = max(shared, key=shared.__getitem__)
        if not shared[slot] or slot in found:
            raise LrcnError(
                f"The recogniser of {', '.join(recognizer.labels[:3])} ... has no slot of its own among "
                f"{', '.join(slots.labels)}: give one whose labels the describer was trained on."
            )
        seen = recognizer.recognize(row.path, start=row.start or 0.0, end=row.end, progress=progress)
        found[slot] = seen.probabilities
    return replace(row, extra={**row.extra, **found})


def _most_probable(slots: Slots, row: Row) -> dict[str, str]:
    return {
        slot: max(said, key=said.__getitem__)
        for slot, said in slots.of_row(row).items()
        if isinstance(said, dict) and said
    }


# ---- frames, and what was made of them ----


def _from_features(loaded: LoadedDescriber, row: Row) -> State:
    if not row.path.endswith(SUFFIXES):
        raise LrcnError(
            f"{row.path} is no file of features, which this model reads: give one of {', '.join(SUFFIXES)}."
        )
    array, model = located(row), loaded.model
    if array.size != model.config.given:
        raise LrcnError(
            f"{row.path} has {array.size} features a step, and this model reads {model.config.given}: give features of "
            "the network it was trained on."
        )
    first, last = span_of(row, array.steps, 0.0)
    if loaded.sampling.spread == "uniform":
        chosen = torch.from_numpy(loaded.sampling.pick(last - first))
        return model.initial_state(array.read(first, last)[chosen][None].to(_device(loaded)))
    memory = model.begin(1)
    for piece in array.pieces(CHUNK, first, last):
        memory = model.watch(piece[None].to(_device(loaded)), memory)
    return model.ready(memory)


def _from_frames(
    loaded: LoadedDescriber, row: Row, progress: Progress | None
) -> tuple[State, float, str | None]:
    """The state after a video's frames, when they end, and a warning where it is damaged."""
    model, preparation = loaded.model, loaded.preprocess.preparation()
    start = row.start or 0.0
    memory, times = model.begin(1), []
    with open_video(row.path, resize=preparation.resize) as reader:
        frames = sampled_frames(
            reader, preparation, loaded.sampling, row.path, start, row.end, CHUNK, progress
        )
        while chunk := list(islice(frames, CHUNK)):
            pictures = torch.from_numpy(np.stack([frame for frame, _ in chunk]))
            memory = model.watch(pictures[None].to(_device(loaded)), memory)
            times = [time for _, time in chunk][-2:]
        rate, warning = loaded.sampling.rate or reader.info.rate, reader.warning
    if not times:
        raise LrcnError(f"{row.path} has no frames from {start:g} s on: give another start or end.")
    return model.ready(memory), row.end or times[-1] + 1 / rate, warning


def _device(loaded: LoadedDescriber) -> torch.device:
    return loaded.model.decoder.bias.device
