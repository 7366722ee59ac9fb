"""What experiments with sentences have in common: how their recipes are written, and what their weights follow from."""

from dataclasses import dataclass, field
from typing import Any

from lrcn.config import to_values
from lrcn.data.photos import CaptionedPhotos
from lrcn.data.transforms import Augment
from lrcn.errors import LrcnError
from lrcn.evaluate.captioning import Show
from lrcn.fingerprint import fingerprint
from lrcn.generate import Decoding
from lrcn.train.caption_tasks import CaptionTask
from lrcn.train.loop import LoopConfig
from lrcn.train.photo_splits import CaptionData, PhotoSplit, WordsConfig

_NOT_LEARNED_FROM = ("name", "description", "decoding", "meteor", "study")


@dataclass(frozen=True, kw_only=True)
class WordsRecipe:
    """One experiment with photos or clips, and sentences about them.

    Attributes:
        data: where photos or clips with sentences come from.
        task: which kind of experiment it is.
        name: of the model.
        description: what it is for, with the expected number and its source.
        words: what becomes a word.
        model: the networks.
        preprocess: how a photo or frame reaches them; stored with the weights.
        augment: random changes to training photos or frames. Mirrored, what is said of left and right is wrong.
        views: random draws of each photo or clip that are kept as features while the CNN is frozen.
        train: the first stretch of training.
        tune: a second one, in which the CNN's last `tune_stages` learn too; None leaves it out.
        tune_stages: stages of the CNN that learn in `tune`; -1 is all.
        device: "auto", "cpu", "cuda", ...
    """

    data: CaptionData
    task: str
    name: str
    description: str = ""
    words: WordsConfig = field(default_factory=WordsConfig)
    model: Any
    preprocess: Any
    augment: Augment = field(default_factory=Augment)
    views: int = 1
    train: LoopConfig = field(default_factory=LoopConfig)
    tune: LoopConfig | None = None
    tune_stages: int = -1
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.views < 1:
            raise LrcnError(f"views is {self.views}: give 1 or more.")


@dataclass(frozen=True, kw_only=True)
class SentenceRecipe(WordsRecipe):
    """One experiment in writing sentences.

    Attributes:
        pairs: a batch is of single sentences with their photos, as the paper has it; otherwise of photos, each with all
            its sentences.
        label_smoothing: share of the target spread over the other words.
        loss_scale: multiplies the loss (the paper's: 20, see `lrcn.train.caption_tasks.CaptionTask`).
        select: how sentences about dev are chosen at every epoch's end, whose CIDEr-D chooses the weights.
        decoding: how sentences are chosen for the numbers at the end, and when the model is used.
        meteor: whether METEOR is measured; None: where lrcn[metrics] is installed.
    """

    pairs: bool = False
    label_smoothing: float = 0.0
    loss_scale: float = 1.0
    select: Decoding = field(default_factory=lambda: Decoding(max_length=20))
    decoding: Decoding = field(default_factory=lambda: Decoding(beam=3))
    meteor: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.label_smoothing < 1:
            raise LrcnError(f"label_smoothing is {self.label_smoothing}: give a share from 0 to below 1.")
        if not self.loss_scale > 0:
            raise LrcnError(f"loss_scale is {self.loss_scale}: give a number above 0.")

    def likelihood(
        self, split: PhotoSplit, captioned: type[CaptionedPhotos] = CaptionedPhotos, show: Show | None = None
    ) -> CaptionTask:
        """Learning of a split's sentences by their likelihood; `captioned` and `show` are for others than photos."""
        clips = captioned(split.train.photos, split.train.sentences, pairs=self.pairs)
        return CaptionTask(
            clips,
            split.dev,
            split.tokenizer,
            self.select,
            label_smoothing=self.label_smoothing,
            loss_scale=self.loss_scale,
            show=show,
        )


def run_key(recipe: Any, split: PhotoSplit) -> str:
    """A hash of the settings and data that the weights follow from: a run is only taken up by one with the same."""
    values = {name: value for name, value in to_values(recipe).items() if name not in _NOT_LEARNED_FROM}
    return fingerprint(values, split.key())
