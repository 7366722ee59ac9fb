"""A study of captioners: variants of a recipe side by side, with the spread over seeds beside every mean."""

import json
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from lrcn.config import to_values
from lrcn.errors import LrcnError
from lrcn.evaluate.captioning import measure, written
from lrcn.files import write_whole
from lrcn.fingerprint import fingerprint
from lrcn.generate import Decoding
from lrcn.models.captioner import Captioner
from lrcn.train.caption_tasks import DevJudge
from lrcn.train.captions import CaptionRecipe, read_split, train_split
from lrcn.train.distributed import Team, joined_team
from lrcn.train.photo_splits import PhotoPart, PhotoSplit, featured
from lrcn.train.recipe import changed
from lrcn.train.run import Report, cache_folder
from lrcn.train.words_recipe import run_key

METRICS = ("bleu_1", "bleu_4", "rouge_l", "cider_d")


def run_study(recipe: CaptionRecipe, out: str | Path, report: Report = print) -> list[dict[str, Any]]:
    """Trains every variant with every seed and measures it on dev; finished runs in `out` are not done again.

    Returns:
        One row per variant, then one per decoding; also written to `out/results.json` and, as tables, `out/results.md`.

    Raises:
        LrcnError: the recipe has no study or no dev photos, or a setting of a variant is wrong.
    """
    study = recipe.study
    if study is None:
        raise LrcnError(f"{recipe.name} has no study: add `study:` with seeds and variants.")
    rows: list[dict[str, Any]] = []
    out = Path(out)
    variants = study.variants or {"as it stands": {}}
    with joined_team() as team:
        tell = team.heard(report)

        def add(name: str, runs: list[dict[str, Any]]) -> None:
            rows.append({"variant": name, "seeds": len(runs), **_summary(runs)})
            tell(f"{name}: CIDEr-D {_cell(rows[-1], 'cider_d')}, BLEU-4 {_cell(rows[-1], 'bleu_4')}")
            if team.leads:
                write_whole(out / "results.json", json.dumps(rows, indent=2) + "\n")
                write_whole(out / "results.md", table(rows))

        for name, changes in variants.items():
            variant = changed(recipe, {**changes, "study": None})
            split = read_split(variant, tell if not rows else _silent)
            runs = [
                _one(variant, split, _folder(out, name, seed), seed, team, cache_folder(out))
                for seed in study.seeds
            ]
            add(name, runs)
        first = next(iter(variants))
        variant = changed(recipe, {**variants[first], "study": None})
        split = read_split(variant, _silent)
        for name, decoding in study.decodings.items():
            runs = [
                _rewritten(
                    variant, split, _folder(out, first, seed), seed, name, decoding, team, cache_folder(out)
                )
                for seed in study.seeds
            ]
            add(f"{first}, {name}", runs)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table of a study's rows, metrics in hundredths."""
    head = ["variant", *(name.replace("_", "-").upper() for name in METRICS), "nats a word", "parameters"]
    head += ["training a run", "writing a sentence"]
    lines = [
        [
            row["variant"],
            *(_cell(row, name) for name in METRICS),
            f"{row['nll']:.3f} ± {row['nll_spread']:.3f}",
            f"{row['parameters'] / 1e6:.2f} M",
            f"{row['seconds']:.3g} s",
            f"{row['milliseconds']:.3g} ms",
        ]
        for row in rows
    ]
    body = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n{body}"


def _one(
    recipe: CaptionRecipe, split: PhotoSplit, folder: Path, seed: int, team: Team, cache: Path
) -> dict[str, Any]:
    """Trains and measures one run, or reads what it found before."""
    seeded = _seeded(recipe, seed)
    key, done = run_key(seeded, split), folder / "dev.json"
    if done.exists() and json.loads(done.read_text())["run"] != key:
        raise LrcnError(
            f"{folder} is of a run with other settings or data; give another --out, or remove that folder."
        )
    if not team.agree(done.exists()):
        began = time.monotonic()
        name = f"{folder.parent.name} seed {seed}"
        model = train_split(seeded, split, folder, team, name=name, cache=cache)
        seconds = round(time.monotonic() - began, 1)
        dev = _dev(_shown(recipe, split, model, cache, team), recipe)
        if team.leads:
            values = _judged(model, split, dev, recipe.decoding)
            values["nll"] = DevJudge(dev, split.tokenizer, recipe.select)(model)["nll_loss"]
            parameters = sum(p.numel() for p in model.parameters())
            told = {**values, "parameters": parameters, "seconds": seconds, "run": key}
            write_whole(done, json.dumps(told) + "\n")
        team.wait()
    found: dict[str, Any] = json.loads(done.read_text())
    return found


def _rewritten(
    recipe: CaptionRecipe,
    split: PhotoSplit,
    folder: Path,
    seed: int,
    name: str,
    decoding: Decoding,
    team: Team,
    cache: Path,
) -> dict[str, Any]:
    """The numbers of a finished run whose sentences are chosen in another way, or what was found before."""
    done = folder / f"dev-{name.replace(' ', '-')}.json"
    key = fingerprint(run_key(_seeded(recipe, seed), split), to_values(decoding))
    if not team.agree(done.exists() and json.loads(done.read_text())["run"] == key):
        # Trained already: it is read.
        model = train_split(_seeded(recipe, seed), split, folder, team, cache=cache)
        dev = _dev(_shown(recipe, split, model, cache, team), recipe)
        if team.leads:
            before = json.loads((folder / "dev.json").read_text())
            told = {**before, **_judged(model, split, dev, decoding), "run": key}
            write_whole(done, json.dumps(told) + "\n")
        team.wait()
    found: dict[str, Any] = json.loads(done.read_text())
    return found


def _folder(out: Path, variant: str, seed: int) -> Path:
    return out / variant.replace(" ", "-") / f"seed-{seed}"


def _seeded(recipe: CaptionRecipe, seed: int) -> CaptionRecipe:
    stages = {name: {"seed": seed} for name in ("train", "tune") if getattr(recipe, name) is not None}
    seeded = changed(recipe, stages)
    if seeded.self_critical is not None:
        seeded = changed(seeded, {"self_critical": {"loop": {"seed": seed}}})
    return seeded


def _shown(recipe: CaptionRecipe, split: PhotoSplit, model: Captioner, cache: Path, team: Team) -> PhotoSplit:
    if model.encoder.tuned:
        return split
    return featured(split, model.encoder, cache, recipe.views, team)


def _judged(model: Captioner, split: PhotoSplit, dev: PhotoPart, decoding: Decoding) -> dict[str, float]:
    """What the model's sentences about dev photos score, and milliseconds a sentence."""
    began = time.monotonic()
    sentences = written(model, dev.photos, decoding)
    each = 1e3 * (time.monotonic() - began) / len(sentences)
    scores = measure(split.tokenizer, dev.rows, sentences).corpus
    return {**{name: scores[name] for name in METRICS}, "milliseconds": each}


def _dev(split: PhotoSplit, recipe: CaptionRecipe) -> PhotoPart:
    if split.dev is None:
        raise LrcnError(f"{recipe.name} has no dev photos to compare its variants on: set data.dev.")
    return split.dev


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for name in (*METRICS, "nll"):
        values = [run[name] for run in runs]
        summary[name] = mean(values)
        summary[f"{name}_spread"] = stdev(values) if len(values) > 1 else 0.0
    return {
        **summary,
        **{name: mean(run[name] for run in runs) for name in ("parameters", "seconds", "milliseconds")},
    }


def _cell(row: dict[str, Any], name: str) -> str:
    return f"{100 * row[name]:.1f} ± {100 * row[f'{name}_spread']:.1f}"


def _silent(_: str) -> None:
    pass
