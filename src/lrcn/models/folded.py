"""A recogniser for use alone: BatchNorm becomes part of the convolutions before it, and no answer changes.

In use BatchNorm is y = a x + b, with a and b fixed for each channel, so the convolution before it can do it in passing.
Which convolution feeds which norm and nothing else is read off the graph that autograd keeps of one pass, as networks
tell it in no other way.
"""

from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from lrcn.models.cnn import FrameEncoder
from lrcn.models.recognizer import Recognizer

_ROUNDING = 1e-4
"""How far, as a share of their range, maps may move; more is no rounding."""


def folded(model: Recognizer) -> Recognizer:
    """A copy of a recogniser for use alone: faster, nothing in it learns, and its answers differ by rounding.

    Norms that do not follow a convolution directly stay (DenseNet, ResNetV2), and a network whose maps would change is
    copied as it is.
    """
    with torch.inference_mode(False):
        copy = deepcopy(model).eval()
        expected = _maps(copy.encoder)
        pairs = list(_pairs(copy.encoder))
        for convolution, norm in pairs:
            _fold(convolution, norm)
        _take_out(copy.encoder.backbone, {id(norm) for _, norm in pairs})
        if (_maps(copy.encoder) - expected).abs().max() > _ROUNDING * expected.abs().max():
            copy.encoder = deepcopy(model.encoder).eval()
        copy.encoder.to(memory_format=torch.channels_last)
        return copy.requires_grad_(False)


def _pairs(encoder: FrameEncoder) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions, and the norms that are all that reads them."""
    convolutions: dict[Any, nn.Conv2d] = {}
    norms: dict[nn.BatchNorm2d, Any] = {}
    calls: Counter[nn.Module] = Counter()

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[module] += 1
        if isinstance(module, nn.Conv2d):
            convolutions[output.grad_fn] = module
        elif isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            norms[module] = inputs[0].grad_fn

    network = encoder.backbone.requires_grad_(True)
    watched = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    hooks = [module.register_forward_hook(note) for module in watched]
    with torch.enable_grad():
        readers = _readers(encoder.unpooled(_frames(encoder)).grad_fn)
    for hook in hooks:
        hook.remove()
    for norm, step in norms.items():
        convolution = convolutions.get(step)
        if convolution is not None and calls[norm] == calls[convolution] == readers[step] == 1:
            yield convolution, norm


def _readers(end: Any) -> "Counter[Any]":
    """How many steps read what each step made, in the graph that leads to `end`."""
    counts: Counter[Any] = Counter()
    ahead, seen = [end], {end}
    while ahead:
        for step, _ in ahead.pop().next_functions:
            counts[step] += 1
            if step is not None and step not in seen:
                seen.add(step)
                ahead.append(step)
    return counts


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight,
        convolution.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )


def _take_out(network: nn.Module, norms: set[int]) -> None:
    """Leaves of those norms what else they do: timm's apply the activation too."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if id(child) in norms:
                setattr(parent, name, getattr(child, "act", nn.Identity()))


@torch.no_grad()
def _maps(encoder: FrameEncoder) -> Tensor:
    return encoder.maps(_frames(encoder))


def _frames(encoder: FrameEncoder) -> Tensor:
    """A frame of noise, uint8 (1, 3, H, W), of the size that the network was made for."""
    height, width = encoder.backbone.pretrained_cfg["input_size"][1:]
    chance = torch.Generator().manual_seed(0)
    noise = torch.randint(256, (1, 3, height, width), dtype=torch.uint8, generator=chance)
    return noise.to(encoder.mean.device)
