"""What the peer calls is cancelled by its own scope, and is answered all the same."""

from collections.abc import AsyncIterator, Awaitable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.messages import ended, item, result
from trio_hubs.calls.channels import ChannelReader

from .gates import CANCELLED, Gates
from .support import Desk, read_call, read_stream


async def test_a_running_call_is_cancelled(desk: Desk) -> None:
    gates = Gates(desk)
    await desk.answers(read_call("wait", "a", id="1"), read_call("wait", "b", id="2"))
    desk.their_calls.cancel("1")
    desk.their_calls.cancel("1")
    assert await desk.answers() == [ended("1", CANCELLED)]
    desk.their_calls.cancel("1")
    await gates.open("b")
    assert desk.sent[1:] == [result("2", "b")]
    assert gates.notes == ["a started", "a cancelled", "b started"]


async def test_a_running_stream_is_cancelled_without_an_error(desk: Desk) -> None:
    gates = Gates(desk)
    await desk.answers(read_stream("stream", "a"))
    desk.their_calls.cancel("1")
    assert await desk.answers() == [item("1", "a"), ended("1")]
    assert gates.notes == ["a started", "a cancelled"]


async def test_a_waiting_call_is_cancelled_and_answered_before_its_turn(desk: Desk) -> None:
    gates = Gates(desk)
    await desk.answers(read_call("wait", "a", id="1"), read_call("wait", "b", id="2"))
    await desk.answers(read_stream("stream", "c", id="3"), read_call("wait", "d", id="4"))
    desk.their_calls.cancel("2")
    desk.their_calls.cancel("3")
    assert desk.sent == [ended("2", CANCELLED), ended("3")]
    await gates.open("a")
    await gates.open("d")
    assert desk.sent[2:] == [result("1", "a"), result("4", "d")]
    assert gates.notes == ["a started", "d started"]


async def test_a_call_that_is_cancelled_in_the_same_batch_begins_all_the_same(desk: Desk) -> None:
    gates = Gates(desk)
    for message in (read_call("wait", "a", id="1"), read_stream("stream", "b", id="2")):
        desk.their_calls.invoke(message)
        desk.their_calls.cancel(message.invocation_id)
    assert await desk.answers() == [ended("1", CANCELLED), item("2", "b"), ended("2")]
    assert gates.notes == ["a started", "a cancelled", "b started", "b cancelled"]


async def test_what_is_not_there_cannot_be_cancelled(desk: Desk) -> None:
    desk.their_calls.cancel("9")
    assert await desk.answers() == []


async def test_cleanup_may_wait_and_comes_before_the_answer(desk: Desk, autojump_clock: MockClock) -> None:
    steps: list[str] = []

    @desk.method
    async def careful() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            steps.append(f"cleaned, {len(desk.sent)} answers")

    await desk.answers(read_call("careful", id="1"))
    desk.their_calls.cancel("1")
    await trio.sleep(6)
    assert steps == ["cleaned, 0 answers"]
    assert desk.sent == [ended("1", CANCELLED)]


async def test_a_method_that_fails_while_being_cancelled_is_answered_once_and_logged(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    @desk.method
    async def clumsy() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("clumsy cleanup")

    @desk.method
    async def clumsy_stream() -> AsyncIterator[int]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            raise ValueError("clumsy cleanup")

    await desk.answers(read_call("clumsy", id="1"))
    desk.their_calls.cancel("1")
    await desk.answers(read_stream("clumsy_stream", id="2"))
    desk.their_calls.cancel("2")
    assert await desk.answers() == [ended("1", CANCELLED), item("2", 1), ended("2")]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


async def test_a_method_that_ignores_its_cancellation_gives_its_result(desk: Desk) -> None:
    go_on = trio.Event()

    @desk.method
    async def stubborn() -> str:
        with trio.CancelScope(shield=True):
            await go_on.wait()
        return "done"

    await desk.answers(read_call("stubborn", id="1"))
    desk.their_calls.cancel("1")
    assert await desk.answers() == []
    go_on.set()
    assert await desk.answers() == [result("1", "done")]


async def test_a_coroutine_of_a_sync_function_can_be_cancelled(desk: Desk) -> None:
    gates = Gates(desk)

    @desk.method
    def delegate() -> Awaitable[str]:
        return gates.wait("a")

    @desk.method
    def clumsy() -> Awaitable[None]:
        async def run() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("clumsy cleanup")

        return run()

    await desk.answers(read_call("delegate", id="1"))
    desk.their_calls.cancel("1")
    await desk.answers(read_call("clumsy", id="2"))
    desk.their_calls.cancel("2")
    assert await desk.answers() == [ended("1", CANCELLED), ended("2", CANCELLED)]
    assert await desk.answers(read_call("delegate")) == desk.sent[:2]
    await gates.open("a")


async def test_a_cancelled_call_forgets_its_uploads(desk: Desk) -> None:
    @desk.method
    async def total(items: ChannelReader[int]) -> int:
        return sum([number async for number in items])

    await desk.answers(read_call("total", id="1", uploads=["s"]))
    assert "s" in desk.incoming
    desk.their_calls.cancel("1")
    assert await desk.answers() == [ended("1", CANCELLED)]
    assert "s" not in desk.incoming
    desk.their_calls.invoke(read_call("total", id="2", uploads=["s"]))
    desk.their_calls.cancel("2")
    await desk.answers()
    assert "s" not in desk.incoming


@pytest.mark.parametrize("batch", [False, True])
async def test_a_call_that_needs_a_task_after_all_is_cancelled(desk: Desk, batch: bool) -> None:
    """It is neither waiting nor has its task begun when its cancellation comes in the same packet."""

    async def forever(name: str) -> None:
        await trio.sleep_forever()

    desk.face.add("lazy", lambda: forever("lazy"))
    desk.their_calls.invoke(read_call("lazy", id="1"))
    if not batch:
        await wait_all_tasks_blocked()
    desk.their_calls.cancel("1")
    assert await desk.answers() == [ended("1", CANCELLED)]
    assert desk.their_calls.idle


async def test_a_waiting_call_that_is_cancelled_twice_is_answered_once(desk: Desk) -> None:
    gates = Gates(desk)
    await desk.answers(read_call("wait", "a", id="1"), read_call("wait", "b", id="2"))
    desk.their_calls.cancel("2")
    desk.their_calls.cancel("2")
    await gates.open("a")
    assert desk.sent == [ended("2", CANCELLED), result("1", "a")]
    assert desk.their_calls.idle


async def test_a_waiting_call_with_uploads_that_is_cancelled_forgets_them(desk: Desk) -> None:
    gates = Gates(desk)

    @desk.method
    async def total(items: ChannelReader[int]) -> int:
        return sum([number async for number in items])

    await desk.answers(read_call("wait", "a", id="1"), read_call("total", id="2", uploads=("u",)))
    assert "u" in desk.incoming
    desk.their_calls.cancel("2")
    assert "u" not in desk.incoming
    await desk.answers(read_call("total", id="3", uploads=("u",)))  # its ids are free again
    await gates.open("a")
    desk.incoming.complete("u", None)
    assert await desk.answers() == [ended("2", CANCELLED), result("1", "a"), result("3", 0)]


async def test_a_call_may_be_cancelled_before_calls_run(nursery: trio.Nursery) -> None:
    desk = Desk()
    desk.face.add("plain", lambda: 1)
    for id in "12":
        desk.their_calls.invoke(read_call("plain", id=id))
    desk.their_calls.cancel("1")
    assert desk.sent == [ended("1", CANCELLED)]
    desk.their_calls.start(nursery)
    assert await desk.answers() == [ended("1", CANCELLED), result("2", 1)]


async def test_the_last_of_the_waiting_calls_may_be_cancelled(desk: Desk) -> None:
    gates = Gates(desk)
    await desk.answers(read_call("wait", "a", id="1"), read_call("wait", "b", id="2"))
    desk.their_calls.cancel("2")
    desk.their_calls.cancel("1")
    await desk.answers(read_call("wait", "c", id="3"))
    await gates.open("c")
    assert desk.sent == [ended("2", CANCELLED), ended("1", CANCELLED), result("3", "c")]
