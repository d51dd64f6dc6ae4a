"""Stateful reconnect loses nothing, doubles nothing and keeps the order, wherever and how often its link is cut.

Our client and our server stand at the ends of links in memory. A schedule says after how many passes of trio's
scheduler each link is cut, which loses what is under way, and how long there is none then.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.client.dials import Dials, open_over
from tests.client.sources import numbers
from tests.hub_peer import PROTOCOLS, no_task_left, served_hub
from trio_hubs import Hub, HubConnection, HubConnectionOptions, HubConnectionState
from trio_hubs.connections.http import Request
from trio_hubs.connections.memory import memory_connection_pair
from trio_hubs.connections.resumable import ResumableConnection
from trio_hubs.protocol.hub_protocol import TransferFormat

Schedule: TypeAlias = Sequence[tuple[int, float]]

COUNT = 50


class Ledger(Hub):
    """Whatever it is told, it tells back."""

    async def count(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number
            await trio.lowlevel.checkpoint()

    async def double(self, items: AsyncIterator[int]) -> AsyncIterator[int]:
        async for number in items:
            yield 2 * number

    async def collect(self, items: AsyncIterator[int]) -> list[int]:
        return [number async for number in items]

    async def echo(self, number: int) -> int:
        await trio.lowlevel.checkpoint()
        return number

    async def tell(self, count: int) -> None:
        for number in range(count):
            await self.clients.caller.send("News", number)


class TornDials(Dials):
    """One dial, which finds the hub over links that are cut by a schedule."""

    def __init__(self, protocol: str, nursery: trio.Nursery, schedule: Schedule, buffer: int) -> None:
        super().__init__(protocol)
        self._nursery = nursery
        self._schedule = schedule
        self._served = served_hub(
            Ledger, maximum_parallel_invocations=10, stateful_reconnect_buffer_size=buffer
        )

    @asynccontextmanager
    async def __call__(self, _: TransferFormat) -> AsyncGenerator[Any]:
        await trio.lowlevel.checkpoint()
        ends = [ResumableConnection("torn", Request()) for _ in range(2)]
        self._nursery.start_soon(self._carry, *ends)
        await wait_all_tasks_blocked()
        self._nursery.start_soon(self._served.handle, ends[0])
        self._nursery.start_soon(self._served.watch)
        try:
            yield ends[1]
        finally:
            ends[1].close()

    async def _carry(self, *ends: ResumableConnection) -> None:
        for passes, away in (*self._schedule, (None, 0.0)):
            links = memory_connection_pair(capacity=3)
            for end, link in zip(ends, links, strict=True):
                self._nursery.start_soon(end.carry, link)
            if passes is None:
                return
            # What is cut during the handshake is over.
            while not all(end.resumable for end in ends):  # noqa: ASYNC110  # there is no event for it
                await trio.sleep(0.001)
            for _ in range(passes):
                await trio.lowlevel.checkpoint()
            for link in links:
                link.cut()
            await trio.sleep(away)


async def use(connection: HubConnection, got: dict[str, list[int]]) -> None:
    """All that can go over a connection, at the same time."""

    async def read(name: str, *arguments: object) -> None:
        async with connection.stream(name, *arguments, item_type=int) as reader:
            got[name] = [number async for number in reader]

    async def invoke() -> None:
        got["Echo"] = [await connection.invoke("Echo", number, result_type=int) for number in range(COUNT)]

    async def upload() -> None:
        got["Collect"] = await connection.invoke("Collect", numbers(COUNT), result_type=list[int])

    async def hear() -> None:
        async with connection.messages("News", int) as reader:
            await connection.send("Tell", COUNT)
            got["News"] = [await reader.read() for _ in range(COUNT)]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, "Count", COUNT)
        nursery.start_soon(read, "Double", numbers(COUNT))
        nursery.start_soon(invoke)
        nursery.start_soon(upload)
        nursery.start_soon(hear)


async def go_through(protocol: str, schedule: Schedule, buffer: int) -> None:
    """Use a connection whose links are cut by a schedule."""
    got: dict[str, list[int]] = {}
    options = HubConnectionOptions(stateful_reconnect=True, stateful_reconnect_buffer_size=buffer)
    with no_task_left(), trio.fail_after(1000):
        async with trio.open_nursery() as nursery:
            dials = TornDials(protocol, nursery, schedule, buffer)
            async with open_over(dials, options=options) as connection:
                await use(connection, got)
                assert connection.state is HubConnectionState.CONNECTED
            nursery.cancel_scope.cancel()
    every = list(range(COUNT))
    doubled = [2 * number for number in every]
    assert got == {"Count": every, "Double": doubled, "Echo": every, "Collect": every, "News": every}


@given(
    protocol=st.sampled_from(PROTOCOLS),
    schedule=st.lists(st.tuples(st.integers(0, 50), st.sampled_from([0.0, 0.3, 3.0])), max_size=10),
    buffer=st.sampled_from([200, 2000, 100_000]),
)
def test_nothing_is_lost_doubled_or_out_of_order(protocol: str, schedule: Schedule, buffer: int) -> None:
    trio.run(go_through, protocol, schedule, buffer, clock=MockClock(autojump_threshold=0))
