"""What is said on a live connection, both ways; see docs/serve.md."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lrcn.serve.limits import Limits
from lrcn.serve.live import LivePool, Seat
from lrcn.serve.problem import STOPPING

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

NORMAL, GOING_AWAY, POLICY, TOO_BIG, TRY_LATER = 1000, 1001, 1008, 1009, 1013

HEAD = struct.Struct("<d")
"""Before each picture: its time, seconds."""

_MOST_ERRORS = 20
"""Messages in a row that cannot be used."""

_TEXT = 1024
"""Characters of a text message."""

_CLOSING = 5.0
"""Seconds to say why a connection is closed."""


class _OverError(Exception):
    """The connection is to be closed."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


async def close(socket: WebSocket, code: int, reason: str) -> None:
    """Closes a connection, unless it is closed already or its other side takes nothing any more."""
    with suppress(Exception):
        async with asyncio.timeout(_CLOSING):
            await socket.close(code, reason)


class LiveSocket:
    """A connection that was accepted, and its place among the others.

    Args:
        socket: the connection.
        pool: where frames go.
        limits: how large a message may be, and how long a silence.
        stopping: set where the server stops.
    """

    def __init__(self, socket: WebSocket, pool: LivePool, limits: Limits, stopping: asyncio.Event) -> None:
        self._socket, self._pool, self._limits, self._stopping = socket, pool, limits, stopping
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._seat: Seat | None = None

    async def run(self) -> bool:
        """Takes frames and gives answers until one side has enough; False where there was no place."""
        self._seat = seat = self._pool.join(self._told)
        if seat is None:
            await close(self._socket, TRY_LATER, "All live connections are taken: try again later.")
            return False
        try:
            await self._send({"ready": True, "labels": list(self._pool.labels), "rate": self._pool.rate})
            await self._until_over(seat)
        except _OverError as over:
            await close(self._socket, over.code, over.reason)
        finally:
            self._pool.leave(seat)
        return True

    async def _until_over(self, seat: Seat) -> None:
        """Runs both directions until the first of them ends, or the server does."""
        tasks = [
            asyncio.create_task(one)
            for one in (self._receive(seat), self._answer(seat), self._stopping.wait())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set():
                raise _OverError(GOING_AWAY, STOPPING)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.add_done_callback(_noticed)
                task.cancel()
            await asyncio.wait(tasks)

    def _told(self, message: dict[str, Any]) -> None:
        # From the network's thread; the loop may be gone when the server stops.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._answers.put_nowait, message)

    # ---- from the client ----

    async def _receive(self, seat: Seat) -> None:
        errors = 0
        while True:
            try:
                async with asyncio.timeout(self._limits.idle_seconds):
                    message = await self._socket.receive()
            except TimeoutError:
                reason = f"Nothing came for {self._limits.idle_seconds:g} s: connect again."
                raise _OverError(GOING_AWAY, reason) from None
            if message["type"] == "websocket.disconnect":
                return
            data, text = message.get("bytes"), message.get("text")
            error = self._frame(seat, data) if data is not None else None
            if text is not None:
                error, finished = self._order(seat, text)
                if finished:
                    # Nothing more is read; the answers go on to the last.
                    await asyncio.Event().wait()
            errors = errors + 1 if error else 0
            if error:
                await self._send({"error": error, "time": None, "dropped": seat.dropped})
            if errors >= _MOST_ERRORS:
                raise _OverError(POLICY, f"{errors} messages in a row could not be used.")

    def _frame(self, seat: Seat, data: bytes) -> str | None:
        """Hands on a frame; why not, where it is none."""
        if len(data) > self._limits.live_frame_bytes + HEAD.size:
            raise _OverError(TOO_BIG, f"A frame has at most {self._limits.live_frame_bytes} bytes.")
        if len(data) <= HEAD.size:
            return "A frame is 8 bytes of time, a little-endian float64, and then a JPEG, PNG or WebP."
        (time,) = HEAD.unpack_from(data)
        self._pool.put(seat, time, data[HEAD.size :])
        return None

    def _order(self, seat: Seat, text: str) -> tuple[str | None, bool]:
        """Does what a text asks for: why not, and whether it was the end."""
        order: Any = None
        if len(text) <= _TEXT:
            with suppress(ValueError, RecursionError):
                order = json.loads(text)
        if isinstance(order, dict) and order.get("finish") is True:
            self._pool.finish(seat)
            return None, True
        if isinstance(order, dict) and order.get("reset") is True:
            self._pool.reset(seat)
            return None, False
        return 'A text is {"reset": true} or {"finish": true}; frames are binary.', False

    # ---- to the client ----

    async def _answer(self, seat: Seat) -> None:
        errors = 0
        while True:
            message = await self._answers.get()
            await self._send(message)
            self._pool.sent(seat)
            if "finished" in message:
                raise _OverError(NORMAL, "Finished.")
            errors = errors + 1 if "error" in message else 0
            if errors >= _MOST_ERRORS:
                raise _OverError(POLICY, f"{errors} frames in a row could not be used.")

    async def _send(self, message: dict[str, Any]) -> None:
        text = json.dumps(message, ensure_ascii=False)
        try:
            async with asyncio.timeout(self._limits.idle_seconds):
                await self._socket.send_text(text)
        except TimeoutError:
            raise _OverError(GOING_AWAY, "The answers are not being read.") from None


def _noticed(task: asyncio.Task[Any]) -> None:
    """Only the first of the two directions to end says why; asyncio would complain of the other."""
    if not task.cancelled():
        task.exception()


def live_decoder(limits: Limits) -> Callable[[bytes], Any]:
    """What makes pictures of messages."""
    from lrcn.serve.content import read_frame

    return lambda data: read_frame(data, limits.live_pixels)
