"""A hub with one method for every official text."""

from collections.abc import AsyncIterator

from trio_hubs import ChannelReader, Hub, HubException, open_channel

INVOKING = "An unexpected error occurred invoking '{}' on the server."


class Custom(HubException):
    """A subclass, whose name travels."""


class Calls(Hub):
    """One method for every text."""

    def add(self, a: int, b: int = 1) -> int:
        return a + b

    async def fail(self, kind: str) -> None:
        self._fail(kind)

    def fail_inline(self, kind: str) -> None:
        self._fail(kind)

    @staticmethod
    def _fail(kind: str) -> None:
        raise {"hub": HubException("told"), "custom": Custom("told"), "other": KeyError("secret")}[kind]

    async def unwritable(self) -> object:
        return object()

    async def count(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    async def fail_after(self, count: int, kind: str) -> AsyncIterator[int]:
        for number in range(count):
            yield number
        self._fail(kind)

    async def unwritable_item(self) -> AsyncIterator[object]:
        yield 1
        yield object()

    def fail_channel(self, kind: str) -> ChannelReader[int]:
        writer, reader = open_channel(int)
        writer.try_write(1)
        try:
            self._fail(kind)
        except (HubException, KeyError) as error:
            writer.complete(error)
        return reader

    def fail_before(self, kind: str) -> ChannelReader[int]:
        self._fail(kind)
        raise AssertionError

    def no_reader(self) -> ChannelReader[int]:
        return None  # type: ignore[return-value]

    async def no_reader_later(self) -> ChannelReader[int]:
        return None  # type: ignore[return-value]

    async def total(self, items: AsyncIterator[int]) -> int:
        return sum([number async for number in items])
