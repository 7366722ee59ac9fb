"""One step of many streams at once: the numbers of the recogniser's own step, and memories that stay apart."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_recognizer import pictures, tiny

from lrcn.models.onestep import OneStep


@pytest.fixture(scope="module")
def networks():
    return {unit: (tiny(unit=unit).model, OneStep(tiny(unit=unit).model)) for unit in ("lstm", "gru", "none")}


def images(count, seed):
    return np.ascontiguousarray(pictures(count, seed).transpose(0, 3, 1, 2))


@settings(max_examples=15)
@given(st.sampled_from(["lstm", "gru", "none"]), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_steps_are_those_of_the_recogniser(networks, unit, streams, steps, seed):
    model, network = networks[unit]
    # Few pictures, so that some stand still.
    chosen = np.random.default_rng(seed).integers(0, 2, (steps, streams))
    pool = images(2, seed)
    memories, state = [network.fresh() for _ in range(streams)], model.initial_state(streams)
    for places in chosen:
        said, memories = network.step([pool[place] for place in places], memories)
        with torch.inference_mode():
            scores, state = model.step(torch.from_numpy(pool[places]), state)
        np.testing.assert_allclose(said, scores.softmax(-1).numpy(), atol=1e-5)


def test_a_memory_is_never_changed(networks):
    _, network = networks["lstm"]
    first, second = images(2, 0)
    _, (memory,) = network.step([first], [network.fresh()])
    one, _ = network.step([second], [memory])
    network.step([first], [memory])
    again, _ = network.step([second], [memory])
    np.testing.assert_array_equal(one, again)


def test_a_memory_goes_through_arrays(networks):
    _, network = networks["lstm"]
    first, second = images(2, 0)
    _, (memory,) = network.step([first], [network.fresh()])
    copy = network.from_arrays(network.to_arrays(memory))
    np.testing.assert_array_equal(network.step([second], [copy])[0], network.step([second], [memory])[0])
    for arrays in ({}, network.to_arrays(memory) | {"h": np.zeros((1, 1, 9), np.float32)}):
        with pytest.raises(ValueError, match="not that of this network"):
            network.from_arrays(arrays)


def test_other_weights_have_another_fingerprint(networks):
    _, network = networks["lstm"]
    assert network.fingerprint == OneStep(tiny(unit="lstm").model).fingerprint
    assert network.fingerprint != OneStep(tiny(seed=1, unit="lstm").model).fingerprint
