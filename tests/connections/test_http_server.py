"""The front door answers whatever comes in: well, or with a 4xx or 5xx, or with a line in the log; it never raises."""

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import attrs
import h11
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from trio_hubs.connections.http import Request, Response
from trio_hubs.connections.http_server import HttpServer, Route, Upgrade, is_websocket_request
from trio_hubs.connections.websocket import WebSocketConnection

from .websocket_peer import (
    BAD_FRAMES,
    CLOSE,
    PATIENCE,
    PING,
    PONG,
    TEXT,
    UPGRADE,
    Peer,
    close_payload,
    narrow_stream_pair,
)

LOGGER = "trio_hubs.connections.http_server"
lanes = pytest.mark.parametrize("express", [True, False], ids=["express", "plain"])


@attrs.frozen
class Answer:
    """What a client has received."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Client:
    """A raw HTTP client."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._received = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def answer(self, method: str = "GET") -> Answer:
        """Wait for one answer, to a request with this method."""
        wire = h11.Connection(h11.CLIENT)
        wire.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        wire.send(h11.EndOfMessage())
        if self._received:
            wire.receive_data(self._received)
        head: h11.Response | h11.InformationalResponse | None = None
        body = b""
        with trio.fail_after(PATIENCE):
            while True:
                event = wire.next_event()
                if event is h11.NEED_DATA:
                    wire.receive_data(bytes(await self.stream.receive_some()))
                elif isinstance(event, h11.InformationalResponse):
                    head = event
                    break
                elif isinstance(event, h11.Response):
                    head = event
                elif isinstance(event, h11.Data):
                    body += event.data
                else:
                    assert isinstance(event, h11.EndOfMessage)
                    break
        assert head is not None
        self._received = bytes(wire.trailing_data[0])
        headers = {name.decode(): value.decode() for name, value in head.headers}
        return Answer(head.status_code, headers, body)

    async def ask(self, method: str, target: str, body: bytes = b"", /, **headers: str) -> Answer:
        await self.send(request(method, target, body, **headers))
        return await self.answer(method)

    async def rest(self) -> bytes:
        """What comes until the server closes the stream."""
        received = self._received
        with trio.fail_after(PATIENCE):
            while more := await self.stream.receive_some():
                received += more
        return received


def request(method: str, target: str, body: bytes = b"", /, **headers: str) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: example"]
    lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode() + body


async def describe(request: Request) -> Response:
    return Response(f"{request.method} {request.path} {dict(request.query)} {request.body.decode('latin-1')}")


async def fail(request: Request) -> Response:
    raise ZeroDivisionError("private")


async def echo(request: Request) -> Upgrade:
    async def serve(connection: WebSocketConnection) -> None:
        while data := await connection.receive():
            await connection.send(data)

    return Upgrade("id", serve)


ROUTES: dict[str, Route] = {"/describe": describe, "/fail": fail, "/echo": echo}


def answering(response: Response) -> Route:
    async def route(request: Request) -> Response:
        return response

    return route


@asynccontextmanager
async def open_server(
    routes: Mapping[str, Route] = ROUTES, *, express: bool = True
) -> AsyncGenerator[Client]:
    """A server for one client's stream; it must have ended by itself when the client has closed."""
    near, far = memory_stream_pair()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(HttpServer(routes, express=express).serve_stream, near)
            yield Client(far)
            await far.aclose()


# ---- requests and answers


async def test_a_request_is_answered(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        answer = await client.ask("POST", "/describe?a=1", b"body")
        assert answer.status == 200
        assert answer.body == b"POST /describe {'a': '1'} body"
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["content-length"] == str(len(answer.body))
        assert answer.headers["date"].endswith(" GMT")


async def test_a_connection_is_kept_alive(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        for i in range(3):
            assert (await client.ask("GET", f"/describe?{i}=")).status == 200
        assert (await client.ask("GET", "/nowhere")).status == 404
        assert (await client.ask("GET", "/fail")).status == 500
        assert (await client.ask("GET", "/describe")).status == 200


async def test_a_client_may_ask_to_close(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        answer = await client.ask("GET", "/describe", Connection="close")
        assert answer.headers["connection"] == "close"
        assert await client.rest() == b""


async def test_http_1_0_is_answered_and_closed(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        await client.send(b"GET /describe HTTP/1.0\r\n\r\n")
        assert (await client.answer()).body == b"GET /describe {} "
        assert await client.rest() == b""


async def test_pipelined_requests_are_answered_in_order(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        asked = [
            request("GET", "/describe?1="),
            request("POST", "/describe?2=", b"x"),
            request("GET", "/nowhere"),
        ]
        await client.send(b"".join(asked) + request("HEAD", "/describe") + request("GET", "/describe?5="))
        answers = [await client.answer(method) for method in ("GET", "POST", "GET", "HEAD", "GET")]
        assert [answer.status for answer in answers] == [200, 200, 404, 200, 200]
        assert answers[1].body == b"POST /describe {'2': ''} x"
        assert answers[4].body == b"GET /describe {'5': ''} "


async def test_requests_arrive_in_any_pieces(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        for byte in request("POST", "/describe", b"body") * 2:
            await client.send(bytes((byte,)))
            await wait_all_tasks_blocked()
        assert (await client.answer()).body == (await client.answer()).body == b"POST /describe {} body"


async def test_a_body_may_come_in_chunks(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        await client.send(
            request("POST", "/describe", Transfer_Encoding="chunked") + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        assert (await client.answer()).body == b"POST /describe {} abcde"
        assert (await client.ask("GET", "/describe")).status == 200


async def test_head_has_the_headers_of_get_and_no_body(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        for target in ("/describe", "/nowhere", "/fail"):
            answer = await client.ask("HEAD", target)
            assert answer.body == b""
            assert int(answer.headers["content-length"]) > 0
        assert (await client.ask("GET", "/describe")).body == b"GET /describe {} "


async def test_who_expects_a_continue_gets_it(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        await client.send(request("POST", "/describe", Expect="100-continue", Content_Length="4"))
        assert (await client.answer()).status == 100
        await client.send(b"body")
        assert (await client.answer()).body == b"POST /describe {} body"


async def test_who_expects_a_continue_and_does_not_wait_gets_none(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        await client.send(request("POST", "/describe", b"body", Expect="100-continue"))
        assert (await client.answer()).status == 200


async def test_nothing_is_at_an_unknown_path(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        answer = await client.ask("GET", "/no%20where?x=1")
        assert (answer.status, answer.body) == (404, b"Nothing is served at /no where")


async def test_routes_are_looked_up_at_each_request(autojump_clock: MockClock) -> None:
    routes: dict[str, Route] = {}
    async with open_server(routes) as client:
        assert (await client.ask("GET", "/describe")).status == 404
        routes["/describe"] = describe
        assert (await client.ask("GET", "/describe")).status == 200


@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "STRANGE", "get"]
)
async def test_every_method_is_answered(
    method: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with open_server() as client:
        answer = await client.ask(method, "/describe")
        assert answer.status in (200, 400, 405, 501)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("status", [200, 204, 299, 304, 404, 418, 503, 599])
async def test_an_answer_has_any_status(status: int, autojump_clock: MockClock) -> None:
    async with open_server({"/": answering(Response(status=status))}) as client:
        assert (await client.ask("GET", "/")).status == status
        assert (await client.ask("GET", "/")).status == status


async def test_an_answer_has_the_handlers_headers(autojump_clock: MockClock) -> None:
    response = Response(b"\xff", content_type="image/png", headers={"Cache-Control": "no-store"})
    async with open_server({"/": answering(response)}) as client:
        answer = await client.ask("GET", "/")
        assert answer.body == b"\xff"
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["cache-control"] == "no-store"


# ---- handlers that fail


async def test_a_handler_that_fails_is_logged_and_its_text_stays_here(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with open_server() as client:
        answer = await client.ask("GET", "/fail?x=1")
        assert (answer.status, answer.body) == (500, b"The handler failed.")
        assert (await client.ask("GET", "/describe")).status == 200
    (record,) = [record for record in caplog.records if record.name == LOGGER]
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "the handler of GET /fail failed")
    assert record.exc_info is not None


@pytest.mark.parametrize(
    "response",
    [
        Response(headers={"X": "a\r\nInjected: b"}),
        Response(headers={"no name": "a"}),
        Response(content_type="a\nb"),
        Response(status=99),
        Response(status=101),
        Response(b"body", status=204),
    ],
    ids=["line break", "name", "content type", "status", "switch", "body"],
)
async def test_an_answer_that_cannot_be_sent_is_a_failed_handler(
    response: Response, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with open_server({"/": answering(response)}) as client:
        answer = await client.ask("GET", "/")
        assert (answer.status, answer.body) == (500, b"The handler failed.")
        assert "injected" not in answer.headers
    assert [record.levelno for record in caplog.records if record.name == LOGGER] == [logging.ERROR]


# ---- requests that are not in order

BAD_REQUESTS = {
    "garbage": b"\xff\xfe\x00garbage\r\n\r\n",
    "tls": bytes.fromhex("16030100f8010000f40303") + b"\r\n\r\n",
    "no version": b"GET /describe\r\n\r\n",
    "no host": b"GET /describe HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /describe HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a space in a header": b"GET /describe HTTP/1.1\r\nHost: a\r\nno name : a\r\n\r\n",
    "no colon": b"GET /describe HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n",
    "a length that is none": b"POST /describe HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    "a negative length": b"POST /describe HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"POST /describe HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "an unknown coding": b"POST /describe HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    "a chunk that is none": b"POST /describe HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "a target that is no url": b"GET //[ HTTP/1.1\r\nHost: a\r\n\r\n",
    "another target that is no url": b"GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a long line": b"GET /" + b"x" * 20_000,
    "many headers": b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000,
    "a long trailer": b"POST /describe HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: "
    + b"x" * 20_000,
}


@pytest.mark.parametrize("kind", BAD_REQUESTS)
@pytest.mark.parametrize("before", ["", "GET", "HEAD"])
async def test_a_bad_request_is_answered_and_closed(
    kind: str, before: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with open_server() as client:
        if before:
            assert (await client.ask(before, "/describe")).status == 200
        await client.send(BAD_REQUESTS[kind])
        answer = await client.answer()
        assert 400 <= answer.status < 600
        assert answer.body
        assert await client.rest() == b""
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert autojump_clock.current_time() == 0


@pytest.mark.parametrize(
    "headers", [{"Content_Length": "65537"}, {"Transfer_Encoding": "chunked"}], ids=["length", "chunks"]
)
async def test_a_body_has_a_limit(headers: dict[str, str], autojump_clock: MockClock) -> None:
    async with open_server() as client:
        await client.send(request("POST", "/describe", **headers))
        await client.send(bytes(65_537) if "Content_Length" in headers else b"10001\r\n" + bytes(65_537))
        answer = await client.answer()
        assert (answer.status, answer.body) == (413, b"The body is above 65536 bytes.")
        await client.rest()


async def test_a_body_at_the_limit_is_taken(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        answer = await client.ask("POST", "/describe", b"x" * 65_536)
        assert answer.body == b"POST /describe {} " + b"x" * 65_536


@pytest.mark.parametrize(
    "data", [b"GET /describe HT", request("POST", "/describe", b"body")[:-1]], ids=["head", "body"]
)
async def test_a_request_that_is_cut_off_is_no_error_of_ours(
    data: bytes, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_server() as client:
        await client.send(data)
    records = [record for record in caplog.records if record.name == LOGGER]
    assert records
    assert all(record.levelno < logging.WARNING for record in records)


async def test_a_client_that_leaves_before_its_answer_is_no_error_of_ours(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_server() as client:
        await client.send(request("GET", "/describe"))
    assert all(record.levelno < logging.WARNING for record in caplog.records)


# ---- time


async def test_an_idle_client_has_thirty_seconds(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        assert (await client.ask("GET", "/describe")).status == 200
        await trio.sleep(29)
        assert (await client.ask("GET", "/describe")).status == 200
        assert await client.rest() == b""
        assert autojump_clock.current_time() == 59


@pytest.mark.parametrize("cut", [-5, 10])
async def test_a_slow_client_has_thirty_seconds_for_a_request(
    cut: int, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_server() as client:
        data = request("POST", "/describe", b"body" * 100)[:cut]

        async def trickle() -> None:
            for byte in data:
                await trio.sleep(1.1)
                await client.send(bytes((byte,)))

        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await trickle()
                    await trio.sleep(30)
                    await client.send(b"x")

            received = await client.rest()
            assert autojump_clock.current_time() == 30
        assert received.startswith(b"HTTP/1.1 408 ") or [r for r in caplog.records if r.name == LOGGER]


async def test_a_handler_has_all_the_time_it_wants(autojump_clock: MockClock) -> None:
    async def slow(request: Request) -> Response:
        await trio.sleep(500)
        return Response("done")

    async with open_server({"/": slow}) as client:
        assert (await client.ask("GET", "/")).body == b"done"


@pytest.mark.parametrize("target", ["/describe", "/echo"])
async def test_a_client_that_does_not_read_its_answer_is_let_go(
    target: str, autojump_clock: MockClock
) -> None:
    near, far = narrow_stream_pair()
    near.send_stream.room = 10
    await far.send_all(UPGRADE.replace(b"/chat?id=7", target.encode()))
    with trio.fail_after(PATIENCE):
        await HttpServer(ROUTES).serve_stream(near)
    assert len(await far.receive_some()) == 10


async def test_cancellation_ends_an_idle_connection(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(HttpServer(ROUTES).serve_stream, near)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert await far.receive_some() == b""


# ---- upgrades


def upgrade(target: str = "/echo", **changes: str | None) -> bytes:
    """A request for a WebSocket, with other headers; None leaves one out."""
    headers: dict[str, str | None] = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec_WebSocket_Version": "13",
    }
    headers.update(changes)
    return request("GET", target, **{name: text for name, text in headers.items() if text is not None})


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
    seen: list[WebSocketConnection] = []

    async def route(request: Request) -> Upgrade:
        async def serve(connection: WebSocketConnection) -> None:
            seen.append(connection)

        return Upgrade("public", serve)

    async with open_server({"/echo": route}) as client:
        await client.send(upgrade("/echo?x=1", X_Test="yes"))
        peer = Peer(client.stream, client=True)
        await peer.head()
        assert await peer.next_frame() == (CLOSE, close_payload(1000))
        await peer.send_close()
    assert seen[0].id == "public"
    assert seen[0].request.query["x"] == "1"
    assert seen[0].request.headers["x-test"] == "yes"


BAD_UPGRADES: dict[str, bytes] = {
    "no connection": upgrade(Connection=None),
    "another connection": upgrade(Connection="keep-alive"),
    "a connection like it": upgrade(Connection="not-upgrade"),
    "no version": upgrade(Sec_WebSocket_Version=None),
    "an old version": upgrade(Sec_WebSocket_Version="8"),
    "no key": upgrade(Sec_WebSocket_Key=None),
    "a short key": upgrade(Sec_WebSocket_Key="c2hvcnQ="),
    "no upgrade": upgrade(Upgrade=None),
    "another upgrade": upgrade(Upgrade="h2c"),
    "an upgrade like it": upgrade(Upgrade="websocket-like"),
    "a post": upgrade().replace(b"GET", b"POST"),
    "http 1.0": upgrade().replace(b"HTTP/1.1", b"HTTP/1.0"),
}


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


ODD_UPGRADES: dict[str, bytes] = {
    "a host that is no name": upgrade().replace(b"Host: example", b"Host: xn--\xff"),
    "a host that is no international name": upgrade().replace(b"Host: example", b"Host: xn--zzzzzz99999999"),
    "a protocol that is no name": upgrade(Sec_WebSocket_Protocol="a").replace(
        b"Protocol: a", b"Protocol: \xff"
    ),
    "an extension that is no name": upgrade(Sec_WebSocket_Extensions="a").replace(
        b"sions: a", b"sions: \xff"
    ),
    "a connection that is no name": upgrade().replace(b"Connection: Upgrade", b"Connection: Upgrade, \xff"),
}


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
        upgrade(
            Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits",
            Sec_WebSocket_Protocol="a, b",
        ),
        upgrade(Content_Length="0"),
        upgrade(Expect="100-continue"),
    ],
    ids=["firefox", "letter case", "offers", "no body", "expect"],
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
        await client.send(upgrade(Connection="close-not"))
        assert (await client.answer()).body == b"The Connection header must name 'Upgrade'"
        assert (await client.ask("GET", "/describe")).status == 200


@pytest.mark.parametrize(
    ("method", "text", "expected"),
    [
        ("GET", "websocket", True),
        ("GET", "WebSocket", True),
        ("GET", "h2c", False),
        ("POST", "websocket", False),
    ],
)
def test_what_asks_for_a_websocket(method: str, text: str, expected: bool) -> None:
    assert is_websocket_request(Request(method=method, headers={"upgrade": text})) is expected
    assert not is_websocket_request(Request(method=method))


@lanes
async def test_what_fails_while_it_serves_closes_with_1011_and_is_logged(
    express: bool, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def route(request: Request) -> Upgrade:
        async def serve(connection: WebSocketConnection) -> None:
            raise ZeroDivisionError("private")

        return Upgrade("id", serve)

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
        nursery.start_soon(HttpServer(ROUTES, express=express).serve_stream, near)
        await far.send_all(upgrade())
        await peer.head()
        nursery.cancel_scope.cancel()
    assert await peer.rest() == [(CLOSE, close_payload(1000))]


# ---- whatever comes in

PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(list(BAD_REQUESTS.values())),
    st.sampled_from([*BAD_UPGRADES.values(), *ODD_UPGRADES.values()]),
    st.sampled_from(
        [upgrade(), upgrade("/nowhere"), request("GET", "/describe"), request("POST", "/describe", b"x")]
    ),
    st.sampled_from(
        [b"\r\n", b"\r\n\r\n", b"GET ", b" HTTP/1.1\r\n", b"Host: a\r\n", b"Upgrade: websocket\r\n"]
    ),
    st.sampled_from([bad(True) for bad in BAD_FRAMES.values()]),
)


def mutated(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    changed = bytearray(data)
    for place, byte in changes:
        changed[place % len(data)] = byte
    return bytes(changed)


CHANGES = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=4)
MUTATED = st.builds(mutated, st.sampled_from([upgrade(), request("POST", "/describe", b"body")]), CHANGES)


class Lines(logging.Handler):
    """Notes what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


async def serve_once(data: bytes, *, express: bool = True) -> tuple[bytes, list[logging.LogRecord]]:
    """Let a client say this and leave; what it was answered, and what was logged."""
    near, far = memory_stream_pair()
    logger, lines = logging.getLogger(LOGGER), Lines()
    logger.addHandler(lines)
    level, logger.level = logger.level, logging.DEBUG
    try:
        with trio.fail_after(PATIENCE):
            await far.send_all(data)
            await far.send_eof()
            await HttpServer(ROUTES, express=express).serve_stream(near)
        received = b""
        while more := await far.receive_some():
            received += more
        return received, lines.records
    finally:
        logger.level = level
        logger.removeHandler(lines)


@lanes
@given(data=st.one_of(st.lists(PIECES, min_size=1, max_size=4).map(b"".join), MUTATED))
@settings(max_examples=300, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_comes_in_is_answered_or_logged_and_raises_nothing(express: bool, data: bytes) -> None:
    async def check() -> None:
        received, records = await serve_once(data, express=express)
        assert received.startswith(b"HTTP/1.1 ") or records or not data.strip(b"\r\n")
        assert not [record for record in records if record.levelno >= logging.ERROR]

    trio.run(check, clock=MockClock(autojump_threshold=0))


@lanes
@given(
    data=st.lists(
        st.one_of(st.binary(max_size=60), st.sampled_from([bad(True) for bad in BAD_FRAMES.values()]))
    ).map(b"".join)
)
@settings(max_examples=300, derandomize=True, deadline=None)
def test_whatever_comes_in_on_a_websocket_raises_nothing(express: bool, data: bytes) -> None:
    async def check() -> None:
        received, records = await serve_once(upgrade() + data, express=express)
        assert received.startswith(b"HTTP/1.1 101 ")
        assert not [record for record in records if record.levelno >= logging.ERROR]

    trio.run(check, clock=MockClock(autojump_threshold=0))
