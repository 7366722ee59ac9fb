"""The laws of writing: what a beam keeps, what a sample draws, and that neither depends on the batch."""

import math
from collections import Counter
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lrcn.data.tokenizer import EOS
from lrcn.errors import LrcnError
from lrcn.generate import Decoding, Sentence, beam, ensemble, generate, greedy, joined, sample

few = settings(max_examples=20, deadline=None, derandomize=True)
SIZE = 6


class Toy:
    """A tiny recurrent network with random weights; `state(n)` differs from item to item."""

    def __init__(self, words: int = 5, seed: int = 0, sharpness: float = 2.0) -> None:
        random = torch.Generator().manual_seed(seed)
        self.read, self.keep, self.say = (
            torch.randn(*shape, generator=random, dtype=torch.float64)
            for shape in ((words, SIZE), (SIZE, SIZE), (SIZE, words))
        )
        self.sharpness = sharpness
        self.rows_run = 0

    def state(self, items: int) -> dict[str, Tensor]:
        random = torch.Generator().manual_seed(9)
        return {"h": torch.randn(8, SIZE, generator=random, dtype=torch.float64)[:items]}

    def step(self, words: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        self.rows_run += len(words)
        h = torch.tanh(state["h"] @ self.keep + self.read[words])
        return self.sharpness * (h @ self.say), {"h": h}

    def log_prob(self, item: int, words: tuple[int, ...], finished: bool) -> float:
        """The likelihood of a sentence about one item, computed alone."""
        state, last, total = {"h": self.state(item + 1)["h"][item:]}, 0, 0.0
        for word in (*words, 0) if finished else words:
            scores, state = self.step(torch.tensor([last]), state)
            total += float(scores.log_softmax(1)[0, word])
            last = word
        return total


def one(state: dict[str, Tensor], item: int) -> dict[str, Tensor]:
    return {name: value[item : item + 1] for name, value in state.items()}


def everything(toy: Toy, item: int, words: int, longest: int) -> list[Sentence]:
    """All sentences of up to `longest` words, the end included, the most probable first."""
    ended = [ids for n in range(longest) for ids in product(range(1, words), repeat=n)]
    cut = list(product(range(1, words), repeat=longest))
    found = [Sentence(ids, toy.log_prob(item, ids, True), True) for ids in ended]
    found += [Sentence(ids, toy.log_prob(item, ids, False), False) for ids in cut]
    return sorted(found, key=lambda sentence: -sentence.log_prob)


def assert_same(some: list[Sentence], others: list[Sentence]) -> None:
    assert [(s.words, s.finished) for s in some] == [(s.words, s.finished) for s in others]
    assert [s.log_prob for s in some] == pytest.approx([s.log_prob for s in others], abs=1e-9)


# ---- beam ----


@few
@given(seed=st.integers(0, 999), items=st.integers(1, 4), longest=st.integers(1, 8))
def test_a_beam_of_one_takes_the_best_word_every_time(seed, items, longest):
    toy = Toy(seed=seed)
    for item, sentence in enumerate(greedy(toy.step, toy.state(items), max_length=longest)):
        state, words, last = one(toy.state(items), item), [], 0
        while len(words) < longest:
            scores, state = toy.step(torch.tensor([last]), state)
            last = int(scores.argmax())
            if last == 0:
                break
            words.append(last)
        assert sentence.words == tuple(words) and sentence.finished == (last == 0)


@few
@given(seed=st.integers(0, 999), longest=st.integers(1, 4), words=st.integers(2, 4))
def test_a_wide_beam_finds_all_sentences_in_their_order(seed, longest, words):
    toy = Toy(words, seed)
    for item, found in enumerate(beam(toy.step, toy.state(2), 400, best=400, max_length=longest)):
        assert_same(found, everything(toy, item, words, longest))


@few
@given(seed=st.integers(0, 999), size=st.integers(1, 6), penalty=st.sampled_from([0.0, 0.7]))
def test_scores_are_likelihoods_best_first_and_no_sentence_comes_twice(seed, size, penalty):
    toy = Toy(seed=seed)
    for item, found in enumerate(
        beam(toy.step, toy.state(3), size, best=size, max_length=7, length_penalty=penalty)
    ):
        ranks = [s.log_prob / (len(s.words) + s.finished) ** penalty for s in found]
        assert ranks == sorted(ranks, reverse=True) and len(set(found)) == len(found) <= size
        for s in found:
            assert s.log_prob == pytest.approx(toy.log_prob(item, s.words, s.finished), abs=1e-9)
            assert len(s.words) + s.finished <= 7 and 0 not in s.words


@few
@given(seed=st.integers(0, 999), size=st.integers(1, 5), penalty=st.sampled_from([0.0, 1.0]))
def test_every_item_is_written_about_as_if_alone(seed, size, penalty):
    toy = Toy(seed=seed)
    together = beam(toy.step, toy.state(4), size, best=size, max_length=6, length_penalty=penalty)
    for item, found in enumerate(together):
        (alone,) = beam(
            toy.step, one(toy.state(4), item), size, best=size, max_length=6, length_penalty=penalty
        )
        assert_same(found, alone)


def by_the_book(toy: Toy, size: int, longest: int) -> list[Sentence]:
    """The released captioner's beam search, one sentence at a time: no stop before all that is kept is finished."""
    kept = [Sentence((), 0.0, False)]
    while any(not s.finished and len(s.words) < longest for s in kept):
        grown = []
        for s in kept:
            if s.finished or len(s.words) >= longest:
                grown.append(s)
                continue
            said = [(toy.log_prob(0, (*s.words, word), False), word) for word in range(1, len(toy.read))]
            said.append((toy.log_prob(0, s.words, True), 0))
            for log_prob, word in sorted(said, reverse=True)[:size]:
                grown.append(Sentence(s.words if word == 0 else (*s.words, word), log_prob, word == 0))
        kept = sorted(grown, key=lambda s: -s.log_prob)[:size]
    return kept


@few
@given(seed=st.integers(0, 999), size=st.integers(1, 4))
def test_stopping_early_gives_the_same_best(seed, size):
    toy = Toy(seed=seed)
    expected = by_the_book(toy, size, 5)
    assert_same(beam(toy.step, toy.state(1), size, best=size, max_length=5)[0], expected)
    for best in range(1, size + 1):
        assert_same(beam(toy.step, toy.state(1), size, best=best, max_length=5)[0], expected[:best])


@few
@given(seed=st.integers(0, 999), size=st.integers(1, 4), penalty=st.floats(0.1, 3))
def test_stopping_early_gives_the_same_best_with_a_length_penalty_too(seed, size, penalty):
    toy = Toy(seed=seed)
    # All that are kept are asked for, so nothing stops early.
    whole = beam(toy.step, toy.state(3), size, best=size, max_length=6, length_penalty=penalty)
    rows, toy.rows_run = toy.rows_run, 0
    early = beam(toy.step, toy.state(3), size, max_length=6, length_penalty=penalty)
    assert toy.rows_run <= rows
    for some, all_of_them in zip(early, whole, strict=True):
        if some[0].finished:
            assert_same(some, all_of_them[:1])
        else:
            assert some[0].words == all_of_them[0].words


def test_a_length_penalty_favours_longer_sentences():
    toy = Toy(seed=3, sharpness=1.0)
    lengths = [
        len(beam(toy.step, toy.state(1), 50, max_length=6, length_penalty=penalty)[0][0].words)
        for penalty in (0.0, 1.0, 3.0)
    ]
    assert lengths == sorted(lengths) and lengths[0] < lengths[-1]


def test_what_is_finished_is_not_run_again():
    toy = Toy(seed=1, sharpness=4.0)
    (found,) = beam(toy.step, toy.state(1), 1, max_length=50)
    steps = len(found[0].words) + found[0].finished
    assert toy.rows_run == steps
    toy.rows_run = 0
    several = greedy(toy.step, toy.state(5), max_length=50)
    assert toy.rows_run == sum(len(s.words) + s.finished for s in several)


def test_a_word_that_cannot_be_is_never_written():
    def step(words, state):
        return torch.tensor([[-math.inf, 0.0, -math.inf]]).expand(len(words), -1), state

    (found,) = beam(step, {"h": torch.zeros(1, 1)}, 5, best=5, max_length=3)
    assert found == [Sentence((1, 1, 1), 0.0, False)]


# ---- sampling ----


def test_sampled_sentences_come_as_often_as_they_are_probable():
    toy, count = Toy(3, seed=4, sharpness=0.5), 4000
    (drawn,) = sample(toy.step, toy.state(1), count, max_length=3, seeds=[11])
    times = Counter((s.words, s.finished) for s in drawn)
    expected = {(s.words, s.finished): math.exp(s.log_prob) for s in everything(toy, 0, 3, 3)}
    assert sum(expected.values()) == pytest.approx(1) and set(times) <= set(expected)
    chi2 = sum((times[what] - count * p) ** 2 / (count * p) for what, p in expected.items())
    # 15 outcomes: 36.1 is passed once in a thousand times by chance, and the draws are fixed.
    assert len(expected) == 15 and chi2 < 36.1


def test_a_temperature_multiplies_the_scores():
    toy, count = Toy(4, seed=5, sharpness=0.7), 4000
    hot, cold = (
        Counter(
            s.words for s in sample(toy.step, toy.state(1), count, temperature=t, seeds=[2], max_length=1)[0]
        )
        for t in (0.5, 3.0)
    )
    scores, _ = toy.step(torch.tensor([0]), toy.state(1))
    for t, times in ((0.5, hot), (3.0, cold)):
        expected = (t * scores[0]).softmax(0)
        for word in range(4):
            p = float(expected[word])
            # Five standard deviations.
            assert abs(times[(word,) if word else ()] - count * p) < 5 * math.sqrt(count * p * (1 - p)) + 1


@few
@given(seed=st.integers(0, 999))
def test_an_infinite_temperature_is_greedy(seed):
    toy = Toy(seed=seed)
    drawn = sample(toy.step, toy.state(3), 2, temperature=math.inf, max_length=6)
    assert_same([s for some in drawn for s in some][::2], greedy(toy.step, toy.state(3), max_length=6))


@few
@given(seed=st.integers(0, 999), count=st.integers(1, 20), temperature=st.sampled_from([0.5, 1.0, 2.0]))
def test_samples_score_their_likelihood_at_temperature_one_best_first(seed, count, temperature):
    toy = Toy(seed=seed)
    for item, drawn in enumerate(
        sample(toy.step, toy.state(2), count, temperature=temperature, max_length=6)
    ):
        assert len(drawn) == count
        assert [s.log_prob for s in drawn] == sorted((s.log_prob for s in drawn), reverse=True)
        for s in drawn:
            assert s.log_prob == pytest.approx(toy.log_prob(item, s.words, s.finished), abs=1e-9)


def test_what_is_drawn_follows_from_the_items_own_seed():
    toy = Toy()
    together = sample(toy.step, toy.state(4), 7, seeds=[5, 6, 7, 8])
    for item in range(4):
        assert_same(sample(toy.step, one(toy.state(4), item), 7, seeds=[5 + item])[0], together[item])
    assert sample(toy.step, toy.state(4), 7, seeds=[5, 6, 7, 8]) == together
    assert sample(toy.step, toy.state(4), 7, seeds=[5, 6, 7, 9])[3] != together[3]
    alike = sample(toy.step, {"h": toy.state(1)["h"].expand(2, -1)}, 7)
    assert alike[0] != alike[1]


def test_sentences_that_began_alike_are_run_once():
    toy = Toy(words=3, sharpness=6.0)
    (drawn,) = sample(toy.step, toy.state(1), 50, max_length=5)
    begun = {s.words[:n] for s in drawn for n in range(min(len(s.words) + s.finished, 5))}
    assert toy.rows_run == len(begun) < 50


# ---- both ----


def test_generate_does_what_it_is_told():
    toy = Toy()
    assert generate(toy.step, toy.state(2), Decoding(beam=3), best=2) == beam(
        toy.step, toy.state(2), 3, best=2
    )
    drawn = generate(toy.step, toy.state(2), Decoding(samples=30, temperature=1.5), best=3, seeds=[1, 2])
    all_drawn = sample(toy.step, toy.state(2), 30, temperature=1.5, seeds=[1, 2])
    for best, every in zip(drawn, all_drawn, strict=True):
        assert len(set(best)) == len(best) <= 3 and best[0] == every[0]


@pytest.mark.parametrize(
    "wrong",
    [{"beam": 0}, {"samples": -1}, {"temperature": 0.0}, {"max_length": 0}, {"length_penalty": -1.0}],
)
def test_impossible_decoding_is_refused(wrong):
    with pytest.raises(LrcnError, match=next(iter(wrong))):
        Decoding(**wrong)


def test_an_ensemble_is_the_mean_of_probabilities():
    toys = [Toy(seed=seed) for seed in (1, 2, 3)]
    step, state = ensemble([toy.step for toy in toys]), joined([toy.state(2) for toy in toys])
    words = torch.tensor([0, 3])
    log_probs, after = step(words, state)
    singles = [toy.step(words, toy.state(2)) for toy in toys]
    expected = sum(scores.softmax(1) for scores, _ in singles) / 3
    assert torch.allclose(log_probs.exp(), expected)
    assert all(torch.equal(after[f"{i}:h"], own["h"]) for i, (_, own) in enumerate(singles))
    assert len(beam(step, state, 3)) == 2


def test_an_ensemble_of_one_is_that_one():
    toy = Toy()
    assert_same(
        beam(ensemble([toy.step]), joined([toy.state(1)]), 3, best=3)[0],
        beam(toy.step, toy.state(1), 3, best=3)[0],
    )


def test_half_precision_scores_are_summed_in_full():
    toy = Toy()

    def half(words, state):
        scores, state = toy.step(words, state)
        return scores.bfloat16(), state

    (found,) = beam(half, toy.state(1), 3)
    assert found[0].log_prob == pytest.approx(toy.log_prob(0, found[0].words, found[0].finished), abs=0.2)


def test_what_a_step_leaves_as_it_is_at_some_words_alone_still_follows_its_sentence():
    """A state of what was said last, kept up to date at every other word: its rows change places with the sentences."""
    table = torch.randn(12, 12, 12, generator=torch.Generator().manual_seed(3))
    table[..., EOS] = -5  # so that all sentences go on, and none needs to be copied for want of others

    def step(words, state):
        scores = table[words, state["said"].long()] + 0.1 * state["image"][:, None]
        even = {"said": words.float()} if int(state["count"][0]) % 2 == 0 else {}
        return scores, state | even | {"count": state["count"] + 1}

    start = {"said": torch.zeros(2), "count": torch.zeros(2), "image": torch.tensor([1.0, 2.0])}
    copied = beam(
        lambda words, state: step(words, {k: v.clone() for k, v in state.items()}), start, 4, best=4
    )
    assert beam(step, start, 4, best=4) == copied
