"""An explanation drawn over the video's own frames: heat where the evidence is, and along the time how much of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lrcn.annotate import FAINT, GROUND, Canvas, shortened
from lrcn.data.video import Resize, read_clip
from lrcn.palette import Colour, palette
from lrcn.text import clock
from lrcn.visualize import GRID, INK, QUIET, draw_segments, hold, new_figure, plain, unit
from lrcn.writers import save_annotated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lrcn.explain import Explanation
    from lrcn.predict import Recognition, Source

_DENSEST = 0.8
_COLUMNS = 4
_MOST_SHOWN = 8
_SHORT_SIDE = 240


def overlaid(picture: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) with heat (h, w), 0 to 1, laid over the whole of it."""
    # Mixed in small and stretched then, so that a film is drawn about as fast as it is read.
    strength = _DENSEST * np.sqrt(heat)[..., None]
    colours = matplotlib.colormaps["inferno"](heat)[..., :3]
    size = picture.shape[1::-1]
    keep, paint = (
        cv2.resize((255 * layer).astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)
        for layer in (np.repeat(1 - strength, 3, axis=2), strength * colours)
    )
    return np.asarray(cv2.add(cv2.multiply(picture, keep, scale=1 / 255), paint), np.uint8)


def contact_sheet(source: Source, explanation: Explanation) -> Figure:
    """The frames that speak most for the label, with their heat, above the evidence of all frames.

    Args:
        source: the video that was explained.
        explanation: what is drawn.

    Returns:
        A figure for `lrcn.visualize.save`.

    Raises:
        LrcnError: the video cannot be read.
    """
    places = explanation.strongest(_MOST_SHOWN)
    clip = read_clip(source, times=explanation.times[places], resize=Resize(_SHORT_SIDE, "short"))
    rows = -(-len(places) // _COLUMNS)
    height, width = clip.frames.shape[2:]
    tall = min(10 / _COLUMNS * height / width, 4) + 0.3
    figure = new_figure(10, rows * tall + 2.9)
    grid = figure.add_gridspec(rows + 2, _COLUMNS, height_ratios=[tall] * rows + [0.4, 1.7])
    figure.suptitle(_headline(explanation), x=0.015, ha="left", fontsize=12, fontweight="bold", color=INK)
    colours = _colours(explanation)
    for n, (place, picture) in enumerate(zip(places, clip.frames.transpose(0, 2, 3, 1), strict=True)):
        axes = figure.add_subplot(grid[n // _COLUMNS, n % _COLUMNS])
        axes.imshow(_heated(explanation, picture, place))
        name = (
            f"{n + 1}   {clock(explanation.times[place], tenths=True)}   {explanation.evidence[place]:+.2f}"
        )
        axes.set_title(name, loc="left", fontsize=9, color=QUIET)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set(color=unit(colours[place]), linewidth=2)
    below = figure.add_subplot(grid[rows + 1, :])
    draw_segments(figure.add_subplot(grid[rows, :], sharex=below), explanation.recognition)
    _draw_evidence(below, explanation, places)
    return figure


def save_explained(
    source: Source,
    explanation: Explanation,
    path: str | Path,
    *,
    progress: Callable[[float, float], None] | None = None,
) -> None:
    """Writes the stretch of video with heat over each frame, and below the usual band the evidence as it comes.

    Args:
        source: the video that was explained.
        explanation: what is drawn.
        path: .mp4, .mov or .mkv.
        progress: called with (seconds written, seconds in all).

    Raises:
        LrcnError: as `lrcn.writers.save_annotated`.
    """
    canvas = partial(EvidenceCanvas, explanation)
    save_annotated(source, explanation.recognition, path, progress=progress, canvas=canvas)


class EvidenceCanvas(Canvas):
    """Draws frames with their heat, the band below, and under it the evidence of every frame.

    Args:
        explanation: what is drawn.
        recognition: the same explanation's.
        width: of a frame.
        height: of a frame.
    """

    def __init__(self, explanation: Explanation, recognition: Recognition, width: int, height: int) -> None:
        self.explanation = explanation
        super().__init__(recognition, width, height)
        self.height = self.picture[1] + len(self.played)

    def draw(self, picture: NDArray[np.uint8], time: float) -> NDArray[np.uint8]:
        """The picture (H, W, 3) at `time`, (height, width, 3)."""
        place = max(int(np.searchsorted(self.explanation.times, time + 1e-6, side="right")) - 1, 0)
        return super().draw(_heated(self.explanation, picture, place), time)

    def _timeline(self, light: float) -> NDArray[np.uint8]:
        return np.concatenate([super()._timeline(light), self._strip(light)])

    def _strip(self, light: float) -> NDArray[np.uint8]:
        """The evidence of the whole stretch, up for the label and down against it, as bright as `light`."""
        name, high = round(1.2 * self.size), round(2.2 * self.size)
        image = Image.new("RGB", (self.width, 2 * -(-(name + high + self.left) // 2)), GROUND)
        text = shortened(f"evidence for {self.explanation.label}", self.small, self.right - self.left)
        ImageDraw.Draw(image).text((self.left, name / 2), text, FAINT, self.small, anchor="lm")
        strip = np.array(image)
        chart = strip[name : name + high, self.left : self.right]
        one = self.recognition
        span = one.start, max(one.end, one.start + 1e-3), chart.shape[1]
        held = hold(one.times, self.explanation.evidence, *span)
        colours = hold(one.times, np.array(_colours(self.explanation), np.float64), *span)
        top, bottom = max(held.max(), 0.0), min(held.min(), 0.0)
        level = np.rint((top - held) / max(top - bottom, 1e-9) * high)
        zero = round(top / max(top - bottom, 1e-9) * high)
        rows = np.arange(high)[:, None]
        filled = (np.minimum(level, zero) <= rows) & (rows < np.maximum(level, zero))
        shade = light * colours + (1 - light) * np.array(GROUND)
        chart[:] = np.where(filled[..., None], shade, chart).astype(np.uint8)
        chart[min(zero, high - 1)] = FAINT
        return strip


def _heated(explanation: Explanation, picture: NDArray[np.uint8], place: int) -> NDArray[np.uint8]:
    return picture if explanation.heat is None else overlaid(picture, explanation.heat[place])


def _headline(explanation: Explanation) -> str:
    added = explanation.score - explanation.baseline
    text = f"{explanation.label} {explanation.probability:.0%}: the frames add {added:+.1f} to log-odds of "
    return plain(f"{text}{explanation.baseline:.1f}")


def _colours(explanation: Explanation) -> list[Colour]:
    """The colour of what goes on at every frame: of its segment, or grey between segments."""
    one = explanation.recognition
    named = palette(one.labels)
    now = [next((s.label for s in one.segments if s.start <= time < s.end), None) for time in one.times]
    return [FAINT if label is None else named[label] for label in now]


def _draw_evidence(axes: Axes, explanation: Explanation, places: list[int]) -> None:
    one, evidence = explanation.recognition, explanation.evidence
    widths = np.diff(one.times, append=max(one.end, one.times[-1] + 1e-3))
    colours = [unit(colour) for colour in _colours(explanation)]
    axes.bar(one.times, evidence, widths, align="edge", color=colours, edgecolor="white", linewidth=0.4)
    axes.axhline(0, color=INK, linewidth=0.8)
    for n, place in enumerate(places, start=1):
        middle, level = one.times[place] + widths[place] / 2, max(evidence[place], 0)
        axes.annotate(
            str(n),
            (middle, level),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8,
            color=INK,
        )
    axes.set_xlim(one.start, max(one.end, one.start + 1e-3))
    axes.margins(y=0.15)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=9, colors=QUIET)
    axes.set_ylabel("evidence", color=QUIET, fontsize=9)
    axes.set_xlabel("time (s)", color=QUIET, fontsize=9)
