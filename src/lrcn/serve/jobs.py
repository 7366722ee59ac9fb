"""Heavy work on a few threads: a bounded queue, a time limit, and nobody's work that nobody waits for.

A thread cannot be stopped from outside, so work looks at its `Job` now and then (`check`) and ends itself. Work that
does not look for long after its time is given up: another thread takes over from the one it holds.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from lrcn.serve.limits import Limits
from lrcn.serve.metrics import Metrics
from lrcn.serve.problem import STOPPING, RefusedError

_GRACE = 5.0
"""Seconds after its time that work may need to notice."""


class Job:
    """One piece of work.

    Attributes:
        kind: what is counted.
        result: what comes of it.
        given_up: whether its thread is no longer counted on.
    """

    def __init__(self, kind: str, work: Callable[[Job], Any], seconds: float) -> None:
        self.kind, self._work, self._seconds = kind, work, seconds
        self.result: Future[Any] = Future()
        self.given_up = False
        self._began: float | None = None
        self._stopped: RefusedError | None = None

    def check(self, *_: object) -> None:
        """Ends the work if it should not go on; takes what `progress` is called with.

        Raises:
            RefusedError: its time is over, or it was stopped.
        """
        if self._stopped is not None:
            raise self._stopped
        if self._over(0.0):
            raise self._late()

    def stop(self, why: str) -> None:
        """It is no longer wanted."""
        self._stopped = self._stopped or RefusedError(503, why)

    def hopeless(self) -> bool:
        """Whether it should have ended a good while ago."""
        return self._over(_GRACE)

    def run(self) -> str:
        """Works, once; what became of it."""
        self._began = time.monotonic()
        try:
            self.check()
            self.result.set_result(self._work(self))
        except BaseException as error:  # noqa: BLE001 - told to whoever waits
            self.result.set_exception(error)
            if self._stopped is not None:
                return "stopped"
            return "late" if self._over(0.0) else "failed"
        return "done"

    def _over(self, grace: float) -> bool:
        return self._began is not None and time.monotonic() - self._began > self._seconds + grace

    def _late(self) -> RefusedError:
        return RefusedError(
            504,
            f"This took longer than the {self._seconds:g} seconds that a job may work: send something shorter.",
        )

    def give_up(self) -> RefusedError:
        """Answers in place of work that does not end."""
        self.given_up = True
        return self._late()


class Jobs:
    """A queue and the threads that work it off.

    Args:
        limits: how many threads, how many jobs wait, and how long one may work.
        metrics: where they are counted.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._waiting: deque[Job] = deque()
        self._running: set[Job] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._spares = limits.workers
        self._threads = [self._thread() for _ in range(limits.workers)]
        metrics.gauge("lrcn_jobs_waiting", "Jobs in the queue.", lambda: len(self._waiting))
        metrics.gauge("lrcn_jobs_running", "Jobs at work.", lambda: len(self._running))

    def check_room(self) -> None:
        """Refuses before an upload what would be refused after it.

        Raises:
            RefusedError: the queue is full, or the server is stopping.
        """
        if self._closed:
            raise RefusedError(503, STOPPING)
        if len(self._waiting) >= self._limits.queue:
            self._metrics.jobs.add(kind="any", result="refused")
            raise RefusedError(
                503, "The server has its hands full: try again later.", retry_after=self._retry_after()
            )

    def add(self, kind: str, work: Callable[[Job], Any]) -> Job:
        """Puts work in the queue.

        Args:
            kind: what is counted.
            work: is given its job, to `check`.

        Raises:
            RefusedError: the queue is full, or the server is stopping.
        """
        job = Job(kind, work, self._limits.seconds)
        with self._changed:
            self.check_room()
            self._waiting.append(job)
            self._changed.notify()
        return job

    def replace(self, job: Job) -> None:
        """A thread in place of the one that a hopeless job holds; only so often, as each is a core lost."""
        with self._changed:
            if job in self._running and self._spares and not self._closed:
                self._spares -= 1
                self._threads.append(self._thread())

    def close(self) -> None:
        """Stops everything, and waits a moment for it."""
        with self._changed:
            self._closed = True
            left = list(self._waiting)
            self._waiting.clear()
            for job in (*left, *self._running):
                job.stop(STOPPING)
            self._changed.notify_all()
        for job in left:
            job.run()
        until = time.monotonic() + _GRACE
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _thread(self) -> threading.Thread:
        thread = threading.Thread(target=self._work, name="lrcn-job", daemon=True)
        thread.start()
        return thread

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                job = self._waiting.popleft()
                self._running.add(job)
            began = time.monotonic()
            result = job.run()
            self._metrics.jobs.add(kind=job.kind, result=result)
            self._metrics.job_seconds.tell(time.monotonic() - began, kind=job.kind)
            with self._changed:
                self._running.discard(job)
                if job.given_up:
                    self._spares += 1
                    return

    def _retry_after(self) -> int:
        """Seconds until there may be room again, by how long jobs took."""
        means = [self._metrics.job_seconds.mean(kind=job.kind) or 1.0 for job in [*self._waiting]]
        return max(1, round(sum(means) / self._limits.workers))
