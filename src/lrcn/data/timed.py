"""Videos with timed segments: the rows of a manifest that share a file, as a label at every frame of it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lrcn.data.datasets import IGNORED_LABEL, ClipDataset, Item, grid_of
from lrcn.data.manifest import Row
from lrcn.data.sampling import Sampling
from lrcn.data.streams import Layout
from lrcn.data.transforms import Augment, Preprocess
from lrcn.data.video import open_video
from lrcn.errors import LrcnError
from lrcn.fingerprint import fingerprint

_ROUNDING = 1e-6
"""Seconds by which a frame's time may miss a boundary it stands on."""


def videos_of(rows: Sequence[Row]) -> list[list[Row]]:
    """The segments of each video, videos in the order of the rows.

    Raises:
        LrcnError: the segments of a video stand in several splits.
    """
    videos: dict[str, list[Row]] = {}
    for row in rows:
        videos.setdefault(row.path, []).append(row)
    for path, segments in videos.items():
        if len({row.split for row in segments}) > 1:
            raise LrcnError(
                f"The segments of {path} stand in several splits: give all rows of a video the same split."
            )
    return list(videos.values())


def frame_labels(
    segments: Sequence[Row], times: ArrayLike, labels: Sequence[str], background: str = ""
) -> Tensor:
    """The class number of each frame of a video, int64 (T,).

    A frame at time t is of the segment with start <= t < end; without a start or end, the segment begins or ends with
    the video. Where segments overlap, the one that begins last counts.

    Args:
        segments: rows of one file.
        times: (T,), seconds.
        labels: the classes; the position in this list is the class number.
        background: the class of frames in no segment; empty: such frames have no label, -100.

    Raises:
        LrcnError: a label is not among `labels`.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    for label in (*(row.label for row in segments if row.label is not None), *filter(None, [background])):
        if label not in numbers:
            raise LrcnError(f'The label "{label}" is not one of the known ones, {", ".join(labels)}.')
    at = np.asarray(times, dtype=np.float64) + _ROUNDING
    found = np.full(at.shape, numbers.get(background, IGNORED_LABEL), dtype=np.int64)
    for row in sorted(segments, key=lambda row: row.start or 0.0):
        if row.label is not None:
            end = np.inf if row.end is None else row.end
            found[((row.start or 0.0) <= at) & (at < end)] = numbers[row.label]
    return torch.from_numpy(found)


class TimedVideos(ClipDataset):
    """Whole videos, or consecutive pieces of them, as uint8 tensors with a label at every frame.

    The pieces of a video share their random changes, so laid end to end they are the video; "first" of an item is the
    place of its first frame in it. Without a frame cache every piece is sought and decoded by itself.

    Args:
        rows: the segments.
        labels: the classes; the position in this list is the class number.
        sampling: its rate; all frames are read.
        preprocess: how a frame reaches the network.
        augment: random changes in training, one draw for a video.
        train: whether items are random draws.
        piece: frames of an item; None gives a whole video an item.
        background: the class of frames in no segment; empty: they have no label.
        seed: everything random follows from it.
        frame_cache: folder that keeps each video's small frames, so that it is decoded once.

    Raises:
        LrcnError: a label is not in `labels`, or a video must be cut and cannot be opened.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        labels: Sequence[str],
        sampling: Sampling,
        preprocess: Preprocess,
        augment: Augment | None = None,
        *,
        train: bool,
        piece: int | None = None,
        background: str = "",
        seed: int = 0,
        frame_cache: str | Path | None = None,
    ) -> None:
        self.videos = videos_of(rows)
        self.background = background
        whole = [replace(segments[0], start=None, end=None) for segments in self.videos]
        all_frames = replace(sampling, frames=None, spread="window", stride=None)
        self._pieces = [
            (video, first, last)
            for video, row in enumerate(whole)
            for first, last in _cuts(row, all_frames, piece)
        ]
        super().__init__(
            [whole[video] for video, _, _ in self._pieces],
            labels,
            all_frames,
            preprocess,
            augment,
            train=train,
            seed=seed,
            frame_cache=frame_cache,
        )
        for segments in self.videos:
            frame_labels(segments, [], labels, background)

    @property
    def layout(self) -> Layout:
        """How the pieces are laid end to end; only of videos that were cut."""
        spans = np.array([(first, last) for _, first, last in self._pieces], dtype=np.int64)
        return Layout(spans[:, 1] - spans[:, 0], spans[:, 0] == 0)

    def key(self, index: int, view: int) -> str:
        """A hash of everything that made the item: file, piece, segments, settings, and in training the draw."""
        video, *span = self._pieces[index]
        timed = [(row.start, row.end, row.label) for row in self.videos[video]]
        return fingerprint("timed", super().key(index, view), span, timed, self.labels, self.background)

    def _read_item(self, index: int, view: int) -> Item:
        item = super()._read_item(index, view)
        video, first, _ = self._pieces[index]
        label = frame_labels(self.videos[video], item["times"], self.labels, self.background)
        return {**item, "label": label, "first": first}

    def _chosen(self, index: int, view: int, count: int) -> NDArray[np.int64]:
        _, first, last = self._pieces[index]
        return np.arange(first, count if last is None else min(last, count))

    def _entropy(self, index: int, view: int) -> list[int]:
        return super()._entropy(self._pieces[index][0], view)


def _cuts(row: Row, sampling: Sampling, piece: int | None) -> list[tuple[int, int | None]]:
    """The pieces of a video as (first frame, last + 1)."""
    if piece is None:
        return [(0, None)]
    with open_video(row.path) as reader:
        count = len(grid_of(reader, row, sampling))
    return [(first, min(first + piece, count)) for first in range(0, count, piece)]
