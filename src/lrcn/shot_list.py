"""A shot list as people keep it: a table, CSV, subtitles, and a page with a small picture of every shot."""

from __future__ import annotations

import base64
import csv
import html
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from lrcn.icons import ICONS
from lrcn.report import Section, chip, page, paragraph
from lrcn.text import clock, one_line

if TYPE_CHECKING:
    from lrcn.predict_descriptions import Description, Shot
    from lrcn.writers import Cue

LABELS = list(ICONS)
"""The moves that have a picture and a colour."""


def moves_of(shot: Shot) -> str:
    """What the camera does in a shot, one move after the other."""
    return ", ".join(segment.label for segment in shot.moves) or shot.move or ""


def table(result: Description, *, bold: bool = False) -> str:
    """For the eye: the name, then a line a shot, with the times where there are several shots."""
    name = one_line(result.id or result.path)
    name = f"\x1b[1m{name}\x1b[0m" if bold else name
    seen = "" if result.labels is None else f"  ({', '.join(result.labels.values())})"
    lines = []
    if len(result.shots) == 1 and result.shots[0].move is None:
        name += f"  {one_line(result.shots[0].sentence)}{seen}"
        lines += _others(result.shots[0])
    else:
        wide = max(len(_span(shot)) for shot in result.shots)
        moves = max(len(moves_of(shot)) for shot in result.shots)
        for shot in result.shots:
            lines.append(f"  {_span(shot):>{wide}}  {moves_of(shot):<{moves}}  {one_line(shot.sentence)}")
            lines += _others(shot)
    return "".join(f"{line}\n" for line in (name, *lines))


def _span(shot: Shot) -> str:
    end = "" if shot.end is None else clock(shot.end, tenths=True)
    return f"{clock(shot.start, tenths=True)} - {end}"


def _others(shot: Shot) -> list[str]:
    return [f"  {log_prob:8.2f}  {one_line(text)}" for text, log_prob in shot.others]


def csv_rows(results: Iterable[Description]) -> Iterator[str]:
    """One row a shot under the header path,start,end,moves,sentence; seconds."""
    yield "path,start,end,moves,sentence\n"
    for result in results:
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        for shot in result.shots:
            end = "" if shot.end is None else f"{shot.end:.3f}"
            rows.writerow([result.path, f"{shot.start:.3f}", end, moves_of(shot), shot.sentence])
        yield text.getvalue()


def cues(result: Description) -> list[Cue]:
    """The sentences as subtitles."""
    # Of labels alone no end is known: long enough to be read.
    return [
        (shot.start, shot.start + _READ if shot.end is None else shot.end, shot.sentence)
        for shot in result.shots
    ]


_READ = 4.0


def shot_page(results: Sequence[Description], model: str) -> str:
    """The shot lists of some videos as one HTML page that fetches nothing."""
    shots = sum(len(result.shots) for result in results)
    title = _name(results[0]) if len(results) == 1 else f"{len(results)} videos"
    lead = paragraph(f"{shots} shots, described by {one_line(model)}, which may be wrong.", "lead")
    sections = [
        Section(f"video-{number}", "Shots" if len(results) == 1 else _name(result), shot_items(result.shots))
        for number, result in enumerate(results, start=1)
    ]
    return page(title, lead, sections, paragraph("Made by `lrcn describe`."))


def shot_items(shots: Sequence[Shot]) -> str:
    """Shots as HTML: picture, times, moves, sentence."""
    return f'<ol class="shots">{"".join(map(_item, shots))}</ol>'


def _item(shot: Shot) -> str:
    sentence = html.escape(one_line(shot.sentence))
    picture = ""
    if shot.thumbnail is not None:
        data = base64.b64encode(shot.thumbnail).decode()
        picture = f'<img src="data:image/jpeg;base64,{data}" alt="" decoding="async">'
    length = "" if shot.end is None else f" · {shot.end - shot.start:.1f} s"
    moves = "".join(
        f"<li>{chip(move.label, LABELS, ICONS) if move.label in ICONS else html.escape(one_line(move.label))}</li>"
        for move in shot.moves
    )
    return (
        f'<li><div class="frame">{picture}</div><div><div class="when">{html.escape(_span(shot))}{length}</div>'
        f'<p>{sentence}</p><ul class="moves" aria-label="Camera moves">{moves}</ul></div></li>'
    )


def _name(result: Description) -> str:
    return one_line(result.id or PurePath(result.path).name or result.path)
