"""trio-websocket behind a WebSocket of ours: it takes over where something comes that is not in order.

It is shown an opening, for it has to have one, and whether a message was under way; what follows is its: it knows
how to refuse each violation, and how to end a connection that broke. It also reads all frames of a WebSocket that
is opened without the lane, which is the same tests' other half.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
import trio_websocket

from ...errors import ConnectionClosed
from ...logs import get_logger
from ...tasks import open_background, open_tasks
from .frames import BINARY, encode_frame
from .opening import accept_key, acceptance

logger = get_logger(__name__)

MAXIMUM_WHOLE_MESSAGE = 1 << 20
"""Bytes of a message that trio-websocket puts together in memory; above it the WebSocket closes with 1009."""

_REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_CLEAN_CODES = frozenset((1000, 1001, 1005))
_VIOLATIONS = frozenset((1002, 1003, 1007, 1009))


def end_of(code: int, reason: str) -> ConnectionClosed | None:
    """What a close frame means: ``None`` for an end in good order."""
    if code in _CLEAN_CODES:
        return None
    return ConnectionClosed(
        f"The WebSocket closed with code {code}{f' ({reason})' if reason else ''}.",
        close_code=code,
        server_text=reason,
    )


class _ShownStream(trio.abc.Stream):
    """The socket as trio-websocket sees it: behind an opening that it is shown, and that nobody else sees."""

    def __init__(
        self, stream: trio.abc.Stream, rest: bytes, send: Callable[[bytes], Awaitable[None]], *, masked: bool
    ) -> None:
        self._stream = stream
        self._rest = rest
        self._send = send
        self._incoming = _REQUEST if masked else b""
        self._opened = trio.Event()
        self._masked = masked

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._incoming:
            await self._opened.wait()
            self._incoming, self._rest = self._rest, b""
        if self._incoming:
            await trio.lowlevel.checkpoint()
            data, self._incoming = self._incoming, b""
            return data
        return bytes(await self._stream.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._opened.is_set():
            await self._send(bytes(data))
            return
        self._opened.set()
        if not self._masked:
            asked = re.search(rb"(?i)sec-websocket-key: *(\S+)", bytes(data))
            assert asked is not None
            self._incoming = acceptance(accept_key(asked[1].decode()))

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def open_fallback(
    stream: trio.abc.Stream,
    rest: bytes,
    send: Callable[[bytes], Awaitable[None]],
    *,
    masked: bool,
    fragmented: bool = False,
    to_its_end: bool = False,
) -> AsyncGenerator[trio_websocket.WebSocketConnection]:
    """Have trio-websocket read a WebSocket that is open, for the body.

    Args:
        stream: The socket.
        rest: What has been read of it and is for trio-websocket to read first.
        send: Sends what trio-websocket has to say.
        masked: Whether what comes is masked, so that this is the server's end.
        fragmented: Whether a message is under way.
        to_its_end: Whether the end of the body waits until trio-websocket has ended the WebSocket.
    """
    if fragmented:  # so that it knows, it is shown the beginning of a message
        rest = encode_frame(BINARY & 0x0F, b"", masked=masked) + rest
    shown = _ShownStream(stream, rest, send, masked=masked)
    async with open_tasks() if to_its_end else open_background() as nursery:
        if masked:
            proposal = await trio_websocket.wrap_server_stream(
                nursery, shown, max_message_size=MAXIMUM_WHOLE_MESSAGE
            )
            yield await proposal.accept()
        else:
            yield await trio_websocket.wrap_client_stream(
                nursery,
                shown,  # type: ignore[arg-type]  # any trio stream will do
                "localhost",
                "/",
                max_message_size=MAXIMUM_WHOLE_MESSAGE,
            )


async def next_payload(websocket: trio_websocket.WebSocketConnection, id: str | None) -> bytes:
    """The next message that is not empty, or ``b""`` at an end in good order.

    Raises:
        ConnectionClosed: The WebSocket ended otherwise.
    """
    while True:
        try:
            message = await websocket.get_message()
        except trio_websocket.ConnectionClosed as closed:
            if closed.reason is None:
                return b""
            if closed.reason.code in _VIOLATIONS:
                logger.warning("connection %s broke the WebSocket protocol: %r", id, closed.reason)
            if error := end_of(closed.reason.code, closed.reason.reason or ""):
                raise error from None
            return b""
        if payload := message.encode() if isinstance(message, str) else message:
            return payload
