"""What goes to standard error: sentences, and how far long work is. Standard output is for results alone."""

import os
import shutil
import sys
import time
from types import TracebackType
from typing import Self

from lrcn.text import one_line

_REDRAW_SECONDS = 0.1
_LOG_SECONDS = 15.0
_BAR = 24


def say(text: str) -> None:
    """Writes a line to standard error; characters that it cannot show go out escaped."""
    encoding = sys.stderr.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr, flush=True)


def release_stdout() -> None:
    """Lets what standard output still holds go nowhere, so that the process can end without failing on it."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        # Not a real file: there is nothing to fail on.
        pass


class Status:
    """How far the work is: one line redrawn in place on a terminal, a line now and then in a log."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._drawn = False
        self._what = ""
        self._began = self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def show(self, what: str, done: float = 0.0, total: float | None = None) -> None:
        """Tells what is being done, and how much of it is done.

        Args:
            what: a few words; other words start the clock for the time left anew.
            done: in any unit.
            total: in the same unit; None where nobody knows.
        """
        now = time.monotonic()
        if what != self._what:
            self._what, self._began = what, now
            due = self._terminal or now - self._last >= _LOG_SECONDS
        else:
            due = now - self._last >= (_REDRAW_SECONDS if self._terminal else _LOG_SECONDS)
        if not due:
            return
        self._last = now
        share = min(done / total, 1.0) if total else None
        if self._terminal:
            self._draw(_line(what, share, now - self._began, bar=True))
        else:
            say(_line(what, share, now - self._began, bar=False))

    def say(self, text: str) -> None:
        """Writes a line of its own, above the status."""
        self.clear()
        say(text)

    def clear(self) -> None:
        """Takes the line away: whoever writes to the terminal next starts on a clean one."""
        if self._drawn:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
            self._drawn = False

    def _draw(self, line: str) -> None:
        columns = shutil.get_terminal_size().columns - 1
        encoding = sys.stderr.encoding or "utf-8"
        shown = line[:columns].encode(encoding, "replace").decode(encoding)
        sys.stderr.write(f"\r\x1b[2K{shown}")
        sys.stderr.flush()
        self._drawn = True


def _line(what: str, share: float | None, seconds: float, *, bar: bool) -> str:
    parts = [one_line(what)]
    if share is not None:
        if bar:
            full = round(_BAR * share)
            parts.append("━" * full + "┄" * (_BAR - full))
        parts.append(f"{share:.0%}")
        # A first guess jumps about; none is better.
        if share > 0.02 and seconds > 2:
            left = round(seconds * (1 - share) / share)
            parts.append(f"{left // 60}:{left % 60:02d} left")
    return "  ".join(parts)
