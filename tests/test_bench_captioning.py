"""`lrcn bench caption`: all its rows, on a made set; the speeds themselves are nobody's to promise."""

import json
from importlib.util import find_spec

import pytest
import torch
from made_photos import captioned_photos

from lrcn.bench.captioning import caption
from lrcn.data.manifest import read_manifest
from lrcn.data.photos import PhotoPreprocess
from lrcn.data.tokenizer import UNKNOWN, Tokenizer
from lrcn.generate import Decoding
from lrcn.models.captioner import Captioner, CaptionerConfig
from lrcn.models.captioner_folder import save_captioner
from lrcn.models.cnn import EncoderConfig
from lrcn.models.decoder import DecoderConfig

WORDS = (UNKNOWN, "a", "red", "blue", "circle", "square", "of", "left")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A captioner's folder and a manifest of photos."""
    folder = tmp_path_factory.mktemp("bench")
    torch.manual_seed(0)
    encoder = EncoderConfig("test_efficientnet", "none", pool="grid", grid=2, squeeze=0)
    config = CaptionerConfig(encoder, features=8, decoder=DecoderConfig(size=8, embedding=8, attention=4))
    tokenizer = Tokenizer(WORDS)
    model = Captioner(config, tokenizer.size)
    save_captioner(folder / "model", model, PhotoPreprocess(32), tokenizer, Decoding(max_length=4))
    return folder / "model", captioned_photos(folder / "photos", train=2, dev=3)


def test_it_counts_captions_and_pairs(made):
    model, manifest = made
    rows = caption(str(manifest), str(model), images=2, beams=(1, 2), repeats=1, captions=3, naive=5)
    assert [row["name"] for row in rows] == [
        "the CNN alone, photos read and resized",
        "captions, beam 1",
        "captions, beam 1, --no-half",
        "captions, beam 2",
        "captions, beam 2, --no-half",
        "likelihood of 3 captions x 2 photos, all at once",
        "likelihood of 3 captions x 2 photos, 5 pairs one by one",
    ]
    assert all(row["photos_per_s"] > 0 and row["ratio_to_cnn"] > 0 for row in rows[:5])
    assert all(row["pairs_per_s"] > 0 and row["ratio_to_table"] > 0 for row in rows[5:])


def test_the_photos_that_ship_are_there_without_captions(made):
    rows = caption(model=str(made[0]), beams=(1,), repeats=1)
    written = ["captions, beam 1", "captions, beam 1, --no-half"]
    assert [row["name"] for row in rows] == ["the CNN alone, photos read and resized", *written]


def test_metrics_stand_beside_the_official_ones_where_those_are_installed(made, tmp_path):
    model, manifest = made
    said = [{"path": row.path, "caption": row.captions[0]} for row in read_manifest(manifest)]
    told = tmp_path / "told.jsonl"
    told.write_text("".join(json.dumps(one) + "\n" for one in said))
    files = {"references": str(manifest), "predictions": str(told)}
    rows = caption(model=str(model), images=1, beams=(), repeats=1, **files)
    official = find_spec("pycocoevalcap") is not None
    assert [row["name"].split(", ")[-1] for row in rows[1:]] == ["lrcn", "pycocoevalcap"][: 1 + official]
