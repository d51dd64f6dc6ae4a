"""A connection that goes on over another WebSocket when one is torn: stateful reconnect's lower half.

What was under way when a WebSocket is lost is lost with it, and its user is told so as the next one comes: the sender
before anything else is sent, the receiver in its turn. An end in good order is final.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Mapping

import trio

from ..errors import ConnectionClosed
from .duplex import Duplex, Resumed
from .http import Request


class ResumableState(enum.Enum):
    """Where a resumable connection stands."""

    NEW = enum.auto()
    """No WebSocket has come yet."""
    CARRIED = enum.auto()
    """It has a WebSocket."""
    RESUMED = enum.auto()
    """It has a further one, of which its receiver has not been told."""
    TORN = enum.auto()
    """Its WebSocket is lost."""
    ENDED = enum.auto()
    """Its client has ended it in good order; what is sent still leaves."""
    CLOSED = enum.auto()
    """It is over."""


class ResumableEvent(enum.Enum):
    """What happens to a resumable connection."""

    CAME = enum.auto()
    """A WebSocket has come."""
    TOLD = enum.auto()
    """Its receiver was told that it goes on."""
    LOST = enum.auto()
    """Its WebSocket is lost."""
    GOODBYE = enum.auto()
    """Its client has ended it in good order."""
    CLOSE = enum.auto()
    """No WebSocket is needed any more."""


_S, _E = ResumableState, ResumableEvent
TRANSITIONS: Mapping[ResumableState, Mapping[ResumableEvent, ResumableState]] = {
    _S.NEW: {_E.CAME: _S.CARRIED, _E.CLOSE: _S.CLOSED},
    _S.CARRIED: {_E.CAME: _S.RESUMED, _E.LOST: _S.TORN, _E.GOODBYE: _S.ENDED, _E.CLOSE: _S.CLOSED},
    _S.RESUMED: {
        _E.CAME: _S.RESUMED,
        _E.TOLD: _S.CARRIED,
        _E.LOST: _S.TORN,
        _E.GOODBYE: _S.ENDED,
        _E.CLOSE: _S.CLOSED,
    },
    _S.TORN: {_E.CAME: _S.RESUMED, _E.GOODBYE: _S.CLOSED, _E.CLOSE: _S.CLOSED},
    _S.ENDED: {_E.LOST: _S.CLOSED, _E.CLOSE: _S.CLOSED},
    _S.CLOSED: {},
}
"""What becomes of it; an event that a state does not name changes nothing."""

_AWAY = frozenset((_S.NEW, _S.TORN))


class _Link:
    """One WebSocket of the succession."""

    def __init__(self, websocket: Duplex) -> None:
        self.websocket = websocket
        self.receiving = trio.CancelScope()
        self.sending = trio.CancelScope()
        self.done = trio.Event()

    def lose(self) -> None:
        """Give the WebSocket up, and interrupt what waits for it."""
        self.receiving.cancel()
        self.sending.cancel()
        self.done.set()


class ResumableConnection(Duplex):
    """A connection over one WebSocket after another.

    Attributes:
        state: Where it stands.
    """

    can_resume = True

    def __init__(self, id: str | None, request: Request) -> None:
        super().__init__(id, request)
        self.state = ResumableState.NEW
        self.away = True
        self._link: _Link | None = None
        self._changed = trio.lowlevel.ParkingLot()

    def on(self, event: ResumableEvent) -> bool:
        """Something has happened; whether that changes anything."""
        state = TRANSITIONS[self.state].get(event)
        if state is None:
            return False
        self.state = state
        self.away = state in _AWAY
        self._changed.unpark_all()
        return True

    # ---- its WebSockets

    def give_up(self) -> None:
        if self._link is not None:
            self._link.websocket.give_up()

    async def carry(self, websocket: Duplex) -> None:
        """Use a WebSocket instead of the one before, until it is lost, replaced, or no longer needed."""
        before = self._link
        if not self.on(ResumableEvent.CAME):
            return
        link = self._link = _Link(websocket)
        if before is not None:
            before.lose()
            self.on_resumed()
        try:
            await link.done.wait()
        finally:
            self._lose(link)

    def close(self) -> None:
        """No WebSocket is needed any more."""
        if self.on(ResumableEvent.CLOSE):
            if self._link is not None:
                self._link.lose()
            self.on_resumed()  # so that the sender learns of it

    def _lose(self, link: _Link) -> None:
        link.lose()
        if link is self._link:
            self.on(ResumableEvent.LOST)

    # ---- its user

    async def receive(self) -> bytes:
        while True:
            link = self._link
            if self.state is ResumableState.CLOSED:
                raise ConnectionClosed("The connection was lost, and not taken up again.")
            if link is None or self.away:
                if not self.resumable:
                    raise ConnectionClosed("The connection was lost.")
                await self._changed.park()
            elif self.on(ResumableEvent.TOLD):
                raise Resumed
            else:
                try:
                    with trio.CancelScope() as link.receiving:
                        data = await link.websocket.receive()
                        if not data:
                            self.on(ResumableEvent.GOODBYE)
                        return data
                except ConnectionClosed:
                    self._lose(link)

    async def send(self, data: bytes) -> None:
        link = self._link
        if self.state is ResumableState.CLOSED or (self.away and not self.resumable):
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
        if self._link is None or self.away or self.state is ResumableState.CLOSED:
            return False
        self._link.websocket.transfer_format = self.transfer_format
        return self._link.websocket.send_nowait(data, packed)

    @property
    def unsent(self) -> bool:
        return self._link is not None and not self.away and self._link.websocket.unsent

    @property
    def last_progress(self) -> float:
        return trio.current_time() if self._link is None else self._link.websocket.last_progress
