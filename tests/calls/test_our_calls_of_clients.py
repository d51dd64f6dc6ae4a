"""A server's calls of its client: ids of their own kind, a result that is owed, and no word to who cannot hear it."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.messages import call, ended, item, result
from trio_hubs.calls.options import Role
from trio_hubs.calls.our_calls import OurCalls
from trio_hubs.errors import BindingError, ConnectionClosed, HubException
from trio_hubs.protocol.messages import Completion

from .support import PROTOCOL, Desk, open_side, raw


@pytest.fixture
def desk(nursery: trio.Nursery) -> Desk:
    desk = Desk()
    desk.our_calls = OurCalls(
        PROTOCOL, desk.outbox, desk.incoming, desk.outgoing, Role.SERVER, desk.face.text
    )
    desk.our_calls.start(nursery)
    return desk


async def test_ids_differ_from_those_of_the_clients_uploads(desk: Desk, nursery: trio.Nursery) -> None:
    for _ in range(2):
        nursery.start_soon(desk.our_calls.invoke, "ask", (), int)
        await wait_all_tasks_blocked()
    assert desk.sent == [call("ask", id="s1"), call("ask", id="s2")]
    nursery.cancel_scope.cancel()


async def test_the_client_is_not_told_that_its_result_is_not_wanted_any_more(desk: Desk) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.our_calls.invoke, "ask", (), int)
            await wait_all_tasks_blocked()
            scope.cancel()
    assert desk.sent == [call("ask", id="s1")]
    assert not desk.our_calls.complete(Completion("s1", result=raw(1)[0]))  # which is late, and harms nobody


async def test_a_client_owes_a_result(desk: Desk) -> None:
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(HubException, match=r"^The client gave no result\.$"):
                await desk.our_calls.invoke("ask", (), int)

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        assert desk.our_calls.complete(Completion("s1"))


@pytest.mark.parametrize("wanted", [int, object])
async def test_a_result_that_is_null_is_one(desk: Desk, wanted: type) -> None:
    outcome: list[object] = []

    async def ask() -> None:
        try:
            outcome.append(await desk.our_calls.invoke("ask", (), wanted))
        except BindingError:
            outcome.append("does not fit")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        desk.our_calls.complete(Completion("s1", result=raw(None)[0]))
    assert outcome == ["does not fit" if wanted is int else None]


async def test_an_item_for_an_upload_is_no_answer_to_a_call_of_ours() -> None:
    async with open_side(role=Role.SERVER, maximum_parallel_invocations=2) as side:

        @side.method
        async def asks() -> int:
            return int(await side.session.our_calls.invoke("ask", (), int))

        await side.peer.send(call("asks", id="1"))
        assert await side.peer.receive() == call("ask", id="s1")
        await side.peer.send(ended("1"), item("1", 5), ended("1", "no"), result("2", 3))
        await side.peer.send(result("s1", 7))
        assert await side.peer.receive() == result("1", 7)


async def test_a_client_that_leaves_fails_what_waits_for_it() -> None:
    async with open_side(role=Role.SERVER) as side:
        failures: list[str] = []

        async def ask() -> None:
            try:
                await side.session.our_calls.invoke("ask", (), int)
            except ConnectionClosed as error:
                failures.append(str(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            side.peer.connection.cut()
        assert len(failures) == 1
