"""An endpoint answers as ASP.NET Core's does, and gives each token to one connection, for a bounded time."""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.connections.websocket.websocket_peer import CLOSE, close_payload
from trio_hubs.connections.duplex import Duplex
from trio_hubs.connections.http import CaseInsensitive, Request, Response
from trio_hubs.connections.memory import memory_connection_pair
from trio_hubs.connections.server.admission import Admission
from trio_hubs.connections.server.endpoint import Endpoint
from trio_hubs.connections.server.exchange import Deferred, Upgrade
from trio_hubs.connections.server.options import EndpointOptions
from trio_hubs.connections.users import User
from trio_hubs.protocol.hub_protocol import TransferFormat
from trio_hubs.protocol.negotiate import Transport

from .endpoint_peer import LOGGER, Handler, echo, never, open_front

SOCKET = {"Upgrade": "websocket", "Connection": "Upgrade"}
EVENTS = {"Accept": "text/event-stream"}

ALL_TRANSPORTS = [
    {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]},
    {"transport": "ServerSentEvents", "transferFormats": ["Text"]},
    {"transport": "LongPolling", "transferFormats": ["Text", "Binary"]},
]


def made(
    handle: Callable[[Duplex], Awaitable[None]] = never,
    formats: frozenset[TransferFormat] = frozenset(TransferFormat),
    **options: Any,
) -> Endpoint:
    return Endpoint(handle, EndpointOptions(**options), admission=Admission(1000), transfer_formats=formats)


def asked(method: str = "GET", query: Mapping[str, str] = {}, /, **headers: str) -> Request:
    return Request(
        method=method,
        path="/chat",
        query=CaseInsensitive(query.items()),
        headers=CaseInsensitive(headers.items()),
    )


async def negotiate(endpoint: Endpoint, version: str | None = None, **more: str) -> dict[str, Any]:
    query = more if version is None else {"negotiateVersion": version, **more}
    response = await endpoint.negotiate(asked("POST", query))
    assert isinstance(response, Response)
    assert (response.status, response.content_type) == (200, "application/json")
    answer = json.loads(response.body)
    assert isinstance(answer, dict)
    return answer


async def token_of(endpoint: Endpoint) -> str:
    token = (await negotiate(endpoint, "1"))["connectionToken"]
    assert isinstance(token, str)
    return token


async def connect(endpoint: Endpoint, token: str) -> Response | Upgrade | Deferred:
    return await endpoint.connect(asked("GET", {"id": token}, **SOCKET))


async def refused(endpoint: Endpoint, request: Request) -> tuple[int, bytes]:
    response = await endpoint.connect(request)
    assert isinstance(response, Response)
    assert response.content_type == "text/plain"
    return response.status, response.body


# ---- negotiate


@pytest.mark.parametrize("version", [None, "0", " 0 ", "+0", "-0"])
async def test_version_0_has_one_value_for_both(version: str | None) -> None:
    endpoint = made()
    answer = await negotiate(endpoint, version)
    id = answer.pop("connectionId")
    assert answer == {"negotiateVersion": 0, "availableTransports": ALL_TRANSPORTS}
    upgrade = await connect(endpoint, id)
    assert isinstance(upgrade, Upgrade)
    assert upgrade.id == id


@pytest.mark.parametrize("version", ["1", " 1 ", "+1", "2", "2147483647"])
async def test_version_1_has_a_token_that_is_not_the_id(version: str) -> None:
    endpoint = made()
    answer = await negotiate(endpoint, version)
    assert list(answer) == ["negotiateVersion", "connectionId", "connectionToken", "availableTransports"]
    assert answer["negotiateVersion"] == 1
    id, token = answer["connectionId"], answer["connectionToken"]
    assert id != token
    assert await refused(endpoint, asked("GET", {"id": id}, **SOCKET)) == (404, b"No Connection with that ID")
    upgrade = await connect(endpoint, token)
    assert isinstance(upgrade, Upgrade)
    assert upgrade.id == id


@pytest.mark.parametrize("version", ["", "x", "1.0", "1,1", "99999999999", "2147483648"])
async def test_a_version_that_is_no_number_is_an_error(version: str) -> None:
    error = {"error": "The client requested a non-integer protocol version."}
    assert await negotiate(made(), version) == error


async def test_a_version_that_is_too_low_is_an_error() -> None:
    error = {"error": "The client requested version '-1', but the server does not support this version."}
    assert await negotiate(made(), "-1") == error


@pytest.mark.parametrize("version", [None, "0"])
async def test_the_lowest_version_can_be_raised(version: str | None) -> None:
    endpoint = made(minimum_negotiate_version=1)
    error = {"error": "The client requested version '0', but the server does not support this version."}
    assert await negotiate(endpoint, version) == error
    assert (await negotiate(endpoint, "1"))["negotiateVersion"] == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "DELETE", "OPTIONS"])
async def test_negotiate_is_posted(method: str) -> None:
    response = await made().negotiate(asked(method, {"negotiateVersion": "1"}))
    assert isinstance(response, Response)
    assert (response.status, response.body, response.content_type) == (405, b"", "text/plain")


async def test_ids_and_tokens_have_128_bits_in_base64url() -> None:
    endpoint = made()
    answers = [await negotiate(endpoint, "1") for _ in range(20)]
    values = {str(answer[name]) for answer in answers for name in ("connectionId", "connectionToken")}
    assert len(values) == 40
    assert {len(value) for value in values} == {22}
    assert all(value.replace("-", "").replace("_", "").isalnum() for value in values)


@pytest.mark.parametrize("server", [False, True])
@pytest.mark.parametrize(
    ("client", "wanted"),
    [(None, False), ("true", True), ("True", True), (" true ", True), ("false", False), ("1", False)],
)
async def test_stateful_reconnect_is_what_both_want(server: bool, client: str | None, wanted: bool) -> None:
    query = {} if client is None else {"useStatefulReconnect": client}
    answer = await negotiate(made(stateful_reconnect=server), "1", **query)
    if server and wanted:
        assert list(answer)[:2] == ["useStatefulReconnect", "negotiateVersion"]
        assert answer["useStatefulReconnect"] is True
    else:
        assert "useStatefulReconnect" not in answer


async def test_transports_are_offered_in_their_order_as_far_as_they_are_wanted() -> None:
    endpoint = made(transports=("LongPolling", Transport.WEBSOCKETS))
    assert (await negotiate(endpoint))["availableTransports"] == [ALL_TRANSPORTS[0], ALL_TRANSPORTS[2]]


@pytest.mark.parametrize(
    ("format", "names"),
    [
        (TransferFormat.TEXT, ["WebSockets", "ServerSentEvents", "LongPolling"]),
        (TransferFormat.BINARY, ["WebSockets", "LongPolling"]),
    ],
)
async def test_a_handler_of_one_format_is_offered_by_what_can_carry_it(
    format: TransferFormat, names: list[str]
) -> None:
    answer = await negotiate(made(formats=frozenset((format,))))
    expected = [{"transport": name, "transferFormats": [format.value]} for name in names]
    assert answer["availableTransports"] == expected


# ---- what is refused


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("query", [{}, {"id": ""}], ids=["none", "empty"])
@pytest.mark.parametrize("headers", [{}, EVENTS], ids=["plain", "events"])
async def test_without_an_id_there_is_no_connection(
    method: str, query: dict[str, str], headers: dict[str, str]
) -> None:
    assert await refused(made(), asked(method, query, **headers)) == (400, b"Connection ID required")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("headers", [{}, SOCKET, EVENTS], ids=["plain", "websocket", "events"])
@pytest.mark.parametrize("id", ["unknown", "a,b", "\u00e4", "x" * 5000])
async def test_an_unknown_id_is_not_found(method: str, headers: dict[str, str], id: str) -> None:
    request = asked(method, {"id": id}, **headers)
    assert await refused(made(), request) == (404, b"No Connection with that ID")


@pytest.mark.parametrize("method", ["PUT", "HEAD", "OPTIONS", "PATCH", "CONNECT"])
async def test_other_methods_are_not_allowed(method: str) -> None:
    assert await refused(made(), asked(method, {"id": "unknown"})) == (405, b"")


@pytest.mark.parametrize(
    ("left_out", "headers"),
    [
        ("WebSockets", SOCKET),
        ("ServerSentEvents", EVENTS),
        ("ServerSentEvents", {"Accept": "Text/Event-Stream"}),
        ("ServerSentEvents", {"Accept": "text/html, text/event-stream ,*/*"}),
        ("ServerSentEvents", {**SOCKET, **EVENTS}),
        ("LongPolling", {}),
        ("LongPolling", {"Accept": "text/event-stream;q=1"}),
        ("LongPolling", {"Accept": "text/event-streams"}),
        ("LongPolling", {"Upgrade": "h2c"}),
    ],
)
async def test_a_transport_that_is_not_offered_is_refused_by_its_name(
    left_out: str, headers: dict[str, str]
) -> None:
    endpoint = made(transports=[name for name in Transport if name != left_out])
    request = asked("GET", {"ID": await token_of(endpoint)}, **headers)
    text = f"{left_out} transport not supported by this end point type"
    assert await refused(endpoint, request) == (404, text.encode())


async def test_a_websocket_without_negotiation_is_refused_where_none_are_offered() -> None:
    text = b"WebSockets transport not supported by this end point type"
    assert await refused(made(transports=["LongPolling"]), asked(**SOCKET)) == (404, text)


async def test_events_are_refused_where_only_binary_is_spoken() -> None:
    endpoint = made(formats=frozenset((TransferFormat.BINARY,)))
    request = asked("GET", {"id": await token_of(endpoint)}, **EVENTS)
    text = b"ServerSentEvents transport not supported by this end point type"
    assert await refused(endpoint, request) == (404, text)


async def test_who_has_no_transport_yet_has_nothing_to_terminate() -> None:
    endpoint = made()
    expected = (400, b"Cannot terminate this connection using the DELETE endpoint.")
    assert await refused(endpoint, asked("DELETE", {"id": await token_of(endpoint)})) == expected


async def test_a_poll_is_never_cached_whatever_its_answer() -> None:
    endpoint = made(transports=["WebSockets"])
    for query in ({}, {"id": "unknown"}, {"id": await token_of(endpoint)}):
        response = await endpoint.connect(asked("GET", query))
        assert isinstance(response, Response)
        assert response.headers["Cache-Control"] == "no-cache, no-store"
        assert response.headers["Pragma"] == "no-cache"
        assert response.headers["Expires"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    for method in ("POST", "DELETE"):
        response = await endpoint.connect(asked(method))
        assert isinstance(response, Response)
        assert not response.headers


# ---- tokens


async def test_a_connection_needs_no_negotiation() -> None:
    handler = Handler()
    handler.release.set()
    upgrade = await made(handler).connect(asked(**SOCKET))
    assert isinstance(upgrade, Upgrade)
    assert len(upgrade.id) == 22


async def serve(upgrade: Response | Upgrade | Deferred) -> None:
    assert isinstance(upgrade, Upgrade)
    server, _ = memory_connection_pair()
    await upgrade.serve(server)


async def test_a_token_is_of_one_connection_and_only_while_it_lives() -> None:
    handler = Handler()
    endpoint = made(handler)
    token = await token_of(endpoint)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, await connect(endpoint, token))
        await wait_all_tasks_blocked()
        assert len(handler.connections) == 1
        assert await refused(endpoint, asked("GET", {"id": token}, **SOCKET)) == (409, b"")
        expected = b"POST requests are not allowed for WebSocket connections."
        assert await refused(endpoint, asked("POST", {"id": token})) == (405, expected)
        expected = b"Cannot terminate this connection using the DELETE endpoint."
        assert await refused(endpoint, asked("DELETE", {"id": token})) == (400, expected)
        for headers in ({}, EVENTS):
            expected = b"Cannot change transports mid-connection"
            assert await refused(endpoint, asked("GET", {"id": token}, **headers)) == (400, expected)
        handler.release.set()
    assert await refused(endpoint, asked("GET", {"id": token}, **SOCKET)) == (
        404,
        b"No Connection with that ID",
    )


async def test_of_two_that_race_for_a_token_one_is_served(autojump_clock: MockClock) -> None:
    handler = Handler()
    endpoint = made(handler)
    token = await token_of(endpoint)
    upgrades = [await connect(endpoint, token) for _ in range(2)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, upgrades[0])
        await wait_all_tasks_blocked()
        with trio.fail_after(1):
            await serve(upgrades[1])
        assert len(handler.connections) == 1
        assert await refused(endpoint, asked("GET", {"id": token}, **SOCKET)) == (409, b"")
        handler.release.set()


async def test_a_handler_that_fails_gives_the_token_back_and_its_exception_on() -> None:
    async def fail(connection: Duplex) -> None:
        raise ZeroDivisionError

    endpoint = made(fail)
    token = await token_of(endpoint)
    with pytest.raises(ZeroDivisionError):
        await serve(await connect(endpoint, token))
    assert await refused(endpoint, asked("GET", {"id": token}, **SOCKET)) == (
        404,
        b"No Connection with that ID",
    )


async def test_an_unused_token_expires(autojump_clock: MockClock) -> None:
    endpoint = made()
    first = await token_of(endpoint)
    await trio.sleep(10)
    second = await token_of(endpoint)
    await trio.sleep(4.9)
    assert isinstance(await connect(endpoint, first), Upgrade)
    await trio.sleep(0.1)
    assert await refused(endpoint, asked("GET", {"id": first}, **SOCKET)) == (
        404,
        b"No Connection with that ID",
    )
    assert isinstance(await connect(endpoint, second), Upgrade)
    await trio.sleep(10)
    assert await refused(endpoint, asked("GET", {"id": second}, **SOCKET)) == (
        404,
        b"No Connection with that ID",
    )


async def test_no_token_expires_while_it_is_we_who_are_late(autojump_clock: MockClock) -> None:
    endpoint = made()
    async with trio.open_nursery() as nursery:
        await nursery.start(endpoint.run)
        token = await token_of(endpoint)
        await trio.sleep(10)
        autojump_clock.jump(100)  # as if something had held the whole process up
        assert isinstance(await connect(endpoint, token), Upgrade)
        await trio.sleep(3.5)
        assert isinstance(await connect(endpoint, token), Upgrade)
        await trio.sleep(3)
        assert await refused(endpoint, asked("GET", {"id": token}, **SOCKET)) == (
            404,
            b"No Connection with that ID",
        )
        nursery.cancel_scope.cancel()


async def test_a_token_in_use_does_not_expire(autojump_clock: MockClock) -> None:
    handler = Handler()
    endpoint = made(handler)
    token = await token_of(endpoint)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, await connect(endpoint, token))
        await trio.sleep(1000)
        assert await refused(endpoint, asked("GET", {"id": token}, **SOCKET)) == (409, b"")
        handler.release.set()


async def test_so_many_connections_may_wait_and_no_more(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    handler = Handler()
    endpoint = made(handler, maximum_negotiated=3)
    tokens = [await token_of(endpoint) for _ in range(3)]
    response = await endpoint.negotiate(asked("POST"))
    assert isinstance(response, Response)
    assert (response.status, response.body) == (503, b"Too many connections wait for their transport.")
    assert response.headers["Retry-After"] == "5"
    (record,) = caplog.records
    assert (record.name, record.levelno) == (LOGGER, logging.WARNING)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, await connect(endpoint, tokens[0]))  # one that is used waits no more
        await wait_all_tasks_blocked()
        await token_of(endpoint)
        response = await endpoint.negotiate(asked("POST"))
        assert isinstance(response, Response)
        assert response.status == 503
        handler.release.set()
    await trio.sleep(15)
    assert [len(await token_of(endpoint)) for _ in range(3)] == [22, 22, 22]


async def test_a_negotiated_connection_waits_as_long_as_was_chosen(autojump_clock: MockClock) -> None:
    endpoint = made(maximum_negotiated=1, disconnect_timeout=3.0)
    await token_of(endpoint)
    await trio.sleep(2.9)
    response = await endpoint.negotiate(asked("POST"))
    assert isinstance(response, Response)
    assert response.status == 503
    await trio.sleep(0.2)
    await token_of(endpoint)


# ---- its routes


@pytest.mark.parametrize(
    ("path", "below"), [("/chat", "/chat"), ("/chat/", "/chat"), ("/", "")], ids=["plain", "slash", "root"]
)
def test_negotiation_is_right_below_the_path(path: str, below: str) -> None:
    assert set(made().routes(path)) == {path, f"{below}/negotiate"}
    routes = made(authentication_refresh=True).routes(path)
    assert set(routes) == {path, f"{below}/negotiate", f"{below}/refresh"}


# ---- on the wire


async def test_two_sockets_with_one_token(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        token = await front.token()
        answer = await front.refused(token, Sec_WebSocket_Version="8")
        assert answer.status == 400  # a bad request does not use the token up
        peer = await front.socket(token)
        assert (await front.refused(token)).status == 409
        handler.release.set()
        assert await peer.next_frame() == (CLOSE, close_payload(1000))
        await peer.send_close()


async def test_two_sockets_that_race_on_the_wire(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        token = await front.token()
        await front.race(token, {}, {})
        await wait_all_tasks_blocked()
        assert len(handler.connections) == 1
        assert front.admission.active == 1


async def test_a_connection_has_one_transport(autojump_clock: MockClock) -> None:
    async with open_front(Handler()) as front:
        polled, events = await front.polled(), await front.token()
        await front.events(events)
        expected = (400, b"Cannot change transports mid-connection")
        for answer in (
            await front.refused(polled),
            await front.ask("GET", polled, **EVENTS),
            await front.ask("GET", events),
            await front.refused(events),
        ):
            assert (answer.status, answer.body) == expected


async def test_polls_are_served_only_while_the_endpoint_runs() -> None:
    endpoint = made()
    expected = (503, b"The server is shutting down.")
    assert await refused(endpoint, asked("GET", {"id": await token_of(endpoint)})) == expected


async def test_the_subprotocol_is_what_the_option_chooses(autojump_clock: MockClock) -> None:
    offered: list[list[str]] = []

    def choose(names: Any) -> str | None:
        offered.append(list(names))
        return "b" if "b" in names else None

    async with open_front(Handler(), websocket_subprotocol=choose) as front:
        head = await (await front.upgrade(Sec_WebSocket_Protocol="a, b ,c")).head()
        assert b"\r\nSec-WebSocket-Protocol: b\r\n" in head
        assert b"Sec-WebSocket-Protocol" not in await (await front.upgrade(Sec_WebSocket_Protocol="a")).head()
        assert b"Sec-WebSocket-Protocol" not in await (await front.upgrade()).head()
        assert b"Sec-WebSocket-Protocol" not in await (await front.upgrade(Sec_WebSocket_Protocol=",")).head()
    assert offered == [["a", "b", "c"], ["a"]]


async def test_a_subprotocol_that_was_not_offered_is_no_choice(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with open_front(Handler(), websocket_subprotocol=lambda _: "other") as front:
        assert (await front.refused(Sec_WebSocket_Protocol="a, b")).status == 500
        assert front.admission.active == 0
    assert "'other' was chosen" in caplog.text


async def test_a_user_that_lasts_for_ever_has_no_lifetime_to_tell(autojump_clock: MockClock) -> None:
    ann = User("ann", expires_at=inf)
    async with open_front(never, authenticate=lambda _: ann, authentication_refresh=True) as front:
        assert "tokenLifetimeSeconds" not in await front.negotiate()


async def test_each_answer_to_who_comes_in_has_ones_own_headers(autojump_clock: MockClock) -> None:
    def keep_here(request: Request) -> dict[str, str]:
        return {"Set-Cookie": f"node=1; Path={request.path}"}

    async with open_front(echo, answer_headers=keep_here, authentication_refresh=True) as front:
        for path, method in (("/chat/negotiate", "POST"), ("/chat/refresh", "POST"), ("/chat", "GET")):
            answer = await front.ask(method, path=path)
            assert answer.headers["set-cookie"] == f"node=1; Path={path}"
        token = await front.polled()
        assert "set-cookie" in (await front.ask("POST", token, b"hello")).headers
        assert "set-cookie" in (await front.ask("GET", token)).headers
        events = await front.events()
        assert events.head is not None
        assert (b"set-cookie", b"node=1; Path=/chat") in events.head.headers
        peer = await front.upgrade()
        assert b"set-cookie: node=1; path=/chat" in (await peer.head()).lower().split(b"\r\n")
        await peer.send_close()
        foreign = await front.ask("POST", path="/chat/negotiate", Origin="https://evil.example")
        assert (foreign.status, "set-cookie" in foreign.headers) == (403, False)
