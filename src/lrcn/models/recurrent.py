"""RNN, GRU and LSTM stacks whose state is a value the caller holds.

The equations are those of Donahue et al. 2015, section 2 (no peepholes, a forget gate), in PyTorch's gate order and
parameter names, so that whole clips run on PyTorch's fused kernels and single steps on two small matrix products with
the same numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lrcn.errors import LrcnError

State = dict[str, Tensor]
"""What a network remembers: named tensors whose first dimension is B, one row a stream."""


@dataclass(frozen=True)
class RecurrentConfig:
    """What the recurrent network is.

    Attributes:
        unit: "lstm", "gru", "rnn" (tanh), or "none": every frame is judged alone.
        size: S, units in a layer.
        layers: depth of the stack; each layer reads the hidden state of the one below at the same step.
        dropout: on the output of the top layer, and between layers.
    """

    unit: Literal["lstm", "gru", "rnn", "none"] = "lstm"
    size: int = 256
    layers: int = 1
    dropout: float = 0.5

    def __post_init__(self) -> None:
        if self.size < 1 or self.layers < 1:
            raise LrcnError(
                f"recurrent.size is {self.size} and layers {self.layers}: both must be at least 1."
            )
        if not 0 <= self.dropout < 1:
            raise LrcnError(f"recurrent.dropout is {self.dropout}: give a number from 0 up to but without 1.")


class RecurrentStack(nn.Module):
    """features (B, T, D) -> outputs (B, T, S), with the state handed in and out.

    Args:
        inputs: D, size of an input feature.
        config: unit, size, depth, dropout; `unit: none` passes the features through.
    """

    def __init__(self, inputs: int, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        self.outputs = inputs if config.unit == "none" else config.size
        self.dropout = nn.Dropout(config.dropout)
        self.cells = nn.ModuleList()
        if config.unit != "none":
            network = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[config.unit]
            sizes = [inputs] + [config.size] * (config.layers - 1)
            self.cells.extend(network(size, config.size, batch_first=True) for size in sizes)
        self.names = {"lstm": ("h", "c"), "none": ()}.get(config.unit, ("h",))

    def initial_state(self, batch: int) -> State:
        """Zeros: {"h": (B, layers, S)} and for an LSTM {"c": (B, layers, S)}."""
        if not self.names:
            return {}
        weight = next(self.cells.parameters())
        return {name: weight.new_zeros(batch, self.config.layers, self.config.size) for name in self.names}

    def forward(
        self, features: Tensor, lengths: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Runs over a padded batch.

        Args:
            features: (B, T, D).
            lengths: (B,) valid steps of each row, 1..T; None is T for all. Steps past a row's length never matter.
            state: where to start from; None is zeros.

        Returns:
            Outputs (B, T, S), zero past each row's length, and the state after each row's last valid step.
        """
        if not self.names:
            return self.dropout(features), {}
        state = self.initial_state(features.shape[0]) if state is None else state
        after: dict[str, list[Tensor]] = {name: [] for name in self.names}
        for layer, cell in enumerate(self.cells):
            start = tuple(state[name][:, layer].unsqueeze(0).contiguous() for name in self.names)
            features, end = _run(cell, features, lengths, start)
            for name, value in zip(self.names, end, strict=True):
                after[name].append(value.squeeze(0))
            features = self.dropout(features)
        return features, {name: torch.stack(values, dim=1) for name, values in after.items()}

    def step(self, feature: Tensor, state: State) -> tuple[Tensor, State]:
        """One time step: feature (B, D) and state -> output (B, S) and the next state."""
        if not self.names:
            return self.dropout(feature), {}
        after: dict[str, list[Tensor]] = {name: [] for name in self.names}
        for layer, cell in enumerate(self.cells):
            end = _STEPS[self.config.unit](cell, feature, *(state[name][:, layer] for name in self.names))
            for name, value in zip(self.names, end, strict=True):
                after[name].append(value)
            feature = self.dropout(end[0])
        return feature, {name: torch.stack(values, dim=1) for name, values in after.items()}


def _run(
    cell: Any, features: Tensor, lengths: Tensor | None, start: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    initial = start if len(start) == 2 else start[0]
    if lengths is None:
        outputs, end = cell(features, initial)
    else:
        steps = features.shape[1]
        packed = pack_padded_sequence(features, lengths.cpu(), batch_first=True, enforce_sorted=False)
        packed_outputs, end = cell(packed, initial)
        outputs, _ = pad_packed_sequence(packed_outputs, batch_first=True, total_length=steps)
    return outputs, end if isinstance(end, tuple) else (end,)


def _lstm_step(cell: nn.Module, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    # By hand: nn.LSTM and oneDNN repack the weights at every call, ten times the cost of the step itself.
    gates = _linear(x, cell, "ih") + _linear(h, cell, "hh")
    i, f, g, o = gates.chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru_step(cell: nn.Module, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    reset_x, update_x, new_x = _linear(x, cell, "ih").chunk(3, dim=1)
    reset_h, update_h, new_h = _linear(h, cell, "hh").chunk(3, dim=1)
    update = (update_x + update_h).sigmoid()
    new = (new_x + (reset_x + reset_h).sigmoid() * new_h).tanh()
    return (new + update * (h - new),)


def _rnn_step(cell: nn.Module, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    return ((_linear(x, cell, "ih") + _linear(h, cell, "hh")).tanh(),)


def _linear(x: Tensor, cell: nn.Module, kind: str) -> Tensor:
    return nn.functional.linear(x, getattr(cell, f"weight_{kind}_l0"), getattr(cell, f"bias_{kind}_l0"))


_STEPS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "lstm": _lstm_step,
    "gru": _gru_step,
    "rnn": _rnn_step,
}
