"""Training on clips laid end to end, a kill at any batch of it, and learning from the verdict on a clip."""

from dataclasses import replace

import pytest
import torch
from made_clips import SIZE, Killed, MadeClips, assert_same_weights, learned, order_clips, random_clips

from lrcn.data.datasets import collate
from lrcn.data.streams import Streams
from lrcn.errors import LrcnError
from lrcn.evaluate.recognition import measure
from lrcn.models.cnn import EncoderConfig
from lrcn.models.heads import HeadConfig
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import IGNORED, Recognizer, RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig
from lrcn.train.checkpoint import load_memory
from lrcn.train.distributed import Team
from lrcn.train.loop import LoopConfig, fit
from lrcn.train.optim import OptimConfig
from lrcn.train.tasks import RecognitionTask
from lrcn.train.tracking import read_log

ADAMW = OptimConfig("adamw", lr=0.02)


def model_of(reads=("appearance", "difference"), size=6, dropout=0.3, **options) -> Recognizer:
    torch.manual_seed(0)
    config = RecognizerConfig(
        EncoderConfig("test_efficientnet", "none"),
        ReadingConfig(reads, size, dropout=dropout),
        RecurrentConfig("lstm", size, dropout=dropout),
        **options,
    )
    return Recognizer(config, ["a", "b"])


class Watched(RecognitionTask):
    """Keeps what it was given and gave, and dies at a step."""

    death = 0

    def stream_loss(self, model, batch, state):
        self.seen = [*getattr(self, "seen", [])]
        if len(self.seen) + 1 == self.death:
            raise Killed
        loss, after = super().stream_loss(model, batch, state)
        self.seen.append((batch, state, after))
        return loss, after


def run(folder, config, deaths=(), clips=None, length=3):
    """Fits a small model in `folder`, killed at the n-th batch of each start for n in `deaths`."""
    folder.mkdir(exist_ok=True)
    clips = random_clips(9, steps=6, varied=True) if clips is None else clips
    for death in (*deaths, 0):
        task, model = Watched(Streams(clips, length)), model_of()
        task.death = death
        if death:
            with pytest.raises(Killed):
                fit(model, task, config, folder, recipe="r", team=Team())
        else:
            progress = fit(model, task, config, folder, recipe="r", team=Team())
    return model, progress, task


def test_the_state_goes_on_from_batch_to_batch_and_begins_anew_with_the_epoch(tmp_path):
    config = LoopConfig(epochs=2, batch=2, accumulate=2, optim=ADAMW)
    _, progress, task = run(tmp_path, config)
    per_epoch = len(Streams(task.clips.source, 3).sampler(2, 0))
    assert len(task.seen) == 2 * per_epoch and progress.epoch == 2
    for number, (batch, state, after) in enumerate(task.seen):
        assert batch["cont"].shape == batch["labels"].shape
        assert set(after) == {"h", "c", "before", "started"}
        assert not any(value.requires_grad for value in after.values())
        assert state is (None if number % per_epoch == 0 else task.seen[number - 1][2])
        assert not batch["cont"][:, 0].any() or number % per_epoch


@pytest.mark.parametrize("every", [-1.0, 1e9], ids=["checkpoints", "no checkpoint yet"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_killed_and_started_again_it_ends_with_the_same_weights(tmp_path, every, accumulate):
    config = LoopConfig(epochs=2, batch=2, accumulate=accumulate, checkpoint_seconds=every, optim=ADAMW)
    whole, expected, _ = run(tmp_path / "whole", config)
    deaths = [4, 3, 2, 3] if every < 0 else [4, 7]
    model, progress, _ = run(tmp_path / "killed", config, deaths)
    assert_same_weights(learned(model), learned(whole))
    assert replace(progress, scaler={}) == replace(expected, scaler={})


def test_the_checkpoint_holds_what_the_streams_remember(tmp_path):
    config = LoopConfig(epochs=1, batch=2, checkpoint_seconds=-1, optim=ADAMW)
    run_to_death = Watched(Streams(random_clips(9, steps=6), 3))
    run_to_death.death = 3
    with pytest.raises(Killed):
        fit(model_of(), run_to_death, config, tmp_path, recipe="r", team=Team())
    kept = load_memory(tmp_path / "checkpoint", torch.device("cpu"))
    assert_same_weights(kept, run_to_death.seen[-1][2])
    (tmp_path / "checkpoint" / "memory.safetensors").write_bytes(b"damaged")
    with pytest.raises(LrcnError, match="is damaged"):
        load_memory(tmp_path / "checkpoint", torch.device("cpu"))
    (tmp_path / "whole").mkdir()
    fit(model_of(), RecognitionTask(run_to_death.clips), config, tmp_path / "whole", recipe="r", team=Team())
    assert load_memory(tmp_path / "whole" / "checkpoint", torch.device("cpu")) is None, "the run is over"


def long_cues(count, steps, seed):
    """A cue at the first frame, then frames that say nothing: the label at each of them is the cue's."""
    scenes = torch.randn(3, SIZE, generator=torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(seed)
    cues = [k % 2 for k in range(count)]
    shown = [torch.tensor([cue] + [2] * (steps - 1)) for cue in cues]
    return MadeClips([scenes[s] + 0.2 * torch.randn(steps, SIZE, generator=generator) for s in shown], cues)


class Forgetful(RecognitionTask):
    """Every batch begins anew."""

    def stream_loss(self, model, batch, state):
        return super().stream_loss(model, batch, None)


def test_it_learns_what_lies_further_back_than_gradients_go(tmp_path):
    config = LoopConfig(epochs=8, batch=8, keep="last", optim=ADAMW)
    losses = {}
    for kind in (RecognitionTask, Forgetful):
        folder = tmp_path / kind.__name__
        folder.mkdir()
        model = model_of(("appearance",), size=12, dropout=0.0)
        fit(model, kind(Streams(long_cues(48, 12, 1), 4)), config, folder, recipe="r", team=Team())
        rows = [row["loss"] for row in read_log(folder / "log.jsonl")][-18:]
        losses[kind] = sum(rows) / len(rows)
    # Two batches of three show no cue: without a memory of it, they cost ln 2 each.
    assert losses[RecognitionTask] < 0.2 < 0.4 < losses[Forgetful]


# ---- the loss of clips as a whole ----


@torch.no_grad()
def test_attention_learns_from_the_clip_and_the_steps_by_their_shares():
    model, clips = model_of(head=HeadConfig("attention"), dropout=0.0), random_clips(3, steps=5, varied=True)
    batch = collate([clips.item(index, 0) for index in range(3)])
    verdict = model.judge(lengths=batch["lengths"], maps=batch["maps"])
    clip = -float(verdict.log_probabilities[torch.arange(3), batch["labels"]].mean())
    step = float(RecognitionTask(clips, step_loss=1).loss(model, batch))
    for share, expected in ((None, (step + clip) / 2), (0.0, clip), (0.25, 0.25 * step + 0.75 * clip)):
        assert float(RecognitionTask(clips, step_loss=share).loss(model, batch)) == pytest.approx(
            expected, abs=1e-5
        )
    smooth = RecognitionTask(clips, label_smoothing=0.2, step_loss=0.0).loss(model, batch)
    assert float(smooth) == pytest.approx(
        0.8 * clip - 0.2 * float(verdict.log_probabilities.mean()), abs=1e-5
    )


@torch.no_grad()
def test_the_loss_of_a_clip_may_be_that_of_its_mean_score():
    model, clips = model_of(dropout=0.0), random_clips(3, steps=5, varied=True)
    batch = collate([clips.item(index, 0) for index in range(3)])
    scores = model.judge(lengths=batch["lengths"], maps=batch["maps"]).scores
    means = [row[:length].mean(0) for row, length in zip(scores, batch["lengths"], strict=True)]
    expected = torch.nn.functional.cross_entropy(torch.stack(means), batch["labels"])
    loss = RecognitionTask(clips, step_loss=0.0, clip_loss="score").loss(model, batch)
    assert float(loss) == pytest.approx(float(expected), abs=1e-5)


def test_labels_per_frame_are_no_verdict_on_a_clip():
    clips = MadeClips([torch.randn(3, SIZE)], [torch.tensor([0, 1, 0])])
    with pytest.raises(LrcnError, match=r"label per frame.*set model\.head\.pool to mean"):
        RecognitionTask(clips).loss(model_of(head=HeadConfig("attention")), collate([clips.item(0, 0)]))


def test_a_batch_without_any_label_teaches_nothing():
    clips = MadeClips([torch.randn(3, SIZE)], [torch.full((3,), IGNORED)])
    model = model_of()
    loss = RecognitionTask(clips).loss(model, collate([clips.item(0, 0)]))
    loss.backward()
    assert float(loss.detach()) == 0
    assert not any(parameter.grad.any() for parameter in model.parameters() if parameter.grad is not None)


@pytest.mark.parametrize(
    "options", [{"head": HeadConfig("attention", 8)}, {"head": HeadConfig("last")}], ids=["attention", "last"]
)
def test_every_head_tells_a_then_b_from_b_then_a(tmp_path, options):
    train, test = order_clips(64, seed=1), order_clips(60, seed=2)
    config = LoopConfig(epochs=14, batch=16, keep="last", optim=ADAMW)
    model = model_of(("appearance",), size=16, **options)
    fit(model, RecognitionTask(train), config, tmp_path, recipe="r", team=Team())
    assert measure(model, test).accuracy >= 0.95
    assert measure(model, test, shuffle_seed=0).accuracy <= 0.7
