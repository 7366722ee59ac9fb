"""A shot in a sentence that says what it shows and how the camera moves (the paper, section 6, variant c).

Two networks that are there already look at the shot. A captioner's CNN sees a few key frames, and its decoder attends
to places in any of them. A recogniser watches the shot frame by frame, and the probabilities it gives, mean over the
shot, are shown to the decoder beside every word, as the paper shows it those of activity, object and tool. What a key
frame cannot tell, such as a pan's direction, comes from there.
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from lrcn.errors import LrcnError
from lrcn.models.arrangements import Seen
from lrcn.models.captioner import Captioner, CaptionerConfig
from lrcn.models.cnn import without_pretrained
from lrcn.models.decoder import Decoder
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.recurrent import State


@dataclass(frozen=True)
class ShotDescriberConfig:
    """What the describer of shots is.

    Attributes:
        captioner: the CNN on key frames and the decoder, which must attend.
        recognizer: what watches the shot; None tells the decoder of no motion.
        labels: the recogniser's K labels.
        key_frames: F, frames that the captioner's CNN sees, spread evenly over the shot.
        pooled: shows the decoder the mean of the key frames, place by place, in place of each of them.
    """

    captioner: CaptionerConfig = field(default_factory=CaptionerConfig)
    recognizer: RecognizerConfig | None = None
    labels: tuple[str, ...] = ()
    key_frames: int = 2
    pooled: bool = False

    def __post_init__(self) -> None:
        if self.key_frames < 1:
            raise LrcnError(f"key_frames is {self.key_frames}: give 1 or more.")
        if not self.captioner.decoder.attention:
            raise LrcnError(
                "captioner.decoder.attention is 0: a describer of shots attends to places in key frames, give 256."
            )
        if (self.recognizer is None) != (not self.labels):
            raise LrcnError(
                f"labels has {len(self.labels)} labels: give those of the recogniser, and none without."
            )


class ShotDescriber(nn.Module):
    """Key frames, the recogniser's probabilities, and words -> scores (logits) of the next word.

    Args:
        config: the networks.
        words: V, the vocabulary with its end (`Tokenizer.size`).
    """

    def __init__(self, config: ShotDescriberConfig, words: int) -> None:
        super().__init__()
        self.config = config
        self.captioner = Captioner(config.captioner, words)
        self.recognizer: Recognizer | None = None
        self.tell: nn.Linear | None = None
        if config.recognizer is not None:
            self.recognizer = Recognizer(config.recognizer, list(config.labels)).requires_grad_(False)
            decoder = config.captioner.decoder
            self.tell = nn.Linear(len(config.labels), decoder.embedding, bias=False)
            nn.init.uniform_(self.tell.weight, -decoder.init_range, decoder.init_range)
        self.decoder = _Writer(self.captioner.decoder)

    def train(self, mode: bool = True) -> "ShotDescriber":
        """Training mode for what learns: the recogniser never does."""
        super().train(mode)
        if self.recognizer is not None:
            self.recognizer.eval()
        return self

    def forward(
        self,
        frames: Tensor | None,
        words: Tensor,
        lengths: Tensor | None = None,
        *,
        seen: Tensor | None = None,
        maps: Tensor | None = None,
    ) -> Tensor:
        """Scores (B, L, V) of the word after each of `words` (B, L), which begin with EOS; the rest as in `look`."""
        return self.decoder.scores(
            self.decoder.hidden(self.look(frames, seen=seen, maps=maps), words, lengths)
        )

    def look(
        self, frames: Tensor | None = None, *, seen: Tensor | None = None, maps: Tensor | None = None
    ) -> Seen:
        """What the decoder knows of each shot.

        Args:
            frames: key frames, uint8 (B, F, 3, H, W), or None with `maps`, what the captioner's CNN gave for them.
            seen: (B, K), the recogniser's probabilities, mean over the shot.
            maps: see `frames`.

        Raises:
            LrcnError: the frames are none, or probabilities are missing.
        """
        given = frames if maps is None else maps
        if given is None or given.ndim != 5 or (maps is None and given.dtype != torch.uint8):
            what = "nothing" if given is None else f"{given.dtype} {tuple(given.shape)}"
            raise LrcnError(
                f"A describer of shots reads uint8 key frames (B, F, 3, H, W); it was given {what}."
            )
        flat = given.flatten(0, 1)
        cells = self.captioner.look(flat) if maps is None else self.captioner.look(maps=flat)
        cells = cells.view(*given.shape[:2], *cells.shape[1:])
        memory = {"cells": cells.mean(1) if self.config.pooled else cells.flatten(1, 2)}
        if self.tell is not None:
            if seen is None or seen.shape != (len(given), len(self.config.labels)):
                raise LrcnError(
                    f"A describer of shots is told probabilities ({len(given)}, {len(self.config.labels)}): give seen."
                )
            memory["told"] = self.tell(seen.to(self.tell.weight.dtype))
        return Seen(memory)

    def initial_state(
        self, frames: Tensor | None = None, *, seen: Tensor | None = None, maps: Tensor | None = None
    ) -> State:
        """The state before the first word of a sentence about each shot; the arguments are those of `look`."""
        memory = self.look(frames, seen=seen, maps=maps).memory
        return self.captioner.decoder.initial_state(memory["cells"], beside=memory.get("told"))

    def step(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """The last word of each sentence (N,), EOS before the first, and the state -> scores (N, V), next state."""
        return self.captioner.decoder.step(words, state)


class _Writer:
    """The captioner's decoder, shown what was seen of shots."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    @property
    def bias(self) -> Tensor:
        return self._decoder.bias

    def hidden(self, seen: Seen, words: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self._decoder.hidden(seen.memory["cells"], words, lengths, beside=seen.memory.get("told"))

    def scores(self, hidden: Tensor) -> Tensor:
        return self._decoder.scores(hidden)


def begin_from(captioner: Captioner, begun: Captioner) -> None:
    """Gives a captioner the weights of one whose vocabulary is the first part of its own; the other words are new."""
    weights, own = begun.state_dict(), captioner.state_dict()
    for name in ("decoder.embedding.weight", "decoder.weight", "decoder.bias"):
        if name in weights:
            weights[name] = torch.cat([weights[name], own[name][len(weights[name]) :]])
    captioner.load_state_dict(weights)


def without_weights(config: ShotDescriberConfig) -> ShotDescriberConfig:
    """The same networks, which look for no pretrained weights."""
    recognizer = None if config.recognizer is None else without_pretrained(config.recognizer)
    return replace(config, captioner=without_pretrained(config.captioner), recognizer=recognizer)
