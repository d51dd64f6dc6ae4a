"""Credits: what a sender may send, what its receiver gives back and when, and peers that lie about either."""

from collections.abc import AsyncIterator
from math import inf
from typing import Any

import pytest
import trio
from msgspec import Raw
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.messages import Message, call, cancel, credit, ended, item, result, sequence, stream
from trio_hubs.calls.channels import ChannelReader, open_channel
from trio_hubs.calls.credits import UNLIMITED, add_credit
from trio_hubs.calls.incoming import IncomingStream
from trio_hubs.calls.policies import DropOldest
from trio_hubs.calls.unread import ItemLoader
from trio_hubs.errors import BindingError, StreamOverflow
from trio_hubs.protocol.messages import Credit

from .support import PROTOCOL, Desk, count_up, decode, encode, open_side, raw, read_stream
from .torn import open_torn

SMALL = 33
"""What an item of one digit counts for."""


def test_credit_is_bounded_and_an_infinite_one_stays() -> None:
    assert add_credit(0, 5) == 5
    assert add_credit(5, UNLIMITED) == add_credit(UNLIMITED, UNLIMITED) == UNLIMITED
    assert add_credit(inf, 5) == inf


# ---- what the peer is given


def desk_with(**changes: Any) -> Desk:
    """A desk that gives credit; a stream's share of bytes is nothing, so that its capacity alone counts."""
    return Desk(**({"credits": 1, "stream_buffer_size": 1} | changes))


def open_stream(desk: Desk, capacity: int) -> IncomingStream[int]:
    payloads = PROTOCOL.payloads
    return desk.incoming.open("7", ItemLoader(payloads.many_loader(int), payloads.loader(int)), capacity)


def waiting(desk: Desk) -> list[Message]:
    """What the peer has not taken yet."""
    return decode(b"".join(desk.outbox._pieces))


def ones(count: int) -> list[Raw]:
    return raw(*[1] * count)


@pytest.mark.parametrize(("capacity", "batch"), [(1, 1), (2, 1), (3, 2), (10, 5)])
async def test_what_is_read_is_given_back_by_halves(capacity: int, batch: int) -> None:
    desk = desk_with()
    stream = open_stream(desk, capacity)
    desk.incoming.feed("7", ones(capacity))
    for number in range(1, capacity + 1):
        await stream.reader.read()
        assert sum(message["items"] for message in waiting(desk)) == number // batch * batch


async def test_what_is_given_back_while_a_message_waits_goes_with_it() -> None:
    desk = desk_with()
    stream = open_stream(desk, 4)
    before = desk.outbox.size
    for _ in range(100):
        desk.incoming.feed("7", ones(2))
        assert len(stream.reader.read_ready()) == 2
    assert waiting(desk) == [credit("7", 200)]
    assert desk.outbox.size - before == len(encode(credit("7", 200)))


async def test_small_items_have_room_for_a_streams_share_of_bytes() -> None:
    desk = desk_with(stream_buffer_size=100 * SMALL)
    stream = open_stream(desk, 4)
    desk.incoming.feed("7", ones(4))
    assert not desk.sent
    stream.reader.read_ready()
    assert desk.sent == [credit("7", 100)]
    desk.incoming.feed("7", raw(*["x" * 2000] * 4))  # which are larger than it could know
    for _ in range(2):
        with pytest.raises(BindingError):
            await stream.reader.read()


async def test_a_stream_that_has_ended_or_failed_is_given_nothing() -> None:
    for end in ("completed", "left", "failed"):
        desk = desk_with()
        stream = open_stream(desk, 4)
        desk.incoming.feed("7", raw(1, 1, 1, "not a number" if end == "failed" else 1))
        if end == "completed":
            desk.incoming.complete("7", None)
        if end == "left":
            desk.incoming.forget(stream)
        else:
            stream.reader.read_ready()
            with pytest.raises((trio.EndOfChannel, BindingError)):
                await stream.reader.read()
        assert [message for message in desk.sent if message["type"] == 101] in ([], [credit("7", 2)])


@pytest.mark.parametrize("left", [0, 2])
async def test_who_sends_more_than_its_credit_fails_that_stream_alone(left: int) -> None:
    desk = desk_with()
    stream = open_stream(desk, 4)
    assert not desk.incoming.feed("7", ones(4 - left))
    assert desk.incoming.feed("7", ones(left + 1))
    assert "7" not in desk.incoming
    assert stream.reader.read_ready() == [1] * 4  # what it had credit for is not lost
    with pytest.raises(StreamOverflow, match=r"more items than it had credit for"):
        await stream.reader.read()


async def test_a_stream_with_credits_stops_the_reading_only_at_the_connections_limit() -> None:
    desk = desk_with(connection_buffer_size=SMALL, connection_buffer_limit=10 * SMALL)
    reading = desk.incoming.reading
    stream = open_stream(desk, 20)
    desk.incoming.feed("7", ones(10))
    assert (reading.wanted, reading.overfull) == (True, False)
    assert desk.incoming.feed("7", ones(1))
    assert (reading.wanted, reading.overfull) == (False, True)
    assert len(stream.reader.read_ready()) == 11
    assert (reading.wanted, reading.overfull) == (True, False)
    with pytest.raises(StreamOverflow, match="limit of 330 unread bytes"):
        await stream.reader.read()


# ---- what we may send


@pytest.mark.parametrize("source", ["reader", "generator"])
async def test_a_producer_waits_without_credit_and_what_it_has_made_is_on_its_way(source: str) -> None:
    desk = Desk(credits=1)
    made: list[int] = []

    async def generator() -> AsyncIterator[int]:
        async for number in count_up(100):
            made.append(number)
            yield number

    writer, reader = open_channel(int, capacity=100)
    for number in range(100):
        await writer.write(number)
    writer.complete()
    async with trio.open_nursery() as nursery:
        items = reader if source == "reader" else generator()
        nursery.start_soon(desk.outgoing.send, "1", items, int, 0)
        sent = 0
        for given in (1, 2, 70, 5):
            await wait_all_tasks_blocked()
            assert len(desk.sent) == sent
            assert len(made) == (sent if source == "generator" else 0)
            desk.their_calls.credit(Credit("1", given))
            sent += given
        await wait_all_tasks_blocked()
        desk.their_calls.credit(Credit("1", UNLIMITED))
        desk.their_calls.credit(Credit("1", UNLIMITED))
    assert desk.sent == [item("1", number) for number in range(100)]


async def test_a_generator_that_waits_between_its_items_has_no_more_credit_than_others() -> None:
    desk = Desk(credits=1)

    async def slow() -> AsyncIterator[int]:
        for number in range(100):
            await trio.lowlevel.checkpoint()
            yield number

    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.outgoing.send, "1", slow(), int, 3)
        await wait_all_tasks_blocked()
        desk.their_calls.credit(Credit("1", 40))
        await wait_all_tasks_blocked()
        assert len(desk.sent) == 43
        nursery.cancel_scope.cancel()


async def test_the_end_of_a_channel_needs_no_credit(nursery: trio.Nursery) -> None:
    desk = Desk(credits=2)
    writer, reader = open_channel(int)
    nursery.start_soon(desk.outgoing.send, "1", reader, int)
    await writer.write(1)
    await writer.write(2)
    writer.complete()
    await wait_all_tasks_blocked()
    assert not desk.outgoing.by_id


async def test_nobody_waits_for_credit_behind_the_end_of_the_connection(nursery: trio.Nursery) -> None:
    desk = Desk(credits=1)
    nursery.start_soon(desk.outgoing.send, "1", count_up(5), int)
    await wait_all_tasks_blocked()
    assert desk.sent == [item("1", 0)]
    desk.outgoing.release()
    nursery.start_soon(desk.outgoing.send, "2", count_up(5), int)
    await wait_all_tasks_blocked()
    assert not desk.outgoing.by_id


async def test_credit_that_is_not_agreed_on_or_for_an_unknown_stream_means_nothing(
    nursery: trio.Nursery,
) -> None:
    desk = Desk()
    nursery.start_soon(desk.outgoing.send, "1", count_up(5), int)
    desk.their_calls.credit(Credit("1", 1))
    await trio.lowlevel.checkpoint()
    desk.their_calls.credit(Credit("1", 1))
    await wait_all_tasks_blocked()
    assert len(desk.sent) == 5


# ---- calls


async def test_the_first_credit_of_a_stream_may_come_before_it_begins(nursery: trio.Nursery) -> None:
    desk = Desk(credits=1)
    desk.their_calls.start(nursery)

    @desk.method
    async def count() -> AsyncIterator[int]:
        async for number in count_up(5):
            yield number

    desk.their_calls.invoke(read_stream("count"))
    desk.their_calls.credit(Credit("1", 2))
    desk.their_calls.credit(Credit("1", 1))
    assert await desk.answers() == [item("1", number) for number in range(3)]
    desk.their_calls.credit(Credit("1", 5))
    assert (await desk.answers())[3:] == [item("1", 3), item("1", 4), ended("1")]


async def test_a_call_for_a_stream_brings_its_credit_along() -> None:
    desk = Desk(credits=1)
    async with desk.our_calls.stream("count", (), int, 7):
        assert desk.sent == [stream("count", id="1"), credit("1", 7)]
        assert desk.outbox._count == 2  # of those that are acknowledged and repeated
    async with desk.our_calls.stream("count", (), int, 7, DropOldest()):
        assert desk.sent[3:] == [stream("count", id="2"), credit("2", UNLIMITED)]
    assert desk.sent[2] == cancel("1")


async def test_without_an_agreement_nothing_of_it_is_on_the_wire() -> None:
    async with open_side() as side:
        async with side.session.our_calls.stream("count", (), int, 7) as reader:
            assert await side.peer.receive() == stream("count", id="1")
            await side.peer.send(*[item("1", number) for number in range(7)], credit("1", 5))
            assert [await reader.read() for _ in range(7)] == list(range(7))
        assert await side.peer.receive() == cancel("1")


async def test_credit_that_was_lost_with_a_torn_connection_is_given_again(autojump_clock: MockClock) -> None:
    async with open_torn(credits=1, stream_buffer_size=1, stream_buffer_capacity=4) as side:

        @side.method
        async def take(items: ChannelReader[int]) -> int:
            return sum([number async for number in items])

        await side.peer.send(call("take", id="1", uploads=["2"]), *[item("2", 1)] * 4)
        given = credit("2", 4)
        await side.tear()  # before the client has received it
        peer = await side.resume(sequence(6))
        again = [await peer.receive() for _ in range(2)]
        assert again == [sequence(1), given]
        await peer.send(item("2", 1), ended("2"))
        assert await peer.receive() == result("1", 5)
