"""How the camera moved, measured without learning: the independent judge of recognised camera moves.

Corners of each sampled frame are followed into the next by pyramidal Lucas-Kanade, forward and back; RANSAC
fits the similarity (shift, scale, turn) that most of them share. Labels name the camera's own movement, so
the picture goes the other way: in a `pan left` the content moves right, in a `tilt up` it moves down, in a
`roll clockwise` it turns anticlockwise on the screen. `sure_moments` speaks only where the evidence is plain
and says None everywhere else.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lrcn.data.moves import MOVES
from lrcn.data.video import Resize, open_video
from lrcn.errors import LrcnError

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]

LABELS = MOVES

GRID = 4  # cells per side of the grid on which features are spread and counted
PER_CELL = 30  # features kept in one cell, so that one busy corner cannot outvote the frame
LEAST_IN_CELL = 3  # tracked features that make a cell count
CORNER_FLOOR = 2e-4  # smallest eigenvalue (grey in 0..1) of a corner: below it there is only noise to follow
ROUND_TRIP = 0.7  # pixels a feature may miss its origin by after going there and back
RESIDUAL = 1.5  # pixels a feature may lie off the common similarity and still belong to it
SURVIVORS = 0.3  # share of features that must survive; fewer means another shot
HISTOGRAM_JUMP = 0.5  # share of pixels that change their colour bin; more means another shot


@dataclass(frozen=True)
class Motion:
    """Global motion of the picture over T intervals between sampled frames; every array is (T,).

    Attributes:
        times: Seconds; the time of the frame that ends the interval.
        dx: Shift of the content at the frame's centre, shares of the frame's width per second; positive =
            content moves right = camera pans left. NaN where no motion could be fitted, as in the next three.
        dy: The same downwards, shares of the frame's height per second; positive = content moves down =
            camera tilts up.
        log_scale: Natural logarithm of the content's growth per second; positive = zoom in.
        angle: Roll of the camera, radians per second; positive = the camera rolls clockwise, the content
            anticlockwise.
        inliers: Share of the tracked features that follow the fitted motion.
        features: Number of features tracked there and back.
        spread: Share of the cells with features in which at least half of these follow the fitted motion.
        cells: Number of cells of the 4 x 4 grid with at least three tracked features.
        cut: True where the interval crosses a cut (or a change as abrupt as one).
        rate: Sampled frames per second.
        width: Width of the measured frames, pixels.
        height: Height of the measured frames, pixels.
    """

    times: Floats
    dx: Floats
    dy: Floats
    log_scale: Floats
    angle: Floats
    inliers: Floats
    features: NDArray[np.int64]
    spread: Floats
    cells: NDArray[np.int64]
    cut: NDArray[np.bool_]
    rate: float
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True)
class Sure:
    """When the judge is sure of its label. Shares are of 1; totals are over one window.

    Attributes:
        window: Seconds of the trailing window; it holds `round(window * rate)` frames and one interval fewer.
        shift: Smallest total pan, in frame widths, or tilt, in frame heights.
        zoom: Smallest total change of scale (0.05: 5 % larger, or smaller by the same factor).
        roll: Smallest total roll, degrees.
        steady: Smallest share of intervals that go the move's way, each by `pace` mean intervals or more.
        pace: See `steady`: an interval slower than this does not count as moving.
        others: Largest excursion of every other component, as a share of the move's own total, in corner
            pixels (a zoom or roll moves a corner by its logarithm or radians times half the diagonal).
        still_shift: Static: largest excursion of pan, in frame widths, and of tilt, in frame heights.
        still_zoom: Static: largest excursion of the scale.
        still_roll: Static: largest excursion of the roll, degrees.
        features: Smallest number of tracked features of a trusted interval.
        inliers: Smallest share of them that follow the common motion.
        spread: Smallest share of the cells with features that follow it.
        cells: Smallest number of the 16 cells that have features.
        trusted: Smallest share of trusted intervals in the window.
    """

    window: float = 1.6
    shift: float = 0.05
    zoom: float = 0.05
    roll: float = 4.0
    steady: float = 0.85
    pace: float = 0.2
    others: float = 0.5
    still_shift: float = 0.01
    still_zoom: float = 0.01
    still_roll: float = 0.7
    features: int = 60
    inliers: float = 0.5
    spread: float = 0.6
    cells: int = 8
    trusted: float = 0.9


class Moment(NamedTuple):
    """One judgement: the end of its window, seconds; one of `LABELS`, or None where the judge is not sure."""

    time: float
    label: str | None


class _Step(NamedTuple):
    """The motion over one interval, in pixels and radians of the content."""

    dx: float
    dy: float
    log_scale: float
    turn: float
    inliers: float
    features: int
    spread: float
    cells: int
    cut: bool


_LOST = _Step(np.nan, np.nan, np.nan, np.nan, 0.0, 0, 0.0, 0, False)


def track(source: str | Path | int | Image, rate: float = 10.0, size: int = 240) -> Motion:
    """Measures the global motion of one video.

    Args:
        source: Whatever `lrcn.data.video.open_video` opens.
        rate: Frames per second at which the video is sampled.
        size: The frames' shorter side in pixels while measuring; the aspect is kept.

    Returns:
        The motion over the T intervals between the T + 1 sampled frames.

    Raises:
        LrcnError: The source cannot be read, or it has fewer than two frames at that rate.
    """
    with open_video(source, resize=Resize(size, "short")) as video:
        return track_frames(video.frames(rate=rate), rate)


def track_frames(frames: Iterable[tuple[Image, float]], rate: float) -> Motion:
    """Measures the global motion of frames already sampled and sized.

    Args:
        frames: Pairs of a frame, (H, W, 3) uint8 with square pixels, and its time in seconds.
        rate: Frames per second of the sampling; it turns shifts into speeds.

    Returns:
        The motion over the intervals between the frames.

    Raises:
        LrcnError: There are fewer than two frames.
    """
    steps: list[_Step] = []
    times: list[float] = []
    height = width = 0
    for (first, _), (second, time) in pairwise(frames):
        height, width = second.shape[:2]
        steps.append(_between(first, second))
        times.append(time)
    if not steps:
        raise LrcnError(
            f"motion needs at least two frames at {rate:g} per second: give a longer clip or a higher rate"
        )
    column = {name: np.array([getattr(step, name) for step in steps]) for name in _Step._fields}
    return Motion(
        times=np.array(times, np.float64),
        dx=column["dx"] * rate / width,
        dy=column["dy"] * rate / height,
        log_scale=column["log_scale"] * rate,
        angle=-column["turn"] * rate,
        inliers=column["inliers"],
        features=column["features"].astype(np.int64),
        spread=column["spread"],
        cells=column["cells"].astype(np.int64),
        cut=column["cut"].astype(np.bool_),
        rate=rate,
        width=width,
        height=height,
    )


def sure_moments(motion: Motion, sure: Sure | None = None) -> list[Moment]:
    """Labels every moment at which a whole window lies behind.

    Args:
        motion: The measured motion, T intervals.
        sure: The thresholds.

    Returns:
        One moment for every interval that ends a full window (none when the clip is shorter than the window).
    """
    sure = sure or Sure()
    length = max(1, round(sure.window * motion.rate) - 1)
    trusted = _trusted(motion, sure)
    steps = _component_steps(motion)
    moments = []
    for end in range(length, len(motion) + 1):
        span = slice(end - length, end)
        label = None
        if not motion.cut[span].any() and trusted[span].mean() >= sure.trusted:
            label = _label(steps[:, span][:, trusted[span]], motion, sure)
        moments.append(Moment(float(motion.times[end - 1]), label))
    return moments


def summary(moments: Sequence[Moment]) -> dict[str, int]:
    """Counts moments by label: the nine labels in order, then `not sure`."""
    counts = dict.fromkeys((*LABELS, "not sure"), 0)
    for moment in moments:
        counts[moment.label or "not sure"] += 1
    return counts


def _trusted(motion: Motion, sure: Sure) -> NDArray[np.bool_]:
    """(T,) whether each interval's motion is that of the frame as a whole."""
    enough = (motion.features >= sure.features) & (motion.cells >= sure.cells)
    shared = (motion.inliers >= sure.inliers) & (motion.spread >= sure.spread)
    return np.asarray(enough & shared & np.isfinite(motion.dx), np.bool_)


def _component_steps(motion: Motion) -> Floats:
    """(4, T) pan, tilt, zoom and roll of each interval; positive is the first label of each pair."""
    return np.stack([motion.dx, motion.dy, motion.log_scale, motion.angle]) / motion.rate


def _label(steps: Floats, motion: Motion, sure: Sure) -> str | None:
    """The label of one window from its (4, N) component steps, or None."""
    path = np.cumsum(np.pad(steps, ((0, 0), (1, 0))), axis=1)
    excursion = np.ptp(path, axis=1)
    roll, still_roll = np.deg2rad([sure.roll, sure.still_roll])
    if (excursion < [sure.still_shift, sure.still_shift, np.log1p(sure.still_zoom), still_roll]).all():
        return "static"
    half_diagonal = np.hypot(motion.width, motion.height) / 2
    corner = np.array([motion.width, motion.height, half_diagonal, half_diagonal])
    total = path[:, -1]
    main = int(np.argmax(np.abs(total) * corner))
    if abs(total[main]) < [sure.shift, sure.shift, np.log1p(sure.zoom), roll][main]:
        return None
    if (np.delete(excursion * corner, main) > sure.others * abs(total[main]) * corner[main]).any():
        return None
    if (steps[main] / total[main] * steps.shape[1] >= sure.pace).mean() < sure.steady:
        return None
    return LABELS[1 + 2 * main + int(total[main] < 0)]


def _between(first: Image, second: Image) -> _Step:
    """The common motion from one (H, W, 3) frame to the next."""
    if first.shape != second.shape or _histogram_distance(first, second) > HISTOGRAM_JUMP:
        return _LOST._replace(cut=True)
    before, after = (
        np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8) for image in (first, second)
    )
    corners = _corners(before)
    if len(corners) < 4:
        return _LOST
    starts, ends = _follow(before, after, corners)
    if len(starts) < max(4, SURVIVORS * len(corners)):
        return _LOST._replace(features=len(starts), cut=True)
    return _fit(starts, ends, before.shape[0], before.shape[1])


def _histogram_distance(first: Image, second: Image) -> float:
    """The share of pixels that change colour bin (8 x 8 x 8 bins), place disregarded."""
    counts = [
        cv2.calcHist([image], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3) / (image.shape[0] * image.shape[1])
        for image in (first, second)
    ]
    return float(np.abs(counts[0] - counts[1]).sum() / 2)


def _corners(grey: Image) -> NDArray[np.float32]:
    """(N, 2) corners to follow: the strongest of each cell, at most `PER_CELL` from one."""
    found: Any = cv2.goodFeaturesToTrack(
        grey, maxCorners=3000, qualityLevel=0.001, minDistance=6, blockSize=5
    )
    if found is None:
        return np.zeros((0, 2), np.float32)
    points = np.asarray(found, np.float32).reshape(-1, 2)
    strength = np.asarray(cv2.cornerMinEigenVal(grey, 5))
    columns, rows = points.astype(np.int64).T
    points = points[strength[rows, columns] >= CORNER_FLOOR]
    cells = _cells(points, *grey.shape[:2])
    return np.concatenate([points[cells == cell][:PER_CELL] for cell in range(GRID * GRID)])


def _cells(points: NDArray[np.float32], height: int, width: int) -> NDArray[np.int64]:
    """(N,) the grid cell of each point."""
    place = np.clip(points * GRID / np.array([width, height]), 0, GRID - 1).astype(np.int64)
    return np.asarray(place[:, 1] * GRID + place[:, 0], np.int64)


def _follow(
    before: Image, after: Image, corners: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The corners found in the next frame that lead back to where they began, and their new places."""
    options: dict[str, Any] = {"nextPts": None, "winSize": (21, 21), "maxLevel": 4}
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners[:, None], **options)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(after, before, there, **options)
    ends, origins = (np.asarray(places, np.float32)[:, 0] for places in (there, back))
    kept = (np.asarray(found).ravel() == 1) & (np.asarray(returned).ravel() == 1)
    kept &= np.abs(origins - corners).max(axis=1) <= ROUND_TRIP
    return corners[kept], ends[kept]


def _fit(starts: NDArray[np.float32], ends: NDArray[np.float32], height: int, width: int) -> _Step:
    """The similarity most of the features share, about the frame's centre."""
    # Coordinates from the centre make the fitted shift the centre's own.
    centre = np.array([(width - 1) / 2, (height - 1) / 2], np.float32)
    fitted, mask = cv2.estimateAffinePartial2D(
        starts - centre,
        ends - centre,
        method=cv2.RANSAC,
        ransacReprojThreshold=RESIDUAL,
        maxIters=2000,
        confidence=0.995,
    )
    if fitted is None:
        return _LOST._replace(features=len(starts))
    inside = np.asarray(mask).ravel() == 1
    cells = _cells(starts, height, width)
    shares = [inside[cells == cell].mean() for cell in _counted(cells)]
    return _Step(
        dx=float(fitted[0, 2]),
        dy=float(fitted[1, 2]),
        log_scale=float(np.log(np.hypot(fitted[0, 0], fitted[1, 0]))),
        turn=float(np.arctan2(fitted[1, 0], fitted[0, 0])),
        inliers=float(inside.mean()),
        features=len(starts),
        spread=float(np.mean(np.array(shares) >= 0.5)) if shares else 0.0,
        cells=len(shares),
        cut=False,
    )


def _counted(cells: NDArray[np.int64]) -> Iterator[int]:
    """The cells that hold enough features to count."""
    counts = np.bincount(cells, minlength=GRID * GRID)
    return (int(cell) for cell in np.flatnonzero(counts >= LEAST_IN_CELL))
