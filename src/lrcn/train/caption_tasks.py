"""Learning to write as people did: the likelihood of each next word."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lrcn.data.datasets import IGNORED_LABEL
from lrcn.data.photos import CaptionedPhotos
from lrcn.data.tokenizer import EOS, Tokenizer
from lrcn.evaluate.captioning import Show, as_words, written
from lrcn.evaluate.captions import CiderD
from lrcn.generate import Decoding
from lrcn.models.captioner import Captioner
from lrcn.train.loop import Batch
from lrcn.train.photo_splits import PhotoPart

_PIECES = 4
"""Groups of sentences of like length that a batch is run in, so that little is padding."""

_FEWEST = 24
"""Sentences of such a group: fewer waste the kernels' width."""


class CaptionTask:
    """Cross-entropy with the next word of every sentence, mean over all words and ends of the batch.

    Args:
        clips: photos with their sentences.
        dev: photos whose CIDEr-D chooses the weights; None chooses the last.
        tokenizer: the vocabulary.
        select: how the sentences about dev photos are chosen.
        label_smoothing: share of the target spread over the other words.
        loss_scale: multiplies the loss. Caffe sums over the steps of a sentence where this takes the mean: the paper's
            rates and its limit on the gradient go with 20 times the mean, whatever the lengths.
        show: of other things than photos, see `lrcn.evaluate.captioning.written`.
    """

    def __init__(
        self,
        clips: CaptionedPhotos,
        dev: PhotoPart | None,
        tokenizer: Tokenizer,
        select: Decoding,
        *,
        label_smoothing: float = 0.0,
        loss_scale: float = 1.0,
        show: Show | None = None,
    ) -> None:
        self.clips = clips
        self.label_smoothing = label_smoothing
        self.loss_scale = loss_scale
        self.judge = None if dev is None else DevJudge(dev, tokenizer, select, type(clips), show)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The scalar loss of a batch of `collate_captioned`."""
        scores, said = spoken(model, batch)  # type: ignore[arg-type]
        loss = nn.functional.cross_entropy(scores.float(), said, label_smoothing=self.label_smoothing)
        return self.loss_scale * loss

    def dev_score(self, model: nn.Module) -> dict[str, float] | None:
        """What `DevJudge` says."""
        return None if self.judge is None else self.judge(model)


class DevJudge:
    """Measures a captioner on dev photos: the score is CIDEr-D.

    Args:
        dev: the photos.
        tokenizer: the vocabulary.
        select: how sentences are chosen.
        captioned: how photos and sentences become batches.
        show: see `lrcn.evaluate.captioning.written`.
    """

    def __init__(
        self,
        dev: PhotoPart,
        tokenizer: Tokenizer,
        select: Decoding,
        captioned: type[CaptionedPhotos] = CaptionedPhotos,
        show: Show | None = None,
    ) -> None:
        self.dev = dev
        self.tokenizer = tokenizer
        self.select = select
        self.captioned = captioned
        self.show = show
        self.cider = CiderD({str(index): row.captions for index, row in enumerate(dev.rows)})

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """CIDEr-D (0 to 10) of the sentences the model writes, and how unlikely it finds people's (nats a word)."""
        captioner: Any = model
        sentences = written(captioner, self.dev.photos, self.select, show=self.show)
        texts = as_words(self.tokenizer, sentences)
        scores = self.cider.scores((str(index), text) for index, text in enumerate(texts))
        cider_d = float(scores.mean())
        words = sum(len(sentence.words) for sentence in sentences) / len(sentences)
        return {"score": cider_d, "cider_d": cider_d, "nll_loss": self._surprise(captioner), "words": words}

    @torch.no_grad()
    def _surprise(self, model: Captioner, batch: int = 25) -> float:
        """Mean negative log-likelihood of a word of the dev sentences."""
        clips = self.captioned(self.dev.photos, self.dev.sentences)
        total, words = 0.0, 0
        for first in range(0, len(clips), batch):
            items = [clips.item(index, 0) for index in range(first, min(first + batch, len(clips)))]
            device = model.decoder.bias.device
            scores, said = spoken(model, {k: v.to(device) for k, v in clips.join(items).items()})
            total += float(nn.functional.cross_entropy(scores.float(), said, reduction="sum"))
            words += len(said)
        return total / max(words, 1)


def spoken(model: Captioner, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Scores (n, V) of the words that a batch of `collate_captioned` says, and those words (n,), without padding."""
    # What has several steps, such as a video, comes with how many each has; a shot with what was seen in it.
    more = {name: batch[name] for name in ("steps", "seen") if name in batch}
    seen = model.look(batch.get("frames"), maps=batch.get("maps"), **more)
    said, lengths, image_of = batch["said"], batch["lengths"], batch["image_of"]
    read = words_read(said)
    hidden, targets = [], []
    # The longest come first, so that a group is as long as its first.
    for rows in torch.arange(len(said), device=said.device).chunk(max(1, min(_PIECES, len(said) // _FEWEST))):
        longest = int(lengths[rows[0]])
        valid = said[rows, :longest] != IGNORED_LABEL
        hidden.append(model.decoder.hidden(seen[image_of[rows]], read[rows, :longest], lengths[rows])[valid])
        targets.append(said[rows, :longest][valid])
    return model.decoder.scores(torch.cat(hidden)), torch.cat(targets)


def words_read(said: Tensor) -> Tensor:
    """What a decoder reads to say these words (B, L): the end before the first, then each word but the last."""
    read = torch.cat([torch.full_like(said[:, :1], EOS), said[:, :-1]], dim=1)
    return read.masked_fill(read == IGNORED_LABEL, EOS)
