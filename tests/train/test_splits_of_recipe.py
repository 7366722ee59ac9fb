"""Which clips a recipe learns from and is judged on."""

from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from made_clips import class_folders, tiny_recipe
from PIL import Image

from lrcn.cli import main
from lrcn.data import datasets
from lrcn.data.manifest import Row, write_manifest
from lrcn.errors import LrcnError
from lrcn.models.cnn import FrameEncoder
from lrcn.train import splits
from lrcn.train.recipe import DataConfig, MovesData, Recipe, StudyConfig, changed
from lrcn.train.splits import Chosen, cached, fold_splits, read_rows, single_split, usable_rows


def silent(_):
    pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return class_folders(tmp_path_factory.mktemp("squares") / "clips")


@pytest.fixture(autouse=True)
def names_only(monkeypatch):
    """How clips are divided does not depend on what is in the files, which here are only names."""
    monkeypatch.setattr(splits, "usable_rows", lambda rows, _report: rows)


def manifest(tmp_path, count=12, **columns):
    """Rows whose files are only names; `columns` are functions of the number."""
    rows = [
        Row(f"{n}.mp4", "ab"[n % 2], **{name: of(n) for name, of in columns.items()}) for n in range(count)
    ]
    for row in rows:
        (tmp_path / row.path).write_bytes(row.path.encode())
    write_manifest([replace(row, path=str(tmp_path / row.path)) for row in rows], tmp_path / "clips.jsonl")
    return Recipe(data=DataConfig(str(tmp_path / "clips.jsonl")))


def paths(source):
    return [] if source is None else [Path(source.source.rows[i].path).stem for i in source.indices]


def parts_of(split):
    return [paths(part) for part in (split.train, split.dev, split.test)]


def test_the_splits_of_the_data_are_kept(tmp_path):
    recipe = manifest(tmp_path, split=lambda n: ["train", "train", "dev", "test"][n // 2 % 4])
    split = single_split(recipe, silent)
    assert parts_of(split) == [["0", "1", "2", "3", "8", "9", "10", "11"], ["4", "5"], ["6", "7"]]
    assert split.labels == ["a", "b"]


@pytest.mark.parametrize("split", [None, "train"])
def test_data_without_a_test_are_divided_and_it_is_said_how(tmp_path, split):
    recipe = manifest(tmp_path, count=40, split=lambda n: split, group=lambda n: f"g{n // 4}")
    said = []
    found = single_split(recipe, said.append)
    parts = parts_of(found)
    assert sorted(chain(*parts)) == sorted(map(str, range(40))) and all(parts)
    groups = [{int(name) // 4 for name in part} for part in parts]
    assert sum(map(len, groups)) == 10, "no group in two splits"
    assert any("by group (10 groups, none in two splits)" in sentence for sentence in said)
    assert parts_of(single_split(recipe, silent)) == parts
    assert parts_of(single_split(changed(recipe, {"data": {"seed": 1}}), silent)) != parts


def test_data_are_divided_anew_when_asked(tmp_path):
    recipe = manifest(tmp_path, split=lambda n: "test" if n > 3 else "train")
    again = changed(recipe, {"data": {"resplit": True}})
    assert len(single_split(recipe, silent).train) == 4 and len(single_split(again, silent).train) > 4


def test_leakage_is_refused_unless_allowed(tmp_path):
    recipe = manifest(tmp_path, split=lambda n: "train" if n < 6 else "test", group=lambda n: f"g{n % 3}")
    with pytest.raises(LrcnError, match="3 groups stand in more than one split: g0"):
        single_split(recipe, silent)
    assert len(single_split(changed(recipe, {"data": {"allow_leakage": True}}), silent).train) == 6


def test_one_class_or_no_training_clips_are_refused(tmp_path):
    recipe = manifest(tmp_path, split=lambda n: "test" if n else "dev")
    with pytest.raises(LrcnError, match=r"gives 0 training clips of 2 classes; at least one clip of each"):
        single_split(recipe, silent)
    write_manifest([Row(str(tmp_path / "0.mp4"), "a")], tmp_path / "clips.jsonl")
    with pytest.raises(LrcnError, match="1 training clips of 1 classes"):
        single_split(recipe, silent)


def test_rows_without_a_label_are_left_out(tmp_path):
    manifest(tmp_path)
    rows = read_rows(tmp_path / "clips.jsonl", silent)
    write_manifest([*rows, Row(str(tmp_path / "0.mp4"))], tmp_path / "clips.jsonl")
    assert len(read_rows(tmp_path / "clips.jsonl", silent)) == len(rows) == 12


@pytest.mark.parametrize(("folds", "expected"), [(None, 6), (3, 3)])
def test_folds_test_every_clip_once_and_keep_groups_whole(tmp_path, folds, expected):
    recipe = manifest(tmp_path, group=lambda n: f"g{n // 2}")
    found = fold_splits(replace(recipe, study=StudyConfig(folds)), silent)
    assert len(found) == expected
    assert sorted(chain(*(paths(split.test) for split in found))) == sorted(map(str, range(12)))
    for split in found:
        assert split.dev is None and split.labels == ["a", "b"]
        train, test = ({int(name) // 2 for name in paths(part)} for part in (split.train, split.test))
        assert not train & test and len(train | test) == 6


def test_without_folds_a_study_has_the_recipes_own_split(tmp_path):
    recipe = manifest(tmp_path, split=lambda n: "test" if n > 7 else "train")
    for study in (None, StudyConfig(0)):
        (split,) = fold_splits(replace(recipe, study=study), silent)
        assert parts_of(split) == parts_of(single_split(recipe, silent))


def test_a_key_changes_with_any_clip(tmp_path):
    recipe = manifest(tmp_path, split=lambda n: "test" if n > 7 else "train")
    key = single_split(recipe, silent).key()
    assert single_split(recipe, silent).key() == key
    (tmp_path / "5.mp4").write_bytes(b"another clip")
    changed_clip = single_split(recipe, silent).key()
    (tmp_path / "10.mp4").write_bytes(b"another clip")
    assert len({key, changed_clip, single_split(recipe, silent).key()}) == 3


def test_chosen_clips_have_their_own_numbers_and_the_keys_of_their_source():
    class Source:
        def __len__(self):
            return 9

        def item(self, index, view):
            return {"index": index, "content": (index, view)}

        def key(self, index, view):
            return f"{index}/{view}"

    chosen = Chosen(Source(), [7, 2])
    assert len(chosen) == 2
    assert chosen[1, 4] == {"index": 1, "content": (2, 4)} and chosen.key(0, 3) == "7/3"


def test_moves_are_played_over_the_photos_of_each_list(tmp_path):
    names = [f"{n}.png" for n in range(4)]
    for n, name in enumerate(names):
        Image.fromarray(np.full((40, 40, 3), 60 * n, np.uint8)).save(tmp_path / name)
    (tmp_path / "train.txt").write_text("0.png\n1.png\n\n")
    (tmp_path / "dev.txt").write_text("2.png\n")
    lists = {"train": str(tmp_path / "train.txt"), "dev": str(tmp_path / "dev.txt")}
    moves = MovesData(str(tmp_path), length=18, dev_length=9, **lists)
    recipe = Recipe(data=DataConfig(moves=moves))
    split = single_split(recipe, silent)
    assert len(split.labels) == 9 and (len(split.train), len(split.dev), split.test) == (18, 9, None)
    assert [Path(path).name for path in split.train.sources] == names[:2]
    assert [Path(path).name for path in split.dev.sources] == names[2:3]
    everything = single_split(changed(recipe, {"data": {"moves": {"train": "", "dev": ""}}}), silent)
    assert len(everything.train.sources) == 4 and everything.dev is None
    of_motion = single_split(changed(recipe, {"preprocess": {"motion": {"kind": "difference"}}}), silent)
    for clips in (of_motion.train, of_motion.dev):
        assert (clips.item(0, 0)["frames"][0] == 128).all()
    with pytest.raises(LrcnError, match=r"Cannot read the list of photos .*none\.txt"):
        single_split(changed(recipe, {"data": {"moves": {"dev": str(tmp_path / "none.txt")}}}), silent)
    with pytest.raises(LrcnError, match="set data.source, or study.folds to 0"):
        fold_splits(replace(recipe, study=StudyConfig(3)), silent)


# ---- decoded once, encoded once ----


@pytest.fixture
def opened(monkeypatch):
    """The videos that were opened."""
    names, original = [], datasets.open_video

    def counting(path, **options):
        names.append(str(path))
        return original(path, **options)

    monkeypatch.setattr(datasets, "open_video", counting)
    return names


def test_clips_are_decoded_once_into_the_frame_cache(folder, tmp_path, opened):
    plain = tiny_recipe(folder)
    recipe = changed(plain, {"data": {"frame_cache": str(tmp_path / "frames")}})
    split = single_split(recipe, silent)
    first = split.train.item(0, 0)["frames"]
    assert len(opened) == 1
    views = [split.train.item(0, view)["frames"] for view in range(3)]
    assert len(opened) == 1 and torch.equal(views[0], first) and not torch.equal(views[1], first)
    assert len(list((tmp_path / "frames").rglob("*.safetensors"))) == 1
    # The same pixels as without it.
    uncached = single_split(plain, silent)
    for part, name in ((split.train, "train"), (split.test, "test")):
        for view in range(2):
            assert torch.equal(part.item(0, view)["frames"], getattr(uncached, name).item(0, view)["frames"])


def test_lrcn_data_cache_fills_the_same_folder(folder, tmp_path, opened, capsys):
    frames = tmp_path / "frames"
    recipe = changed(tiny_recipe(folder), {"data": {"frame_cache": str(frames)}})
    for crop in ([], ["--crop", str(recipe.augment.scale)]):
        assert main(["data", "cache", str(folder), "--size", "32", "--to", str(frames), *crop]) == 0
    opened.clear()
    split = single_split(recipe, silent)
    for part in (split.train, split.dev, split.test):
        for index in range(len(part)):
            part.item(index, 0)
    assert opened == []


def test_features_are_computed_once_and_shared_by_what_is_learned_from_scratch(folder, tmp_path, capsys):
    recipe = tiny_recipe(folder)
    split = single_split(recipe, silent)
    torch.manual_seed(0)
    encoder = FrameEncoder(recipe.model.encoder)
    found = cached(split, encoder, tmp_path, views=2)
    assert sum(1 for _ in tmp_path.rglob("*.safetensors")) == 2 * len(split.train) + len(split.dev) + len(
        split.test
    )
    item = found.test.item(1, 0)
    with torch.no_grad():
        expected = encoder.maps(split.test.item(1, 0)["frames"])
    torch.testing.assert_close(item["maps"].float(), expected, rtol=2e-3, atol=2e-3)
    assert item["label"] == split.test.item(1, 0)["label"]
    other = FrameEncoder(replace(recipe.model.encoder, squeeze=7, chunk=3))
    other.backbone.load_state_dict(encoder.backbone.state_dict())
    assert cached(split, other, tmp_path, 2).train.key(0, 1) == found.train.key(0, 1)
    with torch.no_grad():
        next(other.backbone.parameters()).add_(1)
    assert cached(split, other, tmp_path, 1).train.key(0, 0) != found.train.key(0, 0)
    assert splits.cached(replace(split, dev=None, test=None), encoder, tmp_path, 1).dev is None


def test_clips_that_cannot_be_opened_are_left_out_and_named(folder, tmp_path):
    good = read_rows(folder, silent)
    (tmp_path / "broken.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    bad = [Row(str(tmp_path / name), "left") for name in ("broken.mp4", "empty.mp4")]
    told = []
    assert usable_rows([*good, *bad, Row(good[0].path, "alone")], told.append) == [
        *good,
        Row(good[0].path, "alone"),
    ]
    assert sum(line.startswith("Left out: ") for line in told) == 2
    assert all(any(row.path in line for line in told) for row in bad)
    assert any("single clip" in line and "alone" in line for line in told)
