"""The states of a hub connection, and what leads from one to the next.

Law: a hub connection changes its state by this table alone, and never leaves its last one.

| state | opened | left | ended |
|---|---|---|---|
| connecting | connected | disconnecting | disconnected |
| connected | | disconnecting | disconnected |
| disconnecting | disconnecting | disconnecting | disconnected |
| disconnected | | disconnected | disconnected |
"""

from __future__ import annotations

from enum import Enum

import trio


class HubConnectionState(Enum):
    """Where a hub connection is in its life."""

    CONNECTING = "connecting"
    """It is being dialled, or shakes hands."""
    CONNECTED = "connected"
    """Calls can be made."""
    DISCONNECTING = "disconnecting"
    """Its block has been left, and its end is under way."""
    DISCONNECTED = "disconnected"
    """It is over."""


class Event(Enum):
    """What happens to a hub connection."""

    OPENED = "calls can be made"
    LEFT = "its block is being left"
    ENDED = "nothing goes on any more"


_CONNECTING, _CONNECTED, _DISCONNECTING, _DISCONNECTED = HubConnectionState

TRANSITIONS = {
    (_CONNECTING, Event.OPENED): _CONNECTED,
    (_CONNECTING, Event.LEFT): _DISCONNECTING,
    (_CONNECTING, Event.ENDED): _DISCONNECTED,
    (_CONNECTED, Event.LEFT): _DISCONNECTING,
    (_CONNECTED, Event.ENDED): _DISCONNECTED,
    (_DISCONNECTING, Event.OPENED): _DISCONNECTING,
    (_DISCONNECTING, Event.LEFT): _DISCONNECTING,
    (_DISCONNECTING, Event.ENDED): _DISCONNECTED,
    (_DISCONNECTED, Event.LEFT): _DISCONNECTED,
    (_DISCONNECTED, Event.ENDED): _DISCONNECTED,
}
"""What is not here cannot happen."""


class Lifecycle:
    """The state of one hub connection.

    Attributes:
        state: The state.
    """

    def __init__(self) -> None:
        self.state = HubConnectionState.CONNECTING
        self._over = trio.Event()

    def apply(self, event: Event) -> None:
        """Something has happened."""
        self.state = TRANSITIONS[self.state, event]
        if self.state is HubConnectionState.DISCONNECTED:
            self._over.set()

    async def wait_over(self) -> None:
        """Wait for the last state. A checkpoint."""
        await self._over.wait()
