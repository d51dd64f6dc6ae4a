"""An exchange by HTTP/1.1: parts of a request's body, and of its answer, each in a bounded time."""

from __future__ import annotations

from email.utils import formatdate
from http.client import responses
from typing import TypeAlias

import h11
import trio

from ...errors import ConnectionClosed
from ..http import Headers, Response
from .exchange import PART_SIZE, Exchange
from .http_wire import HttpWire

REQUEST_TIMEOUT = 30.0
"""Seconds that a client has to send a whole request, or the next part of a body that is read in parts, and to take an
answer; an idle connection is closed after as long.
"""

Rendered: TypeAlias = tuple[h11.Response, bytes]


class HttpExchange(Exchange):
    """An exchange on a socket.

    Args:
        wire: The socket.
        headers: Further headers of the answer.
        with_body: Whether the answer has a body, which that to a HEAD has not.
    """

    def __init__(self, wire: HttpWire, headers: Headers, *, with_body: bool) -> None:
        self._wire = wire
        self._headers = headers
        self._with_body = with_body
        self._read_all = False
        self._finished = False  # its socket may be another's by now

    async def read(self) -> bytes:
        """The next part of the body.

        Raises:
            h11.RemoteProtocolError: The client left, or broke the protocol.
            ConnectionClosed: The client sent nothing for too long.
        """
        if self._read_all:
            return b""
        try:
            with trio.fail_after(REQUEST_TIMEOUT):
                event = await self._wire.next_event()
        except trio.TooSlowError:
            raise ConnectionClosed(
                f"The client sent nothing of its body for {REQUEST_TIMEOUT:g} s."
            ) from None
        self._read_all = not isinstance(event, h11.Data)
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    async def respond(self, response: Response, *, timeout: float | None = None) -> None:
        await self.send(*render(response, self._headers), timeout=timeout)

    async def send(self, head: h11.Response, body: bytes, *, timeout: float | None = None) -> None:
        """Send an answer that is rendered; as :meth:`respond`."""
        seconds = REQUEST_TIMEOUT if timeout is None else timeout
        self._wire.expect()
        parts: list[list[h11.Event]] = [[head]]
        if self._with_body:
            parts[0].append(h11.Data(data=body[:PART_SIZE]))
            parts.extend(
                [h11.Data(data=body[at : at + PART_SIZE])] for at in range(PART_SIZE, len(body), PART_SIZE)
            )
        parts[-1].append(h11.EndOfMessage())
        for part in parts:
            try:
                with trio.fail_after(seconds):
                    await self._wire.send(*part)
            except trio.TooSlowError:
                raise ConnectionClosed(f"The client took nothing of its answer for {seconds:g} s.") from None

    async def start(self, headers: Headers, *, status: int = 200) -> None:
        date = ("Date", formatdate(usegmt=True))
        lines = [date, *header_lines(headers), *header_lines(self._headers)]
        await self._wire.send(h11.Response(status_code=status, headers=lines, reason=_reason(status)))

    async def write(self, data: bytes) -> None:
        if self._finished:
            raise ConnectionClosed("The answer has ended.")
        await self._wire.send(h11.Data(data=data))

    async def finish(self) -> None:
        self._finished = True
        if self._wire.cut:
            raise ConnectionClosed("The client did not take a part of its answer.")
        self._wire.expect()
        await self._wire.send(h11.EndOfMessage())


def header_lines(headers: Headers) -> list[tuple[str, str]]:
    """Headers line by line."""
    return [
        (name, text)
        for name, texts in headers.items()
        for text in ([texts] if isinstance(texts, str) else texts)
    ]


def render(response: Response, more: Headers) -> Rendered:
    """The head and the body of an answer; raises when it could not be sent so."""
    headers = header_lines(response.headers)
    given = {name.lower() for name, _ in headers}
    usual = {"Date": formatdate(usegmt=True), "Content-Type": response.content_type}
    headers[:0] = [(name, text) for name, text in usual.items() if name.lower() not in given]
    if response.status not in (204, 304):
        headers.append(("Content-Length", str(len(response.body))))
    elif response.body:
        raise ValueError(f"an answer with status {response.status} has no body")
    headers += header_lines(more)
    return h11.Response(
        status_code=response.status, headers=headers, reason=_reason(response.status)
    ), response.body


def _reason(status: int) -> bytes:
    return responses.get(status, "").encode()
