"""A server that ends and starts again gets all of its clients back, and not all of them at the same moment."""

import random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import members_of
from trio_hubs import (
    Backoff,
    HubApp,
    HubConnection,
    HubConnectionOptions,
    HubConnectionState,
    HubLink,
    Transport,
)
from trio_hubs.testing import open_test_app, open_test_client

from .dials import open_over
from .hub_dials import Sample, open_hub_dials

CLIENTS = 100
AWAY = 5.0  # seconds
LONGEST = 10.0  # between two attempts


@pytest.mark.parametrize("killed", [False, True], ids=["ended", "killed"])
async def test_all_clients_come_back_after_a_restart(autojump_clock: MockClock, killed: bool) -> None:
    random.seed(1)
    set_up = 0
    connections: list[HubConnection] = []
    over = trio.Event()

    async def setup(link: HubLink) -> None:
        nonlocal set_up
        await link.invoke("Add", 1, 1)
        set_up += 1

    async def live() -> None:
        async with open_over(
            dials, reconnect=Backoff((1, 2, LONGEST), forever=True), setup=setup
        ) as connection:
            connections.append(connection)
            await over.wait()

    async with open_hub_dials() as dials:
        async with trio.open_nursery() as nursery:
            for _ in range(CLIENTS):
                nursery.start_soon(live)
            await wait_all_tasks_blocked()
            assert len(connections) == set_up == CLIENTS
            dials.times.clear()
            dials.end_server(killed=killed)
            ended = trio.current_time()
            await trio.sleep(AWAY)
            assert {connection.state for connection in connections} == {HubConnectionState.RECONNECTING}
            assert not members_of(dials.served).by_id
            dials.start_server()
            await trio.sleep(LONGEST)
            assert set_up == 2 * CLIENTS
            assert {connection.state for connection in connections} == {HubConnectionState.CONNECTED}
            assert len(members_of(dials.served).by_id) == CLIENTS
            for connection in connections:
                assert await connection.invoke("Add", 40, 2) == 42
            over.set()
        await wait_all_tasks_blocked()
        assert not members_of(dials.served).by_id
    times = [time - ended for time in dials.times]
    tenths = [sum(1 for time in times if tenth <= 10 * time < tenth + 1) for tenth in range(10)]
    assert len(set(times)) == len(times)
    assert min(tenths) > 0
    assert max(tenths) < CLIENTS / 3


@pytest.mark.parametrize("transport", Transport)
async def test_clients_come_back_to_an_app_that_is_served_again(
    autojump_clock: MockClock, transport: Transport
) -> None:
    visits = 0
    all_are_here, over = trio.Event(), trio.Event()
    app = HubApp()
    app.add_hub("/sample", Sample)

    async def live() -> None:
        nonlocal visits
        async with open_test_client(
            app,
            "/sample",
            reconnect=lambda *_: random.uniform(0, 0.1),
            options=HubConnectionOptions(transports=[transport]),
        ) as connection:
            async for link in connection.links():
                assert await link.invoke("Add", 40, 2) == 42
                visits += 1
                if visits == 5:
                    all_are_here.set()
                if visits == 10:
                    over.set()
                with link.while_open():
                    await over.wait()
                    return

    async with trio.open_nursery() as nursery:
        async with open_test_app(app):
            for _ in range(5):
                nursery.start_soon(live)
            await all_are_here.wait()
        await trio.sleep(0.2)
        async with open_test_app(app):
            await over.wait()
