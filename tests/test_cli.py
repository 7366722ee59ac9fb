"""The command line: help without torch, every verb, exit codes, and what bad input gets."""

import contextlib
import csv
import io
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import av
import pytest
import torch
from made_video import write_noise
from safetensors.torch import load_file, save_file

from lrcn.cli import VERBS, main
from lrcn.cli.call import Call
from lrcn.cli.models import _shipped
from lrcn.cli.status import Status
from lrcn.data.datasets import ClipDataset
from lrcn.data.manifest import Row
from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Augment, Preprocess
from lrcn.models.cnn import EncoderConfig
from lrcn.models.folder import save_model
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig
from lrcn.models.zoo import shipped_folder
from lrcn.train.recipe import read_recipe
from lrcn.train.run import Result

LABELS = ["pan", "tilt"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a tiny untrained model and two videos; tests must not change it."""
    folder = tmp_path_factory.mktemp("home")
    torch.manual_seed(0)
    config = RecognizerConfig(
        EncoderConfig("test_efficientnet", "none", pool="avg"),
        ReadingConfig(features=8),
        RecurrentConfig(size=8),
    )
    sampling = Sampling(rate=10, frames=8)
    save_model(folder / "model", Recognizer(config, LABELS), Preprocess(32), sampling)
    for number, name in enumerate(("a.mp4", "b.mp4")):
        write_noise(folder / name, 10, seed=number)
    return folder


@pytest.fixture
def work(home, tmp_path, monkeypatch):
    """A folder of its own to work in, with the model and the videos in it."""
    (tmp_path / "model").symlink_to(home / "model")
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(home / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def say(capsys):
    """Runs a command line -> (exit code, standard output, lines of standard error)."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return code, told.out, told.err.splitlines()

    return run


def class_folders(folder, clips=3):
    for k, label in enumerate(LABELS):
        (folder / label).mkdir(parents=True)
        for n in range(clips):
            write_noise(folder / label / f"{n}.mp4", 6, seed=10 * k + n)
    return folder


def stand_in(monkeypatch, name, **members):
    """Puts a module of these members in place of another."""
    module = ModuleType(name)
    for member, value in members.items():
        setattr(module, member, value)
    monkeypatch.setitem(sys.modules, name, module)


def visible(folder):
    return sorted(path.name for path in folder.iterdir())


def lrcn(*arguments, **options):
    command = [sys.executable, "-m", "lrcn", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


# ---- help ----


def test_help_begins_with_an_example_and_loads_no_torch():
    code = """
import sys
from lrcn.cli import VERBS, main
for verb in ["", "data", *VERBS]:
    assert main([*verb.split(), "--help"]) == 0
    print("\\f")
heavy = {"torch", "timm", "numpy", "av", "cv2", "rich", "matplotlib"} & set(sys.modules)
sys.exit(f"loaded {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for verb, text in zip(["", "data", *VERBS], done.stdout.split("\f"), strict=False):
        first, second = text.strip().splitlines()[:2]
        assert first.startswith("Example"), verb
        assert second.startswith(f"  lrcn {verb}".rstrip()), verb


def test_help_is_quick():
    began = time.perf_counter()
    assert lrcn("--help").returncode == 0
    # It takes 0.1 s; torch alone takes longer than this on any machine.
    assert time.perf_counter() - began < 1.5


def test_no_verb_is_a_wrong_call_that_gets_the_help(say):
    code, out, err = say()
    assert (code, out) == (2, "")
    assert err[0].startswith("Example")
    assert say("data")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["recognise"], "did you mean recognize?"),
        (["data", "chekc"], "did you mean data check?"),
        (["paint"], "There is no verb paint: did you mean explain?"),
        (["sing"], "There is no verb sing: the verbs are recognize, caption, "),
        (["recognize"], "required: INPUT"),
        (["recognize", "a.mp4", "--smooth", "1"], "--smooth"),
        (["recognize", "a.mp4", "--smoothing", "-1"], "'-1' is not a number of seconds from 0 up"),
        (["recognize", "a.mp4", "--end", "nan"], "'nan' is not a number of seconds"),
        (["recognize", "a.mp4", "--threshold", "50"], "'50' is not a number from 0 to 1"),
        (["recognize", "a.mp4", "--format", "xml"], "invalid choice: 'xml'"),
        (["data", "cache", "m.jsonl", "--to", "x"], "give --model, or --size"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_exit_code_2(say, arguments, sentence):
    code, out, err = say(*arguments)
    assert (code, out) == (2, "")
    assert len(err) == 1
    assert err[0].startswith("lrcn: ")
    assert sentence in err[0]


def test_version(say):
    assert say("--version")[1].startswith("lrcn 0.")


def test_settings_are_parted_from_arguments():
    call = Call("train", "learn", ["--a.b", "-1", "folder", "--flag", "--c=x=y", "--out", "o", "--d", "e"])
    call.add_argument("source")
    call.add_argument("--out")
    args, settings = call.parse_with_settings()
    assert (args.source, args.out) == ("folder", "o")
    assert settings == {"a.b": "-1", "flag": "true", "c": "x=y", "d": "e"}


# ---- recognize ----


def test_recognize_in_every_format(say, work):
    code, out, err = say("recognize", "a.mp4", "--model", "model")
    assert (code, err) == (0, [])
    assert out.startswith("a.mp4  ")
    code, out, _ = say("recognize", "a.mp4", "b.mp4", "--model", "model", "--format", "jsonl")
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["path"] for record in records] == ["a.mp4", "b.mp4"]
    assert len(records[0]["per_frame"]) == 10
    _, out, _ = say("recognize", "a.mp4", "--model", "model", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert float(rows[-1]["end"]) == 1.0
    assert say("recognize", "a.mp4", "--model", "model", "--format", "vtt")[1].startswith("WEBVTT")
    assert " --> 00:00:01,000" in say("recognize", "a.mp4", "--model", "model", "--format", "srt")[1]


def test_recognize_takes_folders_patterns_and_a_list(say, work, monkeypatch):
    class_folders(work / "clips", clips=1)
    listed = SimpleNamespace(buffer=io.BytesIO(b"a.mp4\r\n\nclips\n"))
    monkeypatch.setattr("sys.stdin", listed)
    arguments = ("--model", "model", "--format", "jsonl")
    paths = [json.loads(line)["path"] for line in say("recognize", "-", "?.mp4", *arguments)[1].splitlines()]
    assert paths == ["a.mp4", "clips/pan/0.mp4", "clips/tilt/0.mp4", "b.mp4"]
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"\n")))
    code, _, err = say("recognize", "-")
    assert (code, err) == (2, ["lrcn: recognize: standard input names no video; write one a line."])


def test_recognize_options_reach_the_segments(say, work):
    _, out, _ = say(
        "recognize", "a.mp4", "--model", "model", "--format", "jsonl", "--start", "0.2", "--end", "0.7"
    )
    times = [frame["time"] for frame in json.loads(out)["per_frame"]]
    assert times == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6])
    _, out, _ = say("recognize", "a.mp4", "--model", "model", "--format", "jsonl", "--threshold", "1")
    assert json.loads(out)["segments"] == []


def test_recognize_writes_files(say, work):
    arguments = ("recognize", "a.mp4", "b.mp4", "--model", "model")
    code, out, err = say(*arguments, "--format", "srt", "--out", "subtitles", "--save", "annotated")
    assert (code, out, err) == (0, "", [])
    assert visible(work / "subtitles") == ["a.srt", "b.srt"]
    assert visible(work / "annotated") == ["a.mp4", "b.mp4"]
    with av.open(str(work / "annotated" / "a.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 10
    assert say(*arguments, "--format", "jsonl", "--out", "found.jsonl")[1] == ""
    assert len((work / "found.jsonl").read_text().splitlines()) == 2


def test_bad_inputs_fail_alone(say, work):
    (work / "text.mp4").write_text("no video")
    (work / "zero.mp4").touch()
    (work / "empty").mkdir()
    bad = ["text.mp4", "zero.mp4", "empty", "missing.mp4"]
    arguments = ("--model", "model", "--format", "jsonl")
    code, out, err = say("recognize", "a.mp4", *bad, "b.mp4", *arguments)
    assert code == 1
    assert len(err) == len(bad)
    assert all(line.startswith("lrcn: ") for line in err)
    # Those that are not there are told at once, before the wait for a model.
    for name, line in zip(["empty", "missing.mp4", "text.mp4", "zero.mp4"], err, strict=True):
        assert name in line
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["path"] for record in records] == ["a.mp4", *bad, "b.mp4"]
    assert ["error" in record for record in records] == [False, True, True, True, True, False]
    # A table tells them once, on standard error.
    code, out, err = say("recognize", *bad, "b.mp4", "--model", "model")
    assert (code, len(err)) == (1, len(bad))
    assert out.startswith("b.mp4")


def test_inputs_that_are_all_missing_need_no_model(say, tmp_path):
    code, out, err = say("recognize", tmp_path / "no.mp4", "--model", "none-such")
    assert (code, out, len(err)) == (1, "", 1)


def test_a_source_that_never_ends_needs_an_end(say):
    code, _, err = say("recognize", "0", "rtsp://nowhere.invalid/live")
    assert (code, len(err)) == (1, 2)
    assert all("give --end SECONDS" in line for line in err)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--format", "srt"], "give --out FOLDER"),
        (["--save", "one.mp4"], "is one file, but there are 2 inputs"),
        (["--save", "file"], "file is a file, not a folder"),
        (["--format", "jsonl", "--out", "folder"], "folder is a folder"),
        (["--format", "jsonl", "--out", "file/found.jsonl"], "file is a file, not a folder"),
        (["--format", "srt", "--out", "file/deeper"], "file is a file, not a folder"),
        (["--format", "csv", "--out", "b.mp4"], "is an input itself"),
        (["--model", "none-such"], "There is no model 'none-such'"),
        (["--model", "folder"], "config.json is missing"),
        (["--device", "abacus", "--model", "model"], "no such device"),
    ],
)
def test_places_and_models_that_cannot_be_are_refused(say, work, options, sentence):
    (work / "file").touch()
    (work / "folder").mkdir()
    before = visible(work), (work / "b.mp4").read_bytes()
    code, out, err = say("recognize", "a.mp4", "b.mp4", *options)
    assert (code, out, len(err)) == (2, "", 1)
    assert sentence in err[0]
    assert (visible(work), (work / "b.mp4").read_bytes()) == before


def test_a_broken_model_folder_is_named(say, work):
    shutil.copytree(work / "model", work / "broken")
    weights = work / "broken" / "model.safetensors"
    tensors = load_file(weights)
    tensors["classifier.bias"] = torch.zeros(5)
    save_file(tensors, weights)
    code, _, (line,) = say("recognize", "a.mp4", "--model", "broken")
    assert code == 2
    assert "model.safetensors" in line
    assert "copy the whole folder again" in line
    weights.unlink()
    code, _, (line,) = say("recognize", "a.mp4", "--model", "broken")
    assert code == 2
    assert "model.safetensors is missing" in line


def test_no_permission_is_told_before_the_work(say, work):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (work / "locked").mkdir(mode=0o500)
    code, out, err = say("recognize", "a.mp4", "--model", "model", "--out", "locked/found.txt")
    assert (code, out, len(err)) == (2, "", 1)
    assert "Permission denied" in err[0]


def test_a_full_disk_leaves_nothing_behind(say, work):
    before = visible(work)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        code, out, err = say(
            "recognize", "a.mp4", "--model", "model", "--format", "jsonl", "--out", "found.jsonl"
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (code, out, len(err)) == (2, "", 1)
    assert "found.jsonl" in err[0]
    assert visible(work) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_is_written_to_and_not_replaced(say, work):
    code, _, err = say("recognize", "a.mp4", "--model", "model", "--out", "/dev/full")
    assert (code, len(err)) == (2, 1)
    assert "No space left" in err[0]
    assert Path("/dev/full").is_char_device()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_standard_output_on_a_full_disk_is_one_sentence():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "lrcn", "--help"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "lrcn: standard output: No space left on device; mend that and run again."
    ]


def test_a_reader_that_goes_away_is_no_error():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "lrcn", "--help"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_stopping_leaves_whole_files_only(say, work, monkeypatch):
    def stopped(loaded, inputs, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("lrcn.predict.recognize_many", stopped)
    before = visible(work)
    code, out, err = say(
        "recognize", "a.mp4", "--model", "model", "--format", "jsonl", "--out", "found.jsonl"
    )
    assert (code, out) == (130, "")
    assert err == ["lrcn: stopped; every file that was finished is whole."]
    assert visible(work) == before


def test_a_bug_is_one_line_and_a_traceback_on_request(work, monkeypatch, capsys):
    monkeypatch.setattr("lrcn.writers.write", lambda *a, **k: 1 / 0)
    assert main(["recognize", "a.mp4", "--model", "model"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "lrcn: this is a bug in lrcn (ZeroDivisionError: division by zero); run again with"
    )
    for arguments in (["--debug", "recognize", "a.mp4"], ["recognize", "a.mp4", "--debug"]):
        assert main([*arguments, "--model", "model"]) == 2
        assert "Traceback" in capsys.readouterr().err


def test_an_annotated_video_that_cannot_be_written_fails_its_input_alone(say, work):
    (work / "annotated").mkdir()
    (work / "annotated" / "a.mp4").mkdir()
    code, out, err = say("recognize", "a.mp4", "b.mp4", "--model", "model", "--save", "annotated")
    assert (code, len(err)) == (1, 1)
    assert "a.mp4" in err[0]
    assert "b.mp4" in out
    assert visible(work / "annotated") == ["a.mp4", "b.mp4"]


def all_that_was_drawn(terminal):
    """A terminal hands over what was written in pieces, and raises once there is no more and nobody writes."""
    pieces = []
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 65536):
            pieces.append(piece)
    os.close(terminal)
    return b"".join(pieces).decode()


def test_progress_goes_to_a_terminal_and_never_into_the_results(say, work, monkeypatch):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        monkeypatch.setattr("lrcn.cli.status._REDRAW_SECONDS", 0.0)
        code, out, _ = say("recognize", "a.mp4", "--model", "model", "--format", "jsonl")
    drawn = all_that_was_drawn(ours)
    assert (code, json.loads(out)["path"]) == (0, "a.mp4")
    assert re.search(r"recognizing a\.mp4  ━+┄+  \d+%", drawn)
    assert drawn.endswith("\r\x1b[2K")


def test_a_log_gets_a_line_now_and_then(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("lrcn.cli.status.time", SimpleNamespace(monotonic=lambda: now[0]))
    with Status() as status:
        for second in range(60):
            now[0] = float(second)
            status.show("checking", second, 100)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "checking  15%  1:25 left",
        "checking  30%  1:10 left",
        "checking  45%  0:55 left",
    ]


# ---- data ----


def test_data_import_check_and_cache(say, work):
    class_folders(work / "clips")
    code, out, err = say("data", "import", "folder", "clips", "-o", "clips.jsonl", "--split")
    assert (code, err) == (0, [])
    assert "Found 6 clips of 2 classes" in out
    rows = [json.loads(line) for line in (work / "clips.jsonl").read_text().splitlines()]
    assert {row["split"] for row in rows} == {"train", "dev", "test"}
    assert rows[0]["path"] == "clips/pan/0.mp4"

    code, out, err = say("data", "check", "clips.jsonl", "--format", "json")
    assert code == 0
    assert json.loads(out)["classes"] == {"pan": 3, "tilt": 3}

    code, out, err = say("data", "cache", "clips.jsonl", "--model", "model", "--to", "frames")
    assert (code, out, err) == (0, "The frames of 6 of 6 clips are in frames.\n", [])
    kept = {path: path.stat().st_mtime_ns for path in (work / "frames").rglob("*.safetensors")}
    assert len(kept) == 6
    assert say("data", "cache", "clips.jsonl", "--model", "model", "--to", "frames")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in (work / "frames").rglob("*.safetensors")} == kept


def test_the_cached_frames_are_those_training_reads(say, work, monkeypatch):
    (work / "m.jsonl").write_text('{"path": "a.mp4", "label": "pan"}\n')
    options = ("--size", "24", "--fit", "crop", "--rate", "5", "--crop", "0.5")
    assert say("data", "cache", "m.jsonl", "--to", "frames", *options)[0] == 0
    clips = ClipDataset(
        [Row(str(work / "a.mp4"), "pan")],
        ["pan"],
        Sampling(rate=5.0, frames=4),
        Preprocess(24, "crop"),
        Augment(scale=0.5, flip=True),
        train=True,
        frame_cache=work / "frames",
    )
    monkeypatch.setattr("lrcn.data.datasets.open_video", None)
    assert clips.item(0, 3)["frames"].shape == (4, 3, 24, 24)


def test_the_cached_images_of_motion_are_those_a_recipe_trains_on(say, work, monkeypatch):
    (work / "m.jsonl").write_text('{"path": "a.mp4", "label": "pan"}\n')
    (work / "flow.yaml").write_text(
        "data: {source: m.jsonl}\npreprocess: {size: 24, motion: {kind: flow}}\nsampling: {rate: 5, frames: 4}\n"
        "augment: {scale: 0.5, flip: true}\n"
    )
    shown = []
    monkeypatch.setattr(Status, "show", lambda self, *told: shown.append(told))
    assert say("data", "cache", "m.jsonl", "--to", "frames", "--recipe", "flow.yaml")[0] == 0
    assert [told for told in shown if told[0] == "decoding and finding motion"][-1][1:] == (1.0, 1)
    recipe = read_recipe(work / "flow.yaml")
    clips = ClipDataset(
        [Row(str(work / "a.mp4"), "pan")],
        ["pan"],
        recipe.sampling,
        recipe.preprocess,
        recipe.augment,
        train=True,
        frame_cache=work / "frames",
    )
    monkeypatch.setattr("lrcn.data.datasets.open_video", None)
    assert clips.item(0, 3)["frames"].shape == (4, 3, 24, 24)
    both = ("--recipe", "flow.yaml", "--model", "model")
    assert say("data", "cache", "m.jsonl", "--to", "frames", *both)[0] == 2


def test_data_that_need_mending_are_exit_code_1(say, work):
    class_folders(work / "clips", clips=2)
    (work / "clips" / "pan" / "bad.mp4").write_text("no video")
    code, out, err = say("data", "check", "clips", "--no-decode")
    assert (code, err) == (1, [])
    assert "bad.mp4" in out
    code, out, err = say("data", "cache", "clips", "--model", "model", "--to", "frames")
    assert (code, len(err)) == (1, 1)
    assert "bad.mp4" in err[0]
    assert out.startswith("The frames of 4 of 5 clips")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"path": "a.mp4", "label": "pan"}\nnot json\n', "m.jsonl line 2: this is not JSON"),
        ('{"label": "pan"}\n', "line 1: the field 'path' is missing"),
        ("", "holds no rows"),
    ],
)
@pytest.mark.parametrize("verb", ["data check", "data cache", "eval"])
def test_a_bad_manifest_names_its_line(say, work, verb, text, sentence):
    (work / "m.jsonl").write_text(text)
    arguments = {
        "data check": ["m.jsonl"],
        "data cache": ["m.jsonl", "--model", "model", "--to", "x"],
        "eval": ["--model", "model", "--data", "m.jsonl"],
    }[verb]
    code, out, err = say(*verb.split(), *arguments)
    assert (code, out, len(err)) == (2, "", 1)
    assert sentence in err[0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["import", "imagenet", "clips", "-o", "m.jsonl"], "There is no importer 'imagenet'"),
        (["import", "folder", "empty", "-o", "m.jsonl"], "There are no clips in"),
        (["import", "folder", "missing", "-o", "m.jsonl"], "missing is not a folder"),
        (["import", "folder", "clips", "-o", "clips"], "-o clips is a folder"),
        (["import", "folder", "clips", "-o", "a.mp4/m.jsonl"], "Cannot write a.mp4/m.jsonl"),
        (["check", "missing.jsonl"], "missing.jsonl does not exist"),
        (["check", "empty"], "There are no clips in"),
        (["cache", "clips", "--model", "model", "--to", "a.mp4"], "a.mp4 is a file, not a folder"),
    ],
)
def test_data_verbs_refuse_what_cannot_be(say, work, arguments, sentence):
    (work / "empty").mkdir()
    class_folders(work / "clips", clips=1)
    before = visible(work)
    code, _, err = say("data", *arguments)
    assert (code, len(err)) == (2, 1)
    assert sentence in err[0]
    assert visible(work) == before


# ---- eval ----


def test_eval_measures_a_split_and_writes_its_numbers(say, work):
    class_folders(work / "clips", clips=2)
    say("data", "import", "folder", "clips", "-o", "clips.jsonl", "--split")
    code, out, err = say(
        "eval", "--model", "model", "--data", "clips.jsonl", "--format", "json", "--out", "numbers"
    )
    assert code == 0
    numbers = json.loads(out)
    assert json.loads((work / "numbers" / "metrics.json").read_text()) == numbers
    tested = sum('"test"' in line for line in (work / "clips.jsonl").read_text().splitlines())
    assert numbers["clips"] == tested
    assert visible(work / "numbers") == ["confusion.png", "metrics.json"]
    assert len(err) == 1
    code, out, err = say("eval", "--model", "model", "--data", "clips")
    assert (code, err) == (0, [])
    assert out.startswith("All 4 clips of clips, which has no splits.\n4 clips, 2 classes")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "model", "--data", "m.jsonl"], 'the label "zoom"'),
        (["--model", "model", "--data", "m.jsonl", "--split", "dev"], "no clips in the split 'dev'"),
        (["--model", "model", "--data", "missing"], "missing does not exist"),
        (["--model", "none-such", "--data", "m.jsonl"], "There is no model 'none-such'"),
        (["--model", "model", "--data", "m.jsonl", "--out", "a.mp4"], "a.mp4 is a file, not a folder"),
    ],
)
def test_eval_refuses_what_cannot_be(say, work, arguments, sentence):
    (work / "m.jsonl").write_text('{"path": "a.mp4", "label": "zoom"}\n')
    code, out, err = say("eval", *arguments)
    assert (code, out, len(err)) == (2, "", 1)
    assert sentence in err[0]


# ---- train ----


@pytest.fixture
def training(monkeypatch):
    """Stands in for the training; keeps what it was called with."""
    called = {}

    def train(recipe, out, report):
        called.update(recipe=recipe, out=out)
        report("one epoch")
        return Result(out / "model", sentences=["test: 1 clip"])

    monkeypatch.setattr("lrcn.train.run.train", train)
    monkeypatch.setattr("lrcn.train.study.train", train)
    return called


def test_train_lays_settings_over_a_recipe(say, work, training):
    (work / "r.yaml").write_text("name: moves\ndata: {source: clips}\ntrain: {epochs: 3, batch: 2}\n")
    code, out, err = say(
        "train", "--train.epochs=5", "--label-smoothing", "1e-1", "r.yaml", "--allow-leakage"
    )
    assert (code, err) == (0, [])
    recipe = training["recipe"]
    assert (recipe.name, recipe.train.epochs, recipe.train.batch) == ("moves", 5, 2)
    assert (recipe.label_smoothing, recipe.data.allow_leakage) == (0.1, True)
    assert training["out"] == Path("runs/r")
    assert out.splitlines() == [
        "one epoch",
        "test: 1 clip",
        "Use it:",
        "  lrcn recognize VIDEO --model runs/r/model",
    ]


def test_train_makes_a_recipe_of_a_folder(say, work, training):
    class_folders(work / "clips", clips=1)
    code, out, _ = say("train", "clips", "--out", "here", "--train.epochs", "2")
    assert code == 0
    assert (training["recipe"].data.source, training["out"]) == ("clips", Path("here"))
    assert training["recipe"].train.epochs == 2
    assert out.endswith("lrcn recognize VIDEO --model here/model\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["missing"], "missing does not exist"),
        (["r.yaml", "--train.epohcs", "3"], "train.epohcs is not a known setting: did you mean epochs?"),
        (["r.yaml", "--train.epochs", "many"], "train.epochs is 'many': give a whole number."),
        (["r.yaml", "--data.shares", "{train"], "data.shares is '{train'"),
        (["r.yaml", "--out", "a.mp4"], "a.mp4 is a file, not a folder"),
        (["bad.yaml"], "bad.yaml, line 2 is not valid YAML"),
    ],
)
def test_train_refuses_what_cannot_be(say, work, training, arguments, sentence):
    (work / "r.yaml").write_text("data: {source: clips}\n")
    (work / "bad.yaml").write_text("a: [1\nb: 2\n")
    code, out, err = say("train", *arguments)
    assert (code, out, len(err)) == (2, "", 1)
    assert sentence in err[0]
    assert not training


# ---- models, demo, bench ----


def test_models_tells_what_ships(say, work, monkeypatch):
    shipped = work / "zoo"
    shutil.copytree(work / "model", shipped / "moves")
    (shipped / "moves" / "README.md").write_text("---\nlicense: x\n---\n# moves\n\nHow the camera moves.\n")
    (shipped / "moves" / "metrics.json").write_text('{"dev": {"accuracy": 0.5}, "test": {"accuracy": 0.961}}')
    monkeypatch.setattr("lrcn.cli.models._shipped", lambda: shipped)
    code, out, _ = say("models")
    assert code == 0
    name, labels, size, unit, *rest = out.splitlines()[1].split()
    assert (name, labels, unit) == ("moves", "2", "MB")
    assert float(size) > 0
    assert " ".join(rest) == "test accuracy 96.1% How the camera moves."
    (entry,) = json.loads(say("models", "--format", "json")[1])
    assert (entry["name"], entry["labels"], entry["does"]) == ("moves", LABELS, "How the camera moves.")
    shutil.rmtree(shipped / "moves")
    assert "No models ship" in say("models")[1]


def test_models_reads_the_folder_that_ships():
    assert _shipped() == shipped_folder()


def test_demo_passes_on_what_it_is_told(say, work, monkeypatch):
    def demo(out, report, *, device):
        report(f"looked at 3 clips on {device}")
        return out / "index.html"

    stand_in(monkeypatch, "lrcn.demo", demo=demo)
    code, out, _ = say("demo", "--out", "seen", "--device", "cpu")
    assert code == 0
    assert out.splitlines() == ["looked at 3 clips on cpu"]
    assert say("demo", "--out", "a.mp4")[0] == 2


def test_bench_shows_rows_and_hands_options_on(say, monkeypatch):
    def decode(clips=1, fast=False):
        rows = [{"name": "pyav", "frames_per_s": 1234.5678, "clips": clips}, {"name": "none", "fast": fast}]
        return {"machine": {"cpu": "x", "cores": 2}, "rows": rows}

    stand_in(
        monkeypatch, "lrcn.bench", BENCHES={"decode": decode}, run=lambda what, **options: decode(**options)
    )
    code, out, _ = say("bench", "decode", "--clips", "3", "--fast")
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ["cpu", "x,", "cores", "2"],
        ["name", "frames_per_s", "clips", "fast"],
        ["pyav", "1235", "3", "-"],
        ["none", "-", "-", "True"],
    ]
    assert json.loads(say("bench", "decode", "--format", "json")[1])["rows"][0]["clips"] == 1
    assert say("bench", "train")[2] == ["lrcn: There is no bench 'train': give one of decode."]
    code, _, err = say("bench", "decode", "--colour", "red")
    assert (code, err) == (
        2,
        ["lrcn: --colour is no option of bench decode: they are --clips, --fast."],
    )
