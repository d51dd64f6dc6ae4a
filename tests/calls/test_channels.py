"""The channel pair keeps order, bounds and ends, and stays a good neighbour in trio's loop."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_hubs.calls.channels import GIVE_WAY, ChannelEnd, ChannelReader, ChannelWriter, open_channel
from trio_hubs.errors import ChannelClosed, StreamBroken

from .support import depth, read_all, turns

Pair = tuple[ChannelWriter[int], ChannelReader[int]]


def filled(count: int, capacity: float = float("inf")) -> Pair:
    writer, reader = open_channel(int, capacity=capacity)
    for number in range(count):
        assert writer.try_write(number)
    return writer, reader


# ---- items


async def test_items_arrive_in_order() -> None:
    writer, reader = open_channel(int)
    for number in range(3):
        await writer.write(number)
    assert [await reader.read() for _ in range(3)] == [0, 1, 2]


async def test_a_writer_waits_while_the_channel_is_full(nursery: trio.Nursery) -> None:
    writer, reader = filled(2, capacity=2)
    nursery.start_soon(writer.write, 2)
    await wait_all_tasks_blocked()
    assert not writer.try_write(3)
    assert await reader.read() == 0
    writer.complete()
    assert await read_all(reader) == [1, 2]


async def test_a_hundred_items_fit_by_default() -> None:
    writer, _ = open_channel(int)
    assert [writer.try_write(0) for _ in range(101)].count(True) == 100


async def test_without_capacity_items_are_handed_over(nursery: trio.Nursery) -> None:
    writer, reader = open_channel(int, capacity=0)
    assert not writer.try_write(0)
    nursery.start_soon(writer.write, 1)
    await wait_all_tasks_blocked()
    assert reader.read_nowait() == 1


async def test_a_reader_waits_for_an_item(nursery: trio.Nursery) -> None:
    writer, reader = open_channel(int)
    nursery.start_soon(trio.testing.wait_all_tasks_blocked)
    got: list[int] = []

    async def read() -> None:
        got.append(await reader.read())

    nursery.start_soon(read)
    await wait_all_tasks_blocked()
    assert got == []
    writer.try_write(7)
    await wait_all_tasks_blocked()
    assert got == [7]


async def test_try_read_never_waits() -> None:
    writer, reader = filled(1)
    assert reader.read_nowait() == 0
    with pytest.raises(trio.WouldBlock):
        reader.read_nowait()
    writer.complete()
    with pytest.raises(trio.EndOfChannel):
        reader.read_nowait()


async def test_read_ready_takes_what_is_there() -> None:
    writer, reader = filled(3)
    assert reader.read_ready() == [0, 1, 2]
    assert reader.read_ready() == []
    writer.complete()
    assert reader.read_ready() == []


async def test_read_ready_takes_no_more_than_its_limit() -> None:
    _, reader = filled(5)
    assert reader.read_ready(2) == [0, 1]
    assert await reader.wait_to_read()
    assert reader.read_ready(2) == [2, 3]
    assert reader.read_ready(2) == [4]


async def test_read_ready_of_no_items_takes_none() -> None:
    _, reader = filled(1)
    assert await reader.wait_to_read()
    assert reader.read_ready(0) == []
    assert reader.read_ready() == [0]


async def test_the_two_loops_of_dotnet() -> None:
    writer, reader = filled(3)
    writer.complete()
    got: list[int] = []
    while await reader.wait_to_read():
        got += reader.read_ready()
    assert got == [0, 1, 2]


async def test_wait_to_read_takes_nothing_away() -> None:
    _, reader = filled(2)
    assert await reader.wait_to_read()
    assert await reader.wait_to_read()
    assert [reader.read_nowait(), await reader.read()] == [0, 1]


async def test_several_readers_share_the_items(nursery: trio.Nursery) -> None:
    writer, reader = open_channel(int, capacity=1)
    got: list[int] = []

    async def read() -> None:
        got.extend(await read_all(reader))

    for _ in range(3):
        nursery.start_soon(read)
    for number in range(300):
        await writer.write(number)
    writer.complete()
    await wait_all_tasks_blocked()
    assert sorted(got) == list(range(300))


async def test_several_readers_that_wait_to_read_lose_nothing(nursery: trio.Nursery) -> None:
    writer, reader = open_channel(int)
    for _ in range(2):
        nursery.start_soon(reader.wait_to_read)
    await wait_all_tasks_blocked()
    for number in range(3):
        writer.try_write(number)
    await wait_all_tasks_blocked()
    assert sorted(reader.read_nowait() for _ in range(3)) == [0, 1, 2]


async def test_several_writers_lose_nothing() -> None:
    writer, reader = open_channel(int, capacity=1)

    async def write(begin: int) -> None:
        for number in range(begin, begin + 100):
            await writer.write(number)

    async with trio.open_nursery() as nursery:
        for begin in (0, 100, 200):
            nursery.start_soon(write, begin)
        assert sorted([await reader.read() for _ in range(300)]) == list(range(300))


# ---- the end


async def test_completing_ends_the_reader_after_its_items() -> None:
    writer, reader = filled(2)
    assert writer.complete()
    assert await read_all(reader) == [0, 1]
    for _ in range(2):
        with pytest.raises(trio.EndOfChannel):
            await reader.read()
        assert not await reader.wait_to_read()


async def test_an_error_is_raised_after_the_items() -> None:
    writer, reader = filled(2)
    writer.complete(ValueError("broken"))
    got: list[int] = []
    with pytest.raises(ValueError, match="broken"):
        while True:
            got.append(await anext(reader))
    assert got == [0, 1]


@pytest.mark.parametrize(
    "read",
    [
        ChannelReader.read,
        ChannelReader.wait_to_read,
        ChannelReader.__anext__,
        ChannelReader.read_nowait,
        ChannelReader.read_ready,
    ],
)
async def test_every_way_of_reading_raises_the_error(read: Callable[[ChannelReader[int]], object]) -> None:
    writer, reader = open_channel(int)
    writer.complete(ValueError("broken"))
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            outcome = read(reader)
            assert isinstance(outcome, Awaitable)
            await outcome


async def test_read_ready_gives_the_items_before_the_error() -> None:
    writer, reader = filled(2)
    writer.complete(ValueError("broken"))
    assert reader.read_ready() == [0, 1]
    with pytest.raises(ValueError, match="broken"):
        reader.read_ready()


@pytest.mark.parametrize("error", [None, ValueError("broken")])
async def test_a_waiting_reader_hears_of_the_end(error: Exception | None) -> None:
    writer, reader = open_channel(int)
    with pytest.RaisesGroup(ValueError if error else trio.EndOfChannel):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.read)
            await wait_all_tasks_blocked()
            writer.complete(error)


async def test_only_the_first_completion_counts() -> None:
    writer, reader = open_channel(int)
    assert writer.complete()
    assert not writer.complete(ValueError("too late"))
    assert await read_all(reader) == []


async def test_writing_after_the_end_raises() -> None:
    writer, _ = open_channel(int)
    writer.complete()
    with pytest.raises(ChannelClosed, match=r"has been completed"):
        await writer.write(1)
    assert not writer.try_write(1)
    assert not await writer.wait_to_write()


async def test_completing_ends_a_writer_that_waits() -> None:
    writer, reader = filled(1, capacity=1)
    with pytest.RaisesGroup(pytest.RaisesExc(ChannelClosed, match="has been completed")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.write, 1)
            await wait_all_tasks_blocked()
            writer.complete()
    assert await read_all(reader) == [0]


async def test_a_writer_hears_that_its_reader_has_left() -> None:
    writer, reader = open_channel(int)
    reader.close()
    with pytest.raises(ChannelClosed, match="reader has left"):
        await writer.write(1)
    assert not writer.try_write(1)
    assert not await writer.wait_to_write()
    assert writer.complete()


async def test_a_waiting_writer_hears_that_its_reader_has_left() -> None:
    writer, reader = filled(1, capacity=1)
    with pytest.RaisesGroup(pytest.RaisesExc(ChannelClosed, match="reader has left")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.write, 1)
            await wait_all_tasks_blocked()
            reader.close()


async def test_leaving_throws_unread_items_away() -> None:
    _, reader = filled(2)
    assert await reader.wait_to_read()
    reader.close()
    reader.close()
    with pytest.raises(ChannelClosed, match="reader was closed"):
        reader.read_nowait()
    with pytest.raises(ChannelClosed, match="reader was closed"):
        reader.read_ready()


async def test_a_task_that_reads_learns_that_its_reader_was_closed() -> None:
    _, reader = open_channel(int)

    async def read() -> None:
        with pytest.raises(ChannelClosed, match="reader was closed"):
            await reader.read()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        reader.close()


# ---- room


async def waits_to_write(writer: ChannelWriter[int], outcomes: list[bool]) -> None:
    outcomes.append(await writer.wait_to_write())


async def test_there_is_room_at_first() -> None:
    writer, _ = open_channel(int, capacity=1)
    assert await writer.wait_to_write()
    assert writer.try_write(0)


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        (lambda _, reader: reader.read_nowait(), True),
        (lambda _, reader: reader.read_ready(), True),
        (lambda _, reader: reader.close(), False),
        (lambda writer, _: writer.complete(), False),
    ],
    ids=["read", "read_ready", "left", "completed"],
)
async def test_a_writer_waits_for_room_or_the_end(
    nursery: trio.Nursery, event: Callable[[ChannelWriter[int], ChannelReader[int]], object], outcome: bool
) -> None:
    writer, reader = filled(1, capacity=1)
    outcomes: list[bool] = []
    nursery.start_soon(waits_to_write, writer, outcomes)
    await wait_all_tasks_blocked()
    assert outcomes == []
    event(writer, reader)
    await wait_all_tasks_blocked()
    assert outcomes == [outcome]
    assert writer.try_write(1) == outcome


@pytest.mark.parametrize("read", [ChannelReader[int].read, ChannelReader[int].wait_to_read])
async def test_without_capacity_a_waiting_reader_is_room(
    nursery: trio.Nursery, read: Callable[[ChannelReader[int]], Awaitable[object]]
) -> None:
    writer, reader = open_channel(int, capacity=0)
    outcomes: list[bool] = []
    nursery.start_soon(waits_to_write, writer, outcomes)
    await wait_all_tasks_blocked()
    assert outcomes == []
    nursery.start_soon(read, reader)
    await wait_all_tasks_blocked()
    assert outcomes == [True]
    assert writer.try_write(1)


async def test_room_that_another_writer_takes_is_none(nursery: trio.Nursery) -> None:
    writer, reader = filled(1, capacity=1)
    outcomes: list[bool] = []
    nursery.start_soon(waits_to_write, writer, outcomes)
    nursery.start_soon(writer.write, 1)
    await wait_all_tasks_blocked()
    reader.read_nowait()
    await wait_all_tasks_blocked()
    assert outcomes == []
    reader.read_nowait()
    await wait_all_tasks_blocked()
    assert outcomes == [True]


# ---- cancellation points, and giving way


@pytest.mark.parametrize("wait", [ChannelReader[int].read, ChannelReader[int].wait_to_read])
async def test_reading_is_a_cancellation_point_and_takes_nothing(
    wait: Callable[[ChannelReader[int]], Awaitable[object]],
) -> None:
    _, reader = filled(3 * GIVE_WAY)
    for number in range(3 * GIVE_WAY):
        with trio.CancelScope() as scope:
            scope.cancel()
            await wait(reader)
        assert scope.cancelled_caught
        assert reader.read_nowait() == number


async def test_writing_is_a_cancellation_point_and_writes_nothing() -> None:
    writer, reader = open_channel(int)
    for number in range(3 * GIVE_WAY):
        with trio.CancelScope() as scope:
            scope.cancel()
            await writer.write(-1)
        assert scope.cancelled_caught
        await writer.write(number)
        assert reader.read_ready() == [number]


async def test_wait_to_write_is_a_checkpoint() -> None:
    writer, _ = open_channel(int)
    with trio.CancelScope() as scope:
        scope.cancel()
        await writer.wait_to_write()
    assert scope.cancelled_caught
    async with turns() as taken:
        for _ in range(10):
            await writer.wait_to_write()
        assert taken() >= 9


async def test_a_cancelled_wait_loses_nothing(nursery: trio.Nursery) -> None:
    writer, reader = open_channel(int, capacity=0)
    with trio.CancelScope() as scope:
        nursery.start_soon(wait_all_tasks_blocked)
        scope.deadline = trio.current_time()
        await reader.read()
    assert scope.cancelled_caught
    with trio.CancelScope() as scope:
        scope.deadline = trio.current_time()
        await writer.write(1)
    assert scope.cancelled_caught
    assert reader.read_ready() == []


def rounds(items: int) -> range:
    """How many turns others should have had, give or take one, while so many items went by."""
    assert GIVE_WAY == 64  # as the docs say
    return range(items // GIVE_WAY - 1, items // GIVE_WAY + 2)


async def test_a_writer_gives_way_every_64_items() -> None:
    writer, _ = open_channel(int, capacity=float("inf"))
    async with turns() as taken:
        for number in range(1000):
            await writer.write(number)
        assert taken() in rounds(1000)


async def test_a_reader_gives_way_every_64_items() -> None:
    _, reader = filled(1000)
    async with turns() as taken:
        for _ in range(1000):
            await reader.read()
        assert taken() in rounds(1000)


async def test_a_reader_by_wait_and_try_gives_way_every_64_items() -> None:
    writer, reader = filled(1000)
    writer.complete()
    async with turns() as taken:
        while await reader.wait_to_read():
            reader.read_nowait()
        assert taken() in rounds(1000)


async def test_a_reader_of_batches_gives_way_every_64_items() -> None:
    writer, reader = filled(1000)
    writer.complete()
    async with turns() as taken:
        while await reader.wait_to_read():
            reader.read_ready(GIVE_WAY)
        assert taken() in rounds(1000)


async def test_a_pair_that_has_to_wait_gives_way_by_that() -> None:
    writer, reader = open_channel(int, capacity=1)

    async def write() -> None:
        for number in range(100):
            await writer.write(number)
        writer.complete()

    async with trio.open_nursery() as nursery, turns() as taken:
        nursery.start_soon(write)
        assert await read_all(reader) == list(range(100))
        assert taken() >= 25


# ---- errors


async def test_a_failed_channel_raises_its_error_with_the_traceback_that_it_had(
    nursery: trio.Nursery,
) -> None:
    def fail() -> None:
        raise ValueError("broken")

    writer, reader = open_channel(int)
    depths: list[int] = []
    try:
        fail()
    except ValueError as error:
        writer.complete(error)
        depths.append(depth(error))
    for read in (reader.read, reader.wait_to_read, reader.read):
        with pytest.raises(ValueError, match="broken") as caught:
            await read()
        depths.append(depth(caught.value))
    assert "fail" in [frame.name for frame in caught.traceback]
    assert depths[1] == depths[3]


def test_an_end_without_an_error_is_the_end() -> None:
    completion = ChannelEnd()
    completion.complete(None)
    assert completion.done
    assert type(completion.end()) is trio.EndOfChannel


async def test_wait_to_read_takes_no_more_than_one_item_ahead() -> None:
    writer, reader = filled(2, capacity=2)
    for _ in range(3):
        assert await reader.wait_to_read()
    assert writer.try_write(2)
    assert not writer.try_write(3)
    with trio.CancelScope() as scope:
        scope.cancel()
        await reader.wait_to_read()
    assert scope.cancelled_caught
    assert reader.read_ready() == [0, 1, 2]


# ---- at once, without raising


async def test_try_read_gives_an_item_or_what_stands_for_none() -> None:
    writer, reader = open_channel(int)
    assert reader.try_read() is None
    assert reader.try_read(-1) == -1
    writer.write_nowait(5)
    assert reader.try_read(-1) == 5
    writer.complete(ValueError("told by read"))
    assert reader.try_read(-1) == -1
    with pytest.raises(ValueError, match="told by read"):
        await reader.read()


async def test_write_nowait_raises_where_try_write_returns() -> None:
    writer, reader = open_channel(int, capacity=1)
    writer.write_nowait(1)
    with pytest.raises(trio.WouldBlock):
        writer.write_nowait(2)
    assert not writer.try_write(2)
    reader.close()
    with pytest.raises(ChannelClosed, match="reader has left"):
        writer.write_nowait(3)
    assert not writer.try_write(3)


# ---- as context managers


async def test_a_reader_leaves_its_channel_with_its_block() -> None:
    writer, reader = open_channel(int)
    with reader as same:
        assert same is reader
        assert writer.try_write(1)
    assert not writer.try_write(2)


async def test_a_writer_completes_with_its_block() -> None:
    writer, reader = open_channel(int)
    with writer as same:
        assert same is writer
        await writer.write(1)
    assert [item async for item in reader] == [1]


async def test_a_writer_left_by_an_exception_completes_with_it() -> None:
    writer, reader = open_channel(int)
    with pytest.raises(LookupError), writer:
        raise LookupError("lost")
    with pytest.raises(LookupError, match="lost"):
        await reader.read()


async def test_a_writer_left_by_cancellation_does_not_look_complete() -> None:
    writer, reader = open_channel(int)
    with trio.CancelScope() as scope, writer:
        scope.cancel()
        await writer.write(1)
    with pytest.raises(StreamBroken, match="left before its end"):
        await reader.read()


async def test_a_writer_that_was_completed_before_its_block_ends_stays_so() -> None:
    writer, reader = open_channel(int)
    with writer:
        writer.complete()
    with pytest.raises(trio.EndOfChannel):
        await reader.read()


def test_a_capacity_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity must be 0 or more: -1"):
        open_channel(int, capacity=-1)
