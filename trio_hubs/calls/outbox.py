"""What waits to be sent on one connection, and the only task that sends it.

Producers append whole messages without waiting; the writer takes all that is there and sends it as one piece.
So an item is on its way as soon as its producer waits for anything, no cancelled producer cuts a message,
and a producer waits, when it can, while more than the high-water mark is queued.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from math import inf
from typing import TypeAlias

import trio

from ..connections.duplex import Duplex
from ..errors import ConnectionClosed
from ..logs import get_logger
from .replay import Replay

logger = get_logger(__name__)

HIGH_WATER = 64 * 1024
"""Bytes beyond which producers wait (ASP.NET Core's ``TransportMaxBufferSize``)."""

Batch: TypeAlias = tuple[list[bytes | bytearray], bytes, dict[Hashable, bytes]]
"""Pieces, what they make together, and what connections have made of that to send it, by kind."""

_BLANKS = 256
_FLOOD = 16


class Outbox:
    """The messages that wait for one connection's writer.

    Args:
        connection: Where to send them.
        high_water: Bytes beyond which producers wait.
        replay: Keeps what has been sent, on a connection that can be resumed.
        awaiting: Held open while the peer has to acknowledge something before more is sent.

    Attributes:
        high_water: Bytes beyond which producers wait.
        size: Bytes that wait.
        unheld: Those of them that whoever sent them could not be made to wait with.
        deadline: When the oldest of the messages that must not wait for long is overdue, in trio's clock.
        dropped: How many messages have been dropped since they were no longer worth sending.
        awaiting_since: Since when the peer has to acknowledge something before more is sent, in trio's clock.
        sending_since: When the writer began to send what it is sending now, in trio's clock; ``None`` between sends.
        last_sent: When something was last sent.
        over: Whether the connection cannot be sent on any more.
        queue_first: Called before anything is queued: whoever runs at this moment has made something before that.
    """

    def __init__(
        self,
        connection: Duplex,
        *,
        high_water: int = HIGH_WATER,
        replay: Replay | None = None,
        awaiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.size = self.unheld = 0
        self.deadline = inf
        self.dropped = 0
        self.sending_since: float | None = None
        self.last_sent = trio.current_time()
        self.over = False
        self.high_water = high_water
        self._replay = replay
        self._awaiting = awaiting
        self.awaiting_since = inf
        self._control = b""  # what goes out before all else, and is never repeated
        self._unasked = 0  # bytes of answers that nobody could hold back, such as refusals
        self._connection = connection
        self._pieces: list[bytes | bytearray] = []
        self._count = 0  # messages among them that count for the replay
        self._expendable: deque[bytearray] = deque()  # those that may be emptied, oldest first
        self._latest: dict[Hashable, bytearray] = {}  # those that the next with their key replaces
        self._blanks = 0  # those that have been emptied
        self._idle = False  # nothing is being sent, so that the next may go out at once
        self.queue_first: Callable[[], None] | None = None
        self._start_writer: Callable[[], None] | None = None  # until there is one
        self._corked = False
        self._finishing = False
        self._closed = False
        self._scope = trio.CancelScope(shield=True)
        self._writer = trio.lowlevel.ParkingLot()
        self._producers = trio.lowlevel.ParkingLot()
        self._finished = trio.Event()

    @property
    def full(self) -> bool:
        """Whether producers should wait."""
        return self.size >= self.high_water

    # ---- putting in

    def put(self, data: bytes | bytearray, count: int = 1) -> None:
        """Queue whole messages; never waits. Nothing is queued once the connection cannot be sent on.

        Args:
            data: The messages.
            count: How many they are.
        """
        if self.over:
            return
        if self.queue_first is not None:
            self._queue_first()
        self._pieces.append(data)
        self._count += count
        self.size += len(data)
        if self._idle and not self._corked:
            self._wake_writer()

    def _queue_first(self) -> None:
        assert self.queue_first is not None
        queue, self.queue_first = self.queue_first, None
        queue()
        self.queue_first = queue

    def put_control(self, data: bytes) -> None:
        """Queue what is no part of any call, such as a ping: it goes before what waits, and is not repeated."""
        if self.over:
            return
        self._control += data
        if self._idle and not self._corked:
            self.uncork()

    def _wake_writer(self) -> None:
        self._idle = False
        if self._start_writer is None:
            self._writer.unpark()
        else:
            self._start_writer()
            self._start_writer = None

    def put_now(self, data: bytes | bytearray) -> None:
        """Like :meth:`put`, but sends at once where nothing else is queued and an idle connection takes it."""
        if self._corked:
            self.put(data)
        else:
            self._corked = True
            self.put(data)
            self.uncork()

    def put_shared(self, data: bytes, deadline: float) -> bool:
        """Queue one of the messages that go to many at a time.

        Args:
            data: The message.
            deadline: When it must have been taken, in trio's clock.

        Returns:
            Whether :meth:`flush` has to be called before long; else the writer will see to it.
        """
        if self.over:
            return False
        if self.queue_first is not None:
            self._queue_first()
        self._pieces.append(data)
        self._count += 1
        self.size += len(data)
        self.unheld += len(data)
        if deadline < self.deadline:
            self.deadline = deadline
        return self._idle

    def flush(self, like: Batch, now: float) -> Batch:
        """Send what is queued, as :meth:`uncork` does.

        Args:
            like: What the outbox before this one has sent. The same for many is joined and framed only once.
            now: The time, in trio's clock.

        Returns:
            The same for this one.
        """
        if self._idle:
            if self._pieces != like[0]:
                like = self._pieces[:], b"".join(self._pieces), {}
            self._send_now(like[1], now, like[2])
        return like

    def _send_now(self, data: bytes, now: float, packed: dict[Hashable, bytes] | None = None) -> None:
        """Send all of the pieces, if an idle connection takes them, else have the writer see to it."""
        connection = self._connection
        control = self._control
        blocked = not (data or control) or connection.away or (self._replay is not None and self._held)
        if not blocked and connection.send_nowait(control + data, None if control else packed):
            self._control = b""
            self._took(data)
            self.last_sent = now
            if self.awaiting_since < inf or connection.unsent:
                self._wake_writer()
        elif self._pieces or self._control or self.awaiting_since < inf:
            self._wake_writer()

    def put_expendable(self, data: bytes) -> None:
        """Queue a message, and while too much waits drop the oldest of those that were queued so."""
        while self.size >= self.high_water and self._expendable:
            self._drop(self._expendable.popleft())
        piece = bytearray(data)
        self.put_now(piece)
        if self._pieces:
            self._expendable.append(piece)

    def put_latest(self, key: Hashable, data: bytes) -> None:
        """Queue a message instead of the one with the same key that still waits, if there is one."""
        if (old := self._latest.pop(key, None)) is not None:
            self.unheld -= len(old)
            self._drop(old)
        piece = bytearray(data)
        self.unheld += len(data)
        self.put_now(piece)
        if self._pieces:
            self._latest[key] = piece

    def _drop(self, piece: bytearray) -> None:
        self.size -= len(piece)
        self._count -= 1
        self.dropped += 1
        piece.clear()
        self._blanks += 1
        if self._blanks > _BLANKS and self._blanks * 2 > len(self._pieces):
            self._pieces = [piece for piece in self._pieces if piece]
            self._blanks = 0

    def put_unasked(self, data: bytes) -> None:
        """Queue what the peer has caused by itself, and so must not cause without end: see :meth:`wait_taken`."""
        self._unasked += len(data)
        self.put(data)

    def cork(self) -> None:
        """Do not wake the writer until :meth:`uncork`, which must follow without waiting for anything."""
        self._corked = True

    def uncork(self) -> None:
        """Send what has been queued since: at once, where an idle connection takes it, else by the writer."""
        self._corked = False
        if self._idle:
            self._send_now(b"".join(self._pieces), trio.current_time())

    # ---- waiting

    async def wait_room(self) -> None:
        """Wait until producers may go on. A checkpoint only when it has to wait.

        Raises:
            ConnectionClosed: The connection cannot be sent on any more.
        """
        await self.wait_not_full()
        if self.over or self._closed:
            raise ConnectionClosed("The connection is over.")

    async def wait_not_full(self) -> None:
        """Wait until producers may go on, or nothing can be sent any more. A checkpoint only when it has to wait."""
        while self.full and not (self.over or self._closed):
            await self._producers.park()

    def close(self) -> None:
        """Let nobody wait any more: the connection is ending."""
        self._closed = True
        self._producers.unpark_all()

    async def wait_taken(self) -> None:
        """Wait while the peer does not take what it has caused by itself. A checkpoint only when it has to wait."""
        while self._unasked >= self.high_water and not (self.over or self._held):
            await self._producers.park()

    @property
    def flooded(self) -> bool:
        """Whether the peer has caused far more by itself than it takes."""
        return self._unasked >= _FLOOD * self.high_water

    # ---- sending

    @property
    def _held(self) -> bool:
        """Whether the peer has to acknowledge something before more is sent."""
        return self._replay is not None and self._replay.full and not self._finishing

    @property
    def _sendable(self) -> bool:
        """Whether there is something that can be sent now."""
        if self._connection.away:
            return False
        return bool(self._control or (self._pieces and not self._held)) or self._connection.unsent

    def _took(self, data: bytes) -> None:
        """All of the pieces are on their way."""
        if self._replay is not None:
            self._replay.record(data, self._count)
        self._pieces.clear()
        if self._expendable or self._latest:
            self._expendable.clear()
            self._latest.clear()
        self.size = self._unasked = self._count = self._blanks = self.unheld = 0
        self.deadline = self.awaiting_since = inf
        if self._producers:
            self._producers.unpark_all()

    def resume(self) -> None:
        """The connection goes on after it was torn: say so, and repeat what the peer may not have."""
        assert self._replay is not None
        self._control = self._replay.repeat()
        self.deadline = self.awaiting_since = inf
        if self._idle:
            self._wake_writer()

    def start(self, nursery: trio.Nursery, on_failure: Callable[[Exception], None]) -> None:
        """Send what is queued from now on: at once where the connection takes it, else by a writer in this nursery.

        Whoever starts it calls :meth:`finish` in a ``finally``.

        Args:
            nursery: Where the writer runs, once there has to be one.
            on_failure: Called when sending fails.
        """
        self._start_writer = lambda: nursery.start_soon(self.run, on_failure)
        self._idle = True
        self.uncork()

    async def run(self, on_failure: Callable[[Exception], None]) -> None:
        """Send what is queued, until :meth:`finish` is called and all is sent, or sending fails.

        Not cancelled with its nursery: the last messages of a connection that is being cancelled still leave.

        Args:
            on_failure: Called when sending fails.
        """
        with self._scope:
            try:
                while True:
                    while not self._sendable:
                        if self._finishing:
                            return
                        await self._wait_sendable()
                    data, self._control = self._control, b""
                    if not self._held:
                        pieces = b"".join(self._pieces)
                        self._took(pieces)
                        data += pieces
                    self.last_sent = self.sending_since = trio.current_time()
                    await self._connection.send(data)
                    self.sending_since = None
            except ConnectionClosed as error:
                logger.debug("sending on connection %s failed: %s", self._connection.id, error)
                on_failure(error)
            finally:
                self._end()

    def _end(self) -> None:
        self.over = True
        self._pieces.clear()
        self.size = 0
        self._producers.unpark_all()
        self._finished.set()

    async def _wait_sendable(self) -> None:
        self._idle = True
        if self._pieces and self._held:
            self.awaiting_since = min(self.awaiting_since, trio.current_time())
            self._producers.unpark_all()  # whoever reads for the peer's sake has to read on
            with self._awaiting():
                await self._writer.park()
        else:
            self.awaiting_since = inf
            await self._writer.park()

    def give_up(self) -> None:
        """Send nothing more, not even the rest of what is being sent."""
        self._scope.cancel()

    async def finish(self, timeout: float) -> None:
        """Let the writer send what is queued and end, within a time; also while cancelled.

        Args:
            timeout: Seconds after which what has not been sent is given up.
        """
        self._finishing = True
        if self._start_writer is not None and not self._sendable:
            self._end()
            return
        self._wake_writer()
        self._scope.deadline = trio.current_time() + timeout
        with trio.CancelScope(shield=True):
            await self._finished.wait()
