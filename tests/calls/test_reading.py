"""The table of reasons to read and to pause, walked through, one combination after another."""

from contextlib import ExitStack
from itertools import product

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs.calls.options import Role
from trio_hubs.calls.outbox import Outbox
from trio_hubs.calls.reading import LONGEST_PAUSE, LOOK_SIZE, Reading
from trio_hubs.connections.memory import memory_connection_pair

from .support import session_options

SIZE, LIMIT, TRANSPORT_BUFFER_SIZE = 100, 1000, 50


@pytest.mark.parametrize(
    ("waits", "stream_full", "buffer_full", "credited_past_limit", "answers_lie", "acknowledgements_owed"),
    list(product([False, True], repeat=6)),
)
async def test_the_connection_is_read_as_the_table_says(
    monkeypatch: pytest.MonkeyPatch,
    waits: bool,
    stream_full: bool,
    buffer_full: bool,
    credited_past_limit: bool,
    answers_lie: bool,
    acknowledgements_owed: bool,
) -> None:
    reading = Reading(session_options(connection_buffer_size=SIZE, connection_buffer_limit=LIMIT))
    outbox = Outbox(memory_connection_pair()[0], transport_buffer_size=TRANSPORT_BUFFER_SIZE)
    monkeypatch.setattr(type(outbox._writer), "blocked", lambda *_: acknowledgements_owed)
    if stream_full:
        reading.count_full(1)
    if buffer_full:
        reading.count(SIZE)
    reading.count_credited(LIMIT + credited_past_limit)
    if answers_lie:
        outbox.put_unasked(bytes(TRANSPORT_BUFFER_SIZE))
    with ExitStack() as stack:
        if waits:
            stack.enter_context(reading.waiting())
        full = stream_full or buffer_full or credited_past_limit
        read = (waits or not full) and (not answers_lie or acknowledgements_owed)
        assert await reads(reading, outbox) == read


async def reads(reading: Reading, outbox: Outbox) -> bool:
    """Whether the connection is read without a wait."""
    with trio.move_on_after(0) as scope:
        assert await reading.wait(outbox)
    return not scope.cancelled_caught


async def test_each_reason_to_pause_ends_it_when_it_goes(nursery: trio.Nursery) -> None:
    reading = Reading(session_options(connection_buffer_size=SIZE, connection_buffer_limit=LIMIT))
    outbox = Outbox(memory_connection_pair()[0], transport_buffer_size=TRANSPORT_BUFFER_SIZE)
    reading.count_full(1)
    reading.count(SIZE)
    reading.count_credited(LIMIT + 1)
    outbox.put_unasked(bytes(TRANSPORT_BUFFER_SIZE))
    done = trio.Event()

    async def read() -> None:
        assert await reading.wait(outbox)
        done.set()

    nursery.start_soon(read)
    await wait_all_tasks_blocked()
    reading.count_full(-1)
    await wait_all_tasks_blocked()
    assert not done.is_set()
    reading.count(-1)
    await wait_all_tasks_blocked()
    assert not done.is_set()
    reading.count_credited(-1)
    await wait_all_tasks_blocked()
    assert not done.is_set()
    outbox.give_up()
    await wait_all_tasks_blocked()
    assert done.is_set()


async def test_a_peer_that_causes_far_too_many_answers_is_not_read_any_more() -> None:
    outbox = Outbox(memory_connection_pair()[0], transport_buffer_size=TRANSPORT_BUFFER_SIZE)
    outbox.put_unasked(bytes(16 * TRANSPORT_BUFFER_SIZE))
    outbox.give_up()
    assert not await Reading(session_options()).wait(outbox)


def test_what_lies_past_the_limit_is_too_much_whoever_waits() -> None:
    reading = Reading(session_options(connection_buffer_limit=LIMIT))
    reading.count(LIMIT)
    assert not reading.overfull
    with reading.waiting():
        reading.count(1)
        assert reading.overfull


@pytest.mark.parametrize("role", Role)
async def test_a_client_that_is_paused_looks_again_from_time_to_time(
    autojump_clock: MockClock, nursery: trio.Nursery, role: Role
) -> None:
    reading = Reading(session_options(role=role, connection_buffer_size=10**9))
    looks: list[float] = []
    begin = trio.current_time()

    async def look() -> None:
        while True:
            await reading.wait_wanted()
            looks.append(trio.current_time() - begin)
            await trio.lowlevel.checkpoint()
            if reading.wanted:
                await trio.sleep(0.5)
            else:
                reading.count(LOOK_SIZE // 2)

    reading.count_full(1)
    nursery.start_soon(look)
    await trio.sleep(6.5)
    reading.count_full(-1)
    await trio.sleep(0.1)
    reading.count_full(1)
    await trio.sleep(6.5)
    nursery.cancel_scope.cancel()
    expected = [6.5, *[11.0] * 2, *[12.0] * 2, *[13.0] * 2] if role is Role.CLIENT else [6.5]
    assert [look for look in looks if look >= 6.5] == expected
    assert [look for look in looks if look < 6.5] == (
        [4.0, 4.0, 5.0, 5.0, 6.0, 6.0] if role is Role.CLIENT else []
    )


@pytest.mark.parametrize(
    ("streams", "credited", "calls", "looks"),
    [
        (SIZE, 0, 0, True),
        (0, LIMIT + 1, 0, True),
        (SIZE, 0, SIZE - 1, True),
        (SIZE, 0, SIZE, False),
        (0, 0, SIZE, False),
    ],
)
async def test_it_looks_behind_streams_but_not_behind_waiting_calls(
    autojump_clock: MockClock, streams: int, credited: int, calls: int, looks: bool
) -> None:
    reading = Reading(
        session_options(role=Role.CLIENT, connection_buffer_size=SIZE, connection_buffer_limit=LIMIT)
    )
    reading.count(streams)
    reading.count_credited(credited)
    reading.count_call(calls)
    with trio.move_on_after(10**6):
        await reading.wait_wanted()
    assert trio.current_time() == (LONGEST_PAUSE if looks else 10**6)
    assert not reading.wanted
