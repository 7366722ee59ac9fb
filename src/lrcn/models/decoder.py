"""The network that writes: words in, scores of the next word out, with an image (or any vector) in view at every step.

Donahue et al. 2015, section 4.3. The image enters some layers of a recurrent stack as a second input that is the same
at every step (Caffe's static input): 1u, 2u, 2f and 4f of the paper are four choices of depth and layers. What it adds
to the gates is computed once per image; all layers below the first that sees it know nothing of images, so they can be
run once per sentence (`lrcn.likelihood` does).

With `attention` the image is a grid of cells, and at every step a layer is given the mean of the cells weighted by what
the layer below asks for: soft attention (Xu et al. 2015) in the two-layer form of Anderson et al. 2018, section 3.2,
with scores that are products (Luong et al. 2015). The layer below asks at the same step, not the layer's own past, so
that whole sentences still run through fused kernels.

Inside, tensors are (N or 1, P or 1, size): N images, and P positions: the steps of a sentence, the nodes of a tree of
sentences, or one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lrcn.data.tokenizer import EOS
from lrcn.errors import LrcnError
from lrcn.models.recognizer import IGNORED
from lrcn.models.recurrent import UPDATES, Memory, RecurrentConfig, RecurrentStack, State

BESIDE = "beside"
"""The name in a state of what is told beside every word."""

VARIANTS: Mapping[str, dict[str, Any]] = {
    "1u": {"layers": 1, "image_at": (0,)},
    "2u": {"layers": 2, "image_at": (0,)},
    "2f": {"layers": 2, "image_at": (1,)},
    "4f": {"layers": 4, "image_at": (2,)},
}
"""The paper's wirings: "u" gives the image to the lowest layer, "f" (factored) to the lowest of the upper half."""


@dataclass(frozen=True)
class DecoderConfig:
    """What the decoder is; `VARIANTS` has the paper's choices of `layers` and `image_at`.

    Attributes:
        unit: "lstm", "gru", "rnn", or "caffe-rnn", the paper's simple unit as it was released.
        size: S, units in a layer (the paper: 1000).
        layers: depth of the stack.
        image_at: the layers, counted from 0, that are given the image; none makes it a language model.
        embedding: E, size of a word's vector (the paper: 1000).
        attention: A, size of questions and keys; 0 shows the image as one vector. Layer 0, which has none below that
            could ask, is given the mean of the cells.
        dropout: on what each layer gives (the paper: 0).
        word_dropout: on the words' vectors (the paper: 0).
        tied: the vectors of words are also the weights of their scores; needs `embedding` equal to `size`.
        init_range: weights begin uniform in +- this, biases at 0.
    """

    unit: Literal["lstm", "gru", "rnn", "caffe-rnn"] = "lstm"
    size: int = 512
    layers: int = 2
    image_at: tuple[int, ...] = (1,)
    embedding: int = 512
    attention: int = 0
    dropout: float = 0.5
    word_dropout: float = 0.0
    tied: bool = False
    init_range: float = 0.08

    def __post_init__(self) -> None:
        for name, least in (("size", 1), ("layers", 1), ("embedding", 1), ("attention", 0)):
            if getattr(self, name) < least:
                raise LrcnError(f"decoder.{name} is {getattr(self, name)}: give {least} or more.")
        for name in ("dropout", "word_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise LrcnError(
                    f"decoder.{name} is {getattr(self, name)}: give a number from 0 up to but without 1."
                )
        if not all(0 <= layer < self.layers for layer in self.image_at) or len(set(self.image_at)) < len(
            self.image_at
        ):
            raise LrcnError(
                f"decoder.image_at is {list(self.image_at)}: give layers from 0 to {self.layers - 1}, each once."
            )
        if self.attention and not any(self.image_at):
            raise LrcnError(
                f"decoder.attention is {self.attention} and image_at {list(self.image_at)}: it is the layer below "
                "that asks, so give image_at a layer above 0."
            )
        if self.tied and self.embedding != self.size:
            raise LrcnError(
                f"decoder.tied needs an embedding as large as size: they are {self.embedding} and {self.size}."
            )
        if not self.init_range > 0:
            raise LrcnError(f"decoder.init_range is {self.init_range}: give a number above 0.")


class Decoder(nn.Module):
    """Words and an image -> scores (logits) of the next word.

    Args:
        config: the network.
        image: D, size of an image's vector, or of one of its cells.
        words: V, the vocabulary with its end (`Tokenizer.size`).
    """

    layers: "Sequence[_Layer]"

    def __init__(self, config: DecoderConfig, image: int, words: int) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(words, config.embedding)
        below = [config.embedding] + [config.size] * (config.layers - 1)
        layers = [_Layer(inputs, image, number, config) for number, inputs in enumerate(below)]
        self.layers = cast("Sequence[_Layer]", nn.ModuleList(layers))
        self.names = layers[0].recurrent.names
        self.dropout = nn.Dropout(config.dropout)
        self.word_dropout = nn.Dropout(config.word_dropout)
        self.bias = nn.Parameter(torch.zeros(words))
        self.weight = None if config.tied else nn.Parameter(torch.empty(words, config.size))
        for weight in (self.embedding.weight, self.weight):
            if weight is not None:
                nn.init.uniform_(weight, -config.init_range, config.init_range)

    # ---- whole sentences ----

    def forward(
        self,
        image: Tensor,
        words: Tensor,
        lengths: Tensor | None = None,
        *,
        start: State | None = None,
        present: Tensor | None = None,
    ) -> Tensor:
        """Scores (B, L, V) of the word after each of `words` (B, L), which begin with EOS.

        Args:
            image: (B, D), or cells (B, G, D) for attention.
            words: ids; what stands past a sentence's length never matters.
            lengths: (B,) steps of each row; None is L for all. Scores past them mean nothing.
            start: a state to go on from in place of the first.
            present: (B, G) true for cells that are there, at least one a row; the others never matter. None is all.
        """
        return self.scores(self.hidden(image, words, lengths, start=start, present=present))

    def hidden(
        self,
        image: Tensor,
        words: Tensor,
        lengths: Tensor | None = None,
        *,
        start: State | None = None,
        present: Tensor | None = None,
        beside: Tensor | None = None,
    ) -> Tensor:
        """The top layer (B, L, S): where only some steps count, `scores` of those alone are cheaper than `forward`.

        `beside` (B, E) is told beside every word: it is added to the word's vector.
        """
        if lengths is not None:
            beyond = torch.arange(words.shape[1], device=words.device) >= lengths.to(words.device)[:, None]
            words = words.masked_fill(beyond, EOS)
        below: Tensor = self.word_dropout(self.embedding(words))
        if beside is not None:
            below = below + beside[:, None]
        for number, layer in enumerate(self.layers):
            state = None
            if start is not None:
                state = {name: start[f"{name}{number}"][:, None] for name in self.names}
            below = self.dropout(layer(below, image, state, present))
        return below

    def scores(self, hidden: Tensor) -> Tensor:
        """What the top layer gives (..., S) -> scores (..., V)."""
        weight = self.embedding.weight if self.weight is None else self.weight
        return nn.functional.linear(hidden, weight, self.bias)

    # ---- one step ----

    def initial_state(
        self, image: Tensor, present: Tensor | None = None, beside: Tensor | None = None
    ) -> State:
        """The state before the first word: memories of zeros, and what each image says at every step.

        Args:
            image: (N, D), or cells (N, G, D) for attention.
            present: (N, G) true for cells that are there; None is all.
            beside: (N, E) told beside every word, as in `hidden`.
        """
        names = [f"{name}{number}" for number in range(self.config.layers) for name in self.names]
        blank = self.bias.new_zeros(len(image), self.config.size)
        told = {} if beside is None else {BESIDE: beside}
        return dict.fromkeys(names, blank) | self.context(image, present) | told

    def step(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """The last word of each sentence (N,), EOS before the first, and the state -> scores (N, V), next state."""
        hidden, after = self.unscored_step(words, state)
        return self.scores(hidden), after

    def unscored_step(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """`step` up to what the top layer gives (N, S), which `scores` takes."""
        memories = [
            tuple(state[f"{name}{number}"][:, None] for name in self.names)
            for number in range(self.config.layers)
        ]
        below = self.embedding(words)
        if BESIDE in state:
            below = below + state[BESIDE]
        hidden, memories = self.advance(below[:, None], memories, state)
        after = {
            f"{name}{number}": value.squeeze(1)
            for number, memory in enumerate(memories)
            for name, value in zip(self.names, memory, strict=True)
        }
        return hidden.squeeze(1), state | after

    # ---- its parts, for many sentences against many images ----

    def context(self, image: Tensor, present: Tensor | None = None, *, at_gates: bool = False) -> State:
        """All that a step needs of the images (N, ...), computed once for each.

        Args:
            image: (N, D), or cells (N, G, D) for attention.
            present: (N, G) true for cells that are there; None is all.
            at_gates: attention is given what each cell adds to the gates in place of the cells. It costs as much as G
                steps, and each step then costs a third less: for where many sentences meet the same image.
        """
        return {
            f"{name}{number}": value
            for number, layer in enumerate(self.layers)
            for name, value in layer.context(image, present, at_gates).items()
        }

    def advance(
        self, below: Tensor, memories: Sequence[Memory], context: State, *, first: int = 0
    ) -> tuple[Tensor, list[Memory]]:
        """One step of the layers from `first` on, as many as `memories` has.

        Sizes of 1 broadcast: layers that see no image give (1, P, S) where the others give (N, P, S).

        Args:
            below: what the lowest of them reads, (N or 1, P or 1, ...).
            memories: of each layer, tensors (N or 1, P or 1, S).
            context: as `context` gives it.
            first: the lowest layer.

        Returns:
            What the highest of them gives, and the memories after the step.
        """
        after = []
        for number, memory in enumerate(memories, start=first):
            layer = self.layers[number]
            seen = {name: context[own] for name in _CONTEXT if (own := f"{name}{number}") in context}
            after.append(layer.step(below, seen, memory))
            below = self.dropout(layer.shown(after[-1][0]))
        return below, after


_CONTEXT = ("cells", "keys", "gates")


class _Layer(nn.Module):
    """One layer of the stack, whose input is the layer below and, side by side with it, the image if it sees one."""

    def __init__(self, below: int, image: int, number: int, config: DecoderConfig) -> None:
        super().__init__()
        self.below = below
        self.sees = number in config.image_at
        attends = self.sees and number > 0 and config.attention > 0
        self.attention = _Attention(below, image, config.attention) if attends else None
        settings = RecurrentConfig(
            config.unit, config.size, 1, 0.0, one_bias=True, init="caffe", init_range=config.init_range
        )
        self.recurrent = RecurrentStack(below + image * self.sees, settings)

    @property
    def cell(self) -> Any:
        return self.recurrent.cells[0]

    def forward(
        self, below: Tensor, image: Tensor, state: State | None, present: Tensor | None = None
    ) -> Tensor:
        """All steps: what it reads (N, L, below) -> (N, L, S)."""
        if self.attention is not None:
            keys = self.attention.keys_of(image, present)
            below = torch.cat([below, self.attention(below, keys) @ image], dim=2)
        elif self.sees:
            shown = _vectors(image, present)[:, None].expand(-1, below.shape[1], -1)
            below = torch.cat([below, shown], dim=2)
        # No lengths: no step knows of those after it, and packing would cost the fused kernels of a CPU.
        outputs: Tensor = self.recurrent(below, state=state)[0]
        return outputs

    def context(self, image: Tensor, present: Tensor | None, at_gates: bool) -> State:
        """What a step needs of the images: what they, or their cells, add to the gates, or cells; and keys."""
        if self.attention is not None:
            shown = {"gates": self._from_image(image)} if at_gates else {"cells": image}
            return {**shown, "keys": self.attention.keys_of(image, present)}
        return {"gates": self._from_image(_vectors(image, present))} if self.sees else {}

    def step(self, below: Tensor, context: State, memory: Memory) -> Memory:
        """One step: what it reads (N or 1, P, below) and the memory before -> the memory after."""
        gates = nn.functional.linear(below, self.cell.weight_ih_l0[:, : self.below], self.cell.bias_ih_l0)
        if self.attention is not None:
            weights = self.attention(below, context["keys"])
            at_gates = "gates" in context
            gates = gates + (
                weights @ context["gates"] if at_gates else self._from_image(weights @ context["cells"])
            )
        elif self.sees:
            gates = gates + context["gates"][:, None]
        before = nn.functional.linear(memory[0], self.cell.weight_hh_l0, self.cell.bias_hh_l0)
        return UPDATES[self.recurrent.config.unit](gates, before, memory)

    def shown(self, hidden: Tensor) -> Tensor:
        """What the layers above read of h."""
        shown: Tensor = self.cell.shown(hidden) if hasattr(self.cell, "shown") else hidden
        return shown

    def _from_image(self, image: Tensor) -> Tensor:
        # Caffe's static input has no bias of its own.
        return nn.functional.linear(image, self.cell.weight_ih_l0[:, self.below :])


class _Attention(nn.Module):
    """What each of an image's cells v_i counts in their mean: softmax(W_q q . W_k v_i / sqrt(A))."""

    def __init__(self, below: int, image: int, size: int) -> None:
        super().__init__()
        self.question = nn.Linear(below, size)
        self.keys = nn.Linear(image, size, bias=False)

    def forward(self, below: Tensor, keys: Tensor) -> Tensor:
        """What asks (N or 1, P, below) and the keys of cells (N, G, A or A + 1) -> (N, P, G), each of sum 1."""
        question = self.question(below)
        size = question.shape[-1]
        fit = question @ keys[..., :size].transpose(1, 2) / math.sqrt(size)
        if keys.shape[-1] > size:
            fit = fit + keys[..., size, None].transpose(1, 2)
        weights: Tensor = fit.softmax(-1)
        return weights

    def keys_of(self, cells: Tensor, present: Tensor | None) -> Tensor:
        """Keys (N, G, A) of cells (N, G, D); where some are not there, with a last column that is -inf for those."""
        keys: Tensor = self.keys(cells)
        if present is None:
            return keys
        barred = keys.new_zeros(present.shape).masked_fill(~present, -math.inf)
        return torch.cat([keys, barred[..., None]], dim=2)


def _vectors(image: Tensor, present: Tensor | None = None) -> Tensor:
    """Images as one vector each: (N, D), or the mean of the cells (N, G, D) that are there."""
    if image.ndim == 2:
        return image
    if present is None:
        return image.mean(1)
    return (image * present[..., None]).sum(1) / present.sum(1, keepdim=True)


def teacher_forced(sentences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """What a decoder reads and what it should say at each step.

    Args:
        sentences: ids of each, its end included (`Tokenizer.encode`).

    Returns:
        Words read (B, L), EOS before the first; words to say (B, L), IGNORED past a sentence's end; lengths (B,).
    """
    lengths = torch.tensor([len(sentence) for sentence in sentences])
    said = pad_sequence(
        [torch.tensor(sentence) for sentence in sentences], batch_first=True, padding_value=IGNORED
    )
    read = torch.cat([torch.full_like(said[:, :1], EOS), said[:, :-1]], dim=1)
    return read.masked_fill(read == IGNORED, EOS), said, lengths
