"""What the peer streams to us, and how far we read ahead of those who want it.

Reading goes on while any task waits for something of the peer, or while what lies unread is within its bounds:
so memory stays bounded, the socket pushes back on a peer that floods, and a loop over a stream may call the
peer in its body. Where such a wait keeps the reading on past the hard limit, the flooded stream fails. What
arrives for a stream that nobody wants any more is thrown away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import attrs
import trio
from msgspec import Raw

from ..errors import BindingError, HubsError, StreamOverflow
from .channels import ChannelReader, Completion

T = TypeVar("T")


def payload_size(payload: Raw) -> int:
    """What a payload counts for, in bytes: its length, and something for its keep."""
    return memoryview(payload).nbytes + 32


@attrs.frozen(kw_only=True)
class IntakeLimits:
    """How much may lie unread.

    Attributes:
        stream_bytes: Bytes of one stream beyond which the connection is not read, unless somebody waits.
        connection_bytes: The same for all that lies unread on a connection.
        hard_bytes: Bytes of a connection beyond which what still comes fails, though somebody waits.
    """

    stream_bytes: int = 64 * 1024
    connection_bytes: int = 256 * 1024
    hard_bytes: int = 4 * 1024 * 1024


class Intake:
    """What lies unread on one connection."""

    def __init__(self, limits: IntakeLimits) -> None:
        self.limits = limits
        self._streams: dict[str, IncomingStream[Any]] = {}
        self._unread = 0  # bytes
        self._full = 0  # streams with more than their share
        self._waiting = 0  # tasks that wait for the peer
        self._reader = trio.lowlevel.ParkingLot()

    # ---- when to read

    @property
    def wants_more(self) -> bool:
        """Whether the connection should be read."""
        return self._waiting > 0 or (not self._full and self._unread < self.limits.connection_bytes)

    @property
    def overfull(self) -> bool:
        """Whether more lies unread than may under any circumstances."""
        return self._unread > self.limits.hard_bytes

    async def wait_wanted(self) -> None:
        """Wait until the connection should be read. A checkpoint only when it has to wait."""
        while not self.wants_more:
            await self._reader.park()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Hold this open while waiting for anything of the peer."""
        self._waiting += 1
        self._reader.unpark_all()
        try:
            yield
        finally:
            self._waiting -= 1

    def count(self, size: int) -> None:
        """Note that so many bytes more lie unread; negative when they have been taken."""
        self._unread += size
        if size < 0 and self._reader and self.wants_more:
            self._reader.unpark_all()

    def count_full(self, change: int) -> None:
        """Note that a stream has come to hold more than its share (1), or no longer does (-1)."""
        self._full += change
        if change < 0 and self.wants_more:
            self._reader.unpark_all()

    # ---- the streams

    def __contains__(self, id: str) -> bool:
        return id in self._streams

    def open(
        self,
        id: str,
        load_many: Callable[[Sequence[Raw]], list[T]],
        load: Callable[[Raw], T],
        capacity: int,
    ) -> IncomingStream[T]:
        """Expect a stream of the peer's from now on.

        Args:
            id: The id that its messages carry.
            load_many: Decodes items, all or none.
            load: Decodes one item.
            capacity: So many unread items are never too many.
        """
        stream = self._streams[id] = IncomingStream(self, id, load_many, load, capacity)
        return stream

    def feed(self, id: str, items: Sequence[Raw]) -> bool:
        """Take in items of a stream; of one that nobody wants they are thrown away.

        Returns:
            Whether they made the stream fail, so that its peer should be told to stop.
        """
        stream = self._streams.get(id)
        if stream is None or stream.feed(items):
            return False
        del self._streams[id]
        return True

    def complete(self, id: str, error: Exception | None) -> bool:
        """End a stream as its peer said.

        Returns:
            Whether there was such a stream.
        """
        stream = self._streams.pop(id, None)
        if stream is None:
            return False
        stream.end(error)
        return True

    def forget(self, stream: IncomingStream[Any]) -> None:
        """Nobody wants the stream any more: throw away what lies unread, and what still comes."""
        if (
            self._streams.get(stream.id) is stream
        ):  # else its peer has ended it, and may have used the id again
            del self._streams[stream.id]
        stream.close()

    def fail_all(self, error: Exception) -> None:
        """The connection is over: every stream that has not ended fails, after what arrived of it."""
        while self._streams:
            self._streams.popitem()[1].end(error)


class IncomingStream(Generic[T]):
    """One stream of the peer's: the source of a :class:`ChannelReader`.

    Attributes:
        id: What its messages carry.
        reader: What user code reads it with.
    """

    def __init__(
        self,
        intake: Intake,
        id: str,
        load_many: Callable[[Sequence[Raw]], list[T]],
        load: Callable[[Raw], T],
        capacity: int,
    ) -> None:
        self.id = id
        self._capacity = capacity
        self._intake = intake
        self._load_many = load_many
        self._load = load
        self._completion = Completion()
        self._items: deque[T] = deque()
        self._size = 0  # bytes that the items took on the wire
        self._batches: deque[tuple[int, int]] = deque()  # as they came: how many items, how many bytes
        self._left = 0  # items of the first batch that have not been read
        self._full = False
        self._readers = trio.lowlevel.ParkingLot()
        self.reader: ChannelReader[T] = ChannelReader(self, self._completion)

    # ---- the dispatcher's side: nothing here waits

    def feed(self, raws: Sequence[Raw]) -> bool:
        """Take in items; whether that went well."""
        if self._completion.done:
            return True
        try:
            self._items.extend(self._load_many(raws))
        except BindingError:
            try:
                for raw in raws:
                    self._items.append(self._load(raw))
            except HubsError as error:
                self.end(error)
                return False
        size = sum(map(payload_size, raws))
        if not self._batches:
            self._left = len(raws)
        self._batches.append((len(raws), size))
        self._size += size
        self._intake.count(size)
        if self._intake.overfull and self._size > self._intake.limits.stream_bytes:
            self.end(
                StreamOverflow(
                    f"The peer sent {len(self._items)} items faster than they were read, and the connection's "
                    f"limit of {self._intake.limits.hard_bytes} unread bytes was reached; the stream was ended."
                )
            )
            return False
        self._note_full()
        self._readers.unpark_all()
        return True

    def end(self, error: Exception | None) -> None:
        """No more items come."""
        if not self._completion.done:
            self._completion.complete(error)
            self._readers.unpark_all()

    def _note_full(self) -> None:
        full = self._size > self._intake.limits.stream_bytes and len(self._items) > self._capacity
        if full != self._full:
            self._full = full
            self._intake.count_full(1 if full else -1)

    # ---- the reader's side

    def receive_nowait(self) -> T:
        if not self._items:
            raise trio.EndOfChannel if self._completion.done else trio.WouldBlock
        item = self._items.popleft()
        self._left -= 1
        if not self._left:
            self._count_batch()
        return item

    def _count_batch(self) -> None:
        """The first batch has been read to its end."""
        _, size = self._batches.popleft()
        if self._batches:
            self._left = self._batches[0][0]
        self._size -= size
        self._intake.count(-size)
        self._note_full()

    async def receive(self) -> T:
        while not self._items and not self._completion.done:
            with self._intake.waiting():
                await self._readers.park()
        return self.receive_nowait()

    def close(self) -> None:
        """The reader has left."""
        if self._items or not self._completion.done:  # whoever reads on must not take it for the end
            self._completion.complete(trio.ClosedResourceError("this reader was closed"))
            self._readers.unpark_all()
        self._items.clear()
        self._batches.clear()
        self._intake.count(-self._size)
        self._size = 0
        self._note_full()
