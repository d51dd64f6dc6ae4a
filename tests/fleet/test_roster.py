"""A hub over several servers: what every roster does."""

from contextlib import AsyncExitStack

from tests.server.roster_contract import RosterContract
from trio_hubs import Disconnect
from trio_hubs.fleet.bus import Bus
from trio_hubs.fleet.roster import FleetRoster
from trio_hubs.protocol.registry import PROTOCOLS
from trio_hubs.server.local_roster import LocalRoster
from trio_hubs.server.roster import Roster

from .memory_bus import MemoryBroker


async def open_roster(stack: AsyncExitStack, bus: Bus, hub: str = "Hub") -> FleetRoster:
    local = LocalRoster(send_timeout=10, maximum_waiting=1024 * 1024)
    protocols = {name: protocol() for name, protocol in PROTOCOLS.items()}
    roster = FleetRoster(local, bus, hub, protocols, Disconnect())
    await stack.enter_async_context(roster.open())
    return roster


class TestFleetRoster(RosterContract):
    """Two servers do together what one does."""

    async def open_rosters(self, stack: AsyncExitStack) -> tuple[Roster, Roster]:
        broker = MemoryBroker()
        return await open_roster(stack, broker.open()), await open_roster(stack, broker.open())
