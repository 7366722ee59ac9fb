"""Labels in slots (activity, tool, object, place ...) -> what a describer is given: a sequence, or one vector.

What a row says of a slot is a label, several, or the probability of each, as `lrcn recognize` writes it.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from lrcn.data.manifest import Row
from lrcn.errors import LrcnError

Weights = dict[str, float]
"""The probability of each label."""


@dataclass(frozen=True)
class Slots:
    """The labels that are known, slot by slot; K in all.

    Attributes:
        labels: slot -> its labels. A slot is called as the manifest's field that fills it.
    """

    labels: dict[str, tuple[str, ...]] = field(hash=False)

    def __post_init__(self) -> None:
        for slot, labels in self.labels.items():
            if not labels or len(set(labels)) < len(labels):
                raise LrcnError(
                    f"The slot {slot} has the labels {list(labels)[:5]}: give one or more, each once."
                )
        if not self.labels:
            raise LrcnError("There are no slots: name the manifest's fields that hold labels.")

    @classmethod
    def learn(cls, rows: Iterable[Row], fields: Sequence[str]) -> "Slots":
        """The labels that rows have in these fields, in alphabetical order.

        Give the rows in train alone.

        Raises:
            LrcnError: no row has one of the fields, or what stands there is no label.
        """
        found: dict[str, set[str]] = {name: set() for name in fields}
        for row in rows:
            for name in fields:
                found[name] |= set(weights_of(row.field(name), f"{row.path}: {name}"))
        for name, labels in found.items():
            if not labels:
                raise LrcnError(f"No training row has the field '{name}': name fields that hold labels.")
        return cls({name: tuple(sorted(labels)) for name, labels in found.items()})

    @property
    def size(self) -> int:
        """K: the labels of all slots."""
        return sum(map(len, self.labels.values()))

    def ids(self, given: Mapping[str, Any], where: str = "") -> Tensor:
        """The labels in the order of the slots, int64 (T,): the k-th of all is k + 1.

        Of probabilities the most probable label is taken. Labels that are not known are left out; where none is left, a
        single 0 says so.
        """
        ids = [
            self._places[slot, label] + 1
            for slot, weights in self._known(given, where)
            for label in _most_probable(weights)
        ]
        return torch.tensor(ids or [0])

    def vector(self, given: Mapping[str, Any], kind: Literal["max", "prob"], where: str = "") -> Tensor:
        """One vector (K,): the probabilities, or for "max" a 1 at the most probable label of each slot."""
        vector = torch.zeros(self.size)
        for slot, weights in self._known(given, where):
            for label in _most_probable(weights) if kind == "max" else weights:
                vector[self._places[slot, label]] = 1.0 if kind == "max" else weights[label]
        return vector

    def of_row(self, row: Row) -> dict[str, Any]:
        """What a row says of each slot."""
        return {slot: row.field(slot) for slot in self.labels}

    @cached_property
    def _places(self) -> dict[tuple[str, str], int]:
        every = [(slot, label) for slot, labels in self.labels.items() for label in labels]
        return {name: place for place, name in enumerate(every)}

    def _known(self, given: Mapping[str, Any], where: str) -> list[tuple[str, Weights]]:
        said = {slot: weights_of(given.get(slot), f"{where}: {slot}") for slot in self.labels}
        return [
            (slot, {label: p for label, p in weights.items() if (slot, label) in self._places})
            for slot, weights in said.items()
        ]


def weights_of(value: Any, where: str = "") -> Weights:
    """What stands in a field as the probability of each label; those of a plain label, or of a list, are 1.

    CSV tables hold lists and mappings as JSON.

    Raises:
        LrcnError: it is something else; the sentence names the place, `where`.
    """
    if isinstance(value, str) and value[:1] in ("[", "{"):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    if value is None:
        return {}
    if isinstance(value, str):
        return {value: 1.0}
    if isinstance(value, Mapping) and all(map(_is_probability, value.values())):
        return {str(label): float(p) for label, p in value.items()}
    if isinstance(value, Sequence) and all(isinstance(label, str) for label in value):
        return dict.fromkeys(value, 1.0)
    raise LrcnError(
        f"{where} is {str(value)[:40]!r}: give a label, a list of labels, or a mapping from labels to probabilities."
    )


def _is_probability(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1


def _most_probable(weights: Weights) -> list[str]:
    """The label of the highest probability; of several that are sure, all."""
    sure = [label for label, p in weights.items() if p == 1]
    return sure or ([max(weights, key=weights.__getitem__)] if weights else [])
