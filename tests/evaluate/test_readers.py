"""Clips and streams are what the network says of them at once, however their frames come."""

from itertools import pairwise

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrcn.data.sampling import Sampling
from lrcn.evaluate.readers import Clips, Stream
from lrcn.models.cnn import EncoderConfig
from lrcn.models.heads import HeadConfig
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig

CHANNELS = 256


def recognizer(pool="mean", bidirectional=False) -> Recognizer:
    torch.manual_seed(0)
    config = RecognizerConfig(
        EncoderConfig("test_efficientnet", "none"),
        ReadingConfig(("appearance", "difference"), features=4),
        RecurrentConfig(size=4, bidirectional=bidirectional),
        HeadConfig(pool),
    )
    model = Recognizer(config, ["left", "right", "still"]).eval()
    for parameter in [*model.recurrent.parameters(), *model.classifier.parameters()]:
        torch.nn.init.normal_(parameter)
    return model


MODELS = {
    (pool, both): recognizer(pool, both) for pool in ("mean", "attention", "last") for both in (False, True)
}
models = st.sampled_from(list(MODELS.values()))
cuts = st.lists(st.integers(1, 30), max_size=6)


def maps_of(count, crops, seed=0):
    return torch.randn(crops, count, CHANNELS, generator=torch.Generator().manual_seed(seed))


def read(reader, maps, cuts):
    """Hands maps (S, T, C) over in pieces; what it says of the whole."""
    edges = sorted({0, maps.shape[1], *(cut for cut in cuts if cut < maps.shape[1])})
    with torch.inference_mode():
        for first, last in pairwise(edges):
            reader.read(maps[:, first:last])
            if isinstance(reader, Clips):
                assert reader.recent.shape[1] <= reader.frames, "no more is kept than a clip"
        return reader.seen(np.arange(maps.shape[1], dtype=np.float64))


@settings(max_examples=60)
@given(models, st.integers(1, 6), st.integers(1, 8), st.integers(1, 30), cuts)
def test_clips_are_judged_alone_and_mixed_by_their_shares(model, frames, stride, count, cuts):
    maps = maps_of(count, 2, seed=count)
    shares = {"one": torch.tensor([1.0, 0.0]), "both": torch.tensor([0.25, 0.75])}
    seen = read(Clips(model, frames, stride, shares), maps, cuts)
    windows = Sampling(frames=frames, stride=stride).windows(count)
    with torch.inference_mode():
        verdicts = [model.judge(maps=maps[:, window]) for window in windows]
    each = torch.stack([verdict.log_probabilities.exp() for verdict in verdicts], 1).numpy()
    assert seen["one"].starts.tolist() == [window.start for window in windows]
    np.testing.assert_allclose(seen["one"].clips, each[0], rtol=1e-3)
    np.testing.assert_allclose(seen["both"].clips, 0.25 * each[0] + 0.75 * each[1], rtol=1e-3)
    np.testing.assert_allclose(seen["both"].video, seen["both"].clips.mean(0), rtol=1e-4)
    assert seen["both"].per_frame.shape == (count, 3)
    for frame in range(count):
        holding = [
            verdict.scores[0, frame - window.start].softmax(-1).numpy()
            for window, verdict in zip(windows, verdicts, strict=True)
            if window.start <= frame < window.stop
        ]
        if holding:
            np.testing.assert_allclose(seen["one"].per_frame[frame], np.mean(holding, 0), rtol=1e-3)
        else:
            np.testing.assert_array_equal(seen["one"].per_frame[frame], seen["one"].per_frame[frame - 1])


@settings(max_examples=40)
@given(models, st.integers(1, 30), cuts)
def test_a_stream_is_what_one_pass_gives(model, count, cuts):
    maps = maps_of(count, 1)
    seen = read(Stream(model), maps, cuts)["stream"]
    with torch.inference_mode():
        verdict = model.judge(maps=maps)
    np.testing.assert_allclose(seen.per_frame, verdict.scores[0].softmax(-1).numpy(), rtol=1e-3)
    np.testing.assert_allclose(seen.video, verdict.log_probabilities[0].exp().numpy(), rtol=1e-3)
    assert seen.starts.tolist() == [0] and seen.clips.shape == (1, 3)
