"""Every figure the README quotes, measured again on this machine."""

import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lrcn.bench.camera import direction_accuracy as direction_accuracy
from lrcn.bench.camera import footage, moves
from lrcn.bench.captioning import caption
from lrcn.bench.describing import cooking
from lrcn.bench.live import stream
from lrcn.bench.measuring import Rows
from lrcn.bench.motion import flow
from lrcn.bench.pipeline import decode, recognition
from lrcn.bench.serving import serve
from lrcn.bench.shots import describe, describe_moves
from lrcn.bench.training import train
from lrcn.errors import LrcnError

BENCHES: dict[str, Callable[..., Rows]] = {
    "moves": moves,
    "footage": footage,
    "decode": decode,
    "recognition": recognition,
    "flow": flow,
    "caption": caption,
    "train": train,
    "cooking": cooking,
    "describe": describe,
    "describe-moves": describe_moves,
    "stream": stream,
    "serve": serve,
}


def run(what: str, **options: Any) -> dict[str, Any]:
    """Measures one thing.

    Returns:
        {"machine": {...}, "rows": [{"name", figures...}]}.

    Raises:
        LrcnError: unknown name, or options that do not suit it.
    """
    if what not in BENCHES:
        raise LrcnError(f"There is no bench {what!r}: give one of {', '.join(BENCHES)}.")
    return {"machine": machine(), "rows": BENCHES[what](**options)}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "lrcn": version("lrcn"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
