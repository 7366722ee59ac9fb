"""What `lrcn watch` shows while it watches: a view on a terminal, a line a second in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lrcn.cli.status import say
from lrcn.text import clock, one_line

if TYPE_CHECKING:
    from lrcn.live import LiveSource, Pace
    from lrcn.track import Answer

_REDRAW_SECONDS = 0.1
_LOG_SECONDS = 1.0
_SHOWN = 4
_BAR = 30


class LiveView:
    """Shows the latest answer on standard error.

    Args:
        name: of the source.
        labels: the class names.
    """

    def __init__(self, name: str, labels: tuple[str, ...]) -> None:
        self._name = one_line(name)
        self._labels = labels
        self._last = -_LOG_SECONDS
        self._live: Any = None
        self._styles: dict[str, str] = {}
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            from lrcn.palette import palette

            self._styles = {label: f"rgb({r},{g},{b})" for label, (r, g, b) in palette(labels).items()}
            self._live = Live(
                console=Console(stderr=True, highlight=False), auto_refresh=False, transient=True
            )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Writes a line of its own, above the view."""
        if self._live is None:
            say(text)
        else:
            self._live.console.print(one_line(text), markup=False)

    def show(self, answer: Answer, pace: Pace, source: LiveSource, note: str = "") -> None:
        """Shows where things stand, if that is due.

        Args:
            answer: the latest.
            pace: how fast they come.
            source: where the frames come from.
            note: what else is to be known, such as that the camera is away.
        """
        now = time.monotonic()
        if now - self._last < (_LOG_SECONDS if self._live is None else _REDRAW_SECONDS):
            return
        self._last = now
        figures = _figures(pace, source) + ([note] if note else [])
        if self._live is None:
            parts = [clock(answer.time, tenths=True), f"{one_line(answer.label)} {answer.probability:.0%}"]
            say("  ".join([*parts, *figures]))
        else:
            self._live.update(self._drawn(answer, figures), refresh=True)

    def _drawn(self, answer: Answer, figures: list[str]) -> Any:
        from rich.text import Text

        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{self._name}  ", "bold")
        text.append(f"{clock(answer.time, tenths=True)}\n", "dim")
        best = answer.smoothed.argsort()[::-1][:_SHOWN]
        wide = max(len(one_line(label)) for label in self._labels)
        for place, k in enumerate(best):
            label, share = self._labels[k], float(answer.smoothed[k])
            full = round(_BAR * share)
            style = self._styles[label] if place == 0 else "dim"
            text.append(f"  {one_line(label):<{wide}}  ", f"bold {style}" if place == 0 else style)
            text.append("━" * full, style)
            text.append("╌" * (_BAR - full), "dim")
            text.append(f" {share:>4.0%}\n", style)
        if answer.open is not None:
            since = f"since {clock(answer.open.start, tenths=True)}"
            text.append(f"  {one_line(answer.open.label)} {since}{'' if answer.settled else ' ?'}\n", "dim")
        text.append("  " + "  ".join(figures), "dim")
        return text


def _figures(pace: Pace, source: LiveSource) -> list[str]:
    frames, steps = pace.rates()
    figures = [
        f"{frames:.1f} frames/s",
        f"{steps:.1f} steps/s",
        f"latency {1000 * pace.latency():.0f} ms (95 %: {1000 * pace.latency(0.95):.0f})",
    ]
    if source.dropped:
        figures.append(f"dropped {source.dropped}")
    if source.reconnects:
        figures.append(f"reconnected {source.reconnects}")
    return figures
