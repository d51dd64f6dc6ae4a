"""What an app tells of its limits, and how many it lets in."""

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.messages import call, result, stream
from tests.server.app_peer import PAIRS, TRANSPORTS, ServedApp, connect, open_app, visit
from trio_hubs import ConnectionClosed, DropOldest, Hub, HubApp, HubOptions, Statistics


class Limited(Hub):
    """Has limits."""

    async def wait(self, text: str) -> None:
        await trio.sleep_forever()

    def same(self, value: int) -> int:
        return value

    async def count(self) -> AsyncIterator[int]:
        await trio.sleep_forever()
        yield 1


def limited_app(maximum_connections: int = 100) -> HubApp:
    app = HubApp(
        maximum_connections=maximum_connections,
        options=HubOptions(
            connection_buffer_size=1000,
            connection_buffer_limit=2000,
            slow_clients=DropOldest(),
            transport_buffer_size=2000,
            maximum_streams=2,
        ),
    )
    app.add_hub("/hub", Limited)
    app.add_hub("/other", Limited)
    return app


def figures(**changes: int) -> Statistics:
    nothing = {"connections": 0, "refused_connections": 0, "refused_calls": 0}
    return Statistics(**{**nothing, "slow_clients": 0, "dropped_messages": 0, **changes})


async def test_an_app_that_does_nothing_has_none() -> None:
    assert limited_app().statistics() == figures()


async def test_connections_of_all_hubs_and_transports_count(autojump_clock: MockClock) -> None:
    async with open_app(limited_app()) as served:
        await served.negotiate("/hub")
        assert served.app.statistics() == figures()  # which has no transport yet
        clients = [await visit(served, path, *pair) for path in ("/hub", "/other") for pair in PAIRS]
        assert served.app.statistics() == figures(connections=10)
        for client in clients:
            client.leave()
        await trio.sleep(20)
        assert served.app.statistics() == figures()


async def test_dropped_messages_of_all_hubs_count_and_stay_counted(autojump_clock: MockClock) -> None:
    async with open_app(limited_app()) as served:
        for path in ("/hub", "/other"):
            await visit(served, path)
        await wait_all_tasks_blocked()
        for narrow in served.narrows:
            narrow.room = 0
        for number in range(50):
            for _, hub in served.app.site.hubs:
                await hub.clients.all.send("Told", number, "x" * 1000)
            await wait_all_tasks_blocked()
        now = served.app.statistics()
        assert now.connections == 2
        assert now.dropped_messages > 80
        await trio.sleep(40)
        assert served.app.statistics() == figures(slow_clients=2, dropped_messages=now.dropped_messages)


async def test_calls_beyond_a_limit_count_and_other_refusals_do_not(autojump_clock: MockClock) -> None:
    async with open_app(limited_app()) as served:
        client = await visit(served, "/hub")
        await client.send(*(stream("Count", id=f"{number}") for number in range(5)))
        await client.send(
            call("Wait", "x", id="a"), call("Same", "no number", id="b"), call("Nothing", id="c")
        )
        await wait_all_tasks_blocked()
        assert served.app.statistics() == figures(connections=1, refused_calls=3)
        await client.send(*(call("Wait", "x" * 900, id=f"w{number}") for number in range(3)))
        await wait_all_tasks_blocked()
        assert served.app.statistics() == figures(connections=1, refused_calls=4)
        client.leave()
        await trio.sleep(20)
        assert served.app.statistics() == figures(refused_calls=4)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_no_more_come_in_than_may(autojump_clock: MockClock, transport: str) -> None:
    async with open_app(limited_app(maximum_connections=2)) as served:
        token = await served.negotiate("/hub")
        first = await visit(served, "/hub", transport)
        await visit(served, "/other", transport)
        assert (await served.ask("POST", "/hub/negotiate")).status == 503
        accept = {"Accept": "text/event-stream"} if transport == "ServerSentEvents" else {}
        if transport == "WebSockets":
            with pytest.raises(ConnectionClosed, match=r"HTTP/1\.1 503 "):
                await connect(served, "/hub")
        else:
            answer = await served.ask("GET", f"/hub?id={token}", **accept)
            assert (answer.status, answer.body) == (503, b"The server has too many connections.")
            assert answer.headers["retry-after"] == "5"
        assert served.app.statistics() == figures(connections=2, refused_connections=2)
        await first.send(call("Same", 1, id="1"))
        assert await first.receive() == result("1", 1)
        first.leave()
        await trio.sleep(20)
        third = await visit(served, "/hub", transport)
        await third.send(call("Same", 1, id="1"))
        assert await third.receive() == result("1", 1)


async def come_at_once(served: ServedApp, count: int) -> int:
    """So many clients at the same time, each without negotiation; how many are let in."""
    came: list[int] = []

    async def come(number: int) -> None:
        with suppress(ConnectionClosed, trio.EndOfChannel):  # refused, or closed right after the upgrade
            await visit(served, "/hub")
            came.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(come, number)
    return len(came)


async def test_no_more_come_in_than_may_also_at_the_same_time(autojump_clock: MockClock) -> None:
    async with open_app(limited_app(maximum_connections=3)) as served:
        assert await come_at_once(served, 10) == 3
        assert served.app.statistics().connections == 3
