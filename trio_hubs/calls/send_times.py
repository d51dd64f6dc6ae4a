"""The times of one connection's sending: since when the peer owes us something, and by when it must have taken it.

Our own lateness is nobody's debt, and puts nothing off for ever.
"""

from __future__ import annotations

from math import inf

from ..connections.duplex import Duplex


def forgive(since: float, late: float, now: float) -> float:
    """A moment since when something is owed, later by the time for which our own tasks have not kept up."""
    return since if since >= now else min(since + late, now)


class SendTimes:
    """When what was sent, and what is due; in trio's clock.

    Args:
        connection: The connection that is sent on.
        now: The time.

    Attributes:
        last_sent: When something was last sent.
        sending_since: When the writer began to send what it is sending now; ``None`` between sends.
        blocked_since: Since when the replay keeps the writer from sending; infinity when it does not.
        deadline: When the first of the queued messages that must not wait for long is overdue.
    """

    def __init__(self, connection: Duplex, now: float) -> None:
        self.last_sent = now
        self.sending_since: float | None = None
        self.blocked_since = inf
        self.deadline = inf
        self._connection = connection

    def overdue(self, now: float, timeout: float) -> bool:
        """Whether the peer is too slow.

        Args:
            now: The time.
            timeout: Seconds that it may take nothing of what is being sent.
        """
        if self.stuck(now) >= timeout:
            return True
        return now >= self.deadline and not self._connection.away

    def stuck(self, now: float) -> float:
        """For how many seconds the peer has taken nothing of what is being sent; 0 where nothing is."""
        if self.sending_since is None:
            return 0.0
        return now - max(self.sending_since, self._connection.last_progress)

    def unacknowledged(self, now: float, timeout: float) -> bool:
        """Whether the peer has kept the writer from sending for so long, and is there."""
        return now - self.blocked_since >= timeout and not self._connection.away

    def forgive(self, late: float, now: float) -> None:
        """Let all that is owed be owed later.

        Args:
            late: The last seconds for which our own tasks have not kept up.
            now: The time.
        """
        if self.sending_since is not None:
            self.sending_since = forgive(max(self.sending_since, self._connection.last_progress), late, now)
        self.blocked_since = forgive(self.blocked_since, late, now)
        self.deadline += late
