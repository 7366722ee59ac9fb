"""How a describer reads steps into a memory of fixed size, and writes from it: see `lrcn.models.describer`.

Each arrangement has the memory before the first step (`begin`), reads steps into it (`watch`), makes it the state
before the first word (`ready`) and writes from there, whole sentences (`hidden`, `scores`) or word by word (`step`).
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lrcn.data.tokenizer import EOS
from lrcn.models.decoder import Decoder, DecoderConfig
from lrcn.models.recurrent import RecurrentConfig, RecurrentStack, State


@dataclass(frozen=True)
class Seen:
    """What was read of some sources; indexed by rows, as a tensor of images is.

    Attributes:
        memory: tensors whose first dimension is the sources.
    """

    memory: State

    def __getitem__(self, rows: Tensor) -> "Seen":
        return Seen({name: value[rows] for name, value in self.memory.items()})


class _WithDecoder(nn.Module):
    """What writes with a decoder as it is."""

    decoder: Decoder

    @property
    def bias(self) -> Tensor:
        return self.decoder.bias

    def scores(self, hidden: Tensor) -> Tensor:
        return self.decoder.scores(hidden)

    def step(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        return self.decoder.step(words, state)


class HandedOver(_WithDecoder):
    """Sequence to sequence: the decoder begins where the encoder ended.

    Its memory is the encoder's state.
    """

    def __init__(self, config: DecoderConfig, inputs: int, words: int) -> None:
        super().__init__()
        settings = replace(config, image_at=(), attention=0)
        self.reader = RecurrentStack(inputs, _recurrent(settings, settings.layers))
        self.decoder = Decoder(settings, inputs, words)

    def begin(self, batch: int) -> State:
        return self.reader.initial_state(batch)

    def watch(self, seen: Tensor, lengths: Tensor, memory: State) -> State:
        after: State = self.reader(seen, lengths, memory)[1]
        return after

    def ready(self, memory: State) -> State:
        return {
            f"{name}{layer}": value[:, layer]
            for name, value in memory.items()
            for layer in range(value.shape[1])
        }

    def hidden(self, seen: Seen, words: Tensor, lengths: Tensor | None = None) -> Tensor:
        # No layer is shown anything, so it does not matter what is.
        return self.decoder.hidden(seen.memory["h"], words, lengths, start=self.ready(seen.memory))


class S2VT(nn.Module):
    """Two stacked layers that first read and then write; while one of their inputs has nothing to say, it is zero.

    Their memory is the state of both.
    """

    def __init__(self, config: DecoderConfig, inputs: int, words: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.lower = RecurrentStack(inputs, _recurrent(config, 1))
        self.upper = RecurrentStack(config.size + config.embedding, _recurrent(config, 1))
        self.embedding = nn.Embedding(words, config.embedding)
        self.word_dropout = nn.Dropout(config.word_dropout)
        self.classifier = nn.Linear(config.size, words)
        for weight in (self.embedding.weight, self.classifier.weight):
            nn.init.uniform_(weight, -config.init_range, config.init_range)
        nn.init.zeros_(self.classifier.bias)

    @property
    def bias(self) -> Tensor:
        return self.classifier.bias

    def begin(self, batch: int) -> State:
        return _both(self.lower.initial_state(batch), self.upper.initial_state(batch))

    def watch(self, seen: Tensor, lengths: Tensor, memory: State) -> State:
        blank = seen.new_zeros(*seen.shape[:2], self.embedding.embedding_dim)
        return self._unrolled(seen, blank, lengths, memory)[1]

    def ready(self, memory: State) -> State:
        return memory

    def hidden(self, seen: Seen, words: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is not None:
            beyond = torch.arange(words.shape[1], device=words.device) >= lengths.to(words.device)[:, None]
            words = words.masked_fill(beyond, EOS)
        said = self.word_dropout(self.embedding(words))
        return self._unrolled(said.new_zeros(*words.shape, self.inputs), said, None, seen.memory)[0]

    def scores(self, hidden: Tensor) -> Tensor:
        scores: Tensor = self.classifier(hidden)
        return scores

    def step(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        said = self.embedding(words)
        below, lower = self.lower.step(said.new_zeros(len(words), self.inputs), _part(state, "lower."))
        hidden, upper = self.upper.step(torch.cat([below, said], dim=1), _part(state, "upper."))
        return self.scores(hidden), _both(lower, upper)

    def _unrolled(
        self, seen: Tensor, said: Tensor, lengths: Tensor | None, memory: State
    ) -> tuple[Tensor, State]:
        below, lower = self.lower(seen, lengths, _part(memory, "lower."))
        hidden, upper = self.upper(torch.cat([below, said], dim=2), lengths, _part(memory, "upper."))
        return hidden, _both(lower, upper)


class Shown(_WithDecoder):
    """What was seen is shown beside every word: its mean, or means of stretches that attention chooses among.

    The memory is the sums (B, M, E) of M stretches of equally many steps, how many of these were seen in each (B, M),
    and in all (B,). When the stretches are full, each two become one: how long they are follows from the number of
    steps alone, so the pieces they came in do not matter.

    Args:
        config: of the decoder.
        inputs: E.
        words: V.
        moments: M; 1 is the mean.
    """

    def __init__(self, config: DecoderConfig, inputs: int, words: int, moments: int = 1) -> None:
        super().__init__()
        self.inputs = inputs
        self.moments = moments
        self.decoder = Decoder(config, inputs, words)

    def begin(self, batch: int) -> State:
        blank = self.decoder.bias.new_zeros(batch, self.moments, self.inputs)
        counts = blank.new_zeros(batch, self.moments, dtype=torch.int64)
        return {"sums": blank, "counts": counts, "steps": counts.sum(1)}

    def watch(self, seen: Tensor, lengths: Tensor, memory: State) -> State:
        before = memory["steps"]
        span, longer = self._span(before), self._span(before + lengths)
        place = torch.arange(self.moments, device=seen.device) // (longer // span)[:, None]
        merge = self._at(place)
        step = torch.arange(seen.shape[1], device=seen.device)
        # Steps past a row's end were made zero; their places may lie beyond the last.
        add = self._at(((before[:, None] + step) // longer[:, None]).clamp(max=self.moments - 1))
        add = add * (step < lengths[:, None])[..., None]
        return {
            "sums": _summed(merge, memory["sums"]) + _summed(add, seen),
            "counts": (merge * memory["counts"][..., None]).sum(1) + add.sum(1),
            "steps": before + lengths,
        }

    def ready(self, memory: State) -> State:
        return self.decoder.initial_state(*self._shown(memory))

    def hidden(self, seen: Seen, words: Tensor, lengths: Tensor | None = None) -> Tensor:
        shown, present = self._shown(seen.memory)
        return self.decoder.hidden(shown, words, lengths, present=present)

    def scores(self, hidden: Tensor) -> Tensor:
        return self.decoder.scores(hidden)

    def step(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        return self.decoder.step(words, state)

    def _shown(self, memory: State) -> tuple[Tensor, Tensor | None]:
        means = memory["sums"] / memory["counts"].clamp(min=1)[..., None]
        return (means, memory["counts"] > 0) if self.decoder.config.attention else (means[:, 0], None)

    def _span(self, steps: Tensor) -> Tensor:
        """How many steps a stretch has: the least power of two with which all of them find room."""
        needed = (steps + self.moments - 1) // self.moments
        return 2 ** needed.clamp(min=1).double().log2().ceil().long()

    def _at(self, place: Tensor) -> Tensor:
        """Places (B, T) among the stretches -> ones there, int64 (B, T, M)."""
        return nn.functional.one_hot(place, self.moments)


def _summed(at: Tensor, values: Tensor) -> Tensor:
    """Values (B, T, E), each added where `at` (B, T, M) has its one -> (B, M, E)."""
    return at.to(values.dtype).transpose(1, 2) @ values


def _recurrent(config: DecoderConfig, layers: int) -> RecurrentConfig:
    return RecurrentConfig(
        config.unit,
        config.size,
        layers,
        config.dropout,
        one_bias=True,
        init="caffe",
        init_range=config.init_range,
    )


def _both(lower: State, upper: State) -> State:
    parts = {"lower.": lower, "upper.": upper}
    return {f"{part}{name}": value for part, state in parts.items() for name, value in state.items()}


def _part(state: State, part: str) -> State:
    return {name.removeprefix(part): value for name, value in state.items() if name.startswith(part)}
