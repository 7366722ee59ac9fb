"""`lrcn models fuse`: several model folders as one, with weights that are given or tuned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrcn.cli.call import Call, folder_to_write
from lrcn.cli.data import rows_of
from lrcn.cli.learning import rows_of_split
from lrcn.cli.status import Status
from lrcn.errors import LrcnError
from lrcn.text import one_line

if TYPE_CHECKING:
    from lrcn.data.manifest import Row


def fuse(call: Call) -> int:
    """Makes one model of several."""
    call.example(
        "lrcn models fuse runs/rgb/model runs/flow/model --weights 1/3 --out models/two-stream",
        "lrcn models fuse runs/rgb/model runs/flow/model --tune clips.jsonl --out models/two-stream",
    )
    call.add_argument(
        "models", nargs="+", metavar="MODEL", help="names of `lrcn models`, folders, or hf-hub:owner/name"
    )
    call.add_argument(
        "--weights",
        metavar="P",
        help="1/3 weighs the first of two by 1/3, or 0.5,0.3,0.2: one for each (default: even)",
    )
    call.add_argument(
        "--tune",
        metavar="MANIFEST|FOLDER",
        type=Path,
        help="take the weights under which most of its clips are right",
    )
    call.add_argument(
        "--split", help="which split to tune on (default: dev where the data have splits, else all clips)"
    )
    call.add_device()
    call.add_argument("--out", metavar="DIR", type=Path, required=True, help="the model folder")
    args = call.parse()
    if args.weights is not None and args.tune is not None:
        raise LrcnError("models fuse: give either --weights or --tune.")
    if len(args.models) < 2:
        raise LrcnError("models fuse: give two or more models.")
    folder_to_write(args.out, "--out")
    rows, where = _rows_to_tune_on(args.tune, args.split) if args.tune is not None else ([], "")

    from lrcn.models.fusion import member_names, read_weights, save_fused
    from lrcn.models.zoo import model_folder

    folders = [model_folder(model) for model in args.models]
    members = dict(zip(member_names(folders), folders, strict=True))
    tuned: dict[str, Any] = {}
    how = "chosen by hand"
    if args.tune is not None:
        weights, tuned = _tuned(members, rows, args.device)
        how = f"tuned on {where[0].lower()}{where[1:-1]}, so that the numbers there flatter"
    elif args.weights is not None:
        weights = read_weights(args.weights, len(members))
    else:
        weights, how = (1 / len(members),) * len(members), "even"
    shares = ", ".join(f"{weight:.3g} {name}" for name, weight in zip(members, weights, strict=True))
    card = f"# {args.out.name}\n\nThe probabilities of several models added up: {shares}. The weights are {how}.\n"
    save_fused(args.out, members, weights, metrics={"tuned": tuned} if tuned else {}, card=card)
    print(f"Wrote {args.out}: {shares}.")
    return 1 if tuned.get("left_out") else 0


def _rows_to_tune_on(data: Path, split: str | None) -> tuple[list[Row], str]:
    rows = rows_of(data)[0]
    if split is None and any(row.split for row in rows):
        split = "dev"
    if split == "test":
        raise LrcnError("models fuse: what is tuned on the test split says nothing there: give --split dev.")
    return rows_of_split(rows, split, data)


def _tuned(
    members: dict[str, Path], rows: list[Row], device: str
) -> tuple[tuple[float, ...], dict[str, Any]]:
    """The weights, and what was measured with them."""
    with Status() as status:
        status.show("loading")
        from lrcn.evaluate.tuning import tune
        from lrcn.models.folder import load_folder
        from lrcn.models.zoo import chosen_device

        models = {name: load_folder(folder, chosen_device(device)) for name, folder in members.items()}
        return tune(
            models,
            rows,
            progress=lambda done, total: status.show("tuning", done, total),
            report=lambda sentence: status.say(f"lrcn: {one_line(sentence)}"),
        )
