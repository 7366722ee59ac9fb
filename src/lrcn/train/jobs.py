"""Which job a recipe is: its `task`, and who reads the rest of it and does it."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from lrcn.config import merge, read_layers
from lrcn.errors import LrcnError
from lrcn.train.run import Report, Result

Job = Callable[[Path, Mapping[str, Any], Path, Report], Result]
"""A recipe's file, settings laid over it, where the run goes, and who is told -> what it left behind."""

JOBS = {
    "recognize": "lrcn.train.study:run_recipe",
    "caption": "lrcn.train.captions:run_recipe",
    "describe": "lrcn.train.describing:run_recipe",
    "describe-shots": "lrcn.train.shot_describing:run_recipe",
    "embed": "lrcn.train.embedding:run_recipe",
}
"""A recipe's `task` -> `module:function`."""


def job_of(path: str | Path, changes: Mapping[str, Any] | None = None) -> Job:
    """The job that a recipe describes.

    Raises:
        LrcnError: the recipe cannot be read, or names a task that there is not.
    """
    task = merge(read_layers(path), changes or {}).get("task", "recognize")
    if task not in JOBS:
        raise LrcnError(f"task is {task!r}: choose one of {', '.join(JOBS)}.")
    module, _, function = JOBS[task].partition(":")
    job: Job = getattr(import_module(module), function)
    return job
