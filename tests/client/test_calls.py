"""Our client's calls, streams and uploads, beside a raw server: what it says, and what it makes of what it hears."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import PROTOCOLS, RawPeer, RawServer, open_raw_server
from tests.messages import call, cancel, ended, item, result, stream
from trio_hubs import BindingError, ConnectionClosed, HubException, open_channel
from trio_hubs.client.opening import open_over

from .sources import broken, numbers, written

both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


# ---- calls


async def answering(server: RawPeer, *answers: Any) -> Any:
    """Take a call, and send these messages."""
    message = await server.receive()
    await server.send(*answers)
    return message


@both_protocols
@pytest.mark.parametrize(
    ("answer", "type_", "value"),
    [
        (result("1", {"a": [1, None]}), Any, {"a": [1, None]}),
        (result("1", None), Any, None),
        (ended("1"), Any, None),
        (result("1", 3), float, 3.0),
        (result("1", [1]), list[int], [1]),
    ],
)
async def test_invoke_sends_a_call_and_gives_its_result(
    protocol: str,
    answer: Any,
    type_: Any,
    value: Any,
    autojump_clock: MockClock,
) -> None:
    async with open_raw_server(protocol) as (connection, server), trio.open_nursery() as nursery:

        async def serve() -> None:
            assert await answering(server, answer) == call("Add", 40, "x", id="1")

        nursery.start_soon(serve)
        assert await connection.invoke("Add", 40, "x", result_type=type_) == value


@both_protocols
async def test_the_servers_error_is_raised_with_its_text(autojump_clock: MockClock, protocol: str) -> None:
    async with open_raw_server(protocol) as (connection, server), trio.open_nursery() as nursery:
        nursery.start_soon(answering, server, ended("1", "as the server says"))
        with pytest.raises(HubException) as caught:
            await connection.invoke("Fail")
        assert str(caught.value) == "as the server says"


@both_protocols
async def test_a_result_of_another_type_fails_its_call_alone(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_raw_server(protocol) as (connection, server), trio.open_nursery() as nursery:
        nursery.start_soon(answering, server, result("1", "text"))
        with pytest.raises(BindingError):
            await connection.invoke("Add", result_type=int)
        nursery.start_soon(answering, server, result("2", 2))
        assert await connection.invoke("Add", result_type=int) == 2


@both_protocols
async def test_an_argument_that_cannot_be_written_fails_its_call_alone(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_raw_server(protocol) as (connection, server):
        with pytest.raises(BindingError):
            await connection.invoke("Add", object())
        with pytest.raises(BindingError):
            await connection.send("Add", object())
        with pytest.raises(BindingError):
            async with connection.stream("Add", object()):
                raise AssertionError
        await connection.send("Add", 1)
        assert await server.arrived() == [call("Add", 1)]


async def test_an_item_for_a_call_that_waits_for_a_result_says_to_stream(autojump_clock: MockClock) -> None:
    async with open_raw_server() as (connection, server), trio.open_nursery() as nursery:
        nursery.start_soon(answering, server, item("1", 1))
        with pytest.raises(HubException, match=r"stream\(\), not invoke\(\)"):
            await connection.invoke("Count")


@both_protocols
async def test_cancelling_an_invoke_cancels_it_at_the_server(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_raw_server(protocol) as (connection, server):
        with trio.move_on_after(5) as scope:
            await connection.invoke("Slow")
        assert scope.cancelled_caught
        await server.send(result("1", "too late"))
        assert await server.arrived() == [call("Slow", id="1"), cancel("1")]


async def test_a_scope_that_ends_waits_for_nothing_and_the_connection_goes_on(
    autojump_clock: MockClock,
) -> None:
    server = RawServer(capacity=1)
    await server.send_bytes(b"{}\x1e")
    async with open_over([server.dial]) as connection:
        begin = trio.current_time()
        for _ in range(2):  # the server takes nothing; the second call waits for room
            with trio.move_on_after(1):
                await connection.invoke("Slow", "x" * 100_000, numbers(3))
        with trio.move_on_after(1):
            async with connection.stream("Slow", "x" * 100_000) as reader:
                await reader.read()
        assert trio.current_time() - begin == 3
        await server.receive_record()
        messages = await server.arrived()
        assert [message["type"] for message in messages] == [6, 1, 2, 3, 5]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.invoke, "Next")
            asked = await server.receive()
            await server.send(ended(asked["invocationId"]))


async def test_a_call_that_is_cancelled_already_is_not_made(autojump_clock: MockClock) -> None:
    async with open_raw_server() as (connection, server):
        for attempt in (connection.invoke("A"), connection.send("B")):
            with trio.CancelScope() as scope:
                scope.cancel()
                await attempt
            assert scope.cancelled_caught
        messages = await server.arrived()
        assert [message for message in messages if message["type"] == 1] == []


@both_protocols
async def test_many_tasks_may_call_at_once(autojump_clock: MockClock, protocol: str) -> None:
    got: dict[int, int] = {}
    async with open_raw_server(protocol) as (connection, server):

        async def one(number: int) -> None:
            got[number] = await connection.invoke("Double", number)

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(one, number)
            calls = await server.take(50)
            for message in reversed(calls):
                await server.send(result(message["invocationId"], 2 * message["arguments"][0]))
    assert got == {number: 2 * number for number in range(50)}


# ---- streams


@both_protocols
async def test_a_stream_gives_its_items_and_ends(autojump_clock: MockClock, protocol: str) -> None:
    async with open_raw_server(protocol) as (connection, server):
        async with connection.stream("Count", 3, item_type=int) as reader:
            assert await server.receive() == stream("Count", 3, id="1")
            await server.send(item("1", 0), item("1", 1), item("1", 2), ended("1"))
            assert [number async for number in reader] == [0, 1, 2]
        assert await server.arrived() == []


async def test_a_stream_needs_room_for_an_item(autojump_clock: MockClock) -> None:
    async with open_raw_server() as (connection, server):
        with pytest.raises(ValueError, match=r"^capacity must be 1 or more: 0$"):
            connection.stream("Count", 3, capacity=0)
        with pytest.raises(ValueError, match=r"^capacity must be 1 or more: -1$"):
            async with connection.messages("Price", capacity=-1):
                raise AssertionError
        assert await server.arrived() == []


@both_protocols
async def test_the_net_loop_reads_all_of_a_stream(autojump_clock: MockClock, protocol: str) -> None:
    got: list[int] = []
    async with (
        open_raw_server(protocol) as (connection, server),
        connection.stream("Count", item_type=int) as reader,
    ):
        await server.send(*[item("1", number) for number in range(500)], ended("1"))
        while await reader.wait_to_read():
            got += reader.read_ready()
    assert got == list(range(500))


@both_protocols
async def test_leaving_a_stream_cancels_it_at_the_server(autojump_clock: MockClock, protocol: str) -> None:
    async with open_raw_server(protocol) as (connection, server):
        async with connection.stream("Count") as reader:
            await server.send(item("1", 0))
            assert await reader.read() == 0
        assert await server.arrived() == [stream("Count"), cancel("1")]
        await server.send(*[item("1", number) for number in range(100)], ended("1"))
        await connection.send("Next")
        assert await server.arrived() == [call("Next")]


async def test_cancelling_the_body_of_a_stream_cancels_it_at_the_server(autojump_clock: MockClock) -> None:
    async with open_raw_server() as (connection, server):
        with trio.move_on_after(5):
            async with connection.stream("Count") as reader:
                await reader.read()
        assert await server.arrived() == [stream("Count"), cancel("1")]


@both_protocols
async def test_a_failed_stream_raises_after_its_items(autojump_clock: MockClock, protocol: str) -> None:
    async with (
        open_raw_server(protocol) as (connection, server),
        connection.stream("Count") as reader,
    ):
        await server.send(item("1", 0), ended("1", "as the server says"))
        assert await reader.read() == 0
        with pytest.raises(HubException) as caught:
            await reader.read()
        assert str(caught.value) == "as the server says"


@both_protocols
async def test_an_item_of_another_type_fails_its_stream_alone_and_the_server_is_told(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_raw_server(protocol) as (connection, server):
        async with connection.stream("Count", item_type=int) as reader:
            await server.send(item("1", 0), item("1", "text"), item("1", 2))
            assert await reader.read() == 0
            with pytest.raises(BindingError):
                await reader.read()
            assert await server.arrived() == [stream("Count"), cancel("1")]
        await connection.send("Next")
        assert await server.arrived() == [call("Next")]


async def test_the_error_of_a_streams_body_comes_out_bare(autojump_clock: MockClock) -> None:
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with open_raw_server() as (connection, _), connection.stream("Count"):
            raise error
    assert caught.value is error


# ---- uploads


@both_protocols
@pytest.mark.parametrize("make", [numbers, written])
async def test_an_upload_goes_from_its_first_item_to_its_end(
    autojump_clock: MockClock, protocol: str, make: Any
) -> None:
    async with open_raw_server(protocol) as (connection, server):
        await connection.send("Sum", "a", make(2), "b")
        assert await server.arrived() == [
            call("Sum", "a", "b", uploads=("1",)),
            item("1", 0),
            item("1", 1),
            ended("1"),
        ]


@both_protocols
@pytest.mark.parametrize("how", ["invoke", "stream"])
async def test_several_uploads_go_with_a_call(autojump_clock: MockClock, protocol: str, how: str) -> None:
    async with open_raw_server(protocol) as (connection, server), trio.open_nursery() as nursery:

        async def answer() -> None:
            messages = await server.take(1 + 3 + 2)
            target = call if how == "invoke" else stream
            assert messages[0] == target("Sum", id="3", uploads=("1", "2"))
            for id, count in (("1", 2), ("2", 1)):
                assert [message for message in messages if message["invocationId"] == id] == [
                    *[item(id, number) for number in range(count)],
                    ended(id),
                ]
            await server.send(result("3", 7) if how == "invoke" else ended("3"))

        nursery.start_soon(answer)
        if how == "invoke":
            assert await connection.invoke("Sum", numbers(2), numbers(1)) == 7
        else:
            async with connection.stream("Sum", numbers(2), numbers(1)) as reader:
                assert [number async for number in reader] == []


@both_protocols
async def test_a_failed_upload_is_an_error_to_the_server(autojump_clock: MockClock, protocol: str) -> None:
    async with open_raw_server(protocol) as (connection, server):
        await connection.send("Sum", broken(1))
        assert await server.arrived() == [
            call("Sum", uploads=("1",)),
            item("1", 0),
            ended("1", "Stream errored by client: 'broken'"),
        ]


@both_protocols
@pytest.mark.parametrize("how", ["send", "invoke"])
async def test_a_source_whose_own_connection_is_gone_fails_its_upload(
    autojump_clock: MockClock, protocol: str, how: str
) -> None:
    async def bridge() -> AsyncIterator[int]:
        yield 0
        raise ConnectionClosed("source gone")

    async with open_raw_server(protocol) as (connection, server), trio.open_nursery() as nursery:
        nursery.start_soon(getattr(connection, how), "Sum", bridge())
        messages = await server.arrived()
        assert messages[1:] == [item("1", 0), ended("1", "Stream errored by client: 'source gone'")]
        await server.send(ended("2"))


@both_protocols
async def test_a_cancelled_upload_is_no_clean_end(autojump_clock: MockClock, protocol: str) -> None:
    _, endless = open_channel(int)
    async with open_raw_server(protocol) as (connection, server):
        with trio.move_on_after(5):
            await connection.invoke("Sum", endless)
        messages = await server.arrived()
        assert messages[0] == call("Sum", id="2", uploads=("1",))
        assert ended("1", "Stream canceled by client.") in messages
        assert cancel("2") in messages
        assert len(messages) == 3
