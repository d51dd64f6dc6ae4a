"""The raw other end of a WebSocket, in memory, and a stream that fills up: for the tests of this floor.

The peer sends what a test says, byte for byte. It has a codec of its own, so that both sides cannot be wrong alike.
Whatever is awaited here fails after a while of virtual time instead of hanging.
"""

import base64
import hashlib
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal, TypeAlias
from unittest import mock

import trio
from httpcore2._backends.trio import TrioStream
from trio.testing import MemoryReceiveStream, MemorySendStream, memory_stream_pair

from trio_hubs.connections.direct_socket import DirectSocketStream, close_at_once
from trio_hubs.connections.http import Request
from trio_hubs.connections.websocket import WebSocketConnection, accept_websocket

Side: TypeAlias = Literal["server", "client"]
Frame: TypeAlias = tuple[int, bytes]

CONTINUE, PARTIAL_TEXT, PARTIAL_BINARY, LAST = 0x00, 0x01, 0x02, 0x80
TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A

KEY = b"\x01\x82\x37\xfe"
UPGRADE = (
    b"GET /chat?id=7 HTTP/1.1\r\nHost: example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
OPENING = Request(headers={"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="})
PATIENCE = 1000.0
"""Virtual seconds after which nothing more can be expected."""


def frame(first: int, payload: bytes = b"", *, masked: bool, key: bytes = KEY) -> bytes:
    """A frame with any first byte."""
    size = len(payload)
    if size < 126:
        length = bytes((size,))
    elif size < 65536:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    if not masked:
        return bytes((first,)) + length + payload
    turned = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
    return bytes((first, length[0] | 0x80)) + length[1:] + key + turned


def take_frame(data: bytes, *, masked: bool) -> tuple[Frame, bytes] | None:
    """The first of the frames and what is behind it; None while it is not whole."""
    if len(data) < 2:
        return None
    assert bool(data[1] & 0x80) is masked
    size, at = data[1] & 0x7F, 2
    if size > 125:
        at += 2 if size == 126 else 8
        size = int.from_bytes(data[2:at], "big")
    key = data[at : at + 4] if masked else b"\0\0\0\0"
    at += 4 * masked
    if len(data) < at + size:
        return None
    payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(data[at : at + size]))
    return (data[0], payload), data[at + size :]


def close_payload(code: int, reason: str = "") -> bytes:
    """What a close frame carries."""
    return code.to_bytes(2, "big") + reason.encode()


def with_length(masked: bool, length: bytes, first: int = BINARY) -> bytes:
    """The beginning of a frame with its length as it is given."""
    return bytes((first, length[0] | 0x80 * masked)) + length[1:] + bytes(100)


BAD_FRAMES: dict[str, Callable[[bool], bytes]] = {
    "a reserved bit": lambda masked: frame(TEXT | 0x40, b"x", masked=masked),
    "the second reserved bit": lambda masked: frame(TEXT | 0x20, b"x", masked=masked),
    "the third reserved bit": lambda masked: frame(BINARY | 0x10, b"x", masked=masked),
    "a reserved bit of a ping": lambda masked: frame(PING | 0x40, b"x", masked=masked),
    "an unknown data opcode": lambda masked: frame(0x83, b"x", masked=masked),
    "an unknown control opcode": lambda masked: frame(0x8B, b"x", masked=masked),
    "the wrong masking": lambda masked: frame(TEXT, b"x", masked=not masked),
    "the wrong masking of a ping": lambda masked: frame(PING, b"x", masked=not masked),
    "a long length for a short one": lambda masked: with_length(masked, b"\x7e\x00\x7d"),
    "the longest length for a long one": lambda masked: with_length(
        masked, b"\x7f" + (65_535).to_bytes(8, "big")
    ),
    "a length with its top bit set": lambda masked: with_length(masked, b"\x7f\x80" + bytes(7)),
    "a long ping": lambda masked: frame(PING, bytes(126), masked=masked),
    "a huge pong": lambda masked: with_length(masked, b"\x7f" + (1 << 40).to_bytes(8, "big"), PONG),
    "a long close": lambda masked: frame(CLOSE, bytes(126), masked=masked),
    "a ping in fragments": lambda masked: frame(PING & 0x7F, b"x", masked=masked),
    "a fragment of nothing": lambda masked: frame(CONTINUE, b"x", masked=masked),
    "an end of nothing": lambda masked: frame(LAST, b"x", masked=masked),
    "a message inside another": lambda masked: (
        frame(PARTIAL_TEXT, masked=masked) + frame(TEXT, masked=masked)
    ),
    "a close of one byte": lambda masked: frame(CLOSE, b"\x03", masked=masked),
    "a close with a code that is never sent": lambda masked: frame(CLOSE, close_payload(1005), masked=masked),
    "a close with a code that is none": lambda masked: frame(CLOSE, close_payload(999), masked=masked),
}
"""What RFC 6455 forbids, by what is wrong with it, for a sender that masks or not."""


class Peer:
    """One end of a stream, which sends and reads raw bytes.

    Args:
        stream: The stream.
        client: Whether it plays the client: then its frames are masked.
    """

    def __init__(self, stream: trio.abc.Stream, *, client: bool) -> None:
        self.stream = stream
        self.client = client
        self._received = b""

    def frame(self, first: int, payload: bytes = b"") -> bytes:
        return frame(first, payload, masked=self.client)

    async def send(self, *frames: bytes) -> None:
        await self.stream.send_all(b"".join(frames))

    async def send_close(self, code: int = 1000, reason: str = "") -> None:
        await self.send(self.frame(CLOSE, close_payload(code, reason)))

    async def next_frame(self) -> Frame:
        """Wait for a whole frame of the other side."""
        with trio.fail_after(PATIENCE):
            while (taken := take_frame(self._received, masked=not self.client)) is None:
                more = bytes(await self.stream.receive_some())
                assert more, "the other side ended"
                self._received += more
        first, self._received = taken
        return first

    async def rest(self) -> list[Frame]:
        """Wait for the end of the stream; the frames until then, of which none may be cut."""
        with trio.fail_after(PATIENCE):
            while more := bytes(await self.stream.receive_some()):
                self._received += more
        frames: list[Frame] = []
        while self._received:
            taken = take_frame(self._received, masked=not self.client)
            assert taken is not None, f"a cut frame: {self._received!r}"
            frames.append(taken[0])
            self._received = taken[1]
        return frames

    async def head(self) -> bytes:
        """Wait for the head of an HTTP message."""
        with trio.fail_after(PATIENCE):
            while b"\r\n\r\n" not in self._received:
                more = bytes(await self.stream.receive_some())
                assert more, "the other side ended"
                self._received += more
        head, blank, self._received = self._received.partition(b"\r\n\r\n")
        return head + blank


class NarrowSendStream(trio.abc.SendStream):
    """Takes so many bytes and then no more, as a socket does whose peer does not read.

    Attributes:
        room: How many bytes it still takes.
    """

    def __init__(self, stream: trio.abc.SendStream) -> None:
        self._stream = stream
        self.room = sys.maxsize

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        part = bytes(data)[: self.room]
        self.room -= len(part)
        await self._stream.send_all(part)
        if len(part) < len(data):
            await trio.sleep_forever()

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


class DirectStream(DirectSocketStream):
    """A stream in memory that takes some bytes at once, as a socket does.

    Attributes:
        room: How many bytes it takes at once.
        ready: Set while it takes those that are waited for.
    """

    def __init__(
        self,
        near: trio.StapledStream[MemorySendStream, MemoryReceiveStream],
        far: MemoryReceiveStream,
        room: int,
    ) -> None:
        self._near = near
        self._far = far
        self.room = room
        self.ready = trio.Event()
        self.ready.set()

    def send_nowait(self, data: bytes | memoryview) -> int:
        part = data[: self.room]
        self._far.put_data(part)
        return len(part)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.ready.wait()
        await self._near.send_all(data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._near.receive_some(max_bytes))

    def close(self) -> None:
        self._near.send_stream.close()
        self._near.receive_stream.close()

    async def aclose(self) -> None:
        await self._near.aclose()


def direct_stream_pair(room: int) -> tuple[DirectStream, trio.abc.Stream]:
    """Two connected streams; the first takes so many bytes at once."""
    near, far = memory_stream_pair()
    return DirectStream(near, far.receive_stream, room), far


def narrow_stream_pair() -> tuple[
    trio.StapledStream[NarrowSendStream, trio.abc.ReceiveStream], trio.abc.Stream
]:
    """Two connected streams; what the first sends may be held up by its ``send_stream.room``."""
    near, far = memory_stream_pair()
    return trio.StapledStream(NarrowSendStream(near.send_stream), near.receive_stream), far


class BreakingStream(trio.abc.Stream):
    """A stream that breaks when it is told to, as a socket does on a reset."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.broken = trio.Event()

    async def _until_broken(self, call: Awaitable[bytes | bytearray]) -> bytes:
        data = b""
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                nonlocal data
                data = bytes(await call)
                nursery.cancel_scope.cancel()

            await self.broken.wait()
            nursery.cancel_scope.cancel()
        if not data:
            raise trio.BrokenResourceError
        return data

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._until_broken(self._stream.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.broken.is_set():
            raise trio.BrokenResourceError
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


def acceptance(head: bytes) -> bytes:
    """The answer that opens the WebSocket which a request asks for."""
    key = next(line[19:] for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key: "))
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )


@contextmanager
def connected_to(stream: trio.abc.Stream) -> Iterator[list[tuple[str, int]]]:
    """Have the next connections lead to this stream; gives the list of where they wanted to go."""
    places: list[tuple[str, int]] = []

    async def open_tcp_stream(host: str, port: int, **_: object) -> trio.abc.Stream:
        places.append((host, port))
        return stream

    with connecting_by(open_tcp_stream):
        yield places


@contextmanager
def connecting_by(open_tcp_stream: Callable[..., Awaitable[trio.abc.Stream]]) -> Iterator[None]:
    """Have connections made so, to streams that need not be sockets."""
    with (
        mock.patch.object(trio, "open_tcp_stream", open_tcp_stream),
        mock.patch.object(TrioStream, "get_extra_info", _extra_info),
    ):
        yield


def _extra_info(stream: TrioStream, info: str) -> Any:
    """What the HTTP client asks of a stream, which need not be a socket here."""
    if info == "ssl_object" and isinstance(stream._stream, trio.SSLStream):
        return stream._stream
    return None


@asynccontextmanager
async def open_pair(
    side: Side,
    *,
    express: bool = True,
    near: trio.abc.Stream | None = None,
    far: trio.abc.Stream | None = None,
) -> AsyncGenerator[tuple[WebSocketConnection, Peer]]:
    """Open a WebSocket of ours on one side, with a raw peer on the other.

    Args:
        side: What we are.
        express: Whether to use the express lane.
        near: The stream we stand on; one in memory by default.
        far: The peer's stream.
    """
    if near is None or far is None:
        near, far = memory_stream_pair()
    peer = Peer(far, client=side == "server")
    with trio.fail_after(PATIENCE):
        if side == "server":
            async with accept_websocket(near, "id", OPENING, rest=b"", express=express) as connection:
                assert (await peer.head()).startswith(b"HTTP/1.1 101 ")
                yield connection, peer
        else:
            connection = WebSocketConnection("id", OPENING, near, masked=False)
            try:
                async with connection.opened(b"", express=express):
                    yield connection, peer
            finally:
                await close_at_once(near)


async def receive_all(connection: WebSocketConnection, size: int) -> bytes:
    """So many bytes, and not one more."""
    received = b""
    while len(received) < size:
        data = await connection.receive()
        assert data, "the connection ended"
        received += data
    assert len(received) == size
    return received


def open_stream_to(
    nursery: trio.Nursery, serve: Callable[[trio.abc.Stream], Awaitable[None]]
) -> trio.abc.Stream:
    """A client's stream to a server that serves it in a nursery."""
    near, far = memory_stream_pair()
    nursery.start_soon(serve, near)
    return far
