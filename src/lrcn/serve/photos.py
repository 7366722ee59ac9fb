"""A folder of photos as strangers see it: numbers, never paths."""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lrcn.data.picture import Picture
from lrcn.serve.problem import RefusedError

if TYPE_CHECKING:
    from lrcn.models.joint_folder import LoadedJoint
    from lrcn.search import Hit, Index

SMALL, LARGE = 320, 1600
"""Pixels of the longer side of a photo that is shown: among others, and alone."""

_AT_ONCE = 2
"""Photos that are read at once; each may take a few hundred MB."""

_KEPT = 512
"""Small pictures that are kept, some 15 KB each."""


class Photos:
    """Photos and their index; a photo's number is its place in `names`.

    Args:
        index: is searched by one thread at a time.
        paths: of all photos below the folder.
    """

    def __init__(self, index: Index, paths: Sequence[str]) -> None:
        self._index, self._paths = index, list(paths)
        self._numbers = {path: number for number, path in enumerate(self._paths)}
        self._lock = threading.Lock()
        self._reading = threading.Semaphore(_AT_ONCE)
        self._small: OrderedDict[int, bytes] = OrderedDict()

    @classmethod
    def of(cls, folder: str, model: LoadedJoint, say: Callable[[str], None]) -> Photos:
        """The photos of a folder, which is looked through once, now.

        Raises:
            LrcnError: there are none.
        """
        from lrcn.data.media import list_media
        from lrcn.search import Index

        index = Index(folder, model, report=lambda _, reason: say(reason))
        return cls(index, list_media([folder], ("image",)))

    def __len__(self) -> int:
        return len(self._index)

    def search(self, words: str, n: int) -> dict[str, Any]:
        """The record of a search by words."""
        from lrcn.search import unknown_words

        with self._lock:
            hits = self._index.search(words, n)
        return self._record(hits, unknown_words(words, self._index.loaded))

    def similar(self, pixels: Picture, n: int) -> dict[str, Any]:
        """The record of a search by a photo, (H,W,3)."""
        with self._lock:
            return self._record(self._index.similar(pixels, n), [])

    def jpeg(self, number: int, side: int) -> bytes:
        """A photo, at most so many pixels wide and high.

        Raises:
            RefusedError: there is none of this number.
        """
        if not 0 <= number < len(self._paths):
            raise RefusedError(
                404, f"There is no photo {number}: the numbers go from 0 to {len(self._paths) - 1}."
            )
        if side == SMALL and (kept := self._small.get(number)) is not None:
            return kept
        with self._reading:
            made = self._made(number, side)
        if side == SMALL:
            self._small[number] = made
            while len(self._small) > _KEPT:
                self._small.popitem(last=False)
        return made

    def _made(self, number: int, side: int) -> bytes:
        from lrcn.data.photo import PhotoError, read_photo
        from lrcn.data.picture import scale

        try:
            pixels = read_photo(self._paths[number])
        except PhotoError as error:
            raise RefusedError(404, f"Photo {number} is gone or damaged: start lrcn serve again.") from error
        height, width = pixels.shape[:2]
        ratio = min(1.0, side / max(height, width))
        return as_jpeg(scale(pixels, max(1, round(width * ratio)), max(1, round(height * ratio))))

    def _record(self, hits: Sequence[Hit], unknown: list[str]) -> dict[str, Any]:
        found = [(hit, self._numbers[hit.path]) for hit in hits if hit.path in self._numbers]
        return {
            "results": [
                {
                    "name": os.path.relpath(hit.path, self._index.folder).replace(os.sep, "/"),
                    "score": round(hit.score, 4),
                    "thumbnail": f"/api/photos/{number}/thumbnail",
                    "photo": f"/api/photos/{number}",
                }
                for hit, number in found
            ],
            "photos": len(self._index),
            "unknown": unknown,
        }


def as_jpeg(picture: Picture) -> bytes:
    """A picture (H,W,3) as JPEG; what its file knew of time and place is not in it."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=85)
    return out.getvalue()
