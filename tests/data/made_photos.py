"""A made data set of captioned photos: two coloured shapes side by side and sentences that say so."""

from itertools import product

import cv2
import numpy as np
from PIL import Image

from lrcn.data.manifest import Row, write_manifest

COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 80, 220), "yellow": (230, 210, 50)}
SHAPES = ("circle", "square")


def draw(left, right, size=64, seed=0):
    """A photo uint8 (size,size,3) of two (colour, shape) on grey."""
    rng = np.random.default_rng(seed)
    photo = rng.integers(110, 140, (size, size, 3)).astype(np.uint8)
    for (colour, shape), x in ((left, size // 4), (right, 3 * size // 4)):
        centre, r = (x + int(rng.integers(-2, 3)), size // 2 + int(rng.integers(-6, 7))), size // 6
        if shape == "circle":
            cv2.circle(photo, centre, r, COLOURS[colour], -1)
        else:
            cv2.rectangle(
                photo, (centre[0] - r, centre[1] - r), (centre[0] + r, centre[1] + r), COLOURS[colour], -1
            )
    return photo


def captioned_photos(folder, train=24, dev=6, test=0, colours=("red", "blue"), size=32):
    """Writes photos and a manifest into `folder`; returns the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    things = list(product(colours, SHAPES))
    pairs = list(product(things, things))
    rows = []
    for number in range(train + dev + test):
        left, right = pairs[(number * 7) % len(pairs)]
        path = folder / f"{number:03d}.png"
        Image.fromarray(draw(left, right, size, seed=number)).save(path)
        one, two = " ".join(left), " ".join(right)
        captions = (f"A {one} left of a {two}.", f"There is a {one} and a {two}.")
        split = "train" if number < train else "dev" if number < train + dev else "test"
        rows.append(Row(str(path), captions=captions, split=split))
    write_manifest(rows, folder / "photos.jsonl")
    return folder / "photos.jsonl"


def tiny_caption_recipe(manifest, **changes):
    """Settings of a recipe that trains in a second."""
    from lrcn.config import merge

    values = {
        "task": "caption",
        "name": "shapes",
        "data": {"source": str(manifest)},
        "words": {"min_count": 1},
        "model": {
            "encoder": {
                "name": "test_efficientnet",
                "weights": "none",
                "pool": "grid",
                "grid": 4,
                "squeeze": 8,
            },
            "features": 16,
            "dropout": 0.0,
            "decoder": {"size": 16, "layers": 2, "image_at": [1], "embedding": 16, "dropout": 0.1},
        },
        "preprocess": {"size": 32},
        "train": {"epochs": 2, "batch": 6, "checkpoint_seconds": 0.0, "optim": {"lr": 0.01}},
        "meteor": False,
        "device": "cpu",
    }
    return merge(values, changes)
