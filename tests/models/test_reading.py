"""What is read of maps: the correlation against a loop, and what may be asked for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrcn.errors import LrcnError
from lrcn.models.cnn import EncoderConfig
from lrcn.models.reading import FrameReading, ReadingConfig, local_correlation

GRID, AVG = EncoderConfig(pool="grid", grid=3), EncoderConfig(pool="avg")


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    shape=st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    reach=st.integers(1, 3),
)
def test_local_correlation_is_the_loop(shape, reach):
    torch.manual_seed(0)
    now, before = torch.randn(2, *shape, dtype=torch.float64)
    count, _, height, width = shape
    expected = torch.zeros(count, (2 * reach + 1) ** 2, height, width, dtype=torch.float64)
    for n in range(count):
        for y in range(height):
            for x in range(width):
                moves = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
                for place, (dy, dx) in enumerate(moves):
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        a, b = now[n, :, y, x], before[n, :, y + dy, x + dx]
                        expected[n, place, y, x] = (a @ b) / (a.norm() * b.norm())
    torch.testing.assert_close(local_correlation(now, before, reach), expected)


def test_local_correlation_says_where_things_went():
    torch.manual_seed(0)
    before = torch.randn(1, 16, 5, 5)
    now = before.roll(1, dims=3)  # everything went one cell to the right
    found = local_correlation(now, before, 1)[0, :, 2, 2].argmax()
    assert divmod(int(found), 3) == (1, 0)  # so it came from the cell to the left
    assert not local_correlation(now, torch.zeros_like(before), 1).any()


@pytest.mark.parametrize("read", ["difference", "correlation"])
def test_the_first_frame_is_compared_with_itself_whatever_the_state_holds(read):
    torch.manual_seed(0)
    reading = FrameReading(ReadingConfig((read,), 4), GRID, 6).eval()
    maps = torch.randn(2, 1, 6, 3, 3)
    fresh = reading.initial_state(2)
    dirty = fresh | {"before": torch.randn(2, 6, 3, 3)}
    assert torch.equal(reading(maps, fresh), reading(maps, dirty))
    still = reading(maps.expand(2, 3, 6, 3, 3), fresh)
    torch.testing.assert_close(still[:, 0], still[:, 2])


def test_the_state_after_is_the_last_valid_frame():
    reading = FrameReading(ReadingConfig(("difference",), 4), AVG, 6)
    maps = torch.arange(2 * 3 * 6, dtype=torch.float32).view(2, 3, 6)
    after = reading.after(maps, torch.tensor([1, 3]))
    assert torch.equal(after["before"], torch.stack([maps[0, 0], maps[1, 2]]))
    assert after["started"].all()


def test_what_is_read_says_how_much_is_given_on():
    assert FrameReading(ReadingConfig(features=0), AVG, 6).outputs == 6
    assert FrameReading(ReadingConfig(("appearance", "difference"), 0), AVG, 6).outputs == 12
    reading = FrameReading(ReadingConfig(("appearance", "difference", "correlation"), 4, reach=2), GRID, 6)
    assert reading.outputs == 12
    assert reading(torch.randn(2, 5, 6, 3, 3), reading.initial_state(2)).shape == (2, 5, 12)


def test_a_state_has_the_precision_of_the_network_even_where_nothing_is_learned():
    reading = FrameReading(ReadingConfig(("difference",), 0), AVG, 6).double()
    assert {value.dtype for value in reading.initial_state(2).values()} == {torch.float64}


@pytest.mark.parametrize(
    "wrong",
    [
        {"reads": ()},
        {"reads": ("flow",)},
        {"reads": ("appearance", "appearance")},
        {"features": -1},
        {"reach": 0},
        {"dropout": 1.0},
    ],
)
def test_impossible_readings_are_refused(wrong):
    with pytest.raises(LrcnError, match="reading"):
        ReadingConfig(**wrong)


def test_what_pooled_vectors_cannot_give_is_refused():
    with pytest.raises(LrcnError, match=r"correlation.*encoder\.pool to grid"):
        FrameReading(ReadingConfig(("correlation",)), AVG, 6)
    with pytest.raises(LrcnError, match=r"reading\.features is 0"):
        FrameReading(ReadingConfig(features=0), GRID, 6)


@pytest.mark.parametrize("read", ["difference", "correlation"])
def test_the_first_frame_of_a_new_clip_in_a_row_is_compared_with_itself(read):
    torch.manual_seed(0)
    reading = FrameReading(ReadingConfig((read,), 4), GRID, 6).eval()
    maps, fresh = torch.randn(2, 5, 6, 3, 3), reading.initial_state(2)
    started = reading.after(torch.randn(2, 1, 6, 3, 3))
    cont = torch.tensor([[1.0, 1, 0, 1, 1], [0, 1, 1, 1, 0]])
    found = reading(maps, started, cont)
    torch.testing.assert_close(found[0, :2], reading(maps[:, :2], started)[0])
    torch.testing.assert_close(found[0, 2:], reading(maps[:, 2:], fresh)[0])
    torch.testing.assert_close(found[1, :4], reading(maps[:, :4], fresh)[1])
    torch.testing.assert_close(found[1, 4:], reading(maps[:, 4:], fresh)[1])
