"""The monitor's hub and page: for those alone who may see them; viewers are told what is new, and hold up nothing."""

import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.fleet.memory_bus import MemoryBackplane, MemoryBroker
from trio_hubs import (
    ChannelReader,
    Hub,
    HubApp,
    HubConnection,
    HubConnectionOptions,
    HubException,
    HubOptions,
    Request,
    Response,
    User,
)
from trio_hubs.monitor import add_monitor
from trio_hubs.monitor.hub import LONGEST
from trio_hubs.monitor.processes import SHORTEST
from trio_hubs.monitor.snapshot import Snapshot
from trio_hubs.protocol.negotiate import Transport
from trio_hubs.testing import Network, open_test_app, open_test_client, open_test_http

ADMIN = User("root", claims={"admin": True})


class Work(Hub):
    async def rest(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def count(self, number: int) -> AsyncIterator[int]:
        for each in range(number):
            yield each
            await trio.sleep(1)


def is_admin(user: User) -> bool:
    return bool(user.claims.get("admin"))


def by_token(request: Request) -> User | None:
    return {"root's": ADMIN, "ann's": User("ann")}.get(request.bearer_token or "")


def monitored(path: str = "/monitor", **options: Any) -> HubApp:
    app = HubApp(authenticate=by_token, **options)
    app.add_hub("/work", Work)
    add_monitor(app, path, authorize=is_admin)
    return app


# ---- who may see it


@pytest.mark.parametrize("authorize", [None, True, False, "admin"])
def test_there_is_no_monitor_without_a_policy(authorize: Any) -> None:
    app = HubApp()
    with pytest.raises(TypeError, match="a monitor is for some users alone"):
        add_monitor(app, authorize=authorize)
    assert not app.site.hubs
    with pytest.raises(TypeError):
        add_monitor(app)  # type: ignore[call-arg]


def test_an_app_has_one_monitor() -> None:
    app = monitored()
    with pytest.raises(ValueError, match="has a monitor already"):
        add_monitor(app, "/other", authorize=is_admin)


@pytest.mark.parametrize("taken", ["/monitor", "/monitor/hub", "/monitor/hub/negotiate"])
def test_one_that_cannot_be_added_leaves_nothing(taken: str) -> None:
    backplane = MemoryBackplane(MemoryBroker().open(), {})
    app = HubApp(authenticate=by_token, backplane=backplane)
    app.add_route(taken, lambda _: Response("mine"))
    with pytest.raises(ValueError, match=f"something at '{taken}' already"):
        add_monitor(app, authorize=is_admin)
    assert not app.site.hubs
    assert not backplane._parts
    assert app._figures is None
    add_monitor(app, "/other", authorize=is_admin)
    assert len(app.site.hubs) == len(backplane._parts) == 1


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("wrong", 401), ("ann's", 403), ("root's", 200)])
@pytest.mark.parametrize("way", ["header", "query"])
async def test_the_page_and_the_hub_let_the_same_users_in(
    token: str | None, status: int, way: str, autojump_clock: MockClock
) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token and way == "header" else {}
    query = {"access_token": token} if token and way == "query" else {}
    async with open_test_http(monitored()) as http:
        page = await http.get("/monitor", headers=headers, params=query)
        hub = await http.post(
            "/monitor/hub/negotiate", headers=headers, params={"negotiateVersion": "1", **query}
        )
    assert (page.status_code, hub.status_code) == (status, status)
    assert ("Largest groups" in page.text) == (status == 200)


async def test_a_policy_may_be_async_and_name_its_parameter_as_it_likes(autojump_clock: MockClock) -> None:
    async def may(request: User) -> bool:
        await trio.sleep(1)
        return request.id == "ann"

    app = HubApp(authenticate=by_token)
    add_monitor(app, authorize=may)
    async with open_test_http(app) as http:
        statuses = [
            (await http.request(method, path, params={"access_token": token})).status_code
            for method, path in (("GET", "/monitor"), ("POST", "/monitor/hub/negotiate"))
            for token in ("ann's", "root's")
        ]
    assert statuses == [200, 403, 200, 403]


async def test_who_may_see_it_no_more_is_cut_off(autojump_clock: MockClock) -> None:
    app = monitored()
    user = User("root", claims={"admin": True}, expires_at=time.time() + 1)
    async with open_test_client(app, "/monitor/hub", user=user) as connection:
        with trio.fail_after(5):
            await connection.wait_closed()


async def test_a_page_of_another_site_gets_nothing(autojump_clock: MockClock) -> None:
    app = monitored(options=HubOptions(allowed_origins=["https://else.example"]))
    async with open_test_http(app, user=ADMIN) as http:
        answer = await http.post(
            "/monitor/hub/negotiate?negotiateVersion=1", headers={"Origin": "https://else.example"}
        )
    assert answer.status_code == 403


async def test_the_page_may_do_nothing_but_what_stands_in_it(autojump_clock: MockClock) -> None:
    async with open_test_http(monitored(), user=ADMIN) as http:
        page = await http.get("/monitor")
    rules = dict(rule.strip().split(" ", 1) for rule in page.headers["content-security-policy"].split(";"))
    assert rules["default-src"] == rules["frame-ancestors"] == "'none'"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert re.fullmatch(r"'sha256-\S+'", rules["script-src"])
    assert (page.headers["cache-control"], page.headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert "innerHTML" not in page.text
    assert "http://" not in page.text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(("path", "hub"), [("/", "/hub"), ("/ops/top", "/ops/top/hub")])
async def test_it_is_at_a_path_of_choice(path: str, hub: str, autojump_clock: MockClock) -> None:
    async with open_test_http(monitored(path), user=ADMIN) as http:
        assert (await http.get(path)).status_code == 200
        assert (await http.post(f"{hub}/negotiate?negotiateVersion=1")).status_code == 200


# ---- what viewers are told


async def read(viewer: HubConnection, snapshots: ChannelReader[Snapshot]) -> Snapshot:
    """The next snapshot, as viewers read it."""
    told = await snapshots.read()
    await viewer.send("Taken")
    return told


async def test_it_tells_at_once_and_then_in_time(autojump_clock: MockClock) -> None:
    app = monitored()
    async with (
        open_test_client(app, "/work") as worker,
        open_test_client(app, "/monitor/hub", user=ADMIN) as viewer,
        viewer.stream("Watch", 2, item_type=Snapshot) as snapshots,
    ):
        first = await read(viewer, snapshots)
        assert trio.current_time() == 0
        assert (first.processes, first.expected, first.statistics.connections) == (1, 1, 2)
        await worker.invoke("Rest", 0.5)
        await worker.invoke("Rest", 1)
        second = await read(viewer, snapshots)
        assert trio.current_time() == 2
    [rest] = [line for line in second.methods if line.method == "Rest"]
    assert (rest.calls_per_second, rest.mean_seconds, rest.running) == (1, 0.75, 0)
    [watch] = [line for line in second.methods if line.method == "Watch"]  # it is a method as any other
    assert (watch.hub, watch.running, watch.items_per_second) == ("Monitor", 1, 0.5)
    hubs = {line.hub: line for line in second.hubs}
    assert hubs["Work"].websockets == hubs["Monitor"].websockets == 1
    assert (hubs["Work"].received_per_second or 0) > 30


@pytest.mark.parametrize(
    ("transport", "protocol"),
    [(transport, "json") for transport in Transport]
    + [(transport, "messagepack") for transport in (Transport.WEBSOCKETS, Transport.LONG_POLLING)],
)
async def test_any_client_can_watch(transport: Transport, protocol: Any, autojump_clock: MockClock) -> None:
    # What the app has chosen for its own hubs is for those.
    app = monitored(options=HubOptions(naming="dotnet", supported_protocols=["messagepack"]))
    options = HubConnectionOptions(transports=[transport])
    async with (
        open_test_client(app, "/monitor/hub", user=ADMIN, protocol=protocol, options=options) as viewer,
        viewer.stream("Watch", SHORTEST, item_type=Snapshot) as snapshots,
    ):
        told = [await read(viewer, snapshots) for _ in range(5)]
        assert trio.current_time() == pytest.approx(4 * SHORTEST)
    assert told[-1].statistics.connections == 1


@pytest.mark.parametrize("every", [0, SHORTEST / 2, LONGEST + 1, -1])
async def test_how_often_is_bounded(every: float, autojump_clock: MockClock) -> None:
    async with (
        open_test_client(monitored(), "/monitor/hub", user=ADMIN) as viewer,
        viewer.stream("Watch", every) as snapshots,
    ):
        with pytest.raises(HubException, match=r"every 0\.25 to 60 seconds"):
            await snapshots.read()


async def test_a_viewer_has_one_stream(autojump_clock: MockClock) -> None:
    async with (
        open_test_client(monitored(), "/monitor/hub", user=ADMIN) as viewer,
        viewer.stream("Watch", 1) as first,
        viewer.stream("Watch", 1) as second,
    ):
        await first.read()
        with pytest.raises(HubException):
            await second.read()


async def test_what_is_taken_before_anything_was_told_is_nothing(autojump_clock: MockClock) -> None:
    async with open_test_client(monitored(), "/monitor/hub", user=ADMIN) as viewer:
        await viewer.invoke("Taken")


async def test_a_slow_viewer_is_told_what_is_new(autojump_clock: MockClock) -> None:
    app = monitored()
    network = Network()
    async with (
        open_test_client(app, "/work"),
        open_test_client(app, "/monitor/hub", user=ADMIN, network=network) as viewer,
        viewer.stream("Watch", 0.5, item_type=Snapshot) as snapshots,
    ):
        await read(viewer, snapshots)
        await trio.sleep(0.1)
        network.stall()
        await trio.sleep(8)
        async with open_test_client(app, "/work"):
            network.resume()
            assert (await read(viewer, snapshots)).statistics.connections == 2  # which was under way
            assert (await read(viewer, snapshots)).statistics.connections == 3
            assert trio.current_time() == pytest.approx(8.1)


async def test_it_can_be_seen_that_others_are_out_of_reach(autojump_clock: MockClock) -> None:
    bus = MemoryBroker().open()
    app = monitored(backplane=MemoryBackplane(bus, {}))
    bus.away = True
    async with (
        open_test_client(app, "/monitor/hub", user=ADMIN) as viewer,
        viewer.stream("Watch", 1, item_type=Snapshot) as snapshots,
    ):
        told = await read(viewer, snapshots)
        assert (told.processes, told.expected, told.statistics.connections) == (1, None, 1)
        bus.away = False
        told = await read(viewer, snapshots)
        assert (told.processes, told.expected) == (1, 1)


async def test_nothing_is_looked_at_where_nobody_watches(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = monitored()

    def look(_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("trio_hubs.monitor.look.Look.at", look)
    async with open_test_client(app, "/work") as worker, open_test_client(app, "/monitor/hub", user=ADMIN):
        await worker.invoke("Rest", 60)


# ---- when the app runs empty


async def test_a_viewer_keeps_no_app_from_ending(autojump_clock: MockClock) -> None:
    app = monitored()
    async with (
        open_test_app(app),
        open_test_client(app, "/work") as worker,
        open_test_client(app, "/monitor/hub", user=ADMIN) as viewer,
        viewer.stream("Watch", 1, item_type=Snapshot) as snapshots,
        worker.stream("Count", 5) as numbers,
        trio.open_nursery() as nursery,
    ):
        await read(viewer, snapshots)
        await numbers.read()
        nursery.start_soon(app.drain, 1000)
        await trio.sleep(1.5)
        assert (await read(viewer, snapshots)).draining == 1
        assert [each async for each in numbers] == [1, 2, 3, 4]
        while True:
            try:
                assert (await read(viewer, snapshots)).draining == 1
            except trio.EndOfChannel:
                break
        await viewer.wait_closed()
    assert trio.current_time() < 8


async def test_while_nothing_else_goes_on_a_notice_is_seen(autojump_clock: MockClock) -> None:
    app = monitored()
    async with (
        open_test_client(app, "/monitor/hub", user=ADMIN) as viewer,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(lambda: app.drain(1000, notice=10))
        await trio.sleep(1)
        async with viewer.stream("Watch", 1, item_type=Snapshot) as snapshots:
            assert [each.draining async for each in snapshots] == [1]
        await viewer.wait_closed()
        assert trio.current_time() == pytest.approx(10)


@pytest.mark.parametrize(("every", "takes"), [(1.0, True), (LONGEST, True), (1.0, False)])
async def test_viewers_alone_keep_no_app_from_ending(
    every: float, takes: bool, autojump_clock: MockClock
) -> None:
    app = monitored()
    async with (
        open_test_client(app, "/monitor/hub", user=ADMIN) as viewer,
        viewer.stream("Watch", every, item_type=Snapshot) as snapshots,
        trio.open_nursery() as nursery,
    ):
        await snapshots.read()
        if takes:
            await viewer.send("Taken")
        await trio.sleep(0.5)
        nursery.start_soon(app.drain, 300)
        with pytest.raises(trio.EndOfChannel):
            await snapshots.read()
        await viewer.wait_closed()
        assert trio.current_time() <= 1.5
