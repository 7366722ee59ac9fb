"""Settings from YAML and the command line: what is given comes back, and what is wrong is one sentence."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lrcn.config import dotted_changes, from_values, merge, read_layers, read_yaml, to_values, to_yaml
from lrcn.errors import LrcnError

few = settings(max_examples=40, deadline=None, derandomize=True)
NUMBERS = st.floats(allow_nan=False)
TEXT = st.text(max_size=8)


@dataclass(frozen=True)
class Part:
    kind: Literal["adam", "sgd"] = "adam"
    rate: float = 1e-3
    limits: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Whole:
    name: str
    count: int = 1
    on: bool = False
    some: float | None = None
    either: float | Literal["auto"] = "auto"
    names: tuple[str, ...] = ()
    numbers: list[int] = field(default_factory=list)
    shares: dict[str, float] = field(default_factory=dict)
    path: Path | None = None
    part: Part = field(default_factory=Part)
    maybe: Part | None = None
    parts: tuple[Part, ...] = ()
    free: Any = None


PARTS = st.builds(
    Part, kind=st.sampled_from(["adam", "sgd"]), rate=NUMBERS, limits=st.tuples(NUMBERS, NUMBERS)
)
WHOLES = st.builds(
    Whole,
    name=TEXT,
    count=st.integers(),
    on=st.booleans(),
    some=st.none() | NUMBERS,
    either=NUMBERS | st.just("auto"),
    names=st.lists(TEXT, max_size=3).map(tuple),
    numbers=st.lists(st.integers(), max_size=3),
    shares=st.dictionaries(TEXT, NUMBERS, max_size=3),
    path=st.none() | st.sampled_from([Path("a/b.mp4"), Path("/x")]),
    part=PARTS,
    maybe=st.none() | PARTS,
    parts=st.lists(PARTS, max_size=2).map(tuple),
    free=st.none() | st.integers() | TEXT | st.lists(st.integers(), max_size=2),
)


@few
@given(whole=WHOLES)
def test_values_and_yaml_give_the_same_settings_back(whole):
    assert from_values(Whole, to_values(whole)) == whole
    assert from_values(Whole, yaml.safe_load(to_yaml(whole))) == whole


def test_yaml_keeps_the_order_of_the_fields():
    lines = to_yaml(Whole("x")).splitlines()
    assert [line.split(":")[0].strip("'") for line in lines[:4]] == ["name", "count", "on", "some"]


def refusal(do) -> str:
    with pytest.raises(LrcnError) as raised:
        do()
    sentence = str(raised.value)
    assert "\n" not in sentence and sentence[-1] in ".?"
    return sentence


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (3, "train is 3: give names and values below it."),
        ({}, "train.name is missing: give it a value."),
        ({"name": "x", "cuont": 1}, "train.cuont is not a known setting: did you mean count?"),
        ({"name": "x", 7: 1}, "train.7 is not a known setting: known here are name, count, on,"),
        ({"name": 3}, "train.name is 3: give text."),
        ({"name": "x", "count": 1.5}, "train.count is 1.5: give a whole number."),
        ({"name": "x", "count": True}, "train.count is True: give a whole number."),
        ({"name": "x", "count": None}, "train.count is None: give a whole number."),
        ({"name": "x", "on": 1}, "train.on is 1: give true or false."),
        ({"name": "x", "some": "much"}, "train.some is 'much': give a number."),
        ({"name": "x", "some": True}, "train.some is True: give a number."),
        ({"name": "x", "some": float("nan")}, "train.some is nan: give a number."),
        ({"name": "x", "some": "nan"}, "train.some is nan: give a number."),
        ({"name": "x", "names": "abc"}, "train.names is 'abc': give a list."),
        ({"name": "x", "names": ["a", 1]}, "train.names[1] is 1: give text."),
        ({"name": "x", "numbers": {"a": 1}}, "train.numbers is {'a': 1}: give a list."),
        ({"name": "x", "shares": [1]}, "train.shares is [1]: give names and values below it."),
        ({"name": "x", "shares": {"a": "b"}}, "train.shares.a is 'b': give a number."),
        ({"name": "x", "path": 3}, "train.path is 3: give a path."),
        ({"name": "x", "part": "adam"}, "train.part is 'adam': give names and values below it."),
        ({"name": "x", "part": {"kind": "lion"}}, "train.part.kind is 'lion': choose one of adam, sgd."),
        ({"name": "x", "part": {"limits": [1]}}, "train.part.limits is [1]: give 2 values."),
        ({"name": "x", "part": {"limits": [1, "b"]}}, "train.part.limits[1] is 'b': give a number."),
        (
            {"name": "x", "maybe": {"rates": 1}},
            "train.maybe.rates is not a known setting: did you mean rate?",
        ),
        ({"name": "x", "parts": [{}, {"kind": 1}]}, "train.parts[1].kind is 1: choose one of adam, sgd."),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_the_fix(values, sentence):
    assert refusal(lambda: from_values(Whole, values, "train")).startswith(sentence)


def test_a_place_without_a_name_is_called_by_its_kind():
    assert refusal(lambda: from_values(Whole, [])) == "Whole is []: give names and values below it."
    assert refusal(lambda: from_values(Whole, {"nam": 1})).startswith("nam is not")


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "0.001", "1.0e-3"])
def test_small_numbers_may_be_written_without_a_dot(text):
    assert from_values(Part, yaml.safe_load(f"rate: {text}")).rate == 1e-3
    assert from_values(Part, dotted_changes({"rate": text})).rate == 1e-3
    assert from_values(Whole, {"name": "x", "some": text, "either": text}).either == 1e-3


def test_a_whole_number_is_a_number_but_stays_one_where_asked():
    whole = from_values(Whole, {"name": "x", "some": 2, "count": 2})
    assert isinstance(whole.some, float) and isinstance(whole.count, int)


def test_yaml_is_read(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("name: Überblick\npart: {kind: sgd}\n", encoding="utf-8")
    assert from_values(Whole, read_yaml(path)) == Whole("Überblick", part=Part("sgd"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name: x\npart: [1, 2\nmore: 3\n", "line 3 is not valid YAML"),
        (b"name: x\n\tcount: 3\n", "line 2 is not valid YAML"),
        (b"name: 'x\n", "is not valid YAML"),
        (b"a: 1\nb: !!python/object/apply:os.getcwd []\n", "line 2 is not valid YAML"),
        (b"day: 2020-13-45\n", "is not valid YAML"),
        (b"\xff\xfe\x00a", "is not valid YAML"),
        (b"", "holds no settings"),
        (b"- a\n- b\n", "holds no settings"),
        (b"just words", "holds no settings"),
    ],
)
def test_yaml_that_cannot_be_used_is_named_with_its_line(tmp_path, content, said):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    sentence = refusal(lambda: read_yaml(path))
    assert str(path) in sentence and said in sentence
    assert "Cannot read" in refusal(lambda: read_yaml(tmp_path / "none.yaml"))
    assert "Cannot read" in refusal(lambda: read_yaml(tmp_path))


def test_a_file_may_be_built_on_others(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "first.yaml").write_text("name: first\npart: {kind: sgd, rate: 0.1}\nsome: 2.0\n")
    (tmp_path / "second.yaml").write_text("base: below/first.yaml\npart: {rate: 0.5}\n")
    (tmp_path / "third.yaml").write_text("base: second.yaml\nname: third\nsome: 3.0\n")
    assert read_layers(tmp_path / "third.yaml") == {
        "name": "third",
        "part": {"kind": "sgd", "rate": 0.5},
        "some": 3.0,
    }
    assert read_layers(tmp_path / "below" / "first.yaml") == read_yaml(tmp_path / "below" / "first.yaml")


def test_a_base_that_is_none_is_named(tmp_path):
    for name, base in (
        ("a", "b.yaml"),
        ("b", "a.yaml"),
        ("own", "own.yaml"),
        ("gone", "none.yaml"),
        ("two", "[a, b]"),
    ):
        (tmp_path / f"{name}.yaml").write_text(f"base: {base}\n")
    sentence = refusal(lambda: read_layers(tmp_path / "a.yaml"))
    assert f"{tmp_path / 'b.yaml'} is built on {tmp_path / 'a.yaml'}, which is built on it" in sentence
    assert "own.yaml is built on" in refusal(lambda: read_layers(tmp_path / "own.yaml"))
    assert "Cannot read" in refusal(lambda: read_layers(tmp_path / "gone.yaml"))
    assert "base of" in refusal(lambda: read_layers(tmp_path / "two.yaml"))


def test_dotted_changes_are_read_as_yaml_and_laid_over():
    changes = dotted_changes(
        {
            "train.lr": "0.01",
            "train.max-steps": "7",
            "data.names": "[a, b]",
            "on": "true",
            "none": "null",
            "empty": "",
        }
    )
    assert changes == {
        "train": {"lr": 0.01, "max_steps": 7},
        "data": {"names": ["a", "b"]},
        "on": True,
        "none": None,
        "empty": "",
    }
    assert merge({"train": {"lr": 1, "kept": 2}, "on": False}, changes)["train"] == {
        "lr": 0.01,
        "kept": 2,
        "max_steps": 7,
    }


def test_a_change_that_is_no_yaml_is_named():
    for text in ("[1, 2", "a: b: c", "'open", "2020-13-45"):
        assert refusal(lambda text=text: dotted_changes({"train.lr": text})).startswith(
            f"train.lr is {text!r}:"
        )


TREES = st.recursive(
    st.integers(), lambda below: st.dictionaries(st.sampled_from("abc"), below, max_size=3), max_leaves=8
).filter(lambda tree: isinstance(tree, dict))


@few
@given(base=TREES, changes=TREES)
def test_a_merge_has_every_change_keeps_the_rest_and_touches_neither(base, changes):
    before = repr((base, changes))

    def check(merged, base, changes):
        assert merged.keys() == base.keys() | changes.keys()
        for name, value in merged.items():
            if name not in changes:
                assert value == base[name]
            elif isinstance(changes[name], dict) and isinstance(base.get(name), dict):
                check(value, base[name], changes[name])
            else:
                assert value == changes[name]

    check(merge(base, changes), base, changes)
    assert repr((base, changes)) == before and merge(base, {}) == base
