"""The verdict on a clip against the loop over its steps."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrcn.errors import LrcnError
from lrcn.models.heads import ClipHead, HeadConfig

POOLS = ("mean", "attention", "last")


def head_of(pool) -> ClipHead:
    torch.manual_seed(0)
    head = ClipHead(HeadConfig(pool, 4), 5).double()
    for parameter in head.parameters():
        parameter.data.mul_(4)
    return head


def said(batch, steps, seed=0):
    """Outputs (B, T, 5) and scores (B, T, 3)."""
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, steps, 5, generator=generator, dtype=torch.float64),
        2 * torch.randn(batch, steps, 3, generator=generator, dtype=torch.float64),
    )


def by_hand(head, outputs, scores):
    """Weights (T,) and probabilities (K,) of one clip, from the equations."""
    steps = len(scores)
    if head.config.pool == "mean":
        weights = torch.full((steps,), 1 / steps, dtype=torch.float64)
    elif head.config.pool == "last":
        weights = torch.tensor([0.0] * (steps - 1) + [1.0], dtype=torch.float64)
    else:
        p = dict(head.attention.named_parameters())
        logits = [
            p["2.weight"][0] @ torch.tanh(p["0.weight"] @ h + p["0.bias"]) + p["2.bias"][0] for h in outputs
        ]
        powers = torch.stack(logits).exp()
        weights = powers / powers.sum()
    probabilities = torch.stack([step.exp() / step.exp().sum() for step in scores])
    return weights, (weights[:, None] * probabilities).sum(0)


@pytest.mark.parametrize("pool", POOLS)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    extra=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_the_verdict_is_the_loop_and_padding_never_matters(pool, lengths, extra, seed):
    head = head_of(pool)
    outputs, scores = said(len(lengths), max(lengths) + extra, seed)
    for row, n in enumerate(lengths):
        outputs[row, n:], scores[row, n:] = 50, -70 * row
    verdict = head(outputs, scores, torch.tensor(lengths))
    assert verdict.scores is scores
    for row, n in enumerate(lengths):
        weights, probabilities = by_hand(head, outputs[row, :n], scores[row, :n])
        torch.testing.assert_close(verdict.weights[row, :n], weights)
        assert not verdict.weights[row, n:].any()
        torch.testing.assert_close(verdict.log_probabilities[row].exp(), probabilities)
    torch.testing.assert_close(verdict.weights.sum(1), torch.ones(len(lengths), dtype=torch.float64))


@pytest.mark.parametrize("pool", POOLS)
def test_without_lengths_every_step_is_there(pool):
    head, (outputs, scores) = head_of(pool), said(2, 4)
    one, other = head(outputs, scores), head(outputs, scores, torch.tensor([4, 4]))
    assert torch.equal(one.log_probabilities, other.log_probabilities)


@pytest.mark.parametrize("pool", POOLS)
def test_what_is_padded_gets_no_gradient_and_what_counts_does(pool):
    head, (outputs, scores) = head_of(pool), said(2, 4)
    outputs.requires_grad_(), scores.requires_grad_()
    head(outputs, scores, torch.tensor([2, 4])).log_probabilities[:, 0].sum().backward()
    assert not scores.grad[0, 2:].any() and scores.grad.isfinite().all()
    counts = [[pool != "last", True, False, False], [pool != "last"] * 3 + [True]]
    assert (scores.grad.abs().sum(-1) > 0).tolist() == counts
    if pool == "attention":
        assert not outputs.grad[0, 2:].any() and (outputs.grad[1].abs().sum(-1) > 0).all()


def test_attention_listens_to_the_step_that_tells():
    head = head_of("attention")
    telling = torch.nn.functional.normalize(torch.randn(5, dtype=torch.float64), dim=0)
    noise = 0.1 * torch.randn(64, 6, 5, dtype=torch.float64)
    places, classes = torch.arange(64) % 6, torch.arange(64) % 2
    outputs = noise.clone()
    outputs[torch.arange(64), places] += 3 * telling
    scores = torch.zeros(64, 6, 2, dtype=torch.float64)
    scores[torch.arange(64), places, classes] = 6.0
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.nll_loss(head(outputs, scores).log_probabilities, classes).backward()
        optimizer.step()
    weights = head(outputs, scores).weights
    assert float(weights[torch.arange(64), places].detach().min()) > 0.9


def test_only_attention_has_something_to_learn():
    learned = {pool: [name for name, _ in head_of(pool).named_parameters()] for pool in POOLS}
    assert learned["mean"] == learned["last"] == [] and len(learned["attention"]) == 4


def test_an_attention_of_nothing_is_refused():
    with pytest.raises(LrcnError, match=r"head\.size is 0"):
        HeadConfig(size=0)
