"""Pictures of results: timelines, confusion matrices, training curves.

matplotlib is imported when a picture is drawn, never before, and only its figures are used: no window is
opened and no global setting changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrcn.errors import LrcnError
from lrcn.files import whole_file
from lrcn.palette import Colour, text_colour
from lrcn.palette import palette as palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lrcn.predict import Recognition

INK = "#1c1f24"
QUIET = "#6b7280"
GRID = "#e3e6ea"
# A single stray clip in a row of a hundred must still be seen, so the palest blue begins right above nothing.
_SHARES = [(0.0, "#ffffff"), (0.01, "#dbe9f4"), (0.3, "#8fc1e0"), (0.7, "#0072b2"), (1.0, "#023a63")]
_COLUMNS = 1200
_MOST_ROWS = 12
_ON_DEV = "on the dev set"


def hold(
    times: NDArray[np.float64], values: NDArray[np.floating], start: float, end: float, columns: int
) -> NDArray[np.float64]:
    """Values (T, ...) at uneven times, drawn on an even axis of `columns`: (columns, ...).

    A column shows the last value before its middle, or the mean of all values that fall into it.
    """
    edges = np.linspace(start, end, columns + 1)
    first = np.searchsorted(times, edges[:-1], side="left")
    after = np.searchsorted(times, edges[1:], side="left")
    shown = np.searchsorted(times, (edges[:-1] + edges[1:]) / 2, side="right") - 1
    held: NDArray[np.float64] = np.asarray(values, np.float64)[shown.clip(0)]
    for column in np.flatnonzero(after - first > 1):
        held[column] = values[first[column] : after[column]].mean(axis=0, dtype=np.float64)
    return held


def timeline(
    recognition: Recognition,
    compare: Recognition | None = None,
    *,
    titles: tuple[str, str] = ("LRCN", "single frame"),
) -> Figure:
    """The probabilities of the labels over time, one row a label, with the segments above them.

    Args:
        recognition: what to draw.
        compare: another model's view of the same clip, drawn below on the same time axis.
        titles: names of the two; used only when both are drawn.

    Returns:
        A figure for `save`. With many labels only the 12 that peak highest are drawn.
    """
    shown = [recognition] if compare is None else [recognition, compare]
    rows = _rows_worth_drawing(shown)
    height = 0.9 + len(shown) * (1.0 + 0.27 * len(rows))
    figure = new_figure(10, height)
    ratios = [part for _ in shown for part in (1.9, len(rows))]
    axes = figure.subplots(2 * len(shown), 1, sharex=True, height_ratios=ratios, squeeze=False)[:, 0]
    for i, one in enumerate(shown):
        title = f"{one.label}  {one.probability:.0%}"
        if compare is not None:
            title = f"{titles[i]}:  {title}"
        axes[2 * i].set_title(plain(title), loc="left", fontsize=11, fontweight="bold", color=INK)
        draw_segments(axes[2 * i], one)
        _draw_rows(axes[2 * i + 1], one, rows)
        axes[2 * i + 1].tick_params(labelbottom=i == len(shown) - 1)
    axes[-1].set_xlim(min(r.start for r in shown), max(1e-3, *(r.end for r in shown)))
    axes[-1].set_xlabel("time (s)", color=QUIET, fontsize=9)
    return figure


def confusion(matrix: ArrayLike, labels: Sequence[str]) -> Figure:
    """A confusion matrix: a row per true class, a column per answer, coloured by the share of the row.

    Args:
        matrix: (K, K) counts, `matrix[true, answer]`.
        labels: the K class names.

    Returns:
        A figure for `save`; up to 25 classes the counts stand in the cells.

    Raises:
        ValueError: the matrix is not K x K.
    """
    from matplotlib.colors import LinearSegmentedColormap

    counts = np.asarray(matrix)
    k = len(labels)
    if counts.shape != (k, k):
        raise ValueError(f"the confusion matrix of {k} labels is {k} x {k}, not {counts.shape}")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(2.6 + 0.42 * k, 5.2, 17))
    names = float(np.clip(72 * side / (2.1 * k), 4.5, 10))
    figure = new_figure(side + 0.6, side)
    axes = figure.subplots()
    blues = LinearSegmentedColormap.from_list("share", _SHARES)
    image = axes.imshow(shares, cmap=blues, vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks(range(k), [plain(n) for n in labels], rotation=90 if k > 25 else 45, fontsize=names)
    for tick in axes.get_xticklabels():
        tick.set(
            horizontalalignment="center" if k > 25 else "right", rotation_mode="anchor" if k <= 25 else None
        )
    axes.set_yticks(range(k), [plain(n) for n in labels], fontsize=names)
    axes.set_xticks(np.arange(k + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(k + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.6 if k <= 25 else 0.3)
    axes.tick_params(which="both", length=0, colors=INK)
    axes.spines[:].set_visible(False)
    if k <= 25:
        _write_counts(axes, counts, shares, size=min(names, 9.0))
    total = int(counts.sum())
    right = counts.trace() / total if total else 0.0
    axes.set_title(
        f"{right:.1%} of {total:,} right", loc="left", fontsize=12, fontweight="bold", color=INK, pad=10
    )
    axes.set_xlabel("answer", color=QUIET)
    axes.set_ylabel("truth", color=QUIET)
    bar = figure.colorbar(image, ax=axes, fraction=0.035, pad=0.02, format="{x:.0%}", ticks=[0, 0.5, 1])
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8, colors=QUIET)
    return figure


def curves(jsonl_rows: Iterable[Mapping[str, Any]]) -> Figure:
    """Training curves: loss, metrics on the dev set and learning rate against the step, one panel each.

    Args:
        jsonl_rows: the training log, one mapping a line. Every row has `step`; of the rest these are drawn:
            `loss` (and names that end in it), `lr` (and names that begin with it), and names that begin with
            `dev`. Anything else is ignored.

    Returns:
        A figure for `save`.
    """
    from matplotlib.ticker import MaxNLocator

    series = _series(jsonl_rows)
    panels = [
        ("loss", {n: s for n, s in series.items() if n.endswith("loss")}),
        (
            "on the dev set",
            {n: s for n, s in series.items() if n.startswith("dev") and not n.endswith("loss")},
        ),
        ("learning rate", {n: s for n, s in series.items() if n.startswith("lr")}),
    ]
    panels = [panel for panel in panels if panel[1]] or panels[:1]
    figure = new_figure(9, 0.6 + 2.3 * len(panels))
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (title, lines) in zip(axes, panels, strict=True):
        for (name, points), colour in zip(lines.items(), palette(list(lines)).values(), strict=True):
            _draw_curve(ax, name, np.array(points), unit(colour), best=title == _ON_DEV)
        named = next(iter(lines)) if len(lines) == 1 and title == _ON_DEV else title
        ax.set_title(plain(named), loc="left", fontsize=11, fontweight="bold", color=INK)
        ax.grid(color=GRID, linewidth=0.8)
        ax.set_axisbelow(True)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0, labelsize=9, colors=QUIET)
        ax.margins(x=0.02)
        if len(lines) > 1:
            ax.legend(frameon=False, fontsize=9, labelcolor=INK)
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[-1].set_xlabel("step", color=QUIET, fontsize=9)
    return figure


def save(figure: Figure, path: str | Path) -> None:
    """Writes a figure as .png or .svg, whole or not at all.

    Raises:
        LrcnError: another kind of file is asked for, or it cannot be written.
    """
    kind = Path(path).suffix.lower()
    if kind not in (".png", ".svg"):
        raise LrcnError(f"Figures are written as .png or .svg, not {Path(path).name}; give another name.")
    # Without a date in it the same figure gives the same file.
    metadata = {"Date": None} if kind == ".svg" else None
    with whole_file(path) as temporary:
        figure.savefig(temporary, format=kind[1:], dpi=150, metadata=metadata)


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of so many inches."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    inner = ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.03, hspace=0, rect=(0.01, 0.01, 0.98, 0.975))
    return Figure(figsize=(width, height), layout=inner, facecolor="white")


def _rows_worth_drawing(shown: Sequence[Recognition]) -> list[int]:
    labels = shown[0].labels
    if any(one.labels != labels for one in shown):
        raise ValueError("two recognitions are compared label by label, but these have different labels")
    if len(labels) <= _MOST_ROWS:
        return list(range(len(labels)))
    # A label that has a segment always has its row; the rest by how high they ever come.
    peak = np.max([one.per_frame.max(axis=0) for one in shown], axis=0).astype(np.float64)
    for one in shown:
        for segment in one.segments:
            peak[labels.index(segment.label)] += segment.end - segment.start
    return sorted(np.argsort(-peak, kind="stable")[:_MOST_ROWS].tolist())


def draw_segments(axes: Axes, one: Recognition) -> None:
    """The segments as one bar of blocks in the labels' colours, named where there is room."""
    colours = palette(one.labels)
    span = max(one.end - one.start, 1e-3)
    for s in one.segments:
        axes.broken_barh(
            [(s.start, s.end - s.start)],
            (0, 1),
            facecolor=unit(colours[s.label]),
            edgecolor="white",
            linewidth=1.5,
        )
        text = f"{s.label} {s.score:.0%}"
        # About 115 characters of this size fit across the figure.
        for candidate in (text, s.label):
            if len(candidate) < 115 * (s.end - s.start) / span - 1:
                middle = (s.start + s.end) / 2
                axes.text(
                    middle,
                    0.5,
                    plain(candidate),
                    ha="center",
                    va="center_baseline",
                    fontsize=9,
                    color=text_colour(colours[s.label]),
                    clip_on=True,
                )
                break
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.tick_params(length=0, labelbottom=False)
    axes.spines[:].set_visible(False)


def _draw_rows(axes: Axes, one: Recognition, rows: Sequence[int]) -> None:
    colours = np.array(list(palette(one.labels).values()))[rows] / 255
    held = hold(one.times, one.per_frame[:, rows], one.start, max(one.end, one.start + 1e-3), _COLUMNS).T
    # Between white and the label's own colour by probability: a row is read without a legend.
    image = 1 - held[..., None] * (1 - colours[:, None])
    n = len(rows)
    axes.imshow(
        image.clip(0, 1),
        extent=(one.start, max(one.end, one.start + 1e-3), n - 0.5, -0.5),
        aspect="auto",
        interpolation="nearest",
    )
    axes.set_yticks(range(n), [plain(one.labels[k]) for k in rows], fontsize=9)
    for edge in np.arange(n + 1) - 0.5:
        axes.axhline(edge, color=GRID, linewidth=0.8)
    axes.tick_params(length=0, labelsize=9, colors=INK)
    axes.spines[:].set_visible(False)


def _write_counts(axes: Axes, counts: NDArray[Any], shares: NDArray[np.float64], size: float) -> None:
    # A three-digit count needs a smaller hand than a one-digit one.
    digits = len(f"{counts.max():g}")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            axes.text(
                column,
                row,
                f"{count:g}",
                ha="center",
                va="center_baseline",
                fontsize=size if digits < 3 else size * 2.6 / digits,
                color="white" if shares[row, column] > 0.45 else INK,
            )


def _series(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    series: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if "step" not in row:
            continue
        for name, value in row.items():
            if isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value):
                series.setdefault(name, []).append((float(row["step"]), float(value)))
    return series


def _draw_curve(
    axes: Axes, name: str, points: NDArray[np.float64], colour: tuple[float, ...], *, best: bool
) -> None:
    steps, values = points.T
    sparse = len(steps) <= 40
    if len(steps) > 200 and name.endswith("loss"):
        # The noise stays visible behind its running mean.
        axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
        width = len(steps) // 50
        values = np.convolve(values, np.ones(width) / width, mode="valid")
        steps = steps[width - 1 :]
    axes.plot(
        steps,
        values,
        color=colour,
        linewidth=1.8,
        marker="o" if sparse else None,
        markersize=3.5,
        label=plain(name),
    )
    if best:
        top = int(values.argmax())
        axes.annotate(
            f"{values[top]:.3g}",
            (steps[top], values[top]),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=colour,
            fontweight="bold",
        )
        axes.margins(y=0.18)


def unit(colour: Colour) -> tuple[float, float, float]:
    """A colour as matplotlib takes it: 0 to 1."""
    return colour[0] / 255, colour[1] / 255, colour[2] / 255


def plain(text: str) -> str:
    """Text for matplotlib, which would read what stands between two dollar signs as a formula."""
    return " ".join(text.split()).replace("$", r"\$")
