"""While its client is away, or acknowledges nothing, a connection holds a bounded amount, and nobody waits for ever."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.messages import PING, Message, ack, call, close, ended, item, result, sequence, stream
from trio_hubs.calls.channels import ChannelReader
from trio_hubs.calls.options import Role
from trio_hubs.calls.outbox import TRANSPORT_BUFFER_SIZE
from trio_hubs.errors import ConnectionClosed
from trio_hubs.server.backlog import Backlog

from .support import decode, encode
from .torn import TornSide, open_torn

BIG = "x" * 1000


async def say(side: TornSide, *texts: str) -> None:
    """Make calls, each in a piece of its own."""
    for text in texts:
        await side.session.our_calls.send("hello", (text,))
        await wait_all_tasks_blocked()


async def received(side: TornSide) -> list[Message]:
    """What the peer has received by now."""
    messages: list[Message] = []
    with trio.move_on_after(0.0001):
        while data := await side.peer.connection.receive():
            messages += decode(data)
    return messages


def texts(messages: list[Message]) -> list[str]:
    return [message["arguments"][0] for message in messages if message["type"] == 1]


# ---- the limit of what is not acknowledged


@pytest.mark.parametrize("quick", [False, True], ids=["writer", "at once"])
async def test_above_the_limit_nothing_is_sent_until_an_acknowledgement(
    autojump_clock: MockClock, quick: bool
) -> None:
    async with open_torn(stateful_reconnect_buffer_size=1500, quick=quick) as side:
        await say(side, "1" + BIG, "2" + BIG, "3", "4")
        assert [text[0] for text in texts(await received(side))] == ["1", "2"]
        side.face.add("plain", lambda: 1)
        await side.peer.send(PING, call("plain"))  # reading makes no room
        assert texts(await received(side)) == []
        await side.peer.send(ack(1))
        assert texts(await received(side)) == ["3", "4"]


async def test_the_limit_is_chosen(autojump_clock: MockClock) -> None:
    async with open_torn(stateful_reconnect_buffer_size=0) as side:
        await say(side, "1", "2")
        assert texts(await received(side)) == ["1"]
        await side.peer.send(ack(1))
        assert texts(await received(side)) == ["2"]


async def test_what_is_held_back_survives_a_tear(autojump_clock: MockClock) -> None:
    async with open_torn(stateful_reconnect_buffer_size=1) as side:
        await say(side, "1", "2")
        await side.tear()
        await say(side, "3")
        await side.resume(sequence(1))
        assert [message.get("sequenceId") for message in await received(side)] == [1, None]
        await side.peer.send(ack(1))
        assert texts(await received(side)) == ["2", "3"]


async def test_who_sends_waits_while_nothing_is_acknowledged(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async with open_torn(stateful_reconnect_buffer_size=1500, acknowledgement_timeout=10**9) as side:
        sent = 0

        async def produce() -> None:
            nonlocal sent
            while True:
                await side.session.our_calls.send("hello", (BIG,))
                sent += 1

        nursery.start_soon(produce)
        await trio.sleep(100)
        stuck = sent
        assert stuck < TRANSPORT_BUFFER_SIZE / 1000 + 10
        for number in range(1, 4):
            await side.peer.send(ack(1000 * number))
        assert sent > stuck
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("end", ["close", "us", "shutdown"])
async def test_an_end_does_not_wait_for_acknowledgements(autojump_clock: MockClock, end: str) -> None:
    async with open_torn(stateful_reconnect_buffer_size=1) as side:
        await say(side, "1", "2")
        if end == "close":
            await side.peer.send(close())
        elif end == "us":
            side.session.end()
        else:
            side.scope.cancel()
        with trio.fail_after(1):
            await side.over.wait()
        messages = await received(side)
        assert texts(messages) == ["1", "2"]
        assert messages[-1] == close(allow_reconnect=end == "shutdown")


async def test_what_does_not_count_never_waits(autojump_clock: MockClock) -> None:
    """Else two peers that both wait for acknowledgements wait for ever."""
    async with open_torn(stateful_reconnect_buffer_size=1, acknowledgement_timeout=10**9) as side:
        side.face.add("note", lambda: None)
        await say(side, "1", "2")
        await side.peer.send(call("note"))
        await trio.sleep(20)
        messages = await received(side)
        assert texts(messages) == ["1"]
        assert ack(1) in messages
        assert PING in messages


async def test_a_peer_that_never_acknowledges_costs_bounded_memory(autojump_clock: MockClock) -> None:
    async with open_torn(
        stateful_reconnect_buffer_size=1, client_timeout=10**9, acknowledgement_timeout=10**9
    ) as side:
        side.face.add("note", lambda: None)
        await say(side, "1", "2")
        for _ in range(1000):
            await side.peer.send(call("note"))
            await trio.sleep(15)
            await received(side)
        assert side.session.outbox.size < 1000


async def test_a_peer_that_never_acknowledges_is_ended_and_may_come_back(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async with open_torn(stateful_reconnect_buffer_size=1, client_timeout=10**9) as side:
        await say(side, "1", "2")
        await trio.sleep(4)
        assert not side.session.ended
        await trio.sleep(3)
        assert side.session.too_slow
        assert side.over.is_set()
        messages = await received(side)
        assert texts(messages) == ["1", "2"]
        assert messages[-1] == close(
            "ended: The peer does not acknowledge its messages.", allow_reconnect=True
        )


async def test_one_that_ends_anyway_does_not_end_for_want_of_acknowledgements(
    autojump_clock: MockClock,
) -> None:
    async with open_torn(stateful_reconnect_buffer_size=1) as side:
        await say(side, "1", "2")
        side.session.end()
        side.session.tick(trio.current_time() + 100)
        assert not side.session.too_slow


@pytest.mark.parametrize("quick", [False, True], ids=["writer", "at once"])
async def test_a_peer_that_acknowledges_is_not_too_slow(autojump_clock: MockClock, quick: bool) -> None:
    async with open_torn(quick=quick, stateful_reconnect_buffer_size=1, client_timeout=10**9) as side:
        for number in range(1, 40):
            await say(side, str(number))
            await say(side, str(-number))
            await trio.sleep(1)
            await received(side)
            await side.peer.send(ack(2 * number - 1), ack(2 * number))
            await trio.sleep(0.1)
        assert not side.session.ended


# ---- while it is away


@pytest.mark.parametrize("quick", [False, True], ids=["writer", "at once"])
async def test_who_sends_waits_while_the_client_is_away(
    autojump_clock: MockClock, nursery: trio.Nursery, quick: bool
) -> None:
    async with open_torn(quick=quick, stateful_reconnect_buffer_size=10**9) as side:
        sent = 0

        async def produce() -> None:
            nonlocal sent
            for number in range(500):
                await side.session.our_calls.send("hello", (f"{number}" + BIG,))
                sent += 1

        await side.tear()
        nursery.start_soon(produce)
        await trio.sleep(14)
        assert sent < TRANSPORT_BUFFER_SIZE / 1000 + 2
        await side.resume(sequence(1))
        messages = [message for message in await received(side) if message["type"] == 1]
        assert texts(messages) == [f"{number}" + BIG for number in range(500)]


async def test_a_stream_waits_while_the_client_is_away(autojump_clock: MockClock) -> None:
    async with open_torn(stateful_reconnect_buffer_size=10**9) as side:
        made = 0

        @side.method
        async def flood() -> AsyncIterator[str]:
            nonlocal made
            for _ in range(1000):
                made += 1
                yield BIG

        await side.tear()
        await side.resume(sequence(1), stream("flood"))
        await side.tear()
        await side.resume(sequence(2))
        await trio.sleep(1)
        assert made == 1000
        messages = [message for message in await received(side) if message["type"] in (2, 3)]
        assert len(messages) == 1001


async def test_what_may_be_dropped_is_while_the_client_is_away(autojump_clock: MockClock) -> None:
    async with open_torn() as side:
        outbox = side.session.outbox
        backlog = Backlog(outbox)
        await side.tear()
        for number in range(10_000):
            backlog.put_expendable(encode(call("tick", f"{number}")))
            backlog.put_latest("price", encode(call("price", f"{number}")))
        assert outbox.size < TRANSPORT_BUFFER_SIZE + 1000
        await side.resume(sequence(1))
        told = await received(side)
        prices = [message["arguments"] for message in told if message.get("target") == "price"]
        ticks = [int(message["arguments"][0]) for message in told if message.get("target") == "tick"]
        assert prices == [["9999"]]
        assert ticks == list(range(10_000 - len(ticks), 10_000))
        await side.tear()
        await side.resume(sequence(1))
        again = await received(side)
        assert again[0] == sequence(1)
        assert again[1:] == told[1:]  # the count of what was dropped has not been taken for sent


async def test_nobody_is_too_slow_while_away(autojump_clock: MockClock) -> None:
    async with open_torn(send_timeout=5) as side:
        await side.tear()
        side.session.outbox.put_later(encode(call("x")), trio.current_time() + 5)
        await trio.sleep(14)
        assert not side.over.is_set()
        await side.resume(sequence(1))
        await trio.sleep(14)
        assert not side.over.is_set()
        assert not side.session.too_slow


async def test_who_comes_back_and_acknowledges_nothing_is_too_slow_for_what_comes_then(
    autojump_clock: MockClock,
) -> None:
    async with open_torn(stateful_reconnect_buffer_size=1) as side:
        outbox = side.session.outbox
        await say(side, "1")
        await side.tear()
        await side.resume(sequence(1))
        outbox.put_later(encode(call("x")), trio.current_time() + 5)
        await trio.sleep(7)
        assert side.over.is_set()
        assert side.session.too_slow


async def test_silence_counts_while_away(autojump_clock: MockClock) -> None:
    async with open_torn(client_timeout=30) as side:
        await side.peer.send(PING)
        await side.tear()
        await trio.sleep(29)
        assert not side.over.is_set()
        await trio.sleep(3)
        assert side.over.is_set()
        assert side.life.events[-1] == ("closed", "silent for 30 s")


# ---- nobody waits for ever


async def test_refusals_that_wait_do_not_keep_the_connection_from_going_on(autojump_clock: MockClock) -> None:
    async with open_torn(capacity=1, transport_buffer_size=1000) as side:
        for number in range(50):
            with trio.move_on_after(0.0001):
                await side.peer.connection.send(encode(call("x" * 100, id=f"{number}")))
        await wait_all_tasks_blocked()
        await side.tear()
        await side.attach()
        with trio.fail_after(5):
            assert await side.peer.receive() == sequence(1)


async def test_an_upload_that_waits_does_not_keep_the_connection_from_going_on(
    autojump_clock: MockClock,
) -> None:
    """The method reads on only when its stream goes on, which goes on only when the client is back."""
    async with open_torn(capacity=1, transport_buffer_size=1000, stream_buffer_size=2000) as side:

        @side.method
        async def both(items: ChannelReader[str]) -> AsyncIterator[str]:
            async for text in items:
                yield text

        await side.peer.send(stream("both", uploads=("u",)))
        with trio.move_on_after(0.0001):
            for _ in range(50):
                await side.peer.connection.send(encode(item("u", "x" * 500)))
        await wait_all_tasks_blocked()
        assert not side.session.our_calls._incoming.reading.wanted
        await side.tear()
        await side.attach()
        with trio.fail_after(5):
            assert await side.peer.receive() == sequence(1)


class Acknowledger:
    """A peer that reads all the time, acknowledges once a second what it has read, and notes when it has enough."""

    def __init__(self, side: TornSide, enough: int) -> None:
        self.side = side
        self.received: list[Message] = []
        self.satisfied = trio.Event()
        self._enough = enough

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            while True:
                await trio.sleep(1)
                await self.side.peer.connection.send(encode(ack(len(self.received))))

    async def _read(self) -> None:
        while True:
            for message in decode(await self.side.peer.connection.receive()):
                self.received += [message] if message["type"] < 6 else []
                if len(self.received) == self._enough:
                    self.satisfied.set()


async def test_a_stream_both_ways_does_not_wait_for_an_acknowledgement_that_nobody_reads(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async with open_torn(
        capacity=5, transport_buffer_size=1000, stateful_reconnect_buffer_size=1000, stream_buffer_size=2000
    ) as side:

        @side.method
        async def both(items: ChannelReader[str]) -> AsyncIterator[str]:
            async for text in items:
                yield text

        peer = Acknowledger(side, 101)
        nursery.start_soon(peer.run)
        with trio.fail_after(500):
            await side.peer.connection.send(encode(stream("both", uploads=("u",))))
            for _ in range(100):
                await side.peer.connection.send(encode(item("u", "x" * 500)))
            await side.peer.connection.send(encode(ended("u")))
            await peer.satisfied.wait()
        nursery.cancel_scope.cancel()


async def test_refusals_do_not_wait_for_an_acknowledgement_that_nobody_reads(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async with open_torn(capacity=5, transport_buffer_size=1000, stateful_reconnect_buffer_size=1000) as side:
        peer = Acknowledger(side, 100)
        nursery.start_soon(peer.run)
        with trio.fail_after(500):
            for number in range(100):
                await side.peer.connection.send(encode(call("x" * 100, id=f"{number}")))
            await peer.satisfied.wait()
        nursery.cancel_scope.cancel()


async def test_a_peer_that_causes_refusals_and_acknowledges_none_is_ended(autojump_clock: MockClock) -> None:
    async with open_torn(
        capacity=5,
        transport_buffer_size=1000,
        stateful_reconnect_buffer_size=1000,
        acknowledgement_timeout=10**9,
    ) as side:
        with trio.fail_after(9), suppress(ConnectionClosed):  # before the send timeout sees to it
            while not side.over.is_set():
                with trio.move_on_after(1):
                    await side.peer.connection.send(encode(*[call("x" * 100, id="1")] * 10))
        assert side.session.too_slow


# ---- the end while away


def by_us(side: TornSide) -> None:
    side.session.end()


def by_shutdown(side: TornSide) -> None:
    side.scope.cancel()


def by_absence(side: TornSide) -> None:
    side.connection.close()


def by_slowness(side: TornSide) -> None:
    side.session.end_slow()


def by_draining(side: TornSide) -> None:
    side.session.drain()


@pytest.mark.parametrize("end", [by_us, by_shutdown, by_absence, by_slowness, by_draining])
@pytest.mark.parametrize("attached", [False, True])
async def test_a_connection_may_end_while_away(
    autojump_clock: MockClock, end: Callable[[TornSide], None], attached: bool, nursery: trio.Nursery
) -> None:
    failures: list[Exception] = []
    async with open_torn() as side:

        async def attempt(work: Callable[[], Awaitable[object]]) -> None:
            try:
                await work()
            except ConnectionClosed as error:
                failures.append(error)

        async def flood() -> None:
            while True:
                await side.session.our_calls.send("hello", (BIG,))

        nursery.start_soon(attempt, lambda: side.session.our_calls.invoke("ask", (), int))
        await side.tear()
        nursery.start_soon(attempt, flood)
        await wait_all_tasks_blocked()
        if attached:
            nursery.start_soon(side.attach)
        end(side)
        with trio.fail_after(6):
            await side.over.wait()
        await wait_all_tasks_blocked()
        assert len(failures) == 2
        assert side.life.events[0] == "opened"
        assert len(side.life.events) == 2


async def test_a_close_while_it_is_known_to_be_back_arrives(autojump_clock: MockClock) -> None:
    async with open_torn() as side:
        await say(side, "1")
        await side.tear()
        await side.resume(sequence(1))
        side.session.end()
        await side.over.wait()
        messages = await received(side)
        assert messages[0] == sequence(1)
        assert texts(messages) == ["1"]
        assert messages[-1] == close()


async def test_a_call_that_is_made_while_away_can_be_cancelled(autojump_clock: MockClock) -> None:
    async with open_torn(role=Role.CLIENT) as side:
        await side.tear()
        with trio.move_on_after(3) as scope:
            await side.session.our_calls.invoke("ask", (), int)
        assert scope.cancelled_caught
        await side.resume(sequence(1))
        assert await received(side) == [
            sequence(1),
            call("ask", id="1"),
            {"type": 5, "invocationId": "1"},
        ]


async def test_the_peers_close_is_the_end_though_it_could_go_on(autojump_clock: MockClock) -> None:
    async with open_torn() as side:
        await side.peer.send(close())
        await side.tear()
        await side.over.wait()
        assert side.life.events == ["opened", ("closed", "")]


async def test_an_end_in_good_order_is_final(autojump_clock: MockClock) -> None:
    async with open_torn() as side:
        side.peer.connection.close()
        await side.over.wait()
        assert await received(side) == [close(allow_reconnect=True)]


async def test_a_link_that_breaks_while_the_last_bytes_leave_keeps_nobody(autojump_clock: MockClock) -> None:
    async with open_torn(capacity=0) as side:
        side.face.add("plain", lambda: 1)
        await side.peer.send(call("plain", id="1"))
        assert side.session.outbox.times.sending_since is not None
        side.session.end()
        await wait_all_tasks_blocked()
        await side.tear()
        with trio.fail_after(1):
            await side.over.wait()
        assert result("1", 1) not in await received(side)
