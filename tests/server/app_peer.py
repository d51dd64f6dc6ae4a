"""A whole app, served in memory: its door without sockets, and raw clients of it over every transport.

The server is the real one, from the first byte of HTTP on; only the sockets are streams in memory, so time is virtual.
"""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import Any, Protocol, TypeAlias

import h11
import trio
from trio.testing import memory_stream_pair

from tests.connections.server.http_peer import Answer, Client, request, upgrade
from tests.connections.websocket.websocket_peer import BINARY, CLOSE, PING, TEXT, NarrowSendStream, Peer
from tests.hub_peer import PATIENCE, RawPeer, members_of
from trio_hubs import ConnectionClosed, HubApp, HubOptions

TRANSPORTS = ("WebSockets", "ServerSentEvents", "LongPolling")
PAIRS = (
    ("WebSockets", "json"),
    ("WebSockets", "messagepack"),
    ("ServerSentEvents", "json"),
    ("LongPolling", "json"),
    ("LongPolling", "messagepack"),
)
"""Every transport with every protocol that it can carry."""

FarStream: TypeAlias = "trio.StapledStream[Any, Any]"


class Door(trio.abc.Listener[trio.abc.Stream]):
    """Where streams come in."""

    def __init__(self) -> None:
        self._comers, self._waiting = trio.open_memory_channel[trio.abc.Stream](inf)

    async def accept(self) -> trio.abc.Stream:
        return await self._waiting.receive()

    async def aclose(self) -> None:
        self._waiting.close()
        await trio.lowlevel.checkpoint()

    def enter(self, stream: trio.abc.Stream) -> None:
        self._comers.send_nowait(stream)


class ServedApp:
    """An app while it is served.

    Attributes:
        app: The app.
        serving: The scope that serves it: cancelling it is its shutdown.
        over: Set when it is served no more.
        narrows: What the server sends by, of each stream that was opened so, oldest first.
    """

    def __init__(self, app: HubApp, door: Door) -> None:
        self.app = app
        self.serving = trio.CancelScope()
        self.over = trio.Event()
        self.narrows: list[NarrowSendStream] = []
        self._door = door

    def open_stream(self) -> FarStream:
        """A client's stream; what the server sends on it can be held up by the last of ``narrows``."""
        near, far = memory_stream_pair()
        narrow = NarrowSendStream(near.send_stream)
        self.narrows.append(narrow)
        self._door.enter(trio.StapledStream(narrow, near.receive_stream))
        return far

    async def ask(self, method: str, target: str, body: bytes = b"", /, **headers: str) -> Answer:
        """Make one request on a stream of its own."""
        stream = self.open_stream()
        answer = await Client(stream).ask(method, target, body, **headers)
        await stream.aclose()
        return answer

    async def negotiate(self, path: str, **headers: str) -> str:
        """A connection token."""
        answer = await self.ask("POST", f"{path}/negotiate?negotiateVersion=1", **headers)
        assert answer.status == 200, answer
        token: str = json.loads(answer.body)["connectionToken"]
        return token

    def leases(self) -> int:
        """How many leases are kept."""
        return sum(len(endpoint._leases) for endpoint in self.app.site.endpoints)

    def sessions(self) -> int:
        """How many connections the hubs know."""
        return sum(len(members_of(hub).by_id) for _, hub in self.app.site.hubs)


@asynccontextmanager
async def open_app(app: HubApp) -> AsyncGenerator[ServedApp]:
    """Serve an app in memory for the body, then shut it down."""
    door = Door()
    served = ServedApp(app, door)

    async def serve(*, task_status: trio.TaskStatus[str]) -> None:
        with served.serving:
            await app.serve(listeners=[door], task_status=task_status)
        served.over.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        yield served
        served.serving.cancel()
        with trio.fail_after(PATIENCE):
            await served.over.wait()


def _cut(stream: FarStream) -> None:
    stream.send_stream.close()
    stream.receive_stream.close()


class _WebSocketWire:
    """A client's end over a WebSocket."""

    def __init__(self, stream: FarStream, protocol: str) -> None:
        self.peer = Peer(stream, client=True)
        self._stream = stream
        self._sending = trio.Lock()
        self._first = TEXT if protocol == "json" else BINARY

    @classmethod
    async def open(cls, served: ServedApp, path: str, protocol: str, **headers: str) -> "_WebSocketWire":
        stream = served.open_stream()
        wire = cls(stream, protocol)
        await stream.send_all(upgrade(path, **headers))
        head = await wire.peer.head()
        if not head.startswith(b"HTTP/1.1 101 "):
            raise ConnectionClosed(head.decode())
        return wire

    async def send(self, data: bytes) -> None:
        await self._send(self._first, data)

    async def _send(self, first: int, data: bytes) -> None:
        async with self._sending:
            await self.peer.send(self.peer.frame(first, data))

    async def receive(self) -> bytes:
        while True:
            try:
                first, payload = await self.peer.next_frame()
            except AssertionError:
                raise ConnectionClosed("The server cut the WebSocket.") from None
            if first == CLOSE:
                with suppress(trio.BrokenResourceError):  # the server need not wait for it
                    await self._send(CLOSE, payload)
                return b""
            if first != PING:
                assert first == self._first or payload == b"{}\x1e"  # frames are marked as their protocol is
                return payload

    def cut(self) -> None:
        _cut(self._stream)


class _PostingWire:
    """A client's end that posts what it sends."""

    def __init__(self, served: ServedApp, target: str, headers: dict[str, str]) -> None:
        self._served = served
        self._target = target
        self._headers = headers

    async def send(self, data: bytes) -> None:
        answer = await self._served.ask("POST", self._target, data, **self._headers)
        if answer.status != 200:
            raise ConnectionClosed(f"The post was answered with {answer.status}.")


class _EventStreamWire(_PostingWire):
    """A client's end over Server-Sent Events."""

    def __init__(self, served: ServedApp, target: str, headers: dict[str, str]) -> None:
        super().__init__(served, target, headers)
        self._stream = served.open_stream()
        self._http = h11.Connection(h11.CLIENT)
        self._lines = b""
        self._event: list[bytes] = []

    @classmethod
    async def open(cls, served: ServedApp, path: str, protocol: str, **headers: str) -> "_EventStreamWire":  # noqa: ARG003
        target = f"{path}?id={await served.negotiate(path, **headers)}"
        wire = cls(served, target, headers)
        wire._http.send(h11.Request(method="GET", target=target, headers=[("Host", "a")]))
        wire._http.send(h11.EndOfMessage())
        await wire._stream.send_all(request("GET", target, Accept="text/event-stream", **headers))
        await wire._line()
        return wire

    async def receive(self) -> bytes:
        while (line := await self._line()) is not None:
            if line:
                self._event += [line.removeprefix(b"data: ")] if line.startswith(b"data: ") else []
            elif self._event:
                event, self._event = b"\n".join(self._event), []
                return event
        return b""

    async def _line(self) -> bytes | None:
        while True:
            line, end, rest = self._lines.partition(b"\r\n")
            if end:
                self._lines = rest
                return line
            match self._http.next_event():
                case h11.NEED_DATA:
                    try:
                        self._http.receive_data(bytes(await self._stream.receive_some()))
                    except h11.RemoteProtocolError as error:
                        raise ConnectionClosed(str(error)) from error
                case h11.Response() as head:
                    if head.status_code != 200:
                        raise ConnectionClosed(
                            f"The request for events was answered with {head.status_code}."
                        )
                case h11.Data() as part:
                    self._lines += bytes(part.data)
                case h11.EndOfMessage():
                    return None
                case other:
                    raise AssertionError(other)

    def cut(self) -> None:
        _cut(self._stream)


class _PollingWire(_PostingWire):
    """A client's end over long polling; it polls while it receives."""

    def __init__(self, served: ServedApp, target: str, headers: dict[str, str]) -> None:
        super().__init__(served, target, headers)
        self._stream = served.open_stream()
        self._polls = Client(self._stream)

    @classmethod
    async def open(cls, served: ServedApp, path: str, protocol: str, **headers: str) -> "_PollingWire":  # noqa: ARG003
        target = f"{path}?id={await served.negotiate(path, **headers)}"
        wire = cls(served, target, headers)
        answer = await wire._polls.ask("GET", target, **headers)
        if (answer.status, answer.body) != (200, b""):
            raise ConnectionClosed(f"The poll was answered with {answer.status}.")
        return wire

    async def receive(self) -> bytes:
        while True:
            try:
                answer = await self._polls.ask("GET", self._target, **self._headers)
            except (h11.RemoteProtocolError, trio.BrokenResourceError):
                raise ConnectionClosed("The server cut the poll.") from None
            if answer.status != 200:
                return b""
            if answer.body:
                return answer.body

    def cut(self) -> None:
        _cut(self._stream)


class OpenWire(Protocol):
    """Opens a client's end."""

    async def __call__(self, served: ServedApp, path: str, protocol: str, **headers: str) -> "AnyWire": ...


AnyWire: TypeAlias = _WebSocketWire | _EventStreamWire | _PollingWire
AppClient: TypeAlias = "RawPeer[AnyWire]"

_WIRES: dict[str, OpenWire] = {
    "WebSockets": _WebSocketWire.open,
    "ServerSentEvents": _EventStreamWire.open,
    "LongPolling": _PollingWire.open,
}


async def visit(
    served: ServedApp, path: str, transport: str = "WebSockets", protocol: str = "json", **headers: str
) -> AppClient:
    """Connect a raw client to a hub."""
    client = await connect(served, path, transport, protocol, **headers)
    await client.shake_hands()
    return client


async def connect(
    served: ServedApp, path: str, transport: str = "WebSockets", protocol: str = "json", **headers: str
) -> AppClient:
    """Connect a raw client that has yet to shake hands."""
    wire = await _WIRES[transport](served, path, protocol, **headers)
    return RawPeer[AnyWire](wire, protocol)


def hub_app(hub: Any, factory: Callable[[], Any] | None = None, **options: Any) -> HubApp:
    """An app with one hub at ``/hub``."""
    app = HubApp()
    app.add_hub("/hub", hub, factory=factory, options=HubOptions(**options))
    return app
