"""What a server bears: many live connections for long, then more than it takes, then whether it is as before."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np

from lrcn.bench.measuring import Rows
from lrcn.errors import LrcnError

_FRAMES = 64
"""Different pictures; each connection goes through them in a way of its own."""

_ALONE, _ALONE_FPS = 8.0, 5.0
"""Seconds and frames a second that one connection is measured by itself, before and after."""

_STEPS = 150
"""Answers of a connection that are compared with those of a stream of its own."""

_PATIENCE = 120.0
"""Seconds to wait for what should come at once."""


def serve(
    model: str = "camera-moves",
    connections: int = 50,
    seconds: float = 600.0,
    fps: float = 0.0,
    width: int = 320,
    height: int = 240,
    overload: float = 2.0,
    overload_fps: float = 40.0,
    overload_seconds: float = 30.0,
    checked: int = 3,
    clip: str = "",
) -> Rows:
    """A server of its own on this machine, and clients in this process, which share the cores with it.

    Every connection sends frames of its own at its own times. Each frame has to be answered, in order, or be counted
    as dropped by the server; some connections' answers are compared with those of a stream that saw the same frames.

    Args:
        model: name or folder of a recogniser.
        connections: live connections at a time, and the server's limit.
        seconds: how long they last.
        fps: frames a second of each; 0 finds out what the machine answers at most, and takes half of it.
        width: of the JPEGs that are sent, pixels.
        height: of them.
        overload: then so many times as many connections as the limit.
        overload_fps: frames a second of each of these, which should be more than the machine takes.
        overload_seconds: how long that lasts.
        checked: connections whose answers are compared.
        clip: where the frames come from; empty takes the sample film that ships.
    """
    try:
        import websockets  # noqa: F401
    except ImportError as error:
        raise LrcnError("bench serve needs the server: pip install 'lrcn[serve]'.") from error
    pictures = _pictures(clip, width, height)
    with _server(model, connections) as (address, process):
        many = round(overload * connections)
        load = _Load(
            address, process, pictures, connections, fps, seconds, many, overload_fps, overload_seconds
        )
        rows, kept = asyncio.run(load.run(checked))
    return [*rows, *_compared(model, kept, pictures)]


@contextmanager
def _server(model: str, connections: int) -> Iterator[tuple[str, int]]:
    """The address and the process of a server."""
    command = [
        sys.executable,
        "-m",
        "lrcn",
        "serve",
        "--port",
        "0",
        "--recognizer",
        model,
        "--caption",
        "none",
    ]
    command += ["--describe", "none", "--live-connections", str(connections), "--connections", "100000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - this very program
        try:
            assert process.stdout is not None
            words = process.stdout.readline().split()
            if len(words) < 3:
                raise LrcnError("The server did not start: run lrcn serve to see why.")
            yield words[2], process.pid
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def _pictures(clip: str, width: int, height: int) -> list[bytes]:
    """Frames of a film as JPEGs."""
    from PIL import Image

    from lrcn.data.picture import scale
    from lrcn.data.video import open_video
    from lrcn.demo_film import shipped

    found = []
    with open_video(clip or str(shipped("big-buck-bunny.mp4"))) as reader:
        for frame, _ in islice(reader.frames(), _FRAMES):
            out = io.BytesIO()
            Image.fromarray(scale(frame, width, height)).save(out, "JPEG", quality=85)
            found.append(out.getvalue())
    return found


def _place(number: int, k: int, count: int) -> int:
    """Which picture a connection's k-th frame is: from where it begins, by strides of its own."""
    return (7 * number + (1 + number % 5) * k) % count


@dataclass
class _Talk:
    """What was said on one connection.

    Attributes:
        number: of the connection.
        sent: frames.
        answered: frame -> probabilities, of the first `keep` answers.
        waits: milliseconds from sending to the answer.
        errors: frames that were refused.
        dropped: frames that the server counted as dropped.
        out_of_order: answers to a frame that was not sent, or to one before the last answer.
        refused: the code with which the server closed it before its time.
        finished: whether it was ended in good order.
        keep: answers to be compared later.
        count: answers.
        fps: frames a second.
    """

    number: int
    sent: int = 0
    answered: dict[int, list[float]] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)
    errors: int = 0
    dropped: int = 0
    out_of_order: int = 0
    refused: int | None = None
    finished: bool = False
    keep: int = 0
    count: int = 0
    fps: float = 0.0

    @property
    def unaccounted(self) -> int:
        """Frames that were neither answered nor counted as dropped or refused."""
        return self.sent - self.count - self.errors - self.dropped


class _Load:
    """The clients.

    Args:
        address: of the server.
        process: its number.
        pictures: JPEGs.
        connections: how many at a time.
        fps: frames a second of each, or 0.
        seconds: how long.
        many: connections that are too many.
        overload_fps: frames a second of each of them.
        overload_seconds: how long that is.
    """

    def __init__(
        self,
        address: str,
        process: int,
        pictures: Sequence[bytes],
        connections: int,
        fps: float,
        seconds: float,
        many: int,
        overload_fps: float,
        overload_seconds: float,
    ) -> None:
        self._address, self._process, self._pictures = address, process, pictures
        self._connections, self._fps, self._seconds = connections, fps, seconds
        self._many, self._overload_fps, self._overload_seconds = many, overload_fps, overload_seconds

    async def run(self, checked: int) -> tuple[Rows, list[_Talk]]:
        """All of it: the rows, and what was said on some connections."""
        await self._ready()
        fps = self._fps or await self._half_of_the_most()
        alone = await self._all(1, _ALONE_FPS, _ALONE)
        memory: list[tuple[float, float]] = []
        watching = asyncio.create_task(self._watch(memory))
        talks = await self._all(self._connections, fps, self._seconds, keep=checked)
        watching.cancel()
        over = await self._all(self._many, self._overload_fps, self._overload_seconds)
        # Places of those that left are given back as they go.
        await asyncio.sleep(1.0)
        again = await self._all(1, _ALONE_FPS, _ALONE)
        rows = [
            _row("one connection, before", alone, _ALONE_FPS, _ALONE),
            _row(f"{self._connections} connections", talks, fps, self._seconds),
            *_by_quarters(memory),
            _row(f"overload, {len(over)} connections", over, self._overload_fps, self._overload_seconds),
            _row("one connection, after the overload", again, _ALONE_FPS, _ALONE),
        ]
        rows[-1]["ratio_to_before"] = round(rows[-1]["p50_ms"] / rows[0]["p50_ms"], 2)
        return rows, talks[:checked]

    async def _half_of_the_most(self) -> float:
        """Frames a second for each connection, such that the machine has as much to spare."""
        talks = await self._all(self._connections, 30.0, 6.0)
        return max(0.1, round(sum(talk.count for talk in talks) / 6.0 / len(talks) / 2, 2))

    async def _all(self, number: int, fps: float, seconds: float, keep: int = 0) -> list[_Talk]:
        """So many connections at once."""
        talks = [_Talk(k, keep=_STEPS if k < keep else 0, fps=fps) for k in range(number)]
        await asyncio.gather(*(self._talk(talk, fps, seconds) for talk in talks))
        return talks

    async def _talk(self, talk: _Talk, fps: float, seconds: float) -> None:
        """One connection from its begin to its end."""
        from websockets.exceptions import ConnectionClosed

        # Not all at the same moment.
        await asyncio.sleep(talk.number % 17 / 17 / fps)
        try:
            async with self._connected() as socket:
                sent: dict[int, float] = {}
                hearing = asyncio.create_task(self._hear(socket, talk, sent, fps))
                try:
                    await self._speak(socket, talk, sent, fps, seconds)
                    await asyncio.wait_for(hearing, _PATIENCE)
                finally:
                    hearing.cancel()
        except ConnectionClosed as closed:
            talk.refused = closed.rcvd.code if closed.rcvd is not None else 1006
        except TimeoutError:
            talk.refused = 1006

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        import websockets

        url = self._address.replace("http", "ws", 1) + "/api/live"
        async with websockets.connect(url, open_timeout=_PATIENCE, compression=None, max_queue=64) as socket:
            await asyncio.wait_for(socket.recv(), _PATIENCE)
            yield socket

    async def _speak(
        self, socket: Any, talk: _Talk, sent: dict[int, float], fps: float, seconds: float
    ) -> None:
        began = time.monotonic()
        # As long as the clock says, whatever the server does.
        while (now := time.monotonic() - began) < seconds:
            k = talk.sent
            await asyncio.sleep(max(0.0, k / fps - now))
            picture = self._pictures[_place(talk.number, k, len(self._pictures))]
            sent[k] = time.monotonic()
            talk.sent += 1
            await socket.send(struct.pack("<d", k / fps) + picture)
        await socket.send('{"finish": true}')

    async def _hear(self, socket: Any, talk: _Talk, sent: dict[int, float], fps: float) -> None:
        last = -1
        async for text in socket:
            said = json.loads(text)
            talk.dropped = said["dropped"]
            if "finished" in said:
                talk.finished = True
                return
            if "error" in said:
                talk.errors += 1
                continue
            k = round(said["time"] * fps)
            talk.out_of_order += k not in sent or k <= last
            talk.waits.append(1000 * (time.monotonic() - sent[k]) if k in sent else float("nan"))
            for old in range(last + 1, k + 1):
                sent.pop(old, None)
            last = max(last, k)
            talk.count += 1
            if len(talk.answered) < talk.keep:
                talk.answered[k] = said["probabilities"]

    async def _watch(self, memory: list[tuple[float, float]]) -> None:
        while True:
            memory.append((time.monotonic(), _resident(self._process)))
            await asyncio.sleep(1.0)

    async def _ready(self) -> None:
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            with suppress(OSError):
                await asyncio.to_thread(_asked, f"{self._address}/ready")
                return
            await asyncio.sleep(0.2)
        raise LrcnError(f"The server was not ready after {_PATIENCE:g} seconds: run lrcn serve to see why.")


def _asked(address: str) -> None:
    with urlopen(address, timeout=10) as answer:  # noqa: S310 - this machine's own server
        answer.read()


def _row(name: str, talks: Sequence[_Talk], fps: float, seconds: float) -> dict[str, Any]:
    """What became of the frames of these connections, and how long answers took."""
    waits = np.array([wait for talk in talks for wait in talk.waits] or [float("nan")])
    p50, p95, p99 = np.quantile(waits, (0.5, 0.95, 0.99))
    served = [talk for talk in talks if talk.refused is None]
    answered = sum(talk.count for talk in talks)
    return {
        "name": name,
        "fps_each": round(fps, 2),
        "sent": sum(talk.sent for talk in talks),
        "answered": answered,
        "dropped": sum(talk.dropped for talk in talks),
        "errors": sum(talk.errors for talk in talks),
        "unaccounted": sum(abs(talk.unaccounted) for talk in served),
        "out_of_order": sum(talk.out_of_order for talk in talks),
        "refused_1013": sum(talk.refused == 1013 for talk in talks),
        "broken": sum(
            talk.refused not in (None, 1013) or not (talk.finished or talk.refused) for talk in talks
        ),
        "answers_per_s": round(answered / seconds, 1),
        "p50_ms": round(float(p50), 1),
        "p95_ms": round(float(p95), 1),
        "p99_ms": round(float(p99), 1),
    }


def _by_quarters(memory: Sequence[tuple[float, float]]) -> Rows:
    """Memory of the server over the time of the load."""
    if not memory:
        return []
    parts = np.array_split(np.array([found for _, found in memory]), 4)
    return [
        {
            "name": f"memory of the server, quarter {number}",
            "mib_mean": round(float(part.mean()), 1),
            "mib_max": round(float(part.max()), 1),
        }
        for number, part in enumerate(parts, 1)
        if len(part)
    ]


def _compared(model: str, talks: Sequence[_Talk], pictures: Sequence[bytes]) -> Rows:
    """Answers of some connections beside those of a stream that was shown the frames that were answered."""
    from lrcn.models.zoo import load
    from lrcn.serve.content import read_frame
    from lrcn.stream import Stream, Streamable

    if not talks:
        return []
    streamable = Streamable.of(load(model, "cpu", tasks=("recognize", "fuse")))
    frames = [read_frame(picture, 1 << 30) for picture in pictures]
    worst, compared = 0.0, 0
    for talk in talks:
        stream = Stream(streamable)
        for k, probabilities in talk.answered.items():
            answer = stream.push(frames[_place(talk.number, k, len(frames))], k / talk.fps)
            worst = max(worst, float(np.abs(answer.probabilities - np.array(probabilities)).max()))
            compared += 1
    return [
        {
            "name": f"answers of {len(talks)} connections beside streams of their own",
            "compared": compared,
            "max_difference": round(worst, 6),
        }
    ]


def _resident(process: int) -> float:
    """MiB of memory that a process has; 0 where the system does not say."""
    with suppress(OSError, StopIteration, ValueError, IndexError):
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) / 1024
    return 0.0
