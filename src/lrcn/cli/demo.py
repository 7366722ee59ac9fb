"""`lrcn demo`."""

from pathlib import Path

from lrcn.cli.call import Call, folder_to_write


def demo(call: Call) -> int:
    """Runs the models that ship on sample clips, and writes a report."""
    call.example("lrcn demo", "lrcn demo --out report")
    call.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("report"), help="where (default: report)"
    )
    call.add_device()
    args = call.parse()
    folder_to_write(args.out, "--out")

    from lrcn.demo import demo

    demo(args.out, lambda line: print(line, flush=True), device=args.device)
    return 0
