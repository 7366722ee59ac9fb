"""How well models find: against every pair on its own."""

import numpy as np
import pytest
import torch
from PIL import Image

from lrcn.data.manifest import Row
from lrcn.data.photos import PhotoDataset, PhotoPreprocess, encoded_rows
from lrcn.data.tokenizer import EOS, UNKNOWN, Tokenizer
from lrcn.errors import LrcnError
from lrcn.evaluate import finding
from lrcn.evaluate.finding import evaluate, measure_embedding
from lrcn.evaluate.retrieval import measure_retrieval
from lrcn.likelihood import normalised
from lrcn.models.captioner import Captioner, CaptionerConfig
from lrcn.models.captioner_folder import LoadedCaptioner
from lrcn.models.cnn import EncoderConfig
from lrcn.models.decoder import DecoderConfig
from lrcn.models.joint import JointConfig, JointEmbedding
from lrcn.models.joint_folder import LoadedJoint
from lrcn.models.recurrent import RecurrentConfig

TOKENIZER = Tokenizer((UNKNOWN, "a", "red", "green", "blue", "square"))
PREPROCESS = PhotoPreprocess(32)
TABLE = torch.arange(28.0).view(4, 7) / -9
CAPTIONS = (("a red square", "red"), ("a green square",), ("a blue", "square blue", "a"), ("green a",))


@pytest.fixture
def rows(tmp_path):
    """Photos of noise with captions."""
    for number in range(len(CAPTIONS)):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return [Row(str(tmp_path / f"{number}.png"), captions=said) for number, said in enumerate(CAPTIONS)]


def joint() -> LoadedJoint:
    torch.manual_seed(0)
    config = JointConfig(
        EncoderConfig("test_efficientnet", "none"),
        size=6,
        embedding=4,
        recurrent=RecurrentConfig("gru", 5, dropout=0),
    )
    return LoadedJoint(JointEmbedding(config, TOKENIZER.size).eval(), PREPROCESS, TOKENIZER)


def captioner() -> LoadedCaptioner:
    torch.manual_seed(0)
    config = CaptionerConfig(
        EncoderConfig("test_efficientnet", "none"),
        features=6,
        decoder=DecoderConfig(size=5, embedding=4, init_range=1.0),
    )
    return LoadedCaptioner(Captioner(config, TOKENIZER.size).eval(), PREPROCESS, TOKENIZER)


def pixels_of(row: Row) -> torch.Tensor:
    return PREPROCESS(np.asarray(Image.open(row.path)))[None]


def test_a_joint_embedding_is_measured_by_its_products(rows):
    loaded = joint()
    images = torch.cat([loaded.images(pixels_of(row)) for row in rows])
    said = [TOKENIZER.encode(caption) for row in rows for caption in row.captions]
    sentences = torch.cat([loaded.sentences([ids]) for ids in said])
    owners = [number for number, row in enumerate(rows) for _ in row.captions]
    expected = measure_retrieval((images @ sentences.T).numpy(), owners)
    told = []
    assert evaluate(loaded, rows, lambda *step: told.append(step)).metrics == expected
    assert told == [("reading photos", 4, 4)]
    ids, _ = encoded_rows(rows, TOKENIZER)
    assert measure_embedding(loaded.model, PhotoDataset(rows, PREPROCESS), ids) == expected


def test_a_captioner_is_measured_by_its_likelihoods(rows):
    loaded = captioner()
    said = [TOKENIZER.encode(caption)[:-1] for row in rows for caption in row.captions]
    table = torch.zeros(len(rows), len(said))
    with torch.no_grad():
        for i, row in enumerate(rows):
            for j, ids in enumerate(said):
                log_probs = loaded.model(pixels_of(row), torch.tensor([[EOS, *ids[:-1]]])).log_softmax(2)[0]
                table[i, j] = sum(float(log_probs[step, word]) for step, word in enumerate(ids))
    owners = [number for number, row in enumerate(rows) for _ in row.captions]
    expected = measure_retrieval(table.numpy(), owners, captions_scores=normalised(table).numpy())
    found = evaluate(loaded, rows)
    assert found.metrics == expected
    assert found.as_they_are == measure_retrieval(table.numpy(), owners).image_to_caption
    assert [line.split(":")[0] for line in found.lines()] == [
        "caption -> image",
        "image -> caption",
        "the same, not normalised",
    ]
    assert found.to_json()["image_to_caption_not_normalised"]["candidates"] == len(said)
    assert found.to_json()["image_to_caption"]["queries"] == 4


def test_likelihoods_may_be_computed_in_half_precision(rows, monkeypatch):
    kinds = []
    monkeypatch.setattr(
        finding, "log_likelihoods", lambda *_, **__: kinds.append(torch.is_autocast_enabled("cpu")) or TABLE
    )
    for half in (False, True):
        evaluate(captioner(), rows, half=half)
    assert kinds == [False, True]


def test_a_photo_that_cannot_be_read_is_left_out(rows, tmp_path):
    bad = Row(str(tmp_path / "bad.png"), captions=("red",))
    found = evaluate(joint(), [rows[0], bad, *rows[1:]])
    assert list(found.left_out) == [bad.path]
    assert found.metrics == evaluate(joint(), rows).metrics
    with pytest.raises(LrcnError, match="None of the 1 photos can be read"):
        evaluate(joint(), [bad])


def test_captions_without_a_word_are_left_out(rows):
    silent = Row(rows[0].path, captions=(" .",))
    assert evaluate(joint(), [*rows[1:], silent]).metrics.caption_to_image.queries == 5
    with pytest.raises(LrcnError, match="No caption holds a word"):
        evaluate(joint(), [silent])
