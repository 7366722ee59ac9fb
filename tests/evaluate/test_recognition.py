"""Metrics against counting by hand, and what happens to clips that cannot be read."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_clips import MadeClips, class_folders, random_clips, small_model

from lrcn.cli import main
from lrcn.data.manifest import Row
from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Preprocess
from lrcn.data.video import VideoError
from lrcn.errors import LrcnError
from lrcn.evaluate import recognition
from lrcn.evaluate.recognition import evaluate, measure
from lrcn.models.folder import load_folder, save_model
from lrcn.models.heads import ClipHead, HeadConfig
from lrcn.models.recognizer import IGNORED


class Echo(torch.nn.Module):
    """A recogniser whose scores are what the clips hold; keeps the shape of each batch."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.labels = [f"class {k}" for k in range(classes)]
        self.classifier = torch.nn.Linear(1, 1)
        self.seen: list[tuple[int, ...]] = []

    def judge(self, frames, lengths, *, maps):
        self.seen.append(tuple(maps.shape[:2]))
        assert not self.training and not torch.is_grad_enabled()
        return ClipHead(HeadConfig(), 0)(maps, maps.float(), lengths)


def scored_clips(classes, lengths, seed, per_frame=False) -> MadeClips:
    generator = torch.Generator().manual_seed(seed)
    scores = [2 * torch.randn(length, classes, generator=generator) for length in lengths]
    labels = [int(torch.randint(classes, (), generator=generator)) for _ in lengths]
    if per_frame:
        labels = [torch.randint(classes, (length,), generator=generator) for length in lengths]
    return MadeClips(scores, labels)


def by_hand(clips, classes):
    """All rates, clip by clip and frame by frame."""
    right = top = frames = frames_right = middle = last = 0
    confusion = [[0] * classes for _ in range(classes)]
    for scores, label in zip(clips.maps, clips.labels, strict=True):
        powers = np.exp(scores.numpy().astype(np.float64))
        shares = (powers / powers.sum(1, keepdims=True)).mean(0)
        wanted = [label] * len(scores) if isinstance(label, int) else label.tolist()
        counted = [value for value in wanted if value != IGNORED]
        truth = min(set(counted), key=lambda value: (-counted.count(value), value))
        ranked = sorted(range(classes), key=lambda k: -shares[k])
        confusion[truth][ranked[0]] += 1
        right += ranked[0] == truth
        top += truth in ranked[:5]
        said = scores.argmax(1).tolist()
        frames += len(counted)
        frames_right += sum(a == b for a, b in zip(said, wanted, strict=True))
        middle += said[len(said) // 2] == wanted[len(said) // 2]
        last += said[-1] == wanted[-1]
    occurring = [row[k] / sum(row) for k, row in enumerate(confusion) if sum(row)]
    n = len(clips)
    return confusion, {
        "accuracy": right / n,
        "mean_class_accuracy": sum(occurring) / len(occurring),
        "top5": top / n,
        "frame_accuracy": frames_right / frames,
        "middle_frame_accuracy": middle / n,
        "last_frame_accuracy": last / n,
    }


@given(
    st.integers(2, 8),
    st.lists(st.integers(1, 7), min_size=1, max_size=12),
    st.integers(0, 10**6),
    st.booleans(),
)
def test_every_rate_is_what_counting_by_hand_gives(classes, lengths, seed, per_frame):
    clips = scored_clips(classes, lengths, seed, per_frame)
    found = measure(Echo(classes), clips)
    confusion, rates = by_hand(clips, classes)
    assert found.confusion.tolist() == confusion
    assert {name: getattr(found, name) for name in rates} == pytest.approx(rates)
    assert found.left_out == 0
    assert np.bincount(found.truths, minlength=classes).tolist() == found.confusion.sum(1).tolist()
    assert ((found.truths == found.predictions).mean()) == pytest.approx(found.accuracy)
    json.dumps(found.to_json())


@given(st.integers(0, 10**6), st.integers(1, 40))
def test_batches_change_nothing_and_hold_no_more_frames_than_they_may(seed, most):
    generator = np.random.default_rng(seed)
    clips = scored_clips(3, generator.integers(1, 20, 9).tolist(), seed)
    whole, parts = Echo(3), Echo(3)
    expected = measure(whole, clips).to_json()
    assert len(whole.seen) == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recognition, "_SHOWN_FRAMES", most)
        assert measure(parts, clips).to_json() == expected
    assert sum(count for count, _ in parts.seen) == len(clips)
    assert all(count * frames <= most or count == 1 for count, frames in parts.seen), "padding counts too"


@pytest.mark.parametrize("classes", [2, 4, 5])
def test_with_five_classes_or_fewer_every_answer_is_among_the_first_five(classes):
    assert measure(Echo(classes), scored_clips(classes, [3] * 10, 0)).top5 == 1


def test_classes_that_do_not_occur_count_nowhere():
    scores = torch.tensor([[9.0, 0, 0]])
    found = measure(Echo(3), MadeClips([scores, scores, scores, -scores], [0, 0, 1, 0]))
    assert found.per_class == {"class 0": pytest.approx(2 / 3), "class 1": 0}
    assert found.mean_class_accuracy == pytest.approx(1 / 3)


def test_frames_without_a_label_are_not_judged():
    scores = torch.tensor([[9.0, 0], [0, 9.0], [0, 9.0], [9.0, 0]])
    found = measure(Echo(2), MadeClips([scores], [torch.tensor([0, IGNORED, 0, IGNORED])]))
    assert (found.frame_accuracy, found.middle_frame_accuracy, found.last_frame_accuracy) == (0.5, 0, 0)
    assert found.truths.tolist() == [0]


def test_shuffling_is_drawn_from_its_seed_and_changes_the_order_alone():
    clips = scored_clips(3, [6] * 30, 0)
    one, same, other = (measure(Echo(3), clips, shuffle_seed=seed).to_json() for seed in (0, 0, 1))
    assert one == same != other
    # A network without memory judges the frames alike in any order; only which one is in the middle changes.
    single, scored = Echo(3), scored_clips(3, [6] * 30, 0)
    plain, shuffled = measure(single, scored), measure(single, scored, shuffle_seed=0)
    assert (plain.accuracy, plain.frame_accuracy) == (shuffled.accuracy, shuffled.frame_accuracy)
    assert plain.middle_frame_accuracy != shuffled.middle_frame_accuracy
    labelled = scored_clips(3, [6], 0, per_frame=True)
    before = labelled.maps[0].clone()
    measure(single, labelled, shuffle_seed=0)
    assert torch.equal(labelled.maps[0], before), "what a cache holds is not changed"


def test_shuffled_frames_keep_their_own_labels():
    clips = scored_clips(4, [7] * 20, 0, per_frame=True)
    assert measure(Echo(4), clips, shuffle_seed=3).frame_accuracy == measure(Echo(4), clips).frame_accuracy


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(training):
    model = small_model().train(training)
    measure(model, random_clips(3))
    assert model.training == training


def test_progress_comes_to_all_clips(monkeypatch):
    monkeypatch.setattr(recognition, "_SHOWN_FRAMES", 8)
    told = []
    measure(Echo(2), scored_clips(2, [4] * 5, 0), progress=lambda *done: told.append(done))
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_the_lines_say_the_main_numbers():
    scores = torch.tensor([[9.0, 0, 0]])
    found = measure(Echo(3), MadeClips([scores, scores], [0, 1]))
    assert found.lines() == [
        "2 clips, 2 classes",
        "clip accuracy 50.0%, mean over classes 50.0%, top-5 100.0%",
        "single frames 50.0%, last frame 50.0%",
        "weakest: class 1 0%, class 0 100%",
    ]


def test_no_clips_are_refused():
    with pytest.raises(LrcnError, match="There are no clips to evaluate on"):
        measure(Echo(2), MadeClips([], []))


# ---- clips that cannot be read ----


class Broken(MadeClips):
    """Some of the clips cannot be read."""

    def __init__(self, clips, broken):
        super().__init__(clips.maps, clips.labels)
        self.broken = set(broken)

    def item(self, index, view):
        if index in self.broken:
            raise VideoError(f"clip {index} is broken")
        return super().item(index, view)


@given(st.sets(st.integers(0, 6), max_size=6))
def test_the_clips_that_can_be_read_are_measured_as_if_there_were_no_others(broken):
    clips = scored_clips(3, [4] * 7, 0)
    told, done = [], []
    found = measure(
        Echo(3), Broken(clips, broken), report_unreadable=told.append, progress=lambda *n: done.append(n)
    )
    left = [index for index in range(7) if index not in broken]
    expected = measure(Echo(3), MadeClips([clips.maps[k] for k in left], [clips.labels[k] for k in left]))
    assert found.to_json() == {**expected.to_json(), "left_out": len(broken)}
    assert told == [f"clip {index} is broken" for index in sorted(broken)]
    assert done[-1] == (7, 7)
    assert ("more could not be read" in found.lines()[0]) == bool(broken)


def test_training_stops_at_a_clip_that_cannot_be_read():
    with pytest.raises(VideoError, match="clip 2 is broken"):
        measure(Echo(3), Broken(scored_clips(3, [4] * 5, 0), {2}))


def test_no_clip_that_can_be_read_is_refused():
    with pytest.raises(LrcnError, match="None of the 2 clips can be read: clip 0 is broken"):
        measure(Echo(3), Broken(scored_clips(3, [4] * 2, 0), {0, 1}), report_unreadable=lambda _: None)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a tiny model and clips of two classes."""
    folder = tmp_path_factory.mktemp("home")
    class_folders(folder / "clips", clips=2)
    save_model(folder / "model", small_model(), Preprocess(32), Sampling(frames=4))
    return folder


def test_a_file_that_is_no_video_is_told_and_left_out(home, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    clips = [str(home / "clips" / label / f"{n}.mp4") for label in ("left", "right") for n in range(2)]
    rows = [Row(path, path.split("/")[-2]) for path in clips]
    bad = [Row(str(tmp_path / name), "left") for name in ("text.mp4", "empty.mp4", "missing.mp4")]
    told = []
    loaded = load_folder(home / "model")
    found = evaluate(loaded, [bad[0], *rows, *bad[1:]], report=told.append)
    assert found.left_out == 3 and len(told) == 3
    assert all(row.path in sentence for row, sentence in zip(bad, told, strict=True))
    assert found.to_json() == {**evaluate(loaded, rows).to_json(), "left_out": 3}
    with pytest.raises(LrcnError, match='has the label "zoom"'):
        evaluate(loaded, [Row(rows[0].path, "zoom")])
    with pytest.raises(LrcnError, match="check the manifest and --split"):
        evaluate(loaded, [])


def test_the_command_line_tells_what_is_left_out_and_exits_1(home, tmp_path, capsys):
    (tmp_path / "clips").mkdir()
    for label in ("left", "right"):
        (tmp_path / "clips" / label).symlink_to(home / "clips" / label)
    arguments = ["eval", "--model", str(home / "model"), "--device", "cpu", "--data"]
    assert main([*arguments, str(home / "clips")]) == 0
    capsys.readouterr()
    paths = [home / "clips" / label / f"{n}.mp4" for label in ("left", "right") for n in range(2)]
    lines = [json.dumps({"path": str(path), "label": path.parent.name}) for path in paths]
    (tmp_path / "text.mp4").write_text("no video")
    manifest = tmp_path / "clips.jsonl"
    manifest.write_text("\n".join([*lines, '{"path": "text.mp4", "label": "left"}']))
    assert main([*arguments, str(manifest)]) == 1
    told = capsys.readouterr()
    assert "4 clips, 2 classes; 1 more could not be read and are left out" in told.out
    (line,) = told.err.splitlines()
    assert line.startswith("lrcn: ") and "text.mp4" in line
    assert main([*arguments, str(manifest), "--format", "json", "--out", str(tmp_path / "numbers")]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["clips"], found["left_out"]) == (4, 1)
    assert json.loads((tmp_path / "numbers" / "metrics.json").read_text()) == found
    manifest.write_text('{"path": "text.mp4", "label": "left"}')
    assert main([*arguments, str(manifest)]) == 2
    assert "None of the 1 clips can be read" in capsys.readouterr().err
