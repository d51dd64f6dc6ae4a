"""Servers that die, are cut off or lose a client at every step of what they do together.

Whoever asked learns how it ended within the time that is documented, and nothing stays of it anywhere.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import RawClient, no_task_left, open_client
from tests.messages import result
from tests.server.roster_contract import Member
from trio_hubs import HubOptions
from trio_hubs.errors import BackplaneError, ConnectionClosed
from trio_hubs.fleet.bus import LOOK_AFTER, Hear
from trio_hubs.fleet.queries import ANSWER_TIMEOUT
from trio_hubs.fleet.roster import FleetRoster
from trio_hubs.server.served_hub import ServedHub

from .memory_bus import MemoryBroker, MemoryBus
from .test_roster import open_roster


class CountingBus(MemoryBus):
    """Counts its steps: what it is told to do, and what it hears; before one of them, something happens."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        broker.buses.append(self)
        self.steps_left = -1
        self.happen: Callable[[], object] = int

    def _step(self) -> None:
        self.steps_left -= 1
        if self.steps_left == -1:
            self.happen()

    def subscribe(self, channel: str, hear: Hear) -> None:
        def step_and_hear(data: bytes) -> None:
            self._step()
            if not self.away:
                hear(data)

        self._step()
        super().subscribe(channel, step_and_hear)

    def unsubscribe(self, channel: str) -> None:
        self._step()
        super().unsubscribe(channel)

    def publish(self, channel: str, data: bytes) -> None:
        self._step()
        if not self.away:
            super().publish(channel, data)

    async def publish_counted(self, channel: str, data: bytes) -> int:
        self._step()
        return await super().publish_counted(channel, data)

    async def subscribers(self, channel: str) -> int:
        self._step()
        return await super().subscribers(channel)

    async def wait_subscribed(self, channel: str) -> None:
        self._step()
        await super().wait_subscribed(channel)


class Server:
    """A server of a fleet.

    Attributes:
        bus: Its way to the others.
        life: Cancelled, it is dead.
        nursery: What runs in it.
        roster: Its hub's clients.
    """

    nursery: trio.Nursery
    roster: FleetRoster

    def __init__(self, broker: MemoryBroker) -> None:
        self.bus = CountingBus(broker)
        self.life = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with AsyncExitStack() as stack:
            stack.enter_context(self.life)
            self.roster = await open_roster(stack, self.bus)
            self.nursery = await stack.enter_async_context(trio.open_nursery())
            task_status.started()
            await trio.sleep_forever()

    def cut(self) -> None:
        self.bus.away = True

    def die(self) -> None:
        self.cut()
        self.life.cancel()

    def kept(self) -> Sequence[object]:
        """What it keeps of what servers do together, but for the channels that it hears for its whole life."""
        roster, members = self.roster, self.roster._local.members
        tables = (
            roster._commands._waiting,
            roster._results._questions,
            roster._queries._asked,
            roster._joining,
            roster._prepared,
            members.by_id,
            members._groups,
            roster._results._nursery.child_tasks,
            [name for name in self.bus.heard if "internal" not in name and not name.endswith(":all")],
            range(roster._commands._running + roster._results._running),
        )
        return [table for table in tables if table]


@attrs.frozen
class Handshake:
    """What a server does together with that of a client.

    Attributes:
        ask: Begins it, on the one server.
        within: Seconds that it may take, whatever happens.
        ends: How it may end if nobody is missing.
        without_client: How it may end if the client, or its server, goes while it lasts.
    """

    ask: Callable[[FleetRoster], Awaitable[Any]]
    within: float
    ends: str
    without_client: set[str]


HANDSHAKES = {
    "join": Handshake(lambda roster: roster.join("a", "room"), LOOK_AFTER, "None", {"None"}),
    "leave": Handshake(lambda roster: roster.leave("a", "before"), LOOK_AFTER, "None", {"None"}),
    "invoke": Handshake(
        lambda roster: roster.invoke("a", "Ask", (1,), int), LOOK_AFTER, "42", {"ConnectionClosed"}
    ),
    "find": Handshake(
        lambda roster: roster.groups(),
        ANSWER_TIMEOUT,
        "frozenset({'before'})",
        {"frozenset()", "BackplaneError"},
    ),
}


@pytest.mark.parametrize(
    "fault", ["asker cut", "asker dies", "other cut", "other dies", "client leaves", "client gone"]
)
@pytest.mark.parametrize("name", HANDSHAKES)
async def test_a_fault_at_every_step(autojump_clock: MockClock, name: str, fault: str) -> None:
    steps = 0
    with no_task_left():
        while await fault_happens(HANDSHAKES[name], fault, steps):
            steps += 1
    assert steps >= 2  # each side has something to do


@pytest.mark.parametrize("name", ["join", "invoke"])
async def test_whoever_waits_learns_that_the_answer_may_be_lost(autojump_clock: MockClock, name: str) -> None:
    async with trio.open_nursery() as nursery:
        asker = Server(MemoryBroker())
        await nursery.start(asker.run)
        asker.bus.subscribe("Hub:connection:a", lambda _: None)  # which nobody answers for

        @nursery.start_soon
        async def _() -> None:
            await trio.sleep(1)
            asker.bus.gaps += 1

        assert await outcome_of(HANDSHAKES[name], asker) == "BackplaneError"
        assert trio.current_time() <= LOOK_AFTER
        assert asker.kept() == [["Hub:connection:a"]]
        nursery.cancel_scope.cancel()


async def test_who_cannot_join_all_groups_joins_none(autojump_clock: MockClock) -> None:
    steps, outcome = 0, ""
    while outcome != "None":
        async with trio.open_nursery() as nursery:
            server = Server(MemoryBroker())
            await nursery.start(server.run)
            hub = ServedHub(Member, Member, HubOptions(), roster=server.roster)
            async with open_client(hub, "json", id="a") as client:
                await client.take(1)
                server.bus.happen = server.cut
                server.bus.steps_left = steps
                joining = Handshake(lambda roster: roster.join("a", "x", "y"), 0, "None", set())
                outcome = await outcome_of(joining, server)
                joined = {"x", "y"} if outcome == "None" else set[str]()
                assert server.roster._local.members.by_id["a"].groups == joined
                assert {name for name in server.bus.heard if ":group:" in name} == {
                    f"Hub:group:{group}" for group in joined
                }
                server.bus.happen = int
            await wait_all_tasks_blocked()
            assert server.kept() == []
            nursery.cancel_scope.cancel()
        steps += 1
    assert steps >= 4  # each group is heard, and then waited for


async def fault_happens(handshake: Handshake, fault: str, steps: int) -> bool:
    """Go through a handshake, with a fault after so many steps of a server; whether it came to that."""
    broker = MemoryBroker()
    async with trio.open_nursery() as nursery:
        asker, other = Server(broker), Server(broker)
        for server in (asker, other):
            await nursery.start(server.run)
        hub = ServedHub(Member, Member, HubOptions(), roster=other.roster)
        async with open_client(hub, "json", id="a") as client:
            await client.take(1)
            await other.roster.join("a", "before")
            nursery.start_soon(answer, client)

            def other_dies() -> None:
                other.die()
                client.serving.cancel()

            failing = asker if "asker" in fault else other
            faults: dict[str, Callable[[], object]] = {
                "asker cut": asker.cut,
                "asker dies": asker.die,
                "other cut": other.cut,
                "other dies": other_dies,
                "client leaves": client.leave,
                "client gone": partial(other.roster.remove, "a"),
            }
            failing.bus.happen = faults[fault]
            failing.bus.steps_left = steps
            start = trio.current_time()
            outcome = await outcome_of(handshake, asker)
            assert trio.current_time() - start < handshake.within + 0.1
            happened = failing.bus.steps_left < 0
            expected = {handshake.ends}
            if happened:
                expected |= {"BackplaneError", "died"} if failing is asker else handshake.without_client
            assert outcome in expected
            failing.bus.happen = int
        await wait_all_tasks_blocked()
        assert [*asker.kept(), *other.kept()] == []
        nursery.cancel_scope.cancel()
    assert not [bus.heard for bus in broker.buses if bus.heard]
    return happened


async def outcome_of(handshake: Handshake, asker: Server) -> str:
    outcome = "died"
    over = trio.Event()

    async def ask() -> None:
        nonlocal outcome
        try:
            outcome = str(await handshake.ask(asker.roster))
        except (BackplaneError, ConnectionClosed) as error:
            outcome = type(error).__name__
        finally:
            over.set()

    asker.nursery.start_soon(ask)
    await over.wait()
    return outcome


async def answer(client: RawClient) -> None:
    """Answer all questions, until the connection ends."""
    with suppress(trio.EndOfChannel, ConnectionClosed):
        while True:
            message = await client.receive()
            if "invocationId" in message:
                await client.send(result(message["invocationId"], 42))
