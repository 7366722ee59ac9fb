"""Work done in a thread beside the one that uses it, never more than a few items ahead."""

import atexit
import queue
import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from typing import TypeVar

T = TypeVar("T")

_running: "weakref.WeakKeyDictionary[threading.Thread, threading.Event]" = weakref.WeakKeyDictionary()


class _End:
    """Says that no more items come, and why when something went wrong."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def in_background(
    make: Callable[[], Generator[T, None, None]], depth: int, drop_oldest: bool = False
) -> Iterator[T]:
    """Yields what `make()` yields; `make()` runs in a thread at most `depth` items ahead.

    The thread starts with the first item asked for, and ends when the items do, when this iterator is closed
    or collected, or when the program exits. What `make()` raises is raised here.

    Args:
        make: the generator to run; it is closed in the thread that ran it.
        depth: how many items may wait.
        drop_oldest: for sources that do not wait: where the items are not used in time, the oldest are lost.
    """
    waiting: queue.Queue[T | _End] = queue.Queue(depth)
    stop = threading.Event()

    def work() -> None:
        end = _End(None)
        try:
            with closing(make()) as items:
                for item in items:
                    if not _put(waiting, item, stop, drop_oldest):
                        break
        except BaseException as error:  # noqa: BLE001 - raised again where the items are used
            end = _End(error)
        try:
            _put(waiting, end, stop, False)
        finally:
            # The error's traceback refers to this frame: what the frame still held would never be let go.
            del end

    thread = threading.Thread(target=work, name="lrcn-video", daemon=True)
    _running[thread] = stop
    thread.start()
    item: T | _End | None = None
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        item = None
        stop.set()
        # A thread that waits on a dead network is left behind: it is a daemon and ends with its time limit.
        thread.join(timeout=2)
        # An error nobody came for refers, through its traceback, to the queue that holds it.
        _empty(waiting)


def _put(waiting: "queue.Queue[T]", item: T, stop: threading.Event, drop_oldest: bool) -> bool:
    while not stop.is_set():
        try:
            waiting.put(item, timeout=0 if drop_oldest else 0.02)
            return True
        except queue.Full:
            if drop_oldest:
                with suppress(queue.Empty):
                    waiting.get_nowait()
    return False


def _empty(waiting: "queue.Queue[T]") -> None:
    with suppress(queue.Empty):
        while True:
            waiting.get_nowait()


@atexit.register
def _stop_all() -> None:
    # A thread inside a decoder while the interpreter is taken down can crash the process.
    running = list(_running.items())
    for _, stop in running:
        stop.set()
    for thread, _ in running:
        thread.join(timeout=1)
