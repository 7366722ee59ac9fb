"""Small recognisers that say something, and frames to show them."""

import numpy as np
import torch
from torch import nn

from lrcn.data.flow import MotionConfig
from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Preprocess
from lrcn.models.cnn import EncoderConfig
from lrcn.models.folder import Loaded
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig

LABELS = ["pan", "tilt", "roll"]


def tiny(seed=0, motion="none", size=32, unit="lstm", bidirectional=False, **sampling):
    """A small model with chance for weights, whose answers change with its frames."""
    torch.manual_seed(seed)
    config = RecognizerConfig(
        EncoderConfig("test_efficientnet", "none", pool="avg"),
        ReadingConfig(("appearance", "difference"), features=8),
        RecurrentConfig(unit, size=8, bidirectional=bidirectional),
    )
    model = Recognizer(config, LABELS).eval()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_var.uniform_(0.5, 2)
    with torch.no_grad():
        model.classifier.weight.mul_(12)
    return Loaded(model, Preprocess(size, motion=MotionConfig(motion)), Sampling(**sampling), LABELS)


def pictures(count, seed=0, side=32):
    """Frames (count, side, side, 3) that differ."""
    return np.random.default_rng(seed).integers(0, 255, (count, side, side, 3), dtype=np.uint8)
