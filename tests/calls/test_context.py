"""A coroutine runs, step by step, in the context that it was given, and no other."""

from contextvars import ContextVar, copy_context

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_hubs.calls.context import InContext

NAME = ContextVar("name", default="none")


async def rename(name: str, steps: int) -> str:
    before = NAME.get()
    NAME.set(name)
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
        assert NAME.get() == name
    return before


@pytest.mark.parametrize("steps", [0, 1, 3])
async def test_what_it_sets_stays_in_its_context(steps: int) -> None:
    context = copy_context()
    NAME.set("outside")
    assert await InContext(rename("inside", steps), context) == "none"
    assert NAME.get() == "outside"
    assert context[NAME] == "inside"
    assert await InContext(rename("again", steps), context) == "inside"


async def test_what_it_raises_comes_out() -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await InContext(fail(), copy_context())


async def test_it_is_cancelled_where_it_waits(nursery: trio.Nursery) -> None:
    steps: list[str] = []

    async def careful() -> None:
        NAME.set("careful")
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            steps.append(NAME.get())

    async def run() -> None:
        with scope:
            await InContext(careful(), copy_context())

    scope = trio.CancelScope()
    nursery.start_soon(run)
    await wait_all_tasks_blocked()
    scope.cancel()
    await wait_all_tasks_blocked()
    assert steps == ["careful"]
    assert scope.cancelled_caught


async def test_it_may_end_in_spite_of_what_is_thrown_into_it() -> None:
    async def stubborn() -> str:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            return "done"

    with trio.CancelScope() as scope:
        scope.cancel()
        assert await InContext(stubborn(), copy_context()) == "done"
    assert not scope.cancelled_caught


def test_what_is_thrown_in_arrives_in_its_context() -> None:
    async def careful() -> str:
        NAME.set("careful")
        try:
            await trio.lowlevel.cancel_shielded_checkpoint()
        except LookupError:
            return NAME.get()
        raise AssertionError

    steps = InContext(careful(), copy_context()).__await__()
    next(steps)
    with pytest.raises(StopIteration) as end:
        steps.throw(LookupError())
    assert end.value.value == "careful"
