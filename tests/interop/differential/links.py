"""A link is a connection of any transport: bytes go out and come in; a reader finds the messages in them.

What a transport puts around its bytes is checked here, and is gone behind it.
"""

import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import msgspec

from . import wire
from .messages import RECORD
from .normalise import one_notation
from .wire import Cut, Wire


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
    post: Callable[[bytes], Awaitable[None]]
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

    poll: Callable[[], Awaitable[tuple[int, bytes]]]
    post: Callable[[bytes], Awaitable[None]]
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
                return body
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


def is_kind(message: str, kind: int) -> bool:
    """Whether a message is of a type."""
    match values_of(message):
        case {"type": found} | [found, *_]:
            return bool(found == kind)
        case _:
            return False


def asked(message: str) -> str | None:
    """The id of the invocation by which the server asks for a result."""
    match values_of(message):
        case {"type": 1, "invocationId": str(id)} | [1, _, str(id), *_]:
            return id
        case _:
            return None
