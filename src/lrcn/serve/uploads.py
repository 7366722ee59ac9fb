"""A file that somebody sends: written to a private folder while it is counted, and gone when the answer is."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lrcn.serve.limits import Limits
from lrcn.serve.metrics import Metrics
from lrcn.serve.problem import RefusedError
from lrcn.text import one_line

if TYPE_CHECKING:
    from starlette.requests import Request

_PARTS = 8
"""Parts of a form."""

_FIELD = 256
"""Bytes of a part that is no file."""

_NAME = 200
"""Characters of a name that is shown back."""

_HEADER = 4096
"""Bytes of a part's header."""

_DAMAGED = "The form is damaged: send it again as multipart/form-data."

_AROUND = 64 << 10
"""Bytes of a form beside its file."""

_LINGER = 2.0
"""Seconds for which the rest of a refused upload is read and dropped, so that its sender gets to the answer."""


@dataclass
class Upload:
    """A file that came.

    Attributes:
        path: where it is until the answer is given; no part of it comes from outside.
        name: what its sender calls it, to be shown back and nothing else.
        fields: the other parts of the form.
    """

    path: Path
    name: str
    fields: dict[str, str] = field(default_factory=dict)


class Uploads:
    """The folder where files lie while they are used; only this user may look into it.

    Args:
        limits: how large, how slow and how many.
        metrics: where bytes are counted.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._now = 0
        metrics.gauge("lrcn_uploads", "Uploads that are coming or are being used.", lambda: self._now)

    @property
    def folder(self) -> Path:
        """Where it is, once it is made."""
        assert self._folder is not None
        return Path(self._folder.name)

    def open(self) -> None:
        """Makes the folder."""
        self._folder = tempfile.TemporaryDirectory(prefix="lrcn-serve-", ignore_cleanup_errors=True)

    def close(self) -> None:
        """Removes the folder."""
        if self._folder is not None:
            self._folder.cleanup()

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[Upload]:
        """The file of a form, for as long as the block lasts.

        Raises:
            RefusedError: there is none, or it is too large or too slow.
        """
        if self._now >= self._limits.uploads:
            raise RefusedError(503, "Too many files are coming: try again later.", retry_after=5, close=True)
        self._now += 1
        handle, name = tempfile.mkstemp(dir=self.folder)
        path = Path(name)
        try:
            with open(handle, "wb") as file:
                upload = await self._received(request, Upload(path, "upload"), file)
            yield upload
        finally:
            self._now -= 1
            # What is still being read there is left to whoever reads it, nameless.
            with suppress(OSError):
                path.unlink()

    async def _received(self, request: Request, upload: Upload, file: BinaryIO) -> Upload:
        stated = request.headers.get("content-length", "")
        if stated.isdecimal() and int(stated) > self._limits.upload_bytes + _AROUND:
            await drop(request)
            raise self._too_large()
        form = _Form(request.headers.get("content-type", ""), upload, file, self._limits.upload_bytes)
        try:
            async with asyncio.timeout(self._limits.upload_seconds):
                await self._read(request, form)
        except TimeoutError:
            raise RefusedError(
                408, "The upload was too slow: send a smaller file, or over a faster line.", close=True
            ) from None
        except RefusedError as refused:
            refused.close = True
            await drop(request)
            raise
        return upload

    async def _read(self, request: Request, form: _Form) -> None:
        """Takes what comes until the form is whole."""
        size = 0
        chunks = request.stream().__aiter__()
        while True:
            try:
                async with asyncio.timeout(self._limits.stall_seconds):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                break
            size += len(chunk)
            self._metrics.upload_bytes.add(len(chunk))
            if size > self._limits.upload_bytes + _AROUND:
                raise self._too_large()
            # The disk may be slow, and others are being answered meanwhile.
            try:
                await asyncio.to_thread(form.write, chunk)
            except OSError as error:
                raise RefusedError(503, "There is no room for the file: try again later.") from error
        form.end()

    def _too_large(self) -> RefusedError:
        return too_large(self._limits.upload_bytes)


def too_large(most: int) -> RefusedError:
    """That a file has too many bytes."""
    return RefusedError(
        413, f"The file is larger than {most / 2**20:.3g} MiB: send a smaller one.", close=True
    )


async def drop(request: Request) -> None:
    """Reads for a moment what nobody wants, so that its sender gets to the answer."""
    from starlette.requests import ClientDisconnect

    with suppress(TimeoutError, RuntimeError, ClientDisconnect):
        async with asyncio.timeout(_LINGER):
            async for _ in request.stream():
                pass


class _Form:
    """A form as it comes: its part `file` goes to the disk.

    Args:
        content_type: of the request.
        upload: what is filled in.
        file: where its bytes go.
        most: bytes of the file.

    Raises:
        RefusedError: it is no form, or not one with one file in it.
    """

    def __init__(self, content_type: str, upload: Upload, file: BinaryIO, most: int) -> None:
        from python_multipart.multipart import MultipartParser, parse_options_header

        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise RefusedError(415, "Send the file as multipart/form-data, in a field named file.")
        self._options = parse_options_header
        self._upload, self._file, self._most = upload, file, most
        self._parts, self._files, self._size = 0, 0, 0
        self._ended = False
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks)

    def write(self, chunk: bytes) -> None:
        """Takes the next bytes.

        Raises:
            RefusedError: they are no form, or too many.
        """
        from python_multipart.exceptions import FormParserError

        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise RefusedError(400, _DAMAGED) from error

    def end(self) -> None:
        """That was all.

        Raises:
            RefusedError: it was not all of a form, or there was no file in it.
        """
        if not self._ended:
            raise RefusedError(400, "The form ends in its middle: send it again.")
        if not self._files:
            raise RefusedError(400, "There is no file in the form: send it in a field named file.")
        if not self._size:
            raise RefusedError(400, "The file is empty: send another.")
        self._file.flush()

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _PARTS:
            raise RefusedError(400, f"The form has more than {_PARTS} parts: send one file.")
        self._header, self._value, self._disposition = b"", b"", b""
        self._field = ""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header = self._longer(self._header, data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value = self._longer(self._value, data[start:end])

    def _longer(self, text: bytes, more: bytes) -> bytes:
        if len(text) + len(more) > _HEADER:
            raise RefusedError(400, _DAMAGED)
        return text + more

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _headers_end(self) -> None:
        _, options = self._options(self._disposition)
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        if self._field != "file":
            self._upload.fields[self._field] = ""
            return
        self._files += 1
        if self._files > 1:
            raise RefusedError(400, "There is more than one file in the form: send one.")
        given = options.get(b"filename", b"").decode("utf-8", "replace")
        self._upload.name = shown_name(given)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._field == "file":
            self._size += end - start
            if self._size > self._most:
                raise too_large(self._most)
            self._file.write(data[start:end])
            return
        told = self._upload.fields[self._field] + data[start:end].decode("utf-8", "replace")
        if len(told) > _FIELD:
            raise RefusedError(400, f"The field {shown_name(self._field)} is too long: send a number.")
        self._upload.fields[self._field] = told

    def _end(self) -> None:
        self._ended = True


def shown_name(given: str) -> str:
    """A name from outside as it is shown back: its last part, on one line, not too long."""
    last = given.replace("\\", "/").rsplit("/", 1)[-1]
    return one_line(last)[:_NAME] or "upload"
