"""Vectors on disk: what is kept, what is left out, and how many files there are."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrcn.data import vectors
from lrcn.data.vectors import Failed, Filed, Stamp, VectorStore, remove_vectors
from lrcn.errors import LrcnError

D = 4


def store_in(folder, key="key", size=D) -> VectorStore:
    return VectorStore(folder, key, size, model="tiny", what="photos")


def filed(name: str, value: float) -> Filed:
    return Filed(name, Stamp(int(value), 7), bytes([int(value)] * 16), torch.full((D,), value))


def content(store: VectorStore) -> dict[str, float]:
    return {
        name: float(part.vectors[row, 0])
        for part in store.parts
        for row, name in enumerate(part.names)
        if part.live[row]
    }


# A name is added, is told to have failed, or is forgotten; "!" opens the store again, "~" tidies it.
STEPS = st.lists(
    st.one_of(
        st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True),
        st.sampled_from(["-a", "-b", "-c", "xa", "xb", "!", "~"]),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(steps=STEPS)
def test_a_store_is_a_mapping_that_outlives_the_process(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("store") / "index"
    store, expected, failed, forgotten, number = store_in(folder), {}, {}, set(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "PART_ROWS", 4)
        for step in steps:
            number += 1
            if isinstance(step, list):
                store.add([filed(name, number) for name in step])
                expected |= dict.fromkeys(step, float(number))
                failed = {name: why for name, why in failed.items() if name not in step}
                forgotten -= set(step)
            elif step.startswith("x"):
                store.add([], {step[1]: Failed(Stamp(number, 1), "why")})
                failed[step[1]] = Failed(Stamp(number, 1), "why")
                expected.pop(step[1], None)
                forgotten.discard(step[1])
            elif step.startswith("-"):
                store.forget(step[1])
                expected.pop(step[1], None)
                failed.pop(step[1], None)
                forgotten.add(step[1])
            else:
                # Forgotten is what is gone from the folder; whoever opens a store looks there again.
                store = store_in(folder) if step == "!" else store
                for name in forgotten:
                    store.forget(name)
                store.tidy()
                assert sum(part.live.sum() < 2 for part in store.parts) <= 1
            assert content(store) == expected
            assert (len(store), dict(store.failed)) == (len(expected), failed)
            assert set(store.names()) == set(expected) | set(failed)
            for name, value in expected.items():
                assert store.stamp(name) == Stamp(int(value), 7)
                assert float(store.of_content(bytes([int(value)] * 16))[0]) == value


def test_many_vectors_are_kept_in_few_files(tmp_path, monkeypatch):
    monkeypatch.setattr(vectors, "PART_ROWS", 8)
    store = store_in(tmp_path)
    for number in range(1, 40):
        store.add([filed(f"{number}.jpg", number)])
        store.tidy()
    assert len(list(tmp_path.glob("*.safetensors"))) <= 39 / 4 + 1
    assert len(content(store_in(tmp_path))) == 39
    for number in range(1, 38):
        store.forget(f"{number}.jpg")
    store.tidy()
    assert content(store_in(tmp_path)) == {"38.jpg": 38, "39.jpg": 39}


def test_names_need_not_be_text(tmp_path):
    name = b"caf\xe9 \xf0\x9f\x90\x95\n.jpg".decode("utf-8", "surrogateescape")
    store_in(tmp_path).add([filed(name, 3)], {name + "2": Failed(Stamp(1, 2), "why")})
    store = store_in(tmp_path)
    assert (content(store), dict(store.failed)) == ({name: 3}, {name + "2": Failed(Stamp(1, 2), "why")})


def test_a_store_of_something_else_is_refused(tmp_path):
    store_in(tmp_path).add([filed("a", 1)])
    with pytest.raises(LrcnError, match="made by another model, tiny, than tiny"):
        store_in(tmp_path, key="other")
    about = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps(about | {"format": 99}))
    with pytest.raises(LrcnError, match="in another form"):
        store_in(tmp_path)
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(LrcnError, match=r"cannot be read .*--rebuild"):
        store_in(tmp_path)
    remove_vectors(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(store_in(tmp_path, key="other")) == 0


@pytest.mark.parametrize("damage", ["cut", "garbage", "names", "key"])
def test_a_damaged_part_tells_of_nothing(tmp_path, damage, caplog):
    store_in(tmp_path).add([filed("a", 1), filed("b", 2)])
    (path,) = tmp_path.glob("*.safetensors")
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[:-1])
    elif damage == "garbage":
        path.write_bytes(np.random.default_rng(0).bytes(500))
    elif damage == "names":
        path.write_bytes(data.replace(b'\\"a\\", \\"b\\"', b'\\"a\\"      '))
    else:
        path.write_bytes(data.replace(b'"key":"key"', b'"key":"yek"'))
    store = store_in(tmp_path)
    assert len(store) == 0
    store.add([filed("a", 1)])
    store.tidy()
    assert not path.exists()
    assert content(store_in(tmp_path)) == {"a": 1}
