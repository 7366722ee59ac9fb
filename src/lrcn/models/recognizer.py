"""Activity recognition (the paper, section 4).

A CNN on every frame, a recurrent network over time, scores at every step.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lrcn.errors import LrcnError
from lrcn.models.cnn import EncoderConfig, FrameEncoder
from lrcn.models.reading import FrameReading, ReadingConfig
from lrcn.models.recurrent import RecurrentConfig, RecurrentStack, State

IGNORED = -100
"""The label of a step that no loss or metric counts (padding)."""


@dataclass(frozen=True)
class RecognizerConfig:
    """What the recogniser is.

    Attributes:
        encoder: the CNN on every frame.
        reading: what the network over time is told of each frame, and of its change since the one before.
        recurrent: the network over time; `unit: none` with `reads: [appearance]` is the single-frame baseline.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    reading: ReadingConfig = field(default_factory=ReadingConfig)
    recurrent: RecurrentConfig = field(default_factory=RecurrentConfig)


class Recognizer(nn.Module):
    """Frames -> CNN -> recurrent network -> scores (logits) of K classes at every frame.

    Args:
        config: the networks.
        labels: names of the K classes, in the order of the scores.

    Raises:
        LrcnError: fewer than two labels, or a label twice.
    """

    def __init__(self, config: RecognizerConfig, labels: list[str]) -> None:
        super().__init__()
        if len(labels) < 2 or len(set(labels)) < len(labels):
            raise LrcnError(
                f"A recogniser needs at least two labels, each once; it was given {labels[:5]} ({len(labels)})."
            )
        self.config = config
        self.labels = list(labels)
        self.encoder = FrameEncoder(config.encoder)
        self.reading = FrameReading(config.reading, config.encoder, self.encoder.channels)
        self.recurrent = RecurrentStack(self.reading.outputs, config.recurrent)
        self.classifier = nn.Linear(self.recurrent.outputs, len(labels))

    def forward(
        self, frames: Tensor | None = None, lengths: Tensor | None = None, *, maps: Tensor | None = None
    ) -> Tensor:
        """Scores (B, T, K) of a padded batch, from frames uint8 (B, T, 3, H, W) or the encoder's `maps` (B, T, C, ...).

        `lengths` (B,) counts each clip's own frames; scores past them mean nothing.
        """
        scores, _ = self.unroll(frames, lengths, maps=maps)
        return scores

    def unroll(
        self,
        frames: Tensor | None = None,
        lengths: Tensor | None = None,
        state: State | None = None,
        *,
        maps: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """The same, from a state to a state: a long video goes through in chunks, with the answers of one pass."""
        squeezed = self._squeezed(frames, maps)
        if state is None:
            state = self.initial_state(squeezed.shape[0])
        features = self.reading(squeezed, state)
        outputs, after = self.recurrent(features, lengths, state)
        return self.classifier(outputs), after | self.reading.after(squeezed, lengths)

    def initial_state(self, batch: int) -> State:
        """The state before the first frame, of `batch` streams."""
        return self.recurrent.initial_state(batch) | self.reading.initial_state(batch)

    def step(self, frame: Tensor, state: State) -> tuple[Tensor, State]:
        """One frame of each stream, uint8 (B, 3, H, W), and the state -> scores (B, K) and the next state."""
        squeezed = self.encoder(frame)[:, None]
        feature = self.reading(squeezed, state)[:, 0]
        output, after = self.recurrent.step(feature, state)
        return self.classifier(output), after | self.reading.after(squeezed)

    def _squeezed(self, frames: Tensor | None, maps: Tensor | None) -> Tensor:
        if maps is not None:
            return _in_clips(self.encoder.squeeze(maps.flatten(0, 1)), maps)
        if frames is None or frames.dtype != torch.uint8 or frames.ndim != 5:
            given = "nothing" if frames is None else f"{frames.dtype} {tuple(frames.shape)}"
            raise LrcnError(f"A recogniser reads uint8 frames (B, T, 3, H, W); it was given {given}.")
        return _in_clips(self.encoder(frames.flatten(0, 1)), frames)


def _in_clips(flat: Tensor, like: Tensor) -> Tensor:
    """(B * T, ...) -> (B, T, ...), as many of each as `like` has."""
    return flat.reshape(*like.shape[:2], *flat.shape[1:])


def step_labels(labels: Tensor, steps: int, lengths: Tensor) -> Tensor:
    """Labels at every step, int64 (B, T): a clip's label (B,) is repeated; steps past `lengths` are IGNORED."""
    if labels.ndim == 1:
        labels = labels[:, None].expand(-1, steps)
    beyond = torch.arange(steps, device=labels.device)[None] >= lengths.to(labels.device)[:, None]
    return labels.masked_fill(beyond, IGNORED)


def clip_probabilities(scores: Tensor, lengths: Tensor) -> Tensor:
    """The paper's late fusion: the mean of each clip's per-frame probabilities, (B, T, K) -> (B, K)."""
    inside = torch.arange(scores.shape[1], device=scores.device)[None] < lengths.to(scores.device)[:, None]
    return (scores.softmax(-1) * inside[..., None]).sum(1) / inside.sum(1, keepdim=True)
