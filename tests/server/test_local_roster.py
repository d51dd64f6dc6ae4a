"""The roster of one process: what every roster does, and that nothing is kept of who has left."""

import gc
import weakref
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import PROTOCOLS, local_roster, open_client, served_hub, session_of
from tests.messages import call
from trio_hubs import Disconnect, Hub, User, Wait
from trio_hubs.calls.channels import GIVE_WAY
from trio_hubs.server.local_roster import LocalRoster
from trio_hubs.server.roster import Roster

from .roster_contract import RosterContract

both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


class FakeSession:
    """As much of a session as counting is about."""

    protocol = outbox = None


def new_roster() -> LocalRoster:
    return LocalRoster(send_timeout=10, maximum_waiting=1024 * 1024)


def is_empty(roster: LocalRoster) -> bool:
    members = roster.members
    return not (members.by_id or members._groups or members._users or roster._unflushed)


class TestLocalRoster(RosterContract):
    """It does what every roster does, for the one process that there is."""

    async def open_rosters(self, stack: AsyncExitStack) -> tuple[Roster, Roster]:
        roster = new_roster()
        return roster, roster


async def test_what_has_been_counted_outlives_who_has_left() -> None:
    roster = new_roster()
    session: Any = FakeSession()
    await roster.add("a", session, None)
    roster.members.by_id["a"].backlog.dropped = 5
    assert roster.dropped == 5
    roster.remove("a")
    assert roster.dropped == 5
    other: Any = FakeSession()
    await roster.add("b", other, None)
    roster.members.by_id["b"].backlog.dropped = 1
    assert roster.dropped == 6


# ---- sending


class Plain(Hub):
    """Only listens."""

    async def burst(self, count: int) -> None:
        for number in range(count):
            await self.clients.all.send("Word", number)

    async def burst_and_wait(self, count: int) -> None:
        await self.burst(count)
        await trio.sleep_forever()


@both_protocols
async def test_what_is_sent_in_one_pass_leaves_together(autojump_clock: MockClock, protocol: str) -> None:
    served = served_hub(Plain)
    async with open_client(served, protocol) as client:
        for number in range(20):
            await served.clients.all.send("Word", number)
        assert await client.arrived() == [call("Word", number) for number in range(20)]
        assert len(client.pieces) <= 2


@both_protocols
async def test_what_was_sent_is_out_as_soon_as_its_sender_waits(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(Plain, protocol) as client:
        await client.send(call("BurstAndWait", 3))
        assert await client.take(3) == [call("Word", number) for number in range(3)]
        assert trio.current_time() == 0


async def test_a_burst_lets_others_run(autojump_clock: MockClock) -> None:
    ran: list[int] = []
    served = served_hub(Plain)
    async with open_client(served) as client, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            while True:
                ran.append(1)
                await trio.lowlevel.checkpoint()

        for number in range(10 * GIVE_WAY):
            await served.clients.all.send("Word", number)
        assert len(ran) >= 9
        ran.clear()
        for _number in range(10):
            await served.clients.all.send("Large", "x" * 70_000)
        assert len(ran) >= 9
        nursery.cancel_scope.cancel()
        assert len(await client.arrived()) == 10 * GIVE_WAY + 10


async def test_a_burst_to_nobody_lets_others_run_too(autojump_clock: MockClock) -> None:
    served = served_hub(Plain)
    with trio.move_on_after(0) as scope:
        while True:
            await served.clients.all.send("Word")
    assert scope.cancelled_caught


@pytest.mark.parametrize("policy", [Disconnect(), Wait()])
async def test_a_send_is_cancelled_before_it_sends(
    autojump_clock: MockClock, policy: Disconnect | Wait
) -> None:
    served = served_hub(Plain, slow_clients=policy)
    async with open_client(served) as client:
        with trio.CancelScope() as scope:
            scope.cancel()
            await served.clients.all.send("Word")
        assert scope.cancelled_caught
        assert await client.arrived() == []


async def test_each_client_gets_the_messages_of_a_task_in_their_order(autojump_clock: MockClock) -> None:
    """Whatever they are sent to, and whatever else goes to them."""
    served = served_hub(Plain)
    async with open_client(served, id="a") as one, open_client(served, "messagepack", id="b") as other:
        await served.groups.add("a", "g")
        await served.groups.add("b", "g")
        clients = served.clients
        for start in range(0, 300, 3):
            await clients.all.send("Word", start)
            await clients.group("g").send("Word", start + 1)
            await clients.when_slow(Wait()).clients("a", "b").send("Word", start + 2)
        for client in (one, other):
            assert await client.arrived() == [call("Word", number) for number in range(300)]


async def test_a_methods_broadcasts_come_to_its_caller_before_its_answer(autojump_clock: MockClock) -> None:
    async with open_client(Plain, maximum_parallel_invocations=4) as client:
        for start in range(20):
            await client.send(call("Burst", 3, id=f"{start}"))
            kinds = [message["type"] for message in await client.take(4)]
            assert kinds == [1, 1, 1, 3]


async def test_what_waits_to_be_sent_does_not_keep_who_has_left(autojump_clock: MockClock) -> None:
    served = served_hub(Plain)
    async with open_client(served, id="a", user=User("u")) as client:
        await wait_all_tasks_blocked()
        await served.clients.all.send("Word", 1)
        client.leave()
        await served.clients.user("u").send("Word", 2)
        await client.served()
        await served.clients.all.send("Word", 3)
    await wait_all_tasks_blocked()
    assert is_empty(local_roster(served))


async def test_a_session_that_has_ended_is_no_object_any_more(autojump_clock: MockClock) -> None:
    served = served_hub(Plain)
    kept: list[weakref.ref[Any]] = []
    for _ in range(5):
        async with open_client(served, id="a", user=User("u")) as client:
            await served.groups.add("a", "g")
            await client.send(call("Burst", 3, id="1"))
            await client.take(4)
            kept.append(weakref.ref(session_of(served, "a")))
            kept.append(weakref.ref(session_of(served, "a").connection))
        del client
    await wait_all_tasks_blocked()
    gc.collect()
    assert [ref() for ref in kept] == [None] * 10
