"""Streams on their way out: items of a reader or of any async iterable, encoded by their own task.

An item is queued the moment it is there. A producer that never waits for anything gives way at least every
64 items, and waits while the outbox is full. Items that come without a wait are encoded together.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Generator, Sequence
from contextlib import AsyncExitStack
from types import coroutine
from typing import Any

import trio

from ..errors import BindingError
from ..protocol.hub_protocol import HubProtocol, ItemEncoder
from .channels import GIVE_WAY, ChannelReader
from .outbox import Outbox


class OutgoingStreams:
    """What we stream to the peer of one connection: the results of its calls, and the uploads of ours.

    Args:
        protocol: Encodes the items.
        outbox: Takes them.

    Attributes:
        by_id: The streams that have not ended.
    """

    def __init__(self, protocol: HubProtocol, outbox: Outbox) -> None:
        self.by_id: dict[str, OutgoingStream] = {}
        self._protocol = protocol
        self._outbox = outbox

    async def send(self, id: str, items: AsyncIterable[Any], item_type: Any) -> None:
        """Send a stream to its end, as :meth:`OutgoingStream.send` does.

        Args:
            id: The id that its messages carry.
            items: What to send.
            item_type: The items' type.
        """
        stream = self.by_id[id] = OutgoingStream(self._protocol.item_encoder(id, item_type), self._outbox)
        try:
            await stream.send(items)
        finally:
            del self.by_id[id]


class OutgoingStream:
    """One stream of ours.

    Args:
        encoder: Makes messages of its items.
        outbox: Where to queue them.
    """

    def __init__(self, encoder: ItemEncoder, outbox: Outbox) -> None:
        self._encoder = encoder
        self._outbox = outbox
        self._collected: list[Any] = []  # that came without a wait, and are not queued yet
        self._limit = (
            1  # of those: fewer of large ones, so that no more is encoded than the outbox would take
        )
        self._scope = trio.CancelScope()  # what the items come in
        self._failure: BindingError | None = None  # why one of them could not be encoded

    async def send(self, items: AsyncIterable[Any]) -> None:
        """Queue the items until their end.

        They are closed in any case, if they can be: a generator in the task that runs this, a channel so that its
        sender hears of it. A checkpoint, and a cancellation point at least every 64 items.

        Raises:
            BindingError: An item cannot be encoded; those before it have been queued.
            ConnectionClosed: The connection is over.
            Exception: Whatever the items raised.
        """
        if isinstance(items, ChannelReader):
            try:
                await self._send_read(items)
            finally:
                items.close()
            return
        iterator = aiter(items)
        async with AsyncExitStack() as stack:
            if (close := getattr(iterator, "aclose", None)) is not None:
                stack.push_async_callback(close)
            await self._send_iterated(iterator)

    async def _send_read(self, reader: ChannelReader[Any]) -> None:
        while await reader.wait_to_read():
            self._queue(reader.read_ready(GIVE_WAY))
            if self._outbox.full:
                await self._outbox.wait_room()
        await trio.lowlevel.checkpoint()

    def _queue(self, items: Sequence[Any]) -> int:
        """Queue some items; gives their bytes."""
        try:
            data = self._encoder.many(items)
        except BindingError:
            size = 0
            for item in items:  # those before the one that cannot be encoded shall go out
                data = self._encoder.one(item)
                self._outbox.put(data)
                size += len(data)
            return size
        self._outbox.put(data, len(items))
        return len(data)

    async def _send_iterated(self, items: AsyncIterator[Any]) -> None:
        outbox, taken = self._outbox, 0
        with self._scope:
            while count := await self._queue_before_waits(self._collect(items, GIVE_WAY - taken)):
                taken += count
                if outbox.full:
                    taken = 0
                    await outbox.wait_room()
                elif taken >= GIVE_WAY:
                    taken = 0
                    await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
        if self._failure is not None:
            raise self._failure

    async def _collect(self, items: AsyncIterator[Any], most: int) -> int:
        """Take some items; gives how many, or 0 at their end."""
        collected, limit = self._collected, min(self._limit, most)
        async for item in items:
            collected.append(item)
            if len(collected) >= limit:
                return limit
        return 0

    @coroutine
    def _queue_before_waits(self, collecting: Coroutine[Any, Any, int]) -> Generator[Any, Any, int]:
        """Await the collecting; what is collected is queued whenever it is about to wait, and at its end.

        And before anything else that its producer sends meanwhile: what is sent comes in the order in which it was
        made.
        """
        outbox = self._outbox
        step: Callable[[Any], Any] = collecting.send
        value: Any = None
        while True:
            outbox.queue_first = self._queue_before_wait
            try:
                waits_for = step(value)
            except StopIteration as end:
                outbox.queue_first = None
                self._queue_collected()
                count: int = end.value
                return count
            except BaseException:
                outbox.queue_first = None
                self._queue_collected()
                raise
            outbox.queue_first = None
            self._queue_before_wait()
            try:
                step, value = collecting.send, (yield waits_for)
            except BaseException as error:  # noqa: BLE001 - it is the iterator's to deal with
                step, value = collecting.throw, error

    def _queue_collected(self) -> None:
        """Queue what is collected; raises for an item that cannot be encoded, behind those before it."""
        if self._collected:
            items = self._collected[:]
            self._collected.clear()
            if self._failure is None:
                size = self._queue(items)
                self._limit = min(GIVE_WAY, 1 + self._outbox.transport_buffer_size * len(items) // size)

    def _queue_before_wait(self) -> None:
        """Queue what is collected while the iterator is about to wait, which only cancellation can keep it from."""
        try:
            self._queue_collected()
        except BindingError as error:
            self._failure = error
            self._scope.cancel()
