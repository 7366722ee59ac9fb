"""The loop: killed anywhere it ends with the same weights, and accumulation, clipping and early stopping are exact."""

from dataclasses import replace

import pytest
import torch
from made_clips import (
    Killed,
    MadeClips,
    assert_same_weights,
    learned,
    order_clips,
    random_clips,
    small_model,
)

from lrcn.data.datasets import collate
from lrcn.errors import LrcnError
from lrcn.evaluate.recognition import measure
from lrcn.models.recognizer import IGNORED
from lrcn.train.distributed import Team
from lrcn.train.loop import LoopConfig, fit
from lrcn.train.optim import OptimConfig
from lrcn.train.tasks import RecognitionTask
from lrcn.train.tracking import read_log

SGD = OptimConfig("sgd", lr=0.3, warmup=0.2)
ADAMW = OptimConfig("adamw", lr=0.02)


class Mortal(RecognitionTask):
    """Ends in the n-th call of one of its functions."""

    def __init__(self, *arguments, place="loss", count=0, score=None):
        super().__init__(*arguments)
        self.place, self.left, self.score = place, count, score

    def _live(self, place):
        if place == self.place:
            self.left -= 1
            if self.left == 0:
                raise Killed

    def loss(self, model, batch):
        self._live("loss")
        return super().loss(model, batch)

    def dev_score(self, model):
        self._live("dev_score")
        return super().dev_score(model) if self.score is None else {"score": self.score(model)}


def run(folder, config, deaths=(), *, clips=None, dev=None, score=None, recipe="r", **options):
    """Fits a small model in `folder`, killed at each of `deaths` (place, count) and started again."""
    clips = random_clips(7, varied=True) if clips is None else clips
    folder.mkdir(exist_ok=True)
    for place, count in deaths:
        with pytest.raises(Killed):
            task = Mortal(clips, dev, place=place, count=count, score=score)
            fit(small_model(**options), task, config, folder, recipe=recipe, team=Team())
    model = small_model(**options)
    progress = fit(model, Mortal(clips, dev, score=score), config, folder, recipe=recipe, team=Team())
    return model, progress


def log_of(folder):
    return [
        {name: value for name, value in row.items() if name != "clips_per_second"}
        for row in read_log(folder / "log.jsonl")
    ]


def norm_shrinks(model):
    return -float(model.classifier.weight.detach().norm())


@pytest.mark.parametrize(
    "config",
    [
        LoopConfig(epochs=3, batch=2, accumulate=2, optim=SGD),
        LoopConfig(epochs=3, batch=3, optim=ADAMW, keep="last"),
        LoopConfig(epochs=9, batch=3, patience=2, optim=ADAMW),
        LoopConfig(steps=5, batch=2, accumulate=2, optim=SGD),
        LoopConfig(epochs=3, batch=3, optim=ADAMW, keep="last", average=0.9),
    ],
    ids=["sgd accumulated", "adamw last", "adamw early", "sgd steps", "averaged"],
)
@pytest.mark.parametrize("every", [-1.0, 1e9], ids=["checkpoints", "no checkpoint yet"])
def test_killed_and_started_again_it_ends_with_the_same_weights(tmp_path, config, every):
    config = replace(config, checkpoint_seconds=every)
    dev = random_clips(4, seed=5)
    score = norm_shrinks if config.patience else None
    whole, expected = run(tmp_path / "whole", config, dev=dev, score=score)
    assert expected.finished and not torch.equal(whole.classifier.weight, small_model().classifier.weight)
    if config.patience:
        assert (expected.best_epoch, expected.epoch) == (1, 3), "ends when two epochs brought nothing better"
    deaths = [("loss", 1), ("loss", 2), ("dev_score", 1), ("loss", 4), ("dev_score", 1), ("dev_score", 2)]
    if every > 0:
        deaths = [("loss", 5), ("dev_score", 2)]
    model, progress = run(tmp_path / "killed", config, deaths, dev=dev, score=score)
    assert_same_weights(learned(model), learned(whole))
    assert replace(progress, scaler={}) == replace(expected, scaler={})
    assert log_of(tmp_path / "killed") == log_of(tmp_path / "whole")


def test_the_log_has_every_step_and_every_epoch_once(tmp_path):
    config = LoopConfig(epochs=3, batch=2, accumulate=2, checkpoint_seconds=-1, optim=SGD)
    deaths = [("dev_score", 1), ("loss", 3), ("dev_score", 1)]
    run(tmp_path, config, deaths, dev=random_clips(4, seed=5))
    rows = log_of(tmp_path)
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4, 5, 6]
    assert [(row["epoch"], row["step"]) for row in rows if "dev_score" in row] == [(1, 2), (2, 4), (3, 6)]


def test_steps_may_be_counted_in_place_of_epochs(tmp_path):
    dev = random_clips(4, seed=5)
    _, progress = run(tmp_path / "cut", LoopConfig(steps=5, batch=2, accumulate=2, optim=SGD), dev=dev)
    assert (progress.step, progress.epoch, progress.finished) == (5, 3, True)
    rows = log_of(tmp_path / "cut")
    assert [(row["epoch"], row["step"]) for row in rows if "dev_score" in row] == [(1, 2), (2, 4), (3, 5)]
    whole, _ = run(tmp_path / "epochs", LoopConfig(epochs=3, batch=2, accumulate=2, optim=SGD), dev=dev)
    same, _ = run(tmp_path / "steps", LoopConfig(steps=6, batch=2, accumulate=2, optim=SGD), dev=dev)
    assert_same_weights(learned(same), learned(whole))


def test_a_finished_run_is_not_run_again(tmp_path):
    config = LoopConfig(epochs=2, batch=4, optim=SGD)
    first, progress = run(tmp_path, config, dev=random_clips(4, seed=5))
    # Would be killed in its first step.
    task = Mortal(random_clips(7, varied=True), place="loss", count=1)
    again = small_model(seed=3)
    assert fit(again, task, config, tmp_path, recipe="r", team=Team()) == progress
    assert_same_weights(learned(again), learned(first))


def test_the_folder_of_another_run_is_refused(tmp_path):
    run(tmp_path, LoopConfig(epochs=1, batch=4))
    with pytest.raises(LrcnError, match="is of a run with other settings or data"):
        run(tmp_path, LoopConfig(epochs=1, batch=4), recipe="another")


@pytest.mark.parametrize("optim", [SGD, replace(ADAMW, lr=1e-3)], ids=["sgd", "adamw"])
def test_two_batches_of_four_accumulated_are_one_of_eight(tmp_path, optim):
    clips = random_clips(16)
    one = LoopConfig(epochs=2, batch=8, keep="last", optim=optim)
    whole, _ = run(tmp_path / "one", one, clips=clips, dropout=0.0)
    two = replace(one, batch=4, accumulate=2)
    parts, progress = run(tmp_path / "two", two, clips=clips, dropout=0.0)
    assert progress.step == 4
    assert_same_weights(learned(parts), learned(whole), atol=1e-6)
    losses = [[row["loss"] for row in log_of(tmp_path / name)] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_the_best_weights_are_kept_or_the_last(tmp_path):
    config = LoopConfig(epochs=3, batch=4, optim=SGD)
    best, progress = run(tmp_path / "best", config, score=norm_shrinks)
    assert progress.best_epoch == 1 and progress.best == norm_shrinks(best)
    last, _ = run(tmp_path / "last", replace(config, keep="last"), score=norm_shrinks)
    assert norm_shrinks(last) < norm_shrinks(best)
    assert not (tmp_path / "last" / "best").exists()


def test_a_step_is_no_longer_than_the_clipped_norm(tmp_path):
    optim = OptimConfig(
        "sgd", lr=1.0, momentum=0, weight_decay=0, warmup=0, schedule="constant", clip_norm=1e-3
    )
    before = learned(small_model())

    def moved(optim, name):
        model, _ = run(tmp_path / name, LoopConfig(epochs=1, batch=7, keep="last", optim=optim))
        return float(sum((learned(model)[n] - before[n]).double().square().sum() for n in before) ** 0.5)

    assert moved(optim, "clipped") == pytest.approx(1e-3, rel=1e-3)
    assert moved(replace(optim, clip_norm=0), "free") > 0.01


def test_a_loss_that_is_no_number_is_one_sentence_and_spoils_no_checkpoint(tmp_path):
    clips = random_clips(6)
    clips.maps[4][:] = float("nan")
    config = LoopConfig(epochs=1, batch=1, checkpoint_seconds=-1, optim=SGD)
    with pytest.raises(LrcnError) as raised:
        run(tmp_path, config, clips=clips)
    assert str(raised.value) == "The loss is not a number any more: lower optim.lr, or set precision to fp32."
    with pytest.raises(LrcnError, match="not a number"):
        run(tmp_path, config, clips=clips)


@pytest.mark.parametrize("name", ["epochs", "batch", "accumulate", "steps"])
def test_a_loop_of_nothing_is_refused(name):
    with pytest.raises(LrcnError, match=f"{name}.* 0"):
        LoopConfig(**{name: 0})


def test_half_precision_learns_the_same_thing(tmp_path):
    config = LoopConfig(epochs=4, batch=8, keep="last", optim=ADAMW)
    clips = order_clips(32)
    run(tmp_path / "fp32", config, clips=clips, dropout=0.0)
    half, _ = run(tmp_path / "bf16", replace(config, precision="bf16"), clips=clips, dropout=0.0)
    assert {value.dtype for value in half.parameters()} == {torch.float32}
    losses = [log_of(tmp_path / name)[-1]["loss"] for name in ("fp32", "bf16")]
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], abs=0.1)


def test_lrcn_tells_a_then_b_from_b_then_a_and_a_single_frame_cannot(tmp_path):
    train, test = order_clips(64, seed=1), order_clips(60, seed=2)
    config = LoopConfig(epochs=12, batch=16, keep="last", optim=replace(ADAMW, lr=0.01))
    lrcn, _ = run(tmp_path / "lrcn", config, clips=train, size=16)
    single, _ = run(tmp_path / "single", config, clips=train, size=16, unit="none")
    found = measure(lrcn, test)
    assert found.last_frame_accuracy >= 0.95 and found.accuracy >= 0.9
    assert measure(single, test).accuracy <= 0.7
    assert measure(lrcn, test, shuffle_seed=0).accuracy <= 0.7


# ---- the task ----


@torch.no_grad()
def test_the_loss_is_the_mean_over_valid_steps_and_ignores_padding():
    clips = random_clips(3, steps=5, classes=3, varied=True)
    model = small_model(["a", "b", "c"], dropout=0.0)
    task = RecognitionTask(clips)
    batch = collate([clips.item(index, 0) for index in range(3)])
    expected = []
    for index in range(3):
        scores = model(maps=clips.maps[index][None])[0]
        expected += [-float(step.log_softmax(0)[clips.labels[index]]) for step in scores]
    assert float(task.loss(model, batch)) == pytest.approx(sum(expected) / len(expected), abs=1e-5)
    padding = torch.arange(5)[None] >= batch["lengths"][:, None]
    batch["maps"][padding] = 1000
    assert float(task.loss(model, batch)) == pytest.approx(sum(expected) / len(expected), abs=1e-5)


@torch.no_grad()
def test_steps_without_a_label_teach_nothing():
    clips = random_clips(1, steps=4)
    known = MadeClips(clips.maps, [torch.tensor([1, IGNORED, 0, IGNORED])])
    model = small_model(dropout=0.0)
    found = RecognitionTask(known).loss(model, collate([known.item(0, 0)]))
    scores = model(maps=clips.maps[0][None])[0].log_softmax(-1)
    assert float(found) == pytest.approx(-float(scores[0, 1] + scores[2, 0]) / 2, abs=1e-5)


@torch.no_grad()
def test_smoothing_makes_certainty_dearer():
    clips = random_clips(2)
    model, batch = small_model(dropout=0.0), collate([clips.item(k, 0) for k in range(2)])
    with torch.no_grad():
        model.classifier.bias.copy_(torch.tensor([9.0, -9.0]))
    batch["labels"] = torch.zeros(2, dtype=torch.int64)
    plain, smooth = (float(RecognitionTask(clips, None, s).loss(model, batch)) for s in (0.0, 0.2))
    assert plain < 0.01 and smooth > 1


def test_without_dev_clips_there_is_no_score_and_ties_are_broken_by_frames():
    model = small_model()
    assert RecognitionTask(random_clips(2)).dev_score(model) is None
    dev = random_clips(6, seed=3)
    scores, metrics = RecognitionTask(dev, dev).dev_score(model), measure(model, dev)
    assert scores == {
        "score": metrics.accuracy + 1e-3 * metrics.frame_accuracy,
        "accuracy": metrics.accuracy,
        "frame_accuracy": metrics.frame_accuracy,
    }
