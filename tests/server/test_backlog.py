"""What may be dropped is, when too much waits: the oldest, or what the latest replaces; all else stays in its order."""

import tracemalloc

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.calls.support import open_side, run_outbox
from trio_hubs.calls.outbox import TRANSPORT_BUFFER_SIZE, Outbox, State
from trio_hubs.connections.memory import MemoryConnection, memory_connection_pair
from trio_hubs.server.backlog import Backlog


class Wire:
    """A running outbox whose connection takes nothing until it is read."""

    def __init__(self, transport_buffer_size: int = TRANSPORT_BUFFER_SIZE) -> None:
        self.ours, self.theirs = memory_connection_pair(capacity=0)
        self.outbox = Outbox(self.ours, transport_buffer_size=transport_buffer_size)
        self.backlog = Backlog(self.outbox)

    async def finish(self) -> bytes:
        """End the outbox; gives all that arrives."""
        received: list[bytes] = []

        async def read() -> None:
            while data := await self.theirs.receive():
                received.append(data)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await self.outbox.finish(1)
            self.ours.close()
        return b"".join(received)


async def start(nursery: trio.Nursery, transport_buffer_size: int = TRANSPORT_BUFFER_SIZE) -> Wire:
    """Start an outbox, and have its writer wait for its peer."""
    wire = Wire(transport_buffer_size)
    nursery.start_soon(run_outbox, wire.outbox)
    await wait_all_tasks_blocked()
    wire.outbox.put(b"(")
    await wait_all_tasks_blocked()
    return wire


# ---- the oldest


async def test_the_oldest_are_dropped_while_too_much_waits(nursery: trio.Nursery) -> None:
    wire = await start(nursery, transport_buffer_size=3)
    for data in (b"1", b"2", b"3"):
        wire.backlog.put_expendable(data)
    assert wire.backlog.dropped == 0
    for data in (b"4", b"5"):
        wire.backlog.put_expendable(data)
    assert wire.backlog.dropped == 2
    assert wire.outbox.size == 3
    assert await wire.finish() == b"(345"


async def test_only_what_may_be_is_dropped(nursery: trio.Nursery) -> None:
    wire = await start(nursery, transport_buffer_size=4)
    for number in range(9):
        wire.backlog.put_expendable(b"%d" % number)
        wire.outbox.put(b"abcdefghi"[number : number + 1])
    assert wire.backlog.dropped == 8
    assert await wire.finish() == b"(abcdefgh8i"


async def test_as_many_are_dropped_as_are_needed(nursery: trio.Nursery) -> None:
    wire = await start(nursery, transport_buffer_size=10)
    for number in range(10):
        wire.backlog.put_expendable(b"%d" % number)
    wire.outbox.put(b"x" * 5)
    wire.backlog.put_expendable(b"!")
    assert wire.backlog.dropped == 6
    assert await wire.finish() == b"(6789xxxxx!"


async def test_one_that_is_larger_than_all_room_is_sent_all_the_same(nursery: trio.Nursery) -> None:
    wire = await start(nursery, transport_buffer_size=2)
    wire.backlog.put_expendable(b"large")
    wire.backlog.put_expendable(b"larger")
    assert wire.backlog.dropped == 1
    assert await wire.finish() == b"(larger"


async def test_an_expendable_message_is_sent_at_once_where_that_is_possible(nursery: trio.Nursery) -> None:
    wire = Wire()
    nursery.start_soon(run_outbox, wire.outbox)
    await wait_all_tasks_blocked()
    for put in (wire.backlog.put_expendable, lambda data: wire.backlog.put_latest("key", data)):
        for data in (b"1", b"2"):
            put(data)
            assert await wire.theirs.receive() == data
    assert wire.backlog.dropped == 0
    assert await wire.finish() == b""


# ---- the latest


async def test_the_latest_replaces_the_one_before_it(nursery: trio.Nursery) -> None:
    wire = await start(nursery)
    wire.backlog.put_latest("a", b"a1")
    wire.backlog.put_latest("b", b"b1")
    wire.outbox.put(b"-")
    wire.backlog.put_latest("a", b"a2")
    wire.backlog.put_latest("a", b"a3")
    assert wire.backlog.dropped == 2
    assert wire.outbox.size == 5
    assert await wire.finish() == b"(b1-a3"


async def test_what_is_under_way_is_not_replaced(nursery: trio.Nursery) -> None:
    wire = await start(nursery)
    wire.backlog.put_latest("a", b"a1")
    assert await wire.theirs.receive() == b"("
    await wait_all_tasks_blocked()
    wire.backlog.put_latest("a", b"a2")
    assert wire.backlog.dropped == 0
    assert await wire.finish() == b"a1a2"


@pytest.mark.parametrize("kind", ["expendable", "latest"])
async def test_nothing_is_kept_once_it_is_over(nursery: trio.Nursery, kind: str) -> None:
    wire = await start(nursery, transport_buffer_size=1)
    wire.outbox.give_up()
    await wire.outbox.finish(1)
    for _ in range(3):
        if kind == "latest":
            wire.backlog.put_latest("a", b"a")
        else:
            wire.backlog.put_expendable(b"a")
    assert wire.outbox.size == 0
    assert wire.backlog.dropped == 0


# ---- both, and the memory they take


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "expendable", "latest a", "latest b", "corked"]), st.integers(1, 9)
        ),
        max_size=60,
    )
)
def test_what_is_left_is_in_its_order(puts: list[tuple[str, int]]) -> None:
    async def main() -> None:
        outbox = Outbox(memory_connection_pair()[0], transport_buffer_size=20)
        backlog = Backlog(outbox)
        kept: list[tuple[str, bytes]] = []  # what should wait, with its kind
        dropped = 0
        for number, (kind, size) in enumerate(puts):
            data = bytes([number + 32]) * size
            if kind == "put":
                outbox.put(data)
            elif kind == "corked":
                outbox.cork()
                outbox.put(data)
                outbox.uncork()
            elif kind == "expendable":
                while sum(len(each) for _, each in kept) >= 20:
                    oldest = next((each for each in kept if each[0] == "expendable"), None)
                    if oldest is None:
                        break
                    kept.remove(oldest)
                    dropped += 1
                backlog.put_expendable(data)
            else:
                old = [each for each in kept if each[0] == kind]
                kept = [each for each in kept if each[0] != kind]
                dropped += len(old)
                backlog.put_latest(kind, data)
            kept.append((kind, data))
            assert outbox.size == sum(len(each) for _, each in kept)
        assert backlog.dropped == dropped
        sent = await Reader().sent_by(outbox)
        assert sent == b"".join(data for _, data in kept)

    trio.run(main)


class Reader:
    """Runs an outbox on a connection of its own, to see what it sends."""

    async def sent_by(self, outbox: Outbox) -> bytes:
        pieces: list[bytes] = []

        async def keep(_: MemoryConnection, data: bytes) -> None:
            pieces.append(data)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MemoryConnection, "send", keep)
            async with trio.open_nursery() as nursery:
                outbox.start(nursery, lambda _: None)
                await outbox.finish(1)
        return b"".join(pieces)


@pytest.mark.parametrize("kind", ["expendable", "latest"])
async def test_a_client_that_stops_reading_costs_bounded_memory(nursery: trio.Nursery, kind: str) -> None:
    wire = await start(nursery)
    tracemalloc.start()
    try:
        for number in range(100_000):
            data = b"%099d;" % number
            if kind == "latest":
                wire.backlog.put_latest(number % 3, data)
            else:
                wire.backlog.put_expendable(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 500_000
    messages = (await wire.finish())[1:].split(b";")
    assert messages.pop() == b""
    numbers = [int(message) for message in messages]
    assert len(numbers) == (3 if kind == "latest" else TRANSPORT_BUFFER_SIZE // 100 + 1)
    assert numbers == list(range(100_000 - len(numbers), 100_000))
    assert wire.backlog.dropped == 100_000 - len(numbers)


async def test_what_was_sent_without_waiting_is_counted(nursery: trio.Nursery) -> None:
    wire = await start(nursery)
    wire.outbox.put(b"which its producer waits for")
    wire.outbox.put_later(b"12345", 10)
    wire.backlog.put_latest("key", b"123")
    wire.backlog.put_latest("key", b"12")
    wire.backlog.put_expendable(b"which can be dropped")
    assert wire.outbox.unheld == 7
    assert await wire.theirs.receive() == b"("
    await wait_all_tasks_blocked()
    assert wire.outbox.unheld == 0
    wire.outbox.give_up()


# ---- deadlines


async def test_the_earliest_deadline_counts_until_all_is_taken(nursery: trio.Nursery) -> None:
    wire = await start(nursery)
    assert wire.outbox.times.deadline == float("inf")
    for deadline, earliest in ((20, 20), (10, 10), (30, 10)):
        wire.outbox.put_later(b"a", deadline)
        assert wire.outbox.times.deadline == earliest
    assert await wire.theirs.receive() == b"("
    await wait_all_tasks_blocked()
    assert wire.outbox.times.deadline == float("inf")
    wire.outbox.give_up()


@pytest.mark.parametrize("late", [False, True])
async def test_a_message_that_lies_there_for_too_long_ends_the_session(
    autojump_clock: MockClock, late: bool
) -> None:
    async with open_side(capacity=0, send_timeout=1000) as side:
        outbox = side.session.outbox
        outbox.put(b"first")
        await wait_all_tasks_blocked()
        outbox.put_later(b"second", trio.current_time() + 5)
        side.session.tick(trio.current_time() + (5 if late else 4.99))
        await wait_all_tasks_blocked()
        assert side.over.is_set() is late
        assert side.session.too_slow is late
        if late:
            assert side.life.events[-1] == ("closed", "The peer does not take its messages fast enough.")


async def test_only_the_first_end_makes_a_peer_too_slow(autojump_clock: MockClock) -> None:
    async with open_side() as side:
        side.session.end()
        side.session.end_slow()
        assert not side.session.too_slow
        assert side.session.outbox.state is not State.OVER
        await side.over.wait()
        assert side.life.events[-1] == ("closed", "")
