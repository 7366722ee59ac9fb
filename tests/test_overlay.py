"""Explanations drawn: heat where it belongs, the picture elsewhere, the evidence along the time."""

import av
import numpy as np
import pytest
from PIL import Image

from lrcn.errors import LrcnError
from lrcn.explain import Explanation
from lrcn.overlay import contact_sheet, overlaid, save_explained
from lrcn.palette import palette
from lrcn.predict import Recognition
from lrcn.segments import Segment
from lrcn.visualize import save

LABELS = ["pan $left$", "σερβίς"]
GREY = 90


def explanation(count=20, heat=True, evidence=None, segments=None):
    times = np.arange(count) / 10
    end = count / 10
    segments = (
        [Segment(0, end / 2, LABELS[0], 0.8), Segment(end / 2, end, LABELS[1], 0.9)]
        if segments is None
        else segments
    )
    per_frame = np.tile(np.array([[0.8, 0.2]], np.float32), (count, 1))
    probabilities = dict(zip(LABELS, (0.8, 0.2), strict=True))
    seen = Recognition("clip", LABELS[0], 0.8, probabilities, per_frame, times, segments, LABELS, 0.0, end)
    evidence = np.where(times < end / 2, 0.2, -0.1) if evidence is None else evidence
    hot = np.zeros((count, 6, 8), np.float32)
    hot[: count // 2, 1, 6] = 1
    return Explanation(LABELS[0], seen, 2.0, 2.0 - evidence.sum(), evidence, 0.0, hot if heat else None)


def grey(width=320, height=240, count=50):
    return np.full((count, height, width, 3), GREY, np.uint8)


def decode(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_heat_covers_its_place_and_leaves_the_rest():
    picture = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    heat = np.zeros((6, 8), np.float32)
    assert np.abs(overlaid(picture, heat).astype(int) - picture).max() <= 1
    heat[1, 6] = 1
    shown = overlaid(picture, heat)
    changed = np.abs(shown.astype(int) - picture).max(2)
    assert shown.dtype == np.uint8 and shown.shape == picture.shape
    assert changed[12:18, 62:68].min() > 10
    assert changed[40:].max() <= 1 and changed[:, :40].max() <= 1
    # Stronger heat is brighter, whatever is below.
    assert overlaid(picture, 0.3 * heat)[15, 65].sum() < shown[15, 65].sum()


def test_the_video_has_heat_and_the_evidence_as_it_comes(tmp_path):
    told = []
    save_explained(grey(), explanation(), tmp_path / "why.mp4", progress=lambda *p: told.append(p))
    frames = decode(tmp_path / "why.mp4")
    assert len(frames) == len(told) == 50
    height, width, _ = frames[0].shape
    assert width == 320 and height % 2 == 0
    early, late = frames[3].astype(int), frames[45].astype(int)
    # Hot in the first half only, and there in one place.
    assert np.abs(early[50:70, 250:270] - GREY).max() > 60
    assert np.abs(early[150:230, 20:300] - GREY).max() <= 6
    assert np.abs(late[20:220, 20:300] - GREY).max() <= 6
    colours = [np.array(colour) for colour in palette(LABELS).values()]
    strip = slice(height - 45, None)

    def bright(frame, colour):
        return int((np.abs(frame[strip] - colour).max(axis=2) < 40).sum())

    assert bright(early, colours[1]) < 20 < bright(late, colours[1])
    assert bright(early, colours[0]) < bright(late, colours[0])


def test_the_evidence_rises_for_the_label_and_falls_against_it(tmp_path):
    save_explained(grey(), explanation(), tmp_path / "why.mp4")
    last = decode(tmp_path / "why.mp4")[-1].astype(int)
    colours = [np.array(colour) for colour in palette(LABELS).values()]
    strip = last[-45:]
    rows = [
        np.flatnonzero((np.abs(strip - colour).max(axis=2) < 40).any(axis=1)).mean() for colour in colours
    ]
    assert rows[0] < rows[1]


@pytest.mark.parametrize("heat", [True, False])
@pytest.mark.parametrize("count", [1, 3, 30])
def test_the_sheet_shows_the_strongest_frames(tmp_path, count, heat):
    one = explanation(count, heat, evidence=np.linspace(0.1, 1, count + 1)[1:])
    figure = contact_sheet(grey(count=max(3 * count, 2)), one)
    pictures = [axes for axes in figure.axes if axes.images]
    assert len(pictures) == min(count, 8)
    last = pictures[-1].get_title(loc="left")
    assert last.endswith("+1.00")
    save(figure, tmp_path / "why.png")
    with Image.open(tmp_path / "why.png") as image:
        assert min(image.size) > 300


def test_gaps_and_labels_like_formulas_are_drawn(tmp_path):
    one = explanation(segments=[Segment(0.5, 1.0, LABELS[1], 0.5)])
    save(contact_sheet(grey(), one), tmp_path / "why.svg")
    save_explained(grey(count=4), explanation(segments=[]), tmp_path / "why.mkv")
    assert len(decode(tmp_path / "why.mkv")) == 4


def test_a_flat_explanation_is_drawn(tmp_path):
    one = explanation(evidence=np.zeros(20))
    save_explained(grey(count=4), one, tmp_path / "why.mp4")
    save(contact_sheet(grey(), one), tmp_path / "why.png")


def test_nothing_is_left_of_what_cannot_be_written(tmp_path):
    with pytest.raises(LrcnError, match=r"\.mp4, \.mov or \.mkv"):
        save_explained(grey(), explanation(), tmp_path / "why.avi")
    with pytest.raises(LrcnError, match="missing"):
        save_explained(tmp_path / "missing.mp4", explanation(), tmp_path / "why.mp4")
    assert list(tmp_path.iterdir()) == []
