"""Recipes: each says what to expect; UCF101's have the paper's settings and run in small, from data to numbers."""

import json
import os
import subprocess
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path

import pytest
import torch
from official_trees import make_ucf101

from lrcn.cli import main
from lrcn.config import from_values, merge, read_layers, to_yaml
from lrcn.data import datasets
from lrcn.models.recognizer import Recognizer
from lrcn.models.zoo import load
from lrcn.train.jobs import JOBS
from lrcn.train.optim import build_optimizer
from lrcn.train.recipe import Recipe, changed, read_recipe
from lrcn.train.splits import single_split

ROOT = Path(__file__).parents[1] / "recipes"
UCF101 = ROOT / "ucf101"
NAMES = sorted(path.stem for path in UCF101.glob("*.yaml"))
CLASSES = ("Archery", "Biking", "HandstandPushups", "YoYo")

# The network a fiftieth as wide, a few steps, the quickest flow: what remains is the way through all of it.
SMALL = {
    "model.encoder.width": "0.02",
    "model.encoder.chunk": "16",
    "model.recurrent.size": "4",
    "preprocess.motion.preset": "ultrafast",
    "train.steps": "2",
    "train.batch": "4",
    "train.workers": "0",
    "device": "cpu",
}
MODERN = {
    "model.encoder.name": "test_convnext",
    "model.encoder.width": "1",
    "model.reading.features": "8",
    "preprocess.size": "64",
    "sampling.frames": "4",
}


def options(settings):
    return [text for name, value in settings.items() for text in (f"--{name}", value)]


def train(name, out, **settings):
    """Runs a recipe by the command line; returns what it measured on test."""
    given = SMALL | {"data.source": "ucf101.jsonl", "model.encoder.weights": "none"} | settings
    assert main(["train", str(UCF101 / f"{name}.yaml"), "--out", out, *options(given)]) == 0
    return json.loads(Path(out, "metrics.json").read_text())["test"]


def network(name) -> tuple[Recipe, Recognizer]:
    """A recipe with its network of 101 classes, without memory for weights."""
    recipe = changed(read_recipe(UCF101 / f"{name}.yaml"), {"model": {"encoder": {"weights": "none"}}})
    with torch.device("meta"):
        return recipe, Recognizer(recipe.model, [str(number) for number in range(101)])


@pytest.fixture
def ucf101(tmp_path, monkeypatch):
    """A folder to work in, with UCF101 in miniature: four directions of motion, which no single frame tells."""
    make_ucf101(tmp_path / "UCF101", CLASSES, groups=4, clips=1, frames=18)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def recipe_of(values):
    """A recipe of any task."""
    task = values.get("task", "recognize")
    module = import_module(JOBS[task].partition(":")[0])
    (kind,) = (
        kind
        for kind in vars(module).values()
        if is_dataclass(kind) and any(item.name == "task" and item.default == task for item in fields(kind))
    )
    return from_values(kind, values)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_is_one_and_says_its_name_and_what_to_expect(path):
    values = read_layers(path)
    recipe = recipe_of(values)
    assert recipe.name == path.stem
    assert "Expected" in recipe.description
    for changes in recipe.study.variants.values() if getattr(recipe, "study", None) else ():
        recipe_of(merge(values, changes))


# ---- the paper's settings ----


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("single-frame-rgb", 78.13),
        ("single-frame-flow", 78.13),
        ("lrcn-fc6-rgb", 65.42),
        ("lrcn-fc6-flow", 65.42),
        ("lrcn-fc6-flow-1024", 82.02),
    ],
)
def test_the_networks_have_the_papers_size(name, millions):
    _, model = network(name)
    learned = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert learned / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize(
    ("name", "steps", "drop_every", "frames", "clip_norm", "mean", "dropout"),
    [
        ("single-frame-rgb", 5_000, 3_000, 128, 0, "imagenet", 0.5),
        ("single-frame-flow", 50_000, 20_000, 128, 0, "flow", 0.5),
        ("lrcn-fc6-rgb", 30_000, 10_000, 24 * 16, 5, "released", 0.9),
        ("lrcn-fc6-flow", 50_000, 20_000, 24 * 16, 15, "flow", 0.9),
        ("lrcn-fc6-flow-1024", 50_000, 20_000, 24 * 16, 15, "flow", 0.9),
    ],
)
def test_training_is_the_released_one(name, steps, drop_every, frames, clip_norm, mean, dropout):
    recipe, model = network(name)
    optim = recipe.train.optim
    assert (recipe.train.steps, optim.step_every, optim.clip_norm) == (steps, drop_every, clip_norm)
    assert recipe.train.batch * recipe.sampling.frames == frames
    assert (recipe.model.encoder.mean, recipe.model.encoder.dropout) == (mean, dropout)
    assert recipe.sampling.stride == (8 if frames > 128 else None)
    assert recipe.preprocess.frame == (240, 320) and recipe.preprocess.size == 227
    assert recipe.augment.shift and recipe.augment.flip and recipe.augment.scale == 1
    assert (optim.optimizer, optim.schedule, optim.gamma, optim.warmup) == ("caffe-sgd", "step", 0.1, 0)
    groups = {
        (round(group["scale"] * optim.lr, 9), round(group["weight_decay"], 9)): group["params"]
        for group in build_optimizer(model, optim).param_groups
    }
    # Rate and decay of kernels, of their biases (the LSTM's decays as a kernel does), and of the classifier.
    assert set(groups) == {(1e-3, 0.005), (2e-3, 0), (1e-2, 0.005), (2e-2, 0)}
    assert [tuple(weight.shape) for weight in groups[2e-2, 0]] == [(101,)]


def test_the_runs_begin_from_each_other():
    for stream in ("rgb", "flow"):
        assert (
            read_recipe(UCF101 / f"single-frame-{stream}.yaml").model.encoder.weights
            == "models/hybrid-imagenet"
        )
        weights = f"runs/single-frame-{stream}/model"
        assert read_recipe(UCF101 / f"lrcn-fc6-{stream}.yaml").model.encoder.weights == weights


# ---- from data to numbers ----


@pytest.fixture
def said_by_the_script(ucf101, monkeypatch):
    """The commands that `paper.sh` gives, in their order."""
    folder = ucf101 / "bin"
    folder.mkdir()
    (folder / "lrcn").write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@" "" >>said\n')
    (folder / "lrcn").chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", str(UCF101 / "paper.sh"), "UCF101", "2", "none"]
    subprocess.run(command, check=True, env=environment, timeout=60)
    return [block.split("\n") for block in Path("said").read_text().removesuffix("\n\n").split("\n\n")]


@pytest.mark.slow
def test_the_papers_table_from_videos_to_fused_numbers(said_by_the_script):
    for words in said_by_the_script:
        assert main([*words, *(options(SMALL) if words[0] == "train" else [])]) == 0, words
    runs = Path("runs/split-2")
    for name in ("single-frame-rgb", "single-frame-flow", "lrcn-fc6-rgb", "lrcn-fc6-flow-1024"):
        measured = json.loads((runs / name / "metrics.json").read_text())["test"]
        assert measured["clips"] == 4 and measured["left_out"] == 0
    for name in ("single-frame-half", "single-frame-third", "lrcn-fc6-half", "lrcn-fc6-third"):
        assert json.loads((runs / name / "metrics.json").read_text())["clips"] == 4
        fused = load(runs / name / "model", "cpu")
        p = 1 / 2 if name.endswith("half") else 1 / 3
        assert fused.weights == pytest.approx((p, 1 - p))
        kinds = [member.preprocess.motion.kind for member in fused.members.values()]
        assert kinds == ["none", "flow"]
    seen = fused.recognize("UCF101/UCF-101/YoYo/v_YoYo_g02_c01.avi")
    assert set(seen.probabilities) == set(CLASSES) and sum(seen.probabilities.values()) == pytest.approx(1)


def test_lrcn_begins_with_the_cnn_of_the_single_frame_network(ucf101):
    assert main(["data", "import", "ucf101", "UCF101", "-o", "ucf101.jsonl"]) == 0
    train("single-frame-rgb", "runs/single-frame-rgb")
    # No step at all would be none; one that changes nothing is as good.
    train(
        "lrcn-fc6-rgb",
        "runs/lrcn",
        **{"model.encoder.weights": "runs/single-frame-rgb/model", "train.optim.lr": "1e-30"},
    )
    first, then = (
        load(f"runs/{name}/model", "cpu").model.encoder.backbone for name in ("single-frame-rgb", "lrcn")
    )
    weights = first.state_dict()
    assert set(weights) - set(then.state_dict()) == {"fc7.weight", "fc7.bias"}
    for name, value in then.state_dict().items():
        assert torch.equal(value, weights[name]), name
    # The paper's way to judge a video is the one that training reports.
    measured = json.loads(Path("runs/lrcn/metrics.json").read_text())["test"]
    command = [
        "eval",
        "--model",
        "runs/lrcn/model",
        "--data",
        "ucf101.jsonl",
        "--protocol",
        "all",
        "--out",
        "numbers",
    ]
    assert main(command) == 0
    protocols = json.loads(Path("numbers/metrics.json").read_text())
    assert set(protocols) == {"stream", "clips", "centre-crop", "ten-crop"}
    assert protocols["clips"]["confusion"] == measured["confusion"] == protocols["centre-crop"]["confusion"]


OTHERS = ["lrcn-fc6-flow", "lrcn-fc7-rgb", "lrcn-fc7-flow", "lrcn-fc6-rgb-rnn", "modern"]


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_recipe_runs_on_ucf101(ucf101, name):
    assert main(["data", "import", "ucf101", "UCF101", "-o", "ucf101.jsonl"]) == 0
    found = train(name, "run", **(MODERN if name == "modern" else {}))
    assert found["clips"] == 4 and found["left_out"] == 0 and sorted(found["labels"]) == sorted(CLASSES)
    assert read_recipe("run/recipe.yaml").train.steps == 2


def test_the_frames_that_are_kept_are_those_that_training_reads(ucf101, monkeypatch):
    assert main(["data", "import", "ucf101", "UCF101", "-o", "ucf101.jsonl"]) == 0
    recipe = changed(
        read_recipe(UCF101 / "lrcn-fc6-flow.yaml", {"preprocess": {"motion": {"preset": "ultrafast"}}}),
        {"data": {"source": "ucf101.jsonl", "frame_cache": "frames"}},
    )
    Path("flow.yaml").write_text(to_yaml(recipe))
    assert main(["data", "cache", "ucf101.jsonl", "--recipe", "flow.yaml", "--to", "frames"]) == 0
    monkeypatch.setattr(datasets, "open_video", None)
    item = single_split(recipe, lambda _: None).train.item(0, 0)
    assert item["frames"].shape == (16, 3, 227, 227)


def test_no_recipe_is_left_out():
    script = (UCF101 / "paper.sh").read_text()
    assert {name for name in NAMES if f"trained {name} " in script} | set(OTHERS) == set(NAMES)


@pytest.mark.slow
def test_motion_is_learned_where_a_single_frame_tells_nothing(ucf101):
    make_ucf101(ucf101 / "more", CLASSES, groups=6, clips=2, frames=18)
    assert main(["data", "import", "ucf101", "more", "-o", "ucf101.jsonl"]) == 0
    short = MODERN | {
        "model.encoder.tune": "0",
        "model.reading.features": "32",
        "model.reading.dropout": "0",
        "model.recurrent.size": "32",
        "model.recurrent.dropout": "0",
        "augment.flip": "false",
        "augment.scale": "0.9",
        "views": "2",
        "train.steps": "160",
        "train.batch": "8",
        "train.optim.lr": "0.003",
    }
    lrcn = train("modern", "lrcn", **short, **{"preprocess.motion.kind": "flow"})
    single = {"model.reading.reads": "[appearance]", "model.recurrent.unit": "none"}
    frames = train("modern", "frames", **short, **single)
    assert lrcn["accuracy"] >= 0.8, "four directions: chance is 0.25"
    assert frames["accuracy"] <= 0.6
