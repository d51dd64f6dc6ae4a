"""What the peer streams to us, and how far we read ahead of those who want it.

Where a wait keeps the reading on past the connection's limit, the flooded stream fails. What arrives for a stream
that nobody wants any more is thrown away.

What lies unread lies undecoded: objects are many times larger than what they were on the wire, by which they count.
So items are joined as they come, in pieces, and a piece is decoded when its first item is wanted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

import trio
from msgspec import Raw

from ..errors import BindingError, HubsError, StreamOverflow
from ..protocol.payloads import Payloads
from .channels import GIVE_WAY
from .credits import GiveCredit
from .newest import NewestItems
from .policies import WAIT, ReaderPolicy, Wait
from .reading import Reading
from .unread import ItemLoader, Unread

T = TypeVar("T")

PIECE_SIZE = 512
"""Bytes of items that are decoded together at most, where each by itself has no more."""


KEEP = 32
"""Bytes that a payload counts for, besides its length."""


def payload_size(payload: Raw) -> int:
    """What a payload counts for, in bytes: its length, and something for its keep."""
    return memoryview(payload).nbytes + KEEP


def check_capacity(capacity: int) -> None:
    """Refuse a stream for which there is no room: its sender would wait for ever.

    Raises:
        ValueError: There is none.
    """
    if capacity < 1:
        raise ValueError(f"capacity must be 1 or more: {capacity}")


def _tell_nobody(_: str) -> None:
    pass


class IncomingStreams:
    """What lies unread on one connection.

    Args:
        reading: Counts it.
        payloads: Joins and splits it.
        give_credit: Gives the peer credit for its streams, where that is agreed.

    Attributes:
        reading: When the connection is read.
        give_credit: Gives the peer credit for its streams; ``None`` where that is not agreed.
        on_failed: Called with the id of a stream that fails as it is read, so that its peer can be told to stop;
            until the connection is over.
    """

    def __init__(self, reading: Reading, payloads: Payloads, give_credit: GiveCredit | None = None) -> None:
        self.reading = reading
        self.give_credit = give_credit
        self.join = payloads.join
        self.split = payloads.split
        self.on_failed: Callable[[str], None] = _tell_nobody
        self._streams: dict[str, Unread[Any]] = {}

    def __contains__(self, id: str) -> bool:
        return id in self._streams

    @overload
    def open(self, id: str, load: ItemLoader[T], capacity: int) -> IncomingStream[T]: ...
    @overload
    def open(self, id: str, load: ItemLoader[T], capacity: int, policy: ReaderPolicy) -> Unread[T]: ...
    def open(self, id: str, load: ItemLoader[T], capacity: int, policy: ReaderPolicy = WAIT) -> Unread[T]:
        """Expect a stream of the peer's from now on.

        Args:
            id: The id that its messages carry.
            load: Decodes its items.
            capacity: How many items may lie unread, however large, before the policy holds.
            policy: What becomes of further ones.
        """
        stream: Unread[T]
        if isinstance(policy, Wait):
            stream = IncomingStream(self, id, load, capacity)
        else:
            stream = NewestItems(id, self.reading, load, capacity, policy)
        self._streams[id] = stream
        return stream

    def move(self, reading: Reading) -> None:
        """The streams come by another connection from now on, for which what lies unread counts."""
        self.reading = reading
        for stream in self._streams.values():
            stream.move(reading)

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

    def forget(self, stream: Unread[Any]) -> None:
        """Nobody wants the stream any more: throw away what lies unread, and what still comes."""
        self._remove(stream)
        stream.close()

    def note_failed(self, stream: IncomingStream[Any]) -> None:
        """A stream has failed as it was read: throw away what still comes."""
        if self._remove(stream):
            self.on_failed(stream.id)

    def _remove(self, stream: Unread[Any]) -> bool:
        """Know a stream no more; whether it was known, for its peer may have ended it and used the id again."""
        if self._streams.get(stream.id) is not stream:
            return False
        del self._streams[stream.id]
        return True

    def fail_all(self, error: Exception) -> None:
        """The connection is over: every stream that has not ended fails, after what arrived of it."""
        while self._streams:
            self._streams.popitem()[1].end(error)
        self.on_failed = _tell_nobody


class IncomingStream(Unread[T]):
    """One stream of the peer's, all of whose items are wanted."""

    def __init__(self, incoming: IncomingStreams, id: str, load: ItemLoader[T], capacity: int) -> None:
        self._items: deque[T] = deque()  # of the first piece, when it has been decoded
        super().__init__(id, incoming.reading, load, self._items)
        self._capacity = capacity
        self._incoming = incoming
        self._pieces: deque[tuple[bytes, int, int]] = deque()  # joined items, how many, what they count for
        self._credit = incoming.give_credit(id, capacity) if incoming.give_credit is not None else None
        self._count = 0  # items in all pieces
        self._size = 0  # what they count for
        self._full = False

    # ---- the dispatcher's side: nothing here waits

    def feed(self, raws: Sequence[Raw]) -> bool:
        """Take in items; whether that went well."""
        if self._end.done:
            return True
        together = GIVE_WAY
        if (credit := self._credit) is not None:
            if len(raws) > credit.left:
                if credit.left:
                    self.feed(raws[: credit.left])
                self.end(
                    StreamOverflow("The peer sent more items than it had credit for; the stream was ended.")
                )
                return False
            credit.take(len(raws), max(map(payload_size, raws)))
            together = min(GIVE_WAY, (credit.room + 1) // 2)  # for what has been read goes by whole pieces
        size = len(b"".join(raws))
        step = max(1, min(together, PIECE_SIZE * len(raws) // (size or 1)))
        for start in range(0, len(raws), step):
            self._add(raws[start : start + step])
        self._count += len(raws)
        reading = self._reading
        self._note_size(size + KEEP * len(raws))
        if reading.overfull and self._size > reading.options.stream_buffer_size:
            self.end(
                StreamOverflow(
                    f"The peer sent {self._count} items faster than they were read, and the connection's limit of "
                    f"{reading.options.connection_buffer_limit} unread bytes was reached; the stream was ended."
                )
            )
            return False
        self._readers.unpark_all()
        return True

    def _add(self, raws: Sequence[Raw]) -> None:
        """Join items to a piece; to several where they are too large for one."""
        count, size = len(raws), len(b"".join(raws))
        if size > PIECE_SIZE and count > 1:
            self._add(raws[: count // 2])
            self._add(raws[count // 2 :])
        else:
            self._pieces.append((self._incoming.join(raws), count, size + KEEP * count))

    def _note_size(self, change: int) -> None:
        self._size += change
        if self._credit is not None:
            self._reading.count_credited(change)
            return
        self._reading.count(change)
        full = self._size > self._reading.options.stream_buffer_size and self._count > self._capacity
        if full != self._full:
            self._full = full
            self._reading.count_full(1 if full else -1)

    def move(self, reading: Reading) -> None:
        reading.count(self._size)
        reading.count_full(int(self._full))
        super().move(reading)

    # ---- the reader's side

    def receive_nowait(self) -> T:
        if not self._items and not self._decode():
            raise trio.EndOfChannel if self._end.done else trio.WouldBlock
        item = self._items.popleft()
        if not self._items:
            self._drop(1)
        return item

    def _decode(self) -> bool:
        """Decode the first piece; whether there is an item now."""
        while self._pieces:
            data = self._pieces[0][0]
            try:
                self._items.extend(self._load.many(data))
            except BindingError:
                self._decode_each(data)
            if self._items or not self._pieces:
                break
            self._drop(1)  # for none of it fits
        return bool(self._items)

    def _decode_each(self, data: bytes) -> None:
        try:
            for raw in self._split(data):
                try:
                    self._items.append(self._load.one(raw))
                except BindingError as error:
                    if self._load.leave_out is None:
                        raise
                    self._load.leave_out(error)
        except HubsError as error:
            self._fail(error)

    def _split(self, data: bytes) -> Sequence[Raw]:
        try:
            return self._incoming.split(data)
        except (ValueError, RecursionError) as error:
            raise BindingError("An item cannot be read.") from error

    def _fail(self, error: Exception) -> None:
        """The first piece has an item that does not fit: those before it are the last."""
        self._end.complete(error)
        first = self._pieces.popleft()
        self._drop(len(self._pieces))
        self._pieces.append(first)
        if not self._items:
            self._drop(1)
        self._readers.unpark_all()
        self._incoming.note_failed(self)

    def _drop(self, pieces: int) -> None:
        """Note that this many pieces have been read to their ends, or are thrown away."""
        dropped = 0
        for _ in range(pieces):
            _, count, size = self._pieces.popleft()
            self._count -= count
            dropped += size
        self._note_size(-dropped)
        if self._credit is not None and not self._end.done:
            self._credit.give_back(self._count)

    @property
    def _any(self) -> bool:
        return bool(self._pieces)

    def _discard(self) -> None:
        self._items.clear()
        self._drop(len(self._pieces))
