"""Live connections: what is said on them, and that each is answered as if it were alone."""

import math
import time

import numpy as np
import pytest
from made_server import LABELS, LIVE, Arithmetic, arithmetic, begun, closed, encoded, message, picture, told

from lrcn.serve.content import read_frame
from lrcn.serve.limits import Limits
from lrcn.serve.problem import RefusedError

pytest.importorskip("fastapi", reason="needs the extra serve: pip install 'lrcn[serve]'")
from starlette.websockets import WebSocketDisconnect


def test_all_that_have_a_frame_take_part_in_one_step(asked):
    network = Arithmetic()
    client = asked(arithmetic(network))
    sockets = [client.websocket_connect(LIVE).__enter__() for _ in range(6)]
    for socket in sockets:
        begun(socket)
    network.gate.clear()
    sockets[0].send_bytes(message(0.0))
    time.sleep(0.2)
    for number, socket in enumerate(sockets[1:]):
        socket.send_bytes(message(0.0, picture(40 * number)))
    time.sleep(0.3)
    network.gate.set()
    said = [told(socket)["probabilities"][1] for socket in sockets]
    assert network.largest == 5
    expected = [0.5 * level / 255 for level in (128, 0, 40, 80, 120, 160)]
    np.testing.assert_allclose(said, expected, atol=1e-5)
    for socket in sockets:
        socket.__exit__(None, None, None)


def test_the_newest_waits_and_every_frame_is_answered_or_counted(asked):
    network = Arithmetic(delay=0.02)
    service = arithmetic(network)
    client = asked(service)
    with client.websocket_connect(LIVE) as socket:
        begun(socket)
        for k in range(60):
            socket.send_bytes(message(k / 30))
        socket.send_text('{"finish": true}')
        said = []
        while "finished" not in (one := told(socket)):
            said.append(one)
    times = [one["time"] for one in said]
    assert times == sorted(times) and times[-1] == 59 / 30
    assert len(said) + one["dropped"] == 60
    assert one["dropped"] > 10
    assert [m["dropped"] for m in said] == sorted(m["dropped"] for m in said)
    assert service.metrics.frames.value(result="answered") == len(said)
    assert service.metrics.frames.value(result="dropped") == one["dropped"]


def test_a_reset_begins_a_new_sequence_with_the_next_frame(asked):
    client = asked(arithmetic())
    with client.websocket_connect(LIVE) as socket:
        begun(socket)
        fresh = []
        for _ in range(3):
            socket.send_bytes(message(5.0, picture(200)))
            fresh.append(told(socket)["probabilities"])
            socket.send_bytes(message(6.0, picture(200)))
            assert told(socket)["probabilities"] != fresh[-1]
            socket.send_text('{"reset": true}')
        assert fresh[0] == fresh[1] == fresh[2]
        socket.send_text('{"finish": true}')
        assert told(socket)["segments"] == []


def test_a_reset_in_a_hurry_mixes_nothing(asked):
    """Frames of one sequence are in work when the next begins with earlier times."""
    network = Arithmetic(delay=0.01)
    client = asked(arithmetic(network))
    with client.websocket_connect(LIVE) as socket:
        begun(socket)
        sent = 0
        for _ in range(8):
            for k in range(3):
                socket.send_bytes(message(10.0 + k, picture(255)))
                sent += 1
            socket.send_text('{"reset": true}')
        socket.send_bytes(message(1.0, picture(100)))
        socket.send_text('{"finish": true}')
        said = []
        while "finished" not in (one := told(socket)):
            said.append(one)
    assert not [m for m in said if "error" in m]
    assert said[-1]["time"] == 1.0
    assert said[-1]["probabilities"][1] == pytest.approx(0.5 * 100 / 255, abs=1e-5)
    assert len(said) + one["dropped"] == sent + 1


def test_frames_that_cannot_be_used_are_told_and_the_connection_goes_on(asked):
    service = arithmetic()
    client = asked(service)
    good = encoded(picture(), "JPEG")
    with client.websocket_connect(LIVE) as socket:
        begun(socket)
        socket.send_bytes(message(1.0))
        assert told(socket)["time"] == 1.0
        for data, sentence in (
            (message(1.0), "does not rise"),
            (message(0.5), "does not rise"),
            (message(math.nan), "no number of seconds"),
            (message(math.inf), "no number of seconds"),
            (message(2.0)[:-30], "cannot be decoded"),
            (message(2.0)[:8] + b"no picture at all", "cannot be decoded"),
            (message(2.0)[:8] + good[: len(good) // 2], "cannot be decoded"),
            (message(2.0)[:8] + b"GIF89a" + bytes(20), "cannot be decoded"),
            (b"", "8 bytes of time"),
            (b"1234567", "8 bytes of time"),
        ):
            socket.send_bytes(data)
            said = told(socket)
            assert sentence in said["error"], said
            assert said["time"] is None or math.isfinite(said["time"])
        for text in ("", "nonsense", "[]", "{}", '{"reset": false}', '{"finish": 1}', "[" * 900, "x" * 5000):
            socket.send_text(text)
            assert "A text is" in told(socket)["error"]
        socket.send_bytes(message(2.0))
        assert told(socket)["time"] == 2.0
    assert service.metrics.frames.value(result="refused") == 8


@pytest.mark.parametrize("kind", ["frames", "texts", "empty"])
def test_twenty_bad_ones_in_a_row_are_enough(asked, kind):
    client = asked(arithmetic())
    with client.websocket_connect(LIVE) as socket:
        begun(socket)
        for k in range(20):
            if kind == "frames":
                socket.send_bytes(message(float(k))[:8] + b"no picture")
            elif kind == "texts":
                socket.send_text("hello")
            else:
                socket.send_bytes(b"")
            assert "error" in told(socket)
        assert closed(socket) == 1008


def test_too_large_a_message_closes(asked):
    client = asked(arithmetic(limits=Limits(live_frame_bytes=1000)))
    with client.websocket_connect(LIVE) as socket:
        begun(socket)
        socket.send_bytes(bytes(2000))
        assert closed(socket) == 1009


def test_a_frame_of_too_many_pixels_is_refused_by_its_header():
    small = read_frame(encoded(picture(7)), 10_000)
    assert small.shape == (16, 16, 3) and small.dtype == np.uint8 and (small == 7).all()
    with pytest.raises(RefusedError, match="16x16 pixels, more than"):
        read_frame(encoded(picture()), 255)


def test_silence_closes(asked):
    client = asked(arithmetic(limits=Limits(idle_seconds=0.2)))
    with client.websocket_connect(LIVE) as socket:
        begun(socket)
        assert closed(socket) == 1001


def test_there_is_room_for_so_many_and_again_when_one_leaves(asked):
    service = arithmetic(limits=Limits(live_connections=2))
    client = asked(service)
    with client.websocket_connect(LIVE) as one:
        begun(one)
        with client.websocket_connect(LIVE) as two:
            begun(two)
            with client.websocket_connect(LIVE) as three:
                assert closed(three) == 1013
            assert service.metrics.refused.value(reason="full") == 1
            one.send_bytes(message(0.0))
            assert told(one)["time"] == 0.0
        until = time.monotonic() + 5
        while len(service.live) > 1 and time.monotonic() < until:
            time.sleep(0.01)
        with client.websocket_connect(LIVE) as four:
            begun(four)
            four.send_bytes(message(0.0, picture(0)))
            assert told(four)["probabilities"] == [1.0, 0.0]


def test_who_leaves_is_forgotten(asked):
    service = arithmetic()
    client = asked(service)
    for _ in range(5):
        with client.websocket_connect(LIVE) as socket:
            begun(socket)
            socket.send_bytes(message(0.0))
            told(socket)
    until = time.monotonic() + 5
    while (len(service.live) or len(service.live._pool)) and time.monotonic() < until:
        time.sleep(0.01)
    assert len(service.live) == len(service.live._pool) == 0


def test_a_network_that_fails_is_told_and_the_next_frame_begins_anew(asked):
    network = Arithmetic()
    client = asked(arithmetic(network))
    with client.websocket_connect(LIVE) as socket:
        begun(socket)
        network.fails = True
        socket.send_bytes(message(3.0))
        assert "failed" in told(socket)["error"]
        network.fails = False
        socket.send_bytes(message(1.0, picture(0)))
        assert told(socket)["probabilities"] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost", True),
        ("https://localhost", True),
        ("http://evil.example", False),
        ("http://localhost.evil.example", False),
        ("http://localhost:81", False),
        ("file://localhost", False),
        ("null", False),
        ("http://[", False),
    ],
)
def test_only_the_own_page_may_connect(asked, origin, allowed):
    client = asked(arithmetic())
    with client.websocket_connect(LIVE, headers={"Origin": origin}) as socket:
        if allowed:
            begun(socket)
        else:
            assert closed(socket) == 1008


def test_another_host_is_refused_before_anything_is_said(asked):
    client = asked(arithmetic())
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect(LIVE, headers={"Host": "rebound.example"}),
    ):
        pass


def test_without_a_recogniser_that_streams_the_reason_is_told(asked):
    from lrcn.serve.models import Served
    from lrcn.serve.service import Service

    for names, word in (({}, "--recognizer"), ({"recognize": "whole"}, "whole clips")):
        client = asked(Service(lambda names=names: Served(names, Limits())))
        with client.websocket_connect(LIVE) as socket:
            with pytest.raises(WebSocketDisconnect) as seen:
                socket.receive_text()
            assert seen.value.code == 1008 and word in seen.value.reason


def test_the_end_of_the_server_closes_with_a_reason(asked):
    service = arithmetic()
    client = asked(service)
    with client.websocket_connect(LIVE) as socket:
        begun(socket)
        client.portal.call(service.stop)
        assert closed(socket) == 1001


def test_the_models_that_stream_are_the_ones_told_of(asked):
    client = asked(arithmetic())
    info = client.get("/api/about").json()["models"]["recognize"]
    assert info == {"name": "arithmetic", "labels": list(LABELS), "rate": None, "live": True}
