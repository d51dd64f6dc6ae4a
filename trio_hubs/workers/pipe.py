"""A pipe between a worker and its supervisor: frames out are queued within a bound, frames in taken as they come.

A writer waits only for the other side's reading, a reader for nothing but bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from ..connections.direct_socket import DirectSocketStream
from ..tasks import open_background
from .frames import Frame, FrameParser

READ_SIZE = 64 * 1024


class Pipe:
    """One end of a pipe.

    Args:
        stream: What carries it.
        on_room: Hears that something has been taken.
        largest: Bytes that a frame of the other side may have; ``None`` for any.

    Attributes:
        queued: Bytes that the other side has not taken.
    """

    def __init__(
        self, stream: trio.abc.Stream, on_room: Callable[[], object], largest: int | None = None
    ) -> None:
        self.queued = 0
        self._stream = stream
        self._on_room = on_room
        self._parser = FrameParser(largest)
        self._queue: list[bytes] = []
        self._idle = trio.lowlevel.ParkingLot()  # where the writer is while it has nothing to do
        self._sending_soon = False

    def put(self, data: bytes) -> None:
        """Queue whole frames."""
        self._queue.append(data)
        self.queued += len(data)
        if not self._sending_soon:
            # In the next pass of the scheduler, before what is sent to clients here in this one: while this process
            # writes to its clients, the others shall write to theirs.
            self._sending_soon = True
            trio.lowlevel.current_trio_token().run_sync_soon(self._send_now)

    async def run(self, take: Callable[[Sequence[Frame]], Awaitable[None]]) -> None:
        """Write what is queued and take what comes, until the other side has gone.

        Nothing is read while what came is being taken.

        Raises:
            ProtocolError: The other side sent something else than frames.
        """
        async with self._stream, open_background() as nursery:
            nursery.start_soon(self._write)
            try:
                while data := await self._stream.receive_some(READ_SIZE):
                    await take(self._parser.feed(bytes(data)))
            except trio.BrokenResourceError:
                return

    def _send_now(self) -> None:
        self._sending_soon = False
        if self._idle and isinstance(self._stream, DirectSocketStream):
            data = b"".join(self._queue)
            sent = self._stream.send_nowait(data)
            self._queue = [data[sent:]] if sent < len(data) else []
            self._note_sent(sent)
        if self._queue:
            self._idle.unpark_all()

    def _note_sent(self, size: int) -> None:
        self.queued -= size
        self._on_room()

    async def _write(self) -> None:
        """Send what is not sent at once."""
        try:
            while True:
                while not self._queue:
                    await self._idle.park()
                data = b"".join(self._queue)
                self._queue.clear()
                await self._stream.send_all(data)
                self._note_sent(len(data))
        except trio.BrokenResourceError:
            await trio.sleep_forever()  # the reader finds out
