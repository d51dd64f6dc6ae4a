"""How many connections an app has, and whether more may come in."""

from __future__ import annotations

import trio

from ...logs import get_logger
from ..http import Response

logger = get_logger(__name__)

RETRY_AFTER = 5
"""Seconds after which a client that was turned away may try again."""


class Admission:
    """Counts an app's connections.

    Args:
        maximum: How many there may be at a time.

    Attributes:
        active: How many there are.
        draining: Whether none may come in any more.
        refused: How many have been turned away so far.
    """

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.active = 0
        self.draining = False
        self.refused = 0
        self._left = trio.lowlevel.ParkingLot()

    def refusal(self) -> Response | None:
        """The answer for a client that may not come in; ``None`` for one that may."""
        if self.draining:
            text = "The server is shutting down."
        elif self.active >= self.maximum:
            text = "The server has too many connections."
            logger.warning("there are %d connections: refusing more", self.active)
        else:
            return None
        return self.refuse(text)

    def refuse(self, text: str) -> Response:
        """Count a client that is turned away, and give its answer."""
        self.refused += 1
        return Response(
            text, status=503, content_type="text/plain", headers={"Retry-After": str(RETRY_AFTER)}
        )

    def enter(self) -> None:
        """Count a new connection."""
        self.active += 1

    def leave(self) -> None:
        """Count one off."""
        self.active -= 1
        if not self.active:
            self._left.unpark_all()

    async def wait_empty(self) -> None:
        """Wait until there is no connection. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while self.active:
            await self._left.park()
