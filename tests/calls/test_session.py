"""A connection lives until either side ends it, ends in order, and each cause is told as .NET tells it."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs.calls.channels import ChannelReader
from trio_hubs.calls.heartbeat import beat
from trio_hubs.calls.intake import IntakeLimits
from trio_hubs.errors import ConnectionClosed, HubException, StreamOverflow, UploadBroken

from .support import (
    PING,
    Json,
    Side,
    cancel,
    close,
    done,
    encode,
    failed,
    invocation,
    item,
    open_side,
    read_all,
    result,
    stream_invocation,
)

INTERVAL = 15
"""Seconds between pings."""


async def ended(side: Side) -> Json:
    """Wait for the session's end; gives its last message."""
    await side.over.wait()
    return (await side.peer.rest())[-1]


class Log:
    """Methods that note in a side's diary what becomes of them."""

    def __init__(self, side: Side) -> None:
        self.events = side.life.events
        self.side = side
        for method in (self.slow, self.asks, self.total, self.count):
            side.method(method)

    async def slow(self) -> None:
        """Wait until cancelled, and then take its time."""
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await wait_all_tasks_blocked()
            self.events.append("call cleaned up")

    async def asks(self) -> None:
        """Wait for an answer of the peer's."""
        try:
            await self.side.session.caller.invoke("ask", (), int)
        except ConnectionClosed as error:
            self.events.append(f"waiting call failed: {error}")
            raise

    async def total(self, items: ChannelReader[int]) -> int:
        try:
            return sum([number async for number in items])
        except Exception as error:
            self.events.append(f"{type(error).__name__}: {error}")
            raise

    async def count(self, stop: int) -> AsyncIterator[int]:
        for number in range(stop):
            yield number


# ---- messages


async def test_calls_are_answered() -> None:
    async with open_side() as side:
        Log(side)
        await side.peer.send(invocation("1", "total", uploads=["2"]), item("2", 40), item("2", 2), done("2"))
        assert await side.peer.receive() == result("1", 42)
        await side.peer.send(stream_invocation("1", "count", 1))
        assert [await side.peer.receive() for _ in range(2)] == [item("1", 0), done("1")]


async def test_what_came_behind_the_handshake_comes_first() -> None:
    async with open_side(data=encode(invocation("1", "nowhere"), PING) + encode(PING)[:3]) as side:
        await side.peer.connection.send(encode(PING)[3:])
        assert await side.peer.receive() == failed("1", "nowhere is unknown")
        assert not side.over.is_set()


async def test_messages_may_come_in_any_pieces() -> None:
    async with open_side() as side:
        for byte in encode(invocation("1", "nowhere")):
            await side.peer.connection.send(bytes([byte]))
        assert await side.peer.receive() == failed("1", "nowhere is unknown")


async def test_a_cancel_in_the_same_packet_works() -> None:
    async with open_side() as side:
        Log(side)
        await side.peer.send(invocation("1", "slow"), cancel("1"))
        assert await side.peer.receive() == failed("1", "The invocation was canceled by the client.")
        assert "call cleaned up" not in side.life.events  # it has never started


async def test_control_messages_are_handled_while_all_places_are_taken() -> None:
    async with open_side() as side:
        Log(side)
        await side.peer.send(invocation("1", "slow"))
        await side.peer.send(PING, cancel("1"))
        assert await side.peer.receive() == failed("1", "The invocation was canceled by the client.")


async def test_our_calls_are_answered_by_the_peer(nursery: trio.Nursery) -> None:
    async with open_side() as side:
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await side.session.caller.invoke("ask", (1,), int))

        nursery.start_soon(ask)
        assert await side.peer.receive() == invocation("1", "ask", 1)
        await side.peer.send(result("9", 0), result("1", 5))
        assert answers == [5]


async def test_an_item_for_a_plain_call_fails_it() -> None:
    async with open_side() as side, trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(HubException, match=r"stream\(\)"):
                await side.session.caller.invoke("ask", (1,), int)
            nursery.cancel_scope.cancel()

        nursery.start_soon(ask)
        await side.peer.receive()
        await side.peer.send(item("1", 0), item("1", 1))


async def test_items_of_several_streams_are_told_apart() -> None:
    async with (
        open_side() as side,
        side.session.caller.stream("a", (), int, 10) as first,
        side.session.caller.stream("b", (), int, 10) as second,
    ):
        await side.peer.send(
            item("1", 1),
            item("1", 2),
            item("2", 3),
            item("7", 0),
            item("1", 4),
            done("1"),
            item("2", 5),
            failed("2", "broken"),
        )
        assert await read_all(first) == [1, 2, 4]
        assert second.read_ready() == [3, 5]
        with pytest.raises(HubException, match="broken"):
            await second.read()


async def test_an_item_that_does_not_fit_stops_the_stream_and_nothing_else() -> None:
    async with open_side() as side:
        Log(side)
        async with side.session.caller.stream("a", (), int, 10):
            await side.peer.receive()
            await side.peer.send(item("1", "one"), item("1", 2))
            assert await side.peer.receive() == cancel("1")
        await side.peer.send(invocation("1", "total", uploads=["u"]), item("u", "one"))
        assert await side.peer.receive() == failed("1", "total failed: Failed to bind Stream message.")


async def test_messages_that_mean_nothing_do_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with open_side() as side:
        await side.peer.send(
            {"type": 8, "sequenceId": 1},
            {"type": 9, "sequenceId": 1},
            {"type": 99},
            done("9"),
            item("9", 1),
            cancel("9"),
        )
        assert side.life.events == ["opened"]
        side.session.end()
        assert await ended(side) == close()
    assert caplog.records == []


# ---- demand


def open_stream(side: Side) -> AbstractAsyncContextManager[ChannelReader[int]]:
    """Call the peer for a stream, of which one unread item is never too many."""
    return side.session.caller.stream("a", (), int, 1)


async def test_a_peer_that_floods_is_not_read_until_somebody_wants_it() -> None:
    limits = IntakeLimits(stream_bytes=100, connection_bytes=1000)
    async with open_side(capacity=0, intake=limits) as side, open_stream(side) as reader:
        await side.peer.receive()
        await side.peer.send(*[item("1", 1)] * 10)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(side.peer.connection.send, encode(item("1", 2)))
            await wait_all_tasks_blocked()
            assert nursery.child_tasks
            assert reader.read_ready() == [1] * 10
        assert await reader.read() == 2


async def test_a_loop_over_a_stream_may_call_the_peer_in_its_body(nursery: trio.Nursery) -> None:
    limits = IntakeLimits(stream_bytes=100, connection_bytes=200)
    async with open_side(intake=limits) as side:

        async def peer() -> None:
            await side.peer.receive()
            await side.peer.connection.send(encode(*[item("1", 1)] * 10))
            while True:
                message = await side.peer.receive()
                await side.peer.connection.send(
                    encode(*[item("1", 1)] * 10, result(message["invocationId"], 7))
                )

        nursery.start_soon(peer)
        async with open_stream(side) as reader:
            for _ in range(20):
                assert await reader.read() == 1
                assert await side.session.caller.invoke("ask", (), int) == 7
        nursery.cancel_scope.cancel()


async def test_a_flood_past_the_hard_limit_fails_the_stream_and_stops_the_peer(nursery: trio.Nursery) -> None:
    limits = IntakeLimits(stream_bytes=100, connection_bytes=200, hard_bytes=1000)
    async with open_side(intake=limits) as side:
        async with open_stream(side) as reader:
            await side.peer.receive()
            nursery.start_soon(side.session.caller.invoke, "ask", (), int)
            await side.peer.receive()
            await side.peer.send(*[item("1", 1)] * 100)
            assert await side.peer.receive() == cancel("1")
            assert reader.read_ready() == [1] * 100
            with pytest.raises(StreamOverflow):
                await reader.read()
        await side.peer.send(result("2", 0))


async def test_answers_that_nobody_takes_stop_the_reading() -> None:
    async with open_side(capacity=0) as side:
        side.face.add("echo", lambda text: text)
        sent = 0
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def flood() -> None:
                    nonlocal sent
                    while True:
                        await side.peer.connection.send(encode(invocation("1", "echo", "x" * 10_000)))
                        sent += 1

                nursery.start_soon(flood)
                await wait_all_tasks_blocked()
                stuck = sent
                assert stuck < 60  # about 4 * 64 KiB of answers, and as much of waiting calls
                await side.peer.receive()
                await side.peer.receive()
                await wait_all_tasks_blocked()
                assert sent > stuck
                scope.cancel()


# ---- beginning


async def test_calls_wait_until_the_connection_is_open(nursery: trio.Nursery) -> None:
    gate = trio.Event()

    def prepare(side: Side) -> None:
        side.life.on_open = gate.wait
        side.face.add("plain", lambda: 1)

    async with open_side(prepare=prepare) as side:
        await side.peer.send(invocation("1", "plain"), invocation("2", "unknown"))
        assert await side.peer.receive() == failed("2", "unknown is unknown")
        gate.set()
        assert await side.peer.receive() == result("1", 1)


async def test_who_is_told_of_the_beginning_may_call_the_peer() -> None:
    def prepare(side: Side) -> None:
        async def greet() -> None:
            await side.session.caller.send("welcome", (1,))

        side.life.on_open = greet

    async with open_side(prepare=prepare) as side:
        assert await side.peer.receive() == invocation("", "welcome", 1)


async def test_a_refused_connection_is_told_so_and_never_closed(caplog: pytest.LogCaptureFixture) -> None:
    def prepare(side: Side) -> None:
        async def refuse() -> None:
            raise ValueError("not you")

        side.life.on_open = refuse

    async with open_side(prepare=prepare) as side:
        assert await ended(side) == close("ended: not you")
        assert side.life.events == []
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "was refused" in caplog.text


async def test_an_end_before_the_connection_is_open_ends_the_opening() -> None:
    def prepare(side: Side) -> None:
        side.life.on_open = trio.sleep_forever

    async with open_side(prepare=prepare) as side:
        await side.peer.send(close())
        assert await ended(side) == close()
        assert side.life.events == []


async def test_an_opening_that_fails_while_the_connection_ends_harms_nobody() -> None:
    def prepare(side: Side) -> None:
        async def fail() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("clumsy")

        async def open_clumsily() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                nursery.start_soon(trio.sleep_forever)

        side.life.on_open = open_clumsily

    async with open_side(prepare=prepare) as side:
        await side.peer.send(close())
        assert await ended(side) == close()


async def test_a_close_behind_the_handshake_still_opens_and_closes_in_order() -> None:
    async with open_side(data=encode(invocation("1", "unknown"), close())) as side:
        await side.over.wait()
        assert side.life.events in ([], ["opened", ("closed", "")])
        assert await side.peer.rest() == [failed("1", "unknown is unknown"), close()]


# ---- the order of the end


async def end_by_eof(side: Side) -> None:
    side.peer.connection.close()


async def end_by_close(side: Side) -> None:
    await side.peer.send(close())


async def end_by_us(side: Side) -> None:
    side.session.end()


async def end_by_shutdown(side: Side) -> None:
    side.scope.cancel()


async def end_by_garbage(side: Side) -> None:
    await side.peer.connection.send(b"garbage\x1e")


ENDS = pytest.mark.parametrize("end", [end_by_eof, end_by_close, end_by_us, end_by_shutdown, end_by_garbage])


@ENDS
async def test_the_order_of_the_end(end: Callable[[Side], Awaitable[None]]) -> None:
    async with open_side(maximum_parallel=3) as side:
        Log(side)
        await side.peer.send(invocation("1", "asks"), invocation("2", "slow"))
        assert await side.peer.receive() == invocation("1", "ask")
        await end(side)
        await side.over.wait()
        opened, *waiting, cleaned, closed = side.life.events
        assert (opened, cleaned) == ("opened", "call cleaned up")
        assert [text.split(":")[0] for text in waiting] == (
            [] if end is end_by_shutdown else ["waiting call failed"]  # a shutdown cancels everything at once
        )
        assert closed[0] == "closed"
        assert (await side.peer.rest())[-1]["type"] == 7
        with pytest.raises(ConnectionClosed):
            await side.session.caller.send("more", ())


@pytest.mark.parametrize("end", [end_by_eof, end_by_close, end_by_us, end_by_garbage])
async def test_a_cut_off_upload_raises_in_the_method(end: Callable[[Side], Awaitable[None]]) -> None:
    async with open_side() as side:
        Log(side)
        await side.peer.send(invocation("1", "total", uploads=["2"]), item("2", 1))
        await end(side)
        await side.over.wait()
        assert side.life.events[1].startswith("UploadBroken: broken: ")


async def test_a_shutdown_cancels_a_method_that_reads_an_upload() -> None:
    async with open_side() as side:
        Log(side)
        await side.peer.send(invocation("1", "total", uploads=["2"]), item("2", 1))
        await end_by_shutdown(side)
        await side.over.wait()
        assert side.life.events == ["opened", ("closed", "")]
        assert await side.peer.rest() == [close(reconnect=True)]


async def test_a_stream_of_ours_fails_with_the_connection() -> None:
    async with open_side() as side, side.session.caller.stream("a", (), int, 10) as reader:
        await side.peer.send(item("1", 1))
        side.peer.connection.close()
        await side.over.wait()
        assert await reader.read() == 1
        with pytest.raises((ConnectionClosed, UploadBroken)):
            await reader.read()


async def test_nothing_is_read_after_the_end() -> None:
    ran: list[int] = []
    async with open_side() as side:
        side.face.add("note", ran.append)
        await side.peer.connection.send(encode(invocation("", "note", 1), close(), invocation("", "note", 2)))
        await side.peer.connection.send(encode(invocation("", "note", 3)))
        await side.over.wait()
    assert 3 not in ran


async def test_the_last_bytes_follow_what_closed_sends() -> None:
    async with open_side() as side:
        side.face.add("plain", lambda: 1)
        await side.peer.send(invocation("1", "plain"))
        side.session.end()
        await side.over.wait()
        assert await side.peer.rest() == [result("1", 1), close()]


@pytest.mark.parametrize("shutdown", [False, True])
async def test_the_last_bytes_have_only_so_much_time(autojump_clock: MockClock, shutdown: bool) -> None:
    async with open_side(capacity=0) as side:
        if shutdown:
            side.scope.cancel()
        else:
            side.session.end()
        await side.over.wait()
        assert trio.current_time() == pytest.approx(5)
        assert side.life.events == ["opened", ("closed", "")]


async def test_the_session_ends_though_being_told_of_it_fails(autojump_clock: MockClock) -> None:
    async def fail() -> None:
        raise ValueError("clumsy")

    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="clumsy")):
        async with open_side() as side:
            side.life.on_close = fail
            side.session.end()
            assert await ended(side) == close()


async def test_only_the_first_end_counts() -> None:
    async with open_side() as side:
        side.session.end(ValueError("first"))
        side.session.end(ValueError("second"), allow_reconnect=True)
        assert await ended(side) == close("ended: first")
        assert side.life.events[-1] == ("closed", "first")


async def test_a_peer_that_vanishes_at_once_is_closed_in_order() -> None:
    async with open_side() as side:
        Log(side)
        await side.peer.send(stream_invocation("1", "count", 1_000_000))
        side.peer.connection.cut()
        await side.over.wait()
        assert side.life.events[0] == "opened"
        assert side.life.events[-1][0] == "closed"


STEPS = [
    invocation("1", "asks"),
    stream_invocation("2", "count", 1_000_000),
    invocation("3", "total", uploads=["4"]),
    item("4", 1),
    cancel("2"),
    done("4"),
    result("1", 3),
]


@pytest.mark.parametrize("count", range(len(STEPS) + 1))
@pytest.mark.parametrize("how", ["close", "cut", "half a message"])
async def test_a_peer_may_vanish_after_each_message(count: int, how: str) -> None:
    async with open_side(maximum_parallel=3) as side:
        Log(side)
        for step in STEPS[:count]:
            await side.peer.send(step)
        if how == "cut":
            side.peer.connection.cut()
        else:
            if how == "half a message":
                await side.peer.connection.send(encode(PING)[:5])
            side.peer.connection.close()
        async with trio.open_nursery() as nursery:
            if how != "cut":
                nursery.start_soon(side.peer.rest)
            await side.over.wait()
    assert side.life.events[-1][0] == "closed"


# ---- what each cause is told as


async def test_closed_by_the_peer() -> None:
    async with open_side() as side:
        await side.peer.send(close())
        assert await ended(side) == close()
        assert side.life.events[-1] == ("closed", "")


async def test_closed_by_the_peer_with_an_error() -> None:
    async with open_side() as side:
        await side.peer.send(close("peer's fault"))
        assert await ended(side) == close()
        assert side.life.events[-1] == ("closed", "peer's fault")


async def test_an_end_of_input_allows_to_come_back() -> None:
    async with open_side() as side:
        side.peer.connection.close()
        assert await ended(side) == close(reconnect=True)
        assert side.life.events[-1] == ("closed", "")


async def test_a_shutdown_allows_to_come_back() -> None:
    async with open_side() as side:
        side.scope.cancel()
        assert await ended(side) == close(reconnect=True)
        assert side.life.events[-1] == ("closed", "")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"garbage\x1e", "JSON"),
        (b'{"type":1,"target":"x"}\x1e', "Missing required property 'arguments'"),
        (b"x" * 101, "maximum message size of 100B was exceeded"),
    ],
)
async def test_a_protocol_error_is_told_and_allows_to_come_back(
    caplog: pytest.LogCaptureFixture, data: bytes, text: str
) -> None:
    async with open_side(maximum_message_size=100) as side:
        await side.peer.connection.send(encode(invocation("1", "unknown")) + data)
        await side.over.wait()
        first, last = await side.peer.rest()
        assert first == failed("1", "unknown is unknown")
        assert last["error"].startswith("ended: ")
        assert text in last["error"]
        assert last["allowReconnect"]
        assert text in side.life.events[-1][1]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


async def test_an_end_inside_a_message_is_a_protocol_error() -> None:
    async with open_side() as side:
        await side.peer.connection.send(encode(PING)[:3])
        side.peer.connection.close()
        assert await ended(side) == close(
            "ended: Connection terminated while reading a message.", reconnect=True
        )


async def test_a_broken_connection_is_noticed_by_the_reader() -> None:
    async with open_side() as side:
        side.connection.cut()
        await side.over.wait()
        assert side.life.events[-1] == ("closed", "The connection was cut.")


async def test_a_broken_connection_is_noticed_by_the_writer() -> None:
    async with open_side() as side:
        side.peer.connection._incoming.close()
        await side.session.caller.send("x", ())
        await side.over.wait()
        assert side.life.events[-1] == ("closed", "The connection is over.")


async def test_waiting_calls_hear_why_the_connection_ended() -> None:
    async with open_side() as side:
        side.session.end(ValueError("a fault"))
        await side.over.wait()
        with pytest.raises(ConnectionClosed, match="a fault"):
            await side.session.caller.send("x", ())


# ---- pings and silence


async def ticks(side: Side, seconds: float) -> None:
    """Let time pass, ticking every second as the heartbeat does."""
    with trio.move_on_after(seconds):
        await beat(lambda: [side.session], 1)


async def times_of_messages(side: Side, seconds: float) -> list[float]:
    """When the peer received something, in so many seconds."""
    times: list[float] = []

    async def listen() -> None:
        while True:
            await side.peer.connection.receive()
            times.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await ticks(side, seconds)
        nursery.cancel_scope.cancel()
    return times


async def test_pings_are_sent_every_interval(autojump_clock: MockClock) -> None:
    async with open_side(keep_alive_interval=INTERVAL) as side:
        assert await times_of_messages(side, 50) == [15, 30, 45]
        side.session.outbox.put(encode(PING))
        assert await side.peer.receive() == PING


@pytest.mark.parametrize(("when_idle", "times"), [(False, [10, 15, 30, 45]), (True, [10, 25, 40])])
async def test_other_messages_put_pings_off_where_that_is_asked_for(
    autojump_clock: MockClock, when_idle: bool, times: list[float]
) -> None:
    async with open_side(keep_alive_interval=INTERVAL, keep_alive_when_idle=when_idle) as side:

        async def talk() -> None:
            await trio.sleep(10)
            await side.session.caller.send("x", ())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            assert await times_of_messages(side, 50) == times


async def test_no_pings_where_the_transport_keeps_itself_alive(autojump_clock: MockClock) -> None:
    def prepare(side: Side) -> None:
        side.connection.inherent_keep_alive = True

    async with open_side(prepare=prepare) as side:
        assert await times_of_messages(side, 50) == []


async def test_no_ping_joins_a_message_that_is_being_sent(autojump_clock: MockClock) -> None:
    async with open_side(capacity=0, send_timeout=100) as side:
        await side.session.caller.send("x", ())
        await ticks(side, 40)
        assert await side.peer.receive() == invocation("", "x")
        await wait_all_tasks_blocked()
        assert side.session.outbox.size == 0
        side.session.end()
        assert (await side.peer.rest()) == [close()]


async def test_a_peer_that_takes_nothing_is_given_up(autojump_clock: MockClock) -> None:
    async with open_side(capacity=0, send_timeout=10) as side:
        await side.session.caller.send("x", ())
        await ticks(side, 9.5)
        assert not side.over.is_set()
        await ticks(side, 2)
        await side.over.wait()
        assert trio.current_time() < 12  # the last bytes are given up, too
        assert side.life.events[-1] == ("closed", "The peer took nothing for 10 s.")


@pytest.mark.parametrize("must_ping", [False, True])
async def test_a_silent_peer_is_closed(autojump_clock: MockClock, must_ping: bool) -> None:
    async with open_side(peer_must_ping=must_ping, peer_timeout=30) as side:
        await side.peer.send(PING)
        await ticks(side, 29.5)
        assert not side.over.is_set()
        await ticks(side, 2)
        assert await ended(side) == close("ended: silent for 30 s", reconnect=True)
        assert side.life.events[-1] == ("closed", "silent for 30 s")


async def test_a_peer_that_never_pings_may_be_silent_where_that_is_so(autojump_clock: MockClock) -> None:
    async with open_side(peer_must_ping=True, peer_timeout=30) as side:
        side.face.add("plain", lambda: 1)
        await side.peer.send(invocation("1", "plain"))
        await ticks(side, 100)
        assert not side.over.is_set()


async def test_every_message_is_a_sign_of_life(autojump_clock: MockClock) -> None:
    async with open_side(peer_must_ping=True, peer_timeout=30) as side:
        await side.peer.send(PING)
        for _ in range(4):
            await ticks(side, 25)
            await side.peer.send(done("9"))
        assert not side.over.is_set()


async def test_our_own_lateness_is_not_the_peers_silence(autojump_clock: MockClock) -> None:
    async with open_side(peer_must_ping=False, peer_timeout=30) as side:
        side.session.tick(trio.current_time() + 100, judge_silence=False)
        await wait_all_tasks_blocked()
        assert not side.over.is_set()
        side.session.tick(trio.current_time() + 100, judge_silence=True)
        await side.over.wait()


async def test_a_peer_that_we_do_not_read_is_not_silent(autojump_clock: MockClock) -> None:
    limits = IntakeLimits(stream_bytes=10)
    async with (
        open_side(peer_must_ping=False, peer_timeout=30, intake=limits) as side,
        open_stream(side) as reader,
    ):
        await side.peer.send(item("1", 1), item("1", 2))
        await ticks(side, 100)
        assert not side.over.is_set()
        reader.read_ready()
        await ticks(side, 29)
        assert not side.over.is_set()
        await ticks(side, 3)
        await side.over.wait()
