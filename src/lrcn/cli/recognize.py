"""`lrcn recognize`: any number of videos; one that fails is told and the others go on."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from lrcn.cli.call import Call, folder_to_write, seconds, share
from lrcn.cli.status import Status
from lrcn.data.media import is_camera, is_live, is_url, list_media
from lrcn.errors import LrcnError
from lrcn.text import one_line

if TYPE_CHECKING:
    from lrcn.predict import Recognition
    from lrcn.writers import Result

# Known here too, so that help and wrong calls need not load what writes them.
_FORMATS = ("table", "jsonl", "csv", "srt", "vtt")
_SUBTITLES = ("srt", "vtt")
VIDEO_OUT = (".mp4", ".mov", ".mkv")

Named = dict[str, LrcnError | None]
"""What the inputs named, in order: a source, and why it cannot be read where that is known already."""


def recognize(call: Call) -> int:
    """Says what happens in videos."""
    call.example(
        "lrcn recognize clip.mp4",
        "lrcn recognize clips/ --format jsonl --out found.jsonl",
        "lrcn recognize clip.mp4 --save annotated.mp4",
    )
    call.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="a video, a folder of videos, a folder of numbered frames, a pattern in quotes, a URL, or - for a "
        "list on standard input, one a line",
    )
    call.add_recognizer()
    call.add_format(_FORMATS)
    call.add_argument(
        "--out",
        metavar="FILE|FOLDER",
        help="write there instead of standard output; srt and vtt of several: a folder",
    )
    call.add_argument(
        "--save",
        metavar="FILE|FOLDER",
        help="also write the videos with their timeline drawn below; several: a folder",
    )
    call.add_span()
    call.add_argument(
        "--smoothing",
        type=seconds,
        default=0.5,
        metavar="S",
        help="seconds smoothed over before cutting (default: 0.5)",
    )
    call.add_argument(
        "--min-duration",
        type=seconds,
        default=0.4,
        metavar="S",
        help="shortest segment, seconds (default: 0.4)",
    )
    call.add_argument(
        "--threshold",
        type=share,
        default=0.0,
        metavar="P",
        help="leave out segments less probable than this, 0 to 1",
    )
    args = call.parse()
    named = named_inputs("recognize", args.inputs, lambda source: _why_endless(source, args))
    _check_places(args, named)
    with Status() as status:
        run = _Run(args, status, call.debug)
        run.tell_known_failures(named)
        if args.format == "table" and args.out is None and all(named.values()):
            return 1
        run.write(named)
    return 1 if run.failed else 0


class Work:
    """The work on all inputs, and how many of them failed."""

    def __init__(self, args: Any, status: Status, debug: bool) -> None:
        self.args = args
        self.status = status
        self.debug = debug
        self.failed = 0

    def tell_known_failures(self, named: Named) -> None:
        """Says which inputs are not there, before the wait for a model."""
        for source, error in named.items():
            if error is not None:
                self.tell(source, error)

    def tell(self, source: str, error: Exception, sentence: str = "") -> None:
        """Counts a failure and says it on one line."""
        self.failed += 1
        sentence = sentence or (
            str(error) if isinstance(error, LrcnError) else f"{type(error).__name__}: {error}"
        )
        self.note(source, sentence)
        if self.debug:
            traceback.print_exception(error)

    def note(self, source: str, sentence: str) -> None:
        """Says a sentence about an input."""
        self.status.say(f"lrcn: {one_line(sentence if source in sentence else f'{source}: {sentence}')}")


class _Run(Work):
    """Recognition of all inputs."""

    def __init__(self, args: Any, status: Status, debug: bool) -> None:
        super().__init__(args, status, debug)
        self._taken: set[Path] = set()

    def write(self, named: Named) -> None:
        """Recognizes what there is and writes the results as they come."""
        from lrcn.writers import write

        form, out, several = self.args.format, self.args.out, len(named) > 1
        results = self._results(named)
        if out is None or not _is_device(out):
            write(results, form, out=out, several=several)
            return
        with _device(out) as stream:
            write(results, form, several=several, stream=stream)

    def _results(self, named: Named) -> Iterator[Result]:
        from lrcn.predict import Failure, recognize_many

        model = None
        for number, (source, error) in enumerate(named.items(), start=1):
            if error is not None:
                yield from self._shown(Failure(source, str(error), error))
                continue
            if model is None:
                model = self._model()
            what = f"{number}/{len(named)}  {source}" if len(named) > 1 else f"recognizing {source}"
            self.status.show(what)
            for result in recognize_many(
                model,
                [source],
                start=self.args.start,
                end=self.args.end,
                smoothing=self.args.smoothing,
                min_duration=self.args.min_duration,
                threshold=self.args.threshold,
                progress=lambda done, end, what=what: self.status.show(what, done, end),
            ):
                if isinstance(result, Failure):
                    self.tell(source, result.exception or LrcnError(result.error), result.error)
                else:
                    self._save(source, result, several=len(named) > 1)
                yield from self._shown(result)

    def _model(self) -> Any:
        self.status.show(f"loading {self.args.model}")
        from lrcn.models.zoo import load

        return load(self.args.model, self.args.device, tasks=("recognize", "fuse"))

    def _shown(self, result: Result) -> Iterator[Result]:
        from lrcn.predict import Failure

        # Already told on standard error; the eye needs it once, a program finds it in its records.
        if isinstance(result, Failure) and self.args.format == "table" and self.args.out is None:
            return
        self.status.clear()
        yield result

    def _save(self, source: str, recognition: Recognition, *, several: bool) -> None:
        from lrcn.writers import output_path, save_annotated

        if recognition.warning is not None:
            self.note(source, recognition.warning)
        if self.args.save is None:
            return
        path = output_path(self.args.save, source, ".mp4", several=several, taken=self._taken)
        try:
            save_annotated(
                source,
                recognition,
                path,
                progress=lambda done, end: self.status.show(f"writing {path}", done, end),
            )
        except Exception as error:  # noqa: BLE001  the other inputs are still to be done
            self.tell(source, error)


def named_inputs(
    verb: str,
    texts: list[str],
    why_not: Callable[[str], LrcnError | None],
    kinds: Collection[str] = ("video",),
) -> Named:
    """Every input looked up on its own, so that one that is not there takes no other along.

    `why_not` says of a source that is there why the verb cannot take it; `kinds` are those of `list_media`.
    """
    named: Named = {}
    for text in _listed(texts):
        try:
            found = list_media([text], kinds)
        except LrcnError as error:
            named.setdefault(text, error)
            continue
        for source in found:
            named.setdefault(source, why_not(source))
    if not named:
        what = "photo" if "image" in kinds else "video"
        raise LrcnError(f"{verb}: standard input names no {what}; write one a line.")
    return named


def _listed(inputs: list[str]) -> Iterator[str]:
    for text in inputs:
        if text == "-":
            # Bytes, as file names are: what is no UTF-8 must come through unchanged.
            lines = (os.fsdecode(line).rstrip("\r\n") for line in sys.stdin.buffer)
            yield from (line for line in lines if line.strip())
        else:
            yield text


def _why_endless(source: str, args: Any) -> LrcnError | None:
    if not is_live(source):
        return None
    name = f"Camera {source}" if is_camera(source) else source
    if args.end is None:
        return LrcnError(f"{name} never ends: give --end SECONDS to say how long to look.")
    if args.save is not None:
        return LrcnError(
            f"{name} is live and cannot be read again to draw on: record it to a file for --save."
        )
    return None


def _check_places(args: Any, named: Named) -> None:
    """Refuses places that cannot take what is to be written, before any work.

    Raises:
        LrcnError: names the option and the place.
    """
    several = len(named) > 1
    if args.out is not None:
        out = Path(args.out)
        _refuse_input(out, "--out", named)
        if args.format not in _SUBTITLES:
            if out.is_dir():
                raise LrcnError(
                    f"--out {out} is a folder, and {args.format} is one file; give a file's name."
                )
            folder_to_write(out.parent, "--out")
        elif several:
            folder_to_write(out, "--out")
    elif args.format in _SUBTITLES and several:
        raise LrcnError(
            f"A {args.format} file holds one clip: give --out FOLDER for the {len(named)} inputs."
        )
    if args.save is not None:
        check_files(Path(args.save), "--save", VIDEO_OUT, named)


def check_files(place: Path, option: str, suffixes: Sequence[str], named: Named) -> None:
    """Refuses a file or folder that cannot take one file of each input.

    Raises:
        LrcnError: names the option and the place.
    """
    several = len(named) > 1
    _refuse_input(place, option, named)
    if place.suffix and not place.is_dir() and not several and place.suffix.lower() not in suffixes:
        raise LrcnError(f"{option} {place}: give a name that ends in {', '.join(suffixes)}, or a folder.")
    if place.suffix.lower() in suffixes and several and not place.is_dir():
        raise LrcnError(f"{option} {place} is one file, but there are {len(named)} inputs; give a folder.")
    if several or not place.suffix:
        folder_to_write(place, option)


def _refuse_input(place: Path, option: str, named: Named) -> None:
    if not place.is_file():
        return
    for source in named:
        if not is_url(source) and os.path.exists(source) and place.samefile(source):
            raise LrcnError(f"{option} {place} is an input itself; give another name.")


def _is_device(out: str) -> bool:
    """Whether this is /dev/stdout, a pipe or the like, which is written to and not replaced."""
    return os.path.exists(out) and not os.path.isfile(out) and not os.path.isdir(out)


@contextmanager
def _device(out: str) -> Iterator[TextIO]:
    try:
        with open(out, "w", encoding="utf-8", errors="backslashreplace") as stream:
            yield stream
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LrcnError(f"Cannot write {out}: {error.strerror or error}; choose another place.") from error
