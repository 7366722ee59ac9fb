"""What a search found, as one HTML page: small pictures, names and scores, in one file that fetches nothing."""

import base64
import html
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import cv2

from lrcn.data.photo import PhotoError, PhotoSource, read_photo
from lrcn.data.picture import scale
from lrcn.report import Section, page
from lrcn.search import Hit
from lrcn.text import one_line

_SIDE = 360
_QUALITY = 78


def search_page(
    title: str, lead: str, hits: Sequence[Hit], place: str | Path, photo: PhotoSource | None = None
) -> str:
    """The page as HTML.

    Args:
        title: what was asked for.
        lead: a sentence below it.
        hits: what was found, the best first.
        place: where the page will be: its links to the photos are written from there.
        photo: what was asked for, where it was a photo.
    """
    shown = (
        ""
        if photo is None
        else f'<div class="photos asked">{picture(photo, "The photo that was asked about")}</div>'
    )
    items = "".join(
        f"<li>{_figure(rank, hit, Path(place).parent)}</li>" for rank, hit in enumerate(hits, start=1)
    )
    found = Section("found", "Photos", f'<ol class="photos">{items}</ol>' if hits else "<p>None.</p>")
    footer = "<p>The number is the cosine of the angle between what was asked for and the photo: 1 is the same.</p>"
    return page(one_line(title), f'<p class="lead">{html.escape(one_line(lead))}</p>{shown}', [found], footer)


def thumbnail(photo: PhotoSource) -> tuple[bytes, int, int]:
    """A small JPEG of a photo, its width and its height.

    Raises:
        PhotoError: the photo cannot be read.
    """
    pixels = read_photo(photo)
    height, width = pixels.shape[:2]
    shrink = min(1.0, _SIDE / max(height, width))
    width, height = max(1, round(width * shrink)), max(1, round(height * shrink))
    small = cv2.cvtColor(scale(pixels, width, height), cv2.COLOR_RGB2BGR)
    jpeg: bytes = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    return jpeg, width, height


def _figure(rank: int, hit: Hit, folder: Path) -> str:
    path, name = (html.escape(one_line(text)) for text in (hit.path, os.path.basename(hit.path)))
    # As bytes: a file's name need not be text.
    link = quote(os.fsencode(os.path.relpath(hit.path, folder)))
    shown = picture(hit.path, f"Photo {rank}: {name}")
    return (
        f'<figure><a href="{link}">{shown}</a>'
        f'<figcaption><b>{rank}</b> <span class="name" title="{path}">{name}</span> '
        f'<span class="quiet">{hit.score:.2f}</span></figcaption></figure>'
    )


def picture(photo: PhotoSource, words: str) -> str:
    """A small photo as HTML, or why it cannot be read; `words`, HTML too, say what it shows."""
    try:
        jpeg, width, height = thumbnail(photo)
    except PhotoError as error:
        return f'<span class="quiet">{html.escape(one_line(str(error)))}</span>'
    data = base64.b64encode(jpeg).decode()
    return (
        f'<img src="data:image/jpeg;base64,{data}" width="{width}" height="{height}" alt="{words}" '
        'decoding="async">'
    )
