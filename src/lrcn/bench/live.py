"""What live recognition costs: one camera beside its bare CNN and beside networks that read clips, and many cameras."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lrcn.bench.measuring import Rows, rate, side_by_side
from lrcn.errors import LrcnError
from lrcn.threads import threads

if TYPE_CHECKING:
    from lrcn.data.picture import Resize
    from lrcn.models.folder import Loaded
    from lrcn.models.onestep import OneStep
    from lrcn.stream import Stream, Streamable

_CLIP_NETWORKS = {"r2plus1d_18": 112, "mc3_18": 112, "s3d": 224, "swin3d_t": 224}
"""Networks of torchvision that read clips, and the side of the frames they are made for."""

_WINDOW = 16
_CAMERA_RATE = 10
_READY = 32
_TIMED = 200
_PASS = 2.0
_NOISE = 3.0
"""Standard deviation of a small camera's noise, of 255."""

Frames = NDArray[np.uint8]


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
    with threads(1), _film(clip, height) as path:
        streamable = _streamable(model, encoder, size)
        ready = _ready(path, streamable)
        rows = _one_camera(streamable, path, ready, repeats)
        answer = 1 / next(row["frames_per_s"] for row in rows if row["name"] == "stream, frames ready")
        rows += [_latency(streamable, ready), *_later(streamable, ready, frames)]
        if engines:
            from lrcn.bench.engines import on_engines

            rows += on_engines(_loaded(model, encoder, size), engines, path, ready, calibrate, repeats)
        rows += [_clip_network(name, answer) for name in rivals]
        rows += [_pool(streamable, ready, number, repeats) for number in cameras]
    if processes:
        rows.append(_separate((model, encoder, size), ready, processes))
    if busy:
        rows += _beside_others(streamable, ready, busy, repeats)
    return rows


@contextmanager
def _film(clip: str, height: int) -> Iterator[str]:
    """The film, or one of `height` rows made of it, which goes away again."""
    from lrcn.demo_film import shipped, write_clip

    path = clip or str(shipped("big-buck-bunny.mp4"))
    if not height:
        yield path
        return
    if height < 2 or height % 2:
        raise LrcnError(f"height is {height}: give an even number of rows, such as 720, or 0.")
    with TemporaryDirectory() as folder:
        made = Path(folder) / "camera.mp4"
        write_clip(made, _as_from_a_camera(path, height), 25)
        yield str(made)


def _as_from_a_camera(path: str, height: int) -> Iterator[Frames]:
    """A film's frames, (3,H,W) each, enlarged and with noise, without which they would be easy to decode."""
    import cv2

    from lrcn.data.video import open_video

    rng = np.random.default_rng(0)
    with open_video(path) as reader:
        for frame, _ in reader.frames():
            width = 2 * round(height * frame.shape[1] / frame.shape[0] / 2)
            large = cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC)
            noisy = large + rng.normal(scale=_NOISE, size=large.shape)
            yield np.clip(noisy, 0, 255).astype(np.uint8).transpose(2, 0, 1)


def _streamable(model: str, encoder: str, size: int) -> Streamable:
    """The network on this engine, at the rate of the frames it is given."""
    from lrcn.memory import keep_freed_memory
    from lrcn.stream import Streamable

    keep_freed_memory()
    found = Streamable.of(_loaded(model, encoder, size))
    return replace(found, members=tuple(replace(member, rate=None) for member in found.members))


def _loaded(model: str, encoder: str, size: int) -> Loaded:
    from lrcn.models.zoo import load_model

    if encoder:
        return _random(encoder, size or 224)
    loaded = load_model(model, "cpu")
    return replace(loaded, preprocess=replace(loaded.preprocess, size=size)) if size else loaded


def _random(encoder: str, size: int) -> Loaded:
    from lrcn.data.sampling import Sampling
    from lrcn.data.transforms import Preprocess
    from lrcn.models.cnn import EncoderConfig
    from lrcn.models.folder import Loaded
    from lrcn.models.recognizer import Recognizer, RecognizerConfig

    labels = [f"class {k}" for k in range(101)]
    network = Recognizer(RecognizerConfig(EncoderConfig(encoder, "none")), labels).eval()
    return Loaded(network, Preprocess(size), Sampling(), labels)


def _ready(path: str, streamable: Streamable) -> Frames:
    """The first frames of a film at the network's size, (T,H,W,3)."""
    from lrcn.data.video import open_video

    with open_video(path, resize=_resize(streamable)) as reader:
        frames = np.stack([frame for frame, _ in islice(reader.frames(), _READY)])
    # No two in a row are equal, or the CNN would be spared.
    frames[:, 0, 0, 0] = np.arange(len(frames))
    return frames


def _resize(streamable: Streamable) -> Resize:
    assert streamable.resize is not None
    return streamable.resize


def _pushing(streamable: Streamable, frames: Frames) -> Iterator[Stream]:
    """A stream that takes the next of the frames, over and over, whenever it is asked for."""
    from lrcn.stream import Stream

    one = Stream(streamable)
    for number, frame in enumerate(cycle(frames)):
        one.push(frame, number / _CAMERA_RATE)
        yield one


def _one_camera(streamable: Streamable, path: str, ready: Frames, repeats: int) -> Rows:
    """Frames a second by the bare CNN, by a stream without and with the decoder, and without a state."""
    import torch

    from lrcn.data.video import open_video
    from lrcn.stream import Stream

    network: OneStep = streamable.members[0].network  # type: ignore[assignment]
    tensors = torch.from_numpy(np.ascontiguousarray(ready.transpose(0, 3, 1, 2)))
    pushing = _pushing(streamable, ready)

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
        with open_video(path, resize=_resize(streamable)) as reader:
            for frame, _ in reader.frames():
                network.model.encoder(torch.from_numpy(frame).permute(2, 0, 1)[None])
                count += 1
        return count

    def from_file() -> int:
        one = Stream(streamable)
        with open_video(path, resize=_resize(streamable)) as reader:
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
    pushing = _pushing(streamable, ready)
    times = 1000 * np.array([_seconds(pushing) for _ in range(_TIMED)])[10:]
    p50, p95, p99 = np.quantile(times, (0.5, 0.95, 0.99))
    found = {"p50_ms": round(p50, 2), "p95_ms": round(p95, 2), "p99_ms": round(p99, 2)}
    return {"name": "latency of a frame", **found}


def _later(streamable: Streamable, ready: Frames, frames: int) -> Rows:
    """A stream that is old beside one that is young, taking turns; and the memory it took to grow old."""
    old, young = _pushing(streamable, ready), _pushing(streamable, ready)
    for pushing in (old, young):
        _skip(pushing, 10)
    before = _resident()
    _skip(old, frames - 10)
    grown = _resident() - before
    pairs = np.array([(_seconds(young), _seconds(old)) for _ in range(_TIMED)])
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


def _pool(streamable: Streamable, ready: Frames, cameras: int, repeats: int) -> dict[str, Any]:
    """How many cameras of 10 frames a second one core takes, in a pool of so many."""
    from lrcn.pool import StreamPool

    pool: StreamPool[int] = StreamPool(streamable)
    for name in range(cameras):
        pool.add(name)
    number = 0

    def step() -> int:
        nonlocal number
        number += 1
        # Each camera is somewhere else in the film.
        frames = {name: (ready[(number + 3 * name) % len(ready)], number / _CAMERA_RATE) for name in pool}
        return len(pool.step(frames))

    step()
    steps = max(3, _READY // cameras)
    speed = float(np.median([rate(lambda: sum(step() for _ in range(steps))) for _ in range(repeats)]))
    return _cameras(f"pool of {cameras}", speed, _resident() / cameras)


def _separate(made_of: tuple[str, str, int], ready: Frames, processes: int) -> dict[str, Any]:
    """The same with a process for each camera, all on one core."""
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(processes)
    results: Any = context.Queue()
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    workers = [
        context.Process(target=_alone, args=(made_of, ready, core, together, results), daemon=True)
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=300) for _ in workers]
    for worker in workers:
        worker.join()
    speed = sum(speed for speed, _ in found)
    return _cameras(
        f"{processes} processes, a stream each", speed, float(np.mean([memory for _, memory in found]))
    )


def _alone(
    made_of: tuple[str, str, int], ready: Frames, core: int | None, together: Any, results: Any
) -> None:
    """One stream in a process of its own, as fast as its share of the core lets it."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    with threads(1):
        pushing = _pushing(_streamable(*made_of), ready)
        _skip(pushing, 10)
        together.wait(300)
        speed = rate(_until(pushing, _PASS))
    results.put((speed, _resident()))


def _beside_others(streamable: Streamable, ready: Frames, busy: int, repeats: int) -> Rows:
    """A stream on one thread and on as many as there are cores, while other programs work; the slowest pass too."""
    ways = {1: "1 thread", os.cpu_count() or 2: "a thread a core"}
    speeds: dict[int, list[float]] = {number: [] for number in ways}
    with _at_work(busy):
        for _ in range(repeats):
            for number in ways:
                with threads(number):
                    speeds[number].append(rate(_until(_pushing(streamable, ready), _PASS)))
    return [
        {
            "name": f"stream on {way}, beside {busy} busy processes",
            "frames_per_s": round(float(np.median(speeds[number])), 2),
            "slowest": round(min(speeds[number]), 2),
        }
        for number, way in ways.items()
    ]


def _until(pushing: Iterator[Any], seconds: float) -> Callable[[], int]:
    """Work that goes on for so long, and says how many frames it took."""

    def work() -> int:
        until, done = time.perf_counter() + seconds, 0
        while time.perf_counter() < until:
            next(pushing)
            done += 1
        return done

    return work


@contextmanager
def _at_work(number: int) -> Iterator[None]:
    """So many other processes that never rest."""
    others = [
        multiprocessing.get_context("spawn").Process(target=_never_rest, daemon=True) for _ in range(number)
    ]
    for one in others:
        one.start()
    try:
        time.sleep(1.0)  # until they are there
        yield
    finally:
        for one in others:
            one.kill()
            one.join()


def _never_rest() -> None:
    while True:
        pass


def _cameras(name: str, speed: float, memory: float) -> dict[str, Any]:
    return {
        "name": name,
        "frames_per_s": round(speed, 2),
        f"cameras_at_{_CAMERA_RATE}_fps": round(speed / _CAMERA_RATE, 1),
        "mib_per_camera": round(memory, 2),
    }


def _skip(pushing: Iterator[Any], number: int) -> None:
    for _ in islice(pushing, number):
        pass


def _seconds(pushing: Iterator[Any]) -> float:
    """How long the next takes."""
    began = time.perf_counter()
    next(pushing)
    return time.perf_counter() - began


def _resident() -> float:
    """MiB of memory this process has at present; 0 where the system does not say."""
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return 0.0
