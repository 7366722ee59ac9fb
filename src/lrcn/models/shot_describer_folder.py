"""The model folder of a describer of shots: networks, vocabulary, and how a video's frames reach each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from lrcn.data.sampling import Sampling
from lrcn.data.tokenizer import Tokenizer
from lrcn.data.transforms import Preprocess
from lrcn.generate import Decoding
from lrcn.models.describer_folder import SHOTS, LoadedDescriber, load_describer
from lrcn.models.folder import read_config, read_metrics, read_part, save_task
from lrcn.models.shot_describer import ShotDescriber, ShotDescriberConfig, without_weights
from lrcn.models.words_folder import read_network

if TYPE_CHECKING:
    from lrcn.data.manifest import Row
    from lrcn.predict import Source
    from lrcn.predict_descriptions import Description


@dataclass
class LoadedShotDescriber:
    """A describer of shots with all it takes to use it.

    It is given frames, so there are no `slots` for labels.

    Attributes:
        model: the networks, in evaluation mode on their device.
        tokenizer: the vocabulary.
        preprocess: how a key frame reaches the captioner's CNN.
        watched: how a frame reaches the recogniser, scaled from the key frames' size.
        sampling: which frames the recogniser reads; its rate counts from the beginning of each shot.
        decoding: how sentences are chosen where nothing else is asked for.
        folder: where it came from.
        metrics: what was measured when it was made.
    """

    model: ShotDescriber
    tokenizer: Tokenizer
    preprocess: Preprocess = field(default_factory=Preprocess)
    watched: Preprocess = field(default_factory=Preprocess)
    sampling: Sampling = field(default_factory=lambda: Sampling(rate=10.0))
    decoding: Decoding = field(default_factory=Decoding)
    folder: Path | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    slots: ClassVar[None] = None

    def describe(self, source: "Source | Row", **options: Any) -> "Description":
        """Writes a video's shot list; the options are those of `lrcn.shots.describe_shots`."""
        # Not above: prediction builds on models, and models know nothing of it.
        from lrcn.shots import describe_shots

        return describe_shots(self, source, **options)


def save_shot_describer(
    folder: str | Path,
    loaded: LoadedShotDescriber,
    *,
    metrics: Mapping[str, Any] | None = None,
    card: str = "",
    half: bool = True,
) -> None:
    """Writes the folder of a describer of shots, whole or not at all; see `lrcn.models.folder.save_task`.

    Raises:
        LrcnError: the folder holds something else than a model, or cannot be written.
    """
    parts = {name: getattr(loaded, name) for name in _PARTS}
    save_task(
        folder, "describe", loaded.model, parts, loaded.tokenizer, metrics=metrics, card=card, half=half
    )


def load_any_describer(
    folder: str | Path, device: str | torch.device = "cpu"
) -> LoadedDescriber | LoadedShotDescriber:
    """Reads the folder of a describer: of whole videos, features or labels, or of shots.

    Raises:
        LrcnError: a piece is missing, or does not fit the others; the sentence names it.
    """
    if SHOTS in read_config(Path(folder), ("describe",)):
        return load_shot_describer(folder, device)
    return load_describer(folder, device)


def load_shot_describer(folder: str | Path, device: str | torch.device = "cpu") -> LoadedShotDescriber:
    """Reads the folder of a describer of shots.

    Raises:
        LrcnError: a piece is missing, or does not fit the others; the sentence names it.
    """
    folder = Path(folder)
    config = read_config(folder, ("describe",))
    parts: dict[str, Any] = {name: read_part(kind, name, config, folder) for name, kind in _PARTS.items()}
    # The folder's own weights are all there is to load; the pretrained ones it began from are not looked for.
    settings = without_weights(read_part(ShotDescriberConfig, "model", config, folder))
    vectors = ["captioner.decoder.embedding.weight"]
    model, tokenizer = read_network(folder, partial(ShotDescriber, settings), vectors, device)
    return LoadedShotDescriber(
        model=model,
        tokenizer=tokenizer,
        folder=folder,
        metrics=read_metrics(folder),
        **parts,
    )


_PARTS: Mapping[str, type] = {
    "preprocess": Preprocess,
    "watched": Preprocess,
    "sampling": Sampling,
    "decoding": Decoding,
}
"""The settings in config.json besides the networks'."""
