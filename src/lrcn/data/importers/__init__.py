"""From the layouts data sets come in to a manifest: one file and one line here for each."""

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import cast

from lrcn.data.manifest import Row
from lrcn.errors import LrcnError

Importer = Callable[..., tuple[list[Row], list[str]]]

# Loaded only when asked for, so that a data set's own needs are nobody else's.
IMPORTERS = {
    "activitynet": "lrcn.data.importers.activitynet:import_activitynet",
    "captions-csv": "lrcn.data.importers.captions_csv:import_captions_csv",
    "charades": "lrcn.data.importers.charades:import_charades",
    "coco-captions": "lrcn.data.importers.coco_captions:import_coco_captions",
    "descriptions-csv": "lrcn.data.importers.descriptions_csv:import_descriptions_csv",
    "flickr8k": "lrcn.data.importers.flickr8k:import_flickr8k",
    "folder": "lrcn.data.importers.folder:import_folder",
    "hmdb51": "lrcn.data.importers.hmdb51:import_hmdb51",
    "jester": "lrcn.data.importers.jester:import_jester",
    "karpathy": "lrcn.data.importers.karpathy:import_karpathy",
    "kinetics": "lrcn.data.importers.kinetics:import_kinetics",
    "msrvtt": "lrcn.data.importers.msrvtt:import_msrvtt",
    "msvd": "lrcn.data.importers.msvd:import_msvd",
    "segments": "lrcn.data.importers.segments:import_segments",
    "something-v1": "lrcn.data.importers.something:import_something_v1",
    "something-v2": "lrcn.data.importers.something:import_something_v2",
    "tacos": "lrcn.data.importers.tacos:import_tacos",
    "ucf101": "lrcn.data.importers.ucf101:import_ucf101",
}


def import_data(name: str, source: str | Path, **options: object) -> tuple[list[Row], list[str]]:
    """Reads a data set in the layout `name` at `source`.

    Args:
        name: one of `IMPORTERS`.
        source: the folder or file the data set lies in.
        options: what the importer takes besides, by the names of its parameters.

    Returns:
        The rows, and sentences that say what was found, guessed and left out.

    Raises:
        LrcnError: no such importer, an option it does not take, or what lies at `source` is not in that
            layout.
    """
    if name not in IMPORTERS:
        raise LrcnError(f"There is no importer '{name}'; the importers are {', '.join(sorted(IMPORTERS))}.")
    module, _, function = IMPORTERS[name].partition(":")
    importer = cast(Importer, getattr(importlib.import_module(module), function))
    known = list(inspect.signature(importer).parameters)[1:]
    for option in options:
        if option not in known:
            takes = ", ".join(map(_flag, known)) or "no options"
            raise LrcnError(f"The importer '{name}' takes no {_flag(option)}; it takes {takes}.")
    return importer(Path(source), **options)


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"
