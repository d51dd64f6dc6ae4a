"""Streams on their way out: items of a reader or of any async iterable, encoded by their own task.

An item is queued the moment it is there. A producer that never waits for anything gives way at least every
64 items, and waits while the outbox is full.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Generator, Sequence
from contextlib import AsyncExitStack
from types import coroutine
from typing import Any

import trio

from ..errors import BindingError
from ..protocol.hub_protocol import ItemEncoder
from .channels import GIVE_WAY, ChannelReader
from .outbox import Outbox


async def send_items(items: AsyncIterable[Any], encoder: ItemEncoder, outbox: Outbox) -> None:
    """Queue the items of a stream until its end.

    The stream is closed in any case, if it can be: a generator in the task that runs this, a channel so that its
    sender hears of it. A checkpoint, and a cancellation point at least every 64 items.

    Args:
        items: What to send.
        encoder: Makes messages of them.
        outbox: Where to queue them.

    Raises:
        BindingError: An item cannot be encoded; those before it have been queued.
        ConnectionClosed: The connection is over.
        Exception: Whatever the stream raised.
    """
    if isinstance(items, ChannelReader):
        try:
            await _send_read(items, encoder, outbox)
        finally:
            items.close()
        return
    iterator = aiter(items)
    async with AsyncExitStack() as stack:
        if (close := getattr(iterator, "aclose", None)) is not None:
            stack.push_async_callback(close)
        await _send_iterated(iterator, encoder, outbox)


async def _send_read(reader: ChannelReader[Any], encoder: ItemEncoder, outbox: Outbox) -> None:
    while await reader.wait_to_read():
        _queue(reader.read_ready(GIVE_WAY), encoder, outbox)
        if outbox.full:
            await outbox.wait_room()
    await trio.lowlevel.checkpoint()


def _queue(items: Sequence[Any], encoder: ItemEncoder, outbox: Outbox) -> int:
    """Queue some items; gives their bytes."""
    try:
        data = encoder.many(items)
    except BindingError:
        size = 0
        for item in items:  # those before the one that cannot be encoded shall go out
            data = encoder.one(item)
            outbox.put(data)
            size += len(data)
        return size
    outbox.put(data, len(items))
    return len(data)


class _Run:
    """The items of an iterator that came without a wait, and are encoded together.

    Attributes:
        items: Those that are not queued yet.
        limit: How many there may be: fewer of large ones, so that no more is encoded than the outbox would take.
        taken: How many the last full one had.
        scope: What the iterator runs in.
        failure: Why one could not be encoded, found out while the iterator was about to wait.
    """

    def __init__(self, encoder: ItemEncoder, outbox: Outbox) -> None:
        self.items: list[Any] = []
        self.limit = 1
        self.taken = 0
        self.scope = trio.CancelScope()
        self.failure: BindingError | None = None
        self._encoder = encoder
        self._outbox = outbox

    def queue(self) -> None:
        """Queue them; raises for one that cannot be encoded, behind those before it."""
        if self.items:
            items = self.items[:]
            self.items.clear()
            if self.failure is None:
                size = _queue(items, self._encoder, self._outbox)
                self.limit = min(GIVE_WAY, 1 + self._outbox.high_water * len(items) // size)

    def queue_before_wait(self) -> None:
        """Queue them while their iterator is about to wait, which only cancellation can keep it from."""
        try:
            self.queue()
        except BindingError as error:
            self.failure = error
            self.scope.cancel()


async def _send_iterated(items: AsyncIterator[Any], encoder: ItemEncoder, outbox: Outbox) -> None:
    run = _Run(encoder, outbox)
    taken = 0
    with run.scope:
        while await _queue_before_waits(_collect(items, run, GIVE_WAY - taken), run, outbox):
            taken += run.taken
            if outbox.full:
                taken = 0
                await outbox.wait_room()
            elif taken >= GIVE_WAY:
                taken = 0
                await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
    if run.failure is not None:
        raise run.failure


async def _collect(items: AsyncIterator[Any], run: _Run, most: int) -> bool:
    """Take some items; whether there may be more."""
    collected, limit = run.items, min(run.limit, most)
    async for item in items:
        collected.append(item)
        if len(collected) >= limit:
            run.taken = limit
            return True
    return False


@coroutine
def _queue_before_waits(
    collecting: Coroutine[Any, Any, bool], run: _Run, outbox: Outbox
) -> Generator[Any, Any, bool]:
    """Await the collecting of items; those that are there are queued whenever it is about to wait, and at its end.

    And before anything else that their producer sends meanwhile: what is sent comes in the order in which it was made.
    """
    step: Callable[[Any], Any] = collecting.send
    value: Any = None
    while True:
        outbox.queue_first = run.queue_before_wait
        try:
            waits_for = step(value)
        except StopIteration as end:
            outbox.queue_first = None
            run.queue()
            more: bool = end.value
            return more
        except BaseException:
            outbox.queue_first = None
            run.queue()
            raise
        outbox.queue_first = None
        run.queue_before_wait()
        try:
            step, value = collecting.send, (yield waits_for)
        except BaseException as error:  # noqa: BLE001 - it is the iterator's to deal with
            step, value = collecting.throw, error
