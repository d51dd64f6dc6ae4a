"""A hub whose methods end in every way there is."""

from collections.abc import AsyncIterator

import trio

from trio_hubs import ChannelReader, Hub, HubException, open_channel


class Answers(Hub):
    """Methods that end in every way."""

    def inline(self) -> int:
        return 1

    def inline_failing(self) -> None:
        raise ValueError

    async def plain(self, text: str = "") -> int:
        return 1

    async def failing(self) -> None:
        raise HubException("told")

    async def unwritable(self) -> object:
        return object()

    async def child_fails(self) -> None:
        async def child() -> None:
            raise ValueError("child")

        self.start_soon(child)
        await trio.sleep_forever()

    def inline_child_fails(self) -> None:
        async def child() -> None:
            raise ValueError("child")

        self.start_soon(child)

    async def forever(self) -> None:
        await trio.sleep_forever()

    async def fails_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("while being cancelled")

    async def finishes_when_cancelled(self) -> int:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        return 1

    async def count(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    async def count_failing(self) -> AsyncIterator[int]:
        yield 1
        raise ValueError

    async def count_unwritable(self) -> AsyncIterator[object]:
        yield object()

    async def count_forever(self) -> AsyncIterator[int]:
        yield 1
        await trio.sleep_forever()

    async def count_fails_when_cancelled(self) -> AsyncIterator[int]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            raise ValueError("while being cancelled")

    async def count_yields_when_closed(self) -> AsyncIterator[int]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            yield 2

    def channel_with_failing_child(self) -> ChannelReader[int]:
        async def child() -> None:
            await trio.sleep(1)
            raise ValueError("child")

        _, reader = open_channel(int)
        self.start_soon(child)
        return reader

    def no_reader(self) -> ChannelReader[int]:
        return None  # type: ignore[return-value]

    async def total(self, items: AsyncIterator[int]) -> int:
        return sum([number async for number in items])
