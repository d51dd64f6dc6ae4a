"""What sends a request's messages: in order, until the client has left, and never holding up who gives up."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs.asgi.messages import Outlet, open_outlet
from trio_hubs.errors import ConnectionClosed

from .server_in_memory import Server


async def test_messages_leave_in_order_and_a_send_waits_for_its_own(autojump_clock: MockClock) -> None:
    server = Server()
    async with open_outlet(server.send) as outlet:
        await outlet.send("one", body=b"1")
        await outlet.send("two")
        assert server.sent == [{"type": "one", "body": b"1"}, {"type": "two"}]
        server.room = 0
        with trio.move_on_after(5) as scope:
            await outlet.send("three")
        assert scope.cancelled_caught
        with pytest.raises(
            ConnectionClosed, match="The client left"
        ):  # or else what was cut would be missing
            await outlet.send("four")
        server.make_room()
        await wait_all_tasks_blocked()
        assert server.sent[2:] == [{"type": "three"}]


async def test_a_client_that_left_is_told_to_who_sends(autojump_clock: MockClock) -> None:
    server = Server()
    async with open_outlet(server.send) as outlet:
        server.gone = True
        for _ in range(2):
            with pytest.raises(ConnectionClosed, match="The client left"):
                await outlet.send("one")


async def test_a_servers_own_error_comes_out(autojump_clock: MockClock) -> None:
    async def send(message: object) -> None:
        raise KeyError("no such message")

    async with open_outlet(send) as outlet:
        for _ in range(2):
            with pytest.raises(KeyError, match="no such message"):
                await outlet.send("one")


async def test_a_sender_is_let_go_when_its_task_ends(autojump_clock: MockClock) -> None:
    server = Server()
    server.room = 0

    async def send(outlet: Outlet) -> None:
        with pytest.raises(ConnectionClosed):
            await outlet.send("one")

    async with trio.open_nursery() as outer, open_outlet(server.send) as outlet:
        outer.start_soon(send, outlet)
        await wait_all_tasks_blocked()
        outlet.close()
        server.make_room()  # until then the server's shield holds the task
        server.gone = True


async def test_last_words_leave_though_all_is_cancelled(autojump_clock: MockClock) -> None:
    server = Server()
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_outlet(server.send) as outlet:
            with trio.CancelScope(shield=True):
                await outlet.send("one")
    assert server.sent == [{"type": "one"}]
