"""`lrcn train` and `lrcn eval`."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from lrcn.cli.call import JSON_OR_TABLE, Call, existing, folder_to_write
from lrcn.cli.data import rows_of
from lrcn.cli.status import Status, say
from lrcn.config import dotted_changes
from lrcn.errors import LrcnError
from lrcn.text import one_line

if TYPE_CHECKING:
    from lrcn.data.manifest import Row
    from lrcn.evaluate.recognition import RecognitionMetrics


def train(call: Call) -> int:
    """Trains a model, or takes up a run that was stopped."""
    call.example(
        "lrcn train folder-of-class-folders",
        "lrcn train recipes/camera-moves.yaml --out runs/moves --train.epochs 10",
    )
    call.description = (
        f"{call.description} A run that was stopped goes on when the same command is given again.\n"
        "Every setting of a recipe can be given as --key value, as in --train.epochs 10."
    )
    call.add_argument(
        "source",
        metavar="SOURCE",
        help="a recipe (.yaml), a folder with one folder of clips a class, or a manifest",
    )
    call.add_argument(
        "--out", metavar="DIR", type=Path, help="where the run and its model go (default: runs/NAME)"
    )
    call.add_argument(
        "--allow-leakage", action="store_true", help="go on though a group stands in both training and test"
    )
    args, settings = call.parse_with_settings()
    if args.allow_leakage:
        settings["data.allow_leakage"] = "true"
    source = existing(Path(args.source), "a recipe, a folder of class folders, or a manifest")
    changes = dotted_changes(settings)
    out = folder_to_write(args.out or Path("runs") / source.resolve().stem, "--out")

    from lrcn.train.recipe import read_recipe, recipe_for_source
    from lrcn.train.run import train

    if source.suffix.lower() in (".yaml", ".yml"):
        recipe = read_recipe(source, changes)
    else:
        recipe, sentences = recipe_for_source(source, changes)
        _report(*sentences)
    if recipe.study is not None:
        from lrcn.train.study import run_study

        run_study(recipe, out, _report)
        _report(f"The study: {out / 'results.md'}")
        return 0
    result = train(recipe, out, _report)
    _report(*result.lines(), "Use it:", f"  lrcn recognize VIDEO --model {shlex.quote(str(result.folder))}")
    return 0


def evaluate(call: Call) -> int:
    """Measures a model."""
    call.example(
        "lrcn eval --model runs/moves/model --data clips.jsonl",
        "lrcn eval --model camera-moves --data clips.jsonl --format json --out numbers/",
    )
    call.add_argument(
        "--model", required=True, help="a name of `lrcn models`, a folder, or hf-hub:owner/name"
    )
    call.add_argument(
        "--data",
        required=True,
        metavar="MANIFEST|FOLDER",
        type=Path,
        help="a manifest, or a folder of class folders",
    )
    call.add_argument(
        "--split", help="which split (default: test where the data have splits, else all clips)"
    )
    call.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    call.add_argument(
        "--format", choices=JSON_OR_TABLE, default="table", help="what is written (default: table)"
    )
    call.add_argument(
        "--out", metavar="DIR", type=Path, help="also write metrics.json and confusion.png there"
    )
    args = call.parse()
    if args.out is not None:
        folder_to_write(args.out, "--out")
    rows, sentence = _rows_of_split(rows_of(args.data)[0], args.split, args.data)
    with Status() as status:
        status.show(f"loading {args.model}")
        from lrcn.evaluate.recognition import evaluate
        from lrcn.models.zoo import load_model

        loaded = load_model(args.model, args.device)
        metrics = evaluate(
            loaded,
            rows,
            progress=lambda done, total: status.show("evaluating", done, total),
            report=lambda sentence: status.say(f"lrcn: {one_line(sentence)}"),
        )
    if args.out is not None:
        _write_numbers(metrics, args.out)
    if args.format == "json":
        print(json.dumps(metrics.to_json(), ensure_ascii=False))
    else:
        print("\n".join([sentence, *metrics.lines()]))
    return 1 if metrics.left_out else 0


def _report(*lines: str) -> None:
    # Under torchrun every process comes here; one speaks for all.
    if os.environ.get("RANK", "0") == "0":
        for line in lines:
            print(line, flush=True)


def _rows_of_split(rows: list[Row], split: str | None, data: Path) -> tuple[list[Row], str]:
    """The labelled rows to measure on, and a sentence that says which they are."""
    splits = sorted({row.split for row in rows if row.split is not None})
    if split is None and not splits:
        return rows, f"All {len(rows)} clips of {data}, which has no splits."
    split = split or "test"
    chosen = [row for row in rows if row.split == split]
    if not chosen:
        has = f"it has {', '.join(splits)}" if splits else "it has no splits, so leave --split out"
        raise LrcnError(f"{data} has no clips in the split {split!r}: {has}.")
    return chosen, f"The {len(chosen)} clips of the split {split} of {data}."


def _write_numbers(metrics: RecognitionMetrics, folder: Path) -> None:
    from lrcn.files import write_whole
    from lrcn.visualize import confusion, save

    write_whole(folder / "metrics.json", json.dumps(metrics.to_json(), indent=2, ensure_ascii=False) + "\n")
    save(confusion(metrics.confusion, metrics.labels), folder / "confusion.png")
    say(f"Wrote {folder / 'metrics.json'} and {folder / 'confusion.png'}.")
