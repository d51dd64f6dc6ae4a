"""One link of a client: it ends whatever is done at its beginning, and its end is always told."""

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import RawServer, no_task_left, open_raw_server
from tests.messages import PING, close
from trio_hubs import ConnectionClosed, HubConnectionState, HubLink
from trio_hubs.client.opening import open_over


async def slowly(link: HubLink) -> None:
    """What is done at the beginning of a link takes its time."""
    await trio.sleep(20)


async def test_a_beginning_that_is_cancelled_ends_the_link(autojump_clock: MockClock) -> None:
    server = RawServer()
    await server.send_bytes(b"{}\x1e")
    with no_task_left(), trio.move_on_after(5) as scope:
        async with open_over([server.dial], setup=slowly):
            raise AssertionError
    assert scope.cancelled_caught
    assert trio.current_time() == 5
    await server.receive_record()
    assert await server.rest() == [PING, close(allow_reconnect=True)]


@pytest.mark.parametrize("says_goodbye", [True, False])
async def test_an_end_during_the_beginning_is_told(autojump_clock: MockClock, says_goodbye: bool) -> None:
    server = RawServer()
    await server.send_bytes(b"{}\x1e")
    if says_goodbye:
        await server.send(close("bad"))
    else:
        server.connection.close()
    text = "following error: bad" if says_goodbye else "The connection has been closed"
    with no_task_left(), pytest.raises(ConnectionClosed, match=text):
        async with open_over([server.dial], setup=slowly):
            raise AssertionError
    assert trio.current_time() == 0


async def test_calls_can_be_made_once_the_beginning_is_over(autojump_clock: MockClock) -> None:
    async with open_raw_server(setup=slowly) as (connection, _):
        assert trio.current_time() >= 20
        assert connection.state is HubConnectionState.CONNECTED


@pytest.mark.parametrize("may_come_back", [False, True])
async def test_a_client_that_is_sent_away_is_told_from_a_server_that_restarts(
    autojump_clock: MockClock, may_come_back: bool
) -> None:
    async with open_raw_server() as (connection, server):
        await server.send(close("why", allow_reconnect=may_come_back))
        reason = await connection.wait_closed()
    assert (reason.server_text, reason.retriable) == ("why", may_come_back)


async def test_a_goodbye_is_answered_at_once_while_the_block_goes_on(autojump_clock: MockClock) -> None:
    async with open_raw_server() as (connection, server):
        await server.send(close())
        assert await server.rest() == [close()]  # to the end of the connection
        await connection.wait_closed()
        assert connection.state is HubConnectionState.DISCONNECTED
        assert trio.current_time() == 0
    await connection.wait_closed()
