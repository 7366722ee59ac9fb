"""The demo's part about words: sentences about the pictures that ship, and pictures found by sentences."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from lrcn.data.photo import read_photo
from lrcn.data.video import read_clip
from lrcn.demo_film import BUNNY_SHOT, PHOTO_SHOTS, shipped
from lrcn.models.zoo import load
from lrcn.predict_captions import caption_many
from lrcn.report import Section, commands, paragraph
from lrcn.search_page import picture
from lrcn.sentences import Caption

if TYPE_CHECKING:
    from lrcn.data.picture import Picture
    from lrcn.models.captioner_folder import LoadedCaptioner
    from lrcn.models.joint_folder import LoadedJoint

WORDS_MODELS = ("captions-flickr8k", "search-flickr8k")

_FRAMES = (0.5, 6.0)
_SOUGHT = {
    "lights in the dark night sky": "galaxies",
    "a rocket in the sky": "rocket",
    "an animal in a green field": "film",
    "a cup of coffee on a table": "coffee",
    "a cat looking at the camera": "cat",
}
"""Sentences, and the medium each is about."""


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found first.

    Attributes:
        sentence: what was looked for.
        name: the picture that came first.
        score: its cosine.
        right: whether the sentence is about it.
    """

    sentence: str
    name: str
    score: float
    right: bool


@dataclass(frozen=True, eq=False)
class Words:
    """What two models say of the pictures that ship.

    Attributes:
        pictures: by name.
        written: a sentence about each.
        found: the pictures that sentences find.
    """

    pictures: Mapping[str, Picture]
    written: Mapping[str, Caption]
    found: Sequence[Found]


def words_of_media(
    models: tuple[str | Path, str | Path], device: str, report: Callable[[str], None]
) -> Words:
    """Captions the pictures, and looks for some by sentences.

    Args:
        models: a captioner and a joint embedding.
        device: as in `lrcn.load`.
        report: called with each line for the terminal.

    Raises:
        LrcnError: a model is missing or is for something else.
    """
    captioner: LoadedCaptioner = load(models[0], device, tasks=("caption",))
    finder: LoadedJoint = load(models[1], device, tasks=("embed",))
    pictures = _pictures()
    told = [one for one in caption_many(captioner, pictures.values()) if isinstance(one, Caption)]
    written = dict(zip(pictures, told, strict=True))
    found = _found(finder, pictures)
    wide = max(map(len, pictures))
    for name, one in written.items():
        report(f"  {name:<{wide}}  {one.caption}")
    for hit in found:
        report(f'  "{hit.sentence}" finds {hit.name} ({hit.score:.2f}), {_verdict(hit)}')
    return Words(pictures, written, found)


def words_section(words: Words) -> Section:
    """Sentences and searches as a part of the report."""
    right = sum(hit.right for hit in words.found)
    parts = [
        paragraph(
            "The same two parts, a CNN and an LSTM, write a sentence about a photo, and find photos by one. Both "
            "models learned from 6,000 photos of Flickr8k: people at play, dogs, water, snow."
        ),
        paragraph(
            "These pictures are far from those, which shows where the models end: about what it never saw, a captioner "
            f"writes of what it knows. The search put the right picture first for {right} of {len(words.found)} "
            "sentences. What to expect on photos like those they know, their cards say: `lrcn models`.",
            "quiet",
        ),
        "<h3>What the captioner writes</h3>",
        _gallery((words.pictures[name], one.caption, "") for name, one in words.written.items()),
        "<h3>What sentences find first, and how near it is</h3>",
        _gallery(
            (words.pictures[hit.name], f"“{hit.sentence}”", f"{hit.score:.2f}, {_verdict(hit)}")
            for hit in words.found
        ),
        commands(
            [
                ("Write about photos of your own:", "lrcn caption photos/"),
                ("Find photos of your own:", 'lrcn search photos/ "two dogs in the snow" --html found.html'),
            ]
        ),
    ]
    return Section("words", "The pictures in words", "".join(parts), "Words")


def _pictures() -> dict[str, Picture]:
    """The photos that ship, and frames of the film, by name."""
    found = {Path(shot.media).stem: read_photo(shipped(shot.media)) for shot in PHOTO_SHOTS}
    clip = read_clip(shipped(BUNNY_SHOT.media), times=list(_FRAMES))
    for time, frame in zip(_FRAMES, clip.frames, strict=True):
        found[f"film at {time:g} s"] = np.ascontiguousarray(frame.transpose(1, 2, 0))
    return found


def _found(finder: LoadedJoint, pictures: Mapping[str, Picture]) -> list[Found]:
    names = list(pictures)
    seen = finder.images(torch.stack([finder.preprocess(one) for one in pictures.values()]))
    read = finder.sentences([finder.tokenizer.encode(sentence) for sentence in _SOUGHT])
    scores, places = (read @ seen.T).max(1)
    return [
        Found(sentence, names[place], score, names[place].startswith(about))
        for (sentence, about), score, place in zip(
            _SOUGHT.items(), scores.tolist(), places.tolist(), strict=True
        )
    ]


def _verdict(hit: Found) -> str:
    return "right" if hit.right else "wrong"


def _gallery(items: Iterable[tuple[Picture, str, str]]) -> str:
    """Pictures with words below them: (picture, words, what is said of them) each."""
    figures = "".join(
        f"<li><figure>{picture(one, html.escape(words))}<figcaption><span>{html.escape(words)}</span>"
        f'<span class="quiet">{html.escape(note)}</span></figcaption></figure></li>'
        for one, words, note in items
    )
    return f'<ol class="photos">{figures}</ol>'
