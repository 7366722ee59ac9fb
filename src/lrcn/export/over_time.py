"""Networks over time in a graph of whole clips or sentences, whatever their number and length.

torch writes `nn.LSTM` out step by step, for one number of steps. ONNX has operators for the units of `recurrent.py`,
which engines run fast; in what is saved for torch itself the loop over `step` stays a loop.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from lrcn.exported import Form
from lrcn.models.reading import FrameReading
from lrcn.models.recurrent import RecurrentStack, State

# ONNX's operator for a unit, and the order of its gates by their places in PyTorch's.
_OPERATORS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "lstm": ("LSTM", (0, 3, 1, 2)),
    "gru": ("GRU", (1, 0, 2)),
    "rnn": ("RNN", (0,)),
    "caffe-rnn": ("RNN", (0,)),
}
_OPSET = 14


class OverTime(nn.Module):
    """A recurrent stack over time: features (B, T, D) and lengths (B,) -> outputs (B, T, S), or (B, T, 2 S).

    What stands past a length means nothing.
    """

    def __init__(self, stack: RecurrentStack, form: Form) -> None:
        super().__init__()
        kind = _Loop if form == "pt2" else _Operator
        ways = ("", "_reverse") if stack.config.bidirectional else ("",)
        self.layers = nn.ModuleList(
            nn.ModuleList(kind(_one_way(stack, cell, way)) for way in ways) for cell in stack.cells
        )

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        outputs = features.transpose(0, 1)
        for layer in self.layers:
            forward, *backward = cast("nn.ModuleList", layer)
            parts = [forward(outputs)]
            # Turned about by hand: OpenVINO's operators for it do not mind the lengths.
            parts += [_turned(way(_turned(outputs, lengths)), lengths) for way in backward]
            outputs = torch.cat(parts, dim=2)
        return outputs.transpose(0, 1)


class ReadingOverTime(nn.Module):
    """A recogniser's reading over time: maps (B, T, ...) -> features (B, T, D)."""

    def __init__(self, reading: FrameReading, form: Form) -> None:
        super().__init__()
        self.reading = reading
        self.loops = form == "pt2" and reading.looks_back

    def forward(self, maps: Tensor) -> Tensor:
        state = self.reading.initial_state(maps.shape[0])
        if not self.loops:
            features: Tensor = self.reading(maps, state)
            return features

        def step(before: State, now: Tensor) -> tuple[State, Tensor]:
            frame = now[:, None]
            return _new(self.reading.after(frame)), self.reading(frame, before)[:, 0]

        return _scanned(step, state, maps.transpose(0, 1)).transpose(0, 1)


class _Operator(nn.Module):
    """One layer in one direction, (T, B, D) -> (T, B, S), as ONNX's own operator."""

    inward: Tensor
    across: Tensor
    bias: Tensor

    def __init__(self, stack: RecurrentStack) -> None:
        super().__init__()
        self.cell: Any = stack.cells[0]
        self.operator, order = _OPERATORS[stack.config.unit]
        self.settings: dict[str, Any] = {"hidden_size": stack.config.size}
        if stack.config.unit == "gru":
            self.settings["linear_before_reset"] = 1

        def ordered(name: str) -> Tensor:
            gates = getattr(self.cell, name).detach().chunk(len(order))
            return torch.cat([gates[place] for place in order])

        self.register_buffer("inward", ordered("weight_ih_l0")[None])
        self.register_buffer("across", ordered("weight_hh_l0")[None])
        self.register_buffer("bias", torch.cat([ordered("bias_ih_l0"), ordered("bias_hh_l0")])[None])

    def forward(self, below: Tensor) -> Tensor:
        outputs: Tensor = torch.onnx.ops.symbolic(
            self.operator,
            (below, self.inward, self.across, self.bias),
            self.settings,
            dtype=below.dtype,
            shape=(below.shape[0], 1, below.shape[1], self.settings["hidden_size"]),
            version=_OPSET,
        )
        outputs = outputs.squeeze(1)
        return self.cell.shown(outputs) if hasattr(self.cell, "shown") else outputs


class _Loop(nn.Module):
    """The same as torch's own loop over `step`."""

    def __init__(self, stack: RecurrentStack) -> None:
        super().__init__()
        self.stack = stack

    def forward(self, below: Tensor) -> Tensor:
        def step(before: State, now: Tensor) -> tuple[State, Tensor]:
            output, after = self.stack.step(now, before)
            return _new(after), output

        return _scanned(step, self.stack.initial_state(below.shape[1]), below)


def _one_way(stack: RecurrentStack, cell: nn.Module, way: str) -> RecurrentStack:
    """One layer of a stack in one direction, as a stack of its own."""
    weights = {
        name.removesuffix(way): value
        for name, value in cell.state_dict().items()
        if name.endswith("_reverse") == bool(way)
    }
    config = replace(stack.config, layers=1, bidirectional=False)
    alone = RecurrentStack(weights["weight_ih_l0"].shape[1], config).eval()
    alone.cells[0].load_state_dict(weights)
    return alone


def _turned(values: Tensor, lengths: Tensor) -> Tensor:
    """Values (T, B, D) of each row from its last to its first; what is past its length stays where it is."""
    place = torch.arange(values.shape[0])[:, None]
    place = torch.where(place < lengths, lengths - 1 - place, place)
    return values.gather(0, place[..., None].expand(-1, -1, values.shape[2]))


def _scanned(step: Any, state: State, values: Tensor) -> Tensor:
    outputs: Tensor = scan(step, state, values)[1]
    return outputs


def _new(state: State) -> State:
    # A loop may hand on no tensor that it was given.
    return {name: value.clone() for name, value in state.items()}
