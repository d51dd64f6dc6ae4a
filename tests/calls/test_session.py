"""A connection begins in order, and hands each message to whom it is for, as fast as that one wants it."""

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.messages import PING, call, cancel, close, ended, item, result, stream
from trio_hubs.errors import BindingError, HubException, StreamOverflow

from .session_log import Log, last_message, open_stream
from .support import Side, encode, open_side, read_all

# ---- messages


async def test_calls_are_answered() -> None:
    async with open_side() as side:
        Log(side)
        await side.peer.send(call("total", id="1", uploads=["2"]), item("2", 40), item("2", 2), ended("2"))
        assert await side.peer.receive() == result("1", 42)
        await side.peer.send(stream("count", 1))
        assert [await side.peer.receive() for _ in range(2)] == [item("1", 0), ended("1")]


async def test_what_came_behind_the_handshake_comes_first() -> None:
    async with open_side(data=encode(call("nowhere", id="1"), PING) + encode(PING)[:3]) as side:
        await side.peer.connection.send(encode(PING)[3:])
        assert await side.peer.receive() == ended("1", "nowhere is unknown")
        assert not side.over.is_set()


async def test_messages_may_come_in_any_pieces() -> None:
    async with open_side() as side:
        for byte in encode(call("nowhere", id="1")):
            await side.peer.connection.send(bytes([byte]))
        assert await side.peer.receive() == ended("1", "nowhere is unknown")


async def test_a_cancel_in_the_same_packet_works() -> None:
    async with open_side() as side:
        Log(side)
        await side.peer.send(call("slow", id="1"), cancel("1"))
        assert await side.peer.receive() == ended("1", "The invocation was canceled by the client.")
        assert "call cleaned up" in side.life.events  # it has begun all the same


async def test_control_messages_are_handled_while_all_places_are_taken() -> None:
    async with open_side() as side:
        Log(side)
        await side.peer.send(call("slow", id="1"))
        await side.peer.send(PING, cancel("1"))
        assert await side.peer.receive() == ended("1", "The invocation was canceled by the client.")


async def test_our_calls_are_answered_by_the_peer(nursery: trio.Nursery) -> None:
    async with open_side() as side:
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await side.session.our_calls.invoke("ask", (1,), int))

        nursery.start_soon(ask)
        assert await side.peer.receive() == call("ask", 1, id="1")
        await side.peer.send(result("9", 0), result("1", 5))
        assert answers == [5]


async def test_an_item_for_a_plain_call_fails_it() -> None:
    async with open_side() as side, trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(HubException, match=r"stream\(\)"):
                await side.session.our_calls.invoke("ask", (1,), int)
            nursery.cancel_scope.cancel()

        nursery.start_soon(ask)
        await side.peer.receive()
        await side.peer.send(item("1", 0), item("1", 1))


async def test_items_of_several_streams_are_told_apart() -> None:
    async with (
        open_side() as side,
        side.session.our_calls.stream("a", (), int, 10) as first,
        side.session.our_calls.stream("b", (), int, 10) as second,
    ):
        await side.peer.send(
            item("1", 1),
            item("1", 2),
            item("2", 3),
            item("7", 0),
            item("1", 4),
            ended("1"),
            item("2", 5),
            ended("2", "broken"),
        )
        assert await read_all(first) == [1, 2, 4]
        assert second.read_ready() == [3, 5]
        with pytest.raises(HubException, match="broken"):
            await second.read()


async def test_an_item_that_does_not_fit_stops_the_stream_and_nothing_else() -> None:
    async with open_side() as side:
        Log(side)
        async with side.session.our_calls.stream("a", (), int, 10) as reader:
            await side.peer.receive()
            await side.peer.send(item("1", "one"), item("1", 2))
            with pytest.raises(BindingError):
                await reader.read()
            assert await side.peer.receive() == cancel("1")
        await side.peer.send(call("total", id="1", uploads=["u"]), item("u", "one"))
        assert await side.peer.receive() == ended("1", "total failed: Failed to bind Stream message.")


async def test_messages_that_mean_nothing_do_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with open_side() as side:
        await side.peer.send(
            {"type": 8, "sequenceId": 1},
            {"type": 9, "sequenceId": 1},
            {"type": 99},
            ended("9"),
            item("9", 1),
            cancel("9"),
        )
        assert side.life.events == ["opened"]
        side.session.end()
        assert await last_message(side) == close()
    assert caplog.records == []


# ---- demand


async def test_a_peer_that_floods_is_not_read_until_somebody_wants_it() -> None:
    async with (
        open_side(capacity=0, stream_buffer_size=100, connection_buffer_size=1000) as side,
        open_stream(side) as reader,
    ):
        await side.peer.receive()
        await side.peer.send(*[item("1", 1)] * 10)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(side.peer.connection.send, encode(item("1", 2)))
            await wait_all_tasks_blocked()
            assert nursery.child_tasks
            assert reader.read_ready() == [1] * 10
        assert await reader.read() == 2


async def test_a_loop_over_a_stream_may_call_the_peer_in_its_body(nursery: trio.Nursery) -> None:
    async with open_side(stream_buffer_size=100, connection_buffer_size=200) as side:

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
                assert await side.session.our_calls.invoke("ask", (), int) == 7
        nursery.cancel_scope.cancel()


async def test_a_flood_past_the_hard_limit_fails_the_stream_and_stops_the_peer(nursery: trio.Nursery) -> None:
    async with open_side(
        stream_buffer_size=100, connection_buffer_size=200, connection_buffer_limit=1000
    ) as side:
        async with open_stream(side) as reader:
            await side.peer.receive()
            nursery.start_soon(side.session.our_calls.invoke, "ask", (), int)
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
                        await side.peer.connection.send(encode(call("echo", "x" * 10_000, id="1")))
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


async def test_refusals_that_nobody_takes_stop_the_reading() -> None:
    text = ended("1", "x" * 1000 + " is unknown")
    async with open_side(capacity=0) as side:
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                await side.peer.connection.send(encode(call("x" * 1000, id="1")))
                sent += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            await wait_all_tasks_blocked()
            stuck = sent
            assert stuck < 80  # 64 KiB of refusals, and what is being sent
            assert [await side.peer.receive() for _ in range(10)] == [text] * 10
            await wait_all_tasks_blocked()
            assert sent > stuck
            nursery.cancel_scope.cancel()


async def test_answers_to_waiting_calls_that_are_cancelled_stop_the_reading() -> None:
    async with open_side(
        capacity=0, connection_buffer_size=10_000_000, connection_buffer_limit=100_000_000
    ) as side:
        side.method(trio.sleep_forever)
        await side.peer.send(call("sleep_forever", id="0"))
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while sent < 5000:
                await side.peer.connection.send(encode(call("sleep_forever", id="1"), cancel("1")))
                sent += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            await wait_all_tasks_blocked()
            stuck = sent
            assert stuck < 1000  # 64 KiB of answers, and what is being sent
            await side.peer.receive()
            await side.peer.receive()
            await wait_all_tasks_blocked()
            assert sent > stuck
            nursery.cancel_scope.cancel()


async def test_waiting_calls_that_are_cancelled_make_room_for_others(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with open_side() as side:
        side.method(trio.sleep_forever)
        await side.peer.send(call("sleep_forever", id="0"))

        async def type_ahead() -> None:
            for number in range(1, 2000):
                id = f"{number}"
                await side.peer.connection.send(encode(call("sleep_forever", id=id), cancel(id)))
            await side.peer.connection.send(encode(cancel("0")))

        nursery.start_soon(type_ahead)
        with trio.fail_after(5):
            for _ in range(1, 2000):
                await side.peer.receive()
            assert (await side.peer.receive())["invocationId"] == "0"


async def test_ordinary_answers_never_stop_the_reading(nursery: trio.Nursery) -> None:
    async with open_side(capacity=0, maximum_parallel_invocations=50, maximum_message_size=None) as side:

        @side.method
        async def large() -> str:
            return "x" * 100_000

        asked: list[int] = []

        async def ask() -> None:
            asked.append(await side.session.our_calls.invoke("ask", (), int))

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await side.peer.send(*[call("large", id=str(id)) for id in range(30)])
        assert side.session.outbox.full
        await side.peer.send(result("1", 5))  # which a peer sends that answers before it reads
        assert asked == [5]


# ---- beginning


async def test_calls_wait_until_the_connection_is_open(nursery: trio.Nursery) -> None:
    gate = trio.Event()

    def prepare(side: Side) -> None:
        side.life.on_open = gate.wait
        side.face.add("plain", lambda: 1)

    async with open_side(prepare=prepare) as side:
        await side.peer.send(call("plain", id="1"), call("unknown", id="2"))
        assert await side.peer.receive() == ended("2", "unknown is unknown")
        gate.set()
        assert await side.peer.receive() == result("1", 1)


async def test_who_is_told_of_the_beginning_may_call_the_peer() -> None:
    def prepare(side: Side) -> None:
        async def greet() -> None:
            await side.session.our_calls.send("welcome", (1,))

        side.life.on_open = greet

    async with open_side(prepare=prepare) as side:
        assert await side.peer.receive() == call("welcome", 1)


async def test_a_refused_connection_is_told_so_and_never_closed(caplog: pytest.LogCaptureFixture) -> None:
    def prepare(side: Side) -> None:
        async def refuse() -> None:
            raise ValueError("not you")

        side.life.on_open = refuse

    async with open_side(prepare=prepare) as side:
        assert await last_message(side) == close("ended: not you")
        assert side.life.events == []
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "was refused" in caplog.text


async def test_a_fault_while_a_connection_opens_is_told_though_its_client_has_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def prepare(side: Side) -> None:
        async def fail() -> None:
            side.session.end(None)
            raise ZeroDivisionError

        side.life.on_open = fail

    async with open_side(prepare=prepare) as side:
        await side.over.wait()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_connection_refused_on_purpose_is_one_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def prepare(side: Side) -> None:
        async def refuse() -> None:
            raise HubException("not you")

        side.life.on_open = refuse

    caplog.set_level(logging.INFO)
    async with open_side(prepare=prepare) as side:
        await side.over.wait()
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.INFO, None)
    assert record.getMessage() == "connection memory was refused: HubException('not you')"


async def test_an_end_before_the_connection_is_open_ends_the_opening() -> None:
    def prepare(side: Side) -> None:
        side.life.on_open = trio.sleep_forever

    async with open_side(prepare=prepare) as side:
        await side.peer.send(close())
        assert await last_message(side) == close()
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
        assert await last_message(side) == close()


async def test_a_close_behind_the_handshake_still_opens_and_closes_in_order() -> None:
    async with open_side(data=encode(call("unknown", id="1"), close())) as side:
        await side.over.wait()
        assert side.life.events in ([], ["opened", ("closed", "")])
        assert await side.peer.rest() == [ended("1", "unknown is unknown"), close()]
