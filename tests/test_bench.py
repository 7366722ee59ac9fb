"""Benches: the figures they give are what they say."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from lrcn.bench import direction_accuracy, measuring, motion, run, training
from lrcn.bench.measuring import side_by_side
from lrcn.demo_film import shipped
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


def test_ways_take_turns_and_what_comes_before_them_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: next(clock))
    done: list[str] = []

    def way(name: str, count: int) -> Callable[[], int]:
        return lambda: done.append(name) or count

    rows = side_by_side(
        {"slow": way("slow", 2), "fast": way("fast", 5)},
        2,
        "ratio_to_slow",
        unit="clips_per_s",
        before={"fast": lambda: done.append("before fast")},
    )
    assert done == ["slow", "before fast", "fast"] * 2
    assert rows == [
        {"name": "slow", "clips_per_s": 2, "ratio_to_slow": 1.0},
        {"name": "fast", "clips_per_s": 5, "ratio_to_slow": 2.5},
    ]


def test_flow_is_measured_by_each_method_on_the_same_frames() -> None:
    threads = cv2.getNumThreads()
    rows = run("flow", size=32, frames=3, slow_frames=0, repeats=1)["rows"]
    assert [row["name"] for row in rows][:2] == ["flow, DIS fast", "flow, DIS ultrafast"]
    assert rows[0]["ratio_to_dis_fast"] == 1.0
    assert all(row["frames_per_s"] > 0 for row in rows)
    assert cv2.getNumThreads() == threads


def test_flow_is_measured_on_given_clips(tmp_path: Path) -> None:
    film = str(shipped("big-buck-bunny.mp4"))
    (tmp_path / "clips.jsonl").write_text(json.dumps({"path": film}) + "\n")
    for clips in ("", film, str(tmp_path / "clips.jsonl")):
        assert motion._paths(clips) == [film]
    films = motion._films([film, film, film], 16, 140)
    assert [film.shape for film in films] == [(132, 3, 16, 16), (10, 3, 16, 16)]


def test_training_fed_by_its_loader_is_measured_beside_a_ready_batch(tmp_path: Path) -> None:
    pieces = training._pieces_of_the_sample_film(tmp_path, 6)
    encoder = "{name: test_efficientnet, weights: none, pool: avg}"
    (tmp_path / "tiny.yaml").write_text(
        f"data: {{source: {pieces}}}\npreprocess: {{size: 32}}\nsampling: {{frames: 4, spread: uniform}}\n"
        f"model: {{encoder: {encoder}, reading: {{features: 8}}, recurrent: {{size: 8}}}}\n"
    )
    options = {"recipe": str(tmp_path / "tiny.yaml"), "batch": 2, "steps": 2, "repeats": 1, "device": "cpu"}
    rows = run("train", workers=[0, 1], **options)["rows"]
    assert [row["name"] for row in rows] == [
        f"cpu, {kind} from the cache, {fed}"
        for kind in ("frames", "features")
        for fed in ("a ready batch", "workers 0", "workers 1")
    ]
    for row in rows:
        assert row["step_ms"] == pytest.approx(2000 / row["clips_per_s"], abs=0.06)
    assert rows[0]["ratio_to_ready"] == rows[3]["ratio_to_ready"] == 1.0
