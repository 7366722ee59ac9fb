"""From a recipe with `task: caption` to a captioner's model folder with its numbers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from lrcn.config import from_values, merge, read_layers, to_values, to_yaml
from lrcn.data.manifest import Row
from lrcn.data.photos import CaptionedPhotos, PhotoPreprocess
from lrcn.data.tokenizer import Tokenizer
from lrcn.data.transforms import Augment
from lrcn.errors import LrcnError
from lrcn.evaluate.captioning import Show, has_meteor, measure, written
from lrcn.evaluate.captions import CaptionScores
from lrcn.files import write_whole
from lrcn.fingerprint import fingerprint
from lrcn.generate import Decoding, Sentence
from lrcn.models.captioner import Captioner, CaptionerConfig
from lrcn.models.captioner_folder import LoadedCaptioner, load_captioner, save_captioner
from lrcn.models.zoo import chosen_device, load
from lrcn.train.caption_tasks import CaptionTask
from lrcn.train.distributed import Team, joined_team
from lrcn.train.loop import LoopConfig, Task, fit
from lrcn.train.photo_splits import CaptionData, PhotoPart, PhotoSplit, WordsConfig, featured, photo_split
from lrcn.train.recipe import with_whole_paths
from lrcn.train.run import Report, Result, cache_folder, draw_curves
from lrcn.train.scst import SelfCritical, SelfCriticalTask
from lrcn.train.tracking import counting


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


@dataclass(frozen=True)
class CaptionRecipe:
    """One experiment in captioning.

    Attributes:
        data: where photos with sentences come from.
        task: "caption".
        name: of the model.
        description: what it is for, with the expected number and its source.
        words: what becomes a word.
        model: the networks.
        preprocess: how a photo reaches them; stored with the weights.
        augment: random changes to training photos. Mirrored, what is said of left and right is wrong.
        views: random draws of each photo that are kept as features while the CNN is frozen.
        pairs: a batch is of single sentences with their photos, as the paper has it; otherwise of photos, each with all
            its sentences.
        init: a model folder whose weights and vocabulary the run begins from; empty: begins anew.
        train: the first stretch of training.
        tune: a second one, in which the CNN's last `tune_stages` learn too; None leaves it out.
        tune_stages: stages of the CNN that learn in `tune`; -1 is all.
        self_critical: a last one, on CIDEr-D itself; None leaves it out.
        label_smoothing: share of the target spread over the other words.
        loss_scale: multiplies the loss (the paper's: 20, see `CaptionTask`).
        select: how sentences about dev photos are chosen at every epoch's end, whose CIDEr-D chooses the weights.
        decoding: how sentences are chosen for the numbers at the end, and when the model is used.
        meteor: whether METEOR is measured; None: where lrcn[metrics] is installed.
        device: "auto", "cpu", "cuda", ...
        study: many runs instead of one.
    """

    data: CaptionData
    task: Literal["caption"] = "caption"
    name: str = "captioner"
    description: str = ""
    words: WordsConfig = field(default_factory=WordsConfig)
    model: CaptionerConfig = field(default_factory=CaptionerConfig)
    preprocess: PhotoPreprocess = field(default_factory=PhotoPreprocess)
    augment: Augment = field(default_factory=Augment)
    views: int = 1
    pairs: bool = False
    init: str = ""
    train: LoopConfig = field(default_factory=LoopConfig)
    tune: LoopConfig | None = None
    tune_stages: int = -1
    self_critical: SelfCritical | None = None
    label_smoothing: float = 0.0
    loss_scale: float = 1.0
    select: Decoding = field(default_factory=lambda: Decoding(max_length=20))
    decoding: Decoding = field(default_factory=lambda: Decoding(beam=3))
    meteor: bool | None = None
    device: str = "auto"
    study: CaptionStudy | None = None

    def __post_init__(self) -> None:
        if self.views < 1:
            raise LrcnError(f"views is {self.views}: give 1 or more.")
        if not 0 <= self.label_smoothing < 1:
            raise LrcnError(f"label_smoothing is {self.label_smoothing}: give a share from 0 to below 1.")
        if not self.loss_scale > 0:
            raise LrcnError(f"loss_scale is {self.loss_scale}: give a number above 0.")


def read_caption_recipe(path: str | Path, changes: Mapping[str, Any] | None = None) -> CaptionRecipe:
    """Reads a recipe, with `changes` (nested settings) laid over it.

    Raises:
        LrcnError: the file cannot be read, or a setting in it is wrong.
    """
    return from_values(CaptionRecipe, with_whole_paths(merge(read_layers(path), changes or {})))


def changed(recipe: CaptionRecipe, changes: Mapping[str, Any]) -> CaptionRecipe:
    """The recipe with nested settings laid over it."""
    return from_values(CaptionRecipe, with_whole_paths(merge(to_values(recipe), changes)))


def run_recipe(path: Path, changes: Mapping[str, Any], out: Path, report: Report) -> Result:
    """Reads a recipe and trains it, once or as its study says.

    Raises:
        LrcnError: the recipe or its data are wrong, or `out` holds another run.
    """
    recipe = read_caption_recipe(path, changes)
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
        tell: Report = report if team.leads else _silent
        begun = load(recipe.init, "cpu", tasks=("caption",)) if recipe.init else None
        split = read_split(recipe, tell, begun)
        model = train_split(recipe, split, out, team, begun)
        if not team.leads:
            return Result(out / "model", use=_USE)
        return _finish(recipe, split, model, out)


def read_split(recipe: CaptionRecipe, report: Report, begun: LoadedCaptioner | None = None) -> PhotoSplit:
    """The recipe's photos, with the vocabulary of the model it begins from, if it begins from one."""
    kept = None if begun is None else begun.tokenizer
    split = photo_split(recipe.data, recipe.words, recipe.preprocess, recipe.augment, report, kept)
    parts = {"training": split.train, "dev": split.dev, "test": split.test}
    counts = [f"{len(part.rows)} {name}" for name, part in parts.items() if part is not None]
    report(f"Photos: {', '.join(counts)}.")
    return split


def train_split(
    recipe: CaptionRecipe,
    split: PhotoSplit,
    out: Path,
    team: Team,
    begun: LoadedCaptioner | None = None,
    name: str = "train",
) -> Captioner:
    """Trains on one split, stretch by stretch; returns the model with its best weights, in evaluation mode."""
    torch.manual_seed(recipe.train.seed)
    model = Captioner(recipe.model, split.tokenizer.size)
    if begun is not None:
        _begin_from(model, begun, recipe.init)
    model.to(team.device(chosen_device(recipe.device)))
    key = run_key(recipe, split)

    def features(workers: int) -> PhotoSplit:
        return featured(split, model.encoder, cache_folder(out), recipe.views, team, workers)

    def stretch(folder: str, config: LoopConfig, task: Task, what: str) -> None:
        (out / folder).mkdir(parents=True, exist_ok=True)
        fit(model, task, config, out / folder, recipe=key, team=team, name=f"{name}{what}")

    shown = split if model.encoder.tuned else features(recipe.train.workers)
    stretch("train", recipe.train, _likelihood(recipe, shown), "")
    if recipe.tune is not None:
        model.encoder.set_tuned(recipe.tune_stages)
        stretch("tune", recipe.tune, _likelihood(recipe, split), ", CNN too")
    if recipe.self_critical is not None:
        model.encoder.set_tuned(0)
        shown = (
            shown if recipe.tune is None and not recipe.model.encoder.tune else features(recipe.train.workers)
        )
        task = SelfCriticalTask(
            CaptionedPhotos(shown.train.photos, shown.train.sentences),
            shown.train,
            shown.dev,
            shown.tokenizer,
            recipe.select,
            recipe.self_critical,
        )
        stretch("self-critical", recipe.self_critical.loop, task, ", self-critical")
    return model.eval()


def run_key(recipe: CaptionRecipe, split: PhotoSplit) -> str:
    """A hash of the settings and data that the weights follow from: a run is only taken up by one with the same."""
    plain = replace(recipe, study=None, description="", name="", decoding=Decoding(), meteor=None)
    return fingerprint(to_values(plain), split.key())


def _likelihood(recipe: CaptionRecipe, split: PhotoSplit) -> CaptionTask:
    clips = CaptionedPhotos(split.train.photos, split.train.sentences, pairs=recipe.pairs)
    return CaptionTask(
        clips,
        split.dev,
        split.tokenizer,
        recipe.select,
        label_smoothing=recipe.label_smoothing,
        loss_scale=recipe.loss_scale,
    )


def _begin_from(model: Captioner, begun: LoadedCaptioner, name: str) -> None:
    try:
        model.load_state_dict(begun.model.state_dict())
    except RuntimeError:
        raise LrcnError(
            f"init is {name}, whose networks are not those of this recipe: give model the settings in its config.json."
        ) from None


_USE = "lrcn caption PHOTO --model {}"


def judged(
    loaded: Any,
    part: PhotoPart,
    decoding: Decoding,
    name: str,
    meteor: bool | None,
    show: Show | None = None,
) -> tuple[list[Sentence], CaptionScores]:
    """What a captioner writes about photos, and how it scores.

    Args:
        loaded: the captioner, or what else writes.
        part: the photos.
        decoding: how sentences are chosen.
        name: of the photos, for the progress bar.
        meteor: whether METEOR is measured; None: where it is installed.
        show: see `lrcn.evaluate.captioning.written`.
    """
    progress = counting(f"sentences about {name}")
    sentences = written(loaded.model, part.photos, decoding, show=show, progress=progress)
    wanted = has_meteor() if meteor is None else meteor
    return sentences, measure(loaded.tokenizer, part.rows, sentences, meteor=wanted)


def _finish(recipe: CaptionRecipe, split: PhotoSplit, model: Captioner, out: Path) -> Result:
    # What is measured is what is kept, which is rounded to half precision.
    save_captioner(out / "model", model, recipe.preprocess, split.tokenizer, recipe.decoding)
    kept = load_captioner(out / "model", model.decoder.bias.device)
    found: dict[str, CaptionScores] = {}
    for name, part in (("dev", split.dev), ("test", split.test)):
        if part is not None:
            sentences, found[name] = judged(kept, part, recipe.decoding, name, recipe.meteor)
            write_sentences(out / f"{name}.jsonl", part.rows, split.tokenizer, sentences)
    values: dict[str, Any] = {
        name: {"photos": len(scores.per_image), **scores.to_json()["corpus"]}
        for name, scores in found.items()
    }
    if values:
        name = list(values)[-1]
        values["headline"] = f"{name} CIDEr-D {100 * values[name]['cider_d']:.1f}"
    card = caption_card(recipe, split, found)
    rest = (recipe.preprocess, split.tokenizer, recipe.decoding)
    save_captioner(out / "model", kept.model, *rest, metrics=values, card=card)
    write_whole(out / "metrics.json", json.dumps(values, indent=2) + "\n")
    write_whole(out / "recipe.yaml", to_yaml(recipe))
    stages = {"train": recipe.train, "tune": recipe.tune, "self-critical": recipe.self_critical}
    draw_curves(out, [folder for folder, stage in stages.items() if stage is not None])
    lines = [f"{name}: {line}" for name, scores in found.items() for line in scores.lines()]
    return Result(out / "model", values, lines, use=_USE)


def caption_card(recipe: CaptionRecipe, split: PhotoSplit, found: Mapping[str, CaptionScores]) -> str:
    """Markdown for a model folder's README.md."""
    sentences = sum(map(len, split.train.sentences))
    parts = [
        f"# {recipe.name}",
        recipe.description.strip() or "A recurrent convolutional network that writes sentences about photos.",
        f"**Vocabulary**: {split.tokenizer.size - 2} words.",
        f"**Trained on** {len(split.train.rows)} photos with {sentences} sentences, seed {recipe.train.seed}.",
    ]
    if found:
        parts.append("\n".join(score_table(found)))
        parts.append(
            "In hundredths, CIDEr-D also. One run, no spread: repeat it with other seeds before comparing."
        )
    parts.append(f"**How it was made**: `lrcn train recipe.yaml` with\n\n```yaml\n{to_yaml(recipe)}```")
    return "\n\n".join(parts) + "\n"


def score_table(found: Mapping[str, CaptionScores], what: str = "photos") -> list[str]:
    """A Markdown table of scores in hundredths, a row a split."""
    metrics = list(next(iter(found.values())).corpus)
    rows = [
        " | ".join([name, str(len(scores.per_image)), *(f"{100 * scores.corpus[m]:.1f}" for m in metrics)])
        for name, scores in found.items()
    ]
    head = ["split", what, *(metric.replace("_", "-").upper() for metric in metrics)]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {row} |" for row in rows)]


def write_sentences(path: Path, rows: list[Row], tokenizer: Tokenizer, sentences: list[Sentence]) -> None:
    """One JSON object a photo, as `lrcn caption` writes them."""
    records = [
        {
            "path": row.path,
            "caption": tokenizer.sentence(sentence.words, finished=sentence.finished),
            "log_prob": round(sentence.log_prob, 4),
        }
        for row, sentence in zip(rows, sentences, strict=True)
    ]
    write_whole(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def _silent(_: str) -> None:
    pass
