"""Between two of ours no stream that is not read stops anything else, and what lies unread is bounded, both ways."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import open_client, open_ours, open_raw_server, served_hub
from tests.messages import call, cancel, credit, ended, item, result, stream
from trio_hubs import ChannelReader, Hub, HubConnection, StreamOverflow

from .witness import both_protocols

LARGE = "x" * 30_000


class Flood(Hub):
    """Streams and takes without end; notes what it has made and read."""

    def __init__(self, made: list[int], read: list[int], unread: trio.Event) -> None:
        self.made = made
        self.read = read
        self.unread = unread

    async def flood(self, text: str) -> AsyncIterator[str]:
        while True:
            self.made.append(1)
            yield text

    async def take(self, items: ChannelReader[str]) -> int:
        await self.unread.wait()
        async for _ in items:
            self.read.append(1)
        return len(self.read)

    def echo(self, text: str) -> str:
        return text

    async def tell(self) -> None:
        await self.clients.caller.send("Told")

    async def count(self, stop: int) -> AsyncIterator[int]:
        for number in range(stop):
            yield number


class Pair:
    """A hub and our client of it, in memory.

    Attributes:
        made: Items that the hub has made.
        read: Items that it has read.
        unread: Set when it shall read.
    """

    def __init__(self) -> None:
        self.made: list[int] = []
        self.read: list[int] = []
        self.unread = trio.Event()


@asynccontextmanager
async def open_pair(protocol: Any = "json", **options: Any) -> AsyncGenerator[tuple[HubConnection, Pair]]:
    """Connect our client to our hub, by which few pieces may be under way, as by a socket."""
    pair = Pair()
    served = served_hub(
        Flood, lambda: Flood(pair.made, pair.read, pair.unread), maximum_parallel_invocations=4, **options
    )
    async with open_ours(served, capacity=4, protocol=protocol) as connection:
        yield connection, pair


async def hears_and_calls(connection: HubConnection) -> None:
    """Assert that calls, handlers and another stream go on, at once."""
    told = trio.Event()
    with trio.fail_after(0.1):
        connection.on("Told", told.set)
        assert await connection.invoke("Echo", "hello", result_type=str) == "hello"
        await connection.send("Tell")
        await told.wait()
        async with connection.stream("Count", 1000, item_type=int) as numbers:
            assert [number async for number in numbers] == list(range(1000))


@both_protocols
async def test_an_unread_stream_stops_nothing_and_holds_no_more_than_its_capacity(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with (
        open_pair(protocol) as (connection, pair),
        connection.stream("Flood", LARGE, item_type=str, capacity=7) as unread,
    ):
        await wait_all_tasks_blocked()
        assert len(pair.made) == 7  # 210,000 bytes, more than a stream may hold of a peer without credits
        await hears_and_calls(connection)
        assert len(pair.made) == 7
        for number in range(1, 30):
            await unread.read()
            await wait_all_tasks_blocked()
            assert len(pair.made) <= number + 7
        await hears_and_calls(connection)


@both_protocols
async def test_an_unread_upload_stops_nothing_and_holds_no_more_than_its_capacity(
    autojump_clock: MockClock, protocol: str
) -> None:
    made: list[int] = []

    async def texts() -> AsyncIterator[str]:
        for number in range(100):
            made.append(number)
            yield LARGE

    async with (
        open_pair(protocol, stream_buffer_capacity=7) as (connection, pair),
        trio.open_nursery() as nursery,
    ):
        totals: list[int] = []

        async def upload() -> None:
            totals.append(await connection.invoke("Take", texts(), result_type=int))

        nursery.start_soon(upload)
        await wait_all_tasks_blocked()
        assert len(made) == 7
        await hears_and_calls(connection)
        assert len(made) == 7
        pair.unread.set()
        await wait_all_tasks_blocked()
        assert totals == [100]


async def test_many_small_items_lie_within_a_streams_share_of_bytes(autojump_clock: MockClock) -> None:
    async with (
        open_pair() as (connection, pair),
        connection.stream("Flood", "x", item_type=str, capacity=10) as unread,
    ):
        await wait_all_tasks_blocked()
        assert len(pair.made) == 10
        for _ in range(10):
            await unread.read()
        await wait_all_tasks_blocked()
        assert 1000 < len(pair.made) <= 10 + 64 * 1024 / 35


# ---- peers that do not speak it, that break it, and that lie


async def test_a_client_that_does_not_speak_it_is_told_nothing_of_it(autojump_clock: MockClock) -> None:
    pair = Pair()
    served = served_hub(Flood, lambda: Flood(pair.made, pair.read, pair.unread))
    async with open_client(served, handshake=False) as client:
        assert await client.shake_hands(stream("Count", 20), credit("1", 1)) == {}
        assert await client.take(21) == [*(item("1", number) for number in range(20)), ended("1")]


@both_protocols
async def test_a_client_has_so_many_items_as_it_has_given_credit_for(
    autojump_clock: MockClock, protocol: str
) -> None:
    pair = Pair()
    served = served_hub(Flood, lambda: Flood(pair.made, pair.read, pair.unread))
    async with open_client(served, protocol, handshake=False) as client:
        assert await client.shake_hands(stream("Count", 20), streamCredits=1) == {"streamCredits": 10}
        assert await client.arrived() == []
        await client.send(credit("1", 3), credit("unknown", 5))
        assert await client.arrived() == [item("1", number) for number in range(3)]
        await client.send(credit("1", 2**63 - 1), credit("1", 2**63 - 1))
        assert await client.take(18) == [*(item("1", number) for number in range(3, 20)), ended("1")]
        await client.send(credit("1", 5), call("Echo", "still here", id="2"))
        assert await client.receive() == result("2", "still here")


async def test_a_client_that_uploads_more_than_its_credit_loses_that_upload_alone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    pair = Pair()
    served = served_hub(
        Flood,
        lambda: Flood(pair.made, pair.read, pair.unread),
        maximum_parallel_invocations=2,
        detailed_errors=True,
    )
    async with open_client(served, handshake=False) as client:
        await client.shake_hands(call("Take", id="1", uploads=["2"]), streamCredits=1)
        await client.send(*[item("2", "x")] * 11, call("Echo", "still here", id="3"))
        assert await client.receive() == result("3", "still here")
        pair.unread.set()
        answer = await client.receive()
        assert "StreamOverflow: The peer sent more items than it had credit for" in answer["error"]
        assert len(pair.read) == 10
        await client.send(call("Echo", "and here", id="4"))
        assert await client.receive() == result("4", "and here")


async def test_a_server_that_streams_more_than_its_credit_loses_that_stream_alone(
    autojump_clock: MockClock,
) -> None:
    async with open_raw_server(answer=b'{"streamCredits":5}\x1e') as (connection, server):
        async with connection.stream("Flood", item_type=int, capacity=4) as reader:
            assert await server.take(2) == [stream("Flood"), credit("1", 4)]
            await server.send(*[item("1", number) for number in range(5)])
            assert await server.receive() == cancel("1")
            assert reader.read_ready() == [0, 1, 2, 3]
            with pytest.raises(StreamOverflow, match="more items than it had credit for"):
                await reader.read()
        async with trio.open_nursery() as nursery:

            async def answer() -> None:
                await server.receive()
                await server.send(result("2", 42))

            nursery.start_soon(answer)
            assert await connection.invoke("Ask", result_type=int) == 42


async def test_an_upload_keeps_to_the_servers_credit(autojump_clock: MockClock) -> None:
    async def numbers() -> AsyncIterator[int]:
        for number in range(10):
            yield number

    async with open_raw_server(answer=b'{"streamCredits":2}\x1e') as (connection, server):
        await connection.send("Take", numbers())
        assert (await server.receive())["streamIds"] == ["1"]
        assert await server.arrived() == [item("1", 0), item("1", 1)]
        await server.send(credit("1", 3))
        assert await server.arrived() == [item("1", 2), item("1", 3), item("1", 4)]
        await server.send(credit("1", 3000))
        assert await server.arrived() == [*(item("1", number) for number in range(5, 10)), ended("1")]
