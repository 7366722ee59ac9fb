"""How fast images of motion are made."""

from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrcn.bench.measuring import Rows, rows_of, side_by_side
from lrcn.data.flow import MotionConfig
from lrcn.threads import threads

_WAYS = {
    "flow, DIS fast": MotionConfig("flow"),
    "flow, DIS ultrafast": MotionConfig("flow", preset="ultrafast"),
    "flow, DIS medium": MotionConfig("flow", preset="medium"),
    "flow, Farneback": MotionConfig("flow", "farneback"),
    "differences": MotionConfig("difference"),
}
_SLOW_WAYS = {
    "flow, TV-L1": MotionConfig("flow", "tvl1"),
    "flow, RAFT small, random weights (for its speed alone)": MotionConfig(
        "flow", "raft_small", weights="none"
    ),
}


def flow(clips: str = "", size: int = 224, frames: int = 64, slow_frames: int = 2, repeats: int = 3) -> Rows:
    """Images of motion a second by each method, in one thread (RAFT on the GPU where there is one).

    Args:
        clips: a video file, or a manifest or folder of clips, of which the first are read; without it, the sample film
            that ships.
        size: side of the frames, pixels.
        frames: images of motion in a pass.
        slow_frames: the same for TV-L1 and RAFT; 0 leaves them out.
        repeats: passes, of which the median counts; the methods take turns.
    """
    films = _films(_paths(clips), size, frames)
    ways: dict[str, Callable[[], int]] = {
        name: partial(_count, config, films) for name, config in _WAYS.items()
    }
    if slow_frames:
        short = [films[0][: slow_frames + 1]]
        ways |= {name: partial(_count, config, short) for name, config in _SLOW_WAYS.items()}
        # What is made once is not what is measured.
        _count(_SLOW_WAYS[next(reversed(_SLOW_WAYS))], [films[0][:2]])
    with threads(1):
        return side_by_side(ways, repeats, "ratio_to_dis_fast", digits=4)


def _paths(clips: str) -> list[str]:
    from lrcn.data.video import VIDEO_SUFFIXES
    from lrcn.demo_film import shipped

    if not clips:
        return [str(shipped("big-buck-bunny.mp4"))]
    return [clips] if Path(clips).suffix.lower() in VIDEO_SUFFIXES else [row.path for row in rows_of(clips)]


def _films(paths: list[str], size: int, images: int) -> list[NDArray[np.uint8]]:
    """Consecutive frames (T,3,size,size) of the first clips, enough for that many images of motion."""
    from lrcn.data.video import Resize, open_video

    films: list[NDArray[np.uint8]] = []
    for path in paths:
        if images < 1:
            break
        with open_video(path, resize=Resize(size)) as reader:
            pictures = [frame.transpose(2, 0, 1) for frame, _ in islice(reader.frames(), images + 1)]
        films.append(np.ascontiguousarray(pictures))
        images -= len(pictures) - 1
    return films


def _count(config: MotionConfig, films: list[NDArray[np.uint8]]) -> int:
    """Makes the images of all films; how many have a frame before them."""
    return sum(len(config.images(film)[0]) - 1 for film in films)
