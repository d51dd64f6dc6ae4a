"""What one end of a pair in memory sends, the other receives, piece by piece, and both ends can end it."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_hubs.connections.http import Request
from trio_hubs.connections.memory import memory_connection_pair
from trio_hubs.errors import ConnectionClosed


async def test_pieces_arrive_in_both_directions() -> None:
    server, client = memory_connection_pair()
    await client.send(b"one")
    await client.send(b"two")
    await server.send(b"three")
    assert [await server.receive(), await server.receive()] == [b"one", b"two"]
    assert await client.receive() == b"three"


async def test_both_ends_show_the_request() -> None:
    request = Request(path="/chat")
    server, client = memory_connection_pair(request=request)
    assert server.request is request
    assert client.request is request
    assert memory_connection_pair()[0].request == Request()


async def test_a_sender_waits_for_room() -> None:
    server, client = memory_connection_pair(capacity=1)
    await client.send(b"one")
    sent: list[bytes] = []

    async def send() -> None:
        await client.send(b"two")
        sent.append(b"two")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        assert not sent
        assert await server.receive() == b"one"
        await wait_all_tasks_blocked()
        assert sent


async def test_a_cancelled_receive_loses_nothing() -> None:
    server, client = memory_connection_pair()
    with trio.CancelScope() as scope:
        scope.cancel()
        await server.receive()
    assert scope.cancelled_caught
    await client.send(b"data")
    with trio.CancelScope() as scope:
        scope.cancel()
        await server.receive()
    assert scope.cancelled_caught
    assert await server.receive() == b"data"


async def test_an_end_in_good_order_comes_behind_what_is_under_way() -> None:
    server, client = memory_connection_pair()
    await client.send(b"last")
    client.close()
    assert [await server.receive() for _ in range(3)] == [b"last", b"", b""]
    await server.send(b"answer")
    assert await client.receive() == b"answer"
    with pytest.raises(ConnectionClosed):
        await client.send(b"more")


async def test_a_cut_ends_both_directions_at_once() -> None:
    server, client = memory_connection_pair()
    await server.send(b"under way")
    client.cut()
    with pytest.raises(ConnectionClosed):
        await client.receive()
    with pytest.raises(ConnectionClosed):
        await client.send(b"more")
    with pytest.raises(ConnectionClosed):
        await server.send(b"more")
    with pytest.raises(ConnectionClosed, match="was lost"):
        await server.receive()


async def test_what_was_sent_before_a_cut_is_received() -> None:
    server, client = memory_connection_pair()
    await client.send(b"last")
    client.cut()
    assert await server.receive() == b"last"
    with pytest.raises(ConnectionClosed, match="was lost"):
        await server.receive()


async def test_a_cut_wakes_who_waits() -> None:
    client = memory_connection_pair()[1]
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(ConnectionClosed):
                await client.receive()

        await wait_all_tasks_blocked()
        client.cut()


async def test_sending_no_bytes_is_no_end() -> None:
    server, client = memory_connection_pair()
    await client.send(b"")
    await client.send(b"data")
    assert await server.receive() == b"data"
