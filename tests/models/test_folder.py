"""The model folder: it gives the same model back, and says what is wrong with it in one sentence."""

import json
import pickle
import shutil

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Preprocess
from lrcn.errors import LrcnError
from lrcn.models.cnn import EncoderConfig
from lrcn.models.folder import load_folder, save_model
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig

LABELS = ["pan left", "schwenk nach links – 左"]


def encoders():
    names = st.sampled_from(["test_efficientnet", "test_resnet"])
    stages = st.sampled_from([None, 1])
    return st.builds(
        EncoderConfig,
        name=names,
        weights=st.just("none"),
        stage=stages,
        pool=st.just("grid"),
        grid=st.integers(1, 3),
        squeeze=st.sampled_from([0, 4]),
        tune=st.sampled_from([-1, 0, 1]),
    )


READINGS = st.builds(
    ReadingConfig,
    reads=st.sampled_from([("appearance",), ("difference", "appearance"), ("correlation",)]),
    features=st.integers(1, 5),
    reach=st.integers(1, 2),
    dropout=st.floats(0, 0.9),
)
RECURRENT = st.builds(
    RecurrentConfig,
    unit=st.sampled_from(["lstm", "gru", "rnn", "none"]),
    size=st.integers(1, 4),
    layers=st.integers(1, 2),
)


def clips(size=32):
    return torch.randint(
        0, 256, (2, 3, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def made(config=None, labels=LABELS) -> Recognizer:
    torch.manual_seed(0)
    default = RecognizerConfig(
        EncoderConfig("test_resnet", "none"), ReadingConfig(), RecurrentConfig("gru", 3)
    )
    model = Recognizer(config or default, labels).eval()
    for name, value in model.named_buffers():
        if name.endswith("running_mean"):
            value.normal_()
    return model


@pytest.fixture
def folder(tmp_path):
    save_model(tmp_path / "model", made(), Preprocess(32), Sampling(frames=8))
    return tmp_path / "model"


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    encoder=encoders(),
    reading=READINGS,
    recurrent=RECURRENT,
    preprocess=st.builds(
        Preprocess, size=st.integers(16, 64), fit=st.sampled_from(["squash", "crop", "letterbox"])
    ),
    sampling=st.builds(Sampling, rate=st.none() | st.floats(1, 60), frames=st.none() | st.integers(1, 64)),
    half=st.booleans(),
)
def test_a_folder_gives_the_same_model_back(
    tmp_path, encoder, reading, recurrent, preprocess, sampling, half
):
    model = made(RecognizerConfig(encoder, reading, recurrent))
    metrics = {"dev": {"accuracy": 0.5, "per class": [1, 2]}}
    save_model(tmp_path / "m", model, preprocess, sampling, metrics=metrics, card="# Card\n", half=half)
    loaded = load_folder(tmp_path / "m")
    if half:
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.copy_(value.half())
    with torch.inference_mode():
        assert torch.equal(loaded.model(clips()), model(clips()))
    assert loaded.model.config == model.config and not loaded.model.training
    assert (loaded.preprocess, loaded.sampling, loaded.labels) == (preprocess, sampling, LABELS)
    assert loaded.model.labels == LABELS
    assert (loaded.metrics, loaded.folder) == (metrics, tmp_path / "m")
    assert (tmp_path / "m" / "README.md").read_text() == "# Card\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]


def test_half_precision_halves_the_file_and_keeps_what_it_cannot_say(tmp_path):
    model = made()
    variance = model.encoder.backbone.get_buffer("bn1.running_var")
    variance[0] = 1e6
    save_model(tmp_path / "half", model, Preprocess(32), Sampling())
    save_model(tmp_path / "full", model, Preprocess(32), Sampling(), half=False)
    sizes = [(tmp_path / kind / "model.safetensors").stat().st_size for kind in ("half", "full")]
    assert sizes[0] < 0.6 * sizes[1]
    loaded = load_folder(tmp_path / "half").model
    assert torch.equal(loaded.encoder.backbone.get_buffer("bn1.running_var"), variance)


def test_a_folder_needs_nothing_but_itself(folder, tmp_path):
    """The weights training began from may be gone, and the network gone with them."""
    config = json.loads((folder / "config.json").read_text())
    for began in ("/gone/weights.safetensors", "timm"):
        config["model"]["encoder"]["weights"] = began
        (folder / "config.json").write_text(json.dumps(config))
        shutil.rmtree(tmp_path / "moved", ignore_errors=True)
        shutil.copytree(folder, tmp_path / "moved")
        (tmp_path / "moved" / "README.md").unlink()
        (tmp_path / "moved" / "metrics.json").unlink()
        assert load_folder(tmp_path / "moved").metrics == {}


def test_a_model_replaces_a_model_and_nothing_else(folder, tmp_path):
    (folder / "old.txt").write_text("old")
    save_model(folder, made(), Preprocess(64), Sampling())
    assert load_folder(folder).preprocess.size == 64 and not (folder / "old.txt").exists()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letters.txt").write_text("dear")
    with pytest.raises(LrcnError, match="other things than a model"):
        save_model(tmp_path / "home", made(), Preprocess(64), Sampling())
    assert (tmp_path / "home" / "letters.txt").read_text() == "dear"


# What is wrong with a folder


def refusal(folder) -> str:
    with pytest.raises(LrcnError) as raised:
        load_folder(folder)
    sentence = str(raised.value)
    assert "\n" not in sentence and sentence.endswith((".", "?")) and len(sentence) < 450
    return sentence


@pytest.mark.parametrize("piece", ["config.json", "labels.json", "model.safetensors"])
def test_a_missing_or_damaged_piece_is_named(folder, piece):
    content = (folder / piece).read_bytes()
    (folder / piece).write_bytes(content[: len(content) // 2])
    sentence = refusal(folder)
    assert piece in sentence and "copy it again" in sentence
    (folder / piece).write_bytes(b"")
    assert piece in refusal(folder)
    (folder / piece).unlink()
    sentence = refusal(folder)
    assert f"{piece} is missing" in sentence and str(folder) in sentence


def test_no_folder_is_named(tmp_path):
    assert str(tmp_path / "none") in refusal(tmp_path / "none")


def change(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = config
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[last]
        else:
            place[last] = value
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"task": "paint"}, ["'paint'", "install"]),
        ({"task": "caption"}, ["writes sentences about photos", "says what happens"]),
        ({"task": None}, ["None", "install"]),
        ({"model__recurrent__sise": 3}, ["model.recurrent.sise", "did you mean size?"]),
        ({"model__recurrent__size": "three"}, ["model.recurrent.size", "a whole number"]),
        ({"model__encoder__pool": "max"}, ["model.encoder.pool", "avg, grid"]),
        ({"model__encoder__name": "no such net"}, ["encoder.name", "no such net"]),
        ({"model__recurrent__size": 4}, ["model.safetensors", "recurrent.cells.0", "config.json asks for"]),
        ({"model__recurrent__layers": 2}, ["model.safetensors lacks recurrent.cells.1"]),
        ({"model__recurrent__unit": "none"}, ["model.safetensors", "copy the whole folder again"]),
        ({"model": None}, ["config.json lacks model"]),
        ({"model": [1]}, ["config.json: model is [1]"]),
        ({"preprocess": None}, ["config.json lacks preprocess"]),
        ({"preprocess__size": "big"}, ["preprocess.size is 'big'"]),
        ({"sampling": None}, ["config.json lacks sampling"]),
        ({"sampling__pace": 3}, ["sampling.pace is not a known setting"]),
    ],
)
def test_a_config_that_does_not_fit_is_named(folder, changes, named):
    change(folder, **changes)
    sentence = refusal(folder)
    assert all(part in sentence for part in named), sentence


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ("{}", "holds no JSON list"),
        ("[1, 2]", "names of classes"),
        ('["a"]', "names of classes"),
        ('["a", "a"]', "names of classes"),
        ('["a", null]', "names of classes"),
        ('["a", "b", "c"]', "names 3 classes, but model.safetensors scores 2"),
    ],
)
def test_labels_that_do_not_fit_are_named(folder, labels, named):
    (folder / "labels.json").write_text(labels)
    sentence = refusal(folder)
    assert "labels.json" in sentence and named in sentence


def test_tensors_that_do_not_fit_are_named(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"more": torch.zeros(1)}, path)
    assert "holds more, which config.json knows nothing of" in refusal(folder)
    save_file({name: value for name, value in tensors.items() if name != "classifier.weight"}, path)
    assert "lacks classifier.weight" in refusal(folder)
    wrong = tensors["classifier.weight"].clone()
    wrong[0, 0] = float("nan")
    save_file(tensors | {"classifier.weight": wrong}, path)
    assert "classifier.weight that are no numbers" in refusal(folder)


class Trap:
    """A pickle that leaves a trace where it is opened."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return (open, (self.trace, "w"))


def test_a_pickle_by_that_name_is_refused_and_never_opened(folder, tmp_path):
    (folder / "model.safetensors").write_bytes(pickle.dumps(Trap(tmp_path / "opened")))
    assert "cannot be read as safetensors" in refusal(folder)
    torch.save({"a": Trap(tmp_path / "opened")}, folder / "model.safetensors")
    assert "cannot be read as safetensors" in refusal(folder)
    assert not (tmp_path / "opened").exists()
