"""A WebSocket closes with the code of its cause, waits only so long for its peer, and is silent behind its close."""

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from tests.connections.websocket.websocket_peer import (
    CLOSE,
    PING,
    TEXT,
    Peer,
    Side,
    close_payload,
    narrow_stream_pair,
    open_pair,
)
from trio_hubs.errors import ConnectionClosed

sides = pytest.mark.parametrize("side", ["server", "client"])
lanes = pytest.mark.parametrize("express", [True, False], ids=["express", "plain"])
NORMAL: tuple[int, bytes] = (CLOSE, close_payload(1000))


class Trouble(Exception):
    pass


@sides
@lanes
async def test_the_end_of_the_body_closes_with_1000(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        async with open_pair(side, express=express) as (connection, peer):
            await connection.send(b"last")
            assert await peer.next_frame() == (TEXT, b"last")
            closes: list[tuple[int, bytes]] = []

            @nursery.start_soon
            async def _() -> None:
                closes.append(await peer.next_frame())
                await peer.send(peer.frame(TEXT, b"sent before"))
                await peer.send_close()

        assert closes == [NORMAL]
        assert await peer.rest() == []
        assert autojump_clock.current_time() == 0


@sides
@lanes
async def test_a_failed_body_closes_with_1011_and_its_exception_comes_out_bare(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    near, far = memory_stream_pair()
    trouble = Trouble()
    with pytest.raises(Trouble) as caught:
        async with open_pair(side, express=express, near=near, far=far):
            raise trouble
    assert caught.value is trouble
    assert await Peer(far, client=side == "server").rest() == [(CLOSE, close_payload(1011))]


@sides
@lanes
async def test_a_group_of_the_body_comes_out_as_it_is(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    near, far = memory_stream_pair()
    trouble = Trouble()
    with pytest.raises(ExceptionGroup, match="the user's own") as caught:
        async with open_pair(side, express=express, near=near, far=far):
            raise ExceptionGroup("the user's own", [trouble])
    assert caught.value.exceptions == (trouble,)
    assert await Peer(far, client=side == "server").rest() == [(CLOSE, close_payload(1011))]


@sides
@lanes
async def test_cancellation_closes_with_1000(side: Side, express: bool, autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    with trio.CancelScope() as scope:
        async with open_pair(side, express=express, near=near, far=far):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert await Peer(far, client=side == "server").rest() == [NORMAL]


@sides
@lanes
async def test_cancellation_of_a_body_with_tasks_closes_with_1000(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    near, far = memory_stream_pair()
    with trio.CancelScope() as scope:
        async with (
            open_pair(side, express=express, near=near, far=far) as (connection, _),
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(connection.receive)
            nursery.start_soon(trio.sleep_forever)
            await wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert await Peer(far, client=side == "server").rest() == [NORMAL]


@sides
@lanes
async def test_a_peer_that_does_not_answer_the_close_has_five_seconds(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    async with open_pair(side, express=express) as (_, peer):
        pass
    assert autojump_clock.current_time() == 5
    assert await peer.rest() == [NORMAL]


@sides
@lanes
async def test_a_peer_that_never_stops_sending_has_five_seconds(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        async with open_pair(side, express=express) as (_connection, peer):

            @nursery.start_soon
            async def _() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    while True:
                        await peer.send(peer.frame(TEXT, b"more"), peer.frame(PING))
                        await trio.sleep(0.3)

        assert 4.9 < autojump_clock.current_time() < 5.1
        assert await peer.rest() == [NORMAL]


@sides
@lanes
async def test_a_peer_that_reads_nothing_has_five_seconds(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    near, far = narrow_stream_pair()
    async with open_pair(side, express=express, near=near, far=far):
        near.send_stream.room = 3  # of the close frame
    assert autojump_clock.current_time() == 5
    assert len(bytes(await far.receive_some())) == 3


@sides
@lanes
async def test_a_peer_that_does_not_take_a_frame_is_closed_at_once(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    near, far = narrow_stream_pair()
    async with trio.open_nursery() as nursery:
        async with open_pair(side, express=express, near=near, far=far) as (connection, _):
            near.send_stream.room = 3
            nursery.start_soon(connection.send, b"more than that")
            await wait_all_tasks_blocked()
        assert autojump_clock.current_time() == 0
        nursery.cancel_scope.cancel()
    assert len(bytes(await far.receive_some())) == 3
    assert bytes(await far.receive_some()) == b""


@sides
@lanes
async def test_behind_a_frame_that_was_cut_the_close_waits_for_nobody(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    near, far = narrow_stream_pair()
    async with open_pair(side, express=express, near=near, far=far) as (connection, _):
        near.send_stream.room = 3
        with trio.move_on_after(1):
            await connection.send(b"cut in the middle")
        near.send_stream.room = 1000
    assert autojump_clock.current_time() == 1
    assert len(bytes(await far.receive_some())) == 3
    assert bytes(await far.receive_some()) == b""


@sides
@lanes
@pytest.mark.parametrize("code", [1000, 1001])
async def test_the_peers_close_is_answered_and_is_an_end_in_good_order(
    side: Side, express: bool, code: int, autojump_clock: MockClock
) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send(peer.frame(TEXT, b"last"))
        await peer.send_close(code, "bye")
        assert [await connection.receive() for _ in range(3)] == [b"last", b"", b""]
    ((first, payload),) = await peer.rest()
    assert (first, payload[:2]) == (CLOSE, close_payload(code))
    assert autojump_clock.current_time() == 0


@sides
@lanes
async def test_a_close_without_a_code_is_an_end_in_good_order(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send(peer.frame(CLOSE))
        assert await connection.receive() == b""
    assert await peer.rest() == [NORMAL]


@sides
@lanes
async def test_a_close_with_another_code_is_a_break_that_tells_it(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send_close(1011, "out of order")
        with pytest.raises(
            ConnectionClosed, match=r"^The WebSocket closed with code 1011 \(out of order\)\.$"
        ):
            await connection.receive()
    ((first, payload),) = await peer.rest()
    assert (first, payload[:2]) == (CLOSE, close_payload(1011))


@sides
@lanes
async def test_when_both_close_at_once_each_sends_one_close_frame(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    async with open_pair(side, express=express) as (_, peer):
        await peer.send_close()
    assert await peer.rest() == [NORMAL]
    assert autojump_clock.current_time() == 0


@sides
@lanes
async def test_nothing_is_sent_behind_the_answer_to_a_close(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send(peer.frame(CLOSE, close_payload(1000)), peer.frame(PING, b"?"))
        assert await connection.receive() == b""
        with pytest.raises(ConnectionClosed):
            await connection.send(b"too late")
        assert not connection.send_nowait(b"too late")
    assert await peer.rest() == [NORMAL]


@sides
@lanes
async def test_nothing_is_sent_behind_our_close(side: Side, express: bool, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        async with open_pair(side, express=express) as (connection, peer):

            @nursery.start_soon
            async def _() -> None:
                assert await peer.next_frame() == NORMAL
                await peer.send(peer.frame(PING, b"?"), peer.frame(TEXT, b"x"))
                await wait_all_tasks_blocked()
                with pytest.raises(ConnectionClosed):
                    await connection.send(b"too late")
                await peer.send_close()

        assert await peer.rest() == []
        with pytest.raises(ConnectionClosed):
            await connection.send(b"much too late")


@sides
@lanes
async def test_a_cancelled_send_makes_the_rest_silent(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    near, far = narrow_stream_pair()
    async with open_pair(side, express=express, near=near, far=far) as (connection, peer):
        near.send_stream.room = 3
        with trio.move_on_after(1) as scope:
            await connection.send(b"cut in the middle")
        assert scope.cancelled_caught
        near.send_stream.room = 1000
        with pytest.raises(ConnectionClosed):
            await connection.send(b"next")
        await peer.send(peer.frame(PING, b"?"), peer.frame(TEXT, b"a"))
        assert await connection.receive() == b"a"
        await peer.send_close()
    received = b""
    while more := bytes(await far.receive_some()):
        received += more
    assert len(received) == 3


@sides
@lanes
async def test_a_pong_that_cancellation_cuts_makes_the_rest_silent(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    near, far = narrow_stream_pair()
    with trio.CancelScope() as scope:
        async with open_pair(side, express=express, near=near, far=far) as (connection, peer):
            near.send_stream.room = 3
            await peer.send(peer.frame(PING, b"question"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.receive)
                await wait_all_tasks_blocked()
                near.send_stream.room = 1000
                scope.cancel()
    received = b""
    while more := bytes(await far.receive_some()):
        received += more
    assert len(received) == 3


@sides
@lanes
async def test_a_peer_that_was_given_up_is_not_waited_for(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await connection.send(b"last")
        connection.give_up()
    assert await peer.rest() == [(TEXT, b"last")]
    assert autojump_clock.current_time() == 0
