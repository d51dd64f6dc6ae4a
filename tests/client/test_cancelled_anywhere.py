"""Whatever of the client is cancelled, wherever it waits: no task is left, and the connection is usable or closed."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias

import pytest
import trio
import trio.lowlevel
from hypothesis import settings
from trio.testing import MockClock

from tests.hub_peer import members_of
from trio_hubs import (
    ConnectionClosed,
    HubApp,
    HubConnection,
    HubConnectionOptions,
    HubConnectionState,
    HubLink,
    Transport,
    open_hub_connection,
)

from .dials import always, open_over
from .hub_dials import HubDials, Sample, open_hub_dials
from .sources import numbers
from .walking import walk

Use: TypeAlias = Callable[[HubConnection], Awaitable[object]]


async def answer() -> int:
    await trio.lowlevel.checkpoint()
    return 42


@pytest.fixture(autouse=True)
def nothing_runs() -> None:
    Sample.running = 0


# ---- what is done with a connection


async def invoke(connection: HubConnection) -> None:
    assert await connection.invoke("Add", 40, 2) == 42


async def read_a_stream(connection: HubConnection) -> None:
    async with connection.stream("Count", 3) as reader:
        assert [number async for number in reader] == [0, 1, 2]


async def leave_a_stream(connection: HubConnection) -> None:
    async with connection.stream("Count", 1000) as reader:
        await reader.read()


async def upload(connection: HubConnection) -> None:
    assert await connection.invoke("Total", numbers(4)) == 6


async def upload_and_read(connection: HubConnection) -> None:
    async with connection.stream("Double", numbers(3)) as reader:
        assert [number async for number in reader] == [0, 2, 4]


async def upload_in_the_background(connection: HubConnection) -> None:
    await connection.send("Total", numbers(4))


async def answer_the_server(connection: HubConnection) -> None:
    assert await connection.invoke("Ask") == 42


async def read_messages(connection: HubConnection) -> None:
    async with connection.messages("News", str) as reader:
        await connection.send("Tell")
        assert await reader.read() == "new"


async def visit_links(connection: HubConnection) -> None:
    async for link in connection.links():
        with link.while_open():
            assert await link.invoke("Add", 40, 2) == 42
            return


async def until_lost(use: Use, connection: HubConnection) -> None:
    """Use a connection that may be lost meanwhile."""
    with suppress(ConnectionClosed):
        await use(connection)


USES: list[Use] = [
    invoke,
    read_a_stream,
    leave_a_stream,
    upload,
    upload_and_read,
    upload_in_the_background,
    answer_the_server,
    read_messages,
    visit_links,
]

each_use = pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)


# ---- in memory


async def nothing_is_left(dials: HubDials, tasks: int) -> None:
    """Wait for the server to be done; no task may be left, on either side."""
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert not members_of(dials.served).by_id
    assert Sample.running == 0


def living() -> int:
    return trio.lowlevel.current_statistics().tasks_living


@each_use
async def test_a_connection_that_is_cancelled_leaves_nothing(autojump_clock: MockClock, use: Use) -> None:
    async with open_hub_dials() as dials:
        tasks = living()

        async def life() -> None:
            async with open_over(dials, handlers={"Answer": answer}) as connection:
                await use(connection)

        async def check() -> None:
            await nothing_is_left(dials, tasks)

        assert await walk(life, check) > 10


@each_use
async def test_a_connection_that_is_lost_and_cancelled_leaves_nothing(
    autojump_clock: MockClock, use: Use
) -> None:
    async with open_hub_dials() as dials:
        tasks = living()

        async def set_up(link: HubLink) -> None:
            assert await link.invoke("Add", 40, 2) == 42

        async def life() -> None:
            async with (
                open_over(dials, handlers={"Answer": answer}, reconnect=always, setup=set_up) as connection,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(until_lost, use, connection)
                await trio.lowlevel.checkpoint()
                with connection.state_changes() as changes:
                    dials.cut()
                    await changes.read()
                assert await connection.invoke("Add", 40, 2, wait_for_ready=True) == 42

        async def check() -> None:
            await nothing_is_left(dials, tasks)

        assert await walk(life, check) > 10


@each_use
async def test_a_use_that_is_cancelled_leaves_the_connection_usable(
    autojump_clock: MockClock, use: Use
) -> None:
    async with (
        open_hub_dials() as dials,
        open_over(dials, handlers={"Answer": answer}) as connection,
    ):
        await use(connection)
        await trio.testing.wait_all_tasks_blocked()
        tasks = living()

        async def check() -> None:
            await trio.testing.wait_all_tasks_blocked()
            assert living() <= tasks  # less, where workers have become idle
            assert Sample.running == 0
            assert connection.state is HubConnectionState.CONNECTED
            with trio.fail_after(1):
                await connection._link._session.our_calls.wait_idle()
                await use(connection)

        await walk(lambda: use(connection), check)


@pytest.mark.parametrize("drained", [False, True], ids=["stopped", "drained"])
async def test_an_end_that_is_cancelled_is_an_end(autojump_clock: MockClock, drained: bool) -> None:
    async with open_hub_dials() as dials:
        tasks = living()
        connection: HubConnection | None = None

        async def life() -> None:
            nonlocal connection
            async with (
                open_over(dials, handlers={"Answer": answer}) as connection,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(until_lost, read_a_stream, connection)
                await trio.lowlevel.checkpoint()
                if drained:
                    await connection.drain()
                else:
                    connection.stop()
                await connection.wait_closed()

        async def check() -> None:
            await nothing_is_left(dials, tasks)
            if connection is not None:
                assert connection.state is HubConnectionState.DISCONNECTED
                with pytest.raises(ConnectionClosed):
                    await connection.invoke("Add", 1, 1)

        assert await walk(life, check) > 10


# ---- over sockets


WAYS = [
    ("json", Transport.WEBSOCKETS),
    ("messagepack", Transport.WEBSOCKETS),
    ("json", Transport.SERVER_SENT_EVENTS),
    ("json", Transport.LONG_POLLING),
    ("messagepack", Transport.LONG_POLLING),
]


@pytest.mark.parametrize(("protocol", "transport"), WAYS)
async def test_a_connection_over_sockets_that_is_cancelled_leaves_nothing(
    protocol: Any, transport: Transport
) -> None:
    app = HubApp()
    app.add_hub("/sample", Sample)
    async with trio.open_nursery() as nursery:
        address: str = await nursery.start(app.serve, "127.0.0.1", 0)

        async def life() -> None:
            async with open_hub_connection(
                f"{address}/sample",
                protocol=protocol,
                handlers={"Answer": answer},
                options=HubConnectionOptions(transports=[transport]),
            ) as connection:
                await invoke(connection)
                await upload_and_read(connection)
                await answer_the_server(connection)

        await life()
        tasks = living()

        async def check() -> None:
            with trio.fail_after(10):
                while living() > tasks or Sample.running:  # noqa: ASYNC110  # the server has no event for it
                    await trio.sleep(0.001)

        # All moments of a connection over long polling take ten seconds.
        stride = 1 if settings.get_current_profile_name() == "long" else 9
        assert await walk(life, check, stride=stride) > 50
        nursery.cancel_scope.cancel()
