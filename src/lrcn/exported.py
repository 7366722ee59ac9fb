"""The exported folder: all that a runtime needs of a model, in a form that no training library is needed to read.

export.json       task, graphs with their inputs and outputs, preprocessing, sampling, segments
labels.json       names of the classes, or of what writes words
tokenizer.json    the vocabulary, in its place
NAME.onnx         a graph; NAME.xml with NAME.bin for OpenVINO, NAME.pt2 for torch
NAME.int8.onnx    the same with 8-bit weights and activations, where it was asked for
parity.json       how far the graphs were from the model on real frames
README.md         how to use it
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from lrcn.config import from_values, to_values
from lrcn.data.picture import Resize
from lrcn.data.prepare import Preparation, Step
from lrcn.data.sampling import Sampling
from lrcn.errors import LrcnError
from lrcn.files import write_whole

DESCRIPTION = "export.json"

Form = Literal["onnx", "openvino", "pt2"]

SUFFIXES: Mapping[Form, str] = {"onnx": ".onnx", "openvino": ".xml", "pt2": ".pt2"}

# Where the steps of a preparation live; none is imported before a model takes it.
_STEPS = {
    "CentreCrop": "lrcn.data.prepare",
    "MotionConfig": "lrcn.data.flow",
    "MotionHistory": "lrcn.data.history",
    "SubjectCrop": "lrcn.data.subject",
}


@dataclass(frozen=True)
class Port:
    """An input or output of a graph.

    Attributes:
        name: what it is called in the graph.
        dtype: as numpy calls it.
        shape: sizes; a letter where any size goes.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class GraphFile:
    """A graph in the folder.

    Attributes:
        file: its name there.
        inputs: in the graph's order.
        outputs: in the graph's order.
        state: input -> the output that takes its place at the next step. A state that nothing gives begins at zero.
        int8: name of the file with 8-bit numbers, if there is one.
    """

    file: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    state: dict[str, str] = field(default_factory=dict)
    int8: str | None = None


@dataclass(frozen=True)
class StepSettings:
    """One step of the preparation of frames: the class that does it, and its settings."""

    kind: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SegmentSettings:
    """How scores become segments; see `lrcn.segments.SegmentTracker`."""

    smoothing: float = 0.5
    min_duration: float = 0.4
    threshold: float = 0.0


@dataclass(frozen=True)
class WordSettings:
    """How sentences are chosen; see `lrcn.generate.Decoding`."""

    beam: int = 1
    max_length: int = 50
    length_penalty: float = 0.0


@dataclass(frozen=True)
class Exported:
    """What export.json says.

    Attributes:
        lrcn: version that wrote it.
        name: of the model.
        task: as in the model folder.
        form: what the graphs are written in.
        graphs: by name.
        resize: what is done to every frame first.
        steps: what is then done to the frames in their order.
        sampling: which frames of a video are read.
        segments: how scores become segments.
        words: how sentences are chosen.
        slots: labels that a describer is given, slot by slot.
    """

    lrcn: str
    name: str
    task: str
    form: Form
    graphs: dict[str, GraphFile]
    resize: Resize
    steps: tuple[StepSettings, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    segments: SegmentSettings = field(default_factory=SegmentSettings)
    words: WordSettings = field(default_factory=WordSettings)
    slots: dict[str, tuple[str, ...]] | None = None

    def preparation(self) -> Preparation:
        """The way from a video's frames to the graph.

        Raises:
            LrcnError: a step is unknown, or takes what is not installed.
        """
        return Preparation(self.resize, tuple(_step(step, self.name) for step in self.steps))


def settings_of(preparation: Preparation) -> tuple[StepSettings, ...]:
    """The steps of a preparation as they are written down.

    Raises:
        LrcnError: a step that no runtime knows.
    """
    for step in preparation.steps:
        if type(step).__name__ not in _STEPS:
            raise LrcnError(
                f"The preprocessing step {type(step).__name__} is not known to the runtime: this model cannot be "
                "exported."
            )
    return tuple(StepSettings(type(step).__name__, to_values(step)) for step in preparation.steps)


def read_exported(folder: str | Path) -> Exported:
    """Reads export.json.

    Raises:
        LrcnError: it is missing, or is none.
    """
    path = Path(folder) / DESCRIPTION
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LrcnError(
            f"{folder} is no exported model: it has no {DESCRIPTION}; make one with lrcn export."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise LrcnError(
            f"{path} cannot be read ({error}); copy it again, or export the model again."
        ) from error
    return from_values(Exported, values, str(path))


def write_exported(folder: Path, exported: Exported) -> None:
    """Writes export.json."""
    write_whole(folder / DESCRIPTION, json.dumps(to_values(exported), indent=2) + "\n")


def _step(step: StepSettings, name: str) -> Step:
    if step.kind not in _STEPS:
        raise LrcnError(
            f"{name} has a preprocessing step {step.kind}, which this lrcn does not know: take a newer one."
        )
    try:
        kind = getattr(import_module(_STEPS[step.kind]), step.kind)
    except ModuleNotFoundError as error:
        raise LrcnError(
            f"{name} reads images of motion, which takes {error.name} here: install it."
        ) from error
    made: Step = from_values(kind, step.settings, step.kind)
    return made
