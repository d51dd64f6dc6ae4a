"""What waits to be sent on one connection, and the only task that sends it.

Producers append whole messages without waiting; the writer takes all that is there and sends it as one piece.
So an item is on its way as soon as its producer waits for anything, no cancelled producer cuts a message,
and a producer waits, when it can, while more than the high-water mark is queued.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from ..connections.connection import Connection
from ..errors import ConnectionClosed

logger = logging.getLogger(__name__)

HIGH_WATER = 64 * 1024
"""Bytes beyond which producers wait (ASP.NET Core's ``TransportMaxBufferSize``)."""


class Outbox:
    """The messages that wait for one connection's writer.

    Args:
        connection: Where to send them.

    Attributes:
        size: Bytes that wait.
        sending_since: When the writer began to send what it is sending now, in trio's clock; ``None`` between sends.
        last_sent: When something was last sent.
        over: Whether the connection cannot be sent on any more.
    """

    def __init__(self, connection: Connection) -> None:
        self.size = 0
        self.sending_since: float | None = None
        self.last_sent = trio.current_time()
        self._unasked = 0  # bytes of answers that nobody could hold back, such as refusals
        self._connection = connection
        self._pieces: list[bytes] = []
        self._idle = False  # the writer waits for something to do
        self._corked = False
        self._finishing = False
        self.over = False
        self._scope = trio.CancelScope(shield=True)
        self._writer = trio.lowlevel.ParkingLot()
        self._producers = trio.lowlevel.ParkingLot()
        self._finished = trio.Event()

    @property
    def full(self) -> bool:
        """Whether producers should wait."""
        return self.size >= HIGH_WATER

    def put(self, data: bytes) -> None:
        """Queue whole messages; never waits. Nothing is queued once the connection cannot be sent on."""
        if self.over:
            return
        self._pieces.append(data)
        self.size += len(data)
        if self._idle and not self._corked:
            self._wake_writer()

    def _wake_writer(self) -> None:
        self._idle = False
        self._writer.unpark()

    def put_now(self, data: bytes) -> None:
        """Like :meth:`put`, but sends at once where nothing else is queued and an idle connection takes it."""
        if self._corked:
            self.put(data)
        else:
            self._corked = True
            self.put(data)
            self.uncork()

    def cork(self) -> None:
        """Do not wake the writer until :meth:`uncork`, which must follow without waiting for anything."""
        self._corked = True

    def uncork(self) -> None:
        """Send what has been queued since: at once, where an idle connection takes it, else by the writer."""
        self._corked = False
        if self._pieces and self._idle:
            if self._connection.send_nowait(b"".join(self._pieces)):
                self._pieces.clear()
                self.size = self._unasked = 0
                self.last_sent = trio.current_time()
            if self._pieces or self._connection.unsent:
                self._wake_writer()

    async def wait_room(self) -> None:
        """Wait until producers may go on. A checkpoint only when it has to wait.

        Raises:
            ConnectionClosed: The connection cannot be sent on any more.
        """
        await self.wait_below(HIGH_WATER)
        if self.over:
            raise ConnectionClosed("The connection is over.")

    def put_unasked(self, data: bytes) -> None:
        """Queue what the peer has caused by itself, and so must not cause without end: see :meth:`wait_taken`."""
        self._unasked += len(data)
        self.put(data)

    async def wait_taken(self) -> None:
        """Wait while the peer does not take what it has caused by itself. A checkpoint only when it has to wait."""
        while self._unasked >= HIGH_WATER and not self.over:
            await self._producers.park()

    async def wait_below(self, size: int) -> None:
        """Wait until fewer bytes are queued, or nothing can be sent any more. A checkpoint only when it has to wait."""
        while self.size >= size and not self.over:
            await self._producers.park()

    async def run(self, on_failure: Callable[[Exception], None]) -> None:
        """Send what is queued, until :meth:`finish` is called and all is sent, or sending fails.

        Not cancelled with its nursery: the last messages of a connection that is being cancelled still leave.
        Whoever starts this task calls :meth:`finish` in a ``finally``.

        Args:
            on_failure: Called when sending fails.
        """
        with self._scope:
            try:
                while True:
                    while not self._pieces and not self._connection.unsent:
                        if self._finishing:
                            return
                        self._idle = True
                        await self._writer.park()
                    data = b"".join(self._pieces)
                    self._pieces.clear()
                    self.size = self._unasked = 0
                    self._producers.unpark_all()
                    self.last_sent = self.sending_since = trio.current_time()
                    await self._connection.send(data)
                    self.sending_since = None
            except ConnectionClosed as error:
                logger.debug("sending on connection %s failed: %s", self._connection.id, error)
                on_failure(error)
            finally:
                self.over = True
                self._pieces.clear()
                self.size = 0
                self._producers.unpark_all()
                self._finished.set()

    def give_up(self) -> None:
        """Send nothing more, not even the rest of what is being sent."""
        self._scope.cancel()

    async def finish(self, timeout: float) -> None:
        """Let the writer send what is queued and end, within a time; also while cancelled.

        Args:
            timeout: Seconds after which what has not been sent is given up.
        """
        self._finishing = True
        self._wake_writer()
        self._scope.deadline = trio.current_time() + timeout
        with trio.CancelScope(shield=True):
            await self._finished.wait()
