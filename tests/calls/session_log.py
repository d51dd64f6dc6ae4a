"""Methods that note in a side's diary what becomes of them, and what else the tests of sessions share."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import trio
from trio.testing import wait_all_tasks_blocked

from tests.messages import Message
from trio_hubs.calls.channels import ChannelReader
from trio_hubs.errors import ConnectionClosed

from .support import Side


async def last_message(side: Side) -> Message:
    """Wait for the session's end; gives its last message."""
    await side.over.wait()
    return (await side.peer.rest())[-1]


class Log:
    """Methods that note in a side's diary what becomes of them."""

    def __init__(self, side: Side) -> None:
        self.events = side.life.events
        self.side = side
        for method in (self.slow, self.asks, self.total, self.count):
            side.method(method)

    async def slow(self) -> None:
        """Wait until cancelled, and then take its time."""
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await wait_all_tasks_blocked()
            self.events.append("call cleaned up")

    async def asks(self) -> None:
        """Wait for an answer of the peer's."""
        try:
            await self.side.session.our_calls.invoke("ask", (), int)
        except ConnectionClosed as error:
            self.events.append(f"waiting call failed: {error}")
            raise

    async def total(self, items: ChannelReader[int]) -> int:
        try:
            return sum([number async for number in items])
        except Exception as error:
            self.events.append(f"{type(error).__name__}: {error}")
            raise

    async def count(self, stop: int) -> AsyncIterator[int]:
        for number in range(stop):
            yield number


def open_stream(side: Side) -> AbstractAsyncContextManager[ChannelReader[int]]:
    """Call the peer for a stream, of which one unread item is never too many."""
    return side.session.our_calls.stream("a", (), int, 1)
