"""What a stream remembers, as plain values and arrays: in a file, or on its way to another process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, numpy, safe_open

from lrcn.errors import LrcnError
from lrcn.files import write_whole

_VALUES = "lrcn.stream"


@dataclass(frozen=True, eq=False)
class StreamState:
    """A stream between two frames; made by `state` and taken up by `restore`, of a `Stream` or a `StreamPool`.

    Attributes:
        values: what JSON can say.
        arrays: all else, by name.
    """

    values: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    def write(self, path: str | Path) -> None:
        """Writes one safetensors file, the values as JSON in its header.

        Raises:
            LrcnError: it cannot be written.
        """
        arrays = {name: np.ascontiguousarray(value) for name, value in self.arrays.items()}
        write_whole(path, numpy.save(arrays, {_VALUES: json.dumps(self.values)}))

    @classmethod
    def read(cls, path: str | Path) -> StreamState:
        """Reads a file that `write` wrote.

        Raises:
            LrcnError: there is none, or it holds something else.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                values = json.loads((file.metadata() or {})[_VALUES])
                return cls(values, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except FileNotFoundError:
            raise LrcnError(f"There is no saved stream {path}: check the name.") from None
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise LrcnError(f"{path} holds no saved stream: name a file that one was saved to.") from error

    def below(self, prefix: str) -> dict[str, NDArray[Any]]:
        """The arrays whose names begin so, without that beginning."""
        return {
            name.removeprefix(prefix): value for name, value in self.arrays.items() if name.startswith(prefix)
        }


def prefixed(prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays under names that begin so: the inverse of `StreamState.below`."""
    return {prefix + name: value for name, value in arrays.items()}


def packed(value: Any, name: str) -> tuple[Any, dict[str, NDArray[Any]]]:
    """What a step of a preparation carries, as something JSON can say, and the arrays in it under names of their own.

    Raises:
        TypeError: it is neither None, a number, an array, nor a tuple of such.
    """
    if value is None or isinstance(value, int | float):
        return value, {}
    if isinstance(value, np.ndarray):
        return {"array": name}, {name: value}
    if not isinstance(value, tuple):
        raise TypeError(f"{type(value).__name__} cannot be saved")
    parts = [packed(part, f"{name}.{i}") for i, part in enumerate(value)]
    return [plain for plain, _ in parts], {key: array for _, arrays in parts for key, array in arrays.items()}


def unpacked(plain: Any, arrays: dict[str, NDArray[Any]], kinds: tuple[Any, ...] = ()) -> Any:
    """The inverse of `packed`; of `kinds`, the named tuple that a list stands for."""
    if isinstance(plain, dict):
        return arrays[plain["array"]]
    if not isinstance(plain, list):
        return plain
    parts = [unpacked(part, arrays) for part in plain]
    named = [kind for kind in kinds if len(getattr(kind, "_fields", ())) == len(parts)]
    return named[0](*parts) if named else tuple(parts)
