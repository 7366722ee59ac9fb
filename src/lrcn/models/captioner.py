"""Image captioning (the paper, section 5): a CNN on the image, a decoder that writes about what it gives."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lrcn.errors import LrcnError
from lrcn.models.cnn import EncoderConfig, FrameEncoder
from lrcn.models.decoder import Decoder, DecoderConfig
from lrcn.models.recurrent import State


@dataclass(frozen=True)
class CaptionerConfig:
    """What the captioner is.

    Attributes:
        encoder: the CNN on the image.
        features: D, size the CNN's output is projected to, linearly as the paper's fc8 (there: 1000); 0 hands pooled
            vectors, or the cells that attention looks at, on as they are.
        dropout: on what is projected (the paper: 0.5 on the layer under fc8).
        decoder: the network that writes.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    features: int = 512
    dropout: float = 0.5
    decoder: DecoderConfig = field(default_factory=DecoderConfig)

    def __post_init__(self) -> None:
        if self.features < 0:
            raise LrcnError(f"features is {self.features}: give 0 or more.")
        if not 0 <= self.dropout < 1:
            raise LrcnError(f"dropout is {self.dropout}: give a number from 0 up to but without 1.")
        grid = self.encoder.pool == "grid"
        if self.decoder.attention and not grid:
            raise LrcnError(
                f"decoder.attention is {self.decoder.attention} and encoder.pool {self.encoder.pool}: attention looks "
                "at places, set encoder.pool to grid."
            )
        if grid and not self.features and not self.decoder.attention:
            raise LrcnError("features is 0: a grid must be projected; give it a size such as 512.")


class Captioner(nn.Module):
    """Images and words -> scores (logits) of the next word.

    Args:
        config: the networks.
        words: V, the vocabulary with its end (`Tokenizer.size`).
    """

    def __init__(self, config: CaptionerConfig, words: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = FrameEncoder(config.encoder)
        self.dropout = nn.Dropout(config.dropout)
        # One vector of the whole grid, or one of each cell where attention chooses among them.
        self.cells = config.decoder.attention > 0
        flattened = config.encoder.pool == "grid" and not self.cells
        inputs = self.encoder.channels * (config.encoder.grid**2 if flattened else 1)
        self.project = nn.Linear(inputs, config.features) if config.features else nn.Identity()
        self.decoder = Decoder(config.decoder, config.features or inputs, words)

    def forward(
        self,
        images: Tensor | None,
        words: Tensor,
        lengths: Tensor | None = None,
        *,
        maps: Tensor | None = None,
        image_of: Tensor | None = None,
        only: Tensor | None = None,
    ) -> Tensor:
        """Scores (B, L, V) of the word after each of `words`.

        Args:
            images: uint8 (N, 3, H, W), or None with `maps`, what the encoder's `maps` gave for them.
            words: (B, L) ids, each row beginning with EOS; what stands past its length never matters.
            lengths: (B,) steps of each row; None is L for all. Scores past them mean nothing.
            maps: see `images`.
            image_of: (B,) which image each sentence is about, so that one that several are about goes through the CNN
                once; None is one image a sentence, in order.
            only: (B, L) true where scores are wanted; gives those alone (n, V), row by row. Scores are most of the
                work, and padding needs none.
        """
        seen = self.look(images, maps=maps)
        hidden = self.decoder.hidden(seen if image_of is None else seen[image_of], words, lengths)
        return self.decoder.scores(hidden if only is None else hidden[only])

    def look(self, images: Tensor | None = None, *, maps: Tensor | None = None) -> Tensor:
        """What the decoder is shown of each image: a vector (N, D), or cells (N, G, D) for attention.

        Raises:
            LrcnError: the images are no uint8 pictures.
        """
        if maps is None:
            if images is None or images.dtype != torch.uint8 or images.ndim != 4:
                given = "nothing" if images is None else f"{images.dtype} {tuple(images.shape)}"
                raise LrcnError(f"A captioner reads uint8 images (N, 3, H, W); it was given {given}.")
            maps = self.encoder.maps(images)
        squeezed = self.encoder.squeeze(maps)
        shown = squeezed.flatten(2).transpose(1, 2) if self.cells else squeezed.flatten(1)
        seen: Tensor = self.project(self.dropout(shown))
        return seen

    def initial_state(self, images: Tensor | None = None, *, maps: Tensor | None = None) -> State:
        """The state before the first word of a sentence about each image."""
        return self.decoder.initial_state(self.look(images, maps=maps))

    def step(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """The last word of each sentence (N,), EOS before the first, and the state -> scores (N, V), next state."""
        return self.decoder.step(words, state)

    def step_in_half(self) -> Callable[[Tensor, State], tuple[Tensor, State]]:
        """`step` by a copy of the decoder whose products are in bfloat16, faster where the processor has that.

        Scores are of bfloat16 numbers, and summed up in single precision: as bfloat16, which has two to three digits,
        words of nearly the same score would be mistaken for each other. What cells remember stays in single precision.
        """
        decoder = deepcopy(self.decoder).bfloat16()
        device = decoder.bias.device.type

        def step(words: Tensor, state: State) -> tuple[Tensor, State]:
            with torch.autocast(device, torch.bfloat16):
                hidden, after = decoder.unscored_step(words, state)
            with _rounded_products():
                return self.decoder.scores(hidden.float()), after

        return step


@contextmanager
def _rounded_products() -> Iterator[None]:
    """Lets oneDNN multiply single precision as bfloat16; where it does not, it is still faster than MKL on some."""
    products = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = products.fp32_precision
    products.fp32_precision = "bf16"
    try:
        yield
    finally:
        products.fp32_precision = before
