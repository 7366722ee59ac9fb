"""The paper's CNN: its sizes and counts, what it reads, what of it learns, and the networks built on it."""

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Preprocess
from lrcn.errors import LrcnError
from lrcn.models.caffenet import MEANS, HybridCaffeNet
from lrcn.models.cnn import EncoderConfig, FrameEncoder, learning_parameters
from lrcn.models.folder import load_folder, save_model
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig

SMALL = 1 / 16
LAYERS = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"]


def encoder_of(pool="fc6", **settings) -> FrameEncoder:
    torch.manual_seed(0)
    defaults = {"weights": "none", "width": SMALL, "tune": -1}
    return FrameEncoder(EncoderConfig("hybrid-caffenet", pool=pool, **(defaults | settings)))


def network_of(pool="fc6", width=SMALL, labels=3, **recurrent) -> Recognizer:
    config = RecognizerConfig(
        EncoderConfig("hybrid-caffenet", "none", pool=pool, tune=-1, dropout=0.9, width=width),
        ReadingConfig(features=0, dropout=0.0),
        RecurrentConfig(**({"one_bias": True, "init": "caffe"} | recurrent)),
    )
    return Recognizer(config, [str(k) for k in range(labels)])


def frames_of(count=2, size=227) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("settings", "millions"),
    [
        ({"pool": "fc6", "size": 256}, 65.42),
        ({"pool": "fc6", "size": 1024}, 82.02),
        ({"pool": "fc7", "unit": "none", "dropout": 0.0}, 78.13),
    ],
)
def test_the_published_networks_have_as_many_parameters(settings, millions):
    with torch.device("meta"):
        model = network_of(width=1.0, labels=101, **settings)
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert round(count / 1e6, 2) == millions


def test_the_layers_are_those_of_the_paper():
    with torch.device("meta"):
        network = HybridCaffeNet(2)
    shapes = [tuple(parameter.shape) for name, parameter in network.named_parameters() if "weight" in name]
    assert shapes == [
        (96, 3, 7, 7),
        (384, 48, 5, 5),
        (512, 384, 3, 3),
        (512, 256, 3, 3),
        (384, 256, 3, 3),
        (4096, 13824),
        (4096, 4096),
    ]
    assert [layer.groups for layer in list(network.children())[:5]] == [1, 2, 1, 2, 2]


def test_maps_shrink_as_in_caffe_which_rounds_up():
    encoder, seen = encoder_of("fc7"), []
    for layer in list(encoder.backbone.children())[:5]:
        layer.register_forward_hook(lambda _, given, made: seen.append((given[0].shape[-1], made.shape[-1])))
    maps = encoder.maps(frames_of(1))
    assert seen == [(227, 111), (55, 26), (13, 13), (13, 13), (13, 13)]
    assert maps.shape == (1, 24, 6, 6)
    assert encoder.squeeze(maps).shape == (1, 256) and encoder.channels == 256


@pytest.mark.parametrize("mean", MEANS)
def test_it_sees_blue_green_red_less_the_mean(mean):
    encoder, seen = encoder_of(mean=mean), []
    encoder.backbone.conv1.register_forward_hook(lambda _, given, made: seen.append(given[0]))
    frames = frames_of(1)
    encoder.maps(frames)
    for place, colour in enumerate((2, 1, 0)):
        expected = frames[:, colour] - MEANS[mean][colour]
        torch.testing.assert_close(seen[0][:, place], expected, atol=1e-4, rtol=0)
    assert MEANS["imagenet"][::-1] == (103.939, 116.779, 123.68)


def test_it_begins_as_the_paper_has_it():
    torch.manual_seed(0)
    model = network_of(labels=50)
    for name, parameter in model.encoder.backbone.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0.1).all()
        else:
            assert (
                float(parameter.detach().std()) == pytest.approx(0.01, rel=0.1)
                and parameter.mean().abs() < 2e-3
            )
    assert float(model.classifier.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
    assert not model.classifier.bias.any()


def test_what_is_handed_on_is_fc6_itself_and_dropout_is_only_for_training():
    encoder = encoder_of(dropout=0.9)
    maps = encoder.maps(frames_of())
    fc6 = (maps.flatten(1) @ encoder.backbone.fc6.weight.T + encoder.backbone.fc6.bias).relu()
    torch.testing.assert_close(encoder.eval().squeeze(maps), fc6)
    torch.manual_seed(0)
    for tune in (-1, 0):
        # Frozen or not: the vectors are dropped from, the maps that a cache keeps are not.
        encoder.set_tuned(tune)
        dropped = encoder.train().squeeze(maps)
        assert 0.85 < (dropped == 0).float().mean() < 0.95
        torch.testing.assert_close(dropped[dropped != 0], 10 * fc6[dropped != 0])
        assert torch.equal(encoder.maps(frames_of()), maps)


@pytest.mark.parametrize("tune", [0, 1, 3, -1])
@pytest.mark.parametrize("pool", ["fc6", "fc7"])
def test_layers_are_tuned_one_by_one_from_the_end(pool, tune):
    encoder = encoder_of(pool, tune=tune).train()
    layers = LAYERS[: 6 if pool == "fc6" else 7]
    if tune:
        encoder(frames_of()).square().sum().backward()
    learn = [layer for layer in layers if getattr(encoder.backbone, layer).weight.grad is not None]
    assert learn == layers[len(layers) - tune if tune >= 0 else 0 :]
    assert len(list(learning_parameters(encoder))) == 2 * len(learn)
    assert encoder.maps(frames_of(1)).requires_grad == (tune in (3, -1))


def test_chunks_change_nothing():
    one, other = encoder_of(chunk=1).eval(), encoder_of(chunk=16).eval()
    torch.testing.assert_close(one(frames_of(3)), other(frames_of(3)))


def test_a_clip_reads_the_same_frame_by_frame_and_from_kept_maps(tmp_path):
    model = network_of(size=8).eval()
    save_model(tmp_path / "model", model, Preprocess(227), Sampling(), half=False)
    model = load_folder(tmp_path / "model").model
    frames = frames_of(6).view(2, 3, 3, 227, 227)
    with torch.inference_mode():
        scores = model(frames)
        state = model.initial_state(2)
        for t in range(3):
            now, state = model.step(frames[:, t], state)
            torch.testing.assert_close(now, scores[:, t])
        maps = model.encoder.maps(frames.flatten(0, 1)).view(2, 3, 24, 6, 6)
        torch.testing.assert_close(model(maps=maps), scores)


def test_weights_of_the_single_frame_network_start_the_recurrent_one(tmp_path):
    first = encoder_of("fc7")
    save_file(
        {f"encoder.backbone.{k}": v for k, v in first.backbone.state_dict().items()},
        tmp_path / "a.safetensors",
    )
    torch.manual_seed(9)
    second = FrameEncoder(
        EncoderConfig("hybrid-caffenet", str(tmp_path / "a.safetensors"), pool="fc6", width=SMALL)
    )
    for name, value in second.backbone.state_dict().items():
        assert torch.equal(value, first.backbone.state_dict()[name])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"pool": "grid"}, r"encoder\.pool is grid .* fc6 and fc7 go with hybrid-caffenet"),
        ({"name": "test_resnet"}, r"encoder\.pool is fc6 and encoder\.name test_resnet"),
        ({"stage": 1}, r"encoder\.stage is 1: hybrid-caffenet has no levels"),
        ({"dropout": 1.0}, r"encoder\.dropout is 1\.0"),
        ({"width": 0.0}, r"encoder\.width is 0\.0"),
        ({"weights": "timm"}, "timm has no weights of hybrid-caffenet"),
    ],
)
def test_what_it_has_not_is_refused_in_one_sentence(settings, sentence):
    values = {"name": "hybrid-caffenet", "weights": "none", "pool": "fc6", "width": SMALL} | settings
    with pytest.raises(LrcnError, match=sentence):
        FrameEncoder(EncoderConfig(**values))


def test_frames_of_another_size_are_refused():
    with pytest.raises(
        LrcnError, match=r"227 x 227 pixels, these have 112 x 112: set preprocess\.size to 227"
    ):
        encoder_of()(frames_of(size=112))
