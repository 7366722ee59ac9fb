"""The live band: the latest answer, and the last half minute from right to left."""

import av
import numpy as np
import pytest

from lrcn.live_canvas import SPAN, LiveCanvas, LiveFilm
from lrcn.palette import palette
from lrcn.track import Answer

LABELS = ("a", "b")


def answer(time, k, probability=1.0):
    row = np.full(2, 1 - probability)
    row[k] = probability
    none = np.zeros(0), np.zeros((0, 2), np.float32)
    return Answer(time, row.astype(np.float32), row, *none, None, False, (), None, LABELS)


def band(canvas, drawn):
    """The bar's middle row of pixels (W, 3) in the drawn picture."""
    bar = drawn[canvas.picture[1] :][canvas.bar[0] : canvas.bar[1], canvas.left : canvas.right]
    return bar[len(bar) // 2]


def test_the_band_runs_from_right_to_left():
    canvas, picture = LiveCanvas(LABELS, 320, 180), np.full((180, 320, 3), 77, np.uint8)
    colours = palette(LABELS)
    for time in range(10):
        drawn = canvas.live(picture, answer(float(time), 0))
    for time in range(10, 20):
        drawn = canvas.live(picture, answer(float(time), 1))
    assert drawn.shape == (canvas.height, canvas.width, 3)
    assert (drawn[:180, :320] == 77).all()
    row = band(canvas, drawn)
    wide = len(row)
    at = [row[round((1 - (19 - time) / SPAN) * wide) - 2] for time in (5, 15)]
    np.testing.assert_array_equal(at, [colours["a"], colours["b"]])
    before = row[: round((1 - 19.5 / SPAN) * wide)]
    assert (before == before[0]).all()
    drawn = canvas.live(picture, answer(100.0, 0, 0.2))
    assert (band(canvas, drawn)[:-4] == before[0]).all()


def test_pictures_of_other_sizes_are_brought_to_the_first_ones():
    canvas = LiveCanvas(LABELS, 2000, 1000)
    assert canvas.width == 1280
    for shape in ((1000, 2000, 3), (480, 640, 3)):
        assert canvas.live(np.zeros(shape, np.uint8), answer(1.0, 0)).shape == (canvas.height, 1280, 3)


def test_a_film_keeps_the_times_of_its_pictures(tmp_path):
    times = [5.0, 5.04, 5.3, 5.3000001, 7.0]
    with LiveFilm(tmp_path / "film.mp4", 25) as film:
        for time in times:
            film.write(np.zeros((32, 64, 3), np.uint8), time)
    with av.open(str(tmp_path / "film.mp4")) as video:
        found = [frame.time for frame in video.decode(video=0)]
    assert found == pytest.approx([time - 5 for time in times], abs=1e-3)
