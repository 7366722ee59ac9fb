"""Graphs that say what their models say, and exports that leave nothing behind when they do not."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from made_recognizer import LABELS, pictures, tiny
from made_shots import tiny_describer
from made_video import make_video

import lrcn.export.folder
import lrcn.export.formats
from lrcn.cli import main
from lrcn.data.manifest import Row, write_manifest
from lrcn.data.moves import MOVES
from lrcn.data.photos import PhotoPreprocess
from lrcn.data.prepare import Preparation
from lrcn.data.sampling import Sampling
from lrcn.data.tokenizer import UNKNOWN, Tokenizer
from lrcn.data.transforms import Preprocess
from lrcn.data.video import Resize
from lrcn.errors import LrcnError
from lrcn.export.folder import export
from lrcn.export.formats import open_graph, write_graph
from lrcn.export.graphs import captioner_graphs, describer_graphs, joint_graphs, recognizer_graphs
from lrcn.export.int8 import read_samples
from lrcn.export.parity import (
    Opened,
    Parity,
    captioner_parity,
    describer_parity,
    film_frames,
    joint_parity,
    photo_frames,
    recognizer_parity,
)
from lrcn.export.tasks import Job
from lrcn.export.triton import configuration
from lrcn.exported import GraphFile, Port, read_exported
from lrcn.generate import Decoding
from lrcn.models.captioner import Captioner, CaptionerConfig
from lrcn.models.captioner_folder import load_captioner, save_captioner
from lrcn.models.cnn import EncoderConfig
from lrcn.models.decoder import DecoderConfig
from lrcn.models.describer import Describer, DescriberConfig
from lrcn.models.folder import save_model
from lrcn.models.heads import HeadConfig
from lrcn.models.joint import JointConfig, JointEmbedding
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig
from lrcn.models.shot_describer_folder import save_shot_describer
from lrcn.pool import StreamPool
from lrcn.runtime import RuntimeCaptioner, RuntimeRecognizer, RuntimeStream
from lrcn.stream import Stream

HAS_ONNX = all(find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
needs_onnx = pytest.mark.skipif(not HAS_ONNX, reason="needs the extra export: pip install 'lrcn[export]'")
needs_openvino = pytest.mark.skipif(
    not (find_spec("openvino") and find_spec("onnxscript")),
    reason="needs pip install 'lrcn[export,openvino]'",
)
GRID = EncoderConfig("test_efficientnet", "none", pool="grid", grid=3, squeeze=8)


def saved(folder, loaded, **changes):
    loaded = replace(loaded, **changes)
    save_model(folder, loaded.model, loaded.preprocess, loaded.sampling, half=False)
    return folder


@pytest.fixture(scope="module")
def model():
    return tiny(rate=10.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model):
    return saved(tmp_path_factory.mktemp("models") / "tiny", model)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, folder):
    if not HAS_ONNX:
        pytest.skip("needs the extra export: pip install 'lrcn[export]'")
    out = tmp_path_factory.mktemp("exported") / "tiny"
    return export(folder, "onnx", out, int8=True, triton=True)


# ---- a recogniser as ONNX ----


def test_an_export_is_compared_on_a_hundred_real_frames_and_more(exported):
    for name in ("step", "clip"):
        parity = exported.parity[name]
        assert parity.compared >= 100 and parity.max_difference < 1e-5 and parity.same_labels == 1
    report = json.loads((exported.folder / "parity.json").read_text())
    assert report["graphs"]["step"]["max_difference"] == exported.parity["step"].max_difference
    assert report["tolerance"] == 1e-4 and "onnxruntime" in report["versions"]
    assert {file.name for file in exported.folder.iterdir()} == {
        *("README.md", "export.json", "labels.json", "parity.json", "triton"),
        *("clip.onnx", "step.int8.onnx", "step.onnx"),
    }
    card = (exported.folder / "README.md").read_text()
    assert "`step.onnx`" in card and "RuntimeStream" in card and "8-bit graph: calibrated on 66" in card


def test_the_comparison_sees_a_weight_that_is_another(exported, model):
    described = read_exported(exported.folder)
    step = Opened(described.graphs["step"], open_graph(exported.folder, described.graphs["step"], "onnx"))
    frames = film_frames(described.preparation(), 12)
    assert recognizer_parity(model.model, {"step": step}, frames)["step"].holds
    other = tiny(rate=10.0).model
    with torch.no_grad():
        other.recurrent.cells[0].weight_hh_l0[0] += 0.05
    assert not recognizer_parity(other, {"step": step}, frames)["step"].holds


def test_a_stream_without_torch_says_what_a_stream_says(exported, model):
    ours, theirs = Stream(model), RuntimeStream(exported.folder, threads=1)
    times = np.cumsum(np.random.default_rng(0).uniform(0.03, 0.2, 25))
    for frame, time in zip(pictures(25, side=40), times, strict=True):
        expected, found = ours.push(frame, time), theirs.push(frame, time)
        np.testing.assert_allclose(found.per_step, expected.per_step, atol=1e-5)
        np.testing.assert_array_equal(found.times, expected.times)
        assert [one.label for one in found.closed] == [one.label for one in expected.closed]
    ends = ours.finish(), theirs.finish()
    assert [(s.label, s.start, s.end) for s in ends[0].closed] == [
        (s.label, s.start, s.end) for s in ends[1].closed
    ]


def test_many_streams_share_one_graph(exported):
    recognizer = RuntimeRecognizer(exported.folder, threads=1)
    pool = StreamPool(recognizer.streamable)
    films = {name: pictures(4, seed) for seed, name in enumerate(("door", "yard", "hall"))}
    alone = {name: RuntimeStream(recognizer) for name in films}
    for name in films:
        pool.add(name)
    for k in range(4):
        answers = pool.step({name: (film[k], k / 10) for name, film in films.items()})
        for name, film in films.items():
            expected = alone[name].push(film[k], k / 10).probabilities
            np.testing.assert_allclose(answers[name].probabilities, expected, atol=1e-6)


def test_whole_clips_are_judged_and_padding_never_matters(exported, model):
    frames = np.random.default_rng(0).integers(0, 255, (3, 6, 3, 32, 32), dtype=np.uint8)
    lengths = [6, 1, 4]
    per_frame, verdict = RuntimeRecognizer(exported.folder, threads=1).judge(frames, lengths)
    with torch.no_grad():
        expected = model.model.judge(torch.from_numpy(frames), torch.tensor(lengths))
    np.testing.assert_allclose(verdict, expected.log_probabilities.exp(), atol=1e-5)
    for row, length in enumerate(lengths):
        steps = expected.scores[row, :length].softmax(-1)
        np.testing.assert_allclose(per_frame[row, :length], steps, atol=1e-5)


def test_eight_bits_are_near_and_their_cost_is_told(exported, model):
    cost = exported.int8
    assert cost.calibrated_on == 66 and cost.against_model.compared >= 66 and cost.accuracy is None
    ours, theirs = Stream(model), RuntimeStream(exported.folder, int8=True, threads=1)
    for k, frame in enumerate(pictures(5)):
        difference = ours.push(frame, k / 10).per_step - theirs.push(frame, k / 10).per_step
        # What 8 bits give is not what 32 give, and not far off.
        assert 0 < np.abs(difference).max() < 0.3


@needs_onnx
def test_eight_bits_take_activations_with_their_convolutions_and_end_where_the_state_begins(tmp_path, model):
    import onnx

    encoder = EncoderConfig("tf_efficientnet_lite0", "none", pool="grid", stage=1, grid=3, squeeze=8)
    reading = ReadingConfig(("correlation",), features=8)
    network = Recognizer(RecognizerConfig(encoder, reading, RecurrentConfig(size=8)), LABELS).eval()
    folder = saved(tmp_path / "lite", model, model=network)
    out = export(folder, "onnx", tmp_path / "exported", int8=True).folder
    exact, narrow = (onnx.load(out / f"step{kind}.onnx").graph.node for kind in ("", ".int8"))
    made = {output: node.op_type for node in narrow for output in node.output}
    reads = {
        kind: [made.get(node.input[0]) for node in narrow if node.op_type == kind]
        for kind in ("Conv", "Clip", "Relu")
    }
    # All convolutions but the one that reads how the maps moved.
    exactly = [kind for kind in reads["Conv"] if kind != "DequantizeLinear"]
    assert len(exactly) == 1 < len(reads["Conv"])
    assert "DequantizeLinear" not in reads["Clip"] + reads["Relu"]
    assert len(reads["Clip"]) < sum(node.op_type == "Clip" for node in exact)


def test_the_exported_stream_runs_where_torch_cannot_be_imported(exported):
    code = """
import sys
for name in ("torch", "torchvision", "timm", "lrcn.models"): sys.modules[name] = None
import numpy as np
from lrcn.runtime import RuntimeStream
stream = RuntimeStream(sys.argv[1], threads=1)
answer = stream.push(np.full((20, 30, 3), 90, np.uint8), 0.0)
print(answer.label, *answer.probabilities)
"""
    done = subprocess.run([sys.executable, "-c", code, exported.folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    label, *probabilities = done.stdout.split()
    expected = RuntimeStream(exported.folder, threads=1).push(np.full((20, 30, 3), 90, np.uint8), 0.0)
    assert label == expected.label
    np.testing.assert_allclose(np.array(probabilities, float), expected.probabilities, atol=1e-6)


# ---- Triton ----


def blocks(text, name):
    """The braces of a text in protobuf's form that follow a name, innermost text."""
    found = []
    for match in re.finditer(rf"\b{name} \{{", text):
        depth, end = 1, match.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        found.append(text[match.end() : end - 1])
    return found


def test_triton_keeps_every_state_of_the_graph_and_begins_it_at_zero(exported):
    repository = exported.folder / "triton" / "tiny"
    assert (repository / "1" / "model.onnx").read_bytes() == (exported.folder / "step.onnx").read_bytes()
    assert (repository / "labels.txt").read_text().split() == LABELS
    text = (repository / "config.pbtxt").read_text()
    assert text.count("{") == text.count("}") and text.count("[") == text.count("]")
    graph = read_exported(exported.folder).graphs["step"]
    states = blocks(text, "state")
    assert len(states) == len(graph.state) == 4
    for block, (name, after) in zip(states, graph.state.items(), strict=True):
        (port,) = (port for port in graph.inputs if port.name == name)
        sizes = f"dims: [ {', '.join(map(str, port.shape[1:]))} ]"
        assert f'input_name: "{name}"' in block and f'output_name: "{after}"' in block
        (begin,) = blocks(block, "initial_state")
        assert "zero_data: true" in begin and sizes in begin and "TYPE_FP32" in begin
        assert block.count(sizes) == 2
    assert "max_batch_size: 16" in text and "oldest {" in text
    # The state is the server's own matter: a client gives frames and gets scores.
    asked = text[: text.index("sequence_batching")]
    assert re.findall(r'name: "(\w+)"', asked) == ["tiny", "frame", "scores"]
    assert "TYPE_UINT8" in asked and "dims: [ 3, 32, 32 ]" in asked and "dims: [ 3 ]" in asked


def test_triton_is_told_of_a_network_without_a_state_that_it_may_batch_it_freely():
    graph = GraphFile(
        "step.onnx",
        (Port("frame", "uint8", ("B", 3, 8, 8)),),
        (Port("scores", "float32", ("B", 2)),),
    )
    text = configuration("still", graph)
    assert "dynamic_batching { }" in text and "sequence_batching" not in text


# ---- what is refused, and what is left behind then ----


def job(difference):
    return Job(
        graphs=[],
        compare=lambda graphs, frames: {"step": Parity(132, difference, 1.0)},
        frames=np.zeros((1, 3, 8, 8), np.uint8),
        sees="step",
        preparation=Preparation(Resize(8)),
        sampling=Sampling(),
        names=["a", "b"],
    )


@pytest.mark.parametrize("difference", [1.1e-4, float("inf")])
def test_a_difference_leaves_nothing_behind(tmp_path, monkeypatch, capsys, folder, difference):
    monkeypatch.setattr(lrcn.export.folder, "job_of", lambda *_: ("recognize", job(difference)))
    out = tmp_path / "exported"
    assert main(["export", "--model", str(folder), "--to", "pt2", "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert "The pt2 graph step differs from the model by" in said.err and "more than 1e-04" in said.err
    assert list(tmp_path.iterdir()) == []
    # And what was there before stays.
    monkeypatch.setattr(lrcn.export.folder, "job_of", lambda *_: ("recognize", job(9e-5)))
    assert main(["export", "--model", str(folder), "--to", "pt2", "--out", str(out)]) == 0
    assert "Wrote" in capsys.readouterr().out
    before = (out / "parity.json").read_text()
    monkeypatch.setattr(lrcn.export.folder, "job_of", lambda *_: ("recognize", job(difference)))
    assert main(["export", "--model", str(folder), "--to", "pt2", "--out", str(out)]) == 2
    assert (out / "parity.json").read_text() == before


def test_numbers_that_are_none_are_no_small_difference(model):
    class Broken:
        def run(self, inputs):
            return {"scores": np.full((1, 3), np.nan, np.float32)}

    graph = GraphFile(
        "x", (Port("frame", "uint8", ("B", 3, 32, 32)),), (Port("scores", "float32", ("B", 3)),)
    )
    still = tiny().model
    parity = recognizer_parity(
        still, {"step": Opened(replace_batch(graph), Broken())}, np.zeros((2, 3, 32, 32), np.uint8)
    )
    assert not parity["step"].holds


def replace_batch(graph):
    """The same graph for one stream alone."""
    inputs = tuple(replace(port, shape=(1, *port.shape[1:])) for port in graph.inputs)
    return replace(graph, inputs=inputs)


def test_what_cannot_be_exported_is_told_before_any_work(tmp_path, monkeypatch, folder):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(LrcnError, match="holds other things than an exported model"):
        export(folder, "pt2", tmp_path)
    with pytest.raises(LrcnError, match=r"A \.pt2 has no 8-bit graph"):
        export(folder, "pt2", tmp_path / "x", int8=True)
    (tmp_path / "fused").mkdir()
    (tmp_path / "fused" / "config.json").write_text('{"task": "fuse"}')
    with pytest.raises(LrcnError, match="fuses several models .* export the folders in it one by one"):
        export(tmp_path / "fused", "pt2", tmp_path / "x")
    monkeypatch.setattr(lrcn.export.formats, "find_spec", lambda name: None)
    with pytest.raises(LrcnError, match=r"Export to onnx needs onnx, .* pip install 'lrcn\[export\]'"):
        export(folder, "onnx", tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--to", "onnx", "--calibrate", "a.mp4"], "--calibrate is for 8-bit graphs"),
        (["--to", "openvino", "--triton"], "--triton takes an ONNX graph"),
        (["--to", "onnx", "--triton", "--batch", "2"], "--triton takes an ONNX graph"),
        (["--to", "tflite"], "invalid choice"),
        (["--to", "onnx", "--batch", "0"], "'0' is not a whole number"),
    ],
)
def test_a_wrong_call_is_one_sentence(tmp_path, capsys, options, sentence):
    assert main(["export", "--model", "camera-moves", "--out", str(tmp_path / "x"), *options]) == 2
    said = capsys.readouterr().err
    assert sentence in said and len(said.splitlines()) == 1


def test_a_network_that_torch_cannot_trace_is_one_sentence(tmp_path):
    class Odd(torch.nn.Module):
        def forward(self, *given):
            return (given[0] if given[0].sum() > 0 else -given[0],)

    graph = replace(captioner_graphs(captioner(), 32)[0], module=Odd(), outputs=("x",))
    with pytest.raises(LrcnError, match="The graph look of this network cannot be written as pt2"):
        write_graph(graph, "pt2", tmp_path)


# ---- clips to calibrate on ----


def test_a_manifests_train_clips_are_calibrated_on_and_the_others_measured_on(tmp_path):
    rows = []
    for number, split in enumerate(("train", "test", "train", "dev")):
        path = make_video(tmp_path / f"{number}.mp4", count=4 + number)
        rows.append(Row(str(path), label=LABELS[number % 3], split=split))
    write_manifest(rows, tmp_path / "clips.jsonl")
    preparation = Preparation(Resize(16))
    parts = read_samples([str(tmp_path / "clips.jsonl")], preparation, Sampling(frames=None))
    first, others = ([(len(one.frames), one.label) for one in part] for part in parts)
    assert first == [(4, "pan"), (6, "roll")] and others == [(5, "tilt"), (7, "pan")]
    first, others = read_samples([str(tmp_path / f"{k}.mp4") for k in range(3)], preparation, Sampling())
    assert [len(one.frames) for one in first] == [4, 6] and [len(one.frames) for one in others] == [5]
    with pytest.raises(LrcnError, match="--calibrate names one clip"):
        read_samples([str(tmp_path / "0.mp4")], preparation, Sampling())


@pytest.fixture
def moves_recipe(tmp_path) -> Path:
    """A recipe that makes four clips of 8 frames of 16 px over two photos, and three to measure on."""
    for number in range(2):
        noise = np.random.default_rng(number).integers(256, size=(48, 64, 3), dtype=np.uint8)
        PIL.Image.fromarray(noise).save(tmp_path / f"{number}.png")
    (tmp_path / "names.txt").write_text("0.png\n1.png\n")
    names = f"photos: {tmp_path}, train: {tmp_path}/names.txt, dev: {tmp_path}/names.txt, length: 4, dev_length: 3"
    style = "style: {frames: 8, size: 16}, dev_style: {frames: 5, size: 16}"
    path = tmp_path / "moves.yaml"
    path.write_text(f"name: moves\ndata: {{moves: {{{names}, {style}}}}}\npreprocess: {{size: 16}}\n")
    return path


def test_a_recipes_training_clips_are_calibrated_on_and_its_dev_clips_measured_on(moves_recipe):
    preparation = Preprocess(16).preparation()
    first, others = map(list, read_samples([str(moves_recipe)], preparation, Sampling()))
    assert [one.frames.shape for one in first] == [(8, 3, 16, 16)] * 4
    assert [one.frames.shape for one in others] == [(5, 3, 16, 16)] * 3
    assert [one.label for one in others] == [*MOVES[:2], MOVES[1]]
    with pytest.raises(LrcnError, match="prepares frames unlike this model"):
        read_samples([str(moves_recipe)], Preprocess(24).preparation(), Sampling())
    no_dev = moves_recipe.read_text().replace(f"dev: {moves_recipe.parent}/names.txt, ", "")
    moves_recipe.write_text(no_dev)
    with pytest.raises(LrcnError, match="has no dev photos"):
        read_samples([str(moves_recipe)], preparation, Sampling())
    moves_recipe.write_text("name: files\ndata: {source: clips.jsonl}\n")
    with pytest.raises(LrcnError, match="makes no clips: give the manifest that it trains on, clips.jsonl"):
        read_samples([str(moves_recipe)], preparation, Sampling())


# ---- captions ----


def captioner(**changes):
    torch.manual_seed(1)
    settings = {"size": 8, "embedding": 8, "attention": 4, "init_range": 1.0}
    return Captioner(CaptionerConfig(GRID, 8, decoder=DecoderConfig(**settings | changes)), 9).eval()


@pytest.mark.slow
@needs_onnx
def test_captions_without_torch_are_those_of_the_model(tmp_path):
    words = (UNKNOWN, "a", "red", "blue", "circle", "square", "of", "left")
    decoding = Decoding(beam=3, max_length=6, length_penalty=0.7)
    save_captioner(
        tmp_path / "model",
        captioner(),
        PhotoPreprocess(32, 40, "crop"),
        Tokenizer(words),
        decoding,
        half=False,
    )
    result = export(tmp_path / "model", "onnx", tmp_path / "out")
    assert result.parity["word"].compared >= 100 and result.parity["word"].holds
    ours, theirs = load_captioner(tmp_path / "model"), RuntimeCaptioner(tmp_path / "out", threads=1)
    for photo in pictures(4, side=50):
        expected, found = ours.caption(photo, best=3), theirs.caption(photo, best=3)
        assert (found.path, found.caption) == (expected.path, expected.caption)
        assert [one.caption for one in found.others] == [one.caption for one in expected.others]
        assert abs(found.log_prob - expected.log_prob) < 1e-4
        greedy = ours.caption(photo, decoding=Decoding(max_length=9)).caption
        assert theirs.caption(photo, beam=1, max_length=9, length_penalty=0).caption == greedy
        assert "<unk>" not in found.caption
    with pytest.raises(LrcnError, match="4 sentences are asked for, and 3 are kept"):
        theirs.caption(pictures(1)[0], best=4)


# ---- all other networks and forms, graph by graph ----


def opened(graphs, form, folder):
    files = {graph.name: write_graph(graph, form, folder) for graph in graphs}
    return {name: Opened(file, open_graph(folder, file, form)) for name, file in files.items()}


def recognizer(unit, bidirectional=False, pool="mean", layers=1):
    torch.manual_seed(0)
    config = RecognizerConfig(
        GRID,
        ReadingConfig(("appearance", "difference", "correlation"), 8),
        RecurrentConfig(unit, 8, layers, bidirectional=bidirectional),
        HeadConfig(pool, 4),
    )
    return Recognizer(config, LABELS).eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "settings"),
    [
        pytest.param("onnx", ("caffe-rnn", False, "attention", 2), marks=needs_onnx),
        pytest.param("openvino", ("gru", True, "mean", 2), marks=needs_openvino),
        ("pt2", ("gru", True, "mean", 2)),
        ("pt2", ("lstm", False, "last")),
    ],
    ids=["ONNX", "OpenVINO both ways", "pt2 both ways", "pt2"],
)
def test_a_recogniser_is_the_same_in_any_form(tmp_path, form, settings):
    model = recognizer(*settings)
    graphs = opened(recognizer_graphs(model, 32, form), form, tmp_path)
    assert ("step" in graphs) == model.causal
    parity = recognizer_parity(model, graphs, film_frames(Preparation(Resize(32)), 60))
    assert all(part.holds for part in parity.values()), parity
    # One frame of one clip, the smallest there is.
    one = np.full((1, 1, 3, 32, 32), 7, np.uint8)
    found = graphs["clip"].session.run({"frames": one, "lengths": np.ones(1, np.int64)})
    expected = model(torch.from_numpy(one)).detach()
    np.testing.assert_allclose(found["scores"], expected, atol=1e-5)


@pytest.mark.slow
@needs_openvino
def test_openvino_in_eight_bits_and_a_fixed_batch_with_the_accuracy_beside_it(tmp_path, folder, model):
    rows = []
    for number in range(4):
        path = make_video(tmp_path / f"{number}.mp4", count=10)
        split = "train" if number < 2 else "test"
        rows.append(Row(str(path), label=LABELS[number % 3], split=split))
    write_manifest(rows, tmp_path / "clips.jsonl")
    out = tmp_path / "out"
    call = ["export", "--model", str(folder), "--to", "openvino", "--out", str(out), "--int8", "--batch", "2"]
    assert main([*call, "--calibrate", str(tmp_path / "clips.jsonl")]) == 0
    graphs = read_exported(out).graphs
    assert graphs["step"].inputs[0].shape == (2, 3, 32, 32) and graphs["clip"].outputs[0].shape == (2, "T", 3)
    report = json.loads((out / "parity.json").read_text())["int8"]
    assert report["clips"] == 2 and 0 <= report["accuracy"] <= 1 and 0 <= report["accuracy_fp32"] <= 1
    assert not list(out.glob("*.onnx")) and (out / "step.int8.bin").is_file()
    ours = Stream(model)
    exact, narrow = (RuntimeStream(out, int8=int8, threads=1) for int8 in (False, True))
    for k, frame in enumerate(pictures(3)):
        expected = ours.push(frame, k / 10).per_step
        np.testing.assert_allclose(exact.push(frame, k / 10).per_step, expected, atol=1e-5)
        np.testing.assert_allclose(narrow.push(frame, k / 10).per_step, expected, atol=0.3)


@pytest.mark.slow
def test_a_captioner_is_the_same_for_torch(tmp_path):
    model = captioner(attention=0, unit="gru", layers=1, image_at=(0,))
    graphs = opened(captioner_graphs(model, 32), "pt2", tmp_path)
    assert captioner_parity(model, graphs, photo_frames(Preparation(Resize(32))))["word"].holds


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "inputs", "arrangement"),
    [
        pytest.param("onnx", "frames", "attention", marks=needs_onnx),
        ("pt2", "frames", "s2vt"),
        ("pt2", "labels", "seq2seq"),
        ("pt2", "prob", "mean"),
    ],
)
def test_a_describer_is_the_same_in_any_form(tmp_path, form, inputs, arrangement):
    torch.manual_seed(0)
    decoder = DecoderConfig(
        size=8, embedding=8, attention=4 if arrangement == "attention" else 0, init_range=1.0
    )
    config = DescriberConfig(
        inputs, arrangement, 0 if inputs == "frames" else 6, GRID, 8, moments=4, decoder=decoder
    )
    model = Describer(config, 9).eval()
    graphs = opened(describer_graphs(model, 32), form, tmp_path)
    parity = describer_parity(model, graphs, film_frames(Preparation(Resize(32))))
    assert parity["word"].compared >= 100 and parity["word"].holds


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "changes"),
    [
        pytest.param("onnx", {}, marks=needs_onnx),
        pytest.param("openvino", {"key_frames": 3, "pooled": True}, marks=needs_openvino),
        ("pt2", {"labels": ("still", "moving")}),
    ],
    ids=["ONNX", "OpenVINO, told nothing", "pt2"],
)
def test_a_describer_of_shots_is_the_same_in_any_form(tmp_path, form, changes):
    save_shot_describer(tmp_path / "model", tiny_describer(**changes))
    result = export(tmp_path / "model", form, tmp_path / "out")
    parts = ["word"] if changes.get("pooled") else ["step", "word"]
    assert sorted(result.parity) == parts and all(part.compared >= 20 for part in result.parity.values())


@pytest.mark.slow
@needs_onnx
def test_a_joint_embedding_is_the_same_as_onnx(tmp_path):
    torch.manual_seed(0)
    model = JointEmbedding(JointConfig(GRID, 8, 8, RecurrentConfig("gru", 8, bidirectional=True)), 20).eval()
    graphs = opened(joint_graphs(model, 32, "onnx"), "onnx", tmp_path)
    parity = joint_parity(model, graphs, photo_frames(Preparation(Resize(32))))
    assert parity["image"].holds and parity["sentence"].holds
