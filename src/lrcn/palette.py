"""The colours of the labels: the same wherever a label is drawn."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]

_DARK, _LIGHT = "#1c1f24", "#ffffff"

# Okabe and Ito's colours for every kind of colour vision, without black, which is lost on dark ground.
_FIRST_COLOURS = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
)


def palette(labels: Sequence[str]) -> dict[str, Colour]:
    """One colour per label, (red, green, blue) 0 to 255: the same wherever a label is drawn.

    The colour depends on the label's place alone, so it stays when labels are added behind it. The first
    seven are Okabe and Ito's; each one after is as far as it can be from all before it, as seen with normal,
    red-blind and green-blind eyes.
    """
    return dict(zip(labels, _colours(len(labels)), strict=True))


def text_colour(ground: Colour) -> str:
    """The colour of text that reads best on `ground`: "#ffffff" or a near black."""
    light = _linear(np.array([ground])) @ np.array([0.2126, 0.7152, 0.0722])
    return _DARK if light[0] > 0.2 else _LIGHT


@lru_cache
def _colours(count: int) -> tuple[Colour, ...]:
    chosen = [tuple(c) for c in _FIRST_COLOURS]
    if count > len(chosen):
        steps = np.arange(24, 256, 11)
        grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
        light = _seen(grid)[0][:, 0]
        # Neither lost on white paper nor on the dark band under a video.
        grid = grid[(light > 0.5) & (light < 0.86)]
        candidates = _seen(grid)
        nearest = np.full(len(grid), np.inf)
        for colour in chosen:
            nearest = np.minimum(nearest, _distance(candidates, _seen(np.array([colour]))))
        while len(chosen) < count:
            best = int(nearest.argmax())
            chosen.append((int(grid[best, 0]), int(grid[best, 1]), int(grid[best, 2])))
            nearest = np.minimum(nearest, _distance(candidates, candidates[:, best : best + 1]))
    return tuple((int(r), int(g), int(b)) for r, g, b in chosen[:count])


def _distance(these: NDArray[np.float64], one: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far colours are from one colour for the eye that tells them least apart."""
    apart: NDArray[np.float64] = np.linalg.norm(these - one, axis=2).min(axis=0)
    return apart


def _seen(colours: NDArray[np.integer]) -> NDArray[np.float64]:
    """Colours (N, 3) as normal, red-blind and green-blind eyes see them: OKLab (3, N, 3)."""
    # Machado, Oliveira and Fernandes 2009, severity 1, on linear light.
    eyes = np.array(
        [
            np.eye(3),
            [
                [0.152286, 1.052583, -0.204868],
                [0.114503, 0.786281, 0.099216],
                [-0.003882, -0.048116, 1.051998],
            ],
            [
                [0.367322, 0.860646, -0.227968],
                [0.280085, 0.672501, 0.047413],
                [-0.011820, 0.042940, 0.968881],
            ],
        ]
    )
    light = np.einsum("eij,nj->eni", eyes, _linear(colours)).clip(0, 1)
    to_cones = [
        [0.4122215, 0.5363325, 0.0514460],
        [0.2119035, 0.6806995, 0.1073970],
        [0.0883025, 0.2817188, 0.6299787],
    ]
    to_lab = [
        [0.2104543, 0.7936178, -0.0040720],
        [1.9779985, -2.4285922, 0.4505937],
        [0.0259040, 0.7827718, -0.8086758],
    ]
    cones = np.cbrt(light @ np.array(to_cones).T)
    lab: NDArray[np.float64] = cones @ np.array(to_lab).T
    return lab


def _linear(colours: NDArray[np.integer]) -> NDArray[np.float64]:
    x = np.asarray(colours, np.float64) / 255
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
