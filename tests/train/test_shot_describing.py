"""From a captioner and a recogniser to a describer of shots, by one recipe."""

import json

import pytest
import torch
from made_photos import captioned_photos
from made_shots import SIDE, captioner_values, cut_film, describer_config, tiny_describer
from made_video import make_video

import lrcn
from lrcn.bench import run
from lrcn.cli import main
from lrcn.config import from_values, to_yaml
from lrcn.data.described_moves import clause_words
from lrcn.data.moves import MOVES
from lrcn.data.photos import PhotoPreprocess
from lrcn.data.sampling import Sampling
from lrcn.data.tokenizer import Tokenizer
from lrcn.data.transforms import Preprocess
from lrcn.errors import LrcnError
from lrcn.models.captioner import Captioner, CaptionerConfig
from lrcn.models.captioner_folder import save_captioner
from lrcn.models.folder import save_model
from lrcn.models.recognizer import Recognizer
from lrcn.models.shot_describer_folder import save_shot_describer
from lrcn.train.shot_describing import ShotRecipe, train

SHAPES = Tokenizer(("<unk>", "a", "red", "blue", "circle", "square", "left", "of", "there", "is", "and"))


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Settings of a recipe, with a captioner, a recogniser and photos as files."""
    folder = tmp_path_factory.mktemp("parts")
    torch.manual_seed(0)
    captioner = Captioner(from_values(CaptionerConfig, captioner_values()), SHAPES.size)
    save_captioner(folder / "captioner", captioner, PhotoPreprocess(SIDE), SHAPES)
    recognizer = Recognizer(describer_config().recognizer, list(MOVES))
    save_model(folder / "moves", recognizer, Preprocess(SIDE // 2), Sampling(rate=10.0))
    return {
        "data": {"source": str(captioned_photos(folder / "photos", train=18, dev=9, test=9))},
        "task": "describe-shots",
        "captioner": str(folder / "captioner"),
        "recognizer": str(folder / "moves"),
        "style": {"frames": 3, "size": SIDE, "shake": 0.0},
        "train": {"epochs": 1, "batch": 6, "optim": {"rules": [{"parameters": "tell.*", "lr": 5.0}]}},
        "decoding": {"beam": 2, "max_length": 10},
        "device": "cpu",
    }


@pytest.fixture(scope="module")
def trained(parts, tmp_path_factory):
    """What one run leaves."""
    out = tmp_path_factory.mktemp("shots")
    (out / "shots.yaml").write_text(to_yaml({**parts, "name": "shots"}))
    assert main(["train", str(out / "shots.yaml"), "--out", str(out / "run")]) == 0
    return out / "run"


def test_a_recipe_leaves_a_model_with_its_numbers(trained):
    metrics = json.loads((trained / "metrics.json").read_text())
    assert {"clips", "move_right", "direction_right", "wrong", "rest"} <= set(metrics["test"])
    assert metrics["dev"]["clips"] == 9 and metrics["headline"].startswith("test move")
    for name in ("recipe.yaml", "curves.png", "dev.jsonl", "test.jsonl", "train/log.jsonl"):
        assert (trained / name).stat().st_size > 0
    loaded = lrcn.load(trained / "model", "cpu")
    # All words of the captioner keep their places, those of the clauses follow.
    assert loaded.tokenizer.words[: len(SHAPES.words)] == SHAPES.words
    assert set(loaded.tokenizer.words) == {*SHAPES.words, *clause_words()}
    assert loaded.watched.size == SIDE // 2 and loaded.preprocess.size == SIDE
    card = (trained / "model" / "README.md").read_text()
    assert "derived" in card and "Trained on** 18 clips with 36 sentences" in card


def test_what_is_frozen_stays_and_the_rest_learns(parts, trained):
    model = lrcn.load(trained / "model", "cpu").model
    captioner = lrcn.load(parts["captioner"], "cpu").model
    recognizer = lrcn.load(parts["recognizer"], "cpu").model
    for one, other, same in (
        (model.recognizer, recognizer, True),
        (model.captioner.encoder, captioner.encoder, True),
        (model.captioner.decoder.layers, captioner.decoder.layers, False),
    ):
        pairs = zip(one.parameters(), other.parameters(), strict=True)
        assert all(torch.equal(*pair) for pair in pairs) == same


def test_the_bench_and_the_comparison_without_motion(parts, tmp_path):
    pooled = train(
        from_values(ShotRecipe, {**parts, "pooled": True, "train": {"epochs": 1}}), tmp_path / "p", print
    )
    model = lrcn.load(pooled.folder, "cpu").model
    assert model.recognizer is None and model.config.pooled
    names = {"model": str(pooled.folder), "captioner": parts["captioner"]}
    rows = run("describe-moves", photos=parts["data"]["source"], clips=4, **names)["rows"]
    assert [row["clips"] for row in rows] == [4, 4, 4]
    assert 0 <= rows[0]["move"] <= 1 and rows[2]["name"].endswith("the photos") and "move" not in rows[2]
    with pytest.raises(LrcnError, match="needs captioned photos"):
        run("describe-moves")


def test_sizes_that_differ_are_told(parts, tmp_path):
    recipe = from_values(ShotRecipe, {**parts, "style": {"frames": 3, "size": 16}})
    with pytest.raises(LrcnError, match=r"style.size is 16, and .* reads 32 pixels"):
        train(recipe, tmp_path / "run", print)


def test_the_bench_of_a_shot_list_has_its_stages(tmp_path):
    save_shot_describer(tmp_path / "model", tiny_describer())
    film = make_video(tmp_path / "film.mp4", pictures=list(cut_film([20, 20])), count=40, size=(48, 48))
    rows = run("describe", video=str(film), model=str(tmp_path / "model"), repeats=1)["rows"]
    assert len(rows) == 4 and all(row["seconds"] >= 0 and row["of_film"] >= 0 for row in rows)
