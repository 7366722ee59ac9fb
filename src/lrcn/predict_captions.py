"""Any photo -> sentences about it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from lrcn.data.photo import PhotoError, PhotoSource
from lrcn.data.photos import prepared
from lrcn.data.tokenizer import UNKNOWN_ID, Tokenizer
from lrcn.errors import LrcnError
from lrcn.generate import Decoding, Sentence, generate, without
from lrcn.predict import Failure
from lrcn.sentences import Caption, Told

if TYPE_CHECKING:
    from lrcn.models.captioner_folder import LoadedCaptioner

# States of all sentences of all photos of a batch are held at once.
_ROWS = 2048


def caption(
    loaded: LoadedCaptioner,
    source: PhotoSource,
    *,
    decoding: Decoding | None = None,
    best: int = 1,
    seed: int = 0,
) -> Caption:
    """Writes about a photo.

    Args:
        loaded: a captioner.
        source: a file, a URL, or pixels uint8 (H,W,3).
        decoding: how sentences are chosen; None is as the model was measured.
        best: how many sentences.
        seed: of what is drawn at random.

    Raises:
        LrcnError: the photo cannot be read.
    """
    (result,) = caption_many(loaded, [source], decoding=decoding, best=best, seed=seed)
    if isinstance(result, Failure):
        raise result.exception or LrcnError(result.error)
    return result


def caption_many(
    loaded: LoadedCaptioner,
    sources: Iterable[PhotoSource],
    *,
    decoding: Decoding | None = None,
    best: int = 1,
    seed: int = 0,
    batch: int = 16,
) -> Iterator[Caption | Failure]:
    """Writes about photos, in order, a batch at a time; one that cannot be read gives a `Failure` and the rest goes on.

    What is drawn about a photo follows from its name and the seed, whatever else is given. The arguments are those of
    `caption`.

    Raises:
        LrcnError: more sentences are asked for than a beam or a number of samples gives.
    """
    decoding = loaded.decoding if decoding is None else decoding
    most = decoding.samples or decoding.beam
    if not 1 <= best <= most:
        raise LrcnError(
            f"{best} sentences are asked for, and {most} are kept: give a larger beam, or more samples."
        )
    loaded.model.eval()
    waiting = iter(sources)
    while some := list(islice(waiting, max(1, min(batch, _ROWS // most)))):
        yield from _batch(loaded, some, decoding, best, seed)


def _batch(
    loaded: LoadedCaptioner, sources: list[PhotoSource], decoding: Decoding, best: int, seed: int
) -> Iterator[Caption | Failure]:
    photos = prepared(sources, loaded.preprocess)
    names = [photo_name(source) for source in sources]
    readable = [place for place, photo in enumerate(photos) if not isinstance(photo, PhotoError)]
    found: dict[int, list[Sentence]] = {}
    if readable:
        pixels = torch.stack([photo for photo in photos if not isinstance(photo, PhotoError)])
        with torch.no_grad():
            state = loaded.model.initial_state(pixels.to(loaded.model.decoder.bias.device))
        seeds = [
            zlib.crc32(names[place].encode("utf-8", "backslashreplace")) + (seed << 32) for place in readable
        ]
        step = without(loaded.model.step, [UNKNOWN_ID])
        found = dict(zip(readable, generate(step, state, decoding, best=best, seeds=seeds), strict=True))
    for place, (name, photo) in enumerate(zip(names, photos, strict=True)):
        if isinstance(photo, PhotoError):
            yield Failure(name, str(photo), photo)
        else:
            first, *others = (_told(loaded.tokenizer, sentence) for sentence in found[place])
            yield Caption(name, first.caption, first.log_prob, tuple(others))


def photo_name(source: PhotoSource) -> str:
    """How a photo is called in results: the path or URL as given, or "photo" for an array."""
    return "photo" if isinstance(source, np.ndarray) else str(source)


def _told(tokenizer: Tokenizer, sentence: Sentence) -> Told:
    return Told(tokenizer.sentence(sentence.words, finished=sentence.finished), sentence.log_prob)
