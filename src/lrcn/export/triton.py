"""A model repository for NVIDIA Triton, which keeps the state of every stream itself (implicit state).

A client sends frames with a sequence id, the first with `sequence_start`, and gets scores; the state never leaves the
server. Field names are those of Triton's model_config.proto.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from lrcn.exported import GraphFile, Port
from lrcn.files import write_whole

_TYPES = {"uint8": "TYPE_UINT8", "int64": "TYPE_INT64", "float32": "TYPE_FP32"}

_BATCH = 16
_SEQUENCES = 1024
_IDLE_SECONDS = 60


def write_repository(folder: Path, name: str, onnx: Path, graph: GraphFile, labels: Sequence[str]) -> None:
    """Writes folder/NAME with config.pbtxt, labels.txt and 1/model.onnx.

    Args:
        folder: the model repository.
        name: of the model.
        onnx: the one-step graph.
        graph: its inputs and outputs.
        labels: names of the classes.
    """
    model = folder / name
    (model / "1").mkdir(parents=True)
    shutil.copyfile(onnx, model / "1" / "model.onnx")
    write_whole(model / "labels.txt", "".join(f"{label}\n" for label in labels))
    write_whole(model / "config.pbtxt", configuration(name, graph))


def configuration(name: str, graph: GraphFile) -> str:
    """The text of config.pbtxt."""
    inputs = [port for port in graph.inputs if port.name not in graph.state]
    outputs = [port for port in graph.outputs if port.name not in graph.state.values()]
    parts = [
        f'name: "{name}"',
        'backend: "onnxruntime"',
        f"max_batch_size: {_BATCH}",
        _listed("input", [_tensor(port) for port in inputs]),
        _listed("output", [[*_tensor(port), 'label_filename: "labels.txt"'] for port in outputs]),
        _sequences(graph) if graph.state else "dynamic_batching { }",
    ]
    return "\n".join(parts) + "\n"


def _sequences(graph: GraphFile) -> str:
    lines = [
        "sequence_batching {",
        f"  max_sequence_idle_microseconds: {_IDLE_SECONDS * 1_000_000}",
        "  oldest {",
        f"    max_candidate_sequences: {_SEQUENCES}",
        "  }",
    ]
    for port in graph.inputs:
        if port.name in graph.state:
            lines += _state(port, graph.state[port.name])
    return "\n".join([*lines, "}"])


def _state(port: Port, after: str) -> list[str]:
    kind = [f"data_type: {_TYPES[port.dtype]}", f"dims: {_sizes(port)}"]
    fields = [f'input_name: "{port.name}"', f'output_name: "{after}"', *kind]
    # Without it a stream would begin in whatever the memory held before.
    begins = [
        "initial_state {",
        *(f"  {line}" for line in (f'name: "{port.name}"', *kind, "zero_data: true")),
        "}",
    ]
    return ["  state {", *(f"    {line}" for line in [*fields, *begins]), "  }"]


def _listed(name: str, members: Sequence[Sequence[str]]) -> str:
    blocks = ["  {\n" + "".join(f"    {line}\n" for line in lines) + "  }" for lines in members]
    return f"{name} [\n" + ",\n".join(blocks) + "\n]"


def _tensor(port: Port) -> list[str]:
    return [f'name: "{port.name}"', f"data_type: {_TYPES[port.dtype]}", f"dims: {_sizes(port)}"]


def _sizes(port: Port) -> str:
    """Without the first, which is Triton's batch."""
    return f"[ {', '.join(map(str, port.shape[1:]))} ]"
