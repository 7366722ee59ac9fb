"""Every protocol against the same numbers computed the long way; nothing is read twice; chunks change nothing."""

import json
from typing import get_args

import numpy as np
import pytest
import torch
from made_clips import class_folders
from made_video import make_video

from lrcn.cli import main
from lrcn.data.flow import MotionConfig
from lrcn.data.manifest import Row
from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Preprocess
from lrcn.data.video import Resize, read_clip
from lrcn.errors import LrcnError
from lrcn.evaluate import protocols, views
from lrcn.evaluate.protocols import (
    USUAL,
    Protocol,
    ProtocolConfig,
    lines_of,
    measure_protocols,
    own_protocol,
    see,
)
from lrcn.evaluate.recognition import evaluate
from lrcn.models.cnn import EncoderConfig
from lrcn.models.folder import Loaded, save_model
from lrcn.models.fusion import Fused
from lrcn.models.heads import HeadConfig
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig
from lrcn.predict import recognize

LABELS = ["left", "right", "still"]
FRAMES = 40


def recognizer(seed=0, pool="mean", bidirectional=False, reads=("appearance", "difference")) -> Recognizer:
    """Small, and with answers that differ from clip to clip."""
    torch.manual_seed(seed)
    config = RecognizerConfig(
        EncoderConfig("test_efficientnet", "none", pool="grid", stage=1, grid=2, squeeze=2),
        ReadingConfig(reads, features=4),
        RecurrentConfig(size=4, bidirectional=bidirectional),
        HeadConfig(pool),
    )
    model = Recognizer(config, LABELS).eval()
    for parameter in [*model.recurrent.parameters(), *model.classifier.parameters()]:
        torch.nn.init.normal_(parameter)
    return model


def loaded(model=None, size=32, fit="squash", sampling=None, **motion) -> Loaded:
    preprocess = Preprocess(size, fit, MotionConfig(**motion))
    return Loaded(model or recognizer(), preprocess, sampling or Sampling(), LABELS)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A video of 40 frames, 64 x 48 pixels."""
    return make_video(tmp_path_factory.mktemp("film") / "film.mp4", FRAMES)


@torch.inference_mode()
def judged(model, frames):
    """(T, K) probabilities at every frame and (K,) of the whole, by the network itself."""
    said = model.judge(torch.from_numpy(np.ascontiguousarray(frames))[None])
    return said.scores[0].softmax(-1).numpy(), said.log_probabilities[0].exp().numpy()


def ten_crops(frames, side):
    """The paper's ten crops (10, T, 3, side, side) by hand."""
    height, width = frames.shape[-2:]
    corners = [(0, 0), (0, width - side), (height - side, 0), (height - side, width - side)]
    places = [*corners, ((height - side) // 2, (width - side) // 2)]
    five = [frames[..., top : top + side, left : left + side] for top, left in places]
    return np.stack(five + [crop[..., ::-1] for crop in five])


# ---- against the long way ----


def test_clips_are_the_papers_and_judged_from_a_fresh_state(film):
    model = loaded()
    seen = see(model, Row(str(film)), ProtocolConfig(("clips",), chunk=7))["clips"]
    frames = read_clip(film, resize=Resize(32)).frames
    starts = [0, 8, 16, 24, 24]
    assert seen.starts.tolist() == pytest.approx([start / 25 for start in starts])
    alone = [judged(model.model, frames[start : start + 16]) for start in starts]
    np.testing.assert_allclose(seen.clips, [clip for _, clip in alone], rtol=1e-4)
    every_step = np.concatenate([steps for steps, _ in alone])
    np.testing.assert_allclose(seen.video, every_step.mean(0), rtol=1e-4)
    # A frame's own probabilities are the mean over the clips that hold it.
    np.testing.assert_allclose(seen.per_frame[35], np.mean([s[11] for s, _ in alone[3:]], 0), rtol=1e-4)
    np.testing.assert_allclose(seen.per_frame[9], (alone[0][0][9] + alone[1][0][1]) / 2, rtol=1e-4)


@pytest.mark.parametrize(
    ("fit", "resize", "shape"),
    [
        ("squash", None, Resize(34)),
        ("crop", None, Resize(34, "short")),
        ("letterbox", None, Resize(34, "letterbox")),
        ("squash", (48, 64), None),
    ],
)
def test_ten_crops_are_ten_streams_averaged_over_crops_steps_and_clips(film, fit, resize, shape):
    model = loaded(fit=fit)
    config = ProtocolConfig(("ten-crop", "centre-crop"), resize=resize, chunk=11)
    seen = see(model, Row(str(film)), config)
    crops = ten_crops(read_clip(film, resize=shape).frames, 32)
    assert crops.shape == (10, FRAMES, 3, 32, 32)
    said = [[judged(model.model, crop[s : s + 16])[0] for s in (0, 8, 16, 24, 24)] for crop in crops]
    np.testing.assert_allclose(seen["ten-crop"].video, np.mean(said, (0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(seen["ten-crop"].clips, np.mean(said, (0, 2)), rtol=1e-4)
    np.testing.assert_allclose(seen["centre-crop"].video, np.mean(said[4], (0, 1)), rtol=1e-4)


def test_the_released_demo_squashes_what_it_does_not_mirror(film):
    model = loaded()
    config = ProtocolConfig(("released-demo",), frames=40, resize=(48, 64))
    frames = read_clip(film).frames
    squashed = views.F.resize(torch.from_numpy(frames), [32, 32], antialias=True).numpy()
    said = [judged(model.model, part)[1] for part in [*ten_crops(frames, 32)[5:], *[squashed] * 5]]
    np.testing.assert_allclose(
        see(model, Row(str(film)), config)["released-demo"].video, np.mean(said, 0), rtol=1e-4
    )


def test_mirrored_flow_moves_the_other_way(film):
    model = loaded(kind="flow", preset="ultrafast")
    config = ProtocolConfig(("ten-crop",), frames=40, resize=(48, 64), chunk=9)
    images, _ = MotionConfig("flow", preset="ultrafast").images(read_clip(film).frames)
    crops = ten_crops(images, 32)
    crops[5:, :, 0] = 255 - crops[5:, :, 0]
    said = [judged(model.model, crop)[1] for crop in crops]
    np.testing.assert_allclose(
        see(model, Row(str(film)), config)["ten-crop"].video, np.mean(said, 0), rtol=1e-4
    )
    assert not np.allclose(said[0], said[5], rtol=1e-3), "the sign must matter here"


# ---- as the model is used ----


@pytest.mark.parametrize("pool", ["mean", "last", "attention"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_stream_is_the_whole_video_in_one_pass_whatever_the_network(film, pool, bidirectional):
    model = loaded(recognizer(pool=pool, bidirectional=bidirectional))
    frames = read_clip(film, resize=Resize(32)).frames
    steps, whole = judged(model.model, frames)
    for chunk in (7, 64):
        seen = see(model, Row(str(film)), ProtocolConfig(chunk=chunk))["stream"]
        np.testing.assert_allclose(seen.per_frame, steps, rtol=1e-4)
        np.testing.assert_allclose(seen.video, whole, rtol=1e-4)
    part = see(model, Row(str(film), start=0.4, end=0.8), ProtocolConfig())["stream"]
    np.testing.assert_allclose(part.video, judged(model.model, frames[10:20])[1], rtol=1e-4)


def test_what_must_be_read_at_once_has_a_limit(film, monkeypatch):
    monkeypatch.setattr(protocols, "MAX_WHOLE", 39)
    model, row = loaded(recognizer(pool="attention")), Row(str(film), "left")
    told = []
    with pytest.raises(LrcnError, match="film.mp4 has more than 39 frames, the most that a model reads"):
        measure_protocols(model, [row], ProtocolConfig(), report=told.append)
    assert len(told) == 1
    see(model, row, ProtocolConfig(("clips",)))
    see(loaded(), row, ProtocolConfig())


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Rows of six clips of two classes, of 10 frames."""
    folder = class_folders(tmp_path_factory.mktemp("clips"), clips=3, frames=10)
    return [Row(str(path), path.parent.name) for path in sorted(folder.glob("*/*.mp4"))]


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(rate=5), Sampling(frames=6, spread="uniform")])
@pytest.mark.parametrize("kind", ["none", "difference"])
def test_the_stream_has_the_numbers_of_evaluation(clips, sampling, kind):
    model = loaded(sampling=sampling, kind=kind)
    found = measure_protocols(model, clips, ProtocolConfig())["stream"]
    expected = evaluate(model, clips)
    assert found.videos.to_json() == expected.to_json()
    np.testing.assert_allclose(found.videos.probabilities, expected.probabilities, rtol=1e-4)
    assert (found.clips, found.clip_accuracy) == (6, expected.accuracy)
    assert 0 < expected.frame_accuracy < 1


@pytest.mark.parametrize("pool", ["mean", "attention"])
def test_a_model_with_a_stride_is_measured_as_it_is_used(clips, pool):
    model = loaded(recognizer(pool=pool), sampling=Sampling(frames=4, stride=3))
    config = own_protocol(model)
    assert config == ProtocolConfig(("clips",), frames=4, stride=3)
    found = measure_protocols(model, clips, config)["clips"].videos
    expected = evaluate(model, clips)
    assert found.to_json() == expected.to_json()
    np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=1e-4)
    for row, said in zip(clips, expected.probabilities, strict=True):
        used = recognize(model, row.path).probabilities
        np.testing.assert_allclose([used[label] for label in LABELS], said, rtol=1e-4)
    both = Fused(
        {"one": model, "other": loaded(recognizer(1), sampling=Sampling(frames=4, stride=3))}, (1.0, 0.0)
    )
    assert evaluate(both, clips).to_json() == expected.to_json()
    whole = evaluate(loaded(recognizer(pool=pool)), clips)
    assert not np.allclose(whole.probabilities, expected.probabilities, rtol=1e-2)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(frames=6, spread="uniform")])
def test_several_protocols_at_once_say_what_each_says_alone(clips, sampling):
    model = loaded(sampling=sampling)
    config = ProtocolConfig(USUAL, frames=4, stride=2, resize=(40, 40))
    together = see(model, clips[0], config)
    for name in USUAL:
        alone = see(model, clips[0], ProtocolConfig((name,), frames=4, stride=2, resize=(40, 40)))[name]
        # A frame that is scaled for several views is rounded a second time.
        np.testing.assert_allclose(together[name].per_frame, alone.per_frame, atol=0.02)
        assert together[name].starts.tolist() == alone.starts.tolist()
    assert list(measure_protocols(model, clips[:1], config)) == list(USUAL)


def test_a_video_is_opened_once_and_every_crop_of_a_frame_read_once(film, monkeypatch):
    opened, encoded = [], []
    model = loaded()
    maps = model.model.encoder.maps
    monkeypatch.setattr(
        model.model.encoder, "maps", lambda frames: encoded.append(len(frames)) or maps(frames)
    )
    original = views.open_video
    monkeypatch.setattr(views, "open_video", lambda *a, **k: opened.append(a) or original(*a, **k))
    see(model, Row(str(film)), ProtocolConfig(USUAL, chunk=8))
    assert len(opened) == 1
    assert sum(encoded) == (1 + 10) * FRAMES
    assert max(encoded) == 10 * 8, "no more than a chunk of each crop at once"
    encoded.clear()
    see(model, Row(str(film)), ProtocolConfig(("centre-crop",)))
    assert sum(encoded) == FRAMES


# ---- numbers ----


def test_clips_and_videos_are_counted_apart(clips):
    model = loaded()
    config = ProtocolConfig(("clips",), frames=4, stride=4)
    found = measure_protocols(model, clips, config)["clips"]
    seen = [see(model, row, config)["clips"] for row in clips]
    truths = [LABELS.index(row.label) for row in clips]
    right = [s.clips.argmax(1) == truth for s, truth in zip(seen, truths, strict=True)]
    assert (found.clips, found.clip_accuracy) == (6 * 3, np.concatenate(right).mean())
    videos = [int(s.video.argmax()) for s in seen]
    assert found.videos.predictions.tolist() == videos
    assert found.videos.accuracy == np.mean(
        [said == truth for said, truth in zip(videos, truths, strict=True)]
    )
    last = [s.per_frame[-1].argmax() == truth for s, truth in zip(seen, truths, strict=True)]
    assert found.videos.last_frame_accuracy == np.mean(last)
    values = found.to_json()
    assert (values["videos"], values["clips"]) == (6, 18)
    assert (values["accuracy"], values["clip_accuracy"]) == (found.videos.accuracy, found.clip_accuracy)


def test_members_of_a_fused_model_are_added_up(clips):
    one, two = loaded(recognizer(0)), loaded(recognizer(1), sampling=Sampling(rate=5), kind="difference")
    fused = Fused({"rgb": one, "motion": two}, (0.25, 0.75))
    config = ProtocolConfig(("stream", "clips"), frames=4, stride=2)
    for row in clips[:2]:
        a, b = see(one, row, config), see(two, row, config)
        for name, seen in see(fused, row, config).items():
            np.testing.assert_allclose(seen.video, 0.25 * a[name].video + 0.75 * b[name].video)
            assert seen.times.tolist() == a[name].times.tolist()
            # At 10 frames a second and at 5: each of the second's answers holds until the next.
            later = [b[name].per_frame[k // 2] for k in range(10)]
            np.testing.assert_allclose(
                seen.per_frame, 0.25 * a[name].per_frame + 0.75 * np.stack(later), rtol=1e-5
            )
    found = measure_protocols(fused, clips, config)
    assert evaluate(fused, clips).to_json() == found["stream"].videos.to_json()


def test_what_cannot_be_read_is_told_and_left_out(clips, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    bad = [Row(str(tmp_path / "text.mp4"), "left"), Row(clips[0].path, "left", start=100.0)]
    told, done = [], []
    found = measure_protocols(
        loaded(),
        [*bad, *clips[:2]],
        ProtocolConfig(),
        report=told.append,
        progress=lambda *n: done.append(n),
    )["stream"]
    assert (len(found.videos.truths), found.videos.left_out, len(told)) == (2, 2, 2)
    assert done[-1] == (4, 4)
    assert "2 more could not be read" in lines_of({"stream": found})[0]
    with pytest.raises(LrcnError, match="None of the 2 clips can be read"):
        measure_protocols(loaded(), bad, ProtocolConfig())
    with pytest.raises(LrcnError, match='has the label "zoom"'):
        measure_protocols(loaded(), [Row(clips[0].path, "zoom")], ProtocolConfig())
    with pytest.raises(LrcnError, match="There are no clips"):
        measure_protocols(loaded(), [], ProtocolConfig())


@pytest.mark.parametrize(
    ("settings_", "sentence"),
    [
        ({"protocols": ("clip",)}, "There is no protocol 'clip': give one or more of stream, clips"),
        ({"protocols": ()}, "No protocol is asked for"),
        ({"frames": 0}, "protocol's frames is 0"),
        ({"stride": -1}, "protocol's stride is -1"),
        ({"resize": (0, 9)}, "cannot be resized to 0x9"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings_, sentence):
    with pytest.raises(LrcnError, match=sentence):
        ProtocolConfig(**settings_)


def test_crops_larger_than_the_frame_are_refused(clips):
    with pytest.raises(LrcnError, match="Crops of 32 pixels do not fit into frames of 20x40"):
        see(loaded(), clips[0], ProtocolConfig(("ten-crop",), resize=(20, 40)))


# ---- the command line ----


def test_the_command_line_measures_protocols(clips, tmp_path, capsys):
    save_model(tmp_path / "model", recognizer(), Preprocess(32), Sampling())
    manifest = tmp_path / "clips.jsonl"
    manifest.write_text("".join(json.dumps({"path": row.path, "label": row.label}) + "\n" for row in clips))
    arguments = ["eval", "--model", str(tmp_path / "model"), "--device", "cpu", "--data", str(manifest)]
    options = ["--protocol", "all", "--clip-frames", "4", "--clip-stride", "2", "--resize", "40x40"]
    assert main([*arguments, *options, "--format", "json", "--out", str(tmp_path / "numbers")]) == 0
    values = json.loads(capsys.readouterr().out)
    assert list(values) == list(USUAL)
    assert values["ten-crop"]["clips"] == 6 * 5
    assert json.loads((tmp_path / "numbers" / "metrics.json").read_text()) == values
    pictures = sorted(path.name for path in (tmp_path / "numbers").glob("*.png"))
    assert pictures == sorted(f"confusion-{name}.png" for name in USUAL)
    assert main([*arguments, "--protocol", "stream"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1] == "6 videos, 2 classes" and out[2].split("  ")[0] == "protocol" and len(out) == 4
    assert main([*arguments, "--protocol", "stream", "--format", "json"]) == 0
    stream = json.loads(capsys.readouterr().out)["stream"]
    assert main([*arguments, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == stream["accuracy"]
    assert main([*arguments, "--resize", "huge"]) == 2
    assert "no height and width such as 240x320" in capsys.readouterr().err


def test_the_command_line_knows_every_protocol():
    from lrcn.cli.learning import _PROTOCOLS

    assert set(_PROTOCOLS) == {*get_args(Protocol), "all"}
