"""What waits to be sent on one connection, and the only task that sends it.

Producers append whole messages without waiting; the writer takes all that is there and sends it as one piece.
So an item is on its way as soon as its producer waits for anything, no cancelled producer cuts a message,
and a producer waits, when it can, while more than the high-water mark is queued.

Its end is the table of transitions below.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from enum import Enum, auto
from math import inf
from typing import TypeAlias

import trio

from ..connections.duplex import Duplex
from ..errors import ConnectionClosed
from ..logs import get_logger
from .replay import Replay
from .send_times import SendTimes

logger = get_logger(__name__)


class State(Enum):
    """How far the end of an outbox has come.

    Attributes:
        sends: Whether what is queued is sent; else nothing is queued any more.
        holds: Whether producers wait while too much is queued.
    """

    OPEN = "producers wait while too much is queued", True, True
    CLOSED = "nobody waits any more, and all is sent", True, False
    FINISHING = "the writer ends when all is sent, acknowledged or not", True, False
    GIVEN_UP = "nothing is sent, not even the rest of what was begun", False, False
    OVER = "there is no writer, and will be none", False, False

    sends: bool
    holds: bool

    def __init__(self, _: str, sends: bool, holds: bool) -> None:
        self.sends = sends
        self.holds = holds


class Event(Enum):
    """What brings the end of an outbox about."""

    CLOSE = auto()
    FINISH = auto()
    GIVE_UP = auto()
    ENDED = auto()


TRANSITIONS = {
    (State.OPEN, Event.CLOSE): State.CLOSED,
    (State.OPEN, Event.FINISH): State.FINISHING,
    (State.OPEN, Event.GIVE_UP): State.GIVEN_UP,
    (State.OPEN, Event.ENDED): State.OVER,
    (State.CLOSED, Event.FINISH): State.FINISHING,
    (State.CLOSED, Event.GIVE_UP): State.GIVEN_UP,
    (State.CLOSED, Event.ENDED): State.OVER,
    (State.FINISHING, Event.GIVE_UP): State.GIVEN_UP,
    (State.FINISHING, Event.ENDED): State.OVER,
    (State.GIVEN_UP, Event.ENDED): State.OVER,
}
"""All other events change nothing."""

TRANSPORT_BUFFER_SIZE = 64 * 1024
"""Bytes beyond which producers wait (ASP.NET Core's ``TransportMaxBufferSize``)."""

Batch: TypeAlias = tuple[list[bytes | bytearray], bytes, dict[Hashable, bytes]]
"""Pieces, what they make together, and what connections have made of that to send it, by kind."""

_FLOOD = 16


class Outbox:
    """The messages that wait for one connection's writer.

    Args:
        connection: Where to send them.
        transport_buffer_size: Bytes beyond which producers wait.
        replay: Keeps what has been sent, on a connection that can be resumed.

    Attributes:
        transport_buffer_size: Bytes beyond which producers wait.
        size: Bytes that wait.
        sent_bytes: Bytes that did, and are on their way.
        unheld: Bytes among them whose producers did not wait.
        batch: How often all that waited has been taken to be sent.
        queue_first: Called before anything is queued, by a producer that has items to be queued before it.
        state: How far its end has come.
        times: Since when the peer owes something, and by when it must have taken what waits.
    """

    def __init__(
        self,
        connection: Duplex,
        *,
        transport_buffer_size: int = TRANSPORT_BUFFER_SIZE,
        replay: Replay | None = None,
    ) -> None:
        self.transport_buffer_size = transport_buffer_size
        self.size = self.unheld = self.sent_bytes = 0
        self.batch = 0
        self.queue_first: Callable[[], None] | None = None
        self.state = State.OPEN
        self.times = SendTimes(connection, trio.current_time())
        self._writer = _Writer(self.times, connection, replay)
        self._pieces: list[bytes | bytearray] = []
        self._count = 0  # messages among them that count for the replay
        self._unasked = 0  # bytes of answers that nobody could hold back, such as refusals
        self._producers = trio.lowlevel.ParkingLot()
        self._clock = trio.lowlevel.current_clock().current_time

    # ---- putting in

    def put(self, data: bytes | bytearray, count: int = 1) -> None:
        """Queue whole messages; never waits. Nothing is queued once nothing is sent any more.

        Args:
            data: The messages.
            count: How many they are.
        """
        if self._append(data, count) and not self._writer.corked:
            self._writer.wake(self)

    def put_now(self, data: bytes | bytearray, count: int = 1) -> None:
        """Like :meth:`put`, but sends at once where an idle connection takes it."""
        if self._append(data, count) and not self._writer.corked:
            self.uncork()

    def put_later(self, data: bytes, deadline: float = inf) -> bool:
        """Queue a message of a producer that does not wait; :meth:`flush` sends it, or a writer that is busy.

        Args:
            data: The message.
            deadline: When it must have been taken, in trio's clock.

        Returns:
            Whether :meth:`flush` has to be called before long.
        """
        idle = self._append(data, 1)
        self.unheld += len(data)
        if deadline < self.times.deadline:
            self.times.deadline = deadline
        return idle

    def _append(self, data: bytes | bytearray, count: int) -> bool:
        """Queue messages; whether nobody is about to send them."""
        if not self.state.sends:
            return False
        if self.queue_first is not None:
            queue, self.queue_first = self.queue_first, None
            queue()
            self.queue_first = queue
        self._pieces.append(data)
        self._count += count
        self.size += len(data)
        return self._writer.idle

    def put_control(self, data: bytes) -> None:
        """Queue what is no part of any call, such as a ping: it goes before what waits, and is not repeated."""
        if self.state.sends:
            self._writer.control += data
            if not self._writer.corked:
                self.uncork()

    def put_unasked(self, data: bytes) -> None:
        """Queue what the peer has caused by itself, and so must not cause without end: see :meth:`wait_taken`."""
        self._unasked += len(data)
        self.put(data)

    def cork(self) -> None:
        """Do not wake the writer until :meth:`uncork`, which must follow without waiting for anything."""
        self._writer.corked = True

    def uncork(self) -> None:
        """Send what has been queued since: at once, where an idle connection takes it, else by the writer."""
        writer = self._writer
        writer.corked = False
        if writer.idle and (self._pieces or writer.control or self.times.blocked_since < inf):
            writer.send_now(self, b"".join(self._pieces), self._clock())

    def flush(self, like: Batch, now: float) -> Batch:
        """Send what is queued, as :meth:`uncork` does.

        Args:
            like: What the outbox before this one has sent. The same for many is joined and framed only once.
            now: The time, in trio's clock.

        Returns:
            The same for this one.
        """
        if self._writer.idle:
            if self._pieces != like[0]:
                like = self._pieces[:], b"".join(self._pieces), {}
            self._writer.send_now(self, like[1], now, like[2])
        return like

    # ---- taking out

    def withdraw(self, piece: bytearray) -> None:
        """Take back a message that still waits: it is emptied, and keeps its place until :meth:`compact`."""
        self.size -= len(piece)
        self._count -= 1
        piece.clear()

    def rewrite(self, piece: bytearray, data: bytes) -> None:
        """Put another message in the place of one that still waits."""
        self.size += len(data) - len(piece)
        piece[:] = data

    def compact(self) -> None:
        """Forget the places of what has been taken back."""
        self._pieces = [piece for piece in self._pieces if piece]

    def _take(self, data: bytes, replay: Replay | None) -> None:
        """All that waits is on its way."""
        if replay is not None:
            replay.record(data, self._count)
        self.sent_bytes += len(data)
        self._pieces.clear()
        self.size = self.unheld = self._unasked = self._count = 0
        self.batch += 1
        self.times.deadline = self.times.blocked_since = inf
        if self._producers:
            self._producers.unpark_all()

    # ---- waiting

    @property
    def full(self) -> bool:
        """Whether producers should wait."""
        return self.size >= self.transport_buffer_size

    async def wait_room(self) -> None:
        """Wait until producers may go on. A checkpoint only when it has to wait.

        Raises:
            ConnectionClosed: The connection is over, or about to be.
        """
        while self.full and self.state.holds:
            await self._producers.park()
        self._check_holds()

    async def wait_place(self) -> None:
        """Wait while far too much waits, for a producer that queues before it waits. A checkpoint only when it has to.

        Raises:
            ConnectionClosed: The connection is over, or about to be.
        """
        while self.size >= _FLOOD * self.transport_buffer_size and self.state.holds:
            await self._producers.park()
        self._check_holds()

    def _check_holds(self) -> None:
        if not self.state.holds:
            raise ConnectionClosed("The connection is over.")

    async def wait_not_full(self) -> None:
        """Wait until producers may go on, or nobody waits any more. A checkpoint only when it has to wait."""
        while self.full and self.state.holds:
            await self._producers.park()

    async def wait_taken(self) -> None:
        """Wait while the peer does not take what it has caused by itself. A checkpoint only when it has to wait."""
        while (
            self._unasked >= self.transport_buffer_size
            and self.state.sends
            and not self._writer.blocked(self)
        ):
            await self._producers.park()

    @property
    def flooded(self) -> bool:
        """Whether the peer has caused far more by itself than it takes."""
        return self._unasked >= _FLOOD * self.transport_buffer_size

    # ---- beginning and end

    def start(self, nursery: trio.Nursery, on_failure: Callable[[Exception], None]) -> None:
        """Send what is queued from now on: at once where the connection takes it, else by a writer in this nursery.

        The same task must call :meth:`finish` in a ``finally``.

        Args:
            nursery: Where the writer runs, once there has to be one.
            on_failure: Called when sending fails.
        """
        self._writer.start(nursery, on_failure)
        self.uncork()

    def resume(self) -> None:
        """The connection goes on after it was torn: say so, and repeat what the peer may not have."""
        if self.state.sends:
            self.times.deadline = self.times.blocked_since = inf
            self._writer.repeat(self)

    def close(self) -> None:
        """Let nobody wait any more: the connection is ending."""
        self._go(Event.CLOSE)

    def give_up(self) -> None:
        """Send nothing more, not even the rest of what is being sent."""
        self._go(Event.GIVE_UP)
        self._writer.cancel()

    async def finish(self, timeout: float) -> None:
        """Let the writer send what is queued and end, within a time; also while cancelled.

        Args:
            timeout: Seconds after which what has not been sent is given up.
        """
        self._go(Event.FINISH)
        await self._writer.finish(self, timeout)

    def _go(self, event: Event) -> None:
        self.state = TRANSITIONS.get((self.state, event), self.state)
        if not self.state.sends:
            self._pieces.clear()
            self.size = self.unheld = 0
        self._producers.unpark_all()


class _Writer:
    """Sends what an outbox holds: at once where the connection takes it, else by a task that begins when needed.

    It is given the outbox with each call, lest they hold each other.

    Attributes:
        control: What goes out before all else, and is never repeated.
        idle: Whether nothing is being sent, so that the next message may go out at once.
        corked: Whether it shall not begin to send, as more comes at once.
    """

    def __init__(self, times: SendTimes, connection: Duplex, replay: Replay | None) -> None:
        self.control = b""
        self.idle = self.corked = False
        self._times = times
        self._connection = connection
        self._replay = replay
        self._beginning: tuple[trio.Nursery, Callable[[Exception], None]] | None = None  # of the task
        self._parked = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope(shield=True)
        self._ended = trio.Event()

    def blocked(self, outbox: Outbox) -> bool:
        """Whether the replay keeps it from sending more."""
        return self._replay is not None and self._replay.full and outbox.state is not State.FINISHING

    def _sendable(self, outbox: Outbox) -> bool:
        """Whether there is something that can be sent now."""
        if self._connection.away or not outbox.state.sends:
            return False
        return bool(self.control or (outbox.size and not self.blocked(outbox))) or self._connection.unsent

    def start(self, nursery: trio.Nursery, on_failure: Callable[[Exception], None]) -> None:
        """Be ready to send; the task begins when there has to be one."""
        self._beginning = nursery, on_failure
        self.idle = True

    def wake(self, outbox: Outbox) -> None:
        """Have the task look for what can be sent."""
        self.idle = False
        if self._beginning is None:
            self._parked.unpark()
        else:
            nursery, on_failure = self._beginning
            self._beginning = None
            nursery.start_soon(self.run, outbox, on_failure)

    def send_now(
        self, outbox: Outbox, data: bytes, now: float, packed: dict[Hashable, bytes] | None = None
    ) -> None:
        """Send all that is queued, if an idle connection takes it, else have the task see to it.

        Args:
            outbox: Where it is queued.
            data: All of it, joined.
            now: The time, in trio's clock.
            packed: What connections have made of the same bytes, by kind.
        """
        connection, control, replay = self._connection, self.control, self._replay
        blocked = (
            replay is not None and self._times.blocked_since < inf
        )  # the task holds the reading on, till it is woken
        if (
            (data or control)
            and not connection.away
            and (replay is None or not replay.full)
            and connection.send_nowait(control + data, None if control else packed)
        ):
            self.control = b""
            outbox._take(data, replay)
            self._times.last_sent = now
            if blocked or connection.unsent:
                self.wake(outbox)
        elif data or control or blocked:
            self.wake(outbox)

    def repeat(self, outbox: Outbox) -> None:
        """Send first what the peer may not have."""
        assert self._replay is not None
        self.control = self._replay.repeat()
        if self.idle:
            self.wake(outbox)

    async def run(self, outbox: Outbox, on_failure: Callable[[Exception], None]) -> None:
        """Send what is queued, until all is sent at the end, or sending fails.

        Not cancelled with its nursery: the last messages of a connection that is being cancelled still leave.

        Args:
            outbox: Where it is queued.
            on_failure: Called when sending fails.
        """
        with self._scope:
            try:
                while True:
                    while not self._sendable(outbox):
                        if outbox.state is State.FINISHING:
                            return
                        await self._wait(outbox)
                    data, self.control = self.control, b""
                    if not self.blocked(outbox):
                        pieces = b"".join(outbox._pieces)
                        outbox._take(pieces, self._replay)
                        data += pieces
                    self._times.last_sent = self._times.sending_since = trio.current_time()
                    if self._connection.unsent or not self._connection.send_nowait(data):
                        await self._connection.send(data)
                    self._times.sending_since = None
            except ConnectionClosed as error:
                logger.debug("sending on connection %s failed: %s", self._connection.id, error)
                on_failure(error)
            finally:
                self._end(outbox)

    async def _wait(self, outbox: Outbox) -> None:
        self.idle = True
        if self._replay is not None and outbox.size and self.blocked(outbox):
            self._times.blocked_since = min(self._times.blocked_since, trio.current_time())
            outbox._producers.unpark_all()  # for the peer's acknowledgement has to be read
            with self._replay.waiting():
                await self._parked.park()
        else:
            self._times.blocked_since = inf
            await self._parked.park()

    def cancel(self) -> None:
        """Send nothing more."""
        self.control = b""
        self._scope.cancel()

    async def finish(self, outbox: Outbox, timeout: float) -> None:
        """Wait for its end, within a time; also while cancelled."""
        self._scope.deadline = trio.current_time() + timeout
        if self._beginning is not None:  # no task has begun, so it need not
            _, on_failure = self._beginning
            self._beginning = None
            await self.run(outbox, on_failure)
        else:
            self.wake(outbox)
            with trio.CancelScope(shield=True):
                await self._ended.wait()

    def _end(self, outbox: Outbox) -> None:
        outbox._go(Event.ENDED)
        self._ended.set()
