"""A hub in memory, which our client finds when it dials."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import trio

from tests.hub_peer import served_hub
from trio_hubs import Hub, NegotiationError
from trio_hubs.connections.memory import MemoryConnection, memory_connection_pair
from trio_hubs.protocol.hub_protocol import TransferFormat

from .dials import Dials


class Sample(Hub):
    """What is called; it counts the calls that go on."""

    running = 0

    @asynccontextmanager
    async def _counted(self) -> AsyncGenerator[None]:
        Sample.running += 1
        try:
            yield
        finally:
            Sample.running -= 1

    async def add(self, a: int, b: int) -> int:
        async with self._counted():
            await trio.lowlevel.checkpoint()
            return a + b

    async def count(self, count: int) -> AsyncIterator[int]:
        async with self._counted():
            for number in range(count):
                yield number
                await trio.lowlevel.checkpoint()

    async def total(self, items: AsyncIterator[int]) -> int:
        async with self._counted():
            return sum([number async for number in items])

    async def double(self, items: AsyncIterator[int]) -> AsyncIterator[int]:
        async with self._counted():
            async for number in items:
                yield 2 * number

    async def ask(self) -> int:
        async with self._counted():
            given: int = await self.clients.caller.invoke("Answer", result_type=int)
            return given

    async def tell(self) -> None:
        await self.clients.caller.send("News", "new")


class HubDials(Dials):
    """Dials that find a hub, while its server runs.

    Attributes:
        served: The hub.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__()
        self._nursery = nursery
        self.start_server()

    def start_server(self) -> None:
        """Start a server; there is none any more."""
        self.served = served_hub(Sample)
        self._serving = True
        self._ends: list[MemoryConnection] = []

    def end_server(self, *, killed: bool) -> None:
        """End the server: it says goodbye to its clients, unless it is killed."""
        self._serving = False
        if killed:
            self.cut()
        for end in self._ends:
            if end.on_end_asked is not None:
                end.on_end_asked()

    def cut(self) -> None:
        """Cut the server's connections."""
        for end in self._ends:
            end.cut()

    @asynccontextmanager
    async def __call__(self, _: TransferFormat) -> AsyncGenerator[MemoryConnection]:
        self.times.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if not self._serving:
            raise NegotiationError("refused")
        server_end, client_end = memory_connection_pair()
        server_end.id = client_end.id = f"id {len(self.times)}"
        self._ends.append(server_end)
        self._nursery.start_soon(self._serve, server_end)
        try:
            yield client_end
        finally:
            client_end.close()

    async def _serve(self, connection: MemoryConnection) -> None:
        try:
            await self.served.handle(connection)
        finally:
            connection.close()


@asynccontextmanager
async def open_hub_dials() -> AsyncGenerator[HubDials]:
    """Serve for the body."""
    async with trio.open_nursery() as nursery:
        yield HubDials(nursery)
        nursery.cancel_scope.cancel()
