"""Graphs with 8-bit weights and activations (ONNX Runtime's static quantisation), and what they cost in accuracy.

Ranges are taken from some clips and the cost is measured on others: with labels as accuracy, and in any case as how
often the label is that of the model in single precision.
"""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrcn.data.datasets import ClipSource
from lrcn.data.manifest import Row, read_manifest
from lrcn.data.media import list_media
from lrcn.data.photo import read_photo
from lrcn.data.prepare import Preparation
from lrcn.data.sampling import Sampling
from lrcn.data.video import open_video
from lrcn.errors import LrcnError
from lrcn.export.parity import Frames, Opened, Parity, together
from lrcn.runtime_engine import Arrays, softmax

# Nearly all of the work is in convolutions. What follows them is named so that both become one step in 8 bits: else
# every convolution writes its numbers out in single precision, to be cut off at 0 (and 6) and rounded again.
_OPERATORS = ("Conv", "Clip", "Relu")

# Frames of a clip, and of all clips, that ranges are taken from; more bring nothing and take memory.
_LONGEST, _MOST = 64, 256


@dataclass(frozen=True)
class Sample:
    """A clip, or a photo, as the network reads it.

    Attributes:
        frames: uint8 (T,3,H,W).
        label: what is in it, where that is known.
    """

    frames: Frames
    label: str | None = None


@dataclass(frozen=True)
class Cost:
    """What 8 bits cost.

    Attributes:
        calibrated_on: frames that ranges were taken from.
        against_model: the comparison with the model in single precision, on other clips.
        clips: of these, how many have a label.
        accuracy: share of them that the 8-bit graph has right; None without labels.
        accuracy_fp32: the same of the graph in single precision.
    """

    calibrated_on: int
    against_model: Parity
    clips: int = 0
    accuracy: float | None = None
    accuracy_fp32: float | None = None

    def sentence(self) -> str:
        """What they cost, in words."""
        part = self.against_model
        text = (
            f"calibrated on {self.calibrated_on} frames; on {part.compared} others the label is the model's for "
            f"{part.same_labels:.1%}, and probabilities differ by {part.max_difference:.3f} at most"
        )
        if self.accuracy is not None:
            text += f"; of {self.clips} labelled clips {self.accuracy:.1%} are right, in single precision "
            text += f"{self.accuracy_fp32:.1%}"
        return f"{text}."


def read_samples(
    sources: Sequence[str], preparation: Preparation, sampling: Sampling | None
) -> tuple[Iterator[Sample], Iterator[Sample]]:
    """Clips to take ranges from, and others to measure on.

    Of a manifest whose rows have splits, those in train are the first; else every other one is.

    Args:
        sources: videos or photos, folders of them, one manifest, or a recipe that makes its clips.
        preparation: of frames.
        sampling: of videos; None for photos.

    Raises:
        LrcnError: there are not two, or the recipe is another model's. As the clips are used: one cannot be read.
    """
    if len(sources) == 1 and Path(sources[0]).suffix.lower() in (".yaml", ".yml"):
        return _made_samples(sources[0], preparation)
    rows = _rows(sources, "image" if sampling is None else "video")
    first = [row for row in rows if row.split == "train"]
    others = [row for row in rows if row.split != "train"]
    if not first or not others:
        first, others = rows[::2], rows[1::2]
    if not others:
        raise LrcnError(
            "--calibrate names one clip: give two or more, to calibrate on some and measure on others."
        )
    # Of many, some from all over the list.
    first = first[:: -(-len(first) // _MOST)]

    def clips(part: list[Row]) -> Iterator[Sample]:
        return (_sample(row, preparation, sampling) for row in part)

    return clips(first), clips(others)


def _made_samples(recipe: str, preparation: Preparation) -> tuple[Iterator[Sample], Iterator[Sample]]:
    from lrcn.train.recipe import read_recipe
    from lrcn.train.splits import single_split

    read = read_recipe(recipe)
    if read.data.moves is None:
        raise LrcnError(f"{recipe} makes no clips: give the manifest that it trains on, {read.data.source}.")
    if read.preprocess.preparation() != preparation:
        raise LrcnError(f"{recipe} prepares frames unlike this model: give the recipe that trained it.")
    split = single_split(read, lambda _: None)
    if split.dev is None:
        raise LrcnError(f"{recipe} has no dev photos to measure on: name them in data.moves.dev.")
    labels, train, dev = split.labels, split.train, split.dev

    def clip(source: ClipSource, index: int) -> Sample:
        item = source.item(index, 0)
        return Sample(item["frames"].numpy(), labels[int(item["label"][0])])

    first = range(0, len(train), -(-len(train) // _MOST))
    return (clip(train, index) for index in first), (clip(dev, index) for index in range(len(dev)))


def halves(frames: Frames) -> tuple[Iterator[Sample], Iterator[Sample]]:
    """The two halves of one film, where no clips are given."""
    middle = len(frames) // 2
    return iter([Sample(frames[:middle])]), iter([Sample(frames[middle:])])


def quantize(onnx: Path, file: Path, opened: Opened, samples: Iterable[Sample]) -> int:
    """Writes an ONNX graph with 8-bit numbers: weights by channel, activations by the range that all but a few have.

    Engines take the pairs of QuantizeLinear and DequantizeLinear in it for 8-bit arithmetic.

    Args:
        onnx: the graph in single precision.
        file: what is written.
        opened: the same graph, to be shown the samples.
        samples: what ranges are taken from.

    Returns:
        How many frames they were taken from.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    shown = list(_shown(opened, samples))

    class Shown(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(shown)

        def get_next(self) -> Arrays | None:
            return next(self.rest, None)

    ready = onnx.with_suffix(".ready.onnx")
    with _quiet():
        quant_pre_process(onnx, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            file,
            Shown(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_OPERATORS),
            nodes_to_exclude=_after(opened.graph.state, ready),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile,
        )
    ready.unlink()
    return len(shown)


def _after(state: Iterable[str], onnx: Path) -> list[str]:
    """Names of the nodes that read a state, or what follows from it: they stay exact, as their errors would add up."""
    from onnx import load

    reached, names = set(state), []
    for node in load(onnx).graph.node:
        if reached.intersection(node.input):
            reached.update(node.output)
            names.append(node.name)
    return names


def cost(
    calibrated_on: int,
    compare: Callable[[Frames], Parity],
    graphs: tuple[Opened, Opened],
    samples: Iterable[Sample],
    labels: Sequence[str],
) -> Cost:
    """What an 8-bit graph costs on clips that its ranges were not taken from.

    Args:
        calibrated_on: frames that they were taken from.
        compare: the graph against the model, on one clip.
        graphs: the 8-bit graph, and that in single precision.
        samples: the clips.
        labels: names of the classes; none for what has no classes.
    """
    parts, right = [], []
    for sample in samples:
        parts.append(compare(sample.frames))
        if sample.label in labels:
            truth = labels.index(sample.label)
            right.append([int(_verdict(graph, sample.frames).argmax()) == truth for graph in graphs])
    accuracies: list[float] = np.mean(right, axis=0).tolist() if right else []
    return Cost(calibrated_on, together(parts), len(right), *accuracies)


def _verdict(opened: Opened, frames: Frames) -> NDArray[np.float64]:
    """Mean probabilities (K,) of a clip's frames."""
    scores = np.concatenate([found["scores"] for _, found in _run(opened, frames)])
    mean: NDArray[np.float64] = softmax(scores.astype(np.float64)).mean(0)
    return mean


def _shown(opened: Opened, samples: Iterable[Sample]) -> Iterator[Arrays]:
    """All inputs of the graph at each frame, its state carried through each clip."""
    clips = list(samples)
    share = max(1, _MOST // len(clips))
    for clip in clips:
        yield from (given for given, _ in _run(opened, clip.frames[:share]))


def _run(opened: Opened, frames: Frames) -> Iterator[tuple[Arrays, Arrays]]:
    """The inputs and the outputs of the graph at each frame."""
    rows = opened.batch or 1
    name, state = opened.graph.inputs[0].name, opened.blank(rows)
    for frame in frames:
        given = {name: np.repeat(frame[None], rows, axis=0)}
        found, after = opened.step(given, state)
        yield given | state, {output: value[:1] for output, value in found.items()}
        state = after


def _rows(sources: Sequence[str], kind: str) -> list[Row]:
    if len(sources) == 1 and Path(sources[0]).suffix.lower() in (".jsonl", ".csv"):
        return read_manifest(sources[0])
    return [Row(path) for path in list_media(sources, (kind,))]


def _sample(row: Row, preparation: Preparation, sampling: Sampling | None) -> Sample:
    if sampling is None:
        photo = preparation.resize(read_photo(row.path)).transpose(2, 0, 1)[None]
        return Sample(preparation(np.ascontiguousarray(photo))[0], row.label)
    with open_video(row.path, resize=preparation.resize) as reader:
        start, end = row.start or 0.0, row.end or reader.info.duration
        if end is None:
            raise LrcnError(f"{row.path} does not say how long it is: give clips that do to calibrate on.")
        grid = sampling.grid(start, end, reader.info.rate)[:_LONGEST]
        return Sample(preparation.read(reader, grid, np.arange(len(grid))).frames, row.label)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what the quantiser tells its own developers from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
