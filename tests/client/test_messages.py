"""Readers of what the server calls: typed, bounded, and beside all handlers."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import PROTOCOLS, open_raw_server
from tests.messages import call, close, ended, item, result, stream
from trio_hubs import (
    ChannelReader,
    Conflate,
    ConnectionClosed,
    DropOldest,
    HubConnectionOptions,
    StreamOverflow,
    Wait,
)

from .dials import Dials, after, greet, open_over

both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


@both_protocols
@pytest.mark.parametrize(
    ("types", "arguments", "got"),
    [
        ((int,), [7], 7),
        ((str, float), ["a", 1], ("a", 1.0)),
        ((list[int], int | None, str), [[1], None, "b"], ([1], None, "b")),
        ((), [], ()),
        ((), [1, "a"], (1, "a")),
    ],
)
async def test_a_reader_gives_what_its_types_say(
    autojump_clock: MockClock,
    protocol: str,
    types: tuple[Any, ...],
    arguments: list[Any],
    got: Any,
) -> None:
    async with open_raw_server(protocol) as (connection, server):
        async with connection.messages("Hear", *types) as reader:
            await server.send(call("Hear", *arguments), call("Other", 1))
            await server.send(call("Hear", *arguments))
            assert [await reader.read(), await reader.read()] == [got, got]
        await server.send(call("Hear", *arguments))
        await wait_all_tasks_blocked()
        assert connection._handlers.readers._incoming._streams == {}


@both_protocols
async def test_messages_that_do_not_fit_are_left_out_and_logged(
    autojump_clock: MockClock,
    protocol: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        open_raw_server(protocol) as (connection, server),
        connection.messages("Hear", int) as reader,
        connection.messages("Hear", str, when_full=DropOldest()) as texts,
    ):
        await server.send(call("Hear", 1), call("Hear", "x"), call("Hear", 2, 3), call("Hear", 4))
        assert [await reader.read(), await reader.read()] == [1, 4]
        assert texts.read_ready() == ["x"]
    assert caplog.text.count("does not fit its reader") == 5


async def test_extra_arguments_are_left_out_where_that_is_chosen(autojump_clock: MockClock) -> None:
    options = HubConnectionOptions(ignore_extra_arguments=True)
    async with (
        open_raw_server(options=options) as (connection, server),
        connection.messages("Hear", int) as reader,
    ):
        await server.send(call("Hear", 1, "new"))
        assert await reader.read() == 1


async def test_readers_are_beside_handlers_and_answer_nobody(autojump_clock: MockClock) -> None:
    async with (
        open_raw_server(handlers={"Slow": trio.sleep_forever}) as (connection, server),
        connection.messages("Hear", int) as reader,
        connection.messages("Slow") as slow,
    ):
        await server.send(call("Slow"), call("Hear", 1), call("Hear", 2, id="1"))
        assert await slow.read() == ()
        assert [await reader.read(), await reader.read()] == [1, 2]
        assert await server.receive() == ended("1", "Client didn't provide a result.")


@pytest.mark.parametrize(
    ("policy", "left"),
    [
        (DropOldest(), [("a", 3), ("c", 4), ("b", 5)]),
        (Conflate(), [("b", 5)]),
        (Conflate(lambda message: message[0]), [("a", 3), ("c", 4), ("b", 5)]),
    ],
)
async def test_what_a_slow_reader_misses_is_the_policys_and_is_counted(
    autojump_clock: MockClock, policy: Any, left: list[Any]
) -> None:
    prices = [("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", 5)]
    reader: ChannelReader[tuple[str, int]]
    async with (
        open_raw_server() as (connection, server),
        connection.messages("Price", str, int, capacity=3, when_full=policy) as reader,
    ):
        await server.send(*[call("Price", *price) for price in prices])
        await wait_all_tasks_blocked()
        assert reader.read_ready() == left
        assert reader.dropped == 5 - len(left)


async def test_a_reader_that_is_slow_has_the_server_wait(autojump_clock: MockClock) -> None:
    options = HubConnectionOptions(stream_buffer_size=1000)
    async with open_raw_server(options=options) as (connection, server):
        async with connection.messages("Hear", int, capacity=10) as reader:
            for number in range(200):
                await server.send(call("Hear", number))
            await wait_all_tasks_blocked()
            assert server.connection._outgoing.statistics().current_buffer_used > 100
            assert [await reader.read() for _ in range(200)] == list(range(200))
        assert reader.dropped == 0


async def test_beyond_the_limit_a_reader_fails_alone(autojump_clock: MockClock) -> None:
    options = HubConnectionOptions(stream_buffer_size=1000, connection_buffer_limit=10_000)
    async with (
        open_raw_server(options=options) as (connection, server),
        connection.messages("Hear", int) as reader,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(connection.invoke, "Wait")
        assert (await server.receive())["target"] == "Wait"
        await server.send(*[call("Hear", number) for number in range(1000)])
        await server.send(result("1", None))
        count = 0
        with pytest.raises(StreamOverflow):
            async for number in reader:
                assert number == count
                count += 1
        assert 100 < count < 1000
        nursery.start_soon(connection.invoke, "Next")
        assert (await server.receive())["target"] == "Next"
        await server.send(result("2", None))


async def test_the_end_of_the_connection_is_a_readers_end(autojump_clock: MockClock) -> None:
    async with (
        open_raw_server() as (connection, server),
        connection.messages("Hear", int) as reader,
    ):
        await server.send(call("Hear", 1))
        server.connection.close()
        await connection.wait_closed()
        assert await reader.read() == 1
        with pytest.raises(ConnectionClosed):
            await reader.read()
        with pytest.raises(ConnectionClosed):
            async with connection.messages("Hear", int):
                raise AssertionError


async def test_a_reader_that_waits_has_a_connection_read_behind_a_full_stream(
    autojump_clock: MockClock,
) -> None:
    options = HubConnectionOptions(stream_buffer_size=1000)
    async with (
        open_raw_server(options=options) as (connection, server),
        connection.stream("Flood") as flood,
        connection.messages("Done", str) as done,
    ):
        assert await server.receive() == stream("Flood")
        for number in range(500):
            await server.send(item("1", number))
        await server.send(call("Done", "it"))
        with trio.fail_after(0.1):
            assert await done.read() == "it"
        assert flood.read_ready() == list(range(500))


@pytest.mark.parametrize("policy", [Wait(), DropOldest()])
async def test_a_reader_goes_on_over_reconnects(autojump_clock: MockClock, policy: Wait | DropOldest) -> None:
    dials = Dials()
    servers = [dials.server(), dials.server(), dials.server()]
    got: list[int] = []
    async with (
        open_over(dials, reconnect=after(1, 1, 1)) as connection,
        connection.messages("Hear", int, when_full=policy) as reader,
        trio.open_nursery() as nursery,
    ):
        ended = trio.Event()

        async def wait_closed() -> None:
            await connection.wait_closed()
            ended.set()

        nursery.start_soon(wait_closed)
        for number, server in enumerate(servers):
            await greet(server)
            await server.send(call("Hear", 2 * number), call("Hear", 2 * number + 1))
            got.append(await reader.read())
            if number < 2:
                server.leave()
        assert not ended.is_set()
        got += [await reader.read() for _ in range(3)]
        assert got == [0, 1, 2, 3, 4, 5]
        await servers[2].send(close("enough"))
        await ended.wait()
        with pytest.raises(ConnectionClosed, match="enough"):
            await reader.read()
