"""Whether training ever waits for its clips."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lrcn.bench.measuring import Rows, side_by_side

if TYPE_CHECKING:
    from lrcn.data.datasets import ClipSource
    from lrcn.models.recognizer import Recognizer
    from lrcn.train.loop import Batch
    from lrcn.train.recipe import Recipe

# The sample film is 5 s long; its pieces begin a little after each other.
_PIECES, _PIECE_SECONDS, _APART = 48, 2.0, 0.05


def train(
    recipe: str = "",
    clips: str = "",
    batch: int = 0,
    workers: Sequence[int] = (0, 2),
    steps: int = 6,
    repeats: int = 3,
    device: str = "",
) -> Rows:
    """Steps of training that are fed by the loader, beside the same step on a batch that is ready.

    First with frames from the frame cache and a CNN that learns, then with cached features and a CNN that does not.

    Args:
        recipe: a recipe's file; without one, what `lrcn train` does with a folder, the CNN's weights random.
        clips: a manifest or folder of clips instead of the recipe's; without either, pieces of the sample film that
            ships.
        batch: clips in a batch; 0 takes the recipe's.
        workers: how many loader processes, one after the other: [0, 2] on a command line.
        steps: training steps in a pass.
        repeats: passes, of which the median counts; the ways take turns.
        device: where it trains; empty is the CPU, then the GPU where there is one.
    """
    import torch

    from lrcn.train.splits import single_split

    devices = [device] if device else ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    rows: Rows = []
    with TemporaryDirectory() as folder:
        chosen = _recipe(recipe, clips, batch, Path(folder))
        split = single_split(chosen, lambda _: None)
        for index in range(len(split.train)):
            # The first draw of a clip puts its frames into the cache.
            split.train.item(index, 0)
        for name, tuned in (("frames from the cache", True), ("features from the cache", False)):
            for place in devices:
                model, source = _learner(chosen, split.labels, split.train, tuned, place, Path(folder))
                rows += _rows(f"{place}, {name}", model, source, chosen, workers, steps, repeats)
    return rows


def _recipe(recipe: str, clips: str, batch: int, folder: Path) -> "Recipe":
    from lrcn.train.recipe import read_recipe, recipe_for_source

    data = {"source": clips} if clips else {}
    if recipe:
        found = read_recipe(recipe, {"data": data} if data else {})
    else:
        random = {"model": {"encoder": {"weights": "none"}}}
        found, _ = recipe_for_source(clips or _pieces_of_the_sample_film(folder), random)
    return replace(
        found,
        data=replace(found.data, frame_cache=found.data.frame_cache or str(folder / "frames")),
        train=replace(found.train, batch=batch or found.train.batch),
    )


def _pieces_of_the_sample_film(folder: Path, count: int = _PIECES) -> Path:
    """A manifest of training clips."""
    from lrcn.demo_film import shipped

    film = str(shipped("big-buck-bunny.mp4"))
    rows = [
        {
            "path": film,
            "label": "ab"[number % 2],
            "split": "train",
            "start": round(_APART * number, 2),
            "end": round(_APART * number + _PIECE_SECONDS, 2),
        }
        for number in range(count)
    ]
    manifest = folder / "pieces.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return manifest


def _learner(
    recipe: "Recipe", labels: list[str], clips: "ClipSource", tuned: bool, device: str, folder: Path
) -> tuple["Recognizer", "ClipSource"]:
    """A model, and what it is fed: frames where its CNN learns, features where it does not."""
    from lrcn.models.recognizer import Recognizer
    from lrcn.train.splits import Split, cached

    model = Recognizer(recipe.model, labels).to(device)
    if tuned:
        model.encoder.set_tuned(recipe.tune_stages)
        return model.train(), clips
    model.encoder.set_tuned(0)
    return model.train(), cached(Split(labels, clips), model.encoder, folder / "features", 1).train


def _rows(
    name: str,
    model: "Recognizer",
    clips: "ClipSource",
    recipe: "Recipe",
    workers: Sequence[int],
    steps: int,
    repeats: int,
) -> Rows:
    from lrcn.data.datasets import collate
    from lrcn.data.loader import epoch_batches
    from lrcn.data.sampler import ResumableSampler

    sampler = ResumableSampler(len(clips), recipe.train.batch, recipe.data.seed, drop_last=True)
    step = _step(model, clips, recipe)
    ready = [collate([clips.item(*draw) for draw in next(iter(sampler.bound(0)))])]
    ways = {f"{name}, a ready batch": partial(_learned, step, cycle(ready), steps)}
    before = {f"{name}, a ready batch": partial(_learned, step, cycle(ready), 1)}
    with ExitStack() as open_loaders:
        for number in workers:
            loader = epoch_batches(clips, sampler, range(sys.maxsize), workers=number)
            open_loaders.callback(loader.close)
            ways[f"{name}, workers {number}"] = partial(_learned, step, loader, steps)
            # What was prepared while the others took their turn would flatter it.
            before[f"{name}, workers {number}"] = partial(_learned, step, loader, 2 * number + 1)
        rows = side_by_side(ways, repeats, "ratio_to_ready", unit="clips_per_s", before=before)
    return [{**row, "step_ms": round(1000 * recipe.train.batch / row["clips_per_s"], 1)} for row in rows]


def _learned(step: Callable[["Batch"], int], batches: Iterator["Batch"], steps: int) -> int:
    """Takes so many steps; how many clips were learned from."""
    return sum(map(step, islice(batches, steps)))


def _step(model: "Recognizer", clips: "ClipSource", recipe: "Recipe") -> Callable[["Batch"], int]:
    """What takes one training step, and says how many clips were in it."""
    import torch

    from lrcn.train.optim import build_optimizer
    from lrcn.train.tasks import RecognitionTask

    config = recipe.tune if recipe.tune is not None and model.encoder.tuned else recipe.train
    optimizer = build_optimizer(model, config.optim)
    task = RecognitionTask(clips, label_smoothing=recipe.label_smoothing)
    device = model.classifier.weight.device

    def step(batch: "Batch") -> int:
        optimizer.zero_grad(set_to_none=True)
        on_device = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision != "fp32"):
            loss = task.loss(model, on_device)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.optim.clip_norm or float("inf"))
        optimizer.step()
        # Waits for the GPU, as the loop does when it logs the loss.
        loss.item()
        return len(batch["index"])

    return step
