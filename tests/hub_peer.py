"""The raw other end of a hub connection, in memory: for tests of whole hubs, and of our client.

Messages are those of ``tests/messages.py``. Whatever is awaited here fails after a while of virtual time instead of
hanging.
"""

import json
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Generic, Protocol

import trio
from typing_extensions import TypeVar

from tests.messages import PING, Message, encode, take
from trio_hubs import Hub, HubConnection, HubFilter, HubOptions, Request, User
from trio_hubs.calls.observer import Observer, Observers
from trio_hubs.calls.session import Session
from trio_hubs.client.opening import open_over
from trio_hubs.connections.memory import MemoryConnection, memory_connection_pair
from trio_hubs.protocol.hub_protocol import TransferFormat
from trio_hubs.server.local_roster import LocalRoster
from trio_hubs.server.members import Members
from trio_hubs.server.served_hub import ServedHub

PROTOCOLS = ("json", "messagepack")
PATIENCE = 1000.0
"""Virtual seconds after which nothing more can be expected."""

# ---- the raw peer


class Wire(Protocol):
    """A client's end of a connection, whatever carries it."""

    async def receive(self) -> bytes: ...

    async def send(self, data: bytes) -> None: ...

    def cut(self) -> None: ...


W = TypeVar("W", bound=Wire, default=MemoryConnection)


class RawPeer(Generic[W]):
    """One end of a connection, by default one in memory, spoken on with raw messages.

    Attributes:
        connection: The end.
        protocol: What is spoken.
        pieces: What has been received, as it came.
    """

    def __init__(self, connection: W, protocol: str) -> None:
        self.connection = connection
        self.protocol = protocol
        self.pieces: list[bytes] = []
        self._buffer = bytearray()
        self._messages: list[Message] = []

    async def send(self, *messages: Message) -> None:
        """Send messages, all in one piece."""
        await self.send_bytes(b"".join(encode(self.protocol, message) for message in messages))

    async def send_bytes(self, data: bytes) -> None:
        """Send a piece."""
        with trio.fail_after(PATIENCE):
            await self.connection.send(data)

    async def receive(self) -> Message:
        """The next message.

        Raises:
            trio.EndOfChannel: None comes any more.
        """
        while not self._messages:
            with trio.fail_after(PATIENCE):
                piece = await self.connection.receive()
            if not piece:
                assert not self._buffer, "the connection ended inside a message"
                raise trio.EndOfChannel
            self.pieces.append(piece)
            self._buffer += piece
            self._messages += take(self.protocol, self._buffer)
        return self._messages.pop(0)

    async def receive_record(self) -> Message:
        """A JSON record, whatever the protocol: the handshake."""
        while b"\x1e" not in self._buffer:
            with trio.fail_after(PATIENCE):
                piece = await self.connection.receive()
            if not piece:
                raise trio.EndOfChannel
            self._buffer += piece
        record, _, rest = bytes(self._buffer).partition(b"\x1e")
        self._buffer[:] = rest
        self._messages += take(self.protocol, self._buffer)
        fields: Message = json.loads(record)
        return fields

    async def take(self, count: int) -> list[Message]:
        """So many messages."""
        return [await self.receive() for _ in range(count)]

    async def arrived(self, seconds: float = 0.001) -> list[Message]:
        """All messages that come before everybody waits for so long, or before the connection ends."""
        messages: list[Message] = []
        with trio.move_on_after(seconds), suppress(trio.EndOfChannel):
            while True:
                messages.append(await self.receive())
        return messages

    async def rest(self) -> list[Message]:
        """All messages until the connection ends."""
        messages: list[Message] = []
        try:
            while True:
                messages.append(await self.receive())
        except trio.EndOfChannel:
            return messages

    def leave(self) -> None:
        """Vanish without a word."""
        self.connection.cut()

    async def shake_hands(self, *messages: Message, **fields: Any) -> Message:
        """Ask for the protocol, with messages in the same piece, and take the server's consent; gives its fields."""
        request = json.dumps({"protocol": self.protocol, "version": 1, **fields}).encode() + b"\x1e"
        await self.send_bytes(request + b"".join(encode(self.protocol, message) for message in messages))
        consent = await self.receive_record()
        assert "error" not in consent
        return consent


# ---- a raw client of a hub


class RawClient(RawPeer):
    """A raw client, and the serving of its connection.

    Attributes:
        serving: The scope that serves it: cancelling it is the server's shutdown.
        over: Set when serving has ended.
    """

    def __init__(self, connection: MemoryConnection, protocol: str) -> None:
        super().__init__(connection, protocol)
        self.serving = trio.CancelScope()
        self.over = trio.Event()

    async def served(self) -> None:
        """Wait until the server has done with this connection."""
        with trio.fail_after(PATIENCE):
            await self.over.wait()


def served_hub(
    hub: type[Hub[Any]],
    factory: Callable[[], Hub[Any]] | None = None,
    *,
    filters: Sequence[HubFilter] = (),
    observers: Sequence[Observer] = (),
    **options: Any,
) -> ServedHub:
    """What stands behind a hub's path."""
    return ServedHub(hub, factory or hub, HubOptions(**options), filters, observers=Observers(observers))


def local_roster(served: ServedHub) -> LocalRoster:
    """A hub's roster, which is of this process."""
    assert isinstance(served.roster, LocalRoster)
    return served.roster


def members_of(served: ServedHub) -> Members:
    """A hub's clients."""
    return local_roster(served).members


def session_of(served: ServedHub, id: str) -> Session:
    """The session of one of a hub's clients."""
    return members_of(served).by_id[id].session


@asynccontextmanager
async def open_client(
    served: ServedHub | type[Hub[Any]],
    protocol: str = "json",
    *,
    id: str = "memory",
    request: Request | None = None,
    user: User | None = None,
    capacity: int = 1000,
    handshake: bool = True,
    beating: bool = False,
    **options: Any,
) -> AsyncGenerator[RawClient]:
    """Connect a raw client to a hub for the body; then it vanishes, and the serving must end.

    Args:
        served: The hub.
        protocol: What the client speaks.
        id: The connection's id.
        request: The HTTP request that the hub sees.
        user: Who the client is.
        capacity: Pieces that may be under way in each direction before a sender waits.
        handshake: Whether to shake hands.
        beating: Whether pings are sent and silence is judged, as the app does it.
        **options: The hub's options, where a hub class is given.
    """
    behind = served if isinstance(served, ServedHub) else served_hub(served, **options)
    server_end, client_end = memory_connection_pair(capacity=capacity, request=request)
    server_end.id = id
    server_end.user = user
    client = RawClient(client_end, protocol)

    async def serve() -> None:
        try:
            with client.serving:
                await behind.handle(server_end)
        finally:
            server_end.close()
            client.over.set()

    async with trio.open_nursery() as nursery:
        if beating:
            nursery.start_soon(behind.watch)
        nursery.start_soon(serve)
        if handshake:
            await client.shake_hands()
        yield client
        client.leave()
        await client.served()
        nursery.cancel_scope.cancel()


# ---- a raw server of our client


class RawServer(RawPeer):
    """A raw server, which our client finds when it dials."""

    def __init__(self, protocol: str = "json", *, capacity: int = 1000) -> None:
        server_end, self._client_end = memory_connection_pair(capacity=capacity)
        super().__init__(server_end, protocol)

    @asynccontextmanager
    async def dial(self, _: TransferFormat) -> AsyncGenerator[MemoryConnection]:
        """Dial."""
        try:
            yield self._client_end
        finally:
            self._client_end.close()


@asynccontextmanager
async def open_raw_server(
    protocol: Any = "json", *, answer: bytes = b"{}\x1e", **options: Any
) -> AsyncGenerator[tuple[HubConnection, RawServer]]:
    """Connect our client to a raw server for the body.

    Args:
        protocol: What the client shall speak.
        answer: What answers the client's handshake.
        **options: For `open_over`.

    Yields:
        The connection and the server, which has taken the client's handshake and first ping.
    """
    server = RawServer(protocol)
    await server.send_bytes(answer)
    async with open_over([server.dial], protocol=protocol, **options) as connection:
        assert await server.receive_record() == {"protocol": protocol, "version": 1, "streamCredits": 1}
        assert await server.receive() == PING
        yield connection, server


# ---- our client at our hub


@asynccontextmanager
async def open_ours(
    served: ServedHub, *, capacity: int = 1000, **options: Any
) -> AsyncGenerator[HubConnection]:
    """Connect our client to a hub for the body.

    Args:
        served: The hub.
        capacity: Pieces that may be under way in each direction before a sender waits.
        **options: For `open_over`.
    """
    server = RawServer(capacity=capacity)
    server.connection.id = "ours"

    async def serve() -> None:
        await served.handle(server.connection)
        server.connection.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with open_over([server.dial], **options) as connection:
            yield connection


# ---- tasks


@contextmanager
def no_task_left() -> Iterator[None]:
    """Assert that the body leaves no task behind."""
    before = trio.lowlevel.current_statistics().tasks_living
    yield
    assert trio.lowlevel.current_statistics().tasks_living == before
