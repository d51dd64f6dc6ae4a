"""What lies unread is bounded and counted, and the connection is read exactly while somebody wants it."""

import gc
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from msgspec import Raw
from trio.testing import wait_all_tasks_blocked

from trio_hubs.calls.channels import GIVE_WAY, ChannelReader
from trio_hubs.calls.incoming import (
    PIECE_SIZE,
    IncomingStream,
    IncomingStreams,
    check_capacity,
    payload_size,
)
from trio_hubs.calls.reading import Reading
from trio_hubs.calls.unread import ItemLoader
from trio_hubs.errors import BindingError, ChannelClosed, ConnectionClosed, StreamOverflow
from trio_hubs.protocol.hub_protocol import HubProtocol
from trio_hubs.protocol.json_protocol import JsonHubProtocol
from trio_hubs.protocol.messagepack_protocol import MessagePackHubProtocol

from .support import PROTOCOL, raw, read_all, session_options, turns

ONE = payload_size(raw(1)[0])
"""What an item of one digit counts for."""


def incoming_for(*, stream: float = 1000, connection: float = 1000, hard: float = 1000) -> IncomingStreams:
    """An incoming with limits in items of one digit."""
    return IncomingStreams(
        Reading(
            session_options(
                stream_buffer_size=int(stream * ONE),
                connection_buffer_size=int(connection * ONE),
                connection_buffer_limit=int(hard * ONE),
            )
        ),
        PROTOCOL.payloads,
    )


def open_stream(incoming: IncomingStreams, id: str = "7", *, capacity: int = 0) -> IncomingStream[int]:
    payloads = PROTOCOL.payloads
    return incoming.open(id, ItemLoader(payloads.many_loader(int), payloads.loader(int)), capacity)


def ones(count: int) -> list[Raw]:
    return raw(*[1] * count)


def is_even(incoming: IncomingStreams) -> bool:
    """Whether nothing is counted as unread: one item less than the bound fits, and reading goes on."""
    incoming.reading.count(incoming.reading.options.connection_buffer_size - 1)
    even = incoming.reading.wanted
    incoming.reading.count(1)
    even = even and not incoming.reading.wanted
    incoming.reading.count(-incoming.reading.options.connection_buffer_size)
    return even and incoming.reading.wanted


# ---- streams


def test_a_payload_counts_for_its_length_and_its_keep() -> None:
    assert payload_size(Raw(b"12345")) == 5 + 32


async def test_items_are_read_in_order_until_the_end() -> None:
    incoming = incoming_for()
    stream = open_stream(incoming)
    assert "7" in incoming
    assert not incoming.feed("7", raw(1, 2))
    assert not incoming.feed("7", raw(3))
    assert [stream.reader.read_nowait() for _ in range(3)] == [1, 2, 3]
    with pytest.raises(trio.WouldBlock):
        stream.reader.read_nowait()
    assert not incoming.feed("7", raw(4, 5))
    assert incoming.complete("7", None)
    assert "7" not in incoming
    assert await read_all(stream.reader) == [4, 5]
    assert is_even(incoming)


async def test_an_error_of_the_peers_comes_after_the_items() -> None:
    incoming = incoming_for()
    stream = open_stream(incoming)
    incoming.feed("7", raw(1))
    incoming.complete("7", ValueError("broken"))
    assert await stream.reader.read() == 1
    with pytest.raises(ValueError, match="broken"):
        await stream.reader.read()
    assert is_even(incoming)


def test_unknown_streams_are_thrown_away() -> None:
    incoming = incoming_for()
    assert not incoming.feed("9", raw(1))
    assert not incoming.complete("9", None)
    assert is_even(incoming)


def test_a_stream_ends_only_once() -> None:
    incoming = incoming_for()
    open_stream(incoming)
    assert incoming.complete("7", None)
    assert not incoming.complete("7", ValueError("again"))


async def test_a_waiting_reader_gets_an_item_and_the_end(nursery: trio.Nursery) -> None:
    incoming = incoming_for()
    stream = open_stream(incoming)
    got: list[Any] = []

    async def read() -> None:
        got.extend(await read_all(stream.reader))
        got.append("end")

    nursery.start_soon(read)
    nursery.start_soon(read)
    for number in range(3):
        await wait_all_tasks_blocked()
        incoming.feed("7", raw(number))
    await wait_all_tasks_blocked()
    assert got == []  # they are still reading
    incoming.complete("7", None)
    await wait_all_tasks_blocked()
    assert sorted(map(str, got)) == ["0", "1", "2", "end", "end"]


async def test_an_item_of_another_type_ends_the_stream_after_those_before_it() -> None:
    incoming = incoming_for()
    stream = open_stream(incoming)
    stopped: list[str] = []
    incoming.on_failed = stopped.append
    assert not incoming.feed("7", raw(1, 2, "three", 4))
    assert not incoming.feed("7", raw(5))
    assert "7" in incoming
    assert await stream.reader.read() == 1
    assert stopped == ["7"]
    assert "7" not in incoming
    assert not incoming.feed("7", raw(6))
    assert await stream.reader.read() == 2
    for _ in range(2):
        with pytest.raises(BindingError, match="does not fit the type 'int'"):
            await stream.reader.read()
    assert stopped == ["7"]
    assert is_even(incoming)


async def test_a_first_item_of_another_type_is_the_end_also_where_its_peer_has_ended_the_stream() -> None:
    incoming = incoming_for()
    stopped: list[str] = []
    incoming.on_failed = stopped.append
    stream = open_stream(incoming)
    incoming.feed("7", raw("one"))
    incoming.feed("7", raw(2))
    incoming.complete("7", None)
    again = open_stream(incoming)
    assert not await_end(stream)
    with pytest.raises(BindingError, match="does not fit the type 'int'"):
        await stream.reader.read()
    assert stopped == []
    assert "7" in incoming
    again.end(None)
    assert is_even(incoming)


def await_end(stream: IncomingStream[int]) -> list[int]:
    """The items that there are before an end that is an error."""
    try:
        return stream.reader.read_ready()
    except BindingError:
        return []


async def test_what_cannot_be_taken_apart_fails_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    incoming = incoming_for()

    def never(_: bytes) -> list[Raw]:
        raise RecursionError

    incoming.split = never
    stream = open_stream(incoming)
    incoming.feed("7", raw("one"))
    with pytest.raises(BindingError, match="An item cannot be read"):
        await stream.reader.read()
    assert is_even(incoming)


@pytest.mark.parametrize("size", [1, 8, 100, 1000])
async def test_items_are_decoded_in_small_pieces_when_they_are_wanted(size: int) -> None:
    """So what has been decoded and lies unread is little, whatever was taken in."""
    incoming = incoming_for()
    decoded = 0
    payloads = PROTOCOL.payloads

    def load_many(data: bytes) -> list[str]:
        nonlocal decoded
        items: list[str] = payloads.many_loader(str)(data)
        decoded += len(items)
        return items

    stream = incoming.open("7", ItemLoader(load_many, payloads.loader(str)), 0)
    items = ["x" * size] * 300
    incoming.feed("7", raw(*items))
    assert decoded == 0
    assert stream.reader.read_nowait() == items[0]
    assert decoded == max(1, min(GIVE_WAY, 512 // (size + 2)))
    assert stream.reader.read_ready() == items[1:]
    assert decoded == 300
    assert is_even(incoming)


def test_large_items_among_small_ones_are_decoded_apart() -> None:
    incoming = incoming_for()
    decoded: list[int] = []
    payloads = PROTOCOL.payloads

    def load_many(data: bytes) -> list[str]:
        items: list[str] = payloads.many_loader(str)(data)
        decoded.append(len(items))
        return items

    stream = incoming.open("7", ItemLoader(load_many, payloads.loader(str)), 0)
    items = ["x" * (400 if number % 16 == 5 else 2) for number in range(128)]
    incoming.feed("7", raw(*items))
    assert stream.reader.read_ready() == items
    assert max(decoded) > 2
    at = 0
    for count in decoded:
        assert sum(len(one) + 2 for one in items[at : at + count]) <= PIECE_SIZE
        at += count
    assert is_even(incoming)


async def test_each_item_that_is_there_already_is_a_cancellation_point() -> None:
    incoming = incoming_for()
    stream = open_stream(incoming)
    incoming.feed("7", raw(*range(100)))
    taken: list[int] = []
    with trio.CancelScope() as scope:
        async for item in stream.reader:
            taken.append(item)
            if item == 30:
                scope.cancel()
    assert scope.cancelled_caught
    assert taken == list(range(31))
    assert stream.reader.read_nowait() == 31


async def test_what_was_waited_for_comes_before_what_is_there() -> None:
    incoming = incoming_for()
    stream = open_stream(incoming)
    incoming.feed("7", raw(*range(10)))
    incoming.complete("7", None)
    assert await stream.reader.wait_to_read()
    assert await read_all(stream.reader) == list(range(10))
    assert is_even(incoming)


async def test_items_that_are_there_give_way_every_64() -> None:
    incoming = incoming_for(hard=2000)
    stream = open_stream(incoming)
    incoming.feed("7", raw(*range(1000)))
    incoming.complete("7", None)
    async with turns() as taken:
        assert await read_all(stream.reader) == list(range(1000))
        assert taken() in range(1000 // GIVE_WAY - 1, 1000 // GIVE_WAY + 2)


@pytest.mark.parametrize("protocol", [JsonHubProtocol(), MessagePackHubProtocol()])
async def test_what_lies_unread_costs_little_more_than_it_counts_for(protocol: HubProtocol) -> None:
    """Empty lists are two bytes, or one, on the wire, and sixty-four in memory."""
    incoming = IncomingStreams(
        Reading(session_options(stream_buffer_size=1 << 20, connection_buffer_size=1 << 20)),
        protocol.payloads,
    )
    payloads = protocol.payloads
    nested = (
        b"[" + b",".join([b"[]"] * 1000) + b"]"
        if protocol.name == "json"
        else b"\xdc\x03\xe8" + b"\x90" * 1000
    )
    streams = [
        incoming.open(str(id), ItemLoader(payloads.many_loader(list), payloads.loader(list)), 10)
        for id in range(10)
    ]
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for stream in streams:
            for _ in range(10):
                read = b"x" * 50_000 + nested  # an item is a view of all that was read with it
                incoming.feed(stream.id, [view_of(read, len(nested))])
            assert stream.reader.read_nowait() == [[]] * 1000
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept < 2 * len(streams) * 10 * (len(nested) + 32)


def view_of(data: bytes, length: int) -> Raw:
    """The last bytes of some, as a parser gives an item."""
    return Raw(memoryview(data)[-length:])


async def test_items_that_fit_one_by_one_but_not_together_are_taken() -> None:
    incoming = incoming_for()

    def never(_: object) -> list[int]:
        raise BindingError("not together")

    stream = incoming.open("7", ItemLoader(never, PROTOCOL.payloads.loader(int)), 0)
    assert not incoming.feed("7", raw(1, 2))
    assert stream.reader.read_ready() == [1, 2]
    assert is_even(incoming)


async def test_the_connections_end_fails_every_stream_after_its_items() -> None:
    incoming = incoming_for()
    streams = [open_stream(incoming, id) for id in "78"]
    incoming.feed("7", raw(1))
    incoming.fail_all(ConnectionClosed("gone"))
    assert streams[0].reader.read_nowait() == 1
    for stream in streams:
        with pytest.raises(ConnectionClosed, match="gone"):
            await stream.reader.read()
    assert not incoming.feed("7", raw(2))
    assert is_even(incoming)


def test_a_forgotten_stream_keeps_nothing() -> None:
    incoming = incoming_for()
    stream = open_stream(incoming)
    incoming.feed("7", raw(1))
    incoming.forget(stream)
    assert "7" not in incoming
    with pytest.raises(ChannelClosed):
        stream.reader.read_ready()
    assert is_even(incoming)


def test_a_stream_that_its_reader_has_left_throws_items_away_until_its_end() -> None:
    incoming = incoming_for()
    stream = open_stream(incoming)
    incoming.feed("7", raw(1))
    stream.reader.close()
    assert is_even(incoming)
    assert "7" in incoming
    assert not incoming.feed("7", raw(2, "of another type"))
    assert is_even(incoming)
    assert incoming.complete("7", ValueError("nobody hears this"))
    with pytest.raises(ChannelClosed):
        stream.reader.read_ready()


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
async def test_a_reader_that_was_left_does_not_look_like_a_clean_end(
    read: Callable[[ChannelReader[int]], object],
) -> None:
    incoming = incoming_for()
    stream = open_stream(incoming)
    incoming.feed("7", raw(1))
    stream.reader.close()
    for _ in range(2):
        with pytest.raises(ChannelClosed):
            outcome = read(stream.reader)
            assert isinstance(outcome, Awaitable)
            await outcome


async def test_leaving_a_stream_wakes_who_waits_for_an_item(nursery: trio.Nursery) -> None:
    incoming = incoming_for()
    stream = open_stream(incoming)
    woken = trio.Event()

    @nursery.start_soon
    async def _() -> None:
        with pytest.raises(ChannelClosed):
            await stream.reader.read()
        woken.set()

    await wait_all_tasks_blocked()
    stream.reader.close()
    await wait_all_tasks_blocked()
    assert woken.is_set()


def test_items_that_are_thrown_away_are_no_clean_end_though_the_peer_had_ended() -> None:
    incoming = incoming_for()
    stream = open_stream(incoming)
    incoming.feed("7", raw(1, 2))
    incoming.complete("7", None)
    assert stream.reader.read_nowait() == 1
    incoming.forget(stream)
    with pytest.raises(ChannelClosed, match="This reader was closed"):
        stream.reader.read_nowait()


def test_leaving_an_overfull_stream_wakes_nobody_twice() -> None:
    incoming = incoming_for(stream=1)
    stream = open_stream(incoming)
    incoming.feed("7", ones(3))
    assert not incoming.reading.wanted
    stream.reader.close()
    assert incoming.reading.wanted
    stream.reader.close()
    assert is_even(incoming)


def test_forgetting_a_finished_stream_spares_another_with_its_id() -> None:
    incoming = incoming_for()
    first = open_stream(incoming)
    incoming.complete("7", None)
    second = open_stream(incoming)
    incoming.forget(first)
    assert "7" in incoming
    incoming.feed("7", raw(2))
    assert second.reader.read_ready() == [2]


# ---- when to read


def test_reading_pauses_when_a_stream_holds_more_than_its_share() -> None:
    incoming = incoming_for(stream=2)
    stream = open_stream(incoming)
    incoming.feed("7", ones(2))
    assert incoming.reading.wanted
    incoming.feed("7", ones(1))
    assert not incoming.reading.wanted
    incoming.feed("7", ones(1))
    stream.reader.read_nowait()
    assert not incoming.reading.wanted
    stream.reader.read_nowait()
    assert incoming.reading.wanted


def test_a_batch_counts_until_its_last_item_is_read() -> None:
    incoming = incoming_for(connection=3)
    stream = open_stream(incoming, capacity=100)
    for count in (3, 2):
        incoming.feed("7", ones(count))
    stream.reader.read_ready(2)
    assert not incoming.reading.wanted
    stream.reader.read_nowait()
    assert incoming.reading.wanted
    stream.reader.read_ready()
    assert is_even(incoming)


def test_so_many_items_as_the_capacity_are_never_too_many() -> None:
    incoming = incoming_for(stream=2)
    stream = open_stream(incoming, capacity=5)
    for _ in range(5):
        incoming.feed("7", ones(1))
        assert incoming.reading.wanted
    incoming.feed("7", ones(1))
    assert not incoming.reading.wanted
    stream.reader.read_nowait()
    assert incoming.reading.wanted


def test_reading_pauses_when_the_connection_holds_too_much() -> None:
    incoming = incoming_for(connection=4)
    streams = [open_stream(incoming, id, capacity=100) for id in "78"]
    for id in "7788":
        assert incoming.reading.wanted
        incoming.feed(id, ones(1))
    assert not incoming.reading.wanted
    streams[0].reader.read_nowait()
    assert incoming.reading.wanted


def test_what_else_waits_counts_too() -> None:
    incoming = incoming_for(connection=2, hard=3)
    incoming.reading.count(2 * ONE)
    assert not incoming.reading.wanted
    assert not incoming.reading.overfull
    incoming.reading.count(ONE + 1)
    assert incoming.reading.overfull
    incoming.reading.count(-3 * ONE - 1)
    assert is_even(incoming)


def test_reading_goes_on_while_anybody_waits() -> None:
    incoming = incoming_for(stream=1, connection=1)
    open_stream(incoming)
    incoming.feed("7", ones(5))
    with incoming.reading.waiting():
        with incoming.reading.waiting():
            assert incoming.reading.wanted
        assert incoming.reading.wanted
    assert not incoming.reading.wanted


async def test_waiting_for_an_item_is_a_demand(nursery: trio.Nursery) -> None:
    incoming = incoming_for(stream=1)
    open_stream(incoming, "7")
    incoming.feed("7", ones(2))
    assert not incoming.reading.wanted
    with trio.CancelScope() as scope:
        nursery.start_soon(wait_until_wanted_then_cancel, incoming, scope)
        await open_stream(incoming, "8").reader.read()
    assert scope.cancelled_caught
    assert not incoming.reading.wanted  # a wait that was cancelled is none any more


async def wait_until_wanted_then_cancel(incoming: IncomingStreams, scope: trio.CancelScope) -> None:
    await incoming.reading.wait_wanted()
    scope.cancel()


async def wanted(incoming: IncomingStreams) -> bool:
    """Whether who waits for the time to read is let through."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(incoming.reading.wait_wanted)
            await wait_all_tasks_blocked()
            if nursery.child_tasks:
                scope.cancel()
    return not scope.cancelled_caught


async def test_wait_wanted_returns_at_once_when_reading_is_wanted() -> None:
    assert await wanted(incoming_for())


@pytest.mark.parametrize("event", ["read", "read all", "left", "forgotten", "waiting", "call taken"])
async def test_the_connection_is_read_on_as_soon_as_it_is_wanted(event: str) -> None:
    incoming = incoming_for(stream=2, connection=3)
    stream = open_stream(incoming)
    if event == "call taken":
        incoming.reading.count(3 * ONE)
    else:
        for _ in range(3):
            incoming.feed("7", ones(1))
    assert not await wanted(incoming)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(incoming.reading.wait_wanted)
        await wait_all_tasks_blocked()
        match event:
            case "read":
                stream.reader.read_nowait()
            case "read all":
                stream.reader.read_ready()
            case "left":
                stream.reader.close()
            case "forgotten":
                incoming.forget(stream)
            case "waiting":
                with incoming.reading.waiting():
                    await wait_all_tasks_blocked()
            case _:
                incoming.reading.count(-3 * ONE)
        await wait_all_tasks_blocked()
        assert not nursery.child_tasks


async def test_reading_a_little_does_not_make_the_connection_wanted() -> None:
    incoming = incoming_for(connection=2)
    stream = open_stream(incoming, capacity=100)
    incoming.feed("7", ones(4))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(incoming.reading.wait_wanted)
        await wait_all_tasks_blocked()
        stream.reader.read_nowait()
        await wait_all_tasks_blocked()
        assert nursery.child_tasks
        nursery.cancel_scope.cancel()


# ---- the hard limit


async def test_a_flooded_stream_fails_at_the_hard_limit() -> None:
    incoming = incoming_for(stream=2, connection=4, hard=6)
    flooded, modest = open_stream(incoming, "7"), open_stream(incoming, "8")
    with incoming.reading.waiting():
        assert not incoming.feed("8", ones(2))
        assert not incoming.feed("7", ones(4))
        assert incoming.reading.wanted
        assert incoming.feed("7", ones(1))
        assert "7" not in incoming
    for _ in range(5):
        assert await flooded.reader.read() == 1
    limit = 6 * ONE
    with pytest.raises(StreamOverflow, match=rf"sent 5 items faster .* limit of {limit} unread bytes"):
        await flooded.reader.read()
    incoming.complete("8", None)
    assert await read_all(modest.reader) == [1, 1]
    assert is_even(incoming)


def test_a_failed_stream_that_is_forgotten_leaves_nothing() -> None:
    incoming = incoming_for(stream=1, hard=2)
    stream = open_stream(incoming)
    assert incoming.feed("7", ones(5))
    assert incoming.reading.overfull
    incoming.forget(stream)
    assert is_even(incoming)


def test_a_stream_within_its_share_outlives_the_flood() -> None:
    incoming = incoming_for(stream=2, hard=6)
    open_stream(incoming, "8")
    incoming.reading.count(7 * ONE)
    assert incoming.reading.overfull
    assert not incoming.feed("8", ones(2))


ENDS = ["read", "left", "forgotten", "failed", "completed and unread", "overflow", "unfit"]


@pytest.mark.parametrize("taken", range(7))
@pytest.mark.parametrize("end", ENDS)
def test_accounting_returns_to_nothing_however_a_stream_ends(end: str, taken: int) -> None:
    incoming = incoming_for(stream=2, hard=8)
    stream = open_stream(incoming)
    for batch in (raw(1), raw(22, 333), raw(4444, 5, 6)):
        incoming.feed("7", batch)
    for _ in range(taken):
        stream.reader.read_nowait()
    match end:
        case "read":
            stream.reader.read_ready()
        case "left":
            stream.reader.close()
        case "failed":
            incoming.fail_all(ConnectionClosed("gone"))
        case "completed and unread":
            incoming.complete("7", None)
        case "overflow":
            assert incoming.feed("7", ones(9))
        case "unfit":
            incoming.feed("7", raw(7, "eight"))
            stream.reader.read_nowait()
        case _:
            assert end == "forgotten"
    incoming.forget(stream)
    incoming.forget(stream)
    assert is_even(incoming)


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_stream_without_room_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match=rf"^capacity must be 1 or more: {capacity}$"):
        check_capacity(capacity)
