"""The real server on a real socket: what a client of these tests cannot do in memory."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from made_server import Arithmetic, arithmetic, listening, message, multipart

from lrcn.errors import LrcnError
from lrcn.serve.limits import Limits
from lrcn.serve.server import address, listen, serve

pytest.importorskip("fastapi", reason="needs the extra serve: pip install 'lrcn[serve]'")
websockets = pytest.importorskip("websockets", reason="needs the extra serve: pip install 'lrcn[serve]'")

HEAD = (
    b"POST /api/recognize HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


@contextmanager
def serving(make):
    """The real server, with its models there."""
    with listening(make) as (host, port, service):
        while service.served is None:
            time.sleep(0.01)
        yield host, port, service


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def part() -> bytes:
    return multipart(b"")[0][: -len(b"\r\n--b--\r\n")]


def answer(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    connection.settimeout(20)
    found = b""
    while data := connection.recv(65536):
        found += data
    return found


def emptied(service) -> bool:
    until = time.monotonic() + 10
    while list(service.uploads.folder.iterdir()):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def test_an_upload_without_an_end_is_cut_off():
    with serving(lambda: arithmetic(limits=Limits(upload_bytes=200_000))) as (host, port, service):
        with socket.create_connection((host, port)) as connection:
            connection.sendall(HEAD + chunk(part()))
            connection.settimeout(10)
            sent = 0
            with pytest.raises(OSError):  # noqa: PT011 - reset, broken pipe or time out, as the system likes
                while sent < 1 << 32:
                    sent += connection.send(chunk(bytes(50_000)))
        assert emptied(service)
        assert service.metrics.upload_bytes.value() < 1_000_000
        assert service.metrics.requests.value(route="/api/recognize", status="413") == 1
        assert service.uploads._now == 0
    assert not service.uploads.folder.exists()


@pytest.mark.parametrize("limits", [{"stall_seconds": 0.3}, {"upload_seconds": 0.5}])
def test_an_upload_that_is_too_slow_is_given_up(limits):
    with serving(lambda: arithmetic(limits=Limits(**limits))) as (host, port, service):
        with socket.create_connection((host, port)) as connection:
            connection.sendall(HEAD + chunk(part()))
            if "upload_seconds" in limits:
                with suppress(OSError):
                    for _ in range(40):
                        connection.sendall(chunk(b"x"))
                        time.sleep(0.05)
            else:
                told = answer(connection)
                assert b" 408 " in told.splitlines()[0] and b"too slow" in told
        assert emptied(service)
        assert service.metrics.requests.value(route="/api/recognize", status="408") == 1


def test_who_leaves_in_the_middle_of_an_upload_leaves_nothing():
    with serving(arithmetic) as (host, port, service):
        with socket.create_connection((host, port)) as connection:
            connection.sendall(HEAD + chunk(part() + bytes(100_000)))
            until = time.monotonic() + 10
            while not list(service.uploads.folder.iterdir()) and time.monotonic() < until:
                time.sleep(0.01)
            assert list(service.uploads.folder.iterdir())
        assert emptied(service)
        assert service.uploads._now == 0


def test_work_that_nobody_waits_for_is_stopped():
    stopped = []

    def work(path, name, job):
        try:
            while True:
                job.check()
                time.sleep(0.01)
        finally:
            stopped.append(path.exists())

    def make():
        from lrcn.serve.models import Served
        from lrcn.serve.service import Service

        class Endless(Served):
            recognize = staticmethod(work)

        return Service(lambda: Endless({"recognize": "endless"}, Limits()))

    with serving(make) as (host, port, service):
        with socket.create_connection((host, port)) as connection:
            connection.sendall(HEAD + chunk(multipart(b"film")[0]) + chunk(b""))
            until = time.monotonic() + 10
            while not service.jobs._running and time.monotonic() < until:
                time.sleep(0.01)
            assert service.jobs._running
        until = time.monotonic() + 10
        while not stopped and time.monotonic() < until:
            time.sleep(0.01)
        assert stopped == [True]
        assert emptied(service)


async def _talk(host, port):
    """One connection to its end, and what the server says of one that is too large and one too many."""
    url = f"ws://{host}:{port}/api/live"
    async with websockets.connect(url) as one:
        labels = json.loads(await one.recv())["labels"]
        async with websockets.connect(url) as refused:
            with pytest.raises(websockets.ConnectionClosed) as full:
                await refused.recv()
        for k in range(5):
            await one.send(message(k / 10))
            assert json.loads(await one.recv())["time"] == k / 10
        await one.send('{"finish": true}')
        last = json.loads(await one.recv())
        with pytest.raises(websockets.ConnectionClosed) as ended:
            await one.recv()
    for _ in range(200):
        async with websockets.connect(url) as two:
            try:
                json.loads(await two.recv())
            except websockets.ConnectionClosed:
                # The place of the one before is about to be free.
                await asyncio.sleep(0.02)
                continue
            await two.send(bytes(5000))
            with pytest.raises(websockets.ConnectionClosed) as large:
                await two.recv()
            return labels, full.value.rcvd, last, ended.value.rcvd, large.value.rcvd
    return None


def test_a_live_connection_from_its_begin_to_its_end():
    limits = Limits(live_connections=1, live_frame_bytes=1000)
    with serving(lambda: arithmetic(limits=limits)) as (host, port, _):
        labels, full, last, ended, large = asyncio.run(_talk(host, port))
    assert labels == ["dark", "bright"]
    assert last["finished"] is True and len(last["segments"]) == 1
    assert (full.code, ended.code, large.code) == (1013, 1000, 1009)
    assert "try again later" in full.reason


def test_who_reads_no_answers_does_not_fill_the_memory():
    """Frames without end, and no answer is ever read: what waits stays bounded, and others are served."""
    network = Arithmetic()
    with serving(lambda: arithmetic(network, Limits(idle_seconds=1.0))) as (host, port, service):

        async def deaf():
            async with websockets.connect(
                f"ws://{host}:{port}/api/live", max_queue=1, close_timeout=0.1
            ) as one:
                for k in range(400):
                    try:
                        await asyncio.wait_for(one.send(message(k / 10)), 1)
                    except (TimeoutError, websockets.ConnectionClosed):
                        return
                    if k % 20 == 0:
                        assert all(seat.unsent <= 16 for seat in list(service.live._seats))

        asyncio.run(deaf())


PROGRAM = """
import sys
sys.path.insert(0, {data!r})
from made_server import Arithmetic, LABELS, Labelled, streamable
from lrcn.serve.limits import Limits
from lrcn.serve.models import Served
from lrcn.serve.server import serve
load = lambda: Served({{"recognize": "a"}}, Limits(), recognizer=Labelled(), streamable=streamable(Arithmetic()))
sys.exit(128 + serve(load, port=0, ready=lambda address: print(address, flush=True)))
"""


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(tmp_path, kind):
    """Live connections hear why, an upload in its middle is let go, and the disk is as it was."""
    data = str(Path(__file__).parents[1] / "data")
    command = [sys.executable, "-c", PROGRAM.format(data=data)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            port = int(process.stdout.readline().strip().rpartition(":")[2])
            reason = asyncio.run(_stopped(port, process, kind))
            assert process.wait(60) == 128 + kind
        finally:
            process.kill()
    assert reason.code == 1001 and "stopping" in reason.reason
    assert list(tmp_path.iterdir()) == []


async def _stopped(port, process, kind):
    for _ in range(500):
        async with websockets.connect(f"ws://127.0.0.1:{port}/api/live") as live:
            try:
                await live.recv()
            except websockets.ConnectionClosed:
                await asyncio.sleep(0.02)
                continue
            with socket.create_connection(("127.0.0.1", port)) as upload:
                if kind == signal.SIGTERM:
                    upload.sendall(HEAD + chunk(part()))
                process.send_signal(kind)
                with pytest.raises(websockets.ConnectionClosed) as ended:
                    await asyncio.wait_for(live.recv(), 10)
                return ended.value.rcvd
    return None


def test_models_that_cannot_be_loaded_end_it_with_their_reason():
    def load():
        raise LrcnError("There is no model x.")

    with pytest.raises(LrcnError, match=r"There is no model x\."):
        serve(load, port=0, ready=lambda _: None)


def test_a_port_that_is_taken_is_one_sentence():
    with listen("127.0.0.1", 0) as taken, pytest.raises(LrcnError, match="give another --host or --port"):
        listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(LrcnError, match="Cannot listen at"):
        listen("no.such.host.invalid", 0)


def test_addresses_are_as_browsers_take_them():
    assert address("127.0.0.1", 80) == "http://127.0.0.1:80"
    assert address("0.0.0.0", 80) == "http://127.0.0.1:80"
    assert address("::1", 80) == address("::", 80) == "http://[::1]:80"
