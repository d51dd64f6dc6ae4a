"""What was read begins, and each call has a context of its own."""

import gc
import tracemalloc
from collections.abc import AsyncIterator, Awaitable
from contextvars import ContextVar

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.messages import ended, item, result
from trio_hubs.calls.channels import GIVE_WAY, ChannelReader
from trio_hubs.calls.outbox import TRANSPORT_BUFFER_SIZE
from trio_hubs.protocol.messages import Invocation, StreamInvocation

from .gates import CANCELLED, Gates, started
from .support import Desk, read_call, read_stream

WHO = ContextVar("who", default="nobody")


class Notes:
    """Methods of every kind that need a task; each notes that it begins, and then waits."""

    def __init__(self, desk: Desk) -> None:
        self.began: list[str] = []
        for method in (self.wait, self.delegate, self.total, self.stream, self.double):
            desk.method(method)

    async def wait(self) -> None:
        self.began.append("wait")
        await trio.sleep_forever()

    def delegate(self) -> Awaitable[None]:
        self.began.append("delegate")
        return self.wait()

    async def total(self, items: ChannelReader[int]) -> int:
        self.began.append("total")
        return sum([number async for number in items])

    async def stream(self) -> AsyncIterator[int]:
        self.began.append("stream")
        await trio.sleep_forever()
        yield 0

    async def double(self, items: ChannelReader[int]) -> AsyncIterator[int]:
        self.began.append("double")
        async for number in items:
            yield 2 * number


MESSAGES: dict[str, Invocation | StreamInvocation] = {
    "wait": read_call("wait", id="1"),
    "delegate": read_call("delegate", id="1"),
    "total": read_call("total", id="1", uploads=("9",)),
    "stream": read_stream("stream"),
    "double": read_stream("double", uploads=("9",)),
}


@pytest.mark.parametrize("kind", MESSAGES)
async def test_a_call_that_is_cancelled_before_its_task_runs_begins(desk: Desk, kind: str) -> None:
    notes = Notes(desk)
    desk.their_calls.invoke(MESSAGES[kind])
    desk.their_calls.cancel("1")
    (answer,) = await desk.answers()
    assert answer == (ended("1") if kind in ("stream", "double") else ended("1", CANCELLED))
    assert notes.began[0] == kind
    assert desk.their_calls.idle


@pytest.mark.parametrize("kind", MESSAGES)
@pytest.mark.parametrize("end", ["halt", "stop", "cancelled"])
async def test_a_call_begins_though_the_connection_ends_in_its_read(kind: str, end: str) -> None:
    desk = Desk()
    notes = Notes(desk)
    async with trio.open_nursery() as nursery:
        desk.their_calls.start(nursery)
        desk.their_calls.invoke(MESSAGES[kind])
        if end == "halt":
            desk.their_calls.halt()
        elif end == "stop":
            desk.their_calls.stop()
        nursery.cancel_scope.cancel()
    assert notes.began[0] == kind
    if end != "cancelled":
        assert desk.sent == []


async def test_calls_begin_in_their_order_beside_those_that_are_cancelled(nursery: trio.Nursery) -> None:
    desk = started(nursery, maximum_parallel_invocations=2)
    gates = Gates(desk)
    for id, name in (("1", "a"), ("2", "b"), ("3", "c")):
        desk.their_calls.invoke(read_call("wait", name, id=id))
    desk.their_calls.cancel("2")
    assert await desk.answers() == [ended("2", CANCELLED)]
    assert [note for note in gates.notes if "started" in note] == ["a started", "b started", "c started"]


async def test_behind_many_that_are_cancelled_calls_are_dropped_without_a_search(desk: Desk) -> None:
    gates = Gates(desk)
    ids = [str(number) for number in range(GIVE_WAY + 2)]
    for id in ids:
        desk.their_calls.invoke(read_call("wait", id, id=id))
    for id in ids:
        desk.their_calls.cancel(id)
    assert desk.sent == [ended(id, CANCELLED) for id in ids[GIVE_WAY:]]
    assert (
        await desk.answers() == desk.sent == [ended(id, CANCELLED) for id in ids[GIVE_WAY:] + ids[:GIVE_WAY]]
    )
    assert [note for note in gates.notes if "started" in note] == [f"{id} started" for id in ids[:GIVE_WAY]]


async def test_streams_ahead_keep_no_call_from_beginning(desk: Desk) -> None:
    gates = Gates(desk)
    for id in "12":
        desk.their_calls.invoke(read_stream("stream", id, id=id))
    desk.their_calls.invoke(read_call("wait", "3", id="3"))
    desk.their_calls.cancel("3")
    assert await desk.answers() == [item("1", "1"), item("2", "2"), ended("3", CANCELLED)]
    assert "3 started" in gates.notes


async def test_a_call_that_waits_for_room_is_dropped_when_it_is_cancelled(desk: Desk) -> None:
    gates = Gates(desk)
    desk.outbox.size = TRANSPORT_BUFFER_SIZE
    await desk.answers(read_call("wait", "a", id="1"))
    desk.their_calls.cancel("1")
    assert desk.sent == [ended("1", CANCELLED)]
    desk.outbox.size = 0
    desk.outbox._producers.unpark_all()
    await wait_all_tasks_blocked()
    assert gates.notes == []


async def test_of_two_that_wait_for_room_each_begins_once(nursery: trio.Nursery) -> None:
    """The room is there for both of their workers, but one of the calls has gone by then."""
    desk = started(nursery, maximum_parallel_invocations=2)
    gates = Gates(desk)
    desk.outbox.size = TRANSPORT_BUFFER_SIZE
    await desk.answers(read_call("wait", "a", id="1"), read_call("wait", "b", id="2"))
    desk.their_calls.cancel("1")
    desk.outbox.size = 0
    desk.outbox._producers.unpark_all()
    await wait_all_tasks_blocked()
    assert gates.notes == ["b started"]
    await gates.open("b")
    assert desk.sent[1:] == [result("2", "b")]


async def test_a_call_that_waits_behind_others_is_dropped_with_the_connection(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    gates = Gates(desk)
    await desk.answers(read_call("wait", "a", id="1"))
    for id in "23":
        desk.their_calls.invoke(read_call("wait", id, id=id))
    desk.their_calls.halt()
    await gates.open("a")
    assert desk.their_calls.idle
    assert gates.notes == ["a started"]
    assert desk.sent == []
    assert "2 calls that waited are dropped" in caplog.text


async def test_their_calls_once_hushed_go_on_and_answer_none(desk: Desk) -> None:
    gates = Gates(desk)
    await desk.answers(read_call("wait", "a", id="1"), read_call("wait", "b"), read_call("nowhere", id="2"))
    refused = ended("2", "nowhere is unknown")
    assert desk.sent == [refused]
    desk.their_calls.hush()
    await gates.open("a")
    await gates.open("b")
    assert gates.notes == ["a started", "b started"]
    assert desk.sent == [refused]


async def test_parting_cancels_what_could_be_waited_for(nursery: trio.Nursery) -> None:
    desk = started(nursery, maximum_parallel_invocations=2)
    gates = Gates(desk)
    await desk.answers(read_call("wait", "a", id="1"), read_call("wait", "b"), read_call("wait", "c", id="2"))
    desk.their_calls.hush()
    desk.their_calls.part()
    await wait_all_tasks_blocked()
    assert gates.notes == ["a started", "b started", "a cancelled", "c started", "c cancelled"]
    await gates.open("b")
    assert desk.their_calls.idle
    assert desk.sent == []


# ---- arguments are loaded when a call begins


async def test_arguments_that_do_not_fit_are_told_in_their_place_in_the_order(desk: Desk) -> None:
    gates = Gates(desk)

    @desk.method
    async def double(a: int) -> int:
        return 2 * a

    messages = [
        read_call("wait", "a", id="1"),
        read_call("double", "two", id="2"),
        read_call("double", 3, id="3"),
    ]
    assert await desk.answers(*messages) == []
    await gates.open("a")
    first, second, third = desk.sent
    assert (first, third) == (result("1", "a"), result("3", 6))
    assert second["error"].startswith("double does not fit: ")
    assert desk.their_calls.idle


async def test_a_waiting_call_keeps_its_arguments_alone(desk: Desk) -> None:
    """Not all that was read with them, of which they are a part."""
    Gates(desk)
    await desk.answers(read_call("wait", "a", id="1"))
    message = msgspec.json.decode(b'{"type":1,"target":"wait","arguments":["b"],"x":"yz"}', type=Invocation)
    await desk.answers(message)
    (waiting,) = desk.their_calls._register.waiting
    assert bytes(waiting.arguments) == b'["b"]'
    assert waiting.arguments is not message.arguments


async def test_waiting_calls_cost_little_more_than_they_count_for(desk: Desk) -> None:
    """Empty lists are two bytes on the wire, and sixty-four in memory."""
    Gates(desk)
    await desk.answers(read_call("wait", "a", id="1"))
    message = read_call("take", [[]] * 10_000, id="2")

    @desk.method
    async def take(rows: list[list[int]]) -> None: ...

    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            desk.their_calls.invoke(message)
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(desk.their_calls._register.waiting) == 20
    assert kept < 2 * sum(waiting.size for waiting in desk.their_calls._register.waiting)


@pytest.mark.parametrize("wrong", ["kind", "uploads", "id"])
async def test_of_a_call_that_is_wrong_in_two_ways_its_arguments_are_told(desk: Desk, wrong: str) -> None:
    Gates(desk)

    @desk.method
    async def double(a: int) -> AsyncIterator[int]:
        yield 2 * a

    await desk.answers(read_stream("stream", "a"))
    messages: dict[str, Invocation | StreamInvocation] = {
        "kind": read_call("double", "two", id="2"),
        "uploads": read_stream("double", "two", id="2", uploads=("9",)),
        "id": read_stream("double", "two"),
    }
    assert (await desk.answers(messages[wrong]))[1]["error"].startswith("double does not fit: ")


# ---- contexts


async def test_each_call_has_a_context_of_its_own(nursery: trio.Nursery) -> None:
    desk = Desk()

    def swap(name: str) -> str:
        before = WHO.get()
        WHO.set(name)
        return before

    async def swap_later(name: str) -> str:
        before = swap(name)
        await trio.lowlevel.checkpoint()
        assert WHO.get() == name
        return before

    def delegate(name: str) -> Awaitable[str]:
        WHO.set("delegated")
        return swap_later(name)

    async def swap_stream(name: str) -> AsyncIterator[str]:
        yield swap(name)
        await trio.lowlevel.checkpoint()
        yield WHO.get()

    for method in (swap, swap_later, delegate, swap_stream):
        desk.method(method)
    WHO.set("connection")
    desk.their_calls.start(nursery)
    WHO.set("later")
    names = ["swap", "swap_later", "swap", "swap_later", "delegate", "swap"]
    await desk.answers(*[read_call(name, str(number), id=str(number)) for number, name in enumerate(names)])
    assert sorted(desk.sent, key=str) == [
        result(str(number), "delegated" if name == "delegate" else "connection")
        for number, name in enumerate(names)
    ]
    desk.sent.clear()
    answers = await desk.answers(read_stream("swap_stream", "a"), read_call("swap_later", "b", id="2"))
    assert [answer for answer in answers if answer["invocationId"] == "1"] == [
        item("1", "connection"),
        item("1", "a"),
        ended("1"),
    ]
    assert result("2", "connection") in answers
    assert WHO.get() == "later"


@pytest.mark.parametrize("is_async", [False, True])
async def test_children_see_what_their_call_has_set(desk: Desk, is_async: bool) -> None:
    seen: list[str] = []

    async def child() -> None:
        seen.append(WHO.get())

    def parent(name: str) -> None:
        WHO.set(name)
        desk.face.children.start_soon(child)
        WHO.set(name + name)
        desk.face.children.start_soon(child)

    async def parent_later(name: str) -> None:
        await trio.lowlevel.checkpoint()
        parent(name)

    desk.face.add("parent", parent_later if is_async else parent)
    await desk.answers(read_call("parent", "a", id="1"), read_call("parent", "b", id="2"))
    assert sorted(seen) == ["a", "aa", "b", "bb"]
