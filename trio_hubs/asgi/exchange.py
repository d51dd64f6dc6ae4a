"""An exchange by ASGI's messages: parts of a request's body, and of its answer, each in a bounded time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h11
import trio

from ..connections.http import Headers, Response
from ..connections.server.exchange import PART_SIZE, Exchange
from ..connections.server.http_exchange import REQUEST_TIMEOUT, header_lines, render
from ..errors import ConnectionClosed
from .messages import Outlet, Receive


class AsgiExchange(Exchange):
    """An exchange in an ``http`` scope.

    Args:
        receive: The server's.
        outlet: Sends the answer.

    Attributes:
        headers: Further headers of the answer.
        read_all: Whether the request's body has been read to its end.
        started: Whether the answer has begun.
    """

    def __init__(self, receive: Receive, outlet: Outlet) -> None:
        self.headers: Headers = {}
        self.read_all = False
        self.started = False
        self._receive = receive
        self._outlet = outlet
        self._rest = b""
        self._left = False
        self._finished = False

    async def read(self) -> bytes:
        while not self._rest:
            if self.read_all:
                return b""
            try:
                with trio.fail_after(REQUEST_TIMEOUT):
                    message = await self._receive()
            except trio.TooSlowError:
                raise ConnectionClosed(
                    f"The client sent nothing of its body for {REQUEST_TIMEOUT:g} s."
                ) from None
            if message["type"] == "http.disconnect":
                self._left = True
                raise ConnectionClosed("The client left.")
            self._rest = message.get("body", b"")
            self.read_all = not message.get("more_body", False)
        part, self._rest = self._rest[:PART_SIZE], self._rest[PART_SIZE:]
        return part

    async def read_whole(self, maximum: int) -> bytes | None:
        """The whole body; ``None`` where it is above so many bytes.

        Raises:
            ConnectionClosed: The client left, or sent nothing for too long.
        """
        body = bytearray()
        while part := await self.read():
            body += part
            if len(body) > maximum:
                return None
        return bytes(body)

    async def watch(self, left: Callable[[], None]) -> None:
        """Notice that the client leaves; the body must have been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left = True
        left()

    async def respond(self, response: Response, *, timeout: float | None = None) -> None:
        head, body = render(response, self.headers)
        seconds = REQUEST_TIMEOUT if timeout is None else timeout
        try:
            with trio.fail_after(seconds):
                await self._begin(head)
            for at in range(0, len(body) or 1, PART_SIZE):
                with trio.fail_after(seconds):
                    await self._send(body[at : at + PART_SIZE], more=at + PART_SIZE < len(body))
        except trio.TooSlowError:
            raise ConnectionClosed(f"The client took nothing of its answer for {seconds:g} s.") from None

    async def start(self, headers: Headers, *, status: int = 200) -> None:
        lines = [*header_lines(headers), *header_lines(self.headers)]
        await self._begin(h11.Response(status_code=status, headers=lines))

    async def write(self, data: bytes) -> None:
        await self._send(data, more=True)

    async def finish(self) -> None:
        await self._send(b"", more=False)

    async def _begin(self, head: h11.Response) -> None:
        self.started = True
        await self._outlet.send("http.response.start", **start_of(head))

    async def _send(self, data: bytes, *, more: bool) -> None:
        if self._finished:
            raise ConnectionClosed("The answer has ended.")
        if self._left:  # a server need not tell it here
            raise ConnectionClosed("The client left.")
        self._finished = not more
        await self._outlet.send("http.response.body", body=data, more_body=more)


def start_of(head: h11.Response) -> dict[str, Any]:
    """What a message says that begins an answer; the date is the server's to tell."""
    headers = [(name, text) for name, text in head.headers if name != b"date"]
    return {"status": head.status_code, "headers": headers}
