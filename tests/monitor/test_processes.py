"""The processes of an app are asked, and answer; those that cannot be reached keep nobody waiting for long."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from tests.fleet.memory_bus import MemoryBroker, MemoryBus
from trio_hubs import Hub, HubApp
from trio_hubs.fleet.backplane import FleetBackplane
from trio_hubs.monitor.processes import ANSWER_TIMEOUT, Processes
from trio_hubs.testing import open_test_app, open_test_client


class Chat(Hub):
    pass


class MemoryBackplane(FleetBackplane):
    @asynccontextmanager
    async def open_bus(self) -> AsyncGenerator[None]:
        yield


def process(broker: MemoryBroker) -> tuple[HubApp, Processes, MemoryBus]:
    bus = broker.open()
    app = HubApp(backplane=MemoryBackplane(bus, {}))
    app.add_hub("/chat", Chat)
    return app, Processes(app), bus


async def test_one_that_is_alone_needs_no_bus(autojump_clock: MockClock) -> None:
    app = HubApp()
    app.add_hub("/chat", Chat)
    processes = Processes(app)
    async with open_test_client(app, "/chat"):
        looks, expected = await processes.look()
    assert expected == 1
    [look] = looks.values()
    assert look.connections == 1


async def test_all_answer(autojump_clock: MockClock) -> None:
    broker = MemoryBroker()
    one, processes, bus = process(broker)
    other, _, other_bus = process(broker)
    async with open_test_app(one), open_test_app(other), open_test_client(other, "/chat"):
        for _ in range(2):
            looks, expected = await processes.look()
            assert expected == 2
            assert {name: look.connections for name, look in looks.items()} == {
                bus.server: 0,
                other_bus.server: 1,
            }
        assert trio.current_time() == 0


async def test_one_that_does_not_answer_is_left_out(autojump_clock: MockClock) -> None:
    broker = MemoryBroker()
    _, processes, bus = process(broker)
    _, _, other_bus = process(broker)
    other_bus.heard["trio_hubs.monitor:questions"] = lambda _: None
    looks, expected = await processes.look()
    assert (list(looks), expected) == ([bus.server], 2)
    assert trio.current_time() == ANSWER_TIMEOUT


async def test_an_answer_that_is_late_is_nobodys(autojump_clock: MockClock) -> None:
    broker = MemoryBroker()
    _, processes, bus = process(broker)
    await processes.look()
    [answer] = [data for channel, data in broker.published if "answers" in channel]
    bus.publish(f"trio_hubs.monitor:answers:{bus.server}", answer)
    looks, expected = await processes.look()
    assert (list(looks), expected) == ([bus.server], 1)


async def test_without_the_bus_there_is_this_one_alone(autojump_clock: MockClock) -> None:
    broker = MemoryBroker()
    _, processes, bus = process(broker)
    process(broker)
    bus.away = True
    looks, expected = await processes.look()
    assert (list(looks), expected) == ([bus.server], None)
    bus.away = False
    assert (await processes.look())[1] == 2


@pytest.mark.parametrize("channel", ["questions", "answers:{}"])
async def test_what_cannot_be_read_is_logged(
    channel: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    broker = MemoryBroker()
    _, processes, bus = process(broker)
    with caplog.at_level(logging.WARNING):
        bus.publish("trio_hubs.monitor:" + channel.format(bus.server), b"\x81\xa2id\xa1x")
        looks, _ = await processes.look()
    assert list(looks) == [bus.server]
    [record] = caplog.records
    assert "cannot be read" in record.message
