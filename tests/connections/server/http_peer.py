"""A raw HTTP client of the front door, in memory, and requests of every kind, good and bad."""

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager

import attrs
import h11
import trio
from trio.testing import memory_stream_pair

from tests.connections.websocket.websocket_peer import PATIENCE
from trio_hubs.connections.duplex import Duplex
from trio_hubs.connections.http import Request, Response
from trio_hubs.connections.server.exchange import Answering, Route, Upgrade
from trio_hubs.connections.server.http_server import HttpServer
from trio_hubs.connections.server.router import FixedPlace, Router

LOGGER = "trio_hubs.connections.server.http_server"


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
    async def serve(connection: Duplex) -> None:
        while data := await connection.receive():
            await connection.send(data)

    return Upgrade(id="id", serve=serve, close_timeout=5)


ROUTES: dict[str, Answering] = {"/describe": describe, "/fail": fail, "/echo": echo}


def server(
    routes: Mapping[str, Answering | Route] = ROUTES, *, posted: Collection[str] = (), express: bool = True
) -> HttpServer:
    """A server of these; some read what is posted themselves."""
    router = Router()
    for path, each in routes.items():
        route = (
            each
            if isinstance(each, Route)
            else Route(each, unread=frozenset(("POST",) if path in posted else ()))
        )
        router.add({path: FixedPlace(route)})
    return HttpServer(router, express=express)


def answering(response: Response) -> Answering:
    async def route(request: Request) -> Response:
        return response

    return route


@asynccontextmanager
async def open_server(
    routes: Mapping[str, Answering | Route] = ROUTES, *, express: bool = True
) -> AsyncGenerator[Client]:
    """A server for one client's stream; it must have ended by itself when the client has closed."""
    near, far = memory_stream_pair()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server(routes, express=express).serve_stream, near)
            yield Client(far)
            await far.aclose()


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
    "a length and a coding": b"POST /describe HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown coding": b"POST /describe HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    "a chunk that is none": b"POST /describe HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "a target that is no url": b"GET x:/[ HTTP/1.1\r\nHost: a\r\n\r\n",
    "another target that is no url": b"GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a long line": b"GET /" + b"x" * 20_000,
    "many headers": b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000,
    "a long trailer": b"POST /describe HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: "
    + b"x" * 20_000,
}


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
