"""Labels in slots: as a sequence, as a vector of the most probable, and as probabilities."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lrcn.config import from_values, to_values
from lrcn.data.descriptions import DescribedClips, LabelClips
from lrcn.data.manifest import Row
from lrcn.data.slots import Slots, weights_of
from lrcn.errors import LrcnError

SLOTS = Slots({"act": ("cut", "peel"), "tool": ("hand", "knife", "pot")})


def test_a_label_a_list_and_probabilities():
    given = {"act": "peel", "tool": {"hand": 0.2, "knife": 0.7, "pot": 0.1}}
    assert SLOTS.size == 5
    assert SLOTS.ids(given).tolist() == [2, 4]
    assert SLOTS.vector(given, "max").tolist() == [0, 1, 0, 1, 0]
    assert torch.allclose(SLOTS.vector(given, "prob"), torch.tensor([0, 1, 0.2, 0.7, 0.1]))
    several = {"tool": ["pot", "hand"]}
    assert SLOTS.ids(several).tolist() == [5, 3]
    assert SLOTS.vector(several, "max").tolist() == SLOTS.vector(several, "prob").tolist() == [0, 0, 1, 0, 1]


def test_what_is_not_known_is_left_out():
    given = {"act": "fly", "tool": {"wand": 0.9, "hand": 0.1}, "where": "here"}
    assert SLOTS.ids(given).tolist() == [3]
    assert SLOTS.vector(given, "max").tolist() == [0, 0, 1, 0, 0]
    assert SLOTS.ids({"act": "fly"}).tolist() == [0] and not SLOTS.vector({}, "prob").any()


@given(st.lists(st.floats(0.001, 0.999), min_size=3, max_size=3, unique=True))
def test_the_most_probable_is_what_the_vector_is_largest_at(probabilities):
    given = {"tool": dict(zip(SLOTS.labels["tool"], probabilities, strict=True))}
    prob, top = SLOTS.vector(given, "prob"), SLOTS.vector(given, "max")
    assert top.argmax() == prob.argmax() == SLOTS.ids(given)[0] - 1 and top.sum() == 1


def test_they_are_learned_from_rows():
    rows = [
        Row("a", extra={"act": "peel", "tool": {"knife": 0.5, "hand": 0.5}}),
        Row("b", extra={"act": "cut", "tool": json.dumps(["pot", "hand"])}),
        Row("c", label="x"),
    ]
    assert Slots.learn(rows, ["act", "tool"]) == SLOTS
    assert Slots.learn(rows, ["label"]).labels == {"label": ("x",)}
    with pytest.raises(LrcnError, match="No training row has the field 'place'"):
        Slots.learn(rows, ["act", "place"])


def test_what_a_recogniser_writes_is_a_slot():
    record = {"path": "a.mp4", "label": "cut", "probability": 0.6, "probabilities": {"cut": 0.6, "peel": 0.4}}
    row = Row(record.pop("path"), label=record.pop("label"), extra=record)
    slots = Slots.learn([row], ["probabilities"])
    assert torch.allclose(slots.vector(slots.of_row(row), "prob"), torch.tensor([0.6, 0.4]))


@pytest.mark.parametrize(
    "wrong", [3, {"cut": "much"}, {"cut": 1.5}, {"cut": float("nan")}, [1, 2], "{broken"]
)
def test_what_is_no_label_is_refused(wrong):
    if wrong == "{broken":
        assert weights_of(wrong) == {wrong: 1.0}
        return
    with pytest.raises(LrcnError, match="a.mp4: act is .*: give a label, a list of labels, or a mapping"):
        Slots.learn([Row("a.mp4", extra={"act": wrong})], ["act"])


def test_impossible_slots_are_refused_and_possible_ones_survive_yaml():
    for wrong in ({}, {"act": ()}, {"act": ("a", "a")}):
        with pytest.raises(LrcnError):
            Slots(wrong)
    assert from_values(Slots, to_values(SLOTS)) == SLOTS


def test_clips_of_labels_become_batches():
    rows = [
        Row("a", extra={"act": "peel", "tool": ["pot", "hand"]}),
        Row("b", extra={"act": {"cut": 0.75, "peel": 0.25}}),
    ]
    sentences = [[[4, 0], [5, 6, 0]], [[7, 0]]]
    clips = DescribedClips(LabelClips(rows, SLOTS, "labels"), sentences)
    batch = clips.join([clips[0, 0], clips[1, 0]])
    assert batch["maps"].tolist() == [[2, 5, 3], [1, 0, 0]] and batch["steps"].tolist() == [3, 1]
    assert batch["said"].tolist() == [[5, 6, 0], [4, 0, -100], [7, 0, -100]]
    assert batch["image_of"].tolist() == [0, 0, 1] and batch["lengths"].tolist() == [3, 2, 2]
    vectors = DescribedClips(LabelClips(rows, SLOTS, "prob"), sentences)
    batch = vectors.join([vectors[1, 0], vectors[0, 0]])
    assert batch["maps"].tolist() == [[[0.75, 0.25, 0, 0, 0]], [[0, 1, 1, 0, 1]]]
    assert batch["steps"].tolist() == [1, 1]
    assert len({LabelClips(rows, SLOTS, kind).key(1, 0) for kind in ("labels", "max", "prob")}) == 3
