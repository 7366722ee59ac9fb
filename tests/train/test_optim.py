"""Rates over time, a rate per part of the network, and what is spared from decay."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_clips import small_model

from lrcn.config import from_values, to_values
from lrcn.errors import LrcnError
from lrcn.models.cnn import EncoderConfig
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig
from lrcn.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from lrcn.train.optim import CaffeSGD, OptimConfig, RateRule, build_optimizer, schedule_factor, set_rates


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


# As Caffe has it


CAFFE = OptimConfig(
    "caffe-sgd",
    lr=0.001,
    weight_decay=0.005,
    schedule="step",
    warmup=0.0,
    step_every=2,
    rules=(
        RateRule("encoder.*", bias_lr=2),
        RateRule("recurrent.*", bias_decay=1),
        RateRule("classifier.*", lr=10, bias_lr=20),
    ),
)
"""The rates of LRCN-fc6."""


def paper_model(seed=0) -> Recognizer:
    torch.manual_seed(seed)
    config = RecognizerConfig(
        EncoderConfig("hybrid-caffenet", "none", pool="fc6", tune=-1, width=1 / 48),
        ReadingConfig(features=0, dropout=0.0),
        RecurrentConfig(size=3, one_bias=True, init="caffe"),
    )
    return Recognizer(config, ["a", "b"])


def test_a_weight_goes_where_caffe_takes_it_when_the_rate_drops():
    """v <- m v + lr (g + decay w), w <- w - v, worked out step by step; the rate is a tenth from the third step."""
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = CaffeSGD([weight], lr=0.1, momentum=0.9, weight_decay=0.5)
    v, w, path = [0.0, 0.0], [1.0, -2.0], []
    for step, gradient in enumerate([(1.0, 0.5), (-1.0, 2.0), (0.0, 0.0), (3.0, 1.0)]):
        rate = 0.1 if step < 2 else 0.01
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        v = [0.9 * v[k] + rate * (gradient[k] + 0.5 * w[k]) for k in range(2)]
        w = [w[k] - v[k] for k in range(2)]
        path.append(w)
        assert weight.tolist() == pytest.approx(w, abs=1e-12)
    # By hand: v = 0.1 (1 + 0.5) = 0.15; then 0.135 + 0.1 (-1 + 0.425) = 0.0775.
    assert path[0][0] == pytest.approx(0.85) and path[1][0] == pytest.approx(0.7725)


def test_pytorch_differs_from_the_drop_on():
    def after(kind, steps):
        weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
        optimizer = kind([weight], lr=0.1, momentum=0.9)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = 0.1 if step < 3 else 0.01
            weight.grad = torch.ones(1, dtype=torch.float64)
            optimizer.step()
        return float(weight.detach())

    assert after(CaffeSGD, 3) == pytest.approx(after(torch.optim.SGD, 3))
    # Gradients of 1: the velocity before the drop is 0.271, of which nine tenths go on in Caffe, and a tenth of that
    # in PyTorch.
    assert after(CaffeSGD, 3) - after(CaffeSGD, 4) == pytest.approx(0.9 * 0.271 + 0.01)
    assert after(torch.optim.SGD, 3) - after(torch.optim.SGD, 4) == pytest.approx(0.01 * (0.9 * 2.71 + 1))


def test_every_part_of_the_paper_has_its_rate_and_decay():
    model = paper_model()
    held = {name: shares for shares, names in groups_of(model, CAFFE).items() for name in names}
    assert held["encoder.backbone.conv1.weight"] == held["encoder.backbone.fc6.weight"] == (1, 0.005)
    assert held["encoder.backbone.conv1.bias"] == held["encoder.backbone.fc6.bias"] == (2, 0)
    assert held["recurrent.cells.0.weight_hh_l0"] == held["recurrent.cells.0.bias_ih_l0"] == (1, 0.005)
    assert "recurrent.cells.0.bias_hh_l0" not in held
    assert held["classifier.weight"] == (10, 0.005) and held["classifier.bias"] == (20, 0)
    assert len(held) == sum(parameter.requires_grad for parameter in model.parameters())
    optimizer = build_optimizer(model, CAFFE)
    assert set_rates(optimizer, CAFFE, 2, 10) == pytest.approx(1e-4)
    assert {group["scale"]: group["lr"] for group in optimizer.param_groups}[20] == pytest.approx(2e-3)


def gradients(model, step):
    generator = torch.Generator().manual_seed(step)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_a_step_of_the_whole_model_is_that_of_each_of_its_parts():
    model = paper_model()
    optimizer = build_optimizer(model, CAFFE)
    expected = {
        name: [p.detach().clone(), torch.zeros_like(p)]
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    for step in range(4):
        gradients(model, step)
        set_rates(optimizer, CAFFE, step, 10)
        optimizer.step()
        for name, (w, v) in expected.items():
            bias = "bias" in name
            part = name.split(".")[0]
            share = {"encoder": (1, 2), "recurrent": (1, 1), "classifier": (10, 20)}[part][bias]
            decay = 0.005 if not bias or part == "recurrent" else 0
            rate = 0.001 * (0.1 if step >= 2 else 1) * share
            v.mul_(0.9).add_(rate * (model.get_parameter(name).grad + decay * w))
            w.sub_(v)
            torch.testing.assert_close(model.get_parameter(name).detach(), w)


@pytest.mark.parametrize("kind", ["caffe-sgd", "sgd", "adamw"])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(tmp_path, kind):
    config = OptimConfig(kind, schedule="step", warmup=0.0, step_every=2, rules=CAFFE.rules)

    def run(model, optimizer, steps):
        for step in steps:
            gradients(model, step)
            set_rates(optimizer, config, step, 6)
            optimizer.step()

    whole = paper_model()
    run(whole, build_optimizer(whole, config), range(6))
    first = paper_model()
    optimizer = build_optimizer(first, config)
    run(first, optimizer, range(3))
    save_checkpoint(tmp_path / "checkpoint", first, optimizer, Progress("it", step=3))
    second = paper_model(seed=1)
    optimizer = build_optimizer(second, config)
    assert load_checkpoint(tmp_path / "checkpoint", second, optimizer, "it").step == 3
    run(second, optimizer, range(3, 6))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_of_two_rules_the_first_counts_and_the_rest_is_as_without():
    model = small_model()
    model.encoder.set_tuned(-1)
    rules = (RateRule("classifier.bias", lr=3), RateRule("classifier.*", lr=2, decay=0.5))
    groups = groups_of(model, OptimConfig(encoder_lr=0.1, weight_decay=0.2, rules=rules))
    assert groups[3.0, 0.0] == {"classifier.bias"} and groups[2.0, 0.1] == {"classifier.weight"}
    assert set(groups) - {(3.0, 0.0), (2.0, 0.1)} == {(1.0, 0.2), (1.0, 0.0), (0.1, 0.2), (0.1, 0.0)}


def test_a_rule_for_what_is_not_there_is_refused_but_not_one_for_a_part_without_parameters():
    model = small_model(unit="none")
    build_optimizer(model, OptimConfig(rules=(RateRule("recurrent.*"),)))
    with pytest.raises(LrcnError, match=r"optim\.rules has clasifier\.\*, .* encoder\.\*.* classifier\.\*"):
        build_optimizer(model, OptimConfig(rules=(RateRule("clasifier.*"),)))
    with pytest.raises(LrcnError, match=r"bias_lr of classifier\.\* is -1"):
        RateRule("classifier.*", bias_lr=-1)


def test_the_closure_is_called():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = CaffeSGD([weight], lr=0.5, momentum=0.0)

    def loss():
        optimizer.zero_grad()
        value = (weight**2).sum()
        value.backward()
        return value

    assert float(optimizer.step(loss).detach()) == 1 and float(weight.detach()) == 0


def test_rules_are_settings_of_a_recipe():
    values = {"optimizer": "caffe-sgd", "rules": [{"parameters": "classifier.*", "lr": 10, "bias_lr": 20}]}
    config = from_values(OptimConfig, values)
    assert config.rules == (RateRule("classifier.*", lr=10, bias_lr=20),)
    assert from_values(OptimConfig, to_values(config)) == config
