import pytest
import torch

from lrcn.errors import LrcnError
from lrcn.models.cnn import EncoderConfig, FrameEncoder
from lrcn.models.plain import PlainCNN


def encoder(**settings: object) -> FrameEncoder:
    torch.manual_seed(0)
    return FrameEncoder(
        EncoderConfig(
            **{"name": "plain", "weights": "none", "tune": -1, "pool": "grid", "squeeze": 0, **settings}
        )
    )


def frames(count: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8, generator=generator)


def test_maps_are_an_eighth_of_the_frame():
    assert PlainCNN().forward_features(torch.zeros(2, 3, 64, 96)).shape == (2, 64, 8, 12)
    assert encoder().maps(frames()).shape == (5, 64, 4, 4)


def test_a_share_of_its_width_and_an_earlier_stage_can_be_taken():
    assert encoder(width=0.25).channels == 16
    assert encoder(stage=1, grid=16).maps(frames()).shape == (5, 32, 16, 16)


def test_all_of_it_learns_or_only_its_end():
    assert all(parameter.requires_grad for parameter in encoder().backbone.parameters())
    last = encoder(tune=1)
    learning = {name for name, parameter in last.backbone.named_parameters() if parameter.requires_grad}
    assert learning == {"stages.3.0.weight", "stages.3.1.weight", "stages.3.1.bias"}


def test_standardized_frames_tell_nothing_of_light_and_contrast():
    dim = frames()
    bright = (dim // 2 + 90).to(torch.uint8)
    same, other = encoder(standardize=True).eval(), encoder().eval()
    dim = (dim // 2 * 2).to(torch.uint8)
    torch.testing.assert_close(same.maps(dim), same.maps(bright), atol=1e-3, rtol=1e-3)
    assert not torch.allclose(other.maps(dim), other.maps(bright), atol=1e-2)


def test_nobody_has_pretrained_weights_of_it():
    with pytest.raises(LrcnError, match="plain"):
        encoder(weights="timm")
