"""From captioned photos to a captioner's folder: it learns, resumes to the same weights, and leaves what it should."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from made_clips import assert_same_weights
from made_photos import captioned_photos, tiny_caption_recipe
from safetensors.torch import load_file

import lrcn
from lrcn.config import from_values, to_yaml
from lrcn.data.photos import CaptionedPhotos
from lrcn.data.tokenizer import EOS
from lrcn.errors import LrcnError
from lrcn.evaluate.captioning import as_words, written
from lrcn.evaluate.captions import CiderD
from lrcn.generate import Decoding, Sentence, sample
from lrcn.models.captioner import Captioner
from lrcn.models.captioner_folder import load_captioner
from lrcn.models.decoder import teacher_forced
from lrcn.train.caption_study import run_study
from lrcn.train.caption_tasks import spoken, words_read
from lrcn.train.captions import CaptionRecipe, read_split, run_recipe, train
from lrcn.train.jobs import job_of
from lrcn.train.recipe import changed, read_as
from lrcn.train.scst import SelfCritical, SelfCriticalTask
from lrcn.train.tracking import read_log


def silent(_):
    pass


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return captioned_photos(tmp_path_factory.mktemp("shapes") / "photos", test=4)


def recipe_of(manifest, **changes) -> CaptionRecipe:
    return from_values(CaptionRecipe, tiny_caption_recipe(manifest, **changes))


ALL_STAGES = {
    "tune": {"epochs": 1, "batch": 8, "checkpoint_seconds": 0.0, "optim": {"lr": 0.001}},
    "self_critical": {"samples": 3, "loop": {"epochs": 1, "batch": 8, "checkpoint_seconds": 0.0}},
    "views": 2,
    "augment": {"flip": True},
    "label_smoothing": 0.1,
}


@pytest.fixture(scope="module")
def trained(manifest, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    return out, train(recipe_of(manifest, **ALL_STAGES), out, silent)


def test_a_run_leaves_a_model_its_numbers_sentences_and_curves(trained, manifest):
    out, result = trained
    for name in (
        "metrics.json",
        "recipe.yaml",
        "curves.png",
        "dev.jsonl",
        "test.jsonl",
        "self-critical/log.jsonl",
    ):
        assert (out / name).stat().st_size > 0, name
    assert set(result.metrics) == {"dev", "test", "headline"} and result.metrics["dev"]["photos"] == 6
    assert {"bleu_4", "rouge_l", "cider_d"} <= set(result.metrics["test"])
    assert json.loads((out / "metrics.json").read_text()) == result.metrics
    assert read_as(CaptionRecipe, out / "recipe.yaml") == recipe_of(manifest, **ALL_STAGES)
    assert "| dev | 6 |" in (out / "model" / "README.md").read_text()
    assert result.use.format("M") == "lrcn caption PHOTO --model M"
    records = [json.loads(line) for line in (out / "dev.jsonl").read_text().splitlines()]
    assert [set(record) for record in records] == [{"path", "caption", "log_prob"}] * 6


def test_the_model_that_is_loaded_writes_the_sentences_that_were_measured(trained):
    out, _ = trained
    loaded = lrcn.load(out / "model", "cpu")
    records = [json.loads(line) for line in (out / "dev.jsonl").read_text().splitlines()]
    said = [loaded.caption(record["path"]) for record in records]
    assert [one.caption for one in said] == [record["caption"] for record in records]
    assert [one.log_prob for one in said] == pytest.approx(
        [record["log_prob"] for record in records], abs=1e-3
    )


class _StoppedError(Exception):
    pass


def test_a_run_stopped_in_every_stage_ends_with_the_same_weights(trained, manifest, tmp_path, monkeypatch):
    whole, _ = trained
    recipe, out = recipe_of(manifest, **ALL_STAGES), tmp_path / "run"
    from lrcn.train import loop

    original, steps = loop._step, [0]

    def failing(*args):
        steps[0] += 1
        if steps[0] in (3, 8, 11, 14, 16):
            raise _StoppedError
        return original(*args)

    monkeypatch.setattr(loop, "_step", failing)
    stops = 0
    while True:
        try:
            train(recipe, out, silent)
            break
        except _StoppedError:
            stops += 1
    assert stops >= 3
    for stage in ("train", "tune", "self-critical"):
        name = f"{stage}/checkpoint/model.safetensors"
        assert_same_weights(load_file(whole / name), load_file(out / name))
    assert_same_weights(
        load_file(whole / "model/model.safetensors"), load_file(out / "model/model.safetensors")
    )


def test_a_run_of_other_settings_is_not_taken_up(trained, manifest):
    out, _ = trained
    with pytest.raises(LrcnError, match="other settings or data"):
        train(recipe_of(manifest, **{**ALL_STAGES, "label_smoothing": 0.2}), out, silent)


def test_it_learns_what_is_where(tmp_path):
    """Colours, shapes and their sides, on photos it never saw, better than any one sentence for all could be."""
    torch.manual_seed(0)
    manifest = captioned_photos(tmp_path / "photos", train=96, dev=16)
    recipe = recipe_of(
        manifest,
        model={
            "encoder": {"stage": 1, "grid": 8, "squeeze": 16},
            "features": 64,
            "decoder": {"size": 48, "embedding": 32, "dropout": 0.0},
        },
        train={"epochs": 14, "batch": 8},
    )
    result = train(recipe, tmp_path / "runs" / "shapes", silent)
    rows = [row for row in read_log(tmp_path / "runs/shapes/train/log.jsonl") if "dev_cider_d" in row]
    assert rows[-1]["dev_nll_loss"] < 0.7 * rows[0]["dev_nll_loss"]
    assert result.metrics["dev"]["bleu_1"] > 0.8
    said = {
        json.loads(line)["caption"] for line in (tmp_path / "runs/shapes/dev.jsonl").read_text().splitlines()
    }
    assert len(said) >= 6


@torch.no_grad()
def test_the_loss_of_a_batch_is_that_of_its_sentences_one_by_one(manifest):
    recipe = recipe_of(manifest)
    split = read_split(recipe, silent)
    model = Captioner(recipe.model, split.tokenizer.size).eval()
    clips = CaptionedPhotos(split.train.photos, split.train.sentences)
    items = [clips.item(index, 0) for index in range(24)]
    scores, said = spoken(model, clips.join(items))
    together = float(torch.nn.functional.cross_entropy(scores, said, reduction="sum"))
    apart, words = 0.0, 0
    for item in items:
        read, wanted, lengths = teacher_forced(item["sentences"])
        only = wanted >= 0
        scores = model(item["frames"], read, lengths, image_of=torch.zeros(len(read), dtype=int), only=only)
        apart += float(torch.nn.functional.cross_entropy(scores, wanted[only], reduction="sum"))
        words += int(only.sum())
    assert words == len(said) and together == pytest.approx(apart, rel=1e-4)


def test_what_is_read_is_what_was_said_a_step_before():
    said = torch.tensor([[5, 6, EOS], [7, EOS, -100]])
    assert words_read(said).tolist() == [[EOS, 5, 6], [EOS, 7, EOS]]


def test_pairs_give_every_sentence_once_an_epoch(manifest):
    split = read_split(recipe_of(manifest), silent)
    pairs = CaptionedPhotos(split.train.photos, split.train.sentences, pairs=True)
    assert len(pairs) == 48
    seen = [
        (pairs.item(index, 0)["index"], tuple(pairs.item(index, 0)["sentences"][0])) for index in range(48)
    ]
    wanted = [(photo, tuple(s)) for photo, of_photo in enumerate(split.train.sentences) for s in of_photo]
    assert seen == wanted
    assert all(a != b for a, b in pairwise(pairs.key(index, 0) for index in range(48)))


def test_the_advantage_is_over_the_other_sentences_about_the_photo(manifest):
    recipe = recipe_of(manifest)
    split = read_split(recipe, silent)
    clips = CaptionedPhotos(split.train.photos, split.train.sentences)
    args = (clips, split.train, None, split.tokenizer, Decoding())
    good, poor = (Sentence(tuple(ids[:-1]), -1.0, True) for ids in (split.train.sentences[0][0], [1, EOS]))
    unfinished = Sentence(good.words, -1.0, False)
    task = SelfCriticalTask(*args, SelfCritical(samples=3))
    (advantage,) = task._advantages([[good, poor, unfinished]], [], [0])
    assert float(advantage.sum()) == pytest.approx(0, abs=1e-4)
    assert advantage[0] > advantage[2] > advantage[1]
    greedy = SelfCriticalTask(*args, SelfCritical(samples=1, baseline="greedy"))
    assert float(greedy._advantages([[good]], [good], [0])[0]) == pytest.approx(0, abs=1e-5)


def test_self_critical_training_makes_rewarded_sentences_more_probable(manifest):
    recipe = recipe_of(manifest, model={"decoder": {"dropout": 0.0}})
    split = read_split(recipe, silent)
    torch.manual_seed(0)
    model = Captioner(recipe.model, split.tokenizer.size)
    clips = CaptionedPhotos(split.train.photos, split.train.sentences)
    args = (clips, split.train, None, split.tokenizer, Decoding())
    task = SelfCriticalTask(*args, SelfCritical(samples=4))
    batch = clips.join([clips.item(index, 0) for index in range(4)])
    # The reward: how often a word occurs.
    wanted = 3
    task._rewards = lambda pairs: torch.tensor([float(one.words.count(wanted)) for _, one in pairs])
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 0.01)

    def share():
        said = written(model.eval(), split.train.photos, Decoding(samples=20, temperature=1.0, max_length=8))
        return np.mean([one.words.count(wanted) for one in said])

    before = share()
    for seed in range(25):
        torch.manual_seed(seed)
        model.train()
        optimizer.zero_grad()
        task.loss(model, batch).backward()
        optimizer.step()
    assert share() > before + 1


def test_training_on_cider_d_raises_that_of_the_sentences_drawn(manifest, tmp_path):
    loop = {
        "epochs": 30,
        "batch": 6,
        "keep": "last",
        "optim": {"lr": 0.01, "schedule": "constant", "warmup": 0.0},
    }
    stages = {"by likelihood": None, "on CIDEr-D too": {"samples": 5, "loop": loop}}
    drawn = {}
    for name, stage in stages.items():
        recipe = recipe_of(
            manifest, train={"epochs": 6, "optim": {"lr": 0.02}}, self_critical=stage, data={"test": ""}
        )
        train(recipe, tmp_path / name, silent)
        drawn[name] = cider_d_of_drawn(
            load_captioner(tmp_path / name / "model"), read_split(recipe, silent).train
        )
    assert drawn["on CIDEr-D too"] > drawn["by likelihood"] + 0.05


def cider_d_of_drawn(loaded, part) -> float:
    """The mean over 20 sentences drawn about each photo."""
    cider = CiderD({str(number): row.captions for number, row in enumerate(part.rows)})
    pixels = torch.cat([part.photos.item(number, 0)["frames"] for number in range(len(part.rows))])
    with torch.no_grad():
        found = sample(loaded.model.step, loaded.model.initial_state(pixels), 20, max_length=12)
    texts = [
        (str(number), text) for number, some in enumerate(found) for text in as_words(loaded.tokenizer, some)
    ]
    return float(cider.scores(texts, tokenized=True).mean())


def test_a_study_tells_the_spread_over_seeds_and_is_taken_up(manifest, tmp_path):
    study = {
        "seeds": [0, 1],
        "variants": {"1u": {"model": {"decoder": {"layers": 1, "image_at": [0]}}}, "2f": {}},
        "decodings": {"beam 3": {"beam": 3}, "as before": {"beam": 3}, "5 samples": {"samples": 5}},
    }
    recipe = recipe_of(manifest, study=study, train={"epochs": 1}, decoding={"beam": 3})
    rows = run_study(recipe, tmp_path / "study", silent)
    named = {row["variant"]: row for row in rows}
    assert list(named) == ["1u", "2f", "1u, beam 3", "1u, as before", "1u, 5 samples"]
    assert all(row["seeds"] == 2 and row["milliseconds"] > 0 for row in rows)
    assert named["1u"]["cider_d"] == named["1u, beam 3"]["cider_d"] == named["1u, as before"]["cider_d"]
    assert "| 1u |" in (tmp_path / "study/results.md").read_text()
    assert run_study(recipe, tmp_path / "study", silent) == rows
    caches = [path.parent for path in tmp_path.rglob("cache") if path.is_dir()]
    assert caches == [tmp_path], "one for all runs"


def test_a_recipe_says_what_job_it_is(manifest, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(to_yaml(recipe_of(manifest)))
    assert job_of(path) is run_recipe
    path.write_text("task: paint\n")
    with pytest.raises(LrcnError, match="task is 'paint': choose one of recognize, caption"):
        job_of(path)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"views": 0}, "views is 0"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
        ({"loss_scale": 0.0}, "loss_scale"),
        ({"self_critical": {"samples": 1}}, "self_critical.samples is 1"),
        ({"data": {"train": []}}, "data.train"),
        ({"data": {"test": "train"}}, "data.test is train"),
        ({"preprocess": {"size": 32, "resize": 16}}, "preprocess.resize is 16"),
    ],
)
def test_a_setting_that_means_nothing_is_named(manifest, changes, named):
    with pytest.raises(LrcnError, match=named):
        recipe_of(manifest, **changes)


def test_a_run_may_begin_from_another_model(trained, manifest, tmp_path):
    out, _ = trained
    recipe = recipe_of(manifest, init=str(out / "model"), train={"epochs": 1, "optim": {"lr": 1e-9}})
    result = train(recipe, tmp_path / "runs" / "more", silent)
    before, after = (load_file(folder / "model.safetensors") for folder in (out / "model", result.folder))
    assert all(torch.allclose(before[name].float(), after[name].float(), atol=1e-3) for name in before)
    other = changed(recipe, {"model": {"features": 8}})
    with pytest.raises(LrcnError, match="init is .* not those of this recipe"):
        train(other, tmp_path / "runs" / "other", silent)
