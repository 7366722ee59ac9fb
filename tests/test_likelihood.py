"""The likelihood of every caption of every image, against one pair at a time, word by word."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lrcn.errors import LrcnError
from lrcn.likelihood import FLOOR, best_captions, best_images, blocks, log_likelihoods, normalised
from lrcn.models.decoder import VARIANTS, Decoder, DecoderConfig

few = settings(max_examples=10, deadline=None, derandomize=True)
V, D = 6, 4

WIRINGS = [
    *VARIANTS.values(),
    {"layers": 3, "image_at": (0, 2)},
    {"layers": 2, "image_at": (1,), "attention": 4},
    {"layers": 3, "image_at": (0, 2), "attention": 4},
    {"layers": 2, "image_at": ()},
]


def decoder_of(init_range: float = 0.9, **wiring) -> Decoder:
    torch.manual_seed(0)
    return Decoder(DecoderConfig(size=5, embedding=4, init_range=init_range, **wiring), D, V).double().eval()


def images_for(decoder: Decoder, count: int) -> Tensor:
    shape = (count, 3, D) if decoder.config.attention else (count, D)
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@torch.no_grad()
def naive(decoder: Decoder, images: Tensor, captions: list[list[int]]) -> Tensor:
    table = torch.zeros(len(images), len(captions))
    for i in range(len(images)):
        for c, caption in enumerate(captions):
            state, last = decoder.initial_state(images[i : i + 1]), 0
            for word in caption:
                if word == 0:
                    break
                scores, state = decoder.step(torch.tensor([last]), state)
                table[i, c] += math.log(max(float(scores.softmax(1)[0, word]), FLOOR))
                last = word
    return table


def assert_close(one: Tensor, other: Tensor) -> None:
    assert one.shape == other.shape and (one - other).abs().max() < 1e-5


captions_of = st.lists(st.lists(st.integers(1, V - 1), min_size=1, max_size=5), min_size=1, max_size=8)


@pytest.mark.parametrize("wiring", WIRINGS, ids=str)
@few
@given(
    captions=captions_of,
    images=st.integers(1, 4),
    ended=st.booleans(),
    memory=st.sampled_from([1, 1000, 2**20]),
)
def test_it_is_what_one_pair_at_a_time_gives(wiring, captions, images, ended, memory):
    decoder = decoder_of(**wiring)
    captions = [[*caption, 0] if ended else caption for caption in captions]
    seen = images_for(decoder, images)
    assert_close(log_likelihoods(decoder, seen, captions, memory=memory), naive(decoder, seen, captions))


def test_no_word_counts_with_less_than_the_floor():
    decoder = decoder_of(init_range=40.0)
    images, captions = images_for(decoder, 3), [[1, 2], [3, 4, 5]]
    scores = log_likelihoods(decoder, images, captions)
    assert_close(scores, naive(decoder, images, captions))
    assert scores.min() <= math.log(FLOOR) and scores.min() >= 3 * math.log(FLOOR)


def test_what_is_alike_is_run_once():
    decoder, rows = decoder_of(), []
    decoder.scores = lambda hidden: rows.append(hidden.shape[:2]) or Decoder.scores(decoder, hidden)
    images = images_for(decoder, 7)
    captions = [[1, 2, 3], [1, 2, 4, 5], [1, 2, 3], [2, 2]]
    log_likelihoods(decoder, images, captions)
    begun = {tuple(caption[:n]) for caption in captions for n in range(len(caption))}
    assert sum(n * p for n, p in rows) == 7 * len(begun) == 7 * 5


def test_cells_are_taken_to_the_gates_once_where_many_sentences_meet_them():
    decoder, shapes = decoder_of(layers=2, image_at=(1,), attention=4), []
    from_image = decoder.layers[1]._from_image
    decoder.layers[1]._from_image = lambda image: shapes.append(image.shape[1]) or from_image(image)
    images = images_for(decoder, 2)
    log_likelihoods(decoder, images, [[1, 2]])
    # Two steps, and three cells: not worth it.
    assert shapes == [1, 1]
    shapes.clear()
    log_likelihoods(decoder, images, [[1, 2, 3, 4, 5]])
    assert shapes == [3]


def test_layers_that_see_no_image_are_run_once_for_all_images():
    decoder, seen = decoder_of(), []
    step = decoder.layers[0].step
    decoder.layers[0].step = lambda below, context, memory: (
        seen.append(len(below)) or step(below, context, memory)
    )
    log_likelihoods(decoder, images_for(decoder, 40), [[1, 2, 3]], memory=1)
    assert seen == [1, 1, 1]


def test_memory_is_bounded():
    decoder, largest = decoder_of(), []
    decoder.scores = lambda hidden: largest.append(hidden[..., 0].numel()) or Decoder.scores(decoder, hidden)
    captions = [[a, b, c] for a in range(1, V) for b in range(1, V) for c in range(1, V)]
    rows = 40
    whole = log_likelihoods(decoder, images_for(decoder, 50), captions)
    assert max(largest) > 1000
    largest.clear()
    done = []
    pieces = log_likelihoods(
        decoder,
        images_for(decoder, 50),
        captions,
        memory=rows * 4 * 12 * 5,
        progress=lambda *now: done.append(now),
    )
    assert max(largest) <= rows
    assert len(done) > 1 and done[-1] == (125, 125)
    assert_close(pieces, whole)


def test_half_precision_is_near():
    decoder = decoder_of().float()
    images, captions = images_for(decoder, 5).float(), [[1, 2, 3], [4, 5]]
    with torch.autocast("cpu", torch.bfloat16):
        half = log_likelihoods(decoder, images, captions)
    assert (half - log_likelihoods(decoder, images, captions)).abs().max() < 0.1


def test_normalisation_is_by_the_mean_over_images_and_leaves_the_ranks_of_images():
    scores = torch.randn(6, 9, generator=torch.Generator().manual_seed(0)) * 5
    fair = normalised(scores)
    assert_close(fair, scores - scores.exp().mean(0).log())
    assert torch.equal(fair.argsort(0), scores.argsort(0))
    assert not torch.equal(fair.argsort(1), scores.argsort(1))
    # However improbable: a caption's likelihood itself is no number a computer has.
    assert (normalised(scores - 5000) - fair).abs().max() < 1e-2


@pytest.mark.parametrize("memory", [1, 4000, 2**20])
@pytest.mark.parametrize("k", [1, 3, 99])
def test_the_best_are_those_of_the_whole_table(k, memory):
    decoder = decoder_of()
    images = images_for(decoder, 5)
    captions = [[a, b] for a in range(1, V) for b in range(1, V)]
    table = log_likelihoods(decoder, images, captions)
    scores, which = best_captions(decoder, images, captions, k, memory=memory)
    expected = normalised(table).topk(min(k, 25), dim=1)
    assert_close(scores, expected.values)
    assert torch.equal(which, expected.indices)
    scores, which = best_images(decoder, images, captions, k, memory=memory)
    expected = table.T.topk(min(k, 5), dim=1)
    assert_close(scores, expected.values)
    assert torch.equal(which, expected.indices)


def test_blocks_hold_every_caption_once():
    decoder = decoder_of()
    captions = [[a, b] for a in range(1, V) for b in range(1, V)]
    numbers = torch.cat(
        [numbers for numbers, _ in blocks(decoder, images_for(decoder, 2), captions, memory=9000)]
    )
    assert sorted(numbers.tolist()) == list(range(25))


@pytest.mark.parametrize("empty", [[], [0], [0, 3]])
def test_a_caption_without_a_word_is_refused(empty):
    decoder = decoder_of()
    with pytest.raises(LrcnError, match="Caption 1 holds no word"):
        log_likelihoods(decoder, images_for(decoder, 2), [[1], empty])
