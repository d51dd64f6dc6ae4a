"""The newest of what the peer sends: bounded, and nobody waits for the reader."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_hubs.calls.newest import NewestItems
from trio_hubs.calls.policies import Conflate, DropOldest
from trio_hubs.calls.reading import Reading
from trio_hubs.calls.unread import ItemLoader
from trio_hubs.errors import BindingError, ChannelClosed

from .support import PROTOCOL, Desk, raw, session_options

LOAD = ItemLoader(PROTOCOL.payloads.many_loader(int), PROTOCOL.payloads.loader(int))


def newest(capacity: int = 3, policy: DropOldest | Conflate | None = None) -> NewestItems[int]:
    return NewestItems("1", Reading(session_options()), LOAD, capacity, policy or DropOldest())


def by_tens(item: int) -> int:
    return item // 10


@pytest.mark.parametrize(
    ("policy", "items", "left"),
    [
        (DropOldest(), [1, 2, 3, 4, 5], [3, 4, 5]),
        (DropOldest(), [1, 1], [1, 1]),
        (Conflate(), [1, 2, 3], [3]),
        (Conflate(by_tens), [1, 11, 2, 21, 3], [11, 21, 3]),
        (Conflate(by_tens), [1, 11, 21, 31, 12], [21, 31, 12]),
    ],
)
async def test_the_oldest_give_way_and_are_counted(
    policy: DropOldest | Conflate, items: list[int], left: list[int]
) -> None:
    stream = newest(3, policy)
    for item in items:
        assert stream.feed(raw(item))
    assert stream.reader.read_ready() == left
    assert stream.reader.dropped == len(items) - len(left)
    assert stream.feed(raw(7))
    assert stream.reader.read_nowait() == 7


async def test_a_reader_that_waits_is_given_what_comes_and_has_the_connection_read(
    nursery: trio.Nursery,
) -> None:
    stream = newest()
    first, second = Reading(session_options()), Reading(session_options())
    for reading in (first, second):
        reading.count_full(1)
        stream.move(reading)
    got: list[int] = []

    async def read() -> None:
        while await stream.reader.wait_to_read():
            got.extend(stream.reader.read_ready())

    nursery.start_soon(read)
    await wait_all_tasks_blocked()
    assert second.wanted
    stream.move(first)
    await wait_all_tasks_blocked()
    assert (first.wanted, second.wanted) == (True, False)
    stream.feed(raw(1, 2))
    await wait_all_tasks_blocked()
    stream.end(None)
    stream.end(ValueError("too late"))
    await wait_all_tasks_blocked()
    assert got == [1, 2]
    assert not first.wanted


@pytest.mark.parametrize(
    "end", [lambda stream: stream.end(KeyError("it")), lambda stream: stream.feed(raw("x"))]
)
async def test_it_fails_after_what_came(end: Callable[[NewestItems[int]], Any]) -> None:
    stream = newest()
    stream.feed(raw(1))
    assert not end(stream)
    assert stream.feed(raw(2))  # nobody wants it
    assert await stream.reader.read() == 1
    with pytest.raises((KeyError, BindingError)):
        await stream.reader.read()


async def test_a_key_that_raises_fails_it() -> None:
    stream = newest(3, Conflate(lambda item: 1 // item))
    assert not stream.feed(raw(1, 0, 2))
    assert await stream.reader.read() == 1
    with pytest.raises(ZeroDivisionError):
        await stream.reader.read()


@pytest.mark.parametrize("ended", [False, True])
async def test_a_reader_that_leaves_reads_no_more(ended: bool) -> None:
    stream = newest()
    stream.feed(raw(1))
    if ended:
        stream.end(None)
    stream.reader.close()
    with pytest.raises(ChannelClosed):
        await stream.reader.read()


async def test_a_stream_read_to_its_end_stays_at_its_end() -> None:
    stream = newest()
    stream.end(None)
    stream.reader.close()
    with pytest.raises(trio.EndOfChannel):
        await stream.reader.read()


async def test_streams_may_be_read_so() -> None:
    desk = Desk()
    stream = desk.incoming.open("1", LOAD, 2, DropOldest())
    assert not desk.incoming.feed("1", raw(1, 2, 3))
    assert stream.reader.read_ready() == [2, 3]
    assert desk.incoming.feed("1", raw("x"))
    assert "1" not in desk.incoming
    desk.incoming.forget(stream)


async def test_what_lies_unread_counts_for_the_connection_by_which_more_comes() -> None:
    desk = Desk(connection_buffer_size=100)
    stream = desk.incoming.open("1", LOAD, 1)
    desk.incoming.feed("1", raw(*range(10)))
    other = Reading(session_options(connection_buffer_size=100))
    assert other.wanted
    desk.incoming.move(other)
    assert not other.wanted
    assert stream.reader.read_ready() == list(range(10))
    assert other.wanted


def test_readers_have_no_periods() -> None:
    with pytest.raises(ValueError, match="every is for what is sent, and not for readers"):
        newest(policy=Conflate(by_tens, every=1))
