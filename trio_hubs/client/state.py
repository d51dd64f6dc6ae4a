"""The states of a hub connection, what leads from one to the next, and what is told of that.

A hub connection changes its state by this table alone, and never leaves its last one.

| state | opened | resumed | lost | left | ended |
|---|---|---|---|---|---|
| connecting | connected | connecting | | disconnecting | disconnected |
| connected | | connected | reconnecting | disconnecting | disconnected |
| reconnecting | connected | reconnecting | | disconnecting | disconnected |
| disconnecting | disconnecting | disconnecting | | disconnecting | disconnected |
| disconnected | | | | disconnected | disconnected |
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import Enum

import attrs
import trio

from ..calls.channels import ChannelReader, ChannelWriter, open_channel
from ..errors import ChannelClosed, ConnectionFailed, StreamOverflow
from ..logs import get_logger

logger = get_logger(__name__)

MAXIMUM_CHANGES = 100
"""How many changes may lie unread by one reader."""


class HubConnectionState(Enum):
    """Where a hub connection is in its life."""

    CONNECTING = "connecting"
    """It is being dialled, shakes hands, or is set up."""
    CONNECTED = "connected"
    """Calls can be made."""
    RECONNECTING = "reconnecting"
    """It was lost, and is tried again."""
    DISCONNECTING = "disconnecting"
    """Its end, asked for on this side, is under way."""
    DISCONNECTED = "disconnected"
    """It is over."""


class Event(Enum):
    """What happens to a hub connection."""

    OPENED = "calls can be made"
    RESUMED = "its link was torn, and goes on"
    LOST = "its link has ended, and there shall be another one"
    LEFT = "it shall end"
    ENDED = "nothing goes on any more"


_CONNECTING, _CONNECTED, _RECONNECTING, _DISCONNECTING, _DISCONNECTED = HubConnectionState

TRANSITIONS = {
    (_CONNECTING, Event.RESUMED): _CONNECTING,
    (_CONNECTING, Event.OPENED): _CONNECTED,
    (_CONNECTING, Event.LEFT): _DISCONNECTING,
    (_CONNECTING, Event.ENDED): _DISCONNECTED,
    (_CONNECTED, Event.RESUMED): _CONNECTED,
    (_CONNECTED, Event.LOST): _RECONNECTING,
    (_CONNECTED, Event.LEFT): _DISCONNECTING,
    (_CONNECTED, Event.ENDED): _DISCONNECTED,
    (_RECONNECTING, Event.RESUMED): _RECONNECTING,
    (_RECONNECTING, Event.OPENED): _CONNECTED,
    (_RECONNECTING, Event.LEFT): _DISCONNECTING,
    (_RECONNECTING, Event.ENDED): _DISCONNECTED,
    (_DISCONNECTING, Event.RESUMED): _DISCONNECTING,
    (_DISCONNECTING, Event.OPENED): _DISCONNECTING,
    (_DISCONNECTING, Event.LEFT): _DISCONNECTING,
    (_DISCONNECTING, Event.ENDED): _DISCONNECTED,
    (_DISCONNECTED, Event.LEFT): _DISCONNECTED,
    (_DISCONNECTED, Event.ENDED): _DISCONNECTED,
}
"""What is not here cannot happen."""


@attrs.frozen
class StateChange:
    """A hub connection has come to another state, or was torn and goes on.

    Attributes:
        state: The state.
        reason: Why the connection was lost, or is over; ``None`` for good news, and where its end was asked for.
        recovered: Whether a torn connection goes on as the old one: nothing was lost, and no call has failed.
    """

    state: HubConnectionState
    reason: ConnectionFailed | None = None
    recovered: bool = False


class Lifecycle:
    """The state of one hub connection.

    Attributes:
        state: The state.
    """

    def __init__(self) -> None:
        self.state = HubConnectionState.CONNECTING
        self._changed = trio.lowlevel.ParkingLot()
        self._watchers: list[ChannelWriter[StateChange]] = []
        self._callbacks: dict[object, Callable[[StateChange], object]] = {}
        self._untold: deque[StateChange] = deque()  # to callbacks; the first is being told

    def apply(self, event: Event, reason: ConnectionFailed | None = None) -> None:
        """Something has happened."""
        before, self.state = self.state, TRANSITIONS[self.state, event]
        if self.state is not before:
            self._changed.unpark_all()
            self._tell(StateChange(self.state, reason))
        elif event is Event.RESUMED and self.state is HubConnectionState.CONNECTED:
            self._tell(StateChange(self.state, recovered=True))

    def _tell(self, change: StateChange) -> None:
        for watcher in self._watchers[:]:
            try:
                watcher.write_nowait(change)
            except ChannelClosed:
                self._watchers.remove(watcher)
            except trio.WouldBlock:
                watcher.complete(StreamOverflow(f"More than {MAXIMUM_CHANGES} changes of state lie unread."))
                self._watchers.remove(watcher)
        if self.state is HubConnectionState.DISCONNECTED:
            while self._watchers:
                self._watchers.pop().complete()
        self._untold.append(change)
        if len(self._untold) == 1:  # else a callback has changed the state
            self._call_back()

    def _call_back(self) -> None:
        try:
            while self._untold:
                for key in list(self._callbacks):
                    try:
                        if key in self._callbacks:
                            self._callbacks[key](self._untold[0])
                    except Exception:
                        logger.exception("a callback of state changes failed")
                self._untold.popleft()
        finally:
            self._untold.clear()

    def watch(self) -> ChannelReader[StateChange]:
        """Give a reader of all changes from now on."""
        writer, reader = open_channel(StateChange, capacity=MAXIMUM_CHANGES)
        self._watchers.append(writer)
        if self.state is HubConnectionState.DISCONNECTED:
            self._watchers.pop().complete()
        return reader

    def call(self, callback: Callable[[StateChange], object]) -> Callable[[], None]:
        """Have a plain function called with each change from now on; gives what removes it again.

        Raises:
            TypeError: It is async.
        """
        if inspect.iscoroutinefunction(callback):
            raise TypeError("a callback of state changes is a plain function, not an async one")
        key = object()
        self._callbacks[key] = callback

        def remove() -> None:
            self._callbacks.pop(key, None)

        return remove

    async def wait_change(self) -> None:
        """Wait until the state is another one. A checkpoint."""
        await self._changed.park()

    async def wait_over(self, waiting: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        """Wait for the last state. A checkpoint.

        Args:
            waiting: Held open from one change to the next.
        """
        await trio.lowlevel.checkpoint()
        while self.state is not HubConnectionState.DISCONNECTED:
            with waiting():
                await self._changed.park()
