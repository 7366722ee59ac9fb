"""What a run tells: a JSONL log always, a progress bar or a line now and then, TensorBoard if asked."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from lrcn.errors import LrcnError
from lrcn.files import write_whole

_SECONDS_BETWEEN_LINES = 30.0


def read_log(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSONL log; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


class Tracker:
    """Writes the log of one run.

    Args:
        path: the JSONL file; rows past `step` are taken out, as a resumed run writes them again.
        step: where the run starts from.
        steps: how many there will be.
        silent: shows nothing, writes nothing (processes that do not lead).
        tensorboard: a folder for TensorBoard, which must be installed.
        name: stands before the progress bar.
    """

    def __init__(
        self,
        path: Path,
        step: int,
        steps: int,
        *,
        silent: bool = False,
        tensorboard: Path | None = None,
        name: str = "train",
    ) -> None:
        self.path = path
        self.steps = steps
        self.silent = silent
        self.board = None if tensorboard is None or silent else _board(tensorboard, step)
        self._bar = None if silent or not sys.stderr.isatty() else _bar()
        self._task = (
            None if self._bar is None else self._bar.add_task(name, total=steps, completed=step, note="")
        )
        self._last_line = time.monotonic()
        self._name = name
        if not silent:
            # Dev scores of the step itself also: they are measured after the checkpoint from which a run goes on.
            kept = [
                row for row in read_log(path) if row["step"] < step or (row["step"] == step and "loss" in row)
            ]
            write_whole(path, "".join(json.dumps(row) + "\n" for row in kept))

    def __enter__(self) -> "Tracker":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self.board is not None:
            self.board.close()

    def log(self, step: int, **values: float) -> None:
        """Adds a row to the log."""
        if self.silent:
            return
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(name, value, step)

    def show(self, step: int, loss: float, clips_per_second: float) -> None:
        """Moves the bar, or prints a line when the last one is long ago."""
        if self.silent:
            return
        note = f"loss {loss:.3f}  {clips_per_second:.1f} clips/s"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=step, note=note)
        elif time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            print(f"{self._name}: step {step} of {self.steps}  {note}", file=sys.stderr, flush=True)


def counting(name: str) -> Callable[[int, int], None]:
    """A `progress(done, total)` that shows itself on stderr: in place on a terminal, a line now and then elsewhere."""
    last = [time.monotonic()]

    def show(done: int, total: int) -> None:
        now = time.monotonic()
        on_terminal = sys.stderr.isatty()
        if now - last[0] < (0.2 if on_terminal else _SECONDS_BETWEEN_LINES) and done < total:
            return
        last[0] = now
        end = "\n" if done >= total or not on_terminal else ""
        print(
            f"{chr(13) if on_terminal else ''}{name}: {done} of {total}", end=end, file=sys.stderr, flush=True
        )

    return show


def _bar() -> Progress:
    from rich.console import Console

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}  {task.fields[note]}"),
    )
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise LrcnError(
            "train.tensorboard needs TensorBoard: install it with `pip install lrcn[track]`."
        ) from error
    return SummaryWriter(str(folder), purge_step=step + 1)
