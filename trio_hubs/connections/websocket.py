"""A WebSocket as a connection: trio-websocket for its manners, the express lane for its data."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import ClassVar
from urllib.parse import quote, urlsplit

import trio
import trio_websocket

from ..errors import ConnectionClosed
from ..logs import get_logger
from ..protocol.hub_protocol import TransferFormat
from ..tasks import open_background, unwrapping
from .connection import Connection
from .direct_socket import DirectSocketStream
from .express import ExpressStream
from .frames import BINARY, CLOSE, TEXT, encode_frame
from .http import Request, public_url

ACCEPT_TIMEOUT = 30.0
"""Seconds that a client has to take our acceptance of its WebSocket."""

CLOSE_TIMEOUT = 5.0
"""Seconds that the peer has to answer our close frame (ASP.NET Core's ``WebSocketOptions.CloseTimeout``)."""

MAXIMUM_WHOLE_MESSAGE = 1 << 20
"""Bytes of a message that trio-websocket puts together in memory, without the express lane; above it the WebSocket
closes with 1009. With the lane, bytes are passed on as they come, and the hub protocol has its own limit.
"""

logger = get_logger(__name__)

NORMAL_CLOSURE = 1000
INTERNAL_ERROR = 1011
_IN_PATH = "/%:@!$&'()*+,;=~"  # what a URL's path may hold as it is
_CLEAN_CODES = frozenset((1000, 1001, 1005))
_VIOLATIONS = frozenset((1002, 1003, 1007, 1009))


class NoWebSocketError(Exception):
    """A request for a WebSocket was not in order; nothing has been answered yet."""


class WebSocketConnection(Connection):
    """A connection over an open WebSocket; made by the functions of this module."""

    # A server's last frame: what goes to many clients, one after the other, is framed once.
    _last: ClassVar[tuple[bytes, TransferFormat, bytes]] = (b"", TransferFormat.TEXT, b"")

    def __init__(
        self,
        id: str | None,
        request: Request,
        stream: ExpressStream,
        websocket: trio_websocket.WebSocketConnection,
        close_timeout: float = CLOSE_TIMEOUT,
    ) -> None:
        super().__init__(id, request)
        self._close_timeout = close_timeout
        self._stream = stream
        self._websocket = websocket
        self._masked = websocket.is_client

    async def receive(self) -> bytes:
        payload = await self._stream.receive_payload()
        while not payload:
            try:
                message = await self._websocket.get_message()
            except trio_websocket.ConnectionClosed as closed:
                if closed.reason is None or closed.reason.code in _CLEAN_CODES:
                    return b""
                if closed.reason.code in _VIOLATIONS:
                    logger.warning("connection %s broke the WebSocket protocol: %r", self.id, closed.reason)
                reason = f" ({closed.reason.reason})" if closed.reason.reason else ""
                raise ConnectionClosed(
                    f"The WebSocket closed with code {closed.reason.code}{reason}."
                ) from None
            payload = message.encode() if isinstance(message, str) else message
        return payload

    async def send(self, data: bytes) -> None:
        await self._stream.send_frame(self._frame(data) if data else b"")

    def send_nowait(self, data: bytes) -> bool:
        framed, transfer_format, frame = WebSocketConnection._last
        if data is framed and self.transfer_format is transfer_format and not self._masked:
            return self._stream.send_frame_nowait(frame)
        return self._stream.send_frame_nowait(self._frame(data))

    @property
    def last_progress(self) -> float:
        return self._stream.last_progress

    @property
    def unsent(self) -> bool:
        return self._stream.unsent

    def _frame(self, data: bytes) -> bytes:
        first = BINARY if self.transfer_format is TransferFormat.BINARY else TEXT
        frame = encode_frame(first, data, masked=self._masked)
        if not self._masked:
            WebSocketConnection._last = data, self.transfer_format, frame
        return frame

    async def close(self, code: int) -> None:
        """Close in good order, in bounded time, also while cancelled; the socket is closed in any case."""
        with trio.move_on_after(self._close_timeout, shield=True):
            try:
                if not self._stream.cut:  # else the peer takes nothing, or could make nothing of it
                    frame = encode_frame(CLOSE, code.to_bytes(2, "big"), masked=self._masked)
                    await self._stream.send_all(frame)
                    while await self.receive():
                        pass  # what the peer sent before it saw our close frame
            except (ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the peer was faster
        await trio.aclose_forcefully(self._stream)


@asynccontextmanager
async def accept_websocket(
    stream: trio.abc.Stream,
    id: str,
    request: Request,
    *,
    head: bytes,
    rest: bytes,
    subprotocol: str | None = None,
    close_timeout: float = CLOSE_TIMEOUT,
    express: bool = True,
) -> AsyncGenerator[WebSocketConnection]:
    """Accept a client's WebSocket and hold it open for the body; then close it.

    It is closed with code 1000, or 1011 when the body raised; in order also when cancelled.

    Args:
        stream: The socket.
        id: The connection's public id.
        request: The upgrade request.
        head: The raw bytes of that request.
        rest: What was read behind it.
        subprotocol: What to name as the chosen subprotocol.
        close_timeout: Seconds that closing may take.
        express: Whether to use the express lane.

    Raises:
        NoWebSocketError: The request is not in order; nothing has been answered yet.
        ConnectionClosed: The client did not take the acceptance.
    """
    lane = ExpressStream(stream, client=False, head=head, rest=rest, express=express)
    del head, rest  # which would be kept as long as the WebSocket
    lane.opening.deadline = trio.current_time() + ACCEPT_TIMEOUT
    websocket = None
    try:
        async with open_background() as nursery:
            with lane.opening:
                proposal = await trio_websocket.wrap_server_stream(
                    nursery, lane, max_message_size=MAXIMUM_WHOLE_MESSAGE
                )
                websocket = await proposal.accept(subprotocol=subprotocol)
            if lane.opening.cancelled_caught and lane.opened:
                raise ConnectionClosed(f"The client did not take our acceptance within {ACCEPT_TIMEOUT:g} s.")
            if websocket is None:
                raise NoWebSocketError("The request for a WebSocket is not in order.")
            connection = WebSocketConnection(id, request, lane, websocket, close_timeout)
            async with _closing(connection):
                yield connection
    except Exception as error:
        if websocket is not None or isinstance(error, (ConnectionClosed, NoWebSocketError)):
            raise
        # Some requests upset trio-websocket more than it can say.
        raise NoWebSocketError("The request for a WebSocket is not in order.") from error


@asynccontextmanager
async def open_websocket(
    url: str,
    id: str | None,
    *,
    headers: Mapping[str, str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    timeout: float = 30.0,
    express: bool = True,
) -> AsyncGenerator[WebSocketConnection]:
    """Connect to a server's WebSocket and hold it open for the body; then close it.

    Args:
        url: An ``http``, ``https``, ``ws`` or ``wss`` URL, with its query.
        id: The connection's public id, where negotiation gave one.
        headers: Further headers of the request.
        ssl_context: For ``https`` and ``wss``; the system's defaults by default.
        timeout: Seconds that connecting may take.
        express: Whether to use the express lane.

    Raises:
        ConnectionClosed: The server could not be reached or did not accept.
    """
    shown = public_url(url)
    parts = urlsplit(url)
    secure = parts.scheme in ("https", "wss")
    host = parts.hostname or ""
    port = parts.port or (443 if secure else 80)
    target = quote(parts.path or "/", safe=_IN_PATH) + (
        f"?{quote(parts.query, safe=_IN_PATH + '?')}" if parts.query else ""
    )
    deadline = trio.current_time() + timeout
    try:
        with unwrapping(), trio.fail_at(deadline):
            socket = await trio.open_tcp_stream(host, port)
    except trio.TooSlowError:
        raise ConnectionClosed(f"Cannot connect to {host}:{port} within {timeout:g} s.") from None
    except OSError as error:
        raise ConnectionClosed(f"Cannot connect to {host}:{port}: {error}") from error
    stream: trio.abc.Stream
    if secure:
        context = ssl_context or ssl.create_default_context()
        stream = trio.SSLStream(socket, context, server_hostname=host, https_compatible=True)
    else:
        stream = DirectSocketStream(socket)
    lane = ExpressStream(stream, client=True, express=express)
    lane.opening.deadline = deadline
    websocket = None
    try:
        async with open_background() as nursery:
            with lane.opening:
                websocket = await trio_websocket.wrap_client_stream(
                    nursery,
                    lane,  # type: ignore[arg-type]  # any trio stream will do
                    parts.netloc.rpartition("@")[2],
                    target,
                    extra_headers=[(name.encode(), text.encode()) for name, text in (headers or {}).items()],
                    max_message_size=MAXIMUM_WHOLE_MESSAGE,
                )
            if websocket is None:
                raise ConnectionClosed(f"The server did not open a WebSocket at {shown}: {lane.refusal}.")
            connection = WebSocketConnection(id, Request(path=parts.path), lane, websocket)
            async with _closing(connection):
                yield connection
    except Exception as error:
        if websocket is not None or isinstance(error, ConnectionClosed):
            raise
        # An answer that accepts nothing upsets trio-websocket, which tries to refuse it as if it were the server.
        raise ConnectionClosed(f"The server did not open a WebSocket at {shown}: {lane.refusal}.") from error
    finally:
        await trio.aclose_forcefully(lane)


@asynccontextmanager
async def _closing(connection: WebSocketConnection) -> AsyncGenerator[None]:
    code = NORMAL_CLOSURE
    try:
        yield
    except Exception:  # which cancellation is none
        code = INTERNAL_ERROR
        raise
    finally:
        await connection.close(code)
