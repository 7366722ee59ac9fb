"""Weights are tuned on what the members say of whole clips, and the numbers say of whom."""

import numpy as np
import pytest
import torch
from made_clips import class_folders

from lrcn.data.manifest import Row
from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Preprocess
from lrcn.errors import LrcnError
from lrcn.evaluate.protocols import ProtocolConfig, see
from lrcn.evaluate.tuning import tune
from lrcn.models.cnn import EncoderConfig
from lrcn.models.folder import Loaded
from lrcn.models.fusion import tuned_weights, weighted
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig

LABELS = ["left", "right"]


def loaded(seed, labels=LABELS) -> Loaded:
    torch.manual_seed(seed)
    config = RecognizerConfig(
        EncoderConfig("test_efficientnet", "none"), ReadingConfig(features=4), RecurrentConfig(size=4)
    )
    return Loaded(Recognizer(config, list(labels)).eval(), Preprocess(32), Sampling(), list(labels))


def test_weights_follow_from_whole_clips_and_unreadable_ones_are_left_out(tmp_path):
    folder = class_folders(tmp_path / "clips", clips=3)
    rows = [Row(str(path), path.parent.name) for path in sorted(folder.glob("*/*.mp4"))]
    members = {"rgb": loaded(0), "flow": loaded(1)}
    told = []
    weights, found = tune(members, [Row(str(tmp_path / "gone.mp4"), "left"), *rows], report=told.append)
    truths = np.array([LABELS.index(row.label) for row in rows])
    said = [
        np.stack([see(member, row, ProtocolConfig())["stream"].video for row in rows])
        for member in members.values()
    ]
    assert weights == tuned_weights(said, truths)[0]
    assert found["accuracy"] == (weighted(said, weights).argmax(1) == truths).mean()
    alone = {name: (part.argmax(1) == truths).mean() for name, part in zip(members, said, strict=True)}
    assert found["alone"] == alone and found["weights"] == dict(zip(members, weights, strict=True))
    assert (found["clips"], found["left_out"], len(told)) == (6, 1, 1)


def test_models_of_other_classes_are_refused_before_any_work():
    with pytest.raises(LrcnError, match="flow has 3 classes and rgb 2"):
        tune({"rgb": loaded(0), "flow": loaded(1, ["left", "right", "up"])}, [])
