"""What of one stream of the peer's lies unread: fed by whoever reads the connection, and taken by the reader's task.

Whoever feeds it never waits. A reader that waits has the connection read.
"""

from __future__ import annotations

import abc
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import attrs
import trio
from msgspec import Raw

from ..errors import BindingError
from .channels import ChannelEnd, ChannelReader, reader_closed
from .reading import Reading

T = TypeVar("T")


@attrs.frozen
class ItemLoader(Generic[T]):
    """Decodes items.

    Attributes:
        many: Decodes joined items, all or none.
        one: Decodes one item.
        leave_out: Told of an item that does not fit, which is left out then; without it, that is the stream's failure.
    """

    many: Callable[[bytes], list[T]]
    one: Callable[[Raw], T]
    leave_out: Callable[[BindingError], None] | None = None


class Unread(abc.ABC, Generic[T]):
    """The source of one stream's :class:`ChannelReader`.

    Args:
        id: What the stream's messages carry.
        reading: Hears of a reader that waits.
        load: Decodes the items.
        ready: Where those lie that are decoded.

    Attributes:
        id: What the stream's messages carry.
        reader: What user code reads it with.
    """

    def __init__(self, id: str, reading: Reading, load: ItemLoader[T], ready: deque[T] | None = None) -> None:
        self.id = id
        self._reading = reading
        self._load = load
        self._end = ChannelEnd()
        self._readers = trio.lowlevel.ParkingLot()
        self.reader: ChannelReader[T] = ChannelReader(self, self._end, ready)

    # ---- the dispatcher's side: nothing here waits

    @abc.abstractmethod
    def feed(self, raws: Sequence[Raw]) -> bool:
        """Take in items; whether that went well."""

    def end(self, error: Exception | None) -> None:
        """No more items come."""
        if not self._end.done:
            self._end.complete(error)
            self._readers.unpark_all()

    def move(self, reading: Reading) -> None:
        """The items come by another connection from now on."""
        self._reading = reading
        self._readers.unpark_all()

    @property
    def awaited(self) -> bool:
        """Whether a reader waits for what comes."""
        return bool(self._readers)

    # ---- the reader's side

    @abc.abstractmethod
    def receive_nowait(self) -> T: ...

    async def receive(self) -> T:
        while True:
            try:
                return self.receive_nowait()
            except trio.WouldBlock:
                with self._reading.waiting():
                    await self._readers.park()

    @property
    @abc.abstractmethod
    def _any(self) -> bool:
        """Whether something lies there."""

    @abc.abstractmethod
    def _discard(self) -> None:
        """Throw it away."""

    def close(self) -> None:
        """The reader has left."""
        if self._any or not self._end.done:  # a reader that goes on must not take it for the end
            self._end.complete(reader_closed())
            self._readers.unpark_all()
        self._discard()
