"""From a recipe to a model folder with its numbers: one run, or a study of many."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lrcn.config import to_yaml
from lrcn.data.datasets import ClipSource
from lrcn.data.streams import Streams
from lrcn.evaluate import detection
from lrcn.evaluate.detection import DetectionMetrics
from lrcn.evaluate.recognition import RecognitionMetrics, measure
from lrcn.files import write_whole
from lrcn.fingerprint import fingerprint
from lrcn.models.folder import load_folder, save_model
from lrcn.models.recognizer import Recognizer
from lrcn.models.zoo import chosen_device
from lrcn.train.card import model_card
from lrcn.train.distributed import Team, joined_team
from lrcn.train.loop import LoopConfig, fit
from lrcn.train.recipe import Recipe
from lrcn.train.splits import Split, cached, clips_in, single_split
from lrcn.train.tasks import DetectionTask, RecognitionTask
from lrcn.train.tracking import read_log

Report = Callable[[str], None]


@dataclass
class Result:
    """What a training left behind.

    Attributes:
        folder: the model folder.
        metrics: split name -> what was measured there.
        sentences: the outcome, for a terminal.
        use: a command line that uses the model, with {} for its folder.
    """

    folder: Path
    metrics: dict[str, Any] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)
    use: str = "lrcn recognize VIDEO --model {}"

    def lines(self) -> list[str]:
        """The outcome, for a terminal."""
        return self.sentences


def train(recipe: Recipe, out: str | Path, report: Report = print) -> Result:
    """Trains a recipe into `out`; an unfinished run of the same recipe there is taken up where it stopped.

    Leaves `out/model` (the model folder), `metrics.json`, `recipe.yaml`, `curves.png`, `confusion.png` and the logs.

    Raises:
        LrcnError: the data or settings are wrong, or `out` holds another run.
    """
    out = Path(out)
    with joined_team() as team:
        tell = report if team.leads else _silent
        split = single_split(recipe, tell)
        tell(
            f"{len(split.labels)} classes, {clips_in(split.train)} training clips"
            f"{f', {clips_in(split.dev)} dev' if split.dev else ''}"
            f"{f', {clips_in(split.test)} test' if split.test else ''}."
        )
        model = train_split(recipe, split, out, team)
        if not team.leads:
            return Result(out / "model")
        return _finish(recipe, split, model, out)


def train_split(
    recipe: Recipe, split: Split, out: Path, team: Team, name: str = "train", cache: Path | None = None
) -> Recognizer:
    """Trains on one split, in one or two stretches; returns the model with its best weights.

    Features of a frozen CNN are kept in `cache`, or, where it is None, beside the run.
    """
    import torch

    torch.manual_seed(recipe.train.seed)
    device = team.device(chosen_device(recipe.device))
    model = Recognizer(recipe.model, split.labels).to(device)
    key = run_key(recipe, split)
    first = split
    if model.encoder.tuned == 0:
        # The leader computes the features, and the others find them.
        if not team.leads:
            team.wait()
        kept_in = cache or cache_folder(out)
        first = cached(split, model.encoder, kept_in, recipe.views, recipe.train.workers)
        if team.leads:
            team.wait()
    _stretch(model, recipe, first, recipe.train, out / "train", key, team, name)
    if recipe.tune is not None:
        model.encoder.set_tuned(recipe.tune_stages)
        _stretch(model, recipe, split, recipe.tune, out / "tune", key, team, f"{name}, CNN too")
    return model.eval()


def run_key(recipe: Recipe, split: Split) -> str:
    """A hash of the settings and clips that the weights follow from: a run is only taken up by one with the same."""
    data = replace(recipe.data, frame_cache="")
    return fingerprint(replace(recipe, study=None, description="", name="", data=data), split.key())


def _stretch(
    model: Recognizer,
    recipe: Recipe,
    split: Split,
    config: LoopConfig,
    folder: Path,
    key: str,
    team: Team,
    name: str,
) -> None:
    task = _task(recipe, split)
    folder.mkdir(parents=True, exist_ok=True)
    fit(model, task, config, folder, recipe=key, team=team, name=name)


def _task(recipe: Recipe, split: Split) -> RecognitionTask:
    streams = recipe.data.streams
    clips = split.train if streams is None else Streams(split.train, streams.length, split.layout)
    if streams is None or streams.rows == "clips":
        learned = recipe.label_smoothing, recipe.step_loss, recipe.clip_loss
        return RecognitionTask(clips, split.dev, *learned, recipe.sampling)
    return DetectionTask(clips, split.dev, recipe.label_smoothing, background=streams.background)


def _measured(recipe: Recipe, model: Recognizer, clips: ClipSource) -> RecognitionMetrics | DetectionMetrics:
    streams = recipe.data.streams
    if streams is None or streams.rows == "clips":
        return measure(model, clips, sampling=recipe.sampling)
    return detection.measure(model, clips, streams.background)


def _finish(recipe: Recipe, split: Split, model: Recognizer, out: Path) -> Result:
    judged = {name: clips for name, clips in (("dev", split.dev), ("test", split.test)) if clips is not None}
    # What is measured is what is kept, which is rounded to half precision.
    save_model(out / "model", model, recipe.preprocess, recipe.sampling)
    kept = load_folder(out / "model", model.classifier.weight.device).model
    metrics = {name: _measured(recipe, kept, clips) for name, clips in judged.items()}
    values = {name: found.to_json() for name, found in metrics.items()}
    save_model(
        out / "model",
        kept,
        recipe.preprocess,
        recipe.sampling,
        metrics=values,
        card=model_card(recipe, split, metrics),
    )
    write_whole(out / "metrics.json", json.dumps(values, indent=2) + "\n")
    write_whole(out / "recipe.yaml", to_yaml(recipe))
    _draw(out, metrics, recipe)
    sentences = [f"{name}: {line}" for name, found in metrics.items() for line in found.lines()]
    return Result(out / "model", values, sentences)


def draw_curves(out: Path, stretches: Sequence[str]) -> None:
    """Draws `out/curves.png` from the logs of stretches of training, one after the other."""
    from lrcn import visualize

    rows, before = [], 0
    for stretch in stretches:
        log = read_log(out / stretch / "log.jsonl")
        rows += [{**row, "step": row["step"] + before} for row in log]
        before = rows[-1]["step"] if rows else before
    visualize.save(visualize.curves(rows), out / "curves.png")


def _draw(out: Path, metrics: dict[str, RecognitionMetrics | DetectionMetrics], recipe: Recipe) -> None:
    from lrcn import visualize

    draw_curves(out, ["train", "tune"] if recipe.tune is not None else ["train"])
    if metrics:
        last = list(metrics.values())[-1]
        visualize.save(visualize.confusion(last.confusion, last.labels), out / "confusion.png")


def cache_folder(out: Path) -> Path:
    """Where features are kept: beside the runs, or the studies, where others of the same data find them."""
    for parent in out.parents:
        if parent.name == "runs":
            return parent / "cache"
    return out.parent / "cache"


def _silent(_: str) -> None:
    pass
