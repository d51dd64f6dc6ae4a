"""What the peer calls is cancelled by its own scope, and is answered all the same."""

from collections.abc import AsyncIterator, Awaitable

import pytest
import trio
from trio.testing import MockClock

from trio_hubs.calls.channels import ChannelReader

from .gates import CANCELLED, Gates
from .support import Desk, call, done, failed, item, result, stream_call


async def test_a_running_call_is_cancelled(desk: Desk) -> None:
    gates = Gates(desk)
    await desk.answers(call("1", "wait", "a"), call("2", "wait", "b"))
    desk.callee.cancel("1")
    desk.callee.cancel("1")
    assert await desk.answers() == [failed("1", CANCELLED)]
    desk.callee.cancel("1")
    await gates.open("b")
    assert desk.sent[1:] == [result("2", "b")]
    assert gates.notes == ["a started", "a cancelled", "b started"]


async def test_a_running_stream_is_cancelled_without_an_error(desk: Desk) -> None:
    gates = Gates(desk)
    await desk.answers(stream_call("1", "stream", "a"))
    desk.callee.cancel("1")
    assert await desk.answers() == [item("1", "a"), done("1")]
    assert gates.notes == ["a started", "a cancelled"]


async def test_a_waiting_call_is_cancelled_before_it_starts(desk: Desk) -> None:
    gates = Gates(desk)
    await desk.answers(call("1", "wait", "a"), call("2", "wait", "b"))
    await desk.answers(stream_call("3", "stream", "c"), call("4", "wait", "d"))
    desk.callee.cancel("2")
    desk.callee.cancel("3")
    await gates.open("a")
    await gates.open("d")
    assert desk.sent == [result("1", "a"), failed("2", CANCELLED), done("3"), result("4", "d")]
    assert gates.notes == ["a started", "d started"]


async def test_a_call_is_cancelled_in_the_same_batch(desk: Desk) -> None:
    gates = Gates(desk)
    for message in (call("1", "wait", "a"), stream_call("2", "stream", "b")):
        desk.callee.invoke(message)
        desk.callee.cancel(message.invocation_id)
    assert await desk.answers() == [failed("1", CANCELLED), done("2")]
    assert gates.notes == []


async def test_what_is_not_there_cannot_be_cancelled(desk: Desk) -> None:
    desk.callee.cancel("9")
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

    await desk.answers(call("1", "careful"))
    desk.callee.cancel("1")
    await trio.sleep(6)
    assert steps == ["cleaned, 0 answers"]
    assert desk.sent == [failed("1", CANCELLED)]


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

    await desk.answers(call("1", "clumsy"))
    desk.callee.cancel("1")
    await desk.answers(stream_call("2", "clumsy_stream"))
    desk.callee.cancel("2")
    assert await desk.answers() == [failed("1", CANCELLED), item("2", 1), done("2")]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


async def test_a_method_that_ignores_its_cancellation_gives_its_result(desk: Desk) -> None:
    go_on = trio.Event()

    @desk.method
    async def stubborn() -> str:
        with trio.CancelScope(shield=True):
            await go_on.wait()
        return "done"

    await desk.answers(call("1", "stubborn"))
    desk.callee.cancel("1")
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

    await desk.answers(call("1", "delegate"))
    desk.callee.cancel("1")
    await desk.answers(call("2", "clumsy"))
    desk.callee.cancel("2")
    assert await desk.answers() == [failed("1", CANCELLED), failed("2", CANCELLED)]
    assert await desk.answers(call("", "delegate")) == desk.sent[:2]
    await gates.open("a")


async def test_a_cancelled_call_forgets_its_uploads(desk: Desk) -> None:
    @desk.method
    async def total(items: ChannelReader[int]) -> int:
        return sum([number async for number in items])

    await desk.answers(call("1", "total", uploads=["s"]))
    assert "s" in desk.intake
    desk.callee.cancel("1")
    assert await desk.answers() == [failed("1", CANCELLED)]
    assert "s" not in desk.intake
    desk.callee.invoke(call("2", "total", uploads=["s"]))
    desk.callee.cancel("2")
    await desk.answers()
    assert "s" not in desk.intake
