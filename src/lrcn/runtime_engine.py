"""Engines that run an exported graph on a CPU: named numpy arrays in, named numpy arrays out."""

import ctypes
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from lrcn.errors import LrcnError
from lrcn.exported import Form

Engine = Literal["onnxruntime", "openvino"]
Precision = Literal["f32", "bf16"]
Arrays = dict[str, NDArray[Any]]

_READS: Mapping[Form, tuple[Engine, ...]] = {
    "onnx": ("onnxruntime", "openvino"),
    "openvino": ("openvino",),
    "pt2": (),
}
_INSTALL = {"onnxruntime": "pip install onnxruntime", "openvino": "pip install openvino"}


class Session(Protocol):
    """A graph that is ready to run."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """All outputs, by name, for all inputs."""
        ...


def chosen_engine(form: Form, engine: str = "auto") -> Engine:
    """The engine that runs graphs of this form; "auto" is the first that is installed.

    Raises:
        LrcnError: none is installed, or the one asked for cannot read them.
    """
    fits = _READS[form]
    if not fits:
        raise LrcnError(
            "A .pt2 graph runs in torch alone (torch.export.load): export the model to onnx or openvino."
        )
    if engine not in ("auto", *fits):
        raise LrcnError(f"The engine {engine} does not run {form} graphs: choose auto, {' or '.join(fits)}.")
    wanted = fits if engine == "auto" else tuple(name for name in fits if name == engine)
    for name in wanted:
        if find_spec(name) is not None:
            return name
    raise LrcnError(f"{wanted[0]} is not installed: {_INSTALL[wanted[0]]}.")


def open_session(
    file: Path, engine: Engine, threads: int | None = None, *, precision: Precision = "f32"
) -> Session:
    """Loads a graph.

    Args:
        file: the graph.
        engine: as `chosen_engine` gives it.
        threads: of the CPU; None is as many as the engine thinks best.
        precision: bf16 computes in half the bits where the CPU can, in OpenVINO alone.

    Raises:
        LrcnError: the file is missing or damaged.
    """
    if not file.is_file():
        raise LrcnError(
            f"{file.parent} is no complete exported model: {file.name} is missing; copy it there."
        )
    try:
        return _OnnxRuntime(file, threads) if engine == "onnxruntime" else _OpenVino(file, threads, precision)
    except Exception as error:  # both engines raise whatever their C++ gives
        reason = " ".join(str(error).split())[:200]
        raise LrcnError(f"{file} cannot be loaded by {engine} ({reason}); copy it again.") from error


class _SignalStack(ctypes.Structure):
    """What sigaltstack(2) of Linux reads and writes."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def _own_signal_stack() -> Iterator[None]:
    """Leaves the stack of signal handlers as it is.

    OpenVINO 2026.4 puts it into memory of its own as it compiles, and frees that with the model: of two models, it
    leaves that of the one that is gone, and the next signal, Ctrl-C say, ends the process.
    """
    if sys.platform != "linux":
        yield
        return
    sigaltstack = ctypes.CDLL(None).sigaltstack
    before = _SignalStack()
    known = sigaltstack(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if known:
            sigaltstack(ctypes.byref(before), None)


def softmax(scores: NDArray[Any]) -> NDArray[Any]:
    """Scores (..., K) -> probabilities."""
    likely = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(likely / likely.sum(-1, keepdims=True))


class _OnnxRuntime:
    def __init__(self, file: Path, threads: int | None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self._outputs = [port.name for port in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))


class _OpenVino:
    """A graph in OpenVINO, which is up to twice as fast where it knows every size.

    So it is compiled for one row from the start, and for other numbers of rows when they are first asked for.
    """

    def __init__(self, file: Path, threads: int | None, precision: Precision) -> None:
        import openvino

        # By itself OpenVINO computes in bfloat16 where the machine can, which is a hundred times less exact.
        self._settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
        }
        if threads:
            self._settings["INFERENCE_NUM_THREADS"] = threads
        self._core = openvino.Core()
        self._model = self._core.read_model(file)
        self._any: Any = None
        self._one = self._for_one_row()
        if self._one is None:
            self._any = self._request(self._model)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        arrays = {name: np.ascontiguousarray(value) for name, value in inputs.items()}
        if self._one is not None and all(len(value) == 1 for value in arrays.values()):
            request = self._one
        else:
            self._any = request = self._any or self._request(self._model)
        results = request.infer(arrays, share_inputs=True, share_outputs=True)
        # Copied, as the next run writes into the same memory.
        return {port.any_name: value.copy() for port, value in results.items()}

    def _for_one_row(self) -> Any:
        """None where rows are not all that is free, or not free."""
        free = {
            port.any_name: [size.is_dynamic for size in port.partial_shape] for port in self._model.inputs
        }
        if not all(first and not any(rest) for first, *rest in free.values()):
            return None
        model = self._model.clone()
        model.reshape({port.any_name: [1, *list(port.partial_shape)[1:]] for port in model.inputs})
        return self._request(model)

    def _request(self, model: Any) -> Any:
        with _own_signal_stack():
            return self._core.compile_model(model, "CPU", self._settings).create_infer_request()
