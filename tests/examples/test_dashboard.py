"""The dashboard: a snapshot first, then at most one message of a machine each half second, and the newest."""

import pytest
import trio
from trio.testing import MockClock

from examples import dashboard
from trio_hubs import HubException
from trio_hubs.testing import (
    Address,
    Joined,
    Sent,
    make_hub,
    open_test_app,
    open_test_client,
    open_test_http,
    recorded,
)

ALDER = "alder"


async def test_all_groups_are_joined_at_once_and_the_snapshot_comes_next(autojump_clock: MockClock) -> None:
    async with open_test_app(dashboard.app) as app:
        hub = make_hub(dashboard.Dashboard, connection_id="7", app=app)
        await hub.watch([ALDER, "birch"])
        assert recorded(hub) == [
            Joined("7", ALDER),
            Joined("7", "birch"),
            Sent(Address.connections("7"), "Snapshot", {ALDER: 50, "birch": 50}),
        ]


async def test_a_client_sees_the_newest_load_twice_a_second(autojump_clock: MockClock) -> None:
    async with (
        open_test_client(dashboard.app, "/dashboard") as connection,
        connection.messages("Snapshot", dict[str, int]) as snapshots,
        connection.messages("Load", str, int) as loads,
    ):
        await trio.sleep(10)
        assert not loads.read_ready()
        await connection.invoke("Watch", [ALDER])
        assert await snapshots.read() == {ALDER: dashboard.app.state.loads[ALDER]}
        began = trio.current_time()
        times = []
        for _ in range(10):
            assert await loads.read() == (ALDER, dashboard.app.state.loads[ALDER])
            times.append(trio.current_time() - began)
        assert times == pytest.approx([times[0] + dashboard.TELL_EVERY * n for n in range(10)])


async def test_each_snapshot_is_newer_than_what_came_before_and_older_than_what_comes(
    autojump_clock: MockClock,
) -> None:
    """Also where another machine is watched later, and messages wait for their time."""
    heard: list[str] = []

    async def snapshot(loads: dict[str, int]) -> None:
        heard.append(" ".join(loads))

    async def load(name: str, load: int) -> None:
        heard.append(name)

    handlers = {"Snapshot": snapshot, "Load": load}
    async with open_test_client(dashboard.app, "/dashboard", handlers=handlers) as connection:
        await connection.invoke("Watch", [ALDER])
        await trio.sleep(1.2)
        first = len(heard)
        assert set(heard) == {ALDER}
        await connection.invoke("Watch", ["birch", "cedar"])
        await trio.sleep(1)
        begin = heard.index("birch cedar")
        assert heard[first:begin] in ([], [ALDER])
        assert "birch" in heard[begin:]
        await connection.invoke("Ignore", ALDER)
        await trio.sleep(dashboard.TELL_EVERY)  # in which the last message's time comes
        heard.clear()
        await trio.sleep(2)
        assert ALDER not in heard


async def test_what_is_no_machine_is_refused(autojump_clock: MockClock) -> None:
    async with open_test_client(dashboard.app, "/dashboard") as connection:
        names = await connection.invoke("Names", result_type=list[str])
        with pytest.raises(HubException, match="There is no machine 'oak'"):
            await connection.invoke("Watch", [*names, "oak"])


async def test_its_page_needs_no_other_server() -> None:
    async with open_test_http(dashboard.app) as http:
        page = (await http.get("/")).text
        assert '<script src="/pages/signalr.min.js">' in page
        assert "://" not in page
        assert "HubConnectionBuilder" in (await http.get("/pages/signalr.min.js")).text
