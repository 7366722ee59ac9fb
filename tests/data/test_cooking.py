"""The made kitchen: scenes hang together, people differ, and the recogniser is as unsure as it says."""

from itertools import pairwise

import numpy as np
import pytest

from lrcn.data.cooking import CookingConfig, cooking_rows, most_probable_right, tacos_table
from lrcn.data.importers import import_data
from lrcn.data.kitchen import SLOTS, labels, scenes, sentence
from lrcn.data.manifest import read_manifest, write_manifest
from lrcn.errors import LrcnError


def rows_of(**changes):
    return cooking_rows(CookingConfig(**{"train": 400, "dev": 10, "test": 20, **changes}))


def test_every_label_is_used_and_every_scene_can_be_told():
    rng = np.random.default_rng(0)
    used = {slot: set() for slot in SLOTS}
    every = list(scenes())
    assert len({names for names, _ in every}) == len(every) > 1000
    for names, share in every:
        scene = dict(zip(SLOTS, names, strict=True))
        for slot, name in scene.items():
            used[slot].add(name)
        assert share > 0
        said = sentence(scene, rng)
        assert said[0].isupper() and said.endswith(".") and "{" not in said and "  " not in said
        assert not any(f" a {vowel}" in said for vowel in "aeio")
    assert used == {slot: set(names) for slot, names in labels().items()}
    assert len({name for names in labels().values() for name in names}) == sum(map(len, labels().values()))


def test_people_differ():
    scene = {"activity": "peel", "object": "carrot", "tool": "peeler", "place": "sink"}
    rng = np.random.default_rng(0)
    said = [sentence(scene, rng) for _ in range(200)]
    assert len(set(said)) > 120
    assert 0.1 < np.mean(["peeler" in one for one in said]) < 0.5
    assert 0.02 < np.mean(["vegetable" in one and "peeler" not in one for one in said]) < 0.2


def test_rows_follow_from_the_seed_and_the_noise_changes_only_what_is_recognised():
    rows, again, noisier, other = rows_of(), rows_of(), rows_of(noise=1.0), rows_of(seed=1)
    assert rows == again
    assert [row.split for row in rows[::100]] == ["train"] * 4 + ["dev"]
    truth = [(row.captions, [row.extra[f"true_{slot}"] for slot in SLOTS]) for row in rows]
    assert truth == [(row.captions, [row.extra[f"true_{slot}"] for slot in SLOTS]) for row in noisier]
    assert rows[0].extra["object"] != noisier[0].extra["object"]
    assert [row.captions for row in rows] != [row.captions for row in other]
    assert all(len(row.captions) == 3 for row in rows)


@pytest.mark.parametrize("joint", [False, True])
def test_more_noise_more_errors_and_none_without(joint):
    right = [
        np.mean(list(most_probable_right(rows_of(noise=noise, joint=joint)).values()))
        for noise in (0.0, 0.25, 0.5, 1.0)
    ]
    assert right[0] == 1 and all(more > less + 0.03 for more, less in pairwise(right))
    assert right[-1] > 0.2


@pytest.mark.parametrize("joint", [False, True])
def test_probabilities_are_calibrated(joint):
    rows = rows_of(train=3000, joint=joint, noise=0.6)
    for slot in SLOTS:
        said = np.array([list(row.extra[slot].values()) for row in rows])
        true = np.array([[name == row.extra[f"true_{slot}"] for name in row.extra[slot]] for row in rows])
        assert np.abs(said.sum(1) - 1).max() < 1e-9
        for low, high in ((0.1, 0.3), (0.3, 0.6), (0.6, 0.9), (0.9, 1.01)):
            here = (said >= low) & (said < high)
            spread = 4 * 0.5 / np.sqrt(here.sum()) + 0.01
            assert said[here].mean() == pytest.approx(true[here].mean(), abs=spread), (slot, low)


def test_what_goes_with_what_makes_the_recogniser_surer():
    alone, together = (most_probable_right(rows_of(noise=0.6, joint=joint)) for joint in (False, True))
    assert together["activity"] > alone["activity"] + 0.1
    assert np.mean(list(together.values())) > np.mean(list(alone.values())) + 0.05


def test_things_of_a_kind_are_taken_for_each_other():
    rows = [row for row in rows_of(train=2000, noise=0.4) if row.extra["true_object"] == "carrot"]
    seen = [max(row.extra["object"], key=row.extra["object"].get) for row in rows]
    wrong = [name for name in seen if name != "carrot"]
    vegetables = {"potato", "onion", "cucumber", "tomato", "pepper", "leek", "parsnip", "broccoli"}
    assert np.mean([name in vegetables for name in wrong]) > 0.6


def test_scenes_are_a_manifest_and_a_table_of_the_layout_of_tacos(tmp_path):
    rows = rows_of(train=5, dev=1, test=1)
    write_manifest(rows, tmp_path / "scenes.jsonl")
    assert [row.extra for row in read_manifest(tmp_path / "scenes.jsonl")] == [row.extra for row in rows]
    (tmp_path / "tacos.tsv").write_text(tacos_table(rows))
    imported, _ = import_data("tacos", tmp_path / "tacos.tsv")
    assert [(row.id, row.split, row.captions) for row in imported] == [
        (row.id, row.split, row.captions) for row in rows
    ]
    best = [[max(row.extra[slot], key=row.extra[slot].get) for slot in SLOTS] for row in rows]
    assert [row.extra["tuple"] for row in imported] == best


def test_impossible_kitchens_are_refused():
    for wrong in ({"train": 0}, {"noise": -1.0}, {"sentences": 0}, {"seed": -1}):
        with pytest.raises(LrcnError, match=f"cooking.{next(iter(wrong))} is"):
            CookingConfig(**wrong)
