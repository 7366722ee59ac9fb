"""From described clips to a describer's folder: from labels, features and frames, with one command each."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from made_clips import assert_same_weights
from safetensors.torch import load_file

import lrcn
from lrcn.cli import main
from lrcn.config import from_values, merge, to_yaml
from lrcn.data.cooking import CookingConfig, cooking_rows, tacos_table
from lrcn.data.importers import import_data
from lrcn.data.kitchen import SLOTS
from lrcn.data.manifest import Row, write_manifest
from lrcn.data.tokenizer import Tokenizer
from lrcn.errors import LrcnError
from lrcn.models.describer import Describer, DescriberConfig
from lrcn.models.describer_folder import LoadedDescriber, load_describer, save_describer
from lrcn.predict_descriptions import describe
from lrcn.train.describing import DescribeRecipe, train
from lrcn.train.recipe import changed, read_as


def silent(_):
    pass


def recipe_of(**changes) -> DescribeRecipe:
    values = {
        "data": {
            "cooking": {"train": 60, "dev": 8, "test": 8, "noise": 0.3},
            "labels": ["activity", "object", "tool", "place"],
        },
        "words": {"min_count": 1},
        "model": {
            "inputs": "prob",
            "arrangement": "mean",
            "features": 0,
            "dropout": 0.0,
            "decoder": {
                "size": 24,
                "layers": 1,
                "image_at": [0],
                "embedding": 16,
                "dropout": 0.1,
                "init_range": 0.3,
            },
        },
        "train": {"epochs": 2, "batch": 20, "checkpoint_seconds": 0.0, "optim": {"lr": 0.02}},
        "meteor": False,
        "device": "cpu",
    }
    return from_values(DescribeRecipe, merge(values, changes))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("cooking") / "run"
    return out, train(recipe_of(), out, silent)


def test_a_run_leaves_a_model_its_numbers_sentences_and_curves(trained):
    out, result = trained
    for name in ("metrics.json", "recipe.yaml", "curves.png", "dev.jsonl", "test.jsonl", "train/log.jsonl"):
        assert (out / name).stat().st_size > 0, name
    assert result.metrics["test"]["clips"] == 8 and "bleu_4" in result.metrics["dev"]
    assert result.metrics["headline"].startswith("test BLEU-4 ")
    assert read_as(DescribeRecipe, out / "recipe.yaml") == recipe_of()
    assert "| test | 8 |" in (out / "model" / "README.md").read_text()
    assert result.use.format("M") == "lrcn describe INPUT --model M"


def test_the_model_that_is_loaded_writes_the_sentences_that_were_measured(trained):
    out, _ = trained
    loaded = lrcn.load(out / "model", "cpu")
    assert loaded.slots.size == loaded.model.config.given and list(loaded.slots.labels) == list(SLOTS)
    rows = [row for row in cooking_rows(recipe_of().data.cooking) if row.split == "test"]
    records = [json.loads(line) for line in (out / "test.jsonl").read_text().splitlines()]
    said = [loaded.describe(row).shots[0] for row in rows]
    assert [shot.sentence for shot in said] == [record["caption"] for record in records]
    assert [shot.log_prob for shot in said] == pytest.approx(
        [record["log_prob"] for record in records], abs=1e-3
    )


class _StoppedError(Exception):
    pass


def test_a_stopped_run_ends_with_the_same_weights(trained, tmp_path, monkeypatch):
    from lrcn.train import loop

    original, steps = loop._step, [0]

    def failing(*args):
        steps[0] += 1
        if steps[0] == 5:
            raise _StoppedError
        return original(*args)

    monkeypatch.setattr(loop, "_step", failing)
    with pytest.raises(_StoppedError):
        train(recipe_of(), tmp_path / "run", silent)
    train(recipe_of(), tmp_path / "run", silent)
    assert_same_weights(
        load_file(trained[0] / "model/model.safetensors"), load_file(tmp_path / "run/model/model.safetensors")
    )
    with pytest.raises(LrcnError, match="other settings or data"):
        train(recipe_of(label_smoothing=0.1), tmp_path / "run", silent)


VARIANTS = {
    "a": {"inputs": "labels", "arrangement": "seq2seq", "features": 16},
    "b": {"inputs": "max"},
    "c": {"inputs": "prob"},
    "s2vt": {"inputs": "labels", "arrangement": "s2vt", "features": 16, "decoder": {"layers": 2}},
    "attention": {
        "inputs": "labels",
        "arrangement": "attention",
        "features": 16,
        "decoder": {"layers": 2, "image_at": [1], "attention": 16},
    },
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_way_learns_to_say_what_the_labels_say(name, tmp_path):
    rows = [
        Row(
            f"{split}-{act}-{thing}-{n}",
            captions=(f"They {act} the {thing}.",),
            split=split,
            extra={"act": act, "thing": thing},
        )
        for split, times in (("train", 4), ("test", 1))
        for n in range(times)
        for act in ("cut", "peel", "wash")
        for thing in ("carrot", "egg", "bun")
    ]
    write_manifest(rows, tmp_path / "clips.jsonl")
    recipe = recipe_of(
        data={
            "cooking": None,
            "source": str(tmp_path / "clips.jsonl"),
            "labels": ["act", "thing"],
            "dev": "",
        },
        model=VARIANTS[name],
        train={"epochs": 20, "batch": 9},
    )
    assert train(recipe, tmp_path / "run", silent).metrics["test"]["bleu_1"] > 0.85
    assert load_describer(tmp_path / "run/model").model.config.inputs == recipe.model.inputs


def test_one_import_and_one_training_on_a_table_in_the_layout_of_tacos(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = cooking_rows(CookingConfig(40, 4, 4, noise=0.2))
    (tmp_path / "corpus.tsv").write_text(tacos_table(rows))
    (tmp_path / "recipe.yaml").write_text(to_yaml({"task": "describe", "data": {"source": "tacos.jsonl"}}))
    small = {
        "data.labels": "[tuple]",
        "words.min_count": "1",
        "model.inputs": "labels",
        "model.features": "16",
        "model.decoder.size": "16",
        "model.decoder.embedding": "8",
        "train.epochs": "1",
        "meteor": "false",
    }
    options = [text for name, value in small.items() for text in (f"--{name}", value)]
    assert main(["data", "import", "tacos", "corpus.tsv", "-o", "tacos.jsonl"]) == 0
    assert main(["train", "recipe.yaml", "--out", "run", *options]) == 0
    capsys.readouterr()
    assert main(["describe", "tacos.jsonl", "--model", "run/model", "--format", "jsonl"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["id"] for record in records] == [row.id for row in rows]


CHARADES = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length\n"


def test_one_import_and_one_training_on_the_layout_of_charades(tmp_path):
    said = "A person in the {scene} with a {thing}.;They hold a {thing}."
    line = "{n},S{n},{scene},6,7,Yes,s,{thing}," + said + ",c001 1.0 2.0,9\n"
    both = [("kitchen", "cup"), ("hallway", "bag"), ("kitchen", "bag"), ("hallway", "cup")]
    for split, times in (("train", 6), ("test", 1)):
        lines = [line.format(n=f"{split}{n}", scene=s, thing=t) for n, (s, t) in enumerate(both * times)]
        (tmp_path / f"Charades_v1_{split}.csv").write_text(CHARADES + "".join(lines))
    (tmp_path / "Charades_v1_classes.txt").write_text("c001 Holding some things\n")
    rows, _ = import_data("charades", tmp_path)
    write_manifest(rows, tmp_path / "charades.jsonl")
    recipe = recipe_of(
        data={
            "cooking": None,
            "source": str(tmp_path / "charades.jsonl"),
            "labels": ["scene", "objects", "actions"],
            "dev": "",
        },
        model={"inputs": "labels", "arrangement": "seq2seq", "features": 16},
        train={"epochs": 20, "batch": 8, "keep": "last"},
    )
    assert train(recipe, tmp_path / "run", silent).metrics["test"]["bleu_4"] > 0.9


# ---- features and frames ----


def test_features_made_elsewhere(tmp_path):
    rng = np.random.default_rng(0)
    words = {"red": rng.normal(size=6), "blue": rng.normal(size=6)}
    folder = tmp_path / "features"
    folder.mkdir()
    rows = []
    for number in range(40):
        first, then = (("red", "blue"), ("blue", "red"))[number % 2]
        steps = rng.integers(2, 6, 2)
        values = np.concatenate(
            [np.tile(words[w], (n, 1)) for w, n in zip((first, then), steps, strict=True)]
        )
        np.save(folder / f"v{number}.npy", (values + 0.1 * rng.normal(size=values.shape)).astype(np.float32))
        split = ("train", "train", "train", "train", "test")[number // 2 % 5]
        rows.append(
            Row(f"v{number}", captions=(f"First {first} then {then}.",), split=split, id=f"v{number}")
        )
    write_manifest(rows, tmp_path / "clips.jsonl")
    recipe = recipe_of(
        data={"cooking": None, "source": str(tmp_path / "clips.jsonl"), "features": str(folder), "dev": ""},
        model={"inputs": "features", "arrangement": "seq2seq", "features": 8},
        train={"epochs": 25, "batch": 8},
    )
    # Order alone tells the two sentences apart.
    assert train(recipe, tmp_path / "run", silent).metrics["test"]["bleu_4"] == pytest.approx(1.0, abs=1e-6)
    loaded = load_describer(tmp_path / "run/model")
    assert loaded.model.config.given == 6
    assert describe(loaded, str(folder / "v1.npy")).shots[0].sentence == "First blue then red."
    with pytest.raises(LrcnError, match="model.given is 5, and the data have 6"):
        train(changed(recipe, {"model": {"given": 5}}), tmp_path / "other", silent)
    np.save(tmp_path / "wide.npy", np.zeros((3, 7), np.float32))
    with pytest.raises(LrcnError, match="has 7 features a step, and this model reads 6"):
        describe(loaded, str(tmp_path / "wide.npy"))
    with pytest.raises(LrcnError, match="is no file of features"):
        describe(loaded, "a.mp4")


def film(folder, colours, frames=4):
    folder.mkdir(parents=True)
    for number in range(frames * len(colours)):
        picture = np.full((32, 32, 3), colours[number // frames], np.uint8)
        cv2.imwrite(str(folder / f"{number:03d}.png"), picture)
    return folder


@pytest.mark.parametrize("tune", [None, {"epochs": 1, "batch": 4, "optim": {"lr": 0.001}}])
def test_frames(tmp_path, tune):
    kinds = {"Dark then light.": (20, 230), "Light then dark.": (230, 20)}
    rows = [
        Row(str(film(tmp_path / "clips" / f"{split}{n}-{k}", colours, 3 + n)), captions=(text,), split=split)
        for split, count in (("train", 3), ("dev", 1))
        for n in range(count)
        for k, (text, colours) in enumerate(kinds.items())
    ]
    write_manifest(rows, tmp_path / "clips.jsonl")
    recipe = recipe_of(
        data={"cooking": None, "source": str(tmp_path / "clips.jsonl"), "test": ""},
        model={
            "inputs": "frames",
            "arrangement": "seq2seq",
            "features": 8,
            "encoder": {"name": "test_efficientnet", "weights": "none"},
        },
        preprocess={"size": 32},
        train={"epochs": 2, "batch": 4},
        tune=tune,
    )
    result = train(recipe, tmp_path / "runs" / "run", silent)
    assert result.metrics["dev"]["clips"] == 2
    loaded = load_describer(result.folder)
    clip = str(tmp_path / "clips" / "dev0-1")
    said = describe(loaded, clip)
    frames = torch.stack(
        [torch.full((3, 32, 32), value, dtype=torch.uint8) for value in (230,) * 3 + (20,) * 3]
    )
    with torch.inference_mode():
        expected = loaded.model.initial_state(frames[None])
        first = loaded.model.step(torch.tensor([0]), expected)[0].log_softmax(1)
    assert said.shots[0].end == pytest.approx(6 / 25) and first.isfinite().all()


# ---- what is wrong ----


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": {"cooking": None}}, "data names no source"),
        ({"data": {"source": "a.jsonl"}}, "data names no source, or two"),
        ({"data": {"rate": -1.0}}, "data.rate is -1"),
        ({"data": {"labels": []}}, "labels"),
        ({"views": 0}, "views is 0"),
        ({"loss_scale": 0.0}, "loss_scale is 0"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1"),
        ({"tune": {"epochs": 1}}, "tune is set and model.inputs prob"),
    ],
)
def test_impossible_recipes_are_refused(changes, said):
    with pytest.raises(LrcnError, match=said):
        recipe_of(**changes)


def test_fields_that_are_not_there_are_named(tmp_path):
    with pytest.raises(LrcnError, match="No training row has the field 'verb'"):
        train(recipe_of(data={"labels": ["verb"]}), tmp_path / "run", silent)


# ---- the folder ----


def tiny_describer() -> LoadedDescriber:
    from lrcn.data.slots import Slots

    decoder = {"size": 4, "embedding": 4}
    config = from_values(DescriberConfig, {"inputs": "labels", "given": 3, "features": 4, "decoder": decoder})
    tokenizer = Tokenizer(("<unk>", "a", "b"))
    return LoadedDescriber(
        Describer(config, tokenizer.size), tokenizer, Slots({"x": ("p", "q"), "y": ("r",)})
    )


def test_a_folder_gives_back_what_was_saved(tmp_path):
    made = tiny_describer()
    save_describer(tmp_path / "model", made, half=False, metrics={"test": {}})
    kept = lrcn.load(tmp_path / "model", "cpu")
    assert (kept.slots, kept.tokenizer, kept.sampling, kept.decoding) == (
        made.slots,
        made.tokenizer,
        made.sampling,
        made.decoding,
    )
    assert_same_weights(made.model.state_dict(), kept.model.state_dict())


def test_folders_whose_pieces_do_not_fit_are_refused(tmp_path):
    folder = tmp_path / "model"
    made = tiny_describer()
    save_describer(folder, replace(made, tokenizer=Tokenizer(("<unk>", "a"))))
    with pytest.raises(LrcnError, match=r"tokenizer.json has 3 words, but model.safetensors 4"):
        load_describer(folder)
    save_describer(folder, made)
    config = json.loads((folder / "config.json").read_text())
    config["slots"]["labels"]["y"].append("s")
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(LrcnError, match="has 4 labels in slots, and its model is given 3"):
        load_describer(folder)
    del config["slots"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(LrcnError, match="lacks slots"):
        load_describer(folder)
