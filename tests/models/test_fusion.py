"""Fusion: the paper's sum, weights that are tuned, and one folder that holds all and says what is wrong with it."""

import json
import shutil
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lrcn
from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Preprocess
from lrcn.errors import LrcnError
from lrcn.models.cnn import EncoderConfig
from lrcn.models.folder import load_folder, save_model
from lrcn.models.fusion import (
    Fused,
    at_times,
    load_fused,
    member_names,
    read_weights,
    save_fused,
    tuned_weights,
    weight_grid,
    weighted,
)
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig
from lrcn.models.zoo import load_model

LABELS = ["pan", "schwenk – 左"]


def save(folder, labels=LABELS, seed=0, size=32):
    torch.manual_seed(seed)
    config = RecognizerConfig(
        EncoderConfig("test_efficientnet", "none"), ReadingConfig(features=4), RecurrentConfig(size=4)
    )
    save_model(folder, Recognizer(config, list(labels)), Preprocess(size), Sampling(), half=False)
    return folder


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """Two model folders that differ in weights and preprocessing."""
    home = tmp_path_factory.mktemp("members")
    return {"rgb": save(home / "a", seed=0), "flow": save(home / "b", seed=1, size=40)}


@pytest.fixture
def folder(members, tmp_path):
    save_fused(tmp_path / "two", members, (1 / 3, 2 / 3), metrics={"dev": {"accuracy": 0.5}}, card="# Two\n")
    return tmp_path / "two"


def refusal(folder) -> str:
    with pytest.raises(LrcnError) as raised:
        load_fused(folder)
    sentence = str(raised.value)
    assert "\n" not in sentence and sentence.endswith(".")
    return sentence


# ---- the sum ----

shares = st.lists(st.floats(0, 1), min_size=3, max_size=3).map(
    lambda row: np.array(row) / max(sum(row), 1e-9)
)


@given(shares, shares, st.sampled_from([0.0, 1 / 3, 0.5, 1.0]))
def test_the_sum_is_the_papers(rgb, flow, p):
    fused = weighted([rgb.astype(np.float32), flow.astype(np.float32)], (p, 1 - p))
    np.testing.assert_allclose(fused, p * rgb + (1 - p) * flow, atol=1e-6)
    np.testing.assert_allclose(fused.sum(), p * rgb.sum() + (1 - p) * flow.sum(), atol=1e-5)


def test_the_last_word_counts_until_the_next():
    values = np.array([[1], [2], [3]])
    times = np.array([0.1, 0.2, 0.4])
    wanted = np.array([0.0, 0.1, 0.1995, 0.3, 0.4, 9.0])
    assert at_times(values, times, wanted).ravel().tolist() == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("text", "members", "weights"),
    [
        ("1/3", 2, (1 / 3, 2 / 3)),
        (0.5, 2, (0.5, 0.5)),
        ("1", 2, (1, 0)),
        ("0.2, 0.3,1/2", 3, (0.2, 0.3, 0.5)),
        ("0.25,0.75", 2, (0.25, 0.75)),
    ],
)
def test_weights_are_read_as_people_write_them(text, members, weights):
    assert read_weights(text, members) == pytest.approx(weights)


@pytest.mark.parametrize(
    ("text", "members", "sentence"),
    [
        ("half", 2, "'half' are no numbers"),
        ("-0.5", 2, "are no numbers"),
        ("1e9", 2, "are no numbers"),
        ("", 2, "are no numbers"),
        ("1/0", 2, "divide by 0"),
        ("3/2", 2, "sum to 1"),
        ("0.5,0.4", 2, "0.5, 0.4 must lie from 0 to 1 and sum to 1"),
        ("1/3", 3, "1 weights for 3 models"),
        ("0.5,0.5", 3, "2 weights for 3 models"),
    ],
)
def test_weights_that_mean_nothing_are_refused(text, members, sentence):
    with pytest.raises(LrcnError, match=sentence):
        read_weights(text, members)


@given(st.integers(2, 4), st.integers(1, 8))
def test_the_grid_holds_every_weighting_once(members, steps):
    grid = weight_grid(members, steps)
    exact = {tuple(Fraction(round(weight * steps), steps) for weight in weights) for weights in grid}
    assert len(exact) == len(grid) and all(sum(weights) == 1 for weights in exact)
    wanted = 1
    for k in range(1, members):
        wanted = wanted * (steps + k) // k
    assert len(grid) == wanted


def test_tuning_finds_who_is_to_be_believed():
    truths = np.array([0, 1, 0, 1])
    right = np.eye(2)[truths] * 0.6 + 0.2
    wrong = 1 - right
    assert tuned_weights([right, wrong], truths) == ((1.0, 0.0), 1.0)
    assert tuned_weights([wrong, right], truths)[0] == (0.0, 1.0)
    assert tuned_weights([right, right], truths)[0] == (0.5, 0.5), "of equals the even"
    # Each is sure of one half and slightly wrong on the other: only both together have all right.
    sure, unsure = np.array([0.9, 0.1]), np.array([0.45, 0.55])
    one = np.stack([sure, sure[::-1], unsure, unsure[::-1]])
    weights, accuracy = tuned_weights([one, one[[2, 3, 0, 1]]], truths)
    assert (weights, accuracy) == ((0.5, 0.5), 1.0)


# ---- the folder ----


def test_one_folder_holds_both_and_gives_them_back(members, folder, tmp_path):
    shutil.move(folder, tmp_path / "moved")
    fused = lrcn.load(tmp_path / "moved", "cpu")
    assert isinstance(fused, Fused) and fused.labels == LABELS
    assert list(fused.members) == ["rgb", "flow"] and fused.weights == pytest.approx((1 / 3, 2 / 3))
    assert fused.metrics == {"dev": {"accuracy": 0.5}} and fused.folder == tmp_path / "moved"
    for name, source in members.items():
        alone = load_folder(source)
        assert fused.members[name].preprocess == alone.preprocess
        for key, value in alone.model.state_dict().items():
            assert torch.equal(fused.members[name].model.state_dict()[key], value)
        assert lrcn.load(tmp_path / "moved" / name, "cpu").labels == LABELS
    assert (tmp_path / "moved" / "README.md").read_text() == "# Two\n"


def test_where_one_network_is_needed_a_fused_model_is_refused(folder, members, tmp_path):
    with pytest.raises(LrcnError, match="two fuses several models.*give one of its folders"):
        load_model(folder, "cpu")
    with pytest.raises(LrcnError, match="fuses several models"):
        save_fused(tmp_path / "three", {"two": folder, **members}, (0.5, 0.25, 0.25))
    assert not (tmp_path / "three").exists()


def test_a_fused_model_may_replace_itself_but_nothing_else(folder, members, tmp_path):
    save_fused(folder, {name: folder / name for name in members}, (0.5, 0.5))
    assert load_fused(folder).weights == (0.5, 0.5)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(LrcnError, match="other things than a model"):
        save_fused(tmp_path / "home", members, (0.5, 0.5))


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (["pan", "tilt"], 'flow has "tilt" as class 1, where rgb has "schwenk – 左"'),
        (LABELS[::-1], 'flow has "schwenk – 左" as class 0, where rgb has "pan"'),
        ([*LABELS, "tilt"], "flow has 3 classes and rgb 2"),
    ],
)
def test_models_of_other_classes_are_not_fused(members, tmp_path, labels, sentence):
    others = {"rgb": members["rgb"], "flow": save(tmp_path / "other", labels)}
    with pytest.raises(LrcnError) as raised:
        save_fused(tmp_path / "two", others, (0.5, 0.5))
    assert sentence in str(raised.value) and "same classes in the same order" in str(raised.value)
    with pytest.raises(LrcnError, match="two or more models; it was given 1"):
        save_fused(tmp_path / "one", {"rgb": members["rgb"]}, (1.0,))
    with pytest.raises(LrcnError, match="3 weights for 2 models"):
        save_fused(tmp_path / "two", members, (0.5, 0.25, 0.25))
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize("piece", ["config.json", "labels.json", "flow/model.safetensors", "rgb/labels.json"])
def test_a_missing_or_damaged_piece_is_named(folder, piece):
    path = folder / piece
    path.write_bytes(path.read_bytes()[:9])
    assert piece in refusal(folder)
    path.unlink()
    assert f"{path.name} is missing" in refusal(folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"members": ["rgb", "../a"]}, "a member '../a'"),
        ({"members": ["rgb", ".."]}, "a member '..'"),
        ({"members": ["rgb", 3]}, "a member 3"),
        ({"members": ["rgb", "rgb"]}, "members, each once"),
        ({"members": "rgb"}, "members, each once"),
        ({"members": ["rgb"]}, "it was given 1"),
        ({"members": ["rgb", "gone"]}, "no such folder"),
        ({"weights": None}, "and weights"),
        ({"weights": [0.5, "0.5"]}, "weights that are no numbers"),
        ({"weights": [0.5, float("nan")]}, "must lie from 0 to 1"),
        ({"weights": [0.5, 0.25]}, "sum to 1"),
        ({"weights": [1.0]}, "1 weights for 2 models"),
    ],
)
def test_a_config_that_does_not_fit_is_named(folder, changes, sentence):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    assert sentence in refusal(folder)


def test_other_labels_than_the_members_are_refused(folder):
    (folder / "labels.json").write_text('["a", "b"]')
    assert "names other classes than rgb" in refusal(folder)


def test_members_are_named_after_their_folders(tmp_path):
    folders = [
        tmp_path / "rgb" / "model",
        tmp_path / "old" / "rgb",
        tmp_path / "my flow!",
        tmp_path / "x" / "rgb",
    ]
    names = member_names(folders)
    assert names == ["rgb", "rgb-2", "my-flow", "rgb-2-2"]
