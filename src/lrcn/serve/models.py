"""What is served: models that are loaded once, and what they say of a file, as records."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrcn.errors import LrcnError
from lrcn.serve.content import check_photo, check_video
from lrcn.serve.jobs import Job
from lrcn.serve.limits import Limits
from lrcn.serve.photos import Photos, as_jpeg
from lrcn.serve.problem import RefusedError

if TYPE_CHECKING:
    from lrcn.models.captioner_folder import LoadedCaptioner
    from lrcn.models.describer_folder import LoadedDescriber
    from lrcn.models.folder import Loaded
    from lrcn.models.fusion import Fused
    from lrcn.models.shot_describer_folder import LoadedShotDescriber
    from lrcn.stream import Streamable

_THUMBNAIL = 180
"""Pixels of the short side of a shot's picture."""


@dataclass(frozen=True)
class Wanted:
    """What to serve; None is not served.

    Attributes:
        recognizer: a name, a folder or a hub id.
        captioner: the same.
        describer: the same.
        index: a folder of photos to be searched.
        search: the model that searches them.
        device: where the models run.
    """

    recognizer: str | None = "camera-moves"
    captioner: str | None = "captions-flickr8k"
    describer: str | None = None
    index: str | None = None
    search: str = "search-flickr8k"
    device: str = "auto"

    def check(self) -> None:
        """Looks for the folders before anything is loaded.

        Raises:
            LrcnError: one is not there, or is a model for another task.
        """
        from lrcn.models.zoo import model_folder

        models = (
            (self.recognizer, ("recognize", "fuse"), "--recognizer"),
            (self.captioner, ("caption",), "--caption"),
            (self.describer, ("describe",), "--describe"),
            (None if self.index is None else self.search, ("embed",), "--search"),
        )
        for model, tasks, option in models:
            task = None if model is None else task_of(model_folder(model))
            if task is not None and task not in tasks:
                raise LrcnError(
                    f"{option} {model} is a model for the task {task}, not {tasks[0]}: give another."
                )
        if self.index is not None and not Path(self.index).is_dir():
            raise LrcnError(f"--index {self.index} is no folder: name one that holds photos.")


def task_of(folder: Path) -> str | None:
    """What a model folder is for, without loading it; None where its config.json does not say."""
    try:
        task = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("task")
    except (OSError, ValueError, AttributeError):
        return None
    return task if isinstance(task, str) else None


def shipped_describer() -> str | None:
    """The first model that ships and describes videos, if there is one."""
    from lrcn.models.zoo import list_models, model_folder

    return next((name for name in list_models() if task_of(model_folder(name)) == "describe"), None)


@dataclass(frozen=True, eq=False)
class Served:
    """The models, and their work.

    Attributes:
        names: of the models, by job.
        limits: what a file may be.
        recognizer: says what happens in a video.
        streamable: the same live; None where the model cannot stream.
        captioner: writes about photos.
        describer: writes about videos.
        photos: that can be searched.
    """

    names: dict[str, str]
    limits: Limits
    recognizer: Loaded | Fused | None = None
    streamable: Streamable | None = None
    captioner: LoadedCaptioner | None = None
    describer: LoadedDescriber | LoadedShotDescriber | None = None
    photos: Photos | None = None

    @property
    def rate(self) -> float | None:
        """Frames a second that the recogniser looks at."""
        return None if self.streamable is None else self.streamable.members[0].rate

    def recognize(self, path: Path, name: str, job: Job) -> dict[str, Any]:
        """The record of `lrcn recognize`."""
        from lrcn.predict import recognize

        assert self.recognizer is not None
        check_video(path, self.limits, job.check)
        return recognize(self.recognizer, str(path), progress=job.check).to_json() | {"path": name}

    def caption(self, path: Path, name: str, best: int, job: Job) -> dict[str, Any]:
        """The record of `lrcn caption`, with `others` always."""
        from lrcn.predict_captions import caption

        assert self.captioner is not None
        check_photo(path, self.limits)
        usual = self.captioner.decoding
        kept = usual.samples or usual.beam
        decoding = usual if kept >= best else replace(usual, beam=best, samples=0)
        found = caption(self.captioner, _pixels(path), decoding=decoding, best=best)
        return {"others": []} | found.to_json() | {"path": name}

    def describe(self, path: Path, name: str, job: Job) -> dict[str, Any]:
        """The record of `lrcn describe`, with a picture of each shot."""
        from lrcn.predict_descriptions import describe

        assert self.describer is not None
        check_video(path, self.limits, job.check)
        labelled = self.describer.slots is not None and self.recognizer is not None
        recognizers = (self.recognizer,) if labelled and self.recognizer is not None else ()
        found = describe(self.describer, str(path), recognizers=recognizers, progress=job.check)
        record = found.to_json()
        pictures = [_data(shot.thumbnail) for shot in found.shots]
        if not all(pictures):
            pictures = _thumbnails(path, record["shots"])
        shots = [
            {"move": _move(record)} | shot | {"thumbnail": picture}
            for shot, picture in zip(record["shots"], pictures, strict=True)
        ]
        return record | {"path": name, "shots": shots}

    def search(self, words: str, n: int) -> dict[str, Any]:
        """Photos that words are about."""
        assert self.photos is not None
        return self.photos.search(words, n)

    def similar(self, path: Path, n: int) -> dict[str, Any]:
        """Photos like another."""
        assert self.photos is not None
        check_photo(path, self.limits)
        return self.photos.similar(_pixels(path), n)


def load_served(wanted: Wanted, limits: Limits, say: Callable[[str], None]) -> Served:
    """Loads all that is wanted.

    Args:
        wanted: the models.
        limits: what a file may be.
        say: told in a sentence what is odd but no reason to stop.

    Raises:
        LrcnError: one of them cannot be loaded.
    """
    from lrcn.models.zoo import load

    names = {
        job: name
        for job, name in (
            ("recognize", wanted.recognizer),
            ("caption", wanted.captioner),
            ("describe", wanted.describer),
            ("search", wanted.search if wanted.index is not None else None),
        )
        if name is not None
    }

    def loaded(job: str, *tasks: str) -> Any:
        return load(names[job], wanted.device, tasks=tasks) if job in names else None

    recognizer = loaded("recognize", "recognize", "fuse")
    describer = loaded("describe", "describe")
    if describer is not None and describer.slots is not None and recognizer is None:
        raise LrcnError(f"{names['describe']} writes from labels: give a --recognizer that says them.")
    photos = None
    if wanted.index is not None:
        photos = Photos.of(wanted.index, loaded("search", "embed"), say)
    return Served(
        names=names,
        limits=limits,
        recognizer=recognizer,
        streamable=None if recognizer is None else _streamable(recognizer, say),
        captioner=loaded("caption", "caption"),
        describer=describer,
        photos=photos,
    )


def _streamable(recognizer: Loaded | Fused, say: Callable[[str], None]) -> Streamable | None:
    """The recogniser for live streams, warm; None where it cannot."""
    import numpy as np

    from lrcn.stream import Stream, Streamable

    try:
        streamable = Streamable.of(recognizer)
    except LrcnError as error:
        say(f"Nothing is recognised live: {error}")
        return None
    # The first step is a slow one; nobody should wait for it.
    Stream(streamable).push(np.zeros((32, 32, 3), np.uint8), 0.0)
    return streamable


def _pixels(path: Path) -> Any:
    from lrcn.data.photo import PhotoError, read_photo

    try:
        return read_photo(str(path))
    except PhotoError as error:
        raise RefusedError(415, str(error)) from error


def _move(record: dict[str, Any]) -> str | None:
    """The label that a description of the whole was written from, where it was one."""
    return next(iter(record.get("labels", {}).values()), None)


def _thumbnails(path: Path, shots: list[dict[str, Any]]) -> list[str | None]:
    """A picture from the middle of each shot, as data: addresses."""
    from lrcn.data.video import Resize, VideoError, read_clip

    middles = [(shot["start"] + (shot["end"] or shot["start"])) / 2 for shot in shots]
    try:
        clip = read_clip(str(path), times=sorted(middles), resize=Resize(_THUMBNAIL, "short"))
    except VideoError:
        return [None] * len(shots)
    pictures = dict(zip(clip.times.tolist(), clip.frames, strict=True))
    found = [
        pictures[max((t for t in pictures if t <= middle + 1e-6), default=min(pictures))]
        for middle in middles
    ]
    return [_data(as_jpeg(one.transpose(1, 2, 0))) for one in found]


def _data(jpeg: bytes | None) -> str | None:
    """A picture as an address that holds it."""
    return None if jpeg is None else f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


class Loading:
    """Models that are being loaded in a thread.

    Args:
        load: gives them.
        done: called, in that thread, with them or with what went wrong.
    """

    def __init__(
        self, load: Callable[[], Served], done: Callable[[Served | None, BaseException | None], None]
    ) -> None:
        self._load, self._done = load, done
        self._thread = threading.Thread(target=self._work, name="lrcn-load", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            served = self._load()
        except BaseException as error:  # noqa: BLE001 - told to whoever waits for the models
            self._done(None, error)
        else:
            self._done(served, None)
