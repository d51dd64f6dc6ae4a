"""How many of the peer's calls may run at a time: each takes a place as it begins, and gives it back.

It gives it back when it ends; when it streams or takes uploads, as soon as it has begun. While a call waits for its
own peer, its place is lent, if no other is free: so the peer can call us in the meantime.

Always: the places that are free and those that are taken are as many as there are at all, which is the maximum and
what is lent. Fewer than none are free while a lent place is taken whose lender goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Places:
    """The places of one connection.

    Args:
        maximum: How many there are.
        maximum_lent: How many may be lent at a time; of further calls that wait for their peer they stay taken.

    Attributes:
        count: How many there are at all, with those that are lent.
        free: How many of them are free.
    """

    __slots__ = ("_lendable", "count", "free")

    def __init__(self, maximum: int, maximum_lent: int) -> None:
        self.count = self.free = maximum
        self._lendable = maximum_lent

    def take(self) -> None:
        """A call begins."""
        self.free -= 1

    def give_back(self) -> None:
        """A call needs its place no longer."""
        self.free += 1

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Hold this open while a call waits for its own peer."""
        lent = int(self.free <= 0 and self._lendable > 0)
        self._add(lent)
        try:
            yield
        finally:
            self._add(-lent)

    def _add(self, count: int) -> None:
        self.count += count
        self.free += count
        self._lendable -= count
