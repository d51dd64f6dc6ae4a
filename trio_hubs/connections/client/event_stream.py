"""Server-Sent Events as a client's transport: one answer without end from the server, and posts to it.

An event is one or more lines that begin with ``data: ``; joined by LF they are the bytes of one send. Where an event
ends means nothing, so its bytes are passed on as they come (TransportProtocols.md, Server-Sent Events).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from ...errors import ConnectionClosed, ConnectionFailed, ProtocolError
from ...protocol.negotiate import Transport
from ...tasks import open_background
from ..duplex import Duplex
from ..http import public_url
from .negotiation import ConnectTarget
from .posts import PostingConnection
from .requests import HttpAnswer, Requests

_DATA = b"data: "


class EventParser:
    """Takes the bytes out of a stream of events.

    Attributes:
        inside: Whether an event has begun that has not ended.
    """

    def __init__(self) -> None:
        self.inside = False
        self._rest = b""
        self._line = b""  # how the line begins that is being read: with data, or as a comment

    def feed(self, data: bytes) -> bytes:
        """Take in what has arrived; gives the bytes that were sent.

        Raises:
            ProtocolError: There is a line that no server of SignalR sends.
        """
        data, self._rest = self._rest + data, b""
        size, at = len(data), 0
        sent: list[bytes] = []
        while at < size:
            if not self._line:
                at = self._begin(data, at, sent)
                if self._rest:
                    break
                continue
            end = data.find(b"\n", at)
            line = data[at : end if end >= 0 else size]
            at = size if end < 0 else end + 1
            if line.endswith(b"\r"):
                line = line[:-1]
                if end < 0:
                    self._rest = b"\r"
            if self._line == _DATA:
                sent.append(line)
            if end >= 0:
                self._line = b""
        return b"".join(sent)

    def _begin(self, data: bytes, at: int, sent: list[bytes]) -> int:
        """Read the beginning of a line; gives where it goes on, or keeps it until there is more of it."""
        if data.startswith((b"\n", b"\r\n"), at):
            self.inside = False
            return data.index(b"\n", at) + 1
        if data.startswith(b":", at):
            self._line = b":"
        elif data.startswith(_DATA, at):
            if self.inside:
                sent.append(b"\n")
            self.inside = True
            self._line = _DATA
            return at + len(_DATA)
        else:
            self._rest = data[at : at + len(_DATA)]
            if not (_DATA.startswith(self._rest) or self._rest == b"\r"):
                raise ProtocolError("Expected the message prefix 'data: '")
        return at


class EventStreamConnection(PostingConnection):
    """A client's end of a connection over Server-Sent Events."""

    transfer_formats = Transport.SERVER_SENT_EVENTS.transfer_formats

    def __init__(self, requests: Requests, target: ConnectTarget, answer: HttpAnswer) -> None:
        super().__init__(requests, target)
        self._answer = answer

    async def read(self) -> None:
        """Take in what the server sends, until it ends the stream."""
        parser = EventParser()
        error: ConnectionClosed | None = None
        try:
            async with self._answer.parts() as parts:
                async for part in parts:
                    if data := parser.feed(part):
                        await self._incoming.put(data)
            if parser.inside:
                error = ConnectionClosed("Incomplete message.")
        except ConnectionFailed as failure:
            error = failure.retold(ConnectionClosed, f"The server's stream of events broke: {failure}.")
        except ProtocolError as problem:
            error = ConnectionClosed(str(problem))
        self._incoming.close(error)

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Duplex]:
        """Read for the body, also while it is cancelled: the server takes no goodbye once its stream is closed."""
        reading = trio.CancelScope(shield=True)

        async def read() -> None:
            with reading:
                await self.read()

        try:
            async with open_background() as nursery:
                nursery.start_soon(read)
                try:
                    yield self
                finally:
                    reading.cancel()
        finally:
            self._incoming.close()


async def start_event_stream(
    requests: Requests, target: ConnectTarget
) -> AbstractAsyncContextManager[Duplex]:
    """Have the server begin its stream of events. A checkpoint.

    Returns:
        A context manager that gives the connection, and ends it in order.

    Raises:
        ConnectionClosed: The server does not.
    """
    try:
        answer = await requests.send(
            "GET", target.url, headers={"Accept": "text/event-stream"}, grant=target.grant
        )
        if not answer.response.is_success:
            raise await answer.failure()
    except ConnectionFailed as error:
        raise error.retold(
            ConnectionClosed, f"The server sends no events from {public_url(target.url)}: {error}."
        ) from error.__cause__
    return EventStreamConnection(requests, target, answer).opened()
