"""What is counted, as Prometheus reads it (text format 0.0.4)."""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from lrcn.serve.limits import Limits

Labels = tuple[tuple[str, str], ...]
M = TypeVar("M", bound="_Metric")

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128)


class _Metric(ABC):
    """A name, what it says, and the values for each set of labels."""

    kind = ""

    def __init__(self, name: str, tells: str) -> None:
        self.name, self.tells = name, tells
        self._lock = threading.Lock()

    def lines(self) -> Iterator[str]:
        """As Prometheus reads it."""
        yield f"# HELP {self.name} {self.tells}"
        yield f"# TYPE {self.name} {self.kind}"
        yield from self._values()

    @abstractmethod
    def _values(self) -> Iterator[str]: ...


class Counter(_Metric):
    """A number that rises."""

    kind = "counter"

    def __init__(self, name: str, tells: str) -> None:
        super().__init__(name, tells)
        self._counts: dict[Labels, float] = {}

    def add(self, amount: float = 1, **labels: str) -> None:
        """Counts so many more."""
        key = tuple(sorted(labels.items()))
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + amount

    def value(self, **labels: str) -> float:
        """How many there were."""
        return self._counts.get(tuple(sorted(labels.items())), 0)

    def _values(self) -> Iterator[str]:
        with self._lock:
            counts = dict(self._counts)
        for labels, count in sorted(counts.items()):
            yield f"{self.name}{_told(labels)} {count:.12g}"


class Gauge(_Metric):
    """A number that is looked up when somebody asks."""

    kind = "gauge"

    def __init__(self, name: str, tells: str, value: Callable[[], float]) -> None:
        super().__init__(name, tells)
        self.value = value

    def _values(self) -> Iterator[str]:
        yield f"{self.name} {self.value():.12g}"


class Histogram(_Metric):
    """How often values lay below each of some bounds."""

    kind = "histogram"

    def __init__(self, name: str, tells: str, bounds: Sequence[float] = _SECONDS) -> None:
        super().__init__(name, tells)
        self.bounds = tuple(bounds)
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def tell(self, value: float, **labels: str) -> None:
        """Counts a value."""
        key = tuple(sorted(labels.items()))
        with self._lock:
            self._counts.setdefault(key, [0] * (len(self.bounds) + 1))[bisect_left(self.bounds, value)] += 1
            self._sums[key] = self._sums.get(key, 0.0) + value

    def mean(self, **labels: str) -> float | None:
        """Of all values so far; None before the first."""
        key = tuple(sorted(labels.items()))
        with self._lock:
            count = sum(self._counts.get(key, ()))
            return self._sums[key] / count if count else None

    def _values(self) -> Iterator[str]:
        with self._lock:
            found = {key: (list(counts), self._sums[key]) for key, counts in self._counts.items()}
        for labels, (counts, total) in sorted(found.items()):
            below = 0
            for bound, count in zip((*self.bounds, float("inf")), counts, strict=True):
                below += count
                end = "+Inf" if bound == float("inf") else f"{bound:g}"
                yield f"{self.name}_bucket{_told((*labels, ('le', end)))} {below}"
            yield f"{self.name}_sum{_told(labels)} {total:.9g}"
            yield f"{self.name}_count{_told(labels)} {below}"


class Metrics:
    """All that a server counts."""

    def __init__(self, limits: Limits) -> None:
        self._all: list[_Metric] = []
        self.requests = self._of(Counter("lrcn_requests_total", "Requests by route and status."))
        self.request_seconds = self._of(
            Histogram("lrcn_request_seconds", "Seconds from a request to its answer, by route.")
        )
        self.upload_bytes = self._of(Counter("lrcn_upload_bytes_total", "Bytes of files that came."))
        self.jobs = self._of(
            Counter("lrcn_jobs_total", "Jobs by kind and result: done, failed, late, stopped, refused.")
        )
        self.job_seconds = self._of(Histogram("lrcn_job_seconds", "Seconds that jobs worked, by kind."))
        self.frames = self._of(
            Counter("lrcn_live_frames_total", "Live frames by result: answered, dropped, refused.")
        )
        self.answer_seconds = self._of(
            Histogram("lrcn_live_answer_seconds", "Seconds from a live frame to its answer.")
        )
        self.batches = self._of(
            Histogram("lrcn_live_batch", "Live connections in one step of the network.", _BATCH)
        )
        self.refused = self._of(
            Counter("lrcn_live_refused_total", "Live connections that were refused, by reason.")
        )
        began = time.time()
        self.gauge(
            "lrcn_live_connections_limit", "The most live connections.", lambda: limits.live_connections
        )
        self.gauge("process_start_time_seconds", "When the server began, since 1970.", lambda: began)
        self.gauge("process_resident_memory_bytes", "Memory of the server; 0 where unknown.", _resident)

    def gauge(self, name: str, tells: str, value: Callable[[], float]) -> None:
        """Adds a number that is looked up."""
        self._of(Gauge(name, tells, value))

    def text(self) -> str:
        """All of it."""
        return "".join(f"{line}\n" for metric in self._all for line in metric.lines())

    def _of(self, metric: M) -> M:
        self._all.append(metric)
        return metric


def _told(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _resident() -> float:
    try:
        return float(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0.0
