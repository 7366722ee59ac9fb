"""What a stream costs where it is not alone: with others in a pool, in processes, beside programs that never rest."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from lrcn.bench.measuring import Rows, rate
from lrcn.bench.streams import CAMERA_RATE, Frames, pushed, resident_mib, skip, streamable_of
from lrcn.threads import threads

if TYPE_CHECKING:
    from lrcn.stream import Streamable

_PASS = 2.0
"""Seconds of one measurement."""


def in_a_pool(streamable: Streamable, ready: Frames, cameras: int, repeats: int) -> dict[str, Any]:
    """How many cameras of 10 frames a second one core takes, in a pool of so many."""
    from lrcn.pool import StreamPool

    pool: StreamPool[int] = StreamPool(streamable)
    for name in range(cameras):
        pool.add(name)
    number = 0

    def step() -> int:
        nonlocal number
        number += 1
        # Each camera is somewhere else in the film.
        frames = {name: (ready[(number + 3 * name) % len(ready)], number / CAMERA_RATE) for name in pool}
        return len(pool.step(frames))

    step()
    steps = max(3, len(ready) // cameras)
    speed = float(np.median([rate(lambda: sum(step() for _ in range(steps))) for _ in range(repeats)]))
    return _cameras(f"pool of {cameras}", speed, resident_mib() / cameras)


def in_processes(made_of: tuple[str, str, int], ready: Frames, processes: int) -> dict[str, Any]:
    """The same with a process for each camera, all on one core."""
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(processes)
    results: Any = context.Queue()
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    workers = [
        context.Process(target=_alone, args=(made_of, ready, core, together, results), daemon=True)
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=300) for _ in workers]
    for worker in workers:
        worker.join()
    speed = sum(speed for speed, _ in found)
    return _cameras(
        f"{processes} processes, a stream each", speed, float(np.mean([memory for _, memory in found]))
    )


def _alone(
    made_of: tuple[str, str, int], ready: Frames, core: int | None, together: Any, results: Any
) -> None:
    """One stream in a process of its own, as fast as its share of the core lets it."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    with threads(1):
        pushing = pushed(streamable_of(*made_of), ready)
        skip(pushing, 10)
        together.wait(300)
        speed = rate(_until(pushing, _PASS))
    results.put((speed, resident_mib()))


def beside_others(streamable: Streamable, ready: Frames, busy: int, repeats: int) -> Rows:
    """A stream on one thread and on as many as there are cores, while other programs work; the slowest pass too."""
    ways = {1: "1 thread", os.cpu_count() or 2: "a thread a core"}
    speeds: dict[int, list[float]] = {number: [] for number in ways}
    with _at_work(busy):
        for _ in range(repeats):
            for number in ways:
                with threads(number):
                    speeds[number].append(rate(_until(pushed(streamable, ready), _PASS)))
    return [
        {
            "name": f"stream on {way}, beside {busy} busy processes",
            "frames_per_s": round(float(np.median(speeds[number])), 2),
            "slowest": round(min(speeds[number]), 2),
        }
        for number, way in ways.items()
    ]


def _until(pushing: Iterator[Any], seconds: float) -> Callable[[], int]:
    """Work that goes on for so long, and says how many frames it took."""

    def work() -> int:
        until, done = time.perf_counter() + seconds, 0
        while time.perf_counter() < until:
            next(pushing)
            done += 1
        return done

    return work


@contextmanager
def _at_work(number: int) -> Iterator[None]:
    """So many other processes that never rest."""
    others = [
        multiprocessing.get_context("spawn").Process(target=_never_rest, daemon=True) for _ in range(number)
    ]
    for one in others:
        one.start()
    try:
        time.sleep(1.0)  # until they are there
        yield
    finally:
        for one in others:
            one.kill()
            one.join()


def _never_rest() -> None:
    while True:
        pass


def _cameras(name: str, speed: float, memory: float) -> dict[str, Any]:
    return {
        "name": name,
        "frames_per_s": round(speed, 2),
        f"cameras_at_{CAMERA_RATE}_fps": round(speed / CAMERA_RATE, 1),
        "mib_per_camera": round(memory, 2),
    }
