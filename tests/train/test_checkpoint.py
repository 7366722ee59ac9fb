"""Checkpoints: all that training needs, nothing pickled, refused when damaged or another's."""

import pytest
import torch
from made_clips import assert_same_weights, learned, small_model

from lrcn.errors import LrcnError
from lrcn.train.checkpoint import (
    Progress,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)
from lrcn.train.optim import OptimConfig, build_optimizer


def stepped(optimizer="adamw", steps=2):
    """A model and an optimiser that have come some way."""
    model = small_model()
    built = build_optimizer(model, OptimConfig(optimizer, lr=0.1))
    for _ in range(steps):
        model.zero_grad()
        torch.manual_seed(3)
        model(maps=torch.randn(2, 3, 256)).square().mean().backward()
        built.step()
    return model, built


@pytest.fixture
def saved(tmp_path):
    model, optimizer = stepped()
    save_checkpoint(
        tmp_path / "checkpoint", model, optimizer, Progress("mine", step=2, best=0.5, scaler={"scale": 2.0})
    )
    return tmp_path / "checkpoint"


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
@pytest.mark.parametrize("steps", [0, 2])
def test_weights_moments_and_counters_come_back(tmp_path, kind, steps):
    model, optimizer = stepped(kind, steps)
    progress = Progress("mine", step=steps, epoch=1, batch=3, best=0.25, best_epoch=1, scaler={"scale": 8.0})
    save_checkpoint(tmp_path / "c", model, optimizer, progress)
    other, fresh = small_model(seed=9), None
    fresh = build_optimizer(other, OptimConfig(kind, lr=0.1))
    assert load_checkpoint(tmp_path / "c", other, fresh, "mine") == progress
    assert_same_weights(learned(other), learned(model))
    before, after = optimizer.state_dict()["state"], fresh.state_dict()["state"]
    assert before.keys() == after.keys() and (len(before) > 0) == (steps > 0)
    for index, moments in before.items():
        assert moments.keys() == after[index].keys()
        assert all(torch.equal(value, after[index][name]) for name, value in moments.items())


def test_nothing_is_pickled_and_nothing_is_left_beside(saved):
    assert sorted(path.name for path in saved.iterdir()) == [
        "model.safetensors",
        "optimizer.safetensors",
        "progress.json",
    ]
    assert [path.name for path in saved.parent.iterdir()] == ["checkpoint"]


def test_no_checkpoint_is_no_progress(tmp_path):
    model, optimizer = stepped(steps=0)
    assert load_checkpoint(tmp_path / "none", model, optimizer, "mine") is None


def test_another_recipe_is_refused_and_the_model_left_as_it_was(saved):
    model, optimizer = stepped(steps=0)
    before = learned(model)
    with pytest.raises(LrcnError) as raised:
        load_checkpoint(saved, model, optimizer, "another")
    assert str(raised.value) == (
        f"{saved} is of a run with other settings or data; give another --out, or remove that folder."
    )
    assert_same_weights(learned(model), before)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "progress.json"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_damaged_checkpoint_is_one_sentence(saved, name, damage):
    content = (saved / name).read_bytes()
    (saved / name).write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"[1, 2]"}[damage])
    with pytest.raises(LrcnError, match=r"^The checkpoint .* is damaged \(.*\); remove .* to start again\.$"):
        load_checkpoint(saved, *stepped(steps=0), "mine")


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
def test_a_checkpoint_that_lacks_a_part_is_damaged(saved, name):
    (saved / name).unlink()
    with pytest.raises(LrcnError, match="is damaged"):
        load_checkpoint(saved, *stepped(steps=0), "mine")


def test_a_checkpoint_of_another_network_is_damaged(saved):
    model = small_model(size=7)
    with pytest.raises(LrcnError, match="is damaged") as raised:
        load_checkpoint(saved, model, build_optimizer(model, OptimConfig()), "mine")
    assert "\n" not in str(raised.value)


def test_best_weights_come_back_and_are_missed(tmp_path):
    model, _ = stepped()
    save_weights(tmp_path / "best", model)
    other = small_model(seed=9)
    load_weights(tmp_path / "best", other)
    assert_same_weights(learned(other), learned(model))
    (tmp_path / "best" / "model.safetensors").unlink()
    with pytest.raises(LrcnError, match=r"best is damaged .*; remove"):
        load_weights(tmp_path / "best", other)
