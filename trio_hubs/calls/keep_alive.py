"""When a ping is due, and when the peer has been silent for too long."""

from __future__ import annotations

from .options import Role, SessionOptions
from .send_times import forgive


class KeepAlive:
    """The pings of one connection, both ways; all times are in trio's clock.

    A server pings whatever else it sends, and bears the silence of a client that has never pinged.

    Args:
        options: The intervals, and our side.
        now: The time.
        inherent: Whether the transport keeps itself alive; then it is for a peer to ping first.

    Attributes:
        timeout: Seconds that the peer may be silent.
        waiting_since: Since when we wait for bytes of the peer; ``None`` while we do not read.
    """

    def __init__(self, options: SessionOptions, now: float, *, inherent: bool = False) -> None:
        self._role = options.role
        self._interval = options.keep_alive_interval
        self.timeout = options.client_timeout if self._role is Role.SERVER else options.server_timeout
        self.waiting_since: float | None = None
        self._may_be_silent = self._role is Role.SERVER or inherent
        self._last_ping = now

    def note_ping(self) -> None:
        """The peer has pinged."""
        self._may_be_silent = False

    def ping_due(self, now: float, last_sent: float) -> bool:
        """Whether to send a ping now; it counts as sent.

        Args:
            now: The time.
            last_sent: When anything was last sent.
        """
        last = self._last_ping if self._role is Role.SERVER else max(self._last_ping, last_sent)
        if now - last < self._interval:
            return False
        self._last_ping = now
        return True

    def silent(self, now: float) -> bool:
        """Whether the peer has been silent for too long."""
        since = self.waiting_since
        return since is not None and not self._may_be_silent and now - since >= self.timeout

    def forgive(self, late: float, now: float) -> None:
        """Let the peer's silence begin later.

        Args:
            late: The last seconds for which our own tasks have not kept up.
            now: The time.
        """
        if self.waiting_since is not None:
            self.waiting_since = forgive(self.waiting_since, late, now)
