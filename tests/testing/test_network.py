"""A network in memory: its streams are streams as trio has them, hold so much, and are disturbed as a test says."""

import pytest
import trio
from trio.testing import MockClock, check_two_way_stream, wait_all_tasks_blocked

from trio_hubs.testing import Network
from trio_hubs.testing.network import BUFFER_SIZE, End


async def ends() -> tuple[End, End]:
    await trio.lowlevel.checkpoint()
    wire = Network().wire()
    return wire.client, wire.server


async def test_its_ends_are_streams(autojump_clock: MockClock) -> None:
    await check_two_way_stream(ends, None)


async def test_a_sender_waits_when_so_much_is_under_way(autojump_clock: MockClock) -> None:
    client, server = await ends()
    with trio.fail_after(1):
        await client.send_all(bytes(BUFFER_SIZE))
    with trio.move_on_after(1) as scope:
        await client.send_all(b"x")
    assert scope.cancelled_caught
    assert len(await server.receive_some(1000)) == 1000
    with trio.fail_after(1):
        await client.send_all(b"x")


async def test_a_test_may_say_how_much_is_under_way(autojump_clock: MockClock) -> None:
    wire = Network(buffer_size=3).wire()
    with trio.move_on_after(1) as scope:
        await wire.client.send_all(b"abcd")
    assert scope.cancelled_caught
    assert await wire.server.receive_some(1000) == b"abc"
    with pytest.raises(ValueError, match="buffer_size must be above 0"):
        Network(buffer_size=0)


async def test_a_cut_breaks_both_ends_at_once_and_loses_what_is_under_way(autojump_clock: MockClock) -> None:
    network = Network()
    wire = network.wire()
    broken = 0

    async def receive(end: End) -> None:
        nonlocal broken
        with pytest.raises(trio.BrokenResourceError):
            await end.receive_some()
        broken += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive, wire.client)
        await wire.client.send_all(b"lost")
        network.cut()
        nursery.start_soon(receive, wire.server)
    assert broken == 2
    for end in (wire.client, wire.server):
        with pytest.raises(trio.BrokenResourceError):
            await end.send_all(b"x")
    await network.wire().client.send_all(b"another one is whole")


async def test_a_cut_reaches_a_sender_that_waits(autojump_clock: MockClock) -> None:
    network = Network()
    wire = network.wire()

    async def send() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await wire.server.send_all(bytes(BUFFER_SIZE + 1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        network.cut()


async def test_while_it_stalls_nothing_gets_through_either_way_and_nothing_is_lost(
    autojump_clock: MockClock,
) -> None:
    network = Network()
    wire = network.wire()
    await wire.client.send_all(b"before")
    network.stall()
    await wire.client.send_all(b", while")
    await wire.server.send_all(b"back")
    await wire.server.aclose()
    assert not wire.client.readable
    with trio.move_on_after(1) as scope:
        await wire.client.receive_some()
    assert scope.cancelled_caught
    network.resume()
    assert await wire.client.receive_some() == b"back"
    assert await wire.client.receive_some() == b""


async def test_what_waits_goes_on_when_it_resumes(autojump_clock: MockClock) -> None:
    network = Network()
    wire = network.wire()
    network.stall()
    received: list[bytes] = []

    async def receive() -> None:
        received.append(await wire.server.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wire.client.send_all(b"held up")
        await trio.sleep(10)
        assert received == []
        network.resume()
    assert received == [b"held up"]


async def test_while_it_is_down_there_is_no_connection() -> None:
    network = Network()
    wire = network.wire()
    network.down()
    with pytest.raises(trio.BrokenResourceError):
        await wire.client.receive_some()
    with pytest.raises(OSError, match="the network is down"):
        network.wire()
    network.up()
    network.wire()


async def test_it_keeps_no_connection_that_is_over() -> None:
    network = Network()
    for _ in range(3):
        wire = network.wire()
        await wire.client.aclose()
        assert network._wires == {wire}
        await wire.server.aclose()
        assert not network._wires
