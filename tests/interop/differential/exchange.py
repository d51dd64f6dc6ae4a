"""A case is data: steps on bare connections. Played against a server it leaves a record, a text that can be compared.

The record has a line for all that the server did, and nothing that depends on the moment or on the machine: no step
waits for time to pass, each reads up to an answer that must come or to the end of the connection.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import msgspec
import trio

from . import wire
from .messages import RECORD, Pack, pack
from .normalise import HEADERS, Names, one_notation
from .wire import Cut, Head, Wire

PATIENCE = 10.0  # how long an answer may take before the record says that it did not come

# ---- the steps: <id>, <token> and <asked> stand for what the server gave out


@attrs.frozen
class Http:
    """One request on a socket of its own, and its whole answer."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]] = ()
    body: str | bytes = b""
    quiet: bool = False  # an answer that another case has in its record


@attrs.frozen
class Begin:
    """A request whose answer comes later: see `Finish`."""

    name: str
    request: Http


@attrs.frozen
class Finish:
    """The answers of begun requests, in an order that does not tell which came first."""

    names: Sequence[str]


@attrs.frozen
class Negotiate:
    """Fetch <id> and <token> for the steps that follow."""

    path: str = "/conformance"
    query: str = "negotiateVersion=1"
    headers: Sequence[tuple[str, str]] = ()


@attrs.frozen
class WebSocket:
    """Ask for a WebSocket."""

    target: str = "/conformance"
    headers: Sequence[tuple[str, str]] = ()
    on: str = "it"
    quiet: bool = False
    wait: bool = True  # for the answer; without, see `Upgraded`
    upgrade: Mapping[str, str] = attrs.field(factory=dict)  # headers of the upgrade, changed; empty ones left out


@attrs.frozen
class Upgraded:
    """The answer to a WebSocket's request."""

    on: str = "it"
    quiet: bool = False


@attrs.frozen
class Events:
    """Ask for Server-Sent Events; messages go out by POST."""

    target: str = "/conformance?id=<token>"
    headers: Sequence[tuple[str, str]] = (("Accept", "text/event-stream"),)
    on: str = "it"


@attrs.frozen
class Polls:
    """Long polling: each read is a poll, messages go out by POST. The first poll is made here."""

    target: str = "/conformance?id=<token>"
    on: str = "it"


@attrs.frozen
class Send:
    """Messages, each in a frame or request of its own: text, bytes or values for MessagePack."""

    messages: Sequence[str | bytes | Pack]
    on: str = "it"


@attrs.frozen
class Raw:
    """Bytes of WebSocket frames, as they are."""

    data: bytes
    on: str = "it"


@attrs.frozen
class Read:
    """Messages up to the completions of these invocations, or the end."""

    until: Sequence[str]
    on: str = "it"
    items: bool = True  # whether items belong in the record: how many come before a cancel is not promised
    patience: float = PATIENCE


@attrs.frozen
class Next:
    """So many messages."""

    count: int = 1
    on: str = "it"
    quiet: bool = False


@attrs.frozen
class End:
    """All messages until the server ends the connection, and how it does."""

    on: str = "it"
    broken: bool = False  # the frames were: whether the close frame with 1002 outruns the socket's end is a race


@attrs.frozen
class Leave:
    """Close the WebSocket in order; what the server does then, apart from last messages that cross the close."""

    on: str = "it"
    code: int | None = 1000


@attrs.frozen
class Drop:
    """Close the socket without a word."""

    on: str = "it"


Step = (
    Http
    | Begin
    | Finish
    | Negotiate
    | WebSocket
    | Upgraded
    | Events
    | Polls
    | Send
    | Raw
    | Read
    | Next
    | End
    | Leave
    | Drop
)


@attrs.frozen
class Case:
    """A named list of steps."""

    id: str
    steps: Sequence[Step]
    protocol: str = "json"


# ---- links: a connection of any transport, as a source of bytes


@attrs.define
class WebSocketLink:
    """Data frames; at the end `ending` tells the close frame."""

    wire: Wire
    kind: str = ""
    ending: str = ""

    async def send(self, data: bytes, binary: bool) -> None:
        """Send a message."""
        await self.wire.send(wire.frame(wire.BINARY if binary else wire.TEXT, data))

    async def read(self) -> bytes:
        """The payload of the next data frame; empty at the end."""
        while not self.ending:
            try:
                opcode, payload = await wire.read_frame(self.wire)
            except Cut:
                self.ending = "cut"
                break
            if opcode == wire.CLOSE:
                code = str(int.from_bytes(payload[:2])) if payload else "without a code"
                self.ending = " ".join(["closed", code, payload[2:].decode()]).rstrip()
                await self.wire.send(wire.frame(wire.CLOSE, payload[:2]))
                if await self.wire.to_the_end():
                    self.ending += ", and bytes after it"
            elif opcode in (wire.PING, wire.PONG):
                self.kind = "pong" if opcode == wire.PONG else "ping"
                return payload + RECORD.encode()
            else:
                self.kind = {wire.TEXT: "text", wire.BINARY: "binary"}.get(opcode, self.kind)
                if payload:
                    return payload
        return b""


@attrs.define
class EventsLink:
    """Events, each checked for its form."""

    wire: Wire
    post: Callable[[bytes], Any]
    kind: str = "event"
    ending: str = ""
    _body: bytes = b""

    async def send(self, data: bytes, binary: bool) -> None:
        """Send a message by POST."""
        await self.post(data)

    async def read(self) -> bytes:
        """The data of the next event; empty at the end."""
        while b"\r\n\r\n" not in self._body:
            try:
                chunk = await wire.read_chunk(self.wire)
            except Cut:
                self.ending = "cut"
                return b""
            if not chunk:
                self.ending = f"ended, {self._body!r} left" if self._body else "ended"
                return b""
            self._body += chunk
        event, self._body = self._body.split(b"\r\n\r\n", 1)
        lines = event.split(b"\r\n")
        assert all(line.startswith(b"data: ") for line in lines), f"no event: {event!r}"
        return b"\n".join(line.removeprefix(b"data: ") for line in lines)


@attrs.define
class PollsLink:
    """The bodies of polls."""

    poll: Callable[[], Any]
    post: Callable[[bytes], Any]
    kind: str = "poll"
    ending: str = ""

    async def send(self, data: bytes, binary: bool) -> None:
        """Send a message by POST."""
        await self.post(data)

    async def read(self) -> bytes:
        """The body of the next poll that has one; empty at the end."""
        while not self.ending:
            status, body = await self.poll()
            if status != 200:
                self.ending = f"ended with {status}"
            elif body:
                return bytes(body)
        return b""


Link = WebSocketLink | EventsLink | PollsLink


@attrs.define
class Reader:
    """The messages of a link."""

    link: Link
    protocol: str
    binary: bool = False  # from the handshake's answer on, when MessagePack was asked for
    over: bool = False  # its end is in the record
    ready: deque[str] = attrs.field(factory=deque)
    _left: bytes = b""

    async def next(self) -> str | None:
        """The next message, in text; None at the end."""
        while not self.ready:
            data = await self.link.read()
            if not data:
                if self._left:
                    self.ready.append(f"incomplete: {self._left!r}")
                    self._left = b""
                    break
                return None
            self._left += data
            while (message := self._split()) is not None:
                self.ready.append(f"{self.link.kind}: {message}")
        return self.ready.popleft()

    def _split(self) -> str | None:
        """Take a whole message off what was read."""
        if not self.binary:
            message, mark, rest = self._left.partition(RECORD.encode())
            if not mark:
                return None
            self._left = rest
            self.binary = self.protocol == "messagepack" and message == b"{}"
            return one_notation(message.decode())
        length = shift = at = 0
        while at < len(self._left):
            length |= (self._left[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if self._left[at - 1] < 0x80:
                break
        else:
            return None
        if len(self._left) < at + length:
            return None
        body, self._left = self._left[at : at + length], self._left[at + length :]
        return json.dumps(msgspec.msgpack.decode(body), default=repr, ensure_ascii=False)


def values_of(message: str) -> Any:
    """The values of a message in a record: a dict of JSON, a list of MessagePack."""
    try:
        return json.loads(message.partition(": ")[2])
    except ValueError:
        return None


def completed(message: str) -> str | None:
    """The id of the invocation that a message completes."""
    match values_of(message):
        case {"type": 3, "invocationId": str(id)} | [3, _, str(id), *_]:
            return id
        case _:
            return None


def is_item(message: str) -> bool:
    """Whether a message is an item of a stream."""
    match values_of(message):
        case {"type": 2} | [2, *_]:
            return True
        case _:
            return False


def asked(message: str) -> str | None:
    """The id of the invocation by which the server asks for a result."""
    match values_of(message):
        case {"type": 1, "invocationId": str(id)} | [1, _, str(id), *_]:
            return id
        case _:
            return None


# ---- playing


class Exchange:
    """One case against one server."""

    def __init__(self, address: str, protocol: str, nursery: trio.Nursery) -> None:
        self.address = address
        self.protocol = protocol
        self.lines: list[str] = []
        self._nursery = nursery
        self._names = Names()
        self._given: dict[str, str] = {}
        self._readers: dict[str, Reader] = {}
        self._wires: list[Wire] = []
        self._begun: dict[str, trio.MemoryReceiveChannel[list[str]]] = {}

    async def aclose(self) -> None:
        """Close what is open."""
        for open_wire in self._wires:
            await open_wire.aclose()

    def note(self, line: str) -> None:
        """Add a line to the record."""
        self.lines.append(self._names.plain(line))

    def fill(self, text: str) -> str:
        """The text with what the server gave out."""
        for name, value in self._given.items():
            text = text.replace(f"<{name}>", value)
        return text

    def data(self, message: str | bytes | Pack) -> bytes:
        """A message's bytes."""
        if isinstance(message, bytes):
            return message
        if isinstance(message, str):
            return self.fill(message).encode()
        return pack([self.fill(value) if isinstance(value, str) else value for value in message.values])

    async def open_wire(self) -> Wire:
        """A socket that is closed with the case."""
        opened = await Wire.open(self.address)
        self._wires.append(opened)
        return opened

    # ---- HTTP

    async def fetch(self, step: Http) -> tuple[Head, bytes]:
        """A request and its answer."""
        opened = await self.open_wire()
        headers = [(name, self.fill(value)) for name, value in step.headers]
        body = self.data(step.body)
        await opened.send(wire.request(step.method, self.fill(step.target), headers, body))
        head = await wire.read_head(opened)
        return head, await wire.read_body(opened, step.method, head)

    def answer(self, head: Head, body: bytes) -> list[str]:
        """The lines of an answer."""
        good = head.status < 300
        headers = [
            f"  {name}: {head.headers[name]}"
            for name in HEADERS
            if name in head.headers and (good or name != "content-length")  # errors come in chunks or at once
        ]
        return [f"{head.status}", *headers, *([f"  {body.decode()}"] if body else [])]

    async def http(self, step: Http) -> None:
        """A request, awaited."""
        try:
            head, body = await self.fetch(step)
        except Cut:
            self.note(f"{step.method}: cut")
            return
        if not step.quiet:
            first, *rest = self.answer(head, body)
            for line in (f"{step.method}: {first}", *rest):
                self.note(line)

    async def begin(self, step: Begin) -> None:
        """A request in the background; it has reached the server when this returns, as far as a client can tell."""
        sender, self._begun[step.name] = trio.open_memory_channel[list[str]](1)

        async def wait() -> None:
            try:
                head, body = await self.fetch(step.request)
                sender.send_nowait(self.answer(head, body))
            except Cut:
                sender.send_nowait(["cut"])

        self._nursery.start_soon(wait)
        await self.fetch(Http("GET", "/seen?key=nothing"))

    async def finish(self, step: Finish) -> None:
        """Answers of requests in the background."""
        answers = [await self._begun.pop(name).receive() for name in step.names]
        for lines in sorted(answers):
            for line in lines:
                self.note(line)

    async def negotiate(self, step: Negotiate) -> None:
        """What a client needs to connect."""
        head, body = await self.fetch(
            Http("POST", f"{step.path}/negotiate?{step.query}".rstrip("?"), step.headers)
        )
        assert head.status == 200, f"negotiation answered {head.status}"
        answer = json.loads(body)
        self._given["id"] = answer.get("connectionId", "")
        self._given["token"] = answer.get("connectionToken", self._given["id"])

    # ---- transports

    async def websocket(self, step: WebSocket) -> None:
        """An upgrade."""
        opened = await self.open_wire()
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            **step.upgrade,
        }
        headers = [(name, value) for name, value in upgrade.items() if value]
        headers += [(name, self.fill(value)) for name, value in step.headers]
        await opened.send(wire.request("GET", self.fill(step.target), headers, b""))
        self._readers[step.on] = Reader(WebSocketLink(opened), self.protocol)
        if step.wait:
            await self.upgraded(Upgraded(step.on, step.quiet))

    async def upgraded(self, step: Upgraded) -> None:
        """An upgrade's answer."""
        link = self._readers[step.on].link
        assert isinstance(link, WebSocketLink)
        head = await wire.read_head(link.wire)
        if head.status == 101:
            assert head.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
            body = b""
        else:
            link.ending = "never opened"
            body = await wire.read_body(link.wire, "GET", head)
        if not step.quiet:
            first, *rest = self.answer(head, body)
            for line in (f"WebSocket: {first}", *rest):
                self.note(line)

    async def post(self, target: str, data: bytes) -> None:
        """A message by POST: only an answer other than the usual one is noted."""
        head, body = await self.fetch(Http("POST", target, body=data))
        if (head.status, body) != (200, b""):
            self.note(f"POST: {head.status} {body.decode()}")

    async def events(self, step: Events) -> None:
        """A stream of events."""
        opened = await self.open_wire()
        await opened.send(wire.request("GET", self.fill(step.target), step.headers, b""))
        head = await wire.read_head(opened)
        streams = head.status == 200 and head.chunked
        body = await wire.read_chunk(opened) if streams else await wire.read_body(opened, "GET", head)
        first, *rest = self.answer(head, b"")
        for line in (f"events: {first}", *rest, f"  {body!r}"):
            self.note(line)
        if streams:
            link = EventsLink(opened, lambda data: self.post(step.target, data))
            self._readers[step.on] = Reader(link, self.protocol)

    async def polls(self, step: Polls) -> None:
        """The first poll, whose answer another case has."""

        async def poll() -> tuple[int, bytes]:
            head, body = await self.fetch(Http("GET", step.target))
            return head.status, body

        link = PollsLink(poll, lambda data: self.post(step.target, data))
        self._readers[step.on] = Reader(link, self.protocol)
        await poll()

    # ---- messages

    async def send(self, step: Send) -> None:
        """Messages."""
        link = self._readers[step.on].link
        for message in step.messages:
            await link.send(self.data(message), not isinstance(message, str))

    async def raw(self, step: Raw) -> None:
        """Bytes below the messages."""
        link = self._readers[step.on].link
        assert isinstance(link, WebSocketLink)
        await link.wire.send(step.data)

    async def one(self, on: str, *, quiet: bool = False, items: bool = True) -> str | None:
        """Note the next message, or the end."""
        reader = self._readers[on]
        message = await reader.next()
        who = "" if on == "it" else f"{on} "
        if message is None:
            if not reader.over:
                self.note(f"{who}{reader.link.ending}")
            reader.over = True
            return None
        if (invocation_id := asked(message)) is not None:
            self._given["asked"] = invocation_id
            self._names.asked(invocation_id)
        if not quiet and (items or not is_item(message)):
            self.note(f"{who}{message}")
        return message

    async def read(self, step: Read) -> None:
        """Messages up to some completions."""
        waiting = set(step.until)
        with trio.move_on_after(step.patience) as scope:
            while waiting:
                message = await self.one(step.on, items=step.items)
                if message is None:
                    break
                waiting.discard(completed(message) or "")
        if scope.cancelled_caught:
            self.note(f"silence instead of {sorted(waiting)}")

    async def next(self, step: Next) -> None:
        """Some messages."""
        for _ in range(step.count):
            await self.one(step.on, quiet=step.quiet)

    async def end(self, step: End) -> None:
        """All messages to the end."""
        while await self.one(step.on, quiet=step.broken) is not None:
            pass
        if step.broken:
            assert self.lines.pop() in ("cut", "closed 1002"), "broken frames are not the server's fault"
            self.note("broken off")

    async def leave(self, step: Leave) -> None:
        """The client's close."""
        reader = self._readers[step.on]
        link = reader.link
        assert isinstance(link, WebSocketLink)
        await link.wire.send(wire.frame(wire.CLOSE, b"" if step.code is None else step.code.to_bytes(2)))
        while (message := await self.one(step.on, quiet=True)) is not None:
            if not message.startswith(('text: {"type":7', "binary: [7,")):
                self.note(message)

    async def drop(self, step: Drop) -> None:
        """The client's disappearance."""
        link = self._readers[step.on].link
        assert not isinstance(link, PollsLink)
        await link.wire.aclose()

    async def perform(self, step: Step) -> None:
        """Any step."""
        await getattr(self, type(step).__name__.lower())(step)


async def play(address: str, case: Case) -> str:
    """The record of a case against the server at an address."""
    async with trio.open_nursery() as nursery:
        exchange = Exchange(address, case.protocol, nursery)
        try:
            with trio.move_on_after(3 * PATIENCE) as scope:
                for step in case.steps:
                    await exchange.perform(step)
            if scope.cancelled_caught:
                exchange.note("silence")
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await exchange.aclose()
    return "\n".join(exchange.lines)
