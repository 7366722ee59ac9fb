"""Images of motion: the arithmetic of the pictures, the right motion in them, pieces that give what one pass gives."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import save_file

from lrcn.data import flow
from lrcn.data.flow import MotionConfig, difference, encoded, mirrored, with_motion_of
from lrcn.errors import LrcnError
from lrcn.fingerprint import fingerprint

DIS = MotionConfig("flow")
CHEAP = [MotionConfig("difference"), DIS, MotionConfig("flow", "farneback")]
flows = arrays(np.float32, (4, 5, 2), elements=st.floats(-30, 30, width=32))
pictures = arrays(np.uint8, (3, 4, 5))


def texture(height, width, seed=0, blur=2.0):
    """A picture uint8 (3,height,width) with something to see at every place."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), blur)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8).transpose(2, 0, 1)


def sliding(count, right, down, size=64, seed=0):
    """Frames (count,3,size,size) in which the picture moves `right` and `down` pixels a frame."""
    large = texture(size + 40, size + 40, seed)
    tops, lefts = (20 - step * np.arange(count) for step in (down, right))
    return np.stack([large[:, t : t + size, s : s + size] for t, s in zip(tops, lefts, strict=True)])


@given(flows, st.sampled_from([1.0, 7.5, 16.0]))
def test_a_flow_picture_holds_the_papers_numbers(field, scale):
    red, green, blue = encoded(field, scale).astype(float)
    for channel, values in ((red, field[..., 0]), (green, field[..., 1]), (blue, np.hypot(*field.T).T)):
        np.testing.assert_allclose(channel, np.clip(scale * values + 128, 0, 255), atol=0.501)


def test_encoding_of_known_vectors():
    field = np.array([[[0, 0], [3, -4], [20, -20], [-1.5, 0.25]]], np.float32)
    assert encoded(field).transpose(1, 2, 0).tolist() == [
        [[128, 128, 128], [176, 64, 208], [255, 0, 255], [104, 132, 152]]
    ]


@given(pictures, pictures, st.sampled_from([0.5, 1.0, 3.0]))
def test_a_difference_is_told_per_colour(before, now, gain):
    exact = np.clip(128 + gain * (now.astype(float) - before), 0, 255)
    np.testing.assert_allclose(difference(before, now, gain), exact, atol=0.501)


def test_differences_of_wide_pictures():
    before, now = texture(2, 700), texture(2, 700, seed=1)
    exact = np.clip(128 + now.astype(int) - before, 0, 255)
    np.testing.assert_array_equal(difference(before, now), exact)


@given(flows)
def test_mirroring_turns_a_move_to_the_right_into_one_to_the_left(field):
    images = torch.from_numpy(encoded(field))[None]
    assert torch.equal(mirrored(mirrored(images)), images)
    turned = encoded(np.ascontiguousarray(field[:, ::-1]) * np.float32([-1, 1]))
    given_back = mirrored(images)[0].numpy()
    np.testing.assert_array_equal(given_back[1:], turned[1:])
    # 255 - x has its centre at 127.5, half a level beside that of the pictures, and 0 is cut off where 255 is not.
    assert np.abs(given_back[0].astype(int) - turned[0]).max() <= 1


def test_mirrored_flow_is_the_flow_of_mirrored_frames():
    frames = sliding(3, right=3, down=-1)
    images, _ = DIS.images(frames)
    of_mirrored, _ = DIS.images(np.ascontiguousarray(frames[..., ::-1]))
    found = mirrored(torch.from_numpy(images)).numpy()
    assert np.abs(found[1:].astype(int) - of_mirrored[1:])[..., 8:-8, 8:-8].mean() < 2


@pytest.mark.parametrize("degrees", [90, 180])
def test_turned_flow_is_the_flow_of_turned_frames(degrees):
    frames = sliding(2, right=2, down=1)
    turns = degrees // 90
    images = torch.from_numpy(DIS.images(frames)[0])
    of_turned, _ = DIS.images(np.ascontiguousarray(np.rot90(frames, turns, (2, 3))))
    found = with_motion_of(torch.rot90(images, turns, (2, 3)), degrees, 1.0).numpy()
    assert np.abs(found[1].astype(int) - of_turned[1])[:, 8:-8, 8:-8].mean() < 2


def test_enlarged_frames_move_further():
    field = np.full((2, 2, 2), 1.5, np.float32)
    enlarged = with_motion_of(torch.from_numpy(encoded(field))[None], 0.0, 2.0)
    np.testing.assert_allclose(enlarged[0], encoded(2 * field), atol=1)
    images = torch.from_numpy(encoded(field))[None]
    assert with_motion_of(images, 0.0, 1.0) is images


@pytest.mark.parametrize(("right", "down"), [(3, 2), (-2, 1), (0, -3)])
@pytest.mark.parametrize(
    "config",
    [
        replace(DIS, preset="ultrafast"),
        DIS,
        replace(DIS, preset="medium"),
        MotionConfig("flow", "farneback"),
        MotionConfig("flow", "tvl1"),
    ],
    ids=lambda config: f"{config.method}-{config.preset}",
)
def test_a_sliding_picture_gives_its_motion(config, right, down):
    images, _ = config.images(sliding(2, right, down))
    red, green, blue = images[1][:, 10:-10, 10:-10].reshape(3, -1).astype(float).mean(1)
    length = np.hypot(right, down)
    np.testing.assert_allclose([red, green, blue], 128 + 16 * np.array([right, down, length]), atol=4)


@given(data=st.data())
@settings(max_examples=25)
@pytest.mark.parametrize("config", CHEAP, ids=lambda config: f"{config.kind}-{config.method}")
def test_pieces_give_the_images_of_one_pass(config, data):
    frames = np.stack([texture(20, 24, seed) for seed in range(6)])
    whole, last = config.images(frames)
    np.testing.assert_array_equal(last, frames[-1])
    cuts = sorted(data.draw(st.lists(st.integers(0, 6), max_size=4)))
    pieces, before = [], None
    for piece in np.split(frames, cuts):
        images, before = config.images(piece, before)
        pieces.append(images)
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    np.testing.assert_array_equal(before, last)


@pytest.mark.parametrize(
    "config", [*CHEAP, MotionConfig("flow", "tvl1")], ids=lambda c: f"{c.kind}-{c.method}"
)
def test_without_motion_or_without_a_frame_before_an_image_is_grey(config):
    still = np.repeat(texture(24, 24)[None], 3, axis=0)
    assert (config.images(still)[0] == 128).all()
    moving = sliding(3, 2, 0, size=24)
    images, _ = config.images(moving)
    assert (images[0] == 128).all()
    assert (images[1] != 128).any()


def test_images_leave_the_frames_alone_and_the_carry_is_a_copy():
    frames = sliding(3, 2, 0, size=24)
    kept = frames.copy()
    _, last = DIS.images(frames)
    np.testing.assert_array_equal(frames, kept)
    assert last.base is None
    images, before = MotionConfig().images(frames)
    assert images is frames
    assert before is None


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("kind", "flows", "none, difference, flow"),
        ("method", "brox", "dis, farneback"),
        ("preset", "slow", "ultrafast, fast"),
        ("scale", 0.0, "a number above 0"),
        ("gain", -1.0, "a number above 0"),
    ],
)
def test_wrong_settings_are_one_sentence(field, value, words):
    with pytest.raises(LrcnError, match=rf"motion\.{field} is .*{value}.*{words}"):
        MotionConfig(**{field: value})


@pytest.mark.parametrize("method", ["dis", "farneback", "tvl1"])
def test_the_flow_itself_is_in_pixels(method):
    found = MotionConfig(method=method).flow(*sliding(2, 3, -2, size=64))
    np.testing.assert_allclose(np.median(found, axis=(0, 1)), (3, -2), atol=0.3)


@pytest.fixture
def small_raft(monkeypatch):
    """RAFT of random weights that stops after one round."""
    flow._raft.cache_clear()
    network = flow._raft("raft_small", "none", torch.device("cpu"))
    forward = network.forward
    monkeypatch.setattr(network, "forward", lambda a, b: forward(a, b, num_flow_updates=1))
    monkeypatch.setattr(flow, "_raft", lambda method, weights, device: network)
    return network


def test_raft_reads_any_size_in_pieces(small_raft):
    config = MotionConfig("flow", "raft_small", weights="none")
    frames = sliding(3, 2, 1, size=30)[..., :27]
    frames[2] = frames[1]
    whole, last = config.images(frames)
    assert whole.shape == frames.shape
    assert (whole[[0, 2]] == 128).all()
    assert (whole[1] != 128).any()
    np.testing.assert_array_equal(config.images(frames[1:2], frames[0])[0], whole[1:2])
    np.testing.assert_array_equal(last, frames[-1])


def test_weights_of_raft_come_from_a_local_file_or_one_sentence_says_why_not(tmp_path, monkeypatch):
    path = tmp_path / "raft.safetensors"
    random = flow._raft("raft_small", "none", torch.device("cpu"))
    weights = {name: value.clone() for name, value in random.state_dict().items()}
    name = next(iter(weights))
    weights[name] += 1
    save_file(weights, path)
    read = flow._raft("raft_small", str(path), torch.device("cpu"))
    assert torch.equal(read.state_dict()[name], weights[name])

    # Kept images and features are not those of weights that lay there before.
    assert MotionConfig("flow", "raft_small", weights=str(path)).files == (path,)
    assert not MotionConfig("flow", "raft_small").files and not MotionConfig("flow", weights=str(path)).files

    with pytest.raises(LrcnError, match=r"motion\.weights is .*none\.safetensors, which is not there; give"):
        fingerprint(MotionConfig("flow", "raft_small", weights=str(tmp_path / "none.safetensors")))

    def images(weights):
        config = MotionConfig("flow", "raft_small", weights=weights)
        return config.images(sliding(2, 1, 0, size=24))

    with pytest.raises(LrcnError, match=r"none\.safetensors, which cannot be read"):
        images(str(tmp_path / "none.safetensors"))
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(LrcnError, match=r"does not hold the weights of raft_small"):
        images(str(tmp_path / "other.safetensors"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(flow, "getproxies", dict)

    def out_of_reach(*address, **options):
        raise ConnectionRefusedError

    monkeypatch.setattr(flow.socket, "create_connection", out_of_reach)
    with pytest.raises(LrcnError, match=r"raft_small could not be fetched.*ConnectionRefusedError.*local"):
        images("torchvision")
