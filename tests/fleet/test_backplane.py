"""The hubs of an app, over a bus: by the full name of their class, or the one that all servers have for them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from trio.testing import MockClock

from trio_hubs import Hub, HubApp
from trio_hubs.fleet.backplane import FleetBackplane

from .memory_bus import MemoryBroker, MemoryBus


class Chat(Hub):
    """A hub."""


class News(Hub):
    """Another."""


class MemoryBackplane(FleetBackplane):
    """Joins hubs in memory."""

    def __init__(self, bus: MemoryBus) -> None:
        super().__init__(bus, {News: "Dotnet.News"})
        self.open_now = False

    @asynccontextmanager
    async def open_bus(self) -> AsyncGenerator[None]:
        self.open_now = True
        try:
            yield
        finally:
            self.open_now = False


async def test_each_hub_is_one_of_the_fleet_while_the_app_runs(autojump_clock: MockClock) -> None:
    bus = MemoryBroker().open()
    backplane = MemoryBackplane(bus)
    app = HubApp(backplane=backplane)
    app.add_hub("/chat", Chat)
    app.add_hub("/chat/again", Chat)
    app.add_hub("/news", News)
    for _ in range(2):
        async with app.running():
            assert backplane.open_now
            assert {name.rpartition(":")[0] for name in bus.heard if name.endswith(":all")} == {
                "tests.fleet.test_backplane.Chat",
                "Dotnet.News",
            }
        assert not backplane.open_now
        assert not bus.heard


async def test_a_hub_may_be_left_out(autojump_clock: MockClock) -> None:
    bus = MemoryBroker().open()
    app = HubApp(backplane=MemoryBackplane(bus))
    app.add_hub("/chat", Chat, alone=True)
    app.add_hub("/news", News)
    async with app.running():
        assert {name.partition(":")[0] for name in bus.heard} == {"Dotnet.News"}
