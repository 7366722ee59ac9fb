"""What is exported of the models of each task, and how it is compared with them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lrcn.data.picture import Resize
from lrcn.data.prepare import CentreCrop, Preparation
from lrcn.data.sampling import Sampling
from lrcn.data.tokenizer import Tokenizer
from lrcn.errors import LrcnError
from lrcn.export.graphs import (
    Graph,
    captioner_graphs,
    describer_graphs,
    joint_graphs,
    recognizer_graphs,
    shot_describer_graphs,
)
from lrcn.export.parity import (
    Frames,
    Opened,
    Parity,
    captioner_parity,
    describer_parity,
    film_frames,
    joint_parity,
    photo_frames,
    recognizer_parity,
    shot_describer_parity,
)
from lrcn.exported import Form, WordSettings
from lrcn.generate import Decoding
from lrcn.models.captioner_folder import LoadedCaptioner, load_captioner
from lrcn.models.folder import TASKS, Loaded, load_folder, read_config
from lrcn.models.joint_folder import LoadedJoint, load_joint
from lrcn.models.shot_describer_folder import LoadedShotDescriber, load_any_describer


@dataclass(frozen=True)
class Job:
    """All that the export of one model takes.

    Attributes:
        graphs: what is written.
        compare: how far graphs that were written are from the model, on given frames, uint8 (T,3,H,W).
        frames: what they are compared on.
        sees: the graph that frames go into, one at a time; None where there is none.
        preparation: of frames.
        sampling: of videos; None for photos.
        names: of the classes, or the vocabulary.
        words: how sentences are chosen.
        slots: the labels that are given, slot by slot.
    """

    graphs: list[Graph]
    compare: Callable[[Mapping[str, Opened], Frames], dict[str, Parity]]
    frames: Frames
    sees: str | None
    preparation: Preparation
    sampling: Sampling | None
    names: list[str] | Tokenizer
    words: WordSettings = field(default_factory=WordSettings)
    slots: dict[str, tuple[str, ...]] | None = None


def job_of(folder: Path, form: Form, batch: int | None = None) -> tuple[str, Job]:
    """A model's task, and what its export takes.

    Args:
        folder: the model folder.
        form: what the graphs will be written in.
        batch: B, where it is fixed.

    Raises:
        LrcnError: a piece of the folder is missing, or several models answer as one.
    """
    task = read_config(folder, TASKS)["task"]
    if task not in _JOBS:
        raise LrcnError(f"{folder} {TASKS[task].does}: export the folders in it one by one.")
    return task, _JOBS[task](folder, form, batch)


def _recognizer_job(folder: Path, form: Form, batch: int | None) -> Job:
    loaded: Loaded = load_folder(folder)
    preparation = loaded.preprocess.preparation()
    return Job(
        recognizer_graphs(loaded.model, loaded.preprocess.size, form, batch),
        lambda graphs, frames: recognizer_parity(loaded.model, graphs, frames),
        film_frames(preparation),
        "step" if loaded.model.causal else None,
        preparation,
        loaded.sampling,
        loaded.labels,
    )


def _captioner_job(folder: Path, _form: Form, batch: int | None) -> Job:
    loaded: LoadedCaptioner = load_captioner(folder)
    preparation = _of_photos(loaded)
    return Job(
        captioner_graphs(loaded.model, loaded.preprocess.size, batch),
        lambda graphs, frames: captioner_parity(loaded.model, graphs, frames),
        photo_frames(preparation),
        "look",
        preparation,
        None,
        loaded.tokenizer,
        _words(loaded.decoding),
    )


def _describer_job(folder: Path, form: Form, batch: int | None) -> Job:
    loaded = load_any_describer(folder)
    if isinstance(loaded, LoadedShotDescriber):
        return _shot_describer_job(loaded, form, batch)
    preparation = loaded.preprocess.preparation()
    return Job(
        describer_graphs(loaded.model, loaded.preprocess.size, batch),
        lambda graphs, frames: describer_parity(loaded.model, graphs, frames),
        film_frames(preparation),
        "watch" if loaded.model.encoder is not None else None,
        preparation,
        loaded.sampling,
        loaded.tokenizer,
        _words(loaded.decoding),
        loaded.slots.labels if loaded.slots else None,
    )


def _shot_describer_job(loaded: LoadedShotDescriber, form: Form, batch: int | None) -> Job:
    preparation = loaded.preprocess.preparation()
    watched = loaded.watched.preparation()
    return Job(
        shot_describer_graphs(loaded.model, loaded.preprocess.size, loaded.watched.size, form, batch),
        lambda graphs, frames: shot_describer_parity(loaded.model, graphs, frames, film_frames(watched)),
        film_frames(preparation),
        None,
        preparation,
        loaded.sampling,
        loaded.tokenizer,
        _words(loaded.decoding),
    )


def _joint_job(folder: Path, form: Form, batch: int | None) -> Job:
    loaded: LoadedJoint = load_joint(folder)
    preparation = _of_photos(loaded)
    return Job(
        joint_graphs(loaded.model, loaded.preprocess.size, form, batch),
        lambda graphs, frames: joint_parity(loaded.model, graphs, frames),
        photo_frames(preparation),
        "image",
        preparation,
        None,
        loaded.tokenizer,
    )


_JOBS: Mapping[str, Callable[[Path, Form, int | None], Job]] = {
    "recognize": _recognizer_job,
    "caption": _captioner_job,
    "describe": _describer_job,
    "embed": _joint_job,
}


def _of_photos(loaded: LoadedCaptioner | LoadedJoint) -> Preparation:
    """How photos are prepared, in the steps of a video's frames."""
    settings = loaded.preprocess
    side = settings.resize or settings.size
    return Preparation(
        Resize(side, settings.fit), (CentreCrop(settings.size),) if side > settings.size else ()
    )


def _words(decoding: Decoding) -> WordSettings:
    return WordSettings(decoding.beam, decoding.max_length, decoding.length_penalty)
