"""The log of a run, and what is shown of it."""

import json
import sys
from types import ModuleType

import pytest

from lrcn.errors import LrcnError
from lrcn.train.tracking import Tracker, counting, read_log


def test_rows_are_written_as_they_come_and_read_back(tmp_path):
    path = tmp_path / "log.jsonl"
    assert read_log(path) == []
    with Tracker(path, 0, 3) as tracker:
        tracker.log(1, loss=0.5, lr=0.1)
        assert read_log(path) == [{"step": 1, "loss": 0.5, "lr": 0.1}]
        tracker.log(1, epoch=1, dev_score=0.25)
    assert read_log(path)[1] == {"step": 1, "epoch": 1, "dev_score": 0.25}


def test_a_run_taken_up_writes_again_what_came_after_its_checkpoint(tmp_path):
    path = tmp_path / "log.jsonl"
    rows = [
        {"step": 1, "loss": 3.0},
        {"step": 2, "loss": 2.0},
        {"step": 2, "epoch": 1, "dev_score": 0.1},
        {"step": 3, "loss": 1.0},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    kept = {0: [], 1: rows[:1], 2: rows[:2], 3: rows}
    for step, expected in kept.items():
        path.write_text(text)
        Tracker(path, step, 9)
        assert read_log(path) == expected


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "loss": 3.0}\n{"step": 2, "lo')
    assert read_log(path) == [{"step": 1, "loss": 3.0}]
    with Tracker(path, 1, 9) as tracker:
        tracker.log(2, loss=2.0)
    assert [row["step"] for row in read_log(path)] == [1, 2]


def test_a_silent_tracker_writes_and_shows_nothing(tmp_path, capsys):
    with Tracker(tmp_path / "log.jsonl", 0, 3, silent=True, tensorboard=tmp_path / "board") as tracker:
        tracker.log(1, loss=0.5)
        tracker.show(1, 0.5, 9.0)
    assert list(tmp_path.iterdir()) == [] and capsys.readouterr().err == ""


def test_a_log_gets_a_line_now_and_then(tmp_path, capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("lrcn.train.tracking.time.monotonic", lambda: now[0])
    with Tracker(tmp_path / "log.jsonl", 0, 60, name="moves") as tracker:
        for step in range(1, 61):
            now[0] += 1
            tracker.show(step, 0.5, 9.0)
    assert capsys.readouterr().err.splitlines() == ["moves: step 31 of 60  loss 0.500  9.0 clips/s"]


def test_a_terminal_gets_a_bar_with_loss_speed_and_time_left(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Tracker(tmp_path / "log.jsonl", 0, 3, name="moves") as tracker:
        tracker.show(2, 0.5, 9.0)
    told = capsys.readouterr().err
    assert "moves" in told and "2/3" in told and "loss 0.500" in told and "9.0 clips/s" in told


def test_counting_tells_the_end_and_little_before(capsys):
    show = counting("features of dev clips")
    for done in range(6):
        show(done, 5)
    assert capsys.readouterr().err == "features of dev clips: 5 of 5\n"


def test_tensorboard_gets_every_value_and_forgets_what_a_resumed_run_repeats(tmp_path, monkeypatch):
    made = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            made.append(self)
            self.folder, self.purge_step, self.values, self.closed = folder, purge_step, [], False

        def add_scalar(self, *value):
            self.values.append(value)

        def close(self):
            self.closed = True

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    with Tracker(tmp_path / "log.jsonl", 4, 9, tensorboard=tmp_path / "board") as tracker:
        tracker.log(5, loss=0.5, lr=0.1)
    (board,) = made
    assert (board.folder, board.purge_step, board.closed) == (str(tmp_path / "board"), 5, True)
    assert board.values == [("loss", 0.5, 5), ("lr", 0.1, 5)]


def test_without_tensorboard_the_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(LrcnError, match=r"pip install lrcn\[track\]"):
        Tracker(tmp_path / "log.jsonl", 0, 3, tensorboard=tmp_path / "board")
