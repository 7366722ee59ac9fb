"""Explanations: they add up, they point at what is known to decide, and they follow from what the network learned."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lrcn.data.flow import MotionConfig
from lrcn.data.sampling import Sampling
from lrcn.data.subject import SubjectConfig
from lrcn.data.transforms import Preprocess
from lrcn.errors import LrcnError
from lrcn.explain import _network_frames, _over_frame, explain, explain_frames
from lrcn.models.cnn import EncoderConfig
from lrcn.models.fusion import Fused
from lrcn.models.heads import ClipHead, HeadConfig
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig, RecurrentStack

LABELS = ["blue", "red"]
SIDE, STEPS, CELL = 64, 8, 16


def recognizer(encoder=None, reading=None, recurrent=None, seed=0):
    torch.manual_seed(seed)
    config = RecognizerConfig(
        EncoderConfig(
            **({"name": "test_efficientnet", "weights": "none", "stage": 1, "squeeze": 8} | (encoder or {}))
        ),
        ReadingConfig(**({"features": 16, "dropout": 0.0} | (reading or {}))),
        RecurrentConfig(**({"size": 16, "dropout": 0.0} | (recurrent or {}))),
    )
    return Recognizer(config, LABELS).eval()


def loaded(model, preprocess=None, **sampling):
    return SimpleNamespace(
        model=model,
        preprocess=preprocess or Preprocess(SIDE),
        sampling=Sampling(**sampling),
        labels=model.labels,
    )


def noise(count=STEPS, height=SIDE, width=SIDE, seed=0):
    """(T, H, W, 3)."""
    return np.random.default_rng(seed).integers(60, 100, (count, height, width, 3), dtype=np.uint8)


def marked(count, seed):
    """Noise with one square, red or blue, in one frame: (N, T, 3, H, W), classes, frames, cells (row, column)."""
    rng = np.random.default_rng(seed)
    clips = rng.integers(60, 100, (count, STEPS, 3, SIDE, SIDE), dtype=np.uint8)
    classes, when, where = np.arange(count) % 2, rng.integers(0, STEPS, count), rng.integers(0, 4, (count, 2))
    for clip, k, t, (row, column) in zip(clips, classes, when, where * CELL, strict=True):
        square = clip[t, :, row : row + CELL, column : column + CELL]
        square[:] = 20
        square[0 if k else 2] = 255
    return torch.from_numpy(clips), torch.from_numpy(classes), when, where


@pytest.fixture(scope="module")
def trained():
    """A small network that has learned to tell clips with a red square in one frame from those with a blue one."""
    model = recognizer({"pool": "grid", "grid": 8}).train()
    clips, classes, _, _ = marked(160, seed=0)
    with torch.no_grad():
        maps = model.encoder.maps(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=4e-3)
    for _ in range(80):
        loss = nn.functional.cross_entropy(model(maps=maps).mean(1), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def frames_of(count=STEPS, size=SIDE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


# ---- they add up ----

PLAIN = recognizer({"pool": "avg"})


@given(
    unit=st.sampled_from(["lstm", "gru", "rnn", "none"]),
    layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    pool=st.sampled_from(["mean", "attention", "last"]),
    gain=st.floats(0.5, 2),
    steps=st.integers(1, 12),
    seed=st.integers(0, 100),
)
@settings(max_examples=30)
def test_the_evidence_of_the_frames_sums_to_what_they_add(
    unit, layers, bidirectional, pool, gain, steps, seed
):
    torch.manual_seed(seed)
    config = RecurrentConfig(unit, 6, layers, 0.0, bidirectional=bidirectional and unit != "none")
    recurrent = RecurrentStack(PLAIN.reading.outputs, config)
    model = SimpleNamespace(
        encoder=PLAIN.encoder,
        reading=PLAIN.reading,
        recurrent=recurrent,
        classifier=nn.Linear(recurrent.outputs, 3),
        head=ClipHead(HeadConfig(pool, 4), recurrent.outputs),
    )
    with torch.no_grad():
        for parameter in [*recurrent.parameters(), *model.classifier.parameters()]:
            parameter.mul_(gain)
    found = explain_frames(model, frames_of(steps, 32, seed), 1, [slice(0, steps)])
    added = found.score - found.baseline
    assert found.evidence.sum() == pytest.approx(added, abs=0.003 * max(1.0, abs(added)))


def test_frames_judged_alone_each_add_their_own():
    model = recognizer(recurrent={"unit": "none"})
    frames = frames_of()
    found = explain_frames(model, frames, 0, [slice(0, STEPS)])
    with torch.no_grad():
        scores = model(frames[None])[0]
        nothing = model.classifier.bias.clone()
    odds = scores[:, 0] - scores[:, 1]
    expected = (odds - (nothing[0] - nothing[1])) / STEPS
    np.testing.assert_allclose(found.evidence, expected.numpy(), atol=1e-5)
    assert found.score == pytest.approx(odds.mean().item(), abs=1e-5)
    assert found.baseline == pytest.approx((nothing[0] - nothing[1]).item(), abs=1e-6)


@pytest.mark.parametrize(
    ("sampling", "motion"),
    [
        ({"frames": 8}, "none"),
        ({"frames": 8, "rate": 10}, "none"),
        ({"frames": 5, "spread": "uniform"}, "none"),
        ({"frames": 5, "spread": "uniform"}, "difference"),
        ({"frames": 8, "rate": 10}, "flow"),
    ],
)
def test_the_score_is_that_of_what_the_recogniser_says(sampling, motion):
    model = recognizer({"pool": "grid", "grid": 4}, {"reads": ("appearance", "difference")})
    one = loaded(model, Preprocess(SIDE, motion=MotionConfig(motion)), **sampling)
    explanation = explain(one, noise(12, 40, 60), label="red")
    p = explanation.per_frame.astype(np.float64)
    assert explanation.score == pytest.approx(np.log(p / (1 - p)).mean(), abs=1e-4)
    assert explanation.evidence.shape == explanation.times.shape == p.shape
    assert explanation.probability == explanation.recognition.probabilities["red"]


def test_overlapping_windows_share_their_frames():
    model = recognizer(reading={"reads": ("difference",)})
    frames, windows = frames_of(), [slice(0, 4), slice(2, 6), slice(4, 8)]
    whole = explain_frames(model, frames, 0, windows)
    parts = [explain_frames(model, frames[window], 0, [slice(0, 4)]) for window in windows]
    expected = np.zeros(STEPS)
    for window, part in zip(windows, parts, strict=True):
        expected[window] += part.evidence / 3
    np.testing.assert_allclose(whole.evidence, expected, atol=1e-5)
    assert whole.score == pytest.approx(np.mean([part.score for part in parts]), abs=1e-5)


# ---- they point at what decides ----


def test_the_frame_and_the_place_that_decide_are_found(trained):
    clips, classes, when, where = marked(16, seed=1)
    right = trained(clips).mean(1).argmax(1) == classes
    assert right.float().mean() > 0.75
    frames = places = 0
    for clip, k, t, cell in zip(clips, classes, when, where, strict=True):
        explanation = explain(loaded(trained), clip.permute(0, 2, 3, 1).numpy(), label=LABELS[k])
        frames += explanation.evidence.argmax() == t
        x, y = explanation.peak(t)
        places += (int(y * 4), int(x * 4)) == tuple(cell)
    # By chance it would be 2 of 16, and 1 of 16.
    assert frames >= 12
    assert places >= 12


def test_heat_follows_from_what_was_learned(trained):
    """The sanity check of Adebayo et al. 2018: with other weights the map is another."""
    clips, classes, when, _ = marked(8, seed=2)
    untrained = recognizer({"pool": "grid", "grid": 8}, seed=5)

    def alike(model):
        shares = []
        for clip, k, t in zip(clips, classes, when, strict=True):
            maps = [explain_frames(one, clip, int(k), [slice(0, STEPS)]).heat[t] for one in (trained, model)]
            shares.append(np.nan_to_num(np.corrcoef(maps[0].flatten(), maps[1].flatten())[0, 1]))
        return float(np.mean(shares))

    assert alike(trained) == pytest.approx(1)
    # What the CNN itself brings forward, such as the square, is the same in both.
    assert alike(untrained) < 0.5


def test_pooled_vectors_get_the_heat_of_grad_cam():
    model = recognizer({"pool": "avg"}, recurrent={"unit": "none"})
    frames = frames_of()
    with torch.no_grad():
        maps = model.encoder.unpooled(frames)
    maps.requires_grad_()
    scores = model(maps=maps.mean((2, 3))[None])[0]
    (slopes,) = torch.autograd.grad((scores[:, 1] - scores[:, 0]).sum(), maps)
    expected = (slopes.mean((2, 3), keepdim=True) * maps).sum(1).relu().detach()
    # In evidence a frame's feature is multiplied by its slope, and this network is linear but for its ReLU.
    heat = explain_frames(model, frames, 1, [slice(0, STEPS)]).heat * STEPS
    torch.testing.assert_close(heat, expected, atol=1e-4, rtol=1e-3)


def test_correlation_is_hot_where_things_move():
    model = recognizer(
        {"stage": 0, "pool": "grid", "grid": 32, "squeeze": 0},
        {"reads": ("correlation",), "features": 4},
        {"unit": "none"},
    )
    compare, _, _, _, project, _ = model.reading.projections["correlation"]
    with torch.no_grad():
        for parameter in (
            compare.weight,
            compare.bias,
            project.weight,
            project.bias,
            model.classifier.weight,
        ):
            parameter.zero_()
        # Class 1: a cell looks like the one to its left did, more than like itself.
        compare.weight[0, 3], compare.weight[0, 4] = 1, -1
        project.weight += 1
        model.classifier.weight[1] = 1
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(0, 256, (1, 3, SIDE, SIDE), dtype=np.uint8), 5, axis=0)
    patch = rng.integers(0, 256, (3, 20, 20), dtype=np.uint8)
    for t, frame in enumerate(frames):
        frame[:, 36:56, 8 + 2 * t : 28 + 2 * t] = patch
    found = explain_frames(model, torch.from_numpy(frames), 1, [slice(0, 5)])
    assert found.evidence[1:].min() > 2 * abs(found.evidence[0])
    heat = found.heat[1:].sum(0)
    moving = heat[18:28, 4:18].sum() / heat.sum()
    assert moving > 0.8
    assert found.heat[0].sum() < 0.05 * found.heat[1].sum()


@pytest.mark.parametrize(
    "preprocess",
    [*(Preprocess(48, fit) for fit in ("squash", "crop", "letterbox")), Preprocess(48, frame=(50, 60))],
    ids=["squash", "crop", "letterbox", "frame"],
)
@pytest.mark.parametrize(("width", "height"), [(96, 64), (50, 80), (64, 64)])
def test_heat_lies_where_the_network_looked(preprocess, width, height):
    picture = np.zeros((height, width, 3), np.uint8)
    top, left = height // 2 - 8, width // 2 + 4
    picture[top : top + 12, left : left + 12] = 255
    preparation = preprocess.preparation()
    images, _ = preparation(preparation.resize(picture).transpose(2, 0, 1)[None])
    heat = _over_frame(torch.from_numpy(images[:, 0]).float() / 255, preprocess, width, height)[0]
    assert max(heat.shape) == 64
    assert heat.shape[1] / heat.shape[0] == pytest.approx(width / height, rel=0.03)
    rows, columns = np.nonzero(heat > 0.5)
    shares = rows.min() / heat.shape[0], (rows.max() + 1) / heat.shape[0]
    assert shares == pytest.approx((top / height, (top + 12) / height), abs=0.04)
    shares = columns.min() / heat.shape[1], (columns.max() + 1) / heat.shape[1]
    assert shares == pytest.approx((left / width, (left + 12) / width), abs=0.04)


def test_what_was_cropped_away_has_no_heat():
    heat = _over_frame(torch.ones(1, 4, 4), Preprocess(48, "crop"), 128, 64)[0]
    assert (heat[:, :15] == 0).all() and (heat[:, -15:] == 0).all() and (heat[:, 17:47] == 1).all()


@pytest.mark.parametrize("depth", [{}, {"depth": 300.0}, {"depth": 300.0, "sides": True}])
def test_heat_on_a_subject_lies_where_it_stood(depth):
    frames = np.zeros((6, 90, 160, 3), np.uint8)
    frames[:, 30:70, 110:130] = 100
    frames[:, 34:40, 112:118] = 255
    subject = Preprocess(48, subject=SubjectConfig(crop=True, **depth))
    seen = SimpleNamespace(times=np.arange(2) / 30)
    shown = SimpleNamespace(sampling=Sampling(), preprocess=subject)
    images, size, box = _network_frames(shown, frames, seen, 0.0, None)
    assert size == (160, 90)
    bright = torch.from_numpy(images[:, 0]).float() / 255
    heat = _over_frame(bright, subject, *size, box)[0]
    rows, columns = np.nonzero(heat > 0.7)
    assert rows.mean() / heat.shape[0] == pytest.approx(36.5 / 90, abs=0.04)
    assert columns.mean() / heat.shape[1] == pytest.approx(114.5 / 160, abs=0.03)


# ---- what it is given and what it gives ----


def test_every_kind_of_maps_has_heat_but_those_of_transformers():
    whole = [slice(0, 3)]
    for settings_, shape in [
        ({"pool": "avg"}, (3, 16, 16)),
        ({"pool": "grid", "grid": 5}, (3, 5, 5)),
        ({"name": "test_mambaout", "pool": "avg"}, (3, 8, 8)),
    ]:
        for reads in (("appearance",), ("difference", "appearance")):
            found = explain_frames(recognizer(settings_, {"reads": reads}), frames_of(3), 0, whole)
            assert found.heat.shape == shape and (found.heat >= 0).all()
    paper = {"name": "hybrid-caffenet", "stage": None, "pool": "fc6", "width": 0.02}
    assert explain_frames(recognizer(paper), frames_of(3, 227), 0, whole).heat.shape == (3, 6, 6)
    vit = recognizer({"name": "test_vit", "stage": None, "pool": "avg"})
    explanation = explain(loaded(vit), noise())
    assert explanation.heat is None and explanation.peak(0) is None
    assert explanation.note.startswith("There is no heat: attention")
    assert explanation.evidence.sum() == pytest.approx(explanation.score - explanation.baseline, abs=1e-3)


def test_heat_is_as_strong_as_the_evidence(trained):
    clip = marked(1, seed=3)[0][0].permute(0, 2, 3, 1).numpy()
    explanation = explain(loaded(trained), clip)
    hottest, evidence = explanation.heat.max((1, 2)), explanation.evidence
    np.testing.assert_allclose(hottest, evidence.clip(0) / evidence.max(), atol=1e-5)
    assert explanation.label == explanation.recognition.label
    assert explanation.strongest(1) == [evidence.argmax()]


def test_the_strongest_frames_speak_for_the_label_and_keep_apart():
    model = recognizer()
    explanation = explain(loaded(model), noise(40))
    chosen = explanation.strongest(5)
    speaking = (explanation.evidence > 0).sum()
    assert chosen == sorted(chosen) and 1 <= len(chosen) <= 5
    assert explanation.evidence.argmax() in chosen
    assert (explanation.evidence[chosen] > 0).all()
    assert (np.diff(chosen) >= speaking / 5).all()


def test_a_label_no_frame_speaks_for_has_no_heat():
    model = recognizer(recurrent={"unit": "none"})
    with torch.no_grad():
        model.classifier.weight.copy_(torch.tensor([[-1.0], [1.0]]).expand(2, 16))
    explanation = explain(loaded(model), noise(), label="blue")
    assert explanation.evidence.max() <= 0 and not explanation.heat.any()
    assert explanation.note == "No frame speaks for blue."
    assert len(explanation.strongest(8)) == 1


def test_of_a_long_video_the_most_telling_part_is_explained(trained):
    video = noise(100)
    video[70, 16:32, 16:32] = (255, 20, 20)
    told = []
    explanation = explain(loaded(trained), video, label="red", most=20, progress=lambda *p: told.append(p))
    start = explanation.recognition.start
    assert len(explanation.times) == 20 and len(told) == 100
    assert start > 0 and explanation.times[0] == pytest.approx(start)
    assert f"Explained is {start:.1f} to {explanation.recognition.end:.1f} s of 4.0 s" in explanation.note
    same = explain(loaded(trained), video, label="red", start=start, end=explanation.recognition.end)
    np.testing.assert_allclose(same.evidence, explanation.evidence, atol=1e-6)
    assert same.note is None


def test_the_record_is_that_of_the_recognition_and_more(trained):
    explanation = explain(loaded(trained), noise(), label="blue")
    record = json.loads(json.dumps(explanation.to_json()))
    explained = record.pop("explained")
    assert record == explanation.recognition.to_json()
    assert explained["label"] == "blue"
    assert [frame["time"] for frame in explained["frames"]] == [round(t, 3) for t in explanation.times]
    added = sum(frame["evidence"] for frame in explained["frames"])
    assert added == pytest.approx(explained["score"] - explained["baseline"], abs=5e-3)
    for frame in explained["frames"]:
        assert frame["peak"] is None or all(0 <= share <= 1 for share in frame["peak"])


def test_what_cannot_be_explained_is_said_in_one_sentence(trained):
    one = loaded(trained)
    with pytest.raises(LrcnError, match=r"no label 'rad': did you mean red\?$"):
        explain(one, noise(), label="rad")
    with pytest.raises(LrcnError, match=r"no label 'zzz': it has blue, red\.$"):
        explain(one, noise(), label="zzz")
    for source in (0, "7", "rtsp://camera/1"):
        with pytest.raises(LrcnError, match="is live and cannot be read again"):
            explain(one, source)
    with pytest.raises(LrcnError, match="Several fused models"):
        explain(Fused({"a": one, "b": one}, (0.5, 0.5)), noise())
