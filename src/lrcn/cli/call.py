"""One call of a verb: its options, its help, and mistakes told in one sentence."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from lrcn.errors import LrcnError

JSON_OR_TABLE = ("table", "json")


class Call(argparse.ArgumentParser):
    """The arguments after a verb; its function says which there may be, then calls `parse`.

    Args:
        verb: as in the table of verbs.
        does: what it does, in a few words.
        arguments: what followed the verb.
        debug: whether tracebacks are wanted.
    """

    def __init__(self, verb: str, does: str, arguments: Sequence[str], *, debug: bool = False) -> None:
        super().__init__(
            prog=f"lrcn {verb}",
            description=f"{does[0].upper()}{does[1:]}.",
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.arguments = list(arguments)
        self.debug = debug
        self.examples: tuple[str, ...] = ()
        self.add_argument("--debug", action="store_true", help="show where an error comes from")

    def example(self, *commands: str) -> None:
        """Puts command lines at the top of the help."""
        self.examples += commands

    # ---- options that several verbs have ----

    def add_device(self) -> None:
        """`--device`, where networks run."""
        self.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")

    def add_recognizer(self) -> None:
        """`--model`, which says what happens in videos, and `--device`."""
        self.add_argument(
            "--model", default="camera-moves", help="a name of `lrcn models`, a folder, or hf-hub:owner/name"
        )
        self.add_device()

    def add_threads(self) -> None:
        """`--threads`, for networks that answer while others wait: see `lrcn.threads`."""
        self.add_argument(
            "--threads",
            type=whole,
            default=1,
            metavar="N",
            help="threads that compute one frame (default: 1, which other programs hold up least)",
        )

    def add_format(self, choices: Sequence[str] = JSON_OR_TABLE) -> None:
        """`--format`, in which the answer is written; a table unless asked otherwise."""
        self.add_argument(
            "--format", choices=choices, default="table", help="what is written (default: table)"
        )

    def add_span(self) -> None:
        """`--start` and `--end`, between which videos are read."""
        self.add_argument(
            "--start", type=seconds, default=0.0, metavar="S", help="seconds into each video to begin at"
        )
        self.add_argument("--end", type=seconds, metavar="S", help="seconds into each video to stop at")

    # ---- what was given ----

    def parse(self) -> Any:
        """The options' values.

        Raises:
            LrcnError: the call is wrong.
            SystemExit: the help was asked for, and was given.
        """
        return self.parse_args(self.arguments)

    def parse_with_settings(self) -> tuple[Any, dict[str, str]]:
        """The options' values, and every other `--key value` or `--key=value` in the order given.

        A key without a value is "true".
        """
        own, settings = self._separated()
        return self.parse_args(own), settings

    def format_help(self) -> str:
        """The examples, then the usual help."""
        examples = "\n".join(f"  {command}" for command in self.examples)
        return f"Example{'s' if len(self.examples) > 1 else ''}:\n{examples}\n\n{super().format_help()}"

    def error(self, message: str) -> NoReturn:
        """Raises a wrong call as the one sentence it is."""
        raise LrcnError(f"{self.prog[5:]}: {message}; see {self.prog} --help.")

    def _separated(self) -> tuple[list[str], dict[str, str]]:
        """Parts this verb's own arguments from settings.

        By hand, since argparse would take the value of a name it does not know for an argument of the verb.
        """
        own: list[str] = []
        settings: dict[str, str] = {}
        rest = list(self.arguments)
        while rest:
            text = rest.pop(0)
            name, equals, value = text.partition("=")
            known = self._option_string_actions.get(name)
            if not name.startswith("--") or name == "--" or known is not None:
                own.append(text)
                if known is not None and known.nargs != 0 and not equals and rest:
                    own.append(rest.pop(0))
            elif equals:
                settings[name[2:]] = value
            else:
                settings[name[2:]] = rest.pop(0) if rest and not rest[0].startswith("--") else "true"
        return own, settings


def seconds(text: str) -> float:
    """A number of seconds from 0 up."""
    return _number(text, "a number of seconds from 0 up", math.inf)


def share(text: str) -> float:
    """A number from 0 to 1."""
    return _number(text, "a number from 0 to 1", 1.0)


def rate(text: str) -> float:
    """A number above 0."""
    value = _number(text, "a number above 0", math.inf)
    if not value:
        raise argparse.ArgumentTypeError("0 is not a number above 0")
    return value


def whole(text: str) -> int:
    """A whole number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def existing(path: Path, what: str) -> Path:
    """The path, if there is such a file or folder.

    Raises:
        LrcnError: there is none.
    """
    if not path.exists():
        raise LrcnError(f"{path} does not exist: give {what}.")
    return path


def folder_to_write(path: Path, option: str) -> Path:
    """The path, if a folder is or can be made there: told before the work rather than after it.

    Raises:
        LrcnError: something else is in the way.
    """
    for place in (path, *path.parents):
        if place.exists():
            if not place.is_dir():
                raise LrcnError(f"{option} {path}: {place} is a file, not a folder; give another place.")
            break
    return path


def file_to_write(path: Path, option: str) -> Path:
    """The path, if a file is or can be made there: told before the work rather than after it.

    Raises:
        LrcnError: a folder is there, or something is in the way of its folder.
    """
    if path.is_dir():
        raise LrcnError(f"{option} {path} is a folder: give a file's name.")
    folder_to_write(path.absolute().parent, option)
    return path


def _number(text: str, what: str, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most or value == math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value
