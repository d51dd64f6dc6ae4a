"""One writer sends everything: joined, at once, bounded, and never cut by a cancelled producer."""

from collections.abc import Awaitable, Callable, Hashable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs.calls.outbox import TRANSPORT_BUFFER_SIZE, Event, Outbox, State
from trio_hubs.connections.duplex import Duplex
from trio_hubs.connections.http import Request
from trio_hubs.connections.memory import memory_connection_pair
from trio_hubs.errors import ConnectionClosed

from .support import run_outbox


class Wire:
    """An outbox whose writer runs, and the other end of its connection."""

    def __init__(self, *, capacity: int = 16) -> None:
        self.ours, self.theirs = memory_connection_pair(capacity=capacity)
        self.outbox = Outbox(self.ours)
        self.failures: list[Exception] = []


async def start(nursery: trio.Nursery, *, capacity: int = 16) -> Wire:
    wire = Wire(capacity=capacity)
    nursery.start_soon(run_outbox, wire.outbox, wire.failures.append)
    await wait_all_tasks_blocked()
    return wire


def sending_since(wire: Wire) -> float | None:
    return wire.outbox.times.sending_since


def is_over(outbox: Outbox) -> bool:
    return outbox.state is State.OVER


async def finish(wire: Wire) -> list[bytes]:
    """End the outbox and give all pieces that arrived."""
    await wire.outbox.finish(1)
    wire.ours.close()
    pieces: list[bytes] = []
    while piece := await wire.theirs.receive():
        pieces.append(piece)
    return pieces


async def test_what_is_queued_leaves_as_one_piece(nursery: trio.Nursery) -> None:
    wire = await start(nursery)
    for data in (b"a", b"b", b"c"):
        wire.outbox.put(data)
    assert await wire.theirs.receive() == b"abc"
    assert await finish(wire) == []


async def test_an_item_is_sent_as_soon_as_its_producer_waits(nursery: trio.Nursery) -> None:
    wire = await start(nursery)
    for data in (b"a", b"b", b"c"):
        wire.outbox.put(data)
        await wait_all_tasks_blocked()  # which is waiting for something
        assert wire.outbox.size == 0
    assert await finish(wire) == [b"a", b"b", b"c"]


async def test_what_was_queued_before_the_writer_ran_is_sent(nursery: trio.Nursery) -> None:
    wire = Wire()
    wire.outbox.put(b"early")
    nursery.start_soon(run_outbox, wire.outbox)
    assert await wire.theirs.receive() == b"early"
    assert await finish(wire) == []


async def test_what_comes_while_sending_is_joined_in_the_next_piece(nursery: trio.Nursery) -> None:
    wire = await start(nursery, capacity=0)
    wire.outbox.put(b"a")
    await wait_all_tasks_blocked()
    for data in (b"b", b"c"):
        wire.outbox.put(data)
        await wait_all_tasks_blocked()
    assert [await wire.theirs.receive() for _ in range(2)] == [b"a", b"bc"]
    await finish(wire)


async def test_size_counts_what_waits(nursery: trio.Nursery) -> None:
    wire = await start(nursery, capacity=0)
    wire.outbox.put(b"sending")
    await wait_all_tasks_blocked()
    wire.outbox.put(b"12345")
    assert wire.outbox.size == 5
    wire.outbox.give_up()
    await finish(wire)
    assert wire.outbox.size == 0


async def test_the_times_of_sending(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    wire = await start(nursery, capacity=0)
    assert sending_since(wire) is None
    assert wire.outbox.times.last_sent == trio.current_time()
    mock_clock.jump(3)
    began = trio.current_time()
    wire.outbox.put(b"a")
    await wait_all_tasks_blocked()
    mock_clock.jump(2)
    assert sending_since(wire) == wire.outbox.times.last_sent == began
    await wire.theirs.receive()
    await wait_all_tasks_blocked()
    assert sending_since(wire) is None
    assert wire.outbox.times.last_sent == began
    await finish(wire)


# ---- without the writer


class Socket(Duplex):
    """A connection that takes what it is asked to take at once, and keeps some of that for later."""

    def __init__(self) -> None:
        super().__init__("socket", Request())
        self.takes = True
        self.keeps = False
        self.pieces: list[bytes] = []

    async def receive(self) -> bytes:
        raise NotImplementedError

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.pieces.append(data)
        self.keeps = False

    def send_nowait(self, data: bytes, packed: dict[Hashable, bytes] | None = None) -> bool:
        if self.takes:
            self.pieces.append(b"at once: " + data)
        return self.takes

    @property
    def unsent(self) -> bool:
        return self.keeps


async def start_on_socket(nursery: trio.Nursery) -> tuple[Outbox, Socket]:
    socket = Socket()
    outbox = Outbox(socket)
    nursery.start_soon(run_outbox, outbox)
    await wait_all_tasks_blocked()
    return outbox, socket


async def test_an_idle_connection_takes_at_once(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    outbox, socket = await start_on_socket(nursery)
    mock_clock.jump(3)
    outbox.put_now(b"a")
    assert socket.pieces == [b"at once: a"]
    assert outbox.size == 0
    assert outbox.times.last_sent == trio.current_time()
    assert outbox.times.sending_since is None
    await outbox.finish(1)
    assert socket.pieces == [b"at once: a"]


async def test_the_writer_sends_what_the_connection_does_not_take_at_once(nursery: trio.Nursery) -> None:
    outbox, socket = await start_on_socket(nursery)
    socket.takes = False
    outbox.put_now(b"a")
    assert socket.pieces == []
    await outbox.finish(1)
    assert socket.pieces == [b"a"]


async def test_the_writer_finishes_what_the_connection_took_in_part(nursery: trio.Nursery) -> None:
    outbox, socket = await start_on_socket(nursery)
    socket.keeps = True
    outbox.put_now(b"a")
    outbox.put_now(b"b")  # which must not overtake the rest of the first
    await outbox.finish(1)
    assert socket.pieces == [b"at once: a", b"b"]
    assert not socket.unsent


async def test_nothing_is_sent_at_once_while_the_writer_is_busy(nursery: trio.Nursery) -> None:
    outbox, socket = await start_on_socket(nursery)
    outbox.put(b"a")
    outbox.put_now(b"b")
    assert socket.pieces == []
    await outbox.finish(1)
    assert socket.pieces == [b"at once: ab"]  # by the writer


async def test_nothing_is_sent_at_once_after_the_end(nursery: trio.Nursery) -> None:
    outbox, socket = await start_on_socket(nursery)
    outbox.give_up()
    await outbox.finish(1)
    outbox.put_now(b"a")
    assert socket.pieces == []


async def test_what_is_queued_while_corked_leaves_together(nursery: trio.Nursery) -> None:
    outbox, socket = await start_on_socket(nursery)
    outbox.cork()
    outbox.put(b"a")
    outbox.put_now(b"b")
    assert socket.pieces == []
    outbox.uncork()
    assert socket.pieces == [b"at once: ab"]
    outbox.cork()
    outbox.uncork()
    outbox.put(b"c")
    await outbox.finish(1)
    assert socket.pieces == [b"at once: ab", b"at once: c"]


# ---- high water


async def test_producers_wait_above_the_high_water_mark(nursery: trio.Nursery) -> None:
    wire = await start(nursery, capacity=0)
    outbox = wire.outbox
    outbox.put(b"sending")
    await wait_all_tasks_blocked()
    assert TRANSPORT_BUFFER_SIZE == 65_536
    outbox.put(b"x" * 65_535)
    assert not outbox.full
    await outbox.wait_room()
    outbox.put(b"x")
    assert outbox.full
    went_on: list[int] = []

    async def produce(number: int) -> None:
        await outbox.wait_room()
        went_on.append(number)

    for number in range(2):
        nursery.start_soon(produce, number)
    await wait_all_tasks_blocked()
    assert went_on == []
    await wire.theirs.receive()
    await wait_all_tasks_blocked()
    assert sorted(went_on) == [0, 1]
    wire.outbox.give_up()


async def test_a_producer_waits_again_when_another_filled_the_room(nursery: trio.Nursery) -> None:
    wire = await start(nursery, capacity=0)
    outbox = wire.outbox
    outbox.put(b"sending")
    await wait_all_tasks_blocked()
    outbox.put(b"x" * TRANSPORT_BUFFER_SIZE)
    went_on = 0

    async def produce() -> None:
        nonlocal went_on
        await outbox.wait_room()
        went_on += 1
        outbox.put(b"x" * TRANSPORT_BUFFER_SIZE)

    for _ in range(2):
        nursery.start_soon(produce)
    for expected in range(3):
        await wait_all_tasks_blocked()
        assert went_on == expected
        await wire.theirs.receive()
    wire.outbox.give_up()


async def test_nobody_waits_for_room_on_a_connection_that_is_ending(nursery: trio.Nursery) -> None:
    wire = await start(nursery, capacity=0)
    wire.outbox.put(b"sending")
    await wait_all_tasks_blocked()
    wire.outbox.put(b"x" * TRANSPORT_BUFFER_SIZE)
    async with trio.open_nursery() as inner:

        async def produce() -> None:
            with pytest.raises(ConnectionClosed):
                await wire.outbox.wait_room()

        inner.start_soon(produce)
        inner.start_soon(wire.outbox.wait_not_full)
        await wait_all_tasks_blocked()
        wire.outbox.close()
    wire.outbox.give_up()


@pytest.mark.parametrize("transport_buffer_size", [1, 500, TRANSPORT_BUFFER_SIZE])
async def test_the_transport_buffer_size_can_be_chosen(
    nursery: trio.Nursery, transport_buffer_size: int
) -> None:
    wire = Wire(capacity=0)
    outbox = wire.outbox = Outbox(wire.ours, transport_buffer_size=transport_buffer_size)
    nursery.start_soon(run_outbox, outbox)
    outbox.put(b"sending")
    await wait_all_tasks_blocked()
    outbox.put(b"x" * (transport_buffer_size - 1))
    await outbox.wait_not_full()
    outbox.put(b"x")
    async with trio.open_nursery() as inner:
        inner.start_soon(outbox.wait_not_full)
        await wait_all_tasks_blocked()
        assert inner.child_tasks
        await wire.theirs.receive()
    outbox.give_up()


async def test_what_is_taken_back_is_not_sent_and_keeps_no_place_for_ever(nursery: trio.Nursery) -> None:
    wire = await start(nursery, capacity=0)
    wire.outbox.put(b"(")
    await wait_all_tasks_blocked()
    pieces = [bytearray(b"%d" % number) for number in range(5)]
    for piece in pieces:
        wire.outbox.put(piece)
    for piece in pieces[1:4]:
        wire.outbox.withdraw(piece)
    assert wire.outbox.size == 2
    wire.outbox.compact()
    assert wire.outbox._pieces == [b"0", b"4"]
    assert await wire.theirs.receive() == b"("
    assert await wire.theirs.receive() == b"04"
    await finish(wire)


async def test_a_cancelled_producer_takes_nothing_back(nursery: trio.Nursery) -> None:
    wire = await start(nursery)
    with trio.CancelScope() as scope:
        wire.outbox.put(b"whole")
        scope.cancel()
        await trio.lowlevel.checkpoint()
    assert await wire.theirs.receive() == b"whole"
    await finish(wire)


# ---- the end


async def test_finishing_sends_what_is_queued(nursery: trio.Nursery) -> None:
    wire = await start(nursery)
    wire.outbox.put(b"last")
    assert not is_over(wire.outbox)
    assert await finish(wire) == [b"last"]
    assert is_over(wire.outbox)
    assert wire.failures == []


WAYS: dict[State, list[Event]] = {
    State.OPEN: [],
    State.CLOSED: [Event.CLOSE],
    State.FINISHING: [Event.FINISH],
    State.GIVEN_UP: [Event.GIVE_UP],
    State.OVER: [Event.ENDED],
}
LEADS = {  # each state's next, in the order of the events
    State.OPEN: [State.CLOSED, State.FINISHING, State.GIVEN_UP, State.OVER],
    State.CLOSED: [State.CLOSED, State.FINISHING, State.GIVEN_UP, State.OVER],
    State.FINISHING: [State.FINISHING, State.FINISHING, State.GIVEN_UP, State.OVER],
    State.GIVEN_UP: [State.GIVEN_UP, State.GIVEN_UP, State.GIVEN_UP, State.OVER],
    State.OVER: [State.OVER, State.OVER, State.OVER, State.OVER],
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
async def test_every_event_in_every_state(state: State, event: Event) -> None:
    outbox = Outbox(memory_connection_pair()[0])
    outbox.put(b"queued")
    async with trio.open_nursery() as nursery:
        for step in [*WAYS[state], event]:
            assert outbox.state is State.OPEN or step is event
            match step:
                case Event.CLOSE:
                    outbox.close()
                case Event.FINISH:
                    nursery.start_soon(outbox.finish, 1000)
                    await wait_all_tasks_blocked()
                case Event.GIVE_UP:
                    outbox.give_up()
                case Event.ENDED:
                    outbox._writer._end(outbox)
        assert outbox.state is LEADS[state][list(Event).index(event)]
        assert (outbox.size == 6) is outbox.state.sends
        outbox.put(b"more")
        assert (outbox.size == 10) is outbox.state.sends
        outbox._writer._end(outbox)
    assert is_over(outbox)


async def test_what_is_given_up_before_there_is_a_writer_sends_nothing(nursery: trio.Nursery) -> None:
    socket, outbox = await begin(nursery)
    outbox.cork()
    outbox.put(b"queued")
    outbox.put_control(b"control")
    outbox.give_up()
    outbox.uncork()
    outbox.put_now(b"late")
    outbox.put_control(b"late")
    await outbox.finish(1)
    assert is_over(outbox)
    assert socket.pieces == [b"at once: early"]


async def test_finishing_an_idle_outbox_ends_it(nursery: trio.Nursery) -> None:
    assert await finish(await start(nursery)) == []


async def test_the_writer_outlives_its_nursery_until_it_is_finished() -> None:
    wire = Wire()
    async with trio.open_nursery() as nursery:
        wire.outbox.start(nursery, wire.failures.append)
        nursery.cancel_scope.cancel()
        wire.outbox.put(b"a")
        wire.outbox.put(b"b")
        assert await finish_cancelled(wire) == [b"ab"]


async def finish_cancelled(wire: Wire) -> list[bytes]:
    """Finish in a task that is cancelled."""
    await wire.outbox.finish(1)
    assert trio.current_effective_deadline() == -float("inf")
    pieces: list[bytes] = []
    with trio.CancelScope(shield=True):
        pieces += await finish(wire)
    return pieces


@pytest.mark.parametrize("cancelled", [False, True])
async def test_finishing_takes_bounded_time(
    nursery: trio.Nursery, autojump_clock: MockClock, cancelled: bool
) -> None:
    wire = await start(nursery, capacity=0)
    wire.outbox.put(b"never taken")
    began = trio.current_time()
    with trio.CancelScope() as scope:
        if cancelled:
            scope.cancel()
        await wire.outbox.finish(5)
    assert trio.current_time() - began == pytest.approx(5)
    assert is_over(wire.outbox)
    assert wire.failures == []


async def test_giving_up_ends_at_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    wire = await start(nursery, capacity=0)
    wire.outbox.put(b"never taken")
    await wait_all_tasks_blocked()
    wire.outbox.put(b"x" * 4 * TRANSPORT_BUFFER_SIZE)
    wire.outbox.give_up()
    await wire.outbox.finish(5)
    assert trio.current_time() == 0
    assert is_over(wire.outbox)
    assert wire.outbox.size == 0


async def test_nothing_is_queued_once_it_is_over(nursery: trio.Nursery) -> None:
    wire = await start(nursery)
    await finish(wire)
    wire.outbox.put(b"too late")
    assert wire.outbox.size == 0
    with pytest.raises(ConnectionClosed, match="The connection is over"):
        await wire.outbox.wait_room()
    await wire.outbox.wait_not_full()


async def test_a_broken_connection_is_told_and_ends_the_writer(nursery: trio.Nursery) -> None:
    wire = await start(nursery)
    wire.theirs.cut()
    wire.outbox.put(b"lost")
    await wait_all_tasks_blocked()
    assert [type(failure) for failure in wire.failures] == [ConnectionClosed]
    assert is_over(wire.outbox)
    await wire.outbox.finish(5)


@pytest.mark.parametrize("wait", [Outbox.wait_room, Outbox.wait_not_full])
async def test_producers_that_wait_hear_of_the_end(wait: Callable[[Outbox], Awaitable[None]]) -> None:
    wire = Wire(capacity=0)
    ended: list[str] = []

    async def produce() -> None:
        try:
            await wait(wire.outbox)
        except ConnectionClosed:
            ended.append("closed")
        else:
            ended.append("went on")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_outbox, wire.outbox)
        wire.outbox.put(b"sending")
        await wait_all_tasks_blocked()
        wire.outbox.put(b"x" * 4 * TRANSPORT_BUFFER_SIZE)
        nursery.start_soon(produce)
        await wait_all_tasks_blocked()
        assert ended == []
        wire.theirs.cut()
        await wait_all_tasks_blocked()
    assert ended == ["closed" if wait is Outbox.wait_room else "went on"]


async def test_answers_that_the_peer_has_caused_are_waited_for(nursery: trio.Nursery) -> None:
    wire = await start(nursery, capacity=0)
    wire.outbox.put(b"first")
    await wait_all_tasks_blocked()
    wire.outbox.put(bytes(10 * TRANSPORT_BUFFER_SIZE))  # an ordinary answer
    await wire.outbox.wait_taken()
    wire.outbox.put_unasked(bytes(TRANSPORT_BUFFER_SIZE - 1))
    await wire.outbox.wait_taken()
    wire.outbox.put_unasked(b"!")
    taken: list[str] = []

    async def wait() -> None:
        await wire.outbox.wait_taken()
        taken.append("taken")

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    assert taken == []
    assert await wire.theirs.receive() == b"first"
    await wait_all_tasks_blocked()
    assert taken == ["taken"]
    wire.outbox.give_up()


async def test_what_was_caused_and_is_sent_at_once_is_taken(nursery: trio.Nursery) -> None:
    outbox, _ = await start_on_socket(nursery)
    outbox.cork()
    outbox.put_unasked(bytes(TRANSPORT_BUFFER_SIZE))
    outbox.uncork()
    outbox.put_unasked(bytes(TRANSPORT_BUFFER_SIZE - 1))
    with trio.fail_after(1):
        await outbox.wait_taken()
    outbox.give_up()


async def test_nobody_waits_for_what_a_dead_connection_has_caused(nursery: trio.Nursery) -> None:
    wire = await start(nursery, capacity=0)
    wire.outbox.put(b"first")
    await wait_all_tasks_blocked()
    wire.outbox.put_unasked(bytes(TRANSPORT_BUFFER_SIZE))
    async with trio.open_nursery() as waiting:
        waiting.start_soon(wire.outbox.wait_taken)
        await wait_all_tasks_blocked()
        assert waiting.child_tasks
        wire.outbox.give_up()


# ---- with a writer that begins when there has to be one


async def begin(nursery: trio.Nursery) -> tuple[Socket, Outbox]:
    """An outbox on a socket, without a writer yet."""
    socket = Socket()
    outbox = Outbox(socket)

    async def give_up_when_cancelled() -> None:  # for a test that fails shall not hang in what is unsent
        try:
            await trio.sleep_forever()
        finally:
            outbox.give_up()

    nursery.start_soon(give_up_when_cancelled)
    outbox.put_control(b"early")
    outbox.start(nursery, lambda _: None)
    await wait_all_tasks_blocked()
    return socket, outbox


async def test_what_goes_out_at_once_needs_no_writer(nursery: trio.Nursery) -> None:
    socket, outbox = await begin(nursery)
    tasks = len(nursery.child_tasks)
    outbox.put_now(b"now")
    outbox.put_control(b"ping")
    await wait_all_tasks_blocked()
    assert socket.pieces == [b"at once: early", b"at once: now", b"at once: ping"]
    assert len(nursery.child_tasks) == tasks
    await outbox.finish(1)
    assert is_over(outbox)
    outbox.put(b"late")
    assert outbox.size == 0


async def test_what_does_not_starts_the_writer_which_stays(nursery: trio.Nursery) -> None:
    socket, outbox = await begin(nursery)
    tasks = len(nursery.child_tasks)
    socket.takes = False
    outbox.put_now(b"later")
    await wait_all_tasks_blocked()
    socket.takes = True
    outbox.put_now(b"now")
    outbox.put(b"by the writer")
    await wait_all_tasks_blocked()
    assert socket.pieces == [b"at once: early", b"later", b"at once: now", b"at once: by the writer"]
    assert len(nursery.child_tasks) == tasks + 1
    await outbox.finish(1)


async def test_what_is_left_at_the_end_is_sent_by_a_writer(nursery: trio.Nursery) -> None:
    socket, outbox = await begin(nursery)
    outbox.cork()
    outbox.put(b"last")
    await outbox.finish(1)
    assert socket.pieces == [b"at once: early", b"at once: last"]
