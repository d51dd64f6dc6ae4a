"""Carries a connection over one WebSocket after another: the server's half of stateful reconnect."""

from __future__ import annotations

from ...errors import ConnectionClosed
from ..duplex import Duplex
from ..resumable import ResumableConnection, ResumableState
from ..users import User
from .lease import LeaseEvent
from .websocket_carrier import UpgradingCarrier


class ResumableCarrier(UpgradingCarrier[ResumableConnection]):
    """Carries a connection over one WebSocket after another, and is handled in a task of its own."""

    async def _serve(self, user: User | None, websocket: Duplex) -> None:
        carrier = self._lease.carrier
        if carrier is not None:
            await carrier.replace(websocket, user)
        elif self._host.nursery is not None and self._may_open(user):
            self._open(ResumableConnection(self._lease.id, websocket.request), user)
            self._host.nursery.start_soon(self._handle_detached, self.dispose)
            await self._carry(websocket)

    @property
    def crowded(self) -> bool:
        return not self.connection.resumable

    @property
    def ended(self) -> bool:
        return self.connection.state in (ResumableState.ENDED, ResumableState.CLOSED)

    async def replace(self, websocket: Duplex, user: User | None) -> None:
        if self.connection.resumable and self._lease.owner.admits(user):
            self._see(user)
            self._lease.on(LeaseEvent.CAME)
            await self._carry(websocket)

    async def _carry(self, websocket: Duplex) -> None:
        try:
            await self.connection.carry(websocket)
        finally:
            if self.connection.away or self.connection.state is ResumableState.CLOSED:
                self._lease.on(LeaseEvent.WENT)

    def dispose(self, error: ConnectionClosed | None = None) -> None:
        super().dispose()
        self.connection.close()
