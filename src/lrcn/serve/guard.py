"""Who may ask, and what browsers are told: before any route is looked for.

A page of somebody else in a browser of this machine could otherwise reach a server that only this machine can reach:
by a name of its own that it makes point here (so the Host header must be one that is known), or by sending a form (so
an Origin header must be the server's own).
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from lrcn.serve.metrics import Metrics

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")

_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'{socket}; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_SAFE = frozenset({"GET", "HEAD"})


def header(scope: Scope, name: str) -> str | None:
    """A header's value; None where it is not there, or there more than once."""
    found = [value for key, value in scope["headers"] if key == name.encode()]
    return str(found[0].decode("latin-1")) if len(found) == 1 else None


def host_name(host: str) -> str:
    """A Host header without its port, as names are compared."""
    name = host.rsplit(":", 1)[0] if host.rpartition(":")[2].isdecimal() else host
    return name.rstrip(".").lower()


def same_origin(scope: Scope) -> bool:
    """Whether a page that asks came from here; programs say nothing of where they come from."""
    given = [value for key, value in scope["headers"] if key == b"origin"]
    if not given:
        return True
    origin, host = header(scope, "origin"), header(scope, "host")
    if origin is None or host is None:
        return False
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


class Guard:
    """Looks at each request before the app does, adds headers to each answer, and counts both.

    Args:
        app: the routes.
        hosts: names that the server goes by; "*" for any.
        metrics: where requests are counted.
    """

    def __init__(self, app: App, hosts: Collection[str], metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        self._hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] != "websocket" or self._known(scope):
            await self._app(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "Unknown host."})

    def _known(self, scope: Scope) -> bool:
        host = header(scope, "host")
        return "*" in self._hosts or (host is not None and host_name(host) in self._hosts)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.monotonic(), 500
        host = header(scope, "host") or ""
        # Some browsers do not count WebSockets as 'self'.
        socket = f" ws://{host} wss://{host}" if self._known(scope) and _plain(host) else ""
        added = _headers(scope["path"], _POLICY.format(socket=socket))

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                there = {key.lower() for key, _ in message.get("headers", ())}
                more = [(key, value) for key, value in added if key not in there]
                message["headers"] = [*message.get("headers", ()), *more]
            await send(message)

        try:
            if not self._known(scope):
                await _refuse(
                    answer, 400, "The server does not go by this name: start it with --allow-host NAME."
                )
            elif scope["method"] not in _SAFE and not same_origin(scope):
                await _refuse(
                    answer, 403, "Another site's page may not ask this: open the server's own page."
                )
            else:
                await self._app(scope, receive, answer)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.add(route=route, status=str(status))
            self._metrics.request_seconds.tell(time.monotonic() - began, route=route)


def _plain(host: str) -> bool:
    """Whether a name can stand in a policy as it is."""
    return all(one.isalnum() or one in ".:-[]_" for one in host) and host.isascii()


def _headers(path: str, policy: str) -> list[tuple[bytes, bytes]]:
    headers = {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "cache-control": "no-store" if path.startswith("/api/") else "no-cache",
    }
    return [(key.encode(), value.encode()) for key, value in headers.items()]


async def _refuse(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"error": sentence}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
