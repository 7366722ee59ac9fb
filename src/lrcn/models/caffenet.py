"""The paper's CNN, a hybrid of CaffeNet and the network of Zeiler and Fergus, as its authors released it.

Donahue et al. 2015, section 4; the layers are those of the released Caffe prototxts (lisa-caffe-public). Unlike most
networks it reads channels in the order BGR on the scale 0 to 255, rounds sizes up when it pools, and normalises across
channels after pooling.
"""

from typing import Literal

from torch import Tensor, nn

from lrcn.errors import LrcnError

HYBRID_CAFFENET = "hybrid-caffenet"
"""Its name where networks are chosen by name."""

Mean = Literal["imagenet", "released", "flow"]

MEANS: dict[Mean, tuple[float, float, float]] = {
    "imagenet": (123.68, 116.779, 103.939),
    # The released LRCN models were trained and tested with a slip of the pen in red.
    "released": (128.68, 116.779, 103.939),
    "flow": (128.0, 128.0, 128.0),
}
"""What is taken off every pixel: (red, green, blue), or the channels of a flow image."""

CHANNELS = (96, 384, 512, 512, 384)
UNITS = 4096
SIDE = 227
_CELLS = 6


class HybridCaffeNet(nn.Module):
    """Five convolutions (`forward_features`), then fc6 and, if asked for, fc7 (`vectors`).

    It has the face of a timm network as far as the frame encoder looks at it.

    Args:
        layers: fully connected layers: 1 is fc6, 2 is fc6 and fc7.
        width: share of the paper's channels and units; 1 is the paper's network.
        mean: what is taken off every pixel.
    """

    def __init__(self, layers: Literal[1, 2], width: float = 1.0, mean: Mean = "imagenet") -> None:
        super().__init__()
        one, two, three, four, five = (_even(channels * width) for channels in CHANNELS)
        self.outputs = _even(UNITS * width)
        self.conv1 = nn.Conv2d(3, one, 7, stride=2)
        self.conv2 = nn.Conv2d(one, two, 5, stride=2, groups=2)
        self.conv3 = nn.Conv2d(two, three, 3, padding=1)
        self.conv4 = nn.Conv2d(three, four, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(four, five, 3, padding=1, groups=2)
        self.fc6 = nn.Linear(five * _CELLS**2, self.outputs)
        if layers == 2:
            self.fc7 = nn.Linear(self.outputs, self.outputs)
        for layer in self.children():
            nn.init.normal_(layer.weight, std=0.01)  # type: ignore[arg-type]
            nn.init.constant_(layer.bias, 0.1)  # type: ignore[arg-type]
        self.pretrained_cfg = {
            "mean": tuple(value / 255 for value in MEANS[mean]),
            "std": (1 / 255,) * 3,
            "input_size": (3, SIDE, SIDE),
        }

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Frames RGB (N, 3, 227, 227) on the scale 0 to 255, less the mean -> pool5 (N, 384, 6, 6).

        Raises:
            LrcnError: the frames have another size.
        """
        if pixels.shape[-2:] != (SIDE, SIDE):
            raise LrcnError(
                f"{HYBRID_CAFFENET} reads frames of {SIDE} x {SIDE} pixels, these have {pixels.shape[-1]} x "
                f"{pixels.shape[-2]}: set preprocess.size to {SIDE}."
            )
        maps = _normed(_pooled(self.conv1(pixels.flip(1)).relu()))
        maps = _normed(_pooled(self.conv2(maps).relu()))
        maps = self.conv4(self.conv3(maps).relu()).relu()
        return _pooled(self.conv5(maps).relu())

    def vectors(self, maps: Tensor, dropout: nn.Dropout) -> Tensor:
        """pool5 (N, 384, 6, 6) -> fc6 or fc7 (N, 4096), with `dropout` after each layer."""
        vectors = maps.flatten(1)
        for layer in list(self.children())[len(CHANNELS) :]:
            vectors = dropout(layer(vectors).relu())
        return vectors

    def stages(self) -> list[list[str]]:
        """Names of the parameters, layer by layer, from input to output."""
        return [[f"{name}.weight", f"{name}.bias"] for name, _ in self.named_children()]


def _even(number: float) -> int:
    # Half of the channels of a layer in two groups belong to each.
    return max(2, 2 * round(number / 2))


def _pooled(maps: Tensor) -> Tensor:
    return nn.functional.max_pool2d(maps, 3, stride=2, ceil_mode=True)


def _normed(maps: Tensor) -> Tensor:
    return nn.functional.local_response_norm(maps, 5, alpha=1e-4, beta=0.75)
