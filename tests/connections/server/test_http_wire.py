"""A request's head is read the same however it is cut, and what is no request is not repeated to anybody."""

import gc
import logging
import tracemalloc

import h11
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from tests.connections.websocket.websocket_peer import TEXT, Peer
from trio_hubs.connections.connection import Connection
from trio_hubs.connections.direct_socket import DirectSocketStream
from trio_hubs.connections.http import Request, Response
from trio_hubs.connections.server.arrivals import Arrivals
from trio_hubs.connections.server.http_wire import HttpWire

from .endpoint_peer import open_front
from .http_peer import LOGGER, Client, open_server, request, server, upgrade

SECRET = "s3cr3t"


def head_of(size: int) -> bytes:
    """A request's head of so many bytes."""
    head = request("GET", "/describe", X_Long="")
    return head.replace(b"X-Long: ", b"X-Long: " + b"x" * (size - len(head)))


async def send_in_pieces(client: Client, data: bytes, size: int) -> None:
    for at in range(0, len(data), size):
        await client.send(data[at : at + size])
        await wait_all_tasks_blocked()


# ---- empty lines


@pytest.mark.parametrize("empty", [b"\r\n", b"\n", b"\r\n\r\n", b"\n\r\n\n", b"\r\n" * 40_000])
@pytest.mark.parametrize("size", [1, 100_000], ids=["in pieces", "at once"])
async def test_empty_lines_ahead_of_a_request_are_nothing(
    empty: bytes, size: int, autojump_clock: MockClock
) -> None:
    empty = empty if size > 1 else empty[:100]
    async with open_server() as client:
        data = empty + request("POST", "/describe", b"\r\none") + empty + request("GET", "/describe") + empty
        await send_in_pieces(client, data, size)
        assert (await client.answer()).body == b"POST /describe {} \r\none"
        assert (await client.answer()).body == b"GET /describe {} "
        assert (await client.ask("GET", "/describe")).status == 200


async def test_empty_lines_are_no_requests(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        await client.send(b"\r\n")
        await trio.sleep(20)
        await client.send(b"\r\n")
        assert await client.rest() == b""
        assert autojump_clock.current_time() == 30


async def test_who_leaves_after_an_empty_line_has_asked_nothing(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.INFO)
    async with open_server() as client:
        await client.send(b"\r\n")
    assert not caplog.records


@pytest.mark.parametrize(
    "data", [b"\r", b"\rGET /describe HTTP/1.1\r\n", b"\r\n\r\r\n", b"\x16\x03\x01", b" GET"]
)
async def test_what_no_request_begins_with_is_refused_at_once(data: bytes, autojump_clock: MockClock) -> None:
    async with open_server() as client:
        await client.send(data)
        if data == b"\r":
            await wait_all_tasks_blocked()
            await client.send(b"x")
        assert (await client.answer()).status == 400
        assert await client.rest() == b""
    assert autojump_clock.current_time() == 0


# ---- the limit of a head


@pytest.mark.parametrize("pieces", [1 << 20, 9000, 1000], ids=["whole", "in two", "in many"])
@pytest.mark.parametrize(
    ("size", "status"), [(16 * 1024, 200), (16 * 1024 + 1, 431), (20_000, 431), (60_000, 431)]
)
@pytest.mark.parametrize("before", [b"", b"\r\n"], ids=["first", "behind an empty line"])
async def test_a_head_has_the_same_limit_in_any_pieces(
    pieces: int, size: int, status: int, before: bytes, autojump_clock: MockClock
) -> None:
    async with open_server() as client:
        data = before + head_of(size)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                try:
                    for at in range(0, len(data), pieces):
                        await client.send(data[at : at + pieces])
                        await wait_all_tasks_blocked()
                except trio.BrokenResourceError:
                    assert status == 431

            answer = await client.answer()
        assert answer.status == status
        if status == 431:
            assert answer.body == b"The request's head is above 16384 bytes."
            assert answer.headers["connection"] == "close"
            assert await client.rest() == b""


async def test_pipelined_heads_count_each_for_itself(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        await client.send(head_of(16 * 1024) * 3 + head_of(16 * 1024 + 1))
        assert [(await client.answer()).status for _ in range(4)] == [200, 200, 200, 431]


# ---- what is no request is not repeated

NO_REQUESTS = {
    "line": f"GET /describe?access_token={SECRET} HTTP\r\n\r\n",
    "version": f"GET /describe?access_token={SECRET} HTTP/x\r\nHost: a\r\n\r\n",
    "space": f"GET /describe?access_token={SECRET} a HTTP/1.1\r\nHost: a\r\n\r\n",
    "bytes": f"GET /describe?access_token={SECRET}\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
    "header": f"GET /describe HTTP/1.1\r\nHost: a\r\nAuthorization {SECRET}\r\n\r\n",
    "header's bytes": f"GET /describe HTTP/1.1\r\nHost: a\r\nAuthorization: {SECRET}\x00\r\n\r\n",
    "length": f"POST /describe HTTP/1.1\r\nHost: a\r\nContent-Length: {SECRET}\r\n\r\n",
    "coding": f"POST /describe HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {SECRET}\r\n\r\n",
    "chunk": f"POST /describe HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{SECRET}\r\n",
    "chunk's end": f"POST /describe HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx{SECRET}\r\n",
    "trailer": f"POST /describe HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{SECRET}\r\n\r\n",
    "url": f"GET http://[{SECRET} HTTP/1.1\r\nHost: a\r\n\r\n",
    "url's host": f"GET http://\u2100?access_token={SECRET} HTTP/1.1\r\nHost: a\r\n\r\n",
    "continuation": f"GET /describe HTTP/1.1\r\n {SECRET}\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("kind", NO_REQUESTS)
async def test_what_is_refused_is_repeated_neither_to_the_client_nor_to_the_log(
    kind: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_server() as client:
        await client.send(NO_REQUESTS[kind].encode())
        answer = await client.answer("POST")
        assert 400 <= answer.status <= 501
        assert 0 < len(answer.body) < 100
        assert SECRET not in answer.body.decode()
        assert answer.headers["connection"] == "close"
        assert await client.rest() == b""
    assert SECRET not in caplog.text
    (record,) = [record for record in caplog.records if record.levelno >= logging.INFO]
    assert record.name == LOGGER


async def test_a_head_is_read_in_one_step_once_it_is_there() -> None:
    """So that posts have their places in the order in which their heads are read."""
    near, far = memory_stream_pair()
    wire = HttpWire(near, Arrivals())
    await far.send_all(request("GET", "/") * 300)
    for _ in range(300):
        event = await wire.next_request()
        assert isinstance(event, h11.Request)
        assert isinstance(await wire.next_event(), h11.EndOfMessage)
        wire.http.send(h11.Response(status_code=204, headers=[]))
        wire.http.send(h11.EndOfMessage())


# ---- in the order in which they came


@pytest.mark.parametrize("times", range(5))
async def test_requests_on_many_sockets_are_read_in_their_order(times: int) -> None:
    asked: list[str] = []

    async def route(request: Request) -> Response:
        asked.append(request.query["i"])
        return Response("done")

    door = server({"/": route})
    async with trio.open_nursery() as nursery:
        await nursery.start(door.arrivals.run)
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            clients = []
            for _ in range(20):
                clients.append(Client(await trio.open_tcp_stream(*listener.socket.getsockname())))
                near = DirectSocketStream(await listener.accept())
                nursery.start_soon(door.serve_stream, near)
        for order in (clients, clients[::-1], clients[::2] + clients[1::2]):
            asked.clear()
            for i, client in enumerate(order):
                await client.stream.send_all(request("GET", f"/?i={i}"))
            for client in order:
                assert (await client.answer()).body == b"done"
            assert asked == [str(i) for i in range(20)]
        for client in clients:
            await client.stream.aclose()
        nursery.cancel_scope.cancel()


# ---- what is kept


async def kept_by(data: bytes) -> int:
    """Bytes that an idle connection keeps more than another, when it was opened so."""

    async def discard(connection: Connection) -> None:
        while await connection.receive():
            pass

    sizes: list[int] = []
    async with open_front(discard) as front:
        for opening in (upgrade("/chat"), upgrade("/chat"), data):
            client = front.client()
            gc.collect()
            tracemalloc.start()
            await client.send(opening)
            peer = Peer(client.stream, client=True)
            assert (await peer.head()).startswith(b"HTTP/1.1 101 ")
            await wait_all_tasks_blocked()
            del peer
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
            tracemalloc.stop()
    return sizes[2] - sizes[1]


@pytest.mark.parametrize(
    "data",
    [
        upgrade("/chat")[:-2] + b"a:\r\n" * 3500 + b"\r\n",
        upgrade("/chat")[:-2] + b"".join(b"%x:\r\n" % i for i in range(2200)) + b"\r\n",
        upgrade("/chat?" + "a&" * 7000),
        upgrade("/chat?" + "&".join(f"{i:x}" for i in range(3000))),
        upgrade("/chat", Sec_WebSocket_Protocol="a," * 7000),
        upgrade("/chat") + Peer(memory_stream_pair()[0], client=True).frame(TEXT, b"x" * 60_000),
    ],
    ids=["headers", "names", "query", "query names", "protocols", "data"],
)
async def test_an_idle_connection_keeps_little_of_how_it_was_opened(
    data: bytes, autojump_clock: MockClock
) -> None:
    assert await kept_by(data) < 48 * 1024


async def test_of_what_comes_behind_a_request_little_is_read_before_its_answer(
    autojump_clock: MockClock,
) -> None:
    near, far = memory_stream_pair()
    wire = HttpWire(near, Arrivals())
    await far.send_all(request("GET", "/") * 5000)
    assert isinstance(await wire.next_request(), h11.Request)
    left = trio.Event()
    await wire.watch(left.set)
    assert left.is_set()
    assert len(wire.take_rest()) <= 2 * 16 * 1024
