"""Long polling: polls take turns, nothing is lost or told twice, and what cannot be delivered breaks the connection."""

from typing import cast

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from trio_hubs.connections.http import Request, Response
from trio_hubs.connections.pipe import Pipe
from trio_hubs.connections.server.exchange import Exchange
from trio_hubs.connections.server.long_polling import NO_CACHE, LongPollingConnection, Poll
from trio_hubs.errors import ConnectionClosed


class Answers:
    """In the place of an exchange: notes the answers, as fast as it is let.

    Attributes:
        given: What was answered, as status and body.
        slow: How long an answer takes.
        broken: Whether the client takes none.
    """

    def __init__(self, *, slow: float = 0, broken: bool = False) -> None:
        self.given: list[tuple[int, bytes]] = []
        self.slow = slow
        self.broken = broken

    async def respond(self, response: Response, *, timeout: float) -> None:
        assert timeout == 10
        assert response.headers == NO_CACHE
        await trio.sleep(self.slow)
        if self.broken:
            raise ConnectionClosed("The client left.")
        self.given.append((response.status, response.body))


class Polled:
    """A connection, and polls of it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.incoming, self.outgoing = Pipe(100), Pipe(100)
        self.connection = LongPollingConnection("id", Request(), self.incoming, self.outgoing)
        self.over: list[bool] = []
        self._nursery = nursery

    async def poll(self, answers: Answers) -> Poll:
        """Start a poll, and let it come to its wait."""
        poll = self.connection.poll()
        assert poll is not None

        async def run() -> None:
            exchange = cast("Exchange", answers)
            try:
                self.over.append(
                    await self.connection.answer(poll, exchange, poll_timeout=90, send_timeout=10)
                )
            except ConnectionClosed:
                assert answers.broken

        self._nursery.start_soon(run)
        await wait_all_tasks_blocked()
        return poll


async def test_both_directions(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        polled = Polled(nursery)
        await polled.incoming.put(b"in")
        assert await polled.connection.receive() == b"in"
        with assert_checkpoints():
            await polled.connection.send(b"out")
        answers = Answers()
        await polled.poll(answers)
        assert answers.given == [(200, b"out")]
        assert polled.over == [False]
        assert not polled.connection.polled


async def test_a_waiting_poll_is_known(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        polled = Polled(nursery)
        answers = Answers()
        poll = await polled.poll(answers)
        assert polled.connection.polled
        poll.leave()
        await wait_all_tasks_blocked()
        assert not polled.connection.polled
        assert (answers.given, polled.over) == ([], [False])


async def test_polls_take_turns_and_a_third_has_no_place(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        polled = Polled(nursery)
        older, newer, newest = Answers(slow=5), Answers(), Answers()
        await polled.poll(older)
        await polled.poll(newer)
        assert polled.connection.poll() is None
        assert older.given == newer.given == []
        await trio.sleep(6)
        assert older.given == [(204, b"")]
        assert polled.over == [False]  # a poll that was sent home knows of no end
        await polled.poll(newest)
        assert newer.given == [(204, b"")]
        await polled.connection.send(b"data")
        await wait_all_tasks_blocked()
        assert newest.given == [(200, b"data")]


async def test_a_newer_poll_that_leaves_in_its_wait_gives_its_place_up(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        polled = Polled(nursery)
        older, newer, newest = Answers(slow=5), Answers(), Answers()
        await polled.poll(older)
        poll = await polled.poll(newer)
        poll.leave()
        await wait_all_tasks_blocked()
        assert polled.connection.polled
        await polled.poll(newest)
        await trio.sleep(6)
        await polled.connection.send(b"data")
        await wait_all_tasks_blocked()
        assert (older.given, newer.given, newest.given) == ([(204, b"")], [], [(200, b"data")])
        assert not polled.connection.polled


async def test_the_time_of_a_poll_counts_from_its_turn(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        polled = Polled(nursery)
        older, newer = Answers(slow=50), Answers()
        await polled.poll(older)
        await polled.poll(newer)
        await trio.sleep(139)
        assert newer.given == []
        await trio.sleep(2)
        assert newer.given == [(200, b"")]


async def test_the_end_is_told_after_the_last_data(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        polled = Polled(nursery)
        answers = Answers()
        await polled.connection.send(b"last")
        polled.connection.close()
        assert await polled.connection.receive() == b""
        with pytest.raises(ConnectionClosed):
            await polled.connection.send(b"late")
        for _ in range(3):
            await polled.poll(answers)
        assert answers.given == [(200, b"last"), (204, b""), (204, b"")]
        assert polled.over == [False, True, True]


async def test_a_superseded_poll_does_not_count_as_having_told_the_end(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        polled = Polled(nursery)
        older, newer = Answers(slow=5), Answers()
        await polled.poll(older)
        await polled.poll(newer)
        polled.connection.close()
        await trio.sleep(6)
        assert older.given == newer.given == [(204, b"")]
        assert polled.over == [False, True]


async def test_what_cannot_be_delivered_breaks_the_connection(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        polled = Polled(nursery)
        await polled.connection.send(b"lost")
        await polled.poll(Answers(broken=True))
        with pytest.raises(ConnectionClosed, match="did not take the answer of its poll"):
            await polled.connection.receive()
        with pytest.raises(ConnectionClosed):
            await polled.connection.send(b"late")
        assert not polled.connection.polled


async def test_an_answer_of_nothing_that_is_not_taken_harms_nothing(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        polled = Polled(nursery)
        await polled.poll(Answers(broken=True))
        await trio.sleep(91)
        await polled.connection.send(b"data")
        answers = Answers()
        await polled.poll(answers)
        await wait_all_tasks_blocked()
        assert answers.given == [(200, b"data")]


@pytest.mark.parametrize("passes", range(6))
async def test_data_that_comes_as_a_poll_is_superseded_is_told_once(
    passes: int, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        polled = Polled(nursery)
        older, newer = Answers(), Answers()
        await polled.poll(older)
        await polled.connection.send(b"data")
        for _ in range(passes):
            await trio.lowlevel.checkpoint()
        await polled.poll(newer)
        polled.connection.close()
        await wait_all_tasks_blocked()
        bodies = [body for _, body in (*older.given, *newer.given) if body]
        assert bodies == [b"data"]


async def test_a_cancelled_answer_leaves_the_place_free(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        polled = Polled(nursery)
        answers = Answers()
        poll = polled.connection.poll()
        assert poll is not None
        with trio.move_on_after(1):
            exchange = cast("Exchange", answers)
            await polled.connection.answer(poll, exchange, poll_timeout=90, send_timeout=10)
        assert not polled.connection.polled
        await polled.connection.send(b"data")
        await polled.poll(answers)
        assert answers.given == [(200, b"data")]


async def test_data_that_comes_as_the_client_leaves_is_not_answered_to_nobody(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        polled = Polled(nursery)
        left, back = Answers(), Answers()  # a socket takes an answer also when its peer is gone
        poll = await polled.poll(left)
        await polled.connection.send(b"data")
        poll.leave()
        await wait_all_tasks_blocked()
        assert left.given == []
        await polled.poll(back)
        assert back.given in ([(200, b"data")], [(204, b"")])  # kept, or the connection is over


async def test_an_older_poll_that_cannot_be_told_of_the_newer_harms_nothing(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        polled = Polled(nursery)
        await polled.poll(Answers(broken=True))  # its client has gone without our seeing it
        newer = Answers()
        await polled.poll(newer)
        await polled.connection.send(b"data")
        await wait_all_tasks_blocked()
        assert newer.given == [(200, b"data")]


async def test_a_poll_that_waits_for_a_broken_one_gets_nothing_of_what_comes_behind_the_gap(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        polled = Polled(nursery)
        await polled.poll(Answers(slow=5, broken=True))
        await polled.connection.send(b"lost")
        await wait_all_tasks_blocked()
        newer = Answers()
        await polled.poll(newer)
        await polled.connection.send(b"later")
        await trio.sleep(6)
        assert newer.given == [(204, b"")]
