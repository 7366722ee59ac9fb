"""Files from outside: every limit, every hostile one, and nothing left on the disk (which `asked` looks at)."""

import io
import struct
import time
import zlib
from dataclasses import replace

import numpy as np
import pytest
from made_server import LABELS, Labelled, encoded, multipart, picture
from made_video import make_video
from PIL import Image

from lrcn.serve.content import check_photo, check_video
from lrcn.serve.limits import Limits
from lrcn.serve.models import Served
from lrcn.serve.problem import RefusedError
from lrcn.serve.service import Service
from lrcn.serve.uploads import shown_name

pytest.importorskip("fastapi", reason="needs the extra serve: pip install 'lrcn[serve]'")


class Looking(Served):
    """Looks at what comes as the real one does, and reads no further."""

    def recognize(self, path, name, job):
        check_video(path, self.limits, job.check)
        return {
            "path": name,
            "label": LABELS[0],
            "probability": 1.0,
            "probabilities": {},
            "per_frame": [],
            "segments": [],
        }

    def caption(self, path, name, best, job):
        check_photo(path, self.limits)
        return {"path": name, "caption": f"{best}", "log_prob": 0.0, "others": []}


def looking(**limits):
    limits = Limits(**limits)
    names = {"recognize": "looking", "caption": "looking"}
    return Service(lambda: Looking(names, limits, recognizer=Labelled()), limits)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("films") / "film.mp4", 30).read_bytes()


def post(client, path, content, name="clip.mp4", **options):
    return client.post(path, files={"file": (name, content)}, **options)


def error(answer, status):
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert set(told) == {"error"} and "lrcn-serve-" not in told["error"] and "\n" not in told["error"]
    return told["error"]


def test_a_file_is_shown_by_its_own_name_and_nothing_of_it_is_a_path(asked, film):
    client = asked(looking())
    for given, shown in (
        ("clip.mp4", "clip.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\films\\a b.mp4", "a b.mp4"),
        ("<b>.mp4", "<b>.mp4"),
        ("/dev/zero", "zero"),
        ("ünï.mp4", "ünï.mp4"),
        ("a" * 500, "a" * 200),
    ):
        assert post(client, "/api/recognize", film, given).json()["path"] == shown
    assert shown_name("a\x1b[31m\nb") == "a\\x1b[31m b"
    assert shown_name("") == shown_name("folder/") == "upload"


def test_how_many_sentences_may_be_a_field_or_a_question(asked):
    client = asked(looking())
    photo = encoded(picture())
    assert post(client, "/api/caption", photo).json()["caption"] == "1"
    assert post(client, "/api/caption?n=3", photo).json()["caption"] == "3"
    assert post(client, "/api/caption", photo, data={"n": "10"}).json()["caption"] == "10"
    for wrong in ("0", "11", "x", "", "1e1", "-1"):
        assert "n is" in error(post(client, "/api/caption", photo, data={"n": wrong}), 422)
    assert "n is" in error(post(client, "/api/caption?n=0", photo), 422)
    assert "too long" in error(post(client, "/api/caption", photo, data={"n": "1" * 300}), 400)


def test_forms_that_are_none(asked, film):
    client = asked(looking())
    body, headers = multipart(film)
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n'
    for content, kind, status, sentence in (
        (film, "video/mp4", 415, "multipart/form-data"),
        (b"", "", 415, "multipart/form-data"),
        (b'{"file": 1}', "application/json", 415, "multipart/form-data"),
        (b"file=1", "application/x-www-form-urlencoded", 415, "multipart/form-data"),
        (body, "multipart/form-data", 415, "multipart/form-data"),
        (body, "multipart/form-data; boundary=other", 400, "damaged"),
        (body[:-5], headers["Content-Type"], 400, "ends in its middle"),
        (b"", headers["Content-Type"], 400, "ends in its middle"),
        (b"--b--\r\n", headers["Content-Type"], 400, ""),
        (part + part + b"--b--\r\n", headers["Content-Type"], 400, "more than one file"),
        (part.replace(b'"file"', b'"other"') + b"--b--\r\n", headers["Content-Type"], 400, "no file"),
        (
            part.replace(b'"file"', b'"o"') * 9 + b"--b--\r\n",
            headers["Content-Type"],
            400,
            "more than 8 parts",
        ),
        (b"--b\r\n" + b"X-Long: " + b"a" * 200_000, headers["Content-Type"], 400, "damaged"),
        (multipart(b"")[0], headers["Content-Type"], 400, "empty"),
    ):
        answer = client.post("/api/recognize", content=content, headers={"Content-Type": kind})
        assert sentence in error(answer, status), content[:80]


def test_what_is_too_large_is_refused_whatever_its_header_says(asked):
    client = asked(looking(upload_bytes=100_000))
    body, headers = multipart(bytes(150_000))
    assert "larger than" in error(client.post("/api/recognize", content=body, headers=headers), 413)

    def unstated():
        yield multipart(b"")[0][:-9]
        for _ in range(20):
            yield bytes(10_000)

    # Without a Content-Length; one that never ends is sent to the real server: see test_server.
    answer = client.post("/api/recognize", content=unstated(), headers=headers)
    assert "larger than" in error(answer, 413)
    assert answer.headers["connection"] == "close"
    huge = headers | {"Content-Length": str(1 << 40)}
    answer = client.post("/api/recognize", content=iter([body]), headers=huge)
    assert "larger than" in error(answer, 413)


def test_so_many_uploads_at_a_time(asked, film):
    service = looking(uploads=1)
    client = asked(service)
    service.uploads._now = 1
    answer = post(client, "/api/recognize", film)
    assert "Too many files" in error(answer, 503) and answer.headers["retry-after"] == "5"
    service.uploads._now = 0
    assert post(client, "/api/recognize", film).status_code == 200


# ---- what a file is ----


def checked(path, content, **limits):
    path.write_bytes(content)
    check_video(path, Limits(**limits), lambda: None)


def test_videos_of_usual_kinds_pass(tmp_path):
    for suffix, codec in (
        (".mp4", "libx264"),
        (".mkv", "libx264"),
        (".avi", "mpeg4"),
        (".webm", "libvpx-vp9"),
    ):
        made = make_video(tmp_path / f"a{suffix}", 12, codec)
        checked(tmp_path / "upload", made.read_bytes())


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"frames": 29}, "more than 29 frames"),
        ({"video_seconds": 1.0}, "longer than 1 seconds"),
        ({"video_pixels": 64 * 48 - 1}, "64x48 pixels"),
        ({"frame_rate": 24}, "more than 24 frames a second"),
    ],
)
def test_videos_have_limits(tmp_path, film, limits, sentence):
    checked(tmp_path / "upload", film, frames=30, video_seconds=1.3, video_pixels=64 * 48, frame_rate=25)
    with pytest.raises(RefusedError, match=sentence) as seen:
        checked(tmp_path / "upload", film, **limits)
    assert seen.value.status == 413


def test_a_header_that_lies_about_the_length_is_held_against_the_limit(tmp_path):
    """Readers go by what Matroska's header says, a double of milliseconds."""
    honest = make_video(tmp_path / "a.mkv", 12).read_bytes()
    checked(tmp_path / "upload", honest)
    at = honest.index(b"\x44\x89\x88") + 3
    lying = honest[:at] + struct.pack(">d", 1e12) + honest[at + 8 :]
    with pytest.raises(RefusedError, match="longer than"):
        checked(tmp_path / "upload", lying)


@pytest.mark.parametrize("kind", ["none", "cut", "text", "photo", "sound", "zeros"])
def test_what_is_no_video_is_told(tmp_path, film, kind):
    contents = {
        "none": b"",
        "cut": film[: len(film) // 8],
        "text": b"hello, I am a film\n" * 100,
        "photo": encoded(picture(), "JPEG"),
        "sound": _sound(tmp_path),
        "zeros": bytes(100_000),
    }
    with pytest.raises(RefusedError) as seen:
        checked(tmp_path / "upload", contents[kind])
    assert seen.value.status == 415


def _sound(folder):
    import av

    path = folder / "sound.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    return path.read_bytes()


def test_a_damaged_video_is_read_as_far_as_it_goes(tmp_path):
    for name, options in (("a.mkv", {}), ("a.mp4", {"movflags": "faststart"})):
        whole = make_video(tmp_path / name, 40, mux_options=options).read_bytes()
        checked(tmp_path / "upload", whole[: 2 * len(whole) // 3])


LISTS = {
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{target}'\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" '
    'bandwidth="1"><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "smil": "<smil><body><video src='{target}'/></body></smil>",
    "asx": "<asx version='3.0'><entry><ref href='{target}'/></entry></asx>",
    "rtsp": "RTSPtext\nrtsp://127.0.0.1/film\n",
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_that_names_other_files_is_refused_and_none_is_opened(tmp_path, film, kind, monkeypatch):
    """The file that is named is a real video right beside it, by name, by path and by address."""
    import os

    secret = tmp_path / "secret.mp4"
    secret.write_bytes(film)
    for target in ("secret.mp4", str(secret), f"file:{secret}", "http://127.0.0.1:9/secret.mp4"):
        old = 1_000_000_000
        os.utime(secret, (old, secret.stat().st_mtime))
        with pytest.raises(RefusedError) as seen:
            checked(tmp_path / "upload", LISTS[kind].format(target=target).encode())
        assert seen.value.status == 415
        assert secret.stat().st_atime == old


def test_such_a_list_would_be_followed_were_it_not_for_the_formats(tmp_path, film, monkeypatch):
    """What the test above guards against is real: FFmpeg itself reads on, into the other file."""
    import av

    (tmp_path / "secret.mp4").write_bytes(film)
    (tmp_path / "upload").write_text(LISTS["concat"].format(target="secret.mp4"))
    with av.open(f"file:{tmp_path / 'upload'}") as container:
        assert container.streams.video[0].codec_context.width == 64


# ---- photos ----


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes whose header promises so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_bombs_are_refused_by_their_headers(asked):
    client = asked(looking())
    for size in ((100_000, 100_000), (100_000, 501), (2**31 - 1, 2**31 - 1)):
        began = time.process_time()
        told = error(post(client, "/api/caption", bomb(*size), "photo.png"), 413)
        assert "pixels, more than the 50 million allowed" in told
        assert time.process_time() - began < 5


def test_what_is_no_photo_is_told(asked, tmp_path, film):
    client = asked(looking(pixels=300))
    gif = io.BytesIO()
    Image.new("P", (10, 10)).save(gif, "GIF")
    for content in (
        film,
        b"",
        b"x",
        b"%!PS-Adobe-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"\x89PNG\r\n\x1a\n" + bytes(9),
    ):
        if content:
            assert "no photo" in error(post(client, "/api/caption", content, "photo.jpg"), 415)
    assert post(client, "/api/caption", gif.getvalue(), "a.gif").status_code == 200
    assert "17x18 pixels" in error(
        post(client, "/api/caption", encoded(np.zeros((18, 17, 3), np.uint8)), "a.png"), 413
    )


def test_limits_are_above_nothing():
    from lrcn.errors import LrcnError

    for name in ("upload_bytes", "seconds"):
        with pytest.raises(LrcnError, match=f"limit {name} is 0"):
            replace(Limits(), **{name: 0})
