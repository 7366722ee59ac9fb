"""Which frames are shown at which times: causal, and exact for variable rates."""

from collections.abc import Iterator
from contextlib import closing
from itertools import count, takewhile
from typing import Any

from lrcn.data.source import Source


def selected(
    source: Source, rate: float | None, start: float, end: float | None
) -> Iterator[tuple[Any, float]]:
    """The frames of a span as (token, time), every one or at a rate."""
    limit = float("inf") if end is None else end
    half = source.half_tick
    with closing(source.frames(start)) as frames:
        if rate is None:
            for token, time in frames:
                if time >= limit - half:
                    return
                if time >= start - half:
                    yield token, time
        else:
            # Divided, not summed: sums of 1/rate drift.
            grid = takewhile(lambda time: time < limit - 1e-9, (start + k / rate for k in count()))
            yield from shown_at(frames, grid, half, 1 / source.info.rate)


def shown_at(
    frames: Iterator[tuple[Any, float]], times: Iterator[float], half: float, lasts: float
) -> Iterator[tuple[Any, float]]:
    """For each of ascending times the frame shown then: the last one that is not later.

    A time is answered as soon as no frame still to come could be shown at it.

    Args:
        frames: (token, time), ascending.
        times: seconds, ascending.
        half: times closer than this are the same.
        lasts: seconds that the last frame is shown.
    """
    wanted = next(times, None)
    held: tuple[Any, float] | None = None
    for token, time in frames:
        while held is not None and wanted is not None and wanted + half < time:
            yield held[0], wanted
            wanted = next(times, None)
        while wanted is not None and wanted < time + half:
            yield token, wanted
            wanted = next(times, None)
        if wanted is None:
            return
        held = token, time
    while held is not None and wanted is not None and wanted < held[1] + lasts - half:
        yield held[0], wanted
        wanted = next(times, None)
