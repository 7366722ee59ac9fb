"""What benches share: ways that take turns, and where clips come from."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lrcn.data.importers import import_data
from lrcn.data.manifest import Row, read_manifest

Rows = list[dict[str, Any]]


def side_by_side(
    ways: Mapping[str, Callable[[], int]],
    repeats: int,
    ratio: str,
    *,
    unit: str = "frames_per_s",
    digits: int = 2,
    before: Mapping[str, Callable[[], object]] | None = None,
) -> Rows:
    """What each way counts per second, and its ratio to the first: medians of several runs, taking turns.

    Args:
        ways: name -> work, which returns how much it did.
        repeats: runs of each.
        ratio: the column of the ratio.
        unit: the column of the speed.
        digits: decimals of the ratio.
        before: name -> what is done before each run of that way, not timed.
    """
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            if before is not None and name in before:
                before[name]()
            speeds[name].append(rate(way))
    medians = {name: sorted(found)[len(found) // 2] for name, found in speeds.items()}
    first = next(iter(medians.values()))
    return [
        {"name": name, unit: round(speed, 2), ratio: round(speed / first, digits)}
        for name, speed in medians.items()
    ]


def rate(work: Callable[[], int]) -> float:
    """What `work` counts, per second."""
    started = time.perf_counter()
    done = work()
    return done / (time.perf_counter() - started)


def rows_of(source: str) -> list[Row]:
    """The clips of a manifest or a folder."""
    return import_data("folder", source)[0] if Path(source).is_dir() else read_manifest(source)
