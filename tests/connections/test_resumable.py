"""A torn connection goes on over the next WebSocket, its user is told so, and an end in good order is final."""

from collections.abc import Hashable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs.connections.duplex import Duplex, Resumed
from trio_hubs.connections.http import Request
from trio_hubs.connections.memory import MemoryConnection, memory_connection_pair
from trio_hubs.connections.resumable import (
    TRANSITIONS,
    ResumableConnection,
    ResumableEvent,
    ResumableState,
)
from trio_hubs.errors import ConnectionClosed
from trio_hubs.protocol.hub_protocol import TransferFormat


class Carried:
    """A resumable connection, and the memory that stands for its WebSockets.

    Attributes:
        near: Our ends; cutting one tears the WebSocket.
        far: The client's ends.
        over: How many have been given up.
        told: How often whoever sends was told.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self.connection = ResumableConnection("id", Request())
        self.connection.enable_resume()
        self.told = 0
        self.connection.on_resumed = self._tell
        self.near: list[MemoryConnection] = []
        self.far: list[MemoryConnection] = []
        self.over = 0
        self._nursery = nursery

    def _tell(self) -> None:
        self.told += 1

    async def carry(self) -> None:
        near, far = memory_connection_pair()
        self.near.append(near)
        self.far.append(far)

        async def run() -> None:
            await self.connection.carry(near)
            self.over += 1

        self._nursery.start_soon(run)
        await wait_all_tasks_blocked()

    async def tear(self) -> None:
        self.near[-1].cut()
        await wait_all_tasks_blocked()


async def resume(connection: Duplex) -> None:
    with pytest.raises(Resumed):
        await connection.receive()


async def test_the_first_websocket_needs_no_resuming() -> None:
    async with trio.open_nursery() as nursery:
        carried = Carried(nursery)
        connection = carried.connection
        assert connection.resumable
        assert connection.away
        assert connection.state.name == "NEW"
        await carried.carry()
        assert not connection.away
        assert connection.state.name == "CARRIED"
        await carried.far[0].send(b"in")
        assert await connection.receive() == b"in"
        await connection.send(b"out")
        assert await carried.far[0].receive() == b"out"
        connection.close()
    assert carried.over == 1


async def test_before_the_first_websocket_a_reader_waits_for_it() -> None:
    async with trio.open_nursery() as nursery:
        carried = Carried(nursery)
        connection = carried.connection
        assert not connection.send_nowait(b"too early")
        assert not connection.unsent
        await connection.send(b"too early")
        received: list[bytes] = []

        @nursery.start_soon
        async def _() -> None:
            received.append(await connection.receive())

        await wait_all_tasks_blocked()
        await carried.carry()
        await carried.far[0].send(b"in")
        await wait_all_tasks_blocked()
        assert received == [b"in"]
        connection.close()


async def test_one_that_cannot_resume_does_not_wait_for_its_first_websocket() -> None:
    connection = ResumableConnection("id", Request())
    with pytest.raises(ConnectionClosed):
        await connection.receive()
    with pytest.raises(ConnectionClosed):
        await connection.send(b"out")


async def test_a_reader_waits_over_the_gap_and_is_told() -> None:
    async with trio.open_nursery() as nursery:
        carried = Carried(nursery)
        connection = carried.connection
        await carried.carry()
        told = trio.Event()

        @nursery.start_soon
        async def _() -> None:
            await resume(connection)
            told.set()

        await wait_all_tasks_blocked()
        await carried.tear()
        assert carried.over == 1
        assert connection.away
        assert not told.is_set()
        await carried.carry()
        assert told.is_set()
        assert not connection.away
        await carried.far[1].send(b"in")
        assert await connection.receive() == b"in"
        connection.close()


async def test_whoever_sends_is_told_before_anything_can_be_sent() -> None:
    async with trio.open_nursery() as nursery:
        carried = Carried(nursery)
        connection = carried.connection
        await carried.carry()
        assert carried.told == 0
        seen: list[tuple[bool, str]] = []
        connection.on_resumed = lambda: seen.append((connection.away, connection.state.name))
        await carried.carry()
        assert seen == [(False, "RESUMED")]
        await connection.send(b"out")
        assert await carried.far[1].receive() == b"out"
        await carried.far[1].send(b"in")
        await resume(connection)  # whoever receives is told in its turn, before it receives more
        assert await connection.receive() == b"in"
        connection.close()


async def test_what_is_sent_into_the_gap_is_the_users_to_repeat() -> None:
    async with trio.open_nursery() as nursery:
        carried = Carried(nursery)
        connection = carried.connection
        await carried.carry()
        carried.far[0].cut()
        await connection.send(b"lost")  # no error: the user repeats it
        assert connection.away
        await wait_all_tasks_blocked()
        assert carried.over == 1
        await connection.send(b"lost too")
        assert not connection.send_nowait(b"lost as well")
        await carried.carry()
        await resume(connection)
        await connection.send(b"out")
        assert await carried.far[1].receive() == b"out"
        connection.close()


async def test_sending_is_a_checkpoint_also_while_away() -> None:
    connection = ResumableConnection("id", Request())
    connection.enable_resume()
    with trio.testing.assert_checkpoints():
        await connection.send(b"x")


async def test_a_sender_is_freed_from_a_websocket_that_is_replaced(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        carried = Carried(nursery)
        connection = carried.connection
        await carried.carry()
        sent = 0

        @nursery.start_soon
        async def _() -> None:
            nonlocal sent
            for _ in range(20):  # more than the memory holds
                await connection.send(b"x")
                sent += 1

        await wait_all_tasks_blocked()
        assert sent == 16
        await carried.carry()
        await wait_all_tasks_blocked()
        assert sent == 20
        assert carried.over == 1
        await connection.send(b"y")
        received = [await carried.far[1].receive() for _ in range(4)]
        assert received == [b"x", b"x", b"x", b"y"]  # the one under way is lost
        connection.close()


async def test_a_reader_is_freed_from_a_websocket_that_is_replaced() -> None:
    async with trio.open_nursery() as nursery:
        carried = Carried(nursery)
        await carried.carry()
        nursery.start_soon(resume, carried.connection)
        await wait_all_tasks_blocked()
        await carried.carry()
        assert not carried.connection.away
        assert carried.over == 1
        carried.connection.close()


async def test_replaced_twice_before_the_user_knew() -> None:
    async with trio.open_nursery() as nursery:
        carried = Carried(nursery)
        connection = carried.connection
        for _ in range(4):
            await carried.carry()
        assert (carried.over, carried.told) == (3, 3)
        await resume(connection)
        await connection.send(b"out")
        assert await carried.far[3].receive() == b"out"
        await carried.far[3].send(b"in")
        assert await connection.receive() == b"in"
        connection.close()
    assert carried.over == 4


async def test_a_fresh_websocket_that_is_torn_before_the_user_knew() -> None:
    async with trio.open_nursery() as nursery:
        carried = Carried(nursery)
        connection = carried.connection
        await carried.carry()
        await carried.carry()
        carried.near[-1].cut()
        await resume(connection)
        nursery.start_soon(resume, connection)
        await wait_all_tasks_blocked()
        assert connection.away
        assert (carried.over, carried.told) == (2, 1)
        await carried.carry()
        assert not connection.away
        assert carried.told == 2
        connection.close()


async def test_whoever_sends_is_told_of_the_end() -> None:
    async with trio.open_nursery() as nursery:
        carried = Carried(nursery)
        await carried.carry()
        carried.connection.close()
        assert carried.told == 1
        assert not carried.connection.away


async def test_an_end_in_order_is_final() -> None:
    async with trio.open_nursery() as nursery:
        carried = Carried(nursery)
        connection = carried.connection
        await carried.carry()
        assert connection.state.name == "CARRIED"
        await carried.far[0].send(b"last")
        assert await connection.receive() == b"last"
        assert connection.state.name == "CARRIED"
        carried.far[0].close()
        assert await connection.receive() == b""
        assert connection.state.name == "ENDED"
        connection.close()


async def test_what_is_closed_stays_closed(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        carried = Carried(nursery)
        connection = carried.connection
        await carried.carry()
        connection.close()
        await wait_all_tasks_blocked()
        assert carried.over == 1
        await carried.carry()  # which came too late
        assert carried.over == 2
        assert not connection.away
        assert not connection.send_nowait(b"x")
        with pytest.raises(ConnectionClosed):
            await connection.send(b"x")
        with pytest.raises(ConnectionClosed, match="not taken up again"):
            await connection.receive()


async def test_closing_frees_a_reader_that_waits_in_the_gap() -> None:
    async with trio.open_nursery() as nursery:
        carried = Carried(nursery)
        connection = carried.connection
        await carried.carry()

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(ConnectionClosed, match="not taken up again"):
                await connection.receive()

        await wait_all_tasks_blocked()
        await carried.tear()
        connection.close()


async def test_one_that_is_not_to_be_resumed_ends_when_it_is_torn() -> None:
    async with trio.open_nursery() as nursery:
        carried = Carried(nursery)
        connection = carried.connection = ResumableConnection("id", Request())
        assert connection.can_resume
        assert not connection.resumable
        await carried.carry()
        carried.far[0].cut()
        with pytest.raises(ConnectionClosed):
            await connection.send(b"x")
        for _ in range(2):
            with pytest.raises(ConnectionClosed, match="was lost"):
                await connection.receive()
            with pytest.raises(ConnectionClosed, match="was lost"):
                await connection.send(b"x")
        assert not connection.send_nowait(b"x")


async def test_a_cancelled_reader_loses_nothing() -> None:
    async with trio.open_nursery() as nursery:
        carried = Carried(nursery)
        connection = carried.connection
        await carried.carry()
        with trio.CancelScope() as scope:
            scope.cancel()
            await connection.receive()
        assert scope.cancelled_caught
        assert not connection.away
        await carried.far[0].send(b"in")
        assert await connection.receive() == b"in"
        connection.close()


async def test_what_carries_it_may_be_cancelled() -> None:
    connection = ResumableConnection("id", Request())
    near, _ = memory_connection_pair()
    with trio.move_on_after(0):
        await connection.carry(near)
    assert connection.state.name == "TORN"
    assert connection.away


class Direct(MemoryConnection):
    """Takes what it can at once, and the rest in its time."""

    @property
    def unsent(self) -> bool:
        return True

    @property
    def last_progress(self) -> float:
        return 7.0

    def send_nowait(self, data: bytes, packed: dict[Hashable, bytes] | None = None) -> bool:
        self._outgoing.send_nowait(data)
        return True


async def test_sending_at_once_is_the_websockets_matter(autojump_clock: MockClock) -> None:
    connection = ResumableConnection("id", Request())
    near, far = memory_connection_pair()
    direct = Direct("id", Request(), near._incoming, near._outgoing)
    assert not connection.send_nowait(b"x")
    assert not connection.unsent
    assert connection.last_progress == trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.carry, direct)
        await wait_all_tasks_blocked()
        connection.transfer_format = TransferFormat.BINARY
        assert connection.send_nowait(b"x")
        assert await far.receive() == b"x"
        assert direct.transfer_format is TransferFormat.BINARY
        assert connection.unsent
        assert connection.last_progress == 7
        connection.close()
        assert not connection.send_nowait(b"y")


async def test_one_that_never_had_a_websocket_may_be_closed() -> None:
    connection = ResumableConnection("id", Request())
    connection.close()
    with pytest.raises(ConnectionClosed):
        await connection.receive()


class Counting(MemoryConnection):
    """Counts how often it is given up."""

    given_up = 0

    def give_up(self) -> None:
        self.given_up += 1


async def test_its_websocket_is_given_up_with_it() -> None:
    connection = ResumableConnection("id", Request())
    connection.give_up()
    near, _ = memory_connection_pair()
    websocket = Counting("id", Request(), near._incoming, near._outgoing)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.carry, websocket)
        await wait_all_tasks_blocked()
        connection.give_up()
        connection.close()
    assert websocket.given_up == 1


# ---- states

TABLE = """
         CAME     TOLD     LOST    GOODBYE  CLOSE
NEW      CARRIED  .        .       .        CLOSED
CARRIED  RESUMED  .        TORN    ENDED    CLOSED
RESUMED  RESUMED  CARRIED  TORN    ENDED    CLOSED
TORN     RESUMED  .        .       CLOSED   CLOSED
ENDED    .        .        CLOSED  .        CLOSED
CLOSED   .        .        .       .        .
"""
WAYS = {
    "NEW": "",
    "CARRIED": "CAME",
    "RESUMED": "CAME CAME",
    "TORN": "CAME LOST",
    "ENDED": "CAME GOODBYE",
    "CLOSED": "CLOSE",
}


def cells() -> list[tuple[str, str, str]]:
    """Each state, each event, and the state that follows."""
    head, *rows = (line.split() for line in TABLE.strip().splitlines())
    return [(state, event, after) for state, *row in rows for event, after in zip(head, row, strict=True)]


def test_the_table_has_every_state_and_event() -> None:
    assert len(cells()) == len(ResumableState) * len(ResumableEvent)
    assert set(TRANSITIONS) == set(ResumableState)


@pytest.mark.parametrize(("state", "event", "after"), cells())
def test_every_event_in_every_state(state: str, event: str, after: str) -> None:
    connection = ResumableConnection("id", Request())
    for step in WAYS[state].split():
        assert connection.on(ResumableEvent[step])
    assert connection.state is ResumableState[state]
    assert connection.on(ResumableEvent[event]) is (after != ".")
    assert connection.state is ResumableState[state if after == "." else after]
    assert connection.away is (connection.state in (ResumableState.NEW, ResumableState.TORN))


async def test_a_goodbye_whose_websocket_is_lost_is_the_end() -> None:
    async with trio.open_nursery() as nursery:
        carried = Carried(nursery)
        connection = carried.connection
        await carried.carry()
        carried.far[0].close()
        assert await connection.receive() == b""
        carried.near[0].cut()
        with pytest.raises(ConnectionClosed):
            await connection.receive()
        assert connection.state is ResumableState.CLOSED
        await carried.carry()  # which comes too late
        assert carried.over == 2
        with pytest.raises(ConnectionClosed):
            await connection.send(b"x")
