"""A test is a door, too: whatever an endpoint answers, it needs no HTTP and no socket for it."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs.connections.http import CaseInsensitive, Headers, Request, Response
from trio_hubs.connections.memory import memory_connection_pair
from trio_hubs.connections.server.admission import Admission
from trio_hubs.connections.server.endpoint import Endpoint
from trio_hubs.connections.server.exchange import (
    Deferred,
    Exchange,
    RouteAnswer,
    Upgrade,
    is_websocket_request,
)
from trio_hubs.connections.server.options import EndpointOptions

from .endpoint_peer import echo

EVENTS = {"accept": "text/event-stream"}
SOCKET = {"upgrade": "websocket"}


class MemoryExchange(Exchange):
    """An exchange with nobody but the test.

    Attributes:
        responses: The whole answers.
        body: What has been written of another.
        finished: Whether that has ended.
    """

    def __init__(self, *parts: bytes) -> None:
        self._parts = [*parts, b""]
        self.responses: list[Response] = []
        self.body = b""
        self.finished = False

    async def read(self) -> bytes:
        return self._parts.pop(0)

    async def respond(self, response: Response, *, timeout: float | None = None) -> None:
        self.responses.append(response)

    async def start(self, headers: Headers, *, status: int = 200) -> None:
        assert headers["Content-Type"] == "text/event-stream"

    async def write(self, data: bytes) -> None:
        self.body += data

    async def finish(self) -> None:
        self.finished = True


@asynccontextmanager
async def open_endpoint() -> AsyncGenerator[Endpoint]:
    endpoint = Endpoint(echo, EndpointOptions(), admission=Admission(10))
    async with trio.open_nursery() as nursery:
        await nursery.start(endpoint.run)
        yield endpoint
        nursery.cancel_scope.cancel()


async def ask(
    endpoint: Endpoint, method: str = "GET", token: str = "", headers: Mapping[str, str] | None = None
) -> RouteAnswer:
    """What an endpoint answers to a request."""
    query = CaseInsensitive([("id", token)] if token else [])
    return await endpoint.connect(Request(method=method, query=query, headers=headers or {}))


async def token_of(endpoint: Endpoint) -> str:
    answer = await endpoint.negotiate(Request(method="POST"))
    assert isinstance(answer, Response)
    id: str = msgspec.json.decode(answer.body)["connectionId"]
    return id


async def post(endpoint: Endpoint, token: str, *parts: bytes) -> int:
    """Post a body in parts; gives the status of the answer."""
    exchange = MemoryExchange(*parts)
    answer = await ask(endpoint, "POST", token, {"transfer-encoding": "chunked"})
    assert isinstance(answer, Deferred)
    await answer.serve(exchange)
    (response,) = exchange.responses
    return response.status


async def test_an_event_stream_and_its_posts(autojump_clock: MockClock) -> None:
    async with open_endpoint() as endpoint, trio.open_nursery() as nursery:
        token, exchange = await token_of(endpoint), MemoryExchange()
        answer = await ask(endpoint, token=token, headers=EVENTS)
        assert isinstance(answer, Deferred)
        nursery.start_soon(answer.serve, exchange)
        await wait_all_tasks_blocked()
        assert await post(endpoint, token, b"one", b"two") == 200
        await wait_all_tasks_blocked()
        assert exchange.body.startswith(b":\r\n")
        assert exchange.body[3:].replace(b"data: ", b"").split() in ([b"one", b"two"], [b"onetwo"])
        answer.left()
        await wait_all_tasks_blocked()
        assert exchange.finished


async def test_polls_and_their_posts(autojump_clock: MockClock) -> None:
    async with open_endpoint() as endpoint:
        token = await token_of(endpoint)
        assert isinstance(await ask(endpoint, token=token), Response)
        assert await post(endpoint, token, b"data") == 200
        await wait_all_tasks_blocked()
        answer, exchange = await ask(endpoint, token=token), MemoryExchange()
        assert isinstance(answer, Deferred)
        await answer.serve(exchange)
        assert [response.body for response in exchange.responses] == [b"data"]


async def test_a_websocket(autojump_clock: MockClock) -> None:
    async with open_endpoint() as endpoint, trio.open_nursery() as nursery:
        answer = await ask(endpoint, headers=SOCKET)
        assert isinstance(answer, Upgrade)
        near, far = memory_connection_pair()
        nursery.start_soon(answer.serve, near)
        await far.send(b"data")
        assert await far.receive() == b"data"
        far.close()


@pytest.mark.parametrize(
    ("method", "text", "expected"),
    [
        ("GET", "websocket", True),
        ("GET", "WebSocket", True),
        ("GET", "h2c", False),
        ("GET", "h2c, websocket", True),
        ("GET", "websocket,h2c", True),
        ("GET", "websocket-like", False),
        ("GET", "", False),
        ("POST", "websocket", False),
    ],
)
def test_what_asks_for_a_websocket(method: str, text: str, expected: bool) -> None:
    assert is_websocket_request(Request(method=method, headers={"upgrade": text})) is expected
    assert not is_websocket_request(Request(method=method))
