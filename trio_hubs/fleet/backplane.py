"""What makes of the hubs of one process hubs of a fleet, over a bus."""

from __future__ import annotations

import abc
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from ..protocol.registry import PROTOCOLS
from ..server.backplane import Backplane
from ..server.hub import Hub
from ..server.local_roster import LocalRoster
from ..server.options import HubOptions
from ..server.roster import Roster
from .bus import Bus, Gap
from .roster import FleetRoster


class FleetBackplane(Backplane):
    """Joins hubs over a bus; never made itself.

    Args:
        bus: The way to the other servers.
        hub_names: The names that all servers have for hubs, where these are not the full names of their classes.
        on_gap: Hears that this server was cut off from the others. Must not block, nor raise.

    Attributes:
        bus: The way to the other servers.
        hub_names: As given.
        on_gap: As given.
    """

    def __init__(
        self,
        bus: Bus,
        hub_names: Mapping[type[Hub[Any]], str],
        on_gap: Callable[[Gap], None] | None = None,
    ) -> None:
        self.on_gap = on_gap
        self.bus = bus
        self.hub_names = hub_names
        self._parts: list[Callable[[], AbstractAsyncContextManager[None]]] = []

    @property
    def gaps(self) -> int:
        """How often this server was cut off."""
        return self.bus.gaps

    def roster(self, hub: type[Hub[Any]], local: LocalRoster, options: HubOptions) -> Roster:
        name = self.hub_names.get(hub) or f"{hub.__module__}.{hub.__qualname__}"
        # All that there are: other servers may support more than this one does.
        protocols = {name: protocol(options.naming) for name, protocol in PROTOCOLS.items()}
        roster = FleetRoster(local, self.bus, name, protocols, options)
        self.add(roster.open)
        return roster

    def add(self, part: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        """Have something be one of the fleet for as long as the app is served: it is held while the bus is there."""
        self._parts.append(part)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        async with self.open_bus(), AsyncExitStack() as stack:
            for part in self._parts:
                await stack.enter_async_context(part())
            yield

    def note_gap(self, gap: Gap) -> None:
        """This server was cut off, and is joined with the others again."""
        self.bus.gaps += 1
        if self.on_gap is not None:
            self.on_gap(gap)

    @abc.abstractmethod
    def open_bus(self) -> AbstractAsyncContextManager[None]:
        """Keep the bus going for the body."""
