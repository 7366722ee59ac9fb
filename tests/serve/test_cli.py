"""`lrcn serve`: its options, its mistakes, and what it says."""

import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from made_recognizer import tiny

import lrcn.serve.server
from lrcn.cli import main
from lrcn.models.folder import save_model
from lrcn.serve.limits import Limits
from lrcn.serve.metrics import Metrics


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    one = tiny(rate=10.0)
    save_model(folder, one.model, one.preprocess, one.sampling)
    return folder


@pytest.fixture
def started(monkeypatch):
    """Calls the verb, and gives what the server was started with."""
    pytest.importorskip("fastapi", reason="needs the extra serve: pip install 'lrcn[serve]'")
    given = {}

    def serve(load, host, port, *, limits, hosts, ready):
        given.update(load=load, host=host, port=port, limits=limits, hosts=hosts)
        given["threads"] = torch.get_num_threads()
        ready(f"http://{host}:{port}")
        return 15

    monkeypatch.setattr(lrcn.serve.server, "serve", serve)

    def run(*arguments):
        given.clear()
        return main(["serve", *map(str, arguments)]), given

    return run


def test_the_models_that_are_asked_for_are_loaded_and_the_signal_is_told(started, model, capsys):
    code, given = started("--recognizer", model, "--caption", "none", "--describe", "none", "--port", 0)
    assert code == 143
    assert (given["host"], given["port"], given["hosts"]) == ("127.0.0.1", 0, [])
    assert given["limits"] == Limits()
    served = given["load"]()
    assert served.names == {"recognize": str(model)}
    assert served.recognizer.labels == ["pan", "tilt", "roll"] and served.rate == 10.0
    told = capsys.readouterr()
    assert told.out == "Serving at http://127.0.0.1:0 (Ctrl-C ends it)\n" and told.err == ""


@pytest.mark.parametrize(("options", "number"), [((), 1), (("--threads", 2), 2)])
def test_a_frame_is_computed_on_one_thread_or_as_many_as_asked(started, model, options, number):
    before = torch.get_num_threads()
    _, given = started("--recognizer", model, "--caption", "none", "--describe", "none", *options)
    assert given["threads"] == number
    assert torch.get_num_threads() == before


def test_every_limit_is_an_option(started, model, capsys):
    options = [text for one in fields(Limits) for text in (f"--{one.name.replace('_', '-')}", "7")]
    _, given = started("--recognizer", model, "--caption", "none", "--describe", "none", *options)
    assert given["limits"] == Limits(**{one.name: 7 for one in fields(Limits)})
    capsys.readouterr()
    assert main(["serve", "--help"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("Examples:\n  lrcn serve\n")
    assert all(option in told for option in options[::2])


def test_the_documentation_tells_every_limit_and_every_number():
    told = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    for one in fields(Limits):
        assert f"| `--{one.name.replace('_', '-')}` | {int(one.default)} |" in told
    names = [line.split()[2] for line in Metrics(Limits()).text().splitlines() if line.startswith("# TYPE")]
    assert [name for name in names if f"`{name}" not in told] == []


def test_another_host_is_warned_of_once(started, model, capsys):
    only = ("--recognizer", model, "--caption", "none", "--describe", "none")
    _, given = started(*only, "--host", "0.0.0.0", "--allow-host", "a.lan", "--allow-host", "b.lan")
    assert given["host"] == "0.0.0.0" and given["hosts"] == ["a.lan", "b.lan"]
    (line,) = capsys.readouterr().err.splitlines()
    assert "whoever can reach 0.0.0.0 can use this server" in line
    started(*only, "--host", "::1")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--recognizer", "none-such"], "There is no model 'none-such'"),
        (["--caption", "camera-moves"], "is a model for the task recognize, not caption"),
        (["--index", "no-such-folder"], "is no folder"),
        (["--port", "x"], "--port"),
        (["--port", "70000"], "--port"),
        (["--queue", "0"], "not a whole number from 1 up"),
        (["--seconds", "0"], "not a number above 0"),
        (["--recognizer", "none", "--caption", "none", "--describe", "none"], "nothing is left to serve"),
        (["film.mp4"], "unrecognized arguments"),
    ],
)
def test_wrong_calls_are_one_sentence(started, capsys, arguments, sentence):
    code, given = started(*arguments)
    told = capsys.readouterr()
    assert (code, given, told.out) == (2, {}, "")
    assert sentence in told.err and len(told.err.splitlines()) == 1


def test_without_the_extra_a_sentence_says_how_to_have_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert main(["serve", "--caption", "none"]) == 2
    assert (
        capsys.readouterr().err == "lrcn: lrcn serve needs FastAPI and uvicorn: pip install 'lrcn[serve]'.\n"
    )
