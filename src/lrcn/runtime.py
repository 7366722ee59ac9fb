"""Exported models on ONNX Runtime or OpenVINO: torch is neither needed nor loaded.

    stream = RuntimeStream("exported/camera-moves")
    for frame, time in camera:              # frame: uint8 (H, W, 3) RGB of any size; time: seconds
        answer = stream.push(frame, time)   # an `lrcn.stream.Answer`

    RuntimeCaptioner("exported/captioner").caption("photo.jpg").caption

`lrcn export` writes the folder, which is all that is read. Beside an engine this takes numpy, OpenCV, PyAV, Pillow,
safetensors and PyYAML.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrcn.data.photo import PhotoSource, read_photo
from lrcn.data.tokenizer import UNKNOWN_ID, load_tokenizer
from lrcn.errors import LrcnError
from lrcn.exported import Exported, GraphFile, WordSettings, read_exported
from lrcn.runtime_engine import Arrays, Session, chosen_engine, open_session, softmax
from lrcn.runtime_words import Sentence
from lrcn.runtime_words import beam as beam_search
from lrcn.sentences import Caption, Told
from lrcn.stream import Member, Stream, Streamable

Image = NDArray[np.uint8]
"""uint8 (3,H,W), as a graph reads it."""

_AT_ONCE = 16
"""Streams in one batch; more are no faster."""


class RuntimeNetwork:
    """A recogniser's one-step graph, for one stream or many in one batch: a `lrcn.stream.Network`.

    A memory is the state, one row of each of its arrays.

    Args:
        graph: what the graph takes and gives.
        session: what runs it.
        fingerprint: text that differs where the weights do.
    """

    def __init__(self, graph: GraphFile, session: Session, fingerprint: str) -> None:
        self._graph, self._session = graph, session
        self.fingerprint = fingerprint
        self.at_once = _AT_ONCE

    def fresh(self) -> Arrays:
        """What a stream remembers before its first frame: nothing."""
        return _blank(self._graph, 1)

    def step(
        self, images: Sequence[Image], memories: Sequence[Arrays]
    ) -> tuple[NDArray[np.float32], list[Arrays]]:
        """The next image and the memory of each of B streams -> probabilities (B, K), and B memories."""
        given: Arrays = {self._graph.inputs[0].name: np.stack(images)} | _joined(memories)
        found = _in_batches(self._session, self._graph, given)
        states = {name: found[out] for name, out in self._graph.state.items()}
        if len(images) == 1:
            return softmax(found["scores"]), [states]
        # Copied, as a view would keep the whole batch for as long as the slowest of its streams keeps its row.
        after = [
            {name: state[row : row + 1].copy() for name, state in states.items()}
            for row in range(len(images))
        ]
        return softmax(found["scores"]), after

    def to_arrays(self, memory: Arrays) -> Arrays:
        """What is to be saved of a memory."""
        return memory

    def from_arrays(self, arrays: Arrays) -> Arrays:
        """The memory that was saved.

        Raises:
            ValueError: it is another network's.
        """
        fresh = self.fresh()
        if {name: value.shape for name, value in fresh.items()} != {
            name: value.shape for name, value in arrays.items()
        }:
            raise ValueError(f"a memory of {sorted(arrays)} is not that of this network")
        return {name: np.asarray(arrays[name], fresh[name].dtype) for name in fresh}


class _Runtime:
    """An exported folder and the engine that runs its graphs.

    Args:
        folder: what `lrcn export` wrote.
        engine: "onnxruntime", "openvino", or "auto": the first that is installed and reads it.
        int8: takes the graphs with 8-bit numbers.
        threads: of the CPU; None is as many as the engine thinks best.
        tasks: what the model must be for.

    Raises:
        LrcnError: the folder is no exported model of such a task, or no engine for it is installed.
    """

    def __init__(
        self,
        folder: str | Path,
        tasks: Sequence[str],
        *,
        engine: str = "auto",
        int8: bool = False,
        threads: int | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.exported: Exported = read_exported(folder)
        if self.exported.task not in tasks:
            raise LrcnError(
                f"{folder} is a model for the task {self.exported.task}, not {' or '.join(tasks)}."
            )
        self.engine = chosen_engine(self.exported.form, engine)
        if int8 and not any(graph.int8 for graph in self.exported.graphs.values()):
            raise LrcnError(f"{folder} has no 8-bit graph: export it with --int8, or leave int8 out.")
        self._int8, self._threads = int8, threads

    def file(self, name: str) -> Path:
        """Where a graph is.

        Raises:
            LrcnError: the model has no such graph.
        """
        graph = self.exported.graphs.get(name)
        if graph is None:
            raise LrcnError(
                f"{self.folder} has no graph {name}: a network that reads the future cannot stream, give it whole "
                "clips."
            )
        return self.folder / ((graph.int8 if self._int8 else None) or graph.file)

    def session(self, name: str) -> Session:
        """A graph, ready to run."""
        return open_session(self.file(name), self.engine, self._threads)


class RuntimeRecognizer(_Runtime):
    """An exported recogniser; the arguments are those of `RuntimeStream`."""

    def __init__(self, folder: str | Path, **options: Any) -> None:
        super().__init__(folder, ("recognize",), **options)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The K class names, in the order of the probabilities."""
        path = self.folder / "labels.json"
        try:
            labels = json.loads(path.read_text(encoding="utf-8"))
            return tuple(map(str, labels))
        except (OSError, TypeError, ValueError) as error:
            raise LrcnError(f"{path} cannot be read ({error}); copy it again.") from error

    @cached_property
    def streamable(self) -> Streamable:
        """What `lrcn.stream.Stream` and `lrcn.pool.StreamPool` take: one network for as many streams as you like.

        Raises:
            LrcnError: the network reads the future, or spreads its frames over the whole clip.
        """
        sampling = self.exported.sampling
        if sampling.spread == "uniform":
            raise LrcnError(
                f"{self.folder} spreads its frames over the whole clip, so it cannot stream: give it clips."
            )
        file = self.file("step")
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:32]
        network = RuntimeNetwork(self.exported.graphs["step"], self.session("step"), digest)
        return Streamable(self.labels, (Member(network, self.exported.preparation(), sampling.rate),))

    def judge(
        self, clips: NDArray[np.uint8], lengths: Sequence[int] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Whole clips at once: prepared frames uint8 (B,T,3,H,W) -> probabilities (B,T,K), and (B,K) of each clip.

        Args:
            clips: padded to one length.
            lengths: frames of each; None is T for all. What is said of frames past them means nothing.
        """
        counted = np.full(len(clips), clips.shape[1]) if lengths is None else np.asarray(lengths)
        found = self._clip.run({"frames": clips, "lengths": counted.astype(np.int64)})
        return softmax(found["scores"]), np.exp(found["log_probabilities"])

    @cached_property
    def _clip(self) -> Session:
        return self.session("clip")


class RuntimeStream(Stream):
    """One stream of an exported recogniser: all that `lrcn.stream.Stream` is, on another engine.

    Args:
        model: the exported folder, or a `RuntimeRecognizer`, which several streams can share.
        engine: "onnxruntime", "openvino", or "auto": the first that is installed and reads it.
        int8: takes the graph with 8-bit numbers.
        threads: of the CPU; None is as many as the engine thinks best.
        options: those of `lrcn.stream.StreamOptions`, by name; the folder says what the others are.

    Raises:
        LrcnError: the folder is no exported recogniser, it cannot stream, or no engine for it is installed.
    """

    def __init__(
        self,
        model: str | Path | RuntimeRecognizer,
        *,
        engine: str = "auto",
        int8: bool = False,
        threads: int | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(model, RuntimeRecognizer):
            model = RuntimeRecognizer(model, engine=engine, int8=int8, threads=threads)
        super().__init__(model.streamable, **asdict(model.exported.segments) | options)


class RuntimeCaptioner(_Runtime):
    """An exported captioner; the arguments are those of `RuntimeStream`."""

    def __init__(self, folder: str | Path, **options: Any) -> None:
        super().__init__(folder, ("caption",), **options)
        self.tokenizer = load_tokenizer(self.folder / "tokenizer.json")
        self._look, self._word = self.session("look"), self.session("word")
        self._preparation = self.exported.preparation()

    def caption(
        self,
        source: PhotoSource,
        *,
        beam: int | None = None,
        best: int = 1,
        max_length: int | None = None,
        length_penalty: float | None = None,
    ) -> Caption:
        """Writes about a photo; None is as the model was measured, though nothing is drawn at random here.

        Args:
            source: a file, a URL, or pixels uint8 (H,W,3).
            beam: sentences kept at a time; 1 is greedy.
            best: how many sentences.
            max_length: the most words of a sentence, its end included.
            length_penalty: sentences are ranked by log-probability / length ** this.

        Raises:
            LrcnError: the photo cannot be read, or more sentences are asked for than are kept.
        """
        usual = self.exported.words
        words = WordSettings(
            usual.beam if beam is None else beam,
            usual.max_length if max_length is None else max_length,
            usual.length_penalty if length_penalty is None else length_penalty,
        )
        if not 1 <= best <= words.beam:
            raise LrcnError(f"{best} sentences are asked for, and {words.beam} are kept: give a larger beam.")
        found = beam_search(
            self._step,
            self._looked(source),
            words.beam,
            best=best,
            max_length=words.max_length,
            length_penalty=words.length_penalty,
        )
        first, *others = (self._told(sentence) for sentence in found)
        name = "photo" if isinstance(source, np.ndarray) else str(source)
        return Caption(name, first.caption, first.log_prob, tuple(others))

    def _looked(self, source: PhotoSource) -> Arrays:
        """The state before the first word, one row."""
        photo = self._preparation.resize(read_photo(source)).transpose(2, 0, 1)[None]
        images, _ = self._preparation(np.ascontiguousarray(photo))
        shown = _in_batches(self._look, self.exported.graphs["look"], {"image": images})
        return _blank(self.exported.graphs["word"], 1) | shown

    def _step(self, words: NDArray[np.int64], state: Arrays) -> tuple[NDArray[np.float32], Arrays]:
        graph = self.exported.graphs["word"]
        found = _in_batches(self._word, graph, {"word": words, **state})
        scores = found["scores"]
        # The word for all unknown ones is never said.
        scores[:, UNKNOWN_ID] = -np.inf
        return scores, state | {name: found[out] for name, out in graph.state.items()}

    def _told(self, sentence: Sentence) -> Told:
        return Told(self.tokenizer.sentence(sentence.words, finished=sentence.finished), sentence.log_prob)


def _joined(memories: Sequence[Arrays]) -> Arrays:
    """The rows of several streams' states, one below the other."""
    if len(memories) == 1:
        return memories[0]
    return {name: np.concatenate([memory[name] for memory in memories]) for name in memories[0]}


def _blank(graph: GraphFile, rows: int) -> Arrays:
    """Zeros for all of a graph's state."""
    return {
        port.name: np.zeros((rows, *(int(size) for size in port.shape[1:])), port.dtype)
        for port in graph.inputs
        if port.name in graph.state
    }


def _in_batches(session: Session, graph: GraphFile, given: Arrays) -> Arrays:
    """A graph's outputs for any number of rows, also where the graph takes a fixed number of them at a time."""
    batch, count = graph.inputs[0].shape[0], len(next(iter(given.values())))
    if not isinstance(batch, int) or batch == count:
        return session.run(given)
    parts = []
    for first in range(0, count, batch):
        # What is missing in the last is filled up with its last row.
        rows = np.minimum(np.arange(first, first + batch), count - 1)
        parts.append(session.run({name: value[rows] for name, value in given.items()}))
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}
