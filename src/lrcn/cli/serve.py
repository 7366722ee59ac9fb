"""`lrcn serve`: the models behind HTTP and WebSockets, and a page to try them."""

import argparse
import sys
from dataclasses import fields

from lrcn.cli.call import Call, rate, whole
from lrcn.cli.status import say
from lrcn.errors import LrcnError
from lrcn.serve.guard import LOOPBACK
from lrcn.serve.limits import Limits
from lrcn.threads import threads

_NONE = "none"


def serve(call: Call) -> int:
    """Serves until it is stopped."""
    call.example(
        "lrcn serve",
        "lrcn serve --index photos/ --port 8080",
        "lrcn serve --recognizer runs/my-clips/model --caption none",
    )
    call.description = (
        f"{call.description} Only this machine can reach it unless --host says otherwise. Ctrl-C ends it."
    )
    _add_options(call)
    limits = call.add_argument_group("limits")
    for one in fields(Limits):
        limits.add_argument(
            f"--{one.name.replace('_', '-')}",
            type=whole if one.type is int else rate,
            default=one.default,
            metavar="N" if one.type is int else "S",
            help=f"{one.metadata['tells']} (default: {one.default:g})"
            if isinstance(one.default, float)
            else f"{one.metadata['tells']} (default: {one.default})",
        )
    args = call.parse()

    from lrcn.serve.app import require_extra
    from lrcn.serve.models import Wanted, load_served, shipped_describer
    from lrcn.serve.server import serve as run

    require_extra()
    wanted = Wanted(
        recognizer=_model(args.recognizer),
        captioner=_model(args.caption),
        describer=shipped_describer() if args.describe is None else _model(args.describe),
        index=args.index,
        search=args.search,
        device=args.device,
    )
    if wanted == Wanted(None, None, None, None, wanted.search, wanted.device):
        raise LrcnError("serve: nothing is left to serve; give a model or an --index.")
    wanted.check()
    allowed = Limits(**{one.name: getattr(args, one.name) for one in fields(Limits)})
    if args.host not in (*LOOPBACK, "::1"):
        say(
            f"lrcn: whoever can reach {args.host} can use this server, and there are no passwords: put it behind a "
            "proxy that asks for one."
        )
    with threads(args.threads):
        stopped = run(
            lambda: load_served(wanted, allowed, lambda sentence: say(f"lrcn: {sentence}")),
            args.host,
            args.port,
            limits=allowed,
            hosts=args.allow_host,
            ready=_tell,
        )
    return 128 + stopped if stopped else 0


def _add_options(call: Call) -> None:
    call.add_argument(
        "--recognizer",
        default="camera-moves",
        metavar="MODEL",
        help="says what happens in videos and live; a name of `lrcn models`, a folder, hf-hub:owner/name, or none "
        "(default: camera-moves)",
    )
    call.add_argument(
        "--caption",
        default="captions-flickr8k",
        metavar="MODEL",
        help="writes about photos (default: captions-flickr8k)",
    )
    call.add_argument(
        "--describe", metavar="MODEL", help="writes about videos (default: the first that ships)"
    )
    call.add_argument("--index", metavar="FOLDER", help="photos that can be searched")
    call.add_argument(
        "--search",
        default="search-flickr8k",
        metavar="MODEL",
        help="searches them (default: search-flickr8k)",
    )
    call.add_device()
    call.add_threads()
    call.add_argument("--host", default="127.0.0.1", help="the address to listen at (default: 127.0.0.1)")
    call.add_argument("--port", type=_port, default=8000, help="0 is any that is free (default: 8000)")
    call.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name that the server goes by besides localhost and --host, such as one at a proxy; * for any; may be "
        "given more than once",
    )


def _model(name: str) -> str | None:
    return None if name == _NONE else name


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 65535")
    return int(text)


def _tell(address: str) -> None:
    print(f"Serving at {address} (Ctrl-C ends it)", flush=True, file=sys.stdout)
