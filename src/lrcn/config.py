"""Plain dataclasses <-> plain values (YAML, JSON).

A bad value is one sentence that names the field, the value and the fix.
"""

import types
import typing
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import yaml

from lrcn.errors import LrcnError

Config = TypeVar("Config")


def from_values(kind: type[Config], values: Any, where: str = "") -> Config:
    """Builds a dataclass from nested mappings, checking every name and type.

    Args:
        kind: a dataclass; fields may be dataclasses, literals, optionals, tuples, lists, dicts and scalars.
        values: what YAML or JSON gave.
        where: the dotted name of the place, for messages.

    Raises:
        LrcnError: an unknown or missing field, or a value of the wrong type.
    """
    if not isinstance(values, Mapping):
        raise LrcnError(f"{where or kind.__name__} is {values!r}: give names and values below it.")
    known = {item.name: item for item in fields(typing.cast(Any, kind))}
    hints = typing.get_type_hints(kind)
    for name in values:
        if name not in known:
            raise LrcnError(f"{_dotted(where, name)} is not a known setting: {_suggestion(name, known)}")
    given = {name: _value(hints[name], value, _dotted(where, name)) for name, value in values.items()}
    for name, item in known.items():
        if name not in given and not _has_default(item):
            raise LrcnError(f"{_dotted(where, name)} is missing: give it a value.")
    return kind(**given)


def to_values(config: Any) -> Any:
    """The inverse of `from_values`: only mappings, lists and scalars."""
    if is_dataclass(config):
        return {item.name: to_values(getattr(config, item.name)) for item in fields(config)}
    if isinstance(config, Mapping):
        return {name: to_values(value) for name, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [to_values(value) for value in config]
    return str(config) if isinstance(config, Path) else config


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Reads a YAML mapping.

    Raises:
        LrcnError: the file cannot be read, is not YAML, or holds no mapping.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise LrcnError(f"Cannot read {path}: {error.strerror or error}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        place = "" if line is None else f", line {line + 1}"
        raise LrcnError(f"{path}{place} is not valid YAML; mend it there.") from error
    if not isinstance(values, dict):
        raise LrcnError(f"{path} holds no settings: write `name: value` lines.")
    return values


def read_layers(path: str | Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Reads a YAML mapping, laid over the one that its `base` names: a file, from the folder of this one.

    Args:
        path: the file.
        above: those that are built on it.

    Raises:
        LrcnError: a file cannot be read as `read_yaml` does, or is built on itself.
    """
    place = Path(path).resolve()
    if place in above:
        raise LrcnError(
            f"{above[-1]} is built on {path}, which is built on it: take base out of one of them."
        )
    values = read_yaml(path)
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise LrcnError(f"base of {path} is {base!r}: give the name of one file.")
    return merge(read_layers(Path(path).parent / base, (*above, place)), values)


def to_yaml(config: Any) -> str:
    """YAML text of a dataclass or mapping, in the order of its fields."""
    return yaml.safe_dump(to_values(config), sort_keys=False, allow_unicode=True, width=110)


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it; nested mappings are merged, anything else is replaced."""
    merged = dict(base)
    for name, value in changes.items():
        below = merged.get(name)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[name] = merge(typing.cast(Mapping[str, Any], below), value) if both else value
    return merged


def dotted_changes(pairs: Mapping[str, str]) -> dict[str, Any]:
    """{"train.lr": "0.01"} -> {"train": {"lr": 0.01}}: what a command line lays over a recipe."""
    changes: dict[str, Any] = {}
    for name, text in pairs.items():
        *path, last = name.replace("-", "_").split(".")
        value = {last: _read_text(name, text) if text else text}
        for part in reversed(path):
            value = {part: value}
        changes = merge(changes, value)
    return changes


def _read_text(name: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise LrcnError(
            f"{name} is {text!r}: write the value as in YAML, text with signs in quotes."
        ) from error


def _value(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    if hint is Any:
        return value
    if is_dataclass(hint):
        return (
            value
            if isinstance(value, typing.cast(type, hint))
            else from_values(typing.cast(Any, hint), value, where)
        )
    if origin in (Union, types.UnionType):
        return _any_of(get_args(hint), value, where)
    if origin is Literal:
        if value not in get_args(hint):
            choices = ", ".join(map(str, get_args(hint)))
            raise LrcnError(f"{where} is {value!r}: choose one of {choices}.")
        return value
    if origin in (tuple, list):
        return _sequence(origin, get_args(hint), value, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise LrcnError(f"{where} is {value!r}: give names and values below it.")
        return {
            str(name): _value(get_args(hint)[1], below, f"{where}.{name}") for name, below in value.items()
        }
    return _scalar(hint, value, where)


def _any_of(hints: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in hints:
        return None
    kinds = [hint for hint in hints if hint is not type(None)]
    for hint in kinds[:-1]:
        try:
            return _value(hint, value, where)
        except LrcnError:
            continue
    return _value(kinds[-1], value, where)


def _sequence(origin: Any, hints: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, (list, tuple)):
        raise LrcnError(f"{where} is {value!r}: give a list.")
    if origin is tuple and Ellipsis not in hints:
        if len(value) != len(hints):
            raise LrcnError(f"{where} is {list(value)}: give {len(hints)} values.")
        return tuple(
            _value(hint, item, f"{where}[{i}]")
            for i, (hint, item) in enumerate(zip(hints, value, strict=True))
        )
    return origin(_value(hints[0], item, f"{where}[{i}]") for i, item in enumerate(value))


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, (str, int)) and not isinstance(value, bool):
        # YAML reads 1e-3 as text: it wants a dot in the number.
        with suppress(ValueError, OverflowError):
            return _scalar(hint, float(value), where)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool) or value != value:
        names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
        raise LrcnError(f"{where} is {value!r}: give {names.get(hint, hint.__name__)}.")
    return value


def _dotted(where: str, name: Any) -> str:
    return f"{where}.{name}" if where else str(name)


def _has_default(item: "Field[Any]") -> bool:
    return item.default is not MISSING or item.default_factory is not MISSING


def _suggestion(name: Any, known: Mapping[str, Any]) -> str:
    close = get_close_matches(str(name), known, n=1)
    return f"did you mean {close[0]}?" if close else f"known here are {', '.join(known)}."
