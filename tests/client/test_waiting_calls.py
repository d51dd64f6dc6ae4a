"""Calls that wait until a lost connection is regained: how many bytes of them, and what they count for."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.messages import call
from trio_hubs import BindingError, ConnectionClosed, HubConnectionOptions, HubConnectionState
from trio_hubs.client.waiting_calls import CALL_SIZE

from .dials import Dials, after, becomes, greet, open_over

RECONNECTING = HubConnectionState.RECONNECTING


async def test_only_so_many_bytes_of_calls_may_wait(autojump_clock: MockClock) -> None:
    dials = Dials()
    first, second = dials.server(), dials.server()
    options = HubConnectionOptions(waiting_calls_buffer_size=3 * (CALL_SIZE + len('["1"]')))
    async with (
        open_over(dials, reconnect=after(1), options=options) as connection,
        trio.open_nursery() as nursery,
    ):
        await greet(first)
        first.leave()
        await becomes(connection, RECONNECTING)
        for _ in range(3):
            nursery.start_soon(lambda: connection.send("Note", "1", wait_for_ready=True))
        await wait_all_tasks_blocked()
        with pytest.raises(
            ConnectionClosed,
            match=r"lost, and calls of 3087 bytes wait .* no room for 1028 more within 3087\.",
        ):
            await connection.send("Note", 12, wait_for_ready=True)
        await greet(second)
        assert await second.arrived() == [call("Note", "1")] * 3
        await connection.send("Note", "12345", wait_for_ready=True)


async def test_what_waits_no_more_gives_its_room_to_others(autojump_clock: MockClock) -> None:
    dials = Dials()
    server = dials.server()
    options = HubConnectionOptions(waiting_calls_buffer_size=CALL_SIZE + len("[]"))
    async with open_over(dials, reconnect=after(60), options=options) as connection:
        server.leave()
        await becomes(connection, RECONNECTING)
        for _ in range(2):
            with trio.move_on_after(1) as scope:
                await connection.send("Note", wait_for_ready=True)
            assert scope.cancelled_caught


async def test_an_argument_that_cannot_be_encoded_does_not_wait(autojump_clock: MockClock) -> None:
    dials = Dials()
    server = dials.server()
    async with open_over(dials, reconnect=after(60)) as connection:
        server.leave()
        await becomes(connection, RECONNECTING)
        with pytest.raises(BindingError):
            await connection.send("Note", object(), wait_for_ready=True)


async def test_an_upload_that_waits_is_not_touched(autojump_clock: MockClock) -> None:
    dials = Dials()
    first, second = dials.server(), dials.server()

    async def numbers() -> AsyncIterator[int]:
        assert trio.current_time() >= 60
        yield 1

    async with (
        open_over(dials, reconnect=after(60)) as connection,
        trio.open_nursery() as nursery,
    ):
        await greet(first)
        first.leave()
        await becomes(connection, RECONNECTING)
        nursery.start_soon(lambda: connection.send("Total", numbers(), wait_for_ready=True))
        await greet(second)
        assert [message["type"] for message in await second.arrived()] == [1, 2, 3]
