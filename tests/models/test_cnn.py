"""The frame encoder: what is frozen stays, what is tuned learns, and weights fit or are refused."""

import pickle

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lrcn.errors import LrcnError
from lrcn.models import cnn
from lrcn.models.cnn import EncoderConfig, FrameEncoder, learning_parameters, load_backbone

NETWORKS = [
    "test_efficientnet",
    "test_resnet",
    "test_convnext",
    "test_nfnet",
    "test_byobnet",
    "test_mambaout",  # maps with channels last
    "test_coatnet",  # one size only
    "test_vit",  # patches and a class token, one size only
    "test_vit_relpos",  # patches without a class token
]

# One of each way to lay out maps and stages.
FAMILIES = ["test_efficientnet", "test_convnext", "test_mambaout", "test_vit"]


def encoder_of(name="test_efficientnet", **settings) -> FrameEncoder:
    torch.manual_seed(0)
    return FrameEncoder(EncoderConfig(**({"name": name, "weights": "none", "squeeze": 0} | settings)))


def frames_of(count=3, size=64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


def refusal(do) -> str:
    with pytest.raises(LrcnError) as raised:
        do()
    sentence = str(raised.value)
    assert "\n" not in sentence and sentence[-1] in ".?"
    return sentence


# Shapes


@pytest.mark.parametrize("name", NETWORKS)
def test_any_network_gives_vectors_and_grids(name):
    encoder = encoder_of(name).eval()
    vectors = encoder(frames_of())
    assert vectors.shape == (3, encoder.channels) and vectors.std() > 0
    grid = encoder_of(name, pool="grid", grid=3).eval()
    cells = grid(frames_of())
    assert cells.shape == (3, grid.channels, 3, 3) and grid.channels == encoder.channels
    assert encoder_of(name, pool="grid", grid=3, squeeze=7).eval()(frames_of()).shape == (3, 7, 3, 3)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_grid_keeps_where_things_are(name):
    """Channels first: what is bright on the left lies in the map's left, whatever the network's own layout."""
    torch.manual_seed(0)
    encoder = encoder_of(name, pool="grid", grid=2).eval()
    plain = torch.zeros(1, 3, 160, 160, dtype=torch.uint8)
    marked = plain.clone()
    marked[..., 40:120, 8:32] = 255
    change = (encoder(marked) - encoder(plain)).abs().sum(1)[0]
    assert change[:, 0].sum() > change[:, 1].sum()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_level_can_be_chosen_and_what_follows_it_is_left_out(name):
    whole = encoder_of(name)
    for stage in (0, 2):
        encoder = encoder_of(name, stage=stage, pool="grid").eval()
        assert encoder(frames_of(2)).shape[:2] == (2, encoder.channels)
        count = sum(parameter.numel() for parameter in encoder.backbone.parameters())
        assert count < sum(parameter.numel() for parameter in whole.backbone.parameters())


def test_a_level_is_the_one_timm_gives():
    encoder = encoder_of("test_resnet", stage=2, pool="grid", grid=8).eval()
    twin = timm.create_model("test_resnet", num_classes=0).eval()
    twin.load_state_dict(encoder.backbone.state_dict(), strict=False)
    pixels = (frames_of() - encoder.mean) / encoder.std
    expected = twin.forward_intermediates(pixels, indices=[2], intermediates_only=True)[0]
    torch.testing.assert_close(encoder.maps(frames_of()), expected)


def test_frames_are_normalised_as_the_weights_were_trained():
    encoder, twin = encoder_of().eval(), timm.create_model("test_efficientnet", num_classes=0).eval()
    twin.load_state_dict(encoder.backbone.state_dict(), strict=False)
    about = twin.pretrained_cfg
    mean, std = (torch.tensor(about[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    expected = twin((frames_of() / 255 - mean) / std)
    torch.testing.assert_close(encoder.maps(frames_of()), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("pool", ["avg", "grid"])
def test_what_is_handed_on_has_one_scale_whatever_the_network(pool):
    encoder = encoder_of(pool=pool, grid=2, squeeze=0).eval()
    maps = encoder.maps(frames_of())
    maps = maps / maps.std()
    handed = encoder.squeeze(maps).flatten(1)
    torch.testing.assert_close(handed.mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.squeeze(1000 * maps + 7).flatten(1), handed, atol=1e-2, rtol=0)
    assert encoder.squeeze(maps.half()).dtype == torch.float32


@pytest.mark.parametrize(("tune", "chunk"), [(0, 1), (0, 2), (2, 3)])
def test_chunks_change_nothing(tune, chunk):
    whole, parts = encoder_of(tune=tune).eval(), encoder_of(tune=tune, chunk=chunk).eval()
    torch.testing.assert_close(parts(frames_of(7)), whole(frames_of(7)), atol=1e-6, rtol=1e-5)


# Learning


def stages_with_gradients(encoder: FrameEncoder) -> list[bool]:
    parameters = dict(encoder.backbone.named_parameters())
    encoder.zero_grad()
    encoder.train()(frames_of(4)).square().mean().backward()
    found = []
    for stage in encoder._stage_names():
        learns = [parameters[name].grad is not None for name in stage]
        assert all(learns) or not any(learns)
        found.append(learns[0])
    return found


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("tune", [1, 2, -1])
def test_exactly_the_last_stages_learn(name, tune):
    encoder = encoder_of(name, tune=tune)
    count = encoder.tuned
    before = [parameter.requires_grad for parameter in encoder.backbone.parameters()]
    encoder.train()(frames_of(2)).square().mean().backward()
    learning = list(learning_parameters(encoder))
    assert learning and all(parameter.grad is not None for parameter in learning)
    assert all(p.grad is None for p in encoder.backbone.parameters() if not p.requires_grad)
    stages = encoder._stage_names()
    encoder.set_tuned(tune)
    assert [parameter.requires_grad for parameter in encoder.backbone.parameters()] == before
    assert count == (len(stages) if tune < 0 else tune)
    tuned = {name for stage in stages[len(stages) - count :] for name in stage}
    assert {name for name, p in encoder.backbone.named_parameters() if p.requires_grad} == tuned


def test_frozen_it_has_no_gradient_and_only_the_squeeze_learns():
    encoder = encoder_of(pool="grid", squeeze=5).train()
    encoder(frames_of()).sum().backward()
    assert not list(learning_parameters(encoder)) and not encoder.maps(frames_of()).requires_grad
    assert all(parameter.grad is None for parameter in encoder.backbone.parameters())
    assert encoder.reduce.weight.grad is not None


def with_drops(encoder: FrameEncoder) -> FrameEncoder:
    """Something that drops at random at the end of every stage, without weights of its own, as in many networks."""
    for block in encoder.backbone.blocks:
        block[-1].add_module("drop", nn.Dropout(0.5))
        block[-1].drop_path = block[-1].drop
    return encoder


def train_steps(encoder: FrameEncoder) -> dict[str, Tensor]:
    """Statistics of BatchNorm that changed in three training steps."""
    before = {name: value.clone() for name, value in encoder.backbone.named_buffers()}
    encoder.train()
    for _ in range(3):
        encoder(frames_of(4))
    return {name: v for name, v in encoder.backbone.named_buffers() if not torch.equal(v, before[name])}


@pytest.mark.parametrize("batchnorm", ["frozen", "train"])
def test_a_frozen_network_keeps_its_statistics_and_drops_nothing(batchnorm):
    encoder = with_drops(encoder_of(batchnorm=batchnorm))
    assert not train_steps(encoder)
    encoder.train()
    assert not any(module.training for module in encoder.backbone.modules())
    assert torch.equal(encoder(frames_of()), encoder(frames_of()))


def test_in_a_tuned_network_statistics_follow_the_setting_and_frozen_stages_drop_nothing():
    assert not train_steps(encoder_of(tune=-1, batchnorm="frozen"))
    encoder = with_drops(encoder_of(tune=2, batchnorm="train"))
    changed = train_steps(encoder)
    assert changed and all(name.startswith(("blocks.3", "blocks.4", "bn2")) for name in changed)
    assert [block[-1].drop.training for block in encoder.backbone.blocks] == [False] * 3 + [True] * 2
    assert not any(module.training for module in encoder.eval().modules())


def test_more_can_be_tuned_later_and_frozen_again():
    encoder = encoder_of().train()
    assert encoder.tuned == 0
    encoder.set_tuned(1)
    assert encoder.training and stages_with_gradients(encoder) == [False] * 5 + [True]
    encoder.set_tuned(99)
    assert all(stages_with_gradients(encoder))
    encoder.set_tuned(0)
    assert not encoder.maps(frames_of()).requires_grad and not encoder.backbone.training


def test_asking_which_stages_there_are_changes_no_statistics():
    encoder = encoder_of(batchnorm="train").train()
    before = {name: value.clone() for name, value in encoder.backbone.state_dict().items()}
    encoder.set_tuned(2)
    assert all(torch.equal(value, before[name]) for name, value in encoder.backbone.state_dict().items())


# Weights


@pytest.fixture
def weights(tmp_path):
    """A file of the layout timm publishes, classifier and all."""
    torch.manual_seed(5)
    network = timm.create_model("test_efficientnet", num_classes=11)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_a_file_or_its_folder_is_loaded_without_the_classifier(weights):
    expected = load_file(weights)
    for given in (weights, weights.parent):
        state = encoder_of(weights=str(given)).backbone.state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in state.items())
        assert not [name for name in state if name.startswith("classifier")]


def test_weights_of_a_model_folder_and_of_half_precision_are_loaded(tmp_path, weights):
    expected = load_file(weights)
    halved = {name: value.half() if value.is_floating_point() else value for name, value in expected.items()}
    saved = {f"encoder.backbone.{name}": value for name, value in halved.items()}
    save_file(saved | {"classifier.bias": torch.zeros(3)}, tmp_path / "half.safetensors")
    state = encoder_of(weights=str(tmp_path / "half.safetensors")).backbone.state_dict()
    assert state["conv_stem.weight"].dtype == torch.float32
    assert torch.equal(state["conv_stem.weight"], expected["conv_stem.weight"].half().float())


def test_weights_that_do_not_fit_are_refused_in_one_sentence(tmp_path, weights):
    def load(name):
        return refusal(lambda: encoder_of(weights=str(tmp_path / name)))

    assert "nothing.safetensors" in load("nothing.safetensors")
    (tmp_path / "text.safetensors").write_text("words")
    assert "text.safetensors cannot be read" in load("text.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:-50])
    assert "cut.safetensors cannot be read" in load("cut.safetensors")
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "other.safetensors")
    assert "lacks conv_stem.weight; it holds the weights of another network" in load("other.safetensors")
    wider = load_file(weights)
    wider["conv_stem.weight"] = torch.zeros(17, 3, 3, 3)
    save_file(wider, tmp_path / "wider.safetensors")
    assert "another shape for conv_stem.weight" in load("wider.safetensors")


class Trap:
    """A pickle that leaves a trace where it is opened."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return (open, (self.trace, "w"))


def test_a_pickle_is_refused_and_never_opened(tmp_path):
    (tmp_path / "weights.pt").write_bytes(pickle.dumps(Trap(tmp_path / "opened")))
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "torch.pt")
    network = timm.create_model("test_resnet", num_classes=0)
    for name in ("weights.pt", "torch.pt"):
        assert name in refusal(lambda name=name: load_backbone(network, tmp_path / name))
    assert not (tmp_path / "opened").exists()


def test_impossible_encoders_are_refused():
    assert "test_efficientnet" in refusal(lambda: encoder_of("test_efficientne"))
    assert "timm.list_models()" in refusal(lambda: encoder_of("no such net"))
    assert "levels 0 to 4" in refusal(lambda: encoder_of(stage=5))
    for setting in ("grid", "squeeze", "tune", "chunk"):
        assert f"encoder.{setting} is -2" in refusal(lambda setting=setting: EncoderConfig(**{setting: -2}))


def test_a_hub_that_does_not_answer_is_one_sentence(monkeypatch):
    def create(name, pretrained=False, **_):
        raise ConnectionError("many\nlines")

    monkeypatch.setattr(timm, "create_model", create)
    assert "test_resnet could not be fetched" in refusal(lambda: encoder_of("test_resnet", weights="timm"))


@pytest.mark.real
@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tf_efficientnet_lite2"])
def test_real_weights_load_and_tell_pictures_apart(shared_backbones, name):
    encoder = encoder_of(name, weights=str(shared_backbones / f"{name}.safetensors")).eval()
    stored = load_file(shared_backbones / f"{name}.safetensors")
    for key, value in encoder.backbone.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(value, stored[key].float())
    with torch.inference_mode():
        features = encoder(frames_of(2, 96))
    assert (
        features.shape == (2, 1280)
        and features.isfinite().all()
        and (features[0] - features[1]).abs().max() > 0.01
    )


# Where pretrained weights come from when there is no network


def unreachable(*_args, **_options):
    raise OSError("no network")


def test_weights_on_this_machine_are_within_reach_without_a_network(monkeypatch):
    monkeypatch.setattr(cnn.socket, "create_connection", unreachable)
    monkeypatch.setattr(cnn, "try_to_load_from_cache", lambda _repository, file: f"/kept/{file}")
    assert cnn.pretrained_within_reach("tf_efficientnet_lite0")


def test_weights_are_out_of_reach_without_a_network_and_that_is_said_at_once(monkeypatch):
    monkeypatch.setattr(cnn.socket, "create_connection", unreachable)
    monkeypatch.setattr(cnn, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(cnn, "getproxies", dict)
    assert not cnn.pretrained_within_reach("tf_efficientnet_lite0")
    with pytest.raises(LrcnError, match=r"could not be fetched from timm's hub .* give a local file"):
        FrameEncoder(EncoderConfig(weights="timm"))


def test_a_proxy_is_given_a_try(monkeypatch):
    monkeypatch.setattr(cnn.socket, "create_connection", unreachable)
    monkeypatch.setattr(cnn, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(cnn.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(cnn, "getproxies", lambda: {"https": "http://127.0.0.1:9"})
    assert cnn.pretrained_within_reach("tf_efficientnet_lite0")


def test_the_name_of_a_shipped_model_is_a_source_of_weights():
    encoder = FrameEncoder(EncoderConfig(weights="camera-moves", stage=2, pool="grid", grid=14))
    random = FrameEncoder(EncoderConfig(weights="none", stage=2, pool="grid", grid=14))
    one, other = (net.backbone.state_dict()["conv_stem.weight"] for net in (encoder, random))
    assert not torch.equal(one, other)
