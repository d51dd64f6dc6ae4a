"""A WebSocket as a connection: read in the task that wants the data, with no task of its own.

Frames in order are taken apart and answered here. The first that is not in order is shown to trio-websocket, and
what follows is its: see :mod:`.fallback`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Hashable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from copy import copy
from math import inf

import trio
import trio_websocket

from ...errors import ConnectionClosed
from ...protocol.hub_protocol import TransferFormat
from ..direct_socket import DirectSocketStream, close_at_once
from ..duplex import Duplex
from ..http import Request
from .fallback import end_of, next_payload, open_fallback
from .frame_reader import FrameReader
from .frames import BINARY, CLOSE, TEXT, encode_frame
from .opening import accept_key, acceptance

ACCEPT_TIMEOUT = 30.0
"""Seconds that a client has to take our acceptance of its WebSocket."""

CLOSE_TIMEOUT = 5.0
"""Seconds that the peer has to answer our close frame (ASP.NET Core's ``WebSocketOptions.CloseTimeout``)."""

READ_SIZE = 64 * 1024
"""Bytes of one read, and of what waits to answer pings."""

NORMAL_CLOSURE = 1000
INTERNAL_ERROR = 1011


class WebSocketConnection(Duplex):
    """A connection over an open WebSocket; made by the functions of this module.

    Args:
        id: The connection's public id.
        request: The request that opened it.
        stream: The socket.
        masked: Whether what comes is masked, as on the server's end; then what goes is not.
        close_timeout: Seconds that closing may take.
    """

    def __init__(
        self,
        id: str | None,
        request: Request,
        stream: trio.abc.Stream,
        *,
        masked: bool,
        close_timeout: float = CLOSE_TIMEOUT,
    ) -> None:
        super().__init__(id, request)
        self._stream = stream
        self._direct = stream if isinstance(stream, DirectSocketStream) else None
        self._close_timeout = close_timeout
        self._reader = FrameReader(masked=masked)
        self._payload = b""
        self._fallback: trio_websocket.WebSocketConnection | None = None
        self._end: ConnectionClosed | None = None  # how it ended, once trio-websocket has seen that
        self._send_lock = trio.Lock()
        self._cut = False  # a frame is being sent, or was and was cut, after which nothing more can be sent
        self._closing = False  # a close frame is out, so nothing more may be sent
        self._unsent = b""  # of a frame of which the socket has taken a part
        self._last_progress = -inf

    # ---- reading

    async def receive(self) -> bytes:
        reader = self._reader
        while True:
            if reader.pongs:
                await self._answer_pings()
            if payload := self._payload:  # kept meanwhile, so that a cancelled call loses nothing
                self._payload = b""
                return payload
            if reader.ended:
                return await self._receive_end()
            try:
                data = bytes(await self._stream.receive_some(READ_SIZE))
            except trio.BrokenResourceError:
                data = b""
            if data:
                self._payload = reader.feed(data)
            else:
                reader.odd = True  # for a close frame should have come before the end

    async def _receive_end(self) -> bytes:
        """Answer the peer's close frame, or have trio-websocket deal with what is not in order."""
        if self._reader.closed is not None:
            code, reason = self._reader.closed
            if self._closing:
                await trio.lowlevel.checkpoint()
            else:
                with trio.move_on_after(self._close_timeout):
                    await self._send_close(NORMAL_CLOSURE if code == 1005 else code, reason)
            if error := end_of(code, reason):
                raise error
            return b""
        if self._fallback is not None:
            return await next_payload(self._fallback, self.id)
        if self._end is not None:
            raise copy(self._end)
        self._end = ConnectionClosed("The WebSocket was not read to its end.")  # should this be cancelled
        with trio.move_on_after(self._close_timeout):
            async with self._open_fallback(to_its_end=True) as websocket:
                try:
                    await next_payload(websocket, self.id)
                except ConnectionClosed as end:
                    self._end = end
        raise copy(self._end)

    def _open_fallback(
        self, *, to_its_end: bool
    ) -> AbstractAsyncContextManager[trio_websocket.WebSocketConnection]:
        rest, self._reader.rest = self._reader.rest, b""
        return open_fallback(
            self._stream,
            rest,
            self._send_odd,
            masked=self._reader.masked,
            fragmented=self._reader.fragmented,
            to_its_end=to_its_end,
        )

    async def _answer_pings(self) -> None:
        # The next sender of a frame sends them, too; but not more and more of them.
        if not self._send_lock.locked() or len(self._reader.pongs) > READ_SIZE:
            async with self._send_lock:
                if self._cut or self._closing:
                    self._reader.pongs = b""
                else:
                    with suppress(ConnectionClosed):  # what breaks on the way out shows on the way in
                        await self._send_all(b"")

    # ---- sending

    def _frame(self, data: bytes) -> bytes:
        first = BINARY if self.transfer_format is TransferFormat.BINARY else TEXT
        return encode_frame(first, data, masked=not self._reader.masked)

    def send_nowait(self, data: bytes, packed: dict[Hashable, bytes] | None = None) -> bool:
        if self._direct is None or self._cut or self._closing or self._unsent:
            return False
        if packed is None or not self._reader.masked:  # each frame of a client has its own mask
            frame = self._frame(data)
        elif (known := packed.get(self.transfer_format)) is not None:
            frame = known
        else:
            frame = packed[self.transfer_format] = self._frame(data)
        sent = self._direct.send_nowait(frame)
        if sent == 0:
            return False
        if sent < len(frame):
            self._unsent = frame[sent:]
        return True

    async def send(self, data: bytes) -> None:
        async with self._send_lock:
            if self._cut or self._closing:
                raise ConnectionClosed("The WebSocket is closing.")
            await self._send_all(self._frame(data) if data else b"")

    async def _send_all(self, frame: bytes) -> None:
        """Send a frame, before it what another has left, and answers to pings; the lock must be held."""
        self._cut = True
        try:
            while True:
                pongs, self._reader.pongs = self._reader.pongs, b""
                rest = memoryview(self._unsent + pongs + frame)
                self._unsent = frame = b""
                if not rest:
                    break
                while rest:
                    sent = 0
                    if (
                        self._direct is not None and len(rest) <= READ_SIZE
                    ):  # else others have a turn meanwhile
                        sent = self._direct.send_nowait(rest)
                    if not sent:
                        await self._stream.send_all(rest[:READ_SIZE])
                    rest = rest[sent or READ_SIZE :]
                    self._last_progress = trio.current_time()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ConnectionClosed("The WebSocket broke.") from None
        self._cut = False

    async def _send_close(self, code: int, reason: str = "") -> None:
        """Send a close frame, unless one is out already, or nothing can be sent any more."""
        async with self._send_lock:
            if not (self._cut or self._closing):
                with suppress(ConnectionClosed):  # the peer was faster
                    await self._send_all(self._close_frame(code, reason))
                    self._closing = True

    async def _send_odd(self, data: bytes) -> None:
        """Send what trio-websocket has to say."""
        closing = data[0] == CLOSE
        if closing and not data[1] & 0x7F:  # it answers a close without a code in kind
            data = self._close_frame(NORMAL_CLOSURE)
        async with self._send_lock:
            if not (self._cut or self._closing):
                with suppress(
                    ConnectionClosed
                ):  # it shows on the way in, where trio-websocket is ready for it
                    await self._send_all(data)
                    self._closing = closing

    def _close_frame(self, code: int, reason: str = "") -> bytes:
        return encode_frame(CLOSE, code.to_bytes(2, "big") + reason.encode(), masked=not self._reader.masked)

    @property
    def last_progress(self) -> float:
        return self._last_progress

    @property
    def unsent(self) -> bool:
        return bool(self._unsent)

    # ---- the end

    def give_up(self) -> None:
        self._cut = True

    async def close(self, code: int) -> None:
        """Close in good order, in bounded time, also while cancelled."""
        if self._closing and self._reader.closed is not None:
            return
        with trio.move_on_after(self._close_timeout, shield=True):
            if not self._cut:  # else the peer takes nothing, or could make nothing of it
                await self._send_close(code)
                with suppress(ConnectionClosed, trio.ClosedResourceError):  # the peer was faster
                    while await self.receive():
                        pass  # what the peer sent before it saw our close frame

    @asynccontextmanager
    async def opened(self, rest: bytes, *, express: bool) -> AsyncGenerator[None]:
        """Hold it open for the body, then close it: with code 1000, or 1011 when the body raised.

        Args:
            rest: What has been read behind the opening.
            express: Whether frames in order are read here, rather than by trio-websocket from the first byte on.
        """
        async with AsyncExitStack() as stack:
            code = NORMAL_CLOSURE
            try:
                if express:
                    self._payload = self._reader.feed(rest)
                else:
                    self._reader.odd, self._reader.rest = True, rest
                    self._fallback = await stack.enter_async_context(self._open_fallback(to_its_end=False))
                del rest
                yield
            except Exception:  # not a cancellation
                code = INTERNAL_ERROR
                raise
            finally:
                await self.close(code)


@asynccontextmanager
async def accept_websocket(
    stream: trio.abc.Stream,
    id: str,
    request: Request,
    *,
    rest: bytes,
    subprotocol: str | None = None,
    headers: Iterable[tuple[bytes, bytes]] = (),
    close_timeout: float = CLOSE_TIMEOUT,
    express: bool = True,
) -> AsyncGenerator[WebSocketConnection]:
    """Accept a client's WebSocket and hold it open for the body; then close it.

    It is closed with code 1000, or 1011 when the body raised; in order also when cancelled.

    Args:
        stream: The socket.
        id: The connection's public id.
        request: The upgrade request, which must be in order.
        rest: What was read behind it.
        subprotocol: What to name as the chosen subprotocol.
        headers: Further headers of the acceptance, which must be in order.
        close_timeout: Seconds that closing may take.
        express: Whether frames in order are read here, rather than by trio-websocket from the first byte on.

    Raises:
        ConnectionClosed: The client did not take the acceptance.
    """
    try:
        accepted = accept_key(request.headers["sec-websocket-key"])
        await _accept(stream, acceptance(accepted, subprotocol, headers))
        connection = WebSocketConnection(id, request, stream, masked=True, close_timeout=close_timeout)
        async with connection.opened(rest, express=express):
            del rest  # which would be kept as long as the WebSocket
            yield connection
    finally:
        await close_at_once(stream)


async def _accept(stream: trio.abc.Stream, answer: bytes) -> None:
    sent = stream.send_nowait(answer) if isinstance(stream, DirectSocketStream) else 0
    if sent == len(answer):
        return
    try:
        with trio.fail_after(ACCEPT_TIMEOUT):
            await stream.send_all(answer[sent:])
    except trio.TooSlowError:
        raise ConnectionClosed(
            f"The client did not take our acceptance within {ACCEPT_TIMEOUT:g} s."
        ) from None
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        raise ConnectionClosed("The client left.") from None
