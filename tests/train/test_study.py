"""A study: every clip counts once, spreads are over what they say, nothing finished is done again."""

import json
from dataclasses import replace
from statistics import mean, stdev
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_clips import MadeClips
from made_recognizer import pictures, tiny

from lrcn.errors import LrcnError
from lrcn.evaluate.recognition import measure
from lrcn.models.heads import ClipHead, HeadConfig, Verdict
from lrcn.train import study
from lrcn.train.recipe import DataConfig, FusedConfig, Recipe, StudyConfig
from lrcn.train.splits import Split
from lrcn.train.study import run_study, table

VARIANTS = {"one frame": {"model": {"recurrent": {"unit": "none"}}}, "LRCN": {}}
SIZES = (2, 6)  # clips tested by each fold


def told_clips(numbers) -> MadeClips:
    """Clips whose every frame says (number, class)."""
    return MadeClips([torch.tensor([[n, n % 2]] * 3) for n in numbers], [n % 2 for n in numbers])


class Sure(torch.nn.Module):
    """Says the class that a clip tells, but for the clips it has wrong."""

    def __init__(self, wrong):
        super().__init__()
        self.labels = ["a", "b"]
        self.encoder = SimpleNamespace(tuned=1)  # what it is shown stays as it is
        self.classifier = torch.nn.Linear(1, 1)
        self.wrong = set(wrong)

    def judge(self, frames, lengths, *, maps) -> Verdict:
        turned = torch.tensor([[int(frame[0]) in self.wrong for frame in clip] for clip in maps])
        said = maps[..., 1].long() ^ turned.long()
        return ClipHead(HeadConfig(), 0)(maps, torch.nn.functional.one_hot(said, 2) * 9.0, lengths)


# (variant, seed) -> the clips it has wrong; fold 0 tests clips 0 and 1, fold 1 tests 2 to 7.
WRONG = {("none", 0): {0, 1, 2}, ("none", 1): {0, 1, 2, 3, 4}, ("lstm", 0): {3}, ("lstm", 1): set()}
WRONG |= {("gru", 0): set(), ("gru", 1): set()}


@pytest.fixture
def studied(monkeypatch):
    """Stands in for data and training; keeps which runs were trained."""
    trained = []
    tested = [list(range(SIZES[0])), list(range(SIZES[0], sum(SIZES)))]

    def fold_splits(recipe, report):
        report("2 folds")
        return [
            Split(
                ["a", "b"],
                told_clips([n for other in tested if other is not test for n in other]),
                None,
                told_clips(test),
            )
            for test in tested
        ]

    def train_split(recipe, split, out, team, name, cache):
        trained.append((recipe.model.recurrent.unit, recipe.train.seed, out.parent.name))
        assert out.name == f"seed-{recipe.train.seed}"
        assert cache == out.parents[3] / "cache", "one for all runs, beside the study"
        assert recipe.tune is None or recipe.tune.seed == recipe.train.seed
        return Sure(WRONG[recipe.model.recurrent.unit, recipe.train.seed])

    monkeypatch.setattr(study, "fold_splits", fold_splits)
    monkeypatch.setattr(study, "train_split", train_split)
    return trained


RECIPE = Recipe(
    "moves", data=DataConfig("clips"), study=StudyConfig(2, seeds=(0, 1), variants=VARIANTS, shuffle=True)
)


def test_accuracy_counts_every_clip_once_and_spreads_are_over_seeds_and_folds(studied, tmp_path):
    rows = run_study(RECIPE, tmp_path, lambda _: None)
    assert [row["variant"] for row in rows] == ["one frame", "LRCN"]
    for row, unit in zip(rows, ("none", "lstm"), strict=True):
        per_seed = [1 - len(WRONG[unit, seed]) / sum(SIZES) for seed in (0, 1)]
        assert row["accuracy"] == pytest.approx(mean(per_seed))
        assert row["accuracy_spread"] == pytest.approx(stdev(per_seed))
        folds = [
            [1 - len(WRONG[unit, seed] & fold) / len(fold) for seed in (0, 1)]
            for fold in ({0, 1}, {2, 3, 4, 5, 6, 7})
        ]
        assert row["fold_spread"] == pytest.approx(stdev(map(mean, folds)))
        assert row["shuffled"] == row["accuracy"], "frames of one clip all say the same"
        assert (row["seeds"], row["folds"]) == (2, 2)


def test_results_are_written_whole_after_every_variant(studied, tmp_path):
    told = []
    rows = run_study(RECIPE, tmp_path, told.append)
    assert json.loads((tmp_path / "results.json").read_text()) == rows
    text = (tmp_path / "results.md").read_text()
    assert text == table(rows) and text.count("\n") == 4
    assert "| one frame | 50.0% ± 17.7% |" in text
    assert len({line.count("|") for line in text.splitlines()}) == 1
    assert [row["parameters"] for row in rows] == [2, 2] and all(row["seconds"] >= 0 for row in rows)
    for row in rows:
        assert row["last_frame_accuracy"] == row["accuracy"], "frames of one clip all say the same"
    assert told[0] == "2 folds" and told[1].startswith("one frame: 50.0% ± 17.7% (seeds), ±")
    assert len(told) == 3, "how the data were divided is said once"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "LRCN",
        "one-frame",
        "results.json",
        "results.md",
    ]


def test_finished_runs_are_not_done_again(studied, tmp_path):
    rows = run_study(RECIPE, tmp_path, lambda _: None)
    assert len(studied) == len(set(studied)) == 8
    assert run_study(RECIPE, tmp_path, lambda _: None) == rows
    assert len(studied) == 8
    (tmp_path / "LRCN" / "fold-1" / "seed-0" / "test.json").unlink()
    again = run_study(RECIPE, tmp_path, lambda _: None)
    assert [row | {"seconds": 0} for row in again] == [row | {"seconds": 0} for row in rows]
    assert studied[8:] == [("lstm", 0, "fold-1")]


def test_a_variant_that_is_added_is_the_only_one_trained(studied, tmp_path):
    rows = run_study(RECIPE, tmp_path, lambda _: None)
    more = replace(RECIPE.study, variants={**VARIANTS, "GRU": {"model": {"recurrent": {"unit": "gru"}}}})
    longer = run_study(replace(RECIPE, study=more), tmp_path, lambda _: None)
    assert {unit for unit, _, _ in studied[8:]} == {"gru"} and len(studied) == 12
    assert longer[:2] == rows and longer[2]["variant"] == "GRU"


def test_results_of_other_settings_are_refused(studied, tmp_path):
    run_study(RECIPE, tmp_path, lambda _: None)
    with pytest.raises(LrcnError, match="seed-0 is of a run with other settings or data"):
        run_study(replace(RECIPE, views=9), tmp_path, lambda _: None)


def test_one_seed_has_no_spread_and_shuffling_can_be_left_out(studied, tmp_path):
    plain = replace(RECIPE, study=StudyConfig(2, seeds=(1,), shuffle=False))
    (row,) = run_study(plain, tmp_path, lambda _: None)
    assert (row["variant"], row["accuracy"], row["accuracy_spread"]) == ("as it stands", 1.0, 0.0)
    assert "shuffled" not in row and "| - |" in (tmp_path / "results.md").read_text()


def test_a_study_without_a_study_or_a_test_is_refused_before_training(studied, tmp_path, monkeypatch):
    with pytest.raises(LrcnError, match="moves has no study: add `study:`"):
        run_study(replace(RECIPE, study=None), tmp_path)
    clips = told_clips(range(4))
    monkeypatch.setattr(study, "fold_splits", lambda recipe, report: [Split(["a", "b"], clips)])
    with pytest.raises(LrcnError, match="moves has nothing to test on"):
        run_study(RECIPE, tmp_path, lambda _: None)
    assert studied == []


def test_a_wrong_variant_is_one_sentence(studied, tmp_path):
    wrong = replace(RECIPE, study=StudyConfig(2, variants={"typo": {"modle": {}}}))
    with pytest.raises(LrcnError, match="modle is not a known setting: did you mean model"):
        run_study(wrong, tmp_path, lambda _: None)


def test_dev_is_tested_where_there_is_no_test(studied, tmp_path, monkeypatch):
    split = Split(["a", "b"], told_clips(range(4)), told_clips(range(8)))
    monkeypatch.setattr(study, "fold_splits", lambda recipe, report: [split])
    rows = run_study(RECIPE, tmp_path, lambda _: None)
    assert rows[0]["accuracy"] == pytest.approx(1 - (3 + 5) / 16)


# ---- fused rows ----


def fused_study(**rows) -> Recipe:
    fused = {name: FusedConfig(**row) for name, row in rows.items()}
    return replace(RECIPE, study=replace(RECIPE.study, fused=fused))


BOTH = ("one frame", "LRCN")


def test_a_fused_row_is_computed_from_what_its_members_said(studied, tmp_path):
    rows = run_study(RECIPE, tmp_path, lambda _: None)
    recipe = fused_study(third={"members": BOTH, "weights": "1/3"}, most={"members": BOTH, "weights": 0.9})
    told = []
    longer = run_study(recipe, tmp_path, told.append)
    assert len(studied) == 8, "nothing is trained again"
    assert longer[:2] == rows and [row["variant"] for row in longer[2:]] == ["third", "most"]
    # Every answer is as sure as every other, so the heavier member decides.
    for row, member in zip(longer[2:], (rows[1], rows[0]), strict=True):
        for rate in ("accuracy", "accuracy_spread", "fold_spread", "mean_class_accuracy"):
            assert row[rate] == pytest.approx(member[rate])
        assert row["parameters"] == 4 and row["seconds"] == rows[0]["seconds"] + rows[1]["seconds"]
        assert "last_frame_accuracy" not in row and "shuffled" not in row
    assert longer[2]["weights"] == [[pytest.approx([1 / 3, 2 / 3])] * 2] * 2
    assert "| third |" in (tmp_path / "results.md").read_text() and told[-1].startswith("most: 50.0% ± 17.7%")
    assert json.loads((tmp_path / "results.json").read_text()) == longer


def test_runs_that_kept_no_predictions_say_them_again_and_keep_their_numbers(studied, tmp_path):
    run_study(RECIPE, tmp_path, lambda _: None)
    run = tmp_path / "LRCN" / "fold-0" / "seed-1"
    before = (run / "test.json").read_text()
    (run / "test.safetensors").unlink()
    run_study(RECIPE, tmp_path, lambda _: None)
    assert len(studied) == 8 and not (run / "test.safetensors").exists(), "nobody asked for them"
    run_study(fused_study(both={"members": BOTH}), tmp_path, lambda _: None)
    # Which for a run that was finished reads its weights and trains nothing.
    assert studied[8:] == [("lstm", 1, "fold-0")]
    assert (run / "test.safetensors").exists() and (run / "test.json").read_text() == before


def test_weights_are_tuned_on_the_other_folds(studied, tmp_path):
    recipe = fused_study(tuned={"members": BOTH, "weights": "dev"})
    row = run_study(recipe, tmp_path, lambda _: None)[-1]
    # With seed 1 the second is right everywhere and the first in no fold, so the other fold says so to both.
    assert all(weights[1] > 0.5 for weights in row["weights"][1])
    per_seed = [1 - len(WRONG["lstm", 1]) / 8]
    one = replace(recipe, study=replace(recipe.study, seeds=(1,)))
    assert run_study(one, tmp_path, lambda _: None)[-1]["accuracy"] == per_seed[0]


def test_tuning_needs_another_fold(studied, tmp_path, monkeypatch):
    split = Split(["a", "b"], told_clips(range(4)), told_clips(range(8)))
    monkeypatch.setattr(study, "fold_splits", lambda recipe, report: [split])
    with pytest.raises(LrcnError, match="study.fused.tuned has weights dev.*set study.folds"):
        run_study(fused_study(tuned={"members": BOTH, "weights": "dev"}), tmp_path, lambda _: None)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ({"x": {"members": ("LRCN",)}}, "members .'LRCN'.: give two or more, each once"),
        ({"x": {"members": ("LRCN", "LRCN")}}, "two or more, each once"),
        ({"x": {"members": ("LRCN", "flow")}}, "the member 'flow': the variants are one frame, LRCN"),
        ({"LRCN": {"members": BOTH}}, "study.fused.LRCN is the name of a variant too"),
        ({"x": {"members": BOTH, "weights": "half"}}, "'half' are no numbers"),
    ],
)
def test_fused_rows_that_mean_nothing_are_refused(rows, sentence):
    with pytest.raises(LrcnError, match=sentence):
        fused_study(**rows)


class Frames(MadeClips):
    """The same with frames uint8 (T,3,H,W) in place of features."""

    def item(self, index, view):
        return {"frames": self.maps[index].byte(), "label": self.labels[index], "index": index}


def test_a_frozen_cnn_is_judged_by_the_features_that_training_kept(tmp_path):
    clips = Frames([torch.from_numpy(pictures(3, seed)).permute(0, 3, 1, 2) for seed in range(2)], [0, 1])
    model = tiny().model
    seen = study._as_the_cnn_sees_them(model, clips, tmp_path)
    for index in range(2):
        maps = model.encoder.maps(clips.item(index, 0)["frames"])
        torch.testing.assert_close(seen.item(index, 0)["maps"].float(), maps, atol=1e-2, rtol=1e-2)
    on_frames, on_features = (measure(model, one).probabilities for one in (clips, seen))
    np.testing.assert_allclose(on_features, on_frames, atol=1e-2)
    model.encoder.set_tuned(1)
    assert study._as_the_cnn_sees_them(model, clips, tmp_path) is clips
