"""A study: variants of a recipe side by side, over folds and seeds, with the spread beside every mean."""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from lrcn.errors import LrcnError
from lrcn.evaluate.recognition import measure
from lrcn.files import write_whole
from lrcn.train.distributed import Team, joined_team
from lrcn.train.recipe import Recipe, StudyConfig, changed
from lrcn.train.run import run_key, train_split
from lrcn.train.splits import Split, fold_splits

Report = Callable[[str], None]

RATES = ("accuracy", "mean_class_accuracy", "frame_accuracy", "middle_frame_accuracy", "last_frame_accuracy")


def run_study(recipe: Recipe, out: str | Path, report: Report = print) -> list[dict[str, Any]]:
    """Trains every variant on every fold with every seed; finished runs in `out` are not done again.

    A variant's accuracy with one seed counts every test clip once, over all folds; the mean and the standard deviation
    are over seeds. `fold_spread` is the standard deviation over folds, of the mean over seeds.

    Returns:
        One row per variant, also written to `out/results.json` and, as a table, `out/results.md`.

    Raises:
        LrcnError: the recipe has no study, or a setting of a variant is wrong.
    """
    if recipe.study is None:
        raise LrcnError(f"{recipe.name} has no study: add `study:` with seeds and variants.")
    with joined_team() as team:
        return _all_variants(recipe, recipe.study, Path(out), report if team.leads else _silent, team)


def _all_variants(
    recipe: Recipe, study: StudyConfig, out: Path, report: Report, team: Team
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name, changes in (study.variants or {"as it stands": {}}).items():
        variant = changed(recipe, changes)
        splits = fold_splits(variant, report if not rows else _silent)
        runs = [
            [
                _one(variant, split, out / name.replace(" ", "-") / f"fold-{fold}", seed, team)
                for fold, split in enumerate(splits)
            ]
            for seed in study.seeds
        ]
        rows.append({"variant": name, "seeds": len(study.seeds), "folds": len(splits), **_summary(runs)})
        report(_line(rows[-1]))
        if team.leads:
            write_whole(out / "results.json", json.dumps(rows, indent=2) + "\n")
            write_whole(out / "results.md", table(rows))
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table of a study's rows."""
    head = "| variant | clip accuracy | over folds | mean over classes | at the middle frame | frames shuffled |\n"
    lines = [
        f"| {row['variant']} | {_share(row, 'accuracy')} | ± {row['fold_spread']:.1%} | "
        f"{_share(row, 'mean_class_accuracy')} | {_share(row, 'middle_frame_accuracy')} | {_share(row, 'shuffled')} |"
        for row in rows
    ]
    return head + "|---|---|---|---|---|---|\n" + "\n".join(lines) + "\n"


def _one(recipe: Recipe, split: Split, folder: Path, seed: int, team: Team) -> dict[str, Any]:
    """Trains and tests one run, or reads what it found before."""
    folder = folder / f"seed-{seed}"
    done = folder / "test.json"
    seeded = changed(recipe, {"train": {"seed": seed}, **({"tune": {"seed": seed}} if recipe.tune else {})})
    test = split.test or split.dev
    if test is None:
        raise LrcnError(
            f"{recipe.name} has nothing to test on: give folds, or data with a dev or test split."
        )
    key = run_key(seeded, split)
    if not team.agree(done.exists()):
        name = f"{folder.parent.parent.name} {folder.parent.name} seed {seed}"
        model = train_split(seeded, split, folder, team, name=name)
        if team.leads:
            values = measure(model, test).to_json()
            if recipe.study is not None and recipe.study.shuffle:
                values["shuffled"] = measure(model, test, shuffle_seed=seed).accuracy
            write_whole(done, json.dumps({**values, "run": key}) + "\n")
        team.wait()
    found: dict[str, Any] = json.loads(done.read_text())
    if found.get("run", key) != key:
        raise LrcnError(
            f"{folder} is of a run with other settings or data; give another --out, or remove that folder."
        )
    return found


def _summary(runs: list[list[dict[str, Any]]]) -> dict[str, Any]:
    names = [*RATES, *(["shuffled"] if "shuffled" in runs[0][0] else [])]
    summary: dict[str, Any] = {}
    for name in names:
        per_seed = [_pooled(folds, name) for folds in runs]
        summary[name] = mean(per_seed)
        summary[f"{name}_spread"] = stdev(per_seed) if len(per_seed) > 1 else 0.0
    per_fold = [mean(folds[fold]["accuracy"] for folds in runs) for fold in range(len(runs[0]))]
    summary["fold_spread"] = stdev(per_fold) if len(per_fold) > 1 else 0.0
    return summary


def _pooled(folds: list[dict[str, Any]], name: str) -> float:
    """A rate over all folds, every clip counting once."""
    clips = sum(fold["clips"] for fold in folds)
    return float(sum(fold[name] * fold["clips"] for fold in folds) / clips)


def _share(row: dict[str, Any], name: str) -> str:
    return f"{row[name]:.1%} ± {row[name + '_spread']:.1%}" if name in row else "-"


def _line(row: dict[str, Any]) -> str:
    shuffled = f", frames shuffled {row['shuffled']:.1%}" if "shuffled" in row else ""
    return (
        f"{row['variant']}: {_share(row, 'accuracy')} (seeds), ± {row['fold_spread']:.1%} (folds), "
        f"at the middle frame {row['middle_frame_accuracy']:.1%}{shuffled}"
    )


def _silent(_: str) -> None:
    pass
