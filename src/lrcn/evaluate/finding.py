"""How well a model finds photos by sentences and sentences by photos: every photo is held against every sentence.

A joint embedding does it by the product of two vectors; a captioner, as in the paper, by the likelihood of the sentence
given the photo, at far greater cost.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lrcn.data.datasets import ClipSource
from lrcn.data.manifest import Row
from lrcn.data.photo import PhotoError
from lrcn.data.photos import PhotoDataset, Sentences, encoded_rows
from lrcn.data.tokenizer import EOS
from lrcn.errors import LrcnError
from lrcn.evaluate.retrieval import Recall, RetrievalMetrics, measure_retrieval, ranks_of_captions
from lrcn.likelihood import log_likelihoods, normalised
from lrcn.models.captioner import Captioner
from lrcn.models.captioner_folder import LoadedCaptioner
from lrcn.models.joint import JointEmbedding
from lrcn.models.joint_folder import LoadedJoint

Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and how much there is in all."""

_PHOTOS = 32
_SENTENCES = 250


@dataclass(frozen=True)
class Finding:
    """What an evaluation found.

    Attributes:
        metrics: recall and ranks, both ways.
        left_out: photos that could not be read: path -> reason.
        as_they_are: of a captioner, how well photos find captions by likelihoods that are not normalised.
    """

    metrics: RetrievalMetrics
    left_out: dict[str, str] = field(default_factory=dict)
    as_they_are: Recall | None = None

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        values = self.metrics.to_json() | {"left_out": self.left_out}
        if self.as_they_are is not None:
            values["image_to_caption_not_normalised"] = asdict(self.as_they_are)
        return values

    def lines(self) -> list[str]:
        """The main numbers, for a terminal."""
        if self.as_they_are is None:
            return self.metrics.lines()
        return [*self.metrics.lines(), self.as_they_are.line("the same, not normalised")]


def measure_embedding(
    model: JointEmbedding, photos: ClipSource, sentences: Sequence[Sentences]
) -> RetrievalMetrics:
    """Both directions of a joint embedding in evaluation mode.

    Args:
        model: the networks.
        photos: as frames or as features.
        sentences: ids of those about each photo.

    Raises:
        LrcnError: a photo cannot be read, or no sentence holds a word.
    """
    seen, unreadable = _seen(model.images, photos, model.see.weight.device)
    for reason in unreadable.values():
        raise LrcnError(reason)
    return _by_products(model, seen, *_with_owners(sentences))


def evaluate(
    loaded: LoadedJoint | LoadedCaptioner,
    rows: Sequence[Row],
    progress: Progress | None = None,
    *,
    half: bool = False,
) -> Finding:
    """Both directions of a model on the photos and captions of rows; a photo that cannot be read is left out.

    Args:
        loaded: a joint embedding; or a captioner, whose likelihoods rank photos for a caption as they are, and captions
            for a photo normalised (`lrcn.likelihood.normalised`), as in the paper.
        rows: photos with captions.
        progress: told of photos read, and with a captioner of captions scored.
        half: likelihoods are computed in half precision (bfloat16).

    Raises:
        LrcnError: a row has no captions, no photo can be read, or no caption holds a word.
    """
    sentences, _ = encoded_rows(rows, loaded.tokenizer)
    photos = PhotoDataset(rows, loaded.preprocess)
    look = loaded.model.images if isinstance(loaded, LoadedJoint) else loaded.model.look
    seen, unreadable = _seen(look, photos, next(loaded.model.parameters()).device, progress)
    captions, owners = _with_owners([said for index, said in enumerate(sentences) if index not in unreadable])
    left_out = {rows[index].path: reason for index, reason in unreadable.items()}
    if isinstance(loaded, LoadedJoint):
        return Finding(_by_products(loaded.model, seen, captions, owners), left_out)
    with torch.autocast(seen.device.type, torch.bfloat16, enabled=half):
        metrics, as_they_are = _by_likelihood(loaded.model, seen, captions, owners, progress)
    return Finding(metrics, left_out, as_they_are)


@torch.no_grad()
def _seen(
    look: Callable[..., Tensor],
    photos: ClipSource,
    device: torch.device,
    progress: Progress | None = None,
) -> tuple[Tensor, dict[int, str]]:
    """What `look` makes of the photos that can be read (I, ...), and of the others why not."""
    parts: list[Tensor] = []
    unreadable: dict[int, str] = {}
    for first in range(0, len(photos), _PHOTOS):
        items = []
        for index in range(first, min(first + _PHOTOS, len(photos))):
            try:
                items.append(photos.item(index, 0))
            except PhotoError as error:
                unreadable[index] = str(error)
        if items:
            content = "maps" if "maps" in items[0] else "frames"
            shown = torch.cat([item[content] for item in items]).to(device)
            parts.append(look(**{"maps" if content == "maps" else "images": shown}))
        if progress is not None:
            progress("reading photos", min(first + _PHOTOS, len(photos)), len(photos))
    if not parts:
        raise LrcnError(
            f"None of the {len(photos)} photos can be read: {next(iter(unreadable.values()), '')}"
        )
    return torch.cat(parts), unreadable


def _with_owners(sentences: Sequence[Sentences]) -> tuple[list[Sequence[int]], list[int]]:
    """All sentences with a word in them, and the photo each is about."""
    pairs = [(said, photo) for photo, of_photo in enumerate(sentences) for said in of_photo if said[0] != EOS]
    if not pairs:
        raise LrcnError("No caption holds a word: check the captions of the manifest.")
    return [said for said, _ in pairs], [photo for _, photo in pairs]


@torch.no_grad()
def _by_products(
    model: JointEmbedding, seen: Tensor, captions: Sequence[Sequence[int]], owners: Sequence[int]
) -> RetrievalMetrics:
    # Those of like length together: little of a batch is padding.
    order = sorted(range(len(captions)), key=lambda number: len(captions[number]))
    read = seen.new_empty(len(captions), seen.shape[1])
    for first in range(0, len(order), _SENTENCES):
        numbers = order[first : first + _SENTENCES]
        words = pad_sequence([torch.tensor(captions[number]) for number in numbers], batch_first=True)
        lengths = torch.tensor([len(captions[number]) for number in numbers])
        read[numbers] = model.sentences(words.to(seen.device), lengths)
    return measure_retrieval((seen @ read.T).float().cpu().numpy(), owners)


def _by_likelihood(
    model: Captioner,
    seen: Tensor,
    captions: Sequence[Sequence[int]],
    owners: Sequence[int],
    progress: Progress | None,
) -> tuple[RetrievalMetrics, Recall]:
    """Both directions, and images to captions by likelihoods that are not normalised."""

    def tell(done: int, total: int) -> None:
        if progress is not None:
            progress("scoring captions", done, total)

    scores = log_likelihoods(model.decoder, seen, captions, progress=tell)
    metrics = measure_retrieval(scores.numpy(), owners, captions_scores=normalised(scores).numpy())
    return metrics, Recall.of(ranks_of_captions(scores.numpy(), owners), len(captions))
