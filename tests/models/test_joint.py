"""The joint embedding: its vectors, its losses and its search, against loops and sorting."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lrcn.config import from_values, to_values
from lrcn.errors import LrcnError
from lrcn.models.cnn import EncoderConfig
from lrcn.models.joint import JointConfig, JointEmbedding, contrastive_loss, nearest, ranking_loss
from lrcn.models.recurrent import RecurrentConfig

few = settings(max_examples=15, deadline=None, derandomize=True)
V = 9


@lru_cache
def model_of(
    pool: str = "avg", sentence: str = "mean", both: bool = False, loss: str = "hardest"
) -> JointEmbedding:
    torch.manual_seed(0)
    config = JointConfig(
        EncoderConfig("test_efficientnet", "none", pool=pool, grid=2, squeeze=3),
        size=6,
        embedding=4,
        recurrent=RecurrentConfig("gru", 5, bidirectional=both),
        sentence=sentence,
        loss=loss,
    )
    return JointEmbedding(config, V).double().eval()


def pictures(count: int) -> Tensor:
    random = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=random)


def unit(count: int, size: int = 6, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(
        torch.randn(count, size, generator=random, dtype=torch.float64), dim=1
    )


def assert_close(one: Tensor, other: Tensor, atol: float = 1e-10) -> None:
    assert one.shape == other.shape and (one - other).abs().max() <= atol


# ---- vectors ----


@pytest.mark.parametrize("pool", ["avg", "grid"])
def test_images_become_vectors_of_length_one(pool):
    model, images = model_of(pool), pictures(3)
    with torch.no_grad():
        vectors = model.images(images)
        assert_close(vectors.norm(dim=1), torch.ones(3, dtype=torch.float64))
        assert_close(model.images(maps=model.encoder.maps(images)), vectors)
        assert_close(model.images(images[1:2])[0], vectors[1])
        assert (vectors[0] - vectors[1]).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("sentence", "both"), [("last", False), ("mean", False), ("max", False), ("mean", True), ("max", True)]
)
@few
@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_sentences_become_vectors_of_length_one_whatever_stands_past_their_end(sentence, both, lengths):
    model = model_of("avg", sentence, both)
    words = torch.randint(0, V, (len(lengths), max(lengths) + 1), generator=torch.Generator().manual_seed(2))
    dirty = words.clone()
    for row, length in enumerate(lengths):
        dirty[row, length:] = -100
    with torch.no_grad():
        vectors = model.sentences(dirty, torch.tensor(lengths))
        assert_close(vectors.norm(dim=1), torch.ones(len(lengths), dtype=torch.float64))
        for row, length in enumerate(lengths):
            alone = model.sentences(words[row : row + 1, :length], torch.tensor([length]))
            assert_close(alone[0], vectors[row])


def test_attention_gives_weighted_means_of_the_cells_wherever_they_are():
    torch.manual_seed(0)
    encoder = EncoderConfig("test_efficientnet", "none", pool="grid", grid=2, squeeze=0)
    model = JointEmbedding(JointConfig(encoder, size=6, attention=3), V).double().eval()
    maps = torch.randn(2, model.encoder.channels, 2, 2, dtype=torch.float64)
    with torch.no_grad():
        assert_close(model.images(maps=maps.flip(2, 3)), model.images(maps=maps))
        cells = model.encoder.squeeze(maps).flatten(2).transpose(1, 2)
        weights = model.attend(cells).softmax(1)
        means = [(weights[:, :, head : head + 1] * cells).sum(1) for head in range(3)]
        seen = torch.nn.functional.normalize(model.see(torch.cat(means, 1)), dim=1)
        assert_close(model.images(maps=maps), seen)
    with pytest.raises(LrcnError, match=r"set encoder\.pool to grid"):
        JointConfig(attention=1)


def test_the_order_of_words_is_read():
    model = model_of()
    words = torch.tensor([[1, 2, 0], [2, 1, 0]])
    with torch.no_grad():
        one, other = model.sentences(words, torch.tensor([3, 3]))
    assert (one - other).abs().max() > 1e-4


# ---- losses ----


def ranking_by_hand(products: Tensor, same: Tensor, margin: float, hardest: bool) -> float:
    total, wrong = 0.0, 0
    for i in range(len(products)):
        others = [j for j in range(len(products)) if not same[i, j]]
        wrong += len(others)
        for slips in (
            [max(0.0, float(margin - products[i, i] + products[i, j])) for j in others],
            [max(0.0, float(margin - products[i, i] + products[j, i])) for j in others],
        ):
            total += (max(slips, default=0.0) / len(products)) if hardest else sum(slips)
    return total if hardest else total / max(wrong, 1)


@pytest.mark.parametrize("hardest", [True, False])
@few
@given(seed=st.integers(0, 999), owners=st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_the_ranking_loss_is_the_papers(hardest, seed, owners):
    products = unit(len(owners), seed=seed) @ unit(len(owners), seed=seed + 1).T
    owner = torch.tensor(owners)
    same = owner[:, None] == owner
    expected = ranking_by_hand(products, same, 0.3, hardest)
    assert float(ranking_loss(products, same, 0.3, hardest=hardest)) == pytest.approx(expected)


def test_the_contrastive_loss_leaves_out_other_sentences_of_the_same_image():
    scores = 5 * torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    different = torch.eye(3, dtype=torch.bool)
    by_image, by_sentence = (-table.log_softmax(1).diagonal().mean() for table in (scores, scores.T))
    assert_close(contrastive_loss(scores, different), (by_image + by_sentence) / 2)
    same = different.clone()
    same[0, 1] = same[1, 0] = True
    harder = scores.clone()
    harder[0, 1] += 10
    assert_close(contrastive_loss(scores, same), contrastive_loss(harder, same))
    assert contrastive_loss(harder, different) > contrastive_loss(scores, different) + 0.5


@pytest.mark.parametrize("loss", ["hardest", "all", "infonce"])
def test_every_loss_learns_to_tell_pairs_apart(loss):
    torch.manual_seed(1)
    config = JointConfig(
        EncoderConfig("test_efficientnet", "none"),
        size=8,
        embedding=8,
        recurrent=RecurrentConfig("gru", 8, dropout=0.0),
        dropout=0.0,
        loss=loss,
    )
    model = JointEmbedding(config, V)
    maps = model.encoder.maps(pictures(4))
    words, lengths = torch.tensor([[1, 2, 0], [2, 1, 0], [3, 0, 0], [4, 5, 0]]), torch.tensor([3, 3, 2, 3])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    image_of = torch.arange(4)
    for _ in range(150):
        optimizer.zero_grad()
        model.loss(model.images(maps=maps), model.sentences(words, lengths), image_of).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        _, found = nearest(model.sentences(words, lengths), model.images(maps=maps), 1)
        loss_after = model.loss(model.images(maps=maps), model.sentences(words, lengths))
    assert found[:, 0].tolist() == [0, 1, 2, 3] and loss_after.isfinite()


def test_the_temperature_is_learned_and_bounded():
    model = model_of(loss="infonce")
    images, sentences = unit(4), unit(4, seed=1)
    with torch.no_grad():
        model.log_scale.fill_(50.0)
        expected = contrastive_loss(100 * images @ sentences.T, torch.eye(4, dtype=torch.bool))
        assert_close(model.loss(images, sentences), expected)
    assert "log_scale" not in dict(model_of().named_parameters())


# ---- search ----


@few
@given(
    items=st.integers(1, 60),
    queries=st.integers(1, 5),
    k=st.integers(1, 70),
    memory=st.sampled_from([1, 200, 10**6]),
    on_disk=st.booleans(),
)
def test_the_nearest_are_those_of_the_whole_table(items, queries, k, memory, on_disk):
    asked, among = unit(queries).float(), unit(items, seed=1).float()
    products, found = nearest(asked, among.numpy() if on_disk else among, k, memory=memory)
    table = asked @ among.T
    order = table.argsort(1, descending=True)[:, : min(k, items)]
    assert torch.equal(found, order)
    assert_close(products, table.gather(1, order), 1e-6)


def test_search_reads_half_precision_from_disk(tmp_path):
    among = unit(50, seed=1).numpy()
    np.save(tmp_path / "index.npy", among.astype(np.float16))
    on_disk = np.load(tmp_path / "index.npy", mmap_mode="r")
    products, found = nearest(unit(3).float(), on_disk, 5, memory=300)
    _, exact = nearest(unit(3).float(), among.astype(np.float16).astype(np.float32), 5)
    assert torch.equal(found, exact) and products.dtype == torch.float32


# ---- config ----


def test_its_config_survives_yaml():
    config = model_of("grid", "max", True).config
    assert from_values(JointConfig, to_values(config)) == config


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"size": 0}, "size"),
        ({"embedding": 0}, "embedding"),
        ({"dropout": 1.0}, "dropout"),
        ({"margin": 0.0}, "margin"),
        ({"sentence": "last", "recurrent": RecurrentConfig(bidirectional=True)}, "set mean or max"),
    ],
)
def test_impossible_embeddings_are_refused(wrong, said):
    with pytest.raises(LrcnError, match=said):
        JointConfig(**wrong)


def test_pictures_must_be_pictures():
    with pytest.raises(LrcnError, match="uint8"):
        model_of().images(pictures(1).float())
