"""Recognizing any source: the carried state, the stored sampling, the clip's mean, the failures."""

import json
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from lrcn.data.datasets import ClipDataset
from lrcn.data.flow import MotionConfig
from lrcn.data.manifest import Row
from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Preprocess
from lrcn.errors import LrcnError
from lrcn.models.heads import ClipHead
from lrcn.models.recognizer import RecognizerConfig
from lrcn.predict import Failure, Recognition, recognize, recognize_many

LABELS = ["red", "green", "blue"]


class Leaky(torch.nn.Module):
    """A network with a memory: its state forgets a little of the mean colour at every frame."""

    needs_whole_clip = False

    def __init__(self):
        super().__init__()
        self.labels = LABELS
        self.config = RecognizerConfig()
        self.weight = torch.nn.Linear(3, 3)
        torch.nn.init.eye_(self.weight.weight)
        torch.nn.init.constant_(self.weight.bias, 0.1)
        self.longest = 0

    def initial_state(self, batch):
        return {"mean": torch.zeros(batch, 3)}

    def step(self, frame, state):
        mean = 0.8 * state["mean"] + frame.float().mean(dim=(2, 3)) / 64
        return self.weight(mean), {"mean": mean}

    def unroll(self, frames, lengths=None, state=None):
        assert frames.dtype == torch.uint8
        assert not self.training
        self.longest = max(self.longest, frames.shape[1])
        state = self.initial_state(len(frames)) if state is None else state
        scores = []
        for frame in frames.unbind(1):
            score, state = self.step(frame, state)
            scores.append(score)
        return torch.stack(scores, 1), state

    def judge(self, frames):
        scores, _ = self.unroll(frames)
        return ClipHead(self.config.head, 0)(scores, scores)


def loaded(**sampling):
    return SimpleNamespace(
        model=Leaky(), preprocess=Preprocess(size=8), sampling=Sampling(**sampling), labels=LABELS
    )


def clip(length=50, seed=0):
    """(T, 12, 16, 3) uint8: red in the first half, green in the second, with noise."""
    frames = np.random.default_rng(seed).integers(0, 60, (length, 12, 16, 3), dtype=np.uint8)
    frames[: length // 2, ..., 0] += 180
    frames[length // 2 :, ..., 1] += 180
    return frames


def stepwise(model, frames, resize):
    """Probabilities (T, K) by one step after the other."""
    state, rows = model.initial_state(1), []
    with torch.inference_mode():
        for frame in frames:
            scores, state = model.step(torch.from_numpy(resize(frame)).permute(2, 0, 1)[None], state)
            rows.append(scores.softmax(-1)[0].numpy())
    return np.array(rows)


def write_video(path, frames, rate=10):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=rate, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "rgb24"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return str(path)


@pytest.mark.parametrize("chunk", [1, 7, 50, 64])
def test_chunks_with_carried_state_give_what_steps_give(chunk):
    one = loaded()
    found = recognize(one, clip(), chunk=chunk)
    expected = stepwise(one.model, clip(), one.preprocess.resize)
    np.testing.assert_allclose(found.per_frame, expected, atol=1e-6)
    assert one.model.longest == min(chunk, 50)


def test_the_clip_is_the_mean_of_its_frames_in_falling_order():
    found = recognize(loaded(), clip())
    mean = found.per_frame.astype(np.float64).mean(axis=0)
    assert found.probabilities == pytest.approx(dict(zip(LABELS, mean, strict=True)))
    assert list(found.probabilities.values()) == sorted(found.probabilities.values(), reverse=True)
    assert found.label == next(iter(found.probabilities)) == LABELS[mean.argmax()]
    assert found.probability == found.probabilities[found.label]
    assert found.labels == LABELS
    assert found.path == "frames"


def test_a_file_gives_segments_that_cover_it(tmp_path):
    path = write_video(tmp_path / "clip.mp4", clip(40), rate=10)
    found = recognize(loaded(), path)
    assert found.path == path
    np.testing.assert_allclose(found.times, np.arange(40) / 10, atol=1e-6)
    assert [s.label for s in found.segments] == ["red", "green"]
    assert found.segments[0].start == 0
    assert found.segments[0].end == found.segments[1].start == pytest.approx(2.0, abs=0.5)
    assert found.segments[1].end == found.end == pytest.approx(4.0, abs=0.01)
    assert found.warning is None


def test_the_rate_of_the_model_decides_which_frames(tmp_path):
    path = write_video(tmp_path / "clip.mp4", clip(40), rate=10)
    one = loaded(rate=5)
    found = recognize(one, path)
    np.testing.assert_allclose(found.times, np.arange(20) / 5, atol=1e-6)
    np.testing.assert_allclose(
        found.per_frame, stepwise(one.model, clip(40)[::2], one.preprocess.resize), atol=1e-6
    )


def test_only_the_part_between_start_and_end_is_read(tmp_path):
    path = write_video(tmp_path / "clip.mp4", clip(40), rate=10)
    found = recognize(loaded(), path, start=1.0, end=2.5)
    np.testing.assert_allclose(found.times, np.arange(10, 25) / 10, atol=1e-6)
    assert (found.start, found.end) == (1.0, 2.5)
    with pytest.raises(LrcnError, match=r"no frames between 9 s and its end"):
        recognize(loaded(), path, start=9.0)


@pytest.mark.parametrize("length", [5, 16, 17, 40])
def test_a_model_with_a_stride_reads_its_windows_afresh(length):
    one = loaded(frames=16, stride=8)
    frames = clip(length)
    found = recognize(one, frames)
    parts = [(w, stepwise(one.model, frames[w], one.preprocess.resize)) for w in one.sampling.windows(length)]
    over_all_steps = np.concatenate([rows for _, rows in parts]).mean(axis=0)
    assert [found.probabilities[n] for n in LABELS] == pytest.approx(over_all_steps.tolist(), abs=1e-6)
    for t in range(length):
        rows = [rows[t - w.start] for w, rows in parts if w.start <= t < w.stop]
        np.testing.assert_allclose(found.per_frame[t], np.mean(rows, axis=0), atol=1e-6)
    assert one.model.longest <= 16


def test_a_model_that_spreads_its_frames_covers_the_clip(tmp_path):
    path = write_video(tmp_path / "clip.mp4", clip(40), rate=10)
    found = recognize(loaded(frames=8, spread="uniform"), path)
    assert len(found.times) == 8
    assert found.times[0] > 0
    assert found.segments[0].start == 0
    assert found.segments[-1].end == pytest.approx(4.0, abs=0.01)
    # One frame for eight places: the same frame eight times.
    found = recognize(loaded(frames=8, spread="uniform"), write_video(tmp_path / "one.mp4", clip(1)))
    assert found.per_frame.shape == (8, 3)
    assert len(found.segments) == 1


class Watching(Leaky):
    """Remembers the frames it was shown."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def unroll(self, frames, lengths=None, state=None):
        self.shown.append(frames[0].numpy())
        return super().unroll(frames, lengths, state)


@pytest.mark.parametrize("motion", [MotionConfig("difference"), MotionConfig("flow")])
@pytest.mark.parametrize(
    "sampling",
    [Sampling(rate=5), Sampling(frames=8, spread="uniform"), Sampling(frames=6, stride=4)],
    ids=["one pass", "spread", "windows"],
)
def test_a_model_of_motion_is_shown_what_it_was_evaluated_on(tmp_path, motion, sampling):
    frames = np.stack([np.roll(clip(1)[0], step, 1) for step in range(30)]).repeat(2, 1)
    path = write_video(tmp_path / "clip.mp4", frames)
    preprocess = Preprocess(size=16, motion=motion)
    one = SimpleNamespace(model=Watching(), preprocess=preprocess, sampling=sampling, labels=LABELS)
    recognize(one, path, chunk=7, start=0.4)
    row = Row(path, "red", start=0.4)
    evaluated = ClipDataset([row], LABELS, sampling, preprocess, train=False)[0, 0]["frames"].numpy()
    windows = sampling.windows(len(evaluated)) if sampling.stride else [slice(None)]
    np.testing.assert_array_equal(
        np.concatenate(one.model.shown), np.concatenate([evaluated[window] for window in windows])
    )
    assert (evaluated != 128).any()


def test_one_frame_is_a_clip():
    found = recognize(loaded(), clip(1))
    assert len(found.per_frame) == 1
    assert found.segments[0].end == found.end > 0


def test_threshold_and_durations_reach_the_segments():
    assert recognize(loaded(), clip(), threshold=1.01).segments == []
    assert len(recognize(loaded(), clip(), min_duration=60).segments) == 1


def test_progress_is_told_as_the_video_is_read(tmp_path):
    path = write_video(tmp_path / "clip.mp4", clip(20), rate=10)
    told = []
    recognize(loaded(), path, progress=lambda done, end: told.append((done, end)))
    assert [done for done, _ in told] == pytest.approx([t / 10 for t in range(20)])
    assert [end for _, end in told] == pytest.approx([2.0] * 20, abs=0.01)


def test_the_record_is_plain_json():
    found = recognize(loaded(), clip(20))
    record = json.loads(json.dumps(found.to_json()))
    assert list(record) == ["path", "label", "probability", "probabilities", "per_frame", "segments"]
    assert len(record["per_frame"]) == 20
    k = int(found.per_frame[7].argmax())
    assert record["per_frame"][7] == {
        "time": round(float(found.times[7]), 3),
        "label": LABELS[k],
        "probability": pytest.approx(float(found.per_frame[7, k]), abs=1e-6),
    }
    assert list(record["segments"][0]) == ["start", "end", "label", "score"]
    assert record["probabilities"] == pytest.approx(found.probabilities, abs=1e-6)


def test_scores_that_are_no_numbers_are_refused():
    one = loaded()
    torch.nn.init.constant_(one.model.weight.bias, float("nan"))
    with pytest.raises(LrcnError, match="not numbers"):
        recognize(one, clip(4))


def test_a_failing_input_does_not_stop_the_others(tmp_path):
    good = write_video(tmp_path / "good.mp4", clip(8))
    bad = tmp_path / "bad.mp4"
    bad.write_text("not a video")
    missing = str(tmp_path / "missing.mp4")
    seen = []
    results = list(recognize_many(loaded(), [missing, good, str(bad), good], seen.append))
    assert [type(r) for r in results] == [Failure, Recognition, Failure, Recognition]
    assert seen == [results[0], results[2]]
    assert results[0].to_json() == {"path": missing, "error": results[0].error}
    assert missing in results[0].error
    assert "\n" not in results[2].error


def test_a_fault_in_the_model_names_the_input():
    one = loaded()
    one.model.step = lambda frame, state: 1 / 0
    (failure,) = recognize_many(one, [clip(3)])
    assert isinstance(failure, Failure)
    assert failure.error == "frames failed with ZeroDivisionError: division by zero"
    assert isinstance(failure.exception, ZeroDivisionError)
