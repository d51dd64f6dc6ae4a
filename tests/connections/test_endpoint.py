"""An endpoint answers as ASP.NET Core's does, and gives each token to one connection, for a bounded time."""

import json
import logging
from collections.abc import Mapping

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs.connections import endpoint as module
from trio_hubs.connections.connection import Connection
from trio_hubs.connections.endpoint import Endpoint
from trio_hubs.connections.http import CaseInsensitive, Request, Response
from trio_hubs.connections.http_server import HttpServer, Upgrade
from trio_hubs.connections.memory import memory_connection_pair

from .websocket_peer import CLOSE, UPGRADE, Peer, close_payload, open_stream_to

SOCKET = {"Upgrade": "websocket", "Connection": "Upgrade"}


class Handler:
    """Holds each connection until it is told to let go."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.release = trio.Event()

    async def __call__(self, connection: Connection) -> None:
        self.connections.append(connection)
        await self.release.wait()


async def never(connection: Connection) -> None:
    raise AssertionError


def asked(method: str = "GET", query: Mapping[str, str] = {}, /, **headers: str) -> Request:
    return Request(
        method=method,
        path="/chat",
        query=CaseInsensitive(query.items()),
        headers=CaseInsensitive(headers.items()),
    )


async def negotiate(endpoint: Endpoint, version: str | None = None) -> dict[str, object]:
    query = {} if version is None else {"negotiateVersion": version}
    response = await endpoint.negotiate(asked("POST", query))
    assert (response.status, response.content_type) == (200, "application/json")
    answer = json.loads(response.body)
    assert isinstance(answer, dict)
    return answer


async def token_of(endpoint: Endpoint) -> str:
    token = (await negotiate(endpoint, "1"))["connectionToken"]
    assert isinstance(token, str)
    return token


async def connect(endpoint: Endpoint, token: str) -> Response | Upgrade:
    return await endpoint.connect(asked("GET", {"id": token}, **SOCKET))


async def refused(endpoint: Endpoint, request: Request) -> tuple[int, bytes]:
    response = await endpoint.connect(request)
    assert isinstance(response, Response)
    assert response.content_type == "text/plain"
    return response.status, response.body


# ---- negotiate


@pytest.mark.parametrize("version", [None, "0", " 0 ", "+0", "-0"])
async def test_version_0_has_one_value_for_both(version: str | None) -> None:
    endpoint = Endpoint(never)
    answer = await negotiate(endpoint, version)
    id = answer.pop("connectionId")
    assert answer == {
        "negotiateVersion": 0,
        "availableTransports": [{"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}],
    }
    assert isinstance(id, str)
    upgrade = await connect(endpoint, id)
    assert isinstance(upgrade, Upgrade)
    assert upgrade.id == id


@pytest.mark.parametrize("version", ["1", " 1 ", "+1", "2", "2147483647"])
async def test_version_1_has_a_token_that_is_not_the_id(version: str) -> None:
    endpoint = Endpoint(never)
    answer = await negotiate(endpoint, version)
    assert list(answer) == ["negotiateVersion", "connectionId", "connectionToken", "availableTransports"]
    assert answer["negotiateVersion"] == 1
    id, token = answer["connectionId"], answer["connectionToken"]
    assert id != token
    assert isinstance(id, str)
    assert isinstance(token, str)
    assert await refused(endpoint, asked("GET", {"id": id}, **SOCKET)) == (404, b"No Connection with that ID")
    upgrade = await connect(endpoint, token)
    assert isinstance(upgrade, Upgrade)
    assert upgrade.id == id


@pytest.mark.parametrize("version", ["", "x", "1.0", "1,1", "99999999999", "2147483648"])
async def test_a_version_that_is_no_number_is_an_error(version: str) -> None:
    error = {"error": "The client requested a non-integer protocol version."}
    assert await negotiate(Endpoint(never), version) == error


async def test_a_version_that_is_too_low_is_an_error() -> None:
    error = {"error": "The client requested version '-1', but the server does not support this version."}
    assert await negotiate(Endpoint(never), "-1") == error


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "DELETE", "OPTIONS"])
async def test_negotiate_is_posted(method: str) -> None:
    response = await Endpoint(never).negotiate(asked(method, {"negotiateVersion": "1"}))
    assert (response.status, response.body, response.content_type) == (405, b"", "text/plain")


async def test_ids_and_tokens_have_128_bits_in_base64url() -> None:
    endpoint = Endpoint(never)
    answers = [await negotiate(endpoint, "1") for _ in range(20)]
    values = {str(answer[name]) for answer in answers for name in ("connectionId", "connectionToken")}
    assert len(values) == 40
    assert {len(value) for value in values} == {22}
    assert all(value.replace("-", "").replace("_", "").isalnum() for value in values)


# ---- what is refused


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("query", [{}, {"id": ""}], ids=["none", "empty"])
async def test_without_an_id_there_is_no_connection(method: str, query: dict[str, str]) -> None:
    assert await refused(Endpoint(never), asked(method, query)) == (400, b"Connection ID required")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("headers", [{}, SOCKET], ids=["plain", "websocket"])
async def test_an_unknown_id_is_not_found(method: str, headers: dict[str, str]) -> None:
    request = asked(method, {"id": "unknown"}, **headers)
    assert await refused(Endpoint(never), request) == (404, b"No Connection with that ID")


@pytest.mark.parametrize("method", ["PUT", "HEAD", "OPTIONS", "PATCH", "CONNECT"])
async def test_other_methods_are_not_allowed(method: str) -> None:
    assert await refused(Endpoint(never), asked(method, {"id": "unknown"})) == (405, b"")


@pytest.mark.parametrize(
    ("request_", "status", "text"),
    [
        (asked("POST"), 405, "POST requests are not allowed for WebSocket connections."),
        (asked("DELETE"), 400, "Cannot terminate this connection using the DELETE endpoint."),
        (asked(), 404, "LongPolling transport not supported by this end point type"),
        (
            asked(Accept="text/event-stream"),
            404,
            "ServerSentEvents transport not supported by this end point type",
        ),
        (
            asked(Accept="Text/Event-Stream"),
            404,
            "ServerSentEvents transport not supported by this end point type",
        ),
    ],
    ids=["post", "delete", "long polling", "events", "letter case"],
)
async def test_other_transports_are_refused_with_their_texts(
    request_: Request, status: int, text: str
) -> None:
    endpoint = Endpoint(never)
    request = Request(
        method=request_.method,
        query=CaseInsensitive([("ID", await token_of(endpoint))]),
        headers=request_.headers,
    )
    assert await refused(endpoint, request) == (status, text.encode())


# ---- tokens


async def test_a_connection_needs_no_negotiation() -> None:
    handler = Handler()
    handler.release.set()
    upgrade = await Endpoint(handler).connect(asked(**SOCKET))
    assert isinstance(upgrade, Upgrade)
    assert len(upgrade.id) == 22


async def serve(upgrade: Response | Upgrade) -> None:
    assert isinstance(upgrade, Upgrade)
    server, _ = memory_connection_pair()
    await upgrade.serve(server)  # type: ignore[arg-type]  # any connection will do


async def test_a_token_is_of_one_connection_and_only_while_it_lives() -> None:
    handler = Handler()
    endpoint = Endpoint(handler)
    token = await token_of(endpoint)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, await connect(endpoint, token))
        await wait_all_tasks_blocked()
        assert len(handler.connections) == 1
        assert await refused(endpoint, asked("GET", {"id": token}, **SOCKET)) == (409, b"")
        expected = b"POST requests are not allowed for WebSocket connections."
        assert await refused(endpoint, asked("POST", {"id": token})) == (405, expected)
        handler.release.set()
    assert await refused(endpoint, asked("GET", {"id": token}, **SOCKET)) == (
        404,
        b"No Connection with that ID",
    )


async def test_of_two_that_race_for_a_token_one_is_served(autojump_clock: MockClock) -> None:
    handler = Handler()
    endpoint = Endpoint(handler)
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
    async def fail(connection: Connection) -> None:
        raise ZeroDivisionError

    endpoint = Endpoint(fail)
    token = await token_of(endpoint)
    with pytest.raises(ZeroDivisionError):
        await serve(await connect(endpoint, token))
    assert await refused(endpoint, asked("GET", {"id": token}, **SOCKET)) == (
        404,
        b"No Connection with that ID",
    )


async def test_an_unused_token_expires(autojump_clock: MockClock) -> None:
    endpoint = Endpoint(never)
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


async def test_a_token_in_use_does_not_expire(autojump_clock: MockClock) -> None:
    handler = Handler()
    endpoint = Endpoint(handler)
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
    endpoint = Endpoint(handler, maximum_unused=3)
    tokens = [await token_of(endpoint) for _ in range(3)]
    response = await endpoint.negotiate(asked("POST"))
    assert (response.status, response.body) == (503, b"Too many connections wait for their transport.")
    (record,) = caplog.records
    assert (record.name, record.levelno) == (module.__name__, logging.WARNING)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, await connect(endpoint, tokens[0]))  # one that is used waits no more
        await wait_all_tasks_blocked()
        await token_of(endpoint)
        assert (await endpoint.negotiate(asked("POST"))).status == 503
        handler.release.set()
    await trio.sleep(15)
    assert [len(await token_of(endpoint)) for _ in range(3)] == [22, 22, 22]


async def test_a_negotiated_connection_waits_as_long_as_was_chosen(autojump_clock: MockClock) -> None:
    handler = Handler()
    endpoint = Endpoint(handler, maximum_unused=1, unused_timeout=3.0)
    await token_of(endpoint)
    await trio.sleep(2.9)
    assert (await endpoint.negotiate(asked("POST"))).status == 503
    await trio.sleep(0.2)
    await token_of(endpoint)


# ---- on the wire


async def test_two_sockets_with_one_token(autojump_clock: MockClock) -> None:
    handler = Handler()
    endpoint = Endpoint(handler)
    token = await token_of(endpoint)
    server = HttpServer({"/chat": endpoint.connect})
    head = UPGRADE.replace(b"id=7", f"id={token}".encode())
    bad = head.replace(b"Version: 13", b"Version: 8")
    async with trio.open_nursery() as nursery:
        peers = [Peer(open_stream_to(nursery, server.serve_stream), client=True) for _ in range(3)]
        await peers[0].send(bad)
        assert (await peers[0].head()).startswith(b"HTTP/1.1 400 ")  # a bad request does not use the token up
        await peers[1].send(head)
        assert (await peers[1].head()).startswith(b"HTTP/1.1 101 ")
        await wait_all_tasks_blocked()
        await peers[2].send(head)
        assert (await peers[2].head()).startswith(b"HTTP/1.1 409 ")
        handler.release.set()
        assert await peers[1].next_frame() == (CLOSE, close_payload(1000))
        await peers[1].send_close()
        for peer in peers:
            await peer.stream.aclose()


async def test_two_sockets_that_race_on_the_wire(autojump_clock: MockClock) -> None:
    handler = Handler()
    endpoint = Endpoint(handler)
    head = UPGRADE.replace(b"id=7", f"id={await token_of(endpoint)}".encode())
    server = HttpServer({"/chat": endpoint.connect})
    async with trio.open_nursery() as nursery:
        peers = [Peer(open_stream_to(nursery, server.serve_stream), client=True) for _ in range(2)]
        for peer in peers:
            await peer.send(head)
        heads = [await peer.head() for peer in peers]
        await wait_all_tasks_blocked()
        assert len(handler.connections) == 1
        assert any(head.startswith(b"HTTP/1.1 101 ") for head in heads)
        handler.release.set()
        for peer in peers:
            await peer.stream.aclose()
