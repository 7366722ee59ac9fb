"""`lrcn data import`, `check` and `cache`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lrcn.cli.call import Call, existing, folder_to_write, rate, share, whole
from lrcn.cli.status import Status
from lrcn.errors import LrcnError
from lrcn.text import one_line

if TYPE_CHECKING:
    from lrcn.data.manifest import Row
    from lrcn.data.transforms import Augment, Preprocess

# What only some data sets have a use for is passed on where it is given.
_IMPORTERS_OPTIONS = ("split_number", "lists", "allow_missing", "allow_leakage")


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
    from lrcn.data.importers import IMPORTERS
    from lrcn.data.importers import import_data as read

    call.example(
        "lrcn data import folder clips/ -o clips.jsonl",
        "lrcn data import folder clips/ -o clips.jsonl --split",
        "lrcn data import ucf101 UCF-101/ --lists ucfTrainTestlist/ --split-number 2 --dev 0.1 -o ucf101-2.jsonl",
    )
    call.add_argument(
        "name",
        metavar="NAME",
        help=f"the layout the data set comes in, told in docs/data.md: {', '.join(IMPORTERS)}",
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
    call.add_argument(
        "--dev", type=share, metavar="SHARE", help="take this share of train as dev, groups kept whole"
    )
    call.add_argument("--seed", type=int, default=0, help="another seed, another split (default: 0)")
    call.add_argument(
        "--split-number", type=whole, metavar="N", help="which of several official splits (default: 1)"
    )
    call.add_argument(
        "--lists", type=Path, metavar="DIR", help="where the official lists are (default: in or below SOURCE)"
    )
    call.add_argument(
        "--allow-missing", action="store_true", help="go on where the lists name clips that are not there"
    )
    call.add_argument(
        "--allow-leakage", action="store_true", help="go on where a group stands in more than one split"
    )
    args = call.parse()
    if args.out.is_dir():
        raise LrcnError(
            f"-o {args.out} is a folder; give the manifest's name in it, such as {args.out / 'clips.jsonl'}."
        )

    from lrcn.data.importers.lists import dev_from_train
    from lrcn.data.manifest import write_manifest

    options = {name: value for name in _IMPORTERS_OPTIONS if (value := getattr(args, name))}
    rows, sentences = read(args.name, args.source, **options)
    if args.split:
        rows, said = _with_splits(rows, args.seed)
        sentences += said
    if args.dev is not None:
        rows, sentence = dev_from_train(rows, args.dev, args.seed)
        sentences.append(sentence)
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
    call.add_format()
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
    call.example(
        "lrcn data cache clips.jsonl --model camera-moves --to frames/",
        "lrcn data cache clips.jsonl --recipe flow.yaml --to frames/",
    )
    call.description = (
        f"{call.description}\nThe frames are kept at the rate and size that a model reads (--model), that a recipe "
        "trains on (--recipe), or that you say (--size,\n--fit, --rate). Where the model or recipe reads images of "
        "motion, these are kept.\nA clip that is there already is not decoded again; one of more than 512 MiB of small "
        "frames is not kept."
    )
    call.add_argument("data", metavar="MANIFEST", type=Path, help="a manifest, or a folder of class folders")
    call.add_argument("--to", metavar="DIR", type=Path, required=True, help="where the frames are kept")
    call.add_argument("--model", help="take rate, size, fit and motion from this model")
    call.add_argument("--recipe", metavar="FILE", type=Path, help="take them, and the crop, from this recipe")
    call.add_argument("--size", type=whole, metavar="PIXELS", help="side of the small frames")
    call.add_argument("--fit", choices=("squash", "crop", "letterbox"), help="how a frame is made square")
    call.add_argument("--rate", type=rate, metavar="FPS", help="frames a second (default: the source's own)")
    call.add_argument(
        "--crop",
        type=share,
        metavar="SHARE",
        help="smallest share of a frame that training's random crop will keep (augment.scale): frames are kept "
        "that much larger (default: 1, or the recipe's)",
    )
    args = call.parse()
    if args.model is None and args.recipe is None and args.size is None:
        call.error("give --model, or --size")
    if args.model is not None and args.recipe is not None:
        call.error("give --model or --recipe, not both")
    folder_to_write(args.to, "--to")
    rows, _ = rows_of(args.data)
    with Status() as status:
        status.show("loading")
        preprocess, frame_rate, augment = _input_of(args.model, args.recipe)
        preprocess = replace(preprocess, size=args.size or preprocess.size, fit=args.fit or preprocess.fit)
        augment = augment if args.crop is None else replace(augment, scale=args.crop)
        failed = _fill(rows, preprocess, args.rate or frame_rate, augment, args.to, status)
    print(f"The frames of {len(rows) - failed} of {len(rows)} clips are in {args.to}.")
    return 1 if failed else 0


def _with_splits(rows: list[Row], seed: int) -> tuple[list[Row], list[str]]:
    from lrcn.data.splits import guess_groups, split_rows

    if any(row.split is not None for row in rows):
        return rows, ["The data set's own splits were left as they are."]
    rows, guessed = guess_groups(rows)
    rows, done = split_rows(rows, seed=seed)
    return rows, [guessed, done]


def _input_of(model: str | None, recipe: Path | None) -> tuple[Preprocess, float | None, Augment]:
    """How frames reach a network, how many a second, and what training changes in them."""
    from lrcn.data.transforms import Augment, Preprocess

    if recipe is not None:
        from lrcn.train.recipe import read_recipe

        read = read_recipe(recipe)
        return read.preprocess, read.sampling.rate, read.augment
    if model is not None:
        from lrcn.models.zoo import load_model

        loaded = load_model(model, "cpu")
        return loaded.preprocess, loaded.sampling.rate, Augment()
    return Preprocess(), None, Augment()


def _fill(
    rows: list[Row],
    preprocess: Preprocess,
    frame_rate: float | None,
    augment: Augment,
    folder: Path,
    status: Status,
) -> int:
    """Decodes what is not kept yet; returns how many clips could not be read, each told on its own line."""
    from lrcn.data.datasets import ClipDataset
    from lrcn.data.sampling import Sampling
    from lrcn.data.video import VideoError

    # What is not kept is decoded whole into the cache; of what is kept already, one frame is read.
    clips = ClipDataset(
        [replace(row, label="any") for row in rows],
        ["any"],
        Sampling(rate=frame_rate, frames=1, spread="uniform"),
        preprocess,
        augment,
        train=True,
        frame_cache=folder,
    )
    what = "decoding" if preprocess.motion.kind == "none" else "decoding and finding motion"
    failed = done = 0

    def show(share: float) -> None:
        status.show(what, done + share, len(rows))

    for done in range(len(rows)):
        show(0)
        try:
            clips.read_clip(done, 0, show)
        except VideoError as error:
            failed += 1
            status.say(f"lrcn: {one_line(str(error))}")
    return failed
