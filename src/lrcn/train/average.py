"""A running mean of the weights along training: what it ends with depends less on its last steps (Polyak 1992)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

# At first a step leaves about one part in ten of all those before it, so that random weights are soon forgotten.
_WARM = 10


class WeightAverage:
    """An exponential running mean of what a model learns; what it does not learn is left out.

    Args:
        model: whose weights are averaged, as it stands at its first step.
        keep: share of the mean that a step leaves as it is.
    """

    def __init__(self, model: nn.Module, keep: float) -> None:
        self.keep = keep
        self.values = {name: value.detach().clone() for name, value in _learning(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Takes in the weights after `step` steps, counted from 1; early ones are soon forgotten."""
        keep = min(self.keep, (step + 1) / (step + _WARM))
        for name, value in _learning(model).items():
            self.values[name].lerp_(value.detach(), 1 - keep)

    @torch.no_grad()
    def put_into(self, model: nn.Module) -> None:
        """Gives the model the mean in place of its weights."""
        for name, value in _learning(model).items():
            value.copy_(self.values[name])

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Takes the mean up where another left it."""
        for name, value in self.values.items():
            self.values[name] = values[name].to(value.device)


def _learning(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.named_parameters() if value.requires_grad}
