"""`lrcn bench`."""

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from lrcn.cli.call import Call
from lrcn.config import dotted_changes
from lrcn.errors import LrcnError


def bench(call: Call) -> int:
    """Measures speed on this machine."""
    call.example("lrcn bench flow", "lrcn bench decode --format json")
    call.description = f"{call.description} What a measurement lets you choose is given as --key value."
    call.add_argument(
        "what", metavar="WHAT", help="what to measure; a name that is not known lists those that are"
    )
    call.add_format()
    args, settings = call.parse_with_settings()

    from lrcn.bench import BENCHES, run

    if args.what not in BENCHES:
        raise LrcnError(f"There is no bench {args.what!r}: give one of {', '.join(BENCHES)}.")
    options = dotted_changes(settings)
    _refuse_unknown(options, args.what, BENCHES[args.what])
    result = run(args.what, **options)
    if args.format == "json":
        print(json.dumps(result, ensure_ascii=False))
    else:
        print(_told(result["machine"]))
        print(_table(result["rows"]))
    return 0


def _refuse_unknown(options: Mapping[str, Any], what: str, function: Callable[..., Any]) -> None:
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in options:
        if name not in parameters:
            known = ", ".join(f"--{other.replace('_', '-')}" for other in parameters) or "none"
            raise LrcnError(f"--{name.replace('_', '-')} is no option of bench {what}: they are {known}.")


def _told(machine: Any) -> str:
    if isinstance(machine, Mapping):
        return ", ".join(f"{name} {value}" for name, value in machine.items())
    return str(machine)


def _table(rows: list[dict[str, Any]]) -> str:
    """A column per figure, in the order they first appear."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [columns, *([_cell(row.get(name)) for name in columns] for row in rows)]
    wide = [max(len(line[k]) for line in cells) for k in range(len(columns))]
    numeric = [any(isinstance(row.get(name), int | float) for row in rows) for name in columns]
    return "\n".join(
        "  ".join(
            f"{text:>{w}}" if right else f"{text:<{w}}"
            for text, w, right in zip(line, wide, numeric, strict=True)
        )
        for line in cells
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
