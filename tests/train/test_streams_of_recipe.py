"""Recipes whose clips, or whose videos with timed segments, are laid end to end; and heads that need whole clips."""

import json

import pytest
from made_clips import class_folders, moving_square, tiny_recipe
from made_video import make_video

from lrcn.errors import LrcnError
from lrcn.models.folder import load_folder
from lrcn.train.recipe import changed
from lrcn.train.run import train
from lrcn.train.splits import single_split
from lrcn.train.tracking import read_log

TIMED = {"length": 5, "rows": "segments", "background": "still"}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Videos of a square that goes left, rests, and goes right, ten pictures a second."""
    folder = tmp_path_factory.mktemp("timed")
    rows = []
    for n, split in enumerate(["train", "train", "dev", "test"]):
        going = [moving_square(leftwards, 8 + n, seed=n) for leftwards in (True, False)]
        pictures = [*going[0], *[going[0][-1]] * 6, *going[1]]
        make_video(folder / f"{n}.mp4", len(pictures), rate=10, size=(32, 32), pictures=pictures)
        rests = (8 + n) / 10
        rows.append({"path": f"{n}.mp4", "split": split, "label": "left", "end": rests})
        rows.append({"path": f"{n}.mp4", "split": split, "label": "right", "start": rests + 0.6})
    (folder / "timed.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder / "timed.jsonl"


def silent(_):
    pass


def test_videos_with_timed_segments_are_learned_whole_and_judged_by_segments(manifest, tmp_path):
    recipe = changed(
        tiny_recipe(manifest),
        {"data": {"streams": TIMED}, "model": {"reading": {"reads": ["appearance", "difference"]}}},
    )
    told = []
    result = train(recipe, tmp_path / "runs" / "timed", told.append)
    assert "3 classes, 2 training clips, 1 dev, 1 test." in told
    assert load_folder(result.folder).labels == ["left", "right", "still"]
    # 22 and 24 frames in two streams, five at a time, twice; then once more with the CNN.
    for name, epochs in (("train", 2), ("tune", 1)):
        rows = read_log(tmp_path / "runs" / "timed" / name / "log.jsonl")
        assert sum("loss" in row for row in rows) == epochs * -(-(22 + 24) // 2 // 5)
        assert {"dev_frame_map", "dev_f1@50", "dev_score"} <= set(rows[-1])
    found = result.metrics["test"]
    assert (found["videos"], found["frames"]) == (1, 28)
    assert set(found["average_precision"]) == {"left", "right"}
    assert any(line.startswith("test: frames right") for line in result.lines())
    assert "| split | videos | frames | frame mAP | F1@50 |" in (result.folder / "README.md").read_text()
    assert (tmp_path / "runs" / "timed" / "confusion.png").exists()


def test_without_a_background_there_is_no_such_class(manifest):
    streams = {**TIMED, "background": ""}
    split = single_split(changed(tiny_recipe(manifest), {"data": {"streams": streams}}), silent)
    assert split.labels == ["left", "right"] and split.layout.lengths.tolist() == [
        5,
        5,
        5,
        5,
        2,
        5,
        5,
        5,
        5,
        4,
    ]


def test_clips_are_packed_and_judged_as_ever(tmp_path):
    recipe = changed(
        tiny_recipe(class_folders(tmp_path / "clips")), {"data": {"streams": {"length": 4}}, "tune": None}
    )
    result = train(recipe, tmp_path / "out", silent)
    steps = [row for row in read_log(tmp_path / "out" / "train" / "log.jsonl") if "loss" in row]
    # Four training clips of six frames in two streams.
    assert len(steps) == 2 * 12 / 4
    assert result.metrics["test"]["clips"] == 2


def test_a_model_of_both_directions_and_attention_is_trained_kept_and_used(tmp_path):
    folder = class_folders(tmp_path / "clips")
    model = {"recurrent": {"bidirectional": True}, "head": {"pool": "attention", "size": 4}}
    result = train(changed(tiny_recipe(folder), {"model": model, "tune": None}), tmp_path / "out", silent)
    loaded = load_folder(result.folder)
    assert not loaded.model.causal and loaded.model.config.head.pool == "attention"
    found = loaded.recognize(str(folder / "left" / "0.mp4"))
    assert found.per_frame.shape == (8, 2) and sum(found.probabilities.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"step_loss": 1.5}, r"step_loss is 1\.5: give a share from 0 to 1"),
        (
            {"step_loss": 1, "model": {"head": {"pool": "attention"}}},
            "step_loss is 1, and .* attention learns",
        ),
        ({"data": {"streams": {}}, "model": {"head": {"pool": "attention"}}}, "data.streams cuts clips"),
        (
            {"data": {"streams": {}}, "model": {"recurrent": {"bidirectional": True}}},
            "data.streams cuts clips",
        ),
        ({"data": {"streams": {}}, "step_loss": 0}, "data.streams cuts clips"),
        ({"data": {"streams": TIMED}, "study": {}}, "which needs data.source, no study"),
        ({"data": {"streams": TIMED}, "sampling": {"spread": "uniform"}}, "sampling.spread window"),
        ({"data": {"streams": TIMED}, "sampling": {"stride": 3}}, "no sampling.stride"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(change, words):
    with pytest.raises(LrcnError, match=words):
        changed(tiny_recipe("clips"), change)


def test_a_video_whose_segments_stand_in_two_splits_is_refused(manifest, tmp_path):
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    for row in rows:
        row["path"] = str(manifest.parent / row["path"])
    rows[0]["split"] = "dev"
    (tmp_path / "timed.jsonl").write_text("\n".join(map(json.dumps, rows)))
    recipe = changed(
        tiny_recipe(tmp_path / "timed.jsonl"), {"data": {"streams": TIMED, "allow_leakage": False}}
    )
    with pytest.raises(LrcnError, match=r"0\.mp4"):
        single_split(recipe, silent)
