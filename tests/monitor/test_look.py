"""A look at a process: what is there, what has been counted, and that clients cannot make it large."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from trio_hubs import Hub, HubApp, HubConnectionOptions, HubException, User
from trio_hubs.monitor.look import (
    MAXIMUM_CLIENTS,
    MAXIMUM_GROUPS,
    MAXIMUM_NAME,
    ClientLook,
    GroupLook,
    HubLook,
    Look,
)
from trio_hubs.protocol.negotiate import Transport
from trio_hubs.server.statistics import Statistics
from trio_hubs.testing import Network, open_test_app, open_test_client


class Work(Hub):
    async def join(self, *names: str) -> None:
        await self.groups.add(self.context.connection_id, *names)

    async def rest(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def fail(self) -> None:
        raise HubException("no")

    async def count(self, number: int) -> AsyncIterator[int]:
        for each in range(number):
            yield each
        await trio.sleep(60)

    async def flood(self, size: int) -> None:
        for _ in range(size // 10_000):
            await self.clients.all.send("Flood", "x" * 10_000)


def watched() -> HubApp:
    app = HubApp()
    app.add_hub("/work", Work)
    _ = app.figures
    return app


async def test_an_app_that_does_nothing(autojump_clock: MockClock) -> None:
    app = watched()
    async with open_test_app(app):
        look = Look.at(app)
    assert look == Look(
        draining=False,
        statistics=Statistics(
            connections=0, refused_connections=0, refused_calls=0, slow_clients=0, dropped_messages=0
        ),
        methods=[],
        hubs=[HubLook("Work", 0, 0, 0, 0, 0, 0, 0, 0)],
        groups=[],
        clients=[],
    )


async def test_methods_by_their_calls(autojump_clock: MockClock) -> None:
    app = watched()
    async with open_test_client(app, "/work") as connection:
        await connection.invoke("Rest", 2)
        await connection.invoke("Rest", 4)
        for name in ("Fail", "Rest", "Nothing"):
            with pytest.raises(HubException):
                await connection.invoke(name)
        async with connection.stream("Count", 3) as reader:
            for _ in range(3):
                await reader.read()
            methods = {each.method: each for each in Look.at(app).methods}
    rest, fail, other, count = (methods[name] for name in ("Rest", "Fail", "other", "Count"))
    assert (rest.ended, rest.ran, rest.errors, rest.seconds, rest.running) == (3, 2, 1, 6, 0)
    assert (fail.ended, fail.ran, fail.errors) == (1, 1, 1)
    assert (other.ended, other.ran, other.errors) == (1, 0, 1)
    assert (count.ended, count.running, count.items) == (0, 1, 3)


@pytest.mark.parametrize("transport", ["WebSockets", "ServerSentEvents", "LongPolling"])
async def test_connections_by_their_transport(transport: str, autojump_clock: MockClock) -> None:
    app = watched()
    options = HubConnectionOptions(transports=[Transport(transport)])
    async with open_test_client(app, "/work", options=options) as connection:
        await connection.invoke("Join", "red", "blue")
        look = Look.at(app)
    [hub] = look.hubs
    counts = {
        "WebSockets": hub.websockets,
        "ServerSentEvents": hub.server_sent_events,
        "LongPolling": hub.long_polling,
    }
    assert counts == {**dict.fromkeys(counts, 0), transport: 1}
    assert (look.statistics.connections, hub.groups) == (1, 2)
    assert hub.received_bytes > 50
    assert hub.sent_bytes > 5


async def test_the_largest_groups(autojump_clock: MockClock) -> None:
    app = watched()
    async with open_test_client(app, "/work") as ann, open_test_client(app, "/work") as bob:
        await ann.invoke("Join", *(f"group {number}" for number in range(100)))
        await bob.invoke("Join", "group 77", "y" * 1000)
        look = Look.at(app)
    assert len(look.groups) == MAXIMUM_GROUPS
    assert look.groups[0] == GroupLook("Work", "group 77", 2)
    assert look.hubs[0].groups == 101


async def test_of_small_groups_nothing_is_made(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0

    def make(*args: Any) -> GroupLook:
        nonlocal made
        made += 1
        return GroupLook(*args)

    monkeypatch.setattr("trio_hubs.monitor.look.GroupLook", make)
    app = watched()
    async with open_test_client(app, "/work") as connection:
        await connection.invoke("Join", *(f"group {number}" for number in range(100)))
        assert len(Look.at(app).groups) == made == MAXIMUM_GROUPS


async def test_long_names_are_cut_and_any_can_be_sent(autojump_clock: MockClock) -> None:
    app = watched()
    network = Network()
    async with open_test_client(
        app, "/work", user=User("\ud800" + "u" * 1000), network=network
    ) as connection:
        await connection.invoke("Join", "g" * 1000)
        network.stall()
        await app.hub(Work).clients.all.send("Flood", "x" * 100_000)
        await trio.sleep(1)
        look = Look.at(app)
        network.resume()
    assert look.groups[0].group == "g" * (MAXIMUM_NAME - 1) + "…"
    assert look.clients[0].user == "?" + "u" * (MAXIMUM_NAME - 2) + "…"
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(look), type=Look) == look


async def test_clients_that_do_not_take_what_is_sent(autojump_clock: MockClock) -> None:
    app = watched()
    network = Network()
    async with open_test_client(app, "/work", user=User("ann")), AsyncExitStack() as stack:
        for number in range(MAXIMUM_CLIENTS + 5):
            user = User(f"{number}")
            await stack.enter_async_context(open_test_client(app, "/work", user=user, network=network))
        opening = open_test_client(app, "/work", user=User("last"), network=network)
        slow = await stack.enter_async_context(opening)
        assert Look.at(app).clients == []
        network.stall()
        for size in (100_000, 70_000):
            await app.hub(Work).clients.all.send("Flood", "x" * size)
            await trio.sleep(1)
        await app.hub(Work).clients.client(slow.connection_id or "").send("Flood", "x" * 10_000)
        await trio.sleep(1)
        look = Look.at(app)
        network.resume()
    assert len(look.clients) == MAXIMUM_CLIENTS
    first, second, *_ = look.clients
    assert first.queued_bytes > second.queued_bytes > 70_000
    assert first == ClientLook("Work", slow.connection_id or "", "last", "WebSockets", first.queued_bytes, 3)
    assert look.hubs[0].queued_bytes > 70_000 * MAXIMUM_CLIENTS


async def test_an_app_that_is_running_empty_says_so(autojump_clock: MockClock) -> None:
    app = watched()
    async with open_test_app(app):
        await app.drain(1)
        assert Look.at(app).draining


async def test_hubs_of_one_name_are_one(autojump_clock: MockClock) -> None:
    class Again(Work):
        pass

    Again.__qualname__ = "Work"
    app = watched()
    app.add_hub("/again", Again)
    app.add_hub("/work/too", Work)  # is the same one at another path
    async with open_test_client(app, "/work") as one, open_test_client(app, "/again") as other:
        await one.invoke("Join", "red", "blue")
        await other.invoke("Join", "red")
        look = Look.at(app)
    [hub] = look.hubs
    assert (hub.groups, hub.websockets) == (3, 2)
    assert len(look.groups) == 3
