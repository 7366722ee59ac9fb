"""The views of a video that are judged: the network's own, or crops of a larger frame, decoded once for all of them.

The ten crops are those of the paper's released code: the four corners (top left, top right, bottom left, bottom right),
the centre, then the same five mirrored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as F  # type: ignore[import-untyped]

from lrcn.data.flow import mirrored
from lrcn.data.manifest import Row
from lrcn.data.picture import Resize
from lrcn.data.prepare import Carry, CentreCrop, Preparation
from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Preprocess
from lrcn.data.video import VideoError, open_video
from lrcn.errors import LrcnError

MARGIN = 240 / 227
"""By how much the frame is larger than the crops, unless said otherwise: as in the paper."""

CENTRE = 4
TEN_CROPS = range(10)
SQUASHED = 10
"""The whole frame squashed to the size of a crop, which is what the released demo made of its unmirrored crops."""


@dataclass(frozen=True)
class View:
    """What is cut from every frame.

    Attributes:
        preprocess: how the network sees frames otherwise.
        resize: what the frame is scaled to, height and width; None scales it as `preprocess` does before it cuts, and
            where it cuts nothing `MARGIN` larger, and keeps what its fit "crop" would cut off.
        crop: side of the crops, pixels; 0 is no crop, but the whole frame as `preprocess` gives it.
        crops: which ones, by their numbers.

    Raises:
        LrcnError: the crops are larger than the frame.
    """

    preprocess: Preprocess
    resize: tuple[int, int] | None = None
    crop: int = 0
    crops: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        size = self.resize or self.preprocess.frame
        if size is not None and self.crop > min(size):
            height, width = size
            raise LrcnError(
                f"Crops of {self.crop} pixels do not fit into frames of {height}x{width}: give --resize larger ones."
            )

    @property
    def preparation(self) -> Preparation:
        """The way from the frames to the images that crops are cut from."""
        whole = self.preprocess.preparation()
        if not self.crop:
            return whole
        size = self.resize or self.preprocess.frame
        fit = "short" if self.preprocess.fit == "crop" else self.preprocess.fit
        resize = Resize(round(self.crop * MARGIN), fit) if size is None else Resize(size[0], width=size[1])
        return Preparation(resize, tuple(step for step in whole.steps if not isinstance(step, CentreCrop)))

    def cut(self, images: Tensor) -> Tensor:
        """The crops uint8 (S,T,3,h,w) of prepared images (T,3,H,W)."""
        if not self.crop:
            return images[None]
        return torch.stack([self._crop(images, number) for number in self.crops])

    def _crop(self, images: Tensor, number: int) -> Tensor:
        side = self.crop
        if number == SQUASHED:
            squashed: Tensor = F.resize(images, [side, side], antialias=True)
            return squashed
        down, right = images.shape[-2] - side, images.shape[-1] - side
        place = number % 5
        top, left = (down // 2, right // 2) if place == CENTRE else (down * (place // 2), right * (place % 2))
        crop = images[..., top : top + side, left : left + side]
        if number < 5:
            return crop
        return mirrored(crop) if self.preprocess.motion.kind == "flow" else crop.flip(-1)


def pieces(
    row: Row, sampling: Sampling, views: Sequence[View], chunk: int
) -> Iterator[tuple[list[Tensor], NDArray[np.float64]]]:
    """The views of a clip, `chunk` frames at a time: crops (S,T,3,h,w) of each view, and times (T,) in seconds.

    One pass over the video, whatever its length; where there is one view alone, its frames are those that the network
    sees when it is used, to the pixel.

    Raises:
        VideoError: the clip cannot be read, or has no frames.
    """
    parts = (
        _spread(row, sampling, views)
        if sampling.spread == "uniform"
        else _passed(row, sampling, views, chunk)
    )
    empty = True
    for images, times in parts:
        empty = False
        yield [view.cut(torch.from_numpy(part)) for view, part in zip(views, images, strict=True)], times
    if empty:
        raise VideoError(f"{row.path} has no frames there; mend start and end in the manifest.")


_Part = tuple[list[NDArray[np.uint8]], NDArray[np.float64]]


def _passed(row: Row, sampling: Sampling, views: Sequence[View], chunk: int) -> Iterator[_Part]:
    resizes = [view.preparation.resize for view in views]
    alone = resizes[0] if len(views) == 1 else None
    carries: list[Carry | None] = [None] * len(views)
    with open_video(row.path, resize=alone) as reader:
        # Scaled as they come: a chunk of frames in their own size may be more than memory holds.
        frames = (
            ([frame] if alone else [resize(frame) for resize in resizes], time)
            for frame, time in reader.frames(sampling.rate, row.start or 0.0, row.end)
        )
        while batch := list(islice(frames, chunk)):
            images = []
            for place, view in enumerate(views):
                pictures = np.stack([scaled[place] for scaled, _ in batch]).transpose(0, 3, 1, 2)
                prepared, carries[place] = view.preparation(np.ascontiguousarray(pictures), carries[place])
                images.append(prepared)
            yield images, np.array([time for _, time in batch])


def _spread(row: Row, sampling: Sampling, views: Sequence[View]) -> Iterator[_Part]:
    """The few frames that a model takes from the whole clip, read once for each view."""
    clips = []
    for view in views:
        with open_video(row.path, resize=view.preparation.resize) as reader:
            info = reader.info
            end = row.end or info.duration or (info.frames or 0) / info.rate
            grid = sampling.grid(row.start or 0.0, end, info.rate)
            clips.append(view.preparation.read(reader, grid, sampling.pick(len(grid))))
    if len(clips[0]):
        yield [clip.frames for clip in clips], clips[0].times
