"""Activity recognition (the paper, section 4).

A CNN on every frame, a recurrent network over time, scores at every step.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lrcn.errors import LrcnError
from lrcn.models.cnn import EncoderConfig, FrameEncoder
from lrcn.models.heads import ClipHead, HeadConfig, Verdict
from lrcn.models.reading import FrameReading, ReadingConfig
from lrcn.models.recurrent import NO_STREAM, RecurrentConfig, RecurrentStack, State

IGNORED = -100
"""The label of a step that no loss or metric counts (padding)."""


@dataclass(frozen=True)
class RecognizerConfig:
    """What the recogniser is.

    Attributes:
        encoder: the CNN on every frame.
        reading: what the network over time is told of each frame, and of its change since the one before.
        recurrent: the network over time; `unit: none` with `reads: [appearance]` is the single-frame baseline.
        head: how a clip's probabilities come from those of its steps.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    reading: ReadingConfig = field(default_factory=ReadingConfig)
    recurrent: RecurrentConfig = field(default_factory=RecurrentConfig)
    head: HeadConfig = field(default_factory=HeadConfig)


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
        self.head = ClipHead(config.head, self.recurrent.outputs)
        if config.recurrent.init == "caffe":
            nn.init.normal_(self.classifier.weight, std=0.01)
            nn.init.zeros_(self.classifier.bias)

    @property
    def causal(self) -> bool:
        """Whether a frame's scores follow from it and those before alone, so that they can be had of a stream."""
        return not self.config.recurrent.bidirectional

    @property
    def needs_whole_clip(self) -> bool:
        """Whether the verdict on a clip takes more than a running mean, or the last, of its frames' probabilities."""
        return not self.causal or self.config.head.pool == "attention"

    def forward(
        self, frames: Tensor | None = None, lengths: Tensor | None = None, *, maps: Tensor | None = None
    ) -> Tensor:
        """Scores (B, T, K) of a padded batch, from frames uint8 (B, T, 3, H, W) or the encoder's `maps` (B, T, C, ...).

        `lengths` (B,) counts each clip's own frames; scores past them mean nothing.
        """
        scores, _ = self.unroll(frames, lengths, maps=maps)
        return scores

    def judge(
        self, frames: Tensor | None = None, lengths: Tensor | None = None, *, maps: Tensor | None = None
    ) -> Verdict:
        """The same scores, and the verdict on each clip as `head` pools them: of whole clips, never of a stream."""
        outputs, _ = self._outputs(frames, lengths, None, maps, None)
        verdict: Verdict = self.head(outputs, self.classifier(outputs), lengths)
        return verdict

    def unroll(
        self,
        frames: Tensor | None = None,
        lengths: Tensor | None = None,
        state: State | None = None,
        *,
        maps: Tensor | None = None,
        cont: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """The same scores, from a state to a state: a long video goes through in chunks, with the answers of one pass.

        `cont` (B, T), in place of `lengths`, is 0 where a new clip begins in a row and 1 elsewhere (the paper's
        sequence markers): a row of clips end to end answers as each of them alone.

        Raises:
            LrcnError: a state is given to a network that reads the future.
        """
        outputs, after = self._outputs(frames, lengths, state, maps, cont)
        return self.classifier(outputs), after

    def initial_state(self, batch: int) -> State:
        """The state before the first frame, of `batch` streams."""
        return self.recurrent.initial_state(batch) | self.reading.initial_state(batch)

    def step(self, frame: Tensor, state: State) -> tuple[Tensor, State]:
        """One frame of each stream, uint8 (B, 3, H, W), and the state -> scores (B, K) and the next state.

        These are the scores at this frame, whatever the head: the verdict on a clip is `judge`'s.

        Raises:
            LrcnError: the network reads the future.
        """
        squeezed = self.encoder(frame)[:, None]
        feature = self.reading(squeezed, state)[:, 0]
        output, after = self.recurrent.step(feature, state)
        return self.classifier(output), after | self.reading.after(squeezed)

    def _outputs(
        self,
        frames: Tensor | None,
        lengths: Tensor | None,
        state: State | None,
        maps: Tensor | None,
        cont: Tensor | None,
    ) -> tuple[Tensor, State]:
        """What the network over time says at every step, (B, T, S), and the state after."""
        if state is not None and not self.causal:
            raise LrcnError(NO_STREAM)
        squeezed = self._squeezed(frames, maps)
        before = self.reading.initial_state(squeezed.shape[0]) if state is None else state
        features = self.reading(squeezed, before, cont)
        outputs, after = self.recurrent(features, lengths, state, cont)
        return outputs, after | self.reading.after(squeezed, lengths)

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
