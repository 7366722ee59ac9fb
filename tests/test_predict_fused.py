"""What a fused model says of a video is the weighted sum of what its members say, in the whole and at each frame."""

import json

import numpy as np
import pytest
import torch
from made_video import make_video

import lrcn
from lrcn.cli import main
from lrcn.data.flow import MotionConfig
from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Preprocess
from lrcn.errors import LrcnError
from lrcn.models.cnn import EncoderConfig
from lrcn.models.folder import Loaded, save_model
from lrcn.models.fusion import Fused
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig
from lrcn.segments import segments

LABELS = ["pan", "tilt", "still"]


def loaded(seed, sampling=None, kind="none") -> Loaded:
    torch.manual_seed(seed)
    config = RecognizerConfig(
        EncoderConfig("test_efficientnet", "none", pool="grid", stage=1, grid=2, squeeze=2),
        ReadingConfig(features=4),
        RecurrentConfig(size=4),
    )
    model = Recognizer(config, LABELS).eval()
    for parameter in [*model.recurrent.parameters(), *model.classifier.parameters()]:
        torch.nn.init.normal_(parameter)
    return Loaded(model, Preprocess(32, motion=MotionConfig(kind)), sampling or Sampling(rate=10), LABELS)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("film") / "film.mp4", 20, rate=10)


def test_it_is_the_sum_of_what_the_members_say(film):
    one, two = loaded(0), loaded(1, Sampling(rate=5), "difference")
    fused = Fused({"rgb": one, "motion": two}, (1 / 3, 2 / 3))
    seen = fused.recognize(film, smoothing=0, min_duration=0)
    a, b = one.recognize(film), two.recognize(film)
    for label in LABELS:
        expected = a.probabilities[label] / 3 + 2 * b.probabilities[label] / 3
        assert seen.probabilities[label] == pytest.approx(expected)
    assert list(seen.probabilities.values()) == sorted(seen.probabilities.values(), reverse=True)
    assert (seen.label, seen.probability) == next(iter(seen.probabilities.items()))
    assert seen.times.tolist() == a.times.tolist() and len(b.times) == 10
    later = b.per_frame[np.arange(20) // 2]
    np.testing.assert_allclose(seen.per_frame, a.per_frame / 3 + 2 * later / 3, rtol=1e-5)
    assert (seen.start, seen.end, seen.path) == (a.start, a.end, str(film))
    cut = segments(seen.per_frame, seen.times, LABELS, smoothing=0, min_duration=0, end=seen.end)
    assert seen.segments == cut
    np.testing.assert_array_equal(lrcn.recognize(fused, film, smoothing=0).per_frame, seen.per_frame)


def test_all_the_weight_on_one_says_what_it_says_alone(film):
    for sampling in (None, Sampling(frames=4, spread="uniform"), Sampling(rate=10, frames=8, stride=4)):
        alone = loaded(0, sampling)
        fused = Fused({"one": alone, "other": loaded(1)}, (1.0, 0.0))
        options = {"start": 0.5, "end": 1.5, "chunk": 3, "threshold": 0.1}
        assert fused.recognize(film, **options).to_json() == alone.recognize(film, **options).to_json()


def test_progress_runs_once_over_all_passes(film):
    told = []
    fused = Fused({"one": loaded(0), "other": loaded(1)}, (0.5, 0.5))
    fused.recognize(film, progress=lambda done, end: told.append((done, end)))
    assert len(told) == 40 and [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] < told[-1][1] == 2.0


@pytest.mark.parametrize("source", [0, "0", "rtsp://camera/1"])
def test_what_is_live_cannot_be_read_twice(source):
    fused = Fused({"one": loaded(0), "other": loaded(1)}, (0.5, 0.5))
    with pytest.raises(LrcnError, match="is live and cannot be read once for each of 2 models"):
        fused.recognize(source)


@pytest.fixture
def home(tmp_path, film, monkeypatch):
    """A folder with two models, a video and a manifest, to work in."""
    for seed, name in enumerate(("rgb", "motion")):
        one = loaded(seed, kind=("none", "difference")[seed])
        save_model(tmp_path / name / "model", one.model, one.preprocess, one.sampling)
    rows = [
        {"path": str(film), "label": label, "split": split}
        for label, split in (("pan", "dev"), ("tilt", "dev"), ("still", "test"))
    ]
    (tmp_path / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    return tmp_path


FUSE = ["models", "fuse", "rgb/model", "motion/model", "--out", "two"]


def test_the_command_line_makes_one_and_uses_it(home, film, capsys):
    assert main([*FUSE, "--weights", "1/3"]) == 0
    assert capsys.readouterr().out == "Wrote two: 0.333 rgb, 0.667 motion.\n"
    assert main(["recognize", str(film), "--model", "two", "--device", "cpu", "--format", "jsonl"]) == 0
    record = json.loads(capsys.readouterr().out)
    seen = lrcn.load("two", "cpu").recognize(str(film))
    assert record["label"] == seen.label and record["probability"] == pytest.approx(
        seen.probability, abs=1e-6
    )
    arguments = ["eval", "--model", "two", "--device", "cpu", "--data", "clips.jsonl", "--format", "json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["clips"] == 1
    assert main([*arguments, "--split", "dev", "--protocol", "clips"]) == 0
    assert json.loads(capsys.readouterr().out)["clips"]["videos"] == 2


def test_the_command_line_tunes_on_dev_and_never_on_test(home, capsys):
    assert main([*FUSE, "--tune", "clips.jsonl", "--device", "cpu"]) == 0
    assert "Wrote two: " in capsys.readouterr().out
    fused = lrcn.load("two", "cpu")
    tuned = fused.metrics["tuned"]
    assert tuned["clips"] == 2 and set(tuned["alone"]) == {"rgb", "motion"}
    assert tuple(tuned["weights"].values()) == fused.weights
    assert tuned["accuracy"] >= max(tuned["alone"].values())
    card = (home / "two" / "README.md").read_text()
    assert "tuned on the 2 clips of the split dev of clips.jsonl, so that the numbers there flatter." in card
    before = (home / "two" / "config.json").read_text()
    assert main([*FUSE, "--tune", "clips.jsonl", "--split", "test"]) == 2
    assert "tuned on the test split says nothing there" in capsys.readouterr().err
    assert (home / "two" / "config.json").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["rgb/model", "--out", "two"], "give two or more models"),
        (["rgb/model", "gone", "--out", "two"], "There is no model 'gone'"),
        (["rgb/model", "motion/model", "--out", "clips.jsonl"], "clips.jsonl is a file, not a folder"),
        (["rgb/model", "motion/model", "--out", "two", "--weights", "x"], "'x' are no numbers"),
        (
            ["rgb/model", "motion/model", "--out", "two", "--weights", "1/2", "--tune", "clips.jsonl"],
            "either --weights or --tune",
        ),
    ],
)
def test_the_command_line_refuses_what_cannot_be(home, capsys, arguments, sentence):
    assert main(["models", "fuse", *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not (home / "two").exists()
