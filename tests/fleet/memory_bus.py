"""A bus in memory, for tests: what is published arrives in the next pass of the scheduler; it can be cut."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count

import trio

from trio_hubs.errors import BackplaneError
from trio_hubs.fleet.backplane import FleetBackplane
from trio_hubs.fleet.bus import Bus, Hear, hear_safely

_numbers = count(1)


class MemoryBroker:
    """What the buses have in common."""

    def __init__(self) -> None:
        self.buses: list[MemoryBus] = []
        self.published: list[tuple[str, bytes]] = []
        self._queue: deque[tuple[str, bytes]] = deque()

    def open(self) -> MemoryBus:
        bus = MemoryBus(self)
        self.buses.append(bus)
        return bus

    def count(self, channel: str) -> int:
        return sum(channel in bus.heard and not bus.away for bus in self.buses)

    def put(self, channel: str, data: bytes) -> None:
        self.published.append((channel, data))
        if not self._queue:
            trio.lowlevel.current_trio_token().run_sync_soon(self._deliver)
        self._queue.append((channel, data))

    def _deliver(self) -> None:
        while self._queue:
            channel, data = self._queue.popleft()
            for bus in self.buses:
                if (hear := bus.heard.get(channel)) is not None and not bus.away:
                    hear_safely(hear, data)


class MemoryBus(Bus):
    """One server's way to the others."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.server = f"server{next(_numbers)}"
        self.heard: dict[str, Hear] = {}
        self.away = False
        self._broker = broker

    async def wait_room(self, *channels: str) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check()

    def publish(self, channel: str, data: bytes) -> None:
        self._broker.put(channel, data)

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()
        self._check()

    async def publish_counted(self, channel: str, data: bytes) -> int:
        await trio.lowlevel.checkpoint()
        self._check()
        self._broker.put(channel, data)
        return self._broker.count(channel)

    async def subscribers(self, channel: str) -> int:
        await trio.lowlevel.checkpoint()
        self._check()
        return self._broker.count(channel)

    def subscribe(self, channel: str, hear: Hear) -> None:
        self.heard.setdefault(channel, hear)

    async def wait_subscribed(self, channel: str) -> None:
        await trio.lowlevel.checkpoint()
        self._check()

    def unsubscribe(self, channel: str) -> None:
        self.heard.pop(channel, None)

    def _check(self) -> None:
        if self.away:
            raise BackplaneError("The bus is away.")


class MemoryBackplane(FleetBackplane):
    """Joins hubs by a bus that needs nobody to keep it going."""

    @asynccontextmanager
    async def open_bus(self) -> AsyncGenerator[None]:
        yield
