"""`lrcn watch`: what a camera, an address or a film shows, while it shows it."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from lrcn.cli.call import Call, folder_to_write, seconds, share, whole
from lrcn.cli.recognize import VIDEO_OUT
from lrcn.cli.status import Status
from lrcn.data.media import is_camera, is_url
from lrcn.errors import LrcnError
from lrcn.text import one_line
from lrcn.threads import threads

if TYPE_CHECKING:
    from lrcn.journal import Record
    from lrcn.live import Found, Frame, LiveSource, Lost
    from lrcn.live_canvas import LiveCanvas, LiveFilm
    from lrcn.stream import Stream
    from lrcn.track import Answer

_POLICIES = ("latest", "all")


def watch(call: Call) -> int:
    """Says what happens while it happens."""
    call.example(
        "lrcn watch 0",
        "lrcn watch rtsp://door.local/stream --out events.jsonl",
        "lrcn watch clip.mp4 --save annotated.mp4",
    )
    call.description = (
        f"{call.description} Ctrl-C ends it: all is written, the segments are shown, the exit code is 130."
    )
    call.add_argument(
        "source",
        metavar="SOURCE",
        help="the number of a camera, an address (rtsp, http, ...), a video or a folder of numbered frames",
    )
    call.add_recognizer()
    call.add_threads()
    call.add_argument(
        "--out",
        metavar="FILE",
        help="add what happens to this file, a JSON object a line; - for standard output",
    )
    call.add_argument("--save", metavar="FILE", help="write the film with what was said drawn below")
    call.add_argument("--window", action="store_true", help="show that in a window")
    call.add_argument("--duration", type=seconds, metavar="S", help="stop after so many seconds")
    call.add_argument(
        "--no-realtime",
        dest="realtime",
        action="store_false",
        help="a film as fast as it goes, not at its own speed",
    )
    call.add_argument(
        "--policy",
        choices=_POLICIES,
        help="frames that come too fast: latest drops the older ones, all keeps them waiting (default: latest for "
        "live sources, all for films)",
    )
    call.add_argument(
        "--retries",
        type=whole,
        metavar="N",
        help="give a lost camera up after so many attempts (default: never)",
    )
    call.add_argument(
        "--smoothing", type=seconds, default=0.5, metavar="S", help="seconds smoothed over (default: 0.5)"
    )
    call.add_argument(
        "--min-duration", type=seconds, default=0.4, metavar="S", help="shortest segment (default: 0.4)"
    )
    call.add_argument(
        "--threshold", type=share, default=0.0, metavar="P", help="leave out segments less probable than this"
    )
    call.add_argument(
        "--gap",
        type=seconds,
        default=2.0,
        metavar="S",
        help="begin anew where no frame came for so long; 0: never (default: 2)",
    )
    call.add_argument("--cuts", action="store_true", help="begin anew at every shot cut")
    args = call.parse()
    _check(args)
    with ExitStack() as closing, Status() as status:
        pictures = closing.enter_context(_Pictures(args)) if args.window or args.save is not None else None
        status.show(f"loading {args.model}")
        closing.enter_context(threads(args.threads))
        stream, source = _opened(args)
        status.clear()
        closing.enter_context(source)
        one = _Watching(args, stream, source, closing.enter_context(_events(args.out)), pictures)
        code, error = one.run()
    if error is not None:
        raise error
    return code


def _check(args: Any) -> None:
    """Refuses what cannot be, before the wait for a model.

    Raises:
        LrcnError: names the option and the fix.
    """
    source = args.source
    if not is_camera(source) and not is_url(source) and not os.path.exists(source):
        raise LrcnError(
            f"There is no video {source}: check the name, or give a camera's number or an address."
        )
    if args.save is not None and Path(args.save).suffix.lower() not in VIDEO_OUT:
        raise LrcnError(f"--save {args.save}: give a name that ends in {', '.join(VIDEO_OUT)}.")
    for option, name in (("--out", args.out), ("--save", args.save)):
        if name is None or name == "-":
            continue
        path = Path(name)
        if path.is_file() and os.path.exists(source) and path.samefile(source):
            raise LrcnError(f"{option} {path} is the film itself; give another name.")
        folder_to_write(path.parent, option)


def _opened(args: Any) -> tuple[Stream, LiveSource]:
    """The stream, warm, and the source."""
    import numpy as np

    from lrcn.live import LiveSource
    from lrcn.models.zoo import load
    from lrcn.stream import Stream, Streamable

    model = Streamable.of(load(args.model, args.device))
    whole_pictures = args.window or args.save is not None
    source = LiveSource(
        args.source,
        resize=None if whole_pictures else model.resize,
        policy=args.policy,
        realtime=args.realtime,
        retries=args.retries,
    )
    stream = Stream(
        model,
        smoothing=args.smoothing,
        min_duration=args.min_duration,
        threshold=args.threshold,
        gap=args.gap or None,
        cuts=args.cuts,
        half_tick=source.reader.half_tick,
    )
    # The first step is a slow one; a live source should not wait for it.
    stream.push(np.zeros((32, 32, 3), np.uint8), 0.0)
    stream.reset()
    return stream, source


class _Watching:
    """One run, from the first frame to the last record."""

    def __init__(
        self,
        args: Any,
        stream: Stream,
        source: LiveSource,
        events: BinaryIO | None,
        pictures: _Pictures | None,
    ) -> None:
        from lrcn.cli.live_view import LiveView
        from lrcn.journal import Journal
        from lrcn.live import Pace
        from lrcn.predict import source_name

        name = source_name(int(args.source) if is_camera(args.source) else args.source)
        self.args = args
        self.stream = stream
        self.source = source
        self.events = events
        self.pictures = pictures
        # A password in an address is for nobody's log.
        self.journal = Journal(re.sub(r"//[^/]*@", "//", name), stream.labels)
        self.view = LiveView(self.journal.source, stream.labels)
        self.pace = Pace()
        self.answer: Answer | None = None
        self.note = ""

    def run(self) -> tuple[int, LrcnError | None]:
        """Watches until the end: the exit code, and what ended it where it was not meant to end."""
        error = None
        self._write([self.journal.begin(self.args.model)])
        with _stop_signals() as stopped, self.view:
            try:
                reason = self._watch(stopped)
            except LrcnError as failure:
                error, reason = failure, "error"
            # A film's last frame is shown as long as its others.
            lasts = 1 / self.source.reader.info.rate if reason == "end" else None
            self._write(self.journal.ended(self.stream.finish(lasts), reason, self.source.dropped))
            if reason == "end" and self.source.reader.warning is not None:
                self.view.say(f"lrcn: {self.source.reader.warning}")
        if self.args.out != "-":
            self._show_summary()
        return (128 + stopped[0] if stopped else 0), error

    def _watch(self, stopped: list[int]) -> str:
        """Takes what comes; why it ended."""
        for one in self.source:
            if stopped:
                return "stopped"
            if self.args.duration is not None and self._now(one) >= self.args.duration:
                return "duration"
            if one is not None:
                self._take(one)
            if self.pictures is not None and not self.pictures.wanted():
                return "window closed"
            self._write(self.journal.dropped(self.source.dropped))
            if self.answer is not None:
                self.view.show(self.answer, self.pace, self.source, self.note)
        return "end"

    def _now(self, one: Frame | Found | Lost | None) -> float:
        """Seconds watched: of a film those of its own clock."""
        if self.source.live:
            return self.source.now
        return 0.0 if one is None else one.time

    def _take(self, one: Frame | Found | Lost) -> None:
        from lrcn.live import Frame, Lost

        if isinstance(one, Frame):
            answer = self.answer = self.stream.push(one.picture, one.time)
            self.pace.tell(one.arrived, len(answer.times))
            self._write(self.journal.answered(answer))
            if self.pictures is not None:
                self.pictures.show(one, answer, self.source.reader.info.rate)
            return
        self._write([self.journal.happened(one)])
        if isinstance(one, Lost):
            self.note = "lost, trying again"
            self.view.say(f"lrcn: {self.journal.source} was lost, trying again: {one.reason}")
        else:
            self.note = ""
            self.view.say(f"lrcn: {self.journal.source} is back after {one.seconds:.1f} s.")

    def _write(self, records: Iterable[Record]) -> None:
        from lrcn.writers import utf8

        for record in records:
            if self.events is None:
                continue
            try:
                self.events.write(utf8(json.dumps(record, ensure_ascii=False) + "\n"))
                self.events.flush()
            except BrokenPipeError:
                raise
            except OSError as error:
                raise _unwritable(self.args.out, error) from error

    def _show_summary(self) -> None:
        from lrcn.writers import emit, table

        seen = self.journal.summary()
        if seen is None:
            self.view.say(f"lrcn: {self.journal.source} showed nothing.")
            return
        earlier = self.journal.closed - len(self.journal.segments)
        if earlier:
            self.view.say(f"lrcn: {earlier} earlier segments are not shown; --out FILE keeps all.")
        for piece in table([seen], colour=sys.stdout.isatty()):
            emit(sys.stdout, piece)


class _Pictures:
    """The film that is written and the window that is open; a context manager."""

    def __init__(self, args: Any) -> None:
        from lrcn.cli.window import Window

        self._path = args.save
        self._window = Window(f"lrcn watch {one_line(args.source)}") if args.window else None
        self._canvas: LiveCanvas | None = None
        self._film: LiveFilm | None = None
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._window is not None:
            self._window.close()
        # With the error, as only a film that was finished well takes its place.
        self._closing.__exit__(kind, error, trace)

    def wanted(self) -> bool:
        """Whether the window, if there was one, is still open."""
        if self._window is not None:
            self._window.refresh()
        return self._window is None or self._window.open

    def show(self, frame: Frame, answer: Answer, rate: float) -> None:
        """Draws, writes and shows a frame."""
        if self._canvas is None:
            self._begin(frame, answer, rate)
        assert self._canvas is not None
        drawn = self._canvas.live(frame.picture, answer)
        if self._film is not None:
            self._film.write(drawn, frame.time)
        if self._window is not None and self._window.open:
            self._window.show(drawn)

    def _begin(self, frame: Frame, answer: Answer, rate: float) -> None:
        from lrcn.files import whole_file
        from lrcn.live_canvas import LiveCanvas, LiveFilm

        height, width = frame.picture.shape[:2]
        self._canvas = LiveCanvas(answer.labels, width, height)
        if self._path is not None:
            path = self._closing.enter_context(whole_file(self._path))
            self._film = self._closing.enter_context(LiveFilm(path, rate))


@contextmanager
def _events(out: str | None) -> Iterator[BinaryIO | None]:
    """Where records go: they are added to the file as things happen, so that others can follow it.

    Raises:
        LrcnError: the file cannot be written.
    """
    if out is None or out == "-":
        yield None if out is None else sys.stdout.buffer
        return
    path = Path(out)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise _unwritable(out, error) from error
    with file:
        yield file


def _unwritable(out: str, error: OSError) -> LrcnError:
    return LrcnError(f"Cannot write {out}: {error.strerror or error}; make room, or choose another place.")


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """The number of the signal that asked to stop, once one did; a second Ctrl-C stops at once."""
    stopped: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}

    def note(kind: int, _: FrameType | None) -> None:
        stopped.append(kind)
        signal.signal(kind, signal.default_int_handler)

    for kind in before:
        signal.signal(kind, note)
    try:
        yield stopped
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
