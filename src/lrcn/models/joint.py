"""Images and sentences in one space: a sentence lies near the images it is about.

Each image and each sentence becomes one vector on the unit sphere, on its own, so that searching a collection is one
matrix product (Kiros et al. 2014; the loss with the hardest negatives is VSE++'s, Faghri et al. 2018). The paper's own
retrieval, by the likelihood of each caption given each image, is in `lrcn.likelihood`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lrcn.errors import LrcnError
from lrcn.models.cnn import EncoderConfig, FrameEncoder
from lrcn.models.recurrent import RecurrentConfig, RecurrentStack

_SCALE = 1 / 0.07
_LARGEST_SCALE = 100.0


@dataclass(frozen=True)
class JointConfig:
    """What the joint embedding is.

    Attributes:
        encoder: the CNN on the image.
        size: D, of the joint space.
        embedding: E, of a word's vector.
        recurrent: the network that reads the sentence; it may read both ways.
        sentence: what of its outputs stands for the sentence: "last", or their "mean" or "max" over the words.
        dropout: on what the CNN gives, and on the words' vectors.
        loss: "hardest": a margin to the nearest wrong partner in the batch (VSE++); "all": to every wrong partner, by
            their mean; "infonce": cross-entropy over the batch, its temperature learned (CLIP, Radford et al. 2021).
        margin: of "hardest" and "all".
        attention: A, weighted means of a grid's cells, each by weights of its own that are learned, that the image is
            seen as; 0 sees the cells side by side.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    size: int = 512
    embedding: int = 300
    recurrent: RecurrentConfig = field(default_factory=lambda: RecurrentConfig(size=512, dropout=0.0))
    sentence: Literal["last", "mean", "max"] = "mean"
    dropout: float = 0.2
    loss: Literal["hardest", "all", "infonce"] = "hardest"
    margin: float = 0.2
    attention: int = 0

    def __post_init__(self) -> None:
        if self.size < 1 or self.embedding < 1:
            raise LrcnError(f"size is {self.size} and embedding {self.embedding}: give 1 or more.")
        if not 0 <= self.dropout < 1:
            raise LrcnError(f"dropout is {self.dropout}: give a number from 0 up to but without 1.")
        if not self.margin > 0:
            raise LrcnError(f"margin is {self.margin}: give a number above 0.")
        if self.attention < 0:
            raise LrcnError(f"attention is {self.attention}: give 0 or more.")
        if self.attention and self.encoder.pool != "grid":
            raise LrcnError(
                f"attention is {self.attention} and encoder.pool {self.encoder.pool}: attention looks at places, set "
                "encoder.pool to grid."
            )
        if self.recurrent.bidirectional and self.sentence == "last":
            raise LrcnError(
                "sentence is last, which a network that reads both ways has none of: set mean or max."
            )


class JointEmbedding(nn.Module):
    """Images -> (N, D) and sentences -> (N, D), all of length 1; their products say how well they match.

    Args:
        config: the networks.
        words: V, the vocabulary with its end (`Tokenizer.size`).
    """

    def __init__(self, config: JointConfig, words: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = FrameEncoder(config.encoder)
        cells = config.encoder.grid**2 if config.encoder.pool == "grid" else 1
        self.attend = nn.Linear(self.encoder.channels, config.attention) if config.attention else None
        self.dropout = nn.Dropout(config.dropout)
        self.see = nn.Linear(self.encoder.channels * (config.attention or cells), config.size)
        self.embedding = nn.Embedding(words, config.embedding)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.recurrent = RecurrentStack(config.embedding, config.recurrent)
        self.read = nn.Linear(self.recurrent.outputs, config.size)
        self.log_scale = nn.Parameter(torch.tensor(math.log(_SCALE))) if config.loss == "infonce" else None

    def images(self, images: Tensor | None = None, *, maps: Tensor | None = None) -> Tensor:
        """Vectors (N, D) of uint8 images (N, 3, H, W), or of what the encoder's `maps` gave for them.

        Raises:
            LrcnError: the images are no uint8 pictures.
        """
        if maps is None:
            if images is None or images.dtype != torch.uint8 or images.ndim != 4:
                given = "nothing" if images is None else f"{images.dtype} {tuple(images.shape)}"
                raise LrcnError(f"A joint embedding reads uint8 images (N, 3, H, W); it was given {given}.")
            maps = self.encoder.maps(images)
        seen = self._of_image(self.encoder.squeeze(maps))
        return nn.functional.normalize(self.see(self.dropout(seen)), dim=1)

    def sentences(self, words: Tensor, lengths: Tensor) -> Tensor:
        """Vectors (N, D) of ids (N, L), ends included; what stands past a sentence's length (N,) never matters."""
        inside = torch.arange(words.shape[1], device=words.device) < lengths.to(words.device)[:, None]
        vectors = self.dropout(self.embedding(words.masked_fill(~inside, 0)))
        outputs, _ = self.recurrent(vectors, lengths)
        return nn.functional.normalize(self.read(self._of_sentence(outputs, inside)), dim=1)

    def loss(self, images: Tensor, sentences: Tensor, image_of: Tensor | None = None) -> Tensor:
        """The scalar loss of a batch of pairs.

        Args:
            images: (B, D).
            sentences: (B, D), row by row about those images.
            image_of: (B,) names the images, so that two sentences about one are no wrong partners; None is all
                different.
        """
        products = images @ sentences.T
        same = torch.eye(len(images), dtype=torch.bool, device=images.device)
        if image_of is not None:
            same = image_of[:, None] == image_of
        if self.log_scale is not None:
            return contrastive_loss(products * self.log_scale.exp().clamp(max=_LARGEST_SCALE), same)
        return ranking_loss(products, same, self.config.margin, hardest=self.config.loss == "hardest")

    def _of_image(self, maps: Tensor) -> Tensor:
        if self.attend is None:
            return maps.flatten(1)
        cells = maps.flatten(2).transpose(1, 2)
        weights: Tensor = self.attend(cells).softmax(1)
        return (weights.transpose(1, 2) @ cells).flatten(1)

    def _of_sentence(self, outputs: Tensor, inside: Tensor) -> Tensor:
        if self.config.sentence == "max":
            return outputs.masked_fill(~inside[..., None], -math.inf).amax(1)
        if self.config.sentence == "mean":
            return outputs.masked_fill(~inside[..., None], 0).sum(1) / inside.sum(1, keepdim=True)
        return outputs[torch.arange(len(outputs), device=outputs.device), inside.sum(1) - 1]


def ranking_loss(products: Tensor, same: Tensor, margin: float, *, hardest: bool) -> Tensor:
    """How far wrong partners come within `margin` of the right ones, in both directions (VSE++, equations 5 and 6).

    Args:
        products: (B, B), images by sentences; the right pairs stand on the diagonal.
        same: (B, B), pairs that are no wrong ones.
        margin: of cosines.
        hardest: the nearest wrong partner alone counts, else all, by their mean.
    """
    right = products.diagonal()
    by_image = (margin + products - right[:, None]).clamp(min=0).masked_fill(same, 0)
    by_sentence = (margin + products - right[None]).clamp(min=0).masked_fill(same, 0)
    if hardest:
        return by_image.amax(1).mean() + by_sentence.amax(0).mean()
    return (by_image.sum() + by_sentence.sum()) / (~same).sum().clamp(min=1)


def contrastive_loss(scores: Tensor, same: Tensor) -> Tensor:
    """Cross-entropy of the right partner among all in the batch, mean of both directions (InfoNCE).

    Args:
        scores: (B, B), images by sentences; the right pairs stand on the diagonal.
        same: (B, B), pairs that are no wrong ones.
    """
    right = torch.arange(len(scores), device=scores.device)
    others = same & ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    scores = scores.masked_fill(others, -math.inf)
    entropy = nn.functional.cross_entropy
    return (entropy(scores, right) + entropy(scores.T, right)) / 2


def nearest(
    queries: Tensor, items: Tensor | NDArray[np.floating], k: int, *, memory: int = 64 * 2**20
) -> tuple[Tensor, Tensor]:
    """Of each query the k items of the largest product, exactly.

    Args:
        queries: (Q, D).
        items: (N, D), of any precision; may be an array on disk (numpy.memmap), which is read once.
        k: how many, at most N.
        memory: bytes that the products of one piece may take.

    Returns:
        Products float32 (Q, k) and numbers of items int64 (Q, k), the best first.
    """
    k = min(k, len(items))
    best = queries.new_full((len(queries), 0), 0, dtype=torch.float32)
    which = queries.new_zeros((len(queries), 0), dtype=torch.int64)
    for first, part in _pieces(items, max(k, memory // (4 * max(len(queries), 1)))):
        products = queries.float() @ part.to(queries.device, torch.float32).T
        numbers = torch.arange(first, first + len(part), device=queries.device).expand(len(queries), -1)
        products, numbers = torch.cat([best, products], 1), torch.cat([which, numbers], 1)
        best, places = products.topk(min(k, products.shape[1]), dim=1)
        which = numbers.gather(1, places)
    return best, which


def _pieces(items: Tensor | NDArray[np.floating], rows: int) -> Iterator[tuple[int, Tensor]]:
    for first in range(0, len(items), rows):
        part = items[first : first + rows]
        yield first, part if isinstance(part, Tensor) else torch.from_numpy(np.array(part))
