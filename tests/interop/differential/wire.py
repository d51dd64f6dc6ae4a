"""A client that knows only bytes: HTTP/1.1 and WebSocket frames on a bare socket, so that nothing is mended on the way.

What the other side does is taken as it comes; where it breaks off in the midst of something, `Cut` says so.
"""

from collections.abc import Mapping, Sequence
from typing import Self
from urllib.parse import urlsplit

import attrs
import trio

from tests.connections.websocket import websocket_peer

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Cut(Exception):
    """The socket ended where more had to come."""


class Wire:
    """A socket with what was read ahead of need."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._ahead = bytearray()

    @classmethod
    async def open(cls, address: str) -> Self:
        """Connect to `http://HOST:PORT`."""
        where = urlsplit(address)
        assert where.hostname is not None
        assert where.port is not None
        return cls(await trio.open_tcp_stream(where.hostname, where.port))

    async def aclose(self) -> None:
        """Give the socket back."""
        await self._stream.aclose()

    async def send(self, data: bytes) -> None:
        """Send bytes; a peer that has gone already shows when it is read from."""
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            await trio.lowlevel.checkpoint()

    async def _more(self) -> None:
        try:
            data = await self._stream.receive_some(65536)
        except trio.BrokenResourceError:
            data = b""
        if not data:
            raise Cut
        self._ahead += data

    def _take(self, count: int) -> bytes:
        data = bytes(self._ahead[:count])
        del self._ahead[:count]
        return data

    async def exactly(self, count: int) -> bytes:
        """The next `count` bytes."""
        while len(self._ahead) < count:
            await self._more()
        return self._take(count)

    async def through(self, mark: bytes) -> bytes:
        """All bytes through the next `mark`, without it."""
        while (at := self._ahead.find(mark)) < 0:
            await self._more()
        return self._take(at + len(mark))[: -len(mark)]

    async def to_the_end(self) -> bytes:
        """All bytes until the peer closes."""
        try:
            while True:
                await self._more()
        except Cut:
            return self._take(len(self._ahead))


# ---- HTTP/1.1


@attrs.frozen
class Head:
    """A status line and its headers, names in lower case."""

    status: int
    headers: Mapping[str, str]

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return self.headers.get("transfer-encoding", "").lower() == "chunked"


def request(method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
    """A request's bytes; a body comes in chunks where the headers say so, else with its length."""
    lines = [f"{method} {target} HTTP/1.1", "Host: differential.test"]
    lines += [f"{name}: {value}" for name, value in headers]
    if ("Transfer-Encoding", "chunked") in headers:
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:7], body[7:], b""))
    elif body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def read_head(wire: Wire) -> Head:
    """The head of the next response."""
    first, *lines = (await wire.through(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Head(int(first.split(" ")[1]), headers)


async def read_chunk(wire: Wire) -> bytes:
    """The next chunk of a body; empty at its end."""
    data = await wire.exactly(int((await wire.through(b"\r\n")).split(b";")[0], 16))
    assert await wire.exactly(2) == b"\r\n"
    return data


async def read_body(wire: Wire, method: str, head: Head) -> bytes:
    """The whole body of a response."""
    if method == "HEAD" or head.status in (101, 204, 304):
        return b""
    if head.chunked:
        body = b""
        while chunk := await read_chunk(wire):
            body += chunk
        return body
    if "content-length" in head.headers:
        return await wire.exactly(int(head.headers["content-length"]))
    return await wire.to_the_end()


# ---- WebSocket frames


def frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """A client's frame, or one that no client may send."""
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    return websocket_peer.frame(first, payload, masked=masked)


async def read_frame(wire: Wire) -> tuple[int, bytes]:
    """The opcode and payload of a server's next frame, which must not be masked."""
    first, second = await wire.exactly(2)
    assert second < 0x80, "a server's frame is masked"
    length = second
    if length == 126:
        length = int.from_bytes(await wire.exactly(2))
    elif length == 127:
        length = int.from_bytes(await wire.exactly(8))
    return first & 0x0F, await wire.exactly(length)
