"""From a recipe with `task: describe` to a describer's model folder with its numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from lrcn.data.cooking import CookingConfig, cooking_rows
from lrcn.data.datasets import ClipDataset, ClipSource
from lrcn.data.descriptions import DescribedClips, LabelClips, shown
from lrcn.data.features import FeatureClips, located
from lrcn.data.manifest import Row
from lrcn.data.sampling import Sampling
from lrcn.data.slots import Slots
from lrcn.data.transforms import Preprocess
from lrcn.errors import LrcnError
from lrcn.evaluate.captions import CaptionScores
from lrcn.models.describer import Describer, DescriberConfig
from lrcn.models.describer_folder import LoadedDescriber, load_describer, save_describer
from lrcn.models.zoo import chosen_device
from lrcn.train.card import card
from lrcn.train.distributed import Team, joined_team
from lrcn.train.outcome import finished, learned_from, score_facts, score_values, scored, written_about
from lrcn.train.photo_splits import CaptionData, PhotoSplit, captioned_rows, captioned_split
from lrcn.train.recipe import read_as
from lrcn.train.run import Report, Result
from lrcn.train.stretches import Stretches
from lrcn.train.words_recipe import SentenceRecipe, run_key


@dataclass(frozen=True)
class DescribeData(CaptionData):
    """Where descriptions, and what they are about, come from.

    Attributes:
        source: a manifest, or what `importer` reads.
        importer: the layout of the data, one of `lrcn data import`; empty: `source` is a manifest.
        lists: where the importer's lists are, if they do not lie with the clips.
        train: splits that are learned from, and whose sentences give the vocabulary.
        dev: the split that chooses the weights; empty chooses the last.
        test: the split that is looked at once, at the end; empty: none.
        limit: clips taken of each split, the first ones; 0 takes all.
        allow_leakage: accepts a group that stands in both train and test.
        seed: of the random draws.
        labels: the manifest's fields that hold labels, or their probabilities, in the order they are read.
        features: a folder of features made elsewhere, or one file of many; empty: a row's path is such a file.
        rate: their steps a second, where they are of whole videos and rows have times; 0: each row has its own.
        cooking: scenes of a made kitchen, in place of `source`.
    """

    source: str = ""
    labels: tuple[str, ...] = ("probabilities",)
    features: str = ""
    rate: float = 0.0
    cooking: CookingConfig | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.source) == (self.cooking is not None):
            raise LrcnError("data names no source, or two: give data.source, or data.cooking.")
        if self.rate < 0 or not self.labels:
            raise LrcnError(
                f"data.rate is {self.rate} and labels {list(self.labels)}: give 0 or more, one or more."
            )


@dataclass(frozen=True, kw_only=True)
class DescribeRecipe(SentenceRecipe):
    """One experiment in description.

    Attributes:
        data: where clips with sentences come from.
        task: "describe".
        model: the networks, and what they are given.
        sampling: which frames, or steps of features, they read; stored with the weights.
    """

    data: DescribeData
    task: Literal["describe"] = "describe"
    name: str = "describer"
    model: DescriberConfig = field(default_factory=DescriberConfig)
    preprocess: Preprocess = field(default_factory=Preprocess)
    sampling: Sampling = field(default_factory=lambda: Sampling(frames=None))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tune is not None and self.model.inputs != "frames":
            raise LrcnError(
                f"tune is set and model.inputs {self.model.inputs}: there is no CNN, leave it out."
            )


@dataclass(frozen=True)
class DescribeSplit:
    """What one run learns from and is judged on.

    Attributes:
        clips: what is given, with the sentences.
        given: K labels or D of the features; 0 of frames.
        slots: the labels that are known; None where none are given.
    """

    clips: PhotoSplit
    given: int = 0
    slots: Slots | None = None


def run_recipe(path: Path, changes: Mapping[str, Any], out: Path, report: Report) -> Result:
    """Reads a recipe and trains it.

    Raises:
        LrcnError: the recipe or its data are wrong, or `out` holds another run.
    """
    return train(read_as(DescribeRecipe, path, changes), out, report)


def train(recipe: DescribeRecipe, out: str | Path, report: Report = print) -> Result:
    """Trains a describer into `out`; an unfinished run of the same recipe there is taken up where it stopped.

    Leaves `out/model` (the model folder), `metrics.json`, `recipe.yaml`, `curves.png`, the sentences about dev and test
    clips (`dev.jsonl`, `test.jsonl`) and the logs.

    Raises:
        LrcnError: the data or settings are wrong, or `out` holds another run.
    """
    out = Path(out)
    with joined_team() as team:
        split = read_split(recipe, team.heard(report))
        model, clips = train_split(recipe, split, out, team)
        if not team.leads:
            return Result(out / "model", use=_USE)
        return _finish(recipe, replace(split, clips=clips), model, out)


# ---- the data ----


def read_split(recipe: DescribeRecipe, report: Report) -> DescribeSplit:
    """The recipe's clips and sentences.

    Raises:
        LrcnError: they cannot be read, or there is nothing to learn from.
    """
    data, inputs = recipe.data, recipe.model.inputs
    rows = captioned_rows(data, report) if data.cooking is None else cooking_rows(data.cooking)
    slots = None
    if inputs not in ("features", "frames"):
        slots = Slots.learn((row for row in rows if row.split in data.train), data.labels)
        counts = ", ".join(f"{len(labels)} in {slot}" for slot, labels in slots.labels.items())
        report(f"Labels: {counts}.")

    def clips(rows: list[Row], train: bool) -> ClipSource:
        return _clips(recipe, slots, rows, train)

    split = captioned_split(data, recipe.words, rows, clips, report)
    report(f"Clips: {split.counts()}.")
    given = slots.size if slots is not None else 0
    if inputs == "features":
        given = located(split.train.rows[0], data.features).size
    if recipe.model.given not in (0, given):
        raise LrcnError(f"model.given is {recipe.model.given}, and the data have {given}: leave it out.")
    return DescribeSplit(split, given, slots)


def _clips(recipe: DescribeRecipe, slots: Slots | None, rows: Sequence[Row], train: bool) -> ClipSource:
    data, inputs = recipe.data, recipe.model.inputs
    if inputs == "features":
        return FeatureClips(rows, data.features, data.rate, recipe.sampling, train=train, seed=data.seed)
    if inputs == "frames":
        # Clips are read as those of a class, which here nobody asks for.
        clips = [replace(row, label=_ANY) for row in rows]
        options: Any = {"train": train, "seed": data.seed}
        return ClipDataset(clips, [_ANY], recipe.sampling, recipe.preprocess, recipe.augment, **options)
    assert slots is not None
    return LabelClips(rows, slots, inputs)


_ANY = "any"


# ---- the training ----


def train_split(
    recipe: DescribeRecipe, split: DescribeSplit, out: Path, team: Team, name: str = "train"
) -> tuple[Describer, PhotoSplit]:
    """Trains on one split; returns the model with its best weights, in evaluation mode, and the clips as it reads them.

    A frozen CNN's features stand in place of frames.
    """
    torch.manual_seed(recipe.train.seed)
    config = replace(recipe.model, given=split.given)
    model = Describer(config, split.clips.tokenizer.size).to(team.device(chosen_device(recipe.device)))
    stretches = Stretches(out, run_key(recipe, split.clips), team, name)
    task_of = partial(recipe.likelihood, captioned=DescribedClips, show=shown)
    clips = stretches.both(model, recipe, split.clips, task_of)
    return model.eval(), clips


# ---- what is left behind ----

_USE = "lrcn describe INPUT --model {}"


def _finish(recipe: DescribeRecipe, split: DescribeSplit, model: Describer, out: Path) -> Result:
    clips = split.clips
    loaded = LoadedDescriber(
        model, clips.tokenizer, split.slots, recipe.preprocess, recipe.sampling, recipe.decoding
    )
    # What is measured is what is kept, which is rounded to half precision.
    save_describer(out / "model", loaded)
    kept = load_describer(out / "model", model.decoder.bias.device)
    sentences = written_about(kept, clips, recipe.decoding, out, shown)
    found = scored(clips, sentences, recipe.meteor)
    values = score_values(found, "clips", "bleu_4", "BLEU-4")
    save_describer(out / "model", kept, metrics=values, card=describer_card(recipe, clips, found))
    return finished(recipe, out, values, {name: scores.lines() for name, scores in found.items()}, _USE)


def describer_card(recipe: DescribeRecipe, clips: PhotoSplit, found: Mapping[str, CaptionScores]) -> str:
    """Markdown for a model folder's README.md."""
    about = "A recurrent convolutional network that writes sentences about videos."
    given = f"**Given** {recipe.model.inputs}, read as {recipe.model.arrangement}."
    facts = [*learned_from(clips, "clips", recipe.train.seed), *score_facts(found, "clips")]
    return card(recipe, about, [given, *facts])
