"""One photo, whatever its file makes of it: upright RGB pixels, or one sentence that says why there are none."""

import io
import struct
import warnings
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lrcn.data.media import is_url
from lrcn.data.picture import MAX_PIXELS, Picture
from lrcn.errors import LrcnError

PhotoSource = str | Path | Picture
"""A file, a URL, or pixels uint8 (H,W,3), RGB."""

MAX_DOWNLOAD = 64 << 20
"""Bytes; a URL that gives more is refused."""

# Other formats that Pillow knows are read by programs from elsewhere, or hold no photos.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO", "TGA")

_PATIENCE = 20.0


class PhotoError(LrcnError):
    """A photo cannot be read."""


def read_photo(source: PhotoSource) -> Picture:
    """Pixels uint8 (H,W,3), RGB, of a photo as people see it.

    It is turned as its EXIF data say; 16 bits become 8, CMYK and palettes become RGB, what is transparent lies on
    white, and of an animation the first frame counts.

    Args:
        source: a file, a URL, or pixels, which come back as they are.

    Raises:
        PhotoError: it is missing, damaged, no picture, or larger than `MAX_PIXELS`.
    """
    if isinstance(source, np.ndarray):
        return _checked(source)
    name = str(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Pillow warns of sizes that are refused below.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(_fetched(name)) if is_url(name) else name, formats=_known()) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise _too_large(name, f"{image.width}x{image.height}")
                return np.array(_rgb(_upright(image)))
    except PhotoError:
        raise
    except FileNotFoundError:
        raise PhotoError(f"{name} does not exist.") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise _too_large(name, "far too many") from None
    except UnidentifiedImageError:
        raise PhotoError(f"{name} is no picture of a known format; convert it to JPEG or PNG.") from None
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        IndexError,
        TypeError,
        OverflowError,
        struct.error,
    ) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise PhotoError(f"{name} cannot be read as a picture ({reason}); replace the file.") from error


def _known() -> list[str]:
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _too_large(name: str, size: str) -> PhotoError:
    return PhotoError(
        f"{name} has {size} pixels, more than {MAX_PIXELS / 1e6:.0f} million; scale it down first."
    )


def _checked(pixels: Any) -> Picture:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise PhotoError(
            f"A photo as an array is uint8 (height, width, 3), RGB; this one is {pixels.dtype} {pixels.shape}."
        )
    picture: Picture = pixels
    return picture


def _upright(image: Image.Image) -> Image.Image:
    try:
        turned = ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001  damaged notes on a photo do not damage the photo, and Pillow passes on anything
        return image
    return turned or image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _eight_bits(image).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey values of 16 bits, or numbers of any range, as 8 bits."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0, neginf=0)
    if image.mode.startswith("F") and values.max(initial=0) <= 1:
        most = 1.0
    else:
        most = 65535.0 if image.mode.startswith("I;16") or values.max(initial=0) > 255 else 255.0
    return Image.fromarray((values.clip(0, most) * (255 / most)).round().astype(np.uint8))


def _fetched(url: str) -> bytes:
    if not url.lower().startswith(("http://", "https://")):
        raise PhotoError(f"{url} is no address of a photo: give http:// or https://.")
    try:
        with urlopen(Request(url, headers={"User-Agent": "lrcn"}), timeout=_PATIENCE) as answer:  # noqa: S310
            content: bytes = answer.read(MAX_DOWNLOAD + 1)
    except (URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise PhotoError(
            f"{url} could not be fetched ({reason}); check the address and the network."
        ) from error
    if len(content) > MAX_DOWNLOAD:
        raise PhotoError(f"{url} is larger than {MAX_DOWNLOAD >> 20} MiB; scale the photo down first.")
    return content
