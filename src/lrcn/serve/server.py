"""The process of a server: one socket, two signals, one clean end."""

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager, nullcontext
from types import FrameType
from typing import Any

from lrcn.errors import LrcnError
from lrcn.serve.app import make_app, require_extra
from lrcn.serve.limits import Limits
from lrcn.serve.models import Served
from lrcn.serve.service import Service

_GOODBYE = 3.0
"""Seconds for connections to be closed well, and again for requests to end."""


def serve(
    load: Callable[[], Served],
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    limits: Limits | None = None,
    hosts: Collection[str] = (),
    ready: Callable[[str], None] = print,
) -> int:
    """Serves until a signal comes, or the models turn out to be unusable.

    Args:
        load: gives the models, in a thread.
        host: the address to listen at.
        port: 0 is any that is free.
        limits: what may be asked for.
        hosts: names that the server goes by besides those of this machine and `host`.
        ready: told the address once it can be reached.

    Returns:
        The number of the signal.

    Raises:
        LrcnError: the extra is not installed, the port is taken, or a model cannot be loaded.
    """
    require_extra()
    with closing(listen(host, port)) as listener:
        service = Service(load, limits)
        try:
            return asyncio.run(Running(service, listener, [_named(host), *hosts]).run(ready))
        finally:
            service.uploads.close()


def address(host: str, port: int) -> str:
    """As a browser takes it."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"http://{_named(shown)}:{port}"


def _named(host: str) -> str:
    """An address as it stands in a Host header."""
    return f"[{host}]" if ":" in host else host


def listen(host: str, port: int) -> socket.socket:
    """A socket that connections come to.

    Raises:
        LrcnError: there is no such address, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LrcnError(
            f"Cannot listen at {host}, port {port}: {reason}; give another --host or --port."
        ) from error


class Running:
    """One run of a server.

    Args:
        service: what it does.
        listener: where connections come.
        hosts: names that it goes by besides those of this machine.
    """

    def __init__(self, service: Service, listener: socket.socket, hosts: Collection[str]) -> None:
        self._service, self._listener, self._hosts = service, listener, hosts
        self._failure: BaseException | None = None
        self._signal = 0
        service.failed = self._failed

    async def run(self, ready: Callable[[str], None]) -> int:
        """Serves until `end`, a signal, or a model that cannot be loaded; the number of the signal."""
        import uvicorn

        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        service = self._service
        config = uvicorn.Config(
            make_app(service, self._hosts),
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            # Pictures get no smaller by it, and a message could unpack to far more than came.
            ws_per_message_deflate=False,
            ws_max_size=service.limits.live_frame_bytes + 64,
            limit_concurrency=service.limits.connections,
            timeout_graceful_shutdown=round(_GOODBYE),
            # A proxy says who asks, which nothing here depends on.
            proxy_headers=False,
        )
        server: Any = uvicorn.Server(config)
        # Its own would end the process by the signal before the models and files were let go.
        server.capture_signals = nullcontext
        with self._signals(server):
            serving = asyncio.create_task(server.serve(sockets=[self._listener]))
            ending = asyncio.create_task(self._end.wait())
            while not server.started and not serving.done():
                await asyncio.sleep(0.01)
            if server.started:
                ready(address(*self._listener.getsockname()[:2]))
            await asyncio.wait((serving, ending), return_when=asyncio.FIRST_COMPLETED)
            service.stop()
            await self._goodbye(service)
            server.should_exit = True
            await serving
            ending.cancel()
        if self._failure is not None:
            raise self._failure
        return self._signal

    def end(self) -> None:
        """Asks for the end, from any thread."""
        self._loop.call_soon_threadsafe(self._end.set)

    async def _goodbye(self, service: Service) -> None:
        """Waits until live connections are closed."""
        until = self._loop.time() + _GOODBYE
        while service.live is not None and len(service.live) and self._loop.time() < until:
            await asyncio.sleep(0.02)

    def _failed(self, error: BaseException) -> None:
        self._failure = error
        self.end()

    @contextmanager
    def _signals(self, server: Any) -> Iterator[None]:
        """Ctrl-C and SIGTERM ask for the end; a second one does not wait for it to be a clean one."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        kinds = (signal.SIGINT, signal.SIGTERM)
        before = {kind: signal.getsignal(kind) for kind in kinds}

        def note(kind: int, _: FrameType | None) -> None:
            server.force_exit = bool(self._signal)
            self._signal = kind
            self.end()

        for kind in kinds:
            signal.signal(kind, note)
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)
