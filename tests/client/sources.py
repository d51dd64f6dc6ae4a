"""Where the items of uploads come from."""

from collections.abc import AsyncIterator

from trio_hubs import open_channel
from trio_hubs.calls.channels import ChannelReader


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def broken(count: int) -> AsyncIterator[int]:
    async for number in numbers(count):
        yield number
    raise ValueError("broken")


def written(count: int) -> ChannelReader[int]:
    writer, reader = open_channel(int)
    for number in range(count):
        writer.try_write(number)
    writer.complete()
    return reader
