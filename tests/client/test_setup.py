"""What is done at the beginning of each link, and a body that runs once on each."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import no_task_left
from tests.messages import call, close, result
from trio_hubs import ConnectionClosed, HubConnectionState, HubException, HubLink, HubsError

from .dials import Dials, always, becomes, greet, open_over

CONNECTED, RECONNECTING = HubConnectionState.CONNECTED, HubConnectionState.RECONNECTING


# ---- setup


async def test_each_link_is_set_up_before_anything_else_is_sent(autojump_clock: MockClock) -> None:
    dials = Dials()
    servers = [dials.server(), dials.server()]
    ids: list[str | None] = []

    async def setup(link: HubLink) -> None:
        ids.append(link.connection_id)
        assert await link.invoke("Join", result_type=str) == "joined"
        await link.send("Subscribe")

    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            for server in servers:
                await greet(server)
                join = await server.receive()
                assert join == call("Join", id="1")
                await trio.sleep(3)
                assert await server.arrived() == []
                await server.send(result("1", "joined"))
                assert await server.take(2) == [call("Subscribe"), call("Other")]
                server.leave()

        nursery.start_soon(serve)
        async with open_over(dials, reconnect=always, setup=setup) as connection:
            assert trio.current_time() >= 3
            await connection.send("Other")
            await becomes(connection, RECONNECTING)
            await connection.send("Other", wait_for_ready=True)
            await becomes(connection, RECONNECTING)
    assert ids == ["id 1", "id 2"]


async def test_while_a_link_is_set_up_calls_fail_or_wait_and_handlers_run(autojump_clock: MockClock) -> None:
    dials = Dials()
    first, second = dials.server(), dials.server()
    heard: list[int] = []

    async def setup(link: HubLink) -> None:
        if link.connection_id == "id 2":
            await link.invoke("Join")

    async with open_over(
        dials, reconnect=always, setup=setup, handlers={"Heard": heard.append}
    ) as connection:
        await greet(first)
        first.leave()
        await becomes(connection, RECONNECTING)
        await greet(second)
        await second.receive()
        await second.send(call("Heard", 5))
        await wait_all_tasks_blocked()
        assert heard == [5]
        assert connection.state is RECONNECTING
        assert connection.connection_id == "id 1"
        with pytest.raises(ConnectionClosed):
            await connection.send("Other")


async def test_a_link_that_ends_while_it_is_set_up_is_a_failed_attempt(autojump_clock: MockClock) -> None:
    dials = Dials()
    servers = [dials.server() for _ in range(3)]
    cancelled: list[str | None] = []

    async def setup(link: HubLink) -> None:
        if link.connection_id == "id 2":
            await link.invoke("Join")
        elif link.connection_id == "id 1":
            try:
                await trio.sleep_forever()
            finally:
                cancelled.append(link.connection_id)

    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            for server in servers[:2]:
                await greet(server)
                server.leave()

        nursery.start_soon(serve)
        async with open_over(dials, reconnect=always, retry_first=True, setup=setup) as connection:
            assert connection.connection_id == "id 3"
    assert cancelled == ["id 1"]
    assert dials.times == [0, 1, 2]


@pytest.mark.parametrize("attempt", [1, 2])
@pytest.mark.parametrize("error", [HubException("full"), ConnectionClosed("of another"), KeyError("mine")])
async def test_what_the_setup_raises_comes_out_of_the_block(
    autojump_clock: MockClock, attempt: int, error: Exception
) -> None:
    dials = Dials()
    servers = [dials.server() for _ in range(attempt)]

    async def setup(link: HubLink) -> None:
        if link.connection_id == f"id {attempt}":
            raise error

    with no_task_left(), pytest.raises(type(error)) as caught:
        async with open_over(dials, reconnect=always, setup=setup):
            servers[0].leave()
            await trio.sleep_forever()
    assert caught.value is error
    if attempt == 2:
        await greet(servers[-1])
        assert (await servers[-1].rest())[-1]["type"] == 7


# ---- a body for each link


async def test_a_body_runs_once_on_each_link_and_ends_with_it(autojump_clock: MockClock) -> None:
    dials = Dials()
    servers = [dials.server() for _ in range(3)]
    ended: list[str | None] = []
    async with (
        open_over(dials, reconnect=always) as connection,
        trio.open_nursery() as nursery,
    ):

        async def serve() -> None:
            for server in servers:
                await greet(server)
                await server.receive()
                server.leave()

        nursery.start_soon(serve)
        async for link in connection.links():
            with link.while_open():
                await link.send("Begin")
                if link.connection_id == "id 2":
                    await link.invoke("Slow")  # raises ConnectionClosed
                await trio.sleep_forever()
            ended.append(link.connection_id)
            if len(ended) == 3:
                break
    assert ended == ["id 1", "id 2", "id 3"]


async def test_a_link_that_came_and_went_meanwhile_is_left_out(autojump_clock: MockClock) -> None:
    dials = Dials()
    servers = [dials.server() for _ in range(3)]
    seen: list[str | None] = []
    async with open_over(dials, reconnect=always) as connection:
        links = connection.links()
        seen.append((await anext(links)).connection_id)
        for server in servers[:2]:
            await greet(server)
            server.leave()
            await becomes(connection, RECONNECTING)
            await becomes(connection, CONNECTED)
        seen.append((await anext(links)).connection_id)
    assert seen == ["id 1", "id 3"]


async def test_the_links_end_with_the_reason_of_the_end(autojump_clock: MockClock) -> None:
    dials = Dials()
    server = dials.server()
    async with open_over(dials, reconnect=always) as connection:
        await server.send(close("go away"))
        with pytest.raises(ConnectionClosed, match="go away"):
            async for link in connection.links():
                with link.while_open():
                    await trio.sleep_forever()


async def test_the_links_end_where_that_was_asked_for(autojump_clock: MockClock) -> None:
    dials = Dials()
    dials.server()
    async with open_over(dials, reconnect=always) as connection:
        async for link in connection.links():
            with link.while_open():
                connection.stop()
                await trio.sleep_forever()


async def test_a_body_begun_on_a_link_that_is_over_is_cancelled_at_once(autojump_clock: MockClock) -> None:
    dials = Dials()
    server = dials.server()
    async with open_over(dials) as connection:
        link = await anext(connection.links())
        server.leave()
        await connection.wait_closed()
        with link.while_open():
            await trio.lowlevel.checkpoint()
            raise AssertionError


@pytest.mark.parametrize("over", [True, False])
async def test_of_a_bodys_exceptions_only_the_links_own_end_is_swallowed(
    autojump_clock: MockClock, over: bool
) -> None:
    dials = Dials()
    server = dials.server()
    closed = ConnectionClosed("over")
    async with open_over(dials) as connection:
        link = await anext(connection.links())
        if over:
            server.leave()
            await connection.wait_closed()
        for error, swallowed in (
            (closed, over),
            (ExceptionGroup("", [closed, ExceptionGroup("", [closed])]), over),
            (ExceptionGroup("", [closed, KeyError()]), False),
            (KeyError(), False),
        ):
            raised: BaseException | None = None
            try:
                with link.while_open():
                    raise error
            except (HubsError, KeyError, ExceptionGroup) as out:
                raised = out
            if isinstance(raised, ExceptionGroup) and isinstance(error, ExceptionGroup):
                assert raised.exceptions == error.exceptions
                assert not swallowed
            else:
                assert raised is (None if swallowed else error)
