"""The examples compile, and those that need nothing from elsewhere run."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

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
