"""Large messages: two of our peers never wait for each other, and one that takes them slowly is no dead one."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from math import inf

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair

from tests.connections.websocket.websocket_peer import OPENING, TEXT, Peer, connected_to
from tests.hub_peer import open_ours, served_hub
from trio_hubs import Hub, HubConnection, open_hub_connection
from trio_hubs.calls.heartbeat import beat
from trio_hubs.connections.http import Request
from trio_hubs.connections.websocket import accept_websocket
from trio_hubs.server.served_hub import ServedHub

MEGABYTE = "x" * 1_000_000


class Echo(Hub):
    """Gives back what it gets, in its reader's task and in one of its own."""

    def inline(self, text: str) -> str:
        return text

    async def later(self, text: str) -> str:
        return text


def over_memory(served: ServedHub) -> AbstractAsyncContextManager[HubConnection]:
    """Our client on a pair that holds one piece in each direction."""
    return open_ours(served, capacity=1)


@asynccontextmanager
async def over_websocket(served: ServedHub) -> AsyncGenerator[HubConnection]:
    """Our client on a WebSocket whose stream holds nothing: what one sends the other has to take."""
    near, far = lockstep_stream_pair()

    async def serve() -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await far.receive_some()
        key = head.partition(b"Sec-WebSocket-Key: ")[2][:24].decode()
        opening = Request(headers={"sec-websocket-key": key})
        async with accept_websocket(far, "id", opening, rest=b"") as connection:
            await served.handle(connection)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with connected_to(near):
            async with open_hub_connection("http://raw", skip_negotiation=True) as connection:
                yield connection


Way = Callable[[ServedHub], AbstractAsyncContextManager[HubConnection]]


@pytest.mark.parametrize("way", [over_memory, over_websocket])
@pytest.mark.parametrize("method", ["Inline", "Later"])
@pytest.mark.parametrize("parallel", [1, 30])
async def test_two_of_our_peers_that_send_each_other_much_at_once_do_not_wait_for_ever(
    autojump_clock: MockClock, way: Way, method: str, parallel: int
) -> None:
    served = served_hub(Echo, maximum_message_size=None, maximum_parallel_invocations=parallel)
    answers: list[str] = []

    async def ask(connection: HubConnection) -> None:
        answers.append(await connection.invoke(method, MEGABYTE, result_type=str))

    with trio.fail_after(1000):
        async with way(served) as connection, trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask, connection)
    assert len(answers) == 20
    assert all(answer == MEGABYTE for answer in answers)


class SlowStream(trio.abc.Stream):
    """A stream whose far end takes so many bytes a second, and nothing past a limit."""

    def __init__(self, stream: trio.abc.Stream, *, rate: float, limit: float) -> None:
        self._stream = stream
        self._rate = rate
        self._left = limit

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._left -= len(data)
        if self._left < 0:
            await trio.sleep_forever()
        await trio.sleep(len(data) / self._rate)
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def asked_for_much(ends: list[str], *, limit: float) -> AsyncGenerator[Peer]:
    """A client that has asked for 5 MB, of which it takes 10 kB a second, up to a limit.

    Args:
        ends: The errors of connections that ended.
        limit: How many bytes it takes in all.
    """

    class Large(Hub):
        async def large(self) -> str:
            return 5 * MEGABYTE

        async def on_disconnected(self, error: Exception | None) -> None:
            ends.append(str(error or ""))

    near, far = memory_stream_pair()
    served = served_hub(Large, send_timeout=10.0)

    async def serve() -> None:
        slow = SlowStream(near, rate=10_000, limit=limit)
        async with accept_websocket(slow, "id", OPENING, rest=b"") as connection:
            await served.handle(connection)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(beat, lambda: served.sessions, 1)
        nursery.start_soon(serve)
        peer = Peer(far, client=True)
        await peer.head()
        hello = b'{"protocol":"json","version":1}\x1e'
        ask = b'{"type":1,"invocationId":"1","target":"Large","arguments":[]}\x1e'
        await peer.send(peer.frame(TEXT, hello + ask))
        yield peer
        nursery.cancel_scope.cancel()


async def test_a_slow_but_steady_taker_of_a_large_message_is_not_disconnected(
    autojump_clock: MockClock,
) -> None:
    ends: list[str] = []
    async with asked_for_much(ends, limit=inf) as peer:
        _, payload = await peer.next_frame()
        while len(payload) < 5 * len(MEGABYTE):
            _, payload = await peer.next_frame()
        assert trio.current_time() > 500
        assert ends == []


async def test_a_taker_that_stops_within_a_large_message_is_disconnected(autojump_clock: MockClock) -> None:
    ends: list[str] = []
    async with asked_for_much(ends, limit=500_000):
        await trio.sleep(50)
        assert ends == []
        await trio.sleep(25)
        assert ends == ["The peer does not take its messages fast enough."]
