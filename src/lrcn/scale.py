"""Many videos through one model on many machines, by Ray Data.

    for record in recognize_bulk(["films/"], workers=8):
        record["path"], record["label"]

Each worker loads the model once. A file is one item, so a long video keeps one worker busy, and the others go on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lrcn.data.media import list_media
from lrcn.errors import LrcnError


class Recognizing:
    """One worker's model.

    Args:
        model: a name, a folder or a hub id, which has to mean the same on every machine.
        device: where it runs.
    """

    def __init__(self, model: str, device: str) -> None:
        from lrcn.models.zoo import load

        self._loaded = load(model, device, tasks=("recognize", "fuse"))

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """A path -> its record, as text: records of different videos differ in their fields, which tables do not."""
        from lrcn.predict import recognize_many

        (result,) = recognize_many(self._loaded, [str(row["path"])])
        return {"record": json.dumps(result.to_json(), ensure_ascii=False)}


def recognize_bulk(
    inputs: Iterable[str | Path],
    *,
    model: str = "camera-moves",
    workers: int = 2,
    cpus: float = 1.0,
    gpus: float = 0.0,
) -> Iterator[dict[str, Any]]:
    """The records of `lrcn recognize`, in any order, as they are done; one that fails has `error`.

    Args:
        inputs: videos, folders, patterns; their paths have to mean the same on every machine.
        model: a name, a folder or a hub id, likewise.
        workers: models at the same time.
        cpus: cores of each.
        gpus: GPUs of each, such as 0.25; 0 runs on the CPU.

    Raises:
        LrcnError: Ray is not installed, or there are no such videos.
    """
    try:
        import ray.data
    except ImportError as error:
        raise LrcnError("Bulk prediction needs Ray: pip install 'lrcn[scale]'.") from error
    paths = list_media(inputs)
    blocks = min(len(paths), 4 * workers)
    rows: Any = ray.data.from_items([{"path": path} for path in paths], override_num_blocks=blocks)
    found = rows.map(
        Recognizing,
        fn_constructor_kwargs={"model": model, "device": "cuda" if gpus else "cpu"},
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=cpus,
        num_gpus=gpus,
    )
    for row in found.iter_rows():
        record: dict[str, Any] = json.loads(row["record"])
        yield record
