"""The way in: the reader never waits on user code."""

import trio
from trio.testing import MockClock

from tests.hub_peer import open_client, open_raw_server
from tests.messages import call, cancel, close, encode, ended, item, result, stream

from .witness import CANCELED, both_protocols, witness


@both_protocols
async def test_control_messages_are_heeded_while_all_places_are_taken(
    autojump_clock: MockClock, protocol: str
) -> None:
    events: list[str] = []
    async with open_client(witness(events), protocol) as client:
        await client.send(
            call("Total", id="0", uploads=("9",)), stream("Generator", 99, id="1"), call("Plain", id="2")
        )
        await client.arrived()
        await client.send(*[call("Add", 1, 1, id=str(number)) for number in range(3, 50)])
        await client.send(cancel("1"))
        assert await client.arrived() == [ended("1")]
        await client.send(item("9", 1), ended("9"))
        assert await client.arrived() == [result("0", 1)]
        await client.send(cancel("2"))
        answers = await client.arrived()
        assert answers == [ended("2", CANCELED), *[result(str(number), 2) for number in range(3, 50)]]


@both_protocols
async def test_an_upload_that_nobody_reads_holds_up_no_other_call(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(witness([]), protocol) as client:
        await client.send(call("Ignore", id="1", uploads=("9",)))
        await client.send(*[item("9", number) for number in range(100)])
        await client.send(call("Add", 1, 2, id="2"))
        assert await client.arrived() == [result("2", 3)]


@both_protocols
async def test_streams_and_uploads_hold_no_place(autojump_clock: MockClock, protocol: str) -> None:
    async with open_client(witness([]), protocol, maximum_parallel_invocations=1) as client:
        await client.send(
            *[stream("Channel", 9, id=f"s{number}") for number in range(5)],
            *[stream("Generator", 9, id=f"g{number}") for number in range(5)],
            *[call("Total", id=f"t{number}", uploads=(f"u{number}",)) for number in range(5)],
            call("Add", 1, 2, id="sum"),
        )
        assert result("sum", 3) in await client.arrived()


@both_protocols
async def test_a_loop_over_a_stream_may_invoke_in_its_body(autojump_clock: MockClock, protocol: str) -> None:
    """Though far more items lie unread than may, the answer behind them is read."""
    async with (
        open_raw_server(protocol) as (connection, server),
        connection.stream("Count", item_type=str) as reader,
        trio.open_nursery() as nursery,
    ):
        assert (await server.receive())["target"] == "Count"
        for _ in range(50):
            await server.send(*[item("1", "x" * 1000) for _ in range(50)])
        assert await reader.read() == "x" * 1000

        async def answer() -> None:
            assert await server.receive() == call("Add", 1, id="2")
            await server.send(result("2", 42))

        nursery.start_soon(answer)
        assert await connection.invoke("Add", 1) == 42


async def test_memory_stays_bounded_behind_a_slow_reader(autojump_clock: MockClock) -> None:
    async with open_raw_server() as (connection, server), connection.stream("Count") as reader:
        sent = 0
        with trio.move_on_after(5):
            for _ in range(5000):
                await server.connection.send(encode("json", item("1", "x" * 1000)) * 10)
                sent += 10
        assert sent < 20_000  # the memory connection itself holds 1000 pieces
        for _ in range(sent):
            assert await reader.read() == "x" * 1000


async def test_calls_that_came_with_the_handshake_begin_though_the_goodbye_came_with_them(
    autojump_clock: MockClock,
) -> None:
    """For a hook that waits for nothing has run before them."""
    for _ in range(20):  # of which each order of tasks is one
        async with open_client(witness([]), handshake=False) as client:
            together = b"".join(encode("json", one) for one in (call("Add", 1, 2, id="1"), close()))
            await client.send_bytes(b'{"protocol":"json","version":1}\x1e' + together)
            assert result("1", 3) in await client.rest()
