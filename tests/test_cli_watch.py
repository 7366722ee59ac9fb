"""`lrcn watch`: what is shown and written while it watches, and however it ends."""

import contextlib
import json
import os
import pty
import signal
import sys
import threading
import time
import types
from functools import partial

import av
import numpy as np
import pytest
import torch
from made_recognizer import LABELS, tiny
from made_video import make_video

from lrcn.cli import main
from lrcn.data.video import VideoError
from lrcn.live import LiveSource
from lrcn.models.folder import load_folder, save_model
from lrcn.predict import recognize
from lrcn.stream import Stream


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a small model and a film of two seconds; tests must not change it."""
    folder = tmp_path_factory.mktemp("home")
    loaded = tiny(rate=10.0)
    save_model(folder / "model", loaded.model, loaded.preprocess, loaded.sampling, half=False)
    make_video(folder / "film.mp4", 44)
    return folder


@pytest.fixture
def say(capfd, monkeypatch, tmp_path):
    """Runs a command line in a folder of its own -> (exit code, standard output, lines of standard error)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main(["watch", *map(str, arguments)])
        told = capfd.readouterr()
        assert "Traceback" not in told.err
        return code, told.out, told.err.splitlines()

    return run


def events(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(("options", "number"), [((), 1), (("--threads", 2), 2)])
def test_a_frame_is_computed_on_one_thread_or_as_many_as_asked(say, home, monkeypatch, options, number):
    seen, push = set(), Stream.push

    def counted(self, frame, time):
        seen.add(torch.get_num_threads())
        return push(self, frame, time)

    monkeypatch.setattr(Stream, "push", counted)
    before = torch.get_num_threads()
    code, _, _ = say(home / "film.mp4", "--model", home / "model", "--no-realtime", *options)
    assert (code, seen, torch.get_num_threads()) == (0, {number}, before)


def test_a_film_gives_the_segments_of_recognize(say, home, tmp_path):
    code, out, _ = say(home / "film.mp4", "--model", home / "model", "--no-realtime", "--out", "events.jsonl")
    whole = recognize(load_folder(home / "model"), home / "film.mp4")
    assert code == 0
    records = events(tmp_path / "events.jsonl")
    assert [record["event"] for record in records] == [
        "watching",
        *["start", "end"] * len(whole.segments),
        "stopped",
    ]
    ends = [record for record in records if record["event"] == "end"]
    assert [(one["start"], one["time"], one["label"]) for one in ends] == [
        (round(s.start, 3), round(s.end, 3), s.label) for s in whole.segments
    ]
    assert records[0]["labels"] == LABELS
    assert records[-1] | {"time": 0} == {
        "event": "stopped",
        "time": 0,
        "reason": "end",
        "frames": 44,
        "steps": 18,
        "dropped": 0,
        "reconnects": 0,
    }
    assert f"film.mp4  {whole.label} {whole.probability:.0%}" in out
    assert len(out.splitlines()) == 1 + len(whole.segments)


def test_events_are_added_to_what_is_there_and_may_go_to_standard_output(say, home, tmp_path):
    (tmp_path / "log").write_text("before\n")
    call = (home / "film.mp4", "--model", home / "model", "--no-realtime", "--duration", "0.5")
    assert say(*call, "--out", "log")[0] == 0
    assert (tmp_path / "log").read_text().startswith('before\n{"event": "watching"')
    code, out, _ = say(*call, "--out", "-")
    records = [json.loads(line) for line in out.splitlines()]
    assert (code, records[-1]["reason"], records[-1]["frames"]) == (0, "duration", 13)


def test_a_log_gets_a_line_now_and_then(say, home):
    began = time.monotonic()
    _, _, told = say(home / "film.mp4", "--model", home / "model")
    assert time.monotonic() - began > 1.7
    lines = [line for line in told if "frames/s" in line]
    assert 1 <= len(lines) <= 4
    assert any(label in lines[0] for label in LABELS)
    assert "latency" in lines[0]


def test_the_film_that_is_saved_plays_and_has_a_band(say, home, tmp_path):
    call = (home / "film.mp4", "--model", home / "model", "--no-realtime", "--duration", "1")
    assert say(*call, "--save", "out.mp4")[0] == 0
    with av.open(str(tmp_path / "out.mp4")) as film:
        frames = list(film.decode(video=0))
    assert [frame.time for frame in frames] == pytest.approx([k / 25 for k in range(25)], abs=1e-3)
    assert frames[0].width == 320
    assert frames[0].height > 240
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing.mp4"], "There is no video nothing.mp4"),
        (["film.mp4", "--save", "film.mp4"], "is the film itself"),
        (["film.mp4", "--out", "film.mp4"], "is the film itself"),
        (["film.mp4", "--save", "out.gif"], "give a name that ends in .mp4"),
        (["film.mp4", "--out", "film.mp4/events"], "is a file, not a folder"),
        (["film.mp4", "--policy", "none"], "invalid choice"),
        (["film.mp4", "--model", "none"], "There is no model"),
        (["7"], "Camera 7 cannot be opened"),
    ],
)
def test_wrong_calls_are_one_sentence(say, home, tmp_path, arguments, sentence):
    (tmp_path / "film.mp4").symlink_to(home / "film.mp4")
    model = [] if "--model" in arguments else ["--model", home / "model"]
    code, out, told = say(*arguments, *model)
    assert (code, out) == (2, "")
    assert sentence in told[-1]


def test_a_window_needs_a_display(say, home, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    code, _, told = say(home / "film.mp4", "--model", home / "model", "--window")
    assert code == 2
    assert "use --save film.mp4" in told[-1]


class Tk(types.ModuleType):
    """A stand-in for tkinter whose window is closed after ten pictures."""

    class TclError(Exception):
        pass

    def __init__(self):
        super().__init__("tkinter")
        self.sizes = []
        self.closing = None

    def PhotoImage(self, data):
        kind, width, height, most = data.split(maxsplit=4)[:4]
        assert (kind, most) == (b"P6", b"255")
        self.sizes.append((int(width), int(height)))
        return object()

    def Tk(self):
        def protocol(name, close):
            self.closing = close

        def update():
            if len(self.sizes) == 10:
                self.closing()

        return types.SimpleNamespace(
            title=lambda text: None,
            protocol=protocol,
            bind=lambda key, act: None,
            update=update,
            destroy=lambda: None,
        )

    def Label(self, root, borderwidth):
        return types.SimpleNamespace(pack=lambda: None, configure=lambda image: None)


def test_closing_the_window_ends_it_well(say, home, tmp_path, monkeypatch):
    tk = Tk()
    monkeypatch.setitem(sys.modules, "tkinter", tk)
    call = (home / "film.mp4", "--model", home / "model", "--no-realtime", "--out", "log", "--window")
    code, out, _ = say(*call)
    assert code == 0
    assert len(tk.sizes) == 10
    assert set(tk.sizes) == {tk.sizes[0]}
    assert events(tmp_path / "log")[-1]["reason"] == "window closed"
    assert out


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_everything_written(say, home, tmp_path, kind):
    make_video(tmp_path / "long.mp4", 40, rate=5)
    film, log = tmp_path / "out.mp4", tmp_path / "log"

    def stop_once_it_watches():
        while not log.exists() or len(log.read_bytes().splitlines()) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), kind)

    thread = threading.Thread(target=stop_once_it_watches)
    thread.start()
    before = signal.getsignal(kind)
    code, out, _ = say(tmp_path / "long.mp4", "--model", home / "model", "--out", log, "--save", film)
    thread.join()
    records = events(log)
    assert code == 128 + kind
    assert signal.getsignal(kind) == before
    assert records[-1]["event"] == "stopped"
    assert records[-1]["reason"] == "stopped"
    assert records[-2]["event"] == "end"
    assert out.splitlines()[0].startswith(str(tmp_path / "long.mp4"))
    with av.open(str(film)) as video:
        assert 0 < sum(1 for _ in video.decode(video=0)) == records[-1]["frames"] < 40


class Camera:
    """A camera that gives twenty frames and is never there again."""

    warning = None
    half_tick = 1e-6
    info = types.SimpleNamespace(duration=None, rate=25.0)

    def __init__(self, source, resize):
        if Camera.gone:
            raise VideoError("Camera 0 cannot be opened.")
        Camera.gone = True

    def frames(self):
        for number in range(20):
            time.sleep(0.02)
            yield np.random.default_rng(number).integers(0, 255, (32, 32, 3), dtype=np.uint8), number / 25

    def close(self):
        pass


@pytest.fixture
def camera(monkeypatch):
    monkeypatch.setattr(Camera, "gone", False, raising=False)
    monkeypatch.setattr("lrcn.live.LiveSource", partial(LiveSource, opens=Camera, waits=(0.01, 0.02)))


def test_a_camera_that_is_lost_for_good_ends_it_with_everything_written(say, home, tmp_path, camera):
    call = ("0", "--model", home / "model", "--retries", "3", "--out", "log", "--save", "out.mp4")
    code, out, told = say(*call)
    assert code == 2
    assert any("camera 0 was lost, trying again" in line for line in told)
    assert "3 attempts did not bring it back" in told[-1]
    names = [record["event"] for record in events(tmp_path / "log")]
    assert names[0] == "watching"
    assert names[-2:] == ["end", "stopped"]
    assert "lost" in names
    assert out.startswith("camera 0  ")
    assert (tmp_path / "out.mp4").stat().st_size > 0


def test_a_terminal_shows_labels_bars_and_figures(say, home, camera, monkeypatch):
    ours, theirs = pty.openpty()
    pieces = []

    def read():
        # A terminal raises once there is no more and nobody writes.
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 65536):
                pieces.append(piece)

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        monkeypatch.setattr("lrcn.cli.live_view._REDRAW_SECONDS", 0.0)
        say("0", "--model", home / "model", "--retries", "1")
    reader.join()
    os.close(ours)
    drawn = b"".join(pieces).decode()
    assert "camera 0" in drawn
    assert all(label in drawn for label in LABELS)
    assert "━" in drawn
    assert "latency" in drawn
    assert "lost, trying again" in drawn


def test_names_of_cameras_lose_their_passwords(say, home, tmp_path, camera):
    say("rtsp://admin:secret@door/1", "--model", home / "model", "--retries", "1", "--out", "log")
    assert events(tmp_path / "log")[0]["source"] == "rtsp://door/1"
    assert "secret" not in (tmp_path / "log").read_text()
