"""RNN, GRU and LSTM stacks whose state is a value the caller holds.

The equations are those of Donahue et al. 2015, section 2 (no peepholes, a forget gate), in PyTorch's gate order and
parameter names, so that whole clips run on PyTorch's fused kernels and single steps on two small matrix products with
the same numbers. "caffe-rnn" is the paper's simple unit as its authors released it: a second tanh stands on the output,
z_t = tanh(W_hz h_t + b_z), h_t = tanh(W_xh x_t + W_hh h_t-1 + b_h) (caffe, rnn_layer.cpp).

Caffe's extra input that is the same at every step (W_xc_static, without a bias) is no case of its own: its columns
stand beside those of W_xc, and the vector beside every x_t.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence, pad_sequence

from lrcn.errors import LrcnError

State = dict[str, Tensor]
"""What a network remembers: named tensors whose first dimension is B, one row a stream."""


@dataclass(frozen=True)
class RecurrentConfig:
    """What the recurrent network is.

    Attributes:
        unit: "lstm", "gru", "rnn" (tanh), "caffe-rnn" (tanh, and once more on its output), or "none": every frame is
            judged alone.
        size: S, units in a layer.
        layers: depth of the stack; each layer reads the hidden state of the one below at the same step.
        dropout: on the output of the top layer, and between layers.
        one_bias: one bias vector a layer, as in the paper, in place of PyTorch's two (the second stays zero).
        init: "pytorch", or "caffe": weights uniform in +-`init_range`, biases zero; the classifier's normal, 0.01 wide.
        init_range: the released code has 0.01 for activities and 0.08 for captions.
        bidirectional: a second network of S units reads each layer's input from the end, and both outputs stand side by
            side: for whole clips alone, as what reads the future cannot stream.
    """

    unit: Literal["lstm", "gru", "rnn", "caffe-rnn", "none"] = "lstm"
    size: int = 256
    layers: int = 1
    dropout: float = 0.5
    one_bias: bool = False
    init: Literal["pytorch", "caffe"] = "pytorch"
    init_range: float = 0.01
    bidirectional: bool = False

    def __post_init__(self) -> None:
        if self.size < 1 or self.layers < 1:
            raise LrcnError(
                f"recurrent.size is {self.size} and layers {self.layers}: both must be at least 1."
            )
        if not 0 <= self.dropout < 1:
            raise LrcnError(f"recurrent.dropout is {self.dropout}: give a number from 0 up to but without 1.")
        if not self.init_range > 0:
            raise LrcnError(f"recurrent.init_range is {self.init_range}: give a number above 0.")
        if self.bidirectional and self.unit not in ("lstm", "gru", "rnn"):
            raise LrcnError(
                f"recurrent.bidirectional is true, which the unit {self.unit} cannot be: set recurrent.unit to lstm, "
                "gru or rnn."
            )


class _CaffeRNN(nn.RNN):
    """Caffe's RNN unit: (B, T, D) or packed -> z_1..T and the last h."""

    def __init__(self, inputs: int, size: int, **options: Any) -> None:
        super().__init__(inputs, size, **options)
        self.output = nn.Linear(size, size)

    def forward(self, features: Any, state: Any = None) -> Any:
        hidden, end = super().forward(features, state)
        if isinstance(hidden, PackedSequence):
            # Only the steps that are there: those past a row's end stay zero.
            return PackedSequence(self.shown(hidden.data), *hidden[1:]), end
        return self.shown(hidden), end

    def shown(self, hidden: Tensor) -> Tensor:
        """h_t -> z_t."""
        shown: Tensor = self.output(hidden).tanh()
        return shown


class RecurrentStack(nn.Module):
    """features (B, T, D) -> outputs (B, T, S), or (B, T, 2 S) in both directions, with the state handed in and out.

    Args:
        inputs: D, size of an input feature.
        config: unit, size, depth, dropout; `unit: none` passes the features through.
    """

    def __init__(self, inputs: int, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        self.outputs = inputs if config.unit == "none" else config.size * (1 + config.bidirectional)
        self.dropout = nn.Dropout(config.dropout)
        self.cells = nn.ModuleList()
        if config.unit != "none":
            network = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN, "caffe-rnn": _CaffeRNN}[config.unit]
            sizes = [inputs] + [self.outputs] * (config.layers - 1)
            options = {"batch_first": True, "bidirectional": config.bidirectional}
            self.cells.extend(network(size, config.size, **options) for size in sizes)
        self.names = {"lstm": ("h", "c"), "none": ()}.get(config.unit, ("h",))
        if config.bidirectional:
            self.names = ()
        self._initialize()

    def initial_state(self, batch: int) -> State:
        """Zeros: {"h": (B, layers, S)} and for an LSTM {"c": (B, layers, S)}; {} where nothing is carried."""
        if not self.names:
            return {}
        weight = next(self.cells.parameters())
        return {name: weight.new_zeros(batch, self.config.layers, self.config.size) for name in self.names}

    def forward(
        self,
        features: Tensor,
        lengths: Tensor | None = None,
        state: State | None = None,
        cont: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Runs over a padded batch, or over packed streams.

        Args:
            features: (B, T, D).
            lengths: (B,) valid steps of each row, 1..T; None is T for all. Steps past a row's length never matter.
            state: where to start from; None is zeros.
            cont: (B, T) sequence markers in place of `lengths`: 0 where a new sequence begins, else 1; the state is
                multiplied by them before use (recurrent_layer.cpp of the released code), so a row may hold several
                clips end to end.

        Returns:
            Outputs (B, T, S), zero past each row's length, and the state after each row's last valid step.

        Raises:
            LrcnError: a state is given to a network that reads the future.
        """
        if not self.cells:
            return self.dropout(features), {}
        if self.config.bidirectional and state is not None:
            raise LrcnError(NO_STREAM)
        if cont is not None:
            return self._packed(features, cont, state)
        state = self.initial_state(features.shape[0]) if state is None else state
        after: dict[str, list[Tensor]] = {name: [] for name in self.names}
        for layer, cell in enumerate(self.cells):
            start = tuple(state[name][:, layer].unsqueeze(0).contiguous() for name in self.names)
            features, end = _run(cell, features, lengths, start)
            for name, value in zip(self.names, end, strict=bool(self.names)):
                after[name].append(value.squeeze(0))
            features = self.dropout(features)
        return features, {name: torch.stack(values, dim=1) for name, values in after.items()}

    def step(self, feature: Tensor, state: State) -> tuple[Tensor, State]:
        """One time step: feature (B, D) and state -> output (B, S) and the next state.

        Raises:
            LrcnError: the network reads the future.
        """
        if not self.cells:
            return self.dropout(feature), {}
        if self.config.bidirectional:
            raise LrcnError(NO_STREAM)
        after: dict[str, list[Tensor]] = {name: [] for name in self.names}
        for layer, cell in enumerate(self.cells):
            memory = tuple(state[name][:, layer] for name in self.names)
            gates, before = _linear(feature, cell, "ih"), _linear(memory[0], cell, "hh")
            end = UPDATES[self.config.unit](gates, before, memory)
            for name, value in zip(self.names, end, strict=True):
                after[name].append(value)
            feature = self.dropout(cell.shown(end[0]) if isinstance(cell, _CaffeRNN) else end[0])
        return feature, {name: torch.stack(values, dim=1) for name, values in after.items()}

    def _packed(self, features: Tensor, cont: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Each stretch between two markers as a row of its own: one padded batch, one run of the fused kernels."""
        batch, steps = cont.shape
        begins = cont == 0
        begins[:, 0] = True
        first = begins.flatten().nonzero().flatten()
        lengths = torch.diff(first, append=first.new_tensor([batch * steps]))
        rows = first // steps
        if state is not None:
            goes_on = (cont.flatten()[first] != 0).view(-1, 1, 1)
            state = {name: torch.where(goes_on, state[name][rows], 0) for name in self.names}
        padded = pad_sequence(list(torch.split(features.flatten(0, 1), lengths.tolist())), batch_first=True)
        outputs, after = self(padded, lengths, state)
        inside = torch.arange(padded.shape[1], device=lengths.device) < lengths[:, None]
        last = torch.searchsorted(rows, torch.arange(batch, device=rows.device), right=True) - 1
        return outputs[inside].view(batch, steps, -1), {name: value[last] for name, value in after.items()}

    def _initialize(self) -> None:
        for name, parameter in self.cells.named_parameters():
            if self.config.init == "caffe":
                reach = self.config.init_range if parameter.ndim > 1 else 0.0
                nn.init.uniform_(parameter, -reach, reach)
            if self.config.one_bias and ".bias_hh" in name:
                nn.init.zeros_(parameter).requires_grad_(False)


NO_STREAM = (
    "recurrent.bidirectional is true, and a network that reads the future cannot stream: give it the whole clip at "
    "once, or train one that reads forward alone."
)


def _run(
    cell: Any, features: Tensor, lengths: Tensor | None, start: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    initial = (start if len(start) == 2 else start[0]) if start else None
    if lengths is None:
        outputs, end = cell(features, initial)
    else:
        steps = features.shape[1]
        packed = pack_padded_sequence(features, lengths.cpu(), batch_first=True, enforce_sorted=False)
        packed_outputs, end = cell(packed, initial)
        outputs, _ = pad_packed_sequence(packed_outputs, batch_first=True, total_length=steps)
    return outputs, end if isinstance(end, tuple) else (end,)


Memory = tuple[Tensor, ...]
"""What one layer remembers: (h,), or (h, c) of an LSTM."""


def _lstm(gates: Tensor, before: Tensor, memory: Memory) -> Memory:
    # By hand: nn.LSTM and oneDNN repack the weights at every call, ten times the cost of the step itself.
    i, f, g, o = (gates + before).chunk(4, dim=-1)
    c = f.sigmoid() * memory[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru(gates: Tensor, before: Tensor, memory: Memory) -> Memory:
    reset, update, new = gates.chunk(3, dim=-1)
    reset_before, update_before, new_before = before.chunk(3, dim=-1)
    candidate = (new + (reset + reset_before).sigmoid() * new_before).tanh()
    return (candidate + (update + update_before).sigmoid() * (memory[0] - candidate),)


def _rnn(gates: Tensor, before: Tensor, _memory: Memory) -> Memory:
    return ((gates + before).tanh(),)


UPDATES: Mapping[str, Callable[[Tensor, Tensor, Memory], Memory]] = {
    "lstm": _lstm,
    "gru": _gru,
    "rnn": _rnn,
    "caffe-rnn": _rnn,
}
"""The units: what the inputs and what h before add to the gates (..., gates), and the memory before (..., S), to the
memory after."""


def _linear(x: Tensor, cell: Any, kind: Literal["ih", "hh"]) -> Tensor:
    # Python keeps thousands of the names it looked up, by where they lie: names made anew at each step pile up.
    if kind == "ih":
        return nn.functional.linear(x, cell.weight_ih_l0, cell.bias_ih_l0)
    return nn.functional.linear(x, cell.weight_hh_l0, cell.bias_hh_l0)
