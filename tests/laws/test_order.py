"""Law 6: order is a promise, of starts, of answers, of items and sends."""

from collections.abc import AsyncIterator, Callable

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import open_client, served_hub
from tests.messages import Message, call, ended, item, result, stream
from trio_hubs import ChannelReader, Hub
from trio_hubs.calls.outbox import TRANSPORT_BUFFER_SIZE

from .witness import both_protocols


@both_protocols
@pytest.mark.parametrize("parallel", [1, 3])
async def test_invocations_start_in_the_order_of_arrival(
    autojump_clock: MockClock, protocol: str, parallel: int
) -> None:
    started: list[int] = []

    class Starts(Hub):
        def inline(self, number: int) -> None:
            started.append(number)

        async def plain(self, number: int) -> None:
            started.append(number)
            await trio.sleep(number % 3)

        async def stream(self, number: int) -> AsyncIterator[int]:
            started.append(number)
            yield number
            await trio.sleep(number % 2)

        async def upload(self, number: int, items: ChannelReader[int]) -> None:
            started.append(number)
            await items.wait_to_read()

    kinds: list[Callable[[int], Message]] = [
        lambda number: call("Inline", number, id=str(number)),
        lambda number: call("Plain", number, id=str(number)),
        lambda number: call("Plain", number),
        lambda number: stream("Stream", number, id=str(number)),
        lambda number: call("Upload", number, id=str(number), uploads=(f"u{number}",)),
    ]
    async with open_client(Starts, protocol, maximum_parallel_invocations=parallel) as client:
        for start in range(0, 100, 20):
            await client.send(*[kinds[number * 7 % 5](number) for number in range(start, start + 20)])
        await trio.sleep(200)
    assert started == list(range(100))


@both_protocols
async def test_one_at_a_time_means_answers_in_order(autojump_clock: MockClock, protocol: str) -> None:
    running: list[int] = []

    class One(Hub):
        def inline(self, number: int) -> int:
            assert running == []
            return number

        async def plain(self, number: int) -> int:
            assert running == []
            running.append(number)
            await trio.sleep(1)
            running.remove(number)
            return number

    async with open_client(One, protocol) as client:
        await client.send(*[call("Inline" if n % 3 else "Plain", n, id=str(n)) for n in range(30)])
        assert await client.take(30) == [result(str(n), n) for n in range(30)]


class Board(Hub):
    """Tells what there is, then what changes."""

    def __init__(self, board: "SharedBoard") -> None:
        self.board = board

    async def subscribe(self, count: int) -> None:
        self.board.began.set()
        await self.board.ready.wait()
        await self.groups.add(self.context.connection_id, *map(str, range(count)))
        await self.clients.caller.send("Snapshot", self.board.version)


class SharedBoard:
    """What there is, and who changes it."""

    def __init__(self) -> None:
        self.version = 0
        self.began, self.ready = trio.Event(), trio.Event()
        self.served = served_hub(Board, lambda: Board(self))

    async def publish(self, group: str) -> None:
        while True:
            self.version += 1
            await self.served.clients.group(group).send("Update", self.version)
            await trio.lowlevel.checkpoint()


@both_protocols
@pytest.mark.parametrize("slow", [False, True])
async def test_a_snapshot_comes_before_the_updates_behind_it(
    autojump_clock: MockClock, protocol: str, slow: bool
) -> None:
    """Whoever joins groups and then tells what there is leaves no gap, and nothing stale comes behind."""
    for passes in range(50):
        board = SharedBoard()
        async with open_client(board.served, protocol, capacity=0 if slow else 1000) as client:
            await client.send(call("Subscribe", 5))
            await board.began.wait()
            async with trio.open_nursery() as nursery:
                for group in range(5):
                    nursery.start_soon(board.publish, str(group))
                for _ in range(passes):
                    await trio.lowlevel.checkpoint()
                for _ in range(2 * slow):
                    await board.served.clients.all.send("Large", "x" * TRANSPORT_BUFFER_SIZE)
                board.ready.set()
                for _ in range(20):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            heard = [message for message in await client.arrived() if message["target"] != "Large"]
        assert heard[0]["target"] == "Snapshot"
        (snapshot,) = heard[0]["arguments"]
        told = [message["arguments"][0] for message in heard[1:]]
        assert told == list(range(snapshot + 1, snapshot + 1 + len(told)))
        assert len(told) > 5


async def test_no_more_run_than_may(autojump_clock: MockClock) -> None:
    running: list[int] = []
    most: list[int] = []

    class Many(Hub):
        async def plain(self, number: int) -> None:
            running.append(number)
            most.append(len(running))
            await trio.sleep(1)
            running.remove(number)

    async with open_client(Many, maximum_parallel_invocations=3) as client:
        await client.send(*[call("Plain", number, id=str(number)) for number in range(10)])
        assert len(await client.take(10)) == 10
        assert trio.current_time() == pytest.approx(4.0)
    assert max(most) == 3


@both_protocols
async def test_items_and_sends_come_in_the_order_they_were_made(
    autojump_clock: MockClock, protocol: str
) -> None:
    class Mixed(Hub):
        async def mixed(self) -> AsyncIterator[int]:
            for number in range(100):
                await self.clients.caller.send("Sent", number)
                yield number

    async with open_client(Mixed, protocol) as client:
        await client.send(stream("Mixed"))
        expected = [message for n in range(100) for message in (call("Sent", n), item("1", n))]
        assert await client.take(201) == [*expected, ended("1")]
