"""What is exported of each kind of model: modules whose inputs and outputs are tensors in a row, and their names.

A recogniser is `step` (a frame and the state -> scores and the next state) and `clip` (whole clips -> scores and the
verdict). What writes is `word` (the last word and the state -> scores and the next state), after `look` (images ->
what is shown beside every word) in a captioner, and after `watch` (one step of the source and the memory -> the memory)
and `ready` (the memory -> the state before the first word) in a describer. A describer of shots is `look` and `word`,
and its recogniser's `step`. A joint embedding is `image` and `sentence`.

Pixels come in as uint8: the graphs normalise them. Scores are logits.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lrcn.data.tokenizer import EOS
from lrcn.export.over_time import OverTime, ReadingOverTime
from lrcn.exported import Form
from lrcn.models.arrangements import S2VT, HandedOver
from lrcn.models.captioner import Captioner
from lrcn.models.cnn import FrameEncoder
from lrcn.models.describer import VECTORS, Describer
from lrcn.models.folded import folded
from lrcn.models.joint import JointEmbedding
from lrcn.models.recognizer import Recognizer
from lrcn.models.recurrent import State
from lrcn.models.shot_describer import ShotDescriber

NEXT = "_next"
"""What stands behind the name of a state where it comes out."""

# Of the clip that a graph is traced with: unlike each other, so that no size is taken for another.
_BATCH, _STEPS = 2, 5


@dataclass(frozen=True)
class Graph:
    """A graph that is to be written.

    Attributes:
        name: of the graph.
        module: takes the inputs in their order, gives the outputs in theirs.
        inputs: examples, by name.
        outputs: names.
        state: names of the inputs that are the state; NAME comes out as NAME_next.
        axes: of inputs and outputs whose first dimensions are others than B alone, the letters of those.
        strict: whether torch reads the code itself to trace it for .pt2; else it takes `len` of a tensor for a fixed
            number, and so it cannot trace loops.
    """

    name: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: Sequence[str]
    state: Sequence[str] = ()
    axes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    strict: bool = True

    def letters(self, name: str) -> Sequence[str]:
        """Letters of the first dimensions of an input or output, whose sizes are free."""
        return self.axes.get(name, ("B",))


def recognizer_graphs(model: Recognizer, size: int, form: Form, batch: int | None = None) -> list[Graph]:
    """`step` where the network does not read the future, and `clip`.

    Args:
        model: in evaluation mode.
        size: pixels a side of its frames.
        form: what the graphs will be written in.
        batch: B, where it is fixed.
    """
    model = folded(model)
    _at_once(model.encoder)
    rows = batch or _BATCH
    graphs = []
    if model.causal:
        state = model.initial_state(rows)
        graphs.append(
            _stateful("step", _Step(model, list(state)), {"frame": _frames(rows, size)}, state, ("scores",))
        )
    frames = _frames(rows * _STEPS, size).view(rows, _STEPS, 3, size, size)
    inputs = {"frames": frames, "lengths": torch.arange(rows) % _STEPS + 1}
    axes = {"frames": "BT", "scores": "BT"}
    graphs.append(
        Graph("clip", _Clip(model, form), inputs, ("scores", "log_probabilities"), axes=axes, strict=False)
    )
    return graphs


def cnn_graph(model: Recognizer, size: int) -> Graph:
    """A recogniser's CNN alone, which its speed is measured against; the arguments are those of `recognizer_graphs`."""
    model = folded(model)
    _at_once(model.encoder)
    return Graph("cnn", _Cnn(model.encoder), {"frame": _frames(_BATCH, size)}, ("maps",))


def captioner_graphs(model: Captioner, size: int, batch: int | None = None) -> list[Graph]:
    """`look` and `word`; the arguments are those of `recognizer_graphs`."""
    model = deepcopy(model)
    _at_once(model.encoder)
    rows = batch or _BATCH
    images = _frames(rows, size)
    with torch.no_grad():
        state = model.initial_state(images)
        shown = list(model.decoder.context(model.look(images)))
    return [Graph("look", _Look(model, shown), {"image": images}, shown), _word_graph(model, state)]


def describer_graphs(model: Describer, size: int, batch: int | None = None) -> list[Graph]:
    """`watch`, `ready` and `word`; the arguments are those of `recognizer_graphs`."""
    model = deepcopy(model)
    if model.encoder is not None:
        _at_once(model.encoder)
    rows = batch or _BATCH
    memory = {name: value.clone() for name, value in model.begin(rows).items()}
    watch = _stateful("watch", _Watch(model, list(memory)), _piece(model, rows, size), memory, ())
    with torch.no_grad():
        state = model.ready(memory)
    # The memory may be the state itself, and an output has a name of its own.
    ready = Graph(
        "ready", _Ready(model, list(memory), list(state)), memory, [f"{name}{NEXT}" for name in state]
    )
    return [watch, ready, _word_graph(model, state)]


def shot_describer_graphs(
    model: ShotDescriber, size: int, watched: int, form: Form, batch: int | None = None
) -> list[Graph]:
    """`look` (key frames and what the recogniser said -> what is shown beside every word), `word`, and its `step`.

    Args:
        model: in evaluation mode.
        size: pixels a side of key frames.
        watched: pixels a side of the recogniser's frames.
        form: what the graphs will be written in.
        batch: B, where it is fixed.
    """
    model = deepcopy(model)
    _at_once(model.captioner.encoder)
    rows, keys = batch or _BATCH, model.config.key_frames
    inputs = {"frames": _frames(rows * keys, size).view(rows, keys, 3, size, size)}
    if model.config.labels:
        inputs["seen"] = torch.rand(rows, len(model.config.labels)).softmax(1)
    with torch.no_grad():
        state = model.initial_state(inputs["frames"], seen=inputs.get("seen"))
    word = _word_graph(model, state)
    shown = [name for name in word.inputs if name not in ("word", *word.state)]
    graphs = [Graph("look", _LookAtShot(model, shown), inputs, shown), word]
    if model.recognizer is not None:
        graphs += [
            graph
            for graph in recognizer_graphs(model.recognizer, watched, form, batch)
            if graph.name == "step"
        ]
    return graphs


def joint_graphs(model: JointEmbedding, size: int, form: Form, batch: int | None = None) -> list[Graph]:
    """`image` and `sentence`; the arguments are those of `recognizer_graphs`."""
    model = deepcopy(model)
    _at_once(model.encoder)
    rows = batch or _BATCH
    words = torch.ones(rows, _STEPS, dtype=torch.int64)
    inputs = {"words": words, "lengths": torch.arange(rows) % _STEPS + 1}
    return [
        Graph("image", _Image(model), {"image": _frames(rows, size)}, ("vector",)),
        Graph("sentence", _Sentence(model, form), inputs, ("vector",), axes={"words": "BL"}, strict=False),
    ]


def _stateful(
    name: str, module: nn.Module, inputs: Mapping[str, Tensor], state: State, outputs: Sequence[str]
) -> Graph:
    """A graph of one step: the state comes in after the inputs, and out after the outputs."""
    after = [f"{key}{NEXT}" for key in state]
    return Graph(name, module, {**inputs, **state}, [*outputs, *after], list(state))


def _word_graph(model: Captioner | Describer | ShotDescriber, state: State) -> Graph:
    rows = len(next(iter(state.values())))
    state = {name: value.clone() for name, value in state.items()}
    words = torch.full((rows,), EOS)
    with torch.no_grad():
        _, after = model.step(words, state)
    # What is shown stays as it is.
    memory = {name: value for name, value in state.items() if after[name] is not value}
    shown = {name: value for name, value in state.items() if name not in memory}
    return _stateful(
        "word", _Word(model, [*shown, *memory], list(memory)), {"word": words, **shown}, memory, ("scores",)
    )


class _Cnn(nn.Module):
    def __init__(self, encoder: FrameEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        return (self.encoder(*given),)


class _Step(nn.Module):
    def __init__(self, model: Recognizer, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        frame, *state = given
        scores, after = self.model.step(frame, dict(zip(self.names, state, strict=True)))
        return scores, *(after[name] for name in self.names)


class _Clip(nn.Module):
    def __init__(self, model: Recognizer, form: Form) -> None:
        super().__init__()
        self.model = model
        self.reading = ReadingOverTime(model.reading, form)
        self.recurrent = OverTime(model.recurrent, form)

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        frames, lengths = given
        maps = self.model.encoder(frames.flatten(0, 1))
        features = self.reading(maps.reshape(*frames.shape[:2], *maps.shape[1:]))
        outputs = self.recurrent(features, lengths)
        verdict = self.model.head(outputs, self.model.classifier(outputs), lengths)
        return verdict.scores, verdict.log_probabilities


class _Look(nn.Module):
    def __init__(self, model: Captioner, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        context = self.model.decoder.context(self.model.look(*given))
        return tuple(context[name] for name in self.names)


class _LookAtShot(nn.Module):
    def __init__(self, model: ShotDescriber, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        frames, *seen = given
        state = self.model.initial_state(frames, seen=seen[0] if seen else None)
        return tuple(state[name].clone() for name in self.names)


class _Word(nn.Module):
    def __init__(
        self, model: Captioner | Describer | ShotDescriber, names: list[str], memory: list[str]
    ) -> None:
        super().__init__()
        self.model, self.names, self.memory = model, names, memory

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        word, *state = given
        scores, after = self.model.step(word, dict(zip(self.names, state, strict=True)))
        return scores, *(after[name] for name in self.memory)


class _Watch(nn.Module):
    def __init__(self, model: Describer, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        piece, *memory = given
        before = dict(zip(self.names, memory, strict=True))
        source = piece if self.model.config.inputs in VECTORS else piece[:, None]
        after = _watched(self.model, self.model.see(source)[:, 0], before)
        return tuple(after[name] for name in self.names)


class _Ready(nn.Module):
    def __init__(self, model: Describer, memory: list[str], state: list[str]) -> None:
        super().__init__()
        self.model, self.memory, self.state = model, memory, state

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        state = self.model.ready(dict(zip(self.memory, given, strict=True)))
        return tuple(state[name].clone() for name in self.state)


class _Image(nn.Module):
    def __init__(self, model: JointEmbedding) -> None:
        super().__init__()
        self.model = model

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        return (self.model.images(*given),)


class _Sentence(nn.Module):
    def __init__(self, model: JointEmbedding, form: Form) -> None:
        super().__init__()
        self.model = model
        # The same network in another form: all else stays what `sentences` makes of it.
        over_time = OverTime(model.recurrent, form)
        model.recurrent.forward = lambda vectors, lengths: (over_time(vectors, lengths), {})  # type: ignore[method-assign,assignment,misc]
        self.over_time = over_time

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        return (self.model.sentences(*given),)


def _watched(model: Describer, seen: Tensor, memory: State) -> State:
    """The memory after one step (B, E): by the steps of the networks, as what runs over many is no graph."""
    decoder: Any = model.decoder
    if isinstance(decoder, HandedOver):
        return decoder.reader.step(seen, memory)[1]
    if isinstance(decoder, S2VT):
        parts = {
            part: {name.removeprefix(part): value for name, value in memory.items() if name.startswith(part)}
            for part in ("lower.", "upper.")
        }
        below, lower = decoder.lower.step(seen, parts["lower."])
        blank = seen.new_zeros(seen.shape[0], decoder.embedding.embedding_dim)
        _, upper = decoder.upper.step(torch.cat([below, blank], dim=1), parts["upper."])
        return {f"lower.{name}": value for name, value in lower.items()} | {
            f"upper.{name}": value for name, value in upper.items()
        }
    after: State = decoder.watch(seen[:, None], torch.ones_like(memory["steps"]), memory)
    return after


def _piece(model: Describer, rows: int, size: int) -> dict[str, Tensor]:
    """One step of what a describer is given."""
    config = model.config
    if config.inputs == "frames":
        return {"frame": _frames(rows, size)}
    if config.inputs == "labels":
        return {"label": torch.arange(rows) % config.given + 1}
    return {"vector": torch.rand(rows, config.given)}


def _frames(count: int, size: int) -> Tensor:
    return torch.randint(256, (count, 3, size, size), dtype=torch.uint8)


def _at_once(encoder: FrameEncoder) -> None:
    """All frames go through at a time: a graph cannot know in how many chunks they would."""
    encoder.maps = encoder._maps  # type: ignore[method-assign]
