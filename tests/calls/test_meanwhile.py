"""While a call of the peer's waits for the peer, whatever it waits with, another one that has an id may run."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.messages import result
from trio_hubs.calls.options import Role

from .gates import started
from .support import Desk, read_call


async def ask(desk: Desk) -> None:
    await desk.our_calls.invoke("ask", (), Any)


async def read(desk: Desk) -> None:
    async with desk.our_calls.stream("read", (), int, 10) as reader:
        await reader.read()


@pytest.mark.parametrize("wait", [ask, read])
@pytest.mark.parametrize("role", Role)
async def test_a_call_that_waits_lets_one_with_an_id_run_in_a_client(
    nursery: trio.Nursery, wait: Callable[[Desk], Any], role: Role
) -> None:
    desk = started(nursery, role=role)
    noted: list[str] = []

    @desk.method
    async def waits() -> None:
        await wait(desk)

    @desk.method
    async def answers() -> int:
        return 1

    @desk.method
    async def note() -> None:
        noted.append("noted")

    sent = await desk.answers(read_call("waits"), read_call("note"), read_call("answers", id="a"))
    assert (result("a", 1) in sent) is (role is Role.CLIENT)
    assert noted == []
    nursery.cancel_scope.cancel()


async def test_nobody_else_who_waits_lets_calls_run(nursery: trio.Nursery) -> None:
    desk = started(nursery)
    desk.method(trio.sleep_forever)
    nursery.start_soon(ask, desk)
    await wait_all_tasks_blocked()
    assert (
        await desk.answers(read_call("sleep_forever", id="a"), read_call("sleep_forever", id="b"))
        == desk.sent[:1]
    )
    nursery.cancel_scope.cancel()
