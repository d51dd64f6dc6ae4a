"""The processes of an app are asked, and answer; those that cannot be reached keep nobody waiting for long."""

import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from tests.fleet.memory_bus import MemoryBackplane, MemoryBroker, MemoryBus
from trio_hubs import BackplaneError, Hub, HubApp
from trio_hubs.monitor.processes import ANSWER_TIMEOUT, SHORTEST, Processes
from trio_hubs.testing import open_test_app, open_test_client


class Chat(Hub):
    pass


@asynccontextmanager
async def process(broker: MemoryBroker) -> AsyncGenerator[tuple[HubApp, Processes, MemoryBus]]:
    """An app that runs, as one of a fleet."""
    bus = broker.open()
    app = HubApp(backplane=MemoryBackplane(bus, {}))
    app.add_hub("/chat", Chat)
    processes = Processes(app)
    assert not bus.heard
    async with open_test_app(app):
        yield app, processes, bus
    assert not bus.heard


async def test_one_that_is_alone_needs_no_bus(autojump_clock: MockClock) -> None:
    app = HubApp()
    app.add_hub("/chat", Chat)
    processes = Processes(app)
    async with open_test_client(app, "/chat"):
        looks, expected = await processes.look()
    assert expected == 1
    [look] = looks.values()
    assert look.statistics.connections == 1


async def test_all_answer(autojump_clock: MockClock) -> None:
    broker = MemoryBroker()
    async with (
        process(broker) as (_, processes, bus),
        process(broker) as (other, _, other_bus),
        open_test_client(other, "/chat"),
    ):
        for _ in range(2):
            looks, expected = await processes.look()
            assert expected == 2
            assert {name: look.statistics.connections for name, look in looks.items()} == {
                bus.server: 0,
                other_bus.server: 1,
            }
        assert trio.current_time() == 0


@pytest.mark.parametrize("others", [True, False])
async def test_all_who_ask_share_a_look_for_the_shortest_period(
    others: bool, autojump_clock: MockClock
) -> None:
    app = HubApp(backplane=MemoryBackplane(MemoryBroker().open(), {}) if others else None)
    app.add_hub("/chat", Chat)
    processes = Processes(app)
    seen: list[int] = []
    async with open_test_app(app), AsyncExitStack() as stack:
        for _ in range(2):
            for _ in range(2):
                looks, _ = await processes.look()
                seen.extend(look.statistics.connections for look in looks.values())
                await stack.enter_async_context(open_test_client(app, "/chat"))
            await trio.sleep(SHORTEST)
    assert seen == [0, 0, 2, 2]


def test_an_app_that_is_served_again_is_looked_at_again() -> None:
    app = HubApp()
    app.add_hub("/chat", Chat)
    processes = Processes(app)
    seen: list[int] = []

    async def serve(sleep: float, clients: int) -> None:
        async with open_test_app(app), AsyncExitStack() as stack:
            for _ in range(clients):
                await stack.enter_async_context(open_test_client(app, "/chat"))
            await trio.sleep(sleep)
            looks, _ = await processes.look()
            seen.append(looks[""].statistics.connections)

    for sleep, clients in ((100, 1), (0, 2)):
        trio.run(serve, sleep, clients, clock=MockClock(autojump_threshold=0))
    assert seen == [1, 2]


async def test_one_that_does_not_answer_is_left_out(autojump_clock: MockClock) -> None:
    broker = MemoryBroker()
    async with process(broker) as (_, processes, bus), process(broker) as (_, _, other_bus):
        other_bus.heard["trio_hubs.monitor:questions"] = lambda _: None
        looks, expected = await processes.look()
    assert (list(looks), expected) == ([bus.server], 2)
    assert trio.current_time() == ANSWER_TIMEOUT


async def test_all_workers_answer_that_a_bus_counts_as_one(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = MemoryBroker()
    monkeypatch.setattr(broker, "count", lambda _: 1)
    async with process(broker) as (_, processes, bus), process(broker) as (_, _, other_bus):
        bus.sharing = other_bus.sharing = 2
        looks, expected = await processes.look()
        assert (set(looks), expected) == ({bus.server, other_bus.server}, 2)
        assert trio.current_time() == 0
        bus.sharing = other_bus.sharing = 3
        assert (await processes.look())[1] == 3


async def never(_: str, __: bytes) -> int:
    await trio.sleep_forever()
    raise AssertionError


async def test_a_bus_that_takes_its_time_keeps_nobody_waiting(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(MemoryBroker()) as (_, processes, bus):
        monkeypatch.setattr(bus, "publish_counted", never)
        looks, expected = await processes.look()
    assert (list(looks), expected) == ([bus.server], None)
    assert trio.current_time() == ANSWER_TIMEOUT


async def test_an_answer_that_is_late_is_nobodys(autojump_clock: MockClock) -> None:
    broker = MemoryBroker()
    async with process(broker) as (_, processes, bus):
        await processes.look()
        [answer] = [data for channel, data in broker.published if "monitor:answers" in channel]
        bus.publish(f"trio_hubs.monitor:answers:{bus.server}", answer)
        looks, expected = await processes.look()
    assert (list(looks), expected) == ([bus.server], 1)


async def test_without_the_bus_there_is_this_one_alone(autojump_clock: MockClock) -> None:
    broker = MemoryBroker()
    async with process(broker) as (_, processes, bus), process(broker):
        bus.away = True
        looks, expected = await processes.look()
        assert (list(looks), expected) == ([bus.server], None)
        bus.away = False
        assert (await processes.look())[1] == 2


async def test_an_answer_that_the_bus_does_not_take_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str, __: bytes) -> None:
        raise BackplaneError("too large")

    async with process(MemoryBroker()) as (_, processes, bus):
        monkeypatch.setattr(bus, "publish", refuse)
        assert await processes.look() == ({}, 1)
    [record] = caplog.records
    assert "too large" in record.message


@pytest.mark.parametrize(
    "data", [b"\x81\xa2id\xa1x", b"\x82\xa2id\x01\xa6sender\xa1\xff", b"\x81\xa1x" + b"\x91" * 100_000]
)
@pytest.mark.parametrize("channel", ["questions", "answers:{}"])
async def test_what_cannot_be_read_is_logged(
    channel: str, data: bytes, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with process(MemoryBroker()) as (_, processes, bus):
        with caplog.at_level(logging.WARNING):
            bus.publish("trio_hubs.monitor:" + channel.format(bus.server), data)
            looks, _ = await processes.look()
    assert list(looks) == [bus.server]
    [record] = caplog.records
    assert "cannot be read" in record.message
