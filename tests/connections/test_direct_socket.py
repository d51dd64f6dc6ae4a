"""A direct socket stream is a stream as any other, and takes at once what its socket has room for."""

import gc
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import assert_no_checkpoints, memory_stream_pair, wait_all_tasks_blocked

from trio_hubs.connections.direct_socket import DirectSocketStream, close_at_once


@asynccontextmanager
async def open_socket_pair() -> AsyncGenerator[tuple[DirectSocketStream, trio.SocketStream]]:
    """A direct stream, and the plain stream at the other end of its connection."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        far = await trio.open_tcp_stream(*listener.socket.getsockname())
        near = DirectSocketStream(await listener.accept())
    try:
        async with near, far:
            yield near, far
    finally:
        gc.collect()  # a descriptor that is left open is a warning, which is an error


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    received = b""
    while data := await stream.receive_some():
        received += data
    return received


async def test_bytes_arrive_in_both_directions_until_the_end() -> None:
    async with open_socket_pair() as (near, far):
        await far.send_all(b"question")
        assert await near.receive_some() == b"question"
        await near.send_all(b"answer")
        assert await far.receive_some() == b"answer"
        await far.send_eof()
        assert await near.receive_some() == b""
        assert await near.receive_some() == b""


async def test_no_more_is_read_than_asked_for() -> None:
    async with open_socket_pair() as (near, far):
        await far.send_all(b"question")
        assert await near.receive_some(3) == b"que"
        assert await near.receive_some(100) == b"stion"


async def test_a_cancelled_read_loses_nothing() -> None:
    async with open_socket_pair() as (near, far):
        await far.send_all(b"data")
        with trio.CancelScope() as scope:
            scope.cancel()
            await near.receive_some()
        assert scope.cancelled_caught
        assert await near.receive_some() == b"data"


async def test_a_read_that_was_woken_for_nothing_waits_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_socket_pair() as (near, far):
        wait_readable = trio.lowlevel.wait_readable
        calls: list[str] = []

        async def wait(sock: socket.socket) -> None:
            calls.append("wait")
            if len(calls) > 1:
                await wait_readable(sock)

        monkeypatch.setattr(trio.lowlevel, "wait_readable", wait)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                assert await near.receive_some() == b"data"

            await wait_all_tasks_blocked()
            assert len(calls) == 2
            await far.send_all(b"data")


async def test_much_is_sent_whole() -> None:
    async with open_socket_pair() as (near, far):
        data = bytes(5_000_000)

        async def send() -> None:
            await near.wait_send_all_might_not_block()
            await near.send_all(data)
            await near.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert await read_all(far) == data


async def test_a_socket_takes_at_once_what_it_has_room_for() -> None:
    async with open_socket_pair() as (near, far):
        assert near.send_nowait(b"data") == 4
        assert await far.receive_some() == b"data"
        sent = 0
        while taken := near.send_nowait(bytes(100_000)):
            sent += taken
        assert near.send_nowait(b"more") == 0
        received = 0
        while received < sent:
            received += len(await far.receive_some())
        assert received == sent


async def test_a_reset_is_a_break() -> None:
    async with open_socket_pair() as (near, far):
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await far.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await near.receive_some()
        assert near.send_nowait(b"data") == 0
        with pytest.raises(trio.BrokenResourceError):
            await near.send_all(b"data")


async def test_a_closed_stream_is_closed_for_all() -> None:
    async with open_socket_pair() as (near, far):
        await near.aclose()
        await near.aclose()
        assert await far.receive_some() == b""
        assert near.send_nowait(b"data") == 0
        with pytest.raises(trio.ClosedResourceError):
            await near.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await near.send_all(b"data")


async def test_closing_wakes_who_reads() -> None:
    async with open_socket_pair() as (near, _far), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await near.receive_some()

        await wait_all_tasks_blocked()
        await near.aclose()


async def test_a_descriptor_is_closed_once() -> None:
    async with open_socket_pair() as (near, _):
        await near.aclose()
        other = socket.socket()  # takes the lowest number, which is likely the one that has become free
        del near
        gc.collect()
        assert other.fileno() != -1
        assert other.getsockname() is not None
        other.close()


async def test_a_socket_is_closed_at_once_and_others_without_waiting_for_their_peer() -> None:
    async with open_socket_pair() as (near, far):
        with assert_no_checkpoints():
            await close_at_once(near)
            await close_at_once(near)
        assert await far.receive_some() == b""
    near_memory, far_memory = memory_stream_pair()
    await close_at_once(near_memory)
    assert await far_memory.receive_some() == b""
