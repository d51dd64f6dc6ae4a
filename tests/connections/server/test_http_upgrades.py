"""The front door opens a WebSocket for each good request for one, and answers all others."""

import logging

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from tests.connections.websocket.websocket_peer import CLOSE, PING, PONG, TEXT, Peer, close_payload
from trio_hubs.connections.duplex import Duplex
from trio_hubs.connections.http import Headers, Request
from trio_hubs.connections.server.exchange import Answering, Upgrade

from .http_peer import BAD_UPGRADES, LOGGER, ODD_UPGRADES, ROUTES, open_server, request, server, upgrade

lanes = pytest.mark.parametrize("express", [True, False], ids=["express", "plain"])


@lanes
async def test_an_upgrade_opens_a_websocket(express: bool, autojump_clock: MockClock) -> None:
    async with open_server(express=express) as client:
        await client.send(upgrade())
        peer = Peer(client.stream, client=True)
        head = await peer.head()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        await peer.send(peer.frame(TEXT, b"hello"), peer.frame(PING, b"?"))
        assert sorted([await peer.next_frame(), await peer.next_frame()]) == [(TEXT, b"hello"), (PONG, b"?")]
        await peer.send_close()
        assert await peer.rest() == [(CLOSE, close_payload(1000))]


async def test_an_upgrade_may_follow_other_requests_and_be_followed_by_data(
    autojump_clock: MockClock,
) -> None:
    async with open_server() as client:
        peer = Peer(client.stream, client=True)
        await client.send(request("GET", "/describe") + upgrade() + peer.frame(TEXT, b"early"))
        assert b"200 OK" in await peer.head()
        assert await peer.head() != b""
        assert await peer.next_frame() == (TEXT, b"early")
        await peer.send_close()


async def test_what_serves_a_websocket_sees_the_request(autojump_clock: MockClock) -> None:
    seen: list[Duplex] = []

    async def route(request: Request) -> Upgrade:
        async def serve(connection: Duplex) -> None:
            seen.append(connection)

        return Upgrade(id="public", serve=serve, close_timeout=5)

    async with open_server({"/echo": route}) as client:
        await client.send(upgrade("/echo?x=1", X_Test="yes"))
        peer = Peer(client.stream, client=True)
        await peer.head()
        assert await peer.next_frame() == (CLOSE, close_payload(1000))
        await peer.send_close()
    assert seen[0].id == "public"
    assert seen[0].request.query["x"] == "1"
    assert seen[0].request.headers["x-test"] == "yes"


def accepting(headers: Headers) -> Answering:
    async def serve(connection: Duplex) -> None:
        await connection.send(b"hello")

    async def route(request: Request) -> Upgrade:
        return Upgrade(id="id", serve=serve, close_timeout=5, headers=headers)

    return route


@lanes
async def test_an_acceptance_has_further_headers(express: bool, autojump_clock: MockClock) -> None:
    headers = {"Set-Cookie": ["a=1", "b=2"], "X-Node": "7"}
    async with open_server({"/echo": accepting(headers)}, express=express) as client:
        await client.send(upgrade())
        peer = Peer(client.stream, client=True)
        lines = (await peer.head()).lower().split(b"\r\n")
        assert lines[0].startswith(b"http/1.1 101 ")
        assert {b"set-cookie: a=1", b"set-cookie: b=2", b"x-node: 7"} < set(lines)
        assert await peer.next_frame() == (TEXT, b"hello")
        assert await peer.next_frame() == (CLOSE, close_payload(1000))
        await peer.send_close()


@pytest.mark.parametrize("headers", [{"X": "a\r\nInjected: b"}, {"no name": "a"}])
async def test_a_header_that_cannot_be_sent_is_a_failed_handler(
    headers: Headers, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with open_server({"/echo": accepting(headers)}) as client:
        await client.send(upgrade())
        assert (await client.answer()).status == 500
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


@lanes
@pytest.mark.parametrize("kind", BAD_UPGRADES)
async def test_a_bad_upgrade_is_refused(
    express: bool, kind: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with open_server(express=express) as client:
        await client.send(BAD_UPGRADES[kind])
        answer = await client.answer()
        assert 400 <= answer.status < 500
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert autojump_clock.current_time() < 1


@lanes
@pytest.mark.parametrize("kind", ODD_UPGRADES)
async def test_an_upgrade_with_odd_bytes_is_answered(
    express: bool, kind: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with open_server(express=express) as client:
        await client.send(ODD_UPGRADES[kind])
        peer = Peer(client.stream, client=True)
        status = int((await peer.head()).split()[1])
        assert status == 101 or 400 <= status < 500
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@lanes
@pytest.mark.parametrize(
    "data",
    [
        upgrade(Connection="keep-alive, Upgrade"),
        upgrade(Connection="upgrade", Upgrade="WebSocket"),
        upgrade(Upgrade="h2c, websocket"),
        upgrade(Upgrade="websocket, h2c"),
        upgrade(Upgrade="h2c").replace(b"Upgrade: h2c", b"Upgrade: h2c\r\nUpgrade: websocket"),
        upgrade().replace(b"Connection: Upgrade", b"Connection: close-not\r\nConnection: upgrade"),
        upgrade(
            Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits",
            Sec_WebSocket_Protocol="a, b",
        ),
        upgrade(Content_Length="0"),
        upgrade(Expect="100-continue"),
    ],
    ids=[
        "firefox",
        "letter case",
        "behind another",
        "ahead of another",
        "lines",
        "lines of options",
        "offers",
        "no body",
        "expect",
    ],
)
async def test_a_good_upgrade_is_accepted(express: bool, data: bytes, autojump_clock: MockClock) -> None:
    async with open_server(express=express) as client:
        await client.send(data)
        peer = Peer(client.stream, client=True)
        head = await peer.head()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Extensions" not in head
        assert b"Sec-WebSocket-Protocol" not in head
        await peer.send(peer.frame(TEXT, b"hello"))
        assert await peer.next_frame() == (TEXT, b"hello")
        await peer.send_close()


async def test_a_refused_upgrade_leaves_the_connection_alive(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        await client.send(upgrade("/nowhere"))
        assert (await client.answer()).status == 404
        await client.send(upgrade(Sec_WebSocket_Version="8"))
        assert (await client.answer()).body == b"Sec-WebSocket-Version must be 13"
        await client.send(upgrade(Sec_WebSocket_Key="short"))
        assert (await client.answer()).body == b"Sec-WebSocket-Key must be 16 bytes in base64"
        await client.send(upgrade(Sec_WebSocket_Key="x" * 21 + "!=="))
        assert (await client.answer()).body == b"Sec-WebSocket-Key must be 16 bytes in base64"
        await client.send(upgrade(Sec_WebSocket_Key="\u00e9" * 12))
        assert (await client.answer()).body == b"Sec-WebSocket-Key must be 16 bytes in base64"
        await client.send(upgrade(Upgrade="websocket-like"))
        assert b"an Upgrade header that names 'websocket'" in (await client.answer()).body
        await client.send(upgrade(Connection="not-upgrade"))
        assert (await client.answer()).body == b"The Connection header must name 'Upgrade'"
        await client.send(upgrade(Connection="close-not"))
        assert (await client.answer()).body == b"The Connection header must name 'Upgrade'"
        assert (await client.ask("GET", "/describe")).status == 200


@lanes
async def test_what_fails_while_it_serves_closes_with_1011_and_is_logged(
    express: bool, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def route(request: Request) -> Upgrade:
        async def serve(connection: Duplex) -> None:
            raise ZeroDivisionError("private")

        return Upgrade(id="id", serve=serve, close_timeout=5)

    async with open_server({"/echo": route}, express=express) as client:
        await client.send(upgrade())
        peer = Peer(client.stream, client=True)
        await peer.head()
        assert await peer.next_frame() == (CLOSE, close_payload(1011))
        await peer.send_close()
        assert await peer.rest() == []
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.name == LOGGER
    assert record.exc_info is not None


@lanes
async def test_cancellation_closes_a_websocket_with_1000(express: bool, autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    peer = Peer(far, client=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server(ROUTES, express=express).serve_stream, near)
        await far.send_all(upgrade())
        await peer.head()
        nursery.cancel_scope.cancel()
    assert await peer.rest() == [(CLOSE, close_payload(1000))]
