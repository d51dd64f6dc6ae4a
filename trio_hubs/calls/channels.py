"""The channel pair: a writer and a reader on a trio memory channel, in .NET's terms.

A bare ``await send()`` for each item costs two passes of the scheduler. Here writing and reading check for
cancellation every time, but give way only when they have to wait or when 64 items have gone by.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar, final, overload

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled

from ..errors import ChannelClosed, StreamBroken

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
D = TypeVar("D")

GIVE_WAY = 64
"""Items after which a writer or a reader that never had to wait lets other tasks run."""


class Source(Protocol[T_co]):
    """Where a reader takes its items from: trio's receive channels have these methods."""

    def receive_nowait(self) -> T_co: ...

    async def receive(self) -> T_co: ...

    def close(self) -> None: ...


class ChannelEnd:
    """How a channel ended, and who waits for room in it: what its two ends share."""

    __slots__ = ("_traceback", "done", "dropped", "error", "room")

    def __init__(self) -> None:
        self.done = False
        self.dropped = 0
        self.error: Exception | None = None
        self.room = trio.lowlevel.ParkingLot()
        self._traceback: TracebackType | None = None

    def complete(self, error: Exception | None) -> None:
        """End the channel, once and for all."""
        self.done = True
        self.error = error
        self._traceback = error.__traceback__ if error is not None else None

    def end(self) -> Exception:
        """What a reader gets at the end."""
        if self.error is None:
            return trio.EndOfChannel()
        return self.error.with_traceback(self._traceback)  # which grows each time it is raised


@final
class ChannelReader(Generic[T]):
    """The reading end of a channel; made by :func:`open_channel`, or by a call that streams.

    It ends when its writer completes: ``async for`` is over then, and the reading methods raise
    :exc:`trio.EndOfChannel`. A writer that completed with an error has that error raised instead, after the
    items that were written before it. .NET's two loops are spelled::

        while await reader.wait_to_read():
            for item in reader.read_ready():
                ...

    Several tasks may read; each item goes to one of them. As a context manager it leaves the channel at the end of the
    body.
    """

    def __init__(self, source: Source[T], end: ChannelEnd, ready: deque[T] | None = None) -> None:
        self._source = source
        self._end = end
        self._ready = (
            deque[T]() if ready is None else ready
        )  # the source's; the last one is for itself to give
        self._ahead: list[T] = []  # what wait_to_read has taken, an item for each task that waited
        self._taken = 0

    @property
    def dropped(self) -> int:
        """How many items have given way to newer ones, where :class:`DropOldest` or :class:`Conflate` was chosen."""
        return self._end.dropped

    async def read(self) -> T:
        """Wait for the next item.

        Always a cancellation point, and a cancelled call takes nothing; gives way to other tasks when it waits,
        else at least every 64 items.

        Raises:
            trio.EndOfChannel: The channel has been completed, and all of its items were read.
            ChannelClosed: This reader was closed.
            Exception: The error that the channel was completed with.
        """
        await checkpoint_if_cancelled()
        return await self._next()

    @overload
    def try_read(self) -> T | None: ...
    @overload
    def try_read(self, default: D) -> T | D: ...
    def try_read(self, default: Any = None) -> Any:
        """Take the next item if there is one now; raises nothing.

        Args:
            default: What to return where there is none: now, or because the channel is at its end, of which
                :meth:`wait_to_read` and :meth:`read` tell.
        """
        try:
            return self.read_nowait()
        except Exception:  # noqa: BLE001 - whatever the channel was completed with
            return default

    def read_nowait(self) -> T:
        """Take the next item, which must be there.

        Raises:
            trio.WouldBlock: There is none now.
            trio.EndOfChannel: The channel has been completed, and all of its items were read.
            ChannelClosed: This reader was closed.
            Exception: The error that the channel was completed with.
        """
        if self._ahead:
            return self._ahead.pop(0)
        self._taken += 1
        try:
            item = self._source.receive_nowait()
        except trio.EndOfChannel:
            pass
        except trio.ClosedResourceError:
            raise reader_closed() from None
        else:
            if self._end.room:
                self._end.room.unpark_all()
            return item
        raise self._end.end()

    def read_ready(self, limit: int | None = None) -> list[T]:
        """Take everything that is there now, without waiting.

        Args:
            limit: Take no more items than this.

        Returns:
            The items in order; none when nothing is ready or the channel is at its end.

        Raises:
            ChannelClosed: This reader was closed.
            Exception: The error that the channel was completed with, when no items are left before it.
        """
        items = self._ahead[:limit]
        del self._ahead[:limit]
        self._taken -= len(items)  # those were counted when they were taken
        receive = self._source.receive_nowait
        failed = False
        try:
            while limit is None or len(items) < limit:
                items.append(receive())
        except trio.WouldBlock:
            pass
        except trio.EndOfChannel:
            failed = self._end.error is not None and not items
        except trio.ClosedResourceError:
            raise reader_closed() from None
        if failed:
            raise self._end.end()
        self._taken += len(items)
        if self._end.room:
            self._end.room.unpark_all()
        return items

    async def wait_to_read(self) -> bool:
        """Wait until there is an item or the end.

        A checkpoint like :meth:`read`.

        Returns:
            Whether :meth:`read_nowait` has an item; ``False`` at the end.

        Raises:
            ChannelClosed: This reader was closed.
            Exception: The error that the channel was completed with, after its items.
        """
        if self._ahead:
            await checkpoint_if_cancelled()
            return True
        try:
            self._ahead.append(await self.read())
        except trio.EndOfChannel:
            return False
        return True

    def close(self) -> None:
        """Leave the channel: unread items are thrown away, and its writer's next item raises :exc:`ChannelClosed`."""
        self._ahead.clear()
        self._source.close()
        self._end.room.unpark_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        await checkpoint_if_cancelled()
        if len(self._ready) > 1 and self._taken < GIVE_WAY - 1 and not self._ahead:
            self._taken += 1
            return self._ready.popleft()
        try:
            return await self._next()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def _next(self) -> T:
        """The next item, for a task that is not cancelled."""
        try:
            item = self.read_nowait()
        except trio.WouldBlock:
            self._taken = 0
            return await self._receive()
        if self._taken >= GIVE_WAY:
            self._taken = 0
            await cancel_shielded_checkpoint()
        return item

    async def _receive(self) -> T:
        self._end.room.unpark_all()  # a reader that waits is room, too
        try:
            return await self._source.receive()
        except trio.EndOfChannel:
            pass
        except trio.ClosedResourceError:
            raise reader_closed() from None
        raise self._end.end()


@final
class ChannelWriter(Generic[T]):
    """The writing end of a channel; made by :func:`open_channel`. Several tasks may write.

    As a context manager it completes the channel at the end of the body: with the body's exception, if it raised one.
    """

    def __init__(self, channel: trio.MemorySendChannel[T], end: ChannelEnd) -> None:
        self._channel = channel
        self._send_nowait = channel.send_nowait
        self._end = end
        self._written = 0

    async def write(self, item: T) -> None:
        """Write an item; wait while the channel is full.

        Always a cancellation point, and a cancelled call writes nothing; gives way to other tasks when it waits,
        else at least every 64 items.

        Raises:
            ChannelClosed: The channel has been completed, or its reader has left.
        """
        await checkpoint_if_cancelled()
        try:
            self._send_nowait(item)
        except trio.WouldBlock:
            self._written = 0
            try:
                await self._channel.send(item)
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                raise self._closed() from None
            return
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise self._closed() from None
        self._written += 1
        if self._written >= GIVE_WAY:
            self._written = 0
            await cancel_shielded_checkpoint()

    def write_nowait(self, item: T) -> None:
        """Write an item, for which there must be room.

        Raises:
            trio.WouldBlock: There is none now.
            ChannelClosed: The channel has been completed, or its reader has left.
        """
        try:
            self._channel.send_nowait(item)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise self._closed() from None

    def try_write(self, item: T) -> bool:
        """Write an item if there is room now; raises nothing.

        Returns:
            Whether it was written; ``False`` when the channel is full, completed, or left by its reader.
        """
        try:
            self.write_nowait(item)
        except (trio.WouldBlock, ChannelClosed):
            return False
        return True

    async def wait_to_write(self) -> bool:
        """Wait until there is room or the end. A checkpoint.

        Returns:
            Whether :meth:`try_write` has room; ``False`` when the channel is completed or its reader has left.
        """
        await trio.lowlevel.checkpoint()
        while not self._end.done:
            state = self._channel.statistics()
            if not state.open_receive_channels:
                return False
            if state.current_buffer_used < state.max_buffer_size or state.tasks_waiting_receive:
                return True
            await self._end.room.park()
        return False

    def complete(self, error: Exception | None = None) -> bool:
        """End the channel: its reader gets what was written, then the end or the error.

        Args:
            error: What the reader shall raise instead of ending.

        Returns:
            Whether this call ended it; ``False`` when it had been completed before, which changes nothing.
        """
        if self._end.done:
            return False
        self._end.complete(error)
        self._channel.close()
        self._end.room.unpark_all()
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, traceback: object) -> None:
        if error is None or isinstance(error, Exception):
            self.complete(error)
        else:  # it was cancelled, say, and a channel that is cut off must not look complete
            self.complete(StreamBroken("The channel's writer has left before its end."))

    def _closed(self) -> ChannelClosed:
        if self._end.done:
            return ChannelClosed("The channel has been completed; nothing can be written to it any more.")
        return ChannelClosed("The channel's reader has left; nothing can be written to it any more.")


def reader_closed() -> ChannelClosed:
    """What reading from a reader raises that was closed."""
    return ChannelClosed("This reader was closed; nothing can be read from it any more.")


@overload
def open_channel(
    item_type: type[T], *, capacity: float = 100
) -> tuple[ChannelWriter[T], ChannelReader[T]]: ...
@overload
def open_channel(
    item_type: Any, *, capacity: float = 100
) -> tuple[ChannelWriter[Any], ChannelReader[Any]]: ...
def open_channel(
    item_type: Any,  # noqa: ARG001 - for type checkers
    *,
    capacity: float = 100,
) -> tuple[ChannelWriter[Any], ChannelReader[Any]]:
    """Make a channel: what is written at one end is read at the other, in order.

    Args:
        item_type: The type of the items, for type checkers and readers of the code.
        capacity: How many items may lie unread before their writer has to wait; with 0 each is handed over directly.

    Returns:
        The writer and the reader.

    Raises:
        ValueError: The capacity is below 0.
    """
    if capacity < 0:
        raise ValueError(f"capacity must be 0 or more: {capacity}")
    send, receive = trio.open_memory_channel[Any](capacity)
    end = ChannelEnd()
    return ChannelWriter(send, end), ChannelReader(receive, end)
