"""The model folder of a captioner: networks, preprocessing of photos, vocabulary, and how sentences are chosen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lrcn.data.photos import PhotoPreprocess
from lrcn.data.tokenizer import Tokenizer
from lrcn.generate import Decoding
from lrcn.models.captioner import Captioner, CaptionerConfig
from lrcn.models.cnn import without_pretrained
from lrcn.models.folder import read_config, read_metrics, read_part, save_task
from lrcn.models.words_folder import read_network

if TYPE_CHECKING:
    from lrcn.data.photo import PhotoSource
    from lrcn.sentences import Caption


@dataclass
class LoadedCaptioner:
    """A captioner with all it takes to use it.

    Attributes:
        model: the network, in evaluation mode on its device.
        preprocess: how a photo reaches it; the only way there is.
        tokenizer: the vocabulary.
        decoding: how sentences are chosen where nothing else is asked for.
        folder: where it came from.
        metrics: what was measured when it was made.
    """

    model: Captioner
    preprocess: PhotoPreprocess
    tokenizer: Tokenizer
    decoding: Decoding = field(default_factory=Decoding)
    folder: Path | None = None
    metrics: dict[str, Any] = field(default_factory=dict)

    def caption(self, source: "PhotoSource", **options: Any) -> "Caption":
        """Writes about a photo; the options are those of `lrcn.predict_captions.caption`."""
        # Not above: prediction builds on models, and models know nothing of it.
        from lrcn.predict_captions import caption

        return caption(self, source, **options)


def save_captioner(
    folder: str | Path,
    model: Captioner,
    preprocess: PhotoPreprocess,
    tokenizer: Tokenizer,
    decoding: Decoding | None = None,
    *,
    metrics: Mapping[str, Any] | None = None,
    card: str = "",
    half: bool = True,
) -> None:
    """Writes the folder of a captioner, whole or not at all; see `lrcn.models.folder.save_task`.

    Raises:
        LrcnError: the folder holds something else than a model, or cannot be written.
    """
    parts = {"preprocess": preprocess, "decoding": decoding or Decoding()}
    save_task(folder, "caption", model, parts, tokenizer, metrics=metrics, card=card, half=half)


def load_captioner(folder: str | Path, device: str | torch.device = "cpu") -> LoadedCaptioner:
    """Reads the folder of a captioner.

    Raises:
        LrcnError: a piece is missing, or does not fit the others; the sentence names it.
    """
    folder = Path(folder)
    config = read_config(folder, ("caption",))
    preprocess = read_part(PhotoPreprocess, "preprocess", config, folder)
    decoding = read_part(Decoding, "decoding", config, folder)
    # The folder's own weights are all there is to load; the pretrained ones it began from are not looked for.
    settings = without_pretrained(read_part(CaptionerConfig, "model", config, folder))
    model, tokenizer = read_network(
        folder, partial(Captioner, settings), ["decoder.embedding.weight"], device
    )
    return LoadedCaptioner(
        model=model,
        preprocess=preprocess,
        tokenizer=tokenizer,
        decoding=decoding,
        folder=folder,
        metrics=read_metrics(folder),
    )
