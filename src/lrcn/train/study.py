"""A study: variants of a recipe side by side, over folds and seeds, with the spread beside every mean."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from lrcn.data.datasets import ClipSource
from lrcn.errors import LrcnError
from lrcn.evaluate.recognition import clip_rates, measure
from lrcn.files import write_whole
from lrcn.models.fusion import read_weights
from lrcn.models.recognizer import Recognizer
from lrcn.train.distributed import Team, joined_team
from lrcn.train.predictions import (
    Predictions,
    fused_predictions,
    load_predictions,
    predictions_of,
    save_predictions,
    tuned_elsewhere,
)
from lrcn.train.recipe import FusedConfig, Recipe, StudyConfig, changed, read_recipe
from lrcn.train.run import Result, cache_folder, run_key, train, train_split
from lrcn.train.splits import Split, feature_cache, fold_splits

Report = Callable[[str], None]
Run = dict[str, Any]

RATES = (
    "accuracy",
    "mean_class_accuracy",
    "top5",
    "frame_accuracy",
    "middle_frame_accuracy",
    "last_frame_accuracy",
    "shuffled",
)

PREDICTIONS = "test.safetensors"
"""In the folder of a run: what it said of every test clip."""


def run_study(recipe: Recipe, out: str | Path, report: Report = print) -> list[dict[str, Any]]:
    """Trains every variant on every fold with every seed; finished runs in `out` are not done again.

    A variant's accuracy with one seed counts every test clip once, over all folds; the mean and the standard deviation
    are over seeds. `fold_spread` is the standard deviation over folds, of the mean over seeds. `seconds` is the mean
    time that a run's training took, features that were not there yet included; of a run that was stopped, its last
    stretch. `parameters` counts all weights, frozen ones too.

    A row of `study.fused` is computed from what its members' runs said of the test clips, fold by fold and seed by
    seed; its parameters and seconds are those of its members together.

    Returns:
        One row per variant, then one per fused row, also written to `out/results.json` and, as a table,
        `out/results.md`.

    Raises:
        LrcnError: the recipe has no study, or a setting of a variant is wrong.
    """
    if recipe.study is None:
        raise LrcnError(f"{recipe.name} has no study: add `study:` with seeds and variants.")
    with joined_team() as team:
        return _all_rows(recipe, recipe.study, Path(out), report if team.leads else _silent, team)


def run_recipe(path: Path, changes: Mapping[str, Any], out: Path, report: Report) -> Result:
    """Reads a recipe and trains it, once or as its study says.

    Raises:
        LrcnError: the recipe or its data are wrong, or `out` holds another run.
    """
    recipe = read_recipe(path, changes)
    if recipe.study is None:
        return train(recipe, out, report)
    run_study(recipe, out, report)
    return Result(out, sentences=[f"The study: {out / 'results.md'}"], use="")


def _all_rows(
    recipe: Recipe, study: StudyConfig, out: Path, report: Report, team: Team
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    found: dict[str, list[list[Run]]] = {}

    def add(name: str, runs: list[list[Run]]) -> None:
        found[name] = runs
        rows.append({"variant": name, "seeds": len(runs), "folds": len(runs[0]), **_summary(runs)})
        report(_line(rows[-1]))
        if team.leads:
            write_whole(out / "results.json", json.dumps(rows, indent=2) + "\n")
            write_whole(out / "results.md", table(rows))

    for name, changes in (study.variants or {"as it stands": {}}).items():
        variant = changed(recipe, changes)
        splits = fold_splits(variant, report if not rows else _silent)
        fused = any(name in row.members for row in study.fused.values())
        add(
            name,
            [
                [
                    _one(variant, split, _folder(out, name, fold, seed), seed, team, fused, cache_folder(out))
                    for fold, split in enumerate(splits)
                ]
                for seed in study.seeds
            ],
        )
    for name, row in study.fused.items():
        add(
            name, [_fused_folds(name, row, found, place, out, seed) for place, seed in enumerate(study.seeds)]
        )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table of a study's rows."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "variant": lambda row: row["variant"],
        "video accuracy": lambda row: _share(row, "accuracy"),
        "over folds": lambda row: f"± {row['fold_spread']:.1%}",
        "mean over classes": lambda row: _share(row, "mean_class_accuracy"),
        "at the middle frame": lambda row: _share(row, "middle_frame_accuracy"),
        "at the last frame": lambda row: _share(row, "last_frame_accuracy"),
        "frames shuffled": lambda row: _share(row, "shuffled"),
        "parameters": lambda row: f"{row['parameters'] / 1e6:.2f} M" if "parameters" in row else "-",
        "training a run": lambda row: f"{row['seconds']:.3g} s" if "seconds" in row else "-",
    }
    lines = [list(columns), *([column(row) for column in columns.values()] for row in rows)]
    head, *body = [f"| {' | '.join(line)} |\n" for line in lines]
    return "".join([head, f"|{'---|' * len(columns)}\n", *body])


def _folder(out: Path, variant: str, fold: int, seed: int) -> Path:
    return out / variant.replace(" ", "-") / f"fold-{fold}" / f"seed-{seed}"


def _one(recipe: Recipe, split: Split, folder: Path, seed: int, team: Team, fused: bool, cache: Path) -> Run:
    """Trains and tests one run, or reads what it found before; `fused`: its predictions are needed too."""
    done, predictions = folder / "test.json", folder / PREDICTIONS
    seeded = changed(recipe, {"train": {"seed": seed}, **({"tune": {"seed": seed}} if recipe.tune else {})})
    test = split.test or split.dev
    if test is None:
        raise LrcnError(
            f"{recipe.name} has nothing to test on: give folds, or data with a dev or test split."
        )
    key = run_key(seeded, split)
    if done.exists() and json.loads(done.read_text()).get("run", key) != key:
        raise LrcnError(
            f"{folder} is of a run with other settings or data; give another --out, or remove that folder."
        )
    if not team.agree(done.exists() and (predictions.exists() or not fused)):
        name = f"{folder.parent.parent.name} {folder.parent.name} seed {seed}"
        began = time.monotonic()
        # Where it was trained already, this only reads its weights.
        model = train_split(seeded, split, folder, team, name, cache)
        seconds = time.monotonic() - began
        if team.leads:
            clips = _as_the_cnn_sees_them(model, test, cache)
            found = measure(model, clips, sampling=recipe.sampling)
            save_predictions(predictions, predictions_of(found, test))
            values = {**found.to_json(), "parameters": sum(p.numel() for p in model.parameters())}
            if recipe.study is not None and recipe.study.shuffle:
                values["shuffled"] = measure(
                    model, clips, sampling=recipe.sampling, shuffle_seed=seed
                ).accuracy
            if not done.exists():
                write_whole(done, json.dumps({**values, "seconds": round(seconds, 1), "run": key}) + "\n")
        team.wait()
    found_before: Run = json.loads(done.read_text())
    return found_before


def _as_the_cnn_sees_them(model: Recognizer, clips: ClipSource, cache: Path) -> ClipSource:
    """Features of the clips where the CNN is frozen, as training computed them already; else the clips."""
    if model.encoder.tuned:
        return clips
    seen = feature_cache(model.encoder, cache).dataset(clips, 1)
    seen.fill()
    return seen


def _fused_folds(
    name: str, row: FusedConfig, found: dict[str, list[list[Run]]], place: int, out: Path, seed: int
) -> list[Run]:
    """A fused row with one seed, the `place`-th, fold by fold."""
    runs = [found[member][place] for member in row.members]
    if len({len(folds) for folds in runs}) > 1:
        raise LrcnError(f"study.fused.{name} has members of other numbers of folds: divide their data alike.")
    folds = range(len(runs[0]))
    said = [
        [load_predictions(_folder(out, member, fold, seed) / PREDICTIONS) for fold in folds]
        for member in row.members
    ]
    if row.weights == "dev" and len(folds) < 2:
        raise LrcnError(
            f"study.fused.{name} has weights dev, which are tuned on the other folds, and there is one: "
            "set study.folds, or weights such as 1/3."
        )
    answers = []
    for fold in folds:
        weights = (
            tuned_elsewhere(said, fold, row.members)
            if row.weights == "dev"
            else read_weights(row.weights, len(row.members))
        )
        one = fused_predictions([member[fold] for member in said], weights, row.members)
        answers.append(
            {**_rates(one), "weights": list(weights), **_together([member[fold] for member in runs])}
        )
    return answers


def _rates(predictions: Predictions) -> Run:
    rates = clip_rates(predictions.truths, predictions.probabilities)._asdict()
    return {"clips": len(predictions.truths), **{name: rates[name] for name in RATES if name in rates}}


def _together(runs: Sequence[Run]) -> Run:
    costs = ("parameters", "seconds")
    return {name: sum(run[name] for run in runs) for name in costs if all(name in run for run in runs)}


def _summary(runs: list[list[Run]]) -> dict[str, Any]:
    every = [run for folds in runs for run in folds]
    summary: dict[str, Any] = {}
    for name in RATES:
        if all(name in run for run in every):
            per_seed = [_pooled(folds, name) for folds in runs]
            summary[name] = mean(per_seed)
            summary[f"{name}_spread"] = stdev(per_seed) if len(per_seed) > 1 else 0.0
    per_fold = [mean(folds[fold]["accuracy"] for folds in runs) for fold in range(len(runs[0]))]
    summary["fold_spread"] = stdev(per_fold) if len(per_fold) > 1 else 0.0
    for name in ("parameters", "seconds"):
        # Runs of an earlier version do not say them.
        if all(name in run for run in every):
            summary[name] = mean(run[name] for run in every)
    if "weights" in every[0]:
        summary["weights"] = [[run["weights"] for run in folds] for folds in runs]
    return summary


def _pooled(folds: list[Run], name: str) -> float:
    """A rate over all folds, every clip counting once."""
    clips = sum(fold["clips"] for fold in folds)
    return float(sum(fold[name] * fold["clips"] for fold in folds) / clips)


def _share(row: dict[str, Any], name: str) -> str:
    return f"{row[name]:.1%} ± {row[name + '_spread']:.1%}" if name in row else "-"


def _line(row: dict[str, Any]) -> str:
    more = [
        f", {words} {row[name]:.1%}"
        for name, words in (
            ("middle_frame_accuracy", "at the middle frame"),
            ("last_frame_accuracy", "at the last frame"),
            ("shuffled", "frames shuffled"),
        )
        if name in row
    ]
    return f"{row['variant']}: {_share(row, 'accuracy')} (seeds), ± {row['fold_spread']:.1%} (folds){''.join(more)}"


def _silent(_: str) -> None:
    pass
