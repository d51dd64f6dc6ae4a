"""Children start in their invocation's nursery, or wait for it, and never outlive it."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_hubs.calls.children import Children


async def test_children_run_in_the_nursery() -> None:
    children = Children()
    ran: list[int] = []

    async def child(number: int) -> None:
        ran.append(number)

    async with trio.open_nursery() as nursery:
        children.enter(nursery)
        children.start_soon(child, 1)
        assert children.waiting == []
    assert ran == [1]


async def test_children_wait_until_there_is_a_nursery() -> None:
    children = Children()
    ran: list[int] = []

    async def child(number: int) -> None:
        ran.append(number)

    for number in range(3):
        children.start_soon(child, number)
    await wait_all_tasks_blocked()
    assert ran == []
    assert [arguments for _, arguments in children.waiting] == [(0,), (1,), (2,)]
    async with trio.open_nursery() as nursery:
        children.enter(nursery)
        assert children.waiting == []
    assert sorted(ran) == [0, 1, 2]


async def test_an_invocation_that_is_over_starts_no_children() -> None:
    children = Children()
    children.close()
    with pytest.raises(RuntimeError, match="The invocation is over"):
        children.start_soon(trio.sleep_forever)
    assert children.waiting == []


async def test_a_nursery_that_is_over_starts_no_children() -> None:
    children = Children()
    async with trio.open_nursery() as nursery:
        children.enter(nursery)
    with pytest.raises(RuntimeError):
        children.start_soon(trio.sleep_forever)
