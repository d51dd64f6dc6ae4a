"""A connection that goes on over another WebSocket when one is torn: stateful reconnect's lower half.

What was under way when a WebSocket is lost is lost with it; its user repeats that, once :exc:`Resumed` has told
it so. Nothing is sent on a new WebSocket before that. An end in good order is final.
"""

from __future__ import annotations

import trio

from ..errors import ConnectionClosed
from .connection import Connection, Resumed
from .http import Request
from .websocket import WebSocketConnection


class _Link:
    """One WebSocket of the succession."""

    def __init__(self, websocket: WebSocketConnection, *, fresh: bool) -> None:
        self.websocket = websocket
        self.fresh = fresh  # nobody has been told of it
        self.lost = False
        self.receiving = trio.CancelScope()
        self.sending = trio.CancelScope()
        self.done = trio.Event()

    def lose(self) -> None:
        self.lost = True
        self.receiving.cancel()
        self.sending.cancel()
        self.done.set()


class ResumableConnection(Connection):
    """A connection over one WebSocket after another."""

    def __init__(self, id: str, request: Request) -> None:
        super().__init__(id, request)
        self.resumable = True
        self._link: _Link | None = None
        self._over = False
        self._changed = trio.lowlevel.ParkingLot()

    # ---- whoever has the WebSockets

    async def carry(self, websocket: WebSocketConnection) -> None:
        """Use a WebSocket instead of the one before, until it is lost, replaced, or no longer needed."""
        if self._over:
            return
        link = _Link(websocket, fresh=self._link is not None)
        if self._link is not None:
            self._link.lose()
        self._link = link
        self._changed.unpark_all()
        try:
            await link.done.wait()
        finally:
            link.lose()

    def close(self) -> None:
        """No WebSocket is needed any more."""
        self._over = True
        if self._link is not None:
            self._link.lose()
        self._changed.unpark_all()

    @property
    def lost(self) -> bool:
        """Whether it has no WebSocket."""
        return self._link is None or self._link.lost

    # ---- whoever uses the connection

    @property
    def away(self) -> bool:
        return not self._over and (self._link is None or self._link.lost or self._link.fresh)

    def resume(self) -> None:
        if self._link is not None:
            self._link.fresh = False

    async def receive(self) -> bytes:
        while True:
            link = self._link
            if self._over:
                raise ConnectionClosed("The connection was lost, and not taken up again.")
            if link is None or link.lost:
                if not self.resumable:
                    raise ConnectionClosed("The connection was lost.")
                await self._changed.park()
            elif link.fresh:
                raise Resumed
            else:
                try:
                    with trio.CancelScope() as link.receiving:
                        return await link.websocket.receive()
                except ConnectionClosed:
                    link.lose()

    async def send(self, data: bytes) -> None:
        link = self._link
        if self._over or (not self.resumable and (link is None or link.lost)):
            raise ConnectionClosed("The connection was lost.")
        if link is None or self.away:
            await trio.lowlevel.checkpoint()
            return
        link.websocket.transfer_format = self.transfer_format
        try:
            with trio.CancelScope() as link.sending:
                await link.websocket.send(data)
        except ConnectionClosed:
            link.lose()
            if not self.resumable:
                raise

    def send_nowait(self, data: bytes) -> bool:
        if self._link is None or self._over or self.away:
            return False
        self._link.websocket.transfer_format = self.transfer_format
        return self._link.websocket.send_nowait(data)

    @property
    def unsent(self) -> bool:
        return self._link is not None and not self.away and self._link.websocket.unsent

    @property
    def last_progress(self) -> float:
        return trio.current_time() if self._link is None else self._link.websocket.last_progress
