"""A background's tasks end with its body, and the body's exception comes out bare."""

import gc
import weakref

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_hubs.connections.background import open_background


class Trouble(Exception):
    pass


async def test_the_tasks_are_cancelled_when_the_body_ends() -> None:
    ends: list[str] = []

    async def serve() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            ends.append("cancelled")
            raise

    async with open_background() as nursery:
        nursery.start_soon(serve)
        await wait_all_tasks_blocked()
        assert not ends
    assert ends == ["cancelled"]


async def test_what_the_tasks_still_do_is_awaited() -> None:
    ends: list[str] = []

    async def serve() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            ends.append("cleaned")

    async with open_background() as nursery:
        nursery.start_soon(serve)
        await wait_all_tasks_blocked()
    assert ends == ["cleaned"]


async def test_an_exception_of_the_body_comes_out_bare_and_ends_the_tasks() -> None:
    trouble = Trouble()
    with pytest.raises(Trouble) as caught:
        async with open_background() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise trouble
    assert caught.value is trouble
    assert trouble.__cause__ is None
    assert trouble.__context__ is None


async def test_a_group_of_the_body_is_not_wrapped_again() -> None:
    trouble = Trouble()
    with pytest.raises(ExceptionGroup, match="the user's own") as caught:
        async with open_background():
            raise ExceptionGroup("the user's own", [trouble])
    assert caught.value.exceptions == (trouble,)


async def test_an_exception_of_the_body_comes_out_bare_also_while_cancelled() -> None:
    trouble = Trouble()
    with pytest.raises(Trouble) as caught, trio.CancelScope() as scope:
        async with open_background() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await wait_all_tasks_blocked()
            scope.cancel()
            raise trouble
    assert caught.value is trouble


async def test_a_task_that_fails_all_the_same_is_not_lost() -> None:
    async def fail_late() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Trouble

    with pytest.raises(ExceptionGroup) as caught:
        async with open_background() as nursery:
            nursery.start_soon(fail_late)
            await wait_all_tasks_blocked()
            raise ZeroDivisionError
    assert {type(error) for error in caught.value.exceptions} == {Trouble, ZeroDivisionError}
    with pytest.raises(ExceptionGroup) as caught:
        async with open_background() as nursery:
            nursery.start_soon(fail_late)
            await wait_all_tasks_blocked()
    assert {type(error) for error in caught.value.exceptions} == {Trouble}


async def test_cancellation_passes() -> None:
    with trio.CancelScope() as scope:
        async with open_background() as nursery:
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_failure_does_not_keep_the_bodys_frame_alive() -> None:
    class Large:
        pass

    async def fail() -> weakref.ref[Large]:
        large = Large()
        try:
            async with open_background():
                raise Trouble
        except Trouble:
            return weakref.ref(large)

    gc.disable()
    try:
        assert (await fail())() is None
    finally:
        gc.enable()
