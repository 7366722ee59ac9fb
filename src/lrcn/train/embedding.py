"""From a recipe with `task: embed` to the model folder of a joint embedding, with its numbers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lrcn.config import from_values, merge, read_layers, to_values, to_yaml
from lrcn.data.photos import CaptionedPhotos, PhotoPreprocess
from lrcn.data.transforms import Augment
from lrcn.errors import LrcnError
from lrcn.evaluate.finding import measure_embedding
from lrcn.evaluate.retrieval import RetrievalMetrics
from lrcn.files import write_whole
from lrcn.fingerprint import fingerprint
from lrcn.models.joint import JointConfig, JointEmbedding
from lrcn.models.joint_folder import load_joint, save_joint
from lrcn.models.zoo import chosen_device
from lrcn.train.distributed import Team, joined_team
from lrcn.train.loop import Batch, LoopConfig, fit
from lrcn.train.photo_splits import CaptionData, PhotoPart, PhotoSplit, WordsConfig, featured, photo_split
from lrcn.train.recipe import with_whole_paths
from lrcn.train.run import Report, Result, cache_folder, draw_curves

_USE = 'lrcn search FOLDER "words" --model {}'


@dataclass(frozen=True)
class EmbedRecipe:
    """One experiment in finding photos by sentences.

    Attributes:
        data: where photos with sentences come from.
        task: "embed".
        name: of the model.
        description: what it is for, with the expected number and its source.
        words: what becomes a word.
        model: the networks, and the loss.
        preprocess: how a photo reaches them; stored with the weights.
        augment: random changes to training photos. Mirrored, what is said of left and right is wrong.
        views: random draws of each photo that are kept as features while the CNN is frozen; an epoch uses one.
        train: the first stretch of training; a batch is of sentences, each with its photo.
        tune: a second one, in which the CNN's last `tune_stages` learn too; None leaves it out.
        tune_stages: stages of the CNN that learn in `tune`; -1 is all.
        device: "auto", "cpu", "cuda", ...
    """

    data: CaptionData
    task: Literal["embed"] = "embed"
    name: str = "search"
    description: str = ""
    words: WordsConfig = field(default_factory=WordsConfig)
    model: JointConfig = field(default_factory=JointConfig)
    preprocess: PhotoPreprocess = field(default_factory=PhotoPreprocess)
    augment: Augment = field(default_factory=Augment)
    views: int = 1
    train: LoopConfig = field(default_factory=LoopConfig)
    tune: LoopConfig | None = None
    tune_stages: int = -1
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.views < 1:
            raise LrcnError(f"views is {self.views}: give 1 or more.")
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
    return train(from_values(EmbedRecipe, with_whole_paths(merge(read_layers(path), changes))), out, report)


def train(recipe: EmbedRecipe, out: str | Path, report: Report = print) -> Result:
    """Trains a joint embedding into `out`; an unfinished run of the same recipe there is taken up where it stopped.

    Leaves `out/model` (the model folder), `metrics.json`, `recipe.yaml`, `curves.png` and the logs.

    Raises:
        LrcnError: the data or settings are wrong, or `out` holds another run.
    """
    out = Path(out)
    with joined_team() as team:
        tell: Report = report if team.leads else _silent
        split = photo_split(recipe.data, recipe.words, recipe.preprocess, recipe.augment, tell)
        tell(
            f"Photos: {len(split.train.rows)} training{f', {len(split.dev.rows)} dev' if split.dev else ''}."
        )
        model = _trained(recipe, split, out, team)
        return _finish(recipe, split, model, out) if team.leads else Result(out / "model", use=_USE)


def _trained(recipe: EmbedRecipe, split: PhotoSplit, out: Path, team: Team) -> JointEmbedding:
    torch.manual_seed(recipe.train.seed)
    model = JointEmbedding(recipe.model, split.tokenizer.size).to(team.device(chosen_device(recipe.device)))
    shown = split
    if model.encoder.tuned == 0:
        shown = featured(split, model.encoder, cache_folder(out), recipe.views, team, recipe.train.workers)
    _stretch(model, shown, recipe, recipe.train, out / "train", team)
    if recipe.tune is not None:
        model.encoder.set_tuned(recipe.tune_stages)
        _stretch(model, split, recipe, recipe.tune, out / "tune", team)
    return model.eval()


def _stretch(
    model: JointEmbedding,
    split: PhotoSplit,
    recipe: EmbedRecipe,
    config: LoopConfig,
    folder: Path,
    team: Team,
) -> None:
    clips = CaptionedPhotos(split.train.photos, split.train.sentences, pairs=True)
    # A run is only taken up by one with the same settings and data.
    key = fingerprint(to_values(replace(recipe, name="", description="")), split.key())
    folder.mkdir(parents=True, exist_ok=True)
    fit(model, EmbedTask(clips, split.dev), config, folder, recipe=key, team=team, name=folder.name)


def _finish(recipe: EmbedRecipe, split: PhotoSplit, model: JointEmbedding, out: Path) -> Result:
    # What is measured is what is kept, which is rounded to half precision.
    save_joint(out / "model", model, recipe.preprocess, split.tokenizer)
    kept = load_joint(out / "model", model.see.weight.device)
    found = {
        name: measure_embedding(kept.model, part.photos, part.sentences)
        for name, part in (("dev", split.dev), ("test", split.test))
        if part is not None
    }
    values: dict[str, Any] = {name: metrics.to_json() for name, metrics in found.items()}
    for name, metrics in found.items():
        values["headline"] = (
            f"{name} R@10 {metrics.caption_to_image.recall_at_10:.1%} of photos by a sentence"
        )
    card = _card(recipe, split, found)
    save_joint(out / "model", kept.model, recipe.preprocess, split.tokenizer, metrics=values, card=card)
    write_whole(out / "metrics.json", json.dumps(values, indent=2) + "\n")
    write_whole(out / "recipe.yaml", to_yaml(recipe))
    draw_curves(out, ["train", "tune"] if recipe.tune is not None else ["train"])
    sentences = [f"{name}: {line}" for name, metrics in found.items() for line in metrics.lines()]
    return Result(out / "model", values, sentences, use=_USE)


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
    """Markdown for a model folder's README.md."""
    sentences = sum(map(len, split.train.sentences))
    parts = [
        f"# {recipe.name}",
        recipe.description.strip()
        or "A joint embedding of photos and sentences: `lrcn search` finds photos with it.",
        f"**Vocabulary**: {split.tokenizer.size - 2} words.",
        f"**Trained on** {len(split.train.rows)} photos with {sentences} sentences, seed {recipe.train.seed}.",
    ]
    if found:
        parts.append("\n".join(_table(found)))
        parts.append("One run, no spread: repeat it with other seeds before comparing.")
    parts.append(f"**How it was made**: `lrcn train recipe.yaml` with\n\n```yaml\n{to_yaml(recipe)}```")
    return "\n\n".join(parts) + "\n"


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


def _silent(_: str) -> None:
    pass
