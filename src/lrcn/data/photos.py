"""Photos and their sentences -> tensors, and a list of them -> one batch."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from lrcn.data.datasets import IGNORED_LABEL, ClipSource, Item
from lrcn.data.manifest import Row, is_url
from lrcn.data.photo import PhotoError, PhotoSource, read_photo
from lrcn.data.picture import Picture, Resize
from lrcn.data.tokenizer import Tokenizer, TokenReport
from lrcn.data.transforms import Augment, Fit
from lrcn.errors import LrcnError
from lrcn.fingerprint import fingerprint, fingerprint_file

_logger = logging.getLogger(__name__)

# Changes when the same photo and settings give other pixels, so that features of the old rules are not found.
_FORMAT = 1

Sentences = Sequence[Sequence[int]]
"""Ids of the sentences about one photo, each with its end (`Tokenizer.encode`)."""


@dataclass(frozen=True)
class PhotoPreprocess:
    """How every photo reaches the network; stored with the weights.

    Attributes:
        size: side of the square input, pixels.
        resize: side that a photo is scaled to before its centre is cut out, as the paper's 256 for 227; 0 is `size`.
        fit: "squash" ignores the aspect, "crop" keeps the centre, "letterbox" adds black bars.

    Raises:
        LrcnError: a field has a value that means nothing.
    """

    size: int = 224
    resize: int = 0
    fit: Fit = "squash"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise LrcnError(
                f"preprocess.size is {self.size}: give the side of the input in pixels, such as 224."
            )
        if self.resize and self.resize < self.size:
            raise LrcnError(
                f"preprocess.resize is {self.resize}, smaller than size, {self.size}: give as much or more, or 0."
            )
        if self.fit not in get_args(Fit):
            raise LrcnError(f"preprocess.fit is {self.fit!r}: give one of {', '.join(get_args(Fit))}.")

    def __call__(self, photo: Picture) -> Tensor:
        """A photo of any shape, uint8 (H,W,3) -> what the network reads, uint8 (3,size,size)."""
        side = self.resize or self.size
        first = (side - self.size) // 2
        return self._pixels(Resize(side, self.fit)(photo), first, first)

    def drawn(self, photo: Picture, augment: Augment, mirrored: bool, generator: torch.Generator) -> Tensor:
        """The same with random changes: where `resize` leaves room, a square of it at a random place."""
        side = max(self.resize, math.ceil(self.size * augment.margin))
        scaled = Resize(side, self.fit)(photo)
        if augment.scale == 1:
            top, left = torch.randint(side - self.size + 1, (2,), generator=generator).tolist()
            frames = self._pixels(scaled, top, left)[None]
        else:
            frames = torch.from_numpy(np.ascontiguousarray(scaled)).permute(2, 0, 1)[None]
        drawn = augment(frames, self.size, generator)[0]
        return drawn.flip(-1) if mirrored else drawn

    def _pixels(self, photo: Picture, top: int, left: int) -> Tensor:
        square = photo[top : top + self.size, left : left + self.size]
        return torch.from_numpy(np.ascontiguousarray(square.transpose(2, 0, 1)))


class PhotoDataset(Dataset[Item]):
    """Photos of a manifest as uint8 tensors: a clip source of single frames, so that `FeatureCache` takes it.

    In training, item (index, view) is a random draw that follows from (seed, index, view) alone; where photos are
    mirrored, it is every other view of each. In evaluation a photo has one item and `view` means nothing.

    Args:
        rows: one per photo.
        preprocess: how a photo reaches the network.
        augment: random changes in training; None makes none.
        seed: everything random follows from it.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        preprocess: PhotoPreprocess,
        augment: Augment | None = None,
        *,
        train: bool = False,
        seed: int = 0,
    ) -> None:
        self.rows = list(rows)
        self.preprocess = preprocess
        self.train = train
        self.seed = seed
        roomy = preprocess.resize > preprocess.size
        changes = augment is not None and (roomy or augment != Augment())
        self.augment = augment if train and changes else None
        self._reasons: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, draw: tuple[int, int]) -> Item:
        return self.item(*draw)

    @property
    def failed(self) -> dict[str, str]:
        """Photos that could not be read so far: path -> reason."""
        return {self.rows[index].path: reason for index, reason in self._reasons.items()}

    def item(self, index: int, view: int) -> Item:
        """Reads a photo.

        Returns:
            {"frames": uint8 (1,3,size,size), "index": int}. In training an unreadable photo is reported once and the
            next readable one given, with its own index.

        Raises:
            PhotoError: the photo cannot be read (evaluation), or no photo can (training).
        """
        if not self.train:
            return self._read(index, view)
        for candidate in [*range(index, len(self)), *range(index)]:
            if candidate in self._reasons:
                continue
            try:
                return self._read(candidate, view)
            except PhotoError as error:
                self._reasons[candidate] = str(error)
                _logger.warning("A photo is left out, the next one takes its place: %s", error)
        raise PhotoError(f"None of the {len(self)} photos can be read, the first being {self.rows[0].path}.")

    def key(self, index: int, view: int) -> str:
        """A hash of everything that made the item: file, settings, and in training the draw."""
        path = self.rows[index].path
        try:
            source = path if is_url(path) else fingerprint_file(path)
        except LrcnError:
            source = f"unreadable {path}"
        draw = () if self.augment is None else (self.augment, self.seed, index, view)
        return fingerprint("photo", _FORMAT, source, self.preprocess, *draw)

    def _read(self, index: int, view: int) -> Item:
        photo = read_photo(self.rows[index].path)
        if self.augment is None:
            pixels = self.preprocess(photo)
        else:
            state = np.random.SeedSequence([self.seed, index, view]).generate_state(1, np.uint64)
            generator = torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
            mirrored = self.augment.flip and (index + view) % 2 == 1
            pixels = self.preprocess.drawn(photo, _unmirrored(self.augment), mirrored, generator)
        return {"frames": pixels[None], "index": index}


class CaptionedPhotos(Dataset[Item]):
    """Photos, as frames or as cached features, with their sentences.

    Items are {"frames" or "maps": (1,...), "sentences": ids, "index": int}. Draw `view` of an item is the same draw of
    its photo.

    Args:
        photos: a photo source, or one with features in place of frames (`FeatureCache.dataset`).
        sentences: of each photo.
        pairs: an item is one sentence with its photo, as the paper trains; otherwise a photo with all its sentences,
            which then goes through the network once for all of them.
    """

    def __init__(self, photos: ClipSource, sentences: Sequence[Sentences], *, pairs: bool = False) -> None:
        if len(photos) != len(sentences):
            raise LrcnError(f"{len(photos)} photos and sentences about {len(sentences)} do not fit.")
        self.photos = photos
        self.sentences = sentences
        self.pairs = pairs
        self._places = [
            (photo, number) for photo, of_photo in enumerate(sentences) for number in range(len(of_photo))
        ]

    def __len__(self) -> int:
        return len(self._places) if self.pairs else len(self.photos)

    def __getitem__(self, draw: tuple[int, int]) -> Item:
        return self.item(*draw)

    def item(self, index: int, view: int) -> Item:
        """Draw `view` of item `index`."""
        photo, number = self._places[index] if self.pairs else (index, 0)
        item = self.photos.item(photo, view)
        # Of the photo that is shown, where another stands in for one that cannot be read.
        said = self.sentences[item["index"]]
        return {**item, "sentences": [said[number % len(said)]] if self.pairs else list(said)}

    def key(self, index: int, view: int) -> str:
        """A hash of everything that made the item."""
        photo, number = self._places[index] if self.pairs else (index, -1)
        said = self.sentences[photo]
        return fingerprint(self.photos.key(photo, view), [said[number]] if self.pairs else list(said))

    @staticmethod
    def join(items: Sequence[Item]) -> dict[str, Tensor]:
        """A batch of items; see `collate_captioned`."""
        return collate_captioned(items)


def collate_captioned(items: Sequence[Item]) -> dict[str, Tensor]:
    """N photos with B sentences about them, the longest sentence first.

    Returns:
        {"frames": uint8 (N,3,H,W) or "maps": float16 (N,...), "index": int64 (N,), "said": int64 (B,L), ids with -100
        past a sentence's end, "lengths": int64 (B,), "image_of": int64 (B,), which of the photos each is about}.
    """
    content = "maps" if "maps" in items[0] else "frames"
    said = [(sentence, place) for place, item in enumerate(items) for sentence in item["sentences"]]
    said.sort(key=lambda pair: -len(pair[0]))
    return {
        content: torch.cat([item[content] for item in items]),
        "index": torch.tensor([item["index"] for item in items]),
        "said": pad_sequence(
            [torch.tensor(sentence) for sentence, _ in said], batch_first=True, padding_value=IGNORED_LABEL
        ),
        "lengths": torch.tensor([len(sentence) for sentence, _ in said]),
        "image_of": torch.tensor([place for _, place in said]),
    }


def encoded_rows(rows: Sequence[Row], tokenizer: Tokenizer) -> tuple[list[Sentences], TokenReport]:
    """Ids of the sentences about each row's photo, and a report of what the vocabulary lacks.

    Raises:
        LrcnError: a row has no caption.
    """
    for row in rows:
        if not row.captions:
            raise LrcnError(f"{row.path} has no captions; give it some in the manifest or leave the row out.")
    ids, report = tokenizer.encode_all([caption for row in rows for caption in row.captions])
    after = iter(ids)
    return [[next(after) for _ in row.captions] for row in rows], report


def prepared(sources: Sequence[PhotoSource], preprocess: PhotoPreprocess) -> list[Tensor | PhotoError]:
    """Each photo as uint8 (3,size,size), or why it cannot be read."""
    photos: list[Tensor | PhotoError] = []
    for source in sources:
        try:
            photos.append(preprocess(read_photo(source)))
        except PhotoError as error:
            photos.append(error)
    return photos


def _unmirrored(augment: Augment) -> Augment:
    return Augment(augment.scale, False, augment.colour, augment.rotate)
