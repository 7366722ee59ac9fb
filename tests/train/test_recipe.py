"""Recipes: YAML there and back, one sentence for every mistake, defaults for a folder."""

from dataclasses import fields

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lrcn.config import from_values, merge, to_values, to_yaml
from lrcn.data.moves import MoveStyle
from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Augment, Preprocess
from lrcn.errors import LrcnError
from lrcn.models.cnn import EncoderConfig
from lrcn.models.recognizer import RecognizerConfig
from lrcn.train.loop import LoopConfig
from lrcn.train.optim import OptimConfig
from lrcn.train.recipe import (
    DataConfig,
    MovesData,
    Recipe,
    StudyConfig,
    changed,
    read_recipe,
    recipe_for_source,
)

FULL = Recipe(
    name="größer",
    description="two\nlines",
    data=DataConfig(moves=MovesData("photos", clips=("a", "b"), dev_style=MoveStyle())),
    model=RecognizerConfig(EncoderConfig(stage=2, pool="grid")),
    preprocess=Preprocess(64, "crop"),
    sampling=Sampling(rate=10, frames=None),
    augment=Augment(0.5, True),
    train=LoopConfig(precision="bf16", optim=OptimConfig("sgd", lr=1e-5)),
    tune=LoopConfig(epochs=2),
    study=StudyConfig(None, "person", (0, 1), {"GRU": {"model": {"recurrent": {"unit": "gru"}}}}),
)


def written(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("recipe", [Recipe(data=DataConfig("clips")), FULL], ids=["defaults", "everything"])
def test_a_recipe_survives_yaml(tmp_path, recipe):
    assert read_recipe(written(tmp_path, to_yaml(recipe))) == recipe
    assert from_values(Recipe, to_values(recipe)) == recipe


@given(st.floats(1e-12, 1e6), st.integers(1, 10**6), st.text("ab ~$ü'\"#:-\n", max_size=12))
def test_numbers_and_text_survive_yaml(tmp_path_factory, lr, batch, text):
    recipe = Recipe(
        description=text, data=DataConfig("clips"), train=LoopConfig(batch=batch, optim=OptimConfig(lr=lr))
    )
    assert read_recipe(written(tmp_path_factory.mktemp("r"), to_yaml(recipe))) == recipe


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("data: {source: c}\nmodle: {}", "modle is not a known setting: did you mean model?"),
        (
            "data: {source: c}\ntrain: {optim: {learning: 1}}",
            "train.optim.learning is not a known setting: known here are optimizer, lr, encoder_lr, momentum, "
            "weight_decay, schedule, warmup, step_every, gamma, clip_norm, rules.",
        ),
        ("data: {source: c}\ntrain: {epochs: many}", "train.epochs is 'many': give a whole number."),
        ("data: {source: c}\ntrain: {epochs: 1.5}", "train.epochs is 1.5: give a whole number."),
        ("data: {source: 3}", "data.source is 3: give text."),
        ("data: {source: c, frame_cache: [a]}", "data.frame_cache is ['a']: give text."),
        ("data: {source: c}\ntrain: {optim: {lr: fast}}", "train.optim.lr is 'fast': give a number."),
        (
            "data: {source: c}\nmodel: {recurrent: {unit: lsmt}}",
            "model.recurrent.unit is 'lsmt': choose one of lstm, gru, rnn, caffe-rnn, none.",
        ),
        (
            "data: {source: c}\nmodel: {reading: {reads: appearance}}",
            "model.reading.reads is 'appearance': give a list.",
        ),
        ("data: {source: c}\ntrain: 3", "train is 3: give names and values below it."),
        (
            "data: {source: c}\naugment: {shift: true}",
            "augment.shift has no room to move in: set preprocess.frame, such as [240, 320].",
        ),
        ("data: {moves: {length: 3}}", "data.moves.photos is missing: give it a value."),
        ("name: x", "{path} names no data: set data.source or data.moves."),
        ("- a", "{path} holds no settings: write `name: value` lines."),
        ("a: b: c", "{path}, line 1 is not valid YAML; mend it there."),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, text, sentence):
    path = written(tmp_path, text)
    with pytest.raises(LrcnError) as raised:
        read_recipe(path)
    assert str(raised.value) == sentence.replace("{path}", str(path))


def test_a_recipe_that_is_not_there_is_named(tmp_path):
    with pytest.raises(LrcnError, match=r"Cannot read .*none\.yaml: No such file"):
        read_recipe(tmp_path / "none.yaml")


def test_changes_are_laid_over_a_recipe_and_checked(tmp_path):
    path = written(tmp_path, "data: {source: c}\ntrain: {epochs: 3, batch: 2}")
    recipe = read_recipe(path, {"train": {"epochs": 5}, "tune": {}})
    assert (recipe.train.epochs, recipe.train.batch, recipe.tune) == (5, 2, LoopConfig())
    assert changed(recipe, {"tune": None, "data": {"seed": 4}}).data == DataConfig("c", seed=4)
    with pytest.raises(LrcnError, match="did you mean epochs"):
        read_recipe(path, {"train": {"epoch": 5}})
    with pytest.raises(LrcnError, match="did you mean epochs"):
        changed(recipe, {"train": {"epoch": 5}})


def test_a_recipe_may_say_what_is_not_as_in_another(tmp_path):
    written(tmp_path, "name: first\ndata: {source: c}\ntrain: {epochs: 3, batch: 2}\ntune: {}")
    (tmp_path / "second.yaml").write_text("base: recipe.yaml\nname: second\ntrain: {batch: 4}\ntune: null")
    expected = Recipe("second", data=DataConfig("c"), train=LoopConfig(epochs=5, batch=4))
    recipe = read_recipe(tmp_path / "second.yaml", {"train": {"epochs": 5}})
    assert recipe == expected == read_recipe(written(tmp_path, to_yaml(recipe)))


SETTLED = """
data: {resplit: false, allow_leakage: false, seed: 0, streams: null, shares: {train: 0.7, dev: 0.15, test: 0.15}}
model:
  encoder:
    {name: tf_efficientnet_lite0, weights: timm, stage: null, pool: avg, grid: 4, squeeze: 64, tune: 0,
     batchnorm: frozen, chunk: 16, dropout: 0.5, mean: imagenet, width: 1.0}
  reading: {reads: [appearance], features: 256, reach: 1, dropout: 0.5, map_dropout: 0.0}
  recurrent:
    {unit: lstm, size: 256, layers: 1, dropout: 0.5, one_bias: false, init: pytorch, init_range: 0.01,
     bidirectional: false}
  head: {pool: mean, size: 64}
preprocess:
  {size: 112, fit: squash, frame: null, subject: {crop: false, background: 16, least: 0.01, room: 1.7, level: 0},
   motion: {kind: none, method: dis, preset: fast, scale: 16.0, gain: 1.0, decay: [0.5, 0.85], weights: torchvision}}
sampling: {rate: null, frames: 16, spread: window, stride: null}
augment: {scale: 1.0, flip: false, colour: 0.0, rotate: 0.0, shift: false}
views: 4
train:
  {epochs: 30, batch: 16, accumulate: 1, precision: fp32, keep: best, patience: 0, seed: 0, steps: null,
   optim: {optimizer: adamw, lr: 0.001, encoder_lr: 0.1, momentum: 0.9, weight_decay: 0.01, schedule: cosine,
           warmup: 0.05, step_every: 10000, gamma: 0.1, clip_norm: 5.0, rules: []}}
tune: null
tune_stages: -1
label_smoothing: 0.0
step_loss: null
"""


def test_what_a_recipe_leaves_unsaid_means_what_it_always_meant():
    """Recipes leave defaults out, and so do the keys of runs and caches: another default needs another name."""
    settled = yaml.safe_load(SETTLED)
    assert merge(to_values(Recipe()), settled) == to_values(Recipe())


def test_home_and_environment_are_filled_in(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPS", "/data/clips")
    monkeypatch.setenv("HOME", "/home/me")
    text = "data: {source: $CLIPS/a, moves: {photos: ~/photos, clips: ['${CLIPS}/b', ~/c]}}"
    recipe = read_recipe(written(tmp_path, text), {"data": {"frame_cache": "~/frames"}})
    assert recipe.data.source == "/data/clips/a" and recipe.data.frame_cache == "/home/me/frames"
    assert recipe.data.moves is not None
    assert recipe.data.moves.photos == "/home/me/photos"
    assert recipe.data.moves.clips == ("/data/clips/b", "/home/me/c")


@pytest.mark.parametrize("gpu", [False, True])
def test_a_folder_becomes_a_recipe_that_suits_the_machine(tmp_path, monkeypatch, gpu):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: gpu)
    recipe, sentences = recipe_for_source(tmp_path / "my-clips")
    assert (recipe.name, recipe.data.source) == ("my-clips", str(tmp_path / "my-clips"))
    assert (recipe.tune is not None) == gpu
    assert recipe.model.encoder.tune == 0 and recipe.sampling.frames == 16
    assert any("GPU" in sentence for sentence in sentences) and any("mirrored" in s for s in sentences)
    given, _ = recipe_for_source(tmp_path / "c.csv", {"train": {"epochs": 2}, "augment": {"flip": False}})
    assert (given.name, given.train.epochs, given.train.batch, given.augment.flip) == ("c", 2, 16, False)
    with pytest.raises(LrcnError, match="did you mean epochs"):
        recipe_for_source(tmp_path, {"train": {"epoch": 2}})


def test_every_setting_says_what_it_is():
    for kind in (Recipe, DataConfig, MovesData, StudyConfig, LoopConfig, OptimConfig):
        missing = [item.name for item in fields(kind) if f"{item.name}" not in (kind.__doc__ or "")]
        assert not missing, kind
