"""A client's socket from worker to worker, with what was read of it, over real sockets in one process."""

import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from trio_hubs import Request, Response
from trio_hubs.connections.server.exchange import Route
from trio_hubs.connections.server.http_server import HttpServer
from trio_hubs.connections.server.router import FixedPlace, Router
from trio_hubs.tasks import open_background
from trio_hubs.workers import handover
from trio_hubs.workers.handover import Mailboxes, make_mailbox


class Boxes(Mailboxes):
    """Mailboxes of workers that take new clients for as long as a test does not say otherwise."""

    chosen: int | None = None

    @property
    def heir(self) -> int | None:
        return self.chosen


@asynccontextmanager
async def open_workers(count: int) -> AsyncGenerator[list[HttpServer]]:
    """Servers, each of which says who it is and who asks."""
    boxes = [make_mailbox() for _ in range(count)]
    async with open_background() as nursery:
        servers = []
        for number in range(count):
            outboxes = [socket.socket(fileno=outbox.dup().detach()) for _, outbox in boxes]
            mailboxes = Boxes(number, boxes[number][0], outboxes)
            router = Router(None)
            answer = partial(respond, number)
            router.add({"/": FixedPlace(Route(answer, tokens=True)), "/page": FixedPlace(Route(answer))})
            server = HttpServer(router, elsewhere=mailboxes)
            await nursery.start(server.arrivals.run)
            nursery.start_soon(mailboxes.run, server, nursery)
            servers.append(server)
        yield servers
    for _, outbox in boxes:
        outbox.close()


async def respond(number: int, request: Request) -> Response:
    return Response(f"{number} {request.scheme} {request.client} {request.body.decode()}")


def request_for(worker: int, body: bytes = b"hi") -> bytes:
    return b"POST /?id=%d-x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (worker, len(body), body)


async def answer_of(client: trio.abc.Stream) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received or not received.endswith(b"."):
        data = await client.receive_some()
        if not data:
            break
        received += data
    return received


async def test_each_request_finds_its_worker_on_one_connection() -> None:
    async with open_workers(3) as servers, trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        serve = partial(trio.serve_listeners, servers[0].serve_stream, [listener])
        await nursery.start(serve)
        async with await trio.testing.open_stream_to_socket_listener(listener) as client:
            for worker in (0, 2, 1, 1, 0):
                await client.send_all(request_for(worker, b"hi.")[:-1])
                await client.send_all(b".")
                assert b"%d http 127.0.0.1 hi." % worker in await answer_of(client)
            await client.send_all(b"".join(request_for(worker, b"many.") for worker in (2, 0, 1)))
            received = b""
            while received.count(b"many.") < 3:
                received += await client.receive_some()
            assert [received.index(b"%d http" % worker) for worker in (2, 0, 1)] == sorted(
                received.index(b"%d http" % worker) for worker in (2, 0, 1)
            )
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("heir", [2, None])
async def test_idle_connections_go_to_the_heir_or_are_closed(heir: int | None) -> None:
    async with open_workers(3) as servers, trio.open_nursery() as nursery:
        leaving: Any = servers[0].elsewhere
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(partial(trio.serve_listeners, servers[0].serve_stream, [listener]))
        request = b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n"
        new, used, cut = [await trio.testing.open_stream_to_socket_listener(listener) for _ in range(3)]
        await used.send_all(request)
        assert b"\r\n\r\n0 http" in await used.receive_some()
        await cut.send_all(request + request[:-9])
        assert b"\r\n\r\n0 http" in await cut.receive_some()
        await trio.testing.wait_all_tasks_blocked()
        leaving.chosen = heir
        servers[0].arrivals.leave()
        await trio.testing.wait_all_tasks_blocked()
        late = await trio.testing.open_stream_to_socket_listener(listener)
        for client, rest in ((new, request), (used, request), (late, request)):
            if heir is None:
                assert await client.receive_some() == b""
            else:
                await client.send_all(rest)
                assert b"\r\n\r\n2 http" in await client.receive_some()
        await cut.send_all(request[-9:])  # it had come in part: it is answered here, or handed over whole
        assert b"\r\n\r\n%d http" % (heir or 0) in await cut.receive_some()
        for client in (new, used, cut, late):
            await client.aclose()
        nursery.cancel_scope.cancel()


async def test_workers_serve_one_app() -> None:
    async with open_workers(2) as servers, trio.open_nursery() as nursery:
        elsewhere: Any = servers[0].elsewhere
        with pytest.raises(RuntimeError, match="workers serve one app: make another in the lifespan"):
            await elsewhere.run(HttpServer(Router(None)), nursery)


async def test_what_comes_over_tls_is_passed_on_both_ways() -> None:
    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(ours)
    authority.configure_trust(theirs)
    async with open_workers(2) as servers, trio.open_nursery() as nursery:
        (listener,) = await trio.open_ssl_over_tcp_listeners(0, ours, host="127.0.0.1", https_compatible=True)
        await nursery.start(partial(trio.serve_listeners, servers[0].serve_stream, [listener]))
        transport: Any = listener.transport_listener
        plain = await trio.testing.open_stream_to_socket_listener(transport)
        async with trio.SSLStream(
            plain, theirs, server_hostname="localhost", https_compatible=True
        ) as client:
            big = b"x" * 30_000 + b"."
            for body in (b"one.", big, b"three."):
                await client.send_all(request_for(1, body))
                answer = await answer_of(client)
                assert b"1 https 127.0.0.1 " in answer
                assert answer.endswith(body[-100:])
        nursery.cancel_scope.cancel()


async def test_what_is_new_goes_to_the_heir_of_a_worker_that_runs_empty() -> None:
    async with open_workers(3) as servers, trio.open_nursery() as nursery:
        leaving: Any = servers[0].elsewhere
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(partial(trio.serve_listeners, servers[0].serve_stream, [listener]))
        new = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
        clients = [await trio.testing.open_stream_to_socket_listener(listener) for _ in range(3)]
        for client in clients:
            await client.send_all(new % b"/")
            assert b"\r\n\r\n0 http" in await client.receive_some()
        leaving.chosen = 2
        for client, path in zip(clients, (b"/", b"/page", b"/?id="), strict=True):
            await client.send_all(request_for(0, b"still mine."))
            assert b"\r\n\r\n0 http" in await answer_of(client)
            await client.send_all(new % path)
            assert b"\r\n\r\n2 http" in await client.receive_some()
            await client.send_all(request_for(1, b"of a third."))
            assert b"\r\n\r\n1 http" in await answer_of(client)
            await client.aclose()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("token", ["", "x", "7-x", "99999-x", "0-x", "-1-x", "\u0661-x"])
async def test_tokens_of_nobody_are_ours(token: str) -> None:
    async with open_workers(2) as servers:
        elsewhere: Any = servers[0].elsewhere
        assert elsewhere.owner(token) is None
        assert elsewhere.owner("1-x") == 1


async def test_a_worker_that_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "HAND_OVER_TIMEOUT", 0.1)
    inbox, outbox = make_mailbox()
    mine, _mine = make_mailbox()
    with inbox:
        mailboxes = Boxes(0, mine, [_mine, outbox])
        ours, theirs = socket.socketpair()
        with ours:
            stream: Any = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
            async with stream:
                handed = 0
                while await mailboxes._put(1, bytes(1000), stream.socket.fileno()):
                    handed += 1
                assert handed > 5
        mailboxes.close()
