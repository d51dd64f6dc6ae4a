"""The load hub on trio_hubs: `python -m benchmarks.load_server --port N`."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator

import trio

from trio_hubs import ChannelReader, ChannelWriter, Hub, HubApp, open_channel
from trio_hubs.redis import RedisBackplane


class LoadHub(Hub):
    """The methods that the load generator calls."""

    def echo(self, text: str) -> str:
        return text

    async def counter(self, count: int, delay: float) -> AsyncIterator[int]:
        for number in range(count):
            yield number
            if delay:
                await trio.sleep(delay / 1000)

    def counter_channel(self, count: int, delay: float) -> ChannelReader[int]:
        writer, reader = open_channel(int, capacity=100)
        self.start_soon(write_numbers, writer, count, delay)
        return reader

    async def broadcast(self, text: str) -> None:
        await self.clients.all.send("message", text)

    async def sum(self, items: AsyncIterator[int]) -> int:
        total = 0
        async for item in items:
            total += item
        return total


async def write_numbers(writer: ChannelWriter[int], count: int, delay: float) -> None:
    """Write 0, 1, ... and complete the channel."""
    for number in range(count):
        await writer.write(number)
        if delay:
            await trio.sleep(delay / 1000)
    writer.complete()


def make_app(redis: str = "") -> HubApp:
    """The app, for workers to import; with a Redis, it is one of a fleet."""
    app = HubApp(backplane=RedisBackplane(redis) if redis else None)
    app.add_hub("/hub", LoadHub)
    return app


async def serve(port: int, redis: str) -> None:
    """Serve until cancelled."""
    app = make_app(redis)
    async with trio.open_nursery() as nursery:
        address = await nursery.start(app.serve, "127.0.0.1", port)
        print(f"listening {address}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load_server")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--redis", default="", metavar="URL")
    arguments = parser.parse_args()
    trio.run(serve, arguments.port, arguments.redis)
