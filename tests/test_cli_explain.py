"""`lrcn explain`: text, pictures and videos of any number of inputs, and one sentence for what is wrong."""

import json
import shutil

import av
import pytest
import torch
from made_video import write_noise

from lrcn.cli import main
from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Preprocess
from lrcn.models.cnn import EncoderConfig
from lrcn.models.folder import save_model
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig

LABELS = ["pan", "tilt"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a tiny untrained model and two videos; tests must not change it."""
    folder = tmp_path_factory.mktemp("home")
    torch.manual_seed(0)
    config = RecognizerConfig(
        EncoderConfig("test_efficientnet", "none", stage=1, pool="avg"),
        ReadingConfig(features=8),
        RecurrentConfig(size=8),
    )
    save_model(folder / "model", Recognizer(config, LABELS), Preprocess(32), Sampling(rate=10, frames=8))
    write_noise(folder / "a.mp4", 10, seed=0)
    write_noise(folder / "b.mp4", 10, seed=1)
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
    """Runs `lrcn explain` -> (exit code, standard output, lines of standard error)."""

    def run(*arguments):
        code = main(["explain", *map(str, arguments), "--model", "model", "--device", "cpu"])
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return code, told.out, told.err.splitlines()

    return run


def visible(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_text_names_the_label_and_the_moments(work, say):
    code, out, err = say("a.mp4", "--label", "tilt")
    assert code == 0
    first, *moments = out.splitlines()
    assert first.startswith("a.mp4  tilt ") and "log-odds" in first
    assert moments and all("0:0" in line for line in moments)
    assert [line for line in err if "loading" not in line] in ([], ["lrcn: a.mp4: No frame speaks for tilt."])


def test_a_picture_and_a_video_are_written(work, say):
    code, _, _ = say("a.mp4", "--picture", "why.png", "--save", "why.mp4", "--start", "0.2", "--end", "0.8")
    assert code == 0
    assert (work / "why.png").read_bytes()[:4] == b"\x89PNG"
    with av.open(str(work / "why.mp4")) as container:
        assert len(list(container.decode(video=0))) == 6
    assert visible(work) == ["a.mp4", "b.mp4", "model", "why.mp4", "why.png"]


def test_several_inputs_fill_folders_and_a_bad_one_stops_none(work, say):
    (work / "broken.mp4").write_bytes(b"no video")
    code, out, err = say(
        "a.mp4",
        "broken.mp4",
        "b.mp4",
        "c.mp4",
        "--picture",
        "pictures",
        "--save",
        "videos",
        "--format",
        "jsonl",
    )
    assert code == 1
    assert visible(work / "pictures") == ["a.png", "b.png"]
    assert visible(work / "videos") == ["a.mp4", "b.mp4"]
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["path"] for record in records] == ["a.mp4", "broken.mp4", "b.mp4", "c.mp4"]
    assert ["error" in record for record in records] == [False, True, False, True]
    assert len(records[0]["explained"]["frames"]) == 10
    told = [line for line in err if "broken" in line or "c.mp4" in line]
    assert len(told) == 2 and all(line.startswith("lrcn: ") for line in told)


def test_the_text_can_go_to_a_file(work, say):
    code, out, _ = say("a.mp4", "b.mp4", "--format", "jsonl", "--out", "why.jsonl")
    assert (code, out) == (0, "")
    lines = (work / "why.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a.mp4", "--label", "tlit"], "no label 'tlit': did you mean tilt?"),
        (
            ["a.mp4", "--picture", "why.jpg"],
            "--picture why.jpg: give a name that ends in .png, .svg, or a folder.",
        ),
        (["a.mp4", "b.mp4", "--picture", "why.png"], "is one file, but there are 2 inputs"),
        (["a.mp4", "--save", "a.mp4"], "--save a.mp4 is an input itself"),
        (["a.mp4", "--save", "why.png"], "give a name that ends in .mp4, .mov, .mkv"),
        (["a.mp4", "--end", "-1"], "is not a number of seconds from 0 up"),
    ],
)
def test_a_wrong_call_is_one_sentence(work, say, arguments, sentence):
    code, out, err = say(*arguments)
    assert (code, out) == (2, "")
    assert err[-1].startswith("lrcn: ") and sentence in err[-1]
    assert visible(work) == ["a.mp4", "b.mp4", "model"]


def test_what_is_live_is_refused_before_any_work(work, say):
    code, _, err = say("0")
    assert code == 1
    assert err == ["lrcn: 0 is live and cannot be read again: record it to a file and explain that."]
