"""Description in use: from labels of a recogniser, from features and from videos of any length, by one command."""

import json
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from lrcn.cli import main
from lrcn.config import from_values
from lrcn.data.manifest import Row, write_manifest
from lrcn.data.sampling import Sampling
from lrcn.data.slots import Slots
from lrcn.data.tokenizer import Tokenizer
from lrcn.data.transforms import Preprocess
from lrcn.errors import LrcnError
from lrcn.generate import Decoding
from lrcn.models.describer import Describer, DescriberConfig
from lrcn.models.describer_folder import LoadedDescriber, save_describer
from lrcn.models.folder import save_model
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.predict import Failure
from lrcn.predict_descriptions import describe, describe_many

WORDS = Tokenizer(("<unk>", "a", "person", "cuts", "peels", "it"))
SLOTS = Slots({"act": ("cut", "peel"), "tool": ("hand", "knife")})


def describer(inputs, arrangement="seq2seq", **changes) -> LoadedDescriber:
    torch.manual_seed(3)
    values = {
        "inputs": inputs,
        "arrangement": arrangement,
        "given": 0 if inputs == "frames" else 4,
        "features": 4,
        "moments": 3,
        "encoder": {"name": "test_efficientnet", "weights": "none"},
        "decoder": {
            "size": 8,
            "embedding": 4,
            "init_range": 0.9,
            "attention": 4 * (arrangement == "attention"),
        },
    }
    model = Describer(from_values(DescriberConfig, values), WORDS.size).eval()
    slots = None if inputs in ("features", "frames") else SLOTS
    kept = {"preprocess": Preprocess(size=32), "decoding": Decoding(beam=3, max_length=6)}
    return LoadedDescriber(model, WORDS, slots, **kept | changes)


def video(path, frames=6, size=48):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (size, size))
    rng = np.random.default_rng(1)
    for _ in range(frames):
        writer.write(
            np.kron(rng.integers(0, 256, (4, 4, 3), np.uint8), np.ones((size // 4,) * 2 + (1,), np.uint8))
        )
    writer.release()
    return str(path)


def recogniser(labels):
    torch.manual_seed(1)
    values = {"encoder": {"name": "test_efficientnet", "weights": "none"}, "reading": {"features": 4}}
    return Recognizer(from_values(RecognizerConfig, {**values, "recurrent": {"size": 4}}), labels).eval()


@pytest.mark.parametrize("inputs", ["labels", "max", "prob"])
def test_labels(inputs):
    loaded = describer(inputs, "seq2seq" if inputs == "labels" else "mean")
    row = Row(
        "a.mp4", id="one", start=1.0, end=2.5, extra={"act": {"cut": 0.4, "peel": 0.6}, "tool": "knife"}
    )
    said = describe(loaded, row, best=3)
    assert (said.path, said.id, said.labels) == ("a.mp4", "one", None)
    (shot,) = said.shots
    assert (shot.start, shot.end) == (1.0, 2.5) and len(shot.others) == 2
    assert shot.log_prob >= shot.others[0][1] >= shot.others[1][1]
    record = json.loads(json.dumps(said.to_json()))
    assert list(record) == ["path", "shots", "id"] and set(record["shots"][0]) == {
        "start",
        "end",
        "sentence",
        "log_prob",
        "others",
    }
    # What is given matters, but to the most probable labels only what is most probable.
    other = describe(loaded, replace(row, extra={"act": {"cut": 0.3, "peel": 0.7}, "tool": "knife"}), best=3)
    assert (other.shots[0].log_prob == shot.log_prob) == (inputs != "prob")
    with pytest.raises(LrcnError, match="says nothing of act, tool: give a manifest"):
        describe(loaded, "a.mp4")


def test_a_recogniser_fills_the_slot_of_its_labels(tmp_path):
    loaded = describer("prob", "mean")

    def saying(labels, **probabilities):
        seen = SimpleNamespace(probabilities=probabilities)
        return SimpleNamespace(labels=labels, recognize=lambda path, **options: seen)

    acts, tools = saying(["peel", "cut"], peel=0.9, cut=0.1), saying(["knife", "saw"], knife=0.5, saw=0.5)
    row = Row("a.mp4")
    said = describe(loaded, row, recognizers=[tools, acts])
    given = replace(row, extra={"act": {"peel": 0.9, "cut": 0.1}, "tool": {"knife": 0.5, "saw": 0.5}})
    assert said.shots == describe(loaded, given).shots
    assert said.labels == {"act": "peel", "tool": "knife"}
    # What the row says of the other slots stays.
    assert describe(loaded, replace(row, extra={"tool": "hand"}), recognizers=[acts]).labels == {
        "act": "peel"
    }
    for wrong in ([acts, acts], [saying(["wave"], wave=1.0)]):
        with pytest.raises(LrcnError, match="has no slot of its own among act, tool"):
            describe(loaded, row, recognizers=wrong)


@pytest.mark.parametrize("arrangement", ["seq2seq", "s2vt", "mean", "attention"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_features_of_any_length(tmp_path, arrangement, suffix, monkeypatch):
    from lrcn import predict_descriptions

    loaded = describer("features", arrangement)
    values = np.random.default_rng(0).normal(size=(23, 4)).astype(np.float32)
    path = tmp_path / f"a{suffix}"
    np.save(path, values) if suffix == ".npy" else np.savez(path, values)
    with torch.inference_mode():
        state = loaded.model.initial_state(torch.from_numpy(values)[None])
    whole = describe(loaded, str(path)).shots[0]
    monkeypatch.setattr(predict_descriptions, "CHUNK", 5)
    pieces = describe(loaded, str(path)).shots[0]
    assert pieces.sentence == whole.sentence and pieces.log_prob == pytest.approx(whole.log_prob, abs=1e-4)
    ready = predict_descriptions._from_features(loaded, Row(str(path)))
    assert all(torch.allclose(value, state[name], atol=1e-5) for name, value in ready.items())
    some = replace(loaded, sampling=Sampling(frames=4, spread="uniform"))
    with torch.inference_mode():
        chosen = loaded.model.initial_state(torch.from_numpy(values[[2, 8, 14, 20]])[None])
    ready = predict_descriptions._from_features(some, Row(str(path)))
    assert all(torch.allclose(value, chosen[name], atol=1e-5) for name, value in ready.items())


def test_videos_are_read_in_pieces(tmp_path, monkeypatch):
    from lrcn import predict_descriptions

    path = video(tmp_path / "a.avi", 9)
    for arrangement in ("seq2seq", "attention"):
        loaded = describer("frames", arrangement)
        whole = describe(loaded, path)
        assert whole.shots[0].end == pytest.approx(0.9, abs=0.01) and whole.warning is None
        monkeypatch.setattr(predict_descriptions, "CHUNK", 2)
        pieces = describe(loaded, path).shots[0]
        monkeypatch.undo()
        assert pieces.sentence == whole.shots[0].sentence
        assert pieces.log_prob == pytest.approx(whole.shots[0].log_prob, abs=1e-3)
    part = describe(loaded, path, start=0.3, end=0.6).shots[0]
    assert (part.start, part.end) == (0.3, 0.6) and part.log_prob != pieces.log_prob
    with pytest.raises(LrcnError, match="no frames from 5 s on"):
        describe(loaded, path, start=5.0)


def test_what_fails_is_told_and_the_rest_goes_on(tmp_path):
    loaded = describer("features")
    np.save(tmp_path / "a.npy", np.zeros((2, 4), np.float32))
    good, bad = str(tmp_path / "a.npy"), str(tmp_path / "b.npy")
    first, second = describe_many(loaded, [bad, good])
    assert isinstance(first, Failure) and first.path == bad and second.path == good
    with pytest.raises(LrcnError, match="4 sentences are asked for, and 3 are kept"):
        describe(loaded, good, best=4)
    drawn = [describe(loaded, good, decoding=Decoding(samples=4), seed=seed, best=1) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1]


# ---- the command ----


def test_a_recogniser_and_a_describer_by_one_command(tmp_path, capsys):
    save_describer(tmp_path / "describer", describer("prob", "mean"))
    model = recogniser(["cut", "peel"])
    save_model(tmp_path / "recogniser", model, Preprocess(size=32), Sampling(frames=None))
    path = video(tmp_path / "a.avi")
    command = ["describe", path, "--model", str(tmp_path / "describer"), "--device", "cpu"]
    both = [*command, "--recognizer", str(tmp_path / "recogniser")]
    assert main([*both, "--format", "jsonl"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["path"] == path and set(record["labels"]) == {"act"}
    assert main([*both, "--nbest", "2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{path}  {record['shots'][0]['sentence']}  ({record['labels']['act']})\n")
    assert len(out.splitlines()) == 2
    assert main(command) == 1
    assert "says nothing of act, tool" in capsys.readouterr().err


def test_what_recognize_writes_can_be_described(tmp_path, capsys):
    save_model(
        tmp_path / "recogniser", recogniser(["cut", "peel"]), Preprocess(size=32), Sampling(frames=None)
    )
    loaded = replace(
        describer("prob", "mean"), slots=Slots({"probabilities": ("cut", "peel", "wash", "stir")})
    )
    save_describer(tmp_path / "describer", loaded)
    path, found = video(tmp_path / "a.avi"), str(tmp_path / "found.jsonl")
    recognize = [
        "recognize",
        path,
        "--model",
        str(tmp_path / "recogniser"),
        "--format",
        "jsonl",
        "--out",
        found,
    ]
    assert main([*recognize, "--device", "cpu"]) == 0
    capsys.readouterr()
    assert main(["describe", found, "--model", str(tmp_path / "describer"), "--device", "cpu"]) == 0
    assert capsys.readouterr().out.startswith(path)


def test_inputs_that_are_not_there_or_never_end_are_told(tmp_path, capsys):
    save_describer(tmp_path / "describer", describer("prob", "mean"))
    rows = [Row(str(tmp_path / "a.mp4"), id="a", extra={"act": "cut"}), Row(str(tmp_path / "b.mp4"), id="b")]
    write_manifest(rows, tmp_path / "clips.jsonl")
    command = ["describe", "--model", str(tmp_path / "describer"), "--device", "cpu"]
    assert main([*command, str(tmp_path / "clips.jsonl"), "rtsp://camera/1", str(tmp_path / "no.mp4")]) == 1
    told = capsys.readouterr()
    assert told.out.startswith("a  ") and len(told.out.splitlines()) == 1
    assert "b.mp4 says nothing of act, tool" in told.err
    assert "never ends: give --end" in told.err and "Nothing matches" in told.err
    (tmp_path / "bad.jsonl").write_text("{")
    out = str(tmp_path / "out.jsonl")
    assert main([*command, str(tmp_path / "bad.jsonl"), "--format", "jsonl", "--out", out]) == 1
    assert "not JSON" in json.loads((tmp_path / "out.jsonl").read_text())["error"]
    capsys.readouterr()
    assert main([*command, "a.mp4", "--beam", "2", "--samples", "3"]) == 2
    assert "describe: give either --beam or --samples" in capsys.readouterr().err
