"""The photos of a recipe: training draws, dev and test with their sentences, as frames or as cached features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lrcn.data.cache import FeatureCache
from lrcn.data.datasets import ClipSource
from lrcn.data.importers import import_data
from lrcn.data.manifest import Row, read_manifest
from lrcn.data.photos import PhotoDataset, PhotoPreprocess, Sentences, encoded_rows
from lrcn.data.splits import refuse_leakage
from lrcn.data.tokenizer import Rule, Tokenizer
from lrcn.data.transforms import Augment
from lrcn.errors import LrcnError
from lrcn.fingerprint import fingerprint
from lrcn.models.cnn import FrameEncoder
from lrcn.train.distributed import Team
from lrcn.train.splits import feature_cache
from lrcn.train.tracking import counting

Report = Callable[[str], None]


@dataclass(frozen=True)
class CaptionData:
    """Where photos with sentences come from.

    Attributes:
        source: a manifest, or what `importer` reads.
        importer: the layout of the data, one of `lrcn data import`; empty: `source` is a manifest.
        lists: where the importer's lists are, if they do not lie with the photos.
        train: splits that are learned from, and whose sentences give the vocabulary.
        dev: the split that chooses the weights; empty chooses the last.
        test: the split that is looked at once, at the end; empty: none.
        limit: photos taken of each split, the first ones; 0 takes all.
        allow_leakage: accepts a group that stands in both train and test.
        seed: of the random draws.
    """

    source: str
    importer: str = ""
    lists: str = ""
    train: tuple[str, ...] = ("train",)
    dev: str = "dev"
    test: str = "test"
    limit: int = 0
    allow_leakage: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.train:
            raise LrcnError("data.train names no split: give it one, such as train.")
        if self.test in self.train:
            raise LrcnError(f"data.test is {self.test}, which is trained on: give another split, or none.")
        if self.limit < 0:
            raise LrcnError(f"data.limit is {self.limit}: give 0 or more.")


@dataclass(frozen=True)
class WordsConfig:
    """What becomes a word.

    Attributes:
        rule: "modern", or "paper", as `lrcn.data.tokenizer.Tokenizer` says.
        min_count: how often a word must occur in the training sentences to be in the vocabulary.
        max_length: the most words of a sentence, its end included.
    """

    rule: Rule = "modern"
    min_count: int = 5
    max_length: int = 20


@dataclass(frozen=True)
class PhotoPart:
    """The photos of one split.

    Attributes:
        rows: their files and sentences.
        photos: the same as pixels, or as features.
        sentences: ids of the sentences about each.
    """

    rows: list[Row]
    photos: ClipSource
    sentences: list[Sentences]


@dataclass(frozen=True)
class PhotoSplit:
    """What one run learns from and is judged on.

    Attributes:
        tokenizer: the vocabulary, of the training sentences alone.
        train: random draws.
        dev: chooses the weights where it is there.
        test: looked at once, at the end.
    """

    tokenizer: Tokenizer
    train: PhotoPart
    dev: PhotoPart | None = None
    test: PhotoPart | None = None

    def judged(self) -> dict[str, PhotoPart]:
        """What is judged, by its name: dev and test, where they are there."""
        parts = {"dev": self.dev, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}

    def counts(self) -> str:
        """How many there are of each, for a reader."""
        parts = {"training": self.train, **self.judged()}
        return ", ".join(f"{len(part.rows)} {name}" for name, part in parts.items())

    def key(self) -> str:
        """A hash of photos and sentences, so that a run is not taken up with others."""
        parts = [part for part in (self.train, self.dev, self.test) if part is not None]
        keys = [
            [[part.photos.key(index, 0) for index in range(len(part.photos))], part.sentences]
            for part in parts
        ]
        return fingerprint(self.tokenizer, keys)


def photo_split(
    data: CaptionData,
    words: WordsConfig,
    preprocess: PhotoPreprocess,
    augment: Augment,
    report: Report,
    tokenizer: Tokenizer | None = None,
) -> PhotoSplit:
    """Reads the data of a recipe.

    Args:
        data: where they are.
        words: what becomes a word.
        preprocess: how a photo reaches the network.
        augment: random changes to training photos.
        report: is told what was found.
        tokenizer: a vocabulary to keep; None learns one.

    Raises:
        LrcnError: they cannot be read, there is nothing to learn from, or train and test share a group.
    """

    def photos(rows: list[Row], train: bool) -> ClipSource:
        return PhotoDataset(rows, preprocess, augment if train else None, train=train, seed=data.seed)

    return captioned_split(data, words, captioned_rows(data, report), photos, report, tokenizer)


def captioned_split(
    data: CaptionData,
    words: WordsConfig,
    rows: Sequence[Row],
    clips_of: Callable[[list[Row], bool], ClipSource],
    report: Report,
    tokenizer: Tokenizer | None = None,
) -> PhotoSplit:
    """Divides what was read as a recipe says.

    Args:
        data: says how.
        words: what becomes a word.
        rows: the data.
        clips_of: what a model is shown of some rows, first of those to train on, then of the others; the flag says
            which.
        report: is told what was found.
        tokenizer: a vocabulary to keep; None learns one.

    Raises:
        LrcnError: there is nothing to learn from.
    """
    train = _limited([row for row in rows if row.split in data.train], data.limit)
    if not train:
        has = sorted({row.split for row in rows if row.split}) or ["no splits"]
        raise LrcnError(
            f"{data.source} has nothing with captions in {', '.join(data.train)}: it has {', '.join(has)}."
        )
    tokenizer = tokenizer or Tokenizer.learn(
        (caption for row in train for caption in row.captions),
        words.rule,
        min_count=words.min_count,
        max_length=words.max_length,
    )
    sentences, told = encoded_rows(train, tokenizer)
    learned = PhotoPart(train, clips_of(train, True), sentences)
    report(f"A vocabulary of {tokenizer.size - 2} words. In training: {' '.join(told.lines())}")
    dev, test = (
        _part(
            _limited([row for row in rows if split and row.split == split], data.limit), clips_of, tokenizer
        )
        for split in (data.dev, data.test)
    )
    return PhotoSplit(tokenizer, learned, dev, test)


def featured(
    split: PhotoSplit, encoder: FrameEncoder, folder: Path, views: int, team: Team, workers: int = 0
) -> PhotoSplit:
    """The split with the frozen encoder's features in place of photos, computed once and kept in `folder`."""
    # The leader computes the features, and the others find them.
    if not team.leads:
        team.wait()
    cache = feature_cache(encoder, folder)
    found = replace(
        split,
        train=_encoded(cache, split.train, views, workers, "training"),
        dev=split.dev and _encoded(cache, split.dev, 1, workers, "dev"),
        test=split.test and _encoded(cache, split.test, 1, workers, "test"),
    )
    if team.leads:
        team.wait()
    return found


def _encoded(cache: FeatureCache, part: PhotoPart, views: int, workers: int, name: str) -> PhotoPart:
    photos = cache.dataset(part.photos, views)
    # As many photos at a time as the encoder takes at once: the rest would only wait in memory.
    photos.fill(batch_frames=64, workers=workers, progress=counting(f"features of {name} photos"))
    return replace(part, photos=photos)


def captioned_rows(data: CaptionData, report: Report) -> list[Row]:
    """The rows with captions.

    Raises:
        LrcnError: they cannot be read, or train and test share a group.
    """
    source = Path(data.source).expanduser()
    if data.importer:
        options = {"lists": Path(data.lists).expanduser()} if data.lists else {}
        rows, sentences = import_data(data.importer, source, **options)
    else:
        rows, sentences = read_manifest(source), []
    for sentence in sentences:
        report(sentence)
    rows = [row for row in rows if row.captions]
    refuse_leakage(rows, data.allow_leakage)
    return rows


def _limited(rows: Sequence[Row], limit: int) -> list[Row]:
    return list(rows[:limit] if limit else rows)


def _part(
    rows: list[Row], clips_of: Callable[[list[Row], bool], ClipSource], tokenizer: Tokenizer
) -> PhotoPart | None:
    return PhotoPart(rows, clips_of(rows, False), encoded_rows(rows, tokenizer)[0]) if rows else None
