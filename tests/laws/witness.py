"""A hub whose methods, one of every kind, note their beginning and their end: what the laws are shown on."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio

from tests.hub_peer import PROTOCOLS, served_hub
from trio_hubs import ChannelReader, ChannelWriter, Hub, open_channel
from trio_hubs.server.served_hub import ServedHub

CANCELED = "The invocation was canceled by the client."
CLOSED = "Connection closed with an error."

both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


class Witness(Hub):
    """Methods of every kind, which note their beginning and their end."""

    def __init__(self, events: list[str]) -> None:
        self.events = events

    @contextlib.contextmanager
    def _noting(self, name: str) -> Iterator[None]:
        self.events.append(f"{name} began")
        try:
            yield
        finally:
            self.events.append(f"{name} ended")

    async def on_disconnected(self, error: Exception | None) -> None:
        self.events.append("disconnected")

    def add(self, a: int, b: int) -> int:
        return a + b

    def abort(self) -> None:
        self.context.abort()

    async def plain(self) -> None:
        with self._noting("plain"):
            await trio.sleep_forever()

    async def careful(self) -> None:
        try:
            with self._noting("careful"):
                await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            self.events.append("careful cleaned up")

    async def plain_with_child(self) -> None:
        self.start_soon(self._child)
        with self._noting("plain"):
            await trio.sleep_forever()

    def inline_with_child(self) -> None:
        self.start_soon(self._child)

    async def _child(self) -> None:
        with self._noting("child"):
            await trio.sleep_forever()

    async def generator(self, count: int) -> AsyncIterator[int]:
        with self._noting("generator"):
            for number in range(count):
                yield number
                await trio.sleep(1)

    async def careful_generator(self, count: int) -> AsyncIterator[int]:
        try:
            async for number in self.generator(count):
                yield number
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            self.events.append("careful cleaned up")

    def iterator(self, count: int) -> AsyncIterator[int]:
        return self.generator(count)

    def channel(self, count: int) -> ChannelReader[int]:
        writer, reader = open_channel(int, capacity=1)
        self.start_soon(self._write, writer, count)
        return reader

    async def channel_later(self, count: int) -> ChannelReader[int]:
        await trio.lowlevel.checkpoint()
        return self.channel(count)

    async def _write(self, writer: ChannelWriter[int], count: int) -> None:
        with self._noting("writer"):
            for number in range(count):
                await writer.write(number)
                await trio.sleep(1)
            writer.complete()

    async def total(self, items: ChannelReader[int]) -> int:
        with self._noting("total"):
            return sum([number async for number in items])

    async def total_two(self, first: AsyncIterator[int], second: AsyncIterator[int]) -> int:
        with self._noting("total"):
            return 1000 * sum([number async for number in first]) + sum([number async for number in second])

    async def double(self, items: AsyncIterator[int]) -> AsyncIterator[int]:
        with self._noting("double"):
            async for number in items:
                yield 2 * number

    async def ignore(self, items: ChannelReader[int]) -> None:
        with self._noting("ignore"):
            await trio.sleep_forever()


def witness(events: list[str], **options: Any) -> ServedHub:
    return served_hub(Witness, lambda: Witness(events), **options)
