"""The load hub on aiosignalr, written its own way: `python -m benchmarks.aiosignalr_server`."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator

from aiosignalr.server import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
    Hub,
    IncomingStream,
    SignalRServer,
)


class LoadHub(Hub):  # type: ignore[misc]
    """The methods that the load generator calls."""

    def echo(self, text: str) -> str:
        return text

    async def counter(self, count: int, delay: float) -> AsyncIterator[int]:
        for number in range(count):
            yield number
            if delay:
                await asyncio.sleep(delay / 1000)

    async def counterchannel(self, count: int, delay: float) -> AsyncIterator[int]:
        """The nearest there is to a channel: a task fills a bounded queue, and a generator empties it."""
        queue: asyncio.Queue[int | None] = asyncio.Queue(100)

        async def write() -> None:
            for number in range(count):
                await queue.put(number)
                if delay:
                    await asyncio.sleep(delay / 1000)
            await queue.put(None)

        writing = asyncio.create_task(write())
        try:
            while (number := await queue.get()) is not None:
                yield number
        finally:
            writing.cancel()

    async def broadcast(self, text: str) -> None:
        await self.clients.all_.send("message", text)

    async def sum(self, items: IncomingStream) -> int:
        total = 0
        async for item in items:
            total += item
        return total


async def serve(port: int) -> None:
    """Serve until cancelled."""
    host, port = await SignalRServer(LoadHub).serve("127.0.0.1", port)
    print(f"listening http://{host}:{port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.aiosignalr_server")
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args().port))
