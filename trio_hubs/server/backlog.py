"""What waits for one client and may give way: dropped while too much waits, or replaced by what is newer.

Only what still waits can be dropped. The place of a dropped message is kept, empty, until there are many.
"""

from __future__ import annotations

from collections.abc import Hashable

from ..calls.outbox import Outbox

_BLANKS = 256


class Backlog:
    """The messages of one client's outbox that may be dropped.

    Args:
        outbox: Where they wait.

    Attributes:
        dropped: How many messages have been dropped, as they were no longer worth sending.
    """

    __slots__ = ("_batch", "_blanks", "_expendable", "_latest", "_outbox", "dropped")

    def __init__(self, outbox: Outbox) -> None:
        self.dropped = 0
        self._outbox = outbox
        self._batch = 0  # of the outbox, to which all below belongs
        self._expendable: list[bytearray] = []  # oldest first
        self._latest: dict[Hashable, bytearray] = {}
        self._blanks = 0  # places of dropped messages

    def put_expendable(self, data: bytes) -> None:
        """Queue a message, and while too much waits drop the oldest of those that were queued so."""
        self._follow()
        while self._outbox.full and self._expendable:
            self._drop(self._expendable.pop(0))
        piece = bytearray(data)
        self._outbox.put_now(piece)
        if self._waits():
            self._expendable.append(piece)

    def put_latest(self, key: Hashable, data: bytes) -> None:
        """Queue a message instead of the one with the same key that still waits, if there is one."""
        self._follow()
        if (old := self._latest.pop(key, None)) is not None:
            self._outbox.unheld -= len(old)
            self._drop(old)
        piece = bytearray(data)
        self._outbox.unheld += len(data)
        self._outbox.put_now(piece)
        if self._waits():
            self._latest[key] = piece

    def _waits(self) -> bool:
        """Whether what was put last waits, rather than being on its way, or refused."""
        self._follow()
        return self._outbox.size > 0

    def _follow(self) -> None:
        """Forget what has been taken."""
        if self._batch != self._outbox.batch:
            self._batch = self._outbox.batch
            self._expendable.clear()
            self._latest.clear()
            self._blanks = 0

    def _drop(self, piece: bytearray) -> None:
        self._outbox.withdraw(piece)
        self.dropped += 1
        self._blanks += 1
        if self._blanks >= _BLANKS:
            self._outbox.compact()
            self._blanks = 0
