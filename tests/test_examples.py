"""The examples compile, and those that need nothing from elsewhere run."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_each_is_told_of():
    told = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for file in EXAMPLES.iterdir():
        assert file.name == "README.md" or file.is_dir() or f"`{file.name}`" in told


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.name)
def test_they_compile(file):
    compile(file.read_text(encoding="utf-8"), file.name, "exec")


def test_the_container_is_nobody_in_particular_and_says_how_it_is():
    lines = (EXAMPLES / "Dockerfile").read_text(encoding="utf-8").splitlines()
    words = [line.split()[0] for line in lines if line[:1].isupper()]
    assert words.index("RUN") < words.index("USER") < words.index("ENTRYPOINT")
    assert "HEALTHCHECK" in words and "USER root" not in lines


@pytest.mark.slow
@pytest.mark.skipif(
    not all(find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="needs the extra export: pip install 'lrcn[export]'",
)
def test_a_small_computer_labels_every_frame_without_torch(tmp_path):
    from made_recognizer import tiny
    from made_video import make_video

    from lrcn.export.folder import export
    from lrcn.models.folder import save_model
    from lrcn.runtime import RuntimeStream

    model = tiny(rate=10.0)
    save_model(tmp_path / "tiny", model.model, model.preprocess, model.sampling, half=False)
    folder = export(tmp_path / "tiny", "onnx", tmp_path / "exported").folder
    film = make_video(tmp_path / "film.avi", 30, "mpeg4")
    # A torch that cannot be imported, first on the path.
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, EXAMPLES / "raspberry_pi.py", folder, film, "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    labelled = [line for line in lines if " ms" in line]
    assert len(labelled) == 30 and all(line.split()[2] in ("pan", "tilt", "roll") for line in labelled)
    stream = RuntimeStream(folder, threads=1)
    assert labelled[-1].split()[2] in stream.labels
    assert [line for line in lines if " from " in line]


def made_photos(folder):
    """101 photos of soft blobs: one to learn from, the others to measure on."""
    folder.mkdir()
    for seed in range(101):
        noise = np.random.default_rng(seed).integers(0, 256, (12, 16, 3)).astype(np.uint8)
        photo = cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{seed:03}.jpg"), photo)
    return folder


def test_the_flow_of_a_made_pair_leads_from_its_first_picture_to_its_second(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    import train_raft

    monkeypatch.setattr(train_raft, "_filmed", lambda picture, chance: picture)
    photos = train_raft.read(made_photos(tmp_path / "photos"), 10)
    chance = np.random.default_rng(0)
    across, down = np.meshgrid(*[np.arange(train_raft.SIDE)] * 2)
    far = 0
    for _ in range(20):
        first, second, flow = train_raft.pair(photos, chance)
        there = np.stack([across, down], -1).astype(np.float32) + flow
        fetched = cv2.remap(second, there, None, cv2.INTER_LINEAR)
        # All but what is hidden or leaves the picture: the median of the places.
        led, stayed = (np.median(np.abs(first.astype(int) - other)) for other in (fetched, second))
        assert led <= 2
        far += stayed > 4
    assert far > 5


@pytest.mark.slow
def test_weights_of_raft_are_trained_and_read_again(tmp_path):
    from lrcn.data.flow import MotionConfig

    out = tmp_path / "raft.safetensors"
    options = ["--steps", "1", "--batch", "1", "--rounds", "1", "--pairs", "1"]
    command = [sys.executable, EXAMPLES / "train_raft.py", made_photos(tmp_path / "photos"), "--out", out]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    names = [line.split(":")[0] for line in done.stdout.splitlines()]
    assert names == ["step 1", "raft_small, raft.safetensors", "DIS fast", "DIS medium", "Farneback", "TV-L1"]
    frames = np.zeros((2, 3, 128, 128), np.uint8)
    frames[1, :, 40:80, 40:80] = 255
    images, _ = MotionConfig("flow", "raft_small", weights=str(out)).images(frames)
    assert images.shape == frames.shape
