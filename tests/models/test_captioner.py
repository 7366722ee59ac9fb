"""The laws of the captioner and its decoder: images and words in, scores of the next word out."""

from copy import deepcopy
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lrcn.config import from_values, to_values
from lrcn.errors import LrcnError
from lrcn.generate import beam
from lrcn.models.captioner import Captioner, CaptionerConfig
from lrcn.models.cnn import EncoderConfig
from lrcn.models.decoder import VARIANTS, Decoder, DecoderConfig, teacher_forced
from lrcn.models.recognizer import IGNORED

few = settings(max_examples=8, deadline=None, derandomize=True)
V, D = 9, 5

WIRINGS = [
    *({"layers": 2, **variant} for variant in VARIANTS.values()),
    {"layers": 3, "image_at": (0, 2)},
    {"layers": 2, "image_at": ()},
    {"layers": 2, "image_at": (1,), "attention": 4},
    {"layers": 3, "image_at": (0, 1, 2), "attention": 4},
]


def decoder_of(dtype=torch.float64, **settings) -> Decoder:
    torch.manual_seed(0)
    made = Decoder(DecoderConfig(size=6, embedding=4, init_range=0.7, **settings), D, V)
    return made.to(dtype).eval()


def images_for(decoder: Decoder, count: int) -> Tensor:
    shape = (count, 3, D) if decoder.config.attention else (count, D)
    dtype = decoder.bias.dtype
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def words_of(batch: int, steps: int, seed: int = 2) -> Tensor:
    words = torch.randint(1, V, (batch, steps), generator=torch.Generator().manual_seed(seed))
    words[:, 0] = 0
    return words


def assert_close(one: Tensor, other: Tensor, atol: float = 1e-10) -> None:
    assert one.shape == other.shape and (one - other).abs().max() <= atol


# ---- the decoder ----


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("unit", ["lstm", "gru", "rnn", "caffe-rnn"])
@pytest.mark.parametrize("wiring", WIRINGS, ids=str)
def test_forward_equals_steps(wiring, unit, dtype, atol):
    decoder = decoder_of(dtype, unit=unit, **wiring)
    images, words = images_for(decoder, 3), words_of(3, 5)
    with torch.no_grad():
        scores, state = decoder(images, words), decoder.initial_state(images)
        assert scores.shape == (3, 5, V) and scores.std(dim=1).max() > 1e-3
        for t in range(5):
            now, state = decoder.step(words[:, t], state)
            assert_close(now, scores[:, t], atol)
            assert all(len(value) == 3 for value in state.values())


@pytest.mark.parametrize("wiring", WIRINGS, ids=str)
@few
@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_padding_and_the_rest_of_the_batch_never_matter(wiring, lengths):
    decoder, words = decoder_of(**wiring), words_of(len(lengths), max(lengths) + 1)
    images, dirty = images_for(decoder, len(lengths)), words.clone()
    for row, length in enumerate(lengths):
        dirty[row, length:] = IGNORED
    with torch.no_grad():
        scores = decoder(images, dirty, torch.tensor(lengths))
        for row, length in enumerate(lengths):
            alone = decoder(images[row : row + 1], words[row : row + 1, :length])
            assert_close(scores[row, :length], alone[0])


def test_a_sentence_may_go_on_from_a_state():
    decoder, words = decoder_of(), words_of(2, 6)
    images = images_for(decoder, 2)
    with torch.no_grad():
        state = decoder.initial_state(images)
        for t in range(3):
            _, state = decoder.step(words[:, t], state)
        assert_close(decoder(images, words[:, 3:], start=state), decoder(images, words)[:, 3:])


@pytest.mark.parametrize("wiring", WIRINGS, ids=str)
def test_the_image_is_seen_where_it_should_be(wiring):
    decoder, words = decoder_of(**wiring), words_of(2, 4)
    images = images_for(decoder, 2)
    with torch.no_grad():
        same = torch.equal(decoder(images, words), decoder(images + 1, words))
        assert same == (not wiring["image_at"])
        # Layers below the first that sees it know nothing of the image: one row does for all.
        first = min(wiring["image_at"], default=wiring["layers"])
        blank = [(torch.zeros(1, 1, 6, dtype=torch.float64),) * 2] * first
        below, _ = decoder.advance(decoder.embedding(words[:1, :1]), blank, {})
        assert below.shape == (1, 1, 6 if first else 4)


def test_static_input_is_the_image_beside_every_word():
    # Caffe's lstm_layer.cpp: gates = W_xc x_t + W_xc_static v + W_hc h + b.
    decoder = decoder_of(layers=1, image_at=(0,))
    images, words = images_for(decoder, 2), words_of(2, 4)
    p = {name.rpartition(".")[2]: value for name, value in decoder.layers[0].named_parameters()}
    h = c = torch.zeros(2, 6, dtype=torch.float64)
    with torch.no_grad():
        scores = decoder(images, words)
        for t in range(4):
            x = decoder.embedding.weight[words[:, t]]
            gates = x @ p["weight_ih_l0"][:, :4].T + images @ p["weight_ih_l0"][:, 4:].T
            i, f, g, o = (gates + h @ p["weight_hh_l0"].T + p["bias_ih_l0"]).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            assert_close(h @ decoder.weight.T + decoder.bias, scores[:, t])


def test_attention_is_the_mean_of_cells_by_what_the_layer_below_asks():
    decoder = decoder_of(attention=4)
    images, words = images_for(decoder, 2), words_of(2, 3)
    attention = decoder.layers[1].attention
    with torch.no_grad():
        asks = decoder.layers[0](decoder.embedding(words), images, None)
        for n in range(2):
            for t in range(3):
                question = attention.question(asks[n, t])
                fit = torch.stack([question @ attention.keys(cell) / 2 for cell in images[n]])
                expected = sum(w * cell for w, cell in zip(fit.softmax(0), images[n], strict=True))
                weights = attention(asks[n : n + 1, t : t + 1], attention.keys(images[n : n + 1]))
                assert_close((weights @ images[n])[0, 0], expected)
        # The order of the cells says nothing.
        assert_close(decoder(images, words), decoder(images.flip(1), words))


@pytest.mark.parametrize(
    ("variant", "millions"), [("1u", 29.61), ("2u", 37.62), ("2f", 37.62), ("4f", 53.63)]
)
def test_the_papers_variants_have_the_papers_parameters(variant, millions):
    with torch.device("meta"):
        decoder = Decoder(DecoderConfig(size=1000, embedding=1000, **VARIANTS[variant]), 1000, 8801)
    learned = sum(p.numel() for p in decoder.parameters() if p.requires_grad)
    # Embedding, four gates a layer (of three matrices where it sees the image) with one bias, and the scores.
    layers = VARIANTS[variant]["layers"]
    assert learned == 8801 * 1000 + layers * 4 * 1000 * (2000 + 1) + 4 * 1000 * 1000 + 8801 * 1001
    assert round(learned / 1e6, 2) == millions


def test_weights_begin_as_the_papers():
    decoder = Decoder(DecoderConfig(size=20, embedding=20), 20, 30)
    for name, parameter in decoder.named_parameters():
        if "bias" in name:
            assert not parameter.any()
        else:
            assert 0.07 < parameter.abs().max() <= 0.08


def test_tied_words_share_their_vectors_and_are_stored_once():
    decoder = Decoder(DecoderConfig(size=6, embedding=6, tied=True), D, V).eval()
    names = [name for name, value in decoder.state_dict().items() if value.shape == (V, 6)]
    assert names == ["embedding.weight"]
    decoder(images_for(decoder, 1).float(), words_of(1, 3)).sum().backward()
    assert decoder.embedding.weight.grad.abs().min() > 0


def test_dropout_is_on_words_and_layers():
    for name in ("dropout", "word_dropout"):
        decoder = Decoder(DecoderConfig(**{"size": 40, "dropout": 0.0, name: 0.5}), D, V)
        images, words = torch.ones(1, D), words_of(1, 3)
        assert not torch.equal(decoder(images, words), decoder(images, words))
        decoder.eval()
        assert torch.equal(decoder(images, words), decoder(images, words))


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 0},
        {"layers": 0},
        {"embedding": 0},
        {"attention": -1},
        {"dropout": 1.0},
        {"word_dropout": -0.1},
        {"image_at": (2,)},
        {"image_at": (1, 1)},
        {"attention": 8, "image_at": (0,)},
        {"tied": True, "embedding": 100},
        {"init_range": 0.0},
    ],
)
def test_impossible_decoders_are_refused(wrong):
    with pytest.raises(LrcnError, match=f"decoder.{next(iter(wrong))}"):
        DecoderConfig(**wrong)


def test_what_is_read_and_what_is_said():
    read, said, lengths = teacher_forced([[3, 4, 0], [5, 0], [6, 7, 8]])
    assert read.tolist() == [[0, 3, 4], [0, 5, 0], [0, 6, 7]]
    assert said.tolist() == [[3, 4, 0], [5, 0, IGNORED], [6, 7, 8]] and lengths.tolist() == [3, 2, 3]


# ---- the captioner ----


KINDS = {
    "vector": ({"pool": "avg"}, {}),
    "vector as it is": ({"pool": "avg"}, {"features": 0}),
    "grid": ({"pool": "grid", "grid": 2, "squeeze": 3}, {}),
    "cells": ({"pool": "grid", "grid": 2, "squeeze": 3}, {"attention": 4}),
    "cells as they are": ({"pool": "grid", "grid": 2, "squeeze": 3}, {"attention": 4, "features": 0}),
}


@lru_cache
def captioner_of(kind: str) -> Captioner:
    torch.manual_seed(0)
    encoder, rest = KINDS[kind]
    config = CaptionerConfig(
        EncoderConfig("test_efficientnet", "none", **encoder),
        features=rest.get("features", D),
        decoder=DecoderConfig(size=6, embedding=4, init_range=0.7, attention=rest.get("attention", 0)),
    )
    return Captioner(config, V).double().eval()


def pictures(count: int) -> Tensor:
    random = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=random)


@pytest.mark.parametrize("kind", KINDS)
def test_the_captioner_keeps_the_laws(kind):
    model, images, words = captioner_of(kind), pictures(3), words_of(3, 4)
    with torch.no_grad():
        scores, state = model(images, words), model.initial_state(images)
        assert scores.shape == (3, 4, V)
        assert (scores[0] - model(images[1:2], words[:1])[0]).abs().max() > 1e-4
        for t in range(4):
            now, state = model.step(words[:, t], state)
            assert_close(now, scores[:, t])
        maps = model.encoder.maps(images)
        assert_close(model(None, words, maps=maps), scores)
        assert_close(model.initial_state(maps=maps)["h0"], model.initial_state(images)["h0"])
        for row in range(3):
            assert_close(model(images[row : row + 1], words[row : row + 1])[0], scores[row])


def test_half_precision_rounds_products_and_not_scores():
    """Scores as bfloat16 would take one word for another; nothing is left changed behind a step."""
    model, words = deepcopy(captioner_of("cells")).float(), torch.zeros(3, dtype=torch.int64)
    before = torch.backends.mkldnn.matmul.fp32_precision
    with torch.no_grad():
        exact, _ = model.step(words, model.initial_state(pictures(3)))
        scores, _ = model.step_in_half()(words, model.initial_state(pictures(3)))
    assert scores.dtype == torch.float32 and not torch.equal(scores, scores.bfloat16().float())
    assert 0 < (scores - exact).abs().max() < 0.02 * exact.abs().max()
    assert torch.backends.mkldnn.matmul.fp32_precision == before


def test_several_sentences_about_an_image_look_at_it_once():
    model, images, words = captioner_of("cells"), pictures(2), words_of(5, 4)
    image_of = torch.tensor([0, 1, 1, 0, 1])
    with torch.no_grad():
        assert_close(model(images, words, image_of=image_of), model(images[image_of], words))


def test_only_the_scores_that_are_wanted():
    model, images, words = captioner_of("vector"), pictures(2), words_of(2, 4)
    only = torch.tensor([[True, False, True, False], [False, True, True, True]])
    with torch.no_grad():
        assert_close(model(images, words, only=only), model(images, words)[only])


def test_it_learns_to_say_what_it_sees():
    torch.manual_seed(0)
    config = CaptionerConfig(
        EncoderConfig("test_efficientnet", "none"),
        features=8,
        dropout=0.0,
        decoder=DecoderConfig(size=16, embedding=8, dropout=0.0),
    )
    model = Captioner(config, 7)
    images = pictures(4)
    maps = model.encoder.maps(images)
    read, said, lengths = teacher_forced([[1, 2, 0], [1, 3, 0], [4, 0], [4, 5, 6, 0]])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        wanted = said != IGNORED
        scores = model(None, read, lengths, maps=maps, only=wanted)
        torch.nn.functional.cross_entropy(scores, said[wanted]).backward()
        optimizer.step()
    model.eval()
    written = [found[0].words for found in beam(model.step, model.initial_state(images), 3)]
    assert written == [(1, 2), (1, 3), (4,), (4, 5, 6)]


def test_its_config_survives_yaml():
    config = captioner_of("cells").config
    assert from_values(CaptionerConfig, to_values(config)) == config


def test_impossible_captioners_are_refused():
    with pytest.raises(LrcnError, match="set encoder.pool to grid"):
        CaptionerConfig(decoder=DecoderConfig(attention=4))
    with pytest.raises(LrcnError, match="features is 0"):
        CaptionerConfig(EncoderConfig(pool="grid"), features=0)
    with pytest.raises(LrcnError, match="features is -1"):
        CaptionerConfig(features=-1)
    with pytest.raises(LrcnError, match="dropout is 1"):
        CaptionerConfig(dropout=1.0)
    with pytest.raises(LrcnError, match="uint8"):
        captioner_of("vector").look(pictures(1).float())
