"""Requests of connections that another process has: their sockets go there, with every byte that was read."""

from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_hubs import Request, Response
from trio_hubs.connections.server.exchange import Route
from trio_hubs.connections.server.http_server import HttpServer
from trio_hubs.connections.server.router import FixedPlace, Router

GET = b"GET /hub?id=1-x HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /hub?id=1-x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"


class OtherProcess:
    """Takes what is its, if it may."""

    token_prefix = "0-"
    heir = None

    def __init__(self, *, there: bool) -> None:
        self.there = there
        self.taken: list[tuple[Any, ...]] = []

    def owner(self, token: str) -> int | None:
        return 1 if token.startswith("1-") else None

    async def hand_over(self, owner: int, stream: Any, data: bytes, scheme: str, client: str | None) -> bool:
        await trio.lowlevel.checkpoint()
        self.taken.append((owner, data, scheme))
        return self.there


def server_beside(other: OtherProcess) -> HttpServer:
    async def respond(request: Request) -> Response:
        return Response(f"{request.method} {request.body.decode()}")

    router = Router(None)
    router.add({"/hub": FixedPlace(Route(respond, tokens=True)), "/page": FixedPlace(Route(respond))})
    return HttpServer(router, elsewhere=other)


async def answers_to(server: HttpServer, *pieces: bytes) -> bytes:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_stream, theirs)
        for piece in pieces:
            await ours.send_all(piece)
            await trio.testing.wait_all_tasks_blocked()
        await ours.send_eof()
        received = b""
        while data := await ours.receive_some():
            received += data
        return received


@pytest.mark.parametrize("pieces", [(GET,), (GET + GET,), (POST,), (GET[:20], GET[20:])])
async def test_it_gets_all_that_was_read(autojump_clock: MockClock, pieces: tuple[bytes, ...]) -> None:
    other = OtherProcess(there=True)
    assert await answers_to(server_beside(other), *pieces) == b""
    assert other.taken == [(1, b"".join(pieces), "http")]


async def test_behind_requests_of_our_own(autojump_clock: MockClock) -> None:
    other = OtherProcess(there=True)
    ours = b"POST /hub?id=0-y HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
    page = b"GET /page?id=1-x HTTP/1.1\r\nHost: a\r\n\r\n"
    received = await answers_to(server_beside(other), ours + page + POST)
    assert received.count(b"HTTP/1.1 200") == 2
    assert b"POST hi" in received
    assert other.taken == [(1, POST, "http")]


async def test_when_it_is_away_the_client_may_try_again(autojump_clock: MockClock) -> None:
    received = await answers_to(server_beside(OtherProcess(there=False)), POST)
    assert received.startswith(b"HTTP/1.1 503")
    assert b"connection: close" in received.lower()


async def test_what_another_process_has_read_is_served_here(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    server = server_beside(OtherProcess(there=True))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            server.serve_stream, theirs, POST.replace(b"1-x", b"0-x")[:-2], "https", "10.0.0.1"
        )
        await ours.send_all(b"dy")
        await ours.send_eof()
        received = b""
        while data := await ours.receive_some():
            received += data
    assert received.endswith(b"POST body")
