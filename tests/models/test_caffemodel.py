"""Files that Caffe saved: written here byte by byte, and what they compute worked out apart from the library."""

import re
import struct
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrcn.cli import main
from lrcn.errors import LrcnError
from lrcn.models import caffe_file
from lrcn.models.caffe_file import read_caffemodel
from lrcn.models.caffemodel import import_caffemodel, lstm_weights
from lrcn.models.folder import load_folder

LABELS = ["Archery", "Biking", "Diving"]
WIDE = (6, 24, 32, 32, 24)
"""Channels of a network a sixteenth as wide as the paper's."""
UNITS, SIZE = 256, 5


# ---- writing the format: protobuf's wire format, caffe.proto ----


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number % 128 + 128]), number // 128
    return out + bytes([number])


def field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return varint(number * 8) + varint(content)
    return varint(number * 8 + 2) + varint(len(content)) + content


def blob(values, form="shape") -> bytes:
    """BlobProto: `shape` and packed floats as of today, `legacy` four sizes, `loose` one by one, `double`."""
    values = np.asarray(values)
    if form == "legacy":
        sizes = (1,) * (4 - values.ndim) + values.shape
        shape = b"".join(field(number, size) for number, size in enumerate(sizes, 1))
    elif form == "loose":
        shape = field(7, b"".join(field(1, size) for size in values.shape))
    else:
        shape = field(7, field(1, b"".join(map(varint, values.shape))))
    if form == "loose":
        data = b"".join(varint(5 * 8 + 5) + struct.pack("<f", value) for value in values.flat)
    elif form == "double":
        data = field(8, values.astype("<f8").tobytes())
    else:
        data = field(5, values.astype("<f4").tobytes())
    return shape + data


def net(layers: Sequence[tuple[str, Sequence]], form="shape") -> bytes:
    """NetParameter of named layers, with layers that have no weights in between."""
    out = field(1, b"lrcn")
    for name, blobs in layers:
        if form == "legacy":
            layer = field(2, b"below") + field(4, name.encode()) + field(5, 4)
            out += field(2, layer + b"".join(field(6, blob(values, form)) for values in blobs))
            out += field(2, field(4, b"relu") + field(5, 18))
        else:
            layer = field(1, name.encode()) + field(2, b"Convolution") + field(3, b"below")
            out += field(100, layer + b"".join(field(7, blob(values, form)) for values in blobs))
            out += field(100, field(1, b"relu") + field(2, b"ReLU"))
    return out


def layers_of(lstm=True, fc7=False, seed=0) -> list[tuple[str, list]]:
    """The released network in small, with weights large enough that everything matters."""
    draw = np.random.default_rng(seed).normal
    one, two, three, four, five = WIDE
    shapes = {
        "conv1": (one, 3, 7, 7),
        "conv2": (two, one // 2, 5, 5),
        "conv3": (three, two, 3, 3),
        "conv4": (four, three // 2, 3, 3),
        "conv5": (five, four // 2, 3, 3),
        "fc6": (UNITS, five * 36),
    }
    if fc7:
        shapes["fc7"] = (UNITS, UNITS)
    layers = [
        (name, [draw(0, 1 / np.sqrt(np.prod(shape[1:])), shape), draw(0, 0.1, shape[0])])
        for name, shape in shapes.items()
    ]
    below = UNITS
    if lstm:
        weights = [draw(0, 0.1, (4 * SIZE, UNITS)), draw(0, 0.1, 4 * SIZE), draw(0, 0.5, (4 * SIZE, SIZE))]
        layers.append(("lstm1", weights))
        below = SIZE
    return [*layers, ("fc8-ucf", [draw(0, 1, (3, below)), draw(0, 1, 3)])]


@pytest.fixture
def write(tmp_path):
    def written(content: bytes, name="net.caffemodel"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return written


def frames_of(batch=1, steps=2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (batch, steps, 3, 227, 227), dtype=torch.uint8, generator=generator)


# ---- what Caffe computes, in float64 ----


def caffe_maps(pixels: np.ndarray, layers: dict[str, list]) -> np.ndarray:
    """pool5 of one image BGR (3, 227, 227) less its mean."""

    def convolved(x, name, groups=1, **options):
        weights, bias = (torch.tensor(np.asarray(value)) for value in layers[name])
        parts = zip(x.chunk(groups), weights.chunk(groups), strict=True)
        joined = torch.cat([nn.functional.conv2d(a[None], b, **options)[0] for a, b in parts])
        return (joined + bias[:, None, None]).clamp(min=0)

    def pooled(x):
        count = -(-(x.shape[-1] - 3) // 2) + 1  # rounded up: the last window may hang over
        rows = [
            [x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].amax((1, 2)) for j in range(count)]
            for i in range(count)
        ]
        return torch.stack([torch.stack(row, 1) for row in rows], 1)

    def normed(x):
        around = torch.stack([(x[max(0, k - 2) : k + 3] ** 2).sum(0) for k in range(len(x))])
        return x / (1 + 1e-4 / 5 * around) ** 0.75

    x = torch.tensor(pixels)
    x = normed(pooled(convolved(x, "conv1", stride=2)))
    x = normed(pooled(convolved(x, "conv2", groups=2, stride=2)))
    x = convolved(x, "conv3", padding=1)
    x = convolved(x, "conv4", groups=2, padding=1)
    return pooled(convolved(x, "conv5", groups=2, padding=1)).numpy()


def caffe_scores(frames: torch.Tensor, layers: dict[str, list], mean: Sequence[float]) -> np.ndarray:
    """Scores (T, K) of frames RGB (T, 3, 227, 227); `mean` is blue, green, red."""

    def sigm(x):
        return 1 / (1 + np.exp(-x))

    def connected(x, name):
        return np.asarray(layers[name][0]) @ x + layers[name][1]

    h, c, scores = np.zeros(SIZE), np.zeros(SIZE), []
    for frame in frames.double().numpy():
        pixels = frame[[2, 1, 0]] - np.array(mean)[:, None, None]
        x = np.maximum(connected(caffe_maps(pixels, layers).ravel(), "fc6"), 0)
        if "fc7" in layers:
            x = np.maximum(connected(x, "fc7"), 0)
        if "lstm1" in layers:
            w, b, u = layers["lstm1"]
            i, f, o, g = np.split(w @ x + b + u @ h, 4)
            c = sigm(f) * c + sigm(i) * np.tanh(g)
            x = h = sigm(o) * np.tanh(c)
        scores.append(connected(x, "fc8-ucf"))
    return np.stack(scores)


# ---- tests ----


@pytest.mark.parametrize(
    ("form", "network", "flow", "mean"),
    [
        ("shape", {}, False, (103.939, 116.779, 128.68)),
        ("legacy", {"fc7": True}, True, (128, 128, 128)),
        ("double", {"lstm": False, "fc7": True}, False, (103.939, 116.779, 123.68)),
    ],
)
def test_the_scores_are_those_of_caffe(write, tmp_path, form, network, flow, mean):
    layers = layers_of(**network)
    said: list[str] = []
    folder = import_caffemodel(
        write(net(layers, form)), LABELS, tmp_path / "model", flow=flow, report=said.append
    )
    loaded = load_folder(folder)
    frames = frames_of()
    with torch.inference_mode():
        scores = loaded.model(frames)[0].numpy()
    expected = caffe_scores(frames[0], dict(layers), mean)
    assert np.abs(expected).max() > 0.5 and np.abs(expected[0] - expected[1]).max() > 0.01
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    assert "conv1, conv2, conv3, conv4, conv5 as conv1 to conv5" in said[0]
    assert (f"lstm1 as an LSTM of {SIZE} units" in said[0]) == ("lstm1" in dict(layers))


def test_the_folder_says_how_the_network_is_used(write, tmp_path):
    lrcn = load_folder(import_caffemodel(write(net(layers_of())), LABELS, tmp_path / "a", report=print))
    assert (lrcn.preprocess.size, lrcn.preprocess.motion.kind) == (227, "none")
    assert (lrcn.sampling.rate, lrcn.sampling.frames, lrcn.sampling.stride) == (30, 16, 8)
    assert lrcn.model.config.encoder.pool == "fc6" and lrcn.model.config.encoder.dropout == 0.9
    assert lrcn.labels == LABELS and lrcn.model.config.recurrent.one_bias
    single = net(layers_of(lstm=False, fc7=True))
    flow = load_folder(import_caffemodel(write(single), LABELS, tmp_path / "b", flow=True, report=print))
    assert flow.preprocess.motion.kind == "flow" and flow.sampling.stride is None
    assert flow.model.config.encoder.mean == "flow" and flow.model.config.encoder.dropout == 0.5
    assert "less the mean `flow`" in (tmp_path / "b" / "README.md").read_text()


def test_layers_are_known_by_their_shapes_whatever_they_are_called(write, tmp_path):
    renamed = [(f"layer\x1b[2J{k}", blobs) for k, (_, blobs) in enumerate(layers_of())]
    said: list[str] = []
    import_caffemodel(write(net(renamed)), LABELS, tmp_path / "model", report=said.append)
    assert "layer\\x1b[2J5 as fc6" in said[0] and said[0].isprintable()


@pytest.mark.parametrize("form", ["shape", "legacy", "loose", "double"])
def test_every_way_to_write_numbers_gives_the_same(write, form):
    draw = np.random.default_rng(0).normal
    layers = [("a", [draw(size=(2, 3, 2, 2)), draw(size=2)]), ("b", [draw(size=(4, 5)), draw(size=4)])]
    found = read_caffemodel(write(net(layers, form)))
    assert [layer.name for layer in found] == ["a", "b"]
    for layer, (_, blobs) in zip(found, layers, strict=True):
        for values, expected in zip(layer.blobs, blobs, strict=True):
            assert values.dtype == np.float32
            np.testing.assert_array_equal(values, expected.astype(np.float32))


def test_a_static_input_stands_beside_the_other():
    draw = np.random.default_rng(0).normal
    blobs = [
        draw(size=(4 * SIZE, 3)),
        draw(size=4 * SIZE),
        draw(size=(4 * SIZE, 2)),
        draw(size=(4 * SIZE, SIZE)),
    ]
    cell = nn.LSTM(5, SIZE, batch_first=True).double()
    cell.load_state_dict({name: torch.tensor(value) for name, value in lstm_weights(blobs).items()})
    x, static, h, c = draw(size=3), draw(size=2), draw(size=SIZE), draw(size=SIZE)
    i, f, _, g = np.split(blobs[0] @ x + blobs[1] + blobs[2] @ static + blobs[3] @ h, 4)
    after = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
    start = [torch.tensor(value)[None, None] for value in (h, c)]
    _, (_, cells) = cell(torch.tensor(np.concatenate([x, static]))[None, None], tuple(start))
    np.testing.assert_allclose(cells.detach().numpy()[0, 0], after, atol=1e-12)


def changed(**layers):
    """The network with some layers' weights replaced, or left out."""
    return [(name, layers.get(name.replace("-", "_"), blobs)) for name, blobs in layers_of()]


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        (layers_of()[1:], "LRCN is five convolutions"),
        (
            [*layers_of()[:-1], ("scale", [np.ones(3), np.ones(3)]), layers_of()[-1]],
            "holds conv1 6x3x7x7, 6; ",
        ),
        (
            changed(conv1=[np.ones((6, 3, 11, 11)), np.ones(6)]),
            "conv1 of .* weights of 6x3x11x11, 6, where LRCN has",
        ),
        (changed(conv2=[np.ones((24, 6, 5, 5)), np.ones(24)]), "conv2 of .* where LRCN has 24x3x5x5"),
        (changed(fc6=[np.ones((5000, 864)), np.ones(5000)]), "where LRCN has 96x3x7x7"),
        (changed(fc8_ucf=[np.full((3, SIZE), np.nan), np.ones(3)]), "fc8-ucf of .* no numbers"),
        (changed(fc8_ucf=[np.ones((4, SIZE)), np.ones(4)]), "scores 4 classes, and there are 3 labels"),
        (changed(lstm1=[np.ones((0, 2)), np.ones(0), np.ones((0, 3))]), "LRCN is five convolutions"),
    ],
    ids=lambda value: "" if isinstance(value, list) else None,
)
def test_another_network_is_refused_in_one_sentence(write, tmp_path, layers, sentence):
    with pytest.raises(LrcnError, match=sentence):
        import_caffemodel(write(net(layers)), LABELS, tmp_path / "model", report=print)
    assert not (tmp_path / "model").exists()


TINY = net([("a", [np.ones((2, 3)), np.ones(2)]), ("b", [np.ones((2, 2))])])


def wrong_blob(content: bytes) -> bytes:
    return field(100, field(1, b"a") + field(7, content))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "holds no weights"),
        (net([("a", [])]), "holds no weights"),
        (b"name: 'text'\nlayer {\n}", "no .caffemodel, or damaged"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "holds no weights"),
        (TINY[:-40], "it ends too early"),
        (b"\xff" * 40, "a number is too long"),
        (field(100, 7), "a number where a message should be"),
        (wrong_blob(field(5, b"123")), "a number is cut off"),
        (wrong_blob(field(7, field(1, varint(2**62) * 2)) + field(5, bytes(8))), "2 numbers for the shape"),
        (wrong_blob(field(7, field(1, varint(0) + varint(2**63)))), "LRCN is five convolutions"),
        (wrong_blob(field(7, field(1, varint(1) * 1000)) + field(5, bytes(4))), "1 numbers for the shape"),
        (wrong_blob(field(7, field(1, varint(2**64 - 1))) + field(5, bytes(4))), "1 numbers for the shape"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_what_is_no_such_file_is_refused_in_one_sentence(write, tmp_path, content, sentence):
    with pytest.raises(LrcnError, match=re.escape(sentence)) as raised:
        import_caffemodel(write(content), LABELS, tmp_path / "model", report=print)
    assert "\n" not in str(raised.value)


def test_what_is_too_large_is_refused(write, monkeypatch):
    path = write(TINY)
    assert len(read_caffemodel(path)) == 2
    monkeypatch.setattr(caffe_file, "MAX_FIELDS", 10)
    with pytest.raises(LrcnError, match="too many fields"):
        read_caffemodel(path)
    monkeypatch.setattr(caffe_file, "MAX_BYTES", len(TINY) - 1)
    with pytest.raises(LrcnError, match="larger than 2 GiB"):
        read_caffemodel(path)
    with pytest.raises(LrcnError, match="There is no file"):
        read_caffemodel(path.parent)


@given(
    place=st.integers(0, len(TINY) - 1),
    byte=st.integers(0, 255),
    end=st.integers(0, len(TINY)),
)
def test_damage_never_ends_in_anything_but_one_sentence(tmp_path_factory, place, byte, end):
    path = tmp_path_factory.getbasetemp() / "damaged.caffemodel"
    path.write_bytes((TINY[:place] + bytes([byte]) + TINY[place + 1 :])[:end])
    with suppress(LrcnError):
        assert all(values.ndim <= 4 for layer in read_caffemodel(path) for values in layer.blobs)


def test_the_command_makes_a_model_that_the_others_know(write, tmp_path, capsys):
    path = write(net(layers_of()))
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(LABELS) + "\n\n", encoding="utf-8")
    call = ["models", "import", str(path), "--labels", str(labels), "--out", str(tmp_path / "model")]
    assert main([*call, "--flow"]) == 0
    told = capsys.readouterr().out
    assert "Taken: conv1" in told and f"Wrote {tmp_path / 'model'}." in told
    assert load_folder(tmp_path / "model").labels == LABELS
    labels.write_bytes(b"\xff\xfe\x00")
    assert main(call) == 2
    assert "Cannot read --labels" in capsys.readouterr().err
    assert main(["models"]) == 0
    assert "camera-moves" in capsys.readouterr().out
