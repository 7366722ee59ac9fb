"""The video with a band below it: what happens now, how probable that is, and the whole clip's timeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import matplotlib
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lrcn.data.video import Resize, open_video
from lrcn.errors import LrcnError
from lrcn.palette import palette, text_colour
from lrcn.predict import Recognition, Source
from lrcn.text import clock, one_line
from lrcn.visualize import hold

if TYPE_CHECKING:
    from av.video.stream import VideoStream

    from lrcn.data.video import VideoReader

_WIDEST, _NARROWEST = 1280, 320
_TICK = Fraction(1, 90_000)
GROUND = (17, 20, 26)
_TEXT, FAINT = (240, 242, 245), (139, 146, 158)
_TRACK = (44, 49, 58)


def encode_annotated(
    source: Source,
    recognition: Recognition,
    path: Path,
    progress: Callable[[float, float], None] | None = None,
    canvas: Callable[[Recognition, int, int], Canvas] | None = None,
) -> None:
    """Writes the annotated video to `path`; see `lrcn.writers.save_annotated`.

    Raises:
        LrcnError: the video cannot be read or holds no frames, or the file cannot be encoded.
    """
    with _reader(source) as reader:
        try:
            _encode(reader, recognition, path, progress, canvas or Canvas)
        except av.FFmpegError as error:
            raise LrcnError(
                f"Cannot write the annotated video: {error.strerror}; try another place."
            ) from error


@contextmanager
def _reader(source: Source) -> Iterator[VideoReader]:
    """The video at the size it is annotated at, shrunk where it is decoded."""
    with open_video(source) as reader:
        width, height = reader.info.width, reader.info.height
        if width <= _WIDEST:
            yield reader
            return
    short = max(2, round(min(width, height) * _WIDEST / width))
    with open_video(source, resize=Resize(short, "short")) as reader:
        yield reader


def _encode(
    reader: VideoReader,
    recognition: Recognition,
    path: Path,
    progress: Callable[[float, float], None] | None,
    canvas_for: Callable[[Recognition, int, int], Canvas],
) -> None:
    rate = reader.info.rate if reader.info.rate > 0 else 25.0
    canvas: Canvas | None = None
    last = -1
    with av.open(path, "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))

        def mux(frame: av.VideoFrame | None) -> None:
            for packet in stream.encode(frame):
                # Without it the last frame would not be shown.
                packet.duration = round(1 / rate / _TICK)
                container.mux(packet)

        for picture, time in reader.frames(start=recognition.start, end=recognition.end):
            if canvas is None:
                canvas = canvas_for(recognition, picture.shape[1], picture.shape[0])
                _set_up(stream, canvas.width, canvas.height)
            frame = av.VideoFrame.from_ndarray(canvas.draw(picture, time), format="rgb24")
            frame = frame.reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            last = frame.pts = max(round((time - recognition.start) / _TICK), last + 1)
            frame.time_base = _TICK
            mux(frame)
            if progress is not None:
                progress(time, recognition.end)
        if canvas is None:
            raise LrcnError(f"{recognition.path} holds no frames; there is nothing to annotate.")
        mux(None)


def _set_up(stream: VideoStream, width: int, height: int) -> None:
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.options = {"crf": "20", "preset": "veryfast"}
    context = stream.codec_context
    context.time_base = _TICK
    # Said in the file, so that players do not guess the colours from the size (1 is BT.709).
    context.color_range, context.colorspace = ColorRange.MPEG, Colorspace.ITU709
    context.color_primaries = context.color_trc = 1


class Canvas:
    """Draws frames with the band below; what does not move is drawn once."""

    def __init__(self, recognition: Recognition, width: int, height: int) -> None:
        self.recognition = recognition
        self.colours = palette(recognition.labels)
        self.scale = max(1, -(-_NARROWEST // width))
        self.picture = (width * self.scale, height * self.scale)
        # H.264 in 4:2:0 wants even sides.
        self.width = self.picture[0] + self.picture[0] % 2
        self.size = round(min(max(self.picture[0] / 46, 12), 30))
        pad, size = self.size * 2 // 3, self.size
        self.left, self.right = pad, self.width - pad
        self.row = (pad, pad + round(1.3 * size))
        self.bar = (self.row[1] + size // 2, self.row[1] + size // 2 + round(1.6 * size))
        band = self.bar[1] + round(1.7 * size)
        self.height = self.picture[1] + band + (self.picture[1] + band) % 2
        self.meter = (self.right - round(3.2 * size) - self.width // 4, self.right - round(3.2 * size))
        self.font, self.bold, self.small = (
            _font("DejaVuSans.ttf", max(11, round(0.8 * size))),
            _font("DejaVuSans-Bold.ttf", size),
            _font("DejaVuSans.ttf", max(9, round(0.66 * size))),
        )
        self.played, self.ahead = self._timeline(1.0), self._timeline(0.6)
        self._labels: dict[str | None, NDArray[np.uint8]] = {}
        self._percents: dict[int, NDArray[np.uint8]] = {}
        self._starts = np.array([s.start for s in recognition.segments])

    def draw(self, picture: NDArray[np.uint8], time: float) -> NDArray[np.uint8]:
        """The picture (H, W, 3) at `time` with its band, (height, width, 3)."""
        if picture.shape[1::-1] != self.picture:
            picture = np.asarray(cv2.resize(picture, self.picture, interpolation=cv2.INTER_LINEAR), np.uint8)
        canvas = np.empty((self.height, self.width, 3), np.uint8)
        canvas[: self.picture[1], : self.picture[0]] = picture
        canvas[: self.picture[1], self.picture[0] :] = picture[:, -1:]
        band = canvas[self.picture[1] :]
        x = self._x(time)
        band[:, :x], band[:, x:] = self.played[:, :x], self.ahead[:, x:]
        half = max(1, self.size // 12)
        band[self.bar[0] - 3 : self.bar[1] + 3, max(x - half, 0) : x + half] = 255
        label, probability = self._now(time)
        self._draw_label(band[self.row[0] : self.row[1]], label, probability)
        return canvas

    def _x(self, time: float) -> int:
        one = self.recognition
        share = (time - one.start) / max(one.end - one.start, 1e-9)
        return self.left + round(min(max(share, 0.0), 1.0) * (self.right - self.left))

    def _now(self, time: float) -> tuple[str | None, float]:
        """The label of the segment at `time`, None in a gap, and its probability at that frame."""
        one = self.recognition
        place = int(np.searchsorted(self._starts, time + 1e-6, side="right")) - 1
        if place < 0 or one.segments[place].end <= time:
            return None, 0.0
        frame = max(int(np.searchsorted(one.times, time + 1e-6, side="right")) - 1, 0)
        label = one.segments[place].label
        return label, float(one.per_frame[frame, one.labels.index(label)])

    def _draw_label(self, row: NDArray[np.uint8], label: str | None, probability: float) -> None:
        if label not in self._labels:
            self._labels[label] = self._label_image(label)
        image = self._labels[label]
        row[:, self.left : self.left + image.shape[1]] = image
        if label is None:
            return
        percent = round(100 * probability)
        if percent not in self._percents:
            self._percents[percent] = self._percent_image(percent)
        image = self._percents[percent]
        row[:, self.right - image.shape[1] : self.right] = image
        start, stop = self.meter
        top, bottom = len(row) // 2 - self.size // 5, len(row) // 2 + self.size // 5 + 1
        row[top:bottom, start:stop] = _TRACK
        row[top:bottom, start : start + round(probability * (stop - start))] = self.colours[label]

    def _label_image(self, label: str | None) -> NDArray[np.uint8]:
        high, wide = self.row[1] - self.row[0], self.meter[0] - self.left - self.size // 2
        image = _blank(wide, high)
        draw = ImageDraw.Draw(image)
        if label is None:
            draw.text((0, high / 2), "-", font=self.bold, fill=FAINT, anchor="lm")
        else:
            side = round(0.75 * self.size)
            top = (high - side) // 2
            draw.rounded_rectangle((0, top, side, top + side), radius=side // 4, fill=self.colours[label])
            text = shortened(label, self.bold, wide - side - self.size // 2)
            draw.text((side + self.size // 2, high / 2), text, font=self.bold, fill=_TEXT, anchor="lm")
        return np.asarray(image)

    def _percent_image(self, percent: int) -> NDArray[np.uint8]:
        high, wide = self.row[1] - self.row[0], round(2.9 * self.size)
        image = _blank(wide, high)
        ImageDraw.Draw(image).text((wide, high / 2), f"{percent} %", font=self.font, fill=_TEXT, anchor="rm")
        return np.asarray(image)

    def _timeline(self, light: float) -> NDArray[np.uint8]:
        """The band without what moves; `light` is 1 for what has been played, less for what is to come."""
        band = np.empty((self.height - self.picture[1], self.width, 3), np.uint8)
        band[:] = GROUND
        bar = band[self.bar[0] : self.bar[1], self.left : self.right]
        self._fill_bar(bar)
        bar[:] = light * bar + (1 - light) * np.array(GROUND)
        image = Image.fromarray(band)
        draw = ImageDraw.Draw(image)
        middle = sum(self.bar) // 2
        for s in self.recognition.segments:
            start, stop = self._x(s.start), self._x(s.end)
            if one_line(s.label) == shortened(s.label, self.font, stop - start - self.size):
                under = band[middle - self.size // 3 : middle + self.size // 3, start:stop].mean(axis=(0, 1))
                ink = text_colour((int(under[0]), int(under[1]), int(under[2])))
                draw.text(((start + stop) / 2, middle), one_line(s.label), ink, self.font, anchor="mm")
        for time, text, anchor in self._ticks():
            draw.text(
                (self._x(time), self.bar[1] + self.size * 0.9),
                text,
                font=self.small,
                fill=FAINT,
                anchor=anchor,
            )
        return np.array(image)

    def _fill_bar(self, bar: NDArray[np.uint8]) -> None:
        """Each moment in the colour of its segment: bright as high as the label is probable, dark above."""
        one = self.recognition
        high, columns = bar.shape[:2]
        held = hold(one.times, one.per_frame, one.start, max(one.end, one.start + 1e-3), columns)
        bar[:] = _TRACK
        rows = np.arange(high)[:, None]
        for s in one.segments:
            start, stop = self._x(s.start) - self.left, self._x(s.end) - self.left
            colour = np.array(self.colours[s.label])
            filled = high - rows <= np.rint(held[start:stop, one.labels.index(s.label)] * high)
            bar[:, start:stop] = np.where(filled[..., None], colour, colour * 0.38).astype(np.uint8)
            # A dark seam keeps neighbours of like colours apart.
            bar[:, start : start + (1 if start else 0)] = GROUND

    def _ticks(self) -> Iterator[tuple[float, str, str]]:
        """(seconds, text, anchor) of the marks under the bar, as many as have room."""
        one = self.recognition
        span, room = one.end - one.start, (self.right - self.left) / (6 * self.size)
        steps = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800)
        step = next((s for s in steps if span / s <= room), 86400)
        first = int(np.ceil(one.start / step - 1e-9))
        for n in range(first, int((one.end + 1e-9) / step) + 1):
            near_left, near_right = (
                self._x(n * step) < 2 * self.left,
                self._x(n * step) > self.right - self.left,
            )
            yield (
                n * step,
                clock(n * step, tenths=step < 1),
                "lm" if near_left else "rm" if near_right else "mm",
            )


def _blank(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), GROUND)


def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """DejaVu, which comes with matplotlib: its letters cover the alphabets that Pillow's own font lacks."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def shortened(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Text on one line, cut off where it would be wider than `width` pixels."""
    text = one_line(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
