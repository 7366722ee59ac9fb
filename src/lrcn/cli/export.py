"""`lrcn export`: a model as graphs for other engines, checked on real frames before they are left behind."""

from pathlib import Path

from lrcn.cli.call import Call, folder_to_write, whole
from lrcn.cli.status import Status
from lrcn.errors import LrcnError

_FORMS = ("onnx", "openvino", "pt2")


def export(call: Call) -> int:
    """Writes a model's graphs."""
    call.example(
        "lrcn export --model camera-moves --to onnx --out exported",
        "lrcn export --model runs/mine/model --to openvino --int8 --calibrate clips.jsonl --out exported",
    )
    call.add_argument(
        "--model", required=True, help="a name of `lrcn models`, a folder, or hf-hub:owner/name"
    )
    call.add_argument("--to", choices=_FORMS, required=True, help="what the graphs are written in")
    call.add_argument("--out", metavar="DIR", type=Path, required=True, help="the exported folder")
    call.add_argument(
        "--batch",
        metavar="N",
        type=whole,
        help="fix the number of streams, clips or sentences that go through at a time (default: any)",
    )
    call.add_argument(
        "--int8", action="store_true", help="also write 8-bit graphs, and measure what they cost in accuracy"
    )
    call.add_argument(
        "--calibrate",
        nargs="+",
        metavar="CLIPS",
        default=[],
        help="for --int8: videos (photos for what captions them), folders of them, one manifest, whose clips in "
        "train are calibrated on and whose others are measured on, or the recipe of a model that was trained on clips "
        "it makes, whose dev clips are measured on (default: the film that ships)",
    )
    call.add_argument(
        "--triton",
        action="store_true",
        help="also write a model repository for NVIDIA Triton, which keeps the state",
    )
    args = call.parse()
    folder_to_write(args.out, "--out")
    if args.calibrate and not args.int8:
        raise LrcnError("export: --calibrate is for 8-bit graphs: add --int8, or leave it out.")
    if args.triton and (args.to != "onnx" or args.batch is not None):
        raise LrcnError("export: --triton takes an ONNX graph of any batch: give --to onnx and no --batch.")
    with Status() as status:
        from lrcn.export.folder import export as write
        from lrcn.models.zoo import model_folder

        result = write(
            model_folder(args.model),
            args.to,
            args.out,
            batch=args.batch,
            int8=args.int8,
            calibrate=args.calibrate,
            triton=args.triton,
            tell=status.show,
        )
    for line in result.lines():
        print(line)
    return 0
