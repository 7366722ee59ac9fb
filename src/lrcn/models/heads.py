"""From what a network says at every step to what it says of the clip.

The paper takes the mean of the steps' probabilities (late fusion, section 4). A head may instead weigh the steps by
attention over the recurrent outputs, a_t = softmax_t(w' tanh(V h_t)) (Ilse et al. 2018, equation 8), or take the last
step, the one that has seen all. The probabilities at every step stay what they are, so segments and streams do too.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lrcn.errors import LrcnError


@dataclass(frozen=True)
class HeadConfig:
    """How a clip's probabilities come from those of its steps.

    Attributes:
        pool: "mean" of all steps (the paper), "attention": a weighted mean whose weights are learned, or "last".
        size: hidden units of the attention.
    """

    pool: Literal["mean", "attention", "last"] = "mean"
    size: int = 64

    def __post_init__(self) -> None:
        if self.size < 1:
            raise LrcnError(f"head.size is {self.size}: give 1 or more.")


@dataclass(frozen=True)
class Verdict:
    """What a recogniser says of whole clips.

    Attributes:
        scores: (B, T, K) logits at every step; those past a clip's length mean nothing.
        log_probabilities: (B, K), of each clip as a whole.
        weights: (B, T), how much each step counts for its clip: they sum to 1, and are 0 past its length.
    """

    scores: Tensor
    log_probabilities: Tensor
    weights: Tensor


class ClipHead(nn.Module):
    """Scores at every step -> the verdict on the clip, which needs the whole of it.

    Args:
        config: how.
        outputs: S, size of what the attention reads.
    """

    def __init__(self, config: HeadConfig, outputs: int) -> None:
        super().__init__()
        self.config = config
        self.attention = (
            nn.Sequential(nn.Linear(outputs, config.size), nn.Tanh(), nn.Linear(config.size, 1))
            if config.pool == "attention"
            else None
        )

    def forward(self, outputs: Tensor, scores: Tensor, lengths: Tensor | None = None) -> Verdict:
        """Recurrent outputs (B, T, S) and scores (B, T, K) of clips of `lengths` (B,); None is T for all."""
        steps = torch.arange(scores.shape[1], device=scores.device)[None]
        ends = lengths.to(scores.device)[:, None] if lengths is not None else steps[:, -1:] + 1
        counted = steps == ends - 1 if self.config.pool == "last" else steps < ends
        logits = (
            scores.new_zeros(scores.shape[:2]) if self.attention is None else self.attention(outputs)[..., 0]
        )
        log_weights = logits.masked_fill(~counted, -torch.inf).log_softmax(1)
        fused = (scores.log_softmax(-1) + log_weights[..., None]).logsumexp(1)
        return Verdict(scores, fused, log_weights.exp())
