"""A hub that streams three ways and takes an upload: `trio-hubs serve examples.counter_server:app`."""

from collections.abc import AsyncIterator

import trio

from trio_hubs import ChannelReader, ChannelWriter, Hub, HubApp, HubException, open_channel


async def write_items(writer: ChannelWriter[int], count: int, delay: float) -> None:
    """Write numbers to a channel, and complete it."""
    for number in range(count):
        await writer.write(number)
        await trio.sleep(delay / 1000)
    writer.complete()


class Counter(Hub):
    """Counts for its clients, or adds up what they count."""

    async def counter(self, count: int, delay: float) -> AsyncIterator[int]:
        """Stream numbers as an async generator."""
        if count < 0:
            raise HubException("cannot count backwards")
        for number in range(count):
            yield number
            await trio.sleep(delay / 1000)

    def counter_channel(self, count: int, delay: float) -> ChannelReader[int]:
        """Stream numbers through a channel that a child task writes to."""
        writer, reader = open_channel(int, capacity=10)
        self.start_soon(write_items, writer, count, delay)
        return reader

    async def total(self, numbers: ChannelReader[int]) -> int:
        """Add up an upload."""
        return sum([number async for number in numbers])


app = HubApp()
app.add_hub("/counter", Counter)
