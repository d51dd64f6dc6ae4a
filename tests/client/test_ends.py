"""How our client's connection ends, in whatever it is doing: cleanly, and in bounded time."""

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import RawPeer, no_task_left
from tests.messages import call, close, ended, item, result
from trio_hubs import ConnectionClosed, HubConnectionState, HubLink

from .dials import Dials, always, becomes, greet, open_over

CONNECTED, RECONNECTING = HubConnectionState.CONNECTED, HubConnectionState.RECONNECTING
DISCONNECTING, DISCONNECTED = HubConnectionState.DISCONNECTING, HubConnectionState.DISCONNECTED


@pytest.mark.parametrize("how", ["left", "stopped", "drained"])
@pytest.mark.parametrize("when", ["waiting", "dialling", "shaking hands", "setting up"])
async def test_an_end_while_it_is_away_comes_at_once(autojump_clock: MockClock, when: str, how: str) -> None:
    async def setup(link: HubLink) -> None:
        if link.connection_id != "id 1":
            await trio.sleep_forever()

    dials = Dials()
    first = dials.server()
    with no_task_left():
        async with open_over(dials, reconnect=lambda *_: 5.0, setup=setup) as connection:
            await greet(first)
            first.leave()
            await becomes(connection, RECONNECTING)
            if when == "shaking hands":
                dials.server(answer=b"")
            elif when == "setting up":
                dials.server()
            if when != "waiting":
                await trio.sleep(10)
            before = trio.current_time()
            if how == "stopped":
                connection.stop()
            elif how == "drained":
                await connection.drain()
            if how != "left":
                assert str(await connection.wait_closed()) == "The connection has been closed."
        assert trio.current_time() == before
    assert connection.state is DISCONNECTED


@pytest.mark.parametrize("dead", [False, True])
@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("doing", ["nothing", "uploading", "handling", "asked"])
async def test_an_end_in_the_middle_of_things_is_bounded(
    autojump_clock: MockClock, doing: str, stops: bool, dead: bool
) -> None:
    """A dead server takes nothing of what is sent."""

    async def handle() -> None:
        started.set()
        await trio.sleep_forever()

    async def endless() -> AsyncIterator[int]:
        while True:
            yield 1
            await trio.sleep(0.1)

    async def upload() -> None:
        with suppress(ConnectionClosed):
            await connection.invoke("Sum", endless())

    async def take_all() -> None:
        with suppress(trio.EndOfChannel):
            while True:
                await server.receive()

    dials = Dials()
    server = dials.server(capacity=2 if dead else 1000)
    started = trio.Event()
    with no_task_left():
        async with trio.open_nursery() as nursery:
            if not dead:
                nursery.start_soon(take_all)
            async with open_over(dials, handlers={"Handle": handle}) as connection:
                if doing == "uploading":
                    nursery.start_soon(upload)
                    await trio.sleep(1)
                elif doing != "nothing":
                    await server.send(call("Handle", id="s1" if doing == "asked" else ""))
                    await started.wait()
                before = trio.current_time()
                if stops:
                    connection.stop()
                    with pytest.raises(ConnectionClosed):
                        await connection.send("Late")
                    await connection.wait_closed()
    assert trio.current_time() - before <= (5 if dead else 0)


async def test_a_stop_in_a_handler(autojump_clock: MockClock) -> None:
    dials = Dials()
    server = dials.server()
    cancelled = trio.Event()

    async def handle() -> None:
        connection.stop()
        try:
            await trio.lowlevel.checkpoint()
        finally:
            cancelled.set()

    async with open_over(dials, reconnect=always, handlers={"Handle": handle}) as connection:
        await greet(server)
        await server.send(call("Handle"))
        await connection.wait_closed()
        assert cancelled.is_set()
        assert await server.rest() == [close()]
        connection.stop()


async def test_a_stop_fails_what_waits_and_the_block_goes_on(autojump_clock: MockClock) -> None:
    dials = Dials()
    dials.server()
    async with open_over(dials, reconnect=always) as connection, trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(ConnectionClosed, match="has been closed"):
                await connection.invoke("Slow")

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        connection.stop()
        with pytest.raises(ConnectionClosed, match="has been closed"):
            await connection.send("Late", wait_for_ready=True)


@pytest.mark.parametrize("leave", [True, False])
async def test_the_servers_close_is_answered_while_the_body_goes_on(
    autojump_clock: MockClock, leave: bool
) -> None:
    dials = Dials()
    first, second = dials.server(), dials.server()
    async with open_over(dials, reconnect=always) as connection:
        await greet(first)
        await first.send(close(allow_reconnect=leave))
        assert await first.rest() == [close()]
        assert trio.current_time() == 0
        await becomes(connection, RECONNECTING if leave else DISCONNECTED)
        if leave:
            await greet(second)


# ---- draining


async def uploading(server: RawPeer, go_on: trio.Event) -> AsyncIterator[int]:
    yield 1
    await go_on.wait()
    yield 2


async def test_draining_lets_run_what_runs_and_nothing_new(autojump_clock: MockClock) -> None:
    dials = Dials()
    server = dials.server()
    go_on = trio.Event()
    results: list[object] = []

    async def invoke() -> None:
        results.append(await connection.invoke("Slow"))

    async def stream() -> None:
        async with connection.stream("Count") as reader:
            results.append([number async for number in reader])

    async with open_over(dials, reconnect=always) as connection, trio.open_nursery() as nursery:
        await greet(server)
        nursery.start_soon(invoke)
        await wait_all_tasks_blocked()
        nursery.start_soon(stream)
        await wait_all_tasks_blocked()
        await connection.send("Sum", uploading(server, go_on))
        nursery.start_soon(connection.drain)
        await wait_all_tasks_blocked()
        assert connection.state is DISCONNECTING
        for wait in (True, False):
            with pytest.raises(ConnectionClosed, match=r"^The connection is being drained: no new calls"):
                await connection.invoke("Late", wait_for_ready=wait)
        assert len(await server.arrived()) == 4  # the calls, and the upload's first item
        await server.send(item("2", 5), result("1", 7), ended("2"))
        await wait_all_tasks_blocked()
        assert connection.state is DISCONNECTING
        assert sorted(map(str, results)) == ["7", "[5]"]
        go_on.set()
        await connection.wait_closed()
        assert await server.rest() == [item("3", 2), ended("3"), close()]


async def test_draining_is_cut_by_its_scope(autojump_clock: MockClock) -> None:
    dials = Dials()
    dials.server()
    async with open_over(dials) as connection, trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(ConnectionClosed):
                await connection.invoke("Slow")

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        with trio.move_on_after(5) as scope:
            await connection.drain()
        assert scope.cancelled_caught
        await connection.wait_closed()
        assert trio.current_time() == 5


async def test_a_connection_that_is_lost_while_it_drains_is_not_tried_again(
    autojump_clock: MockClock,
) -> None:
    dials = Dials()
    server = dials.server()
    async with open_over(dials, reconnect=always) as connection, trio.open_nursery() as nursery:
        await greet(server)

        async def wait() -> None:
            with pytest.raises(ConnectionClosed, match="was lost"):
                await connection.invoke("Slow")

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        nursery.start_soon(connection.drain)
        await wait_all_tasks_blocked()
        server.leave()
        await connection.wait_closed()
    assert len(dials.times) == 1
