"""The model folder of a describer: networks, vocabulary, and how what is given reaches them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lrcn.data.sampling import Sampling
from lrcn.data.slots import Slots
from lrcn.data.tokenizer import Tokenizer
from lrcn.data.transforms import Preprocess
from lrcn.errors import LrcnError
from lrcn.generate import Decoding
from lrcn.models.cnn import without_pretrained
from lrcn.models.describer import Describer, DescriberConfig
from lrcn.models.folder import read_config, read_metrics, read_part, save_task
from lrcn.models.words_folder import read_network

if TYPE_CHECKING:
    from lrcn.predict_descriptions import Description, Given

SHOTS = "watched"
"""What config.json has of a describer of shots; `lrcn.models.shot_describer_folder` reads those."""


@dataclass
class LoadedDescriber:
    """A describer with all it takes to use it.

    Attributes:
        model: the network, in evaluation mode on its device.
        tokenizer: the vocabulary.
        slots: the labels it is given; None where it reads features or frames.
        preprocess: how a frame reaches it, where it reads frames.
        sampling: which frames, or steps of features, it reads.
        decoding: how sentences are chosen where nothing else is asked for.
        folder: where it came from.
        metrics: what was measured when it was made.
    """

    model: Describer
    tokenizer: Tokenizer
    slots: Slots | None = None
    preprocess: Preprocess = field(default_factory=Preprocess)
    sampling: Sampling = field(default_factory=lambda: Sampling(frames=None))
    decoding: Decoding = field(default_factory=Decoding)
    folder: Path | None = None
    metrics: dict[str, Any] = field(default_factory=dict)

    def describe(self, given: "Given", **options: Any) -> "Description":
        """Writes about a video, features or labels; the options are those of `lrcn.predict_descriptions.describe`."""
        # Not above: prediction builds on models, and models know nothing of it.
        from lrcn.predict_descriptions import describe

        return describe(self, given, **options)


def save_describer(
    folder: str | Path,
    loaded: LoadedDescriber,
    *,
    metrics: Mapping[str, Any] | None = None,
    card: str = "",
    half: bool = True,
) -> None:
    """Writes the folder of a describer, whole or not at all; see `lrcn.models.folder.save_task`.

    Raises:
        LrcnError: the folder holds something else than a model, or cannot be written.
    """
    parts = {"preprocess": loaded.preprocess, "sampling": loaded.sampling, "decoding": loaded.decoding}
    if loaded.slots is not None:
        parts["slots"] = loaded.slots
    save_task(
        folder,
        "describe",
        loaded.model,
        parts,
        loaded.tokenizer,
        metrics=metrics,
        card=card,
        half=half,
    )


def load_describer(folder: str | Path, device: str | torch.device = "cpu") -> LoadedDescriber:
    """Reads the folder of a describer.

    Raises:
        LrcnError: a piece is missing, or does not fit the others; the sentence names it.
    """
    folder = Path(folder)
    config = read_config(folder, ("describe",))
    if SHOTS in config:
        raise LrcnError(
            f"{folder} describes shots with a captioner and a recogniser, and here one network is needed: give another "
            "describer."
        )
    model_config = read_part(DescriberConfig, "model", config, folder)
    slots = None
    if model_config.inputs not in ("features", "frames"):
        slots = read_part(Slots, "slots", config, folder)
        if slots.size != model_config.given:
            raise LrcnError(
                f"{folder / 'config.json'} has {slots.size} labels in slots, and its model is given "
                f"{model_config.given}; copy the whole folder again."
            )
    # The folder's own weights are all there is to load; the pretrained ones it began from are not looked for.
    made = partial(Describer, without_pretrained(model_config))
    model, tokenizer = read_network(folder, made, _WORDS, device)
    return LoadedDescriber(
        model=model,
        tokenizer=tokenizer,
        slots=slots,
        preprocess=read_part(Preprocess, "preprocess", config, folder),
        sampling=read_part(Sampling, "sampling", config, folder),
        decoding=read_part(Decoding, "decoding", config, folder),
        folder=folder,
        metrics=read_metrics(folder),
    )


_WORDS = ("decoder.decoder.embedding.weight", "decoder.embedding.weight")
"""Where the arrangements keep the words' vectors."""
