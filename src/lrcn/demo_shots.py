"""The demo's shot list: its films cut into shots, each with a picture, the camera's moves and a sentence."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrcn.models.shot_describer_folder import load_shot_describer
from lrcn.models.zoo import chosen_device, model_folder
from lrcn.report import Section, commands, paragraph
from lrcn.shot_list import shot_items, table

if TYPE_CHECKING:
    from lrcn.predict_descriptions import Description

DESCRIBER = "describe-moves"


@dataclass(frozen=True)
class DescribedFilm:
    """A film's shot list, and how long it took.

    Attributes:
        title: what the film is.
        shots: the list.
        seconds: from the file to the last sentence.
    """

    title: str
    shots: Description
    seconds: float


def describe_films(
    films: Sequence[tuple[str, Path]], model: str | Path, device: str, report: Callable[[str], None]
) -> list[DescribedFilm]:
    """The shot lists of some films, (title, file) each; each is told as it is done.

    Raises:
        LrcnError: the model is none that describes shots.
    """
    loaded = load_shot_describer(model_folder(model), chosen_device(device))
    found = []
    for title, path in films:
        began = time.perf_counter()
        shots = loaded.describe(path)
        found.append(DescribedFilm(title, shots, time.perf_counter() - began))
        report(f"\n{table(shots).rstrip()}\n  {_counted(len(shots.shots))} in {found[-1].seconds:.1f} s")
    return found


def _counted(shots: int) -> str:
    return "1 shot" if shots == 1 else f"{shots} shots"


def shots_section(films: Sequence[DescribedFilm]) -> Section:
    """The shot lists as a part of the report."""
    parts = [
        paragraph(
            "`lrcn describe` cuts a film into shots and writes about each: how the camera moves, which comes from the "
            "network that watches the frames, and what is seen, which comes from a captioner that looks at two of them."
        ),
        paragraph(
            "The captioner knows what 6,000 photos of Flickr8k show: people at play, dogs, water, snow. Coffee, stars, "
            "rockets and drawn animals it has never seen; there it names what it knows, and is wrong.",
            "quiet",
        ),
    ]
    parts += [f"<h3>{html.escape(film.title)}</h3>{shot_items(film.shots.shots)}" for film in films]
    parts.append(
        commands([("Make the shot list of a film of your own:", "lrcn describe film.mp4 --html shots.html")])
    )
    return Section("shots", "The films as shot lists", "".join(parts), "Shots")
