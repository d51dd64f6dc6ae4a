"""A client gets at most one message of a key a period, the newest; and nothing is kept for those that need nothing."""

from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import RawClient, local_roster, no_task_left, open_client, served_hub
from tests.messages import call
from trio_hubs import Conflate, Hub
from trio_hubs.calls.outbox import Outbox
from trio_hubs.connections.memory import memory_connection_pair
from trio_hubs.server.backlog import Backlog
from trio_hubs.server.pace import Pace

Heard = list[tuple[float, str, list[Any]]]


async def listen(client: RawClient, heard: Heard, *, pause: float = 0.0) -> None:
    """Note what comes when, with a pause after each read."""
    while True:
        message = await client.receive()
        heard.append((round(trio.current_time(), 3), message["target"], message["arguments"]))
        await trio.sleep(pause)


class Market:
    """A hub while its time is kept."""

    def __init__(self, **options: Any) -> None:
        self.served = served_hub(Hub, Hub, **options)

    def client(self, id: str = "a", **options: Any) -> AbstractAsyncContextManager[RawClient]:
        return open_client(self.served, id=id, **options)

    async def send(
        self, *arguments: Any, key: Any = None, every: float | None = 1.0, to: str = "Price"
    ) -> None:
        await self.served.clients.when_slow(Conflate(key, every=every)).all.send(to, *arguments)

    @property
    def dropped(self) -> int:
        return self.served.roster.dropped

    @property
    def kept(self) -> int:
        pace = local_roster(self.served)._pace
        return len(pace._turns) + len(pace._held) + len(pace._due)


async def test_the_first_comes_at_once_and_then_the_newest_of_each_period(autojump_clock: MockClock) -> None:
    market, heard = Market(), Heard()
    with no_task_left():
        async with market.client() as client, trio.open_nursery() as nursery:
            nursery.start_soon(market.served.roster.run)
            nursery.start_soon(listen, client, heard)
            await trio.sleep(10)
            for number in range(45):
                await market.send(number)
                await trio.sleep(0.1)
            await trio.sleep(2.35)
            await market.send("late")
            await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    assert [(time, arguments) for time, _, arguments in heard] == [
        (10.0, [0]),
        (11.0, [10]),
        (12.0, [20]),
        (13.0, [30]),
        (14.0, [40]),
        (15.0, [44]),
        (16.85, ["late"]),
    ]
    assert market.dropped == 39


async def test_keys_and_methods_have_their_times_by_themselves(autojump_clock: MockClock) -> None:
    market, heard = Market(), Heard()
    async with market.client() as client, trio.open_nursery() as nursery:
        nursery.start_soon(market.served.roster.run)
        nursery.start_soon(listen, client, heard)
        for number in range(3):
            await market.send("x", number, key="x", every=2)
            await market.send("y", number, key="y")
            await market.send("x", number, key="x", to="Volume")
            await trio.sleep(0.4)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert sorted(heard) == [
        (0.0, "Price", ["x", 0]),
        (0.0, "Price", ["y", 0]),
        (0.0, "Volume", ["x", 0]),
        (1.0, "Price", ["y", 2]),
        (1.0, "Volume", ["x", 2]),
        (2.0, "Price", ["x", 2]),
    ]


@pytest.mark.parametrize("every", [None, 1.0])
async def test_a_slow_client_sees_the_newest_where_the_network_holds_much(
    autojump_clock: MockClock, every: float | None
) -> None:
    """Its connection takes a thousand messages before anything waits here; it reads two of them a second."""
    market, ages = Market(), list[float]()
    async with market.client(capacity=1000) as client, trio.open_nursery() as nursery:
        nursery.start_soon(market.served.roster.run)

        @nursery.start_soon
        async def read() -> None:
            while True:
                message = await client.receive()
                ages.append(trio.current_time() - message["arguments"][0])
                await trio.sleep(0.5)

        for _ in range(200):
            await market.send(trio.current_time(), every=every)
            await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert len(ages) >= 20
    assert max(ages) < 1 if every else ages[-1] > 12


async def test_nothing_is_kept_of_what_is_over(autojump_clock: MockClock) -> None:
    market = Market()
    async with market.client("a") as leaving, market.client("b"), trio.open_nursery() as nursery:
        nursery.start_soon(market.served.roster.run)
        for number in range(4):
            await market.send(number, key=number % 2)
        leaving.leave()
        await leaving.served()
        assert market.kept == 1 + 1 + 4
        await trio.sleep(1.5)
        assert market.kept == 1 + 2
        await trio.sleep(1)
        assert market.kept == 0
        nursery.cancel_scope.cancel()


async def test_many_that_have_left_are_forgotten_before_their_time(autojump_clock: MockClock) -> None:
    pace = Pace(1000)
    ours, _ = memory_connection_pair()
    for _ in range(2000):
        backlog = Backlog(Outbox(ours))
        pace.put(backlog, "x", b"1", 3600)
        pace.put(backlog, "x", b"2", 3600)
        pace.leave(backlog)
        pace.leave(backlog)
    assert not pace._turns
    assert not pace._held
    assert len(pace._due) < 600


async def test_what_waits_for_its_time_is_bounded(autojump_clock: MockClock) -> None:
    market, heard = Market(broadcast_buffer_limit=1000), Heard()
    async with market.client() as client, trio.open_nursery() as nursery:
        nursery.start_soon(market.served.roster.run)
        nursery.start_soon(listen, client, heard)
        for number in range(6):
            await market.send(number % 3, number, "x" * 400, key=number % 3)
            await trio.sleep(0.1)
        await market.send(0, 6, "x" * 400, key=0)
        await trio.sleep(0.1)
        assert [arguments[1] for _, _, arguments in heard] == [0, 1, 2, 5]
        await trio.sleep(1)
        assert [arguments[1] for _, _, arguments in heard] == [0, 1, 2, 5, 6, 4]
        nursery.cancel_scope.cancel()
    assert market.dropped == 1


async def test_who_joins_a_group_has_nothing_older_waiting(autojump_clock: MockClock) -> None:
    market, heard = Market(), Heard()
    async with market.client() as client, trio.open_nursery() as nursery:
        nursery.start_soon(market.served.roster.run)
        nursery.start_soon(listen, client, heard)
        await market.send(0)
        await wait_all_tasks_blocked()  # else it is replaced before it has left
        for number in (1, 2):
            await market.send(number)
        await market.served.groups.add("a", "market")
        await market.served.clients.all.send("Snapshot")
        await market.served.groups.add("nobody", "market")
        await trio.sleep(3)
        nursery.cancel_scope.cancel()
    assert [(target, *arguments) for _, target, arguments in heard] == [
        ("Price", 0),
        ("Price", 2),
        ("Snapshot",),
    ]


async def test_who_leaves_a_group_gets_nothing_of_it_that_waits(autojump_clock: MockClock) -> None:
    market, heard = Market(), Heard()
    async with market.client("b"), market.client() as client, trio.open_nursery() as nursery:
        nursery.start_soon(market.served.roster.run)
        nursery.start_soon(listen, client, heard)
        groups, clients = market.served.groups, market.served.clients.when_slow(Conflate(every=1.0))
        await groups.add("a", "left", "kept")
        await groups.add("b", "left")
        for number in (0, 1):
            await clients.group("left").send("Left", number)
            await clients.groups("left", "kept").send("Either", number)
            await clients.group("kept").send("Kept", number)
            await clients.client("a").send("Alone", number)
            await wait_all_tasks_blocked()  # else the first is replaced before it has left
        await groups.remove("a", "left")
        await groups.remove("b", "left")
        await groups.remove("nobody", "left")
        await trio.sleep(3)
        assert market.kept == 0
        nursery.cancel_scope.cancel()
    # Of two groups, a member of both is called twice.
    firsts, seconds = ([name for _, name, (number,) in heard if number == each] for each in (0, 1))
    assert sorted(set(firsts)) == ["Alone", "Either", "Kept", "Left"]
    assert sorted(set(seconds)) == ["Alone", "Either", "Kept"]


async def test_many_that_are_due_at_once_leave_others_their_turn(autojump_clock: MockClock) -> None:
    market = Market()
    async with market.client() as client, trio.open_nursery() as nursery:
        nursery.start_soon(market.served.roster.run)
        for _ in range(2):
            for key in range(500):
                await market.send(key, key=key)
        assert len(await client.arrived()) == 500
        await trio.sleep(1)
        arrived = await client.arrived()
        assert arrived == [call("Price", key) for key in range(500)]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("every", [0, -1.0])
def test_a_period_takes_time(every: float) -> None:
    with pytest.raises(ValueError, match="every"):
        Conflate("x", every=every)
