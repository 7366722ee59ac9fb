"""The laws of the describer: labels or frames in, scores of the next word out, in any piece and beside any padding."""

from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lrcn.config import from_values, to_values
from lrcn.errors import LrcnError
from lrcn.generate import beam
from lrcn.models.cnn import EncoderConfig
from lrcn.models.decoder import DecoderConfig, teacher_forced
from lrcn.models.describer import Describer, DescriberConfig
from lrcn.models.recognizer import IGNORED

few = settings(max_examples=6, deadline=None, derandomize=True)
V, K, D = 9, 7, 5

ARRANGEMENTS = ("seq2seq", "s2vt", "mean", "attention")
KINDS = [
    *(("labels", way) for way in ARRANGEMENTS),
    *(("features", way) for way in ARRANGEMENTS),
    ("max", "mean"),
    ("prob", "mean"),
]


@lru_cache
def describer_of(inputs: str, arrangement: str, **changes) -> Describer:
    torch.manual_seed(0)
    decoder = {"size": 6, "embedding": 4, "init_range": 0.7, "attention": 3 * (arrangement == "attention")}
    config = DescriberConfig(
        inputs=inputs,
        arrangement=arrangement,
        given=D if inputs == "features" else K,
        encoder=EncoderConfig("test_efficientnet", "none"),
        features=changes.pop("features", 4),
        moments=3,
        decoder=DecoderConfig(**decoder | changes),
    )
    return Describer(config, V).double().eval()


def source_for(model: Describer, count: int, steps: int, seed: int = 1) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    if model.config.inputs == "labels":
        return torch.randint(1, K + 1, (count, steps), generator=random)
    if model.config.inputs == "features":
        return torch.randn(count, steps, D, generator=random, dtype=torch.float64)
    return torch.rand(count, K, generator=random, dtype=torch.float64)


def words_of(batch: int, steps: int) -> Tensor:
    words = torch.randint(1, V, (batch, steps), generator=torch.Generator().manual_seed(2))
    words[:, 0] = 0
    return words


def assert_close(one: Tensor, other: Tensor, atol: float = 1e-9) -> None:
    assert one.shape == other.shape and (one - other).abs().max() <= atol


@pytest.mark.parametrize("unit", ["lstm", "gru", "rnn", "caffe-rnn"])
@pytest.mark.parametrize(("inputs", "arrangement"), KINDS)
def test_forward_equals_steps(inputs, arrangement, unit):
    model = describer_of(inputs, arrangement, unit=unit)
    source, words = source_for(model, 3, 5), words_of(3, 4)
    with torch.no_grad():
        scores, state = model(source, words), model.initial_state(source)
        assert scores.shape == (3, 4, V)
        # What is given matters.
        assert (scores[0] - model(source[1:2], words[:1])[0]).abs().max() > 1e-4
        for t in range(4):
            now, state = model.step(words[:, t], state)
            assert_close(now, scores[:, t])
            assert all(len(value) == 3 for value in state.values())


@pytest.mark.parametrize(("inputs", "arrangement"), KINDS)
@few
@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4)), min_size=1, max_size=4),
    of=st.lists(st.integers(0, 3), min_size=0, max_size=3),
)
def test_padding_and_the_rest_of_the_batch_never_matter_on_either_side(inputs, arrangement, sizes, of):
    model = describer_of(inputs, arrangement)
    steps, lengths = (torch.tensor(side) for side in zip(*sizes, strict=True))
    source, words = source_for(model, len(sizes), int(steps.max()) + 1), words_of(len(sizes), 6)
    padded, dirty = source.clone(), words.clone()
    for row, (step, length) in enumerate(sizes):
        if inputs in ("labels", "features"):
            padded[row, step:] = 0 if inputs == "labels" else float("nan")
        dirty[row, length:] = IGNORED
    several = torch.tensor([*range(len(sizes)), *(place % len(sizes) for place in of)])
    if inputs in ("max", "prob"):
        steps = torch.ones_like(steps)
    with torch.no_grad():
        scores = model(padded, dirty[several], lengths[several], steps=steps, image_of=several)
        for row, place in enumerate(several.tolist()):
            own = (
                source[place : place + 1, : sizes[place][0]]
                if source.ndim + (inputs == "labels") == 3
                else (source[place : place + 1])
            )
            alone = model(own, words[place : place + 1, : sizes[place][1]])
            assert_close(scores[row, : sizes[place][1]], alone[0])


@pytest.mark.parametrize("inputs", ["labels", "features"])
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@few
@given(pieces=st.lists(st.lists(st.integers(0, 6), min_size=2, max_size=2), min_size=1, max_size=5))
def test_pieces_are_read_as_one(inputs, arrangement, pieces):
    model = describer_of(inputs, arrangement)
    lengths = [max(1, sum(own)) for own in zip(*pieces, strict=True)]
    source = source_for(model, 2, max(lengths))
    whole = model.watch(source, model.begin(2), torch.tensor(lengths))
    memory, read = model.begin(2), [0, 0]
    for own in [
        *pieces,
        [end - sum(past) for end, past in zip(lengths, zip(*pieces, strict=True), strict=True)],
    ]:
        piece = torch.zeros(2, max(own) + 1, *source.shape[2:], dtype=source.dtype)
        for row, length in enumerate(own):
            piece[row, :length] = source[row, read[row] : read[row] + length]
            read[row] += length
        memory = model.watch(piece, memory, torch.tensor(own))
    assert read == lengths
    for name, value in whole.items():
        assert_close(memory[name], value)
        # The memory is as large after any number of steps.
        assert value.shape == model.begin(2)[name].shape


def test_attention_sees_each_step_while_there_is_room_and_then_means_of_ever_longer_stretches():
    model = describer_of("features", "attention", features=0)
    for steps, span in ((1, 1), (3, 1), (4, 2), (6, 2), (7, 4), (12, 4), (13, 8)):
        source = source_for(model, 1, steps)
        memory = model.watch(source, model.begin(1))
        cells, present = model.decoder._shown(memory)
        expected = torch.stack([part.mean(0) for part in source[0].split(span)])
        assert present.sum() == len(expected) <= 3
        assert_close(cells[0, : len(expected)], expected)


def test_the_mean_is_the_mean_and_a_vector_is_shown_as_it_is():
    mean, prob = describer_of("features", "mean", features=0), describer_of("prob", "mean", features=0)
    source, vector = source_for(mean, 2, 5), source_for(prob, 2, 1)
    with torch.no_grad():
        state = mean.initial_state(source)
        assert_close(state["gates1"], mean.decoder.decoder.initial_state(source.mean(1))["gates1"])
        assert_close(
            prob.initial_state(vector)["gates1"], prob.decoder.decoder.initial_state(vector)["gates1"]
        )


def test_order_matters_where_an_encoder_reads_and_nowhere_else():
    for arrangement in ARRANGEMENTS:
        model = describer_of("labels", arrangement)
        # As many as attention sees one by one.
        source, words = torch.tensor([[1, 2, 3]]), words_of(1, 3)
        with torch.no_grad():
            same = torch.allclose(model(source, words), model(source.flip(1), words), atol=1e-9)
        assert same == (arrangement in ("mean", "attention"))


def test_frames_go_through_the_cnn_each_alone():
    torch.manual_seed(0)
    config = DescriberConfig(
        arrangement="seq2seq",
        encoder=EncoderConfig("test_efficientnet", "none", pool="grid", grid=2, squeeze=3),
        features=4,
        decoder=DecoderConfig(size=6, embedding=4, init_range=0.7),
    )
    model = Describer(config, V).double().eval()
    frames = torch.randint(0, 256, (2, 3, 3, 32, 32), dtype=torch.uint8)
    words, lengths = words_of(2, 3), torch.tensor([3, 2])
    with torch.no_grad():
        scores = model(frames, words, steps=lengths)
        maps = model.encoder.maps(frames.flatten(0, 1)).unflatten(0, (2, 3))
        assert_close(model(None, words, steps=lengths, maps=maps), scores)
        assert_close(model(frames[1:, :2], words[1:])[0], scores[1])
    with pytest.raises(LrcnError, match="reads uint8 frames"):
        model.see(frames.float())


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_it_learns_to_say_what_it_is_given(arrangement):
    torch.manual_seed(1)
    decoder = DecoderConfig(size=24, embedding=8, dropout=0.0, attention=8 * (arrangement == "attention"))
    model = Describer(
        DescriberConfig("labels", arrangement, given=3, features=8, dropout=0.0, decoder=decoder), 7
    )
    source, steps = torch.tensor([[1, 2], [2, 3], [3, 0], [1, 3]]), torch.tensor([2, 2, 1, 2])
    read, said, lengths = teacher_forced([[1, 2, 0], [1, 3, 0], [4, 0], [4, 5, 6, 0]])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    wanted = said != IGNORED
    for _ in range(150):
        optimizer.zero_grad()
        scores = model(source, read, lengths, steps=steps, only=wanted)
        torch.nn.functional.cross_entropy(scores, said[wanted]).backward()
        optimizer.step()
    model.eval()
    written = [found[0].words for found in beam(model.step, model.initial_state(source, steps=steps), 3)]
    assert written == [(1, 2), (1, 3), (4,), (4, 5, 6)]


def test_its_config_survives_yaml():
    config = describer_of("features", "attention").config
    assert from_values(DescriberConfig, to_values(config)) == config


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"inputs": "prob", "arrangement": "seq2seq"}, "no sequence, set arrangement to mean"),
        ({"inputs": "labels", "features": 0}, "features is 0"),
        ({"encoder": EncoderConfig(pool="grid"), "features": 0}, "features is 0"),
        ({"arrangement": "attention"}, "decoder.attention is 0"),
        ({"decoder": DecoderConfig(attention=4)}, "decoder.attention is 4"),
        ({"arrangement": "s2vt", "decoder": DecoderConfig(layers=1, image_at=(0,))}, "layers is 1"),
        ({"moments": 0}, "moments is 0"),
        ({"given": -1}, "given is -1"),
        ({"dropout": 1.0}, "dropout is 1"),
    ],
)
def test_impossible_describers_are_refused(wrong, said):
    with pytest.raises(LrcnError, match=said):
        DescriberConfig(**wrong)


def test_what_it_does_not_read_is_refused():
    with pytest.raises(LrcnError, match="given is 0"):
        Describer(DescriberConfig("labels"), V)
    for inputs, arrangement, wrong, said in (
        (
            "labels",
            "seq2seq",
            torch.zeros(1, 2),
            r"ids of labels \(B, T\); it was given torch.float32 \(1, 2\)",
        ),
        ("features", "mean", torch.zeros(1, 2, 4), r"features \(B, T, 5\)"),
        ("prob", "mean", torch.zeros(1, 4), r"label vectors \(B, 7\)"),
        ("max", "mean", None, "given nothing"),
    ):
        with pytest.raises(LrcnError, match=said):
            describer_of(inputs, arrangement).see(wrong)
