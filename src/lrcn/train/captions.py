"""From a recipe with `task: caption` to a captioner's model folder with its numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from lrcn.data.photos import CaptionedPhotos, PhotoPreprocess
from lrcn.errors import LrcnError
from lrcn.evaluate.captions import CaptionScores
from lrcn.generate import Decoding
from lrcn.models.captioner import Captioner, CaptionerConfig
from lrcn.models.captioner_folder import LoadedCaptioner, load_captioner, save_captioner
from lrcn.models.zoo import chosen_device, load
from lrcn.train.card import card
from lrcn.train.distributed import Team, joined_team
from lrcn.train.outcome import finished, learned_from, score_facts, score_values, scored, written_about
from lrcn.train.photo_splits import PhotoSplit, photo_split
from lrcn.train.recipe import read_as
from lrcn.train.run import Report, Result
from lrcn.train.scst import SelfCritical, SelfCriticalTask
from lrcn.train.stretches import Stretches
from lrcn.train.words_recipe import SentenceRecipe, run_key


@dataclass(frozen=True)
class CaptionStudy:
    """Many runs of one recipe: variants side by side, each with several seeds.

    Attributes:
        seeds: each variant is trained once with each.
        variants: name -> settings laid over the recipe.
        decodings: name -> another way in which the sentences of the first variant's runs are chosen.
    """

    seeds: tuple[int, ...] = (0,)
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    decodings: dict[str, Decoding] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CaptionRecipe(SentenceRecipe):
    """One experiment in captioning.

    Attributes:
        task: "caption".
        model: the networks.
        init: a model folder whose weights and vocabulary the run begins from; empty: begins anew.
        self_critical: a last stretch, on CIDEr-D itself; None leaves it out.
        study: many runs instead of one.
    """

    task: Literal["caption"] = "caption"
    name: str = "captioner"
    model: CaptionerConfig = field(default_factory=CaptionerConfig)
    preprocess: PhotoPreprocess = field(default_factory=PhotoPreprocess)
    init: str = ""
    self_critical: SelfCritical | None = None
    study: CaptionStudy | None = None


def run_recipe(path: Path, changes: Mapping[str, Any], out: Path, report: Report) -> Result:
    """Reads a recipe and trains it, once or as its study says.

    Raises:
        LrcnError: the recipe or its data are wrong, or `out` holds another run.
    """
    recipe = read_as(CaptionRecipe, path, changes)
    if recipe.study is None:
        return train(recipe, out, report)
    from lrcn.train.caption_study import run_study

    run_study(recipe, out, report)
    return Result(out, sentences=[f"The study: {out / 'results.md'}"], use="")


def train(recipe: CaptionRecipe, out: str | Path, report: Report = print) -> Result:
    """Trains a captioner into `out`; an unfinished run of the same recipe there is taken up where it stopped.

    Leaves `out/model` (the model folder), `metrics.json`, `recipe.yaml`, `curves.png`, the sentences about dev and test
    photos (`dev.jsonl`, `test.jsonl`) and the logs.

    Raises:
        LrcnError: the data or settings are wrong, or `out` holds another run.
    """
    out = Path(out)
    with joined_team() as team:
        begun = load(recipe.init, "cpu", tasks=("caption",)) if recipe.init else None
        split = read_split(recipe, team.heard(report), begun)
        model = train_split(recipe, split, out, team, begun)
        if not team.leads:
            return Result(out / "model", use=_USE)
        return _finish(recipe, split, model, out)


def read_split(recipe: CaptionRecipe, report: Report, begun: LoadedCaptioner | None = None) -> PhotoSplit:
    """The recipe's photos, with the vocabulary of the model it begins from, if it begins from one."""
    kept = None if begun is None else begun.tokenizer
    split = photo_split(recipe.data, recipe.words, recipe.preprocess, recipe.augment, report, kept)
    report(f"Photos: {split.counts()}.")
    return split


def train_split(
    recipe: CaptionRecipe,
    split: PhotoSplit,
    out: Path,
    team: Team,
    begun: LoadedCaptioner | None = None,
    name: str = "train",
    cache: Path | None = None,
) -> Captioner:
    """Trains on one split, stretch by stretch; returns the model with its best weights, in evaluation mode.

    Features of a frozen CNN are kept in `cache`, or, where it is None, beside the run.
    """
    torch.manual_seed(recipe.train.seed)
    model = Captioner(recipe.model, split.tokenizer.size)
    if begun is not None:
        _begin_from(model, begun, recipe.init)
    model.to(team.device(chosen_device(recipe.device)))
    stretches = Stretches(out, run_key(recipe, split), team, name, cache)
    shown = stretches.both(model, recipe, split, recipe.likelihood)
    if recipe.self_critical is not None:
        model.encoder.set_tuned(0)
        if recipe.tune is not None or recipe.model.encoder.tune:
            shown = stretches.featured(split, model.encoder, recipe.views, recipe.train.workers)
        task = SelfCriticalTask(
            CaptionedPhotos(shown.train.photos, shown.train.sentences),
            shown.train,
            shown.dev,
            shown.tokenizer,
            recipe.select,
            recipe.self_critical,
        )
        stretches.one("self-critical", model, task, recipe.self_critical.loop, ", self-critical")
    return model.eval()


def _begin_from(model: Captioner, begun: LoadedCaptioner, name: str) -> None:
    try:
        model.load_state_dict(begun.model.state_dict())
    except RuntimeError:
        raise LrcnError(
            f"init is {name}, whose networks are not those of this recipe: give model the settings in its config.json."
        ) from None


_USE = "lrcn caption PHOTO --model {}"


def _finish(recipe: CaptionRecipe, split: PhotoSplit, model: Captioner, out: Path) -> Result:
    rest = (recipe.preprocess, split.tokenizer, recipe.decoding)
    # What is measured is what is kept, which is rounded to half precision.
    save_captioner(out / "model", model, *rest)
    kept = load_captioner(out / "model", model.decoder.bias.device)
    sentences = written_about(kept, split, recipe.decoding, out)
    found = scored(split, sentences, recipe.meteor)
    values = score_values(found, "photos", "cider_d", "CIDEr-D")
    save_captioner(out / "model", kept.model, *rest, metrics=values, card=caption_card(recipe, split, found))
    return finished(recipe, out, values, {name: scores.lines() for name, scores in found.items()}, _USE)


def caption_card(recipe: CaptionRecipe, split: PhotoSplit, found: Mapping[str, CaptionScores]) -> str:
    """Markdown for a model folder's README.md."""
    about = "A recurrent convolutional network that writes sentences about photos."
    facts = [*learned_from(split, "photos", recipe.train.seed), *score_facts(found, "photos")]
    return card(recipe, about, facts)
