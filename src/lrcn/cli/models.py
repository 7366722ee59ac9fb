"""`lrcn models`: read from the model folders as they lie, without loading a network; and `lrcn models import`."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from lrcn.cli.call import Call, folder_to_write
from lrcn.errors import LrcnError


def models(call: Call) -> int:
    """Lists the models that ship."""
    call.example("lrcn models", "lrcn models --format json")
    call.add_format()
    args = call.parse()
    found = [_entry(folder.parent) for folder in sorted(_shipped().glob("*/config.json"))]
    if args.format == "json":
        print(json.dumps(found, ensure_ascii=False))
    elif not found:
        print("No models ship with this version; give --model the path of a model folder.")
    else:
        print(_table(found))
    return 0


def import_model(call: Call) -> int:
    """Makes a model folder of a network that Caffe trained."""
    call.example("lrcn models import lrcn.caffemodel --labels labels.txt --out models/lrcn")
    call.add_argument(
        "file", metavar="FILE.caffemodel", type=Path, help="the paper's network, with or without an LSTM"
    )
    call.add_argument(
        "--labels",
        metavar="TXT",
        type=Path,
        required=True,
        help="names of the classes, one a line, in the order the network was trained with",
    )
    call.add_argument("--out", metavar="DIR", type=Path, required=True, help="the model folder")
    call.add_argument("--flow", action="store_true", help="the network reads flow images")
    args = call.parse()
    folder_to_write(args.out, "--out")
    labels = _lines(args.labels)

    from lrcn.models.caffemodel import import_caffemodel

    folder = import_caffemodel(args.file, labels, args.out, flow=args.flow)
    print(f"Wrote {folder}.")
    return 0


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise LrcnError(f"Cannot read --labels {path}: {reason}; give names, one a line.") from error
    return [line for line in lines if line]


def _shipped() -> Path:
    return Path(str(files("lrcn") / "zoo"))


def _entry(folder: Path) -> dict[str, Any]:
    labels = _json(folder / "labels.json")
    return {
        "name": folder.name,
        "does": _first_sentence(folder / "README.md"),
        "task": _in(_json(folder / "config.json"), "task"),
        "labels": labels if isinstance(labels, list) else [],
        "words": len(_in(_json(folder / "tokenizer.json"), "words") or ()),
        "bytes": sum(file.stat().st_size for file in folder.iterdir() if file.is_file()),
        "headline": _headline(_json(folder / "metrics.json")),
    }


def _table(entries: list[dict[str, Any]]) -> str:
    rows = [("NAME", "LABELS", "SIZE", "MEASURED", "WHAT IT DOES")]
    for entry in entries:
        size = f"{entry['bytes'] / 1e6:.1f} MB"
        knows = f"{entry['words']} words" if entry["words"] else str(len(entry["labels"]))
        rows.append((entry["name"], knows, size, entry["headline"] or "-", entry["does"]))
    wide = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([*(f"{row[c]:<{wide[c]}}" for c in range(4)), row[4]]).rstrip() for row in rows
    )


def _first_sentence(card: Path) -> str:
    """The first line of a model card that is neither a title nor front matter."""
    try:
        lines = [line.strip() for line in card.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError):
        return ""
    if lines and lines[0] == "---" and "---" in lines[1:]:
        lines = lines[lines.index("---", 1) + 1 :]
    return next((line for line in lines if line and line[0] not in "#!<[|"), "")


def _headline(metrics: Any) -> str | None:
    """The number a model is known by: what its metrics call `headline`, else accuracy on test, else on dev."""
    if not isinstance(metrics, dict):
        return None
    if "headline" in metrics:
        return str(metrics["headline"])
    for split in ("test", "dev"):
        measured = metrics.get(split)
        if isinstance(measured, dict) and isinstance(measured.get("accuracy"), float):
            return f"{split} accuracy {measured['accuracy']:.1%}"
    return None


def _in(values: Any, name: str) -> Any:
    return values.get(name) if isinstance(values, dict) else None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
