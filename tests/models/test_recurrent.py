"""The recurrent units against their equations, and the laws a network over time must keep."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lrcn.errors import LrcnError
from lrcn.models.recurrent import RecurrentConfig, RecurrentStack

UNITS = ("lstm", "gru", "rnn", "caffe-rnn")
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
        if unit in ("rnn", "caffe-rnn"):
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
    shown = after["h"][:, 0]
    if unit == "caffe-rnn":
        weight, bias = (stack.get_parameter(f"cells.0.output.{name}") for name in ("weight", "bias"))
        shown = torch.stack([torch.tanh(weight @ h + bias) for h in shown])
    torch.testing.assert_close(output, shown, atol=1e-12, rtol=0)
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


# As Caffe has it


@pytest.mark.parametrize("unit", UNITS)
def test_one_bias_is_one_bias(unit):
    torch.manual_seed(0)
    stack = RecurrentStack(5, RecurrentConfig(unit, 4, 2, one_bias=True)).double().eval()
    learns = {name: p for name, p in stack.named_parameters() if p.requires_grad}
    assert not [name for name in learns if "bias_hh" in name]
    gates = {"lstm": 4, "gru": 3}.get(unit, 1)
    extra = 2 * (4 * 4 + 4) if unit == "caffe-rnn" else 0
    assert sum(p.numel() for p in learns.values()) == gates * (4 * (5 + 4 + 1) + 4 * (4 + 4 + 1)) + extra
    x = features_of(2, 3, 5)
    outputs, after = stack(x)
    outputs.sum().backward()
    assert all(parameter.grad is not None for parameter in learns.values())
    assert not any(p.grad is not None or p.any() for name, p in stack.named_parameters() if "bias_hh" in name)
    state = stack.initial_state(2)
    for t in range(3):
        output, state = stack.step(x[:, t], state)
        torch.testing.assert_close(output, outputs[:, t], atol=1e-12, rtol=0)
    assert_states(state, after)


@pytest.mark.parametrize(("unit", "reach"), [("lstm", 0.01), ("caffe-rnn", 0.08)])
def test_caffe_begins_with_small_weights_and_no_bias(unit, reach):
    torch.manual_seed(0)
    stack = RecurrentStack(40, RecurrentConfig(unit, 30, 2, init="caffe", init_range=reach))
    for name, parameter in stack.named_parameters():
        if "bias" in name:
            assert not parameter.any(), name
        else:
            assert 0.9 * reach < parameter.abs().max() <= reach, name
            assert float(parameter.detach().std()) == pytest.approx(reach / 3**0.5, rel=0.1), name


@pytest.mark.parametrize("unit", ["lstm", "caffe-rnn"])
def test_a_static_input_is_one_beside_every_other(unit):
    """Caffe adds W_xc_static s to W_xc x_t at every step; so does one matrix [W_xc, W_xc_static] on [x_t, s]."""
    stack, x, static = stack_of(unit, inputs=7), features_of(1, 3, 5), features_of(1, 2, seed=3)
    outputs, _ = stack(torch.cat([x, static[:, None].expand(-1, 3, -1)], dim=2))
    p = dict(stack.named_parameters())
    w, w_static = p["cells.0.weight_ih_l0"].split([5, 2], dim=1)
    bias = p["cells.0.bias_ih_l0"] + p["cells.0.bias_hh_l0"]
    h, c = torch.zeros(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    for t in range(3):
        gates = w @ x[0, t] + w_static @ static[0] + p["cells.0.weight_hh_l0"] @ h + bias
        if unit == "lstm":
            i, f, g, o = gates.chunk(4)
            c = sigm(f) * c + sigm(i) * torch.tanh(g)
            h = shown = sigm(o) * torch.tanh(c)
        else:
            h = torch.tanh(gates)
            shown = torch.tanh(p["cells.0.output.weight"] @ h + p["cells.0.output.bias"])
        torch.testing.assert_close(outputs[0, t], shown, atol=1e-12, rtol=0)


def test_a_range_of_nothing_is_refused():
    with pytest.raises(LrcnError, match=r"recurrent\.init_range is 0"):
        RecurrentConfig(init="caffe", init_range=0.0)


# Streams of clips end to end, and both directions


@pytest.mark.parametrize("unit", [*UNITS, "none"])
@few
@given(
    cont=st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=3),
    layers=st.integers(1, 2),
)
def test_markers_multiply_the_state_before_each_step(unit, cont, layers):
    stack, markers = stack_of(unit, layers), torch.tensor(cont).double()
    batch, x = len(cont), features_of(len(cont), 5, 5)
    state = random_state(stack, batch)
    outputs, after = stack(x, None, state, markers)
    for t in range(5):
        state = {name: value * markers[:, t, None, None] for name, value in state.items()}
        output, state = stack.step(x[:, t], state)
        torch.testing.assert_close(outputs[:, t], output, atol=1e-9, rtol=0)
    assert_states(after, state)


@pytest.mark.parametrize("unit", UNITS)
@few
@given(lengths=st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_clips_end_to_end_answer_as_each_alone(unit, lengths):
    stack = stack_of(unit, layers=2)
    clips = [features_of(1, length, 5, seed=seed) for seed, length in enumerate(lengths)]
    cont = torch.cat([torch.tensor([0.0] + [1.0] * (length - 1)) for length in lengths])[None]
    outputs, after = stack(torch.cat(clips, 1), None, random_state(stack, 1), cont)
    alone = [stack(clip) for clip in clips]
    torch.testing.assert_close(outputs, torch.cat([output for output, _ in alone], 1), atol=1e-12, rtol=0)
    assert_states(after, alone[-1][1], 1e-12)


@pytest.mark.parametrize("unit", UNITS)
def test_without_a_new_clip_markers_change_nothing(unit):
    stack, x = stack_of(unit, layers=2), features_of(3, 6, 5)
    state = random_state(stack, 3)
    outputs, after = stack(x, None, state, torch.ones(3, 6))
    expected, end = stack(x, None, state)
    torch.testing.assert_close(outputs, expected, atol=1e-12, rtol=0)
    assert_states(after, end, 1e-12)


def test_no_gradient_and_no_damage_crosses_a_marker():
    stack, x = stack_of("lstm", layers=2), features_of(2, 6, 5).requires_grad_()
    cont = torch.ones(2, 6)
    cont[0, 3] = 0
    outputs, _ = stack(x, None, None, cont)
    outputs[:, 3:].sum().backward()
    assert not x.grad[0, :3].any() and x.grad[1, :3].any()
    broken = x.detach().clone()
    broken[0, :3] = float("nan")
    assert stack(broken, None, None, cont)[0][0, 3:].isfinite().all()


def both_ways(unit, layers=1) -> RecurrentStack:
    torch.manual_seed(0)
    return RecurrentStack(5, RecurrentConfig(unit, 4, layers, bidirectional=True)).double().eval()


@pytest.mark.parametrize("unit", ["lstm", "gru", "rnn"])
def test_both_directions_are_two_networks_side_by_side(unit):
    stack, x = both_ways(unit), features_of(2, 4, 5)
    outputs, after = stack(x)
    assert outputs.shape == (2, 4, stack.outputs) == (2, 4, 8) and after == stack.initial_state(2) == {}
    weights = stack.state_dict()
    for suffix, said, read in (("", outputs[..., :4], x), ("_reverse", outputs[..., 4:].flip(1), x.flip(1))):
        one = stack_of(unit)
        one.load_state_dict({name: weights[name + suffix] for name in one.state_dict()})
        torch.testing.assert_close(one(read)[0], said, atol=1e-12, rtol=0)


@pytest.mark.parametrize("unit", ["lstm", "gru", "rnn"])
@few
@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4), layers=st.integers(1, 2))
def test_in_both_directions_padding_never_matters_nor_do_neighbours(unit, lengths, layers):
    stack = both_ways(unit, layers)
    x = features_of(len(lengths), max(lengths) + 1, 5)
    outputs, _ = stack(x, torch.tensor(lengths))
    alone = [stack(x[row : row + 1, :length])[0][0] for row, length in enumerate(lengths)]
    for row, length in enumerate(lengths):
        torch.testing.assert_close(outputs[row, :length], alone[row], atol=1e-12, rtol=0)
        assert not outputs[row, length:].any()
    tape = torch.cat([x[row, :length] for row, length in enumerate(lengths)])[None]
    cont = torch.cat([torch.tensor([0.0] + [1.0] * (length - 1)) for length in lengths])[None]
    torch.testing.assert_close(stack(tape, cont=cont)[0][0], torch.cat(alone), atol=1e-12, rtol=0)


def test_what_reads_the_future_cannot_stream():
    stack = both_ways("lstm")
    with pytest.raises(LrcnError, match="reads the future cannot stream"):
        stack.step(features_of(1, 5), {})
    with pytest.raises(LrcnError, match="reads the future cannot stream"):
        stack(features_of(1, 3, 5), state={})


@pytest.mark.parametrize("unit", ["none", "caffe-rnn"])
def test_a_unit_of_one_direction_has_not_two(unit):
    with pytest.raises(LrcnError, match=r"recurrent\.bidirectional is true.*set recurrent\.unit to lstm"):
        RecurrentConfig(unit, bidirectional=True)
