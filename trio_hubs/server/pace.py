"""Messages of which a client gets at most one a period, each key by itself: the first at once, then the newest.

One task keeps the time for all clients of a hub. Of a key nothing is kept once a period has gone by without it.
"""

from __future__ import annotations

import heapq
from collections.abc import Container, Hashable
from itertools import count
from math import inf

import trio

from ..calls.channels import GIVE_WAY
from .backlog import Backlog

_FEW = 256


class _Turn:
    """A key of one client that has been sent within the period.

    Attributes:
        backlog: The client's; ``None`` once it has left.
        key: The key.
        every: The period.
        data: What waits for the next one, if anything.
        groups: The groups that this was sent to, if it was to groups.
    """

    __slots__ = ("backlog", "data", "every", "groups", "key")

    def __init__(self, backlog: Backlog, key: Hashable, every: float) -> None:
        self.backlog: Backlog | None = backlog
        self.key = key
        self.every = every
        self.data: bytes | None = None
        self.groups: tuple[str, ...] = ()


class Pace:
    """Who gets what when.

    Args:
        maximum: Bytes that may wait here for one client; beyond it messages go out before their time.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._turns: dict[Backlog, dict[Hashable, _Turn]] = {}
        self._held: dict[Backlog, int] = {}  # bytes
        self._due: list[tuple[float, int, _Turn]] = []  # a heap
        self._numbers = count()
        self._left = 0  # turns in it of clients that have left
        self._sleep = trio.CancelScope()

    def put(
        self, backlog: Backlog, key: Hashable, data: bytes, every: float, groups: tuple[str, ...] = ()
    ) -> None:
        """Send a message, or keep it instead of the one with the same key until the period is over."""
        turns = self._turns.setdefault(backlog, {})
        turn = turns.get(key)
        if turn is None:
            turn = turns[key] = _Turn(backlog, key, every)
            self._file(turn)
            backlog.put_latest(key, data)
            return
        turn.every = every
        held = self._held.get(backlog, 0) + len(data)
        if turn.data is not None:
            held -= len(turn.data)
            backlog.dropped += 1
        if held > self._maximum:
            held -= len(data)
            turn.data = None
            backlog.put_latest(key, data)
        else:
            turn.data, turn.groups = data, groups
        self._held[backlog] = held

    def release(self, backlog: Backlog) -> None:
        """Send a client all that waits for its time."""
        if self._held.pop(backlog, 0):
            for turn in self._turns[backlog].values():
                if turn.data is not None:
                    backlog.put_latest(turn.key, turn.data)
                    turn.data = None

    def drop(self, backlog: Backlog, groups: Container[str]) -> None:
        """A client is in these groups only: what waits for it as a member of others is not for it any more."""
        for turn in self._turns.get(backlog, {}).values():
            if turn.data is not None and turn.groups and not any(group in groups for group in turn.groups):
                self._unhold(backlog, turn.data)
                turn.data = None

    def leave(self, backlog: Backlog) -> None:
        """A client has left: nothing is kept for it."""
        turns = self._turns.pop(backlog, {})
        self._held.pop(backlog, None)
        for turn in turns.values():
            turn.backlog = turn.data = None
        self._left += len(turns)
        if self._left > max(_FEW, len(self._due) // 2):
            self._due = [each for each in self._due if each[2].backlog is not None]
            heapq.heapify(self._due)
            self._left = 0

    async def run(self) -> None:
        """Send what waits when its time has come; runs until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._due[0][0] if self._due else inf) as self._sleep:
                await trio.sleep_forever()
            now = trio.current_time()
            for _ in range(GIVE_WAY):
                if not self._due or self._due[0][0] > now:
                    break
                self._take(heapq.heappop(self._due)[2])

    def _unhold(self, backlog: Backlog, data: bytes) -> None:
        """A message is held no longer."""
        self._held[backlog] -= len(data)
        if not self._held[backlog]:
            del self._held[backlog]

    def _file(self, turn: _Turn) -> None:
        due = trio.current_time() + turn.every
        heapq.heappush(self._due, (due, next(self._numbers), turn))
        if due < self._sleep.deadline:
            self._sleep.deadline = due

    def _take(self, turn: _Turn) -> None:
        """A period is over."""
        backlog, data = turn.backlog, turn.data
        if backlog is None:
            self._left -= 1
        elif data is None:
            turns = self._turns[backlog]
            del turns[turn.key]
            if not turns:
                del self._turns[backlog]
        else:
            turn.data = None
            self._unhold(backlog, data)
            self._file(turn)
            backlog.put_latest(turn.key, data)
