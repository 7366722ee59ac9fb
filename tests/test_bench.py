"""Benches: the figures they give are what they say."""

import numpy as np
import pytest

from lrcn.bench import direction_accuracy, run
from lrcn.errors import LrcnError


def test_direction_accuracy_counts_only_clips_whose_kind_of_move_is_found() -> None:
    confusion = np.zeros((9, 9), dtype=np.int64)
    confusion[1, 1], confusion[1, 2] = 6, 2  # pan left: six right, two taken for pan right
    confusion[1, 5] = 9  # taken for a zoom: another kind, so it says nothing of direction
    confusion[0, 0] = 50  # static has no direction
    assert direction_accuracy(confusion) == 6 / 8
    assert direction_accuracy(np.zeros((9, 9), dtype=np.int64)) is None


def test_unknown_bench_is_one_sentence_with_the_known_names() -> None:
    with pytest.raises(LrcnError, match="no bench 'speed': give one of moves, footage, decode"):
        run("speed")


@pytest.mark.parametrize("what", ["moves", "footage"])
def test_benches_of_data_ask_for_data(what: str) -> None:
    with pytest.raises(LrcnError, match=f"bench {what} needs"):
        run(what)


def test_decoding_is_measured_beside_plain_pyav_in_one_run() -> None:
    result = run("decode", size=32, repeats=1)
    plain, ours = result["rows"]
    assert plain["ratio_to_plain"] == 1.0
    assert ours["frames_per_s"] > 0
    assert ours["ratio_to_plain"] == pytest.approx(ours["frames_per_s"] / plain["frames_per_s"], abs=0.02)
    assert result["machine"]["cores"] >= 1
