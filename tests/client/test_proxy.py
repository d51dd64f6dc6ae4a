"""A hub as a class describes it: one class for both sides, and everything typed."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing
from typing import Any, Protocol, assert_type

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import PROTOCOLS, open_ours, open_raw_server, served_hub
from tests.messages import Message, call, cancel, ended, item, result, stream
from trio_hubs import Deadline, Hub, HubConnection, HubException

from .sources import numbers

both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


class Numbers(Protocol):
    """What both sides know."""

    async def add(self, a: int, b: int = 2) -> int: ...

    async def maybe(self) -> int | None: ...

    async def do_nothing(self) -> None: ...

    def counter(self, count: int) -> AsyncGenerator[int]: ...

    async def total(self, items: AsyncIterable[int]) -> int: ...

    def double(self, items: AsyncIterable[int]) -> AsyncIterator[int]: ...

    async def in_time(self, deadline: Deadline | None = None) -> float | None: ...


class NumbersHub(Hub, Numbers):
    async def add(self, a: int, b: int = 2) -> int:
        return a + b

    async def maybe(self) -> int | None:
        return None

    async def do_nothing(self) -> None:
        raise HubException("done nothing")

    async def counter(self, count: int) -> AsyncGenerator[int]:
        for number in range(count):
            yield number

    async def total(self, items: AsyncIterable[int]) -> int:
        return sum([number async for number in items])

    async def double(self, items: AsyncIterable[int]) -> AsyncIterator[int]:
        async for number in items:
            yield 2 * number

    async def in_time(self, deadline: Deadline | None = None) -> float | None:
        return None if deadline is None else deadline - trio.current_time()


@both_protocols
async def test_one_class_describes_both_sides(autojump_clock: MockClock, protocol: Any) -> None:
    async with open_ours(served_hub(NumbersHub), protocol=protocol) as connection:
        hub = connection.proxy(Numbers)
        assert assert_type(await hub.add(1), int) == 3
        assert assert_type(await hub.maybe(), int | None) is None
        with pytest.raises(HubException, match="done nothing"):
            await hub.do_nothing()
        assert [number async for number in hub.counter(3)] == [0, 1, 2]
        assert await hub.total(numbers(4)) == 6
        assert [number async for number in hub.double(numbers(3))] == [0, 2, 4]
        assert await hub.total(hub.double(hub.counter(3))) == 6
        assert await hub.in_time() is None
        with trio.fail_after(5):
            assert await hub.in_time() == pytest.approx(5)


async def test_a_stream_that_is_left_early_is_cancelled_and_so_are_its_uploads(
    autojump_clock: MockClock,
) -> None:
    async def endless() -> AsyncIterator[int]:
        yield 7
        await trio.sleep_forever()

    async with open_raw_server() as (connection, server), trio.open_nursery() as nursery:

        async def answer(id: str, *asked: Message) -> None:
            assert [await server.receive(), *await server.arrived()] == list(asked)
            await server.send(item(id, 0))

        hub = connection.proxy(Numbers)
        async with aclosing(hub.counter(10)) as items:
            assert await server.arrived() == []  # nothing is called before it is wanted
            nursery.start_soon(answer, "1", stream("Counter", 10))
            assert await anext(items) == 0
        assert await server.arrived() == [cancel("1")]
        doubled = connection.iterate("Double", (endless(),), int)
        async with aclosing(doubled):
            nursery.start_soon(answer, "3", stream("Double", id="3", uploads=("2",)), item("2", 7))
            assert await anext(doubled) == 0
        assert await server.arrived() == [cancel("3"), ended("2", "Stream canceled by client.")]


async def test_result_types_of_any_form_are_known_to_type_checkers(autojump_clock: MockClock) -> None:
    async with open_raw_server() as (connection, server), trio.open_nursery() as nursery:

        async def serve() -> None:
            for id in ("1", "2", "3"):
                assert await server.receive() == call("Ask", id=id)
                await server.send(result(id, None if id == "1" else [1]))

        nursery.start_soon(serve)
        assert assert_type(await connection.invoke("Ask", result_type=int | None), int | None) is None
        assert assert_type(await connection.invoke("Ask", result_type=list[int]), list[int]) == [1]
        assert assert_type(await connection.invoke("Ask"), Any) == [1]


def types_only(connection: HubConnection) -> None:  # never called
    """What type checkers make of readers."""
    connection.messages("A", int | None)
    connection.stream("A", item_type=str | int)
