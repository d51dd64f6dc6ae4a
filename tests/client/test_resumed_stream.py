"""Streams that go on over one link after another: no item twice, none left out, and one end."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import PROTOCOLS, RawPeer
from tests.messages import cancel, close, ended, item, stream
from trio_hubs import (
    BindingError,
    ChannelClosed,
    ConnectionClosed,
    DropOldest,
    HubConnectionState,
    HubException,
    StreamGap,
)

from .dials import Dials, always, becomes, greet, open_over

CONNECTED, RECONNECTING = HubConnectionState.CONNECTED, HubConnectionState.RECONNECTING


def from_next(number: int) -> tuple[int]:
    """The arguments of a stream that begins behind this item."""
    return (number + 1,)


async def items_of(server: RawPeer, first: int, *numbers: int) -> None:
    """Take a call for the stream from this item on, and send some."""
    assert await server.receive() == stream("Count", first)
    if numbers:
        await server.send(*(item("1", number) for number in numbers))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_stream_goes_on_behind_the_last_item_that_was_read(
    autojump_clock: MockClock, protocol: str
) -> None:
    dials = Dials(protocol)
    servers = [dials.server() for _ in range(3)]
    async with (
        open_over(dials, reconnect=always) as connection,
        connection.stream("Count", 0, item_type=int, resume=from_next) as reader,
        trio.open_nursery() as nursery,
    ):

        async def serve() -> None:
            for server, numbers in zip(servers, ((0, 1, 2), (3,), (4, 5)), strict=True):
                await greet(server)
                await items_of(server, numbers[0], *numbers)
                if server is servers[-1]:
                    await server.send(ended("1"))
                else:
                    server.leave()

        nursery.start_soon(serve)
        assert [number async for number in reader] == [0, 1, 2, 3, 4, 5]
        with pytest.raises(trio.EndOfChannel):
            await reader.read()


@pytest.mark.parametrize("gaps", [True, False])
async def test_what_has_arrived_is_read_before_the_stream_is_called_again(
    autojump_clock: MockClock, gaps: bool
) -> None:
    dials = Dials()
    first, second = dials.server(), dials.server()
    async with (
        open_over(dials, reconnect=always) as connection,
        connection.stream("Count", 0, item_type=int, resume=from_next, gaps=gaps) as reader,
    ):
        await greet(first)
        await items_of(first, 0, 0, 1, 2)
        await wait_all_tasks_blocked()
        assert await reader.read() == 0
        first.leave()
        await becomes(connection, RECONNECTING)
        await becomes(connection, CONNECTED)
        await greet(second)
        assert await second.arrived() == []
        assert reader.read_ready() == [1, 2]
        with pytest.raises(trio.WouldBlock):
            reader.read_nowait()
        async with trio.open_nursery() as nursery:
            read: list[Any] = []

            async def read_on() -> None:
                read.append(await reader.read())

            nursery.start_soon(read_on)
            await items_of(second, 3, 3)
        if gaps:
            assert isinstance(read[0], StreamGap)
            assert str(read[0].reason) == "The connection was lost."
            read = [await reader.read()]
        assert read == [3]


async def test_until_an_item_was_read_the_arguments_stay(autojump_clock: MockClock) -> None:
    dials = Dials()
    first, second = dials.server(), dials.server()
    async with (
        open_over(dials, reconnect=always) as connection,
        connection.stream("Count", 7, resume=lambda _: pytest.fail("asked")) as reader,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.wait_to_read)
            await greet(first)
            await items_of(first, 7)
            first.leave()
            await greet(second)
            await items_of(second, 7, 7)
        assert await reader.read() == 7


async def test_a_link_that_is_lost_before_the_call_is_sent_is_another_gap(autojump_clock: MockClock) -> None:
    dials = Dials()
    servers = [dials.server() for _ in range(4)]
    async with (
        open_over(dials, reconnect=always) as connection,
        connection.stream("Count", 0, resume=from_next) as reader,
        trio.open_nursery() as nursery,
    ):
        await greet(servers[0])
        await items_of(servers[0], 0, 0)
        assert await reader.read() == 0
        for server in servers[:3]:
            server.leave()

        async def serve() -> None:
            await greet(servers[3])
            await items_of(servers[3], 1, 1)

        nursery.start_soon(serve)
        assert await reader.read() == 1


@pytest.mark.parametrize("error", ["", "bad"])
async def test_the_servers_end_is_the_end(autojump_clock: MockClock, error: str) -> None:
    dials = Dials()
    server = dials.server()
    dials.server()
    async with (
        open_over(dials, reconnect=always) as connection,
        connection.stream("Count", 0, resume=from_next) as reader,
    ):
        await greet(server)
        await items_of(server, 0, 0)
        await server.send(ended("1", error))
        assert await reader.read() == 0
        for _ in range(2):
            with pytest.raises(HubException if error else trio.EndOfChannel):
                await reader.read()
        server.leave()
        await becomes(connection, RECONNECTING)
        await becomes(connection, CONNECTED)


async def test_the_end_of_the_connection_is_the_streams_too(autojump_clock: MockClock) -> None:
    dials = Dials()
    server = dials.server()
    async with (
        open_over(dials, reconnect=always) as connection,
        connection.stream("Count", 0, resume=from_next) as reader,
    ):
        await greet(server)
        await items_of(server, 0, 0)
        await server.send(close("go away"))
        assert await reader.read() == 0
        for _ in range(2):
            with pytest.raises(ConnectionClosed, match="go away"):
                await reader.read()


async def test_on_one_link_a_stream_ends_with_it(autojump_clock: MockClock) -> None:
    dials = Dials()
    first = dials.server()
    dials.server()
    async with open_over(dials, reconnect=always) as connection:
        link = await anext(connection.links())
        async with link.stream("Count", 0, resume=from_next) as reader:
            await greet(first)
            first.leave()
            with pytest.raises(ConnectionClosed):
                await reader.read()


@pytest.mark.parametrize("fault", [KeyError("mine"), BindingError("unfit")])
async def test_what_goes_wrong_with_the_next_arguments_ends_the_stream(
    autojump_clock: MockClock, fault: Exception
) -> None:
    def resume(last: int) -> Any:
        if isinstance(fault, KeyError):
            raise fault
        return (object(),)

    dials = Dials()
    server = dials.server()
    dials.server()
    async with (
        open_over(dials, reconnect=always) as connection,
        connection.stream("Count", 0, item_type=int, resume=resume) as reader,
    ):
        await greet(server)
        await items_of(server, 0, 0)
        assert await reader.read() == 0
        server.leave()
        with pytest.raises(type(fault)):
            await reader.read()


@pytest.mark.parametrize("early", [True, False])
async def test_leaving_cancels_the_stream_of_the_moment(autojump_clock: MockClock, early: bool) -> None:
    dials = Dials()
    first, second = dials.server(), dials.server()
    async with open_over(dials, reconnect=always) as connection:
        async with (
            connection.stream("Count", 0, resume=from_next) as reader,
            trio.open_nursery() as nursery,
        ):
            await greet(first)
            await items_of(first, 0)
            nursery.start_soon(reader.wait_to_read)
            first.leave()
            await greet(second)
            await items_of(second, 0, 0)
            await wait_all_tasks_blocked()
            if early:
                reader.close()
                with pytest.raises(ChannelClosed):
                    await reader.read()
        assert await second.receive() == cancel("1")


async def test_leaving_while_the_connection_is_away_leaves_nothing(autojump_clock: MockClock) -> None:
    dials = Dials()
    first, second = dials.server(), dials.server()
    async with open_over(dials, reconnect=always) as connection:
        with trio.move_on_after(0.5) as scope:
            async with connection.stream("Count", 0, resume=from_next) as reader:
                await greet(first)
                await items_of(first, 0)
                first.leave()
                await reader.read()
        assert scope.cancelled_caught
        await greet(second)
        assert await second.arrived() == []


async def test_a_reader_that_is_closed_while_another_task_calls_again(autojump_clock: MockClock) -> None:
    dials = Dials()
    first, second = dials.server(), dials.server()
    async with (
        open_over(dials, reconnect=always) as connection,
        connection.stream("Count", 0, resume=from_next) as reader,
        trio.open_nursery() as nursery,
    ):

        async def read() -> None:
            with pytest.raises(ChannelClosed):
                await reader.read()

        nursery.start_soon(read)
        nursery.start_soon(read)
        await greet(first)
        await items_of(first, 0)
        first.leave()
        await becomes(connection, RECONNECTING)
        await wait_all_tasks_blocked()
        reader.close()
        await greet(second)
        assert await second.arrived() == [stream("Count", 0), cancel("1")]


async def test_uploads_cannot_go_on(autojump_clock: MockClock) -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    dials = Dials()
    dials.server()
    async with open_over(dials, reconnect=always) as connection:
        with pytest.raises(TypeError, match="uploads cannot be sent again"):
            connection.stream("Double", numbers(), resume=from_next)


async def test_what_its_policy_drops_is_counted_over_all_links(autojump_clock: MockClock) -> None:
    dials = Dials()
    first, second = dials.server(), dials.server()
    async with (
        open_over(dials, reconnect=always) as connection,
        connection.stream("Count", 0, capacity=1, when_full=DropOldest(), resume=from_next) as reader,
    ):
        await greet(first)
        await items_of(first, 0, 0, 1, 2)
        await wait_all_tasks_blocked()
        assert (await reader.read(), reader.dropped) == (2, 2)
        first.leave()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.wait_to_read)
            await greet(second)
            await items_of(second, 3)
            await second.send(item("1", 3))
        await second.send(item("1", 4), item("1", 5))
        await wait_all_tasks_blocked()
        assert [await reader.read(), await reader.read()] == [3, 5]
        assert reader.dropped == 3
