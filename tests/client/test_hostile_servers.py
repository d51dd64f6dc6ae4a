"""What a server says that it should not: it costs the client little, and ends the connection at worst."""

import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from tests.connections.websocket.websocket_peer import (
    TEXT,
    BreakingStream,
    Peer,
    acceptance,
    connected_to,
    frame,
)
from tests.hub_peer import PROTOCOLS, RawPeer, RawServer, no_task_left, open_raw_server
from tests.messages import PING, ack, call, cancel, close, encode, ended, item, result, sequence, stream
from trio_hubs import (
    ConnectionClosed,
    HandshakeError,
    HubConnection,
    HubConnectionOptions,
    HubConnectionState,
    HubException,
    HubsError,
    open_hub_connection,
)
from trio_hubs.client import opening

from .dials import Dials, open_over
from .sources import numbers

both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


# ---- messages for nobody


NOBODYS = [
    item("77", 1),
    result("77", 1),
    ended("77"),
    ended("77", "no"),
    cancel("77"),
    call("Nobody", 1),
    call("Nobody", 1, id="77"),
    stream("Nobody", 1, id="77"),
    stream("Handler", 1, id="77"),
    call("Handler", 1, id="77", uploads=["78"]),
    call("Handler", "no number", id="77"),
    call("Handler"),
    call("Handler", 1, 2, id=""),
]


@both_protocols
async def test_what_is_for_nobody_disturbs_nothing(autojump_clock: MockClock, protocol: str) -> None:
    heard: list[int] = []

    def handler(number: int) -> None:
        heard.append(number)

    async with open_raw_server(protocol, handlers={"Handler": handler}) as (connection, server):
        for message in NOBODYS:
            await server.send(message, message)
        await server.send(call("Handler", 5))
        await wait_all_tasks_blocked()
        await server.arrived()
        assert await answered(connection, server) == 42
        assert heard == [5]


async def test_words_of_stateful_reconnect_mean_nothing_without_it(autojump_clock: MockClock) -> None:
    async with open_raw_server() as (connection, server):
        await server.send(ack(7), sequence(9), ack(-1), {"type": 99, "more": [1]})
        assert await answered(connection, server) == 42


async def answered(connection: HubConnection, server: RawPeer) -> Any:
    """What an invocation gives that the server answers with 42."""
    got: list[Any] = []

    async def invoke() -> None:
        got.append(await connection.invoke("Add"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(invoke)
        message = await server.receive()
        assert message["target"] == "Add"
        await server.send(result(message["invocationId"], 42))
    return got.pop()


# ---- too much of what was asked for


@both_protocols
async def test_a_call_is_completed_once(autojump_clock: MockClock, protocol: str) -> None:
    async with open_raw_server(protocol) as (connection, server):
        async with trio.open_nursery() as nursery:

            async def invoke() -> None:
                assert await connection.invoke("First") == 1

            nursery.start_soon(invoke)
            await server.receive()
            await server.send(result("1", 1), result("1", 2), ended("1", "no"), item("1", 3))
        assert await answered(connection, server) == 42


@both_protocols
async def test_a_stream_ends_once(autojump_clock: MockClock, protocol: str) -> None:
    async with open_raw_server(protocol) as (connection, server):
        async with connection.stream("Count") as reader:
            await server.receive()
            await server.send(
                item("1", 1), result("1", 7), item("1", 2), ended("1", "no"), result("1", 8), item("1", 3)
            )
            assert [number async for number in reader] == [1]
            assert await answered(connection, server) == 42
        async with connection.stream("Count") as reader:
            await server.receive()
            await server.send(item("3", 1), ended("3", "no"), ended("3"), item("3", 2))
            assert await reader.read() == 1
            with pytest.raises(HubException, match=r"^no$"):
                await reader.read()
        await wait_all_tasks_blocked()
        assert await answered(connection, server) == 42


@both_protocols
async def test_items_and_ends_for_an_upload_are_for_nobody(autojump_clock: MockClock, protocol: str) -> None:
    async with open_raw_server(protocol) as (connection, server):
        async with trio.open_nursery() as nursery:

            async def upload() -> None:
                assert await connection.invoke("Sum", numbers(2)) == 1

            nursery.start_soon(upload)
            message = await server.receive()
            (id,) = message["streamIds"]
            await server.send(item(id, 1), result(id, 1), ended(id, "no"))
            assert await server.take(3) == [item(id, 0), item(id, 1), ended(id)]
            await server.send(result(message["invocationId"], 1))
        assert await answered(connection, server) == 42


# ---- floods


@pytest.mark.parametrize("id", ["", "s1"])
async def test_a_flood_of_calls_for_a_slow_handler_is_bounded_while_a_task_waits_for_the_server(
    autojump_clock: MockClock, id: str
) -> None:
    piece = encode("json", call("Slow", "x" * 1000, id=id)) * 100
    async with slow_connection() as (connection, server), trio.open_nursery() as nursery:
        nursery.start_soon(take_answers, server)
        nursery.start_soon(connection.invoke, "Wait")
        tracemalloc.start()
        for _ in range(100):
            await server.send_bytes(piece)
        await wait_all_tasks_blocked()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 3 * LIMIT
        assert connection.state is HubConnectionState.CONNECTED
        nursery.cancel_scope.cancel()


async def test_a_flood_of_calls_for_a_slow_handler_is_bounded_while_nobody_waits(
    autojump_clock: MockClock,
) -> None:
    piece = encode("json", call("Slow", "x" * 1000)) * 100
    sent = 0
    async with slow_connection() as (connection, server), trio.open_nursery() as nursery:
        nursery.start_soon(take_answers, server)
        with trio.move_on_after(3):
            while True:
                await server.send_bytes(piece)
                sent += 1
        assert sent < 5
        tracemalloc.start()
        with trio.move_on_after(100):
            while True:
                await server.send_bytes(piece)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 3 * LIMIT
        assert connection.state is HubConnectionState.CONNECTED
        nursery.cancel_scope.cancel()


async def test_a_server_that_floods_and_takes_no_answers_is_given_up(autojump_clock: MockClock) -> None:
    piece = encode("json", call("Nobody", id="s1")) * 1000
    with no_task_left():
        async with slow_connection() as (connection, server), trio.open_nursery() as nursery:

            async def flood() -> None:
                while True:
                    await server.send_bytes(piece)

            nursery.start_soon(flood)
            nursery.start_soon(invoke_in_vain, connection)
            with trio.fail_after(60):
                await connection.wait_closed()
            nursery.cancel_scope.cancel()


LIMIT = 500_000


@asynccontextmanager
async def slow_connection() -> AsyncGenerator[tuple[HubConnection, RawPeer]]:
    """A connection with a handler that never ends, to a server that has to wait where it is not read."""

    async def slow(text: str) -> str:
        await trio.sleep_forever()
        return text

    server = RawServer(capacity=1)
    await server.send_bytes(b"{}\x1e")
    options = HubConnectionOptions(
        connection_buffer_size=LIMIT // 5, connection_buffer_limit=LIMIT, server_timeout=10_000
    )
    async with opening.open_over([server.dial], handlers={"Slow": slow}, options=options) as connection:
        yield connection, server


async def take_answers(server: RawPeer) -> None:
    while True:
        await server.connection.receive()


async def invoke_in_vain(connection: HubConnection) -> None:
    with pytest.raises(ConnectionClosed):
        await connection.invoke("Wait")


# ---- an end at every byte


HANDSHAKE = b"{}\x1e"


async def converse(connection: HubConnection) -> list[object]:
    """Call for a result and a stream at once; what comes of them, up to the end of the connection."""
    got: list[object] = []

    async def invoke() -> None:
        try:
            got.append(await connection.invoke("Add"))
        except HubsError as error:
            got.append(error)

    async def read() -> None:
        async with connection.stream("Count") as reader:
            try:
                got.extend([number async for number in reader])
            except HubsError as error:
                got.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(invoke)
        await wait_all_tasks_blocked()
        nursery.start_soon(read)
    return got


def words(protocol: str) -> bytes:
    """What a server says to that."""
    messages = [PING, item("2", 5), result("1", 42), item("2", 6), ended("2"), close("over")]
    return b"".join(encode(protocol, message) for message in messages)


@both_protocols
@pytest.mark.parametrize("end", ["closed", "cut"])
async def test_an_end_at_every_byte_of_the_hub_protocol(
    autojump_clock: MockClock, protocol: str, end: str
) -> None:
    said = HANDSHAKE + words(protocol)
    for place in range(len(said) + 1):
        dials = Dials(protocol)
        server = dials.server(answer=said[: min(place, len(HANDSHAKE))])
        with no_task_left(), trio.fail_after(1):
            async with trio.open_nursery() as nursery:

                async def serve(server: RawPeer = server, place: int = place) -> None:
                    await server.receive_record()
                    if place >= len(HANDSHAKE):
                        await server.take(3)  # a ping, and the calls
                        if rest := said[len(HANDSHAKE) : place]:
                            await server.send_bytes(rest)
                    if end == "cut":
                        server.leave()
                    else:
                        server.connection.close()

                nursery.start_soon(serve)
                try:
                    async with open_over(dials) as connection:
                        got = await converse(connection)
                        await connection.wait_closed()
                except HandshakeError:
                    assert place < len(HANDSHAKE)
                else:
                    assert place >= len(HANDSHAKE)
                    kinds = {type(one) for one in got}
                    assert kinds <= {int, ConnectionClosed}
                    assert (kinds == {int}) is (place >= len(said) - len(encode(protocol, close("over"))))


@both_protocols
async def test_what_is_said_may_come_in_any_two_pieces(autojump_clock: MockClock, protocol: str) -> None:
    said = words(protocol)
    for place in range(len(said) + 1):
        dials = Dials(protocol)
        server = dials.server(answer=b"")
        async with trio.open_nursery() as nursery:

            async def serve(server: RawPeer = server, place: int = place) -> None:
                await server.send_bytes(HANDSHAKE)
                await server.receive_record()
                await server.take(3)
                for piece in filter(None, (said[:place], said[place:])):
                    await server.send_bytes(piece)
                    await wait_all_tasks_blocked()

            nursery.start_soon(serve)
            async with open_over(dials) as connection:
                assert set(await converse(connection)) == {42, 5, 6}
                assert str(await connection.wait_closed()).endswith("over")


@pytest.mark.parametrize("end", ["closed", "reset"])
async def test_an_end_at_every_byte_of_a_websocket(autojump_clock: MockClock, end: str) -> None:
    place = 0
    while await websocket_ends_at(place, reset=end == "reset"):
        place += 1
    assert place > 200


async def websocket_ends_at(place: int, *, reset: bool) -> bool:
    """Whether the conversation of a WebSocket has so many bytes; it ends behind them."""
    near, far = memory_stream_pair()
    stream = BreakingStream(near)
    peer = Peer(far, client=False)
    left = place

    async def say(data: bytes) -> None:
        nonlocal left
        part, left = data[:left], left - len(data)
        if part:
            await peer.send(part)
        if left <= 0:
            await wait_all_tasks_blocked()
            if reset:
                stream.broken.set()
            await far.aclose()
            raise EndOfTalk

    async def serve() -> None:
        with suppress(EndOfTalk):
            await say(acceptance(await peer.head()))
            await say(frame(TEXT, HANDSHAKE, masked=False))
            for _ in range(4):  # the handshake, a ping, and the calls
                await peer.next_frame()
            await say(frame(TEXT, words("json"), masked=False))
            await peer.send_close()
            await far.aclose()

    with no_task_left(), trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            with connected_to(stream):
                try:
                    async with open_hub_connection("http://raw", skip_negotiation=True) as connection:
                        got = await converse(connection)
                        await connection.wait_closed()
                        assert {type(one) for one in got} <= {int, ConnectionClosed}
                except (ConnectionClosed, HandshakeError):
                    pass
    return left <= 0


class EndOfTalk(Exception):
    """The server says no more."""
