"""The bench of streams: every row says what it is, and its figures fit together."""

from multiprocessing import active_children
from pathlib import Path

import pytest
import torch

from lrcn.bench import live, run, sharing, streams
from lrcn.bench.live import _clip_network
from lrcn.bench.sharing import in_processes
from lrcn.bench.streams import ready_frames, streamable_of
from lrcn.data.video import open_video
from lrcn.demo_film import shipped
from lrcn.errors import LrcnError


@pytest.fixture(scope="module")
def rows():
    options = {"encoder": "test_efficientnet", "size": 32, "frames": 60, "repeats": 1}
    found = run("stream", **options, rivals=[], cameras=[1, 3], processes=0)["rows"]
    return {row["name"]: row for row in found}


def test_one_camera_is_measured_beside_its_cnn(rows):
    assert rows["CNN alone"]["ratio_to_cnn"] == 1.0
    again = "CNN again over the last 16 frames"
    for name in ("the network's steps alone", "stream, frames ready", "stream, from a file", again):
        assert rows[name]["frames_per_s"] > 0
        assert rows[name]["ratio_to_cnn"] > 0


def test_a_film_is_made_as_large_as_a_cameras_and_goes_away():
    with (
        streams.film_for("", 90) as path,
        open_video(path) as film,
        open_video(shipped("big-buck-bunny.mp4")) as small,
    ):
        assert (film.info.width, film.info.height) == (160, 90)
        assert sum(1 for _ in film.frames()) == sum(1 for _ in small.frames())
    assert not Path(path).exists()
    with streams.film_for(path, 0) as given:
        assert given == path
    with pytest.raises(LrcnError, match="height is 91"), streams.film_for("", 91):
        pass


def test_a_window_costs_the_cnn_all_its_frames_for_an_answer_and_a_stream_one(monkeypatch):
    """What the ratios of these rows come from, counted and not timed."""
    path = str(shipped("big-buck-bunny.mp4"))
    streamable = streamable_of("", "test_efficientnet", 32)
    seen, cost = [], {}
    streamable.members[0].network.model.encoder.register_forward_hook(
        lambda _module, inputs, _output: seen.append(len(inputs[0]))
    )

    def counted(ways, *_rest):
        for name, way in ways.items():
            seen.clear()
            answers = way()
            cost[name] = sum(seen) / answers
        return []

    monkeypatch.setattr(live, "side_by_side", counted)
    live._one_camera(streamable, path, ready_frames(path, streamable), 1)
    assert cost["CNN alone"] == cost["the network's steps alone"] == 1
    assert cost["CNN again over the last 16 frames"] == 16
    assert 0 < cost["stream, frames ready"] <= 1
    assert 0 < cost["stream, from a file"] <= 1


def test_engines_are_measured_beside_their_own_cnn():
    for name in ("onnx", "onnxruntime", "onnxscript", "openvino"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    options = {"encoder": "test_efficientnet", "size": 32, "frames": 20, "repeats": 1}
    engines = ["onnxruntime", "openvino"]
    rows = run("stream", **options, engines=engines, rivals=[], cameras=[], processes=0)["rows"]
    named = {row["name"]: row for row in rows}
    for way in ("onnxruntime fp32", "onnxruntime int8", "openvino fp32", "openvino bf16", "openvino int8"):
        assert named[f"{way}, CNN alone, from a file"]["ratio_to_cnn"] == 1.0
        assert named[f"{way}, stream, from a file"]["frames_per_s"] > 0
    exact = named["onnxruntime fp32, answers"]
    assert exact["same_label_as_fp32"] == 1 and exact["largest_difference"] == 0
    assert named["onnxruntime int8, answers"]["largest_difference"] > 0


def test_time_and_memory_are_told_of_an_old_stream_and_a_young_one(rows):
    assert rows["latency of a frame"]["p50_ms"] <= rows["latency of a frame"]["p99_ms"]
    old = rows["time per frame after 60 frames"]
    young = rows["time per frame after 10 frames"]
    assert old["ratio_to_10_frames"] == pytest.approx(old["p50_ms"] / young["p50_ms"], rel=0.05)
    assert old["memory_grown_mib"] < 8


@pytest.mark.slow
def test_networks_that_read_clips_are_measured_beside_a_stream():
    row = _clip_network("mc3_18", 0.01)
    assert row["name"] == "mc3_18 over 16 frames of 112 px"
    assert row["ratio_to_stream"] == pytest.approx(row["frames_per_s"] / 100, abs=1e-3)


def test_one_thread_is_measured_against_many_while_other_programs_work(monkeypatch):
    monkeypatch.setattr(sharing, "_PASS", 0.2)
    streamable = streamable_of("", "test_efficientnet", 32)
    ready = ready_frames(str(shipped("big-buck-bunny.mp4")), streamable)
    before, children = torch.get_num_threads(), active_children()
    one, many = sharing.beside_others(streamable, ready, 1, 2)
    assert one["name"] == "stream on 1 thread, beside 1 busy processes"
    assert many["name"] == "stream on a thread a core, beside 1 busy processes"
    assert all(0 < row["slowest"] <= row["frames_per_s"] for row in (one, many))
    assert (torch.get_num_threads(), active_children()) == (before, children)


def test_pools_are_counted_in_cameras(rows):
    for number in (1, 3):
        row = rows[f"pool of {number}"]
        assert row["cameras_at_10_fps"] == pytest.approx(row["frames_per_s"] / 10, abs=0.1)


@pytest.mark.slow
def test_processes_share_a_core():
    made_of = "", "test_efficientnet", 32
    row = in_processes(made_of, ready_frames(str(shipped("big-buck-bunny.mp4")), streamable_of(*made_of)), 2)
    assert row["cameras_at_10_fps"] > 0
    assert row["mib_per_camera"] > 50
