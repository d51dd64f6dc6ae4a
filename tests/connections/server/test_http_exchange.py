"""An answer that takes its time: it comes and goes in parts, its client is seen leaving, and it is never half told."""

import logging
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from tests.connections.websocket.websocket_peer import PATIENCE, BreakingStream, narrow_stream_pair
from trio_hubs.connections.http import Request, Response
from trio_hubs.connections.server.exchange import Answering, Deferred, Exchange
from trio_hubs.errors import ConnectionClosed

from .http_peer import LOGGER, Client, describe, open_server, request, server


class Holding:
    """A route whose answers are held until they are let go.

    Attributes:
        left: How many clients have left meanwhile.
    """

    def __init__(self, serve: Callable[[Exchange], Awaitable[None]] | None = None) -> None:
        self.left = 0
        self.go = trio.Event()
        self.requests: list[Request] = []
        self._serve = serve or self._wait

    async def _wait(self, exchange: Exchange) -> None:
        await self.go.wait()
        await exchange.respond(Response("gone on"))

    async def __call__(self, request: Request) -> Deferred:
        self.requests.append(request)
        return Deferred(serve=self._serve, left=self._leave, headers={"X-Held": "yes"})

    def _leave(self) -> None:
        self.left += 1
        self.go.set()


def routes(route: Answering) -> dict[str, Answering]:
    return {"/": route, "/describe": describe}


# ---- answers


async def test_an_answer_may_come_late_and_has_the_headers(autojump_clock: MockClock) -> None:
    holding = Holding()
    async with open_server(routes(holding)) as client:
        await client.send(request("GET", "/"))
        await trio.sleep(500)
        holding.go.set()
        answer = await client.answer()
        assert (answer.status, answer.body) == (200, b"gone on")
        assert answer.headers["x-held"] == "yes"
        assert (await client.ask("GET", "/describe")).status == 200
        assert holding.left == 0


async def test_head_is_answered_without_a_body(autojump_clock: MockClock) -> None:
    holding = Holding()
    holding.go.set()
    async with open_server(routes(holding)) as client:
        assert (await client.ask("HEAD", "/")).body == b""
        assert (await client.ask("GET", "/")).body == b"gone on"


async def test_requests_behind_one_that_is_held_keep_their_order(autojump_clock: MockClock) -> None:
    holding = Holding()
    async with open_server(routes(holding)) as client:
        await client.send(request("GET", "/"))
        await wait_all_tasks_blocked()
        for i in range(3):
            await client.send(request("POST", f"/describe?{i}=", b"body"))
            await wait_all_tasks_blocked()
        holding.go.set()
        assert (await client.answer()).body == b"gone on"
        for i in range(3):
            assert (await client.answer()).body == b"POST /describe {'%d': ''} body" % i


async def test_an_answer_in_parts(autojump_clock: MockClock) -> None:
    async def serve(exchange: Exchange) -> None:
        await exchange.start({"Content-Type": "text/plain"})
        for part in (b"one ", b"two ", b"three"):
            await exchange.write(part)
        await exchange.finish()

    async with open_server(routes(Holding(serve))) as client:
        answer = await client.ask("GET", "/")
        assert answer.body == b"one two three"
        assert answer.headers["x-held"] == "yes"
        assert answer.headers["date"].endswith(" GMT")
        assert (await client.ask("GET", "/describe")).status == 200


async def test_an_answer_that_has_ended_takes_no_more_though_its_socket_goes_on(
    autojump_clock: MockClock,
) -> None:
    exchanges: list[Exchange] = []

    async def serve(exchange: Exchange) -> None:
        exchanges.append(exchange)
        await exchange.start({})
        if len(exchanges) == 2:
            with pytest.raises(ConnectionClosed):
                await exchanges[0].write(b"of the first")
        await exchange.write(b"part")
        await exchange.finish()

    async with open_server(routes(Holding(serve))) as client:
        assert (await client.ask("GET", "/")).body == b"part"
        assert (await client.ask("GET", "/")).body == b"part"
    with pytest.raises(ConnectionClosed):
        await exchanges[1].write(b"late")


# ---- bodies


def echo_body(sizes: list[int]) -> Holding:
    async def serve(exchange: Exchange) -> None:
        body = b""
        while part := await exchange.read():
            sizes.append(len(part))
            body += part
        await exchange.respond(Response(body))

    return Holding(serve)


async def test_a_body_is_read_in_parts_where_that_was_said(autojump_clock: MockClock) -> None:
    sizes: list[int] = []
    near, far = memory_stream_pair()
    body = bytes(range(256)) * 2000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server(routes(echo_body(sizes)), posted={"/"}).serve_stream, near)
        client = Client(far)
        assert (await client.ask("POST", "/", body)).body == body
        assert max(sizes) <= 64 * 1024
        assert (await client.ask("POST", "/", b"x" * 70_000)).body == b"x" * 70_000
        assert (await client.ask("POST", "/describe", b"body")).body == b"POST /describe {} body"
        await far.aclose()


async def test_elsewhere_it_is_whole_in_the_request(autojump_clock: MockClock) -> None:
    holding = Holding()
    holding.go.set()
    async with open_server(routes(holding)) as client:
        assert (await client.ask("POST", "/", b"body")).status == 200
        assert holding.requests[0].body == b"body"
        assert (await client.ask("POST", "/", bytes(70_000))).status == 413


# ---- clients that leave


@pytest.mark.parametrize("how", ["closed", "half closed", "reset"])
async def test_a_client_that_leaves_is_noticed_at_once(how: str, autojump_clock: MockClock) -> None:
    holding = Holding()
    near, far = memory_stream_pair()
    breaking = BreakingStream(near)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server(routes(holding)).serve_stream, breaking)
            await far.send_all(request("GET", "/"))
            await wait_all_tasks_blocked()
            if how == "closed":
                await far.aclose()
            elif how == "half closed":
                await far.send_eof()
            else:
                breaking.broken.set()
    assert holding.left == 1
    assert autojump_clock.current_time() == 0


async def test_a_client_that_sends_much_meanwhile_is_held_back(autojump_clock: MockClock) -> None:
    holding = Holding()
    async with open_server(routes(holding)) as client:
        await client.send(request("GET", "/"))
        await wait_all_tasks_blocked()
        for _ in range(100):
            await client.send(request("GET", "/describe") * 100)
            await wait_all_tasks_blocked()
        holding.go.set()
        assert (await client.answer()).body == b"gone on"
        for _ in range(10_000):
            assert (await client.answer()).status == 200


# ---- what fails


async def test_one_that_fails_is_a_failed_handler(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def serve(exchange: Exchange) -> None:
        raise ZeroDivisionError("private")

    async with open_server(routes(Holding(serve))) as client:
        answer = await client.ask("GET", "/")
        assert (answer.status, answer.body) == (500, b"The handler failed.")
        assert answer.headers["x-held"] == "yes"
        assert (await client.ask("GET", "/describe")).status == 200
    (record,) = caplog.records
    assert (record.name, record.levelno) == (LOGGER, logging.ERROR)
    assert record.exc_info is not None


async def test_one_that_fails_in_the_middle_is_cut_off(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def serve(exchange: Exchange) -> None:
        await exchange.start({})
        await exchange.write(b"half of")
        raise ZeroDivisionError("private")

    async with open_server(routes(Holding(serve))) as client:
        await client.send(request("GET", "/") + request("GET", "/describe"))
        received = await client.rest()
        assert received.count(b"HTTP/1.1 ") == 1
        assert received.endswith(b"half of\r\n")  # and no last chunk
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_an_answer_that_is_not_taken_is_given_up(autojump_clock: MockClock) -> None:
    errors: list[str] = []

    async def serve(exchange: Exchange) -> None:
        try:
            await exchange.respond(Response("x" * 100), timeout=3)
        except ConnectionClosed as error:
            errors.append(str(error))
            raise

    near, far = narrow_stream_pair()
    near.send_stream.room = 50
    await far.send_all(request("GET", "/") + request("GET", "/describe"))
    await server(routes(Holding(serve))).serve_stream(near)
    assert errors == ["The client took nothing of its answer for 3 s."]
    assert autojump_clock.current_time() == 3
    assert len(await far.receive_some()) == 50


async def test_an_end_that_was_cut_is_followed_by_nothing(autojump_clock: MockClock) -> None:
    near, far = narrow_stream_pair()

    async def serve(exchange: Exchange) -> None:
        await exchange.start({})
        near.send_stream.room = 2
        with trio.move_on_after(3):
            await exchange.finish()
        near.send_stream.room = 1 << 20

    await far.send_all(request("GET", "/") + request("GET", "/describe"))
    await server(routes(Holding(serve))).serve_stream(near)
    received = await far.receive_some()
    assert received.count(b"HTTP/1.1 ") == 1
    assert received.endswith(b"\r\n\r\n0\r")


async def test_who_serves_may_leave_without_an_answer(autojump_clock: MockClock) -> None:
    async def serve(exchange: Exchange) -> None:
        pass

    async with open_server(routes(Holding(serve))) as client:
        await client.send(request("GET", "/"))
        assert await client.rest() == b""


async def test_a_body_that_nobody_reads_to_its_end_ends_the_stream(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()

    async def serve(exchange: Exchange) -> None:
        await exchange.respond(Response("enough", status=404))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server(routes(Holding(serve)), posted={"/"}).serve_stream, near)
        client = Client(far)
        await client.send(request("POST", "/", Content_Length="1000", Expect="100-continue"))
        assert (await client.answer()).status == 404  # and no 100 before
        assert await client.rest() == b""


async def test_a_client_that_is_silent_in_its_body_is_given_up(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server(routes(echo_body([])), posted={"/"}).serve_stream, near)
        client = Client(far)
        await client.send(request("POST", "/", Content_Length="10") + b"12345")
        assert await client.rest() == b""
        assert autojump_clock.current_time() == 30


async def test_cancellation_ends_what_is_held(autojump_clock: MockClock) -> None:
    holding = Holding()
    near, far = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server(routes(holding)).serve_stream, near)
        await far.send_all(request("GET", "/"))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert await far.receive_some() == b""
    assert holding.left == 0


async def test_a_client_that_takes_its_answer_slowly_but_steadily_gets_all_of_it(
    autojump_clock: MockClock,
) -> None:
    body = b"x" * (5 * 64 * 1024)

    async def serve(exchange: Exchange) -> None:
        await exchange.respond(Response(body), timeout=3)

    near, far = memory_stream_pair()
    pump = near.send_stream.send_all_hook
    assert pump is not None

    async def take_slowly() -> None:
        await trio.sleep(2)
        await pump()

    near.send_stream.send_all_hook = take_slowly
    client = Client(far)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server(routes(Holding(serve))).serve_stream, near)
        await client.send(request("GET", "/"))
        assert (await client.answer()).body == body
        assert trio.current_time() > 3
        nursery.cancel_scope.cancel()


async def test_tiny_chunks_hold_up_nobody(autojump_clock: MockClock) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with open_server() as client:
        head = request("POST", "/describe", Transfer_Encoding="chunked")
        await client.send(head + b"1\r\nx\r\n" * 6000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(others)
            await client.send(b"0\r\n\r\n")
            assert (await client.answer("POST")).status == 200
            nursery.cancel_scope.cancel()
        assert turns > 6000 / 64
