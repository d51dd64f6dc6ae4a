"""The roster: who is there, in which groups, of which user; and nothing is kept of who has left."""

import gc
import random
import weakref
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import PROTOCOLS, call, open_client, served_hub
from trio_hubs import Disconnect, Hub, User, Wait
from trio_hubs.calls.channels import GIVE_WAY
from trio_hubs.server.roster import Roster

both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


class FakeOutbox:
    dropped = 0


class FakeCallee:
    refused = 0


class FakeSession:
    """As much of a session as who is there is about."""

    too_slow = False

    def __init__(self) -> None:
        self.outbox = FakeOutbox()
        self.their_calls = FakeCallee()


def fake() -> Any:
    return FakeSession()


def new_roster() -> Roster:
    return Roster(send_timeout=10, maximum_waiting=1000)


def is_empty(roster: Roster) -> bool:
    return not (
        roster.sessions or roster._groups or roster._users or roster._memberships or roster._unflushed
    )


# ---- who is there


def test_one_that_comes_and_goes_leaves_nothing() -> None:
    roster = new_roster()
    roster.add("a", fake(), "ann")
    roster.join("a", "g")
    roster.join("a", "h")
    roster.remove("a", "ann")
    assert is_empty(roster)


def test_two_of_one_user_leave_one_by_one() -> None:
    roster = new_roster()
    a, b = fake(), fake()
    roster.add("a", a, "ann")
    roster.add("b", b, "ann")
    assert list(roster.of_user("ann")) == [a, b]
    roster.remove("a", "ann")
    assert list(roster.of_user("ann")) == [b]
    roster.remove("b", "ann")
    assert list(roster.of_user("ann")) == []
    assert is_empty(roster)


def test_an_empty_user_id_is_one_and_none_is_nobodys() -> None:
    roster = new_roster()
    a, b = fake(), fake()
    roster.add("a", a, "")
    roster.add("b", b, None)
    assert list(roster.of_user("")) == [a]
    roster.remove("a", "")
    roster.remove("b", None)
    assert is_empty(roster)


def test_asking_for_a_group_makes_none() -> None:
    roster = new_roster()
    assert list(roster.in_group("g")) == []
    assert list(roster.of_user("u")) == []
    roster.join("nobody", "g")
    roster.leave("nobody", "g")
    roster.add("a", fake(), None)
    roster.leave("a", "g")
    roster.remove("a", None)
    assert is_empty(roster)


def test_ids_name_each_once_and_in_their_order() -> None:
    roster = new_roster()
    a, b = fake(), fake()
    roster.add("a", a, None)
    roster.add("b", b, None)
    assert roster.with_ids(("b", "x", "a", "b")) == [b, a]


def test_a_group_left_in_between_is_joined_anew() -> None:
    roster = new_roster()
    a, b = fake(), fake()
    roster.add("a", a, None)
    roster.add("b", b, None)
    roster.join("a", "g")
    roster.join("b", "g")
    roster.leave("a", "g")
    roster.leave("a", "g")
    roster.join("a", "g")
    assert list(roster.in_group("g")) == [b, a]


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_groups_are_as_a_plain_set_has_them(seed: int) -> None:
    chance = random.Random(seed)
    roster = new_roster()
    there: dict[str, Any] = {}
    members: dict[str, set[str]] = {f"g{n}": set() for n in range(5)}
    for step in range(2000):
        id = f"c{chance.randrange(20)}"
        group = chance.choice(list(members))
        match chance.choice(("come", "go", "join", "join", "leave")):
            case "come" if id not in there:
                there[id] = fake()
                roster.add(id, there[id], f"u{int(id[1:]) % 3}")
            case "go" if id in there:
                del there[id]
                roster.remove(id, f"u{int(id[1:]) % 3}")
                for ids in members.values():
                    ids.discard(id)
            case "join":
                roster.join(id, group)
                if id in there:
                    members[group].add(id)
            case "leave":
                roster.leave(id, group)
                members[group].discard(id)
            case _:
                continue
        if step % 50 == 0:
            for name, ids in members.items():
                assert set(roster.in_group(name)) == {there[member] for member in ids}
    for known in list(there):
        roster.remove(known, f"u{int(known[1:]) % 3}")
    assert is_empty(roster)


def test_what_has_been_counted_outlives_who_has_left() -> None:
    roster = new_roster()
    session = fake()
    roster.add("a", session, None)
    session.too_slow, session.outbox.dropped, session.their_calls.refused = True, 5, 7
    assert roster.statistics() == (7, 1, 5)
    roster.remove("a", None)
    assert roster.statistics() == (7, 1, 5)
    other = fake()
    other.outbox.dropped = 1
    roster.add("b", other, None)
    assert roster.statistics() == (7, 1, 6)


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
    assert is_empty(served.roster)


async def test_a_session_that_has_ended_is_no_object_any_more(autojump_clock: MockClock) -> None:
    served = served_hub(Plain)
    kept: list[weakref.ref[Any]] = []
    for _ in range(5):
        async with open_client(served, id="a", user=User("u")) as client:
            await served.groups.add("a", "g")
            await client.send(call("Burst", 3, id="1"))
            await client.take(4)
            kept.append(weakref.ref(served.roster.sessions["a"]))
            kept.append(weakref.ref(served.roster.sessions["a"].connection))
        del client
    await wait_all_tasks_blocked()
    gc.collect()
    assert [ref() for ref in kept] == [None] * 10
