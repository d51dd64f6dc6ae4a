"""What the attempts of our client to connect come to, one after another, in memory."""

from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import trio

from tests.hub_peer import RawPeer
from tests.messages import PING
from trio_hubs import HubConnection, HubConnectionState
from trio_hubs.client import opening
from trio_hubs.connections.memory import MemoryConnection, memory_connection_pair
from trio_hubs.protocol.hub_protocol import TransferFormat


class Dials:
    """The servers that a client finds when it dials.

    Attributes:
        times: When it has dialled.
        closing: Seconds that a connection takes to close in order.
    """

    def __init__(self, protocol: str = "json") -> None:
        self.protocol = protocol
        self.times: list[float] = []
        self.closing = 0.0
        self._found: deque[MemoryConnection | Exception] = deque()
        self._default: Exception | None = None
        self._more = trio.lowlevel.ParkingLot()
        self._count = 0

    def server(self, *, answer: bytes = b"{}\x1e", capacity: int = 1000) -> RawPeer:
        """A server for the next dial that finds nothing else, which answers the handshake so; ids count from 1."""
        server_end, client_end = memory_connection_pair(capacity=capacity)
        self._count += 1
        client_end.id = f"id {self._count}"
        if answer:
            server_end._outgoing.send_nowait(answer)
        self._found.append(client_end)
        self._more.unpark_all()
        return RawPeer(server_end, self.protocol)

    def fail(self, *errors: Exception) -> None:
        """The next dials fail so."""
        self._found += errors

    def fail_always(self, error: Exception | None) -> None:
        """Dials that find nothing else fail so, rather than wait."""
        self._default = error

    @asynccontextmanager
    async def __call__(self, _: TransferFormat) -> AsyncGenerator[MemoryConnection]:
        """Dial."""
        self.times.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        while not self._found:
            if self._default is not None:
                raise self._default
            await self._more.park()
        found = self._found.popleft()
        if isinstance(found, Exception):
            raise found
        try:
            yield found
        finally:
            found.close()
            await trio.sleep(self.closing)


def open_over(dials: Dials | Sequence[Dials], **chosen: Any) -> AbstractAsyncContextManager[HubConnection]:
    """Connect our client to what it finds, for the body.

    Args:
        dials: What it finds at its URL, or at each of several.
        **chosen: As for `open_hub_connection`.
    """
    several = [dials] if isinstance(dials, Dials) else dials
    protocol: Any = several[0].protocol
    return opening.open_over(several, protocol=protocol, **chosen)


async def greet(server: RawPeer) -> None:
    """Take our client's handshake and first ping."""
    request = {"protocol": server.protocol, "version": 1, "streamCredits": 1}
    assert await server.receive_record() == request
    assert await server.receive() == PING


def after(*delays: float) -> Callable[..., float | None]:
    """A policy with these delays, one for each attempt since the connection was stable."""
    return lambda attempt, *_: delays[attempt] if attempt < len(delays) else None


always = after(*[1.0] * 1000)


async def becomes(connection: HubConnection, state: HubConnectionState) -> None:
    """Wait for a state."""
    with trio.fail_after(1000), connection.state_changes() as changes:
        while connection.state is not state:
            await changes.read()
