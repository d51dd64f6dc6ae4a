"""Each place that is taken has a call that runs in it, and each worker has such a call or waits for one."""

import random
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs.calls.places import Places

from .gates import started
from .support import Desk, read_call, read_stream


def places_of(desk: Desk) -> Places:
    return desk.their_calls._workers._places


def assert_even(desk: Desk, maximum: int) -> None:
    """Whatever runs, the counts are right once all tasks wait."""
    workers = desk.their_calls._workers
    places, register = places_of(desk), desk.their_calls._register
    running = [each for each in register.unfinished if each not in register.waiting and each.has_place]
    assert places.free + len(running) == places.count
    assert workers._count == len(running) + len(workers._idle)
    assert workers._count <= maximum + 4  # and what can be lent
    assert maximum <= places.count
    assert not register.waiting or places.free <= 0


@pytest.mark.parametrize("seed", range(10))
async def test_places_and_workers_are_even_after_every_step(
    nursery: trio.Nursery, autojump_clock: MockClock, seed: int
) -> None:
    choose = random.Random(seed)
    maximum = choose.randint(1, 3)
    desk = started(nursery, maximum_parallel_invocations=maximum, maximum_streams=4)

    @desk.method
    async def sleep(seconds: int) -> None:
        await trio.sleep(seconds)

    @desk.method
    async def lend(seconds: int) -> None:
        with desk.their_calls.place_lent():
            await trio.sleep(seconds)
        await trio.sleep(1)

    @desk.method
    async def stream(seconds: int) -> AsyncIterator[int]:
        yield seconds
        await trio.sleep(seconds)

    @desk.method
    def plain(seconds: int) -> int:
        return seconds

    for number in range(60):
        name = choose.choice(["sleep", "lend", "stream", "plain", "cancel"])
        if name == "cancel":
            desk.their_calls.cancel(str(choose.randrange(number + 1)))
        elif name == "stream":
            desk.their_calls.invoke(read_stream(name, choose.randrange(5), id=str(number)))
        else:
            desk.their_calls.invoke(read_call(name, choose.randrange(5), id=str(number)))
        if choose.random() < 0.3:
            await trio.sleep(choose.randrange(3))
        await wait_all_tasks_blocked()
        assert_even(desk, maximum)
    await trio.sleep(1000)
    assert desk.their_calls.idle
    assert places_of(desk).free == places_of(desk).count == maximum
