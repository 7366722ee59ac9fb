"""Models that need the whole clip: how it is read, what is said of it, and how long it may be."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lrcn import predict
from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Preprocess
from lrcn.errors import LrcnError
from lrcn.models.cnn import EncoderConfig
from lrcn.models.folder import Loaded
from lrcn.models.heads import HeadConfig
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig

FRAMES = np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), dtype=np.uint8)
KINDS = {"both ways": (True, "mean"), "attention": (False, "attention"), "last": (False, "last")}


def loaded(both_ways, pool, **sampling) -> Loaded:
    torch.manual_seed(0)
    config = RecognizerConfig(
        EncoderConfig("test_efficientnet", "none"),
        ReadingConfig(("appearance", "difference"), 6),
        RecurrentConfig("lstm", 5, bidirectional=both_ways),
        HeadConfig(pool, 4),
    )
    model = Recognizer(config, ["a", "b", "c"]).eval()
    for parameter in [
        *model.recurrent.parameters(),
        *model.classifier.parameters(),
        *model.head.parameters(),
    ]:
        parameter.data.mul_(4)
    return Loaded(model, Preprocess(32), Sampling(**sampling), model.labels)


def verdict(one, frames):
    """Per frame (T, K) and of the clip (K,), from the model itself."""
    with torch.inference_mode():
        judged = one.model.judge(torch.from_numpy(frames).permute(0, 3, 1, 2)[None])
        return judged.scores[0].softmax(1).numpy(), judged.log_probabilities[0].exp().numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_the_clip_is_judged_as_a_whole_whatever_the_chunk(kind):
    one = loaded(*KINDS[kind], frames=4)
    per_frame, clip = verdict(one, FRAMES)
    found = one.recognize(FRAMES, chunk=3)
    np.testing.assert_allclose(found.per_frame, per_frame, atol=1e-5)
    np.testing.assert_allclose([found.probabilities[label] for label in one.labels], clip, atol=1e-5)
    if kind != "both ways":
        mean = per_frame.mean(0)
        assert np.abs(clip - mean).max() > 1e-3, "a mean would say otherwise"


@pytest.mark.parametrize("kind", KINDS)
def test_windows_are_judged_each_by_itself(kind):
    one = loaded(*KINDS[kind], frames=4, stride=3)
    clips = [verdict(one, FRAMES[window])[1] for window in one.sampling.windows(len(FRAMES))]
    found = one.recognize(FRAMES)
    np.testing.assert_allclose(
        [found.probabilities[label] for label in one.labels], np.mean(clips, axis=0), atol=1e-5
    )


def test_a_clip_too_long_to_be_read_at_once_is_refused(monkeypatch):
    monkeypatch.setattr(predict, "MAX_WHOLE", 10)
    one = loaded(True, "mean", frames=4)
    with pytest.raises(LrcnError, match=r"frames has more than 10 frames.*give a start and an end, or set"):
        one.recognize(FRAMES)
    assert len(one.recognize(FRAMES[:10]).per_frame) == 10
    one.sampling = replace(one.sampling, stride=4)
    assert len(one.recognize(FRAMES).per_frame) == 11
    assert len(loaded(False, "last", frames=4).recognize(FRAMES).per_frame) == 11, "this one streams"
