"""From a folder of clips to a model folder; killed by the system at any point, it goes on to the same weights."""

import json
import signal
from dataclasses import field, fields, make_dataclass

import pytest
import torch
from made_clips import assert_same_weights, class_folders, learned, process, tiny_recipe, train_and_die
from safetensors.torch import load_file

from lrcn.data.importers import import_data
from lrcn.errors import LrcnError
from lrcn.evaluate.recognition import evaluate
from lrcn.models.folder import load_folder
from lrcn.train import run
from lrcn.train.distributed import Team
from lrcn.train.recipe import Recipe, changed, read_recipe
from lrcn.train.run import train, train_split
from lrcn.train.splits import single_split
from lrcn.train.tracking import read_log


def silent(_):
    pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return class_folders(tmp_path_factory.mktemp("squares") / "clips")


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """A finished run: its folder, what `train` gave, and what it told."""
    told = []
    out = tmp_path_factory.mktemp("whole") / "run"
    return out, train(tiny_recipe(folder), out, told.append), told


def weights_of(out):
    """All weights a run leaves: of both stretches, and of the model."""
    files = sorted(path for path in out.rglob("model.safetensors") if ".old" not in str(path))
    return {str(path.relative_to(out)): load_file(path) for path in files}


def test_a_run_leaves_a_model_its_numbers_and_its_pictures(trained, folder):
    out, result, told = trained
    assert result.folder == out / "model" and result.folder.is_dir()
    for name in (
        "metrics.json",
        "recipe.yaml",
        "curves.png",
        "confusion.png",
        "train/log.jsonl",
        "tune/log.jsonl",
    ):
        assert (out / name).stat().st_size > 0, name
    assert sorted(path.name for path in out.iterdir() if path.name.startswith(".")) == []
    assert read_recipe(out / "recipe.yaml") == tiny_recipe(folder)
    assert json.loads((out / "metrics.json").read_text()) == result.metrics
    assert set(result.metrics) == {"dev", "test"} and result.metrics["test"]["clips"] == 2
    assert any(line.startswith("test: 2 clips, 2 classes") for line in result.lines())
    assert "2 classes, 4 training clips, 2 dev, 2 test." in told
    assert "**Classes** (2): left, right." in (out / "model" / "README.md").read_text()


def test_the_model_that_is_loaded_gives_the_metrics_that_were_written(trained, folder):
    out, result, _ = trained
    loaded = load_folder(out / "model")
    assert loaded.metrics == result.metrics
    split = single_split(tiny_recipe(folder), silent)
    for name, part in (("dev", split.dev), ("test", split.test)):
        rows = [part.source.rows[index] for index in part.indices]
        assert evaluate(loaded, rows).to_json() == result.metrics[name]


def test_what_is_measured_is_the_model_that_is_kept(trained, folder, monkeypatch):
    """Weights are rounded to half precision when they are written, which may turn an answer around."""
    measured, original = [], run.measure

    def remembering(model, clips, **options):
        measured.append(learned(model))
        return original(model, clips, **options)

    monkeypatch.setattr(run, "measure", remembering)
    out, _, _ = trained
    train(tiny_recipe(folder), out, silent)
    kept = learned(load_folder(out / "model").model)
    assert measured
    for weights in measured:
        assert_same_weights(weights, kept)


def test_the_second_call_trains_nothing_and_gives_the_same(trained, folder, monkeypatch):
    out, result, _ = trained
    before = weights_of(out)
    logs = [read_log(out / name / "log.jsonl") for name in ("train", "tune")]

    def never(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(run.RecognitionTask, "loss", never)
    again = train(tiny_recipe(folder), out, silent)
    assert (again.folder, again.metrics, again.lines()) == (result.folder, result.metrics, result.lines())
    after = weights_of(out)
    assert before.keys() == after.keys() and all(
        torch.equal(after[name][key], value) for name, part in before.items() for key, value in part.items()
    )
    assert [read_log(out / name / "log.jsonl") for name in ("train", "tune")] == logs


@pytest.mark.parametrize(
    "change", [{"train": {"optim": {"lr": 0.02}}}, {"data": {"seed": 1}}, {"label_smoothing": 0.1}]
)
def test_a_folder_with_another_run_is_refused(trained, folder, change):
    out, _, _ = trained
    before = (out / "metrics.json").read_bytes()
    with pytest.raises(LrcnError, match="is of a run with other settings or data; give another --out"):
        train(changed(tiny_recipe(folder), change), out, silent)
    assert (out / "metrics.json").read_bytes() == before


def test_another_name_or_frame_cache_is_the_same_run(trained, folder, tmp_path):
    out, result, _ = trained
    other = {"name": "renamed", "description": "more", "data": {"frame_cache": str(tmp_path)}}
    assert train(changed(tiny_recipe(folder), other), out, silent).metrics == result.metrics


def test_a_setting_that_a_later_version_adds_is_the_same_run(folder):
    recipe = tiny_recipe(folder)
    split = single_split(recipe, silent)
    added = [("added", bool, field(default=False))]
    later = make_dataclass("Recipe", added, bases=(Recipe,), frozen=True)
    values = {item.name: getattr(recipe, item.name) for item in fields(recipe)}
    assert run.run_key(later(**values), split) == run.run_key(recipe, split)
    assert run.run_key(later(**values, added=True), split) != run.run_key(recipe, split)


def test_the_stretches_learn_what_they_should(trained):
    out, _, _ = trained
    first, last = (load_file(out / name / "checkpoint" / "model.safetensors") for name in ("train", "tune"))
    config = load_folder(out / "model").model.config
    torch.manual_seed(0)
    start = learned(run.Recognizer(config, ["left", "right"]))
    changed_first = {name for name in start if not torch.equal(start[name], first[name])}
    assert changed_first and not any(".backbone." in name for name in changed_first)
    changed_last = {name for name in first if not torch.equal(last[name], first[name])}
    assert any(".backbone." in name for name in changed_last)


# In the middle of a step of the first stretch, of writing a checkpoint, of the second stretch, of computing features.
LOSS = "lrcn.train.run:RecognitionTask.loss"
DEATHS = [
    ("lrcn.data.cache:FeatureCache.put", 6),
    (LOSS, 2),
    ("lrcn.train.checkpoint:_moments", 2),
    ("lrcn.train.loop:save_weights", 1),
    (LOSS, 4),
    ("lrcn.train.run:save_model", 1),
]


def test_killed_by_the_system_a_run_goes_on_to_the_same_weights(trained, folder, tmp_path):
    whole, result, _ = trained
    out = tmp_path / "run"
    for place, count in DEATHS:
        child = process(train_and_die, folder, out, place, count)
        child.join(120)
        assert child.exitcode == -signal.SIGKILL, place
    again = train(tiny_recipe(folder), out, silent)
    assert again.metrics == result.metrics
    found, expected = weights_of(out), weights_of(whole)
    for name in ("train/checkpoint", "tune/checkpoint", "model"):
        assert_same_weights(found[f"{name}/model.safetensors"], expected[f"{name}/model.safetensors"])
    for name in ("train", "tune"):
        steps = [
            [(row["step"], row.get("loss")) for row in read_log(path / name / "log.jsonl")]
            for path in (out, whole)
        ]
        assert steps[0] == steps[1]


def test_clips_that_cannot_be_read_do_not_stop_training(folder, tmp_path):
    rows, _ = import_data("folder", folder)
    (tmp_path / "clips" / "left").mkdir(parents=True)
    (tmp_path / "clips" / "left" / "broken.mp4").write_text("no video")
    for row in rows:
        target = tmp_path / "clips" / row.label
        target.mkdir(exist_ok=True)
        (target / row.path.split("/")[-1]).symlink_to(row.path)
    recipe = changed(
        tiny_recipe(tmp_path / "clips"),
        {"data": {"shares": {"train": 1.0, "dev": 0, "test": 0}}, "tune": None},
    )
    told = []
    result = train(recipe, tmp_path / "out", told.append)
    assert result.metrics == {} and (tmp_path / "out" / "model" / "model.safetensors").exists()
    assert sum("broken.mp4" in line for line in told) == 1
    assert not (tmp_path / "out" / "confusion.png").exists()


def test_features_are_kept_beside_the_runs(folder, tmp_path):
    recipe = changed(tiny_recipe(folder), {"tune": None, "train": {"epochs": 1}})
    split = single_split(recipe, silent)
    for out in (tmp_path / "runs" / "study" / "a", tmp_path / "other"):
        train_split(recipe, split, out, Team())
    found = [path.parent.relative_to(tmp_path) for path in tmp_path.rglob("cache") if path.is_dir()]
    assert sorted(map(str, found)) == [".", "runs"]
