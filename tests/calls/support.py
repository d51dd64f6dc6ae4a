"""What the tests of the calls share: the faces of a side, its life, wires that show what they were given."""

import json
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from typing import Any, TypeVar

import trio
from msgspec import Raw
from trio.testing import wait_all_tasks_blocked

from tests.messages import Message
from trio_hubs.calls.answers import Face
from trio_hubs.calls.channels import ChannelReader
from trio_hubs.calls.children import Children
from trio_hubs.calls.credits import GivenCredit
from trio_hubs.calls.incoming import IncomingStreams
from trio_hubs.calls.methods import Method, Signature
from trio_hubs.calls.options import Role, SessionOptions
from trio_hubs.calls.our_calls import OurCalls
from trio_hubs.calls.outbox import Outbox
from trio_hubs.calls.outgoing import OutgoingStreams
from trio_hubs.calls.reading import Reading
from trio_hubs.calls.refusals import (
    ArgumentsUnfit,
    CallFailed,
    Refusal,
    StreamFailed,
    StreamForResult,
    UnknownMethod,
    UploadCancelled,
    UploadFailed,
)
from trio_hubs.calls.session import Life, Session
from trio_hubs.calls.their_calls import TheirCalls
from trio_hubs.client import texts as client_texts
from trio_hubs.connections.memory import MemoryConnection, memory_connection_pair
from trio_hubs.errors import ConnectionClosed, UploadBroken
from trio_hubs.protocol.json_protocol import JsonHubProtocol
from trio_hubs.protocol.messages import Close, Invocation, StreamInvocation
from trio_hubs.server import texts as server_texts

F = TypeVar("F", bound=Callable[..., Any])
PROTOCOL = JsonHubProtocol()


# ---- messages as the wire has them


def encode(*messages: Message) -> bytes:
    return b"".join(json.dumps(message, separators=(",", ":")).encode() + b"\x1e" for message in messages)


def decode(data: bytes) -> list[Message]:
    """The messages of bytes that end with a whole one."""
    records = data.split(b"\x1e")
    assert records.pop() == b""
    return [json.loads(record) for record in records]


def read_call(target: str, *arguments: Any, id: str = "", uploads: Sequence[str] = ()) -> Invocation:
    """What the reader makes of :func:`tests.messages.call`."""
    dumped = Raw(PROTOCOL.payloads.dump_arguments(arguments))
    return Invocation(invocation_id=id, target=target, arguments=dumped, stream_ids=tuple(uploads))


def read_stream(target: str, *arguments: Any, id: str = "1", uploads: Sequence[str] = ()) -> StreamInvocation:
    """What the reader makes of :func:`tests.messages.stream`."""
    dumped = Raw(PROTOCOL.payloads.dump_arguments(arguments))
    return StreamInvocation(invocation_id=id, target=target, arguments=dumped, stream_ids=tuple(uploads))


def raw(*values: Any) -> list[Raw]:
    return [Raw(json.dumps(value).encode()) for value in values]


# ---- the sides of a connection


class Table(Face):
    """The methods that the peer may call.

    Attributes:
        children: The children of the invocation that was begun last; a method reads it before it waits.
    """

    children: Children

    def __init__(self) -> None:
        self.methods: dict[str, list[Method]] = {}

    def add(self, name: str, function: Callable[..., Any]) -> None:
        method = Method(name, function, Signature.of(function), PROTOCOL.payloads)
        method.answers = name not in self.methods
        self.methods.setdefault(name, []).append(method)

    def method(self, function: F) -> F:
        """Decorate a function to be called by its own name."""
        self.add(function.__name__, function)
        return function

    def find(self, target: str) -> Sequence[Method]:
        return self.methods.get(target, [])

    def enter(self, method: Method, children: Children) -> Callable[..., Any]:
        self.children = children
        return method.function

    def text(self, refusal: Refusal) -> str:
        match refusal:
            case UnknownMethod(target):
                return f"{target} is unknown"
            case ArgumentsUnfit(target, error):
                return f"{target} does not fit: {error}"
            case CallFailed(target, error):
                return f"{target} failed: {error}"
            case StreamFailed(error):
                return f"the stream failed: {error}"
            case StreamForResult() | UploadCancelled() | UploadFailed():
                return client_texts.refused(refusal)
            case _:
                return server_texts.refused(
                    refusal, lambda base, error: f"{base} {type(error).__name__}: {error}"
                )


class Diary(Life):
    """A life that notes what happened, in order; what opens and closes it may be replaced."""

    waits = True

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.on_open: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        self.on_close: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint

    async def opened(self) -> None:
        await self.on_open()
        self.events.append("opened")

    async def closed(self, error: Exception | None) -> None:
        with trio.CancelScope(shield=True):
            await self.on_close()
        self.events.append(("closed", str(error or "")))

    def broken(self, error: ConnectionClosed) -> Exception:
        return UploadBroken(f"broken: {error}")

    def silence(self, seconds: float) -> Exception:
        return TimeoutError(f"silent for {seconds:g} s")

    def closed_by_peer(self, message: Close) -> Exception | None:
        return ConnectionClosed(message.error) if message.error else None

    def close_text(self, error: Exception) -> str:
        return "" if isinstance(error, ConnectionClosed) else f"ended: {error}"


class Recorder(Outbox):
    """An outbox that shows what was put into it; nothing takes it away unless it is run."""

    def __init__(self) -> None:
        super().__init__(memory_connection_pair()[0])
        self.sent: list[Message] = []

    def _append(self, data: bytes | bytearray, count: int) -> bool:
        idle = super()._append(data, count)
        if self.state.sends:
            self.sent += decode(bytes(data))
        return idle


async def run_outbox(outbox: Outbox, on_failure: Callable[[Exception], None] = lambda _: None) -> None:
    """Run an outbox's writer, but give up when cancelled: a test that fails shall not hang in what is unsent."""

    async def give_up_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            outbox.give_up()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_up_when_cancelled)
        await outbox._writer.run(outbox, on_failure)
        nursery.cancel_scope.cancel()


class Desk:
    """Our calls and their calls over one recorder, without a connection."""

    def __init__(self, *, credits: int = 0, **changes: Any) -> None:
        options = session_options(**changes)
        self.face = Table()
        self.method = self.face.method
        self.outbox = Recorder()
        given = partial(GivenCredit, PROTOCOL, self.outbox, options.stream_buffer_size) if credits else None
        self.incoming = IncomingStreams(Reading(options), PROTOCOL.payloads, given)
        self.outgoing = OutgoingStreams(PROTOCOL, self.outbox, credits or inf)
        self.our_calls = OurCalls(
            PROTOCOL, self.outbox, self.incoming, self.outgoing, options.role, self.face.text
        )
        self.their_calls = TheirCalls(
            self.face,
            PROTOCOL,
            self.outbox,
            self.incoming,
            self.outgoing,
            options,
            connection_id="desk",
        )

    @property
    def sent(self) -> list[Message]:
        return self.outbox.sent

    async def answers(self, *messages: Invocation | StreamInvocation) -> list[Message]:
        """What has been sent, in all, once these calls have gone as far as they can."""
        for message in messages:
            self.their_calls.invoke(message)
        await wait_all_tasks_blocked()
        return self.sent


class Peer:
    """The other end of a session's connection, which speaks JSON."""

    def __init__(self, connection: MemoryConnection) -> None:
        self.connection = connection
        self._received: list[Message] = []

    async def send(self, *messages: Message) -> None:
        """Send messages in one piece, and wait until they have had their effect."""
        await self.connection.send(encode(*messages))
        await wait_all_tasks_blocked()

    async def receive(self) -> Message:
        """The next message."""
        while not self._received:
            data = await self.connection.receive()
            assert data, "the connection has ended"
            self._received = decode(data)
        return self._received.pop(0)

    async def rest(self) -> list[Message]:
        """All messages until the connection's end."""
        while data := await self.connection.receive():
            self._received += decode(data)
        return self._received


def session_options(**changes: Any) -> SessionOptions:
    """A client's, which bears silence and may be asked for as much as a server."""
    defaults: dict[str, Any] = {
        "role": Role.CLIENT,
        "server_timeout": inf,
        "maximum_message_size": 32 * 1024,
        "maximum_streams": 1000,
        "stream_buffer_capacity": 10,
    }
    return SessionOptions(**(defaults | changes))


class Side:
    """A running session, and the peer that it is connected to.

    Attributes:
        over: Set when the session's tasks have all ended.
    """

    def __init__(self, options: SessionOptions, capacity: int) -> None:
        self.face = Table()
        self.method = self.face.method
        self.life = Diary()
        self.connection, other = memory_connection_pair(capacity=capacity)
        self.session = Session(self.connection, PROTOCOL, self.face, self.life, options)
        self.peer = Peer(other)
        self.scope = trio.CancelScope()
        self.over = trio.Event()

    async def run(self, data: bytes = b"") -> None:
        """Run the session, then close the connection as whoever made it does."""
        try:
            with self.scope:
                await self.session.run(data)
        finally:
            self.connection.close()
            self.over.set()


@asynccontextmanager
async def open_side(
    *, data: bytes = b"", capacity: int = 16, prepare: Callable[[Side], None] | None = None, **changes: Any
) -> AsyncGenerator[Side]:
    """Run a session for the body; the end of the body ends it.

    Args:
        data: What has been read behind the handshake.
        capacity: How many pieces may be under way before a sender waits.
        prepare: Called before the session runs.
        changes: Options of the session that differ from the server's defaults.
    """
    side = Side(session_options(**changes), capacity)
    if prepare is not None:
        prepare(side)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(side.run, data)
        await wait_all_tasks_blocked()
        try:
            yield side
        finally:
            side.session.end()
            side.session.outbox.give_up()  # a test that fails shall not hang in what it left unsent


# ---- errors


def depth(error: BaseException) -> int:
    """How many frames the traceback of an error has."""
    return len(traceback.extract_tb(error.__traceback__))


# ---- sources of items


async def count_up(stop: int) -> AsyncIterator[int]:
    """An endless waste of time, were it not for its end."""
    for number in range(stop):
        yield number


async def read_all(reader: ChannelReader[Any]) -> list[Any]:
    return [value async for value in reader]


@asynccontextmanager
async def turns() -> AsyncGenerator[Callable[[], int]]:
    """Count how often other tasks have had a turn since the body began."""
    count = 0

    async def take_turns() -> None:
        nonlocal count
        while True:
            await trio.lowlevel.checkpoint()
            count += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        await trio.lowlevel.checkpoint()
        begin = count
        yield lambda: count - begin
        nursery.cancel_scope.cancel()
