"""The pattern of docs/presence.md: whoever comes and goes in the same moment, all lists of who is there come out right.

In one process, and on servers whose messages take their time, each channel's for itself.
"""

import random
import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.fleet.memory_bus import MemoryBackplane, MemoryBroker, MemoryBus
from trio_hubs import ConnectionClosed, HubApp, User
from trio_hubs.testing import Network, open_test_app, open_test_client

PAGE = Path(__file__).parents[2] / "docs" / "presence.md"
BLOCK = re.compile(r"^<!-- test -->\n```python\n(.*?)^trio\.run\(main\)\n```$", re.MULTILINE | re.DOTALL)


def names_of_the_page() -> dict[str, Any]:
    """What the page's example defines."""
    (code,) = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    names: dict[str, Any] = {"__name__": "presence"}
    exec(compile(code, PAGE, "exec"), names)
    return names


NAMES = names_of_the_page()
Presence, Page = NAMES["Presence"], NAMES["Page"]


@attrs.frozen
class Visit:
    """A device that comes, and goes or stays."""

    user: str
    server: int
    begin: int
    end: float = inf
    torn: bool = False


TWO_AT_ONCE = [Visit("bob", 0, 1), Visit("bob", 1, 1)]
RELOAD = [Visit("bob", 0, 0, 1), Visit("bob", 1, 1)]
LEAVE_AT_ONCE = [Visit("bob", 0, 0, 1), Visit("bob", 1, 0, 1)]
VISITS = st.lists(
    st.builds(
        Visit,
        st.sampled_from(["ann", "bob", "cid"]),
        st.integers(0, 2),
        st.integers(0, 3),
        st.sampled_from([0, 1, 2, 3, 4, 5, inf]),
        st.booleans(),
    ),
    max_size=8,
)


@pytest.mark.parametrize("visits", [TWO_AT_ONCE, RELOAD, LEAVE_AT_ONCE], ids=["come", "reload", "leave"])
@pytest.mark.parametrize("servers", [1, 3])
@given(seed=st.integers(0, 10**6))
@settings(max_examples=15)
def test_two_devices_of_one_user(servers: int, visits: list[Visit], seed: int) -> None:
    run(check, [Visit("ann", 0, 0), Visit("ann", 1, 1), *visits], servers, seed)


@given(visits=VISITS, servers=st.integers(1, 3), seed=st.integers(0, 10**6))
@settings(max_examples=40)
def test_any_visits(visits: list[Visit], servers: int, seed: int) -> None:
    run(check, visits, servers, seed)


def test_looking_again_forgets_whom_a_killed_server_has_left() -> None:
    async def look() -> None:
        page = Page()
        async with (
            open_servers(1, 0) as (app,),
            open_test_client(app, "/presence", user=User("ann"), handlers=page) as ann,
        ):
            page.came("an id of that server", "bob")
            assert page.users() == {"bob"}
            await page._look(ann)
            assert page.users() == {"ann"}

    run(look)


def run(async_fn: Any, *args: Any) -> None:
    """Run this in virtual time; pytest-trio has hypothesis choose how trio schedules its tasks."""
    trio.run(partial(async_fn, *args), clock=MockClock(autojump_threshold=0))


async def check(visits: list[Visit], servers: int, seed: int) -> None:
    """Have these visits, and look at the pages of all that stay."""
    pages: list[Any] = []
    async with open_servers(servers, seed) as apps, trio.open_nursery() as nursery:
        for each in visits:
            nursery.start_soon(visit, each, apps, pages)
        await trio.sleep(20)
        users = {each.user for each in visits if each.end == inf}
        assert await apps[0].hub(Presence).users() == users
        assert [page.users() for page in pages] == [users] * sum(each.end == inf for each in visits)
        nursery.cancel_scope.cancel()


async def visit(visit: Visit, apps: list[HubApp], pages: list[Any]) -> None:
    """Be a device."""
    await trio.sleep(visit.begin)
    app, page, network = apps[visit.server % len(apps)], Page(), Network()
    with suppress(ConnectionClosed), trio.move_on_at(visit.end):
        async with open_test_client(
            app, "/presence", user=User(visit.user), handlers=page, setup=page._look, network=network
        ):
            if visit.end == inf:
                pages.append(page)
            try:
                await trio.sleep_forever()
            finally:
                if visit.torn:
                    network.cut()


# ---- the servers


class LateBus(MemoryBus):
    """What it publishes takes its time, and comes in order on each channel alone."""

    def __init__(self, broker: MemoryBroker, nursery: trio.Nursery, chance: random.Random) -> None:
        super().__init__(broker)
        self._nursery = nursery
        self._chance = chance
        self._channels: dict[str, trio.MemorySendChannel[bytes]] = {}

    def publish(self, channel: str, data: bytes) -> None:
        if channel not in self._channels:
            self._channels[channel], receive = trio.open_memory_channel[bytes](1000)
            self._nursery.start_soon(self._carry, channel, receive)
        self._channels[channel].send_nowait(data)

    async def publish_counted(self, channel: str, data: bytes) -> int:
        await trio.lowlevel.checkpoint()
        self.publish(channel, data)
        return self._broker.count(channel)

    async def _carry(self, channel: str, receive: trio.MemoryReceiveChannel[bytes]) -> None:
        async for data in receive:
            await trio.sleep(self._chance.choice((0, 0, 0.5, 1)))
            self._broker.put(channel, data)


@asynccontextmanager
async def open_servers(count: int, seed: int) -> AsyncGenerator[list[HubApp]]:
    """Serve the hub: alone without a backplane, else as a fleet."""
    chance = random.Random(seed)
    broker = MemoryBroker()
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        apps = []
        for _ in range(count):
            if count == 1:
                app = HubApp()
            else:
                bus = LateBus(broker, nursery, chance)
                broker.buses.append(bus)
                app = HubApp(backplane=MemoryBackplane(bus, {}))
            app.add_hub("/presence", Presence)
            apps.append(await stack.enter_async_context(open_test_app(app)))
        yield apps
        await stack.aclose()
        nursery.cancel_scope.cancel()
