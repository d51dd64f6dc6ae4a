"""One WebSocket carries the connection; its end is the connection's."""

from __future__ import annotations

import abc
from functools import partial

from ...protocol.negotiate import Transport
from ..duplex import Duplex
from ..http import Request
from ..users import User
from .carrier import Carrier, D
from .exchange import Upgrade


class UpgradingCarrier(Carrier[D]):
    """Answers each request with a WebSocket."""

    transport = Transport.WEBSOCKETS

    def answer(self, request: Request, user: User | None) -> Upgrade:
        return Upgrade(
            id=self._lease.id,
            serve=partial(self._serve, user),
            subprotocol=self._subprotocol(request),
            close_timeout=self._host.options.close_timeout,
        )

    def _subprotocol(self, request: Request) -> str | None:
        select = self._host.options.websocket_subprotocol
        names = request.headers.get("sec-websocket-protocol", "") if select else ""
        offered = [name.strip() for name in names.split(",") if name.strip()]
        chosen = select(offered) if select and offered else None
        if chosen is not None and chosen not in offered:
            raise ValueError(f"the subprotocol '{chosen}' was chosen, and the client offers {offered}")
        return chosen

    @abc.abstractmethod
    async def _serve(self, user: User | None, websocket: Duplex) -> None:
        """Use a WebSocket that is open, until it is lost or no longer needed."""


class WebSocketCarrier(UpgradingCarrier[Duplex]):
    """Carries a connection over one WebSocket, in whose task it is handled."""

    async def _serve(self, user: User | None, websocket: Duplex) -> None:
        if self._may_open(user):
            self._open(websocket, user)
            await self._handle_here()
