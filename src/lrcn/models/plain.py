"""A small CNN to be learned from nothing, for footage unlike the photographs that pretrained networks know.

Depth images, mouths cut out of faces, silhouettes: there, a few small layers trained end to end with the network over
time do better than a large one trained on photographs, and cost a tenth of it.
"""

from typing import Any

import torch
from torch import Tensor, nn

PLAIN = "plain"
"""Its name where networks are chosen by name."""

CHANNELS = (16, 32, 64, 64)
_STRIDES = (2, 2, 2, 1)
_KERNELS = (5, 3, 3, 3)


class PlainCNN(nn.Module):
    """Four convolutions with BatchNorm, an eighth of the frame's side, with the face of a timm network.

    Args:
        width: share of the channels 16, 32, 64, 64.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        channels = [3, *(max(1, round(width * count)) for count in CHANNELS)]
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            )
            for before, after, kernel, stride in zip(channels, channels[1:], _KERNELS, _STRIDES, strict=False)
        )
        self.feature_info = [{"num_chs": count} for count in channels[1:]]
        self.pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "input_size": (3, 64, 64)}

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, H, W) -> maps (N, C, H / 8, W / 8)."""
        for stage in self.stages:
            pixels = stage(pixels)
        return pixels

    def forward_intermediates(self, pixels: Tensor, indices: list[int], **_: Any) -> list[Tensor]:
        """The maps of the one stage in `indices`, as timm's networks give them."""
        for stage in self.stages[: indices[0] + 1]:
            pixels = stage(pixels)
        return [pixels]

    def prune_intermediate_layers(self, indices: list[int], **_: Any) -> None:
        """Drops the stages after those in `indices`."""
        self.stages = self.stages[: max(indices) + 1]

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Which parameters are of which stage."""
        return {"blocks": r"^stages\.(\d+)"}


def standardized(frames: Tensor) -> Tensor:
    """Frames uint8 (N, 3, H, W), each brought to mean 0 and variance 1: its lighting and contrast are taken out."""
    pixels = frames.to(torch.get_default_dtype())
    return nn.functional.layer_norm(pixels, pixels.shape[1:], eps=1.0)
