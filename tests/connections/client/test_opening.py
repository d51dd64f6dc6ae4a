"""How a client comes to a raw connection, beside a raw handler."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock

from trio_hubs import (
    Connection,
    ConnectionClosed,
    ConnectionOptions,
    EndpointOptions,
    HubApp,
    NegotiationError,
    Request,
    Response,
    TokenReason,
    Transport,
    open_connection,
)
from trio_hubs.connections.client.opening import open_duplex
from trio_hubs.protocol.hub_protocol import TransferFormat

from .echoing import echo, echo_app, echoes, serving
from .http_answers import Answer, Body, open_requests


@pytest.fixture
async def address() -> AsyncGenerator[str]:
    """The address of an app that has a raw handler."""
    async with serving(echo_app()) as address:
        yield address


@pytest.mark.parametrize("scheme", ["http", "ws"])
@pytest.mark.parametrize("transport", [*Transport, None])
async def test_a_raw_client_beside_a_raw_handler(
    address: str, transport: Transport | None, scheme: str
) -> None:
    options = ConnectionOptions(transports=[transport] if transport else list(Transport))
    url = f"{address}/echo".replace("http", scheme)
    async with open_connection(url, skip_negotiation=transport is None, options=options) as connection:
        assert (connection.id is None) is (transport is None)
        for piece in (b"hello", b"many\nlines" * 20_000):
            await connection.send(piece)
            got = b""
            while len(got) < len(piece):
                got += await connection.receive()
            assert got == piece


async def test_a_handler_that_returns_ends_the_connection_in_order() -> None:
    async def greet(connection: Connection) -> None:
        await connection.send(b"hello")

    app = HubApp()
    app.add_connection_handler("/greet", greet)
    async with serving(app) as address, open_connection(f"{address}/greet") as connection:
        assert await connection.receive() == b"hello"
        assert await connection.receive() == b""


async def test_where_there_is_no_handler_there_is_no_connection(address: str) -> None:
    with pytest.raises(NegotiationError, match="404"):
        async with open_connection(f"{address}/nowhere"):
            raise AssertionError
    with pytest.raises(ConnectionClosed, match="404"):
        async with open_connection(f"{address}/nowhere", skip_negotiation=True):
            raise AssertionError


@pytest.mark.parametrize("url", ["", "server/hub", "ftp://server/hub", "http://server:0/hub", "http://["])
async def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="is no URL"):
        async with open_connection(url):
            raise AssertionError


async def test_what_is_no_header_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="is no HTTP header"):
        async with open_connection("http://127.0.0.1:1", headers={"X Y": "z"}):
            raise AssertionError


# ---- the choice of transport


def offer(*names: str, formats: tuple[str, ...] = ("Text", "Binary")) -> dict[str, Any]:
    """A server's answer to negotiate."""
    return {
        "negotiateVersion": 1,
        "connectionId": "id",
        "connectionToken": "token",
        "availableTransports": [{"transport": name, "transferFormats": formats} for name in names],
    }


def offering(*names: str, **fields: Any) -> Answer:
    """A server that offers these transports, and starts none but long polling."""
    count = 0

    async def answer(request: httpx2.Request) -> httpx2.Response:
        nonlocal count
        if request.method == "POST":
            count += 1
            return httpx2.Response(200, json={**offer(*names, **fields), "connectionToken": f"token {count}"})
        if "Upgrade" in request.headers:
            return httpx2.Response(403, text="no WebSockets")
        if request.headers["Accept"] == "text/event-stream":
            return httpx2.Response(503, headers={"Retry-After": "9"})
        return httpx2.Response(200 if request.url.params["id"] == f"token {count}" else 404)

    return answer


@asynccontextmanager
async def opened(
    answer: Answer, transfer_format: TransferFormat = TransferFormat.TEXT, **options: Any
) -> AsyncGenerator[tuple[Connection, list[httpx2.Request]]]:
    async with (
        open_requests(answer, **options) as (requests, made),
        open_duplex(requests, transfer_format, skip_negotiation=False) as connection,
    ):
        yield connection, made


async def test_transports_are_tried_in_the_servers_order_each_with_a_negotiation_of_its_own(
    autojump_clock: MockClock,
) -> None:
    async with opened(offering("Pigeons", "WebSockets", "ServerSentEvents", "LongPolling")) as (_, made):
        tried = [request.headers.get("Upgrade", request.headers["Accept"]) for request in made[:6]]
        assert [request.method for request in made[:6]] == ["POST", "GET"] * 3
        assert tried[1::2] == ["websocket", "text/event-stream", "*/*"]
        assert [request.url.params["id"] for request in made[1:6:2]] == ["token 1", "token 2", "token 3"]


@pytest.mark.parametrize("left_out", [Transport.WEBSOCKETS, Transport.SERVER_SENT_EVENTS])
async def test_what_the_user_leaves_out_is_not_tried(autojump_clock: MockClock, left_out: Transport) -> None:
    kept = [each for each in Transport if each is not left_out]
    async with opened(offering(*Transport), transports=kept) as (_, made):
        assert sum(request.method == "POST" for request in made) == 2


async def test_what_the_user_leaves_out_is_told() -> None:
    with pytest.raises(NegotiationError) as caught:
        async with opened(offering("LongPolling"), transports=[Transport.WEBSOCKETS]):
            raise AssertionError
    assert str(caught.value.failures["LongPolling"]) == "The transport is disabled by the client."


async def test_where_none_works_each_says_why() -> None:
    answer = offering("WebSockets", "Pigeons", "ServerSentEvents")
    with pytest.raises(NegotiationError) as caught:
        async with opened(answer):
            raise AssertionError
    error = caught.value
    assert str(error) == (
        "Unable to connect to the server with any of the available transports. "
        "(WebSockets failed: The server did not open a WebSocket at http://server/hub: "
        "it answered 'HTTP/1.1 403 Forbidden'.) "
        "(Pigeons failed: The transport is not supported by the client.) "
        "(ServerSentEvents failed: The server sends no events from http://server/hub: "
        "it answered 503 (Service Unavailable).)"
    )
    assert list(error.failures) == ["WebSockets", "Pigeons", "ServerSentEvents"]
    assert error.failures["WebSockets"].status == 403
    assert error.failures["WebSockets"].server_text == "no WebSockets"
    assert (error.status, error.retry_after, error.retriable) == (403, 9.0, True)


@pytest.mark.parametrize(
    ("formats", "wanted"),
    [(("Text", "Binary"), TransferFormat.BINARY), (("Binary",), TransferFormat.TEXT)],
)
async def test_a_transport_must_carry_what_will_be_sent(formats: Any, wanted: TransferFormat) -> None:
    with pytest.raises(NegotiationError) as caught:
        async with opened(offering("ServerSentEvents", formats=formats), wanted):
            raise AssertionError
    assert str(caught.value.failures["ServerSentEvents"]) == (
        f"The transport does not support the '{wanted.value}' transfer format."
    )
    assert not caught.value.retriable


async def test_where_nothing_is_offered_nothing_is_tried() -> None:
    with pytest.raises(NegotiationError, match="None of the transports supported by the client"):
        async with opened(offering()):
            raise AssertionError


# ---- one connection after another


async def test_cookies_are_kept_and_a_token_asked_for_anew_by_the_next_connection(
    autojump_clock: MockClock,
) -> None:
    reasons: list[TokenReason] = []

    def token(reason: TokenReason) -> str:
        reasons.append(reason)
        return f"t{len(reasons)}"

    async def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            return httpx2.Response(200, json=offer("LongPolling"), headers={"Set-Cookie": "sticky=1; Path=/"})
        return httpx2.Response(204 if len(made) % 3 == 0 else 200)

    async with open_requests(answer, access_token=token) as (requests, made):
        for _ in range(2):
            async with open_duplex(requests, TransferFormat.TEXT, skip_negotiation=False) as connection:
                assert await connection.receive() == b""
    assert [request.method for request in made] == ["POST", "GET", "GET"] * 2
    assert [request.headers.get("Cookie") for request in made] == [None, *["sticky=1"] * 5]
    assert [request.headers["Authorization"] for request in made] == ["Bearer t1"] * 3 + ["Bearer t2"] * 3
    assert reasons == [TokenReason.FIRST] * 2


# ---- the time for all of it


@pytest.mark.parametrize("slow", ["negotiate", "transport"])
async def test_all_of_connecting_has_one_time(autojump_clock: MockClock, slow: str) -> None:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        await trio.sleep(4)
        if request.method == "POST" and (slow == "negotiate" or request.url.path.endswith("again/negotiate")):
            return httpx2.Response(200, json={"url": str(request.url).partition("/negotiate")[0] + "/again"})
        return httpx2.Response(200, json={**offer("LongPolling"), "url": "http://server/again"})

    with pytest.raises(NegotiationError, match=r"^Cannot connect to http://server/hub within 7 s\.$"):
        async with opened(answer, connect_timeout=7):
            raise AssertionError
    assert trio.current_time() == 7


async def test_what_has_failed_before_the_time_was_over_is_told(autojump_clock: MockClock) -> None:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            return httpx2.Response(200, json=offer("ServerSentEvents", "LongPolling"))
        if "text/event-stream" in request.headers["Accept"]:
            return httpx2.Response(503)
        await trio.sleep_forever()
        raise AssertionError

    with pytest.raises(
        NegotiationError, match=r"within 30 s\. \(ServerSentEvents failed: .* it answered 503 .*\)$"
    ) as caught:
        async with opened(answer):
            raise AssertionError
    assert caught.value.failures["ServerSentEvents"].status == 503


async def test_a_server_that_drips_its_answer_holds_nobody_for_longer(autojump_clock: MockClock) -> None:
    class Dripping(Body):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                await trio.sleep(0.6)
                yield b" "

    with pytest.raises(NegotiationError, match=r"within 30 s\.$"):
        async with opened(lambda _: httpx2.Response(200, stream=Dripping([]))):
            raise AssertionError
    assert trio.current_time() == 30


async def test_a_cancelled_opening_ends_at_once(autojump_clock: MockClock) -> None:
    async def answer(_: httpx2.Request) -> httpx2.Response:
        await trio.sleep_forever()
        raise AssertionError

    with trio.move_on_after(3) as scope:
        async with opened(answer):
            raise AssertionError
    assert scope.cancelled_caught
    assert trio.current_time() == 3


# ---- redirects, and what is sent

each_transport = pytest.mark.parametrize("transport", Transport)


@each_transport
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_server_that_has_moved_is_found(transport: Transport, status: int) -> None:
    app = HubApp()
    app.add_connection_handler("/echo", echo)

    def moved(request: Request) -> Response:
        query = "&".join(f"{name}={text}" for name, text in request.query.items())
        target = request.path.replace("/old", "/echo")
        return Response(status=status, headers={"Location": f"{target}?{query}"})

    app.add_route("/old", moved, methods=["GET", "POST", "DELETE"])
    app.add_route("/old/negotiate", moved, methods=["POST"])
    async with serving(app) as address:
        if status in (307, 308):
            await echoes(f"{address}/old", transport)
        else:  # by which a POST becomes a GET, and nobody negotiates by that
            with pytest.raises(NegotiationError, match="405"):
                await echoes(f"{address}/old", transport)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_websocket_that_has_moved_is_found_without_negotiation(status: int) -> None:
    app = HubApp()
    app.add_connection_handler("/echo", echo)
    app.add_route("/old", lambda _: Response(status=status, headers={"Location": "/echo"}))
    async with serving(app) as address:
        await echoes(f"{address}/old", Transport.WEBSOCKETS, skip_negotiation=True)


@pytest.mark.parametrize("transport", Transport)
async def test_a_connection_that_is_kept_behind_its_block_is_over(address: str, transport: Transport) -> None:
    with trio.fail_after(5):
        async with open_connection(
            address + "/echo", options=ConnectionOptions(transports=[transport])
        ) as connection:
            await connection.send(b"hello")
            assert await connection.receive() == b"hello"
        assert await connection.receive() == b""
        with pytest.raises(ConnectionClosed):
            await connection.send(b"more")


@pytest.mark.parametrize("transport", Transport)
@pytest.mark.parametrize("kind", [bytearray, memoryview])
async def test_bytes_of_other_kinds_are_sent(
    address: str, transport: Transport, kind: type[bytearray | memoryview]
) -> None:
    data: Any = kind(b"hello")
    async with open_connection(
        address + "/echo", options=ConnectionOptions(transports=[transport])
    ) as connection:
        await connection.send(data)
        assert await connection.receive() == b"hello"


async def test_choices_of_another_kind_are_refused() -> None:
    wrong: Any = EndpointOptions()
    with pytest.raises(TypeError, match="options must be ConnectionOptions, not EndpointOptions"):
        async with open_connection("http://localhost/", options=wrong):
            raise NotImplementedError
    wrong = "text"
    with pytest.raises(ValueError, match="'text' is not a valid TransferFormat"):
        async with open_connection("http://localhost/", transfer_format=wrong):
            raise NotImplementedError
