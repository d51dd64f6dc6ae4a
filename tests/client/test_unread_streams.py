"""A stream that is not read must not starve the rest of its connection, nor fill the memory."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import RawPeer, RawServer, open_raw_server
from tests.messages import call, close, ended, item, result, stream
from trio_hubs import (
    ChannelReader,
    Conflate,
    ConnectionClosed,
    DropOldest,
    HubConnection,
    HubConnectionOptions,
    StreamOverflow,
)
from trio_hubs.client.opening import open_over

TEXT = "x" * 1000
PIECE = 60  # items in one


class Flood:
    """A server that streams without end, as fast as it is read.

    Attributes:
        sent: Items that it could send.
    """

    def __init__(self, server: RawPeer) -> None:
        self.server = server
        self.sent = 0
        self._more = trio.Event()

    async def run(self, pieces: int) -> None:
        for _ in range(pieces):
            await self.server.connection.send(b"".join(_item(self.sent + number) for number in range(PIECE)))
            self.sent += PIECE


def _item(number: int) -> bytes:
    return b'{"type":2,"invocationId":"1","item":"%d %s"}\x1e' % (number, TEXT.encode())


@asynccontextmanager
async def open_flood(
    options: HubConnectionOptions | None = None,
) -> AsyncGenerator[tuple[HubConnection, RawPeer]]:
    """A connection by which four pieces may be under way, as by a socket."""
    server = RawServer(capacity=4)
    await server.send_bytes(b"{}\x1e")
    async with open_over([server.dial], options=options) as connection:
        await server.receive_record()
        await server.receive()
        yield connection, server


async def test_a_handler_hears_behind_a_stream_that_is_not_read(autojump_clock: MockClock) -> None:
    heard = trio.Event()
    async with (
        open_flood() as (connection, server),
        connection.stream("Flood", item_type=str) as reader,
        trio.open_nursery() as nursery,
    ):
        connection.on("Done", heard.set)
        flood = Flood(server)

        async def serve() -> None:
            await flood.run(10)
            await server.send(call("Done"))
            await flood.run(10)
            await server.send(ended("1"))

        nursery.start_soon(serve)
        with trio.fail_after(20):
            await heard.wait()
        items = [text async for text in reader]  # nothing is lost
        assert [int(text.split()[0]) for text in items] == list(range(20 * PIECE))


async def test_a_body_that_sleeps_for_long_keeps_its_connection(autojump_clock: MockClock) -> None:
    """A server ends the connection of a client that takes nothing for 10 seconds."""
    async with (
        open_flood() as (connection, server),
        connection.stream("Flood", item_type=str) as reader,
        trio.open_nursery() as nursery,
    ):
        times: list[float] = []

        async def serve() -> None:
            flood = Flood(server)
            while True:
                await flood.run(1)
                times.append(trio.current_time())

        nursery.start_soon(serve)
        await trio.sleep(60)
        assert max(after - before for before, after in pairwise(times)) < 10
        assert len(times) < 130  # and it is not flooded
        assert (await reader.read()).startswith("0 ")
        nursery.cancel_scope.cancel()


async def test_a_handler_hears_behind_many_streams_that_are_not_read(autojump_clock: MockClock) -> None:
    """Each is within its share; together they fill the connection's buffer."""
    heard = trio.Event()
    async with (
        open_flood() as (connection, server),
        trio.open_nursery() as nursery,
        AsyncExitStack() as streams,
    ):
        connection.on("Done", heard.set)
        nursery.start_soon(server.take, 30)
        for _ in range(30):
            await streams.enter_async_context(connection.stream("Flood", item_type=str, capacity=1))

        async def serve() -> None:
            for number in range(1, 31):
                await server.send(*[item(f"{number}", TEXT)] * 50)
            await server.send(call("Done"))

        nursery.start_soon(serve)
        with trio.fail_after(20):
            await heard.wait()
        nursery.start_soon(server.take, 30)  # what the end of the streams tells


@pytest.mark.parametrize("how", ["close", "end"])
async def test_who_waits_for_the_end_hears_of_it_behind_a_stream_that_is_not_read(
    autojump_clock: MockClock, how: str
) -> None:
    async with (
        open_flood() as (connection, server),
        connection.stream("Flood", item_type=str),
        trio.open_nursery() as nursery,
    ):

        async def serve() -> None:
            await Flood(server).run(20)
            if how == "close":
                await server.send(close("over"))
            else:
                server.connection.close()

        nursery.start_soon(serve)
        with trio.fail_after(0.1):
            await connection.wait_closed()


async def test_a_reader_that_stops_stops_the_server_and_its_body_may_call(autojump_clock: MockClock) -> None:
    async with (
        open_flood() as (connection, server),
        connection.stream("Flood", item_type=str, capacity=10) as reader,
        trio.open_nursery() as nursery,
    ):
        flood = Flood(server)

        async def serve() -> None:
            await flood.run(8)
            await server.send(result("2", 42))
            await flood.run(1_000_000)

        nursery.start_soon(serve)
        assert (await reader.read()).startswith("0 ")
        await trio.sleep(3)
        assert flood.sent <= 7 * PIECE  # what fits, and what is under way
        with trio.fail_after(0.1):
            assert await connection.invoke("Ask", result_type=int) == 42
        stopped = flood.sent
        await trio.sleep(3)
        assert flood.sent <= stopped + 7 * PIECE
        for number in range(1, 1000):
            assert (await reader.read()).startswith(f"{number} ")
        nursery.cancel_scope.cancel()


async def test_beyond_the_limit_the_stream_fails_alone(autojump_clock: MockClock) -> None:
    options = HubConnectionOptions(connection_buffer_limit=1024 * 1024)
    async with (
        open_flood(options) as (connection, server),
        connection.stream("Flood", item_type=str) as reader,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(Flood(server).run, 30)
        await trio.sleep(40)
        count = 0
        with pytest.raises(StreamOverflow):
            async for text in reader:
                assert text.startswith(f"{count} ")
                count += 1
        assert 1000 < count < 1100
        nursery.start_soon(connection.invoke, "Next")
        messages = await server.arrived()
        assert [message["type"] for message in messages if message["type"] != 6] == [4, 5, 1]
        await server.send(result("2", None))


@pytest.mark.parametrize("policy", [DropOldest(), Conflate(lambda text: int(text.split()[0]) % 10)])
async def test_a_stream_may_keep_the_newest_instead(
    autojump_clock: MockClock, policy: DropOldest | Conflate
) -> None:
    reader: ChannelReader[str]
    async with (
        open_flood() as (connection, server),
        connection.stream("Flood", item_type=str, capacity=10, when_full=policy) as reader,
    ):
        with trio.fail_after(0.1):
            await Flood(server).run(100)
            await trio.testing.wait_all_tasks_blocked()
        assert [int(text.split()[0]) for text in reader.read_ready()] == list(range(5990, 6000))
        assert reader.dropped == 5990
        await server.send(ended("1"))
        with pytest.raises(trio.EndOfChannel):
            await reader.read()


async def test_a_stream_whose_connection_ends_behind_it_fails_after_its_items(
    autojump_clock: MockClock,
) -> None:
    async with open_raw_server() as (connection, server), connection.stream("Flood") as reader:
        assert await server.receive() == stream("Flood")
        await server.send(*[item("1", TEXT) for _ in range(200)])
        server.connection.close()
        await trio.sleep(10)
        count = 0
        with pytest.raises(ConnectionClosed):
            async for _ in reader:
                count += 1
        assert count == 200
