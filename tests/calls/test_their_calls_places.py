"""What the peer calls runs in order, in so many places, and waits for one."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.messages import ended, result
from trio_hubs.calls.channels import GIVE_WAY, ChannelReader, open_channel
from trio_hubs.calls.outbox import TRANSPORT_BUFFER_SIZE
from trio_hubs.calls.their_calls import UPLOAD_SIZE

from .gates import Gates, plain, started
from .support import Desk, raw, read_call, read_stream, turns


async def test_calls_run_one_after_another(desk: Desk) -> None:
    gates = Gates(desk)
    await desk.answers(*[read_call("wait", name, id=name) for name in "abc"])
    assert gates.notes == ["a started"]
    await gates.open("a")
    assert gates.notes == ["a started", "b started"]
    await gates.open("b")
    await gates.open("c")
    assert desk.sent == [result(name, name) for name in "abc"]


async def test_a_plain_call_waits_its_turn(desk: Desk) -> None:
    desk.method(plain)
    gates = Gates(desk)
    assert await desk.answers(read_call("wait", "a", id="1"), read_call("plain", id="2")) == []
    await gates.open("a")
    assert desk.sent == [result("1", "a"), result("2", "plain")]
    assert await desk.answers(read_call("plain", id="3")) == [*desk.sent[:2], result("3", "plain")]


@pytest.mark.parametrize("maximum", [2, 3, 20])
async def test_so_many_calls_run_at_a_time_and_start_in_order(nursery: trio.Nursery, maximum: int) -> None:
    desk = started(nursery, maximum_parallel_invocations=maximum)
    gates = Gates(desk)
    names = [chr(ord("a") + number) for number in range(10)]
    for _ in range(2):  # the workers are new, then idle
        await desk.answers(*[read_call("wait", name, id=name) for name in names])
        for running, name in enumerate(names):
            assert gates.notes == [f"{name} started" for name in names[: maximum + running]]
            await gates.open(name)
        assert desk.sent == [result(name, name) for name in names]
        desk.sent.clear()
        gates.notes.clear()


async def test_a_plain_call_runs_beside_others_while_a_place_is_free(nursery: trio.Nursery) -> None:
    desk = started(nursery, maximum_parallel_invocations=2)
    desk.method(plain)
    gates = Gates(desk)
    await desk.answers(read_call("wait", "a", id="1"))
    assert await desk.answers(read_call("plain", id="2")) == [result("2", "plain")]
    await gates.open("a")


async def test_streams_do_not_hold_places(desk: Desk) -> None:
    gates = Gates(desk)
    names = "abc"
    await desk.answers(
        *[read_stream("stream", name, id=name) for name in names], read_call("wait", "d", id="d")
    )
    assert gates.notes == [f"{name} started" for name in "abcd"]
    for name in "cdba":
        await gates.open(name)
    assert desk.sent[3:] == [ended("c"), result("d", "d"), ended("b"), ended("a")]
    await desk.answers(read_call("wait", "e", id="e"), read_call("wait", "f", id="f"))
    assert gates.notes[4:] == ["e started"]  # and no place has come about by it


async def test_a_method_holds_its_place_until_it_has_its_stream(desk: Desk) -> None:
    desk.method(plain)
    ready = trio.Event()

    @desk.method
    async def stream() -> ChannelReader[int]:
        await ready.wait()
        return open_channel(int)[1]

    assert await desk.answers(read_stream("stream"), read_call("plain", id="2")) == []
    ready.set()
    assert await desk.answers() == [result("2", "plain")]


async def test_uploads_do_not_hold_places(desk: Desk) -> None:
    gates = Gates(desk)

    @desk.method
    async def total(items: ChannelReader[int]) -> int:
        return sum([number async for number in items])

    messages = [read_call("total", id=id, uploads=["s" + id]) for id in "123"]
    await desk.answers(*messages, read_call("wait", "a", id="4"))
    assert gates.notes == ["a started"]
    for id in "123":
        desk.incoming.feed("s" + id, raw(int(id), 1))
        desk.incoming.complete("s" + id, None)
    await desk.answers()
    await gates.open("a")
    assert sorted(desk.sent, key=str) == [result("1", 2), result("2", 3), result("3", 4), result("4", "a")]
    await desk.answers(read_call("wait", "b", id="5"), read_call("wait", "c", id="6"))
    assert gates.notes[1:] == ["b started"]


@pytest.mark.parametrize("name", ["inline", "waiting"])
async def test_a_call_waits_while_the_outbox_is_full(desk: Desk, name: str) -> None:
    made: list[str] = []

    @desk.method
    def inline() -> None:
        made.append("inline")

    @desk.method
    async def waiting() -> None:
        made.append("waiting")

    desk.outbox.size = TRANSPORT_BUFFER_SIZE
    desk.their_calls.invoke(read_call(name, id="1"))
    await wait_all_tasks_blocked()
    assert made == []
    desk.outbox.size = 0
    desk.outbox._producers.unpark_all()
    assert await desk.answers() == [result("1", None)]
    assert made == [name]


async def test_one_stream_too_many_is_refused(nursery: trio.Nursery) -> None:
    desk = started(nursery, maximum_streams=1)
    gates = Gates(desk)
    assert ended("2", "Too many streams: 'stream' would be one more than 1.") in await desk.answers(
        read_stream("stream", "a"), read_stream("stream", "b", id="2")
    )
    desk.their_calls.cancel("1")
    await desk.answers()
    await desk.answers(read_stream("stream", "c", id="3"))
    assert "c started" in gates.notes


async def test_the_uploads_of_waiting_calls_count_too(nursery: trio.Nursery) -> None:
    desk = started(nursery, connection_buffer_size=2 * UPLOAD_SIZE)
    gates = Gates(desk)

    @desk.method
    async def both(one: ChannelReader[int], other: ChannelReader[int]) -> None: ...

    await desk.answers(read_call("wait", "a", id="1"), read_call("wait", "b", id="2"))
    assert desk.incoming.reading.wanted
    await desk.answers(read_call("both", id="3", uploads=("4", "5")))
    assert not desk.incoming.reading.wanted
    await gates.open("a")
    await gates.open("b")
    assert desk.incoming.reading.wanted


async def test_waiting_calls_count_as_unread_and_are_bounded(nursery: trio.Nursery) -> None:
    desk = started(nursery, connection_buffer_size=1000, connection_buffer_limit=2000)
    gates = Gates(desk)
    await desk.answers(read_call("wait", "a", id="1"))
    assert desk.incoming.reading.wanted
    await desk.answers(read_call("wait", "x" * 1000, id="2"))
    assert not desk.incoming.reading.wanted
    await desk.answers(read_call("wait", "x" * 1000, id="3"))
    assert await desk.answers(read_call("wait", "b", id="4")) == [
        ended("4", "Too many calls wait: 'wait' was not queued.")
    ]
    for name in ("a", "x" * 1000, "x" * 1000):
        await gates.open(name)
    assert desk.incoming.reading.wanted
    await desk.answers(read_call("wait", "c", id="5"))
    assert gates.notes[-1] == "c started"


@pytest.mark.parametrize("long", ["id", "stream id", "nothing"])
async def test_a_waiting_call_counts_its_ids_and_its_keep(nursery: trio.Nursery, long: str) -> None:
    desk = started(nursery, connection_buffer_size=2000 + UPLOAD_SIZE * (long == "stream id"))
    gates = Gates(desk)

    @desk.method
    async def total(items: ChannelReader[int]) -> None: ...

    await desk.answers(read_call("wait", "a", id="1"))
    match long:
        case "id":
            desk.their_calls.invoke(read_call("wait", "b", id="2" * 1500))
        case "stream id":
            desk.their_calls.invoke(read_call("total", id="2", uploads=["s" * 1500]))
        case _:
            for number in range(4):
                assert desk.incoming.reading.wanted
                desk.their_calls.invoke(read_call("wait", "b", id=str(number)))
    assert not desk.incoming.reading.wanted
    await gates.open("a")
    assert desk.incoming.reading.wanted


async def test_calls_that_wait_for_nothing_give_way_every_64_calls(desk: Desk, mock_clock: MockClock) -> None:
    seen: list[int] = []

    async with turns() as taken:

        @desk.method
        async def ready() -> None:
            seen.append(taken())

        for number in range(200):
            desk.their_calls.invoke(read_call("ready", id=str(number)))
        while len(seen) < 200:
            await trio.lowlevel.checkpoint()
    assert seen[-1] - seen[0] >= 200 // GIVE_WAY - 1
    assert seen[0] == seen[GIVE_WAY - 2]  # and no oftener


async def test_calls_that_take_their_time_give_way_as_soon_as_that_is_up(
    desk: Desk, mock_clock: MockClock
) -> None:
    seen: list[int] = []

    async with turns() as taken:

        @desk.method
        async def busy() -> None:
            mock_clock.jump(0.002)
            seen.append(taken())

        for number in range(9):
            desk.their_calls.invoke(read_call("busy", id=str(number)))
        while len(seen) < 9:
            await trio.lowlevel.checkpoint()
    assert seen[0] == seen[2] <= seen[3] == seen[5] <= seen[6] == seen[8]
    assert seen[8] > seen[0]


async def test_their_calls_once_halted_start_no_more_and_answer_none(desk: Desk) -> None:
    gates = Gates(desk)
    await desk.answers(read_call("wait", "a", id="1"), read_call("wait", "b", id="2"))
    desk.their_calls.halt()
    await gates.open("a")
    assert gates.notes == ["a started"]
    assert desk.sent == []  # the peer has said or been told that it is over
