"""One HTML page that shows results to anybody: self-contained, no network, no libraries.

A page is a list of sections, and a section is a title with HTML in it, so any job adds its own. What is drawn
comes from the numbers handed in; nothing here makes a claim of its own. Functions take plain text and give
HTML; arguments called `body` or `lead` are HTML already.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from itertools import pairwise
from string import Template
from typing import TYPE_CHECKING

import numpy as np

from lrcn.palette import palette, text_colour

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from lrcn.predict import Recognition
    from lrcn.segments import Segment

Icons = Mapping[str, str]
"""Label -> SVG path data in a box of 24 x 24, drawn beside the label so that colour never stands alone."""


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: its address on the page, letters and dashes.
        title: its heading.
        body: HTML.
        menu: what the menu at the top calls it; "" leaves it out.
    """

    anchor: str
    title: str
    body: str
    menu: str = ""


@dataclass(frozen=True, eq=False)
class Reference:
    """What a model's answers are held against, moment by moment.

    Attributes:
        name: e.g. "Truth", or the name of another method.
        times: (N,) seconds, ascending; a label holds from its time to the next one's.
        labels: N labels; None where the reference does not speak.
        exact: whether it is the truth rather than another measurement.
    """

    name: str
    times: NDArray[np.float64]
    labels: Sequence[str | None]
    exact: bool = True

    def at(self, times: NDArray[np.float64]) -> list[str | None]:
        """The labels at `times` (T,), seconds."""
        # A millisecond of grace: a container's clock is coarser than a float.
        places = np.searchsorted(self.times, times + 1e-3, side="right") - 1
        return [self.labels[place] if place >= 0 else None for place in places]

    def agreement(self, recognition: Recognition) -> tuple[int, int]:
        """(frames the model named as the reference does, frames at which the reference speaks).

        A frame's answer is its most probable label, before any smoothing.
        """
        answers = [recognition.labels[k] for k in recognition.per_frame.argmax(axis=1)]
        pairs = list(zip(answers, self.at(recognition.times), strict=True))
        return sum(a == b for a, b in pairs), sum(b is not None for _, b in pairs)


@dataclass(frozen=True, eq=False)
class ClipView:
    """A video and what was seen in it.

    Attributes:
        video: an .mp4 that browsers play; it is put into the page.
        poster: JPEG bytes of its first frame.
        size: width and height, pixels.
        rows: (name, recognition) of each model, the main one first; all have the same labels.
        reference: what they are held against, if there is anything.
        text: one paragraph about the clip.
    """

    video: Path
    poster: bytes
    size: tuple[int, int]
    rows: Sequence[tuple[str, Recognition]]
    text: str
    reference: Reference | None = None


def page(title: str, lead: str, sections: Sequence[Section], footer: str = "") -> str:
    """The whole page as HTML.

    Args:
        title: in the window's title and as the heading.
        lead: HTML below the heading.
        sections: in their order.
        footer: HTML at the end.
    """
    menu = " ".join(f'<a href="#{s.anchor}">{html.escape(s.menu)}</a>' for s in sections if s.menu)
    bodies = "\n".join(
        f'<section id="{s.anchor}" aria-labelledby="{s.anchor}-title">\n'
        f'<h2 id="{s.anchor}-title">{html.escape(s.title)}</h2>\n{s.body}\n</section>'
        for s in sections
    )
    return Template(_asset("report.html")).substitute(
        version=html.escape(version("lrcn")),
        title=html.escape(title),
        style=_asset("report.css"),
        script=_asset("report.js"),
        nav=menu,
        lead=lead,
        sections=bodies,
        footer=footer,
    )


def paragraph(text: str, style: str = "") -> str:
    """A paragraph; what stands between back quotes is set as code."""
    inner = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
    return f'<p class="{style}">{inner}</p>' if style else f"<p>{inner}</p>"


def legend(labels: Sequence[str], icons: Icons) -> str:
    """The labels in their colours."""
    items = "".join(f"<li>{chip(label, labels, icons)}</li>" for label in labels)
    return f'<ul class="legend" aria-label="The labels">{items}</ul>'


def chip(label: str, labels: Sequence[str], icons: Icons) -> str:
    """One label on its colour."""
    paint, title = _paint(label, labels), html.escape(label)
    return f'<span class="chip" style="{paint}" title="{title}">{_word(label, icons)}</span>'


def bars(rows: Sequence[tuple[str, float, str]]) -> str:
    """Shares as bars: (name, share 0 to 1, note) each; the first stands out."""
    items = "".join(
        f'<li><div class="what"><span>{html.escape(name)} '
        f'<span class="quiet small">{html.escape(note)}</span></span>'
        f'<b>{percent(share)}</b></div><div class="rail"><i style="width:{100 * share:.2f}%"></i></div></li>'
        for name, share, note in rows
    )
    return f'<ul class="bars">{items}</ul>'


def tiles(rows: Sequence[tuple[str, str]]) -> str:
    """Figures with what they are: (figure, meaning) each."""
    items = "".join(
        f"<div><dt>{html.escape(what)}</dt><dd>{html.escape(figure)}</dd></div>" for figure, what in rows
    )
    return f'<dl class="tiles">{items}</dl>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A table of plain text; columns in `numbers` are set flush right."""

    def cells(tag: str, row: Sequence[str]) -> str:
        inner = (
            f"<{tag}{' class=n' if n in numbers else ''}>{html.escape(cell)}</{tag}>"
            for n, cell in enumerate(row)
        )
        return f"<tr>{''.join(inner)}</tr>"

    body = "".join(cells("td", row) for row in rows)
    return f'<div class="scroll"><table><thead>{cells("th", head)}</thead><tbody>{body}</tbody></table></div>'


def commands(rows: Sequence[tuple[str, str]]) -> str:
    """Commands to copy: (what it does, command) each."""
    items = "".join(
        f'<li>{paragraph(what)}<div class="command"><pre><code>{html.escape(command)}</code></pre>'
        f'<button type="button" class="copy" aria-label="Copy the command">Copy</button></div></li>'
        for what, command in rows
    )
    return f'<ol class="commands">{items}</ol>'


def unrolled(
    pictures: Sequence[bytes],
    times: Sequence[float],
    rows: Sequence[Sequence[str]],
    icons: Icons,
    unit: str = "LSTM",
) -> str:
    """How a recurrent network reads: frames above, what each network said of them below.

    Args:
        pictures: JPEG bytes of N frames.
        times: their times, seconds.
        rows: the labels' names, what LRCN said of the N frames, what the network without memory said.
        icons: beside the labels.
        unit: what the recurrent network is called.
    """
    labels, recurrent, single = rows
    last = len(pictures) - 1
    frames = "".join(
        f'<figure><img alt="The frame at {time:.1f} seconds" src="{_data("image/jpeg", picture)}">'
        f"{time:.1f} s</figure>"
        for picture, time in zip(pictures, times, strict=True)
    )
    linked = "".join(
        f'<div class="box linked{" last" if n == last else ""}">{html.escape(unit)}</div>'
        for n in range(last + 1)
    )
    boxes = '<div class="box">CNN</div>' * (last + 1)

    def said(answers: Sequence[str]) -> str:
        return "".join(chip(answer, labels, icons) for answer in answers)

    parts = (
        ("Frames", frames),
        ("CNN: what is in a frame", boxes),
        (f"{unit}: what happens over time", linked),
        ("LRCN says", said(recurrent)),
        ("One frame alone says", said(single)),
    )
    cells = "".join(f'<div class="name">{html.escape(name)}</div>{inner}' for name, inner in parts)
    return f'<div class="unrolled" style="--steps:{last + 1}">{cells}</div>'


def clip_section(anchor: str, title: str, view: ClipView, icons: Icons, menu: str = "") -> Section:
    """A video with its timeline, the models' rows side by side, and the segments as a list."""
    main = view.rows[0][1]
    labels, end = main.labels, max(r.end for _, r in view.rows)
    wide, high = view.size
    player = f"min(100%, {round(21 * max(1.0, min(wide / high, 1.5)))}rem)"
    video = (
        f'<video controls muted playsinline preload="auto" width="{wide}" height="{high}" '
        f'poster="{_data("image/jpeg", view.poster)}" src="{_data("video/mp4", view.video.read_bytes())}" '
        f'aria-label="{html.escape(title)}"></video>'
    )
    lists = "".join(_segment_list(name, r, labels) for name, r in view.rows)
    body = (
        f'<div class="card clip">{paragraph(view.text)}'
        f'<div class="stage" style="--player:{player}">{video}{_now(view, labels, icons)}</div>'
        f'<div class="timeline" role="slider" tabindex="0" aria-label="Timeline of {html.escape(title)}" '
        f'aria-valuemin="0" aria-valuemax="{end:.1f}" aria-valuenow="0">'
        f"{_lanes(view, labels, end, icons)}</div>"
        '<p class="quiet small">Click or drag on the timeline to go there; with the keyboard: arrows, '
        "Page Up and Down, Home, End, and Space to play.</p>"
        f'<details><summary>From when to when</summary><div class="lists">{lists}</div></details>'
        f'<script type="application/json">{_numbers(view, labels, end)}</script></div>'
    )
    return Section(anchor, title, body, menu)


def percent(share: float) -> str:
    """A share as text; what is not all is never rounded up to all, nor something down to nothing."""
    whole = round(100 * share)
    if whole in (0, 100) and 0 < share < 1:
        return (
            f"{100 * share:.1f} %" if 0.0005 <= share < 0.9995 else ("< 0.1 %" if share < 0.5 else "> 99.9 %")
        )
    return f"{whole} %"


def _now(view: ClipView, labels: Sequence[str], icons: Icons) -> str:
    """What is said at the playhead; the script fills it in."""
    names = ([view.reference.name] if view.reference else []) + [name for name, _ in view.rows]
    heads = "".join(f"<dt>{html.escape(name)}</dt><dd data-head></dd>" for name in names)
    colours = palette(labels)
    rails = "".join(
        f'<li><span>{_word(label, icons)}</span><span class="meter" aria-hidden="true">'
        + f'<i style="background:rgb{colours[label]}"></i>' * len(view.rows)
        + "</span></li>"
        for label in labels
    )
    key = "".join(f"<span><i></i>{html.escape(name)}</span>" for name, _ in view.rows)
    return (
        f'<div class="now"><dl class="now-head"><dt>Time</dt><dd data-clock></dd>{heads}</dl>'
        f'<ol aria-label="Probability of each label">{rails}</ol>'
        f'<div class="key" aria-hidden="true">{key}</div></div>'
    )


def _lanes(view: ClipView, labels: Sequence[str], end: float, icons: Icons) -> str:
    lanes = []
    reference = view.reference
    if reference is not None:
        note = "exact" if reference.exact else "where it is sure"
        strip = "".join(_piece(a, b, label, labels, end, icons) for a, b, label in _runs(reference, end))
        sparse = "" if reference.exact else " sparse"
        strip = f'<div class="strip{sparse}">{strip}</div>'
        lanes.append(_lane(reference.name, note, strip, "lane only"))
    for name, recognition in view.rows:
        note = ""
        if reference is not None:
            right, of = reference.agreement(recognition)
            verb = "right" if reference.exact else "agree"
            note = f"{percent(right / of)} {verb} ({right} of {of})" if of else ""
        strip = "".join(_piece(s.start, s.end, s.label, labels, end, icons) for s in recognition.segments)
        lanes.append(
            _lane(name, note, f'<div class="strip">{strip}</div>{_frames(recognition, labels, end)}')
        )
    return "".join(lanes) + _axis(end)


def _lane(name: str, note: str, body: str, style: str = "lane") -> str:
    head = f"{html.escape(name)} <small>{html.escape(note)}</small>"
    return f'<div class="{style}"><div class="name">{head}</div>{body}</div>'


def _runs(reference: Reference, end: float) -> Iterator[tuple[float, float, str]]:
    """(start, end, label) of the stretches over which the reference says the same."""
    if not len(reference.times):
        return
    edges = [0, *(n for n, (a, b) in enumerate(pairwise(reference.labels), 1) if a != b)]
    stops = [*(float(reference.times[n]) for n in edges[1:]), end]
    for first, stop in zip(edges, stops, strict=True):
        label = reference.labels[first]
        if label is not None:
            yield float(reference.times[first]), stop, label


def _piece(start: float, stop: float, label: str, labels: Sequence[str], end: float, icons: Icons) -> str:
    return (
        f'<span class="seg" style="left:{100 * start / end:.3f}%;width:{100 * (stop - start) / end:.3f}%;'
        f'{_paint(label, labels)}">{_word(label, icons)}</span>'
    )


def _frames(recognition: Recognition, labels: Sequence[str], end: float) -> str:
    """Every frame as a bar: the colour of its most probable label, as high as that is probable."""
    colours = palette(labels)
    best = recognition.per_frame.argmax(axis=1)
    edges = [*recognition.times.tolist(), recognition.end]
    shapes = []
    for n, k in enumerate(best):
        x, width = 1000 * edges[n] / end, 1000 * (edges[n + 1] - edges[n]) / end
        height = 100 * float(recognition.per_frame[n, k])
        at = f'x="{x:.2f}" width="{width:.2f}" fill="rgb{colours[labels[k]]}"'
        shapes.append(
            f'<rect {at} y="0" height="100" fill-opacity=".18"/>'
            f'<rect {at} y="{100 - height:.1f}" height="{height:.1f}"/>'
        )
    return (
        '<svg class="frames" viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true" '
        f'shape-rendering="crispEdges">{"".join(shapes)}</svg>'
    )


def _axis(end: float) -> str:
    step = next((s for s in (0.5, 1, 2, 5, 10, 30, 60, 300) if end / s <= 16), 600)
    marks = []
    for n in range(int(end / step + 1e-6) + 1):
        style = " ".join(name for name, here in (("odd", n % 2), ("end", n * step > 0.97 * end)) if here)
        marks.append(f'<span class="{style}" style="left:{100 * n * step / end:.2f}%">{n * step:g} s</span>')
    return f'<div class="axis" aria-hidden="true">{"".join(marks)}</div>'


def _segment_list(name: str, recognition: Recognition, labels: Sequence[str]) -> str:
    colours = palette(labels)

    def row(s: Segment) -> str:
        return (
            f'<tr><td><button type="button" class="seek" data-seek="{s.start:.3f}">{s.start:.1f} s</button>'
            f"</td><td>{s.end:.1f} s</td>"
            f'<td><span class="dot" style="background:rgb{colours[s.label]}"></span>'
            f'{html.escape(s.label)}</td><td class="n">{percent(s.score)}</td></tr>'
        )

    rows = "".join(row(s) for s in recognition.segments)
    return (
        f"<table><caption>{html.escape(name)}</caption><thead><tr><th>from</th><th>to</th><th>label</th>"
        f'<th class="n">probability</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _numbers(view: ClipView, labels: Sequence[str], end: float) -> str:
    """What the script needs, as JSON that is safe inside a script element."""
    rows: list[dict[str, object]] = []
    if view.reference is not None:
        places = {label: k for k, label in enumerate(labels)}
        said = [-1 if label is None else places.get(label, -1) for label in view.reference.labels]
        times = view.reference.times.round(3).tolist()
        rows.append({"name": view.reference.name, "times": times, "best": said, "scores": None})
    for name, recognition in view.rows:
        best = recognition.per_frame.argmax(axis=1).tolist()
        # In thousandths: as fine as a screen shows.
        scores = np.rint(1000 * recognition.per_frame).astype(int).tolist()
        rows.append(
            {"name": name, "times": recognition.times.round(3).tolist(), "best": best, "scores": scores}
        )
    numbers = json.dumps({"labels": list(labels), "end": round(end, 3), "rows": rows}, separators=(",", ":"))
    return numbers.replace("<", "\\u003c")


def _word(label: str, icons: Icons) -> str:
    icon = (
        f'<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d="{icons[label]}"/></svg>'
        if label in icons
        else ""
    )
    word = html.escape(label)
    return (
        f'{icon}<span class="word{" long" if len(label) > 9 else ""}">{word}</span>'
        if icon
        else f"<span>{word}</span>"
    )


def _paint(label: str, labels: Sequence[str]) -> str:
    colour = palette(labels)[label]
    return f"background:rgb{colour};color:{text_colour(colour)}"


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _asset(name: str) -> str:
    return (files("lrcn") / "assets" / "report" / name).read_text(encoding="utf-8")
