"""The stretches in which a network learns from what has sentences: first beside its frozen CNN, then with it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from lrcn.models.cnn import FrameEncoder
from lrcn.train.distributed import Team
from lrcn.train.loop import LoopConfig, Task, fit
from lrcn.train.photo_splits import PhotoSplit, featured
from lrcn.train.run import cache_folder
from lrcn.train.words_recipe import WordsRecipe


@dataclass(frozen=True)
class Stretches:
    """One run, stretch by stretch.

    Attributes:
        out: the run's folder; each stretch has a folder of its own in it.
        key: a hash of the settings and data: a run is only taken up by one with the same.
        team: the processes that train together.
        name: stands before the progress bar.
        cache: where features of a frozen CNN are kept; None: beside the run.
    """

    out: Path
    key: str
    team: Team
    name: str = "train"
    cache: Path | None = None

    def one(self, folder: str, model: nn.Module, task: Task, config: LoopConfig, told: str = "") -> None:
        """Trains `model` in place, or takes up what `folder` holds; `told` follows the name at the progress bar."""
        place = self.out / folder
        place.mkdir(parents=True, exist_ok=True)
        fit(model, task, config, place, recipe=self.key, team=self.team, name=f"{self.name}{told}")

    def both(
        self,
        model: Any,
        recipe: WordsRecipe,
        split: PhotoSplit,
        task_of: Callable[[PhotoSplit], Task],
    ) -> PhotoSplit:
        """Trains `model`, and where the recipe has it, its CNN (`model.encoder`, if it is not None) too.

        Returns:
            The split as it was read last: a frozen CNN's features stand in place of photos and frames.
        """
        encoder: FrameEncoder | None = model.encoder
        shown = split
        if encoder is not None and not encoder.tuned:
            shown = self.featured(split, encoder, recipe.views, recipe.train.workers)
        self.one("train", model, task_of(shown), recipe.train)
        if recipe.tune is not None and encoder is not None:
            shown = split
            encoder.set_tuned(recipe.tune_stages)
            self.one("tune", model, task_of(shown), recipe.tune, ", CNN too")
        return shown

    def featured(self, split: PhotoSplit, encoder: FrameEncoder, views: int, workers: int = 0) -> PhotoSplit:
        """The split with the frozen encoder's features."""
        return featured(split, encoder, self.cache or cache_folder(self.out), views, self.team, workers)
