"""Colours of labels: told apart, and the same whatever stands behind them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrcn.palette import _distance, _seen, palette, text_colour


@given(st.integers(1, 60), st.integers(0, 60))
@settings(max_examples=20)
def test_a_colour_depends_on_the_place_alone(count, more):
    few = palette([f"a{i}" for i in range(count)])
    many = palette([f"b{i}" for i in range(count + more)])
    assert list(few.values()) == list(many.values())[:count]


@pytest.mark.parametrize(("count", "apart"), [(9, 0.07), (20, 0.06), (101, 0.02)])
def test_every_kind_of_eye_tells_the_labels_apart(count, apart):
    colours = np.array(list(palette([str(i) for i in range(count)]).values()))
    assert len(colours) == count
    for i in range(count):
        others = np.delete(colours, i, axis=0)
        assert _distance(_seen(others), _seen(colours[i : i + 1])).min() > apart


def test_text_stands_out():
    assert text_colour((0, 114, 178)) == "#ffffff"
    assert text_colour((240, 228, 66)) != "#ffffff"
