"""`lrcn explain`: which frames of videos speak for a label, and where in them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrcn.cli.call import Call, folder_to_write
from lrcn.cli.recognize import VIDEO_OUT, Named, Work, check_files, named_inputs
from lrcn.cli.status import Status
from lrcn.data.media import is_live
from lrcn.errors import LrcnError
from lrcn.files import whole_file
from lrcn.text import clock, one_line

if TYPE_CHECKING:
    from lrcn.explain import Explanation
    from lrcn.predict import Failure

_PICTURES = (".png", ".svg")
_MOMENTS = 8
_BAR = 24


def explain(call: Call) -> int:
    """Says why a model says what it says."""
    call.example(
        "lrcn explain clip.mp4 --picture why.png",
        'lrcn explain clip.mp4 --label "pan left" --save why.mp4',
        "lrcn explain clips/ --format jsonl --out why.jsonl",
    )
    call.add_argument(
        "inputs",
        nargs="+",
        metavar="VIDEO",
        help="a video, a folder of videos, a folder of numbered frames, a pattern in quotes, a URL, or - for a "
        "list on standard input, one a line",
    )
    call.add_recognizer()
    call.add_argument("--label", help="what to explain (default: each video's most probable label)")
    call.add_argument(
        "--save",
        metavar="FILE|FOLDER",
        help="write the videos with heat over them and their evidence below; several: a folder",
    )
    call.add_argument(
        "--picture",
        metavar="FILE|FOLDER",
        help="write the strongest frames with heat, above the evidence over time, as .png or .svg; several: a folder",
    )
    call.add_argument("--format", choices=("table", "jsonl"), default="table", help="what is told in text")
    call.add_argument("--out", metavar="FILE", help="write the text there instead of standard output")
    call.add_span()
    args = call.parse()
    named = named_inputs("explain", args.inputs, _why_not)
    if args.save is not None:
        check_files(Path(args.save), "--save", VIDEO_OUT, named)
    if args.picture is not None:
        check_files(Path(args.picture), "--picture", _PICTURES, named)
    if args.out is not None:
        folder_to_write(Path(args.out).parent, "--out")
    with Status() as status:
        work = _Explaining(args, status, call.debug)
        work.tell_known_failures(named)
        if not all(named.values()):
            work.write(named)
    return 1 if work.failed else 0


class _Explaining(Work):
    """The explanation of all inputs."""

    def __init__(self, args: Any, status: Status, debug: bool) -> None:
        super().__init__(args, status, debug)
        self._videos: set[Path] = set()
        self._pictures: set[Path] = set()

    def write(self, named: Named) -> None:
        """Explains what there is and writes the text as it comes."""
        from lrcn.writers import emit, jsonl, utf8

        results = self._results(named)
        pieces = jsonl(results) if self.args.format == "jsonl" else _table(results)
        if self.args.out is None:
            for piece in pieces:
                self.status.clear()
                emit(sys.stdout, piece)
            return
        with whole_file(self.args.out) as temporary, temporary.open("wb") as file:
            file.writelines(map(utf8, pieces))

    def _results(self, named: Named) -> Iterator[Explanation | Failure]:
        from lrcn.explain import refuse_unknown
        from lrcn.models.zoo import load_model
        from lrcn.predict import Failure

        self.status.show(f"loading {self.args.model}")
        loaded = load_model(self.args.model, self.args.device)
        refuse_unknown(self.args.label, loaded.labels)
        several = len(named) > 1
        for source, error in named.items():
            if error is not None:
                yield Failure(source, str(error), error)
                continue
            try:
                yield self._explained(loaded, source, several=several)
            except Exception as failure:  # noqa: BLE001  the other inputs are still to be done
                self.tell(source, failure)
                yield Failure(source, str(failure), failure)

    def _explained(self, loaded: Any, source: str, *, several: bool) -> Explanation:
        from lrcn.explain import explain as explanation_of

        explanation = explanation_of(
            loaded,
            source,
            label=self.args.label,
            start=self.args.start,
            end=self.args.end,
            progress=lambda done, end: self.status.show(f"reading {source}", done, end),
        )
        for sentence in (explanation.recognition.warning, explanation.note):
            if sentence is not None:
                self.note(source, sentence)
        self._draw(source, explanation, several=several)
        return explanation

    def _draw(self, source: str, explanation: Explanation, *, several: bool) -> None:
        if self.args.picture is None and self.args.save is None:
            return
        from lrcn.overlay import contact_sheet, save_explained
        from lrcn.visualize import save
        from lrcn.writers import output_path

        if self.args.picture is not None:
            picture = output_path(self.args.picture, source, ".png", several=several, taken=self._pictures)
            self.status.show(f"writing {picture}")
            save(contact_sheet(source, explanation), picture)
        if self.args.save is not None:
            video = output_path(self.args.save, source, ".mp4", several=several, taken=self._videos)
            save_explained(
                source,
                explanation,
                video,
                progress=lambda done, end: self.status.show(f"writing {video}", done, end),
            )


def _why_not(source: str) -> LrcnError | None:
    if not is_live(source):
        return None
    return LrcnError(f"{source} is live and cannot be read again: record it to a file and explain that.")


def _table(results: Iterator[Explanation | Failure]) -> Iterator[str]:
    """For the eye: the label and its score, and the moments that speak most for it."""
    from lrcn.predict import Failure

    for result in results:
        if isinstance(result, Failure):
            continue
        label = f"{one_line(result.label)} {result.probability:.0%}"
        score = f"log-odds {result.score:+.1f}, of which {result.baseline:+.1f} without any frame"
        yield f"{one_line(result.recognition.path)}  {label}  ({score})\n"
        strongest = max(result.evidence.max(), 1e-9)
        for place in result.strongest(_MOMENTS):
            bar = "━" * round(_BAR * max(result.evidence[place], 0) / strongest)
            time = clock(result.times[place], tenths=True)
            yield f"  {time:>9}  {result.evidence[place]:+.3f}  {bar}".rstrip() + "\n"
