"""A case played against a server leaves a record: a text that can be compared.

It has a line for all that the server did, and nothing that depends on the moment or on the machine: no step waits for
time to pass, each reads up to an answer that must come or to the end of the connection.
"""

import json

import trio

from . import wire
from .links import EventsLink, PollsLink, Reader, WebSocketLink, asked, completed, is_kind, values_of
from .messages import Pack, pack
from .normalise import HEADERS, Names
from .steps import (
    PATIENCE,
    Begin,
    Case,
    Drop,
    End,
    Events,
    Finish,
    Http,
    Learn,
    Leave,
    Negotiate,
    Next,
    Polls,
    Raw,
    Read,
    Requests,
    Send,
    Step,
    Told,
    Upgraded,
    WebSocket,
)
from .wire import Cut, Head, Wire


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
        """A socket that lasts as long as the case."""
        opened = await Wire.open(self.address)
        self._wires.append(opened)
        return opened

    # ---- HTTP

    async def fetch(self, step: Http) -> tuple[Head, bytes]:
        """A request and its answer."""
        headers = [(name, self.fill(value)) for name, value in step.headers]
        request = wire.request(step.method, self.fill(step.target), headers, self.data(step.body))
        opened = await Wire.open(self.address)
        try:
            await opened.send(request)
            head = await wire.read_head(opened)
            return head, await wire.read_body(opened, step.method, head)
        finally:
            await opened.aclose()

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

    async def requests(self, step: Requests) -> None:
        """Requests as they are, and the answers."""
        opened = await self.open_wire()
        for piece in step.pieces:
            await opened.send(piece)
            await trio.lowlevel.checkpoint()
        for _ in range(step.answers):
            head = await wire.read_head(opened)
            for line in self.answer(head, await wire.read_body(opened, "GET", head)):
                self.note(line)

    async def told(self, step: Told) -> None:
        """The log, as soon as it tells of the end."""
        while True:
            _, body = await self.fetch(Http("GET", "/seen?key=<id>"))
            if b"disconnected" in body:
                break
        self.note(f"told: {body.decode()}")

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
        self._readers[step.on] = Reader(WebSocketLink(opened), self.protocol, step.binary)
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

    async def one(
        self, on: str, *, quiet: bool = False, items: bool = True, acks: bool = False
    ) -> str | None:
        """Note the next message, or the end. When acks come is a matter of time: they count only when asked for."""
        reader = self._readers[on]
        message = await reader.next()
        while not acks and message is not None and is_kind(message, 8):
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
        if not quiet and (items or not is_kind(message, 2)):
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
            await self.one(step.on, quiet=step.quiet, acks=step.acks)

    async def learn(self, step: Learn) -> None:
        """A result that is an id."""
        message = await self.one(step.on)
        self._given["id"] = values_of(message or "")["result"]

    async def end(self, step: End) -> None:
        """All messages to the end."""
        while (message := await self.one(step.on, quiet=not step.pings or step.broken)) is not None:
            if not step.pings and not is_kind(message, 6):
                self.note(message)
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
            if not is_kind(message, 2) and not is_kind(message, 7):
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
