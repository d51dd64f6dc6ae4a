"""A file as an answer: read in threads, part by part, and not sent to those who have it.

Nothing but regular files is read, so no pipe or device holds a thread up. Who has a file says so by its ``ETag``, or by
its date as we have given it. Of several ranges that are asked for none is given, but the whole file, as RFC 9110,
section 14.2, allows.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from email.utils import formatdate
from functools import cache, partial
from io import FileIO
from mimetypes import MimeTypes

import attrs
import trio

from ..http import Headers, Request, Response
from .exchange import Deferred, Exchange, nothing_at

READ_SIZE = 256 * 1024
"""Bytes of a file that are read at once."""

_ABSENT = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EACCES,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENXIO,
)
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)  # a pipe is opened at once
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII | re.IGNORECASE)
_TYPES = {
    ".avif": "image/avif",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}


@cache
def _types() -> MimeTypes:
    """What Python knows of types by itself, on whatever machine, and what it has learned late."""
    types = MimeTypes()
    for suffix, kind in _TYPES.items():
        types.add_type(kind, suffix)
    return types


def content_type_of(path: str) -> str:
    """The type of a file, by its name."""
    kind, encoding = _types().guess_type(os.path.basename(path), strict=False)  # noqa: PTH119
    if kind is None or encoding is not None:  # for a packed file is sent as one
        return "application/gzip" if encoding == "gzip" else "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def _open(path: str) -> tuple[FileIO, os.stat_result, str]:
    """Open a regular file, and see what it is. To be called in a thread.

    Raises:
        OSError: There is none, or it cannot be opened.
    """
    file = FileIO(os.open(path, _FLAGS))
    try:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.ENOENT, "no regular file")
    except BaseException:
        file.close()
        raise
    return file, found, content_type_of(path)


def _text(path: str | os.PathLike[str]) -> str:
    return os.fspath(path)


@attrs.frozen
class FileResponse:
    """An HTTP answer that is a file: 200, 206 with a range of it, 304 for who has it, or 404 where there is none.

    Attributes:
        path: Where the file is.
        content_type: Its type; by default, what its name says.
        headers: Further headers, such as ``Cache-Control``.
    """

    path: str = attrs.field(converter=_text)
    content_type: str | None = attrs.field(default=None, kw_only=True)
    headers: Headers = attrs.field(factory=dict, kw_only=True)

    def deferred(self, request: Request) -> Deferred:
        """What answers the request."""
        # Who leaves is noticed by the next part, which does not reach them.
        return Deferred(serve=partial(self._serve, request), left=lambda: None)

    async def _serve(self, request: Request, exchange: Exchange) -> None:
        try:
            file, found, content_type = await trio.to_thread.run_sync(_open, self.path)
        except ValueError:  # as for a zero in the name
            await exchange.respond(nothing_at(request))
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            await exchange.respond(nothing_at(request))
        else:
            with file:
                await self._send(request, exchange, file, found, content_type)

    async def _send(
        self, request: Request, exchange: Exchange, file: FileIO, found: os.stat_result, content_type: str
    ) -> None:
        size = found.st_size
        tag, date = f'"{found.st_mtime_ns:x}-{size:x}"', formatdate(found.st_mtime, usegmt=True)
        headers: dict[str, str | Sequence[str]] = {
            "Content-Type": self.content_type or content_type,
            "X-Content-Type-Options": "nosniff",
            "Accept-Ranges": "bytes",
            "ETag": tag,
            "Last-Modified": date,
            **self.headers,
        }
        if _is_known(request, tag, date):
            await exchange.respond(Response(status=304, headers=headers))
            return
        status, part = _range(request, (tag, date), size)
        if status == 416:
            await exchange.respond(
                Response(status=416, headers={**headers, "Content-Range": f"bytes */{size}"})
            )
            return
        headers["Content-Length"] = str(len(part))
        if status == 206:
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
        async with aclosing(_read(file, part[:0] if request.method == "HEAD" else part)) as parts:
            await exchange.stream(headers, parts, status=status)


async def _read(file: FileIO, part: range) -> AsyncGenerator[bytes]:
    file.seek(part.start)
    left = len(part)
    while left:
        data = await trio.to_thread.run_sync(file.read, min(left, READ_SIZE))
        if not data:
            raise OSError("the file has become shorter while it was sent")
        left -= len(data)
        yield data


def _is_known(request: Request, tag: str, date: str) -> bool:
    """Whether the client has the file as it is (RFC 9110, section 13.2.2)."""
    if request.method not in ("GET", "HEAD"):
        return False
    known = request.headers.get("if-none-match")
    if known is None:
        return request.headers.get("if-modified-since") == date
    tags = [each.strip().removeprefix("W/") for each in known.split(",")]
    return tag in tags or tags == ["*"]


def _range(request: Request, validators: tuple[str, str], size: int) -> tuple[int, range]:
    """The status of the answer with a file of this size, and what to send of it."""
    whole = range(size)
    asked = _RANGE.fullmatch(request.headers.get("range", "").strip())
    current = request.headers.get("if-range", validators[0]) in validators
    if asked is None or request.method != "GET" or not current:
        return 200, whole
    first, last = asked.groups()
    start = int(first) if first else size - min(int(last or 0), size)
    end = int(last) + 1 if first and last else size
    if not first + last or (first and last and end <= start):  # which is no range
        return 200, whole
    part = whole[start:end]
    return (206 if part else 416), part
