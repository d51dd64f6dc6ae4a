"""A connection that goes on over another WebSocket when one is torn: stateful reconnect's lower half.

What was under way when a WebSocket is lost is lost with it, and its user is told so as the next one comes: whoever
sends, before anything else is sent; whoever receives, in its turn. An end in good order is final.
"""

from __future__ import annotations

from collections.abc import Hashable

import trio

from ...errors import ConnectionClosed
from ..duplex import Duplex, Resumed
from ..http import Request


class _Link:
    """One WebSocket of the succession."""

    def __init__(self, websocket: Duplex, *, fresh: bool) -> None:
        self.websocket = websocket
        self.fresh = fresh  # its receiver has not been told
        self.lost = False
        self.receiving = trio.CancelScope()
        self.sending = trio.CancelScope()
        self.done = trio.Event()

    def lose(self) -> None:
        """Give the WebSocket up, and interrupt whoever waits for it."""
        self.lost = True
        self.receiving.cancel()
        self.sending.cancel()
        self.done.set()


class ResumableConnection(Duplex):
    """A connection over one WebSocket after another.

    Attributes:
        ended: Whether the client has ended it in good order, so that no further WebSocket can be its.
    """

    can_resume = True

    def __init__(self, id: str, request: Request) -> None:
        super().__init__(id, request)
        self.away = True
        self.ended = False
        self._link: _Link | None = None
        self._over = False
        self._changed = trio.lowlevel.ParkingLot()

    # ---- whoever has the WebSockets

    async def carry(self, websocket: Duplex) -> None:
        """Use a WebSocket instead of the one before, until it is lost, replaced, or no longer needed."""
        if self._over:
            return
        link = _Link(websocket, fresh=self._link is not None)
        if self._link is not None:
            self._link.lose()
        self._link = link
        self.away = False
        self._changed.unpark_all()
        if link.fresh:
            self.on_resumed()
        try:
            await link.done.wait()
        finally:
            self._lose(link)

    def close(self) -> None:
        """No WebSocket is needed any more."""
        self._over = True
        self.away = False
        if self._link is not None:
            self._link.lose()
        self._changed.unpark_all()
        self.on_resumed()  # so that whoever sends learns of it

    @property
    def lost(self) -> bool:
        """Whether it has no WebSocket."""
        return self._link is None or self._link.lost

    def _lose(self, link: _Link) -> None:
        link.lose()
        if link is self._link and not self._over:
            self.away = True

    # ---- whoever uses the connection

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
                link.fresh = False
                raise Resumed
            else:
                try:
                    with trio.CancelScope() as link.receiving:
                        data = await link.websocket.receive()
                        self.ended = not data
                        return data
                except ConnectionClosed:
                    self._lose(link)

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
            self._lose(link)
            if not self.resumable:
                raise

    def send_nowait(self, data: bytes, packed: dict[Hashable, bytes] | None = None) -> bool:
        if self._link is None or self._over or self.away:
            return False
        self._link.websocket.transfer_format = self.transfer_format
        return self._link.websocket.send_nowait(data, packed)

    @property
    def unsent(self) -> bool:
        return self._link is not None and not self.away and self._link.websocket.unsent

    @property
    def last_progress(self) -> float:
        return trio.current_time() if self._link is None else self._link.websocket.last_progress
