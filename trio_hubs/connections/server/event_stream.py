"""Server-Sent Events as a connection: one answer without end to the client, and posts from it.

Bytes of one send make one event; only text can be sent so, and all of its line ends arrive as LF
(TransportProtocols.md, Server-Sent Events).
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from math import inf

import trio

from ...errors import ConnectionClosed
from ...protocol.negotiate import Transport
from ..duplex import Duplex
from ..http import Request
from ..pipe import Pipe
from ..users import User
from .carrier import Carrier
from .exchange import PART_SIZE, Deferred, Exchange

HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache,no-store",
    "Pragma": "no-cache",
    "Content-Encoding": "identity",
    "X-Accel-Buffering": "no",
}


def encode_event(data: bytes) -> bytes:
    """The event that carries some bytes: a line of it for each of their lines, which CR, LF or both end."""
    if b"\r" in data:  # which would end the event's line, and begin another field of it
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return b"".join(b"data: %b\r\n" % line for line in data.split(b"\n")) + b"\r\n"


class EventStreamConnection(Duplex):
    """A connection over Server-Sent Events."""

    transfer_formats = Transport.SERVER_SENT_EVENTS.transfer_formats

    def __init__(self, id: str, request: Request, incoming: Pipe, exchange: Exchange) -> None:
        super().__init__(id, request)
        self._incoming = incoming
        self._exchange = exchange
        self._last_progress = -inf
        self._after_cr = False  # which was the last byte, and a line end may go on

    @property
    def last_progress(self) -> float:
        return self._last_progress

    async def open(self) -> None:
        """Send the head of the answer, and a comment, so that the client knows that it is connected."""
        await self._exchange.start(HEADERS)
        await self._exchange.write(b":\r\n")

    async def receive(self) -> bytes:
        return await self._incoming.take()

    async def send(self, data: bytes) -> None:
        if data:
            after_cr, self._after_cr = self._after_cr, data.endswith(b"\r")
            data = data.removeprefix(b"\n") if after_cr else data
        if not data:
            await trio.lowlevel.checkpoint()
            return
        event = memoryview(encode_event(data))
        while event:
            await self._exchange.write(bytes(event[:PART_SIZE]))
            event = event[PART_SIZE:]
            self._last_progress = trio.current_time()

    async def close(self) -> None:
        """End the answer.

        Raises:
            ConnectionClosed: That cannot be done in order.
        """
        await self._exchange.finish()


class EventStreamCarrier(Carrier[EventStreamConnection]):
    """Carries a connection over one event stream, in whose task it is handled."""

    transport = Transport.SERVER_SENT_EVENTS

    def answer(self, request: Request, user: User | None) -> Deferred:
        return Deferred(
            serve=partial(self._serve, request, user),
            left=self._lease.posts.incoming.close,  # for its client has no other goodbye
        )

    async def _serve(self, request: Request, user: User | None, exchange: Exchange) -> None:
        self._open(EventStreamConnection(self._lease.id, request, self._lease.posts.incoming, exchange), user)
        try:
            await self._handle_here()
        finally:
            with (
                trio.move_on_after(self._host.options.close_timeout, shield=True),
                suppress(ConnectionClosed),
            ):
                await self.connection.close()

    async def _handle(self) -> None:
        with trio.move_on_after(self._host.options.send_timeout) as opening:
            await self.connection.open()
        if not opening.cancelled_caught:
            await super()._handle()
