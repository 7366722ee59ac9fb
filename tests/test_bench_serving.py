"""The bench of the server: what it counts is what was said, and it would notice what it is there to notice."""

import asyncio
import os

import pytest
from made_server import Arithmetic, arithmetic, everything, listening, recognizer

from lrcn.bench import BENCHES, serving
from lrcn.bench.serving import _by_quarters, _compared, _Load, _pictures, _row, _Talk
from lrcn.models.folder import save_model
from lrcn.serve.limits import Limits

pytest.importorskip("fastapi", reason="needs the extra serve: pip install 'lrcn[serve]'")
pytest.importorskip("websockets", reason="needs the extra serve: pip install 'lrcn[serve]'")


OVERLOAD = {"overload_fps": 40.0, "overload_seconds": 1.0}


@pytest.fixture(scope="module")
def pictures():
    return _pictures("", 32, 24)


@pytest.fixture
def loaded(monkeypatch, pictures):
    monkeypatch.setattr(serving, "_ALONE", 0.4)

    def run(make, checked=0, connections=3, **options):
        values = {"fps": 10.0, "seconds": 1.0, "many": 2 * connections} | OVERLOAD | options
        with listening(make) as (host, port, _):
            load = _Load(f"http://{host}:{port}", os.getpid(), pictures, connections, **values)
            return asyncio.run(load.run(checked))

    return run


def test_frames_refusals_and_memory_are_counted(loaded):
    limits = Limits(live_connections=3)
    rows, _ = loaded(lambda: arithmetic(Arithmetic(delay=0.05), limits))
    before, many, *memory, over, after = rows
    assert [row["name"] for row in (before, many, over, after)] == [
        *("one connection, before", "3 connections"),
        *("overload, 6 connections", "one connection, after the overload"),
    ]
    assert many["answered"] + many["dropped"] == many["sent"] >= 20
    for row in (before, many, over, after):
        assert row["unaccounted"] == row["out_of_order"] == row["errors"] == row["broken"] == 0
        assert row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
    assert over["refused_1013"] == 3 and over["dropped"] > 0
    assert after["refused_1013"] == 0 and after["ratio_to_before"] > 0
    assert memory and all(row["mib_mean"] > 10 for row in memory)


def test_answers_are_compared_with_those_of_streams_of_their_own(loaded, tmp_path, pictures):
    one = recognizer()
    save_model(tmp_path / "tiny", one.model, one.preprocess, one.sampling, half=False)
    _, talks = loaded(lambda: everything(Limits()), checked=2, connections=2)
    (row,) = _compared(str(tmp_path / "tiny"), talks, pictures)
    assert row["compared"] == sum(len(talk.answered) for talk in talks) > 8
    assert row["max_difference"] < 1e-4
    talks[0].number += 1
    (row,) = _compared(str(tmp_path / "tiny"), talks, pictures)
    assert row["max_difference"] > 1e-3


def test_what_goes_missing_would_be_told():
    good = _Talk(0, sent=5, count=3, dropped=2, waits=[1.0, 2.0, 9.0], finished=True)
    lost = _Talk(1, sent=5, count=3, dropped=0, waits=[3.0], finished=True)
    refused, broken = _Talk(2, sent=0, refused=1013), _Talk(3, sent=4, refused=1006)
    row = _row("x", [good, lost, refused, broken], 2.0, 1.0)
    assert row["unaccounted"] == 2 and row["refused_1013"] == 1 and row["broken"] == 1
    assert (row["sent"], row["answered"], row["dropped"]) == (14, 6, 2)
    assert row["p50_ms"] == 2.5
    assert [part["mib_max"] for part in _by_quarters([(k, float(k)) for k in range(8)])] == [1, 3, 5, 7]
    assert BENCHES["serve"] is serving.serve
