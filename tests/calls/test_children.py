"""Children start in their invocation, end with it, and make it fail when they fail."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_hubs.calls.children import Children


class Steps:
    """A child that notes how far it has come."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    async def run(self) -> None:
        self.noted.append("started")
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            self.noted.append("ended")

    async def fail(self) -> None:
        self.noted.append("failed")
        raise ValueError("broken child")


async def test_the_block_waits_for_its_children(nursery: trio.Nursery) -> None:
    ran: list[int] = []

    async def child(number: int) -> None:
        await wait_all_tasks_blocked()
        ran.append(number)

    async with Children(nursery) as children:
        assert not children.any
        for number in range(3):
            children.start_soon(child, number)
        assert children.any
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        children.start_soon(child, 3)  # in a nursery that is open by now
        assert ran == []
    assert sorted(ran) == [0, 1, 2, 3]
    assert children.failure is None


async def test_a_child_may_start_more_children(nursery: trio.Nursery) -> None:
    steps: list[str] = []

    async def grandchild() -> None:
        steps.append("grandchild")

    async def child() -> None:
        await wait_all_tasks_blocked()
        children.start_soon(grandchild)

    async with Children(nursery) as children:
        children.start_soon(child)
    assert steps == ["grandchild"]


async def test_no_children_cost_no_task(nursery: trio.Nursery) -> None:
    before = len(nursery.child_tasks)
    async with Children(nursery):
        assert len(nursery.child_tasks) == before


@pytest.mark.parametrize("settle", [False, True])
async def test_an_error_of_the_block_cancels_the_children_and_waits(
    nursery: trio.Nursery, settle: bool
) -> None:
    child = Steps()
    with pytest.raises(ValueError, match="broken block"):
        async with Children(nursery) as children:
            children.start_soon(child.run)
            if settle:
                await wait_all_tasks_blocked()
            raise ValueError("broken block")
    assert child.noted == ["started", "ended"]


@pytest.mark.parametrize("settle", [False, True])
async def test_a_cancelled_block_cancels_the_children_and_waits(nursery: trio.Nursery, settle: bool) -> None:
    child = Steps()
    scope = trio.CancelScope()
    children = Children(nursery, scope)
    with scope:
        async with children:
            children.start_soon(child.run)
            if settle:
                await wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert child.noted == ["started", "ended"]
    assert children.failure is None


@pytest.mark.parametrize("settle", [False, True])
async def test_cancelling_the_children_spares_the_block(nursery: trio.Nursery, settle: bool) -> None:
    child = Steps()
    async with Children(nursery) as children:
        children.start_soon(child.run)
        if settle:
            await wait_all_tasks_blocked()
        children.cancel()
        with pytest.raises(RuntimeError, match="The invocation is over"):
            children.start_soon(child.run)
        await trio.lowlevel.checkpoint()
    assert child.noted == ["started", "ended"]


async def test_a_child_that_fails_cancels_the_block_and_its_siblings(nursery: trio.Nursery) -> None:
    child = Steps()
    scope = trio.CancelScope()
    children = Children(nursery, scope)
    with scope:
        async with children:
            children.start_soon(child.run)
            children.start_soon(child.fail)
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert sorted(child.noted) == ["ended", "failed", "started"]
    assert str(children.failure) == "broken child"


async def test_a_child_that_fails_without_a_scope_is_remembered(nursery: trio.Nursery) -> None:
    async with Children(nursery) as children:
        children.start_soon(Steps().fail)
    assert str(children.failure) == "broken child"


async def test_a_child_that_fails_while_everything_is_cancelled_harms_nobody_else() -> None:
    async def fail_at_the_end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("broken child")

    async with trio.open_nursery() as nursery, Children(nursery) as children:
        children.start_soon(fail_at_the_end)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert str(children.failure) == "broken child"


async def test_an_invocation_that_is_over_starts_no_children(nursery: trio.Nursery) -> None:
    closed = Children(nursery)
    closed.cancel()
    async with Children(nursery) as childless:
        pass
    async with Children(nursery) as parent:
        parent.start_soon(trio.lowlevel.checkpoint)
    for children in (closed, childless, parent):
        with pytest.raises(RuntimeError, match="The invocation is over"):
            children.start_soon(trio.sleep_forever)
