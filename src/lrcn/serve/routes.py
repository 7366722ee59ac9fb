"""One short function per address. FastAPI comes with an extra, so all of it is imported when routes are made."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrcn.serve import records
from lrcn.serve.guard import same_origin
from lrcn.serve.live_socket import POLICY, TRY_LATER, LiveSocket, close
from lrcn.serve.photos import LARGE, SMALL
from lrcn.serve.problem import STOPPING, RefusedError
from lrcn.serve.service import Service
from lrcn.serve.uploads import drop

if TYPE_CHECKING:
    from fastapi import FastAPI

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
}
"""What a page is made of; nothing else of its folder is given out."""

_JPEG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {"schema": {"type": "string"}}}}}

MOST_FOUND, MOST_SENTENCES = 100, 10


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Answers that are no success, for the schema."""
    return {
        status: {"model": records.Problem, "description": "What went wrong"} for status in (422, *statuses)
    }


def _form(what: str, **fields: dict[str, Any]) -> dict[str, Any]:
    """A form with one file, for the schema: it is read by hand, so that it can be counted while it comes."""
    properties = {"file": {"type": "string", "format": "binary", "description": what}, **fields}
    schema = {"type": "object", "required": ["file"], "properties": properties}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def add_page(app: "FastAPI") -> None:
    """The page and its files, by name from a list made now."""
    from fastapi import Response

    there = {file.name: file for file in page_folder().glob("*") if file.suffix in _KINDS}

    async def page() -> Response:
        return await file("index.html")

    async def file(name: str) -> Response:
        if name not in there:
            raise RefusedError(404, "There is no such page.")
        return Response(there[name].read_bytes(), media_type=_KINDS[there[name].suffix])

    for path, function in (("/", page), ("/page/{name}", file)):
        app.add_api_route(path, function, include_in_schema=False, methods=["GET"])


def page_folder() -> Path:
    """Where the page lies."""
    return Path(str(files("lrcn") / "serve" / "page"))


def add_status(app: "FastAPI", service: Service) -> None:
    """How the server is."""
    from fastapi import Response

    async def health() -> dict[str, str]:
        """Whether the process lives."""
        return {"status": "ok"}

    async def ready() -> dict[str, str]:
        """Whether the models are loaded."""
        service.ready()
        return {"status": "ready"}

    async def metrics() -> Response:
        """What was counted, for Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def about() -> dict[str, Any]:
        """What is served, and how much may be asked for."""
        return service.about()

    text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
    app.add_api_route("/health", health, response_model=records.Status)
    app.add_api_route("/ready", ready, response_model=records.Status, responses=_problems(503))
    app.add_api_route("/metrics", metrics, response_class=Response, responses=text)
    app.add_api_route("/api/about", about, response_model=records.About, responses=_problems(503))


def add_videos(app: "FastAPI", service: Service) -> None:
    """What is done with a video."""
    from fastapi import Request

    async def recognize(request: Request) -> Any:
        """Says what happens in a video, and from when to when."""
        return await _of_file(service, request, "recognize", lambda served, up: _bound(served.recognize, up))

    async def describe(request: Request) -> Any:
        """Writes about a video."""
        return await _of_file(service, request, "describe", lambda served, up: _bound(served.describe, up))

    for path, function, model in (
        ("/api/recognize", recognize, records.Recognized),
        ("/api/describe", describe, records.Described),
    ):
        app.add_api_route(
            path,
            function,
            methods=["POST"],
            response_model=model,
            response_model_exclude_none=True,
            responses=_problems(400, 403, 404, 408, 413, 415, 503, 504),
            openapi_extra=_form("a video"),
        )


def add_captions(app: "FastAPI", service: Service) -> None:
    """What is done with a photo."""
    from typing import Annotated

    from fastapi import Query, Request

    async def caption(request: Request, n: Annotated[int, Query(ge=1, le=MOST_SENTENCES)] = 1) -> Any:
        """Writes sentences about a photo, the most probable first; n may be a field of the form."""

        def work(served: Any, upload: Any) -> Callable[[Any], Any]:
            best = _whole(upload.fields.get("n"), n, MOST_SENTENCES)
            return lambda job: served.caption(upload.path, upload.name, best, job)

        return await _of_file(service, request, "caption", work)

    number = {"type": "integer", "minimum": 1, "maximum": MOST_SENTENCES, "description": "sentences"}
    app.add_api_route(
        "/api/caption",
        caption,
        methods=["POST"],
        response_model=records.Captioned,
        responses=_problems(400, 403, 404, 408, 413, 415, 503, 504),
        openapi_extra=_form("a photo", n=number),
    )


def add_search(app: "FastAPI", service: Service) -> None:
    """Photos, found and shown."""
    from typing import Annotated

    from fastapi import Query, Request, Response

    number = Annotated[int, Query(ge=1, le=MOST_FOUND)]

    async def search(
        request: Request, words: Annotated[str, Query(min_length=1, max_length=500)], n: number = 24
    ) -> Any:
        """Finds the photos that words are about."""
        served = service.serving("search")
        return await service.run(request, "search", lambda _: served.search(words, n))

    async def similar(request: Request, n: number = 24) -> Any:
        """Finds photos like another."""
        return await _of_file(
            service, request, "search", lambda served, upload: lambda _: served.similar(upload.path, n)
        )

    def photo(number: int) -> Response:
        """A photo, at most 1600 pixels wide or high."""
        return shown(number, LARGE)

    def thumbnail(number: int) -> Response:
        """A photo, at most 320 pixels wide or high."""
        return shown(number, SMALL)

    def shown(number: int, side: int) -> Response:
        photos = service.serving("search").photos
        assert photos is not None
        kept = {"Cache-Control": "private, max-age=600"}
        return Response(photos.jpeg(number, side), media_type="image/jpeg", headers=kept)

    common = _problems(400, 403, 404, 408, 413, 415, 503, 504)
    app.add_api_route(
        "/api/search", search, response_model=records.Found, responses=_problems(400, 404, 503, 504)
    )
    app.add_api_route(
        "/api/search",
        similar,
        methods=["POST"],
        response_model=records.Found,
        responses=common,
        openapi_extra=_form("a photo"),
    )
    for path, function in (("/api/photos/{number}", photo), ("/api/photos/{number}/thumbnail", thumbnail)):
        app.add_api_route(path, function, response_class=Response, responses=_JPEG | _problems(404, 503))


def add_live(app: "FastAPI", service: Service) -> None:
    """Frames in, answers out."""
    from fastapi import WebSocket

    async def live(socket: WebSocket) -> None:
        await socket.accept()
        refused = _why_not_live(service, socket)
        if refused is not None:
            reason, code, sentence = refused
            service.metrics.refused.add(reason=reason)
            await close(socket, code, sentence)
            return
        assert service.live is not None
        if not await LiveSocket(socket, service.live, service.limits, service.stopping).run():
            service.metrics.refused.add(reason="full")

    app.add_api_websocket_route("/api/live", live)


def _why_not_live(service: Service, socket: Any) -> tuple[str, int, str] | None:
    """Why a live connection is refused: in a word, as a code, and in a sentence."""
    if not same_origin(socket.scope):
        return "origin", POLICY, "Another site's page may not connect: open the server's own page."
    try:
        service.serving("recognize")
    except RefusedError as refused:
        return "not served", TRY_LATER if refused.status == 503 else POLICY, str(refused)
    if service.live is None:
        return "not served", POLICY, "The recogniser that is served needs whole clips: send it videos."
    return ("stopping", TRY_LATER, STOPPING) if service.stopping.is_set() else None


async def _of_file(
    service: Service, request: Any, kind: str, work: Callable[[Any, Any], Callable[[Any], Any]]
) -> Any:
    """What comes of a file that is sent: refused, where it can be, before it is read."""
    try:
        served = service.serving(kind)
        service.jobs.check_room()
    except RefusedError as refused:
        refused.close = True
        await drop(request)
        raise
    async with service.uploads.receive(request) as upload:
        try:
            record = await service.run(request, kind, work(served, upload))
            warned = {"warning": _without(record["warning"], upload)} if "warning" in record else {}
            return record | warned
        except RefusedError as refused:
            raise RefusedError(
                refused.status, _without(str(refused), upload), retry_after=refused.retry_after
            ) from refused
        except Exception as error:
            from lrcn.errors import LrcnError

            if isinstance(error, LrcnError):
                raise RefusedError(422, _without(str(error), upload)) from error
            raise


def _without(sentence: str, upload: Any) -> str:
    """A sentence with the sender's own name of the file instead of where it lies."""
    return sentence.replace(str(upload.path), upload.name)


def _bound(method: Callable[..., Any], upload: Any) -> Callable[[Any], Any]:
    return lambda job: method(upload.path, upload.name, job)


def _whole(text: str | None, usual: int, most: int) -> int:
    if text is None:
        return usual
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= most):
        raise RefusedError(422, f"n is {text!r}: give a whole number from 1 to {most}.")
    return int(text)
