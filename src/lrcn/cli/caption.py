"""`lrcn caption`: sentences about any number of photos; one that fails is told and the others go on."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrcn.cli.call import Call, file_to_write, folder_to_write, whole
from lrcn.cli.recognize import Named, Work, named_inputs
from lrcn.cli.status import Status
from lrcn.data.media import is_url
from lrcn.errors import LrcnError
from lrcn.text import one_line

if TYPE_CHECKING:
    from lrcn.data.manifest import Row
    from lrcn.evaluate.captions import CaptionScores
    from lrcn.generate import Decoding
    from lrcn.predict import Failure
    from lrcn.sentences import Caption, Told

_FORMATS = ("table", "jsonl", "csv")


def caption(call: Call) -> int:
    """Writes sentences about photos."""
    call.example(
        "lrcn caption photo.jpg",
        "lrcn caption photos/ --format jsonl --out captions.jsonl",
        "lrcn caption photo.jpg --samples 100 --temperature 1.5 --nbest 5",
    )
    call.add_argument(
        "inputs",
        nargs="+",
        metavar="PHOTO",
        help="a photo, a folder of photos, a pattern in quotes, a URL, or - for a list on standard input, one a line",
    )
    call.add_argument(
        "--model",
        default="captions-flickr8k",
        help="a name of `lrcn models`, a folder, or hf-hub:owner/name (default: captions-flickr8k)",
    )
    call.add_device()
    add_decoding(call)
    call.add_argument(
        "--half",
        action=argparse.BooleanOptionalAction,
        help="write in half precision, so that log_prob is rounded (default: where the processor is faster so)",
    )
    call.add_format(_FORMATS)
    call.add_argument("--out", metavar="FILE", type=Path, help="write there instead of standard output")
    args = call.parse()
    check_decoding(call, args)
    named = named_inputs("caption", args.inputs, _why_not, kinds=("image",))
    with Status() as status:
        work = Work(args, status, call.debug)
        work.tell_known_failures(named)
        if args.format == "table" and args.out is None and all(named.values()):
            return 1
        write_pieces(_pieces(_results(work, named), args.format, args.out is None), args.out)
    return 1 if work.failed else 0


def evaluate_captioner(args: Any, rows: list[Row], sentence: str) -> int:
    """`lrcn eval` of a captioner: what it writes about the photos of a manifest, against their captions."""
    if args.protocol is not None or args.segments:
        raise LrcnError(f"{args.model} writes sentences: leave --protocol and --segments out.")
    if args.html is not None:
        file_to_write(args.html, "--html")
    silent = [row.path for row in rows if not row.captions]
    if silent:
        raise LrcnError(f"{silent[0]} has no captions to compare with; give it some, or leave the row out.")
    with Status() as status:
        status.show(f"loading {args.model}")
        from lrcn.evaluate.captions import score_captions
        from lrcn.models.zoo import load
        from lrcn.predict import Failure
        from lrcn.predict_captions import caption_many

        loaded = load(args.model, args.device, tasks=("caption",))
        work, told = Work(args, status, debug=False), []
        for number, result in enumerate(caption_many(loaded, [row.path for row in rows], half=args.half)):
            status.show("captioning", number, len(rows))
            if isinstance(result, Failure):
                work.tell(result.path, result.exception or LrcnError(result.error), result.error)
            told.append(result)
        references = {str(number): row.captions for number, row in enumerate(rows)}
        said = {str(number): one.caption for number, one in enumerate(told) if not isinstance(one, Failure)}
        scores = score_captions(references, said, partial=True)
        values = {"photos": len(said), "left_out": work.failed, **scores.to_json()["corpus"]}
        if args.out is not None:
            from lrcn.files import write_whole

            write_whole(args.out / "metrics.json", json.dumps(values, indent=2) + "\n")
            write_pieces(_pieces(told, "jsonl", terminal=False), args.out / "predictions.jsonl")
        if args.html is not None:
            status.show(f"writing {args.html}")
            _write_page(args, rows, said, scores, sentence)
    print(json.dumps(values) if args.format == "json" else "\n".join([sentence, *scores.lines()]))
    return 1 if work.failed else 0


def _write_page(
    args: Any, rows: list[Row], said: dict[str, str], scores: CaptionScores, sentence: str
) -> None:
    from lrcn.caption_page import Judged, caption_page
    from lrcn.files import write_whole

    judged = [
        Judged(row.path, said[name], row.captions, scores.per_image[name])
        for name, row in ((str(number), row) for number, row in enumerate(rows))
        if name in said
    ]
    write_whole(args.html, caption_page(f"Sentences by {args.model}", sentence, judged, scores.corpus))


def add_decoding(call: Call) -> None:
    """The options that say how sentences are chosen."""
    call.add_argument(
        "--beam",
        type=whole,
        metavar="N",
        help="sentences kept at a time; 1 is greedy (default: as the model was measured)",
    )
    call.add_argument(
        "--samples", type=whole, metavar="N", help="draw N sentences at random and take the most probable"
    )
    call.add_argument(
        "--temperature",
        type=_temperature,
        metavar="T",
        help="with --samples: 1 draws as the network says, more what is probable yet more often (default: 1.5)",
    )
    call.add_argument("--seed", type=int, default=0, metavar="N", help="with --samples: of what is drawn")
    call.add_argument("--max-length", type=whole, metavar="N", help="the most words of a sentence")
    call.add_argument("--nbest", type=whole, default=1, metavar="N", help="sentences about each (default: 1)")


def check_decoding(call: Call, args: Any) -> None:
    """Refuses options that do not go together, and a place that cannot be written."""
    if args.beam is not None and args.samples is not None:
        raise LrcnError(f"{call.prog[5:]}: give either --beam or --samples.")
    if args.temperature is not None and args.samples is None:
        raise LrcnError(f"{call.prog[5:]}: --temperature goes with --samples.")
    if args.seed < 0:
        raise LrcnError(f"{call.prog[5:]}: --seed is {args.seed}: give 0 or more.")
    if args.out is not None:
        if args.out.is_dir():
            raise LrcnError(
                f"--out {args.out} is a folder, and {args.format} is one file; give a file's name."
            )
        folder_to_write(args.out.parent, "--out")


def _why_not(source: str) -> LrcnError | None:
    if is_url(source) and not source.lower().startswith(("http://", "https://")):
        return LrcnError(f"{source} is no address of a photo: give http:// or https://.")
    return None


def _results(work: Work, named: Named) -> Iterator[Caption | Failure]:
    """What was written about each input, in order; those not there stand between as they were named."""
    from lrcn.predict import Failure

    args, known = work.args, [source for source, error in named.items() if error is None]
    told = _captioned(work, known) if known else iter(())
    for done, (source, error) in enumerate(named.items()):
        if len(named) > 1:
            work.status.show("captioning", done, len(named))
        result = Failure(source, str(error), error) if error is not None else next(told)
        if isinstance(result, Failure):
            if error is None:
                work.tell(source, result.exception or LrcnError(result.error), result.error)
            # Already told on standard error; the eye needs it once, a program finds it in its records.
            if args.format == "table" and args.out is None:
                continue
        work.status.clear()
        yield result


def _captioned(work: Work, sources: list[str]) -> Iterator[Caption | Failure]:
    args = work.args
    work.status.show(f"loading {args.model}")
    from lrcn.models.zoo import load
    from lrcn.predict_captions import caption_many

    loaded = load(args.model, args.device, tasks=("caption",))
    decoding = decoding_of(args, loaded.decoding)
    # A single photo is told at once; of many, a batch at a time.
    options = {"best": args.nbest, "seed": args.seed, "half": args.half}
    yield from caption_many(loaded, sources, decoding=decoding, **options)


def decoding_of(args: Any, usual: Decoding) -> Decoding:
    """How sentences are chosen: as asked, else as the model was measured."""
    from dataclasses import replace

    changes: dict[str, Any] = {}
    if args.beam is not None:
        changes |= {"beam": args.beam, "samples": 0}
    if args.samples is not None:
        changes |= {"samples": args.samples, "temperature": args.temperature or 1.5}
    if args.max_length is not None:
        changes["max_length"] = args.max_length
    chosen = replace(usual, **changes)
    # Asked for more than are kept, it keeps more.
    if args.beam is None and not chosen.samples and args.nbest > chosen.beam:
        chosen = replace(chosen, beam=args.nbest)
    return chosen


def _pieces(results: Iterable[Caption | Failure], form: str, terminal: bool) -> Iterator[str]:
    from lrcn.predict import Failure

    if form == "csv":
        yield "path,caption,log_prob\n"
    for result in results:
        if form == "jsonl":
            yield json.dumps(result.to_json(), ensure_ascii=False) + "\n"
        elif form == "csv":
            if not isinstance(result, Failure):
                yield _csv(result)
        elif isinstance(result, Failure):
            yield f"{one_line(result.path)}  {one_line(result.error)}\n"
        else:
            yield _lines(result, bold=terminal and sys.stdout.isatty())


def _csv(result: Caption) -> str:
    """A row a sentence."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for told in _all(result):
        rows.writerow([result.path, told.caption, f"{told.log_prob:.4f}"])
    return text.getvalue()


def _lines(result: Caption, *, bold: bool) -> str:
    name = one_line(result.path)
    name = f"\x1b[1m{name}\x1b[0m" if bold else name
    if not result.others:
        return f"{name}  {result.caption}\n"
    told = "".join(f"  {one.log_prob:8.2f}  {one.caption}\n" for one in _all(result))
    return f"{name}\n{told}"


def _all(result: Caption) -> Iterator[Caption | Told]:
    yield result
    yield from result.others


def write_pieces(pieces: Iterable[str], out: Path | None) -> None:
    """Writes text as it comes to a file, or to standard output."""
    from lrcn.files import whole_file
    from lrcn.writers import emit, utf8

    if out is None:
        for piece in pieces:
            emit(sys.stdout, piece)
        return
    with whole_file(out) as temporary, temporary.open("wb") as file:
        for piece in pieces:
            file.write(utf8(piece))


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0, or inf")
    return value
