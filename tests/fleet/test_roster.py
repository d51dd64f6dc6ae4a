"""A hub over several servers: what every roster does."""

from contextlib import AsyncExitStack

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import open_client
from tests.server.roster_contract import Member, RosterContract
from trio_hubs import Disconnect, HubOptions, SlowClientPolicy, User, Wait
from trio_hubs.fleet.bus import Bus, Hear
from trio_hubs.fleet.roster import FleetRoster
from trio_hubs.protocol.registry import PROTOCOLS
from trio_hubs.server.address import Address
from trio_hubs.server.local_roster import LocalRoster
from trio_hubs.server.roster import ClientCall, Roster
from trio_hubs.server.served_hub import ServedHub

from .memory_bus import MemoryBroker, MemoryBus


async def open_roster(stack: AsyncExitStack, bus: Bus, hub: str = "Hub") -> FleetRoster:
    local = LocalRoster(send_timeout=10, maximum_waiting=1024 * 1024)
    protocols = {name: protocol() for name, protocol in PROTOCOLS.items()}
    roster = FleetRoster(local, bus, hub, protocols, HubOptions())
    await stack.enter_async_context(roster.open())
    return roster


class TestFleetRoster(RosterContract):
    """Two servers do together what one does."""

    async def open_rosters(self, stack: AsyncExitStack) -> tuple[Roster, Roster]:
        broker = MemoryBroker()
        return await open_roster(stack, broker.open()), await open_roster(stack, broker.open())


async def test_a_client_that_knows_it_is_connected_is_within_reach_of_others(
    autojump_clock: MockClock,
) -> None:
    async with AsyncExitStack() as stack:
        broker = MemoryBroker()
        bus = SlowBus(broker)
        broker.buses.append(bus)
        here, there = await open_roster(stack, bus), await open_roster(stack, broker.open())
        hub = ServedHub(Member, Member, HubOptions(), roster=here)
        async with open_client(hub, "json", id="a", user=User("ann")) as client:
            await there.send(Address.connections("a"), ClientCall("Hear", (1,)), Disconnect())
            await there.send(Address.users("ann"), ClientCall("Hear", (2,)), Disconnect())
            heard = await client.take(3)
            assert sorted(message["target"] for message in heard) == ["Hear", "Hear", "Welcome"]
            client.leave()
            await client.served()
        assert not here._prepared
        assert not [name for name in bus.heard if "internal" not in name and not name.endswith(":all")]


async def test_who_leaves_before_it_is_within_reach_leaves_nothing(autojump_clock: MockClock) -> None:
    async with AsyncExitStack() as stack:
        bus = SlowBus(MemoryBroker())
        here = await open_roster(stack, bus)
        with trio.move_on_after(0.5):
            await here.prepare("a", "ann")
        bus.away = True
        await here.prepare("b", "bob")
        bus.away = False
        await here.prepare("c", None)
        here.remove("c")
        assert not here._prepared
        assert not [name for name in bus.heard if "internal" not in name and not name.endswith(":all")]


async def test_a_send_that_is_cancelled_calls_nobody(autojump_clock: MockClock) -> None:
    async with AsyncExitStack() as stack:
        broker = MemoryBroker()
        here = await open_roster(stack, bus := FullBus(broker))
        broker.buses.append(bus)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.send, Address.all(), ClientCall("Hear", (1,)), Disconnect())
            await wait_all_tasks_blocked()
            bus.room.set()  # in the same pass of the scheduler
            nursery.cancel_scope.cancel()
        assert not broker.published


class FullBus(MemoryBus):
    """Nothing can be published for a while."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.room = trio.Event()

    async def wait_room(self, *channels: str) -> None:
        await self.room.wait()


@pytest.mark.parametrize("policy", [Disconnect(), Wait()], ids=str)
async def test_a_slow_client_holds_up_nobody_who_is_called_from_elsewhere(
    autojump_clock: MockClock, policy: SlowClientPolicy
) -> None:
    async with AsyncExitStack() as stack:
        broker = MemoryBroker()
        here, there = [await open_roster(stack, broker.open()) for _ in range(2)]
        hub = ServedHub(Member, Member, HubOptions(), roster=here)
        fast = await stack.enter_async_context(open_client(hub, "json", id="fast"))
        slow = await stack.enter_async_context(open_client(hub, "json", id="slow", capacity=0))
        for client in (fast, slow):
            await client.take(1)
        for id in ("fast", "slow"):
            await there.join(id, "room")
        for number in range(200):
            await there.send(Address.groups("room"), ClientCall("Hear", (number, "x" * 10_000)), policy)
            assert (await fast.receive())["arguments"][0] == number
        assert trio.current_time() == 0  # it was waited for by nobody
        await slow.over.wait()
        assert here.has("fast")
        assert not here.has("slow")


class SlowBus(MemoryBus):
    """A subscription takes a second."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self._later: dict[str, Hear] = {}

    def subscribe(self, channel: str, hear: Hear) -> None:
        if channel not in self.heard:
            self._later[channel] = hear

    async def wait_subscribed(self, channel: str) -> None:
        await super().wait_subscribed(channel)
        if channel in self._later:
            await trio.sleep(1)
            super().subscribe(channel, self._later.pop(channel))

    def unsubscribe(self, channel: str) -> None:
        self._later.pop(channel, None)
        super().unsubscribe(channel)
