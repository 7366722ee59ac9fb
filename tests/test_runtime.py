"""The runtime without torch: its imports, engines, memories, batches and beam search."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lrcn.runtime_engine
from lrcn import generate
from lrcn.data.picture import Resize
from lrcn.data.prepare import CentreCrop, Preparation
from lrcn.data.subject import SubjectConfig, SubjectCrop
from lrcn.errors import LrcnError
from lrcn.exported import (
    Exported,
    GraphFile,
    Port,
    SegmentSettings,
    StepSettings,
    read_exported,
    settings_of,
    write_exported,
)
from lrcn.runtime import RuntimeNetwork, RuntimeRecognizer, RuntimeStream
from lrcn.runtime_engine import chosen_engine, open_session, softmax
from lrcn.runtime_words import beam

STEP = GraphFile(
    "step.onnx",
    (Port("frame", "uint8", ("B", 3, 4, 4)), Port("h", "float32", ("B", 2))),
    (Port("scores", "float32", ("B", 2)), Port("h_next", "float32", ("B", 2))),
    {"h": "h_next"},
)


def exported(**changes):
    settings = {
        "lrcn": "0",
        "name": "toy",
        "task": "recognize",
        "form": "onnx",
        "graphs": {"step": STEP},
        "resize": Resize(4),
    }
    return Exported(**settings | changes)


class Counting:
    """A graph whose state sums its frames' brightness: scores are that sum and what it was before."""

    def __init__(self, batch=None):
        self.batch = batch
        self.seen = []

    def run(self, inputs):
        rows = len(inputs["frame"])
        assert self.batch in (None, rows)
        self.seen.append(rows)
        now = inputs["h"][:, 0] + inputs["frame"].astype(np.float32).mean((1, 2, 3))
        after = np.stack([now, inputs["h"][:, 0]], axis=1)
        return {"scores": after / 100, "h_next": after}


# ---- no torch ----


def without_torch(code, *arguments):
    """Runs code where torch cannot be imported, nor what comes with it."""
    blocked = "import sys\nfor name in ('torch', 'torchvision', 'timm'): sys.modules[name] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", blocked + code, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_runtime_imports_without_torch():
    without_torch("import lrcn.runtime, lrcn.pool, lrcn.data.video, lrcn.data.history, lrcn.data.subject")


# ---- the folder ----


def test_what_is_exported_is_read_back(tmp_path):
    preparation = Preparation(
        Resize(8, "letterbox"), (SubjectCrop(SubjectConfig(crop=True), 6), CentreCrop(4))
    )
    described = exported(
        resize=preparation.resize,
        steps=settings_of(preparation),
        segments=SegmentSettings(smoothing=0.2),
        slots={"tool": ("knife", "pan")},
    )
    write_exported(tmp_path, described)
    assert read_exported(tmp_path) == described
    assert read_exported(tmp_path).preparation() == preparation


def test_a_folder_that_was_not_exported_is_told(tmp_path):
    with pytest.raises(LrcnError, match=r"is no exported model: it has no export\.json"):
        RuntimeRecognizer(tmp_path)
    (tmp_path / "export.json").write_text("{")
    with pytest.raises(LrcnError, match=r"export\.json cannot be read"):
        RuntimeRecognizer(tmp_path)
    (tmp_path / "export.json").write_text('{"lrcn": "0"}')
    with pytest.raises(LrcnError, match="name is missing"):
        RuntimeRecognizer(tmp_path)


def test_a_step_of_preprocessing_that_is_not_known_is_told():
    with pytest.raises(LrcnError, match="preprocessing step Sharpen, which this lrcn does not know"):
        exported(steps=(StepSettings("Sharpen"),)).preparation()

    class Sharpen:
        pass

    with pytest.raises(LrcnError, match="Sharpen is not known to the runtime"):
        settings_of(Preparation(Resize(4), (Sharpen(),)))


def test_a_model_of_another_task_is_told(tmp_path):
    write_exported(tmp_path, exported(task="caption"))
    with pytest.raises(LrcnError, match="is a model for the task caption, not recognize"):
        RuntimeRecognizer(tmp_path)


# ---- engines ----


def test_an_engine_that_does_not_fit_is_told(monkeypatch):
    with pytest.raises(LrcnError, match="runs in torch alone"):
        chosen_engine("pt2")
    with pytest.raises(LrcnError, match="The engine onnxruntime does not run openvino graphs"):
        chosen_engine("openvino", "onnxruntime")
    monkeypatch.setattr(lrcn.runtime_engine, "find_spec", lambda name: None)
    with pytest.raises(LrcnError, match="onnxruntime is not installed: pip install onnxruntime"):
        chosen_engine("onnx")
    monkeypatch.setattr(lrcn.runtime_engine, "find_spec", lambda name: name == "openvino" or None)
    assert chosen_engine("onnx") == "openvino"
    with pytest.raises(LrcnError, match="onnxruntime is not installed"):
        chosen_engine("onnx", "onnxruntime")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_graph_that_is_missing_or_damaged_is_told(tmp_path, engine):
    with pytest.raises(LrcnError, match=r"step\.onnx is missing"):
        open_session(tmp_path / "step.onnx", engine)
    (tmp_path / "step.onnx").write_bytes(b"nothing")
    if find_spec(engine) is None:
        pytest.skip(f"needs {engine}")
    with pytest.raises(LrcnError, match=rf"step\.onnx cannot be loaded by {engine}"):
        open_session(tmp_path / "step.onnx", engine)


def test_softmax_takes_scores_of_any_size():
    scores = np.array([[1e4, 0.0, -1e4], [1.0, 2.0, 3.0]], np.float32)
    np.testing.assert_allclose(softmax(scores), torch.tensor(scores).softmax(-1), rtol=1e-6)


# ---- memories and batches ----


@pytest.mark.parametrize("batch", [None, 1, 2, 4])
def test_streams_in_one_batch_are_as_each_alone_whatever_batch_the_graph_takes(batch):
    graph = GraphFile(
        STEP.file,
        tuple(Port(port.name, port.dtype, (batch or "B", *port.shape[1:])) for port in STEP.inputs),
        STEP.outputs,
        STEP.state,
    )
    session = Counting(batch)
    network = RuntimeNetwork(graph, session, "x")
    rng = np.random.default_rng(0)
    films = rng.integers(0, 255, (3, 5, 3, 4, 4), dtype=np.uint8)
    together, memories = [], [network.fresh()] * 3
    for frames in films.swapaxes(0, 1):
        probabilities, memories = network.step(list(frames), memories)
        together.append(probabilities)
    for place, film in enumerate(films):
        memory = [network.fresh()]
        for k, frame in enumerate(film):
            probabilities, memory = network.step([frame], memory)
            np.testing.assert_allclose(probabilities[0], together[k][place])
        np.testing.assert_array_equal(memory[0]["h"], memories[place]["h"])
    assert batch is None or set(session.seen) == {batch}


def test_a_memory_is_kept_and_another_networks_is_refused():
    network = RuntimeNetwork(STEP, Counting(), "x")
    _, (memory,) = network.step([np.full((3, 4, 4), 7, np.uint8)], [network.fresh()])
    back = network.from_arrays(network.to_arrays(memory))
    np.testing.assert_array_equal(back["h"], [[7, 0]])
    with pytest.raises(ValueError, match="not that of this network"):
        network.from_arrays({"h": np.zeros((1, 3), np.float32)})


# ---- beam search ----


class Table:
    """Scores of the next word that follow from all words so far: its state is a number that they make."""

    def __init__(self, seed, words):
        self.scores = np.random.default_rng(seed).normal(0, 2, (7919, words)).astype(np.float32)

    def numpy(self, words, state):
        code = (state["code"] * 31 + words * 7 + 3) % 7919
        return self.scores[code], {"code": code}

    def torch(self, words, state):
        scores, after = self.numpy(words.numpy(), {name: value.numpy() for name, value in state.items()})
        return torch.from_numpy(scores), {name: torch.from_numpy(value) for name, value in after.items()}


@given(
    seed=st.integers(0, 10_000),
    words=st.integers(2, 9),
    size=st.integers(1, 6),
    max_length=st.integers(1, 7),
    length_penalty=st.sampled_from([0.0, 0.7, 1.5]),
    best=st.integers(1, 6),
)
@settings(max_examples=60)
def test_beam_search_finds_the_sentences_that_torch_finds(
    seed, words, size, max_length, length_penalty, best
):
    table, best = Table(seed, words), min(best, size)
    rules = {"best": best, "max_length": max_length, "length_penalty": length_penalty}
    found = beam(table.numpy, {"code": np.zeros(1, np.int64)}, size, **rules)
    (expected,) = generate.beam(table.torch, {"code": torch.zeros(1, dtype=torch.int64)}, size, **rules)
    assert [(one.words, one.finished) for one in found] == [(one.words, one.finished) for one in expected]
    np.testing.assert_allclose(
        [one.log_prob for one in found], [one.log_prob for one in expected], atol=1e-4, rtol=1e-5
    )


def test_a_word_of_no_probability_is_never_said():
    def step(words, state):
        return np.array([[0.0, -np.inf, 1.0]] * len(words), np.float32), state

    found = beam(step, {"x": np.zeros(1)}, 5, best=5, max_length=3)
    assert found and all(1 not in one.words for one in found)


# ---- a machine that has no torch ----


@pytest.mark.slow
def test_a_stream_runs_where_torch_was_never_installed(tmp_path):
    """In an environment of its own: the wheel's files, an engine, and no torch."""
    uv = shutil.which("uv")
    if uv is None or find_spec("onnx") is None:
        pytest.skip("needs uv and the extra export: pip install 'lrcn[export]'")
    python = tmp_path / "bare" / "bin" / "python"
    packages = ["numpy", "opencv-python-headless", "av", "pillow", "safetensors", "pyyaml", "onnxruntime"]
    repository = Path(lrcn.__file__).parents[2]
    if not (repository / "pyproject.toml").is_file():
        pytest.skip("needs a checkout, to build a wheel of it")
    made = [
        [uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "bare"],
        [uv, "pip", "install", "--quiet", "--python", python, *packages],
        [uv, "build", "--quiet", "--wheel", "--out-dir", tmp_path / "dist", repository],
    ]
    for command in made:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode:
            pytest.skip(f"needs the package registry: {done.stderr.strip()[-200:]}")
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    install = [uv, "pip", "install", "--quiet", "--no-deps", "--python", python, wheel]
    subprocess.run(install, check=True, capture_output=True)
    toy_folder(tmp_path / "toy")
    code = """
import importlib.util, sys
import numpy as np
from lrcn.runtime import RuntimeStream
assert importlib.util.find_spec("torch") is None
stream = RuntimeStream(sys.argv[1])
answers = [stream.push(np.full((9, 7, 3), level, np.uint8), level / 10) for level in (10, 20, 30)]
print(answers[-1].probabilities.tolist(), stream.finish().closed[-1].label)
"""
    done = subprocess.run(
        [python, "-c", code, tmp_path / "toy"], capture_output=True, text=True, cwd=tmp_path, env=bare()
    )
    assert done.returncode == 0, done.stderr
    expected = softmax(np.array([0.6, 0.3]))
    numbers, label = done.stdout.strip().rsplit("] ", 1)
    np.testing.assert_allclose(json.loads(numbers + "]"), expected, rtol=1e-5)
    assert label == "bright"


def bare():
    """The environment of a process that finds nothing of the checkout."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def toy_folder(folder):
    """An exported folder whose graph is that of `Counting`, written by hand."""
    import onnx
    from onnx import TensorProto as Kind
    from onnx import helper

    nodes = [
        helper.make_node("Cast", ["frame"], ["pixels"], to=Kind.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["level"], keepdims=0),
        helper.make_node("Unsqueeze", ["level", "last"], ["column"]),
        helper.make_node("Slice", ["h", "zero", "last", "last"], ["before"]),
        helper.make_node("Add", ["column", "before"], ["now"]),
        helper.make_node("Concat", ["now", "before"], ["h_next"], axis=1),
        helper.make_node("Div", ["h_next", "hundred"], ["scores"]),
    ]
    numbers = {"axes": [1, 2, 3], "last": [1], "zero": [0]}
    constants = [helper.make_tensor(name, Kind.INT64, [len(value)], value) for name, value in numbers.items()]
    constants.append(helper.make_tensor("hundred", Kind.FLOAT, [], [100.0]))
    kinds = {"uint8": Kind.UINT8, "float32": Kind.FLOAT}

    def infos(ports):
        return [helper.make_tensor_value_info(port.name, kinds[port.dtype], port.shape) for port in ports]

    graph = helper.make_graph(nodes, "toy", infos(STEP.inputs), infos(STEP.outputs), constants)
    folder.mkdir()
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), folder / STEP.file)
    (folder / "labels.json").write_text('["bright", "dark"]')
    write_exported(folder, exported())


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_folder_streams_on_each_engine(tmp_path, engine):
    for package in ("onnx", engine):
        if find_spec(package) is None:
            pytest.skip(f"needs {package}: pip install 'lrcn[export,openvino]'")
    toy_folder(tmp_path / "toy")
    stream = RuntimeStream(tmp_path / "toy", engine=engine, threads=1, smoothing=0)
    levels = (10, 200, 30)
    answers = [stream.push(np.full((9, 7, 3), level, np.uint8), k / 10) for k, level in enumerate(levels)]
    sums = np.cumsum(levels)
    expected = softmax(np.stack([sums, sums - levels], axis=1) / 100)
    np.testing.assert_allclose([one.probabilities for one in answers], expected, rtol=1e-5)
    assert stream.labels == ("bright", "dark") and answers[-1].label == "bright"
    # What one saved, another of the same model goes on with.
    state, other = stream.state(), RuntimeStream(tmp_path / "toy", engine=engine, threads=1)
    other.restore(state)
    black = np.zeros((9, 7, 3), np.uint8)
    np.testing.assert_array_equal(other.push(black, 0.3).probabilities, stream.push(black, 0.3).probabilities)
    with pytest.raises(LrcnError, match="has no 8-bit graph"):
        RuntimeStream(tmp_path / "toy", int8=True)
    with pytest.raises(LrcnError, match="has no graph clip"):
        RuntimeRecognizer(tmp_path / "toy").judge(np.zeros((1, 2, 3, 4, 4), np.uint8))
    (tmp_path / "toy" / "labels.json").unlink()
    with pytest.raises(LrcnError, match=r"labels\.json cannot be read"):
        RuntimeStream(tmp_path / "toy")
