"""Streams on their way out: items of a reader or of any async iterable, encoded by their own task.

An item is queued the moment it is there. A producer that never waits for anything gives way at least every
64 items, and waits while the outbox is full, or it has no credit. Items that come without a wait are encoded together.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Generator, Sequence
from contextlib import AsyncExitStack
from math import inf
from types import coroutine
from typing import Any

import trio

from ..errors import BindingError
from ..protocol.hub_protocol import HubProtocol, ItemEncoder
from .channels import GIVE_WAY, ChannelReader
from .credits import add_credit
from .observer import ObservedCall
from .outbox import Outbox


class OutgoingStreams:
    """What we stream to the peer of one connection: the results of its calls, and the uploads of ours.

    Args:
        protocol: Encodes the items.
        outbox: Takes them.
        credit: What each upload begins with; infinite where credits are not agreed on.

    Attributes:
        by_id: The streams that have not ended.
        credited: Whether credits are agreed on.
    """

    def __init__(self, protocol: HubProtocol, outbox: Outbox, credit: float = inf) -> None:
        self.by_id: dict[str, OutgoingStream] = {}
        self.credited = credit < inf
        self._credit = credit
        self._protocol = protocol
        self._outbox = outbox

    async def send(
        self,
        id: str,
        items: AsyncIterable[Any],
        item_type: Any,
        credit: float | None = None,
        observed: ObservedCall | None = None,
    ) -> None:
        """Send a stream to its end, as :meth:`OutgoingStream.send` does.

        Args:
            id: The id that its messages carry.
            items: What to send.
            item_type: The items' type.
            credit: What it begins with; ``None`` for that of uploads.
            observed: The call whose result it is, where anybody listens.
        """
        stream = self.by_id[id] = OutgoingStream(
            self._protocol.item_encoder(id, item_type),
            self._outbox,
            self._credit if credit is None else credit,
            observed,
        )
        try:
            await stream.send(items)
        finally:
            del self.by_id[id]

    def release(self) -> None:
        """The connection is over: nobody waits for credit any more."""
        self._credit = inf
        for stream in self.by_id.values():
            stream.release()


class OutgoingStream:
    """One stream of ours.

    Args:
        encoder: Makes messages of its items.
        outbox: Where to queue them.
        credit: How many may be sent until more is given.
        observed: The call whose result it is, where anybody listens.
    """

    def __init__(
        self,
        encoder: ItemEncoder,
        outbox: Outbox,
        credit: float = inf,
        observed: ObservedCall | None = None,
    ) -> None:
        self._observed = observed
        self._credit = credit
        self._creditless = trio.lowlevel.ParkingLot()
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

    def give(self, items: int) -> None:
        """So many more may be sent."""
        self._credit = add_credit(self._credit, items)
        self._creditless.unpark_all()

    def release(self) -> None:
        """Nothing that is sent needs credit any more."""
        self._credit = inf
        self._creditless.unpark_all()

    async def _wait_credit(self) -> None:
        while not self._credit:
            await self._creditless.park()

    async def _send_read(self, reader: ChannelReader[Any]) -> None:
        while await reader.wait_to_read():
            if not self._credit:
                await self._wait_credit()
            items = reader.read_ready(int(min(GIVE_WAY, self._credit)))
            self._credit -= len(items)
            self._queue(items)
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
                if self._observed is not None:
                    self._observed.items += 1
            return size
        self._outbox.put(data, len(items))
        if self._observed is not None:
            self._observed.items += len(items)
        return len(data)

    async def _send_iterated(self, items: AsyncIterator[Any]) -> None:
        outbox, taken = self._outbox, 0
        with self._scope:
            if not self._credit:
                await self._wait_credit()
            while count := await self._queue_before_waits(
                self._collect(items, min(GIVE_WAY - taken, self._credit))
            ):
                taken += count
                self._credit -= count
                if outbox.full:
                    taken = 0
                    await outbox.wait_room()
                elif taken >= GIVE_WAY:
                    taken = 0
                    await trio.lowlevel.checkpoint()
                if not self._credit:
                    await self._wait_credit()
            await trio.lowlevel.checkpoint()
        if self._failure is not None:
            raise self._failure

    async def _collect(self, items: AsyncIterator[Any], most: float) -> int:
        """Take some items; gives how many, or 0 at their end."""
        collected, limit, count = self._collected, min(self._limit, most), 0
        async for item in items:
            collected.append(item)
            count += 1
            if count >= limit:
                return count
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
