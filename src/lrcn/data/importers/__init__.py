"""From the layouts data sets come in to a manifest: one file and one line here for each."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import cast

from lrcn.data.manifest import Row
from lrcn.errors import LrcnError

Importer = Callable[[Path], tuple[list[Row], list[str]]]

# Loaded only when asked for, so that a data set's own needs are nobody else's.
IMPORTERS = {
    "folder": "lrcn.data.importers.folder:import_folder",
}


def import_data(name: str, source: str | Path) -> tuple[list[Row], list[str]]:
    """Reads a data set in the layout `name` at `source`.

    Returns:
        The rows, and sentences that say what was found, guessed and left out.

    Raises:
        LrcnError: no such importer, or what lies at `source` is not in that layout.
    """
    if name not in IMPORTERS:
        raise LrcnError(f"There is no importer '{name}'; the importers are {', '.join(sorted(IMPORTERS))}.")
    module, _, function = IMPORTERS[name].partition(":")
    importer = cast(Importer, getattr(importlib.import_module(module), function))
    return importer(Path(source))
