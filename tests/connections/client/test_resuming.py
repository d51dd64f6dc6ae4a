"""A WebSocket that is torn is followed by another, while the server still knows the connection."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs import ConnectionClosed
from trio_hubs.connections.client.resuming import TIME_TO_COME_BACK, Started, resuming
from trio_hubs.connections.duplex import Duplex, Resumed
from trio_hubs.connections.memory import MemoryConnection, memory_connection_pair

from .http_answers import TARGET


class Server:
    """Opens WebSockets in memory, or fails; keeps its ends of them, and when it was asked."""

    def __init__(self) -> None:
        self.ends: list[MemoryConnection] = []
        self.closed = 0
        self.asked: list[float] = []
        self.error: ConnectionClosed | None = None

    async def open(self) -> Started:
        self.asked.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        return self.websocket()

    def websocket(self) -> AbstractAsyncContextManager[Duplex]:
        near, far = memory_connection_pair()
        self.ends.append(near)

        @asynccontextmanager
        async def opened() -> AsyncGenerator[Duplex]:
            yield far
            self.closed += 1

        return opened()


@pytest.fixture
async def server() -> Server:
    return Server()


async def test_it_goes_on_over_another_and_its_user_is_told(
    autojump_clock: MockClock, server: Server
) -> None:
    async with resuming(TARGET, server.websocket(), server.open) as connection:
        assert (connection.id, connection.can_resume) == ("id", True)
        connection.enable_resume()
        await server.ends[0].send(b"one")
        assert await connection.receive() == b"one"
        await connection.send(b"two")
        server.ends[0].cut()
        with pytest.raises(Resumed):
            await connection.receive()
        await server.ends[1].send(b"three")
        assert await connection.receive() == b"three"
        await connection.send(b"four")
        assert await server.ends[1].receive() == b"four"
        assert server.closed == 1
    assert server.closed == 2
    assert server.asked == [0]


async def test_it_is_tried_for_as_long_as_the_server_keeps_it(
    autojump_clock: MockClock, server: Server
) -> None:
    async with resuming(TARGET, server.websocket(), server.open) as connection:
        connection.enable_resume()
        server.error = ConnectionClosed("not now")
        server.ends[0].cut()
        with pytest.raises(ConnectionClosed, match="not taken up again"):
            await connection.receive()
        assert trio.current_time() == TIME_TO_COME_BACK
        assert server.asked == list(range(15))


@pytest.mark.parametrize(
    "error", [ConnectionClosed("no", status=404), ConnectionClosed("no", retriable=False)]
)
async def test_where_it_does_not_help_it_is_not_tried_again(
    autojump_clock: MockClock, server: Server, error: ConnectionClosed
) -> None:
    async with resuming(TARGET, server.websocket(), server.open) as connection:
        connection.enable_resume()
        server.error = error
        server.ends[0].cut()
        with pytest.raises(ConnectionClosed, match="not taken up again"):
            await connection.receive()
        assert server.asked == [0]


async def test_before_that_is_enabled_a_loss_is_the_end(autojump_clock: MockClock, server: Server) -> None:
    async with resuming(TARGET, server.websocket(), server.open) as connection:
        server.ends[0].cut()
        with pytest.raises(ConnectionClosed):
            await connection.receive()
        await wait_all_tasks_blocked()
        assert server.asked == []


async def test_an_end_in_good_order_is_final(autojump_clock: MockClock, server: Server) -> None:
    async with resuming(TARGET, server.websocket(), server.open) as connection:
        connection.enable_resume()
        server.ends[0].close()
        assert await connection.receive() == b""
        await trio.sleep(100)
        assert server.asked == []


async def test_it_can_be_left_while_it_is_torn(autojump_clock: MockClock, server: Server) -> None:
    with trio.move_on_after(3) as scope:
        async with resuming(TARGET, server.websocket(), server.open) as connection:
            connection.enable_resume()
            server.error = ConnectionClosed("not now")
            server.ends[0].cut()
            await connection.receive()
    assert scope.cancelled_caught
    assert trio.current_time() == 3
