"""The model folder of a joint embedding: networks, preprocessing of photos and vocabulary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lrcn.data.photos import PhotoPreprocess
from lrcn.data.tokenizer import Tokenizer
from lrcn.models.cnn import without_pretrained
from lrcn.models.folder import read_config, read_metrics, read_part, save_task
from lrcn.models.joint import JointConfig, JointEmbedding
from lrcn.models.words_folder import read_network


@dataclass
class LoadedJoint:
    """A joint embedding with all it takes to use it; `lrcn.Index` finds photos with it.

    Attributes:
        model: the network, in evaluation mode on its device.
        preprocess: how a photo reaches it; the only way there is.
        tokenizer: the vocabulary.
        folder: where it came from.
        metrics: what was measured when it was made.
    """

    model: JointEmbedding
    preprocess: PhotoPreprocess
    tokenizer: Tokenizer
    folder: Path | None = None
    metrics: dict[str, Any] = field(default_factory=dict)

    @torch.no_grad()
    def images(self, photos: Tensor) -> Tensor:
        """Vectors float32 (N, D), on the CPU, of preprocessed photos uint8 (N, 3, size, size)."""
        return self.model.images(photos.to(self.model.see.weight.device)).float().cpu()

    @torch.no_grad()
    def sentences(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Vectors float32 (N, D), on the CPU, of sentences as `Tokenizer.encode` gives them."""
        words = pad_sequence([torch.tensor(sentence) for sentence in ids], batch_first=True)
        lengths = torch.tensor([len(sentence) for sentence in ids])
        return self.model.sentences(words.to(self.model.see.weight.device), lengths).float().cpu()


def save_joint(
    folder: str | Path,
    model: JointEmbedding,
    preprocess: PhotoPreprocess,
    tokenizer: Tokenizer,
    *,
    metrics: Mapping[str, Any] | None = None,
    card: str = "",
    half: bool = True,
) -> None:
    """Writes the folder of a joint embedding, whole or not at all; see `lrcn.models.folder.save_task`.

    Raises:
        LrcnError: the folder holds something else than a model, or cannot be written.
    """
    parts = {"preprocess": preprocess}
    save_task(folder, "embed", model, parts, tokenizer, metrics=metrics, card=card, half=half)


def load_joint(folder: str | Path, device: str | torch.device = "cpu") -> LoadedJoint:
    """Reads the folder of a joint embedding.

    Raises:
        LrcnError: a piece is missing, or does not fit the others; the sentence names it.
    """
    folder = Path(folder)
    config = read_config(folder, ("embed",))
    preprocess = read_part(PhotoPreprocess, "preprocess", config, folder)
    # The folder's own weights are all there is to load; the pretrained ones it began from are not looked for.
    settings = without_pretrained(read_part(JointConfig, "model", config, folder))
    model, tokenizer = read_network(folder, partial(JointEmbedding, settings), ["embedding.weight"], device)
    return LoadedJoint(
        model=model,
        preprocess=preprocess,
        tokenizer=tokenizer,
        folder=folder,
        metrics=read_metrics(folder),
    )
