"""An endpoint at ``/chat`` behind the front door, and raw clients of all its transports, all in memory.

Each request goes over a stream of its own unless a test says otherwise. Whatever is awaited here fails after a while
of virtual time instead of hanging.
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import h11
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from tests.connections.websocket.websocket_peer import PATIENCE, Peer
from trio_hubs.connections.duplex import Duplex
from trio_hubs.connections.server.admission import Admission
from trio_hubs.connections.server.endpoint import Endpoint
from trio_hubs.connections.server.options import EndpointOptions
from trio_hubs.connections.users import Authenticate, Policy, User
from trio_hubs.errors import ConnectionClosed
from trio_hubs.protocol.hub_protocol import TransferFormat

from .http_peer import Answer, Client, request, server, upgrade

LOGGER = "trio_hubs.connections.server.endpoint"


class Handler:
    """Holds each connection until it is told to let go.

    Attributes:
        connections: All connections that there have been.
        release: Lets them go.
        ended: How many it has let go, in whatever way.
    """

    def __init__(self) -> None:
        self.connections: list[Duplex] = []
        self.release = trio.Event()
        self.ended = 0

    async def __call__(self, connection: Duplex) -> None:
        self.connections.append(connection)
        try:
            await self.release.wait()
        finally:
            self.ended += 1

    @property
    def only(self) -> Duplex:
        (connection,) = self.connections
        return connection


class Reader(Handler):
    """Receives until its connection ends, and then returns.

    Attributes:
        received: What has come, together.
        errors: How connections broke.
        ends: How many ended in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.received = b""
        self.errors: list[str] = []
        self.ends = 0

    async def __call__(self, connection: Duplex) -> None:
        self.connections.append(connection)
        try:
            while data := await connection.receive():
                self.received += data
            self.ends += 1
        except ConnectionClosed as error:
            self.errors.append(str(error))
        finally:
            self.ended += 1


async def echo(connection: Duplex) -> None:
    while data := await connection.receive():
        await connection.send(data)


async def never(connection: Duplex) -> None:
    raise AssertionError


class Events:
    """What a client reads of an endless answer."""

    def __init__(self, client: Client) -> None:
        self.stream = client.stream
        self.head: h11.Response | None = None
        self.over = False
        self._http = h11.Connection(h11.CLIENT)
        self._http.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        self._http.send(h11.EndOfMessage())
        self._data = b""

    async def next(self) -> bytes:
        """The next part of the body, as it comes; ``b""`` at its end."""
        with trio.fail_after(PATIENCE):
            while not self.over:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    self._http.receive_data(bytes(await self.stream.receive_some()))
                elif isinstance(event, h11.Response):
                    self.head = event
                elif isinstance(event, h11.Data):
                    return bytes(event.data)
                else:
                    assert isinstance(event, h11.EndOfMessage)
                    self.over = True
        return b""

    async def event(self) -> bytes:
        """The next event, or comment, without the blank line that ends it."""
        end = b"\r\n" if self._data.startswith(b":") else b"\r\n\r\n"
        while end not in self._data:
            more = await self.next()
            assert more, f"the answer ended in {self._data!r}"
            self._data += more
            end = b"\r\n" if self._data.startswith(b":") else b"\r\n\r\n"
        event, _, self._data = self._data.partition(end)
        return event

    async def rest(self) -> bytes:
        while more := await self.next():
            self._data += more
        return self._data


class Front:
    """An endpoint that is served, from its clients' side.

    Attributes:
        running: What holds the endpoint itself; requests are answered also when it is cancelled.
    """

    def __init__(
        self, endpoint: Endpoint, admission: Admission, nursery: trio.Nursery, *, express: bool = True
    ) -> None:
        self.endpoint = endpoint
        self.admission = admission
        self.server = server(endpoint.routes("/chat"), express=express)
        self.running = trio.CancelScope()
        self._nursery = nursery

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the endpoint."""
        with self.running:
            await self.endpoint.run(task_status=task_status)

    def client(self, near: trio.abc.Stream | None = None, far: trio.abc.Stream | None = None) -> Client:
        """A new client's stream."""
        if near is None or far is None:
            near, far = memory_stream_pair()
        self._nursery.start_soon(self.server.serve_stream, near)
        return Client(far)

    async def send(
        self,
        method: str = "GET",
        query: dict[str, str] | str = "",
        body: bytes = b"",
        /,
        *,
        path: str = "/chat",
        **headers: str,
    ) -> Client:
        """Send a request; ``query`` may be no more than a token."""
        client = self.client()
        fields = {"id": query} if isinstance(query, str) and query else query
        target = f"{path}?{urlencode(fields)}" if fields else path
        await client.send(request(method, target, body, **headers))
        return client

    async def ask(self, *parts: Any, **headers: str) -> Answer:
        """Send a request, and wait for its answer."""
        client = await self.send(*parts, **headers)
        answer = await client.answer(parts[0] if parts else "GET")
        await client.stream.aclose()
        return answer

    async def negotiate(self, version: str | None = "1", **more: str) -> dict[str, Any]:
        """The document of a negotiation that succeeds."""
        headers = {name: more.pop(name) for name in ("Authorization", "Origin") if name in more}
        query = more if version is None else {"negotiateVersion": version, **more}
        answer = await self.ask("POST", query, path="/chat/negotiate", **headers)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        document: dict[str, Any] = json.loads(answer.body)
        return document

    async def token(self, **more: str) -> str:
        token = (await self.negotiate(**more))["connectionToken"]
        assert isinstance(token, str)
        return token

    # ---- long polling

    async def polled(self, **headers: str) -> str:
        """A token whose first poll has been answered."""
        token = await self.token(**headers)
        answer = await self.ask("GET", token, **headers)
        assert (answer.status, answer.body) == (200, b"")
        await wait_all_tasks_blocked()
        return token

    async def poll(self, token: str, **headers: str) -> Client:
        """A poll that waits."""
        client = await self.send("GET", token, **headers)
        await wait_all_tasks_blocked()
        return client

    # ---- Server-Sent Events

    async def events(self, token: str = "", **headers: str) -> Events:
        """An open stream of events."""
        client = await self.send("GET", token or await self.token(), Accept="text/event-stream", **headers)
        events = Events(client)
        assert await events.event() == b":"
        return events

    # ---- WebSockets

    async def upgrade(self, query: dict[str, str] | str = "", **headers: str) -> Peer:
        """A request for a WebSocket, not answered yet."""
        fields = {"id": query} if isinstance(query, str) and query else query
        client = self.client()
        await client.send(upgrade(f"/chat?{urlencode(fields)}" if fields else "/chat", **headers))
        return Peer(client.stream, client=True)

    async def race(self, token: str, *headers: Mapping[str, str]) -> list[Peer]:
        """Requests for WebSockets that are all admitted before one of them is open."""
        clients = [self.client() for _ in headers]
        await wait_all_tasks_blocked()  # so that each of them is read in the same pass
        async with trio.open_nursery() as nursery:
            for client, fields in zip(clients, headers, strict=True):
                nursery.start_soon(client.send, upgrade(f"/chat?id={token}", **fields))
        peers = [Peer(client.stream, client=True) for client in clients]
        for peer in peers:
            assert (await peer.head()).startswith(b"HTTP/1.1 101 ")
        return peers

    async def socket(self, query: dict[str, str] | str = "", **headers: str) -> Peer:
        """An open WebSocket."""
        peer = await self.upgrade(query, **headers)
        head = await peer.head()
        assert head.startswith(b"HTTP/1.1 101 "), head
        await wait_all_tasks_blocked()
        return peer

    async def refused(self, query: dict[str, str] | str = "", **headers: str) -> Answer:
        """The answer to a request for a WebSocket that gets none."""
        peer = await self.upgrade(query, **headers)
        answer = await Client(peer.stream).answer()
        await peer.stream.aclose()
        return answer


@asynccontextmanager
async def open_front(
    handle: Callable[[Duplex], Awaitable[None]],
    *,
    maximum: int = 1000,
    authenticate: Authenticate | None = None,
    policies: Sequence[Policy] = (),
    transfer_formats: frozenset[TransferFormat] = frozenset(TransferFormat),
    express: bool = True,
    **options: Any,
) -> AsyncGenerator[Front]:
    """Serve an endpoint for the body; in the end nothing may be left that counts."""
    admission = Admission(maximum)
    endpoint = Endpoint(
        handle,
        EndpointOptions(**options),
        admission=admission,
        authenticate=authenticate,
        policies=policies,
        transfer_formats=transfer_formats,
    )
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as doors:
            async with trio.open_nursery() as nursery:
                front = Front(endpoint, admission, doors, express=express)
                await nursery.start(front.run)
                yield front
                nursery.cancel_scope.cancel()
            doors.cancel_scope.cancel()
    assert admission.active == 0


def known_by(**users: User) -> Authenticate:
    """An ``authenticate`` that knows some users by their bearer tokens."""
    return lambda request: users.get(request.bearer_token or "")


def bearer(token: str) -> dict[str, str]:
    """The header that shows a token."""
    return {"Authorization": f"Bearer {token}"}
