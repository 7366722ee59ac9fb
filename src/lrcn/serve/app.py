"""The application: routes on a service, and every problem as one sentence of JSON."""

import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from lrcn.errors import LrcnError
from lrcn.serve.guard import LOOPBACK, Guard
from lrcn.serve.problem import RefusedError
from lrcn.serve.routes import add_captions, add_live, add_page, add_search, add_status, add_videos
from lrcn.serve.service import Service
from lrcn.text import one_line

if TYPE_CHECKING:
    from fastapi import FastAPI

_NOT_FOUND = "There is no such address: /openapi.json lists those that are."


def make_app(service: Service, hosts: Collection[str] = ()) -> "FastAPI":
    """The application; the service begins and ends with it.

    Args:
        service: what it stands on.
        hosts: names that it goes by besides those of this machine.

    Raises:
        LrcnError: the extra is not installed.
    """
    require_extra()
    from fastapi import FastAPI

    from lrcn import __version__

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        service.begin()
        try:
            yield
        finally:
            await service.close()

    # The page at /docs would fetch its scripts from elsewhere.
    app = FastAPI(title="lrcn", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(Guard, hosts=[*LOOPBACK, *hosts], metrics=service.metrics)
    _add_problems(app)
    add_page(app)
    add_status(app, service)
    add_videos(app, service)
    add_captions(app, service)
    add_search(app, service)
    add_live(app, service)
    return app


def require_extra() -> None:
    """Looks for what the extra brings.

    Raises:
        LrcnError: it is not installed.
    """
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise LrcnError("lrcn serve needs FastAPI and uvicorn: pip install 'lrcn[serve]'.") from error


def _add_problems(app: "FastAPI") -> None:
    from fastapi import Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse, Response
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect

    async def refused(_: Request, error: Any) -> Response:
        return JSONResponse({"error": one_line(str(error))}, error.status, headers=error.headers)

    async def wrong(_: Request, error: Any) -> Response:
        return JSONResponse({"error": one_line(str(error))}, 422)

    async def invalid(_: Request, error: Any) -> Response:
        return JSONResponse({"error": _told(error.errors())}, 422)

    async def http(_: Request, error: Any) -> Response:
        sentence = _NOT_FOUND if error.status_code == 404 else f"{error.detail}."
        return JSONResponse({"error": sentence}, error.status_code, headers=error.headers)

    async def gone(_: Request, __: Any) -> Response:
        # Nobody is there to read it.
        return Response(status_code=400)

    async def failed(_: Request, error: Any) -> Response:
        return JSONResponse({"error": f"The server failed with {type(error).__name__}: see its log."}, 500)

    for kind, handler in (
        (RefusedError, refused),
        (LrcnError, wrong),
        (RequestValidationError, invalid),
        (HTTPException, http),
        (ClientDisconnect, gone),
        (Exception, failed),
    ):
        app.add_exception_handler(kind, handler)


def _told(errors: Any) -> str:
    """The first thing that is wrong with a request, in a sentence."""
    first: dict[str, Any] = next(iter(errors), {})
    where = str(first.get("loc", ("", "The request"))[-1])
    given = json.dumps(first.get("input"), default=str)[:60]
    return f"{one_line(where)} is {given}: {one_line(str(first.get('msg', 'it cannot be used')))}."
