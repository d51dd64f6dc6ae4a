"""Streams on their way out: items of a reader or of any async iterable, encoded by their own task.

An item is queued the moment it is there. A producer that never waits for anything gives way at least every
64 items, and waits while the outbox is full.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import AsyncExitStack
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


def _queue(items: Sequence[Any], encoder: ItemEncoder, outbox: Outbox) -> None:
    try:
        outbox.put(encoder.many(items), len(items))
    except BindingError:
        for item in items:  # those before the one that cannot be encoded shall go out
            outbox.put(encoder.one(item))


async def _send_iterated(items: AsyncIterator[Any], encoder: ItemEncoder, outbox: Outbox) -> None:
    encode, put, high_water = encoder.one, outbox.put, outbox.high_water
    count = 0
    async for item in items:
        put(encode(item))
        count += 1
        if outbox.size >= high_water:
            await outbox.wait_room()
        elif count >= GIVE_WAY:
            count = 0
            await trio.lowlevel.checkpoint()
    await trio.lowlevel.checkpoint()
