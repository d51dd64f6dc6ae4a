"""The newest of what the peer sends, for a reader that may miss the rest: it never keeps anybody waiting."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from itertools import count
from typing import Any, TypeVar

import trio
from msgspec import Raw

from ..errors import BindingError
from .policies import Conflate, DropOldest
from .reading import Reading
from .unread import ItemLoader, Unread

T = TypeVar("T")


class NewestItems(Unread[T]):
    """A bounded number of items: beyond it the oldest give way, and with a key the one that is about the same.

    Args:
        id: What their messages carry.
        reading: Hears of a reader that waits.
        load: Decodes each of them, as it comes.
        capacity: How many there may be.
        policy: Which of them give way.
    """

    def __init__(
        self,
        id: str,
        reading: Reading,
        load: ItemLoader[T],
        capacity: int,
        policy: DropOldest | Conflate,
    ) -> None:
        super().__init__(id, reading, load)
        if isinstance(policy, Conflate) and policy.every is not None:
            raise ValueError("every is for what is sent, and not for readers")
        self._capacity = capacity
        self._key = _key_of(policy)
        self._items: OrderedDict[Hashable, T] = OrderedDict()

    # ---- the dispatcher's side: nothing here waits

    def feed(self, raws: Sequence[Raw]) -> bool:
        """Take in items; whether that went well."""
        for raw in raws:
            if self._end.done:
                break
            try:
                item = self._load.one(raw)
                key = self._key(item)
            except Exception as error:  # noqa: BLE001 - the border to users' types and keys
                if self._load.leave_out is not None and isinstance(error, BindingError):
                    self._load.leave_out(error)
                    continue
                self.end(error)
                return False
            replaced = key in self._items
            self._items[key] = item
            self._items.move_to_end(key)
            if len(self._items) > self._capacity:
                self._items.popitem(last=False)
                replaced = True
            self._end.dropped += replaced
        self._readers.unpark_all()
        return True

    # ---- the reader's side

    def receive_nowait(self) -> T:
        if not self._items:
            raise trio.EndOfChannel if self._end.done else trio.WouldBlock
        return self._items.popitem(last=False)[1]

    @property
    def _any(self) -> bool:
        return bool(self._items)

    def _discard(self) -> None:
        self._items.clear()


def _key_of(policy: DropOldest | Conflate) -> Callable[[Any], Hashable]:
    if isinstance(policy, DropOldest):
        numbers = count()
        return lambda _: next(numbers)
    key = policy.key
    return key if callable(key) else lambda _: key
