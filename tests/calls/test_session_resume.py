"""A connection that is torn goes on: every message arrives once and in order, whatever was lost."""

from collections.abc import AsyncIterator
from random import Random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.messages import PING, Message, ack, call, close, ended, item, result, sequence, stream
from trio_hubs.calls.channels import ChannelReader

from .support import encode, open_side
from .torn import StatefulPeer, TornSide, open_torn

quick = pytest.mark.parametrize("quick", [False, True], ids=["writer", "at once"])


def hello(number: int) -> Message:
    """A call of ours, to be told from others."""
    return call("hello", number)


async def say(side: TornSide, *numbers: int) -> None:
    """Make such calls, each in a piece of its own."""
    for number in numbers:
        await side.session.our_calls.send("hello", (number,))
        await wait_all_tasks_blocked()


# ---- going on


@quick
async def test_the_first_message_says_where_we_go_on(autojump_clock: MockClock, quick: bool) -> None:
    async with open_torn(quick=quick) as side:
        await side.tear()
        peer = await side.resume(sequence(1))
        assert await peer.receive() == sequence(1)
        await say(side, 1)
        assert await peer.receive() == hello(1)


@quick
@pytest.mark.parametrize("acknowledged", range(4))
async def test_what_was_not_acknowledged_comes_again(
    autojump_clock: MockClock, acknowledged: int, quick: bool
) -> None:
    async with open_torn(quick=quick) as side:
        await say(side, 1, 2, 3)
        if acknowledged:
            await side.peer.send(ack(acknowledged))
        await side.tear()
        await side.resume(sequence(1))
        await say(side, 4)
        first, *rest = [await side.peer.receive() for _ in range(5 - acknowledged)]
        assert first == sequence(acknowledged + 1)
        assert rest == [hello(number) for number in range(acknowledged + 1, 5)]


@quick
async def test_what_is_sent_while_away_comes_after_what_comes_again(
    autojump_clock: MockClock, quick: bool
) -> None:
    async with open_torn(quick=quick) as side:
        await say(side, 1)
        await side.tear()
        await say(side, 2, 3)
        await side.resume(sequence(1))
        received = [await side.peer.receive() for _ in range(4)]
        assert received == [sequence(1), hello(1), hello(2), hello(3)]


async def test_it_may_tear_again_and_again(autojump_clock: MockClock) -> None:
    async with open_torn() as side:
        for number in range(1, 6):
            await say(side, number)
            await side.tear()
            await side.attach()  # and it tears before anything was said
            await side.tear()
        await side.resume(sequence(1))
        assert [await side.peer.receive() for _ in range(6)] == [sequence(1), *map(hello, range(1, 6))]


async def test_what_the_peer_sends_again_is_not_done_again(autojump_clock: MockClock) -> None:
    async with open_torn() as side:
        seen: list[int] = []
        side.face.add("note", seen.append)
        notes = [call("note", number) for number in range(1, 6)]
        await side.peer.send(*notes[:3])
        await side.tear()
        await side.resume(sequence(2), *notes[1:])
        assert seen == [1, 2, 3, 4, 5]


async def test_messages_before_the_sequence_are_taken(autojump_clock: MockClock) -> None:
    async with open_torn() as side:
        seen: list[int] = []
        side.face.add("note", seen.append)
        await side.tear()
        await side.resume(call("note", 1), PING)
        assert seen == [1]


@pytest.mark.parametrize("cut_at", range(1, 40, 6))
async def test_half_a_message_is_forgotten(autojump_clock: MockClock, cut_at: int) -> None:
    async with open_torn() as side:
        seen: list[int] = []
        side.face.add("note", seen.append)
        note = call("note", 1)
        await side.peer.connection.send(encode(note)[:cut_at])
        await wait_all_tasks_blocked()
        await side.tear()
        await side.resume(sequence(1), note)
        assert seen == [1]


@quick
async def test_a_new_link_replaces_one_that_is_not_known_to_be_lost(
    autojump_clock: MockClock, quick: bool
) -> None:
    async with open_torn(quick=quick) as side:
        seen: list[int] = []
        side.face.add("note", seen.append)
        await say(side, 1)
        old = side.peer
        await old.connection.send(encode(call("note", 1))[:-3])
        await wait_all_tasks_blocked()
        new = await side.resume(sequence(1), call("note", 1))
        await say(side, 2)
        assert [await new.receive() for _ in range(3)] == [sequence(1), hello(1), hello(2)]
        assert seen == [1]


@quick
async def test_a_new_link_frees_a_writer_that_is_stuck_in_the_old_one(
    autojump_clock: MockClock, quick: bool
) -> None:
    async with open_torn(capacity=1, quick=quick) as side:
        await say(side, 1, 2, 3)
        assert side.session.outbox.times.sending_since is not None
        await side.resume(sequence(1))
        received = [await side.peer.receive() for _ in range(4)]
        assert received == [sequence(1), hello(1), hello(2), hello(3)]


# ---- acknowledgements


async def test_the_highest_is_acknowledged_within_a_second(autojump_clock: MockClock) -> None:
    async with open_torn() as side:
        side.face.add("note", [].append)
        for begin in (0, 3):
            await side.peer.send(*(call("note", number) for number in range(3)))
            asked = trio.current_time()
            assert await side.peer.receive() == ack(begin + 3)
            assert trio.current_time() - asked <= 1
        with trio.move_on_after(10) as silence:
            await side.peer.receive()
        assert silence.cancelled_caught


async def test_a_second_acknowledgement_waits_its_second(autojump_clock: MockClock) -> None:
    async with open_torn() as side:
        side.face.add("note", [].append)
        times: list[float] = []
        await side.peer.send(call("note", 0))
        assert await side.peer.receive() == ack(1)
        times.append(trio.current_time())
        await side.peer.send(call("note", 1))
        assert await side.peer.receive() == ack(2)
        assert trio.current_time() - times[0] == pytest.approx(1)


async def test_an_acknowledgement_that_was_lost_is_sent_again(autojump_clock: MockClock) -> None:
    async with open_torn() as side:
        side.face.add("note", [].append)
        await side.peer.send(call("note", 0))
        await trio.sleep(2)  # it is under way now
        await side.tear()
        await side.resume(sequence(1), call("note", 0))
        assert [await side.peer.receive() for _ in range(2)] == [sequence(1), ack(1)]


async def test_our_acknowledgement_follows_what_comes_again(autojump_clock: MockClock) -> None:
    async with open_torn() as side:
        side.face.add("note", [].append)
        await say(side, 1, 2)
        await side.peer.send(call("note", 0))
        await side.tear()
        await trio.sleep(3)
        await side.resume(sequence(1), call("note", 0))
        received = [await side.peer.receive() for _ in range(4)]
        assert received == [sequence(1), hello(1), hello(2), ack(1)]


async def test_an_acknowledgement_while_we_repeat_loses_nothing(autojump_clock: MockClock) -> None:
    async with open_torn(capacity=0) as side:

        async def take(count: int) -> list[Message]:
            return [await side.peer.receive() for _ in range(count)]

        await say(side, 1)
        await take(1)
        await say(side, 2)
        await take(1)
        await side.tear()
        await side.attach()
        assert side.session.outbox.times.sending_since is not None  # is repeating
        await say(side, 3)
        await side.peer.send(sequence(1), ack(1))
        assert await take(4) == [sequence(1), hello(1), hello(2), hello(3)]
        await side.tear()
        await side.attach()
        # The peer may not have come as far again as it has acknowledged: what it drops counts for it.
        assert await take(4) == [sequence(1), {"type": 3, "invocationId": "0"}, hello(2), hello(3)]


# ---- what a peer must not


@pytest.mark.parametrize("number", [2, 5, 2**60])
@pytest.mark.parametrize("torn", [False, True])
async def test_a_sequence_that_is_too_high_closes(autojump_clock: MockClock, number: int, torn: bool) -> None:
    async with open_torn() as side:
        if torn:
            await side.tear()
            await side.attach()
            assert await side.peer.receive() == sequence(1)
        await side.peer.send(sequence(number))
        text = "Sequence ID greater than amount of messages we've received."
        assert await side.peer.receive() == close(f"ended: {text}", allow_reconnect=True)
        await side.over.wait()
        assert side.life.events[-1] == ("closed", text)


async def test_what_came_before_a_bad_sequence_is_done(autojump_clock: MockClock) -> None:
    async with open_torn() as side:
        seen: list[int] = []
        side.face.add("note", seen.append)
        await side.peer.send(call("note", 1), sequence(99), call("note", 2))
        assert side.over.is_set()
        assert seen == [1]


async def test_where_nothing_can_be_resumed_its_messages_mean_nothing(autojump_clock: MockClock) -> None:
    async with open_side() as side:
        side.face.add("plain", lambda: 1)
        await side.peer.send(sequence(99), ack(99), sequence(1), ack(-1), call("plain", id="1"))
        assert await side.peer.receive() == result("1", 1)
        for _ in range(3):
            side.session.tick(trio.current_time() + 1)
        await wait_all_tasks_blocked()
        assert not side.over.is_set()
        assert not side.session.outbox.size  # no acknowledgement


# ---- calls, streams, uploads and results across tears


@quick
async def test_a_call_is_answered_across_a_tear(autojump_clock: MockClock, quick: bool) -> None:
    async with open_torn(quick=quick) as side:
        gate = trio.Event()

        @side.method
        async def slow() -> int:
            await gate.wait()
            return 5

        await side.peer.send(call("slow", id="1"))
        await side.tear()
        gate.set()
        await wait_all_tasks_blocked()
        await side.resume(sequence(2))
        assert [await side.peer.receive() for _ in range(2)] == [sequence(1), result("1", 5)]


async def test_our_call_is_answered_across_a_tear(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    async with open_torn() as side:
        answers: list[int] = []

        async def ask() -> None:
            answers.append(await side.session.our_calls.invoke("ask", (), int))

        nursery.start_soon(ask)
        assert await side.peer.receive() == call("ask", id="s1")
        await side.tear()
        await side.resume(sequence(1), result("s1", 7))
        await side.resume(sequence(1), result("s1", 8))
        assert answers == [7]


async def test_a_call_is_cancelled_across_a_tear(autojump_clock: MockClock) -> None:
    async with open_torn() as side:

        @side.method
        async def forever() -> AsyncIterator[int]:
            yield 1
            await trio.sleep_forever()

        await side.peer.send(stream("forever"))
        await side.tear()
        await side.resume(sequence(2), {"type": 5, "invocationId": "1"})
        received = [await side.peer.receive() for _ in range(3)]
        assert received == [sequence(1), item("1", 1), ended("1")]


class Work:
    """Methods of every kind, and what they have been called with."""

    def __init__(self, side: TornSide) -> None:
        self.side = side
        self.seen: list[str] = []
        for method in (self.echo, self.later, self.count, self.total, self.asks):
            side.method(method)

    def echo(self, text: str) -> str:
        self.seen.append(text)
        return text

    async def later(self, text: str) -> str:
        await trio.sleep(0.3)
        self.seen.append(text)
        return text

    async def count(self, stop: int) -> AsyncIterator[int]:
        for number in range(stop):
            await trio.sleep(0.1)
            yield number

    async def total(self, items: ChannelReader[int]) -> int:
        return sum([number async for number in items])

    async def asks(self, text: str) -> str:
        return str(await self.side.session.our_calls.invoke("ask", (text,), str))


@quick
@pytest.mark.parametrize("limit", [100, 100_000])
@pytest.mark.parametrize("seed", range(12))
async def test_everything_arrives_once_whatever_is_lost(
    autojump_clock: MockClock, seed: int, limit: int, quick: bool
) -> None:
    random = Random(seed)
    async with open_torn(
        stateful_reconnect_buffer_size=limit,
        acknowledgement_timeout=10**9,
        maximum_parallel_invocations=100,
        quick=quick,
    ) as side:
        work = Work(side)
        peer = StatefulPeer(side)
        script: list[Message] = [
            stream("count", 30, id="count"),
            call("total", id="sum", uploads=("u",)),
        ]
        for number in range(40):
            kind = random.choice(("echo", "later", "asks"))
            script += [call(kind, f"{number}", id=f"{number}"), item("u", number)]
        script.append(ended("u"))
        answered = 0
        while script or not peer.settled or side.session.their_calls.idle is False:
            match random.randrange(7):
                case 0 | 1 | 2 if script:
                    await peer.send(script.pop(0))
                case 3:
                    await peer.read(random.randrange(4))
                case 4:
                    await peer.acknowledge()
                case 5:
                    await trio.sleep(random.random() * 2)
                case _:
                    if script and random.random() < 0.5:  # what is sent last does not arrive whole
                        await peer.send(script.pop(0), arriving=random.random() * 0.99)
                    if random.random() < 0.5:
                        await side.tear()
                        await trio.sleep(random.random())
                    await peer.resume()
            for message in peer.taken[answered:]:
                if message["type"] == 1:
                    await peer.send(result(message["invocationId"], message["arguments"][0]))
            answered = len(peer.taken)
            assert trio.current_time() < 1000, "nothing goes on any more"
        for _ in range(5):
            await peer.read()
            await peer.acknowledge()
        answers = {message["invocationId"]: message for message in peer.taken if message["type"] == 3}
        items = [message["item"] for message in peer.taken if message["type"] == 2]
        assert items == list(range(30))
        assert answers.pop("count") == ended("count")
        assert answers.pop("sum") == result("sum", sum(range(40)))
        assert answers == {f"{number}": result(f"{number}", f"{number}") for number in range(40)}
        assert len([message for message in peer.taken if message["type"] == 3]) == 42
        assert len(work.seen) == len(set(work.seen))
