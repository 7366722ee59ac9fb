"""Results -> what people keep: a table, JSONL, CSV, subtitles, the video with its timeline below it."""

from __future__ import annotations

import csv as csv_module
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO
from urllib.parse import urlsplit

from lrcn.errors import LrcnError
from lrcn.files import whole_file, write_whole
from lrcn.predict import Failure, Recognition, Source
from lrcn.text import clock, one_line
from lrcn.visualize import palette

if TYPE_CHECKING:
    from lrcn.annotate import Canvas

Result = Recognition | Failure
"""One input's outcome."""

Cue = tuple[float, float, str]
"""A subtitle: from when to when, in seconds, and what it says."""


class Record(Protocol):
    """What can be told as JSON."""

    def to_json(self) -> dict[str, Any]: ...


def jsonl(results: Iterable[Record]) -> Iterator[str]:
    """One JSON object a line: `Recognition.to_json`, or `{"path", "error"}` for an input that failed."""
    for result in results:
        yield json.dumps(result.to_json(), ensure_ascii=False) + "\n"


def csv(results: Iterable[Result]) -> Iterator[str]:
    """One row per segment under the header path,start,end,label,score; seconds, 0 to 1.

    An input that failed has no rows.
    """
    yield "path,start,end,label,score\n"
    for result in results:
        if isinstance(result, Failure):
            continue
        text = io.StringIO()
        rows = csv_module.writer(text, lineterminator="\n")
        for s in result.segments:
            rows.writerow([result.path, f"{s.start:.3f}", f"{s.end:.3f}", s.label, f"{s.score:.4f}"])
        yield text.getvalue()


def srt(recognition: Recognition) -> str:
    """The segments as SubRip subtitles, one cue each."""
    return srt_of(_cues_of(recognition))


def vtt(recognition: Recognition) -> str:
    """The segments as WebVTT subtitles, one cue each."""
    return vtt_of(_cues_of(recognition))


def srt_of(cues: Iterable[Cue]) -> str:
    """SubRip subtitles."""
    blocks = [
        # SubRip has no escapes: an invisible space keeps players from taking "<b" or "{\\an" for a command.
        f"{n}\n{_code(start, ',')} --> {_code(end, ',')}\n{_defused(text)}\n"
        for n, (start, end, text) in enumerate(_timed(cues), start=1)
    ]
    return "\n".join(blocks)


def vtt_of(cues: Iterable[Cue]) -> str:
    """WebVTT subtitles."""
    blocks = [
        f"\n{_code(start, '.')} --> {_code(end, '.')}\n"
        + text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        + "\n"
        for start, end, text in _timed(cues)
    ]
    return "WEBVTT\n" + "".join(blocks)


def table(results: Iterable[Result], *, colour: bool = False) -> Iterator[str]:
    """For the eye: each input with its label, and a line per segment; with colours for a terminal."""
    from rich.console import Console
    from rich.text import Text

    console = Console(
        file=io.StringIO(), force_terminal=colour, no_color=not colour, soft_wrap=True, highlight=False
    )
    for result in results:
        with console.capture() as capture:
            if isinstance(result, Failure):
                failure = (one_line(result.path), "bold"), "  ", (one_line(result.error), "red")
                console.print(Text.assemble(*failure))
            else:
                _print_recognition(console.print, result, bars=colour)
        yield capture.get()


@dataclass
class Written:
    """What `write` did: how many inputs went well, how many failed, and the files it wrote."""

    done: int = 0
    failed: int = 0
    files: list[Path] = field(default_factory=list)


FORMATS = ("table", "jsonl", "csv", "srt", "vtt")


def write(
    results: Iterable[Result],
    form: str = "table",
    *,
    out: str | Path | None = None,
    several: bool = False,
    stream: TextIO | None = None,
) -> Written:
    """Writes results as they come.

    table, jsonl and csv go to `stream` result by result, or into the file `out`, whole or not at all. srt and
    vtt hold one clip: of a single input they go to `stream` or to the file or folder `out`; of several inputs
    they need `out`, a folder, and each input gets a file there (see `output_path`).

    Args:
        results: what `lrcn.predict.recognize_many` yields.
        form: one of `FORMATS`.
        out: file or folder to write; None for `stream`.
        several: whether more than one input was given.
        stream: where text goes without `out`; standard output by default.

    Raises:
        LrcnError: the format is unknown, subtitles of several inputs have no folder, or `out` cannot be
            written.
    """
    stream = sys.stdout if stream is None else stream
    written = Written()
    counted = _counted(results, written)
    if form in ("srt", "vtt"):
        written.files += write_subtitles(counted, form, _cues_of, out=out, several=several, stream=stream)
        return written
    colour = out is None and stream.isatty()
    pieces = {
        "table": lambda: table(counted, colour=colour),
        "jsonl": lambda: jsonl(counted),
        "csv": lambda: csv(counted),
    }
    if form not in pieces:
        raise LrcnError(f'There is no format "{form}"; choose one of {", ".join(FORMATS)}.')
    if out is None:
        for piece in pieces[form]():
            emit(stream, piece)
        return written
    with whole_file(out) as temporary, temporary.open("wb") as file:
        for piece in pieces[form]():
            file.write(utf8(piece))
    written.files.append(Path(out))
    return written


def output_path(out: str | Path, source: str, suffix: str, *, several: bool, taken: set[Path]) -> Path:
    """The file that one input's output goes to.

    `out` is that file itself when there is one input and `out` has a suffix and is no folder. Otherwise it is
    a folder, and the file in it is called after the input with `suffix`; a second input of that name gets -2.

    Args:
        out: file or folder.
        source: the input's path or URL.
        suffix: with its dot.
        several: whether more than one input was given.
        taken: the answers so far; the new one is added.
    """
    out = Path(out)
    if not several and out.suffix and not out.is_dir():
        return out
    stem = Path(urlsplit(source).path if "://" in source else source).stem or "clip"
    path, n = out / f"{stem}{suffix}", 1
    while path in taken:
        n += 1
        path = out / f"{stem}-{n}{suffix}"
    taken.add(path)
    return path


def save_annotated(
    source: Source,
    recognition: Recognition,
    path: str | Path,
    *,
    progress: Callable[[float, float], None] | None = None,
    canvas: Callable[[Recognition, int, int], Canvas] | None = None,
) -> None:
    """Writes the video with a band below the picture: label, probability, and the timeline with a playhead.

    The picture keeps its own size, capped to 1280 wide (and enlarged by a whole factor to at least 320, so
    that the band can be read); frames keep their own times. Sound is not kept. Memory does not grow with the
    length.

    Args:
        source: the video that was recognized.
        recognition: what was seen in it.
        path: .mp4, .mov or .mkv.
        progress: called with (seconds written, seconds in all).
        canvas: makes what draws the frames, from the recognition and a frame's width and height; None for the band.

    Raises:
        LrcnError: the video cannot be read, or `path` cannot be written or is the video itself.
    """
    path = Path(path)
    if path.suffix.lower() not in (".mp4", ".mov", ".mkv"):
        raise LrcnError(
            f"Annotated videos are written as .mp4, .mov or .mkv, not {path.name}; give another name."
        )
    if isinstance(source, str | Path) and path.exists() and path.resolve() == Path(source).resolve():
        raise LrcnError(f"{path} is the video itself; give the annotated one another name.")
    # Drawing needs libraries that text does not.
    from lrcn.annotate import encode_annotated

    with whole_file(path) as temporary:
        encode_annotated(source, recognition, temporary, progress, canvas)


def _counted(results: Iterable[Result], written: Written) -> Iterator[Result]:
    for result in results:
        if isinstance(result, Failure):
            written.failed += 1
        else:
            written.done += 1
        yield result


def write_subtitles(
    results: Iterable[Any],
    form: str,
    cues_of: Callable[[Any], Iterable[Cue]],
    *,
    out: str | Path | None = None,
    several: bool = False,
    stream: TextIO | None = None,
) -> list[Path]:
    """Writes subtitles as `write` says, of anything that has a `path` and cues; failures have none.

    Returns:
        The files that were written.

    Raises:
        LrcnError: several inputs have no folder, or `out` cannot be written.
    """
    stream = sys.stdout if stream is None else stream
    if out is None and several:
        raise LrcnError(f"{form.upper()} holds one clip; give --out FOLDER to get one file per input.")
    if out is not None and several and Path(out).is_file():
        raise LrcnError(f"{out} is a file, but several inputs need a folder; give --out FOLDER.")
    taken: set[Path] = set()
    files: list[Path] = []
    for result in results:
        if isinstance(result, Failure):
            continue
        cues = cues_of(result)
        text = srt_of(cues) if form == "srt" else vtt_of(cues)
        if out is None:
            emit(stream, text)
            continue
        path = output_path(out, result.path, f".{form}", several=several, taken=taken)
        write_whole(path, utf8(text))
        files.append(path)
    return files


def emit(stream: TextIO, text: str) -> None:
    """Writes and flushes; a character that the stream cannot show goes out escaped."""
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def utf8(text: str) -> bytes:
    """Text as a file holds it."""
    # File names that are not UTF-8 arrive as lone surrogates; escaped like this they are still valid JSON.
    return text.encode("utf-8", "backslashreplace")


def _print_recognition(say: Callable[..., None], recognition: Recognition, *, bars: bool) -> None:
    from rich.text import Text

    colours = palette(recognition.labels)
    style = {label: f"bold rgb({r},{g},{b})" for label, (r, g, b) in colours.items()}
    best = (f"{one_line(recognition.label)} {recognition.probability:.0%}", style[recognition.label])
    say(Text.assemble((one_line(recognition.path), "bold"), "  ", best))
    wide = max((len(one_line(s.label)) for s in recognition.segments), default=0)
    wide_clock = len(clock(recognition.end, tenths=True))
    for s in recognition.segments:
        times = f"  {clock(s.start, tenths=True):>{wide_clock}} - {clock(s.end, tenths=True):>{wide_clock}}  "
        parts: list[Any] = [
            (times, "dim"),
            (f"{one_line(s.label):<{wide}}", style[s.label]),
            f"  {s.score:>4.0%}",
        ]
        if bars:
            parts += ["  ", ("━" * max(1, round(24 * s.score)), style[s.label])]
        say(Text.assemble(*parts))


def _cues_of(recognition: Recognition) -> list[Cue]:
    return [(s.start, s.end, f"{s.label} ({s.score:.0%})") for s in recognition.segments]


def _timed(cues: Iterable[Cue]) -> Iterator[tuple[int, int, str]]:
    """(start, end, text) in milliseconds: each ends after it starts and none before the last one's end."""
    floor = 0
    for start, end, text in cues:
        first = max(round(start * 1000), floor)
        floor = max(round(end * 1000), first + 1)
        yield first, floor, one_line(text)


def _defused(text: str) -> str:
    return text.replace("<", "<\u200b").replace("{", "{\u200b").replace("-->", "--\u200b>")


def _code(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{milliseconds:03d}"
