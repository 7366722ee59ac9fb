"""Any photo -> sentences about it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lrcn.data.photo import PhotoError, PhotoSource
from lrcn.data.photos import prepared
from lrcn.data.tokenizer import UNKNOWN_ID, Tokenizer
from lrcn.errors import LrcnError
from lrcn.generate import Decoding, Sentence, generate, without
from lrcn.predict import Failure
from lrcn.sentences import Caption, Told

if TYPE_CHECKING:
    from lrcn.models.captioner import Captioner
    from lrcn.models.captioner_folder import LoadedCaptioner
    from lrcn.models.recurrent import State

# States of all sentences of all photos of a batch are held at once.
_ROWS = 2048

# What processors call their instructions for it (x86, then Arm), as `torch.cpu.get_capabilities` names them.
_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")


def caption(
    loaded: LoadedCaptioner,
    source: PhotoSource,
    *,
    decoding: Decoding | None = None,
    best: int = 1,
    seed: int = 0,
    half: bool | None = False,
) -> Caption:
    """Writes about a photo.

    Args:
        loaded: a captioner.
        source: a file, a URL, or pixels uint8 (H,W,3).
        decoding: how sentences are chosen; None is as the model was measured.
        best: how many sentences.
        seed: of what is drawn at random.
        half: the decoder's products are in bfloat16, see `Captioner.step_in_half`; None: where that is faster.

    Raises:
        LrcnError: the photo cannot be read.
    """
    (result,) = caption_many(loaded, [source], decoding=decoding, best=best, seed=seed, half=half)
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
    half: bool | None = False,
    batch: int = 64,
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
    writer = _Writer(loaded.model.eval(), decoding, best, seed, half)
    waiting = iter(sources)
    while some := list(islice(waiting, max(1, min(batch, _ROWS // most)))):
        photos = prepared(some, loaded.preprocess)
        names = [photo_name(source) for source in some]
        readable = [
            (name, photo)
            for name, photo in zip(names, photos, strict=True)
            if not isinstance(photo, PhotoError)
        ]
        found = iter(writer.about(readable) if readable else [])
        for name, photo in zip(names, photos, strict=True):
            if isinstance(photo, PhotoError):
                yield Failure(name, str(photo), photo)
            else:
                first, *others = (_told(loaded.tokenizer, sentence) for sentence in next(found))
                yield Caption(name, first.caption, first.log_prob, tuple(others))


class _Writer:
    """Sentences about a batch of photos; the arguments are those of `caption`."""

    def __init__(self, model: Captioner, decoding: Decoding, best: int, seed: int, half: bool | None) -> None:
        self.model = model
        self.decoding = decoding
        self.best = best
        self.seed = seed
        self.device = model.decoder.bias.device
        self.half = faster_in_half(self.device) if half is None else half
        self.step = without(model.step_in_half() if self.half else model.step, [UNKNOWN_ID])

    def about(self, photos: Sequence[tuple[str, Tensor]]) -> list[list[Sentence]]:
        """The best sentences about each of some photos, a name and uint8 (3,H,W) each."""
        names, pixels = zip(*photos, strict=True)
        seeds = [zlib.crc32(name.encode("utf-8", "backslashreplace")) + (self.seed << 32) for name in names]
        state = self._shown(torch.stack(pixels).to(self.device))
        return generate(self.step, state, self.decoding, best=self.best, seeds=seeds)

    @torch.no_grad()
    def _shown(self, pixels: Tensor) -> State:
        """The state before the first word; the CNN computes in single precision in any case."""
        maps = self.model.encoder.maps(pixels)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            return self.model.initial_state(maps=maps)


def faster_in_half(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 numbers itself; others go through single precision, and are slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    can = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(can.get(name, False) for name in _BFLOAT16)


def photo_name(source: PhotoSource) -> str:
    """How a photo is called in results: the path or URL as given, or "photo" for an array."""
    return "photo" if isinstance(source, np.ndarray) else str(source)


def _told(tokenizer: Tokenizer, sentence: Sentence) -> Told:
    return Told(tokenizer.sentence(sentence.words, finished=sentence.finished), sentence.log_prob)
