"""Short hashes that tell whether two things were made alike."""

import hashlib
import json
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

from lrcn.errors import LrcnError


def fingerprint(*parts: Any) -> str:
    """32 hex digits that follow from the parts: numbers, strings, sequences, mappings, paths, dataclasses, None.

    Of a dataclass only the fields count that are not at their default, so that a field which a later version adds
    leaves the hashes of all that was made before it as they were. The price: a default must not change. One with a
    property `files` says by it what else it follows from: paths, each of which counts as `fingerprint_file` has it.

    Raises:
        LrcnError: such a file cannot be read.
    """
    return hashlib.sha256(json.dumps(parts, default=_plain, sort_keys=True).encode()).hexdigest()[:32]


def fingerprint_file(path: str | Path) -> str:
    """Changes whenever the file's name, size or modification time does; of a folder, whenever a file in it does.

    Raises:
        LrcnError: there is no such file.
    """
    path = Path(path)
    try:
        members = sorted(path.iterdir()) if path.is_dir() else [path]
        stats = [(str(member.resolve()), member.stat()) for member in members]
    except OSError as error:
        raise LrcnError(f"Cannot read {path}: {error.strerror or error}.") from error
    return fingerprint([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        pairs = ((item, getattr(value, item.name)) for item in fields(value))
        plain = {type(value).__name__: {item.name: given for item, given in pairs if given != _default(item)}}
        files = [fingerprint_file(path) for path in getattr(value, "files", ())]
        return plain | {"files": files} if files else plain
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no fingerprint")


def _default(item: "Field[Any]") -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()
