"""From a recipe with `task: describe-shots` to the model folder of a describer of shots, with its numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from lrcn.data.described_moves import (
    DERIVED,
    DESCRIBED_STYLE,
    DescribedMoves,
    clause_words,
    described_rows,
    finite_verbs,
)
from lrcn.data.manifest import Row
from lrcn.data.moves import MoveStyle
from lrcn.data.tokenizer import Tokenizer
from lrcn.data.transforms import Preprocess
from lrcn.errors import LrcnError
from lrcn.evaluate.described_moves import MovesInWords, moves_in_words
from lrcn.generate import Decoding
from lrcn.models.captioner_folder import LoadedCaptioner
from lrcn.models.folder import Loaded
from lrcn.models.shot_describer import ShotDescriber, ShotDescriberConfig, begin_from
from lrcn.models.shot_describer_folder import (
    LoadedShotDescriber,
    load_shot_describer,
    save_shot_describer,
)
from lrcn.models.zoo import chosen_device, load, load_model
from lrcn.train.caption_tasks import CaptionTask
from lrcn.train.card import card
from lrcn.train.distributed import Team, joined_team
from lrcn.train.loop import LoopConfig
from lrcn.train.outcome import finished, learned_from, written_about
from lrcn.train.photo_splits import CaptionData, PhotoSplit, WordsConfig, captioned_rows, captioned_split
from lrcn.train.recipe import read_as
from lrcn.train.run import Report, Result
from lrcn.train.stretches import Stretches
from lrcn.train.watched_clips import DescribedShots, WatchedClips, shown
from lrcn.train.words_recipe import run_key


@dataclass(frozen=True)
class ShotRecipe:
    """One experiment in describing shots: a captioner and a recogniser become one network that uses both.

    Attributes:
        data: where photos with sentences come from; camera moves are made over them.
        task: "describe-shots".
        name: of the model.
        description: what it is for, with the expected number and its source.
        captioner: the model folder whose CNN and decoder are begun from; the CNN stays as it is.
        recognizer: the model folder of what watches the shot, and stays as it is.
        pooled: for comparison: leaves the recogniser out, and shows the decoder the mean of the key frames.
        key_frames: F, frames that the captioner's CNN sees of a shot.
        style: how the camera moves; its size is that of a key frame.
        max_length: the most words of a sentence, its end included. The vocabulary is the captioner's, and the words of
            the clauses about the camera.
        train: the training.
        label_smoothing: share of the target spread over the other words.
        select: how sentences about dev clips are chosen at every epoch's end, whose CIDEr-D chooses the weights.
        decoding: how sentences are chosen for the numbers at the end, and when the model is used.
        device: "auto", "cpu", "cuda", ...
    """

    data: CaptionData
    task: Literal["describe-shots"] = "describe-shots"
    name: str = "shot-describer"
    description: str = ""
    captioner: str = "captions-flickr8k"
    recognizer: str = "camera-moves"
    pooled: bool = False
    key_frames: int = 2
    style: MoveStyle = DESCRIBED_STYLE
    max_length: int = 26
    train: LoopConfig = field(default_factory=LoopConfig)
    label_smoothing: float = 0.1
    select: Decoding = field(default_factory=lambda: Decoding(max_length=26))
    decoding: Decoding = field(default_factory=lambda: Decoding(beam=5, max_length=26, length_penalty=0.7))
    device: str = "auto"


def run_recipe(path: Path, changes: Mapping[str, Any], out: Path, report: Report) -> Result:
    """Reads a recipe and trains it.

    Raises:
        LrcnError: the recipe or its data are wrong, or `out` holds another run.
    """
    return train(read_as(ShotRecipe, path, changes), out, report)


def train(recipe: ShotRecipe, out: str | Path, report: Report = print) -> Result:
    """Trains a describer of shots into `out`; an unfinished run of the same recipe there is taken up where it stopped.

    Leaves `out/model` (the model folder), `metrics.json`, `recipe.yaml`, `curves.png`, the sentences about dev and test
    clips (`dev.jsonl`, `test.jsonl`) and the logs.

    Raises:
        LrcnError: the data or settings are wrong, or `out` holds another run.
    """
    out = Path(out)
    with joined_team() as team:
        begun = load(recipe.captioner, "cpu", tasks=("caption",))
        recognizer = load_model(recipe.recognizer, "cpu")
        if begun.preprocess.size != recipe.style.size:
            raise LrcnError(
                f"style.size is {recipe.style.size}, and {recipe.captioner} reads {begun.preprocess.size} pixels: "
                "give style that size."
            )
        split = read_split(recipe, begun, recognizer, team.heard(report))
        model, split = train_split(recipe, split, begun, recognizer, out, team)
        if not team.leads:
            return Result(out / "model", use=_USE)
        loaded = LoadedShotDescriber(
            model,
            split.tokenizer,
            Preprocess(begun.preprocess.size, begun.preprocess.fit),
            recognizer.preprocess,
            recognizer.sampling,
            recipe.decoding,
        )
        return _finish(recipe, split, loaded, out)


def read_split(recipe: ShotRecipe, begun: LoadedCaptioner, recognizer: Loaded, report: Report) -> PhotoSplit:
    """The recipe's clips with sentences about what they show and how the camera moves.

    Raises:
        LrcnError: they cannot be read, or there is nothing to learn from.
    """
    rows = captioned_rows(recipe.data, report)
    verbs = finite_verbs(
        caption for row in rows if row.split in recipe.data.train for caption in row.captions
    )
    seed = recipe.data.seed

    def clips(rows: list[Row], train: bool) -> WatchedClips:
        # Dev clips are other moves than those of the training photos in the same places.
        moves = DescribedMoves(rows, recipe.style, seed if train else seed + 1)
        return WatchedClips(moves, recipe.key_frames, recognizer)

    words = tuple(dict.fromkeys([*begun.tokenizer.words, *clause_words()]))
    tokenizer = Tokenizer(words, begun.tokenizer.rule, recipe.max_length)
    described = _in_turn(rows, verbs, seed)
    split = captioned_split(recipe.data, WordsConfig(), described, clips, report, tokenizer)
    report(f"Clips: {split.counts()}.")
    return split


def _in_turn(rows: Sequence[Row], verbs: frozenset[str], seed: int) -> list[Row]:
    """The rows with their sentences; the moves take turns within each split, as clips are made of one."""
    splits = dict.fromkeys(row.split for row in rows)
    parts = ([row for row in rows if row.split == split] for split in splits)
    return [row for part in parts for row in described_rows(part, verbs, seed)]


def train_split(
    recipe: ShotRecipe,
    split: PhotoSplit,
    begun: LoadedCaptioner,
    recognizer: Loaded,
    out: Path,
    team: Team,
) -> tuple[ShotDescriber, PhotoSplit]:
    """Trains on one split; returns the model with its best weights, in evaluation mode, and the clips as features."""
    torch.manual_seed(recipe.train.seed)
    config = ShotDescriberConfig(
        begun.model.config,
        None if recipe.pooled else recognizer.model.config,
        () if recipe.pooled else tuple(recognizer.labels),
        recipe.key_frames,
        recipe.pooled,
    )
    model = ShotDescriber(config, split.tokenizer.size)
    begin_from(model.captioner, begun.model)
    if model.recognizer is not None:
        model.recognizer.load_state_dict(recognizer.model.state_dict())
    model.to(team.device(chosen_device(recipe.device)))
    stretches = Stretches(out, run_key(recipe, split), team)
    clips = stretches.featured(split, model.captioner.encoder, views=1)
    described = DescribedShots(clips.train.photos, clips.train.sentences)
    rest: Any = {"label_smoothing": recipe.label_smoothing, "show": shown}
    task = CaptionTask(described, clips.dev, clips.tokenizer, recipe.select, **rest)
    stretches.one("train", model, task, recipe.train)
    return model.eval(), clips


_USE = "lrcn describe VIDEO --model {}"


def _finish(recipe: ShotRecipe, split: PhotoSplit, loaded: LoadedShotDescriber, out: Path) -> Result:
    # What is measured is what is kept, which is rounded to half precision.
    save_shot_describer(out / "model", loaded)
    kept = load_shot_describer(out / "model", loaded.model.decoder.bias.device)
    sentences = written_about(kept, split, recipe.decoding, out, shown)
    found = {
        name: moves_in_words(split.tokenizer, part.rows, sentences[name])
        for name, part in split.judged().items()
    }
    values: dict[str, Any] = {name: measured.to_json() for name, measured in found.items()}
    if found:
        name, last = list(found.items())[-1]
        values["headline"] = f"{name} move {last.right:.1%}, CIDEr-D {100 * last.rest.corpus['cider_d']:.1f}"
    save_shot_describer(out / "model", kept, metrics=values, card=shot_card(recipe, split, found))
    return finished(recipe, out, values, {name: [measured.line()] for name, measured in found.items()}, _USE)


def shot_card(recipe: ShotRecipe, split: PhotoSplit, found: Mapping[str, MovesInWords]) -> str:
    """Markdown for a model folder's README.md."""
    about = "Describes videos shot by shot: what is seen, and how the camera moves."
    vocabulary, trained_on = learned_from(split, "clips", recipe.train.seed)
    measured = [f"**{name}**: {moves.line()}" for name, moves in found.items()]
    return card(recipe, about, [vocabulary, f"{trained_on} They are derived: {DERIVED}.", *measured])
