"""A tiny describer of shots, and films with cuts in them."""

import numpy as np
import torch

from lrcn.config import from_values
from lrcn.data.moves import MOVES
from lrcn.data.sampling import Sampling
from lrcn.data.tokenizer import Tokenizer
from lrcn.data.transforms import Preprocess
from lrcn.generate import Decoding
from lrcn.models.shot_describer import ShotDescriber, ShotDescriberConfig
from lrcn.models.shot_describer_folder import LoadedShotDescriber

WORDS = Tokenizer(("<unk>", "the", "camera", "pans", "left", "over", "a", "dog"))
SIDE = 32


def captioner_values(attention=4):
    """Settings of a captioner that is made in no time."""
    return {
        "encoder": {"name": "test_efficientnet", "weights": "none", "pool": "grid", "grid": 2, "squeeze": 0},
        "features": 6,
        "decoder": {
            "size": 8,
            "embedding": 8,
            "layers": 2,
            "image_at": [1],
            "attention": attention,
            "init_range": 0.9,
        },
    }


def describer_config(key_frames=2, pooled=False, labels=MOVES) -> ShotDescriberConfig:
    recognizer = {
        "encoder": {"name": "test_efficientnet", "weights": "none", "pool": "grid", "grid": 2, "squeeze": 4},
        "reading": {"features": 4},
        "recurrent": {"size": 4},
    }
    values = {
        "captioner": captioner_values(),
        "recognizer": None if pooled else recognizer,
        "labels": [] if pooled else list(labels),
        "key_frames": key_frames,
        "pooled": pooled,
    }
    return from_values(ShotDescriberConfig, values)


def tiny_describer(seed=0, **changes) -> LoadedShotDescriber:
    torch.manual_seed(seed)
    model = ShotDescriber(describer_config(**changes), WORDS.size).eval()
    return LoadedShotDescriber(
        model,
        WORDS,
        Preprocess(size=SIDE),
        Preprocess(size=SIDE // 2),
        Sampling(rate=10.0),
        Decoding(beam=2, max_length=5),
    )


def cut_film(lengths, side=48, seed=0):
    """Frames uint8 (T, side, side, 3): shots of as many frames as `lengths` says, each a picture of its own."""
    rng = np.random.default_rng(seed)
    shots = []
    for number, length in enumerate(lengths):
        tiles = rng.integers(0, 90, (6, 6, 3)) + 40 * (number % 4)
        tiles[..., number % 3] = 255 - tiles[..., number % 3]
        picture = np.kron(tiles, np.ones((side // 6,) * 2 + (1,))).astype(np.uint8)
        shots += [picture] * length
    return np.stack(shots)
