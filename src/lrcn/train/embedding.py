"""From a recipe with `task: embed` to the model folder of a joint embedding, with its numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lrcn.data.photos import CaptionedPhotos, PhotoPreprocess
from lrcn.errors import LrcnError
from lrcn.evaluate.finding import measure_embedding
from lrcn.evaluate.retrieval import RetrievalMetrics
from lrcn.models.joint import JointConfig, JointEmbedding
from lrcn.models.joint_folder import load_joint, save_joint
from lrcn.models.zoo import chosen_device
from lrcn.train.card import NO_SPREAD, card
from lrcn.train.distributed import Team, joined_team
from lrcn.train.loop import Batch
from lrcn.train.outcome import finished, learned_from
from lrcn.train.photo_splits import PhotoPart, PhotoSplit, photo_split
from lrcn.train.recipe import read_as
from lrcn.train.run import Report, Result
from lrcn.train.stretches import Stretches
from lrcn.train.words_recipe import WordsRecipe, run_key

_USE = 'lrcn search FOLDER "words" --model {}'


@dataclass(frozen=True, kw_only=True)
class EmbedRecipe(WordsRecipe):
    """One experiment in finding photos by sentences; a batch is of sentences, each with its photo.

    Attributes:
        task: "embed".
        model: the networks, and the loss.
    """

    task: Literal["embed"] = "embed"
    name: str = "search"
    model: JointConfig = field(default_factory=JointConfig)
    preprocess: PhotoPreprocess = field(default_factory=PhotoPreprocess)

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.train.batch, self.tune.batch if self.tune else 2) < 2:
            raise LrcnError(
                "batch is 1: a sentence is told from those of other photos in its batch, so give more."
            )


class EmbedTask:
    """A photo nearer to its sentence than to the others of the batch, and the other way round.

    Args:
        clips: sentences, each with its photo.
        dev: photos and sentences whose recall chooses the weights; None chooses the last.
    """

    def __init__(self, clips: CaptionedPhotos, dev: PhotoPart | None = None) -> None:
        self.clips = clips
        self.dev = dev

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The scalar loss of a batch of `collate_captioned`."""
        joint: Any = model
        images = joint.images(batch.get("frames"), maps=batch.get("maps"))[batch["image_of"]]
        sentences = joint.sentences(batch["said"], batch["lengths"])
        loss: Tensor = joint.loss(images, sentences, batch["index"][batch["image_of"]])
        return loss

    def dev_score(self, model: nn.Module) -> dict[str, float] | None:
        """Recall on dev; the score is the mean of recall at 1, 5 and 10, both ways, as people add it up ("rsum")."""
        if self.dev is None:
            return None
        joint: Any = model
        return _scores(measure_embedding(joint, self.dev.photos, self.dev.sentences))


def run_recipe(path: Path, changes: Mapping[str, Any], out: Path, report: Report) -> Result:
    """Reads a recipe, with `changes` (nested settings) laid over it, and trains it.

    Raises:
        LrcnError: the recipe or its data are wrong, or `out` holds another run.
    """
    return train(read_as(EmbedRecipe, path, changes), out, report)


def train(recipe: EmbedRecipe, out: str | Path, report: Report = print) -> Result:
    """Trains a joint embedding into `out`; an unfinished run of the same recipe there is taken up where it stopped.

    Leaves `out/model` (the model folder), `metrics.json`, `recipe.yaml`, `curves.png` and the logs.

    Raises:
        LrcnError: the data or settings are wrong, or `out` holds another run.
    """
    out = Path(out)
    with joined_team() as team:
        tell = team.heard(report)
        split = photo_split(recipe.data, recipe.words, recipe.preprocess, recipe.augment, tell)
        tell(
            f"Photos: {len(split.train.rows)} training{f', {len(split.dev.rows)} dev' if split.dev else ''}."
        )
        model = _trained(recipe, split, out, team)
        return _finish(recipe, split, model, out) if team.leads else Result(out / "model", use=_USE)


def _trained(recipe: EmbedRecipe, split: PhotoSplit, out: Path, team: Team) -> JointEmbedding:
    torch.manual_seed(recipe.train.seed)
    model = JointEmbedding(recipe.model, split.tokenizer.size).to(team.device(chosen_device(recipe.device)))

    stretches = Stretches(out, run_key(recipe, split), team)
    stretches.both(model, recipe, split, _task)
    return model.eval()


def _task(split: PhotoSplit) -> EmbedTask:
    return EmbedTask(CaptionedPhotos(split.train.photos, split.train.sentences, pairs=True), split.dev)


def _finish(recipe: EmbedRecipe, split: PhotoSplit, model: JointEmbedding, out: Path) -> Result:
    # What is measured is what is kept, which is rounded to half precision.
    save_joint(out / "model", model, recipe.preprocess, split.tokenizer)
    kept = load_joint(out / "model", model.see.weight.device)
    found = {
        name: measure_embedding(kept.model, part.photos, part.sentences)
        for name, part in split.judged().items()
    }
    values: dict[str, Any] = {name: metrics.to_json() for name, metrics in found.items()}
    for name, metrics in found.items():
        values["headline"] = (
            f"{name} R@10 {metrics.caption_to_image.recall_at_10:.1%} of photos by a sentence"
        )
    text = _card(recipe, split, found)
    save_joint(out / "model", kept.model, recipe.preprocess, split.tokenizer, metrics=values, card=text)
    return finished(recipe, out, values, {name: metrics.lines() for name, metrics in found.items()}, _USE)


def _scores(found: RetrievalMetrics) -> dict[str, float]:
    values = {
        f"{way}_r{k}": float(getattr(recall, f"recall_at_{k}"))
        for way, recall in (
            ("image_to_caption", found.image_to_caption),
            ("caption_to_image", found.caption_to_image),
        )
        for k in (1, 5, 10)
    }
    return {"score": sum(values.values()) / len(values), **values}


def _card(recipe: EmbedRecipe, split: PhotoSplit, found: Mapping[str, RetrievalMetrics]) -> str:
    about = "A joint embedding of photos and sentences: `lrcn search` finds photos with it."
    measured = ["\n".join(_table(found)), NO_SPREAD] if found else []
    return card(recipe, about, [*learned_from(split, "photos", recipe.train.seed), *measured])


def _table(found: Mapping[str, RetrievalMetrics]) -> list[str]:
    rows = [
        f"| {name} | {way} | {recall.candidates} | {recall.recall_at_1:.1%} | {recall.recall_at_5:.1%} | "
        f"{recall.recall_at_10:.1%} | {recall.median_rank:g} |"
        for name, metrics in found.items()
        for way, recall in (
            ("sentence to photo", metrics.caption_to_image),
            ("photo to sentence", metrics.image_to_caption),
        )
    ]
    return [
        "| split | direction | among | R@1 | R@5 | R@10 | median rank |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]
