"""What runs said: kept and read back, put into one order, and tuned without a look at what is judged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_clips import MadeClips, class_folders, random_clips, small_model

from lrcn.data.cache import FeatureCache
from lrcn.data.datasets import ClipDataset, PreparedClips
from lrcn.data.manifest import Row
from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Preprocess
from lrcn.errors import LrcnError
from lrcn.evaluate.recognition import measure
from lrcn.models.fusion import tuned_weights
from lrcn.train.predictions import (
    Predictions,
    clip_names,
    fused_predictions,
    load_predictions,
    predictions_of,
    save_predictions,
    tuned_elsewhere,
)
from lrcn.train.splits import Chosen

NAMES = ("rgb", "flow")


def made(seed, count=6, classes=3, clips=None, truths=None) -> Predictions:
    generator = np.random.default_rng(seed)
    clips = clips or [f"clip {k}" for k in range(count)]
    if truths is None:
        truths = np.arange(len(clips)) % classes
    shares = generator.dirichlet(np.ones(classes), len(clips)).astype(np.float32)
    return Predictions([f"class {k}" for k in range(classes)], clips, np.asarray(truths), shares)


def test_what_was_said_is_kept_as_it_was_said(tmp_path):
    clips, model = random_clips(5), small_model()
    found = measure(model, clips)
    save_predictions(tmp_path / "test.safetensors", predictions_of(found, clips))
    kept = load_predictions(tmp_path / "test.safetensors")
    assert (kept.labels, kept.clips) == (model.labels, [f"clip {k}" for k in range(5)])
    assert np.array_equal(kept.probabilities, found.probabilities)
    assert np.array_equal(kept.truths, found.truths)


@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "test.safetensors"
    save_predictions(path, made(0))
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:40])
    else:
        one = made(0)
        save_predictions(path, Predictions(one.labels, one.clips[1:], one.truths, one.probabilities))
    with pytest.raises(LrcnError, match="test.safetensors .*remove it and run the study again"):
        load_predictions(path)


def test_a_clip_has_one_name_whatever_its_frames_became(tmp_path):
    folder = class_folders(tmp_path / "clips", clips=2)
    path = str(folder / "left" / "0.mp4")
    rows = [
        Row(path, "left"),
        Row(path, "left", start=0.1, end=0.4),
        Row(str(folder / "right" / "0.mp4"), "right", id="r0"),
        Row(path, "left"),
    ]
    clips = ClipDataset(rows, ["left", "right"], Sampling(), Preprocess(32), train=False)
    names = [path, f"{path} 0.1-0.4", "r0", f"{path} (2)"]
    assert clip_names(clips) == names
    chosen = Chosen(clips, [2, 0])
    assert clip_names(chosen) == ["r0", path]
    cached = FeatureCache(tmp_path / "cache", lambda frames: frames, "key").dataset(chosen)
    assert (
        clip_names(cached) == clip_names(PreparedClips(chosen, Preprocess(32).preparation())) == ["r0", path]
    )
    other = ClipDataset(rows, ["left", "right"], Sampling(rate=5), Preprocess(64), train=False)
    assert clip_names(other) == names
    assert clip_names(MadeClips([], [])) == []


@given(st.permutations(range(6)), st.sampled_from([0.0, 1 / 3, 0.5]))
def test_clips_are_fused_by_name_whatever_their_order(order, p):
    rgb, flow = made(0), made(1)
    turned = Predictions(
        flow.labels, [flow.clips[k] for k in order], flow.truths[order], flow.probabilities[order]
    )
    fused = fused_predictions([rgb, turned], (p, 1 - p), NAMES)
    assert fused.clips == rgb.clips
    np.testing.assert_allclose(
        fused.probabilities, p * rgb.probabilities + (1 - p) * flow.probabilities, atol=1e-6
    )


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (made(1, clips=["a", "b"]), "flow and rgb were not tested on the same clips"),
        (made(1, clips=["clip 0"] * 6), "not tested on the same clips"),
        (made(1, truths=[0] * 6), "flow and rgb have other labels for the same clips"),
        (made(1, classes=2), "flow has 2 classes and rgb 3"),
    ],
)
def test_what_is_not_of_the_same_clips_is_not_fused(other, sentence):
    with pytest.raises(LrcnError, match=sentence):
        fused_predictions([made(0), other], (0.5, 0.5), NAMES)


@given(st.integers(0, 1000), st.integers(0, 2))
def test_weights_follow_from_the_other_folds_alone(seed, fold):
    members = [
        [made(seed + 10 * m + f, clips=[f"{f} {k}" for k in range(5)]) for f in range(3)] for m in range(2)
    ]
    weights = tuned_elsewhere(members, fold, NAMES)
    others = [f for f in range(3) if f != fold]
    said = [np.concatenate([member[f].probabilities for f in others]) for member in members]
    truths = np.concatenate([members[0][f].truths for f in others])
    assert weights == tuned_weights(said, truths)[0]
    for member in members:
        member[fold] = made(seed + 99, clips=[f"{fold} {k}" for k in range(5)], truths=[2] * 5)
    assert tuned_elsewhere(members, fold, NAMES) == weights
