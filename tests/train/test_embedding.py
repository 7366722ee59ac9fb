"""`task: embed`: from a recipe to a model that finds, and back to it after a stop."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from lrcn import Index
from lrcn.cli import main
from lrcn.config import from_values, read_layers, to_yaml
from lrcn.data.manifest import Row, write_manifest
from lrcn.data.photos import collate_captioned
from lrcn.errors import LrcnError
from lrcn.models.cnn import EncoderConfig
from lrcn.models.joint import JointConfig, JointEmbedding
from lrcn.models.recurrent import RecurrentConfig
from lrcn.models.zoo import load
from lrcn.train.embedding import EmbedRecipe, EmbedTask, train

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 60, 220), "yellow": (230, 220, 40)}
SHAPES = ("square", "circle")


def photo(colour: str, shape: str, seed: int) -> Image.Image:
    draws = np.random.default_rng(seed)
    image = Image.new("RGB", (32, 32), (240, 240, 240))
    x, y = draws.integers(0, 8, 2).tolist()
    draw = ImageDraw.Draw(image)
    (draw.rectangle if shape == "square" else draw.ellipse)((x, y, x + 22, y + 22), fill=COLOURS[colour])
    return image


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """A manifest of coloured shapes, two sentences each, in train and dev; tests must not change it."""
    folder = tmp_path_factory.mktemp("shapes")
    rows = []
    for seed in range(32):
        colour, shape = list(COLOURS)[seed % 4], SHAPES[seed // 4 % 2]
        path = folder / "photos" / f"{colour}-{shape}-{seed}.png"
        path.parent.mkdir(exist_ok=True)
        photo(colour, shape, seed).save(path)
        captions = (f"a {colour} {shape}", f"here is one {shape} that is {colour}")
        rows.append(Row(str(path), captions=captions, split="train" if seed < 24 else "dev"))
    write_manifest(rows, folder / "rows.jsonl")
    return folder


def recipe_for(folder, **changes) -> EmbedRecipe:
    values = {
        "task": "embed",
        "name": "shapes",
        "data": {"source": str(folder / "rows.jsonl")},
        "words": {"min_count": 1},
        "model": {
            "encoder": {"name": "test_efficientnet", "weights": "none"},
            "size": 16,
            "embedding": 8,
            "recurrent": {"unit": "gru", "size": 12, "dropout": 0.0},
            "dropout": 0.0,
            "loss": "infonce",
        },
        "preprocess": {"size": 32},
        "train": {"epochs": 12, "batch": 12, "optim": {"lr": 0.02, "weight_decay": 0.0}},
        "device": "cpu",
    }
    return from_values(EmbedRecipe, values | changes)


def test_a_recipe_learns_to_find(shapes, tmp_path):
    told = []
    result = train(recipe_for(shapes), tmp_path / "run", told.append)
    assert "Photos: 24 training, 8 dev." in told
    recall = result.metrics["dev"]["caption_to_image"]
    # Each of the eight photos is of its own kind; by chance the right one would stand at 4.5.
    assert recall["mean_rank"] < 3
    assert result.lines()[0].startswith("dev: caption -> image: R@1")
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == result.metrics
    card = (result.folder / "README.md").read_text()
    assert "| dev | sentence to photo | 8 |" in card
    assert {"recipe.yaml", "curves.png"} <= {path.name for path in (tmp_path / "run").iterdir()}
    loaded = load(result.folder, "cpu", tasks=("embed",))
    assert len(Index(shapes / "photos", loaded).search("a blue square", 4)) == 4
    with pytest.raises(LrcnError, match="is a model that finds photos by sentences"):
        load(result.folder, "cpu", tasks=("caption",))


def test_a_stopped_run_ends_with_the_same_weights(shapes, tmp_path):
    brief = {"train": {"epochs": 2, "batch": 12, "checkpoint_seconds": 0.0}}
    whole = train(recipe_for(shapes, **brief), tmp_path / "whole", lambda _: None)
    steps = 0
    usual = EmbedTask.loss

    def stop(self, model, batch):
        nonlocal steps
        steps += 1
        if steps == 6:
            raise KeyboardInterrupt
        return usual(self, model, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmbedTask, "loss", stop)
        with pytest.raises(KeyboardInterrupt):
            train(recipe_for(shapes, **brief), tmp_path / "stopped", lambda _: None)
    again = train(recipe_for(shapes, **brief), tmp_path / "stopped", lambda _: None)
    one, other = ((result.folder / "model.safetensors").read_bytes() for result in (whole, again))
    assert one == other
    with pytest.raises(LrcnError, match="other settings or data"):
        train(recipe_for(shapes, views=2, **brief), tmp_path / "stopped", lambda _: None)


def test_the_loss_takes_a_photo_with_its_own_sentence():
    torch.manual_seed(0)
    config = JointConfig(
        EncoderConfig("test_efficientnet", "none"),
        size=6,
        recurrent=RecurrentConfig("gru", 5, dropout=0),
        dropout=0.0,
    )
    model = JointEmbedding(config, 9).double()
    maps = torch.randn(3, 1, model.encoder.channels, dtype=torch.float64)
    said = [[1, 2, 0], [3, 4, 5, 6, 0], [7, 0]]
    items = [{"maps": maps[n], "sentences": [said[n]], "index": n % 2} for n in range(3)]
    images = model.images(maps=maps[:, 0])
    sentences = torch.cat([model.sentences(torch.tensor([ids]), torch.tensor([len(ids)])) for ids in said])
    expected = model.loss(images, sentences, torch.tensor([0, 1, 0]))
    task = EmbedTask(None)  # type: ignore[arg-type]
    assert task.loss(model, collate_captioned(items)).item() == pytest.approx(expected.item())
    assert task.dev_score(model) is None


def test_the_cnn_may_learn_too(shapes, tmp_path):
    values = {"train": {"epochs": 1, "batch": 12}, "tune": {"epochs": 1, "batch": 12}, "tune_stages": 1}
    result = train(recipe_for(shapes, **values), tmp_path / "run", lambda _: None)
    assert (tmp_path / "run" / "tune" / "log.jsonl").exists()
    assert result.metrics["dev"]["caption_to_image"]["queries"] == 16


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"views": 0}, "views is 0"),
        ({"train": {"batch": 1}}, "batch is 1"),
        ({"model": {"attention": 2}}, "set encoder.pool to grid"),
        ({"model": {"attention": -1}}, "attention is -1"),
        ({"colour": 1}, "colour is not a known setting"),
    ],
)
def test_a_wrong_setting_is_one_sentence(tmp_path, changes, sentence):
    with pytest.raises(LrcnError, match=sentence):
        recipe_for(tmp_path, **changes)


def test_the_recipe_that_ships_is_one():
    values = read_layers(Path(__file__).parents[2] / "recipes" / "search-flickr8k.yaml")
    recipe = from_values(EmbedRecipe, values)
    assert (recipe.task, recipe.name) == ("embed", "search-flickr8k")


def test_the_command_trains_a_recipe(shapes, tmp_path, capsys):
    (tmp_path / "shapes.yaml").write_text(to_yaml(recipe_for(shapes)))
    out = tmp_path / "run"
    assert main(["train", str(tmp_path / "shapes.yaml"), "--out", str(out), "--train.epochs", "1"]) == 0
    assert f'lrcn search FOLDER "words" --model {out / "model"}' in capsys.readouterr().out
