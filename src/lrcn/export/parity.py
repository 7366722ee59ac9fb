"""How far a graph is from the model it was made of, on real frames: the film and the photos that ship."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lrcn.data.photo import read_photo
from lrcn.data.prepare import Preparation
from lrcn.data.tokenizer import EOS
from lrcn.data.video import open_video
from lrcn.export.graphs import NEXT
from lrcn.exported import GraphFile
from lrcn.models.captioner import Captioner
from lrcn.models.describer import Describer
from lrcn.models.joint import JointEmbedding
from lrcn.models.recognizer import Recognizer
from lrcn.models.shot_describer import ShotDescriber
from lrcn.runtime_engine import Arrays, Session, softmax

TOLERANCE = 1e-4
"""The largest difference of probabilities that counts as rounding."""

Frames = NDArray[np.uint8]

FILM = "big-buck-bunny.mp4"
PHOTOS = ("cat.jpg", "coffee.jpg", "galaxies.jpg", "rocket.jpg")

_WINDOW, _WATCHED = 16, 12
_WORDS = 20
# What is free must be right for more than one number of streams.
_GROUPS = (1, 3)


@dataclass(frozen=True)
class Parity:
    """What came of a comparison.

    Attributes:
        compared: frames or words.
        max_difference: the largest of any two probabilities.
        same_labels: share of them where both find the same label or word the most probable.
    """

    compared: int
    max_difference: float
    same_labels: float

    @property
    def holds(self) -> bool:
        """Whether they differ by rounding alone."""
        return self.max_difference <= TOLERANCE


@dataclass(frozen=True)
class Opened:
    """A graph that was written, and the engine that runs it."""

    graph: GraphFile
    session: Session

    @property
    def batch(self) -> int | None:
        """B where it is fixed."""
        size = self.graph.inputs[0].shape[0]
        return size if isinstance(size, int) else None

    def blank(self, rows: int) -> Arrays:
        """Zeros for all of its state."""
        return {
            port.name: np.zeros((rows, *(int(size) for size in port.shape[1:])), port.dtype)
            for port in self.graph.inputs
            if port.name in self.graph.state
        }

    def step(self, given: Mapping[str, NDArray[Any]], state: Arrays) -> tuple[Arrays, Arrays]:
        """One step: the outputs, and the next state."""
        after = self.session.run({**given, **state})
        return after, {name: after[out] for name, out in self.graph.state.items()}


def together(parts: Sequence[Parity]) -> Parity:
    """Several comparisons as one."""
    compared = sum(part.compared for part in parts)
    same = sum(part.same_labels * part.compared for part in parts) / max(compared, 1)
    return Parity(compared, max(part.max_difference for part in parts), same)


def film_frames(preparation: Preparation, most: int | None = None) -> Frames:
    """The film that ships as a network reads it, uint8 (T,3,H,W), every frame of it."""
    with open_video(_media(FILM), resize=preparation.resize) as reader:
        return preparation(reader.clip().frames[:most])[0]


def photo_frames(preparation: Preparation) -> Frames:
    """The photos that ship, and some frames of the film, uint8 (N,3,H,W)."""
    photos = [preparation.resize(read_photo(_media(name))) for name in PHOTOS]
    pictures = np.ascontiguousarray(np.stack(photos).transpose(0, 3, 1, 2))
    return np.concatenate([preparation(pictures)[0], film_frames(preparation)[::11]])


def recognizer_parity(model: Recognizer, graphs: Mapping[str, Opened], frames: Frames) -> dict[str, Parity]:
    """Of `step`, its state carried through the film, and of `clip`, on windows of it of several lengths."""
    compare = {"step": _steps, "clip": _clips}
    return {name: _judged(compare[name](model, opened, frames)) for name, opened in graphs.items()}


def captioner_parity(model: Captioner, graphs: Mapping[str, Opened], images: Frames) -> dict[str, Parity]:
    """Of `look` and `word` in turn, on the words that the model itself writes."""
    look, word = graphs["look"], graphs["word"]

    def pairs() -> Iterator[_Pair]:
        for part in _in_groups(images, word.batch):
            shown = look.session.run({"image": part})
            with torch.no_grad():
                state = model.initial_state(torch.from_numpy(part))
            yield from _words(model, state, word, shown)

    return {"word": _judged(pairs())}


def describer_parity(model: Describer, graphs: Mapping[str, Opened], frames: Frames) -> dict[str, Parity]:
    """Of `watch`, `ready` and `word` in turn, on the words that the model itself writes about pieces of the film.

    What reads no frames is given labels, vectors or features that are made up.
    """
    watch, ready, word = (graphs[name] for name in ("watch", "ready", "word"))
    piece = watch.graph.inputs[0].name

    def pairs() -> Iterator[_Pair]:
        for part in _in_groups(_sources(model, frames), word.batch):
            memory = watch.blank(len(part))
            # A label vector is one step.
            for now in [part] if part.ndim == 2 and part.dtype == np.float32 else part.swapaxes(0, 1):
                _, memory = watch.step({piece: np.ascontiguousarray(now)}, memory)
            begun = {name.removesuffix(NEXT): value for name, value in ready.session.run(memory).items()}
            with torch.no_grad():
                state = model.initial_state(torch.from_numpy(part))
            yield from _words(model, state, word, begun)

    return {"word": _judged(pairs())}


def shot_describer_parity(
    model: ShotDescriber, graphs: Mapping[str, Opened], frames: Frames, watched: Frames
) -> dict[str, Parity]:
    """Of `look` and `word` in turn, about shots of the film, and of the recogniser's `step`.

    Args:
        model: the model.
        graphs: that were written.
        frames: of the film, as key frames are prepared.
        watched: of the film, as the recogniser's frames are.
    """
    look, word, keys = graphs["look"], graphs["word"], model.config.key_frames
    shots = frames[: len(frames) // keys * keys : 5]
    shots = shots[: len(shots) // keys * keys].reshape(-1, keys, *frames.shape[1:])
    seen = np.random.default_rng(0).dirichlet(np.full(len(model.config.labels) or 1, 0.3), len(shots))

    def pairs() -> Iterator[_Pair]:
        for rows in _in_groups(np.arange(len(shots)), word.batch):
            given: Arrays = {"frames": shots[rows]}
            if model.config.labels:
                given["seen"] = seen[rows].astype(np.float32)
            with torch.no_grad():
                told = torch.from_numpy(given["seen"]) if "seen" in given else None
                state = model.initial_state(torch.from_numpy(given["frames"]), seen=told)
            yield from _words(model, state, word, look.session.run(given))

    found = {"word": _judged(pairs())}
    if model.recognizer is not None:
        found |= recognizer_parity(model.recognizer, {"step": graphs["step"]}, watched)
    return found


def joint_parity(model: JointEmbedding, graphs: Mapping[str, Opened], images: Frames) -> dict[str, Parity]:
    """Of `image` and `sentence`: of the numbers in their vectors, as they have no probabilities."""
    image, sentence = graphs["image"], graphs["sentence"]
    words = np.random.default_rng(0).integers(1, model.embedding.num_embeddings, (len(images), _WORDS))
    lengths = np.arange(len(words)) % _WORDS + 1

    def seen() -> Iterator[_Pair]:
        for part in _in_groups(images, image.batch):
            with torch.no_grad():
                expected = model.images(torch.from_numpy(part))
            yield expected.numpy(), image.session.run({"image": part})["vector"]

    def read() -> Iterator[_Pair]:
        for rows in _in_groups(np.arange(len(words)), sentence.batch):
            given = {"words": words[rows], "lengths": lengths[rows]}
            with torch.no_grad():
                expected = model.sentences(*map(torch.from_numpy, given.values()))
            yield expected.numpy(), sentence.session.run(given)["vector"]

    return {"image": _judged(seen()), "sentence": _judged(read())}


_Pair = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Probabilities (N, K) of the model and of the graph."""


def _steps(model: Recognizer, opened: Opened, frames: Frames) -> Iterator[_Pair]:
    rounds = [(opened.batch, -(-len(frames) // opened.batch))] if opened.batch else [(1, len(frames)), (3, 8)]
    for rows, steps in rounds:
        # Each stream begins at another place of the film.
        starts = np.arange(rows) * len(frames) // rows
        blank = opened.blank(rows)
        with torch.no_grad():
            state = model.initial_state(rows)
            for k in range(steps):
                frame = np.ascontiguousarray(frames[(starts + k) % len(frames)])
                scores, state = model.step(torch.from_numpy(frame), state)
                found, blank = opened.step({"frame": frame}, blank)
                yield softmax(scores.numpy()), softmax(found["scores"])


def _clips(model: Recognizer, opened: Opened, frames: Frames) -> Iterator[_Pair]:
    windows = np.stack([frames[k : k + _WINDOW] for k in range(0, len(frames) - _WINDOW + 1, _WINDOW)])
    for part in _in_groups(windows, opened.batch):
        lengths = np.full(len(part), _WINDOW)
        lengths[1::2] = _WINDOW // 2 + 1
        found = opened.session.run({"frames": part, "lengths": lengths})
        with torch.no_grad():
            verdict = model.judge(torch.from_numpy(part), torch.from_numpy(lengths))
        inside = np.arange(_WINDOW) < lengths[:, None]
        yield softmax(verdict.scores.numpy()[inside]), softmax(found["scores"][inside])
        yield verdict.log_probabilities.exp().numpy(), np.exp(found["log_probabilities"])


def _words(
    model: Captioner | Describer | ShotDescriber, state: Any, opened: Opened, begun: Arrays
) -> Iterator[_Pair]:
    words = torch.full((len(next(iter(state.values()))),), EOS)
    memory = opened.blank(len(words)) | {name: begun[name] for name in opened.graph.state if name in begun}
    shown = {port.name: begun[port.name] for port in opened.graph.inputs[1:] if port.name not in memory}
    for _ in range(_WORDS):
        with torch.no_grad():
            scores, state = model.step(words, state)
        found, memory = opened.step({"word": words.numpy(), **shown}, memory)
        yield softmax(scores.numpy()), softmax(found["scores"])
        words = scores.argmax(1)


def _sources(model: Describer, frames: Frames) -> NDArray[Any]:
    """What a describer is given, N rows of it."""
    config, rng = model.config, np.random.default_rng(0)
    if config.inputs == "frames":
        steps = min(_WATCHED, len(frames))
        return np.stack([frames[k : k + steps] for k in range(0, len(frames) - steps + 1, steps)])
    if config.inputs == "labels":
        return rng.integers(1, config.given + 1, (8, 4))
    steps_of_features = (6,) if config.inputs == "features" else ()
    return rng.random((8, *steps_of_features, config.given), np.float32)


def _in_groups(rows: NDArray[Any], batch: int | None) -> Iterator[NDArray[Any]]:
    """All rows, `batch` at a time, the first again where the last do not suffice; free, in groups of several sizes."""
    if batch is None:
        first = 0
        for size in (*_GROUPS, len(rows)):
            if first < len(rows):
                yield rows[first : first + size]
            first += size
        return
    for first in range(0, len(rows), batch):
        yield rows[np.arange(first, first + batch) % len(rows)]


def _judged(pairs: Iterator[_Pair]) -> Parity:
    compared, same, most = 0, 0, 0.0
    for expected, found in pairs:
        compared += len(expected)
        same += int((expected.argmax(1) == found.argmax(1)).sum())
        difference = float(np.abs(expected - found).max())
        # What is no number must not pass for a small one.
        most = max(most, difference if np.isfinite(difference) else np.inf)
    return Parity(compared, most, same / max(compared, 1))


def _media(name: str) -> Path:
    return Path(str(files("lrcn") / "assets" / "media" / name))
