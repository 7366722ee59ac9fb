"""Graphs as files: ONNX, OpenVINO, .pt2."""

import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export import ExportedProgram

from lrcn.errors import LrcnError
from lrcn.export.graphs import NEXT, Graph
from lrcn.exported import SUFFIXES, Form, GraphFile, Port
from lrcn.runtime_engine import Arrays, Session, chosen_engine, open_session

_NEEDS: Mapping[Form, tuple[tuple[str, ...], str]] = {
    "onnx": (("onnx", "onnxscript", "onnxruntime"), "pip install 'lrcn[export]'"),
    "openvino": (("onnx", "onnxscript", "openvino"), "pip install 'lrcn[export,openvino]'"),
    "pt2": ((), ""),
}
_OPSET = 20
_LARGEST = 4096


def check_installed(form: Form, *, int8: bool = False) -> None:
    """Looks for what writing and checking this form takes, before any work.

    Raises:
        LrcnError: it is not installed, or the form has no 8-bit graphs.
    """
    packages, command = _NEEDS[form]
    if int8:
        if form == "pt2":
            raise LrcnError(
                "A .pt2 has no 8-bit graph: export to onnx or openvino for --int8, or leave it out."
            )
        packages = (*packages, "onnxruntime")
    for package in packages:
        if find_spec(package) is None:
            raise LrcnError(f"Export to {form} needs {package}, which is not installed: {command}.")


def write_graph(graph: Graph, form: Form, folder: Path, *, free: bool = True) -> GraphFile:
    """Writes a graph as folder/NAME.SUFFIX.

    Args:
        graph: what is written.
        form: in what.
        folder: where.
        free: whether B, the number of streams, clips or sentences, is left open.

    Raises:
        LrcnError: torch or the engine's converter cannot make a graph of this network.
    """
    axes = [
        {place: letter for place, letter in enumerate(graph.letters(name)) if free or letter != "B"}
        for name in graph.inputs
    ]
    file = folder / f"{graph.name}{SUFFIXES[form]}"
    with warnings.catch_warnings(), torch.no_grad():
        # What torch and its exporter tell their own developers.
        warnings.simplefilter("ignore")
        try:
            if form == "pt2":
                program = _write_pt2(graph, axes, file)
            else:
                onnx = folder / f"{graph.name}.onnx"
                program = _write_onnx(graph, axes, onnx)
                if form == "openvino":
                    onnx_to_openvino(onnx, file)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # the exporters raise whatever their parts do
            raise LrcnError(
                f"The graph {graph.name} of this network cannot be written as {form} ({type(error).__name__}): try "
                "another form, or report it with what --debug shows."
            ) from error
    outputs = [node.meta["val"] for node in program.graph.output_node().args[0]]
    return _described(graph, outputs, file.name, free)


def onnx_to_openvino(onnx: Path, file: Path) -> None:
    """Writes an ONNX file as file.xml and file.bin, its numbers as they are."""
    import openvino

    openvino.save_model(openvino.Core().read_model(onnx), file, compress_to_fp16=False)


def open_graph(folder: Path, graph: GraphFile, form: Form, *, int8: bool = False) -> Session:
    """A written graph, ready to run in the engine its form is made for."""
    if form == "pt2":
        return _Pt2(folder / graph.file, graph)
    return open_session(folder / ((graph.int8 if int8 else None) or graph.file), chosen_engine(form))


class _Pt2:
    def __init__(self, file: Path, graph: GraphFile) -> None:
        self._program: Any = torch.export.load(file).module()
        self._graph = graph

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        given = [torch.from_numpy(inputs[port.name]) for port in self._graph.inputs]
        with torch.no_grad():
            results = self._program(*given)
        return {port.name: result.numpy() for port, result in zip(self._graph.outputs, results, strict=True)}


def _write_onnx(graph: Graph, axes: list[dict[int, str]], file: Path) -> ExportedProgram:
    program = torch.onnx.export(
        graph.module.eval(),
        tuple(graph.inputs.values()),
        dynamo=True,
        dynamic_shapes=(tuple(axes),),
        input_names=list(graph.inputs),
        output_names=list(graph.outputs),
        opset_version=_OPSET,
        verbose=False,
    )
    assert program is not None
    assert program.exported_program is not None
    program.save(file, external_data=False)
    return program.exported_program


def _write_pt2(graph: Graph, axes: list[dict[int, str]], file: Path) -> ExportedProgram:
    sizes = {
        letter: torch.export.Dim(letter, min=1, max=_LARGEST) for axis in axes for letter in axis.values()
    }
    free = tuple({place: sizes[letter] for place, letter in axis.items()} for axis in axes)
    program = torch.export.export(
        graph.module.eval(), tuple(graph.inputs.values()), dynamic_shapes=(free,), strict=graph.strict
    )
    torch.export.save(program, file)
    return program


def _described(graph: Graph, outputs: Sequence[Tensor], file: str, free: bool) -> GraphFile:
    batch = len(next(iter(graph.inputs.values())))

    def port(name: str, example: Tensor) -> Port:
        letters = [batch if letter == "B" and not free else letter for letter in graph.letters(name)]
        rest = (int(size) for size in example.shape[len(letters) :])
        return Port(name, str(example.dtype).removeprefix("torch."), (*letters, *rest))

    return GraphFile(
        file,
        tuple(port(*item) for item in graph.inputs.items()),
        tuple(port(*item) for item in zip(graph.outputs, outputs, strict=True)),
        {name: f"{name}{NEXT}" for name in graph.state},
    )
