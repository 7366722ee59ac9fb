"""The command line: a verb is one function, imported only when called, and one line in the table below.

Exit codes:
    0: all done.
    1: some inputs failed, each told on one line of standard error, and the others are done; or `data check`
        found faults.
    2: it could not be done: the call, the model, the data or the place to write to is wrong, told on one line.
    130: stopped from the keyboard. 141: whoever read standard output went away.
"""

import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from typing import NamedTuple

from lrcn.cli.call import Call
from lrcn.cli.status import release_stdout, say
from lrcn.errors import LrcnError
from lrcn.memory import keep_freed_memory
from lrcn.text import one_line


class Verb(NamedTuple):
    """Where a verb's function is, `module:name` below `lrcn.cli`, and what it does in a few words."""

    place: str
    does: str


VERBS = {
    "recognize": Verb("recognize:recognize", "say what happens in videos, and from when to when"),
    "caption": Verb("caption:caption", "write sentences about photos"),
    "describe": Verb("describe:describe", "write sentences about videos"),
    "search": Verb("search:search", "find photos in a folder, by words or by a photo"),
    "watch": Verb("watch:watch", "say what a camera, a stream or a film shows, while it shows it"),
    "serve": Verb("serve:serve", "serve the models to programs, and as a page to browsers"),
    "train": Verb("learning:train", "learn from a recipe, a manifest or a folder of class folders"),
    "eval": Verb("learning:evaluate", "measure a model on labelled clips"),
    "score": Verb("score:score", "score captions against human ones"),
    "explain": Verb("explain:explain", "show which frames of videos speak for a label, and where in them"),
    "models": Verb("models:models", "list the models that ship"),
    "models import": Verb("models:import_model", "make a model folder of a network that Caffe trained"),
    "models fuse": Verb("fusing:fuse", "make one model of several, such as one on RGB and one on flow"),
    "export": Verb("export:export", "write a model as graphs for ONNX Runtime, OpenVINO or torch"),
    "data import": Verb("data:import_data", "write the manifest of a data set"),
    "data check": Verb("data:check", "find what would spoil training or its numbers"),
    "data cache": Verb("data:cache", "decode the clips of a manifest once, for all later epochs"),
    "demo": Verb("demo:demo", "run the models on sample clips and write a report to look at"),
    "bench": Verb("bench:bench", "measure the speed of this machine"),
}

_EXAMPLES = """\
Examples:
  lrcn demo
  lrcn recognize clip.mp4
  lrcn train folder-of-class-folders"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code; what goes wrong is told on standard error, never raised.

    Args:
        argv: the arguments after `lrcn`; None for those of this process.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in given
    try:
        with warnings.catch_warnings():
            if not debug:
                # What libraries tell their own developers.
                warnings.simplefilter("ignore")
            code = _run([text for text in given if text != "--debug"], debug)
        sys.stdout.flush()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except BaseException as error:  # noqa: BLE001  no traceback reaches a user
        if debug:
            traceback.print_exc()
        return _told(error)
    return code


def _run(arguments: list[str], debug: bool) -> int:
    """Finds the verb and calls its function."""
    for words in (2, 1):
        name = " ".join(arguments[:words])
        if name in VERBS:
            module, _, function = VERBS[name].place.partition(":")
            call = Call(name, VERBS[name].does, arguments[words:], debug=debug)
            keep_freed_memory()
            code: int = getattr(import_module(f"lrcn.cli.{module}"), function)(call)
            return code
    first = arguments[0] if arguments else ""
    if first == "--version":
        from importlib.metadata import version

        print(f"lrcn {version('lrcn')}")
        return 0
    family = first if any(name.startswith(f"{first} ") for name in VERBS) else ""
    rest = arguments[1:] if family else arguments
    if not rest or rest[0] in ("-h", "--help"):
        # Asked for, help is the answer; given for want of a verb, it is a complaint.
        print(_help(family), file=sys.stdout if rest else sys.stderr)
        return 0 if rest else 2
    raise LrcnError(_unknown(family, rest[0]))


def _help(family: str) -> str:
    shown = {name: verb for name, verb in VERBS.items() if not family or name.split()[0] == family}
    wide = max(map(len, shown))
    verbs = "\n".join(f"  {name:<{wide}}  {verb.does}" for name, verb in shown.items())
    examples = "Example:\n  lrcn data import folder clips/ -o clips.jsonl" if family == "data" else _EXAMPLES
    usage = f"usage: lrcn {family + ' ' if family else ''}VERB [options]   (lrcn VERB --help tells them)"
    options = "Options:\n  --debug     show where an error comes from (before or after the verb)\n"
    options += "  --version   show the version\n  -h, --help  show this help"
    return f"{examples}\n\n{usage}\n\nVerbs:\n{verbs}\n\n{options}"


def _unknown(family: str, word: str) -> str:
    prefix = f"{family} " if family else ""
    names = {name.removeprefix(prefix).split()[0]: None for name in VERBS if name.startswith(prefix)}
    close = get_close_matches(word, names, n=1)
    hint = f"did you mean {prefix}{close[0]}?" if close else f"the verbs are {', '.join(names)}."
    return f"There is no verb {prefix}{word}: {hint}"


def _told(error: BaseException) -> int:
    """Says what went wrong on one line, and returns the exit code that goes with it."""
    if isinstance(error, BrokenPipeError):
        release_stdout()
        return 141
    if isinstance(error, KeyboardInterrupt):
        sentence, code = "stopped; every file that was finished is whole.", 130
    elif isinstance(error, LrcnError):
        sentence, code = str(error), 2
    elif isinstance(error, MemoryError):
        sentence, code = "there is not enough memory for this; close other programs or give less at once.", 2
    elif isinstance(error, OSError):
        what = f"{error.filename}: " if error.filename else "standard output: "
        sentence, code = f"{what}{error.strerror or error}; mend that and run again.", 2
    else:
        what = f"{type(error).__name__}: {error}".rstrip(": ")
        sentence = f"this is a bug in lrcn ({what}); run again with --debug and report what it shows."
        code = 2
    with suppress(OSError):
        say(f"lrcn: {one_line(sentence)}")
    if isinstance(error, OSError):
        release_stdout()
    return code
