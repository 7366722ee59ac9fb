"""`lrcn search`: photos of a folder, by words or by a photo; and how well models find them."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrcn.cli.call import Call, existing, file_to_write, whole
from lrcn.cli.recognize import Work
from lrcn.cli.status import Status
from lrcn.data.media import is_url
from lrcn.errors import LrcnError
from lrcn.text import one_line

if TYPE_CHECKING:
    from lrcn.data.manifest import Row
    from lrcn.search import Hit, Index

_FORMATS = ("table", "jsonl", "csv")
_BAR = 24


def search(call: Call) -> int:
    """Finds photos."""
    call.example(
        'lrcn search photos/ "two dogs in the snow"',
        "lrcn search photos/ --image beach.jpg --top 20",
        'lrcn search photos/ "a red car" --html found.html',
    )
    call.description = (
        f"{call.description} The first search reads every photo and keeps what it saw in FOLDER/.lrcn; later ones read "
        "what is new."
    )
    call.add_argument("folder", metavar="FOLDER", help="photos lie anywhere below it")
    call.add_argument("words", nargs="*", metavar="WORDS", help="what to look for")
    call.add_argument("--image", metavar="PHOTO", help="look for photos like this one: a file or a URL")
    call.add_argument("--top", type=whole, default=10, metavar="N", help="how many photos (default: 10)")
    call.add_format(_FORMATS)
    call.add_argument("--html", metavar="FILE", type=Path, help="also write a page with the photos, small")
    call.add_argument(
        "--model",
        default="search-flickr8k",
        help="a name of `lrcn models`, a folder, or hf-hub:owner/name (default: search-flickr8k)",
    )
    call.add_device()
    call.add_argument(
        "--no-update", action="store_true", help="do not look for photos that are new, changed or gone"
    )
    call.add_argument("--rebuild", action="store_true", help="index all photos anew, also for another model")
    # Words may stand after options too.
    args = call.parse_intermixed_args(call.arguments)
    words = " ".join(args.words)
    _check(args, words)
    with Status() as status:
        work = Work(args, status, call.debug)
        index = _index(args, words, work)
        hits = index.similar(args.image, args.top) if args.image else index.search(words, args.top)
        if args.html is not None:
            _write_page(args, words, hits, index)
    _write(hits, args.format)
    return 1 if work.failed else 0


def evaluate_retrieval(args: Any, rows: list[Row], sentence: str) -> int:
    """`lrcn eval` of a model that finds photos by captions; `sentence` says which rows these are."""
    with Status() as status:
        status.show(f"loading {args.model}")
        from lrcn.evaluate.finding import evaluate
        from lrcn.models.zoo import load

        loaded = load(args.model, args.device, tasks=("embed", "caption"))
        found = evaluate(loaded, rows, status.show, half=args.half)
        for path, reason in found.left_out.items():
            status.say(f"lrcn: {one_line(reason if path in reason else f'{path}: {reason}')}")
    values = found.to_json()
    if args.out is not None:
        from lrcn.files import write_whole

        write_whole(args.out / "metrics.json", json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    if args.format == "json":
        print(json.dumps(values, ensure_ascii=False))
    else:
        print("\n".join([sentence, *found.lines()]))
    return 1 if found.left_out else 0


def _check(args: Any, words: str) -> None:
    if bool(words.strip()) == (args.image is not None):
        raise LrcnError('search: say what to look for, as "words" or as --image PHOTO, one of the two.')
    if args.no_update and args.rebuild:
        raise LrcnError("search: give either --no-update or --rebuild.")
    if args.image is not None and not is_url(args.image):
        existing(Path(args.image), "a photo")
    existing(Path(args.folder), "a folder with photos")
    if args.html is not None:
        file_to_write(args.html, "--html")


def _index(args: Any, words: str, work: Work) -> Index:
    """The index, brought up to date if there is something that can be looked for: it may take hours."""
    work.status.show(f"loading {args.model}")
    from lrcn.data.photo import read_photo
    from lrcn.models.zoo import load
    from lrcn.search import Index, ids_of, unknown_words

    loaded = load(args.model, args.device, tasks=("embed",))
    if args.image is not None:
        read_photo(args.image)
    else:
        ids_of(words, loaded)
        if unknown := unknown_words(words, loaded):
            work.status.say(
                f"lrcn: not among the words that the model knows: {one_line(', '.join(unknown))}."
            )
    return Index(
        args.folder,
        loaded,
        update=not args.no_update,
        rebuild=args.rebuild,
        progress=lambda done, total: work.status.show(f"reading photos in {args.folder}", done, total),
        report=lambda path, reason: work.tell(path, LrcnError(reason)),
    )


def _write(hits: list[Hit], form: str) -> None:
    from lrcn.writers import emit

    for piece in _pieces(hits, form):
        emit(sys.stdout, piece)


def _pieces(hits: list[Hit], form: str) -> Iterator[str]:
    if form == "csv":
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["path", "score"])
        rows.writerows([hit.path, f"{hit.score:.4f}"] for hit in hits)
        yield text.getvalue()
    for hit in hits:
        if form == "jsonl":
            yield json.dumps(hit.to_json(), ensure_ascii=False) + "\n"
        elif form == "table":
            yield f"{hit.score:5.2f}  {one_line(hit.path)}\n"


def _write_page(args: Any, words: str, hits: list[Hit], index: Index) -> None:
    from lrcn.files import write_whole
    from lrcn.search_page import search_page

    title = words or f"Photos like {args.image}"
    lead = f"The {len(hits)} best of {len(index)} photos in {args.folder}, found by {args.model}."
    write_whole(args.html, search_page(title, lead, hits, args.html.absolute(), args.image))
