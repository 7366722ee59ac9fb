"""What live recognition costs: one camera beside its bare CNN and beside networks that read clips, and many cameras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from lrcn.bench.measuring import Rows, rate, side_by_side
from lrcn.bench.sharing import beside_others, in_a_pool, in_processes
from lrcn.bench.streams import (
    Frames,
    film_for,
    loaded_of,
    pushed,
    ready_frames,
    resident_mib,
    resize_of,
    seconds_of_next,
    skip,
    streamable_of,
)
from lrcn.threads import threads

if TYPE_CHECKING:
    from lrcn.models.onestep import OneStep
    from lrcn.stream import Streamable

_CLIP_NETWORKS = {"r2plus1d_18": 112, "mc3_18": 112, "s3d": 224, "swin3d_t": 224}
"""Networks of torchvision that read clips, and the side of the frames they are made for."""

_WINDOW = 16
_TIMED = 200


def stream(
    clip: str = "",
    height: int = 0,
    model: str = "camera-moves",
    encoder: str = "",
    size: int = 0,
    frames: int = 5000,
    engines: Sequence[str] = (),
    calibrate: str = "",
    rivals: Sequence[str] = tuple(_CLIP_NETWORKS),
    cameras: Sequence[int] = (1, 8, 16),
    processes: int = 2,
    busy: int = 0,
    repeats: int = 3,
) -> Rows:
    """One camera and many on one core; every frame is a step of the network, as if it came at the network's rate.

    Args:
        clip: a video file; empty takes the sample film that ships.
        height: rows to which the film is enlarged first, with noise, as a camera might send it: 720, say; 0 takes it as
            it is.
        model: name or folder.
        encoder: instead of the model, this timm network with random weights under an LSTM of 256, for its speed alone.
        size: side of the frames that the network reads, pixels; 0 is the model's own, and 224 of that network.
        frames: how many a stream has seen when its time and memory are compared with those of a fresh one.
        engines: onnxruntime, openvino: on which the same is measured in each precision that they have.
        calibrate: a manifest of clips, or a recipe that makes its clips, for 8-bit numbers and to measure what they
            cost; empty is the film that ships.
        rivals: networks of torchvision that read 16 frames for every answer, with random weights, for their speed
            alone: r2plus1d_18, mc3_18, s3d, swin3d_t; [] for none.
        cameras: how many streams a pool has, one pool after the other; [] for none.
        processes: how many processes with a stream each share the core instead of a pool; 0 for none.
        busy: how many processes of other work a stream on one thread, and on one a core, is measured beside; 0 for
            neither.
        repeats: passes, of which the median counts; the ways take turns.
    """
    with threads(1), film_for(clip, height) as path:
        streamable = streamable_of(model, encoder, size)
        ready = ready_frames(path, streamable)
        rows = _one_camera(streamable, path, ready, repeats)
        answer = 1 / next(row["frames_per_s"] for row in rows if row["name"] == "stream, frames ready")
        rows += [_latency(streamable, ready), *_later(streamable, ready, frames)]
        if engines:
            from lrcn.bench.engines import on_engines

            rows += on_engines(loaded_of(model, encoder, size), engines, path, ready, calibrate, repeats)
        rows += [_clip_network(name, answer) for name in rivals]
        rows += [in_a_pool(streamable, ready, number, repeats) for number in cameras]
    if processes:
        rows.append(in_processes((model, encoder, size), ready, processes))
    if busy:
        rows += beside_others(streamable, ready, busy, repeats)
    return rows


def _one_camera(streamable: Streamable, path: str, ready: Frames, repeats: int) -> Rows:
    """Frames a second by the bare CNN, by a stream without and with the decoder, and without a state."""
    import torch

    from lrcn.data.video import open_video
    from lrcn.stream import Stream

    network: OneStep = streamable.members[0].network  # type: ignore[assignment]
    tensors = torch.from_numpy(np.ascontiguousarray(ready.transpose(0, 3, 1, 2)))
    pushing = pushed(streamable, ready)

    @torch.inference_mode()
    def bare() -> int:
        return sum(int(network.model.encoder(frame).shape[0]) for frame in torch.split(tensors, 1))

    @torch.inference_mode()
    def steps() -> int:
        state = network.model.initial_state(1)
        for frame in torch.split(tensors, 1):
            _, state = network.model.step(frame, state)
        return len(tensors)

    @torch.inference_mode()
    def bare_from_file() -> int:
        count = 0
        with open_video(path, resize=resize_of(streamable)) as reader:
            for frame, _ in reader.frames():
                network.model.encoder(torch.from_numpy(frame).permute(2, 0, 1)[None])
                count += 1
        return count

    def from_file() -> int:
        one = Stream(streamable)
        with open_video(path, resize=resize_of(streamable)) as reader:
            for frame, at in reader.frames():
                one.push(frame, at)
        return one.counts.steps

    @torch.inference_mode()
    def windows() -> int:
        clip = tensors[:_WINDOW][None]
        return sum(len(network.model.unroll(clip)[0]) for _ in range(2))

    ways: dict[str, Callable[[], int]] = {
        "CNN alone": bare,
        "the network's steps alone": steps,
        "stream, frames ready": lambda: sum(1 for _ in islice(pushing, len(ready))),
        f"CNN again over the last {_WINDOW} frames": windows,
    }
    film: dict[str, Callable[[], int]] = {
        "CNN alone, from a file": bare_from_file,
        "stream, from a file": from_file,
    }
    bare()
    return [*side_by_side(ways, repeats, "ratio_to_cnn"), *side_by_side(film, repeats, "ratio_to_cnn")]


def _latency(streamable: Streamable, ready: Frames) -> dict[str, Any]:
    """How long a frame takes, most of the time and at worst."""
    pushing = pushed(streamable, ready)
    times = 1000 * np.array([seconds_of_next(pushing) for _ in range(_TIMED)])[10:]
    p50, p95, p99 = np.quantile(times, (0.5, 0.95, 0.99))
    found = {"p50_ms": round(p50, 2), "p95_ms": round(p95, 2), "p99_ms": round(p99, 2)}
    return {"name": "latency of a frame", **found}


def _later(streamable: Streamable, ready: Frames, frames: int) -> Rows:
    """A stream that is old beside one that is young, taking turns; and the memory it took to grow old."""
    old, young = pushed(streamable, ready), pushed(streamable, ready)
    for pushing in (old, young):
        skip(pushing, 10)
    before = resident_mib()
    skip(old, frames - 10)
    grown = resident_mib() - before
    pairs = np.array([(seconds_of_next(young), seconds_of_next(old)) for _ in range(_TIMED)])
    first, later = 1000 * np.median(pairs, axis=0)
    return [
        {"name": "time per frame after 10 frames", "p50_ms": round(first, 3)},
        {
            "name": f"time per frame after {frames} frames",
            "p50_ms": round(later, 3),
            "ratio_to_10_frames": round(later / first, 3),
            "memory_grown_mib": round(grown, 2),
        },
    ]


def _clip_network(name: str, answer: float) -> dict[str, Any]:
    """A network that reads the last 16 frames for every answer, beside a stream that takes `answer` seconds."""
    import torch
    from torchvision.models import get_model  # type: ignore[import-untyped]

    side = _CLIP_NETWORKS.get(name, 224)
    network = get_model(name, weights=None).eval()
    clip = torch.rand(1, 3, _WINDOW, side, side)

    @torch.inference_mode()
    def answered() -> int:
        return len(network(clip))

    answered()
    speed = rate(answered)
    return {
        "name": f"{name} over {_WINDOW} frames of {side} px",
        "frames_per_s": round(speed, 2),
        "ratio_to_stream": round(speed * answer, 4),
    }
