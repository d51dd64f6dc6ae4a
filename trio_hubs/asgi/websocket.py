"""A WebSocket by ASGI's messages, as a connection: whole messages come and go, and all else is the server's.

Frames, pings, compression and the largest message are no matter of an ASGI application. Where a message ends means
nothing to SignalR's sessions, so what comes is a duplex of bytes like any other.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from copy import copy
from math import inf
from typing import Any

import trio

from ..connections.duplex import Duplex
from ..connections.http import Request
from ..connections.websocket.fallback import end_of
from ..connections.websocket.websocket import INTERNAL_ERROR, NORMAL_CLOSURE
from ..errors import ConnectionClosed
from ..protocol.hub_protocol import TransferFormat
from .messages import Outlet, Receive


class AsgiWebSocket(Duplex):
    """A connection in a ``websocket`` scope that was accepted.

    Args:
        id: The connection's public id.
        request: The request that opened it.
        receive: The server's.
        outlet: Sends what goes.
        close_timeout: Seconds that the client has to answer our close.
    """

    def __init__(
        self, id: str, request: Request, receive: Receive, outlet: Outlet, *, close_timeout: float
    ) -> None:
        super().__init__(id, request)
        self._receive = receive
        self._outlet = outlet
        self._close_timeout = close_timeout
        self._ended = False
        self._end: ConnectionClosed | None = None  # how, if not in good order
        self._given_up = False
        self._last_progress = -inf

    async def receive(self) -> bytes:
        while not self._ended:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._ended = True
                self._end = end_of(message.get("code", 1005), message.get("reason") or "")
                break
            text = message.get("text")
            if data := bytes(message.get("bytes") or b"") if text is None else text.encode():
                return data
        await trio.lowlevel.checkpoint()
        if self._end is not None:
            raise copy(self._end)
        return b""

    async def send(self, data: bytes) -> None:
        if not data:
            await trio.lowlevel.checkpoint()
            return
        await self._outlet.send("websocket.send", **self._message(data))
        self._last_progress = trio.current_time()

    def _message(self, data: bytes) -> dict[str, Any]:
        if self.transfer_format is TransferFormat.TEXT:
            with suppress(UnicodeDecodeError):  # of bytes that somebody calls text
                return {"text": data.decode()}
        return {"bytes": data}

    @property
    def last_progress(self) -> float:
        return self._last_progress

    def give_up(self) -> None:
        self._given_up = True

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Hold it open for the body, then close it: with code 1000, or 1011 when the body raised.

        It is closed in bounded time, also while cancelled; but then the client is not heard out, as the server may read
        no more.
        """
        code = NORMAL_CLOSURE
        try:
            yield
        except Exception:  # not a cancellation
            code = INTERNAL_ERROR
            raise
        finally:
            if not (self._ended or self._given_up):
                with trio.move_on_after(self._close_timeout), suppress(ConnectionClosed):
                    with trio.move_on_after(self._close_timeout, shield=True):
                        await self._outlet.send("websocket.close", code=code)
                    while await self.receive():
                        pass  # what the client sent before it saw our close
