"""A hub with methods of every kind, and filters around it that do as a test says."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import trio

from trio_hubs import (
    ChannelReader,
    Hub,
    HubException,
    HubFilter,
    HubInvocationContext,
    HubLifetimeContext,
    open_channel,
)
from trio_hubs.server.filters import ConnectedNext, DisconnectedNext, InvocationNext


class Noting(HubFilter):
    """Notes what passes, and changes nothing."""

    def __init__(self, name: str, events: list[str]) -> None:
        self.name = name
        self.events = events

    async def invoke(self, context: HubInvocationContext, next: InvocationNext) -> Any:
        self.events.append(f"{self.name} before {context.method.__name__}")
        try:
            return await next(context)
        finally:
            self.events.append(f"{self.name} after {context.method.__name__}")

    async def on_connected(self, context: HubLifetimeContext, next: ConnectedNext) -> None:
        self.events.append(f"{self.name} before connecting")
        await next(context)
        self.events.append(f"{self.name} after connecting")

    async def on_disconnected(
        self, context: HubLifetimeContext, error: Exception | None, next: DisconnectedNext
    ) -> None:
        self.events.append(f"{self.name} before disconnecting")
        await next(context, error)
        self.events.append(f"{self.name} after disconnecting")


class Invoking(HubFilter):
    """Does as a test says around invocations."""

    def __init__(self, does: Callable[[HubInvocationContext, InvocationNext], Any]) -> None:
        self.does = does

    async def invoke(self, context: HubInvocationContext, next: InvocationNext) -> Any:
        return await self.does(context, next)


class Filtered(Hub):
    """Methods of every kind."""

    def __init__(self, events: list[str] | None = None) -> None:
        self.events = [] if events is None else events

    async def on_connected(self) -> None:
        self.events.append("connected")

    async def on_disconnected(self, error: Exception | None) -> None:
        self.events.append(f"disconnected: {error}")

    def inline(self, value: object = None) -> object:
        self.events.append(f"inline {value}")
        return value

    async def plain(self, value: object = None) -> object:
        await trio.lowlevel.checkpoint()
        self.events.append(f"plain {value}")
        return value

    def failing(self) -> None:
        raise HubException("told")

    def with_child(self) -> str:
        self.start_soon(self._child)
        return "parent"

    async def _child(self) -> None:
        await trio.sleep(1)
        self.events.append("child ended")

    async def forever(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.events.append("forever ended")

    async def count(self, count: int) -> AsyncIterator[int]:
        try:
            for number in range(count):
                yield number
                await trio.sleep(1)
        finally:
            self.events.append("count ended")

    def channel(self, count: int) -> ChannelReader[int]:
        writer, reader = open_channel(int, capacity=count)
        for number in range(count):
            writer.try_write(number)
        writer.complete()
        return reader

    async def total(self, items: ChannelReader[int]) -> int:
        return sum([number async for number in items])


def noting(events: list[str], *names: str) -> list[Noting]:
    return [Noting(name, events) for name in names]


class Lifetime(HubFilter):
    """Does as a test says around connecting and disconnecting."""

    def __init__(self, connects: Any = None, disconnects: Any = None) -> None:
        self.connects = connects
        self.disconnects = disconnects

    async def on_connected(self, context: HubLifetimeContext, next: ConnectedNext) -> None:
        await (self.connects(context, next) if self.connects else next(context))

    async def on_disconnected(
        self, context: HubLifetimeContext, error: Exception | None, next: DisconnectedNext
    ) -> None:
        await (self.disconnects(context, error, next) if self.disconnects else next(context, error))
