"""What every bus does: a class of tests, to be derived from with a way to open buses."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Generic, TypeVar

import pytest
import trio
from trio.testing import MockClock

from trio_hubs.fleet.bus import Bus

T = TypeVar("T")


class Heard(Generic[T]):
    """What has been heard, on a channel or of gaps."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[T](5000)

    def __call__(self, value: T) -> None:
        self._send.send_nowait(value)

    async def next(self) -> T:
        with trio.fail_after(20):
            return await self._receive.receive()


class BusContract(ABC):
    """What every bus does."""

    @abstractmethod
    async def open_buses(self, stack: AsyncExitStack) -> Sequence[Bus]:
        """The buses of three servers."""

    async def test_each_hears_what_it_has_subscribed_to(self, autojump_clock: MockClock) -> None:
        async with AsyncExitStack() as stack:
            first, second, third = await self.open_buses(stack)
            heard = [Heard[bytes](), Heard[bytes]()]
            for bus, each in zip((first, second), heard, strict=True):
                bus.subscribe("news", each)
                await bus.wait_subscribed("news")
            assert await third.subscribers("news") == 2
            assert await third.publish_counted("news", b"1") == 2
            await first.wait_room("news")
            first.publish("news", b"2")
            for each in heard:
                assert {await each.next(), await each.next()} == {b"1", b"2"}
            second.unsubscribe("news")
            assert await second.publish_counted("news", b"3") == 1
            assert await heard[0].next() == b"3"
            assert await first.publish_counted("elsewhere", b"4") == 0

    async def test_the_order_of_one_server(self, autojump_clock: MockClock) -> None:
        async with AsyncExitStack() as stack:
            first, second, _ = await self.open_buses(stack)
            heard = Heard[bytes]()
            for number in range(3000):
                second.subscribe(f"many:{number}", heard)
            await second.wait_subscribed("many:2999")
            sent = [b"%d" % number for number in range(1000)]
            for number, data in enumerate(sent):
                await first.wait_room(f"many:{number * 3}")
                first.publish(f"many:{number * 3}", data)
            assert [await heard.next() for _ in sent] == sent

    async def test_what_is_flushed_has_left(self, autojump_clock: MockClock) -> None:
        async with AsyncExitStack() as stack:
            first, second, _ = await self.open_buses(stack)
            heard = Heard[bytes]()
            second.subscribe("a", heard)
            await second.wait_subscribed("a")
            await first.wait_room("a")
            first.publish("a", b"x")
            await first.flush()
            assert await heard.next() == b"x"

    async def test_whoever_fails_at_what_it_hears_ends_nobody(
        self, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(_: bytes) -> None:
            raise RuntimeError("no idea")

        async with AsyncExitStack() as stack:
            bus, *_ = await self.open_buses(stack)
            heard = Heard[bytes]()
            for channel, hear in ("bad", fail), ("good", heard):
                bus.subscribe(channel, hear)
                await bus.wait_subscribed(channel)
            for channel in "bad", "good":
                assert await bus.publish_counted(channel, b"x") == 1
            assert await heard.next() == b"x"
            assert caplog.text.count("RuntimeError: no idea") == 1

    async def test_a_channel_that_is_left_and_heard_again_at_once(self, autojump_clock: MockClock) -> None:
        async with AsyncExitStack() as stack:
            bus, *_ = await self.open_buses(stack)
            for number in range(50):
                bus.subscribe("flip", Heard[bytes]())
                if number % 2:
                    await bus.wait_subscribed("flip")
                bus.unsubscribe("flip")
                bus.unsubscribe("flip")
            heard = Heard[bytes]()
            bus.subscribe("flip", heard)
            bus.subscribe("flip", Heard[bytes]())  # which changes nothing
            await bus.wait_subscribed("flip")
            assert await bus.publish_counted("flip", b"x") == 1
            assert await heard.next() == b"x"

    async def test_names_are_literal(self, autojump_clock: MockClock) -> None:
        async with AsyncExitStack() as stack:
            first, second, _ = await self.open_buses(stack)
            names = ["a*", "a", "ab", "é ?["]
            heard = {name: Heard[bytes]() for name in names}
            for name in names:
                first.subscribe(name, heard[name])
                await first.wait_subscribed(name)
            for name in names:
                assert await second.publish_counted(name, repr(name).encode()) == 1
                assert await heard[name].next() == repr(name).encode()

    @pytest.mark.parametrize(
        "ask", ["wait_room", "flush", "subscribers", "publish_counted", "wait_subscribed"]
    )
    async def test_whoever_waits_can_be_cancelled(self, autojump_clock: MockClock, ask: str) -> None:
        arguments = {"flush": (), "publish_counted": ("a", b"")}.get(ask, ("a",))
        async with AsyncExitStack() as stack:
            bus, *_ = await self.open_buses(stack)
            with trio.CancelScope() as scope:
                scope.cancel()
                await getattr(bus, ask)(*arguments)
            assert scope.cancelled_caught
            assert await bus.subscribers("a") == 0
