"""What a nursery of ours lets out: the body's exception as it went in, a task's bare, and who leaves before all."""

import gc
import weakref
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_hubs.tasks import bare, open_background, open_tasks, unwrapping


class Trouble(Exception):
    pass


LEAVING = [KeyboardInterrupt, SystemExit, pytest.fail.Exception]
both_kinds = pytest.mark.parametrize("open_kind", [open_tasks, open_background])


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
    with pytest.raises(Trouble):
        async with open_background() as nursery:
            nursery.start_soon(fail_late)
            await wait_all_tasks_blocked()


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


# ---- whoever wants to leave


@both_kinds
@pytest.mark.parametrize("kind", LEAVING)
async def test_who_leaves_the_body_comes_out_alone(open_kind: Any, kind: type[BaseException]) -> None:
    leaving = kind("now")
    with pytest.raises(kind) as caught:
        async with open_kind() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise leaving
    assert caught.value is leaving
    assert leaving.__cause__ is leaving.__context__ is None


@both_kinds
@pytest.mark.parametrize("kind", LEAVING)
async def test_who_leaves_a_task_comes_out_alone(open_kind: Any, kind: type[BaseException]) -> None:
    leaving = kind("now")

    async def leave() -> None:
        async with trio.open_nursery():  # of whoever wrote the task
            raise leaving

    with pytest.raises(kind) as caught:
        async with open_kind() as outer, open_kind() as nursery:
            outer.start_soon(trio.sleep_forever)
            nursery.start_soon(leave)
            await trio.sleep_forever()
    assert caught.value is leaving


@both_kinds
async def test_who_leaves_comes_out_alone_also_while_everything_is_cancelled(open_kind: Any) -> None:
    async def leave() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), trio.CancelScope() as scope:
        async with open_kind() as nursery:
            nursery.start_soon(leave)
            nursery.start_soon(trio.sleep_forever)
            await wait_all_tasks_blocked()
            scope.cancel()
            await trio.sleep_forever()


@both_kinds
async def test_a_group_of_the_bodys_own_stays_one(open_kind: Any) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_kind() as nursery:
            nursery.start_soon(trio.sleep_forever)
            async with trio.open_nursery():
                raise KeyboardInterrupt
    assert [type(error) for error in caught.value.exceptions] == [KeyboardInterrupt]


@both_kinds
async def test_who_leaves_goes_before_what_else_went_wrong_and_names_it(open_kind: Any) -> None:
    async def fail() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Trouble

    with pytest.raises(SystemExit) as caught:
        async with open_kind() as nursery:
            nursery.start_soon(fail)
            await wait_all_tasks_blocked()
            raise SystemExit(3)
    assert caught.value.code == 3
    cause = caught.value.__cause__
    assert isinstance(cause, BaseExceptionGroup)
    assert cause.subgroup(Trouble) is not None


@both_kinds
async def test_cancellation_comes_out_bare(open_kind: Any) -> None:
    with trio.CancelScope() as scope:
        with pytest.raises(trio.Cancelled) as caught:
            async with open_kind() as nursery:
                nursery.start_soon(trio.sleep_forever)
                scope.cancel()
                await trio.sleep_forever()
        raise caught.value
    assert scope.cancelled_caught


async def test_the_end_of_the_body_waits_for_tasks() -> None:
    ended: list[str] = []

    async def work() -> None:
        await wait_all_tasks_blocked()
        ended.append("work")

    async with open_tasks() as nursery:
        nursery.start_soon(work)
    assert ended == ["work"]


async def test_what_a_librarys_nurseries_wrap_comes_out_alone() -> None:
    leaving, trouble = KeyboardInterrupt(), Trouble()
    with pytest.raises(KeyboardInterrupt) as caught, unwrapping():
        async with trio.open_nursery(), trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise leaving
    assert caught.value is leaving
    with pytest.raises(Trouble) as failed, unwrapping():
        raise trouble
    assert failed.value is trouble
    with unwrapping():
        await trio.lowlevel.checkpoint()


def test_bare_unwraps_groups_of_one() -> None:
    error, other = ValueError("one"), ValueError("two")
    assert bare(error) is error
    assert bare(ExceptionGroup("", [ExceptionGroup("", [error])])) is error
    two = ExceptionGroup("", [error, other])
    assert bare(ExceptionGroup("", [two])) is two
