import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrcn.errors import LrcnError
from lrcn.train.average import WeightAverage
from lrcn.train.loop import LoopConfig


def model(value: float) -> nn.Linear:
    made = nn.Linear(2, 1)
    for parameter in made.parameters():
        nn.init.constant_(parameter, value)
    return made


@given(values=st.lists(st.floats(-5, 5), min_size=1, max_size=8), keep=st.floats(0, 0.999))
def test_the_mean_lies_between_the_weights_it_is_of(values, keep):
    average = WeightAverage(model(values[0]), keep)
    for step, value in enumerate(values, 1):
        average.update(model(value), step)
    mean = model(0.0)
    average.put_into(mean)
    assert min(values) - 1e-5 <= float(mean.bias.detach()) <= max(values) + 1e-5
    if not keep:
        assert float(mean.bias.detach()) == pytest.approx(values[-1])


def test_what_does_not_learn_is_left_alone():
    whole = model(1.0)
    whole.bias.requires_grad_(False)
    average = WeightAverage(whole, 0.9)
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.fill_(3.0)
    average.put_into(whole)
    assert float(whole.bias.detach()) == 3.0
    assert float(whole.weight[0, 0].detach()) == 1.0


def test_a_mean_is_taken_up_where_it_was_left():
    steps = [0.0, 1.0, 4.0, 2.0]
    through = WeightAverage(model(0.0), 0.7)
    for step, value in enumerate(steps, 1):
        through.update(model(value), step)
        if step == 2:
            left = {name: value.clone() for name, value in through.values.items()}
    resumed = WeightAverage(model(9.0), 0.7)
    resumed.load(left)
    for step, value in enumerate(steps[2:], 3):
        resumed.update(model(value), step)
    assert all(torch.equal(resumed.values[name], value) for name, value in through.values.items())


@pytest.mark.parametrize("settings", [{"average": 1.0}, {"average": -0.1}, {"average": 0.9, "keep": "best"}])
def test_a_mean_that_means_nothing_is_refused(settings):
    with pytest.raises(LrcnError, match="average"):
        LoopConfig(**{"keep": "last", **settings})
