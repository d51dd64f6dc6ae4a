"""The WebSocket as a client's transport: the HTTP client's request is answered with 101, and its socket is ours."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpcore2
import trio

from ...errors import ConnectionClosed, ConnectionFailed
from ..direct_socket import DirectSocketStream, close_at_once
from ..duplex import Duplex
from ..http import public_url
from ..websocket import WebSocketConnection
from ..websocket.opening import new_key, opens, request_headers
from .negotiation import ConnectTarget
from .requests import HttpAnswer, Requests

_READ_SIZE = 64 * 1024
_MOST_EARLY_BYTES = 1 << 20  # behind the server's answer; the HTTP client reads less


class _UpgradedStream(trio.abc.Stream):
    """A stream of the HTTP client as one of trio's."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            return await self._stream.read(max_bytes or _READ_SIZE)
        except httpcore2.NetworkError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._stream.write(bytes(data))
        except httpcore2.NetworkError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def start_websocket(requests: Requests, target: ConnectTarget) -> AbstractAsyncContextManager[Duplex]:
    """Open a server's WebSocket. A checkpoint.

    Returns:
        A context manager that gives the connection, and closes it in order at its end.

    Raises:
        ConnectionClosed: The server did not open it.
    """
    key = new_key()
    answer = None
    try:
        answer = await requests.send("GET", target.url, headers=request_headers(key), grant=target.grant)
        response = answer.response
        line = f"{response.http_version} {response.status_code} {response.reason_phrase}"
        if not line.startswith("HTTP/1.1 101 ") or not opens(response.headers, key):
            error = await answer.failure()
            raise error.retold(ConnectionFailed, f"it answered '{line}'")
        stream, early = await _stream_of(answer)
    except ConnectionFailed as error:
        raise error.retold(
            ConnectionClosed, f"The server did not open a WebSocket at {public_url(target.url)}: {error}."
        ) from error.__cause__
    except BaseException:
        if answer is not None:
            with trio.CancelScope() as scope:
                scope.cancel()
                await answer.response.aclose()
        raise
    connection = WebSocketConnection(target.connection_id, target.request, stream, masked=False)
    return _keep_open(answer, stream, connection, early)


@asynccontextmanager
async def _keep_open(
    answer: HttpAnswer, stream: trio.abc.Stream, connection: WebSocketConnection, early: bytes
) -> AsyncGenerator[Duplex]:
    try:
        async with connection.opened(early, express=True):
            yield connection
    finally:
        try:
            await close_at_once(stream)
        finally:
            await answer.response.aclose()


async def _stream_of(answer: HttpAnswer) -> tuple[trio.abc.Stream, bytes]:
    """The socket of an answer, and what has come behind the answer."""
    upgraded: httpcore2.AsyncNetworkStream | None = answer.response.extensions.get("network_stream")
    if upgraded is None:
        raise ConnectionFailed("the HTTP client gives no stream")
    stream = _UpgradedStream(upgraded)
    try:
        socket = None if upgraded.get_extra_info("ssl_object") else upgraded.get_extra_info("socket")
    except AssertionError:  # the HTTP client does not know its kind
        socket = None
    if not isinstance(socket, trio.socket.SocketType):
        return stream, b""
    early = b""
    with trio.CancelScope() as scope:  # what has come already needs no waiting, and nothing else is wanted
        scope.cancel()
        early = await upgraded.read(_MOST_EARLY_BYTES)
    return DirectSocketStream(trio.SocketStream(socket)), early
