"""From a source frame to the network's frame, and one random draw per clip shared by its frames."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import InterpolationMode  # type: ignore[import-untyped]
from torchvision.transforms.v2 import functional as F

from lrcn.data.cloud import Camera
from lrcn.data.flow import SMALLEST_FLOW, Kind, MotionConfig, mirrored, with_motion_of, with_motion_stretched
from lrcn.data.prepare import CentreCrop, Preparation
from lrcn.data.subject import SubjectConfig, SubjectCrop
from lrcn.data.video import Resize
from lrcn.errors import LrcnError

Fit = Literal["squash", "crop", "letterbox"]

# Decoding at more than this multiple of the input size costs more than the sharper small crops bring.
_LARGEST_MARGIN = 2.0

# Pixels a side of the whole frame that a subject is cut from; it fills a part of it.
_SUBJECT_SOURCE = 320


@dataclass(frozen=True)
class Augment:
    """Random changes to a training clip; the defaults change nothing.

    Attributes:
        scale: smallest share of the frame's area that the random crop keeps, over 0 to 1 (1 = no crop).
        flip: mirrors half of the clips left to right; leave it off when left and right are part of the label.
        colour: strength of brightness, contrast and saturation changes, 0 to 1; 0.4 multiplies by 0.6 to 1.4.
        rotate: largest rotation either way, in degrees, 0 to 180.
        stretch: largest change of the picture's width, and apart from it of its height, as a share of them, either way;
            it is also moved by up to half that share of the frame. Unlike `scale`, it makes things smaller as often as
            larger, as they are in evaluation. Mirrored borders fill what is left.
        shift: cuts what `Preprocess.frame` leaves room for at a random place, not at the centre; `scale` is then a
            share of what is cut.
        turn: of depth images (`subject.depth`), the farthest that the camera goes around the subject to either side, in
            degrees below 90. What `rotate` and `stretch` do is then done in space too: depth is stretched as well, and
            no border needs filling.
        tilt: the same up and down.
        spare_first: leaves draw 0 of each clip as it is in evaluation.

    Raises:
        LrcnError: a field is outside its range.
    """

    scale: float = 1.0
    flip: bool = False
    colour: float = 0.0
    rotate: float = 0.0
    stretch: float = 0.0
    shift: bool = False
    turn: float = 0.0
    tilt: float = 0.0
    spare_first: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.scale <= 1:
            raise LrcnError(
                f"Augment.scale is {self.scale}; give a share of the area above 0 and up to 1 (1 = none)."
            )
        if not 0 <= self.colour <= 1:
            raise LrcnError(f"Augment.colour is {self.colour}; give a strength from 0 (none) to 1.")
        if not 0 <= self.rotate <= 180:
            raise LrcnError(f"Augment.rotate is {self.rotate}; give degrees from 0 (none) to 180.")
        if not 0 <= self.stretch < 1:
            raise LrcnError(f"Augment.stretch is {self.stretch}; give a share from 0 (none) to below 1.")
        for name in ("turn", "tilt"):
            if not 0 <= getattr(self, name) < 90:
                raise LrcnError(
                    f"Augment.{name} is {getattr(self, name)}; give degrees from 0 (none) to below 90."
                )

    def camera(self, generator: torch.Generator) -> Camera:
        """Draws from where the clip is seen, where that is chosen in space."""
        turn, tilt, roll, *stretches = (
            2 * torch.rand(8, generator=generator, dtype=torch.float64) - 1
        ).tolist()
        wide, high, deep, right, down = (self.stretch * draw for draw in stretches)
        return Camera(
            self.turn * turn,
            self.tilt * tilt,
            self.rotate * roll,
            (1 + wide, 1 + high, 1 + deep),
            (right / 2, down / 2),
        )

    @property
    def in_picture(self) -> "Augment":
        """What is left to do to pictures whose `camera` was drawn."""
        return replace(self, rotate=0.0, stretch=0.0, turn=0.0, tilt=0.0)

    @property
    def margin(self) -> float:
        """By what the side of a frame should exceed the input size, so that small crops are not blown up."""
        return min(1 / math.sqrt(self.scale), _LARGEST_MARGIN)

    def __call__(self, frames: Tensor, size: int, generator: torch.Generator, kind: Kind = "none") -> Tensor:
        """Draws one crop, flip, rotation and colour for the whole clip.

        Args:
            frames: uint8 (T,3,H,W), square for an undistorted answer where nothing is shifted.
            size: side of the answer, pixels.
            generator: the only source of chance.
            kind: what the frames show. Images of motion keep their colours, and those of flow are changed in their
                vectors as in their places: mirrored, a move to the right is one to the left.

        Returns:
            uint8 (T,3,size,size).
        """
        # Always the same number of draws: switching one change on leaves the others as they were.
        area, top, left, flip, angle, *rest = torch.rand(
            12, generator=generator, dtype=torch.float64
        ).tolist()
        colour, stretches = rest[:3], [self.stretch * (2 * draw - 1) for draw in rest[3:]]
        area, degrees = self.scale + (1 - self.scale) * area, (2 * angle - 1) * self.rotate
        if self.rotate > 0:
            frames = _rotated(frames, degrees)
        if self.stretch > 0:
            across, down, *moves = stretches
            frames = _stretched(frames, 1 + across, 1 + down, *moves)
            if kind == "flow":
                frames = with_motion_stretched(frames, 1 + across, 1 + down)
        height, width = (size, size) if self.shift else frames.shape[-2:]
        frames = _cropped(frames, height * math.sqrt(area), width * math.sqrt(area), top, left, size)
        if kind == "flow":
            frames = with_motion_of(frames, degrees, 1 / math.sqrt(area))
        if self.flip and flip < 0.5:
            frames = mirrored(frames) if kind == "flow" else F.horizontal_flip(frames)
        if self.colour > 0 and kind == "none":
            frames = _coloured(frames, *(1 + self.colour * (2 * draw - 1) for draw in colour))
        return frames


@dataclass(frozen=True)
class Preprocess:
    """How every frame reaches the network; stored with the weights.

    Attributes:
        size: side of the square input, pixels.
        fit: "squash" ignores the aspect, "crop" keeps the centre, "letterbox" adds black bars.
        motion: what is made of the frames then; as they are, or images of motion between neighbours on the grid of
            sampled times.
        subject: a crop that stays on who is there, taken from the whole frame.
        frame: (height, width) that a frame is squashed to first, such as the paper's 240 x 320: the input is then its
            centre as it is, or what `Augment.shift` chooses. None: the input is the frame as `fit` has it.

    Raises:
        LrcnError: a field has a value that means nothing.
    """

    size: int = 112
    fit: Fit = "squash"
    motion: MotionConfig = field(default_factory=MotionConfig)
    subject: SubjectConfig = field(default_factory=SubjectConfig)
    frame: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise LrcnError(
                f"Preprocess.size is {self.size}; give the side of the input in pixels, such as 112."
            )
        if self.fit not in get_args(Fit):
            raise LrcnError(f'Preprocess.fit is "{self.fit}"; give "squash", "crop" or "letterbox".')
        if self.motion.kind == "flow" and self.size < SMALLEST_FLOW:
            raise LrcnError(f"Preprocess.size is {self.size}; flow needs {SMALLEST_FLOW} pixels or more.")
        if self.frame is not None and (
            min(self.frame) < self.size or self.fit != "squash" or self.subject.crop
        ):
            raise LrcnError(
                f"Preprocess.frame is {self.frame[0]}x{self.frame[1]}; give a height and a width of at least the size, "
                f'{self.size}, with fit "squash" and no subject.'
            )

    @property
    def resize(self) -> Resize:
        """What the video reader does to a frame where nothing is random: evaluation, prediction, streams."""
        if self.frame is not None:
            return Resize(self.frame[0], width=self.frame[1])
        return Resize(self.size, self.fit)

    def training_resize(self, augment: Augment | None) -> Resize:
        """What the video reader does to a training frame: the same picture, larger by what a crop may remove.

        Without a crop there is no margin, so the frames are those of evaluation, to the pixel.
        """
        if self.frame is not None:
            return self.resize
        margin = 1.0 if augment is None else augment.margin
        return Resize(math.ceil(self.size * margin), self.fit)

    def preparation(self, augment: Augment | None = None, camera: Camera | None = None) -> Preparation:
        """The whole way from a video's frames to the network; up to its random changes with `augment` (training).

        Depth images are seen from where `camera` stands.

        Raises:
            LrcnError: `augment` shifts what has no room, or turns what has no depth.
        """
        if augment is not None:
            self._refuse_in_space(augment)
        resize = self.training_resize(augment)
        shifts = augment is not None and augment.shift
        if self.frame is not None:
            cut = () if shifts else (CentreCrop(self.size),)
            return Preparation(resize, (*self.motion.steps, *cut))
        if shifts:
            raise LrcnError("augment.shift has no room to move in: set preprocess.frame, such as [240, 320].")
        # In a larger frame things move by more pixels: flow is told in pixels of the network's input.
        motion = replace(self.motion, scale=self.motion.scale * self.size / resize.size)
        if not self.subject.crop:
            return Preparation(resize, motion.steps)
        crop = SubjectCrop(self.subject, resize.size, camera or Camera())
        return Preparation(Resize(_SUBJECT_SOURCE, "letterbox"), (crop, *motion.steps))

    @property
    def in_space(self) -> bool:
        """Whether pictures are drawn of points, so that a camera may stand elsewhere."""
        return self.subject.crop and self.subject.depth > 0

    def _refuse_in_space(self, augment: Augment) -> None:
        if (augment.turn or augment.tilt) and not self.in_space:
            raise LrcnError(
                "augment.turn and tilt need depth: set preprocess.subject.crop to true and subject.depth, such as 330."
            )
        if self.subject.sides and (augment.scale < 1 or augment.flip):
            raise LrcnError(
                "preprocess.subject.sides puts three views in a picture, which augment.scale and flip would mix: leave "
                "them out; augment.stretch changes the size."
            )


def _cropped(frames: Tensor, height: float, width: float, top: float, left: float, size: int) -> Tensor:
    """A box of `height` and `width` of the frame, placed by `top` and `left` in [0,1), as (T,3,size,size)."""
    rows, columns = max(1, round(height)), max(1, round(width))
    first_row = int(top * (frames.shape[-2] - rows + 1))
    first_column = int(left * (frames.shape[-1] - columns + 1))
    boxes = F.crop(frames, first_row, first_column, rows, columns)
    resized: Tensor = F.resize(boxes, [size, size], InterpolationMode.BILINEAR, antialias=True)
    return resized


def _rotated(frames: Tensor, degrees: float) -> Tensor:
    """The frames turned about their centre; mirrored borders fill the corners: black would be a telltale."""
    height, width = frames.shape[-2:]
    sine, cosine = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    across = min(width - 1, max(0, math.ceil((width * cosine + height * sine - width) / 2)) + 1)
    down = min(height - 1, max(0, math.ceil((height * cosine + width * sine - height) / 2)) + 1)
    padded = F.pad(frames, [across, down], padding_mode="reflect")
    turned: Tensor = F.center_crop(F.rotate(padded, degrees, InterpolationMode.BILINEAR), [height, width])
    return turned


def _stretched(frames: Tensor, across: float, down: float, right: float, below: float) -> Tensor:
    """The frames (T,3,H,W) stretched about their centre and moved, in half frames."""
    # From where each pixel is taken, in the coordinates of grid_sample: -1 to 1 from border to border.
    taken = torch.tensor([[1 / across, 0, -right / across], [0, 1 / down, -below / down]])
    grid = nn.functional.affine_grid(taken[None], [1, *frames.shape[1:]], align_corners=False)
    found = nn.functional.grid_sample(
        frames.float(), grid.expand(len(frames), -1, -1, -1), padding_mode="reflection", align_corners=False
    )
    return found.round().clamp(0, 255).to(torch.uint8)


def _coloured(frames: Tensor, brightness: float, contrast: float, saturation: float) -> Tensor:
    """The frames with three factors applied (1 = unchanged)."""
    count, channels, height, width = frames.shape
    # As one tall picture, so that contrast turns about the clip's mean: equal pixels stay equal.
    tall: Tensor = frames.movedim(1, 0).reshape(channels, count * height, width)
    tall = F.adjust_brightness(tall, brightness)
    tall = F.adjust_contrast(tall, contrast)
    tall = F.adjust_saturation(tall, saturation)
    return tall.reshape(channels, count, height, width).movedim(0, 1).contiguous()
