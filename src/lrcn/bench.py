"""Every figure the README quotes, measured again on this machine."""

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrcn.data.importers import import_data
from lrcn.data.manifest import Row, read_manifest
from lrcn.errors import LrcnError

Rows = list[dict[str, Any]]


def run(what: str, **options: Any) -> dict[str, Any]:
    """Measures one thing.

    Returns:
        {"machine": {...}, "rows": [{"name", figures...}]}.

    Raises:
        LrcnError: unknown name, or options that do not suit it.
    """
    if what not in BENCHES:
        raise LrcnError(f"There is no bench {what!r}: give one of {', '.join(BENCHES)}.")
    return {"machine": machine(), "rows": BENCHES[what](**options)}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "lrcn": version("lrcn"),
    }


def moves(photos: str = "", names: str = "", clips: int = 450, seed: int = 2) -> Rows:
    """The camera-move models on moves made over photos, with their frames in order and shuffled.

    Clips have 16 frames at 10 per second. No single frame of them tells the move: every camera may be held tilted.

    Args:
        photos: a folder of photos.
        names: a text file of photo names in it, one a line; empty takes all.
        clips: how many.
        seed: everything random follows from it.
    """
    from lrcn.data.moves import MovesDataset, MoveStyle
    from lrcn.evaluate.recognition import measure
    from lrcn.models.zoo import load_model
    from lrcn.train.splits import listed_photos

    if not photos:
        raise LrcnError("bench moves needs photos: give --photos a folder.")
    style = MoveStyle(pan=(0.06, 0.4), zoom=(0.08, 0.35), roll=(6.0, 25.0), view=(0.35, 0.6), tilt=30.0)
    made = MovesDataset(listed_photos(photos, names), style, length=clips, seed=seed)
    rows: Rows = []
    for model in ("camera-moves", "camera-moves-single-frame"):
        loaded = load_model(model, "cpu")
        for order, shuffle_seed in (("in order", None), ("shuffled", seed)):
            found = measure(loaded.model, made, shuffle_seed=shuffle_seed)
            rows.append(
                {
                    "name": f"{model}, frames {order}",
                    "clips": clips,
                    "accuracy": found.accuracy,
                    "last_frame_accuracy": found.last_frame_accuracy,
                    "direction": direction_accuracy(found.confusion),
                }
            )
    return rows


def direction_accuracy(confusion: NDArray[np.int64]) -> float | None:
    """Of the clips whose kind of move (pan, tilt, zoom, roll) is found, the share with the right direction."""
    from lrcn.data.moves import DIRECTION_PAIRS

    right = sum(int(confusion[k, k]) for pair in DIRECTION_PAIRS for k in pair)
    wrong = sum(int(confusion[a, b] + confusion[b, a]) for a, b in DIRECTION_PAIRS)
    return right / (right + wrong) if right + wrong else None


def footage(
    clips: str = "", skip: str = "", model: str = "camera-moves", refilm: int = 60, device: str = "auto"
) -> Rows:
    """A camera-move model on real footage, against an independent feature tracker.

    Args:
        clips: a manifest or folder of real clips.
        skip: a manifest of clips to leave out: those the model was trained on.
        model: name or folder.
        refilm: how many of the clips at rest are also filmed again by a moving window; 0 is none.
        device: where the model runs.
    """
    from lrcn.evaluate.agreement import agreement_as_filmed, agreement_refilmed
    from lrcn.evaluate.global_motion import sure_moments, track
    from lrcn.models.zoo import load_model
    from lrcn.train.tracking import counting

    if not clips:
        raise LrcnError("bench footage needs real clips: give --clips a manifest or a folder.")
    loaded = load_model(model, device)
    left_out = {Path(row.path).resolve() for row in _rows(skip)} if skip else set()
    paths = [row.path for row in _rows(clips) if Path(row.path).resolve() not in left_out]
    rows: Rows = [{"name": "as filmed", **agreement_as_filmed(loaded, paths, counting("clips")).to_json()}]
    if refilm:
        at_rest = [path for path in paths if _at_rest(sure_moments(track(path)))][:refilm]
        found = agreement_refilmed(loaded, at_rest, progress=counting("refilmed clips"))
        rows.append({"name": "refilmed by a moving window", **found.to_json()})
    return rows


def decode(clip: str = "", size: int = 112, repeats: int = 5) -> Rows:
    """Decoding and resizing one clip, beside plain PyAV with OpenCV's resize in the same run.

    Args:
        clip: a video file; empty takes the sample film that ships.
        size: side of the frames, pixels.
        repeats: passes, of which the median counts.
    """
    import av
    import cv2

    from lrcn.data.video import Resize, open_video
    from lrcn.demo_film import shipped

    path = clip or str(shipped("big-buck-bunny.mp4"))

    def plain() -> int:
        with av.open(path) as container:
            frames = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
            return sum(len(cv2.resize(frame, (size, size))) > 0 for frame in frames)

    def ours() -> int:
        with open_video(path, resize=Resize(size)) as reader:
            return sum(1 for _ in reader.frames())

    ways = {"PyAV to RGB, then cv2.resize": plain, "lrcn": ours}
    return _side_by_side(ways, repeats, "ratio_to_plain")


def recognition(clip: str = "", model: str = "camera-moves", repeats: int = 5) -> Rows:
    """The whole way from a file to labels, beside the CNN alone on the same frames held ready in memory.

    Args:
        clip: a video file; empty takes the sample film that ships.
        model: name or folder.
        repeats: passes, of which the median counts.
    """
    import torch

    from lrcn.data.video import read_clip
    from lrcn.demo_film import shipped
    from lrcn.models.zoo import load_model
    from lrcn.predict import recognize

    path = clip or str(shipped("big-buck-bunny.mp4"))
    loaded = load_model(model)
    frames = torch.from_numpy(
        read_clip(path, rate=loaded.sampling.rate, resize=loaded.preprocess.resize).frames
    )

    def whole() -> int:
        return len(recognize(loaded, path).times)

    @torch.inference_mode()
    def network() -> int:
        return len(loaded.model.encoder(frames))

    return _side_by_side({"CNN alone": network, "file to labels": whole}, repeats, "ratio_to_cnn")


BENCHES: dict[str, Callable[..., Rows]] = {
    "moves": moves,
    "footage": footage,
    "decode": decode,
    "recognition": recognition,
}


def _side_by_side(ways: dict[str, Callable[[], int]], repeats: int, ratio: str) -> Rows:
    """Median frames per second of each way, taking turns, and its ratio to the first."""
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            speeds[name].append(_rate(way))
    medians = {name: sorted(found)[len(found) // 2] for name, found in speeds.items()}
    first = next(iter(medians.values()))
    return [
        {"name": name, "frames_per_s": round(rate, 1), ratio: round(rate / first, 2)}
        for name, rate in medians.items()
    ]


def _rate(work: Callable[[], int]) -> float:
    """What `work` counts, per second."""
    started = time.perf_counter()
    done = work()
    return done / (time.perf_counter() - started)


def _rows(source: str) -> list[Row]:
    return import_data("folder", source)[0] if Path(source).is_dir() else read_manifest(source)


def _at_rest(moments: list[Any]) -> bool:
    return bool(moments) and all(moment.label == "static" for moment in moments)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
