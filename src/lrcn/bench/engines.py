"""One camera on each engine that runs exported models, beside the bare CNN on the same engine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lrcn.bench.measuring import Rows, side_by_side
from lrcn.exported import Form, GraphFile, read_exported
from lrcn.runtime_engine import Engine, Precision, Session, open_session

if TYPE_CHECKING:
    from lrcn.models.folder import Loaded
    from lrcn.stream import Streamable

_FORMS: dict[Engine, Form] = {"onnxruntime": "onnx", "openvino": "openvino"}
Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class _Way:
    """An engine, and how exactly it computes.

    Attributes:
        engine: which.
        int8: whether the CNN is that with 8-bit numbers.
        precision: in which the rest is computed.
    """

    engine: Engine
    int8: bool = False
    precision: Precision = "f32"

    @property
    def name(self) -> str:
        """For the table."""
        return f"{self.engine} {'int8' if self.int8 else {'f32': 'fp32', 'bf16': 'bf16'}[self.precision]}"


def on_engines(
    loaded: Loaded, engines: Sequence[str], path: str, ready: Frames, calibrate: str, repeats: int
) -> Rows:
    """The CNN alone and a stream, both with decoding and resizing, on each engine, in each precision that it has.

    Args:
        loaded: a recogniser.
        engines: names of engines.
        path: a film.
        ready: its frames at the network's size, (T,H,W,3).
        calibrate: labelled clips for 8-bit numbers, and to measure what they cost; empty is the film that ships.
        repeats: passes, which take turns.
    """
    rows: Rows = []
    with _exported(loaded, engines, ready, calibrate) as folder:
        for way in _ways(engines):
            rows += _measured(way, folder / _FORMS[way.engine], path, ready, repeats)
    return rows


def _ways(engines: Sequence[str]) -> Iterator[_Way]:
    for name in engines:
        engine: Engine = "openvino" if name == "openvino" else "onnxruntime"
        yield _Way(engine)
        if engine == "openvino":
            yield _Way(engine, precision="bf16")
        yield _Way(engine, int8=True)


@contextmanager
def _exported(loaded: Loaded, engines: Sequence[str], ready: Frames, calibrate: str) -> Iterator[Path]:
    """A folder with the model in each form that is needed, and with its bare CNN beside the other graphs."""
    from lrcn.export.folder import export
    from lrcn.export.formats import onnx_to_openvino
    from lrcn.models.folder import save_model

    with TemporaryDirectory(prefix="lrcn-bench-") as name:
        folder = Path(name)
        save_model(folder / "model", loaded.model, loaded.preprocess, loaded.sampling)
        clips = [calibrate] if calibrate else []
        for form in dict.fromkeys(_FORMS[way.engine] for way in _ways(engines)):
            export(folder / "model", form, folder / form, int8=True, calibrate=clips)
        cnn = _write_cnn(loaded, folder, ready)
        for file in cnn:
            if (folder / "onnx").is_dir():
                shutil.copy(file, folder / "onnx")
            if (folder / "openvino").is_dir():
                onnx_to_openvino(file, folder / "openvino" / file.with_suffix(".xml").name)
        yield folder


def _write_cnn(loaded: Loaded, folder: Path, ready: Frames) -> list[Path]:
    """The CNN as an ONNX graph, as it is and with 8-bit numbers."""
    from lrcn.export.formats import open_graph, write_graph
    from lrcn.export.graphs import cnn_graph
    from lrcn.export.int8 import Sample, quantize
    from lrcn.export.parity import Opened

    file = write_graph(cnn_graph(loaded.model, loaded.preprocess.size), "onnx", folder)
    opened = Opened(file, open_graph(folder, file, "onnx"))
    narrow = folder / "cnn.int8.onnx"
    quantize(folder / file.file, narrow, opened, [Sample(_images(ready))])
    return [folder / file.file, narrow]


def _measured(way: _Way, folder: Path, path: str, ready: Frames, repeats: int) -> Rows:
    from lrcn.data.video import open_video
    from lrcn.stream import Stream

    streamable = _streamable(way, folder)
    cnn = _session(way, folder, GraphFile(_named(folder, "cnn"), (), (), int8=_named(folder, "cnn.int8")))
    images = _images(ready)
    resize = streamable.resize
    assert resize is not None

    def bare() -> int:
        for image in images:
            cnn.run({"frame": image[None]})
        return len(images)

    def bare_from_file() -> int:
        count = 0
        with open_video(path, resize=resize) as reader:
            for frame, _ in reader.frames():
                cnn.run({"frame": np.ascontiguousarray(frame.transpose(2, 0, 1))[None]})
                count += 1
        return count

    def streamed() -> int:
        one = Stream(streamable)
        for number, frame in enumerate(ready):
            one.push(frame, number / 10)
        return one.counts.steps

    def streamed_from_file() -> int:
        one = Stream(streamable)
        with open_video(path, resize=resize) as reader:
            for frame, at in reader.frames():
                one.push(frame, at)
        return one.counts.steps

    ready_ways: dict[str, Callable[[], int]] = {
        f"{way.name}, CNN alone": bare,
        f"{way.name}, stream, frames ready": streamed,
    }
    film_ways: dict[str, Callable[[], int]] = {
        f"{way.name}, CNN alone, from a file": bare_from_file,
        f"{way.name}, stream, from a file": streamed_from_file,
    }
    for warm_up in (bare, streamed):
        warm_up()
    rows = [
        *side_by_side(ready_ways, repeats, "ratio_to_cnn"),
        *side_by_side(film_ways, repeats, "ratio_to_cnn"),
    ]
    return [*rows, _exactness(way, folder, ready)]


def _exactness(way: _Way, folder: Path, ready: Frames) -> dict[str, Any]:
    """How far the answers are from those in single precision, and what 8 bits cost."""
    from lrcn.stream import Stream

    exact, own = Stream(_streamable(_Way(way.engine), folder)), Stream(_streamable(way, folder))
    pairs = [
        (exact.push(frame, at / 10).per_step, own.push(frame, at / 10).per_step)
        for at, frame in enumerate(ready)
    ]
    first, second = (np.concatenate(part) for part in zip(*pairs, strict=True))
    row: dict[str, Any] = {
        "name": f"{way.name}, answers",
        "same_label_as_fp32": round(float((first.argmax(1) == second.argmax(1)).mean()), 4),
        "largest_difference": round(float(np.abs(first - second).max()), 5),
    }
    if way.int8:
        cost = json.loads((folder / "parity.json").read_text(encoding="utf-8"))["int8"]
        row |= {name: cost[name] for name in ("clips", "accuracy", "accuracy_fp32") if cost["clips"]}
    return row


def _streamable(way: _Way, folder: Path) -> Streamable:
    """The exported model on an engine, at the rate of the frames it is given."""
    from lrcn.runtime import RuntimeNetwork, RuntimeRecognizer

    found = RuntimeRecognizer(folder, engine=way.engine, threads=1).streamable
    graph = read_exported(folder).graphs["step"]
    network = RuntimeNetwork(graph, _session(way, folder, graph), way.name)
    return replace(found, members=(replace(found.members[0], network=network, rate=None),))


def _session(way: _Way, folder: Path, graph: GraphFile) -> Session:
    file = folder / ((graph.int8 if way.int8 else None) or graph.file)
    return open_session(file, way.engine, 1, precision=way.precision)


def _named(folder: Path, name: str) -> str:
    """The file of a graph in the form that lies in a folder."""
    return next(path.name for path in folder.iterdir() if path.name in (f"{name}.onnx", f"{name}.xml"))


def _images(frames: Frames) -> Frames:
    """(T,H,W,3) -> (T,3,H,W)."""
    return np.ascontiguousarray(frames.transpose(0, 3, 1, 2))
