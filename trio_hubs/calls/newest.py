"""The newest of what the peer sends, for a reader that may miss the rest: it never keeps anybody waiting."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from itertools import count
from typing import Any, Generic, TypeVar

import trio
from msgspec import Raw

from .channels import ChannelEnd, ChannelReader, reader_closed
from .policies import Conflate, DropOldest
from .reading import Reading

T = TypeVar("T")


class NewestItems(Generic[T]):
    """A bounded number of items: beyond it the oldest give way, and with a key the one that is about the same.

    Args:
        reading: Hears of a reader that waits.
        id: What their messages carry.
        load: Decodes one of them, as it comes.
        capacity: How many there may be.
        policy: Which of them give way.

    Attributes:
        id: What their messages carry.
        reader: What user code reads them with.
    """

    def __init__(
        self,
        reading: Reading,
        id: str,
        load: Callable[[Raw], T],
        capacity: int,
        policy: DropOldest | Conflate,
    ) -> None:
        self.id = id
        self._reading = reading
        self._load = load
        self._capacity = capacity
        self._key = _key_of(policy)
        self._items: OrderedDict[Hashable, T] = OrderedDict()
        self._end = ChannelEnd()
        self._readers = trio.lowlevel.ParkingLot()
        self.reader: ChannelReader[T] = ChannelReader(self, self._end)

    # ---- the dispatcher's side: nothing here waits

    def feed(self, raws: Sequence[Raw]) -> bool:
        """Take in items; whether that went well."""
        for raw in raws:
            if self._end.done:
                break
            try:
                item = self._load(raw)
                key = self._key(item)
            except Exception as error:  # noqa: BLE001 - the border to users' types and keys
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

    def end(self, error: Exception | None) -> None:
        """No more items come."""
        if not self._end.done:
            self._end.complete(error)
            self._readers.unpark_all()

    def move(self, reading: Reading) -> None:
        """The items come by another connection from now on."""
        self._reading = reading
        self._readers.unpark_all()

    # ---- the reader's side

    def receive_nowait(self) -> T:
        if not self._items:
            raise trio.EndOfChannel if self._end.done else trio.WouldBlock
        return self._items.popitem(last=False)[1]

    async def receive(self) -> T:
        while True:
            try:
                return self.receive_nowait()
            except trio.WouldBlock:
                with self._reading.waiting():
                    await self._readers.park()

    def close(self) -> None:
        """The reader has left."""
        if self._items or not self._end.done:
            self._end.complete(reader_closed())
            self._readers.unpark_all()
        self._items.clear()


def _key_of(policy: DropOldest | Conflate) -> Callable[[Any], Hashable]:
    if isinstance(policy, DropOldest):
        numbers = count()
        return lambda _: next(numbers)
    key = policy.key
    return key if callable(key) else lambda _: key
