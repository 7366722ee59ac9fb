"""The laws of the whole recogniser: frames in, scores at every step out."""

from functools import lru_cache
from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrcn.errors import LrcnError
from lrcn.models.cnn import EncoderConfig
from lrcn.models.heads import HeadConfig
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import (
    IGNORED,
    Recognizer,
    RecognizerConfig,
    step_labels,
)
from lrcn.models.recurrent import RecurrentConfig

READS = [
    ("appearance",),
    ("difference",),
    ("correlation",),
    ("appearance", "difference"),
    ("appearance", "difference", "correlation"),
]
KINDS = [
    (reads, pool)
    for reads, pool in product(READS, ["avg", "grid"])
    if pool == "grid" or "correlation" not in reads
]


@lru_cache
def make(
    reads=("appearance",),
    pool="avg",
    unit="lstm",
    layers=1,
    dtype=torch.float64,
    both_ways=False,
    head="mean",
) -> Recognizer:
    torch.manual_seed(0)
    config = RecognizerConfig(
        EncoderConfig("test_efficientnet", "none", pool=pool, grid=2, squeeze=4, chunk=5),
        ReadingConfig(reads, 6),
        RecurrentConfig(unit, 5, layers, bidirectional=both_ways),
        HeadConfig(head, 4),
    )
    model = Recognizer(config, ["a", "b", "c"]).to(dtype).eval()
    # Random networks answer everything alike: larger weights make what is remembered show.
    larger = (model.recurrent, model.classifier, model.head)
    for parameter in [parameter for part in larger for parameter in part.parameters()]:
        parameter.data.mul_(3)
    return model


def clips(batch=3, steps=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, steps, 3, 32, 32), dtype=torch.uint8, generator=generator)


def assert_same(one, other, atol=1e-9):
    if isinstance(one, tuple):
        for mine, theirs in zip(one, other, strict=True):
            assert_same(mine, theirs, atol)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_same(one[name], other[name], atol)
    else:
        torch.testing.assert_close(one, other, atol=atol, rtol=0)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("reads", "pool"), KINDS)
def test_forward_equals_steps(reads, pool, dtype, atol):
    model, frames = make(reads, pool, dtype=dtype), clips()
    with torch.inference_mode():
        scores, after = model.unroll(frames)
        assert scores.std(dim=1).max() > 1e-4
        state = model.initial_state(3)
        for t in range(frames.shape[1]):
            now, state = model.step(frames[:, t], state)
            assert_same(now, scores[:, t], atol)
        assert_same(state, after, atol)


@pytest.mark.parametrize("unit", ["gru", "rnn", "none"])
def test_forward_equals_steps_for_every_unit(unit):
    model, frames = make(("appearance", "difference"), unit=unit, layers=2), clips()
    with torch.inference_mode():
        scores, state = model(frames), model.initial_state(3)
        for t in range(frames.shape[1]):
            now, state = model.step(frames[:, t], state)
            assert_same(now, scores[:, t])


@pytest.mark.parametrize(("reads", "pool"), KINDS)
@settings(max_examples=3, deadline=None, derandomize=True)
@given(lengths=st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_padding_never_matters_and_a_batch_is_each_alone(reads, pool, lengths):
    model, frames = make(reads, pool), clips(len(lengths), max(lengths) + 1)
    for row, length in enumerate(lengths):
        frames[row, length:] = 255 * (row % 2)
    with torch.inference_mode():
        scores, after = model.unroll(frames, torch.tensor(lengths))
        for row, length in enumerate(lengths):
            alone, end = model.unroll(frames[row : row + 1, :length])
            assert_same(scores[row, :length], alone[0])
            assert_same({name: value[row : row + 1] for name, value in after.items()}, end)


@pytest.mark.parametrize(("reads", "pool"), KINDS)
@settings(max_examples=3, deadline=None, derandomize=True)
@given(cuts=st.sets(st.integers(1, 5), min_size=1, max_size=3))
def test_state_carried_over_chunks_equals_one_pass(reads, pool, cuts):
    model, frames = make(reads, pool, layers=2), clips(2, 6)
    with torch.inference_mode():
        whole, after = model.unroll(frames)
        ends, state, parts = [0, *sorted(cuts), 6], None, []
        for start, stop in pairwise(ends):
            part, state = model.unroll(frames[:, start:stop], None, state)
            parts.append(part)
        assert_same(torch.cat(parts, 1), whole)
        assert_same(state, after)


def test_a_reset_stream_answers_as_a_fresh_one():
    model, frames = make(("appearance", "difference"), layers=2), clips(2, 6)
    with torch.inference_mode():
        _, state = model.unroll(frames[:, :3])
        fresh = model.initial_state(2)
        state = {name: torch.cat([value[:1], fresh[name][1:]]) for name, value in state.items()}
        scores, _ = model.unroll(frames[:, 3:], None, state)
        assert_same(scores[0], model(frames)[0, 3:])
        assert_same(scores[1:], model(frames[1:, 3:]))


@pytest.mark.parametrize(("reads", "pool"), KINDS)
@settings(max_examples=3, deadline=None, derandomize=True)
@given(lengths=st.lists(st.integers(1, 3), min_size=2, max_size=3))
def test_clips_end_to_end_in_a_row_answer_as_each_alone(reads, pool, lengths):
    model, frames = make(reads, pool, layers=2), clips(1, sum(lengths))
    cont = torch.cat([torch.tensor([0.0] + [1.0] * (length - 1)) for length in lengths])[None]
    with torch.inference_mode():
        _, state = model.unroll(clips(1, 2, seed=9))
        scores, after = model.unroll(frames, state=state, cont=cont)
        alone = [model.unroll(part) for part in frames.split(lengths, dim=1)]
        assert_same(scores, torch.cat([part for part, _ in alone], 1))
        assert_same(after, alone[-1][1])
        going_on, end = model.unroll(frames, state=state, cont=torch.ones_like(cont))
        assert_same((going_on, end), model.unroll(frames, state=state))


@pytest.mark.parametrize("head", ["mean", "attention", "last"])
@pytest.mark.parametrize("both_ways", [False, True])
@settings(max_examples=5, deadline=None, derandomize=True)
@given(lengths=st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_the_verdict_is_on_each_clip_alone(head, both_ways, lengths):
    model = make(("appearance", "difference"), both_ways=both_ways, head=head)
    frames = clips(len(lengths), max(lengths) + 1)
    with torch.inference_mode():
        verdict = model.judge(frames, torch.tensor(lengths))
        assert torch.equal(verdict.scores, model(frames, torch.tensor(lengths)))
        for row, length in enumerate(lengths):
            alone = model.judge(frames[row : row + 1, :length])
            assert_same(verdict.scores[row, :length], alone.scores[0])
            assert_same(verdict.log_probabilities[row], alone.log_probabilities[0])
            said = (alone.weights[0, :, None] * alone.scores[0].softmax(1)).sum(0)
            assert_same(alone.log_probabilities[0].exp(), said)


def test_a_network_that_reads_the_future_sees_it_and_cannot_stream():
    model, frames = make(both_ways=True), clips(1, 4)
    assert not model.causal and model.needs_whole_clip
    with torch.inference_mode():
        changed = frames.clone()
        changed[:, -1] = 0
        assert (model(frames)[0, 0] - model(changed)[0, 0]).abs().max() > 1e-3
        assert_same(make()(frames)[0, :3], make()(changed)[0, :3])
        _, state = model.unroll(frames)
        for streamed in (lambda: model.unroll(frames, state=state), lambda: model.step(frames[:, 0], state)):
            with pytest.raises(LrcnError, match="reads the future cannot stream"):
                streamed()


@pytest.mark.parametrize(("head", "whole"), [("mean", False), ("last", False), ("attention", True)])
def test_a_head_changes_no_frame_of_a_stream(head, whole):
    model = make(head=head)
    assert model.causal and model.needs_whole_clip == whole
    assert sum(name.startswith("head.") for name in model.state_dict()) == 4 * whole
    with torch.inference_mode():
        assert_same(model(clips()), make()(clips()))


def test_maps_in_place_of_frames_give_the_same_scores():
    model, frames = make(("appearance", "correlation"), "grid"), clips()
    with torch.inference_mode():
        maps = model.encoder.maps(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        assert_same(model(maps=maps), model(frames))
        assert model(maps=maps.half()).dtype == torch.float64


def test_padding_frames_get_no_gradient():
    model = make(("appearance", "difference"), "grid")
    maps = torch.randn(2, 5, 256, 2, 2, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([2, 5])
    labels = step_labels(torch.tensor([0, 1]), 5, lengths)
    scores = model(lengths=lengths, maps=maps)
    torch.nn.functional.cross_entropy(scores.flatten(0, 1), labels.flatten(), ignore_index=IGNORED).backward()
    assert not maps.grad[0, 2:].any()
    assert (maps.grad[0, :2].flatten(1).abs().sum(1) > 0).all()
    assert (maps.grad[1].flatten(1).abs().sum(1) > 0).all()


def test_the_single_frame_baseline_knows_no_order_and_the_lstm_does():
    frames, order = clips(2, 5), torch.tensor([3, 0, 4, 1, 2])
    with torch.inference_mode():
        single, lstm = make(unit="none"), make()
        assert single.initial_state(2) == {}
        assert_same(single(frames[:, order]), single(frames)[:, order])
        assert (lstm(frames[:, order]) - lstm(frames)[:, order]).abs().max() > 1e-3


@settings(max_examples=20, deadline=None, derandomize=True)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4), extra=st.integers(0, 2), data=st.data())
def test_step_labels_are_the_loop(lengths, extra, data):
    steps, batch = max(lengths) + extra, len(lengths)
    labels = data.draw(st.lists(st.integers(0, 2), min_size=batch, max_size=batch))
    spread = step_labels(torch.tensor(labels), steps, torch.tensor(lengths))
    assert spread.tolist() == [
        [lab] * n + [IGNORED] * (steps - n) for lab, n in zip(labels, lengths, strict=True)
    ]
    per_frame = torch.arange(batch * steps).view(batch, steps)
    kept = step_labels(per_frame, steps, torch.tensor(lengths))
    for row, n in enumerate(lengths):
        assert torch.equal(kept[row, :n], per_frame[row, :n]) and (kept[row, n:] == IGNORED).all()


@pytest.mark.parametrize("labels", [[], ["a"], ["a", "b", "a"]])
def test_labels_must_be_two_or_more_and_differ(labels):
    with pytest.raises(LrcnError, match="two labels"):
        Recognizer(RecognizerConfig(EncoderConfig("test_resnet", "none")), labels)


@pytest.mark.parametrize(
    "frames", [None, torch.zeros(1, 2, 3, 32, 32), torch.zeros(2, 3, 32, 32, dtype=torch.uint8)]
)
def test_what_are_no_frames_is_refused(frames):
    with pytest.raises(LrcnError, match=r"uint8 frames \(B, T, 3, H, W\)"):
        make()(frames)
