"""Weights that Caffe trained, made into a model folder.

The layers of a .caffemodel are taken for those of LRCN by the shapes of their weights and by their order, whatever
they are called.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lrcn.data.flow import MotionConfig
from lrcn.data.sampling import Sampling
from lrcn.data.transforms import Preprocess
from lrcn.errors import LrcnError
from lrcn.models.caffe_file import CaffeLayer, Values, read_caffemodel
from lrcn.models.caffenet import CHANNELS, HYBRID_CAFFENET, SIDE, UNITS, Mean
from lrcn.models.cnn import EncoderConfig
from lrcn.models.folder import refuse_other_things, save_model
from lrcn.models.reading import ReadingConfig
from lrcn.models.recognizer import Recognizer, RecognizerConfig
from lrcn.models.recurrent import RecurrentConfig
from lrcn.text import one_line


def lstm_weights(blobs: Sequence[Values]) -> dict[str, Values]:
    """Caffe's LSTM blobs (W_xc, b_c, [W_xc_static], W_hc) -> the tensors of a one-layer nn.LSTM, by name.

    Caffe stacks the gates as i, f, o, g and PyTorch as i, f, g, o. A static input's columns come after those of x, to
    be read beside it at every step. Of PyTorch's two biases the second is zero.
    """
    first, bias, *static, hidden = blobs
    return {
        "weight_ih_l0": _gates(np.concatenate([first, *static], axis=1)),
        "weight_hh_l0": _gates(hidden),
        "bias_ih_l0": _gates(bias),
        "bias_hh_l0": np.zeros_like(bias),
    }


def _gates(rows: Values) -> Values:
    i, f, o, g = np.split(rows, 4)
    return np.concatenate([i, f, g, o])


def import_caffemodel(
    path: str | Path,
    labels: Sequence[str],
    out: str | Path,
    *,
    flow: bool = False,
    report: Callable[[str], None] = print,
) -> Path:
    """Makes a model folder of a .caffemodel of LRCN or of its single-frame network.

    The network is the paper's: the hybrid CaffeNet up to fc6 or fc7, one or more layers of LSTM or none, a classifier.
    A narrower one with the same proportions is taken as well.

    Args:
        path: the file.
        labels: names of the classes, in the order the network was trained with.
        out: the model folder; a model that is there is replaced.
        flow: the network reads flow images.
        report: is told what was taken for what.

    Returns:
        The model folder.

    Raises:
        LrcnError: the file is no such network, or the labels are not as many as its classes.
    """
    path = Path(path)
    refuse_other_things(out)
    found = _found(read_caffemodel(path), path)
    classes = len(found.classifier.blobs[1])
    if len(labels) != classes:
        raise LrcnError(
            f"{found.classifier.name} of {path} scores {classes} classes, and there are {len(labels)} labels: give "
            "one for each, in the order of its training."
        )
    config = _config(found, flow)
    with torch.device("meta"):
        model = Recognizer(config, list(labels))
    model.load_state_dict(_tensors(found, model.state_dict(), path), assign=True)
    report(found.sentence())
    save_model(
        out,
        model,
        Preprocess(SIDE, motion=MotionConfig(kind="flow" if flow else "none"), frame=(240, 320)),
        # The paper's: 30 frames a second, windows of 16 every 8; a single-frame network has no use for windows.
        Sampling(rate=30.0, frames=16, stride=8 if found.lstms else None),
        card=_card(Path(out).name, path, found, config),
        half=False,
    )
    return Path(out)


@dataclass(frozen=True)
class _Found:
    """The layers of LRCN in a file."""

    convolutions: Sequence[CaffeLayer]
    connected: Sequence[CaffeLayer]
    lstms: Sequence[CaffeLayer]
    classifier: CaffeLayer

    def sentence(self) -> str:
        """What was taken for what."""
        parts = [
            f"{_names(self.convolutions)} as conv1 to conv5",
            f"{_names(self.connected)} as {' and '.join(('fc6', 'fc7')[: len(self.connected)])}",
            *(f"{layer.name} as an LSTM of {layer.blobs[-1].shape[1]} units" for layer in self.lstms),
            f"{self.classifier.name} as the classifier of {len(self.classifier.blobs[1])} classes",
        ]
        return f"Taken: {'; '.join(parts)}."

    def sources(self) -> Iterator[tuple[str, CaffeLayer, Mapping[str, Values]]]:
        """Where in the recogniser each layer goes, the layer, and its tensors there."""
        for name, layer in zip(_CONVOLUTIONS, self.convolutions, strict=True):
            yield f"encoder.backbone.{name}", layer, _linear(layer)
        for name, layer in zip(("fc6", "fc7"), self.connected, strict=False):
            yield f"encoder.backbone.{name}", layer, _linear(layer)
        for depth, layer in enumerate(self.lstms):
            yield f"recurrent.cells.{depth}", layer, lstm_weights(layer.blobs)
        yield "classifier", self.classifier, _linear(self.classifier)


_CONVOLUTIONS = tuple(f"conv{number}" for number in range(1, len(CHANNELS) + 1))


def _found(layers: Sequence[CaffeLayer], path: Path) -> _Found:
    match = re.fullmatch("(c{5})(f{1,2})(l*)(f)", "".join(map(_letter, layers)))
    if match is None:
        shown = "; ".join(f"{layer.name} {layer.shapes}" for layer in layers[:20])
        raise LrcnError(
            f"{path} holds {shown}: LRCN is five convolutions, fc6, perhaps fc7, perhaps LSTMs, and a classifier, "
            "in this order, and nothing else can be imported."
        )
    convolutions, connected, lstms, (classifier,) = (
        layers[slice(*match.span(group))] for group in range(1, 5)
    )
    return _Found(convolutions, connected, lstms, classifier)


def _letter(layer: CaffeLayer) -> str:
    """c: a convolution, f: fully connected, l: an LSTM, ?: anything else."""
    blobs = layer.blobs
    dimensions = [blob.ndim for blob in blobs]
    if not all(blob.size for blob in blobs):
        return "?"
    if dimensions in ([2, 1, 2], [2, 1, 2, 2]):
        rows = {len(blob) for blob in blobs}
        return "l" if rows == {4 * blobs[-1].shape[1]} else "?"
    return "c" if dimensions == [4, 1] else "f" if dimensions == [2, 1] else "?"


def _names(layers: Sequence[CaffeLayer]) -> str:
    return ", ".join(layer.name for layer in layers)


def _linear(layer: CaffeLayer) -> Mapping[str, Values]:
    return dict(zip(("weight", "bias"), layer.blobs, strict=True))


def _config(found: _Found, flow: bool) -> RecognizerConfig:
    """The paper's settings for such a network, so that it can be trained further as it was."""
    mean: Mean = "flow" if flow else "released" if found.lstms else "imagenet"
    encoder = EncoderConfig(
        HYBRID_CAFFENET,
        weights="none",
        pool="fc7" if len(found.connected) == 2 else "fc6",
        tune=-1,
        dropout=0.9 if found.lstms else 0.5,
        mean=mean,
        width=min(1.0, len(found.connected[0].blobs[1]) / UNITS),
    )
    recurrent = RecurrentConfig("none", dropout=0.0, init="caffe")
    if found.lstms:
        size = found.lstms[0].blobs[-1].shape[1]
        recurrent = RecurrentConfig("lstm", size, len(found.lstms), one_bias=True, init="caffe")
    return RecognizerConfig(encoder, ReadingConfig(features=0, dropout=0.0), recurrent)


def _tensors(found: _Found, needed: Mapping[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """The recogniser's tensors, each held against the shape that is needed."""
    tensors: dict[str, torch.Tensor] = {}
    for place, layer, values in found.sources():
        for name, value in values.items():
            shape = tuple(needed[f"{place}.{name}"].shape)
            if value.shape != shape:
                wanted = "x".join(map(str, shape))
                raise LrcnError(
                    f"{layer.name} of {path} has weights of {layer.shapes}, where LRCN has {wanted}: only the paper's "
                    "networks can be imported."
                )
            if not np.isfinite(value).all():
                raise LrcnError(
                    f"{layer.name} of {path} holds values that are no numbers: fetch the file again."
                )
            tensors[f"{place}.{name}"] = torch.from_numpy(np.ascontiguousarray(value))
    return tensors


def _card(name: str, path: Path, found: _Found, config: RecognizerConfig) -> str:
    encoder = config.encoder
    kind = f"LRCN-{encoder.pool}" if found.lstms else "The single-frame network"
    parts = [
        f"# {name}",
        f"{kind} of Donahue et al. 2015, with weights from {one_line(path.name)}.",
        found.sentence(),
        f"It reads {'flow images' if encoder.mean == 'flow' else 'colours'}, less the mean `{encoder.mean}`, "
        "cut out of the middle of frames of 240 x 320 as in the released code.",
        "Nothing was measured with these weights here. Their terms are those of whoever trained them.",
    ]
    return "\n\n".join(parts) + "\n"
