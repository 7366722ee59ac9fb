"""Finding photos: a folder of them as vectors of a joint embedding, searched by words or by another photo.

    index = lrcn.Index("photos/")
    for hit in index.search("two dogs in the snow", k=5):
        print(hit.score, hit.path)

The vectors are kept in `photos/.lrcn/index`, or in the user's cache folder where that cannot be written. A photo goes
through the network once: again only if its content changes, whatever becomes of its name and its time. A search looks
at every vector.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lrcn.data.media import list_media
from lrcn.data.photo import PhotoSource, read_photo
from lrcn.data.tokenizer import EOS, UNKNOWN_ID, split_words
from lrcn.data.vectors import Failed, Filed, Stamp, VectorStore, remove_vectors
from lrcn.errors import LrcnError
from lrcn.fingerprint import fingerprint
from lrcn.models.joint import nearest
from lrcn.models.joint_folder import LoadedJoint
from lrcn.models.zoo import load, shipped_folder

DEFAULT_MODEL = "search-flickr8k"

Progress = Callable[[int, int], None]
Report = Callable[[str, str], None]

_BATCH = 16
"""Photos in the network at once."""

_SAVED = 256
"""Photos after which what is done is written: so many are lost at most if the process is killed."""

_READERS = 4
"""Threads that read photos; each may hold one of the largest size."""


@dataclass(frozen=True)
class Hit:
    """A photo that was found.

    Attributes:
        path: the photo, below the folder as that was given.
        score: cosine of its vector and that of what was asked for; 1 is the same.
    """

    path: str
    score: float

    def to_json(self) -> dict[str, Any]:
        """The JSONL record; the score has 4 decimals."""
        return {"path": self.path, "score": round(self.score, 4)}


@dataclass
class Update:
    """What an update did.

    Attributes:
        added: photos that went through the network.
        moved: photos whose content was known, under another name or time.
        removed: photos that are gone.
        failed: photos that could not be read this time: path -> reason.
    """

    added: int = 0
    moved: int = 0
    removed: int = 0
    failed: dict[str, str] = field(default_factory=dict)


class Index:
    """The photos below a folder, ready to be searched.

    Args:
        folder: photos lie anywhere below it.
        model: a joint embedding: a name, a folder, or loaded already.
        device: "auto", "cpu", "cuda", ...; for a model that is not loaded yet.
        update: first looks for photos that are new, changed or gone; without, the index stays as it is.
        rebuild: makes the index anew, also where another model made it.
        progress: called with (photos done, photos to do) while they are read.
        report: called with a path and a sentence for each photo that cannot be read.

    Attributes:
        place: the folder of the index.
        updated: what was done to it when it was opened.

    Raises:
        LrcnError: there are no photos, no such model, or an index that another model made.
    """

    def __init__(
        self,
        folder: str | Path,
        model: str | Path | LoadedJoint = DEFAULT_MODEL,
        *,
        device: str | torch.device = "auto",
        update: bool = True,
        rebuild: bool = False,
        progress: Progress | None = None,
        report: Report | None = None,
    ) -> None:
        self.folder = str(folder)
        if not os.path.isdir(self.folder):
            raise LrcnError(f"{self.folder} is no folder: name one that holds photos.")
        if isinstance(model, LoadedJoint):
            self.loaded, self.model = model, _name(model)
        else:
            self.loaded, self.model = load(model, device, tasks=("embed",)), str(model)
        self.place = index_folder(self.folder)
        if rebuild:
            remove_vectors(self.place)
        size = self.loaded.model.config.size
        self._store = VectorStore(
            self.place, model_key(self.loaded), size, model=self.model, what=self.folder
        )
        self.updated = self.update(progress, report) if update or rebuild else Update()
        if not len(self):
            why = "none can be read" if self._store.failed or self.updated.failed else "none is indexed yet"
            raise LrcnError(
                f"There is no photo to search in {self.folder}, {why}: name a folder that holds some."
            )

    def __len__(self) -> int:
        return len(self._store)

    @property
    def failed(self) -> dict[str, str]:
        """Photos that are left out until they change, as they cannot be read: path -> reason."""
        return {self._path(name): why.reason for name, why in self._store.failed.items()}

    def search(self, words: str, k: int = 10) -> list[Hit]:
        """The k photos that words fit best, the best first.

        Raises:
            LrcnError: the vocabulary has none of the words.
        """
        return self._nearest(self.loaded.sentences([ids_of(words, self.loaded)]), k)

    def similar(self, photo: PhotoSource, k: int = 10) -> list[Hit]:
        """The k photos most like a photo, which itself is left out; the best first.

        Args:
            photo: a file, a URL, or pixels uint8 (H, W, 3).
            k: how many.

        Raises:
            LrcnError: the photo cannot be read.
        """
        vector = self.loaded.images(self.loaded.preprocess(read_photo(photo))[None])
        own = os.path.realpath(photo) if isinstance(photo, str | Path) else None
        return [hit for hit in self._nearest(vector, k + 1) if os.path.realpath(hit.path) != own][:k]

    def update(self, progress: Progress | None = None, report: Report | None = None) -> Update:
        """Reads photos that are new or changed, and forgets those that are gone.

        It may be stopped at any time: what is done is kept.

        Raises:
            LrcnError: there are no photos, or the index cannot be written.
        """
        update = Update()
        stamps = self._stamps()
        for name in [name for name in self._store.names() if name not in stamps]:
            self._store.forget(name)
            update.removed += 1
        changed = [(name, stamp) for name, stamp in stamps.items() if self._store.stamp(name) != stamp]
        filed: list[Filed] = []
        failed: dict[str, Failed] = {}
        done = 0
        try:
            for batch in _batches(_ahead(self._read, changed)):
                filed += self._filed(batch, update)
                failed |= self._failed(batch, update, report)
                if len(filed) + len(failed) >= _SAVED:
                    self._store.add(filed, failed)
                    filed, failed = [], {}
                done += len(batch)
                if progress is not None:
                    progress(done, len(changed))
        finally:
            self._store.add(filed, failed)
            self._store.tidy()
        return update

    def _filed(self, batch: list["_Read"], update: Update) -> list[Filed]:
        """The photos of a batch that could be read, with their vectors."""
        new = [read for read in batch if read.pixels is not None]
        vectors: list[Tensor] = []
        if new:
            encoded = self.loaded.images(
                torch.stack([read.pixels for read in new if read.pixels is not None])
            )
            if not encoded.isfinite().all():
                raise LrcnError(f"The model {self.model} gives vectors that are no numbers: train it again.")
            vectors = list(encoded)
        known = [(read, self._store.of_content(read.digest)) for read in batch if read.known]
        update.added += len(new)
        update.moved += len(known)
        return [
            Filed(read.name, read.stamp, read.digest, vector)
            for read, vector in [*zip(new, vectors, strict=True), *known]
            if vector is not None
        ]

    def _failed(self, batch: list["_Read"], update: Update, report: Report | None) -> dict[str, Failed]:
        """The photos of a batch that cannot be read until they change."""
        for read in batch:
            if read.reason:
                update.failed[self._path(read.name)] = read.reason
                if report is not None:
                    report(self._path(read.name), read.reason)
        # What could not even be opened is tried again: that may be mended without a change to the file.
        return {read.name: Failed(read.stamp, read.reason) for read in batch if read.reason and read.digest}

    def _read(self, name: str, stamp: Stamp) -> "_Read":
        path = self._path(name)
        digest = b""
        try:
            digest = _digest(path)
            if self._store.of_content(digest) is not None:
                return _Read(name, stamp, digest, known=True)
            return _Read(name, stamp, digest, pixels=self.loaded.preprocess(read_photo(path)))
        except FileNotFoundError:
            # Gone since the folder was looked through.
            return _Read(name, stamp)
        except OSError as error:
            return _Read(name, stamp, reason=f"{path} cannot be read ({error.strerror or error}).")
        except LrcnError as error:
            return _Read(name, stamp, digest, reason=str(error))

    def _stamps(self) -> dict[str, Stamp]:
        """Every photo below the folder, by its path there."""
        start = len(os.path.join(self.folder, ""))
        stamps = {}
        for path in list_media([self.folder], ("image",)):
            with suppress(OSError):
                found = os.stat(path)
                stamps[path[start:]] = Stamp(found.st_size, found.st_mtime_ns)
        return stamps

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def _nearest(self, vector: Tensor, k: int) -> list[Hit]:
        if k < 1:
            raise LrcnError(f"k is {k}: ask for 1 photo or more.")
        wanted = k
        while True:
            names = self._best(vector, wanted)
            gone = [name for _, name in names if not os.path.exists(self._path(name))]
            if not gone:
                return [Hit(self._path(name), score) for score, name in names[:k]]
            # Deleted since they were indexed; others take their places.
            for name in gone:
                self._store.forget(name)
            wanted *= 2

    def _best(self, vector: Tensor, k: int) -> list[tuple[float, str]]:
        """Scores and names of the k photos nearest to a vector (1, D)."""
        found: list[tuple[float, str]] = []
        for part in self._store.parts:
            rows = torch.from_numpy(part.live).nonzero().flatten()
            if not len(rows):
                continue
            vectors = part.vectors if len(rows) == len(part.names) else part.vectors[rows]
            scores, places = nearest(vector, vectors, k)
            names = (part.names[row] for row in rows[places[0]].tolist())
            found = sorted(
                [*found, *zip(scores[0].tolist(), names, strict=True)], key=lambda pair: (-pair[0], pair[1])
            )
        return found[:k]


def ids_of(words: str, loaded: LoadedJoint) -> list[int]:
    """What a sentence is to a model.

    Raises:
        LrcnError: the vocabulary has none of its words.
    """
    ids = loaded.tokenizer.encode(words)
    if not any(ids):
        raise LrcnError(f"{words!r} holds no word: say what to look for, such as 'a dog in the snow'.")
    if not set(ids) - {EOS, UNKNOWN_ID}:
        raise LrcnError(
            f"None of the words in {words!r} is among the {len(loaded.tokenizer.words) - 1} that the model knows: say "
            "it in plainer words."
        )
    return ids


def unknown_words(words: str, loaded: LoadedJoint) -> list[str]:
    """The words that a model's vocabulary lacks, which say nothing to a search."""
    known = set(loaded.tokenizer.words)
    return [word for word in split_words(words, loaded.tokenizer.rule) if word not in known]


class _Read(NamedTuple):
    """What became of reading a photo.

    Attributes:
        name: its path below the folder.
        stamp: as it was found.
        digest: of its content; empty where it could not be opened.
        pixels: as the network reads them.
        known: whether a vector of that content is there already.
        reason: why it cannot be read.
    """

    name: str
    stamp: Stamp
    digest: bytes = b""
    pixels: Tensor | None = None
    known: bool = False
    reason: str = ""


def index_folder(folder: str | Path) -> Path:
    """Where the index of a folder is kept: inside it, or in the user's cache folder where that cannot be written."""
    inside = Path(folder) / ".lrcn" / "index"
    there = next((place for place in (inside, inside.parent) if place.exists()), Path(folder))
    if there.is_dir() and os.access(there, os.W_OK):
        return inside
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "lrcn" / "index" / fingerprint(os.path.realpath(folder))


def model_key(loaded: LoadedJoint) -> str:
    """A hash of all that a photo's vector follows from, and a sentence's."""
    weights = hashlib.sha256()
    for name, value in sorted(loaded.model.state_dict().items()):
        weights.update(name.encode())
        weights.update(value.cpu().contiguous().numpy().data)
    encoder, preprocess = loaded.model.config.encoder, loaded.preprocess
    return fingerprint(
        weights.hexdigest(),
        [encoder.name, encoder.stage, encoder.pool, encoder.grid],
        [preprocess.size, preprocess.resize, preprocess.fit],
        loaded.tokenizer.words,
    )


def _name(loaded: LoadedJoint) -> str:
    if loaded.folder is None:
        return "one in memory"
    return loaded.folder.name if loaded.folder.parent == shipped_folder() else str(loaded.folder)


def _digest(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()


def _ahead(read: Callable[[str, Stamp], _Read], changed: Iterable[tuple[str, Stamp]]) -> Iterator[_Read]:
    """What `read` makes of each, in order, some time before it is asked for."""
    pool = ThreadPoolExecutor(min(_READERS, os.cpu_count() or 1))
    waiting: deque[Future[_Read]] = deque()
    try:
        for name, stamp in changed:
            waiting.append(pool.submit(read, name, stamp))
            if len(waiting) > 2 * _BATCH:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _batches(reads: Iterator[_Read]) -> Iterator[list[_Read]]:
    while batch := list(islice(reads, _BATCH)):
        yield batch
