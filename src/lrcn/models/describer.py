"""Video description (the paper, section 6): labels or frames in, a sentence out.

What is given is read step by step into a memory of fixed size, whatever the number of steps; the memory then becomes
the state before the first word, and `lrcn.generate` goes on from there. Four ways of reading:

- seq2seq: an encoder reads all steps, and the decoder begins from the state it ends in (the paper's variant a, where
  the steps are the labels of a tuple; Sutskever et al. 2014).
- s2vt: two stacked layers do both: first the lower one reads the steps and the upper one no words, then the lower one
  reads nothing and the upper one words (Venugopalan et al. 2015).
- mean: the decoder is shown the mean of the steps beside every word (Venugopalan et al. 2014); where there is one step,
  a label vector, this is the paper's variants b (of the most probable labels) and c (of all probabilities).
- attention: at every word the decoder chooses among the steps (Yao et al. 2015). Of more than `moments` steps it is
  shown means of 2, of 4, of 8 ... steps in a row.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from lrcn.errors import LrcnError
from lrcn.models.arrangements import S2VT, HandedOver, Seen, Shown
from lrcn.models.cnn import EncoderConfig, FrameEncoder
from lrcn.models.decoder import DecoderConfig
from lrcn.models.recurrent import State

VECTORS = ("max", "prob")
"""The inputs that are one vector of labels."""


@dataclass(frozen=True)
class DescriberConfig:
    """What the describer is.

    Attributes:
        inputs: what is given: "labels", a sequence of them; "max", a vector with 1 at the most probable labels; "prob",
            a vector of their probabilities; "features", vectors of frames made elsewhere; "frames".
        arrangement: how it is read, as above; a label vector has one step, for which "mean" is the way.
        given: K labels, or D of the features; 0 leaves it to training, which finds it in the data. Frames need none.
        encoder: the CNN on frames.
        features: E, size each step is projected to, or of a label's vector; 0 hands vectors on as they are.
        dropout: on what is projected, or on the labels' vectors.
        moments: the most steps that attention chooses among.
        decoder: the network that writes. What an encoder has read is not shown again, so its `image_at` counts for
            "mean" and "attention" alone.
    """

    inputs: Literal["labels", "max", "prob", "features", "frames"] = "frames"
    arrangement: Literal["seq2seq", "s2vt", "mean", "attention"] = "seq2seq"
    given: int = 0
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    features: int = 512
    dropout: float = 0.5
    moments: int = 64
    decoder: DecoderConfig = field(default_factory=DecoderConfig)

    def __post_init__(self) -> None:
        for name, least in (("given", 0), ("features", 0), ("moments", 1)):
            if getattr(self, name) < least:
                raise LrcnError(f"{name} is {getattr(self, name)}: give {least} or more.")
        if not 0 <= self.dropout < 1:
            raise LrcnError(f"dropout is {self.dropout}: give a number from 0 up to but without 1.")
        if self.inputs in VECTORS and self.arrangement != "mean":
            raise LrcnError(
                f"arrangement is {self.arrangement} and inputs {self.inputs}: a label vector is no sequence, set "
                "arrangement to mean."
            )
        if self.inputs == "labels" and not self.features:
            raise LrcnError("features is 0: labels become vectors of some size, such as 128.")
        if self.inputs == "frames" and self.encoder.pool == "grid" and not self.features:
            raise LrcnError("features is 0: a grid must be projected; give it a size such as 512.")
        if (self.arrangement == "attention") != (self.decoder.attention > 0):
            raise LrcnError(
                f"decoder.attention is {self.decoder.attention} and arrangement {self.arrangement}: attention is above "
                "0 in the arrangement of that name, and 0 in all others."
            )
        if self.arrangement == "s2vt" and (self.decoder.layers != 2 or self.decoder.tied):
            raise LrcnError(
                f"decoder.layers is {self.decoder.layers} and tied {str(self.decoder.tied).lower()}: s2vt is made of 2 "
                "layers, untied."
            )


class Describer(nn.Module):
    """Labels or frames, and words -> scores (logits) of the next word.

    What is given, the *source*, is by `config.inputs`: labels int64 (B, T), the k-th label as k + 1 and 0 for none; a
    label vector (B, K) or (B, 1, K); features (B, T, D); or frames uint8 (B, T, 3, H, W). `maps` is what stands in
    place of frames: what the encoder's `maps` gave for them (B, T, ...), or all that is given instead of frames.

    Args:
        config: the networks.
        words: V, the vocabulary with its end (`Tokenizer.size`).

    Raises:
        LrcnError: `config.given` is not known yet.
    """

    def __init__(self, config: DescriberConfig, words: int) -> None:
        super().__init__()
        if not config.given and config.inputs != "frames":
            raise LrcnError(f"given is 0: say how many {config.inputs} there are.")
        self.config = config
        self.encoder = FrameEncoder(config.encoder) if config.inputs == "frames" else None
        self.dropout = nn.Dropout(config.dropout)
        size = config.features or self._step_size()
        if config.inputs == "labels":
            self.project: nn.Module = nn.Embedding(config.given + 1, size, padding_idx=0)
        else:
            self.project = nn.Linear(self._step_size(), size) if config.features else nn.Identity()
        self.decoder = _writer(config, size, words)

    # ---- learning ----

    def forward(
        self,
        source: Tensor | None,
        words: Tensor,
        lengths: Tensor | None = None,
        *,
        steps: Tensor | None = None,
        maps: Tensor | None = None,
        image_of: Tensor | None = None,
        only: Tensor | None = None,
    ) -> Tensor:
        """Scores (B, L, V) of the word after each of `words`.

        Args:
            source: what is given, N rows; None with `maps`.
            words: (B, L) ids, each row beginning with EOS; what stands past its length never matters.
            lengths: (B,) words of each row; None is L for all. Scores past them mean nothing.
            steps: (N,) steps of each source; None is T for all. What stands past them never matters.
            maps: see the class.
            image_of: (B,) which source each sentence is about, so that one that several are about is read once; None
                is one source a sentence, in order.
            only: (B, L) true where scores are wanted; gives those alone (n, V), row by row.
        """
        seen = self.look(source, maps=maps, steps=steps)
        hidden = self.decoder.hidden(seen if image_of is None else seen[image_of], words, lengths)
        return self.decoder.scores(hidden if only is None else hidden[only])

    def look(
        self, source: Tensor | None = None, *, maps: Tensor | None = None, steps: Tensor | None = None
    ) -> Seen:
        """What the decoder knows of each source; the arguments are those of `forward`."""
        given = source if maps is None else maps
        memory = self.begin(0 if given is None else len(given))
        return Seen(self.watch(source, memory, steps, maps=maps))

    # ---- writing ----

    def initial_state(
        self, source: Tensor | None = None, *, maps: Tensor | None = None, steps: Tensor | None = None
    ) -> State:
        """The state before the first word of a sentence about each source; the arguments are those of `forward`."""
        return self.ready(self.look(source, maps=maps, steps=steps).memory)

    def step(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """The last word of each sentence (N,), EOS before the first, and the state -> scores (N, V), next state."""
        return self.decoder.step(words, state)

    # ---- reading piece by piece, in memory that does not grow ----

    def begin(self, batch: int) -> State:
        """The memory before anything of `batch` sources is read."""
        return self.decoder.begin(batch)

    def watch(
        self,
        source: Tensor | None,
        memory: State,
        steps: Tensor | None = None,
        *,
        maps: Tensor | None = None,
    ) -> State:
        """The memory after the next piece of each source, as if all of it had been read at once.

        `steps` (N,) counts each row's own in this piece, and may be 0 where a source has ended.
        """
        seen = self.see(source, maps=maps)
        count, most = seen.shape[:2]
        steps = (torch.full((count,), most) if steps is None else steps).to(seen.device)
        there = torch.arange(most, device=seen.device) < steps[:, None]
        # Not multiplied: what stands past a row's end may be no number at all.
        seen = torch.where(there[..., None], seen, 0)
        going = steps > 0
        if bool(going.all()):
            return self.decoder.watch(seen, steps, memory)
        if not bool(going.any()):
            return memory
        before = {name: value[going] for name, value in memory.items()}
        after = self.decoder.watch(seen[going], steps[going], before)
        return {name: value.index_put((going,), after[name]) for name, value in memory.items()}

    def ready(self, memory: State) -> State:
        """The memory -> the state before the first word."""
        return self.decoder.ready(memory)

    def see(self, source: Tensor | None = None, *, maps: Tensor | None = None) -> Tensor:
        """The steps (B, T, E) of what is given; a label vector is one.

        Raises:
            LrcnError: it is not what the model reads.
        """
        given = source if maps is None else maps
        if given is None or not self._fits(given, maps is not None):
            raise LrcnError(self._wrong(given))
        if self.config.inputs == "labels":
            embedded: Tensor = self.dropout(self.project(given))
            return embedded
        if self.encoder is not None:
            flat = given.flatten(0, 1)
            squeezed = self.encoder.squeeze(self.encoder.maps(flat) if maps is None else flat)
            shown = squeezed.reshape(*given.shape[:2], -1)
        else:
            shown = given.to(next(self.decoder.parameters()).dtype).view(len(given), -1, self.config.given)
        seen: Tensor = self.project(self.dropout(shown))
        return seen

    def _fits(self, given: Tensor, is_maps: bool) -> bool:
        if self.encoder is not None:
            return given.ndim >= 3 if is_maps else given.dtype == torch.uint8 and given.ndim == 5
        if self.config.inputs == "labels":
            return given.ndim == 2 and given.dtype == torch.int64
        dimensions = (3,) if self.config.inputs == "features" else (2, 3)
        return given.ndim in dimensions and given.shape[-1] == self.config.given

    def _wrong(self, source: Tensor | None) -> str:
        wanted = {
            "labels": "ids of labels (B, T)",
            "features": f"features (B, T, {self.config.given})",
            "frames": "uint8 frames (B, T, 3, H, W)",
        }.get(self.config.inputs, f"label vectors (B, {self.config.given})")
        given = "nothing" if source is None else f"{source.dtype} {tuple(source.shape)}"
        return f"This describer reads {wanted}; it was given {given}."

    def _step_size(self) -> int:
        if self.encoder is None:
            return self.config.given
        return self.encoder.channels * (
            self.config.encoder.grid**2 if self.config.encoder.pool == "grid" else 1
        )


def _writer(config: DescriberConfig, inputs: int, words: int) -> HandedOver | S2VT | Shown:
    if config.arrangement == "seq2seq":
        return HandedOver(config.decoder, inputs, words)
    if config.arrangement == "s2vt":
        return S2VT(config.decoder, inputs, words)
    return Shown(config.decoder, inputs, words, config.moments if config.arrangement == "attention" else 1)
