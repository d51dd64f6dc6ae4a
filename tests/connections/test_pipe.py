"""A pipe hands on bytes in order, all that there are, and holds back whoever puts in too many."""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, assert_checkpoints, assert_no_checkpoints, wait_all_tasks_blocked

from trio_hubs.connections.pipe import Pipe
from trio_hubs.errors import ConnectionClosed


async def test_bytes_are_taken_together() -> None:
    pipe = Pipe(100)
    await pipe.put(b"one ")
    await pipe.put(b"two")
    assert len(pipe) == 7
    with assert_checkpoints():
        assert await pipe.take() == b"one two"
    assert len(pipe) == 0


async def test_a_taker_waits() -> None:
    pipe = Pipe(100)
    taken: list[bytes] = []

    async def take() -> None:
        taken.append(await pipe.take())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        assert taken == []
        with assert_no_checkpoints():
            await pipe.put(b"data")
    assert taken == [b"data"]


async def test_putting_waits_from_the_limit_on(autojump_clock: MockClock) -> None:
    pipe = Pipe(10)
    put: list[int] = []

    async def fill() -> None:
        for i in range(3):
            await pipe.put(bytes(9))
            put.append(i)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fill)
        await wait_all_tasks_blocked()
        assert (put, len(pipe)) == ([0], 18)
        assert await pipe.take() == bytes(18)
        await wait_all_tasks_blocked()
        assert (put, len(pipe)) == ([0, 1, 2], 9)


async def test_at_the_limit_exactly_it_waits(autojump_clock: MockClock) -> None:
    pipe = Pipe(10)
    with trio.move_on_after(1) as scope:
        await pipe.put(bytes(10))
    assert scope.cancelled_caught
    assert len(pipe) == 10  # a cancelled call has put all of them in


async def test_several_that_wait_to_put_are_all_let_go(autojump_clock: MockClock) -> None:
    pipe = Pipe(1)
    async with trio.open_nursery() as nursery:
        for i in range(5):
            nursery.start_soon(pipe.put, b"%d" % i)
        await wait_all_tasks_blocked()
        assert sorted(await pipe.take()) == sorted(b"01234")


async def test_a_cancelled_taker_takes_nothing(autojump_clock: MockClock) -> None:
    pipe = Pipe(100)
    await pipe.put(b"data")
    with trio.CancelScope() as scope:
        scope.cancel()
        await pipe.take()
    assert scope.cancelled_caught
    assert await pipe.take() == b"data"
    with trio.move_on_after(1) as scope:
        await pipe.take()
    assert scope.cancelled_caught
    await pipe.put(b"more")
    assert await pipe.take() == b"more"


async def test_a_taker_that_is_cancelled_when_data_has_come_has_it_or_leaves_it() -> None:
    pipe = Pipe(100)
    taken: list[bytes] = []

    async def take() -> None:
        taken.append(await pipe.take())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        await pipe.put(b"data")
        nursery.cancel_scope.cancel()
    rest = await pipe.take() if len(pipe) else b""
    assert b"".join(taken) + rest == b"data"


async def test_a_closed_pipe_gives_what_is_in_it_and_then_ends() -> None:
    pipe = Pipe(100)
    await pipe.put(b"last")
    pipe.close()
    with pytest.raises(ConnectionClosed, match="over"):
        await pipe.put(b"late")
    assert await pipe.take() == b"last"
    for _ in range(2):
        with assert_checkpoints():
            assert await pipe.take() == b""


async def test_a_pipe_closed_with_an_error_gives_what_is_in_it_and_then_raises_that() -> None:
    pipe = Pipe(100)
    await pipe.put(b"last")
    error = ConnectionClosed("gone")
    pipe.close(error)
    assert await pipe.take() == b"last"
    for _ in range(2):
        with pytest.raises(ConnectionClosed, match="gone") as caught:
            await pipe.take()
        assert caught.value is not error  # else its traceback grew


async def test_the_first_to_close_decides_how() -> None:
    pipe = Pipe(100)
    pipe.close()
    pipe.close(ConnectionClosed("gone"))
    assert await pipe.take() == b""
    pipe = Pipe(100)
    pipe.close(ConnectionClosed("gone"))
    pipe.close()
    with pytest.raises(ConnectionClosed, match="gone"):
        await pipe.take()


async def test_closing_frees_who_waits_to_take() -> None:
    pipe = Pipe(100)

    async def take() -> None:
        assert await pipe.take() == b""

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        pipe.close()


async def test_closing_tells_who_waits_to_put(autojump_clock: MockClock) -> None:
    pipe = Pipe(1)
    failed = 0

    async def put() -> None:
        nonlocal failed
        with pytest.raises(ConnectionClosed, match="over"):
            await pipe.put(b"x")
        failed += 1

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(put)
        await wait_all_tasks_blocked()
        pipe.close()
    assert failed == 3


@given(
    parts=st.lists(st.binary(max_size=20), max_size=30), limit=st.integers(1, 30), yields=st.integers(0, 3)
)
@settings(max_examples=150)
def test_everything_arrives_in_order_and_little_is_held(parts: list[bytes], limit: int, yields: int) -> None:
    async def main() -> None:
        pipe = Pipe(limit)
        received = b""

        async def put() -> None:
            for part in parts:
                await pipe.put(part)
                assert len(pipe) < limit
            pipe.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(put)
            while data := await pipe.take():
                assert len(data) < limit + 20
                received += data
                for _ in range(yields):
                    await trio.lowlevel.checkpoint()
        assert received == b"".join(parts)

    trio.run(main)


async def test_it_is_over_once_it_is_closed_and_empty(autojump_clock: MockClock) -> None:
    pipe = Pipe(10)
    pipe.put_back(b"last")
    with trio.move_on_after(1) as open_yet:
        await pipe.wait_over()
    pipe.close()
    with trio.move_on_after(1) as full_yet:
        await pipe.wait_over()
    await pipe.take()
    await pipe.wait_over()
    assert open_yet.cancelled_caught
    assert full_yet.cancelled_caught


async def test_what_is_put_back_comes_before_what_has_come_since() -> None:
    pipe = Pipe(100)
    await pipe.put(b"first")
    taken = await pipe.take()
    await pipe.put(b"second")
    pipe.put_back(taken)
    assert await pipe.take() == b"firstsecond"
