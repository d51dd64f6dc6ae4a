"""What makes of the hubs of one process hubs of a fleet, over a bus."""

from __future__ import annotations

import abc
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from ..protocol.registry import PROTOCOLS
from ..server.backplane import Backplane
from ..server.hub import Hub
from ..server.local_roster import LocalRoster
from ..server.options import HubOptions
from ..server.roster import Roster
from .bus import Bus
from .roster import FleetRoster


class FleetBackplane(Backplane):
    """Joins hubs over a bus; never made itself.

    Args:
        bus: The way to the other servers.
        hub_names: The names that all servers have for hubs, where these are not the full names of their classes.

    Attributes:
        bus: The way to the other servers.
        hub_names: As given.
    """

    def __init__(self, bus: Bus, hub_names: Mapping[type[Hub[Any]], str]) -> None:
        self.bus = bus
        self.hub_names = hub_names
        self._rosters: list[FleetRoster] = []

    def roster(self, hub: type[Hub[Any]], local: LocalRoster, options: HubOptions) -> Roster:
        name = self.hub_names.get(hub) or f"{hub.__module__}.{hub.__qualname__}"
        # All that there are: other servers may support more than this one does.
        protocols = {name: protocol(options.naming) for name, protocol in PROTOCOLS.items()}
        roster = FleetRoster(local, self.bus, name, protocols, options.slow_clients)
        self._rosters.append(roster)
        return roster

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        async with self.open_bus(), AsyncExitStack() as stack:
            for roster in self._rosters:
                await stack.enter_async_context(roster.open())
            yield

    @abc.abstractmethod
    def open_bus(self) -> AbstractAsyncContextManager[None]:
        """Keep the bus going for the body."""
