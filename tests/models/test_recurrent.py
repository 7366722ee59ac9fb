"""The recurrent units against their equations, and the laws a network over time must keep."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lrcn.errors import LrcnError
from lrcn.models.recurrent import RecurrentConfig, RecurrentStack

UNITS = ("lstm", "gru", "rnn")
few = settings(max_examples=12, deadline=None, derandomize=True)


def stack_of(unit, layers=1, dtype=torch.float64, inputs=5, size=4, seed=0) -> RecurrentStack:
    torch.manual_seed(seed)
    return RecurrentStack(inputs, RecurrentConfig(unit, size, layers)).to(dtype).eval()


def features_of(*shape, dtype=torch.float64, seed=1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def random_state(stack: RecurrentStack, batch: int) -> dict[str, Tensor]:
    return {name: features_of(*value.shape, seed=7) for name, value in stack.initial_state(batch).items()}


def assert_states(one, other, atol=1e-9):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=atol, rtol=0)


# The equations, written out one row, one gate at a time.


def sigm(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def by_hand(unit: str, stack: RecurrentStack, x: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """One step of one layer, from the textbook."""
    p = dict(stack.named_parameters())
    w, u = p["cells.0.weight_ih_l0"], p["cells.0.weight_hh_l0"]
    b, d = p["cells.0.bias_ih_l0"], p["cells.0.bias_hh_l0"]
    size = u.shape[1]
    rows = [slice(k * size, (k + 1) * size) for k in range(len(w) // size)]
    after: dict[str, list[Tensor]] = {name: [] for name in state}
    for n in range(len(x)):
        h = state["h"][n, 0]
        from_x = [w[r] @ x[n] + b[r] for r in rows]
        from_h = [u[r] @ h + d[r] for r in rows]
        if unit == "rnn":
            after["h"].append(torch.tanh(from_x[0] + from_h[0]))
        elif unit == "gru":
            r, z = sigm(from_x[0] + from_h[0]), sigm(from_x[1] + from_h[1])
            candidate = torch.tanh(from_x[2] + r * from_h[2])
            after["h"].append((1 - z) * candidate + z * h)
        else:
            # Rows of PyTorch: i, f, g, o; Donahue et al. 2015, section 2.
            i, f, g, o = (a + c for a, c in zip(from_x, from_h, strict=True))
            c = sigm(f) * state["c"][n, 0] + sigm(i) * torch.tanh(g)
            after["c"].append(c)
            after["h"].append(sigm(o) * torch.tanh(c))
    return {name: torch.stack(values)[:, None] for name, values in after.items()}


@pytest.mark.parametrize("unit", UNITS)
def test_a_step_is_the_equation(unit):
    stack, x = stack_of(unit), features_of(3, 5)
    state = random_state(stack, 3)
    expected = by_hand(unit, stack, x, state)
    output, after = stack.step(x, state)
    assert_states(after, expected)
    assert torch.equal(output, after["h"][:, 0])
    output, after = stack(x[:, None], state=state)
    assert_states(after, expected)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("unit", [*UNITS, "none"])
@few
@given(batch=st.integers(1, 3), steps=st.integers(1, 6), layers=st.integers(1, 3), seed=st.integers(0, 99))
def test_forward_equals_steps(unit, dtype, atol, batch, steps, layers, seed):
    stack = stack_of(unit, layers, dtype, seed=seed)
    x = features_of(batch, steps, 5, dtype=dtype, seed=seed)
    outputs, after = stack(x)
    state = stack.initial_state(batch)
    for t in range(steps):
        output, state = stack.step(x[:, t], state)
        torch.testing.assert_close(output, outputs[:, t], atol=atol, rtol=0)
    assert_states(state, after, atol)


@pytest.mark.parametrize("unit", UNITS)
@few
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4), layers=st.integers(1, 2))
def test_padding_never_matters(unit, lengths, layers):
    stack, steps = stack_of(unit, layers), max(lengths) + 1
    clean = features_of(len(lengths), steps, 5)
    dirty = clean.clone()
    for row, length in enumerate(lengths):
        dirty[row, length:] = float("nan")
    outputs, after = stack(dirty, torch.tensor(lengths), random_state(stack, len(lengths)))
    for row, length in enumerate(lengths):
        state = {name: value[row : row + 1] for name, value in random_state(stack, len(lengths)).items()}
        alone, end = stack(clean[row : row + 1, :length], state=state)
        torch.testing.assert_close(outputs[row, :length], alone[0], atol=1e-12, rtol=0)
        assert not outputs[row, length:].any()
        assert_states({name: value[row : row + 1] for name, value in after.items()}, end, 1e-12)


@pytest.mark.parametrize("unit", UNITS)
def test_padding_gets_no_gradient(unit):
    stack = stack_of(unit, layers=2)
    x = features_of(2, 5, 5).requires_grad_()
    outputs, after = stack(x, torch.tensor([2, 5]))
    (outputs.sum() + sum(value.sum() for value in after.values())).backward()
    assert not x.grad[0, 2:].any()
    assert (x.grad[0, :2].abs().sum(-1) > 0).all() and (x.grad[1].abs().sum(-1) > 0).all()


@pytest.mark.parametrize("unit", UNITS)
@few
@given(cuts=st.sets(st.integers(1, 7), max_size=4))
def test_state_carried_over_chunks_equals_one_pass(unit, cuts):
    stack, x = stack_of(unit, layers=2), features_of(2, 8, 5)
    whole, after = stack(x)
    ends, state, parts = [0, *sorted(cuts), 8], None, []
    for start, stop in pairwise(ends):
        part, state = stack(x[:, start:stop], state=state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-12, rtol=0)
    assert_states(state, after, 1e-12)


@pytest.mark.parametrize("unit", UNITS)
def test_a_new_sequence_begins_as_a_fresh_one_and_streams_do_not_mix(unit):
    stack, x = stack_of(unit, layers=2), features_of(3, 6, 5)
    state = stack.initial_state(3)
    for t in range(3):
        _, state = stack.step(x[:, t], state)
    fresh = stack.initial_state(3)
    assert all(not value.any() for value in fresh.values())
    # Stream 1 is reset, as by the paper's sequence markers; the others go on.
    state = {name: torch.cat([state[name][:1], fresh[name][:1], state[name][2:]]) for name in state}
    outputs, _ = stack(x[:, 3:], state=state)
    torch.testing.assert_close(outputs[1:2], stack(x[1:2, 3:])[0], atol=1e-12, rtol=0)
    whole, _ = stack(x)
    torch.testing.assert_close(outputs[[0, 2]], whole[[0, 2], 3:], atol=1e-12, rtol=0)


def test_without_a_unit_nothing_is_remembered():
    stack, x = stack_of("none"), features_of(2, 4, 5)
    outputs, state = stack(x, torch.tensor([4, 2]))
    assert state == stack.initial_state(2) == {} and torch.equal(outputs, x) and stack.outputs == 5


def test_dropout_is_between_layers_and_on_top():
    stack = RecurrentStack(5, RecurrentConfig("lstm", 64, 1, dropout=0.5))
    dropped = (stack(features_of(2, 20, 5, dtype=torch.float32))[0] == 0).float().mean()
    assert 0.4 < dropped < 0.6
    assert (stack.eval()(features_of(2, 20, 5, dtype=torch.float32))[0] != 0).all()


@pytest.mark.parametrize("wrong", [{"size": 0}, {"layers": 0}, {"dropout": 1.0}, {"dropout": -0.1}])
def test_impossible_stacks_are_refused(wrong):
    with pytest.raises(LrcnError, match="recurrent"):
        RecurrentConfig(**wrong)
