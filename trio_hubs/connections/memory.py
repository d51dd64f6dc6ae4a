"""A pair of connections in memory, for tests: what one sends the other receives, piece by piece."""

from __future__ import annotations

import trio

from ..errors import ConnectionClosed
from .duplex import Duplex
from .http import Request


class MemoryConnection(Duplex):
    """One end of a pair in memory; made by :func:`memory_connection_pair`."""

    def __init__(
        self,
        id: str,
        request: Request,
        incoming: trio.MemoryReceiveChannel[bytes],
        outgoing: trio.MemorySendChannel[bytes],
    ) -> None:
        super().__init__(id, request)
        self._incoming = incoming
        self._outgoing = outgoing
        self._peer = self
        self._cut = False

    def join(self, peer: MemoryConnection) -> None:
        """The other end is this."""
        self._peer = peer

    async def receive(self) -> bytes:
        try:
            return await self._incoming.receive()
        except trio.EndOfChannel:
            if self._peer._cut:
                raise ConnectionClosed("The connection was lost.") from None
            return b""
        except trio.ClosedResourceError:
            raise ConnectionClosed("The connection was cut.") from None

    async def send(self, data: bytes) -> None:
        if not data:  # which the peer would take for the end
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._outgoing.send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ConnectionClosed("The connection is over.") from None

    def close(self) -> None:
        """End the connection in good order: the peer receives what is under way, then ``b""``."""
        self._outgoing.close()

    def cut(self) -> None:
        """Break the connection at this end, at once and without a word: the peer receives what is under way."""
        self._cut = True
        self._outgoing.close()
        self._incoming.close()


def memory_connection_pair(
    *, capacity: int = 16, request: Request | None = None
) -> tuple[MemoryConnection, MemoryConnection]:
    """Make two connected ends.

    Args:
        capacity: How many pieces may be under way in each direction before a sender waits.
        request: The request that the first end, the server's, shows; an empty one by default.

    Returns:
        The server's end and the client's end.
    """
    to_server, from_client = trio.open_memory_channel[bytes](capacity)
    to_client, from_server = trio.open_memory_channel[bytes](capacity)
    request = request or Request()
    server = MemoryConnection("memory", request, from_client, to_client)
    client = MemoryConnection("memory", request, from_server, to_server)
    server.join(client)
    client.join(server)
    return server, client
