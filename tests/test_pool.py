"""A pool answers each of its streams as if it were alone, whoever else is there."""

import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_recognizer import pictures, tiny

from lrcn.errors import LrcnError
from lrcn.models.fusion import Fused
from lrcn.pool import StreamPool
from lrcn.stream import Stream, Streamable


@pytest.fixture(scope="module")
def models():
    fused = Fused({"a": tiny(rate=10.0), "b": tiny(1, "difference", rate=4.0)}, (0.6, 0.4))
    return [Streamable.of(one) for one in (tiny(rate=10.0), tiny(motion="difference", rate=None), fused)]


@pytest.fixture(scope="module")
def model(models):
    return models[0]


def same(one, other):
    assert (one.time, one.reset, one.settled) == (other.time, other.reset, other.settled)
    np.testing.assert_array_equal(one.times, other.times)
    np.testing.assert_allclose(one.per_step, other.per_step, atol=1e-5)
    np.testing.assert_allclose(one.smoothed, other.smoothed, atol=1e-5)
    for mine, theirs in zip([*one.closed, one.open], [*other.closed, other.open], strict=True):
        if mine is None or theirs is None:
            assert mine is theirs
            continue
        assert (mine.start, mine.end, mine.label) == (theirs.start, theirs.end, theirs.label)
        assert mine.score == pytest.approx(theirs.score, abs=1e-5)


@settings(max_examples=20)
@given(st.data())
def test_each_answer_is_that_of_the_stream_alone(models, data):
    """Streams of their own pace come, go, are put aside and taken up, and not all have a frame at every step."""
    model = data.draw(st.sampled_from(models))
    pool, alone, clocks = StreamPool(model, gap=0.8, cuts=True), {}, {}
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    for number in range(data.draw(st.integers(1, 12))):
        move = data.draw(
            st.sampled_from(["add", "add", "step", "step", "step", "remove", "take up", "reset"])
        )
        if move == "add":
            pool.add(number)
            alone[number], clocks[number] = Stream(model, gap=0.8, cuts=True), rng.uniform(0, 100)
        elif alone and move == "remove":
            name = data.draw(st.sampled_from(sorted(alone)))
            last, expected = pool.remove(name), alone.pop(name).finish()
            assert (last is None) == (expected is None)
            if last is not None:
                same(last, expected)
        elif alone and move == "take up":
            name = data.draw(st.sampled_from(sorted(alone)))
            state = pool.state(name)
            pool.remove(name)
            pool.add(name, state)
        elif alone and move == "reset":
            name = data.draw(st.sampled_from(sorted(alone)))
            pool.reset(name)
            alone[name].reset()
        else:
            there = [name for name in alone if rng.random() < 0.8]
            for name in there:
                clocks[name] += rng.choice([0.04, 0.1, 0.25, 1.0])
            frames = {name: (pictures(1, int(rng.integers(9)))[0], clocks[name]) for name in there}
            answers = pool.step(frames)
            assert list(answers) == there
            for name, (frame, time) in frames.items():
                same(answers[name], alone[name].push(frame, time))
                assert pool.counts(name) == alone[name].counts
    assert sorted(pool) == sorted(alone)
    assert len(pool) == len(alone)


def test_a_stream_moves_from_one_process_to_another(model):
    """Its state is all it takes, whether it was alone or in a pool."""
    frames = pictures(6)
    alone, first, second = Stream(model), Stream(model), StreamPool(model)
    for k in range(3):
        alone.push(frames[k], k / 10)
        first.push(frames[k], k / 10)
    second.add("door", first.state())
    for k in range(3, 6):
        same(second.step({"door": (frames[k], k / 10)})["door"], alone.push(frames[k], k / 10))


def test_a_bad_frame_is_told_with_its_stream_and_none_is_taken(model):
    pool = StreamPool(model)
    for name in ("door", "yard"):
        pool.add(name)
    good, bad = pictures(1)[0], np.zeros((3, 4), np.uint8)
    with pytest.raises(LrcnError, match="Stream 'yard': A stream takes frames uint8"):
        pool.step({"door": (good, 0.0), "yard": (bad, 0.0)})
    assert pool.counts("door").frames == 0
    assert "yard" in pool
    with pytest.raises(LrcnError, match="no stream 'roof' in the pool: add it"):
        pool.step({"roof": (good, 0.0)})
    with pytest.raises(LrcnError, match="a stream 'door' in the pool already"):
        pool.add("door")
    assert pool.step({}) == {}


def test_only_what_is_new_goes_through_the_network(model, monkeypatch):
    """A frame that is shown again costs no pass of the CNN, in a batch of others too."""
    network = model.members[0].network
    seen = []
    encode = network._encoded
    monkeypatch.setattr(network, "_encoded", lambda images: seen.append(len(images)) or encode(images))
    pool = StreamPool(model)
    pool.add("still")
    pool.add("moving")
    still = pictures(1)[0]
    for k, frame in enumerate(pictures(4, seed=3)):
        pool.step({"still": (still, k / 10), "moving": (frame, k / 10)})
    assert seen == [2, 1, 1, 1]


def test_many_streams_go_through_the_network_a_portion_at_a_time(monkeypatch):
    model = Streamable.of(tiny(rate=10.0))
    network = model.members[0].network
    monkeypatch.setattr(network, "at_once", 2)
    batches = []
    step = network.step
    monkeypatch.setattr(
        network, "step", lambda images, memories: batches.append(len(images)) or step(images, memories)
    )
    pool = StreamPool(model)
    alone = [Stream(model) for _ in range(5)]
    for name in range(5):
        pool.add(name)
    frames = {name: (frame, 0.0) for name, frame in enumerate(pictures(5))}
    answers = pool.step(frames)
    assert batches == [2, 2, 1]
    for name, stream in enumerate(alone):
        same(answers[name], stream.push(*frames[name]))


def test_streams_that_come_and_go_leave_nothing_behind(model):
    pool = StreamPool(model)
    frame = pictures(1)[0]
    for name in range(3):
        pool.add(name)
    pool.step(dict.fromkeys(range(3), (frame, 0.0)))
    gone = weakref.ref(pool._tracks[1])
    pool.remove(1)
    assert gone() is None
    for track in pool._tracks.values():
        memory = track.feeds[0].memory
        for value in [*memory.state.values(), memory.squeezed]:
            # What stays keeps its own row alone, not the batch it was made in.
            assert value.untyped_storage().nbytes() == value.nbytes
