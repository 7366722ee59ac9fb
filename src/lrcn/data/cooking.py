"""A kitchen in words: scenes of somebody cooking, what people say of them, and a recogniser that is not sure of them.

Made after what TACoS Multi-Level is (Rohrbach et al. 2014; Donahue et al. 2015, section 6), so that describing from
labels can be tried where the true data cannot be had:

- A scene is an activity, an object, a tool and a place, drawn from one joint distribution: peeling is done with a
  peeler more often than with a knife, and seldom to a sausage.
- People differ: in the words for a thing, in what they leave out, in order, tense and number, and now and then they
  say "the vegetable". No sentence is made with the recogniser in view.
- The recogniser sees each slot of the scene through Gaussian noise, in a space in which things of a kind lie near each
  other, so that it takes a carrot for a parsnip sooner than for a plate. Its probabilities are Bayes's, so that they
  are calibrated: of what has probability 0.7, 70 % is so. It looks at each slot alone, as recognisers do that are
  trained apart; with `joint` it is a CRF that knows the joint distribution itself, as none does that is learned.

Scenes and sentences follow from the seed alone; the noise changes only what the recogniser says of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from lrcn.data.kitchen import KINDS, SLOTS, labels, scenes, sentence
from lrcn.data.manifest import Row
from lrcn.errors import LrcnError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CookingConfig:
    """Scenes of the kitchen.

    Attributes:
        train: training scenes.
        dev: dev scenes.
        test: test scenes.
        sentences: what is said of each scene.
        noise: standard deviation of what the recogniser sees, where two things of a kind are about 1 apart, and two of
            different kinds about 2; 0 sees all as it is.
        joint: the recogniser knows what goes with what, and gives the marginals of all four slots together; otherwise
            it looks at each alone.
        seed: everything random follows from it.
    """

    train: int = 2000
    dev: int = 200
    test: int = 500
    sentences: int = 3
    noise: float = 0.5
    joint: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (
            ("train", 1),
            ("dev", 0),
            ("test", 0),
            ("sentences", 1),
            ("noise", 0),
            ("seed", 0),
        ):
            if getattr(self, name) < least:
                raise LrcnError(f"cooking.{name} is {getattr(self, name)}: give {least} or more.")


# Training, testing and what counts the recogniser's errors ask for the same.
@lru_cache(maxsize=1)
def cooking_rows(config: CookingConfig) -> list[Row]:
    """A manifest of scenes, without films: `captions`, and in each slot's field the probability of each label.

    The truth stands in `true_activity`, `true_object` and so on.
    """
    splits = [split for split in ("train", "dev", "test") for _ in range(getattr(config, split))]
    rng = np.random.default_rng([config.seed, 0])
    tuples, prior = _tuples()
    drawn = tuples[rng.choice(len(tuples), size=len(splits), p=prior)]
    given = _recognised(drawn, config)
    rows = []
    for number, (split, scene) in enumerate(zip(splits, _named(drawn), strict=True)):
        seen = {
            slot: dict(zip(names, given[slot][number].tolist(), strict=True))
            for slot, names in labels().items()
        }
        rows.append(
            Row(
                path=f"scene-{number:05d}",
                id=f"scene-{number:05d}",
                split=split,
                captions=tuple(sentence(scene, rng) for _ in range(config.sentences)),
                extra=seen | {f"true_{slot}": label for slot, label in scene.items()},
            )
        )
    return rows


def most_probable_right(rows: Sequence[Row]) -> dict[str, float]:
    """Slot -> the share of scenes whose most probable label is the true one."""
    return {
        slot: sum(max(row.extra[slot], key=row.extra[slot].get) == row.extra[f"true_{slot}"] for row in rows)
        / len(rows)
        for slot in SLOTS
    }


def tacos_table(rows: Sequence[Row]) -> str:
    """The scenes as a table in the layout that `lrcn data import tacos` reads, a line a sentence."""
    lines = ["clip\tsplit\ttuple\tsentence"]
    for row in rows:
        best = ", ".join(max(row.extra[slot], key=row.extra[slot].get) for slot in SLOTS)
        lines += [f"{row.id}\t{row.split}\t<{best}>\t{caption}" for caption in row.captions]
    return "\n".join(lines) + "\n"


# ---- the scenes ----


@cache
def _tuples() -> tuple[NDArray[np.int64], Floats]:
    """All scenes that there are, (n, 4) numbers of labels, and the probability of each (n,)."""
    number = {slot: {name: k for k, name in enumerate(names)} for slot, names in labels().items()}
    names, shares = zip(*scenes(), strict=True)
    prior = np.array(shares)
    tuples = [[number[slot][name] for slot, name in zip(SLOTS, scene, strict=True)] for scene in names]
    return np.array(tuples), prior / prior.sum()


def _named(scenes: NDArray[np.int64]) -> list[dict[str, str]]:
    names = labels()
    return [{slot: names[slot][k] for slot, k in zip(SLOTS, scene, strict=True)} for scene in scenes.tolist()]


# ---- the recogniser ----


def _recognised(scenes: NDArray[np.int64], config: CookingConfig) -> dict[str, Floats]:
    """Slot -> the probability of each of its labels (N, labels)."""
    tuples, prior = _tuples()
    evidence = {slot: _log_likelihoods(slot, scenes[:, column], config) for column, slot in enumerate(SLOTS)}
    if config.joint:
        scores = np.log(prior) + np.zeros((len(scenes), 1))
        for column, slot in enumerate(SLOTS):
            scores = scores + evidence[slot][:, tuples[:, column]]
        posterior = _softmax(scores)
        return {slot: posterior @ _in_tuples(slot) for slot in SLOTS}
    return {slot: _softmax(evidence[slot] + np.log(prior @ _in_tuples(slot))) for slot in SLOTS}


def _in_tuples(slot: str) -> Floats:
    """(n, labels), 1 where a tuple has a label."""
    return np.asarray(np.eye(len(labels()[slot]))[_tuples()[0][:, SLOTS.index(slot)]])


def _log_likelihoods(slot: str, truth: NDArray[np.int64], config: CookingConfig) -> Floats:
    """How probable what is seen of each scene's slot is under each label, (N, labels), but for a constant."""
    looks = _looks(slot)
    if not config.noise:
        return np.where(np.arange(len(looks)) == truth[:, None], 0.0, -1e9)
    rng = np.random.default_rng([config.seed, 1, SLOTS.index(slot)])
    seen = looks[truth] + config.noise * rng.normal(size=(len(truth), looks.shape[1]))
    squared = (seen**2).sum(1)[:, None] - 2 * seen @ looks.T + (looks**2).sum(1)
    return np.asarray(-squared / (2 * config.noise**2))


@cache
def _looks(slot: str, size: int = 16) -> Floats:
    """Where each label lies in what the recogniser sees, (labels, size): about 1 from its kind, 2 from others."""
    # The same kitchen for all seeds.
    rng = np.random.default_rng([2015, SLOTS.index(slot)])

    def drawn(count: int, apart: float) -> Floats:
        return np.asarray(rng.normal(size=(count, size)) * apart / np.sqrt(2 * size))

    kinds = [drawn(1, 3**0.5) + drawn(len(names), 1.0) for names in KINDS[slot].values()]
    return np.asarray(np.concatenate(kinds))


def _softmax(scores: Floats) -> Floats:
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
