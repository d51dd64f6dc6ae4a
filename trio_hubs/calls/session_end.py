"""How far the end of a session has come, and what it was: the table of its states is below."""

from __future__ import annotations

from enum import Enum, auto

from ..errors import ConnectionClosed
from ..protocol.messages import Close


class State(Enum):
    """Where a session is in its life.

    Attributes:
        opened: Whether its beginning has been told, so that calls of the peer run, and its end must be told.
        reads: Whether messages of the peer are acted on.
        parting: Whether the peer has left, and what it called may still run.
    """

    OPENING = "calls of the peer wait", False, True, False
    DUE_TO_DRAIN = "the same, and it shall end once it is open and idle", False, True, False
    OPEN = "calls of the peer run", True, True, False
    DRAINING = "the same, and it ends once it is idle", True, True, False
    LEFT_EARLY = "the peer has left, and what it called waits to begin", False, False, True
    PARTING = "the peer has left, and what it called runs", True, False, True
    ENDING_EARLY = "it ends, and has not been open", False, False, False
    ENDING = "it ends, and calls are cancelled", True, False, False

    opened: bool
    reads: bool
    parting: bool

    def __init__(self, _: str, opened: bool, reads: bool, parting: bool) -> None:
        self.opened = opened
        self.reads = reads
        self.parting = parting


class Event(Enum):
    """What happens to a session."""

    OPENED = auto()
    DRAIN = auto()
    IDLE = auto()  # no call of the peer's waits or runs
    LEFT = auto()  # by the peer
    END = auto()


TRANSITIONS = {
    (State.OPENING, Event.OPENED): State.OPEN,
    (State.OPENING, Event.DRAIN): State.DUE_TO_DRAIN,
    (State.OPENING, Event.LEFT): State.LEFT_EARLY,
    (State.OPENING, Event.END): State.ENDING_EARLY,
    (State.DUE_TO_DRAIN, Event.OPENED): State.DRAINING,
    (State.DUE_TO_DRAIN, Event.LEFT): State.LEFT_EARLY,
    (State.DUE_TO_DRAIN, Event.END): State.ENDING_EARLY,
    (State.OPEN, Event.DRAIN): State.DRAINING,
    (State.OPEN, Event.LEFT): State.PARTING,
    (State.OPEN, Event.END): State.ENDING,
    (State.DRAINING, Event.IDLE): State.ENDING,
    (State.DRAINING, Event.LEFT): State.PARTING,
    (State.DRAINING, Event.END): State.ENDING,
    (State.LEFT_EARLY, Event.OPENED): State.PARTING,
    (State.LEFT_EARLY, Event.IDLE): State.ENDING_EARLY,
    (State.LEFT_EARLY, Event.END): State.ENDING_EARLY,
    (State.ENDING_EARLY, Event.OPENED): State.ENDING,
    (State.PARTING, Event.IDLE): State.ENDING,
    (State.PARTING, Event.END): State.ENDING,
}
"""All other events change nothing."""


class SessionEnd:
    """The state of a session, and how it ends.

    Attributes:
        state: The state.
        error: What went wrong, if anything did.
        farewell: What the peer is told in the end: unless something else ends the session, it is a shutdown.
        too_slow: Whether it ends because the peer took too little.
        unheard: Whether the peer is not told, nor waited for.
    """

    def __init__(self) -> None:
        self.state = State.OPENING
        self.error: Exception | None = None
        self.farewell = Close(allow_reconnect=True)
        self.too_slow = self.unheard = False

    def apply(self, event: Event) -> State:
        """Something has happened; gives the state after it."""
        self.state = TRANSITIONS.get((self.state, event), self.state)
        return self.state

    @property
    def reason(self) -> ConnectionClosed:
        """Why the connection ended: what waits for the peer fails with it."""
        if isinstance(self.error, ConnectionClosed):
            return self.error
        if self.error is not None:
            return ConnectionClosed(f"The connection ended: {self.error}")
        return ConnectionClosed("The connection has been closed.")
