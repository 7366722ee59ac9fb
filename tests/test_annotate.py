"""The annotated video: the picture untouched above, what happens drawn below, at the times of the source."""

from fractions import Fraction

import av
import numpy as np
import pytest

from lrcn.errors import LrcnError
from lrcn.palette import palette
from lrcn.predict import Recognition
from lrcn.segments import Segment
from lrcn.writers import save_annotated

LABELS = ["pan left", "σερβίς", "a label far too long to stand anywhere " * 8]
GREY = 120


def recognition(seconds=2.0, segments=None):
    times = np.arange(0, seconds, 0.1)
    per_frame = np.tile(np.array([[0.8, 0.15, 0.05]], np.float32), (len(times), 1))
    per_frame[len(times) // 2 :] = [0.1, 0.9, 0.0]
    if segments is None:
        half = seconds / 2
        segments = [Segment(0, half, LABELS[0], 0.8), Segment(half, seconds, LABELS[1], 0.9)]
    return Recognition("clip", LABELS[0], 0.45, {}, per_frame, times, segments, LABELS, 0.0, seconds)


def grey(width, height, count=20):
    return np.full((count, height, width, 3), GREY, np.uint8)


def decode(path):
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [f.to_ndarray(format="rgb24") for f in frames], [f.time for f in frames]


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((320, 240), (320, 240)),
        ((101, 77), (404, 308)),
        ((321, 41), (322, 41)),
        ((1600, 400), (1280, 320)),
    ],
)
def test_the_picture_stays_and_the_sides_are_even(tmp_path, size, shown):
    save_annotated(grey(*size, count=3), recognition(0.12), tmp_path / "out.mp4")
    frames, _ = decode(tmp_path / "out.mp4")
    height, width, _ = frames[0].shape
    assert len(frames) == 3
    assert width == shown[0]
    assert width % 2 == height % 2 == 0
    assert height > shown[1]
    # The colours survive the way through the file, and the band does not reach into the picture.
    assert np.abs(frames[0][: shown[1] - 8].astype(int) - GREY).max() <= 4
    assert frames[0][shown[1] + 2, 2].max() < 60


def test_the_band_shows_the_segment_and_where_we_are(tmp_path):
    save_annotated(grey(640, 360, count=50), recognition(2.0), tmp_path / "out.mp4")
    frames, times = decode(tmp_path / "out.mp4")
    colours = [np.array(c) for c in palette(LABELS).values()]

    def near(frame, colour):
        return int((np.abs(frame[360:].astype(int) - colour).max(axis=2) < 30).sum())

    early, late = frames[5], frames[45]
    assert near(late, colours[1]) > 2 * near(early, colours[1])
    for frame, time in ((early, times[5]), (late, times[45])):
        bar = frame[400:412]
        head = np.flatnonzero((bar > 200).all(axis=(0, 2)))
        assert head.mean() == pytest.approx(9 + time / 2 * (631 - 9), abs=4)


def test_frames_keep_their_uneven_times(tmp_path):
    stamps = [0, 40, 200, 240, 700, 1500]
    with av.open(str(tmp_path / "vfr.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for stamp in stamps:
            frame = av.VideoFrame.from_ndarray(grey(320, 240, 1)[0], format="rgb24").reformat(
                format="yuv420p"
            )
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    told = []
    save_annotated(
        tmp_path / "vfr.mkv", recognition(1.6), tmp_path / "out.mp4", progress=lambda *p: told.append(p)
    )
    _, times = decode(tmp_path / "out.mp4")
    assert times == pytest.approx([s / 1000 for s in stamps], abs=2e-3)
    assert len(told) == len(stamps)


def test_gaps_long_labels_and_short_clips_are_drawn(tmp_path):
    gap = [Segment(0.5, 1.0, LABELS[2], 0.5)]
    save_annotated(grey(320, 240, count=50), recognition(2.0, gap), tmp_path / "gap.mp4")
    assert len(decode(tmp_path / "gap.mp4")[0]) == 50
    one = [Segment(0, 0, LABELS[0], 0.5)]
    save_annotated(grey(320, 240, count=1), recognition(0.04, one), tmp_path / "one.mp4")
    assert len(decode(tmp_path / "one.mp4")[0]) == 1


def test_nothing_is_left_when_the_video_cannot_be_read(tmp_path):
    with pytest.raises(LrcnError, match="missing"):
        save_annotated(tmp_path / "missing.mp4", recognition(), tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []
