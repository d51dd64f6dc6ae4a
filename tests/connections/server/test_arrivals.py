"""Requests are read in the order in which their bytes came, also those that trio learns of at one moment."""

import random
import selectors
import socket
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio
from trio.testing import MockClock, assert_no_checkpoints, wait_all_tasks_blocked

from trio_hubs.connections.server.arrivals import Arrival, Arrivals


@asynccontextmanager
async def running() -> AsyncGenerator[Arrivals]:
    arrivals = Arrivals()
    async with trio.open_nursery() as nursery:
        await nursery.start(arrivals.run)
        yield arrivals
        nursery.cancel_scope.cancel()


@contextmanager
def open_pairs(count: int) -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    pairs = [socket.socketpair() for _ in range(count)]
    for near, _ in pairs:
        near.setblocking(False)
    try:
        yield pairs
    finally:
        for pair in pairs:
            for end in pair:
                end.close()


@pytest.mark.parametrize("seed", range(20))
async def test_they_are_read_in_the_order_in_which_they_came(seed: int) -> None:
    order = list(range(30))
    random.Random(seed).shuffle(order)
    read: list[int] = []
    async with running() as arrivals:
        with open_pairs(30) as pairs:
            waiting = [Arrival(arrivals, near) for near, _ in pairs]

            async def receive(i: int) -> None:
                await waiting[i].wait()
                waiting[i].take()
                read.append(pairs[i][0].recv(1)[0])

            async with trio.open_nursery() as nursery:
                for i in range(30):
                    nursery.start_soon(receive, i)
                if seed % 2:
                    await wait_all_tasks_blocked()
                for i in order:
                    pairs[i][1].send(bytes((i,)))
    assert read == order


async def test_one_whose_task_is_busy_comes_first_all_the_same() -> None:
    read: list[str] = []
    async with running() as arrivals:
        with open_pairs(2) as ((near, far), (other_near, other_far)):
            first, second = Arrival(arrivals, near), Arrival(arrivals, other_near)

            async def end_an_answer() -> None:
                for _ in range(5):
                    await trio.lowlevel.checkpoint()
                await first.wait()
                read.append("first")
                first.take()

            async def receive() -> None:
                await second.wait()
                read.append("second")
                second.take()

            far.send(b"x")
            other_far.send(b"x")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                nursery.start_soon(end_an_answer)
    assert read == ["first", "second"]


async def test_one_that_is_not_read_holds_the_others_up_once_and_for_a_moment() -> None:
    async with running() as arrivals:
        with open_pairs(3) as pairs:
            waiting = [Arrival(arrivals, near) for near, _ in pairs]
            for _, far in pairs:
                far.send(b"x")
                await wait_all_tasks_blocked()
            passes = 0

            async def count() -> None:
                nonlocal passes
                while True:
                    passes += 1
                    await trio.lowlevel.checkpoint()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(count)
                await waiting[1].wait()
                assert 5 <= passes <= 12
                waiting[1].take()
                passes = 0
                await waiting[2].wait()
                assert passes == 0
                nursery.cancel_scope.cancel()


async def test_one_that_was_given_up_can_still_be_read() -> None:
    async with running() as arrivals:
        with open_pairs(2) as ((near, far), (other_near, other_far)):
            first, second = Arrival(arrivals, near), Arrival(arrivals, other_near)
            far.send(b"x")
            other_far.send(b"x")
            await second.wait()
            await first.wait()
            first.take()
            second.take()
            assert not arrivals.unread


async def test_a_socket_is_watched_until_it_is_taken_and_can_be_watched_again() -> None:
    async with running() as arrivals:
        with open_pairs(1) as ((near, far),):
            Arrival(arrivals, near).take()
            again = Arrival(arrivals, near)
            far.send(b"x")
            await again.wait()
            again.take()
            again.take()
            assert not arrivals.unread
            Arrival(arrivals, near).take()


async def test_who_waits_can_be_cancelled() -> None:
    async with running() as arrivals:
        with open_pairs(1) as ((near, far),):
            arrival = Arrival(arrivals, near)
            with trio.CancelScope() as scope:
                scope.cancel()
                await arrival.wait()
            assert scope.cancelled_caught
            far.send(b"x")
            await arrival.wait()


async def test_what_is_left_at_the_end_can_be_taken() -> None:
    async with running() as arrivals:
        with open_pairs(2) as ((near, _), (other, far)):
            waiting = [Arrival(arrivals, near), Arrival(arrivals, other)]
            far.send(b"x")
            await wait_all_tasks_blocked()
    for arrival in waiting:
        arrival.take()


@pytest.mark.parametrize("runs", [False, True], ids=["not running", "no selector"])
async def test_without_a_selector_to_wait_for_sockets_are_waited_for(
    runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Plain(selectors.SelectSelector):
        """As on Windows."""

    monkeypatch.setattr(selectors, "DefaultSelector", Plain)
    arrivals = Arrivals()
    if runs:
        async with trio.open_nursery() as nursery:
            await nursery.start(arrivals.run)
    with open_pairs(1) as ((near, far),):
        arrival = Arrival(arrivals, near)
        far.send(b"x")
        await arrival.wait()
        arrival.take()
        assert not arrivals.unread


async def test_one_that_is_there_already_is_not_waited_for() -> None:
    async with running() as arrivals:
        with open_pairs(2) as ((near, far), (other_near, other_far)):
            first, second = Arrival(arrivals, near), Arrival(arrivals, other_near)
            other_far.send(b"2")
            far.send(b"1")
            with assert_no_checkpoints():
                await second.wait()  # though the task that watches has not run yet
            second.take()
            await first.wait()
            first.take()


async def test_one_that_is_waited_for_after_the_end_waits_for_its_cancellation(
    autojump_clock: MockClock,
) -> None:
    async with running() as arrivals:
        with open_pairs(1) as ((near, _),):
            arrival = Arrival(arrivals, near)
            arrivals.selector = None  # as when its task has ended
            with trio.move_on_after(0.01) as waiting:
                await arrival.wait()
            assert waiting.cancelled_caught
