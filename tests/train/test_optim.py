"""Rates over time, a rate per part of the network, and what is spared from decay."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_clips import small_model

from lrcn.errors import LrcnError
from lrcn.train.optim import OptimConfig, build_optimizer, schedule_factor, set_rates


def test_warmup_climbs_in_equal_steps_to_the_full_rate():
    config = OptimConfig(warmup=0.1, schedule="constant")
    assert [schedule_factor(config, step, 40) for step in range(6)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1, 1]
    )


def test_cosine_goes_from_one_to_zero_with_half_in_the_middle():
    config = OptimConfig(warmup=0.0)
    assert schedule_factor(config, 0, 100) == 1
    assert schedule_factor(config, 50, 100) == pytest.approx(0.5)
    assert schedule_factor(config, 25, 100) == pytest.approx(0.5 + math.sqrt(0.125))
    assert 0 < schedule_factor(config, 99, 100) < 0.001
    assert schedule_factor(config, 100, 100) == pytest.approx(0)


def test_step_drops_at_its_steps_as_the_paper_has_it():
    config = OptimConfig(schedule="step", warmup=0.0, step_every=10, gamma=0.1)
    factors = [schedule_factor(config, step, 30) for step in (0, 9, 10, 19, 20, 29)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


@given(st.sampled_from(["constant", "cosine", "step"]), st.floats(0, 0.99), st.integers(1, 300), st.data())
def test_a_factor_is_a_share_and_never_climbs_after_the_warmup(schedule, warmup, steps, data):
    config = OptimConfig(schedule=schedule, warmup=warmup, step_every=7)
    factors = [schedule_factor(config, step, steps) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    top = factors.index(max(factors))
    assert factors[:top] == sorted(factors[:top]) and factors[top:] == sorted(factors[top:], reverse=True)


def groups_of(model, config):
    """(scale, decay) -> names of the parameters."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        (group["scale"], group["weight_decay"]): {names[id(parameter)] for parameter in group["params"]}
        for group in build_optimizer(model, config).param_groups
    }


def test_a_frozen_encoder_has_no_parameters_in_the_optimizer():
    model = small_model()
    groups = groups_of(model, OptimConfig(encoder_lr=0.1, weight_decay=0.3))
    assert set(groups) == {(1.0, 0.3), (1.0, 0.0)}
    held = set().union(*groups.values())
    assert held == {name for name, _ in model.named_parameters() if ".backbone." not in name}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_pretrained_weights_have_a_share_of_the_rate_and_biases_no_decay(optimizer):
    model = small_model()
    model.encoder.set_tuned(-1)
    config = OptimConfig(optimizer, lr=0.2, encoder_lr=0.1, weight_decay=0.3, schedule="constant", warmup=0)
    groups = groups_of(model, config)
    assert set(groups) == {(1.0, 0.3), (1.0, 0.0), (0.1, 0.3), (0.1, 0.0)}
    for (scale, decay), names in groups.items():
        for name in names:
            assert (scale == 0.1) == (".backbone." in name), name
            assert (decay > 0) == (model.get_parameter(name).ndim > 1), name
    assert "recurrent.cells.0.bias_ih_l0" in groups[1.0, 0.0]
    assert sum(map(len, groups.values())) == sum(p.requires_grad for p in model.parameters())
    built = build_optimizer(model, config)
    assert set_rates(built, config, 0, 10) == 0.2
    assert {(group["scale"], group["lr"]) for group in built.param_groups} == {(1.0, 0.2), (0.1, 0.2 * 0.1)}


def test_rates_follow_from_the_step_alone():
    config = OptimConfig(lr=0.1)
    one, other = (build_optimizer(small_model(), config) for _ in range(2))
    for step in range(7):
        set_rates(one, config, step, 20)
    set_rates(other, config, 6, 20)
    assert [group["lr"] for group in one.param_groups] == [group["lr"] for group in other.param_groups]


def test_sgd_has_its_momentum_and_adamw_is_adamw():
    assert build_optimizer(small_model(), OptimConfig("sgd", momentum=0.7)).defaults["momentum"] == 0.7
    assert isinstance(build_optimizer(small_model(), OptimConfig()), torch.optim.AdamW)


@pytest.mark.parametrize(
    "values", [{"lr": 0}, {"encoder_lr": -1}, {"clip_norm": -1}, {"weight_decay": -0.1}, {"warmup": 1.0}]
)
def test_settings_that_mean_nothing_are_refused(values):
    with pytest.raises(LrcnError, match=next(iter(values))):
        OptimConfig(**values)
