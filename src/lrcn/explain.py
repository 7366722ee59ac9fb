"""Why a recogniser says a label of a video: which frames spoke for it, and where in them.

**Which frames.** The score is the log-odds of the label at every step, weighed as the clip's verdict weighs the steps.
Integrated gradients (Sundararajan, Taly, Yan 2017) share out among the frames by how much it exceeds the score of a
network that is told nothing (features of zero): the shares add up to that difference.

**Where in them.** Those shares are a slope times a frame's feature, so each has a gradient on the maps that the feature
is made of, however sure the network is. Heat is where that gradient agrees with the maps: Grad-CAM (Selvaraju et al.
2017), without its mean of the gradient over the places (Draelos and Carin 2020): the two are one for `pool: avg`, and
under a grid every cell has weights of its own. The maps are those that are taken apart by place last: the network's own
for vectors, and for a grid what each reading reads: the squeezed maps, their change since the frame before, or how far
each cell agrees with its neighbours in the frame before. The frame at which a change is read gets its evidence and its
heat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lrcn.data.media import is_live
from lrcn.data.subject import Box, SubjectCrop
from lrcn.data.video import Resize, open_video
from lrcn.errors import LrcnError
from lrcn.models.fusion import Fused
from lrcn.predict import Progress, Recognition, Source, recognize, source_name

if TYPE_CHECKING:
    from lrcn.data.transforms import Preprocess
    from lrcn.models.cnn import FrameEncoder
    from lrcn.models.folder import Loaded
    from lrcn.models.heads import Verdict
    from lrcn.models.recognizer import Recognizer

MOST_FRAMES = 128
"""Frames that are explained at a time: what memory and the eye can hold."""

_FINEST = 64
_POINTS = (16, 32, 64, 128, 256)
_TOLERANCE = 0.002
_ROUGH = 0.05
_AT_ONCE = 1 << 22


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a recogniser says a label of a stretch of video.

    Attributes:
        label: what is explained; not always what the recogniser would call it.
        recognition: what the recogniser says of this stretch, read on its own.
        score: log-odds of the label, natural logarithm: 0 is as probable as all others together.
        baseline: the score of a network that is told nothing of any frame.
        evidence: (T,) float64, what each frame adds to the score; they sum to `score - baseline`, but for `residual`.
        residual: what the sum lacks, an error of the numerical integral.
        heat: (T, h, w) float32, where in the whole frame the evidence for the label is, 0 to 1: a frame's hottest place
            is as hot as its evidence is strong, and a frame that speaks against the label has none. None where the
            network cannot tell.
        note: one sentence when there is something to know, such as why there is no heat.
    """

    label: str
    recognition: Recognition
    score: float
    baseline: float
    evidence: NDArray[np.float64]
    residual: float
    heat: NDArray[np.float32] | None
    note: str | None = None

    @property
    def times(self) -> NDArray[np.float64]:
        """(T,), seconds."""
        return self.recognition.times

    @property
    def per_frame(self) -> NDArray[np.float32]:
        """(T,), the label's probability at every frame."""
        return self.recognition.per_frame[:, self.recognition.labels.index(self.label)]

    @property
    def probability(self) -> float:
        """The label's probability in the whole stretch."""
        return self.recognition.probabilities[self.label]

    def strongest(self, count: int) -> list[int]:
        """Places of up to `count` frames that speak most for the label, in order of time; at least one.

        They keep apart from each other: neighbours show the same.
        """
        order = np.argsort(-self.evidence, kind="stable")
        speaking = max(int((self.evidence > 0).sum()), 1)
        chosen: list[int] = []
        for place in order[:speaking]:
            if len(chosen) < count and all(abs(place - other) >= speaking / count for other in chosen):
                chosen.append(int(place))
        return sorted(chosen)

    def peak(self, place: int) -> tuple[float, float] | None:
        """Where the heat of a frame is highest, from its left and top as shares of its sides; None without heat."""
        if self.heat is None or not self.heat[place].max() > 0:
            return None
        height, width = self.heat.shape[1:]
        row, column = divmod(int(self.heat[place].argmax()), width)
        return (column + 0.5) / width, (row + 0.5) / height

    def to_json(self) -> dict[str, Any]:
        """The JSON record: that of the recognition, and `explained`.

        `explained` has the label, its probability, score and baseline, the stretch (seconds), and for each frame the
        time, the evidence, the label's probability and where the heat peaks ([x, y], shares of the frame, or null).
        """
        rows = zip(self.times, self.evidence, self.per_frame, strict=True)
        frames = [
            {
                "time": round(float(time), 3),
                "evidence": round(float(evidence), 6),
                "probability": round(float(probability), 6),
                "peak": None if (peak := self.peak(place)) is None else [round(share, 4) for share in peak],
            }
            for place, (time, evidence, probability) in enumerate(rows)
        ]
        explained = {
            "label": self.label,
            "probability": round(self.probability, 6),
            "score": round(self.score, 6),
            "baseline": round(self.baseline, 6),
            "start": round(self.recognition.start, 3),
            "end": round(self.recognition.end, 3),
            "frames": frames,
            **({} if self.note is None else {"note": self.note}),
        }
        return self.recognition.to_json() | {"explained": explained}


def explain(
    loaded: Loaded | Fused,
    source: Source,
    *,
    label: str | None = None,
    start: float = 0.0,
    end: float | None = None,
    most: int = MOST_FRAMES,
    progress: Progress | None = None,
) -> Explanation:
    """Says which frames of a video speak for a label, and where in them.

    What is explained is the stretch read on its own, as `recognize` reads it from `start` to `end`. Of more than `most`
    sampled frames, those in a row are explained in whose middle the label is most probable, and `note` says so.

    Args:
        loaded: a model with its preprocessing and sampling.
        source: a file, a folder of numbered frames, a URL, or frames (T, H, W, 3) uint8: what can be read again.
        label: one of the model's classes; None for the most probable one.
        start: seconds into the video to begin at.
        end: seconds to stop at; None for the end of the video.
        most: frames that are explained.
        progress: as in `recognize`.

    Raises:
        LrcnError: as `recognize`; the model is a fused one; there is no such label; or the source is live.
    """
    if isinstance(loaded, Fused):
        raise LrcnError("Several fused models cannot be explained at once: give one of them.")
    _refuse_live(source)
    refuse_unknown(label, loaded.labels)
    seen = recognize(loaded, source, start=start, end=end, progress=progress)
    label = seen.label if label is None else label
    k = loaded.labels.index(label)
    notes = []
    if len(seen.times) > most and loaded.sampling.spread == "window":
        start, end = _most_telling(seen, k, most)
        notes.append(
            f"Explained is {start:.1f} to {end:.1f} s of {seen.end:.1f} s, where {label} is most probable; "
            "give a start and an end to look elsewhere."
        )
        seen = recognize(loaded, source, start=start, end=end)
    frames, size, box = _network_frames(loaded, source, seen, start, end)
    windows = loaded.sampling.windows(len(frames))
    found = explain_frames(loaded.model, torch.from_numpy(frames), k, windows)
    heat = None
    if found.heat is None:
        notes.append(
            "There is no heat: attention in a transformer mixes the places, so its maps do not tell them."
        )
    else:
        heat = _as_strong(_over_frame(found.heat, loaded.preprocess, *size, box), found.evidence)
    if not found.evidence.max() > 0:
        notes.append(f"No frame speaks for {label}.")
    added = found.score - found.baseline
    residual = added - float(found.evidence.sum())
    if abs(residual) > _ROUGH * max(abs(added), 1.0):
        notes.append(
            f"The evidence misses {residual:+.2f} of the {added:+.2f} it shares out: read it with care."
        )
    return Explanation(
        label=label,
        recognition=seen,
        score=found.score,
        baseline=found.baseline,
        evidence=found.evidence,
        residual=residual,
        heat=heat,
        note=" ".join(notes) or None,
    )


class Found(NamedTuple):
    """What `explain_frames` found; the names are those of `Explanation`.

    `heat` is float32 (T, g, g) from 0 up, over the network's square picture.
    """

    score: float
    baseline: float
    evidence: NDArray[np.float64]
    heat: Tensor | None


def explain_frames(model: Recognizer, frames: Tensor, k: int, windows: Sequence[slice]) -> Found:
    """The same of frames as the network reads them.

    Args:
        model: in evaluation mode.
        frames: uint8 (T, 3, H, W).
        k: the class.
        windows: stretches of the frames, each read from a fresh state; all of one length.
    """
    encoder = model.encoder
    frames = frames.to(encoder.mean.device)
    with torch.no_grad():
        maps = encoder.maps(frames)
    score = baseline = 0.0
    evidence = np.zeros(len(frames))
    # By place: how much of a frame's evidence is where; of vectors only by channel, their places come after.
    shares: Tensor | None = None
    with torch.enable_grad():
        for window in windows:
            features, layers = _read(model, maps[window])
            slopes, *ends = _mean_slopes(partial(_log_odds, model, k), features.detach())
            parts = slopes * features
            score, baseline = score + ends[0] / len(windows), baseline + ends[1] / len(windows)
            evidence[window] += parts.detach().sum(-1).double().cpu().numpy() / len(windows)
            if encoder.keeps_places:
                found = _shares(parts.sum(), layers)
                shares = maps.new_zeros(len(frames), *found.shape[1:]) if shares is None else shares
                shares[window] += found
    if shares is not None and encoder.config.pool == "avg":
        shares = _placed(encoder, frames, shares)
    return Found(score, baseline, evidence, None if shares is None else shares.relu().cpu())


def _read(model: Recognizer, maps: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Maps (T, C, ...) -> features (T, D), and the layers that hold last what is where: those of each reading."""
    maps = maps.detach().requires_grad_()
    layers: list[Tensor] = []
    with ExitStack() as hooks:
        for projection in model.reading.projections.values():
            hooks.enter_context(
                projection.register_forward_pre_hook(lambda _, inputs: layers.append(inputs[0]))
            )
        features = model.reading(model.encoder.squeeze(maps)[None], model.reading.initial_state(1))[0]
    return features, layers if model.encoder.config.pool == "grid" else [maps]


def _log_odds(model: Recognizer, k: int, features: Tensor) -> Tensor:
    """Features (N, T, D) -> the mean over the steps of the log-odds of class k, (N,), weighed as the verdict is."""
    outputs, _ = model.recurrent(features)
    verdict: Verdict = model.head(outputs, model.classifier(outputs))
    others = torch.arange(verdict.scores.shape[-1], device=features.device) != k
    odds = verdict.scores[..., k] - verdict.scores[..., others].logsumexp(-1)
    return (verdict.weights * odds).sum(1)


def _mean_slopes(score: Callable[[Tensor], Tensor], features: Tensor) -> tuple[Tensor, float, float]:
    """The gradient (T, D) of a score, averaged on the straight way from features of zero to these, and both scores.

    Gauss and Legendre's points, ever more until the sum of the shares meets the difference of the scores.
    """
    # cuDNN has no gradient of a recurrent network that is not in training.
    with torch.backends.cudnn.flags(enabled=False):
        with torch.no_grad():
            full, empty = score(torch.stack([features, torch.zeros_like(features)])).tolist()
        slopes = torch.zeros_like(features)
        for count in _POINTS:
            slopes = _averaged(score, features, count)
            lacking = abs(full - empty - float((slopes * features).sum()))
            if lacking <= _TOLERANCE * max(abs(full - empty), 1.0):
                break
    return slopes, full, empty


def _averaged(score: Callable[[Tensor], Tensor], features: Tensor, count: int) -> Tensor:
    places, weights = np.polynomial.legendre.leggauss(count)
    at_once = max(1, _AT_ONCE // features.numel())
    total = torch.zeros_like(features)
    for first in range(0, count, at_once):
        part = slice(first, first + at_once)
        way = features.new_tensor((places[part] + 1) / 2)[:, None, None] * features
        way.requires_grad_()
        (slopes,) = torch.autograd.grad(score(way).sum(), way)
        total += torch.einsum("n,ntd->td", features.new_tensor(weights[part] / 2), slopes)
    return total


def _shares(evidence: Tensor, layers: list[Tensor]) -> Tensor:
    """Gradient times layer: (T, g, g) of maps, summed over channels and layers; of vectors the gradient (T, C)."""
    slopes = torch.autograd.grad(evidence, layers)
    if layers[0].ndim == 2:
        return slopes[0]
    parts = [(slope * layer.detach()).sum(1) for slope, layer in zip(slopes, layers, strict=True)]
    return torch.stack(parts).sum(0)


def _placed(encoder: FrameEncoder, frames: Tensor, slopes: Tensor) -> Tensor:
    """Slopes (T, C) on the mean of the maps of each frame -> (T, h, w) on the maps, which are made once more."""
    parts = []
    with torch.no_grad():
        chunks = torch.split(frames, encoder.config.chunk), torch.split(slopes, encoder.config.chunk)
        for some, slope in zip(*chunks, strict=True):
            maps = encoder.unpooled(some)
            parts.append(torch.einsum("tc,tchw->thw", slope, maps) / maps[0, 0].numel())
    return torch.cat(parts)


def _over_frame(
    heat: Tensor, preprocess: Preprocess, width: int, height: int, box: Box | None = None
) -> NDArray[np.float32]:
    """Heat (T, g, g) over the network's square -> (T, h, w) over the whole frame, 0 where the network does not look.

    However the frame was fitted, its middle is the middle of the square; of that, the network may see a subject's box.
    """
    preparation = preprocess.preparation()
    whole, shown = preparation.resize, 1.0
    seen = whole.size if preprocess.subject.crop else preprocess.size
    sides = [max(1, round(_FINEST * side / max(width, height))) for side in (width, height)]
    x, y = (
        ((torch.arange(side) + 0.5) * 2 / side - 1) * scaled / seen
        for side, scaled in zip(sides, whole.scaled(width, height), strict=True)
    )
    for crop in preparation.steps:
        if box is not None and isinstance(crop, SubjectCrop):
            box, shown = crop.covered(box), crop.shown
    if box is not None:
        half = whole.size / 2
        x, y = (((side + 1) * half - middle) * 2 / box.side for side, middle in ((x, box.x), (y, box.y)))
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    grid = places.expand(len(heat), *places.shape)
    placed = nn.functional.grid_sample(heat[:, None], grid, padding_mode="border", align_corners=False)[:, 0]
    # Beside and below what shows the frame itself may be other views of it.
    return (placed * ((places >= -1) & (places <= 2 * shown - 1)).all(-1)).numpy()


def _as_strong(heat: NDArray[np.float32], evidence: NDArray[np.float64]) -> NDArray[np.float32]:
    """Heat whose highest value in each frame is the frame's evidence for the label, 1 for the strongest."""
    tiny = np.finfo(np.float32).tiny
    strength = evidence.clip(0) / max(evidence.max(), tiny)
    factors: NDArray[np.float32] = (strength / np.maximum(heat.max((1, 2)), tiny)).astype(np.float32)
    return heat * factors[:, None, None]


def _network_frames(
    loaded: Loaded, source: Source, seen: Recognition, start: float, end: float | None
) -> tuple[NDArray[np.uint8], tuple[int, int], Box | None]:
    """What was recognised as the network read it, (T, 3, H, W), the video's (width, height), and its subject's box."""
    sampling, preparation = loaded.sampling, loaded.preprocess.preparation()
    with open_video(source, resize=preparation.resize) as reader:
        grid, chosen = seen.times, np.arange(len(seen.times))
        stop = reader.info.duration if end is None else end
        if sampling.spread == "uniform" and stop is not None:
            grid = sampling.grid(start, stop, reader.info.rate)
            chosen = sampling.pick(len(grid))
        frames = preparation.read(reader, grid, chosen).frames
        size = reader.info.width, reader.info.height
    crops = [step for step in preparation.steps if isinstance(step, SubjectCrop)]
    return frames, size, _box(source, preparation.resize, grid, crops[0]) if crops else None


def _box(source: Source, resize: Resize, grid: NDArray[np.float64], crop: SubjectCrop) -> Box | None:
    """Where the subject was when it was first there, in pixels of the resized frame."""
    with open_video(source, resize=resize) as reader:
        for time in grid:
            _, box = crop.images(reader.at(np.array([time])).frames)
            if box is not None:
                return box
    return None


def _most_telling(seen: Recognition, k: int, most: int) -> tuple[float, float]:
    """The start and end, seconds, of those `most` frames in a row in whose middle class k is most probable."""
    middle = np.hanning(most + 2)[1:-1]
    first = int(np.convolve(seen.per_frame[:, k], middle, mode="valid").argmax())
    after = first + most
    return float(seen.times[first]), float(seen.times[after]) if after < len(seen.times) else seen.end


def _refuse_live(source: Source) -> None:
    if isinstance(source, int) or (isinstance(source, str) and is_live(source)):
        raise LrcnError(
            f"{source_name(source)} is live and cannot be read again: record it to a file and explain that."
        )


def refuse_unknown(label: str | None, labels: Sequence[str]) -> None:
    """Looks a label up; None stands for any.

    Raises:
        LrcnError: there is no such label; the sentence names what comes close.
    """
    if label is None or label in labels:
        return
    close = get_close_matches(label, labels, n=1)
    hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(labels[:20])}."
    raise LrcnError(f"The model has no label {label!r}: {hint}")
