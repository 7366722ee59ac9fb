"""Models by name, path and hub id."""

import huggingface_hub
import pytest
import torch

from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Preprocess
from lrcn.errors import LrcnError
from lrcn.models import zoo
from lrcn.models.cnn import EncoderConfig
from lrcn.models.folder import save_model
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A zoo with one model in it, and a folder that is none."""
    config = RecognizerConfig(EncoderConfig("test_resnet", "none"), ReadingConfig(), RecurrentConfig(size=3))
    save_model(tmp_path / "zoo" / "two-moves", Recognizer(config, ["a", "b"]), Preprocess(32), Sampling())
    (tmp_path / "zoo" / "notes").mkdir()
    monkeypatch.setattr(zoo, "shipped_folder", lambda: tmp_path / "zoo")
    return tmp_path / "zoo"


def refusal(model, **options) -> str:
    with pytest.raises(LrcnError) as raised:
        zoo.load_model(model, **options)
    sentence = str(raised.value)
    assert "\n" not in sentence and sentence.endswith(".")
    return sentence


def test_models_are_listed_and_loaded_by_name_and_by_path(shipped, tmp_path):
    assert zoo.list_models() == ["two-moves"]
    for name in ("two-moves", shipped / "two-moves", str(shipped / "two-moves")):
        loaded = zoo.load_model(name, "cpu")
        assert loaded.labels == ["a", "b"] and loaded.folder == shipped / "two-moves"


def test_an_unknown_model_is_refused_with_the_names(shipped):
    sentence = refusal("three-moves")
    assert "'three-moves'" in sentence and "two-moves" in sentence and "hf-hub:" in sentence
    assert "config.json is missing" in refusal(shipped / "notes")


def test_an_empty_zoo_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "shipped_folder", lambda: tmp_path / "nowhere")
    assert zoo.list_models() == [] and "none ship" in refusal("any")


def test_a_hub_id_is_downloaded_without_anything_pickled(shipped, monkeypatch):
    asked = []

    def download(repository, allow_patterns):
        asked.append((repository, allow_patterns))
        return str(shipped / "two-moves")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert zoo.load_model("hf-hub:someone/moves", "cpu").labels == ["a", "b"]
    assert asked == [("someone/moves", ["*.json", "*.md", "model*.safetensors", "*/model*.safetensors"])]


@pytest.mark.parametrize(
    "error", [ConnectionError("no\nnetwork"), ValueError("bad name"), OSError(2, "gone")]
)
def test_a_hub_that_fails_is_one_sentence(monkeypatch, error):
    def download(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    sentence = refusal("hf-hub:someone/moves")
    assert (
        "hf-hub:someone/moves" in sentence
        and type(error).__name__ in sentence
        and "give its path" in sentence
    )


def test_a_device_that_is_not_there_is_named():
    assert zoo.chosen_device("cpu") == torch.device("cpu")
    assert zoo.chosen_device("auto") == zoo.chosen_device(zoo.chosen_device("auto"))
    for device in ("tpu-9000", "cuda:99"):
        with pytest.raises(LrcnError, match=f"--device {device}"):
            zoo.chosen_device(device)
