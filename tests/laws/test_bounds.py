"""Law 7: nothing is unbounded, and nothing is dropped silently."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import no_task_left, open_client
from tests.messages import call, cancel, encode, ended, item, result, stream
from trio_hubs import ChannelReader, ChannelWriter, Hub, StreamOverflow, open_channel

from .witness import both_protocols, witness


@both_protocols
async def test_a_flood_of_calls_is_not_read_while_they_wait(autojump_clock: MockClock, protocol: str) -> None:
    events: list[str] = []
    served = witness(events, connection_buffer_size=10_000)
    async with open_client(served, protocol, capacity=10, beating=True) as client:
        await client.send(call("Plain", id="0"))
        with trio.move_on_after(5) as blocked:
            for _ in range(1000):
                await client.connection.send(b"".join(encode(protocol, call("Plain")) for _ in range(100)))
        assert blocked.cancelled_caught
        assert await client.arrived() == []


@both_protocols
async def test_an_upload_that_nobody_reads_is_not_read_past_its_bound(
    autojump_clock: MockClock, protocol: str
) -> None:
    events: list[str] = []
    served = witness(events, stream_buffer_size=10_000)
    async with open_client(served, protocol, capacity=10, beating=True) as client:
        await client.send(call("Ignore", uploads=("9",)))
        sent = 0
        with trio.move_on_after(5):
            for _ in range(1000):
                await client.connection.send(encode(protocol, item("9", 1)) * 100)
                sent += 100
        assert sent < 3000
        assert events == ["ignore began"]


@both_protocols
async def test_a_client_that_vanishes_while_it_is_not_read_is_noticed_by_the_ping(
    protocol: str, autojump_clock: MockClock
) -> None:
    events: list[str] = []
    served = witness(events, stream_buffer_size=1000)
    with no_task_left():
        async with open_client(served, protocol, beating=True) as client:
            await client.send(call("Ignore", uploads=("9",)))
            for _ in range(3):
                await client.send(*[item("9", number) for number in range(100)])
                await trio.testing.wait_all_tasks_blocked()
            client.leave()
            await client.served()
            assert 1 < trio.current_time() <= 17
    assert events == ["ignore began", "ignore ended", "disconnected"]


@both_protocols
@pytest.mark.parametrize("method", ["Generate", "Write"])
async def test_a_producer_waits_for_a_client_that_takes_nothing(
    autojump_clock: MockClock, protocol: str, method: str
) -> None:
    produced: list[int] = []
    size = 1000

    class Producer(Hub):
        async def generate(self) -> AsyncIterator[str]:
            for _ in range(5000):
                produced.append(1)
                yield "x" * size

        def write(self) -> ChannelReader[str]:
            writer, reader = open_channel(str, capacity=10)
            self.start_soon(self._write, writer)
            return reader

        async def _write(self, writer: ChannelWriter[str]) -> None:
            for _ in range(5000):
                produced.append(1)
                await writer.write("x" * size)

    async with open_client(Producer, protocol, capacity=1) as client:
        await client.send(stream(method))
        await trio.testing.wait_all_tasks_blocked()
        assert 64 <= len(produced) * size / 1024 < 1024
        before = len(produced)
        await client.take(before)
        assert len(produced) > before


@both_protocols
async def test_what_still_comes_past_the_hard_limit_fails_and_says_so(
    autojump_clock: MockClock, protocol: str
) -> None:
    """A method that waits for its client keeps the reading on; the upload that floods meanwhile is ended."""
    failures: list[Exception] = []

    class Waiting(Hub):
        async def wait(self, flooded: ChannelReader[str], awaited: ChannelReader[int]) -> int:
            number = await awaited.read()
            try:
                async for _ in flooded:
                    pass
            except StreamOverflow as error:
                failures.append(error)
            return number

    async with open_client(
        Waiting,
        protocol,
        stream_buffer_size=1000,
        connection_buffer_size=2000,
        connection_buffer_limit=20_000,
    ) as client:
        await client.send(call("Wait", id="1", uploads=("8", "9")))
        for _ in range(100):
            await client.send(item("8", "x" * 1000))
        await client.send(item("9", 7))
        assert await client.receive() == result("1", 7)
    assert len(failures) == 1
    assert "20000" in str(failures[0])


async def test_a_client_that_takes_nothing_of_a_piece_is_disconnected(autojump_clock: MockClock) -> None:
    errors: list[Exception | None] = []

    class Talking(Hub):
        async def talk(self) -> AsyncIterator[str]:
            for _ in range(5000):
                yield "x" * 1000

        async def on_disconnected(self, error: Exception | None) -> None:
            errors.append(error)

    with no_task_left():
        async with open_client(Talking, capacity=0, send_timeout=10.0, beating=True) as client:
            await client.send(stream("Talk"))
            with trio.fail_after(30):
                await client.over.wait()
    assert [type(error) for error in errors] == [TimeoutError]


@both_protocols
async def test_one_stream_too_many_is_refused_and_harms_no_other(
    autojump_clock: MockClock, protocol: str
) -> None:
    class Streams(Hub):
        async def endless(self) -> AsyncIterator[int]:
            yield 1
            await trio.sleep_forever()

        async def total(self, items: ChannelReader[int]) -> int:
            return sum([item async for item in items])

        async def plain(self) -> int:
            return 7

    def too_many(name: str) -> str:
        return f"Too many streams: '{name}' would be one more than 2."

    async with open_client(Streams, protocol, maximum_streams=2) as client:
        await client.send(stream("Endless", id="1"), call("Total", id="2", uploads=("8",)))
        assert await client.receive() == item("1", 1)
        await client.send(
            stream("Endless", id="3"), call("Total", id="4", uploads=("9",)), call("Plain", id="5")
        )
        assert await client.receive() == ended("3", too_many("Endless"))
        assert await client.receive() == ended("4", too_many("Total"))
        assert await client.receive() == result("5", 7)
        await client.send(cancel("1"))
        assert await client.receive() == ended("1")
        await client.send(stream("Endless", id="6"))
        assert await client.receive() == item("6", 1)


@pytest.mark.parametrize("inline", [False, True])
async def test_calls_wait_while_their_client_does_not_take_its_answers(
    autojump_clock: MockClock, inline: bool
) -> None:
    made = 0

    class Large(Hub):
        def inline(self) -> str:
            nonlocal made
            made += 1
            return "x" * 50_000

        async def waiting(self) -> str:
            return self.inline()

    async with open_client(Large, capacity=1) as client:
        method = "Inline" if inline else "Waiting"
        await client.send(*[call(method, id=str(number)) for number in range(100)])
        await trio.testing.wait_all_tasks_blocked()
        assert made < 10
        for number in range(100):
            assert await client.receive() == result(str(number), "x" * 50_000)
        assert made == 100
