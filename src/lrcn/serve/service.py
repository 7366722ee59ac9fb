"""All that lives as long as the server: limits, models, jobs, live streams, files; begun and ended together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from lrcn.serve.jobs import Job, Jobs
from lrcn.serve.limits import Limits
from lrcn.serve.live import LivePool
from lrcn.serve.live_socket import live_decoder
from lrcn.serve.metrics import Metrics
from lrcn.serve.models import Loading, Served
from lrcn.serve.problem import STOPPING, RefusedError
from lrcn.serve.uploads import Uploads

if TYPE_CHECKING:
    from starlette.requests import Request

_OPTIONS = {
    "recognize": ("recogniser", "--recognizer MODEL"),
    "caption": ("captioner", "--caption MODEL"),
    "describe": ("describer", "--describe MODEL"),
    "search": ("index of photos", "--index FOLDER"),
}

_GLANCE = 0.5
"""Seconds between two looks at work that is being waited for."""


class Service:
    """What the routes stand on.

    Args:
        load: gives the models; called in a thread when `begin` is.
        limits: what may be asked for.

    Attributes:
        served: the models, once they are loaded.
        live: the live streams, where there are any.
        stopping: set when the end is near.
        failed: told, in a thread, where the models cannot be loaded.
    """

    def __init__(self, load: Callable[[], Served], limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.metrics = Metrics(self.limits)
        self.served: Served | None = None
        self.live: LivePool | None = None
        self.stopping = asyncio.Event()
        self.uploads = Uploads(self.limits, self.metrics)
        self.jobs = Jobs(self.limits, self.metrics)
        self.failed: Callable[[BaseException], None] = lambda _: None
        self._load = load
        self._failure: BaseException | None = None
        self.metrics.gauge("lrcn_ready", "Whether the models are loaded.", lambda: self.served is not None)
        self.metrics.gauge(
            "lrcn_live_connections", "Live connections.", lambda: 0 if self.live is None else len(self.live)
        )

    def begin(self) -> None:
        """Starts loading."""
        # Not sooner: from here on a signal ends in `close`.
        self.uploads.open()
        Loading(self._load, self._loaded)

    def stop(self) -> None:
        """Tells everybody that the end is near: live connections close, and so do jobs."""
        self.stopping.set()

    async def close(self) -> None:
        """Ends all threads, and removes what came."""
        self.stop()
        await asyncio.to_thread(self.jobs.close)
        if self.live is not None:
            await asyncio.to_thread(self.live.close)
        self.uploads.close()

    def ready(self) -> Served:
        """The models.

        Raises:
            RefusedError: they are still being loaded, or the server is stopping.
        """
        if self.stopping.is_set():
            raise RefusedError(503, STOPPING)
        if self._failure is not None:
            raise RefusedError(503, f"The models cannot be loaded: {self._failure}")
        if self.served is None:
            raise RefusedError(503, "The models are being loaded: ask again in a moment.", retry_after=2)
        return self.served

    def serving(self, job: str) -> Served:
        """The models, if one of them does this job.

        Raises:
            RefusedError: none does, or they are not there yet.
        """
        served = self.ready()
        if job not in served.names:
            what, option = _OPTIONS[job]
            raise RefusedError(404, f"No {what} is served: start lrcn serve with {option}.")
        return served

    def about(self) -> dict[str, Any]:
        """What is served, and how much may be asked for."""
        from lrcn import __version__

        served = self.ready()
        models: dict[str, Any] = {
            job: {"name": served.names[job]} if job in served.names else None for job in _OPTIONS
        }
        if served.recognizer is not None:
            live = served.streamable is not None
            models["recognize"] |= {
                "labels": list(served.recognizer.labels),
                "rate": served.rate,
                "live": live,
            }
        if served.photos is not None:
            models["search"]["photos"] = len(served.photos)
        return {"version": __version__, "models": models, "limits": vars(self.limits)}

    async def run(self, request: Request, kind: str, work: Callable[[Job], Any]) -> Any:
        """What comes of work in the queue, for as long as somebody waits for it.

        Raises:
            RefusedError: the queue is full, the work takes too long, or the server is stopping.
            LrcnError: the work cannot be done.
            ClientDisconnect: nobody waits any more.
        """
        from starlette.requests import ClientDisconnect

        job = self.jobs.add(kind, work)
        result = asyncio.wrap_future(job.result)
        gone, stopping = (asyncio.create_task(one) for one in (_gone(request), self.stopping.wait()))
        try:
            while not result.done():
                await asyncio.wait(
                    (result, gone, stopping), timeout=_GLANCE, return_when=asyncio.FIRST_COMPLETED
                )
                if gone.done():
                    job.stop("Nobody waits for this any more.")
                    # Its file goes next; what still reads it should have noticed by then.
                    await asyncio.wait((result,), timeout=1.0)
                    raise ClientDisconnect
                if stopping.done() and not result.done():
                    raise RefusedError(503, STOPPING)
                if job.hopeless() and not result.done():
                    self.jobs.replace(job)
                    raise job.give_up()
            return result.result()
        finally:
            job.stop("Nobody waits for this any more.")
            result.add_done_callback(_noticed)
            for task in (gone, stopping):
                task.cancel()

    def _loaded(self, served: Served | None, error: BaseException | None) -> None:
        if served is not None and served.streamable is not None:
            limits = self.limits
            self.live = LivePool(
                served.streamable, live_decoder(limits), limits.live_connections, self.metrics
            )
        self.served, self._failure = served, error
        if error is not None:
            self.failed(error)


async def _gone(request: Request) -> None:
    """Returns when whoever asked went away."""
    receive: Callable[[], Awaitable[Any]] = request.receive
    while (await receive())["type"] != "http.disconnect":
        pass


def _noticed(result: asyncio.Future[Any]) -> None:
    """Nobody asks for what went wrong any more; asyncio would complain of that."""
    if not result.cancelled():
        result.exception()
