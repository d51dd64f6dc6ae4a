"""Our client's connection, beside a raw server: how it begins, what it makes of the server's end, and how it ends."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import PROTOCOLS, RawServer, no_task_left, open_raw_server
from tests.messages import PING, call, close, encode, framed, item
from trio_hubs import (
    ConnectionClosed,
    Hub,
    HubApp,
    HubConnection,
    HubConnectionOptions,
    NegotiationError,
    open_channel,
    open_hub_connection,
)
from trio_hubs.client.opening import open_over
from trio_hubs.testing import open_test_client

from .sources import numbers

both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


# ---- the server ends the connection


async def fails_of(connection: HubConnection) -> list[str]:
    """What the things that wait on a connection fail with, once it ends."""
    texts: list[str] = []

    async def invoke() -> None:
        with pytest.raises(ConnectionClosed) as caught:
            await connection.invoke("Slow")
        texts.append(str(caught.value))

    async def read() -> None:
        async with connection.stream("Slow") as reader:
            with pytest.raises(ConnectionClosed) as caught:
                await reader.read()
            texts.append(str(caught.value))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(invoke)
        nursery.start_soon(read)
    for attempt in (connection.invoke("Late"), connection.send("Late")):
        with pytest.raises(ConnectionClosed) as caught:
            await attempt
        texts.append(str(caught.value))
    with pytest.raises(ConnectionClosed) as caught:
        async with connection.stream("Late"):
            raise AssertionError
    texts.append(str(caught.value))
    return texts


@both_protocols
@pytest.mark.parametrize(
    ("end", "text"),
    [
        (close(), "The server closed the connection."),
        (close(allow_reconnect=True), "The server closed the connection."),
        (close("bad"), "The server closed the connection with the following error: bad"),
        (None, "The connection has been closed."),
    ],
)
async def test_when_the_server_closes_all_that_waits_fails_and_says_so(
    autojump_clock: MockClock, protocol: str, end: Any, text: str
) -> None:
    with no_task_left():
        async with (
            open_raw_server(protocol) as (connection, server),
            trio.open_nursery() as nursery,
        ):

            async def end_it() -> None:
                await server.take(2)
                if end is not None:
                    await server.send(end)
                server.connection.close()

            nursery.start_soon(end_it)
            assert await fails_of(connection) == [text] * 5


async def test_a_lost_connection_fails_all_that_waits_and_the_body_goes_on(autojump_clock: MockClock) -> None:
    async with open_raw_server() as (connection, server), trio.open_nursery() as nursery:

        async def lose_it() -> None:
            await server.take(2)
            server.leave()

        nursery.start_soon(lose_it)
        assert len(await fails_of(connection)) == 5
        await trio.sleep(100)


@both_protocols
async def test_a_malformed_message_ends_the_connection(autojump_clock: MockClock, protocol: str) -> None:
    async with open_raw_server(protocol) as (connection, server), trio.open_nursery() as nursery:
        bad = b"{oops}\x1e" if protocol == "json" else framed(b"\x91\xa1\x31")

        async def spoil() -> None:
            await server.take(2)
            await server.send_bytes(bad)

        nursery.start_soon(spoil)
        reason = "Error reading JSON." if protocol == "json" else "Reading 'messageType' as Int32 failed."
        assert await fails_of(connection) == [f"The connection ended: {reason}"] * 5


async def test_input_that_ends_inside_a_message_says_so(autojump_clock: MockClock) -> None:
    async with open_raw_server() as (connection, server), trio.open_nursery() as nursery:

        async def cut_off() -> None:
            await server.take(2)
            await server.send_bytes(b'{"type"')
            server.connection.close()

        nursery.start_soon(cut_off)
        text = "The connection ended: Connection terminated while reading a message."
        assert await fails_of(connection) == [text] * 5


async def test_items_before_the_end_are_read_first(autojump_clock: MockClock) -> None:
    async with open_raw_server() as (connection, server), connection.stream("Count") as reader:
        await server.send(item("1", 0), item("1", 1), close())
        assert [await reader.read(), await reader.read()] == [0, 1]
        with pytest.raises(ConnectionClosed, match="The server closed the connection"):
            await reader.read()


@both_protocols
async def test_a_silent_server_is_given_up_with_the_official_text(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_raw_server(protocol) as (connection, _):
        texts = await fails_of(connection)
        assert 30.0 <= trio.current_time() <= 32.0
    text = "Server timeout (30000.00ms) elapsed without receiving a message from the server."
    assert texts == [text] * 5


async def test_any_bytes_of_the_server_are_life(autojump_clock: MockClock) -> None:
    async with open_raw_server() as (connection, server):
        for byte in encode("json", PING):
            await trio.sleep(25)
            await server.send_bytes(bytes([byte]))
        await connection.send("Still", "here")
        assert call("Still", "here") in await server.arrived()


# ---- pings


@both_protocols
async def test_an_idle_client_pings(autojump_clock: MockClock, protocol: str) -> None:
    options = HubConnectionOptions(keep_alive_interval=10.0, server_timeout=1000.0)
    async with open_raw_server(protocol, options=options) as (_, server):
        await trio.sleep(35)
        assert await server.arrived() == [PING] * 3


async def test_a_busy_client_does_not_ping(autojump_clock: MockClock) -> None:
    options = HubConnectionOptions(keep_alive_interval=10.0, server_timeout=1000.0)
    async with open_raw_server(options=options) as (connection, server):
        for _ in range(10):
            await trio.sleep(7)
            await connection.send("Busy")
        assert await server.arrived() == [call("Busy")] * 10
        await trio.sleep(14)
        assert await server.arrived() == [PING]


# ---- the end of the block


@both_protocols
async def test_leaving_the_block_says_close(autojump_clock: MockClock, protocol: str) -> None:
    with no_task_left():
        async with open_raw_server(protocol) as (connection, server):
            await connection.send("Last", "word")
    assert await server.rest() == [call("Last", "word"), close()]
    with pytest.raises(ConnectionClosed):
        await connection.send("Late")


async def test_the_bodys_exception_comes_out_bare_and_the_connection_closes(
    autojump_clock: MockClock,
) -> None:
    error = KeyError("mine")
    server = None
    with no_task_left(), pytest.raises(KeyError) as caught:
        async with open_raw_server() as (_, server):
            raise error
    assert caught.value is error
    assert server is not None
    assert await server.rest() == [close()]


async def test_a_group_of_the_bodys_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    error = ExceptionGroup("mine", [KeyError("one"), ValueError("two")])
    with pytest.raises(ExceptionGroup) as caught:
        async with open_raw_server():
            raise error
    assert caught.value is error


@pytest.mark.parametrize("waits", ["nothing", "invoke", "stream", "upload"])
async def test_a_cancelled_block_closes_in_order(autojump_clock: MockClock, waits: str) -> None:
    server = None
    _, endless = open_channel(int)
    with no_task_left(), trio.move_on_after(5) as scope:
        async with open_raw_server() as (connection, server):
            if waits == "invoke":
                await connection.invoke("Slow")
            elif waits == "stream":
                async with connection.stream("Slow") as reader:
                    await reader.read()
            elif waits == "upload":
                await connection.invoke("Slow", endless)
            else:
                await trio.sleep_forever()
    assert scope.cancelled_caught
    assert server is not None
    types = [message["type"] for message in await server.rest()]
    assert types[-1] == 7
    assert types.count(7) == 1


async def test_a_block_cancelled_at_its_beginning_ends(autojump_clock: MockClock) -> None:
    with no_task_left(), trio.CancelScope() as scope:
        async with open_raw_server():
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught


async def test_leaving_the_block_fails_what_other_tasks_wait_for(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery, open_raw_server() as (connection, _):

        async def wait() -> None:
            with pytest.raises(ConnectionClosed):
                await connection.invoke("Slow")

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()


async def test_a_server_that_takes_nothing_does_not_hold_the_block(autojump_clock: MockClock) -> None:
    server = RawServer(capacity=2)
    await server.send_bytes(b"{}\x1e")
    with no_task_left():
        async with open_over([server.dial]) as connection:
            for _ in range(20):
                await connection.send("Word")
                await trio.testing.wait_all_tasks_blocked()
    assert trio.current_time() <= 10


# ---- over sockets: negotiation, the WebSocket and the app together


class Sample(Hub):
    """What the sockets are tried with."""

    def add(self, a: int, b: int) -> int:
        return a + b

    def who(self) -> list[str | None]:
        return [self.context.connection_id, self.context.request.headers.get("X-Who")]

    async def count(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    async def total(self, items: AsyncIterator[int]) -> int:
        return sum([number async for number in items])


@both_protocols
@pytest.mark.parametrize("skip", [False, True])
async def test_a_client_and_the_app_over_a_socket(protocol: Any, skip: bool) -> None:
    app = HubApp()
    app.add_hub("/sample", Sample)
    async with trio.open_nursery() as nursery:
        address: str = await nursery.start(app.serve, "127.0.0.1", 0)
        async with open_hub_connection(
            f"{address}/sample", protocol=protocol, skip_negotiation=skip, headers={"X-Who": "me"}
        ) as connection:
            assert await connection.invoke("Add", 40, 2, result_type=int) == 42
            id, who = await connection.invoke("Who")
            assert who == "me"
            assert connection.connection_id == (None if skip else id)
            async with connection.stream("Count", 1000, item_type=int) as reader:
                assert [number async for number in reader] == list(range(1000))
            assert await connection.invoke("Total", numbers(1000), result_type=int) == 499_500
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("skip", "error"), [(False, NegotiationError), (True, ConnectionClosed)])
async def test_where_there_is_no_hub_there_is_no_connection(
    autojump_clock: MockClock, skip: bool, error: type[Exception]
) -> None:
    with pytest.raises(error, match="404"):
        async with open_test_client(HubApp(), "/nowhere", skip_negotiation=skip):
            raise AssertionError


async def test_a_handler_that_fails_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)

    def fail() -> None:
        raise ValueError("oops")

    async with open_raw_server(handlers={"Fail": fail}) as (_, server):
        await server.send(call("Fail"))
        await server.arrived()
    assert "'Fail' failed" in caplog.text
    assert "ValueError: oops" in caplog.text


# ---- what cannot be meant, and the end


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (close(), "The server closed the connection."),
        (close("bad"), "The server closed the connection with the following error: bad"),
        (None, "The connection has been closed."),
    ],
)
async def test_who_waits_for_the_end_hears_why(autojump_clock: MockClock, end: Any, text: str) -> None:
    heard: list[ConnectionClosed] = []
    async with open_raw_server() as (connection, server), trio.open_nursery() as nursery:

        async def wait() -> None:
            heard.append(await connection.wait_closed())

        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await trio.sleep(1)
        assert heard == []
        if end is not None:
            await server.send(end)
        server.connection.close()
        await trio.testing.wait_all_tasks_blocked()
        assert [str(reason) for reason in heard] == [text] * 2
        assert str(await connection.wait_closed()) == text
