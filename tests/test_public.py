"""The public face: lazy, complete, and what the README's five lines use."""

import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
import torch

import lrcn
from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Preprocess
from lrcn.models.cnn import EncoderConfig
from lrcn.models.folder import save_model
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig


def test_importing_lrcn_loads_nothing_heavy():
    heavy = ["torch", "timm", "numpy", "av", "cv2", "rich", "yaml"]
    code = f"import sys, lrcn; sys.exit(' '.join(name for name in {heavy} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_every_public_name_is_there_and_listed():
    for name in lrcn.__all__:
        assert getattr(lrcn, name) is not None
        assert name in dir(lrcn)
    assert lrcn.__version__ == version("lrcn")


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Captionist'"):
        _ = lrcn.Captionist


def test_a_loaded_model_recognizes(tmp_path):
    torch.manual_seed(0)
    config = RecognizerConfig(
        EncoderConfig("test_efficientnet", "none", pool="avg"),
        ReadingConfig(features=8),
        RecurrentConfig(size=8),
    )
    save_model(
        tmp_path / "model", lrcn.Recognizer(config, ["pan", "tilt"]), Preprocess(32), Sampling(frames=8)
    )
    model = lrcn.load(tmp_path / "model", "cpu")
    frames = np.random.default_rng(0).integers(0, 255, (6, 40, 30, 3), dtype=np.uint8)
    seen = model.recognize(frames, smoothing=0)
    assert isinstance(seen, lrcn.Recognition)
    assert seen.label in ("pan", "tilt")
    assert seen.per_frame.shape == (6, 2)
    assert all(isinstance(segment, lrcn.Segment) for segment in seen.segments)
    np.testing.assert_array_equal(
        seen.per_frame, lrcn.recognize(lrcn.load(tmp_path / "model", "cpu"), frames).per_frame
    )
