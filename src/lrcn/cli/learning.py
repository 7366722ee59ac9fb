"""`lrcn train` and `lrcn eval`."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrcn.cli.call import Call, existing, folder_to_write
from lrcn.cli.data import rows_of
from lrcn.cli.status import Status, say
from lrcn.config import dotted_changes
from lrcn.errors import LrcnError
from lrcn.text import one_line

if TYPE_CHECKING:
    from lrcn.data.manifest import Row
    from lrcn.evaluate.detection import DetectionMetrics
    from lrcn.evaluate.recognition import RecognitionMetrics

# Known here too, so that help need not load what measures them.
_PROTOCOLS = ("stream", "clips", "centre-crop", "ten-crop", "released-demo", "all")


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

    if source.suffix.lower() in (".yaml", ".yml"):
        from lrcn.train.jobs import job_of

        result = job_of(source, changes)(source, changes, out, _report)
    else:
        from lrcn.train.recipe import recipe_for_source
        from lrcn.train.run import train

        recipe, sentences = recipe_for_source(source, changes)
        _report(*sentences)
        result = train(recipe, out, _report)
    _report(*result.lines())
    if result.use:
        _report("Use it:", f"  {result.use.format(shlex.quote(str(result.folder)))}")
    return 0


def evaluate(call: Call) -> int:
    """Measures a model."""
    call.example(
        "lrcn eval --model runs/moves/model --data clips.jsonl",
        "lrcn eval --model camera-moves --data clips.jsonl --format json --out numbers/",
        "lrcn eval --model models/lrcn --data ucf101.jsonl --protocol all --resize 240x320",
        "lrcn eval --model captions-flickr8k --data flickr8k.jsonl --split dev --html page.html",
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
    _add_protocols(call)
    call.add_argument(
        "--segments",
        action="store_true",
        help="the rows of a file are the timed segments of one video: each video is read from its beginning to its end "
        "and judged by frames and by segments",
    )
    call.add_argument(
        "--background",
        metavar="LABEL",
        default="",
        help="with --segments, the class of frames in none (default: they are not judged)",
    )
    call.add_argument(
        "--retrieval",
        action="store_true",
        help="of a model that writes captions: how well it finds photos by captions, and captions by photos",
    )
    call.add_argument(
        "--half",
        action="store_true",
        help="of a model that writes captions: in half precision, which is faster where the processor has it",
    )
    call.add_device()
    call.add_format()
    call.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="also write metrics.json there, and pictures of the confusion, or the sentences that were written",
    )
    call.add_argument(
        "--html",
        metavar="FILE",
        type=Path,
        help="of a model that writes captions: also a page of the best and the worst photos, with what people wrote",
    )
    args = call.parse()
    if args.out is not None:
        folder_to_write(args.out, "--out")
    task = _task_of(args.model)
    what = "photos" if task in ("caption", "embed") else "clips"
    rows, sentence = rows_of_split(rows_of(args.data)[0], args.split, args.data, what)
    if args.html is not None and (task != "caption" or args.retrieval):
        raise LrcnError(
            "eval: --html shows sentences about photos: give --model a captioner, without --retrieval."
        )
    if args.half and task != "caption":
        raise LrcnError("eval: --half is for models that write captions: leave it out.")
    if task == "embed" or args.retrieval:
        from lrcn.cli.search import evaluate_retrieval

        return evaluate_retrieval(args, rows, sentence)
    if task == "caption":
        from lrcn.cli.caption import evaluate_captioner

        return evaluate_captioner(args, rows, sentence)
    with Status() as status:
        status.show(f"loading {args.model}")
        from lrcn.evaluate import detection
        from lrcn.evaluate.protocols import USUAL, ProtocolConfig, lines_of, measure_protocols
        from lrcn.evaluate.recognition import evaluate
        from lrcn.models.folder import Loaded
        from lrcn.models.zoo import load

        found: dict[str, RecognitionMetrics | DetectionMetrics]
        protocols: Any = USUAL if args.protocol == "all" else (args.protocol or "stream",)
        config = ProtocolConfig(protocols, args.clip_frames, args.clip_stride, resize=args.resize)
        loaded = load(args.model, args.device, tasks=("recognize", "fuse"))
        options: dict[str, Any] = {
            "progress": lambda done, total: status.show("evaluating", done, total),
            "report": lambda sentence: status.say(f"lrcn: {one_line(sentence)}"),
        }
        if args.segments:
            if args.protocol is not None or not isinstance(loaded, Loaded):
                raise LrcnError(
                    "--segments reads whole videos with one network: leave --protocol out, and give one."
                )
            timed = detection.evaluate(loaded, rows, background=args.background, **options)
            found, values, lines = {"": timed}, timed.to_json(), timed.lines()
        elif args.protocol is None:
            metrics = evaluate(loaded, rows, **options)
            found, values, lines = {"": metrics}, metrics.to_json(), metrics.lines()
        else:
            measured = measure_protocols(loaded, rows, config, **options)
            found = {f"-{name}": protocol.videos for name, protocol in measured.items()}
            values = {name: protocol.to_json() for name, protocol in measured.items()}
            lines = lines_of(measured)
    if args.out is not None:
        _write_numbers(values, found, args.out)
    if args.format == "json":
        print(json.dumps(values, ensure_ascii=False))
    else:
        print("\n".join([sentence, *lines]))
    return 1 if next(iter(found.values())).left_out else 0


def _task_of(model: str) -> Any:
    """What a model is for."""
    from lrcn.models.folder import read_json
    from lrcn.models.zoo import model_folder

    return read_json(model_folder(model) / "config.json", dict).get("task")


def _add_protocols(call: Call) -> None:
    call.add_argument(
        "--protocol",
        choices=_PROTOCOLS,
        help="how a video is read: in one pass, in clips, in clips of the centre of a larger frame, of ten crops, of "
        "ten crops as the paper's released demo cut them; all: the first four at once (default: as the model reads it "
        "when it is used)",
    )
    call.add_argument(
        "--clip-frames", type=int, default=16, metavar="N", help="frames of a clip (default: 16)"
    )
    call.add_argument(
        "--clip-stride", type=int, default=8, metavar="N", help="frames from clip to clip (default: 8)"
    )
    call.add_argument(
        "--resize",
        type=_size,
        metavar="HxW",
        help="what frames are scaled to before crops are cut, such as the paper's 240x320 (default: as the model has "
        "them, but 240/227 larger)",
    )


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and 0 < int(height) < 10**5 and 0 < int(width) < 10**5):
        raise argparse.ArgumentTypeError(f"{text!r} is no height and width such as 240x320")
    return int(height), int(width)


def _report(*lines: str) -> None:
    # Under torchrun every process comes here; one speaks for all.
    if os.environ.get("RANK", "0") == "0":
        for line in lines:
            print(line, flush=True)


def rows_of_split(
    rows: list[Row], split: str | None, data: Path, what: str = "clips"
) -> tuple[list[Row], str]:
    """The rows to measure on, and a sentence that says which they are."""
    splits = sorted({row.split for row in rows if row.split is not None})
    if split is None and not splits:
        return rows, f"All {len(rows)} {what} of {data}, which has no splits."
    split = split or "test"
    chosen = [row for row in rows if row.split == split]
    if not chosen:
        has = f"it has {', '.join(splits)}" if splits else "it has no splits, so leave --split out"
        raise LrcnError(f"{data} has no {what} in the split {split!r}: {has}.")
    return chosen, f"The {len(chosen)} {what} of the split {split} of {data}."


def _write_numbers(
    values: Any, found: dict[str, RecognitionMetrics | DetectionMetrics], folder: Path
) -> None:
    from lrcn.files import write_whole
    from lrcn.visualize import confusion, save

    write_whole(folder / "metrics.json", json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    pictures = [folder / f"confusion{name}.png" for name in found]
    for picture, metrics in zip(pictures, found.values(), strict=True):
        save(confusion(metrics.confusion, metrics.labels), picture)
    say(f"Wrote {folder / 'metrics.json'} and {', '.join(map(str, pictures))}.")
