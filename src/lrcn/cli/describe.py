"""`lrcn describe`: sentences about videos, features of videos, or labels; one that fails is told, the others go on."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrcn.cli.call import Call, seconds
from lrcn.cli.caption import add_decoding, check_decoding, decoding_of, write_pieces
from lrcn.cli.recognize import Named, Work, named_inputs
from lrcn.cli.status import Status
from lrcn.data.media import is_live
from lrcn.errors import LrcnError
from lrcn.text import clock, one_line

if TYPE_CHECKING:
    from lrcn.predict import Failure
    from lrcn.predict_descriptions import Description, Given

_FORMATS = ("table", "jsonl")
_MANIFESTS = (".jsonl", ".csv")


def describe(call: Call) -> int:
    """Writes sentences about videos."""
    call.example(
        "lrcn describe clip.mp4 --model runs/describer/model",
        "lrcn describe clip.mp4 --model runs/tuples/model --recognizer camera-moves",
        "lrcn describe clips.jsonl --model runs/tuples/model --format jsonl --out sentences.jsonl",
    )
    call.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="a video, a folder of videos, a pattern in quotes, a URL, a file of features (.npy, .npz, .safetensors), "
        "a manifest (.jsonl, .csv) of clips or of labels, or - for a list on standard input, one a line",
    )
    call.add_argument(
        "--model", required=True, help="a name of `lrcn models`, a folder, or hf-hub:owner/name"
    )
    call.add_argument(
        "--recognizer",
        action="append",
        default=[],
        metavar="MODEL",
        help="where the model is given labels: what says them of a video; once for each slot",
    )
    call.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    call.add_argument(
        "--start", type=seconds, default=0.0, metavar="S", help="seconds into each video to begin at"
    )
    call.add_argument("--end", type=seconds, metavar="S", help="seconds into each video to stop at")
    add_decoding(call)
    call.add_argument("--format", choices=_FORMATS, default="table", help="what is written (default: table)")
    call.add_argument("--out", metavar="FILE", type=Path, help="write there instead of standard output")
    args = call.parse()
    check_decoding(call, args)
    named = named_inputs("describe", args.inputs, lambda source: _why_endless(source, args.end))
    with Status() as status:
        work = Work(args, status, call.debug)
        work.tell_known_failures(named)
        if args.format == "table" and args.out is None and all(named.values()):
            return 1
        write_pieces(_pieces(_results(work, named), args.format, args.out is None), args.out)
    return 1 if work.failed else 0


def _why_endless(source: str, end: float | None) -> LrcnError | None:
    if not is_live(source) or end is not None:
        return None
    return LrcnError(f"{source} never ends: give --end SECONDS to say how long to look.")


def _results(work: Work, named: Named) -> Iterator[Description | Failure]:
    from lrcn.models.zoo import load
    from lrcn.predict import Failure
    from lrcn.predict_descriptions import describe_many

    args = work.args
    work.status.show(f"loading {args.model}")
    loaded = load(args.model, args.device, tasks=("describe",))
    options: dict[str, Any] = {
        "recognizers": [load(name, args.device, tasks=("recognize", "fuse")) for name in args.recognizer],
        "decoding": decoding_of(args, loaded.decoding),
        "best": args.nbest,
        "seed": args.seed,
        "start": args.start,
        "end": args.end,
    }
    for source, error in named.items():
        known = [Failure(source, str(error), error)] if error is not None else None
        what = f"describing {source}"
        work.status.show(what)
        options["progress"] = lambda done, end, what=what: work.status.show(what, done, end)
        for result in known or _described(source, describe_many, loaded, options):
            if isinstance(result, Failure):
                if error is None:
                    work.tell(result.path, result.exception or LrcnError(result.error), result.error)
                # Already told on standard error; the eye needs it once, a program finds it in its records.
                if args.format == "table" and args.out is None:
                    continue
            elif result.warning is not None:
                work.note(source, result.warning)
            work.status.clear()
            yield result


def _described(
    source: str, describe_many: Any, loaded: Any, options: dict[str, Any]
) -> Iterator[Description | Failure]:
    from lrcn.predict import Failure

    given: Iterable[Given] = [source]
    if source.lower().endswith(_MANIFESTS):
        from lrcn.data.manifest import read_manifest

        try:
            given = read_manifest(source)
        except LrcnError as error:
            yield Failure(source, str(error), error)
            return
    yield from describe_many(loaded, given, **options)


def _pieces(results: Iterable[Description | Failure], form: str, terminal: bool) -> Iterator[str]:
    from lrcn.predict import Failure

    for result in results:
        if form == "jsonl":
            yield json.dumps(result.to_json(), ensure_ascii=False) + "\n"
        elif isinstance(result, Failure):
            yield f"{one_line(result.path)}  {one_line(result.error)}\n"
        else:
            yield _lines(result, bold=terminal and sys.stdout.isatty())


def _lines(result: Description, *, bold: bool) -> str:
    name = one_line(result.id or result.path)
    name = f"\x1b[1m{name}\x1b[0m" if bold else name
    whole = len(result.shots) == 1
    lines = []
    for shot in result.shots:
        when = "" if whole else f"{clock(shot.start, tenths=False)}  "
        lines.append(f"{when}{shot.sentence}")
        lines += [f"  {log_prob:8.2f}  {text}" for text, log_prob in shot.others]
    seen = "" if result.labels is None else f"  ({', '.join(result.labels.values())})"
    return f"{name}  {lines[0]}{seen}\n" + "".join(f"{line}\n" for line in lines[1:])
