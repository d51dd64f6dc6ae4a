"""Our client beside those of aiosignalr and pysignalr, against one server in one run: `python -m benchmarks.clients`.

The server is the real one where `TRIO_HUBS_DOTNET_PEER` names it, else ours. The clients take turns, round by round,
each in a process of its own. A rate is the median of its rounds; the processor time of the client's process, which a
busy machine changes less, is the least of them. Nothing is asserted: the aims stand beside the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol

import trio

from benchmarks.compare import short
from benchmarks.peers import peers
from trio_hubs import open_hub_connection

TEXT: Final = "hello"
ITEMS: Final = 20_000
TOGETHER: Final = 64
AIMS: Final = {"stream": 6.0, "in sequence": 1.2, "64 at a time": 2.0, "connects": 1.5}
UNITS: Final = {"stream": "items/s", "in sequence": "calls/s", "64 at a time": "calls/s", "connects": "1/s"}


class Caller(Protocol):
    """An open connection of some client."""

    async def invoke(self) -> Any:
        """Have the text echoed."""
        ...

    async def read(self) -> int:
        """Read a stream to its end; gives how many items it had."""
        ...


Open = Callable[[str], AbstractAsyncContextManager[Caller]]
Together = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]


# ---- the clients


class Ours:
    """This project's client."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def invoke(self) -> Any:
        return await self._connection.invoke("Echo", TEXT)

    async def read(self) -> int:
        async with self._connection.stream("Counter", ITEMS, 0) as reader:
            return sum([1 async for _ in reader])


@asynccontextmanager
async def open_ours(url: str) -> AsyncGenerator[Caller]:
    async with open_hub_connection(url) as connection:
        yield Ours(connection)


class AioSignalR:
    """The client of aiosignalr."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def invoke(self) -> Any:
        return await self._connection.invoke("Echo", TEXT)

    async def read(self) -> int:
        return sum([1 async for _ in await self._connection.stream("Counter", ITEMS, 0)])


@asynccontextmanager
async def open_aiosignalr(url: str) -> AsyncGenerator[Caller]:
    from aiosignalr.client import HubConnection  # noqa: PLC0415  # it may not be there

    connection = HubConnection()
    await connection.start(url)
    try:
        yield AioSignalR(connection)
    finally:
        await connection.stop()


class PySignalR:
    """The client of pysignalr, which answers by callbacks."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def invoke(self) -> Any:
        answer = asyncio.get_running_loop().create_future()

        async def take(message: Any) -> None:
            answer.set_result(message.result)

        await self._client.send("Echo", [TEXT], take)
        return await answer

    async def read(self) -> int:
        count = 0
        end = asyncio.Event()

        async def take(_: Any) -> None:
            nonlocal count
            count += 1

        async def complete(_: Any) -> None:
            end.set()

        await self._client.stream("Counter", [ITEMS, 0], take, complete)
        await end.wait()
        return count


@asynccontextmanager
async def open_pysignalr(url: str) -> AsyncGenerator[Caller]:
    from pysignalr.client import SignalRClient  # noqa: PLC0415  # it may not be there

    client = SignalRClient(url)
    opened = asyncio.Event()

    async def note() -> None:
        opened.set()

    client.on_open(note)
    running = asyncio.create_task(client.run())
    await opened.wait()
    try:
        yield PySignalR(client)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def together_in_trio(call: Callable[[], Awaitable[None]]) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(TOGETHER):
            nursery.start_soon(call)


async def together_in_asyncio(call: Callable[[], Awaitable[None]]) -> None:
    await asyncio.gather(*(call() for _ in range(TOGETHER)))


def run_in_trio(measure: Callable[[], Coroutine[Any, Any, None]]) -> None:
    trio.run(measure)


def run_in_asyncio(measure: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(measure())


CLIENTS: Final[dict[str, tuple[Open, Together, Callable[..., None]]]] = {
    "trio_hubs": (open_ours, together_in_trio, run_in_trio),
    "aiosignalr": (open_aiosignalr, together_in_asyncio, run_in_asyncio),
    "pysignalr": (open_pysignalr, together_in_asyncio, run_in_asyncio),
}


# ---- what they do


def measure(name: str, url: str, seconds: float) -> dict[str, tuple[float, float]]:
    """What one client does in a second, of each kind, and the microseconds of processor time that each takes it."""
    open_, together, run = CLIENTS[name]
    figures: dict[str, tuple[float, float]] = {}

    async def repeat(kind: str, once: Callable[[], Awaitable[int]]) -> None:
        """Do something again and again, and note how much of it a second has seen, and what each took."""
        await once()
        began, busy, done = time.perf_counter(), time.process_time(), 0
        while (taken := time.perf_counter() - began) < seconds:
            done += await once()
        figures[kind] = done / taken, (time.process_time() - busy) / done * 1e6

    async def measure_all() -> None:
        async with open_(url) as caller:

            async def invoke() -> int:
                if await caller.invoke() != TEXT:
                    raise RuntimeError(f"{name}: a wrong answer")
                return 1

            async def call_on() -> None:
                for _ in range(10):
                    await invoke()

            async def invoke_together() -> int:
                await together(call_on)
                return 10 * TOGETHER

            async def read() -> int:
                if (count := await caller.read()) != ITEMS:
                    raise RuntimeError(f"{name}: {count} items")
                return count

            await repeat("stream", read)
            await repeat("in sequence", invoke)
            await repeat("64 at a time", invoke_together)

        async def connect() -> int:
            async with open_(url):
                return 1

        await repeat("connects", connect)

    run(measure_all)
    return figures


def print_table(figures: dict[str, list[dict[str, tuple[float, float]]]]) -> None:
    """The figures, and what ours does for each one that another does in the same time."""
    others = [name for name in figures if name != "trio_hubs"]
    print(
        f"{'':14}{'':12}"
        + "".join(f"{name:>12}" for name in figures)
        + "".join(f"{f'to {name}':>15}" for name in others)
    )
    for kind, unit in UNITS.items():
        rates = {
            name: statistics.median(round_[kind][0] for round_ in rounds) for name, rounds in figures.items()
        }
        costs = {name: min(round_[kind][1] for round_ in rounds) for name, rounds in figures.items()}
        row = f"{kind:14}{unit:12}" + "".join(f"{short(rate):>12}" for rate in rates.values())
        row += "".join(f"{rates['trio_hubs'] / rates[name]:>14.2f}x" for name in others)
        print(f"{row}   aim {AIMS[kind]:g}x")
        row = f"{'':14}{'us of CPU':12}" + "".join(f"{short(cost):>12}" for cost in costs.values())
        print(row + "".join(f"{costs[name] / costs['trio_hubs']:>14.2f}x" for name in others))


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.clients", description="Compares hub clients of Python."
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each load lasts, at least (1)")
    parser.add_argument(
        "--measure", nargs=2, metavar=("CLIENT", "URL"), help="measure one client, and print JSON"
    )
    arguments = parser.parse_args()
    if arguments.measure:
        name, url = arguments.measure
        print(json.dumps(measure(name, url, arguments.seconds)))
        return
    there = [name for name in CLIENTS if importlib.util.find_spec(name)]
    servers = {peer.name: peer for peer in peers()}
    server = servers["trio_hubs"] if servers["dotnet"].absent else servers["dotnet"]
    print(f"against the server {server.name}; left out: {', '.join(set(CLIENTS) - set(there)) or 'none'}\n")
    figures: dict[str, list[dict[str, tuple[float, float]]]] = {name: [] for name in there}
    with server.running() as running:
        for _ in range(arguments.rounds):
            for name in there:
                command = (sys.executable, "-m", "benchmarks.clients", "--seconds", str(arguments.seconds))
                options = ("--measure", name, f"{running.url}/hub")
                run = subprocess.run([*command, *options], stdout=subprocess.PIPE, text=True, check=True)
                figures[name].append(json.loads(run.stdout))
    print_table(figures)


if __name__ == "__main__":
    main()
