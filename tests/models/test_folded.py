"""A folded network answers as the one it was made of."""

import pytest
import torch
from timm.layers import StdConv2d
from torch import nn

from lrcn.models.cnn import EncoderConfig
from lrcn.models.folded import folded
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig
from lrcn.models.zoo import load_model


def recogniser(name="test_efficientnet", **encoder):
    """A tiny one whose norms do something: fresh ones would pass everything through."""
    torch.manual_seed(0)
    config = RecognizerConfig(
        EncoderConfig(name, "none", pool="grid", grid=2, squeeze=4, **encoder),
        ReadingConfig(reads=("appearance", "difference"), features=8),
        RecurrentConfig(size=8),
    )
    model = Recognizer(config, ["a", "b", "c"]).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.3)
    return model


def norms(model):
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def answers(model, frames):
    with torch.inference_mode():
        return model(frames).softmax(-1)


FRAMES = torch.randint(256, (2, 5, 3, 40, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_byobnet"])
def test_answers_stay_and_norms_go(name):
    model = recogniser(name)
    fast = folded(model)
    assert norms(fast) == 0 < norms(model)
    torch.testing.assert_close(answers(fast, FRAMES), answers(model, FRAMES), atol=1e-5, rtol=0)
    assert not any(parameter.requires_grad for parameter in fast.parameters())


def test_a_level_of_a_network_is_folded_too():
    model = recogniser(stage=1)
    fast = folded(model)
    assert norms(fast) == 0
    torch.testing.assert_close(answers(fast, FRAMES), answers(model, FRAMES), atol=1e-5, rtol=0)


class PreActivated(nn.Module):
    """A residual block whose first convolution feeds a norm and the sum: only the second may be folded."""

    def __init__(self, first):
        super().__init__()
        self.first, self.norm = first, nn.BatchNorm2d(6)
        self.second, self.last = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)

    def forward_features(self, pixels):
        stem = self.first(pixels)
        return stem + self.last(self.second(self.norm(stem).relu()))


def with_block(first):
    model = recogniser()
    block = PreActivated(first)
    for norm in (block.norm, block.last):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    block.pretrained_cfg = model.encoder.backbone.pretrained_cfg
    model.encoder.backbone = block.eval()
    model.encoder.reduce = nn.Conv2d(6, 4, 1)
    return model


def test_a_convolution_that_something_else_reads_is_left():
    model = with_block(nn.Conv2d(3, 6, 3))
    fast = folded(model)
    assert norms(fast) == 1
    torch.testing.assert_close(answers(fast, FRAMES), answers(model, FRAMES), atol=1e-5, rtol=0)


def test_a_network_that_folding_would_change_is_copied_as_it_is():
    model = with_block(nn.Sequential(StdConv2d(3, 6, 3), nn.BatchNorm2d(6).eval()))
    model.encoder.backbone.first[1].running_var.fill_(9)
    fast = folded(model)
    assert norms(fast) == norms(model)
    torch.testing.assert_close(answers(fast, FRAMES), answers(model, FRAMES), atol=1e-5, rtol=0)


def test_the_original_stays_as_it_is():
    model = recogniser().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    fast = folded(model)
    assert model.training
    assert not fast.training
    assert learning == [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_model_that_ships_answers_the_same():
    model = load_model("camera-moves", "cpu").model
    fast = folded(model)
    assert norms(fast) == 0
    torch.testing.assert_close(answers(fast, FRAMES), answers(model, FRAMES), atol=1e-5, rtol=0)
