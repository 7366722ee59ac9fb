"""The README of an exported folder."""

from collections.abc import Mapping

from lrcn.export.int8 import Cost
from lrcn.export.parity import TOLERANCE, Parity
from lrcn.exported import Exported, GraphFile, Port

_USE = {
    "recognize": """\
from lrcn.runtime import RuntimeStream

stream = RuntimeStream("{folder}")
for frame, time in camera:              # frame: uint8 (H, W, 3) RGB of any size; time: seconds
    answer = stream.push(frame, time)
    print(answer.label, answer.probability)""",
    "caption": """\
from lrcn.runtime import RuntimeCaptioner

print(RuntimeCaptioner("{folder}").caption("photo.jpg").caption)""",
}

_FORMS = {"onnx": "ONNX", "openvino": "OpenVINO", "pt2": "torch.export"}


def card(exported: Exported, parity: Mapping[str, Parity], int8: Cost | None) -> str:
    """The text: what is here, how to use it, how exact it is."""
    parts = [f"# {exported.name} as {_FORMS[exported.form]} graphs", _graphs(exported), _parity(parity)]
    if int8 is not None:
        parts.append(f"The 8-bit graph: {int8.sentence()}")
    if exported.form != "pt2" and exported.task in _USE:
        parts.append(f"Without torch:\n\n```python\n{_USE[exported.task].format(folder='this-folder')}\n```")
    return "\n\n".join(parts) + "\n"


def _graphs(exported: Exported) -> str:
    lines = [
        "Pixels go in as uint8 RGB, channels first, resized as `export.json` says; the graphs normalise them. Letters "
        "are sizes that are free. A state begins at zero, and at the next step takes what came out as `NAME_next`.",
        "",
        "| graph | in | out |",
        "|---|---|---|",
    ]
    lines += [
        f"| `{graph.file}` | {_ports(graph.inputs)} | {_ports(graph.outputs)} |" for graph in _files(exported)
    ]
    return "\n".join(lines)


def _files(exported: Exported) -> list[GraphFile]:
    return list(exported.graphs.values())


def _ports(ports: tuple[Port, ...]) -> str:
    return ", ".join(f"{port.name} {port.dtype} ({', '.join(map(str, port.shape))})" for port in ports)


def _parity(parity: Mapping[str, Parity]) -> str:
    lines = [
        f"Compared with the model on real frames; more than {TOLERANCE:.0e} would have stopped the export.",
        "",
        "| graph | compared | largest difference | same label |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {part.compared} | {part.max_difference:.1e} | {part.same_labels:.1%} |"
        for name, part in parity.items()
    ]
    return "\n".join(lines)
