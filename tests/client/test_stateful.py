"""Our client and our hub over WebSockets that are torn: nothing is lost, nothing comes twice, and order is kept."""

import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.connections.client.http_answers import TARGET
from tests.hub_peer import PROTOCOLS, no_task_left
from trio_hubs import (
    ChannelReader,
    Hub,
    HubApp,
    HubConnection,
    HubConnectionOptions,
    HubConnectionState,
    HubOptions,
    StateChange,
)
from trio_hubs.client.link import HubLink
from trio_hubs.client.opening import open_over
from trio_hubs.connections.client.resuming import resuming
from trio_hubs.connections.duplex import Duplex
from trio_hubs.errors import ConnectionClosed
from trio_hubs.protocol.hub_protocol import TransferFormat
from trio_hubs.testing import Network, open_test_client

from .dials import Dials

CONNECTED = HubConnectionState.CONNECTED
RECOVERED = StateChange(CONNECTED, recovered=True)


class Numbers(Hub):
    """Numbers in order, both ways."""

    async def count(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number
            if number % 7 == 0:
                await trio.sleep(0.01)

    async def echo(self, numbers: ChannelReader[int]) -> AsyncIterator[int]:
        async for number in numbers:
            yield number

    async def collect(self, numbers: ChannelReader[int]) -> list[int]:
        return [number async for number in numbers]

    async def add(self, number: int) -> int:
        total: int = self.context.items.get("total", 0) + number
        self.context.items["total"] = total
        await self.clients.caller.send("Total", total)
        return total


@asynccontextmanager
async def connected(
    protocol: Any = "json", **chosen: Any
) -> AsyncGenerator[tuple[HubConnection, Network, list[int]]]:
    """Our client beside the hub, and the totals that its handler has heard; the server waits for it for 3 seconds."""
    app = HubApp(options=HubOptions(stateful_reconnect=True, disconnect_timeout=3.0))
    app.add_hub("/numbers", Numbers)
    heard: list[int] = []
    network = Network()
    with no_task_left():
        async with open_test_client(
            app,
            "/numbers",
            network=network,
            protocol=protocol,
            handlers={"Total": heard.append},
            options=HubConnectionOptions(stateful_reconnect=True),
            **chosen,
        ) as connection:
            yield connection, network, heard


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number
        if number % 5 == 0:
            await trio.sleep(0.01)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("seed", range(10))
async def test_calls_streams_and_uploads_run_through_any_tears(
    autojump_clock: MockClock, protocol: str, seed: int
) -> None:
    results: dict[str, Any] = {}
    moments = random.Random(seed)
    set_up: list[str | None] = []

    async def setup(link: HubLink) -> None:
        set_up.append(link.connection_id)

    async def count() -> None:
        async with connection.stream("Count", 300, item_type=int) as reader:
            results["count"] = [number async for number in reader]

    async def echo() -> None:
        async with connection.stream("Echo", numbers(300), item_type=int) as reader:
            results["echo"] = [number async for number in reader]

    async def collect() -> None:
        results["collect"] = await connection.invoke("Collect", numbers(300), result_type=list[int])

    async def add() -> None:
        results["add"] = []
        for _ in range(50):
            results["add"].append(await connection.invoke("Add", 1, result_type=int))
            await trio.sleep(0.01)

    async with connected(protocol, setup=setup) as (connection, network, heard):
        with connection.state_changes() as changes:
            async with trio.open_nursery() as nursery:
                for task in (count, echo, collect, add):
                    nursery.start_soon(task)
                for _ in range(moments.randrange(1, 8)):
                    await trio.sleep(moments.uniform(0, 0.12))
                    network.cut()
            await wait_all_tasks_blocked()
            told = changes.read_ready()
        assert set_up == [connection.connection_id]
        assert connection.state is CONNECTED
    for name in ("count", "echo", "collect"):
        assert results[name] == list(range(300))
    assert results["add"] == heard == list(range(1, 51))
    assert told
    assert set(told) == {RECOVERED}


async def test_calls_that_are_made_while_it_is_torn_are_sent_later(autojump_clock: MockClock) -> None:
    async with connected() as (connection, network, _):
        id = connection.connection_id
        network.cut()
        assert await connection.invoke("Add", 5, result_type=int) == 5
        assert connection.connection_id == id


async def test_one_that_cannot_go_on_is_lost_like_any_other(autojump_clock: MockClock) -> None:
    async with connected(reconnect=lambda *_: 1.0) as (connection, network, _):
        assert await connection.invoke("Add", 5, result_type=int) == 5
        with connection.state_changes() as changes:
            network.down()
            await trio.sleep(5)
            network.up()
            assert (await changes.read()).state is HubConnectionState.RECONNECTING
            assert await changes.read() == StateChange(CONNECTED)
        assert await connection.invoke("Add", 7, result_type=int) == 7


async def test_a_server_that_acknowledges_nothing_has_five_seconds(autojump_clock: MockClock) -> None:
    dials = Dials()
    dials.server()
    options = HubConnectionOptions(stateful_reconnect_buffer_size=1, server_timeout=1000)

    def dial(carried: TransferFormat) -> AbstractAsyncContextManager[Duplex]:
        return resuming(TARGET, dials(carried), _not_again)

    async with open_over([dial], options=options) as connection:
        await connection.send("Kept")
        await wait_all_tasks_blocked()
        await connection.send("Waits")
        reason = await connection.wait_closed()
        assert str(reason) == "The connection ended: The peer does not acknowledge its messages."
        assert reason.retriable
        assert 4 < trio.current_time() < 7


async def _not_again() -> AbstractAsyncContextManager[Duplex]:
    raise ConnectionClosed("unknown", status=404)


async def test_leaving_while_it_is_torn_is_bounded(autojump_clock: MockClock) -> None:
    async with connected() as (_, network, _):
        network.down()
        await trio.lowlevel.checkpoint()
    assert trio.current_time() <= 5
