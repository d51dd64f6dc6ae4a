"""A dashboard of machines: a snapshot, then what changes: `trio-hubs serve examples.dashboard:app`.

A slow browser sees the newest loads, a little late; it neither holds up others nor works through old ones.
The loads are in the memory of the one process that serves them.
"""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import trio

from trio_hubs import Conflate, FileResponse, Hub, HubApp, HubException

PAGES = Path(__file__).with_name("pages")
READ_EVERY = 0.05
"""Seconds from one reading of a machine's load to the next."""
TELL_EVERY = 0.5
"""Seconds in which a browser hears of a machine at most once."""


class Machines:
    """All machines, and their loads in percent."""

    def __init__(self) -> None:
        self.loads: dict[str, int] = dict.fromkeys(("alder", "birch", "cedar", "hazel", "maple", "rowan"), 50)

    async def read(self, app: HubApp["Machines"], name: str) -> None:
        """Read a machine's load forever, and tell who watches it."""
        clients = app.hub(Dashboard).clients.when_slow(Conflate(name, every=TELL_EVERY))
        while True:
            await trio.sleep(READ_EVERY)
            load = self.loads[name] + random.randint(-3, 3)  # here a real one asks the machine
            self.loads[name] = min(max(load, 0), 100)
            await clients.group(name).load(name, self.loads[name])  # and nothing is awaited since the change


class Screen(Protocol):
    """What a browser can be told."""

    async def snapshot(self, loads: dict[str, int]) -> None:
        """These are the loads now."""

    async def load(self, name: str, load: int) -> None:
        """This is a machine's load from now on."""


class Dashboard(Hub[Screen]):
    """Shows any number of machines."""

    app: HubApp[Machines]

    def names(self) -> list[str]:
        """Which machines there are."""
        return list(self.app.state.loads)

    async def watch(self, names: list[str]) -> None:
        """Hear of these machines, from a snapshot on."""
        loads = self.app.state.loads
        if unknown := set(names) - set(loads):
            raise HubException(f"There is no machine {min(unknown)!r}.")
        await self.groups.add(self.context.connection_id, *names)
        await self.clients.caller.snapshot({name: loads[name] for name in names})  # before any change

    async def ignore(self, name: str) -> None:
        """Hear no more of a machine."""
        await self.groups.remove(self.context.connection_id, name)


@asynccontextmanager
async def lifespan(app: HubApp) -> AsyncGenerator[Machines]:
    """Read the machines while the app is served."""
    machines = Machines()
    async with trio.open_nursery() as nursery:
        for name in machines.loads:
            nursery.start_soon(machines.read, app, name)
        yield machines
        nursery.cancel_scope.cancel()


app = HubApp(lifespan=lifespan)
app.add_hub("/dashboard", Dashboard)
app.add_route("/", lambda _: FileResponse(PAGES / "dashboard.html"))
app.add_static("/pages", PAGES)  # with SignalR's client for browsers
