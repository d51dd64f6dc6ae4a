"""What clients post arrives whole, in order and not mingled; it is bounded; and each post is told what became of it."""

import logging

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs.connections.duplex import Duplex
from trio_hubs.connections.http import Request
from trio_hubs.connections.users import User

from .endpoint_peer import Front, Handler, Reader, open_front
from .http_peer import Client, request


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def posting(front: Front, token: str, **headers: str) -> Client:
    """A post whose body is still to come, in chunks."""
    client = await front.send("POST", token, Transfer_Encoding="chunked", **headers)
    await wait_all_tasks_blocked()
    return client


class Sipper(Handler):
    """Receives a piece each time it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.send, self.receive = trio.open_memory_channel[None](1000)
        self.pieces: list[bytes] = []

    async def __call__(self, connection: Duplex) -> None:
        self.connections.append(connection)
        async for _ in self.receive:
            self.pieces.append(await connection.receive())


# ---- what arrives


@pytest.mark.parametrize("transport", ["polls", "events"])
async def test_a_post_is_received(transport: str, autojump_clock: MockClock) -> None:
    reader = Reader()
    async with open_front(reader) as front:
        if transport == "polls":
            token = await front.polled()
        else:
            token = await front.token()
            await front.events(token)
        answer = await front.ask("POST", token, b"\x00\xffdata")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-type"] == "text/plain"
        assert "cache-control" not in answer.headers
        await wait_all_tasks_blocked()
        assert reader.received == b"\x00\xffdata"


@pytest.mark.parametrize("transport", ["polls", "events"])
async def test_a_post_may_come_before_the_transport(transport: str, autojump_clock: MockClock) -> None:
    reader = Reader()
    async with open_front(reader) as front:
        token = await front.token()
        assert (await front.ask("POST", token, b"one ")).status == 200
        assert (await front.ask("POST", token, b"two")).status == 200
        if transport == "polls":
            await front.ask("GET", token)
        else:
            await front.events(token)
        await wait_all_tasks_blocked()
        assert reader.received == b"one two"


async def test_who_has_posted_cannot_take_a_websocket(autojump_clock: MockClock) -> None:
    async with open_front(Handler()) as front:
        token = await front.token()
        await front.ask("POST", token, b"x")
        answer = await front.refused(token)
        assert (answer.status, answer.body) == (400, b"Cannot change transports mid-connection")


async def test_a_post_of_nothing(autojump_clock: MockClock) -> None:
    reader = Reader()
    async with open_front(reader) as front:
        token = await front.polled()
        assert (await front.ask("POST", token)).status == 200
        client = await posting(front, token)
        await client.send(b"0\r\n\r\n")
        assert (await client.answer("POST")).status == 200
        await wait_all_tasks_blocked()
        assert not reader.ended


async def test_chunks_arrive_as_they_come(autojump_clock: MockClock) -> None:
    reader = Reader()
    async with open_front(reader) as front:
        client = await posting(front, await front.polled())
        for part in (b"one ", b"two ", b"three"):
            await client.send(chunk(part))
            await wait_all_tasks_blocked()
            assert reader.received.endswith(part)
        await client.send(b"0\r\n\r\n")
        assert (await client.answer()).status == 200
        assert reader.received == b"one two three"
        assert (await client.ask("GET", "/chat")).status == 400  # the stream goes on


async def test_who_expects_a_continue_gets_it_when_its_turn_has_come(autojump_clock: MockClock) -> None:
    reader = Reader()
    async with open_front(reader) as front:
        token = await front.polled()
        first = await posting(front, token)
        client = await front.send("POST", token, Expect="100-continue", Content_Length="70000")
        await first.send(chunk(b"first") + b"0\r\n\r\n")
        assert (await first.answer()).status == 200
        assert (await client.answer()).status == 100
        await client.send(b"b" * 70_000)
        assert (await client.answer()).status == 200
        await wait_all_tasks_blocked()
        assert reader.received == b"first" + b"b" * 70_000


async def test_parallel_posts_are_not_mingled(autojump_clock: MockClock) -> None:
    reader = Reader()
    async with open_front(reader) as front:
        token = await front.polled()
        clients = [await posting(front, token) for _ in range(5)]
        for round in range(3):
            for i, client in enumerate(clients):
                await client.send(chunk(b"%d%d " % (i, round)))
            await wait_all_tasks_blocked()
        for client in reversed(clients):
            await client.send(b"0\r\n\r\n")
        for client in clients:
            assert (await client.answer()).status == 200
        await wait_all_tasks_blocked()
        assert reader.received == b"".join(b"%d%d " % (i, round) for i in range(5) for round in range(3))


async def test_pipelined_posts_arrive_in_their_order(autojump_clock: MockClock) -> None:
    reader = Reader()
    async with open_front(reader) as front:
        token = await front.polled()
        client = front.client()
        await client.send(b"".join(request("POST", f"/chat?id={token}", b"%d" % i) for i in range(9)))
        for _ in range(9):
            assert (await client.answer("POST")).status == 200
        await wait_all_tasks_blocked()
        assert reader.received == b"012345678"


# ---- what is too much


@pytest.mark.parametrize("transport", ["polls", "events", "none"])
async def test_a_hundred_posts_at_once_arrive_in_the_order_of_their_heads(
    transport: str, autojump_clock: MockClock
) -> None:
    reader = Reader()
    async with open_front(reader) as front:
        token = await front.token() if transport != "polls" else await front.polled()
        if transport == "events":
            await front.events(token)
        bodies = [b"%d " % i for i in range(100)]
        clients = []
        for body in bodies:
            clients.append(await front.send("POST", token, Content_Length=str(len(body))))
            await wait_all_tasks_blocked()
        for client, body in list(zip(clients, bodies, strict=True))[::-1]:
            await client.send(body)
            await wait_all_tasks_blocked()
        for client in clients:
            assert (await client.answer("POST")).status == 200
        if transport == "none":
            await front.ask("GET", token)
        await wait_all_tasks_blocked()
        assert reader.received == b"".join(bodies)


async def test_large_posts_at_once_arrive_in_the_order_of_their_heads(autojump_clock: MockClock) -> None:
    reader = Reader()
    async with open_front(reader, application_buffer_size=1000) as front:
        token = await front.polled()
        bodies = [bytes((i,)) * 5000 for i in range(30)]
        clients = []
        for body in bodies:
            clients.append(await front.send("POST", token, Content_Length=str(len(body))))
            await wait_all_tasks_blocked()
        for client, body in list(zip(clients, bodies, strict=True))[::-1]:
            await client.send(body)
        for client in clients:
            assert (await client.answer("POST")).status == 200
        await wait_all_tasks_blocked()
        assert reader.received == b"".join(bodies)


async def test_a_post_has_its_place_however_long_it_takes_to_find_out_who_asks(
    autojump_clock: MockClock,
) -> None:
    reader = Reader()

    async def authenticate(request: Request) -> User:
        if "x-slow" in request.headers:
            await trio.sleep(5)
        return User("ada")

    async with open_front(reader, authenticate=authenticate) as front:
        token = await front.polled()
        slow = await front.send("POST", token, b"one ", X_Slow="yes")
        await wait_all_tasks_blocked()
        quick = await front.send("POST", token, b"two")
        assert (await quick.answer()).status == (await slow.answer()).status == 200
        await wait_all_tasks_blocked()
        assert reader.received == b"one two"


async def test_a_post_that_is_refused_leaves_its_place(autojump_clock: MockClock) -> None:
    reader = Reader()

    async def authenticate(request: Request) -> User:
        if "x-slow" in request.headers:
            await trio.sleep(5)
        if "x-broken" in request.headers:
            raise ZeroDivisionError
        return User(request.headers.get("x-user", "ada"))

    async with open_front(reader, authenticate=authenticate) as front:
        token = await front.polled()
        for headers, status in (({"X_User": "bob"}, 403), ({"X_Broken": "yes"}, 500)):
            refused = await front.send("POST", token, b"stolen", X_Slow="yes", **headers)
            await wait_all_tasks_blocked()
            waiting = await front.send("POST", token, b"own ")
            assert (await refused.answer()).status == status
            assert (await waiting.answer()).status == 200
        await wait_all_tasks_blocked()
        assert reader.received == b"own own "


async def test_small_bodies_are_read_ahead_of_their_turn_within_the_buffer(autojump_clock: MockClock) -> None:
    async with open_front(Reader(), application_buffer_size=1000) as front:
        token = await front.polled()
        first = await posting(front, token)  # whose turn it is
        expecting = {"Expect": "100-continue"}
        small = [await front.send("POST", token, Content_Length="400", **expecting) for _ in range(2)]
        for client in small:
            assert (await client.answer()).status == 100
        no_room = await front.send("POST", token, Content_Length="201", **expecting)
        last = await front.send("POST", token, Content_Length="200", **expecting)
        assert (await last.answer()).status == 100
        with trio.move_on_after(5) as waiting:
            await no_room.answer()
        assert waiting.cancelled_caught
        await first.send(b"0\r\n\r\n")
        for client, size in zip(small, (400, 400), strict=True):
            await client.send(bytes(size))
            assert (await client.answer()).status == 200
        assert (await no_room.answer()).status == 100
        await no_room.send(bytes(201))
        await last.send(bytes(200))
        assert (await no_room.answer()).status == (await last.answer()).status == 200


async def test_a_post_waits_while_nobody_reads(autojump_clock: MockClock) -> None:
    sipper = Sipper()
    async with open_front(sipper) as front:
        token = await front.polled()
        first = await front.send("POST", token, bytes(70_000))
        second = await front.send("POST", token, b"next")
        poll = await front.poll(token)
        await wait_all_tasks_blocked()
        sipper.send.send_nowait(None)
        assert (await first.answer()).status == (await second.answer()).status == 200
        sipper.send.send_nowait(None)
        await wait_all_tasks_blocked()
        assert b"".join(sipper.pieces) == bytes(70_000) + b"next"
        await poll.stream.aclose()


async def test_a_huge_body_streams_through_little_memory(autojump_clock: MockClock) -> None:
    size = 20 << 20
    most = total = 0

    async def count(connection: Duplex) -> None:
        nonlocal most, total
        while data := await connection.receive():
            most = max(most, len(data))
            total += len(data)

    async with open_front(count) as front:
        token = await front.polled()
        client = await front.send("POST", token, Content_Length=str(size))
        part = bytes(1 << 20)
        for _ in range(size // len(part)):
            await client.send(part)
        assert (await client.answer()).status == 200
        await wait_all_tasks_blocked()
        assert total == size
        assert most <= 2 * 64 * 1024


async def test_a_body_that_nobody_reads_takes_little_memory(autojump_clock: MockClock) -> None:
    sipper = Sipper()
    async with open_front(sipper, application_buffer_size=1000) as front:
        token = await front.polled()
        client = await posting(front, token)
        for i in range(100):
            await client.send(chunk(bytes(900)))
            await wait_all_tasks_blocked()
            if i % 10 == 0:
                await front.poll(token)
        sipper.send.send_nowait(None)
        await wait_all_tasks_blocked()
        assert len(sipper.pieces[0]) <= 2000


# ---- posts that fail


async def test_a_post_to_a_connection_that_is_over_is_not_found(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        token = await front.polled()
        handler.release.set()
        await wait_all_tasks_blocked()
        answer = await front.ask("POST", token, b"late")
        assert (answer.status, answer.body, answer.headers["content-type"]) == (404, b"", "text/plain")


@pytest.mark.parametrize("how", ["handler", "deletion", "time", "events", "client"])
async def test_posts_that_wait_when_the_connection_ends_are_not_found(
    how: str, autojump_clock: MockClock
) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        token = await front.token()
        events = await front.events(token) if how in ("events", "client") else None
        if events is None:
            await front.ask("GET", token)
        clients = [await front.send("POST", token, bytes(70_000)) for _ in range(3)]
        await wait_all_tasks_blocked()
        if how in ("handler", "events"):
            handler.release.set()
        elif how == "deletion":
            assert (await front.ask("DELETE", token)).status == 202
        elif events is not None:
            await events.stream.aclose()
        for client in clients:
            answer = await client.answer("POST")
            assert (answer.status, answer.body) == (404, b"")
        handler.release.set()


async def test_posts_that_wait_for_a_transport_that_never_comes_are_let_go(autojump_clock: MockClock) -> None:
    async with open_front(Handler()) as front:
        token = await front.token()
        client = await front.send("POST", token, bytes(70_000))
        assert (await client.answer("POST")).status == 404
        assert autojump_clock.current_time() <= 17
        assert (await front.ask("POST", token, b"x")).body == b"No Connection with that ID"


async def test_a_post_to_a_connection_that_ends_meanwhile(autojump_clock: MockClock) -> None:
    reader = Reader()
    async with open_front(reader) as front:
        token = await front.polled()
        client = await posting(front, token)
        await client.send(chunk(b"one"))
        await wait_all_tasks_blocked()
        assert (await front.ask("DELETE", token)).status == 202
        await client.send(chunk(b"two"))
        assert (await client.answer("POST")).status == 404
        await wait_all_tasks_blocked()
        assert reader.received == b"one"


@pytest.mark.parametrize("data", [b"xyz\r\n", b"4\r\nbodyX", b"-1\r\n"], ids=["size", "end", "sign"])
async def test_a_body_that_is_not_in_order_is_a_bad_request(
    data: bytes, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with open_front(Reader()) as front:
        client = await posting(front, await front.polled())
        await client.send(data)
        answer = await client.answer("POST")
        assert answer.status == 400
        assert await client.rest() == b""
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("data", [b"", b"4\r\nbo"], ids=["nothing", "half a chunk"])
async def test_a_post_that_is_cut_off_lets_the_next_one_in(
    data: bytes, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    reader = Reader()
    async with open_front(reader) as front:
        token = await front.polled()
        client = await posting(front, token)
        await client.send(data)
        waiting = await front.send("POST", token, b"next")
        await client.stream.aclose()
        assert (await waiting.answer("POST")).status == 200
        await wait_all_tasks_blocked()
        assert reader.received.endswith(b"next")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_client_that_stops_in_its_body_has_thirty_seconds(autojump_clock: MockClock) -> None:
    reader = Reader()
    async with open_front(reader, disconnect_timeout=100) as front:
        token = await front.polled()
        client = await posting(front, token)
        await trio.sleep(29)
        await client.send(chunk(b"one"))
        waiting = await front.send("POST", token, b"next")
        assert await client.rest() == b""
        assert autojump_clock.current_time() == 29 + 30
        assert (await waiting.answer("POST")).status == 200


async def test_a_body_for_nobody_is_not_taken_for_a_request(autojump_clock: MockClock) -> None:
    async with open_front(Handler()) as front:
        client = front.client()
        answer = await client.ask("POST", "/chat?id=unknown", request("GET", "/chat"))
        assert (answer.status, answer.body) == (404, b"No Connection with that ID")
        assert (await client.ask("GET", "/chat")).body == b"Connection ID required"


async def test_a_huge_body_for_nobody_is_not_read(autojump_clock: MockClock) -> None:
    async with open_front(Handler()) as front:
        client = await front.send("POST", "unknown", Content_Length=str(1 << 40))
        await client.send(bytes(100_000))
        answer = await client.answer("POST")
        assert (answer.status, answer.body) == (404, b"No Connection with that ID")
        assert await client.rest() == b""


async def test_posts_end_with_the_server(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        token = await front.polled()
        for _ in range(3):
            await front.send("POST", token, bytes(70_000))
        await posting(front, token)
    assert handler.ended == 1
    assert autojump_clock.current_time() == 0


async def test_what_was_posted_before_its_client_left_is_received(autojump_clock: MockClock) -> None:
    pieces: list[bytes] = []
    goes = trio.Event()

    async def handle(connection: Duplex) -> None:
        await goes.wait()
        pieces.append(await connection.receive())
        pieces.append(await connection.receive())

    async with open_front(handle) as front:
        token = await front.token()
        events = await front.events(token)
        await front.ask("POST", token, b"last")
        await events.stream.aclose()
        await wait_all_tasks_blocked()
        goes.set()
        await wait_all_tasks_blocked()
        assert pieces == [b"last", b""]  # its end is one in order
        assert front.admission.active == 0
