"""A photo is read upright, in RGB, whatever its file; what is none gives one sentence."""

import io
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lrcn.data import photo
from lrcn.data.photo import PhotoError, read_photo

RED, BLUE = (200, 30, 30), (30, 30, 200)


def halves(width=32, height=16):
    """Left half red, right half blue."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2], pixels[:, width // 2 :] = RED, BLUE
    return pixels


def about(pixel, colour, by=12):
    return np.abs(pixel.astype(int) - colour).max() <= by


def refusal(source):
    with pytest.raises(PhotoError) as raised:
        read_photo(source)
    sentence = str(raised.value)
    assert "\n" not in sentence and sentence.endswith(".")
    return sentence


@pytest.mark.parametrize("form", ["png", "jpg", "webp", "bmp", "tiff", "gif", "ppm"])
def test_formats_are_read_as_rgb(tmp_path, form):
    path = tmp_path / f"a.{form}"
    Image.fromarray(halves()).save(path)
    pixels = read_photo(path)
    assert pixels.shape == (16, 32, 3) and pixels.dtype == np.uint8
    assert about(pixels[8, 4], RED, 20) and about(pixels[8, 28], BLUE, 20)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_as_its_notes_say(tmp_path, orientation):
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    upright = Image.fromarray(halves())
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.jpg", exif=exif, quality=95)
    pixels = read_photo(tmp_path / "a.jpg")
    assert pixels.shape == (16, 32, 3)
    assert about(pixels[8, 4], RED, 20) and about(pixels[8, 28], BLUE, 20)


@pytest.mark.parametrize("mode", ["CMYK", "L", "1", "P", "YCbCr", "LA", "RGBA"])
def test_other_colour_models_become_rgb(tmp_path, mode):
    form = "png" if mode in ("L", "1", "P", "LA", "RGBA") else "jpg"
    Image.fromarray(halves()).convert("L" if mode == "LA" else "RGB").convert(mode).save(
        tmp_path / f"a.{form}"
    )
    pixels = read_photo(tmp_path / f"a.{form}")
    assert pixels.shape == (16, 32, 3)
    if mode in ("CMYK", "P", "YCbCr", "RGBA"):
        assert about(pixels[8, 4], RED, 30) and about(pixels[8, 28], BLUE, 30)


def test_sixteen_bits_become_eight(tmp_path):
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert read_photo(tmp_path / "a.png")[0, :, 0].tolist() == [0, 1, 128, 255]
    Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)).save(tmp_path / "a.tiff")
    assert read_photo(tmp_path / "a.tiff")[0, :, 1].tolist() == [0, 128, 255]


@pytest.mark.parametrize("form", ["rgba", "la", "palette"])
def test_what_is_transparent_lies_on_white(tmp_path, form):
    if form == "palette":
        image = Image.new("P", (2, 1))
        image.putpalette([10, 20, 30, 40, 50, 60])
        image.putdata([0, 1])
        image.save(tmp_path / "a.png", transparency=1)
        wanted = [[10, 20, 30], [255, 255, 255]]
    elif form == "la":
        Image.merge("LA", [Image.new("L", (2, 1), 0), Image.frombytes("L", (2, 1), b"\xff\x00")]).save(
            tmp_path / "a.png"
        )
        wanted = [[0, 0, 0], [255, 255, 255]]
    else:
        values = np.array([[[9, 8, 7, 255], [9, 8, 7, 0]]], np.uint8)
        Image.fromarray(values).save(tmp_path / "a.png")
        wanted = [[9, 8, 7], [255, 255, 255]]
    assert read_photo(tmp_path / "a.png")[0].tolist() == wanted


def test_of_an_animation_the_first_frame_counts(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, BLUE)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert about(read_photo(tmp_path / "a.gif")[0, 0], RED)


def test_pixels_come_back_as_they_are_and_others_are_refused():
    pixels = halves()
    assert read_photo(pixels) is pixels
    for wrong in (pixels.astype(np.float32), pixels[..., 0], pixels[..., :2], pixels[:0]):
        assert "uint8 (height, width, 3)" in refusal(wrong)


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "a.jpg").write_text("hello")
    (tmp_path / "empty.jpg").touch()
    # Pillow would start another program for it.
    (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EOF\n")
    assert "does not exist" in refusal(tmp_path / "none.jpg")
    for name in ("a.jpg", "empty.jpg", "a.eps"):
        assert name in refusal(tmp_path / name)
    assert "cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize("form", ["jpg", "png", "gif", "webp", "tiff"])
def test_a_file_cut_short_is_refused(tmp_path, form):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / f"whole.{form}")
    content = (tmp_path / f"whole.{form}").read_bytes()
    (tmp_path / f"cut.{form}").write_bytes(content[: len(content) // 2])
    assert f"cut.{form}" in refusal(tmp_path / f"cut.{form}")


@pytest.mark.parametrize("side", [9000, 60000])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, side):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    (tmp_path / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )
    assert "million" in refusal(tmp_path / "bomb.png")


def test_addresses_are_fetched_up_to_a_limit(monkeypatch):
    buffer = io.BytesIO()
    Image.fromarray(halves()).save(buffer, "png")
    monkeypatch.setattr(photo, "urlopen", lambda request, timeout: io.BytesIO(buffer.getvalue()))
    assert read_photo("https://example.org/a.png").tolist() == halves().tolist()
    monkeypatch.setattr(photo, "MAX_DOWNLOAD", 10)
    assert "larger than" in refusal("https://example.org/a.png")
    assert "http" in refusal("rtsp://example.org/a.png")

    def unreachable(request, timeout):
        raise OSError("no route")

    monkeypatch.setattr(photo, "urlopen", unreachable)
    assert "could not be fetched (no route)" in refusal("https://example.org/a.png")


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM"]),
)
def test_no_file_gives_anything_but_pixels_or_one_sentence(tmp_path_factory, content, start):
    path = tmp_path_factory.mktemp("any") / "a"
    path.write_bytes(start + content)
    with suppress(PhotoError):
        assert read_photo(path).ndim == 3
