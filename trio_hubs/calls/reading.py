"""When a connection is read: on demand, or while there is room for what comes.

| reason | effect |
|---|---|
| a task waits for the peer: for a result, an item, an acknowledgement | read, whatever lies unread |
| a stream has more unread items and bytes than its share | pause, unless a task waits for the peer |
| unread streams and waiting calls have filled the connection's buffer | pause, unless a task waits for the peer |
| unread streams with credits, which count for nothing above, are past the connection's limit | the same |
| the peer does not take refusals and other answers that it has caused by itself | pause, even if a task waits |
| the same, while the peer owes acknowledgements, for which nothing more is sent | read |
| a client has paused for long for streams: what lies behind may be a call, a ping or the end | read a little |
| nothing of these | read |

What comes past the connection's limit, since a task waits for the peer, fails; a peer that has caused far too many
refusals is disconnected. While nothing is read, the peer's silence does not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

import trio

from .meanwhile import MEANWHILE
from .options import Role, SessionOptions
from .outbox import Outbox

LONGEST_PAUSE = 4.0
"""Seconds for which a client may be paused: a server ends the connection of one that takes nothing for 10."""

LOOK_AGAIN = 1.0
"""Seconds from then on after which a little more is read."""

LOOK_SIZE = 64 * 1024
"""Bytes that are read then: as many as a server has under way that waits for the client."""


class Reading:
    """Counts the reasons to read one connection, and to pause.

    Args:
        options: How much may lie unread.
    """

    def __init__(self, options: SessionOptions) -> None:
        self.options = options
        self._unread = 0  # bytes
        self._calls = 0  # bytes among them of waiting calls
        self._credited = 0  # bytes of streams whose senders have no more credit than there is room
        self._full = 0  # streams with more than their share
        self._waiting = 0  # tasks that wait for the peer
        self._reader = trio.lowlevel.ParkingLot()
        self._looked_for = 0  # how much may lie unread where it is time to look
        self._longest = self._patience = LONGEST_PAUSE if options.role is Role.CLIENT else inf

    @property
    def wanted(self) -> bool:
        """Whether what lies unread, and who waits, let the connection be read."""
        return self._waiting > 0 or not (
            self._full
            or self._unread >= self.options.connection_buffer_size
            or self._credited > self.options.connection_buffer_limit
        )

    @property
    def _for_streams(self) -> bool:
        """Whether a pause is for streams: behind waiting calls there is nothing that they do not hold up anyway."""
        return self._full > 0 or self._lies > 2 * self._calls

    @property
    def _lies(self) -> int:
        """How many bytes lie unread."""
        return self._unread + self._credited

    @property
    def overfull(self) -> bool:
        """Whether more lies unread than may under any circumstances."""
        return self._lies > self.options.connection_buffer_limit

    async def wait_wanted(self) -> None:
        """Wait until what lies unread, and who waits, let the connection be read; or until it is time to look."""
        if self.wanted:
            self._patience, self._looked_for = self._longest, 0
        elif self._lies >= self._looked_for:
            with trio.move_on_after(self._patience if self._for_streams else inf) as patience:
                while not self.wanted:
                    await self._reader.park()
            if patience.cancelled_caught:
                self._patience, self._looked_for = LOOK_AGAIN, self._lies + LOOK_SIZE
            else:
                self._patience, self._looked_for = self._longest, 0

    async def wait(self, outbox: Outbox) -> bool:
        """Wait until the connection should be read. A checkpoint only when it has to wait.

        Args:
            outbox: Holds the answers that the peer has caused by itself.

        Returns:
            Whether it should: not when the peer has caused far too many answers.
        """
        await self.wait_wanted()
        await outbox.wait_taken()
        return not outbox.flooded

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Hold this open while waiting for anything of the peer."""
        self._waiting += 1
        if self._reader:
            self._reader.unpark_all()
        try:
            with MEANWHILE.get()():
                yield
        finally:
            self._waiting -= 1

    def count(self, size: int) -> None:
        """Note that this many bytes more lie unread; negative when they have been taken."""
        self._unread += size
        if size < 0 and self._reader and self.wanted:
            self._reader.unpark_all()

    def count_call(self, size: int) -> None:
        """The same for waiting calls."""
        self._calls += size
        self.count(size)

    def count_credited(self, size: int) -> None:
        """The same for streams with credits."""
        self._credited += size
        if size < 0 and self._reader and self.wanted:
            self._reader.unpark_all()

    def count_full(self, change: int) -> None:
        """Note that a stream has come to hold more than its share (1), or no longer does (-1)."""
        self._full += change
        if change < 0 and self.wanted:
            self._reader.unpark_all()
