"""The bench of the three ways of describing: the same scenes for all, nothing run twice, a picture of what it says."""

import json
from pathlib import Path

import pytest

from lrcn.bench import describing as bench
from lrcn.bench import run
from lrcn.errors import LrcnError
from lrcn.train import stretches

SMALL = {"noises": [0.0, 0.5], "seeds": 1, "scenes": 30, "test": 12, "epochs": 1}


def test_it_measures_draws_and_does_nothing_twice(tmp_path, monkeypatch):
    rows = run("cooking", **SMALL, out=str(tmp_path))["rows"]
    assert [row["name"] for row in rows] == ["noise 0", "noise 0.5"]
    assert rows[0]["right"] == 1 > rows[1]["right"] > 0.2
    # Without noise the probabilities are the vector of the most probable labels.
    assert (rows[0]["b"], rows[0]["c_minus_b"], rows[0]["c_minus_b_spread"]) == (rows[0]["c"], 0, 0)
    assert (tmp_path / "cooking.png").stat().st_size > 10_000
    kept = json.loads(Path(tmp_path / "noise-0.5" / "a" / "seed-0.json").read_text())
    assert set(kept) == {"bleu_4", "cider_d", "right", "run"}
    monkeypatch.setattr(stretches, "fit", None)
    assert run("cooking", **SMALL, out=str(tmp_path))["rows"] == rows
    with pytest.raises(TypeError):
        run("cooking", **{**SMALL, "epochs": 2}, out=str(tmp_path))


def test_means_and_spreads_are_over_seeds_and_differences_are_of_pairs():
    found = {
        name: [{"bleu_4": value, "right": 0.5} for value in values]
        for name, values in {"a": (10, 12), "b": (11, 15), "c": (13, 17)}.items()
    }
    row = bench._row(0.5, found)
    assert (row["a"], row["b"], row["c"]) == (11, 13, 15)
    assert (row["a_spread"], row["c_minus_b"], row["c_minus_b_spread"]) == (1.41, 2, 0)


def test_nothing_to_do_is_refused():
    for wrong in ({"seeds": 0}, {"noises": []}):
        with pytest.raises(LrcnError, match="give one or more of both"):
            run("cooking", **wrong)
