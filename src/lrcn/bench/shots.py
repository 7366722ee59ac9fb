"""Shots in words: how often sentences say the camera's move right, and where the time of a shot list goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lrcn.bench.measuring import Rows
from lrcn.errors import LrcnError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lrcn.data.manifest import Row
    from lrcn.data.moves import MoveStyle
    from lrcn.models.shot_describer_folder import LoadedShotDescriber


def describe_moves(
    photos: str = "",
    model: str = "describe-moves",
    baseline: str = "",
    captioner: str = "captions-flickr8k",
    clips: int = 0,
    seed: int = 1,
) -> Rows:
    """What a describer of shots says of camera moves made over dev photos, in the style it learned and in another.

    `move` is the share of clips whose move is said right, `direction` that of left or right, up or down, in or out, one
    way round or the other, among those whose kind of move is said right; scores are of what follows the clause about
    the camera. The captioner is given the photos as they are.

    Args:
        photos: captioned photos: a folder in the layout of Flickr8k, or a manifest.
        model: describes shots.
        baseline: another model, which may be the same without motion; empty leaves it out.
        captioner: writes about the photos themselves; empty leaves it out.
        clips: how many dev photos, the first ones; 0 takes all.
        seed: of the moves.
    """
    from dataclasses import replace

    from lrcn.data.described_moves import DESCRIBED_STYLE, finite_verbs
    from lrcn.data.importers import import_data
    from lrcn.data.manifest import read_manifest
    from lrcn.data.moves import MoveStyle
    from lrcn.models.shot_describer_folder import load_shot_describer
    from lrcn.models.zoo import model_folder

    if not photos:
        raise LrcnError("bench describe-moves needs captioned photos: give --photos Flickr8k, or a manifest.")
    every = import_data("flickr8k", photos)[0] if Path(photos).is_dir() else read_manifest(photos)
    verbs = finite_verbs(caption for row in every if row.split == "train" for caption in row.captions)
    dev = [row for row in every if row.split == "dev"][: clips or None]
    rows: Rows = []
    styles = {"slow, wide": DESCRIBED_STYLE, "as camera-moves is tested": MoveStyle()}
    for name in filter(None, (model, baseline)):
        loaded = load_shot_describer(model_folder(name))
        for style, moves in styles.items():
            sized = replace(moves, size=loaded.preprocess.size)
            rows.append({"name": f"{name}, {style}", **_moves_row(loaded, dev, verbs, sized, seed)})
    if captioner:
        rows.append({"name": f"{captioner}, the photos", **_photos_row(captioner, dev)})
    return rows


def _moves_row(
    loaded: LoadedShotDescriber, photos: Sequence[Row], verbs: frozenset[str], style: MoveStyle, seed: int
) -> dict[str, Any]:
    from lrcn.data.described_moves import DescribedMoves, described_rows
    from lrcn.evaluate.captioning import written
    from lrcn.evaluate.described_moves import moves_in_words
    from lrcn.models.folder import Loaded
    from lrcn.train.tracking import counting
    from lrcn.train.watched_clips import WatchedClips, shown

    config, watching = loaded.model.config, loaded.model.recognizer
    recognizer = None
    if watching is not None:
        recognizer = Loaded(watching, loaded.watched, loaded.sampling, list(config.labels))
    rows = described_rows(photos, verbs, seed)
    clips = WatchedClips(DescribedMoves(rows, style, seed), config.key_frames, recognizer)
    describer: Any = loaded.model
    told = counting("sentences")
    sentences = written(describer, clips, loaded.decoding, batch=25, show=shown, progress=told)
    found = moves_in_words(loaded.tokenizer, rows, sentences)
    return {
        "clips": found.clips,
        "move": round(found.right, 4),
        "direction": None if found.direction is None else round(found.direction, 4),
        **_scores(found.rest),
    }


def _photos_row(captioner: str, photos: Sequence[Row]) -> dict[str, Any]:
    from lrcn.data.photos import PhotoDataset
    from lrcn.evaluate.captioning import measure, written
    from lrcn.models.zoo import load

    loaded = load(captioner, tasks=("caption",))
    sentences = written(loaded.model, PhotoDataset(photos, loaded.preprocess), loaded.decoding)
    return {"clips": len(photos), **_scores(measure(loaded.tokenizer, photos, sentences))}


def _scores(scores: Any) -> dict[str, float]:
    return {name: round(100 * scores.corpus[name], 1) for name in ("cider_d", "bleu_4", "rouge_l")}


# ---- time ----


def describe(video: str = "", model: str = "describe-moves", repeats: int = 3) -> Rows:
    """How long a shot list takes, and each of its stages: medians of several runs, taking turns.

    Each row does what the one before it does, and more. `cpu_s` is the time that all cores together worked, which other
    work on the machine changes little; `of_film` is its share of the film's own length.

    Args:
        video: a film; empty is a made one of a minute: 20 shots of three seconds, 640 x 360, 25 frames a second.
        model: describes shots.
        repeats: runs of each.
    """
    from lrcn.cuts import CutDetector
    from lrcn.data.video import open_video
    from lrcn.models.shot_describer_folder import load_shot_describer
    from lrcn.models.zoo import model_folder
    from lrcn.shots import describe_shots, seen_shots

    loaded = load_shot_describer(model_folder(model))
    resize = loaded.preprocess.resize

    def decoded(path: str) -> None:
        with open_video(path, resize=resize) as reader:
            for _ in reader.frames():
                pass

    def cut(path: str) -> None:
        cuts = CutDetector()
        with open_video(path, resize=resize) as reader:
            for picture, _ in reader.frames():
                cuts.push(picture)

    def watched(path: str) -> None:
        import torch

        with open_video(path, resize=resize) as reader, torch.inference_mode():
            for _ in seen_shots(loaded, reader):
                pass

    ways: dict[str, Callable[[str], object]] = {
        "decode and scale every frame": decoded,
        "and look for cuts": cut,
        "and watch for moves": watched,
        "and write: the shot list": lambda path: describe_shots(loaded, path),
    }
    with _film(video) as path:
        with open_video(path) as reader:
            length = reader.info.duration or 0.0
        describe_shots(loaded, path, end=1.0)
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(repeats):
            for name, way in ways.items():
                began = time.perf_counter(), time.process_time()
                way(path)
                taken[name].append((time.perf_counter() - began[0], time.process_time() - began[1]))
    rows: Rows = []
    for name, runs in taken.items():
        seconds, cpu = (sorted(values)[len(runs) // 2] for values in zip(*runs, strict=True))
        share = round(cpu / length, 3) if length else None
        rows.append({"name": name, "seconds": round(seconds, 2), "cpu_s": round(cpu, 2), "of_film": share})
    return rows


@contextmanager
def _film(video: str) -> Iterator[str]:
    """The film that is given, or a made one that goes away again."""
    if video:
        yield video
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        _make_film(path)
        yield str(path)


def _make_film(path: Path, shots: int = 20, seconds: float = 3.0, rate: int = 25) -> None:
    """Moves over the photos that ship, cut together, as frames of 640 x 360."""
    import numpy as np

    from lrcn.data.moves import MOVES
    from lrcn.demo_film import PHOTO_SHOTS, Shot, film, write_clip

    media = [shot.media for shot in PHOTO_SHOTS]
    moves = [name for name in MOVES if name != "static"]
    cuts = [Shot(media[n % len(media)], ((moves[n % len(moves)], seconds),), seed=n) for n in range(shots)]
    frames = np.concatenate([_wide(film([one], rate)[0]) for one in cuts])
    write_clip(path, frames, rate)


def _wide(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2
    import numpy as np

    wide = [cv2.resize(frame.transpose(1, 2, 0), (640, 360)) for frame in frames]
    return np.stack(wide).transpose(0, 3, 1, 2)
