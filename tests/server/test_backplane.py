"""What an app does with a backplane: its hubs' rosters are the backplane's, which is open while the app runs."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from trio.testing import MockClock

from trio_hubs import Hub, HubApp, HubOptions
from trio_hubs.server.backplane import Backplane
from trio_hubs.server.local_roster import LocalRoster
from trio_hubs.server.roster import Roster


class Chat(Hub):
    """A hub."""


class Loose(Backplane):
    """Joins nobody, and writes down what it is asked."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def roster(self, hub: type[Hub[Any]], local: LocalRoster, options: HubOptions) -> Roster:
        self.events.append((hub, options.client_timeout))
        return local

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        self.events.append("open")
        try:
            yield
        finally:
            self.events.append("closed")


async def test_it_is_open_around_the_lifespan_and_has_one_roster_a_hub(autojump_clock: MockClock) -> None:
    backplane = Loose()

    @asynccontextmanager
    async def lifespan(app: HubApp[None]) -> AsyncGenerator[None]:
        backplane.events.append("lifespan")
        yield
        backplane.events.append("lifespan over")

    app = HubApp(backplane=backplane, lifespan=lifespan)
    app.add_hub("/chat", Chat, options=HubOptions(client_timeout=7))
    app.add_hub("/again", Chat)
    async with app.running():
        backplane.events.append("running")
    order = ["open", "lifespan", "running", "lifespan over", "closed"]
    assert backplane.events == [(Chat, 7), *order]
