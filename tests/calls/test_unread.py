"""What is the same of all streams of the peer's that lie unread, whatever becomes of items that are too many."""

from collections.abc import Callable
from typing import TypeAlias

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_hubs.calls.incoming import IncomingStreams
from trio_hubs.calls.policies import WAIT, DropOldest, ReaderPolicy
from trio_hubs.calls.reading import Reading
from trio_hubs.calls.unread import ItemLoader, Unread
from trio_hubs.errors import BindingError, ChannelClosed, HubException

from .support import PROTOCOL, raw, session_options

Open: TypeAlias = Callable[..., Unread[int]]


@pytest.fixture(params=[WAIT, DropOldest()], ids=["all", "newest"])
def open_stream(request: pytest.FixtureRequest) -> Open:
    """Opens a stream of either kind."""
    policy: ReaderPolicy = request.param

    def open_stream(leave_out: Callable[[BindingError], None] | None = None) -> Unread[int]:
        payloads = PROTOCOL.payloads
        load = ItemLoader(payloads.many_loader(int), payloads.loader(int), leave_out)
        return IncomingStreams(Reading(session_options()), payloads).open("1", load, 10, policy)

    return open_stream


async def test_a_reader_gets_what_came_then_the_end(open_stream: Open) -> None:
    stream = open_stream()
    assert stream.feed(raw(1, 2))
    stream.end(HubException("no"))
    stream.end(None)
    assert stream.reader.read_ready() == [1, 2]
    with pytest.raises(HubException, match=r"^no$"):
        await stream.reader.read()


async def test_a_reader_that_waits_has_the_connection_of_the_moment_read(
    open_stream: Open, nursery: trio.Nursery
) -> None:
    stream, readings = open_stream(), [Reading(session_options()) for _ in range(2)]
    got: list[int] = []

    async def read() -> None:
        got.append(await stream.reader.read())

    for reading in readings:
        reading.count_full(1)
    stream.move(readings[0])
    nursery.start_soon(read)
    await wait_all_tasks_blocked()
    assert [reading.wanted for reading in readings] == [True, False]
    stream.move(readings[1])
    await wait_all_tasks_blocked()
    assert [reading.wanted for reading in readings] == [False, True]
    stream.feed(raw(7))
    await wait_all_tasks_blocked()
    assert got == [7]


async def test_a_reader_that_has_left_reads_no_more(open_stream: Open) -> None:
    stream = open_stream()
    stream.feed(raw(1))
    stream.end(None)
    stream.close()
    with pytest.raises(ChannelClosed):
        await stream.reader.read()


@pytest.mark.parametrize("items", [(1, "x", 2), (1, "x"), (1,)])
async def test_an_item_that_does_not_fit_is_the_streams_failure(
    open_stream: Open, items: tuple[object, ...]
) -> None:
    stream = open_stream()
    stream.feed(raw(*items))
    stream.feed(raw("y"))
    stream.end(None)
    assert await stream.reader.read() == 1
    with pytest.raises(BindingError):
        await stream.reader.read()


async def test_or_it_is_left_out(open_stream: Open) -> None:
    told: list[BindingError] = []
    stream = open_stream(told.append)
    for item in ("x", "y", 1, "z", 2, "x"):
        assert stream.feed(raw(item))
    assert await stream.reader.read() == 1
    assert await stream.reader.read() == 2
    with pytest.raises(trio.WouldBlock):
        stream.reader.read_nowait()
    assert len(told) == 4
    stream.feed(raw("x", 3, "y", "z"))
    stream.feed(raw("x"))
    stream.feed(raw(4))
    stream.feed(raw("x"))
    stream.end(None)
    assert await stream.reader.read() == 3
    assert await stream.reader.read() == 4
    with pytest.raises(trio.EndOfChannel):
        await stream.reader.read()
    assert len(told) == 9
