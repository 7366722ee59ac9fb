"""Figures: the right rows and words in them, and files written whole."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrcn.errors import LrcnError
from lrcn.predict import Recognition
from lrcn.segments import segments
from lrcn.visualize import confusion, curves, hold, save, timeline


def recognition(k=4, t=30, seed=0):
    labels = [f"class ${i}$" for i in range(k)]
    scores = np.random.default_rng(seed).normal(size=(t, k)).cumsum(axis=0)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    times = np.arange(t) / 10
    found = segments(p, times, labels, end=t / 10)
    return Recognition(
        "clip.mp4", labels[0], 0.5, {}, p.astype(np.float32), times, found, labels, 0.0, t / 10
    )


def words(figure):
    figure.canvas.draw()
    return [
        t.get_text() for ax in figure.axes for t in (*ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels())
    ]


@pytest.mark.parametrize(("k", "t", "rows"), [(1, 1, 1), (9, 30, 9), (101, 400, 12)])
def test_a_timeline_has_a_row_a_label_up_to_twelve(k, t, rows):
    figure = timeline(recognition(k, t))
    assert len(figure.axes[1].get_yticks()) == rows


def test_a_comparison_stands_below_on_the_same_axis():
    figure = timeline(recognition(), recognition(seed=1), titles=("new", "old"))
    assert len(figure.axes) == 4
    assert figure.axes[0].get_title(loc="left").startswith("new:")
    assert figure.axes[2].get_title(loc="left").startswith("old:")
    assert figure.axes[1].get_xlim() == figure.axes[3].get_xlim() == (0, 3)
    with pytest.raises(ValueError, match="different labels"):
        timeline(recognition(4), recognition(5))


def test_the_labels_with_segments_always_have_a_row():
    one = recognition(101, 60)
    shown = {t for t in words(timeline(one)) if t}
    assert {s.label.replace("$", r"\$") for s in one.segments} <= shown


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 1000))
@settings(max_examples=50)
def test_holding_shows_the_value_of_the_moment(count, columns, seed):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.1, 1, count))
    values = rng.uniform(size=(count, 2))
    held = hold(times, values, float(times[0]), float(times[-1]) + 0.5, columns)
    assert held.shape == (columns, 2)
    assert held.min() >= values.min() - 1e-12
    assert held.max() <= values.max() + 1e-12
    assert hold(np.arange(4.0), values[:1].repeat(4, 0), 0, 4, 8) == pytest.approx(values[:1].repeat(8, 0))


def test_holding_steps_at_the_frames():
    assert hold(np.arange(3.0), np.array([1.0, 2.0, 3.0]), 0, 3, 6).tolist() == [1, 1, 2, 2, 3, 3]
    assert hold(np.arange(4.0), np.array([1.0, 3.0, 5.0, 7.0]), 0, 4, 2).tolist() == [2, 6]


def test_a_small_confusion_matrix_shows_its_counts():
    matrix = np.array([[8, 2], [0, 1234]])
    figure = confusion(matrix, ["a", "b"])
    assert {t.get_text() for t in figure.axes[0].texts} == {"8", "2", "1234"}
    assert "99.8% of 1,244" in figure.axes[0].get_title(loc="left")
    colours = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(colours, [[0.8, 0.2], [0, 1]])


def test_a_large_or_empty_confusion_matrix_is_drawn():
    large = confusion(np.eye(101, dtype=int), [str(i) for i in range(101)])
    assert len(large.axes[0].texts) == 0
    assert "0.0% of 0" in confusion(np.zeros((3, 3), int), ["a", "b", "c"]).axes[0].get_title(loc="left")
    with pytest.raises(ValueError, match="2 x 2"):
        confusion(np.eye(3), ["a", "b"])


def test_curves_draw_what_the_log_has():
    rows = [{"step": i, "loss": 1 / (i + 1), "lr": 0.1, "note": "x"} for i in range(300)]
    rows += [{"step": 100, "dev_accuracy": 0.5}, {"step": 200, "dev_accuracy": 0.75}, {"dev_accuracy": 1.0}]
    figure = curves(rows)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["loss", "dev_accuracy", "learning rate"]
    assert [t.get_text() for t in figure.axes[1].texts] == ["0.75"]
    assert len(curves([]).axes) == 1


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_figures_are_saved_whole(tmp_path, kind):
    save(timeline(recognition()), tmp_path / f"t.{kind}")
    head = (tmp_path / f"t.{kind}").read_bytes()[:5]
    assert head == {"png": b"\x89PNG\r", "svg": b"<?xml"}[kind]
    assert [p.name for p in tmp_path.iterdir()] == [f"t.{kind}"]


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(LrcnError, match=r"\.png or \.svg"):
        save(curves([]), tmp_path / "t.jpg")
    assert list(tmp_path.iterdir()) == []


def test_matplotlib_waits_until_a_figure_is_drawn():
    code = (
        "import sys, lrcn.visualize as v; assert 'matplotlib' not in sys.modules; "
        "v.curves([]); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
