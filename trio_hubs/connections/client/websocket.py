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


class _UpgradedSocketStream(DirectSocketStream):
    """A plain socket of the HTTP client, which may have read more than the server's answer, and gives that first."""

    def __init__(self, stream: trio.SocketStream, upgraded: _UpgradedStream) -> None:
        super().__init__(stream)
        self._upgraded: _UpgradedStream | None = upgraded

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._upgraded is None:
            return await super().receive_some(max_bytes)
        data = await self._upgraded.receive_some(max_bytes)
        self._upgraded = None
        return data


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
        stream = _stream_of(answer)
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
    return _keep_open(answer, stream, connection)


@asynccontextmanager
async def _keep_open(
    answer: HttpAnswer, stream: trio.abc.Stream, connection: WebSocketConnection
) -> AsyncGenerator[Duplex]:
    try:
        async with connection.opened(b"", express=True):
            yield connection
    finally:
        try:
            await close_at_once(stream)
        finally:
            await answer.response.aclose()


def _stream_of(answer: HttpAnswer) -> trio.abc.Stream:
    """The socket of an answer, from which comes first what has come behind the answer."""
    upgraded: httpcore2.AsyncNetworkStream | None = answer.response.extensions.get("network_stream")
    if upgraded is None:
        raise ConnectionFailed("the HTTP client gives no stream")
    stream = _UpgradedStream(upgraded)
    try:
        socket = None if upgraded.get_extra_info("ssl_object") else upgraded.get_extra_info("socket")
    except AssertionError:  # the HTTP client does not know its kind
        socket = None
    if not isinstance(socket, trio.socket.SocketType):
        return stream
    return _UpgradedSocketStream(trio.SocketStream(socket), stream)
