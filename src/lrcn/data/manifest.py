"""The one on-disk form of a data set: a row per clip or image, as JSON lines or as a CSV table."""

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from lrcn.data.media import is_url
from lrcn.errors import LrcnError
from lrcn.files import write_whole

__all__ = ["STANDARD_FIELDS", "Row", "is_url", "labels_of", "read_manifest", "write_manifest"]

STANDARD_FIELDS = ("path", "label", "captions", "split", "group", "start", "end", "id")

# `caption` is how a table with one sentence a row spells `captions`.
_RESERVED = frozenset((*STANDARD_FIELDS, "caption"))


@dataclass(frozen=True)
class Row:
    """One clip, or one image, of a data set.

    Attributes:
        path: a video file, an image, a folder of numbered frames, or a URL.
        label: the class, or None.
        captions: human sentences, or none.
        split: "train", "dev" or "test", or None when not yet split.
        group: the recording, person or source the clip was cut from.
        start: where the clip starts in the file, in seconds; None is the file's start.
        end: where it ends, in seconds; None is the file's end.
        id: a name for the clip that outlives its path.
        extra: every other field of the manifest, as it was read.
    """

    path: str
    label: str | None = None
    captions: tuple[str, ...] = ()
    split: str | None = None
    group: str | None = None
    start: float | None = None
    end: float | None = None
    id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        clash = sorted(_RESERVED & set(self.extra))
        if clash:
            raise ValueError(f"'{clash[0]}' is a field of its own and cannot stand in `extra`.")

    def field(self, name: str) -> Any:
        """Gives a standard or an extra field by its name; None when the row does not have it."""
        return getattr(self, name) if name in STANDARD_FIELDS else self.extra.get(name)


def labels_of(rows: Iterable[Row]) -> list[str]:
    """Gives the distinct labels, sorted; the position of a label in this list is its class number."""
    return sorted({row.label for row in rows if row.label is not None})


def read_manifest(path: str | Path) -> list[Row]:
    """Reads a manifest: a `.csv` file with a header, anything else as one JSON object a line.

    Relative paths are taken from the manifest's folder and given back absolute. In a CSV table an empty cell
    is an absent field, blanks around a cell are dropped, extra fields are text, several captions are a JSON
    list in the column `captions`, and one caption may stand plain in the column `caption`.

    Raises:
        LrcnError: the file cannot be read, holds no rows, or has a bad line (named by its number).
    """
    path = Path(path)
    text = _read_text(path)
    records = _csv_records(text, path) if _is_csv(path) else _json_records(text, path)
    folder = Path(os.path.abspath(path)).parent
    rows = [_row(record, folder, path, line) for line, record in records]
    if not rows:
        raise LrcnError(f"{path} holds no rows; write one line a clip, with at least its path.")
    return rows


def write_manifest(rows: Sequence[Row], path: str | Path) -> None:
    """Writes a manifest, whole or not at all: a table when `path` ends in `.csv`, else JSON lines.

    Paths below the manifest's folder are written relative to it, so the folder can be moved as one piece.
    CSV keeps text only: an extra field that is no text is written as JSON and read back as text.

    Raises:
        LrcnError: there are no rows, a field cannot be written in this form, or the disk refuses.
    """
    path = Path(path)
    if not rows:
        raise LrcnError(f"There are no rows to write to {path}; import a data set that holds clips.")
    folder = Path(os.path.abspath(path)).parent
    records = [_record(row, folder) for row in rows]
    write_whole(path, _csv_bytes(records, path) if _is_csv(path) else _json_bytes(records, path))


# ---- reading ----


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


def _read_text(path: Path) -> str:
    try:
        # utf-8-sig: spreadsheets put a byte-order mark in front of the first column's name.
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LrcnError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error
    except OSError as error:
        raise LrcnError(
            f"Cannot read the manifest {path}: {error.strerror or error}; check the path."
        ) from error


def _bad(path: Path, line: int, problem: str) -> NoReturn:
    raise LrcnError(f"{path} line {line}: {problem}")


def _json_records(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    # Not splitlines(): a caption may hold a line or paragraph separator that JSON does not escape.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            _bad(path, number, f"this is not JSON ({error}); write one JSON object a line.")
        if not isinstance(record, dict):
            _bad(
                path,
                number,
                f"this is {_shown(record)}; write a JSON object such as "
                '{"path": "a.mp4", "label": "wave"}.',
            )
        yield number, record


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _csv_records(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    header: list[str] | None = None
    line = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            _bad(path, line, f"this is not CSV ({error}); check its quotes.")
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            if header is None:
                header = _csv_header(cells, path, line)
            else:
                yield line, _csv_record(header, cells, path, line)
        line = reader.line_num + 1


def _delimiter(text: str) -> str:
    """Tells the separator from the header: in many countries spreadsheets write `;` between cells."""
    for separator in ",;\t":
        try:
            header = next(csv.reader(io.StringIO(text.lstrip(), newline=""), delimiter=separator), [])
        except csv.Error:
            continue
        if "path" in [cell.strip() for cell in header]:
            return separator
    return ","


def _csv_header(cells: list[str], path: Path, line: int) -> list[str]:
    header = [cell.strip() for cell in cells]
    if "path" not in header:
        _bad(
            path,
            line,
            f"the column 'path' is missing (columns here: {', '.join(header)}); add it to the header.",
        )
    for name in header:
        if not name:
            _bad(path, line, "a column has no name; name it or remove it.")
        if header.count(name) > 1:
            _bad(path, line, f"the column '{name}' stands twice; keep one.")
    return header


def _csv_record(header: list[str], cells: list[str], path: Path, line: int) -> dict[str, Any]:
    if len(cells) != len(header):
        _bad(
            path,
            line,
            f"{len(cells)} cells under {len(header)} columns; put cells that hold a comma in quotes.",
        )
    record: dict[str, Any] = {
        name: cell.strip() for name, cell in zip(header, cells, strict=True) if cell.strip()
    }
    for name in ("start", "end"):
        if name in record:
            try:
                record[name] = float(record[name])
            except ValueError:
                _bad(path, line, f"'{name}' must be a number of seconds, not {_shown(record[name])}.")
    if "captions" in record:
        try:
            record["captions"] = json.loads(record["captions"])
        except (ValueError, RecursionError):
            _bad(
                path,
                line,
                "'captions' must be a JSON list of texts; name the column 'caption' for one plain text.",
            )
    return record


def _row(record: dict[str, Any], folder: Path, path: Path, line: int) -> Row:
    """Checks one record; `path` and `line` are only for the error's sentence."""
    # A null says what an absent field says.
    given = {name: value for name, value in record.items() if value is not None or name not in _RESERVED}
    where = _text(given, "path", path, line)
    if where is None:
        _bad(
            path,
            line,
            "the field 'path' is missing; give the clip's file, relative to the manifest or absolute.",
        )
    if "\0" in where:
        _bad(path, line, "'path' holds a zero byte; give a file's name.")
    start, end = _seconds(given, "start", path, line), _seconds(given, "end", path, line)
    if end is not None and end <= (start or 0.0):
        _bad(
            path,
            line,
            f"the clip ends at {end:g} s, not after its start at {start or 0.0:g} s; mend 'start' or 'end'.",
        )
    return Row(
        path=where if is_url(where) else os.path.abspath(folder / where),
        label=_text(given, "label", path, line),
        captions=_captions(given, path, line),
        split=_text(given, "split", path, line),
        group=_name(given, "group", path, line),
        start=start,
        end=end,
        id=_name(given, "id", path, line),
        extra={name: value for name, value in given.items() if name not in _RESERVED},
    )


def _text(record: dict[str, Any], name: str, path: Path, line: int) -> str | None:
    value = record.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        _bad(path, line, f"'{name}' must be text in quotes, not {_shown(value)}.")
    if not value.strip():
        _bad(path, line, f"'{name}' is empty; fill it in or leave the field out.")
    return value


def _name(record: dict[str, Any], name: str, path: Path, line: int) -> str | None:
    """Like `_text`, and a whole number counts as its digits: subjects and takes are often only numbered."""
    value = record.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _text(record, name, path, line)


def _seconds(record: dict[str, Any], name: str, path: Path, line: int) -> float | None:
    value = record.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        _bad(path, line, f"'{name}' must be a number of seconds, not {_shown(value)}.")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds) or seconds < 0:
        _bad(path, line, f"'{name}' must be a number of seconds from 0 up, not {_shown(value)}.")
    return seconds


def _captions(record: dict[str, Any], path: Path, line: int) -> tuple[str, ...]:
    if "caption" in record and "captions" in record:
        _bad(path, line, "both 'caption' and 'captions' are given; keep one.")
    value = record.get("captions", [record["caption"]] if "caption" in record else [])
    if not isinstance(value, list) or not all(
        isinstance(caption, str) and caption.strip() for caption in value
    ):
        _bad(path, line, f"'captions' must be a list of texts, not {_shown(value)}.")
    return tuple(value)


def _shown(value: Any) -> str:
    """Gives a value as the file spells it, cut to a length that fits a sentence."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."


# ---- writing ----


def _record(row: Row, folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = {name: getattr(row, name) for name in STANDARD_FIELDS}
    record["path"] = _written_path(row.path, folder)
    record["captions"] = list(row.captions) or None
    return {name: value for name, value in record.items() if value is not None} | dict(row.extra)


def _written_path(path: str, folder: Path) -> str:
    if is_url(path):
        return path
    absolute = Path(os.path.abspath(path))
    return (absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute).as_posix()


def _json_bytes(records: list[dict[str, Any]], path: Path) -> bytes:
    return b"".join(_json_line(record, path) + b"\n" for record in records)


def _json_line(record: dict[str, Any], path: Path) -> bytes:
    try:
        try:
            return json.dumps(record, ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError:
            # A file name that is not UTF-8 survives as escapes.
            return json.dumps(record, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise _not_json(record, path, error) from error


def _csv_bytes(records: list[dict[str, Any]], path: Path) -> bytes:
    used = {name for record in records for name in record}
    header = [name for name in STANDARD_FIELDS if name in used] + sorted(used - set(STANDARD_FIELDS))
    table = [[_cell(record, name, path) for name in header] for record in records]
    # The writer leaves a carriage return without quotes, and every reader then sees a new line there.
    returns = any("\r" in cell for cells in (header, *table) for cell in cells)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL)
    writer.writerows([header, *table])
    try:
        return buffer.getvalue().encode()
    except UnicodeEncodeError as error:
        raise LrcnError(f"A name to write to {path} is not UTF-8; write a .jsonl file instead.") from error


def _cell(record: dict[str, Any], name: str, path: Path) -> str:
    value = record.get(name, "")
    if value is None or isinstance(value, str):
        return value or ""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise _not_json(record, path, error) from error


def _not_json(record: dict[str, Any], path: Path, error: Exception) -> LrcnError:
    return LrcnError(f"Cannot write {record['path']} to {path}: an extra field is not JSON ({error}).")
