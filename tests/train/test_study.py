"""A study: every clip counts once, spreads are over what they say, nothing finished is done again."""

import json
from dataclasses import replace
from statistics import mean, stdev

import pytest
import torch
from made_clips import MadeClips

from lrcn.data.datasets import Item
from lrcn.errors import LrcnError
from lrcn.train import study
from lrcn.train.recipe import DataConfig, Recipe, StudyConfig
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
        self.classifier = torch.nn.Linear(1, 1)
        self.wrong = set(wrong)

    def forward(self, frames, lengths, *, maps) -> Item:
        turned = torch.tensor([[int(frame[0]) in self.wrong for frame in clip] for clip in maps])
        said = maps[..., 1].long() ^ turned.long()
        return torch.nn.functional.one_hot(said, 2) * 9.0


# (variant, seed) -> the clips it has wrong; fold 0 tests clips 0 and 1, fold 1 tests 2 to 7.
WRONG = {("none", 0): {0, 1, 2}, ("none", 1): {0, 1, 2, 3, 4}, ("lstm", 0): {3}, ("lstm", 1): set()}


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

    def train_split(recipe, split, out, team, name=""):
        trained.append((recipe.model.recurrent.unit, recipe.train.seed, out.parent.name))
        assert out.name == f"seed-{recipe.train.seed}"
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
    assert run_study(RECIPE, tmp_path, lambda _: None) == rows
    assert studied[8:] == [("lstm", 0, "fold-1")]


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
