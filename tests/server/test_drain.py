"""Draining: nobody new comes in, work goes on to its end, and each client is told to come back elsewhere."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import no_task_left
from tests.messages import call, close, ended, item, result, stream
from tests.server.app_peer import (
    PAIRS,
    TRANSPORTS,
    AppClient,
    ServedApp,
    connect,
    hub_app,
    open_app,
    visit,
)
from trio_hubs import ChannelReader, Connection, ConnectionClosed, Hub, HubApp, Request, Response

every_pair = pytest.mark.parametrize(("transport", "protocol"), PAIRS)
COME_BACK = close(allow_reconnect=True)


class Work(Hub):
    """Works for a while."""

    def __init__(self, events: list[str]) -> None:
        self.events = events

    def inline(self) -> str:
        return "done"

    async def work(self, seconds: float) -> float:
        try:
            await trio.sleep(seconds)
        finally:
            self.events.append("work ended")
        return seconds

    async def count(self, count: int) -> AsyncIterator[int]:
        try:
            for number in range(count):
                yield number
                await trio.sleep(1)
        finally:
            self.events.append("count ended")

    async def total(self, items: ChannelReader[int]) -> int:
        return sum([number async for number in items])

    async def on_disconnected(self, error: Exception | None) -> None:
        self.events.append(f"disconnected: {error}")


@asynccontextmanager
async def open_work(events: list[str], **options: Any) -> AsyncGenerator[ServedApp]:
    async with open_app(hub_app(Work, lambda: Work(events), **options)) as served:
        yield served


class Drained:
    """When a drain was over."""

    def __init__(self, nursery: trio.Nursery, app: HubApp, seconds: float) -> None:
        self.at: float | None = None
        self.over = trio.Event()
        nursery.start_soon(self._drain, app, seconds)

    async def _drain(self, app: HubApp, seconds: float) -> None:
        await app.drain(seconds)
        self.at = trio.current_time()
        self.over.set()


@every_pair
async def test_whoever_does_nothing_is_sent_away_at_once(
    autojump_clock: MockClock, transport: str, protocol: str
) -> None:
    events: list[str] = []
    with no_task_left():
        async with open_work(events) as served, trio.open_nursery() as nursery:
            client = await visit(served, "/hub", transport, protocol)
            await client.send(call("Inline", id="1"))
            assert await client.receive() == result("1", "done")
            drained = Drained(nursery, served.app, 60)
            assert await client.rest() == [COME_BACK]
            await drained.over.wait()
            assert trio.current_time() < 1
            assert served.app.statistics().connections == 0
            assert served.leases() == served.sessions() == 0
    assert events == ["disconnected: None"]


@every_pair
async def test_a_stream_goes_on_to_its_end(autojump_clock: MockClock, transport: str, protocol: str) -> None:
    events: list[str] = []
    async with open_work(events) as served, trio.open_nursery() as nursery:
        client = await visit(served, "/hub", transport, protocol)
        await client.send(stream("Count", 5))
        assert await client.receive() == item("1", 0)
        drained = Drained(nursery, served.app, 60)
        assert await client.rest() == [*(item("1", n) for n in range(1, 5)), ended("1"), COME_BACK]
        await drained.over.wait()
        assert trio.current_time() == pytest.approx(5, abs=1)
    assert events == ["count ended", "disconnected: None"]


@every_pair
async def test_calls_that_run_wait_or_still_come_are_answered(
    autojump_clock: MockClock, transport: str, protocol: str
) -> None:
    """A connection that has work is served as always, also with what comes during the drain."""
    events: list[str] = []
    async with open_work(events) as served, trio.open_nursery() as nursery:
        client = await visit(served, "/hub", transport, protocol)
        await client.send(call("Work", 2, id="1"), call("Work", 3, id="2"))
        await wait_all_tasks_blocked()
        drained = Drained(nursery, served.app, 60)
        await wait_all_tasks_blocked()
        await client.send(call("Work", 1, id="3"))
        assert await client.rest() == [result("1", 2), result("2", 3), result("3", 1), COME_BACK]
        await drained.over.wait()
        assert trio.current_time() == pytest.approx(6, abs=0.5)


async def test_an_upload_is_read_to_its_end(autojump_clock: MockClock) -> None:
    async with open_work([]) as served, trio.open_nursery() as nursery:
        client = await visit(served, "/hub")
        await client.send(call("Total", id="1", uploads=("u",)), item("u", 1))
        await wait_all_tasks_blocked()
        drained = Drained(nursery, served.app, 60)
        await trio.sleep(5)
        await client.send(item("u", 2), ended("u"))
        assert await client.rest() == [result("1", 3), COME_BACK]
        await drained.over.wait()


@every_pair
@pytest.mark.parametrize("work", ["stream", "call"])
async def test_what_is_not_done_in_time_is_cancelled(
    autojump_clock: MockClock, transport: str, protocol: str, work: str
) -> None:
    events: list[str] = []
    with no_task_left():
        async with open_work(events) as served, trio.open_nursery() as nursery:
            client = await visit(served, "/hub", transport, protocol)
            await client.send(stream("Count", 1000) if work == "stream" else call("Work", 1000, id="1"))
            await wait_all_tasks_blocked()
            drained = Drained(nursery, served.app, 10)
            assert (await client.rest())[-1] == COME_BACK
            await drained.over.wait()
            assert trio.current_time() == pytest.approx(10, abs=1)
            assert served.app.statistics().connections == served.leases() == served.sessions() == 0
    assert events == ["count ended" if work == "stream" else "work ended", "disconnected: None"]


async def test_nobody_new_comes_in(autojump_clock: MockClock) -> None:
    async with open_work([]) as served, trio.open_nursery() as nursery:
        busy = await visit(served, "/hub")
        await busy.send(call("Work", 10, id="1"))
        tokens = {transport: await served.negotiate("/hub") for transport in TRANSPORTS}
        Drained(nursery, served.app, 60)
        await wait_all_tasks_blocked()
        answers = [
            await served.ask("POST", "/hub/negotiate?negotiateVersion=1"),
            await served.ask("GET", f"/hub?id={tokens['ServerSentEvents']}", Accept="text/event-stream"),
            await served.ask("GET", f"/hub?id={tokens['LongPolling']}"),
        ]
        for answer in answers:
            assert answer.status == 503
            assert answer.headers["retry-after"] == "5"
            assert answer.body == b"The server is shutting down."
        for target in ("/hub", f"/hub?id={tokens['WebSockets']}"):
            with pytest.raises(ConnectionClosed, match=r"HTTP/1.1 503 (?s:.*)Retry-After: 5"):
                await connect(served, target)
        assert served.app.statistics().refused_connections == 5
        assert await busy.rest() == [result("1", 10), COME_BACK]


@pytest.mark.parametrize(("transport", "protocol"), PAIRS[2:])
async def test_posts_and_polls_of_who_is_there_go_on(
    autojump_clock: MockClock, transport: str, protocol: str
) -> None:
    async with open_work([]) as served, trio.open_nursery() as nursery:
        client = await visit(served, "/hub", transport, protocol)
        await client.send(call("Total", id="1", uploads=("u",)))
        await wait_all_tasks_blocked()
        Drained(nursery, served.app, 60)
        for number in range(5):
            await trio.sleep(2)
            await client.send(item("u", number))
        await client.send(ended("u"))
        assert await client.rest() == [result("1", 10), COME_BACK]


@pytest.mark.parametrize(("transport", "protocol"), PAIRS)
async def test_one_that_has_yet_to_shake_hands_is_sent_away_when_it_has(
    autojump_clock: MockClock, transport: str, protocol: str
) -> None:
    events: list[str] = []
    async with open_work(events) as served, trio.open_nursery() as nursery:
        client = await connect(served, "/hub", transport, protocol)
        drained = Drained(nursery, served.app, 60)
        await trio.sleep(3)
        await client.shake_hands()
        assert await client.rest() == [COME_BACK]
        await drained.over.wait()
        assert trio.current_time() < 5


async def test_one_that_never_shakes_hands_holds_nothing_up_for_long(autojump_clock: MockClock) -> None:
    async with open_work([]) as served:
        await connect(served, "/hub")
        await served.app.drain(5)
        assert trio.current_time() < 12
        assert served.app.statistics().connections == 0


async def test_a_client_that_does_not_poll_for_its_end_holds_nothing_up_for_long(
    autojump_clock: MockClock,
) -> None:
    async with open_work([]) as served:
        client = await visit(served, "/hub", "LongPolling")
        await served.app.drain(60)
        assert trio.current_time() <= 20
        assert served.app.statistics().connections == served.leases() == 0
        assert await client.rest() == []


async def test_a_client_that_takes_nothing_holds_nothing_up_for_long(autojump_clock: MockClock) -> None:
    async with open_work([]) as served:
        client = await visit(served, "/hub")
        served.narrows[-1].room = 0
        await client.send(call("Inline", id="1"))
        await served.app.drain(60)
        assert trio.current_time() <= 20
        assert served.app.statistics().connections == served.leases() == 0


@pytest.mark.parametrize("seconds", [60, 0])
async def test_draining_nobody_is_over_at_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, seconds: float
) -> None:
    async with open_work([]) as served:
        await served.app.drain(seconds)
        assert trio.current_time() == 0
        assert (await served.ask("POST", "/hub/negotiate")).status == 503
        await served.app.drain(seconds)
    assert not caplog.records


@pytest.mark.parametrize("seconds", [60, 3])
async def test_requests_under_way_are_waited_for(autojump_clock: MockClock, seconds: float) -> None:
    async def answer(_: Request) -> Response:
        await trio.sleep(5)
        return Response("at last")

    app = hub_app(Work, lambda: Work([]))
    app.add_route("/slow", answer)
    async with open_app(app) as served, trio.open_nursery() as nursery:

        async def ask() -> None:
            assert (await served.ask("GET", "/slow")).body == b"at last"
            assert trio.current_time() == 5

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await served.app.drain(seconds)
        assert trio.current_time() == min(5, seconds)
        await served.app.drain(60)
        assert trio.current_time() == 5


async def test_requests_that_come_later_are_not_waited_for(autojump_clock: MockClock) -> None:
    async def answer(_: Request) -> Response:
        await trio.sleep(1)
        return Response("done")

    app = hub_app(Work, lambda: Work([]))
    app.add_route("/slow", answer)
    async with open_app(app) as served, trio.open_nursery() as nursery:

        async def ask_again_and_again(late: float) -> None:
            await trio.sleep(late)
            while True:
                await served.ask("GET", "/slow")

        nursery.start_soon(ask_again_and_again, 0)
        nursery.start_soon(ask_again_and_again, 0.5)
        await trio.sleep(0.75)
        await served.app.drain(300)
        assert trio.current_time() == 1.5
        nursery.cancel_scope.cancel()


async def test_an_app_that_is_not_served_may_be_drained(autojump_clock: MockClock) -> None:
    await hub_app(Work, lambda: Work([])).drain(60)
    assert trio.current_time() == 0


async def test_without_time_all_are_ended_at_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[str] = []
    async with open_work(events) as served, trio.open_nursery() as nursery:
        client = await visit(served, "/hub")
        await client.send(call("Work", 1000, id="1"))
        await wait_all_tasks_blocked()
        drained = Drained(nursery, served.app, 0)
        assert await client.rest() == [COME_BACK]
        await drained.over.wait()
        assert trio.current_time() < 1
    assert events == ["work ended", "disconnected: None"]
    assert "1 connections are ended before they are done" in caplog.text


async def test_each_of_two_drains_waits(autojump_clock: MockClock) -> None:
    async with open_work([]) as served, trio.open_nursery() as nursery:
        client = await visit(served, "/hub")
        await client.send(call("Work", 5, id="1"))
        await wait_all_tasks_blocked()
        drains = [Drained(nursery, served.app, seconds) for seconds in (60, 30)]
        assert await client.rest() == [result("1", 5), COME_BACK]
        for drained in drains:
            await drained.over.wait()
        assert trio.current_time() == pytest.approx(5, abs=0.1)


async def test_on_disconnected_is_waited_for(autojump_clock: MockClock) -> None:
    events: list[str] = []

    class Slow(Hub):
        async def on_disconnected(self, error: Exception | None) -> None:
            await trio.sleep(3)
            events.append("disconnected")

    async with open_app(hub_app(Slow)) as served, trio.open_nursery() as nursery:
        client = await visit(served, "/hub")
        drained = Drained(nursery, served.app, 60)
        assert await client.rest() == [COME_BACK]
        await drained.over.wait()
        assert events == ["disconnected"]
        assert trio.current_time() == pytest.approx(3, abs=0.1)


async def test_hubs_may_talk_to_those_who_are_still_there(autojump_clock: MockClock) -> None:
    async with open_work([]) as served, trio.open_nursery() as nursery:
        client = await visit(served, "/hub")
        await client.send(call("Work", 5, id="1"))
        await wait_all_tasks_blocked()
        Drained(nursery, served.app, 60)
        await served.app.hub(Work).clients.all.send("Hurry")
        assert await client.rest() == [call("Hurry"), result("1", 5), COME_BACK]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_raw_connections_have_until_the_end_and_are_cancelled_then(
    autojump_clock: MockClock, transport: str
) -> None:
    events: list[str] = []

    async def handler(connection: Connection) -> None:
        try:
            await connection.send(b"hello")
            await trio.sleep_forever()
        finally:
            events.append("handler ended")

    app = HubApp()
    app.add_connection_handler("/raw", handler)
    async with open_app(app) as served, trio.open_nursery() as nursery:
        client = await connect(served, "/raw", transport)
        assert await client.connection.receive() == b"hello"
        drained = Drained(nursery, served.app, 10)
        await trio.sleep(9)
        assert events == []
        assert await client.connection.receive() == b""
        await drained.over.wait()
        assert trio.current_time() < 11
        assert served.app.statistics().connections == served.leases() == 0
    assert events == ["handler ended"]


async def test_plain_routes_go_on(autojump_clock: MockClock) -> None:
    app = hub_app(Work, lambda: Work([]))
    app.add_route("/health", lambda _: Response("well"))
    async with open_app(app) as served:
        await served.app.drain(1)
        assert (await served.ask("GET", "/health")).body == b"well"


async def many(served: ServedApp) -> list[AppClient]:
    return [await visit(served, "/hub", *PAIRS[n % len(PAIRS)]) for n in range(20)]


async def test_many_clients_by_every_transport_leave_each_when_it_is_done(autojump_clock: MockClock) -> None:
    events: list[str] = []
    with no_task_left():
        async with open_work(events) as served, trio.open_nursery() as nursery:
            clients = await many(served)
            for number, client in enumerate(clients):
                await client.send(call("Work", number, id="1"))
            await wait_all_tasks_blocked()
            drained = Drained(nursery, served.app, 10.5)
            lasts: dict[int, list[Any]] = {}

            async def follow(number: int, client: AppClient) -> None:
                lasts[number] = await client.rest()

            for number, client in enumerate(clients):
                nursery.start_soon(follow, number, client)
            await drained.over.wait()
            await wait_all_tasks_blocked()
            for number in range(20):
                answered = [result("1", number)] if number <= 10 else []
                assert lasts[number] == [*answered, COME_BACK], number
            assert served.app.statistics().connections == served.leases() == served.sessions() == 0
    assert sorted(events) == ["disconnected: None"] * 20 + ["work ended"] * 20


async def test_on_connected_goes_on_to_its_end_too(autojump_clock: MockClock) -> None:
    events: list[str] = []

    class Slow(Hub):
        async def on_connected(self) -> None:
            await trio.sleep(3)
            events.append("connected")

        async def on_disconnected(self, error: Exception | None) -> None:
            events.append("disconnected")

    async with open_app(hub_app(Slow)) as served, trio.open_nursery() as nursery:
        client = await visit(served, "/hub")
        await wait_all_tasks_blocked()
        Drained(nursery, served.app, 60)
        assert await client.rest() == [COME_BACK]
    assert events == ["connected", "disconnected"]


async def test_an_app_is_not_ready_any_more_before_it_drains(autojump_clock: MockClock) -> None:
    """So a load balancer can send new clients elsewhere before any is refused."""
    app = hub_app(Work, lambda: Work([]))

    def ready(request: Request) -> Response:
        return Response(status=503 if request.app.draining else 200)

    app.add_route("/ready", ready)
    async with open_app(app) as served, trio.open_nursery() as nursery:
        assert (await served.ask("GET", "/ready")).status == 200
        nursery.start_soon(partial(app.drain, 10, notice=5))
        await wait_all_tasks_blocked()
        assert (await served.ask("GET", "/ready")).status == 503
        client = await visit(served, "/hub")
        await client.send(call("Inline", id="1"))
        assert await client.receive() == result("1", "done")
        await trio.sleep(4.9)
        late = await visit(served, "/hub")
        await trio.sleep(0.2)
        for each in (client, late):
            assert await each.receive() == COME_BACK
        with pytest.raises(ConnectionClosed):
            await visit(served, "/hub")
