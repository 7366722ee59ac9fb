"""`lrcn describe`: shot lists of videos, sentences about features and labels; what fails is told, the rest goes on."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrcn.cli.call import Call, file_to_write
from lrcn.cli.caption import add_decoding, check_decoding, decoding_of, write_pieces
from lrcn.cli.recognize import Named, Work, named_inputs
from lrcn.cli.status import Status
from lrcn.data.media import is_live
from lrcn.errors import LrcnError
from lrcn.text import one_line

if TYPE_CHECKING:
    from lrcn.predict import Failure
    from lrcn.predict_descriptions import Description, Given

_SUBTITLES = ("srt", "vtt")
_FORMATS = ("table", "jsonl", "csv", *_SUBTITLES, "html")
_MANIFESTS = (".jsonl", ".csv")


def describe(call: Call) -> int:
    """Writes the shot list of videos: from when to when, how the camera moves, and what is seen."""
    call.example(
        "lrcn describe film.mp4",
        "lrcn describe film.mp4 --format csv --out shots.csv --html shots.html",
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
        "--model",
        default="describe-moves",
        help="a name of `lrcn models`, a folder, or hf-hub:owner/name (default: describe-moves)",
    )
    call.add_argument(
        "--recognizer",
        action="append",
        default=[],
        metavar="MODEL",
        help="where the model is given labels: what says them of a video; once for each slot",
    )
    call.add_device()
    call.add_span()
    add_decoding(call)
    call.add_format(_FORMATS)
    call.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="write there instead of standard output; a folder for the subtitles of several inputs",
    )
    call.add_argument(
        "--html", metavar="FILE", type=Path, help="also write a page with a picture of each shot"
    )
    args = call.parse()
    check_decoding(call, args)
    if args.html is not None:
        file_to_write(args.html, "--html")
    named = named_inputs("describe", args.inputs, lambda source: _why_endless(source, args.end))
    with Status() as status:
        work = Work(args, status, call.debug)
        work.tell_known_failures(named)
        if args.format == "table" and args.out is None and all(named.values()):
            return 1
        _write(_kept(_results(work, named), args), args, several=len(named) > 1)
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


def _kept(results: Iterable[Description | Failure], args: Any) -> Iterator[Description | Failure]:
    """The results, and at the end the page that `--html` asks for."""
    kept: list[Description | Failure] = []
    for result in results:
        if args.html is not None:
            kept.append(result)
        yield result
    if args.html is not None:
        from lrcn.files import write_whole

        write_whole(args.html, _page(kept, args.model))


def _page(results: Iterable[Description | Failure], model: str) -> str:
    from lrcn.predict import Failure
    from lrcn.shot_list import shot_page

    return shot_page([result for result in results if not isinstance(result, Failure)], model)


def _write(results: Iterator[Description | Failure], args: Any, *, several: bool) -> None:
    from lrcn.shot_list import cues
    from lrcn.writers import write_subtitles

    if args.format in _SUBTITLES:
        write_subtitles(results, args.format, cues, out=args.out, several=several)
    else:
        write_pieces(_pieces(results, args), args.out)


def _pieces(results: Iterator[Description | Failure], args: Any) -> Iterator[str]:
    from lrcn.predict import Failure
    from lrcn.shot_list import csv_rows, table
    from lrcn.writers import jsonl

    if args.format == "jsonl":
        yield from jsonl(results)
    elif args.format == "csv":
        yield from csv_rows(result for result in results if not isinstance(result, Failure))
    elif args.format == "html":
        yield _page(results, args.model)
    else:
        bold = args.out is None and sys.stdout.isatty()
        for result in results:
            if isinstance(result, Failure):
                yield f"{one_line(result.path)}  {one_line(result.error)}\n"
            else:
                yield table(result, bold=bold)
