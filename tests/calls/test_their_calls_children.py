"""The children of an invocation end with it, and what they raise is its error."""

from collections.abc import AsyncIterator, Awaitable

import pytest
import trio

from tests.messages import ended, item, result
from trio_hubs.calls.channels import ChannelReader, ChannelWriter, open_channel

from .gates import CANCELLED, Gates, plain, started
from .support import Desk, read_call, read_stream


class Child:
    """A child task that notes what became of it."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.notes: list[str] = []
        self.gate = trio.Event()
        self.error = error

    async def run(self) -> None:
        self.notes.append("started")
        try:
            await self.gate.wait()
        except trio.Cancelled:
            self.notes.append("cancelled")
            raise
        if self.error is not None:
            raise self.error
        self.notes.append("ended")


def with_child(desk: Desk, kind: str, child: Child) -> None:
    """Add a method `parent` that starts a child, and then returns or streams."""
    writer: ChannelWriter[int]
    writer, reader = open_channel(int)
    writer.try_write(1)

    def start() -> None:
        desk.face.children.start_soon(child.run)

    def inline() -> str:
        start()
        return "parent"

    async def later() -> str:
        start()
        return "parent"

    def delegating() -> Awaitable[str]:
        return later()

    def channel() -> ChannelReader[int]:
        start()
        return reader

    async def generator() -> AsyncIterator[int]:
        start()
        yield 1
        await trio.sleep_forever()

    functions = {f.__name__: f for f in (inline, later, delegating, channel, generator)}
    desk.face.add("parent", functions[kind])


PLAIN = pytest.mark.parametrize("kind", ["inline", "later", "delegating"])
STREAMS = pytest.mark.parametrize("kind", ["channel", "generator"])


@PLAIN
async def test_the_answer_of_a_plain_call_waits_for_its_children(desk: Desk, kind: str) -> None:
    child = Child()
    with_child(desk, kind, child)
    desk.method(plain)
    assert await desk.answers(read_call("parent", id="1"), read_call("plain", id="2")) == []
    assert child.notes == ["started"]
    child.gate.set()
    assert await desk.answers() == [result("1", "parent"), result("2", "plain")]
    assert child.notes == ["started", "ended"]


@PLAIN
async def test_children_of_a_cancelled_call_are_cancelled(desk: Desk, kind: str) -> None:
    child = Child()
    with_child(desk, kind, child)
    await desk.answers(read_call("parent", id="1"))
    desk.their_calls.cancel("1")
    assert await desk.answers() == [ended("1", CANCELLED)]
    assert child.notes == ["started", "cancelled"]
    desk.method(plain)
    assert (await desk.answers(read_call("plain", id="2")))[1:] == [result("2", "plain")]


@PLAIN
async def test_a_child_that_fails_fails_the_call(desk: Desk, kind: str) -> None:
    child = Child(error=ValueError("broken child"))
    with_child(desk, kind, child)
    await desk.answers(read_call("parent", id="1"))
    child.gate.set()
    assert await desk.answers() == [ended("1", "parent failed: broken child")]


async def test_children_of_an_inline_call_hold_its_place(nursery: trio.Nursery) -> None:
    desk = started(nursery, maximum_parallel_invocations=2)
    gates = Gates(desk)
    child = Child()
    with_child(desk, "inline", child)
    await desk.answers(
        read_call("parent", id="1"), read_call("wait", "a", id="2"), read_call("wait", "b", id="3")
    )
    assert gates.notes == ["a started"]
    child.gate.set()
    await desk.answers()
    assert gates.notes == ["a started", "b started"]
    await desk.answers(read_call("wait", "c", id="4"))
    assert len(gates.notes) == 2


@STREAMS
async def test_children_of_a_cancelled_stream_are_cancelled(desk: Desk, kind: str) -> None:
    child = Child()
    with_child(desk, kind, child)
    await desk.answers(read_stream("parent"))
    assert child.notes == ["started"]
    desk.their_calls.cancel("1")
    assert await desk.answers() == [item("1", 1), ended("1")]
    assert child.notes == ["started", "cancelled"]


@STREAMS
async def test_a_child_that_fails_fails_the_stream(desk: Desk, kind: str) -> None:
    child = Child(error=ValueError("broken child"))
    with_child(desk, kind, child)
    await desk.answers(read_stream("parent"))
    child.gate.set()
    assert await desk.answers() == [item("1", 1), ended("1", "the stream failed: broken child")]


async def test_the_end_of_a_stream_cancels_its_children(desk: Desk) -> None:
    child = Child()

    @desk.method
    async def stream() -> AsyncIterator[int]:
        desk.face.children.start_soon(child.run)
        yield 1
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()

    assert await desk.answers(read_stream("stream")) == [item("1", 1), ended("1")]
    assert child.notes == ["started", "cancelled"]


async def test_a_child_may_write_the_stream(desk: Desk) -> None:
    @desk.method
    def stream() -> ChannelReader[int]:
        writer, reader = open_channel(int, capacity=1)

        async def write() -> None:
            for number in range(3):
                await writer.write(number)
            writer.complete()

        desk.face.children.start_soon(write)
        return reader

    assert await desk.answers(read_stream("stream")) == [item("1", n) for n in range(3)] + [ended("1")]


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_method_that_fails_cancels_its_children(desk: Desk, is_async: bool) -> None:
    child = Child()

    def broken() -> None:
        desk.face.children.start_soon(child.run)
        raise ValueError("broken")

    async def broken_later() -> None:
        broken()

    desk.face.add("broken", broken_later if is_async else broken)
    assert await desk.answers(read_call("broken", id="1")) == [ended("1", "broken failed: broken")]
    assert child.notes in ([], ["started", "cancelled"])


@pytest.mark.parametrize("kind", ["plain", "broken", "later"])
async def test_an_invocation_that_is_over_starts_no_children(desk: Desk, kind: str) -> None:
    def broken() -> None:
        raise ValueError

    async def later() -> None: ...

    desk.face.add("method", {"plain": plain, "broken": broken, "later": later}[kind])
    await desk.answers(read_call("method", id="1"))
    with pytest.raises(RuntimeError, match="The invocation is over"):
        desk.face.children.start_soon(trio.sleep_forever)


async def test_children_are_cancelled_at_once_though_their_parent_takes_its_time(desk: Desk) -> None:
    child = Child()
    gate = trio.Event()

    @desk.method
    async def parent() -> None:
        desk.face.children.start_soon(child.run)
        with trio.CancelScope(shield=True):
            await gate.wait()

    await desk.answers(read_call("parent", id="1"))
    assert child.notes == ["started"]
    desk.their_calls.cancel("1")
    assert await desk.answers() == []
    assert child.notes == ["started", "cancelled"]
    gate.set()
    (answer,) = await desk.answers()
    assert answer["invocationId"] == "1"
