"""Bytes from one task to another, in order and bounded; a reader takes all that is there."""

from __future__ import annotations

from copy import copy

import trio

from ..errors import ConnectionClosed


class Pipe:
    """One direction of a connection whose bytes come or go by requests of their own.

    Args:
        limit: Bytes from which on putting in waits.

    Attributes:
        limit: The same.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._data = bytearray()
        self._closed = False
        self._error: ConnectionClosed | None = None
        self._readers = trio.lowlevel.ParkingLot()
        self._writers = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._data)

    @property
    def room(self) -> int:
        """How many bytes it takes before putting in waits."""
        return self.limit - len(self._data)

    @property
    def closed(self) -> bool:
        """Whether nothing more is let in."""
        return self._closed

    async def put(self, data: bytes) -> None:
        """Put bytes in, then wait until there is room for more. A checkpoint only when it has to wait.

        A cancelled call has put all of them in.

        Raises:
            ConnectionClosed: Nobody takes them any more.
        """
        self._check()
        self._data += data
        self._readers.unpark_all()
        while len(self._data) >= self.limit:
            await self._writers.park()
            self._check()

    def _check(self) -> None:
        if self._closed:
            raise ConnectionClosed("The connection is over.")

    async def take(self) -> bytes:
        """Wait for bytes, and take all of them. A checkpoint; a cancelled call takes none.

        Returns:
            At least one byte, or ``b""`` when the pipe is closed and empty.

        Raises:
            ConnectionClosed: The pipe is empty, and was closed with this error.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._data and not self._closed:
            await self._readers.park()
        await trio.lowlevel.cancel_shielded_checkpoint()
        if not self._data and self._error is not None:
            raise copy(self._error)
        data = bytes(self._data)
        self._data.clear()
        self._writers.unpark_all()
        return data

    async def wait_over(self) -> None:
        """Wait until it is closed and empty. A checkpoint only when it has to wait."""
        while self._data or not self._closed:
            await self._writers.park()

    def put_back(self, data: bytes) -> None:
        """Put back what was taken and could not be used; it comes first again."""
        self._data[:0] = data

    def discard(self) -> None:
        """Throw away what is in it."""
        self._data.clear()

    def close(self, error: ConnectionClosed | None = None) -> None:
        """Let nothing more in; what is in it can still be taken. The first call decides how."""
        if not self._closed:
            self._closed = True
            self._error = error
            self._readers.unpark_all()
            self._writers.unpark_all()
