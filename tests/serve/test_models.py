"""Small real models behind the addresses: the same as they say without a server."""

import base64
import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from made_photos import draw
from made_server import (
    LIVE,
    arithmetic,
    begun,
    captioner,
    closed,
    encoded,
    everything,
    finder,
    message,
    recognizer,
    told,
)
from made_video import make_video
from PIL import Image

from lrcn.predict import recognize
from lrcn.predict_captions import caption
from lrcn.search import Index
from lrcn.serve.limits import Limits
from lrcn.serve.models import Wanted, load_served, shipped_describer, task_of
from lrcn.stream import Stream

pytest.importorskip("fastapi", reason="needs the extra serve: pip install 'lrcn[serve]'")


def pictures(count, seed=0, side=32):
    return np.random.default_rng(seed).integers(0, 255, (count, side, side, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("films") / "film.mp4", 30)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    for number, name in enumerate(("a.png", "b.jpg", "more/c é.png")):
        photo = draw(("red", "circle"), ("blue", "square"), 64, seed=number)
        Image.fromarray(photo).save(folder / name)
    Image.new("RGB", (2000, 500), "green").save(folder / "wide.png")
    (folder / "broken.jpg").write_bytes(b"no photo")
    return folder


@pytest.fixture
def client(asked, photos):
    return asked(everything(Limits(), photos))


def send(client, path, content, name="film.mp4", **options):
    return client.post(path, files={"file": (name, content)}, **options)


def test_a_video_is_recognised_as_without_a_server(client, film):
    answer = send(client, "/api/recognize", film.read_bytes())
    assert answer.status_code == 200
    assert answer.json() == recognize(recognizer(), str(film)).to_json() | {"path": "film.mp4"}


def test_two_at_once_are_each_answered_as_alone(client, film, tmp_path):
    other = make_video(tmp_path / "b.mp4", 20, pictures=[p[:48, :64] for p in pictures(20, 5, 64)])
    films = [film, other] * 2
    expected = [recognize(recognizer(), str(path)).to_json()["probabilities"] for path in films]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda path: send(client, "/api/recognize", path.read_bytes()), films))
    assert [one.json()["probabilities"] for one in answers] == expected


def test_a_video_that_ends_early_says_so(client, tmp_path):
    whole = make_video(tmp_path / "a.mp4", 40, mux_options={"movflags": "faststart"}).read_bytes()
    answer = send(client, "/api/recognize", whole[: 2 * len(whole) // 3], "cut.mp4").json()
    assert answer["warning"].startswith("cut.mp4 is damaged or cut off")


def test_a_photo_is_captioned_as_without_a_server(client):
    photo = draw(("red", "circle"), ("blue", "square"))
    expected = caption(captioner(), photo, best=2).to_json()
    answer = send(client, "/api/caption?n=2", encoded(photo), "a.png").json()
    assert answer == expected | {"path": "a.png"} and len(answer["others"]) == 1
    alone = send(client, "/api/caption", encoded(photo), "a.png").json()
    assert alone["others"] == [] and alone["caption"] == expected["caption"]
    # More than its usual beam of 2 keeps more.
    assert len(send(client, "/api/caption", encoded(photo), data={"n": "5"}).json()["others"]) == 4


def test_a_video_is_described_with_a_picture_of_each_shot(client, film):
    answer = send(client, "/api/describe", film.read_bytes())
    assert answer.status_code == 200, answer.text
    (shot,) = answer.json()["shots"]
    assert shot["sentence"] and shot["start"] == 0 and shot["end"] == pytest.approx(1.2, abs=0.1)
    data = base64.b64decode(shot["thumbnail"].removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "JPEG" and picture.size == (240, 180)


def test_photos_are_found_by_words_and_shown_by_number(client, photos):
    index = Index(photos, finder())
    answer = client.get("/api/search", params={"words": "a red zebra", "n": 3}).json()
    hits = index.search("a red zebra", 3)
    assert [one["name"] for one in answer["results"]] == [hit.path.removeprefix(f"{photos}/") for hit in hits]
    assert [one["score"] for one in answer["results"]] == [round(hit.score, 4) for hit in hits]
    assert answer["photos"] == 4 and answer["unknown"] == ["zebra"]
    about = client.get("/api/about").json()["models"]
    assert about["search"] == {"name": "tiny-search", "photos": 4}
    everything_found = client.get("/api/search?words=a+red").json()["results"]
    for one in everything_found:
        small, large = client.get(one["thumbnail"]), client.get(one["photo"])
        assert small.headers["content-type"] == large.headers["content-type"] == "image/jpeg"
        with Image.open(io.BytesIO(small.content)) as found, Image.open(io.BytesIO(large.content)) as whole:
            if one["name"] == "wide.png":
                assert (found.size, whole.size) == ((320, 80), (1600, 400))
            else:
                assert found.size == whole.size == (64, 64)
    assert len(everything_found) == 4


def test_numbers_that_are_no_photos(client):
    for number, status in ((99, 404), (-1, 404), ("a", 422), ("../a.png", 404), ("1e9", 422), (2, 404)):
        answer = client.get(f"/api/photos/{number}")
        # Number 2 is the broken one.
        assert answer.status_code == status, number
        assert "error" in answer.json() and "/" not in answer.json()["error"].replace("/openapi.json", "")


def test_photos_like_another_are_found(client, photos):
    answer = send(client, "/api/search?n=2", (photos / "a.png").read_bytes(), "mine.png").json()
    assert answer["results"][0]["name"] == "a.png" and answer["results"][0]["score"] == pytest.approx(
        1, abs=1e-3
    )
    assert len(answer["results"]) == 2 and answer["unknown"] == []
    assert send(client, "/api/search", b"no photo", "x.png").status_code == 415


def test_words_that_say_nothing_are_told(client):
    answer = client.get("/api/search?words=zebra")
    assert answer.status_code == 422 and "plainer words" in answer.json()["error"]


def test_frames_are_answered_as_a_stream_answers_them(asked):
    service = everything(Limits())
    client = asked(service)
    alone = Stream(service.served.streamable)
    labels = list(alone.labels)
    with client.websocket_connect(LIVE) as socket:
        assert begun(socket) == {"ready": True, "labels": labels, "rate": 10.0}
        segments = []
        for k, frame in enumerate(pictures(12, side=40)):
            socket.send_bytes(message(k / 10, frame))
            said, expected = told(socket), alone.push(frame, k / 10)
            assert said["time"] == k / 10
            assert said["label"] == expected.label
            assert said["probability"] == pytest.approx(expected.probability, abs=1e-5)
            np.testing.assert_allclose(said["probabilities"], expected.probabilities, atol=1e-5)
            going = expected.open
            assert said["open"] == (
                None if going is None else {"start": round(going.start, 3), "label": going.label}
            )
            segments += said["closed"]
            assert said["dropped"] == 0 and said["milliseconds"] > 0
        socket.send_text('{"finish": true}')
        last = told(socket)
        expected = [
            *segments,
            *(
                {"start": round(s.start, 3), "end": round(s.end, 3), "label": s.label, "score": s.score}
                for s in alone.finish().closed
            ),
        ]
        assert last["finished"] is True and last["dropped"] == 0
        assert [(s["start"], s["end"], s["label"]) for s in last["segments"]] == [
            (s["start"], s["end"], s["label"]) for s in expected
        ]
        assert closed(socket) == 1000


def test_two_live_at_once_are_each_answered_as_alone(asked):
    service = everything(Limits())
    client = asked(service)
    films = [pictures(10, seed, side=24 + 8 * seed) for seed in range(2)]
    with client.websocket_connect(LIVE) as one, client.websocket_connect(LIVE) as two:
        alone = [Stream(service.served.streamable) for _ in films]
        for socket in (one, two):
            begun(socket)
        for k in range(10):
            for socket, film, clock in zip((one, two), films, (0.1, 0.25), strict=True):
                socket.send_bytes(message(k * clock, film[k]))
            for socket, film, clock, stream in zip((one, two), films, (0.1, 0.25), alone, strict=True):
                expected = stream.push(film[k], k * clock)
                np.testing.assert_allclose(told(socket)["probabilities"], expected.probabilities, atol=1e-5)


def test_a_network_of_arithmetic_is_no_recogniser(asked):
    with asked(arithmetic()).websocket_connect(LIVE) as socket:
        assert begun(socket)["labels"] == ["dark", "bright"]


def test_what_is_wanted_is_looked_for_first(tmp_path):
    from lrcn.errors import LrcnError

    for wanted, sentence in (
        (
            Wanted(recognizer="captions-flickr8k"),
            "--recognizer captions-flickr8k is a model for the task caption",
        ),
        (Wanted(captioner="camera-moves"), "--caption camera-moves is a model for the task recognize"),
        (Wanted(recognizer="none-such"), "There is no model"),
        (Wanted(index=str(tmp_path / "x")), "is no folder"),
    ):
        with pytest.raises(LrcnError, match=sentence):
            wanted.check()
    Wanted().check()
    assert task_of(tmp_path) is None
    assert shipped_describer() is None or "describe" in shipped_describer()


def test_nothing_wanted_is_nothing_loaded():
    served = load_served(Wanted(None, None, None, None), Limits(), print)
    assert served.names == {} and served.streamable is None and served.rate is None
