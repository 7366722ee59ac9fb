"""`lrcn data import`, `check` and `cache`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lrcn.cli.call import JSON_OR_TABLE, Call, existing, folder_to_write, rate, share, whole
from lrcn.cli.status import Status
from lrcn.errors import LrcnError
from lrcn.text import one_line

if TYPE_CHECKING:
    from lrcn.data.manifest import Row
    from lrcn.data.sampling import Sampling
    from lrcn.data.transforms import Preprocess


def rows_of(data: Path) -> tuple[list[Row], list[str]]:
    """The rows of a manifest or of a folder of class folders, and sentences on how they were found.

    Raises:
        LrcnError: there is no such thing, or it holds no clips.
    """
    existing(data, "a manifest, or a folder of class folders")
    if data.is_dir():
        from lrcn.data.importers import import_data

        return import_data("folder", data)
    from lrcn.data.manifest import read_manifest

    return read_manifest(data), []


def import_data(call: Call) -> int:
    """Writes the manifest of a data set."""
    call.example(
        "lrcn data import folder clips/ -o clips.jsonl",
        "lrcn data import folder clips/ -o clips.jsonl --split",
    )
    call.add_argument(
        "name", metavar="NAME", help="the layout the data set comes in; `folder`: one folder a class"
    )
    call.add_argument("source", metavar="SOURCE", help="where it is")
    call.add_argument(
        "-o", "--out", metavar="MANIFEST", type=Path, required=True, help="a .jsonl or .csv file"
    )
    call.add_argument(
        "--split",
        action="store_true",
        help="part clips without splits into train, dev and test, groups kept whole",
    )
    call.add_argument("--seed", type=int, default=0, help="another seed, another split (default: 0)")
    args = call.parse()
    if args.out.is_dir():
        raise LrcnError(
            f"-o {args.out} is a folder; give the manifest's name in it, such as {args.out / 'clips.jsonl'}."
        )

    from lrcn.data.importers import import_data as read
    from lrcn.data.manifest import write_manifest

    rows, sentences = read(args.name, args.source)
    if args.split:
        rows, said = _with_splits(rows, args.seed)
        sentences += said
    write_manifest(rows, args.out)
    print("\n".join([*sentences, f"Wrote {args.out}."]))
    return 0


def check(call: Call) -> int:
    """Checks the clips of a manifest; the exit code is 1 when they need mending."""
    call.example("lrcn data check clips.jsonl", "lrcn data check clips.jsonl --no-decode --format json")
    call.add_argument("data", metavar="MANIFEST", type=Path, help="a manifest, or a folder of class folders")
    call.add_argument(
        "--no-decode",
        action="store_true",
        help="only open the files instead of reading every frame: quick, finds less",
    )
    call.add_argument(
        "--min-frames", type=whole, default=2, metavar="N", help="report clips of fewer frames (default: 2)"
    )
    call.add_argument(
        "--format", choices=JSON_OR_TABLE, default="table", help="what is written (default: table)"
    )
    args = call.parse()
    rows, _ = rows_of(args.data)

    from lrcn.data.check import check_manifest

    with Status() as status:
        report = check_manifest(
            rows,
            decode=not args.no_decode,
            min_frames=args.min_frames,
            progress=lambda done, total: status.show("checking", done, total),
        )
    print(report.to_json() if args.format == "json" else "\n".join(report.lines()))
    return 0 if report.ok else 1


def cache(call: Call) -> int:
    """Keeps the small frames of every clip, so that they are decoded once; goes on where it was stopped."""
    call.example("lrcn data cache clips.jsonl --model camera-moves --to frames/")
    call.description = (
        f"{call.description}\nThe frames are kept at the rate and size that a model reads (--model), or that "
        "you say (--size, --fit, --rate).\nA clip that is there already is not decoded again; one of more than "
        "512 MiB of small frames is not kept."
    )
    call.add_argument("data", metavar="MANIFEST", type=Path, help="a manifest, or a folder of class folders")
    call.add_argument("--to", metavar="DIR", type=Path, required=True, help="where the frames are kept")
    call.add_argument("--model", help="take rate, size and fit from this model")
    call.add_argument("--size", type=whole, metavar="PIXELS", help="side of the small frames")
    call.add_argument("--fit", choices=("squash", "crop", "letterbox"), help="how a frame is made square")
    call.add_argument("--rate", type=rate, metavar="FPS", help="frames a second (default: the source's own)")
    call.add_argument(
        "--crop",
        type=share,
        default=1.0,
        metavar="SHARE",
        help="smallest share of a frame that training's random crop will keep (augment.scale): frames are kept "
        "that much larger",
    )
    args = call.parse()
    if args.model is None and args.size is None:
        call.error("give --model, or --size")
    folder_to_write(args.to, "--to")
    rows, _ = rows_of(args.data)
    with Status() as status:
        status.show("loading")
        preprocess, sampling = _model_input(args.model)
        preprocess = replace(preprocess, size=args.size or preprocess.size, fit=args.fit or preprocess.fit)
        sampling = sampling if args.rate is None else replace(sampling, rate=args.rate)
        failed = _fill(rows, preprocess, sampling, args.crop, args.to, status)
    print(f"The frames of {len(rows) - failed} of {len(rows)} clips are in {args.to}.")
    return 1 if failed else 0


def _with_splits(rows: list[Row], seed: int) -> tuple[list[Row], list[str]]:
    from lrcn.data.splits import guess_groups, split_rows

    if any(row.split is not None for row in rows):
        return rows, ["The data set's own splits were left as they are."]
    rows, guessed = guess_groups(rows)
    rows, done = split_rows(rows, seed=seed)
    return rows, [guessed, done]


def _model_input(model: str | None) -> tuple[Preprocess, Sampling]:
    from lrcn.data.sampling import Sampling
    from lrcn.data.transforms import Preprocess

    if model is None:
        return Preprocess(), Sampling()
    from lrcn.models.zoo import load_model

    loaded = load_model(model, "cpu")
    return loaded.preprocess, loaded.sampling


def _fill(
    rows: list[Row], preprocess: Preprocess, sampling: Sampling, crop: float, folder: Path, status: Status
) -> int:
    """Decodes what is not kept yet; returns how many clips could not be read, each told on its own line."""
    from lrcn.data.datasets import ClipDataset
    from lrcn.data.sampling import Sampling
    from lrcn.data.transforms import Augment, Preprocess
    from lrcn.data.video import VideoError

    # An evaluation item decodes the whole clip into the cache; of what is kept already, one frame is read.
    # The larger frames that training's random crop asks for are had by giving their size as the size itself.
    size = preprocess.training_resize(Augment(scale=crop) if crop < 1 else None).size
    clips = ClipDataset(
        [replace(row, label="any") for row in rows],
        ["any"],
        Sampling(rate=sampling.rate, frames=1, spread="uniform"),
        Preprocess(size, preprocess.fit),
        train=False,
        frame_cache=folder,
    )
    failed = 0
    for index in range(len(rows)):
        status.show("decoding", index, len(rows))
        try:
            clips.item(index, 0)
        except VideoError as error:
            failed += 1
            status.say(f"lrcn: {one_line(str(error))}")
    return failed
