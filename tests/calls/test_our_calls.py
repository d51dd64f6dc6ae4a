"""Our calls get their one answer or one error, and the peer hears once of what was given up."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.messages import call, cancel, ended, item, stream
from trio_hubs.calls.channels import ChannelReader, open_channel
from trio_hubs.calls.our_calls import MANY, OurCalls
from trio_hubs.calls.outbox import TRANSPORT_BUFFER_SIZE
from trio_hubs.errors import BindingError, ChannelClosed, ConnectionClosed, HubException
from trio_hubs.protocol.messages import Completion

from .support import Desk, count_up, depth, raw, read_all, run_outbox

GONE = ConnectionClosed("gone", server_text="restart", close_code=1012, retriable=False)


@pytest.fixture
def desk(nursery: trio.Nursery) -> Desk:
    desk = Desk()
    desk.our_calls.start(nursery)
    return desk


class Waiting:
    """A call in a task of its own, and what came of it."""

    def __init__(self, nursery: trio.Nursery, call: Callable[..., Awaitable[Any]], *args: Any) -> None:
        self.scope = trio.CancelScope()
        self.outcome: Any = None
        self.ended = False
        nursery.start_soon(self._run, call, args)

    async def _run(self, call: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        with self.scope:
            try:
                self.outcome = await call(*args)
            except Exception as error:  # noqa: BLE001
                self.outcome = error
        self.ended = True


async def broken() -> AsyncIterator[int]:
    yield 1
    raise ValueError("source")


async def endless() -> AsyncIterator[int]:
    yield 1
    await trio.sleep_forever()


def fill(desk: Desk) -> None:
    """Let the outbox be so full that calls wait for room."""
    desk.outbox.size = TRANSPORT_BUFFER_SIZE


async def make_room(desk: Desk, nursery: trio.Nursery) -> None:
    desk.outbox.put(encoded_nothing)
    nursery.start_soon(run_outbox, desk.outbox)
    await wait_all_tasks_blocked()
    assert not desk.outbox.full


encoded_nothing = b'{"type":6}\x1e'
PING = {"type": 6}


# ---- invoke


async def test_a_call_gets_its_answer(desk: Desk, nursery: trio.Nursery) -> None:
    first = Waiting(nursery, desk.our_calls.invoke, "add", (40, 2), int)
    await wait_all_tasks_blocked()
    second = Waiting(nursery, desk.our_calls.invoke, "add", (1, 2), int)
    await wait_all_tasks_blocked()
    assert desk.sent == [call("add", 40, 2, id="1"), call("add", 1, 2, id="2")]
    assert desk.our_calls.complete(Completion("2", result=raw(3)[0]))
    assert desk.our_calls.complete(Completion("1", result=raw(42)[0]))
    await wait_all_tasks_blocked()
    assert (first.outcome, second.outcome) == (42, 3)
    assert len(desk.sent) == 2


async def test_a_few_calls_leave_one_by_one_and_those_beyond_together(
    desk: Desk, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[bytes] = []

    def take(data: bytes, packed: object = None) -> bool:
        pieces.append(data)
        return True

    monkeypatch.setattr(desk.outbox._writer._connection, "send_nowait", take)
    nursery.start_soon(run_outbox, desk.outbox)
    await wait_all_tasks_blocked()
    for _ in range(2):
        calls = [Waiting(nursery, desk.our_calls.invoke, "f", (), Any) for _ in range(MANY + 10)]
        await wait_all_tasks_blocked()
        assert [piece.count(b"\x1e") for piece in pieces] == [1] * MANY + [10]
        pieces.clear()
        for message in desk.sent[-len(calls) :]:
            desk.our_calls.complete(Completion(message["invocationId"]))
        await wait_all_tasks_blocked()
        assert all(call.ended for call in calls)


async def test_a_call_without_a_result_gives_none(desk: Desk, nursery: trio.Nursery) -> None:
    waiting = Waiting(nursery, desk.our_calls.invoke, "nothing", (), int)
    await wait_all_tasks_blocked()
    desk.our_calls.complete(Completion("1"))
    await wait_all_tasks_blocked()
    assert waiting.outcome is None
    assert waiting.scope.cancel_called is False


async def test_an_error_of_the_peer_is_raised(desk: Desk, nursery: trio.Nursery) -> None:
    waiting = Waiting(nursery, desk.our_calls.invoke, "broken", (), int)
    await wait_all_tasks_blocked()
    desk.our_calls.complete(Completion("1", "broken there"))
    await wait_all_tasks_blocked()
    assert type(waiting.outcome) is HubException
    assert str(waiting.outcome) == "broken there"


async def test_a_result_of_another_type_is_an_error(desk: Desk, nursery: trio.Nursery) -> None:
    waiting = Waiting(nursery, desk.our_calls.invoke, "add", (), int)
    await wait_all_tasks_blocked()
    desk.our_calls.complete(Completion("1", result=raw("three")[0]))
    await wait_all_tasks_blocked()
    assert type(waiting.outcome) is BindingError


async def test_an_answer_that_nobody_waits_for_is_told(desk: Desk) -> None:
    assert not desk.our_calls.complete(Completion("9"))
    assert not desk.our_calls.reject_item("9")


async def test_a_stream_for_an_answer_is_an_error(desk: Desk, nursery: trio.Nursery) -> None:
    waiting = Waiting(nursery, desk.our_calls.invoke, "stream", (), int)
    await wait_all_tasks_blocked()
    assert desk.our_calls.reject_item("1")
    assert not desk.our_calls.reject_item("1")
    await wait_all_tasks_blocked()
    assert type(waiting.outcome) is HubException
    assert "stream()" in str(waiting.outcome)


async def call_for_nothing(caller: OurCalls, *arguments: Any) -> None:
    await caller.send("x", arguments)


async def call_for_a_result(caller: OurCalls, *arguments: Any) -> None:
    await caller.invoke("x", arguments, int)


async def call_for_a_stream(caller: OurCalls, *arguments: Any) -> None:
    async with caller.stream("x", arguments, int, 10) as reader:
        await reader.read()


CALLS = pytest.mark.parametrize("call", [call_for_nothing, call_for_a_result, call_for_a_stream])
Call = Callable[..., Awaitable[None]]


@CALLS
async def test_an_argument_that_cannot_be_encoded_is_an_error_and_nothing_is_sent(
    desk: Desk, call: Call
) -> None:
    with pytest.raises(BindingError):
        await call(desk.our_calls, object())
    assert desk.sent == []


async def test_what_cannot_be_read_is_not_called_for(desk: Desk) -> None:
    with pytest.raises(TypeError, match="cannot be converted"):
        await desk.our_calls.invoke("x", (), "no type")
    with pytest.raises(TypeError, match="cannot be converted"):
        async with desk.our_calls.stream("x", (), "no type", 10):
            raise AssertionError
    assert desk.sent == []
    with trio.fail_after(1):
        await desk.our_calls.wait_idle()


@CALLS
async def test_a_call_that_is_cancelled_before_it_is_sent_sends_nothing(desk: Desk, call: Call) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await call(desk.our_calls, count_up(3))
    assert scope.cancelled_caught
    assert desk.sent == []


@CALLS
async def test_a_call_that_is_cancelled_while_it_waits_for_room_sends_nothing(
    desk: Desk, nursery: trio.Nursery, call: Call
) -> None:
    fill(desk)
    waiting = Waiting(nursery, call, desk.our_calls)
    await wait_all_tasks_blocked()
    waiting.scope.cancel()
    await wait_all_tasks_blocked()
    assert desk.sent == []


@CALLS
async def test_a_call_waits_for_room(desk: Desk, nursery: trio.Nursery, call: Call) -> None:
    fill(desk)
    waiting = Waiting(nursery, call, desk.our_calls)
    await wait_all_tasks_blocked()
    assert desk.sent == []
    await make_room(desk, nursery)
    assert len(desk.sent) == 2
    waiting.scope.cancel()
    await desk.outbox.finish(1)


async def test_a_cancelled_call_is_cancelled_at_the_peer_once(desk: Desk, nursery: trio.Nursery) -> None:
    waiting = Waiting(nursery, desk.our_calls.invoke, "slow", (), int)
    await wait_all_tasks_blocked()
    waiting.scope.cancel()
    await wait_all_tasks_blocked()
    assert desk.sent == [call("slow", id="1"), cancel("1")]
    assert not desk.our_calls.complete(Completion("1"))


async def test_a_call_that_was_answered_is_not_cancelled_any_more(desk: Desk, nursery: trio.Nursery) -> None:
    waiting = Waiting(nursery, desk.our_calls.invoke, "fast", (), int)
    await wait_all_tasks_blocked()
    desk.our_calls.complete(Completion("1", result=raw(3)[0]))
    waiting.scope.cancel()
    await wait_all_tasks_blocked()
    assert desk.sent == [call("fast", id="1")]


async def test_waiting_for_an_answer_is_a_demand(nursery: trio.Nursery) -> None:
    desk = Desk(connection_buffer_size=1)
    desk.incoming.reading.count(100)
    assert not desk.incoming.reading.wanted
    waiting = Waiting(nursery, desk.our_calls.invoke, "slow", (), int)
    await wait_all_tasks_blocked()
    assert desk.incoming.reading.wanted
    waiting.scope.cancel()
    await wait_all_tasks_blocked()
    assert not desk.incoming.reading.wanted


# ---- send


async def test_sending_waits_for_nothing_and_is_a_checkpoint(desk: Desk) -> None:
    await desk.our_calls.send("log", ("text",))
    assert desk.sent == [call("log", "text")]
    with trio.CancelScope() as scope:
        scope.cancel()
        await desk.our_calls.send("log", ())
    assert scope.cancelled_caught


async def test_a_call_that_is_sent_in_place_is_queued_before_it_waits(
    desk: Desk, nursery: trio.Nursery
) -> None:
    await desk.our_calls.send_in_place("log", (1,))
    fill(desk)
    waiting = Waiting(nursery, desk.our_calls.send_in_place, "log", (2,))
    cancelled = Waiting(nursery, desk.our_calls.send_in_place, "log", (3,))
    await wait_all_tasks_blocked()
    cancelled.scope.cancel()
    await wait_all_tasks_blocked()
    assert cancelled.ended
    assert not waiting.ended
    assert sorted(message["arguments"] for message in desk.sent) == [[1], [2], [3]]
    await make_room(desk, nursery)
    assert waiting.ended
    assert waiting.outcome is None
    await desk.outbox.finish(1)


async def test_a_call_that_is_sent_in_place_waits_where_far_too_much_does(
    desk: Desk, nursery: trio.Nursery
) -> None:
    desk.outbox.size = 16 * TRANSPORT_BUFFER_SIZE
    waiting = Waiting(nursery, desk.our_calls.send_in_place, "log", ())
    await wait_all_tasks_blocked()
    assert desk.sent == []
    await make_room(desk, nursery)
    assert waiting.ended
    assert call("log") in desk.sent
    with trio.CancelScope() as scope:
        scope.cancel()
        await desk.our_calls.send_in_place("late", ())
    assert scope.cancelled_caught
    desk.our_calls.abandon(GONE)
    with pytest.raises(ConnectionClosed, match="gone"):
        await desk.our_calls.send_in_place("late", ())
    assert call("late") not in desk.sent
    await desk.outbox.finish(1)


async def test_a_call_that_is_sent_in_place_fails_with_the_connection(
    desk: Desk, nursery: trio.Nursery
) -> None:
    fill(desk)
    waiting = Waiting(nursery, desk.our_calls.send_in_place, "log", ())
    await wait_all_tasks_blocked()
    desk.outbox.close()
    await wait_all_tasks_blocked()
    assert type(waiting.outcome) is ConnectionClosed
    with pytest.raises(ConnectionClosed):
        await desk.our_calls.send_in_place("late", ())


async def test_uploads_of_a_send_go_on_in_the_background(desk: Desk) -> None:
    await desk.our_calls.send("log", (count_up(2), "text"))
    await wait_all_tasks_blocked()
    assert desk.sent == [
        call("log", "text", uploads=["1"]),
        item("1", 0),
        item("1", 1),
        ended("1"),
    ]


# ---- stream


async def test_a_stream_is_read_to_its_end(desk: Desk) -> None:
    async with desk.our_calls.stream("count", (3,), int, 10) as reader:
        assert desk.sent == [stream("count", 3)]
        desk.incoming.feed("1", raw(0, 1))
        desk.incoming.complete("1", None)
        assert await read_all(reader) == [0, 1]
    assert len(desk.sent) == 1


async def test_leaving_a_stream_cancels_it_and_forgets_it(desk: Desk) -> None:
    async with desk.our_calls.stream("count", (), int, 10) as reader:
        desk.incoming.feed("1", raw(0, 1))
        assert await reader.read() == 0
    assert desk.sent == [stream("count"), cancel("1")]
    assert "1" not in desk.incoming
    with pytest.raises(ChannelClosed):
        await reader.read()


@pytest.mark.parametrize("error", [ValueError("mine"), ExceptionGroup("mine", [ValueError()])])
@pytest.mark.parametrize("uploads", [(), (0,)])
async def test_the_bodys_own_error_leaves_as_it_is(
    desk: Desk, error: Exception, uploads: tuple[int, ...]
) -> None:
    with pytest.raises(type(error)) as caught:
        async with desk.our_calls.stream("count", [endless() for _ in uploads], int, 10):
            raise error
    assert caught.value is error
    assert desk.sent[-1] == cancel("2" if uploads else "1")


async def test_a_cancelled_body_cancels_the_stream(desk: Desk) -> None:
    with trio.CancelScope() as scope:
        async with desk.our_calls.stream("count", (), int, 10) as reader:
            scope.cancel()
            await reader.read()
    assert desk.sent == [stream("count"), cancel("1")]


async def test_a_reader_that_was_closed_early_still_cancels_the_stream(desk: Desk) -> None:
    async with desk.our_calls.stream("count", (), int, 10) as reader:
        reader.close()
    assert desk.sent == [stream("count"), cancel("1")]


async def test_a_stream_that_fails_on_our_side_is_stopped_once(desk: Desk) -> None:
    async with desk.our_calls.stream("count", (), int, 10) as reader:
        assert not desk.incoming.feed("1", raw("one"))
        with pytest.raises(BindingError):
            await reader.read()
        assert desk.sent == [stream("count"), cancel("1")]
    assert len(desk.sent) == 2


async def test_what_is_no_stream_of_ours_is_not_stopped(desk: Desk) -> None:
    desk.our_calls.stop_stream("9")
    assert desk.sent == []


async def test_an_error_of_the_peer_is_raised_after_the_items(desk: Desk) -> None:
    async with desk.our_calls.stream("count", (), int, 10) as reader:
        desk.incoming.feed("1", raw(1))
        desk.incoming.complete("1", HubException("broken there"))
        assert await reader.read() == 1
        with pytest.raises(HubException, match="broken there"):
            await reader.read()
    assert len(desk.sent) == 1


async def test_the_capacity_of_a_stream_is_its_own(nursery: trio.Nursery) -> None:
    desk = Desk(stream_buffer_size=1)
    async with desk.our_calls.stream("count", (), int, 3):
        desk.incoming.feed("1", raw(1, 2, 3))
        assert desk.incoming.reading.wanted
        desk.incoming.feed("1", raw(4))
        assert not desk.incoming.reading.wanted
    assert desk.incoming.reading.wanted


# ---- uploads


async def test_uploads_are_named_in_their_order_and_sent_beside_the_call(
    desk: Desk, nursery: trio.Nursery
) -> None:
    writer, reader = open_channel(int)
    waiting = Waiting(nursery, desk.our_calls.invoke, "total", (count_up(1), 5, reader), int)
    await wait_all_tasks_blocked()
    await writer.write(7)
    await wait_all_tasks_blocked()
    writer.complete()
    await wait_all_tasks_blocked()
    assert desk.sent[0] == call("total", 5, id="3", uploads=["1", "2"])
    assert desk.sent[1:] == [item("1", 0), ended("1"), item("2", 7), ended("2")]
    desk.our_calls.complete(Completion("3", result=raw(12)[0]))
    await wait_all_tasks_blocked()
    assert waiting.outcome == 12
    assert len(desk.sent) == 5


async def test_a_stream_with_an_upload(desk: Desk) -> None:
    async with desk.our_calls.stream("double", (count_up(2),), int, 10) as reader:
        await wait_all_tasks_blocked()
        assert desk.sent == [
            stream("double", id="2", uploads=["1"]),
            item("1", 0),
            item("1", 1),
            ended("1"),
        ]
        desk.incoming.complete("2", None)
        assert await read_all(reader) == []


async def test_a_broken_upload_is_an_error_to_the_peer(
    desk: Desk, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = Waiting(nursery, desk.our_calls.invoke, "total", (broken(),), int)
    await wait_all_tasks_blocked()
    assert desk.sent[1:] == [item("1", 1), ended("1", "Stream errored by client: 'source'")]
    assert waiting.outcome is None  # the answer is still the peer's to give
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    waiting.scope.cancel()


async def test_an_upload_that_cannot_be_encoded_is_an_error_to_the_peer(desk: Desk) -> None:
    writer, reader = open_channel(object)
    await writer.write(1)
    await writer.write(object())
    await desk.our_calls.send("total", (reader,))
    await wait_all_tasks_blocked()
    assert desk.sent[1] == item("1", 1)
    assert desk.sent[2]["error"].startswith("Stream errored by client: 'A value of type 'object'")
    with pytest.raises(ChannelClosed):
        await writer.write(2)


@pytest.mark.parametrize("ended_by", ["answer", "cancelling", "error"])
async def test_the_end_of_a_call_ends_its_uploads(desk: Desk, nursery: trio.Nursery, ended_by: str) -> None:
    waiting = Waiting(nursery, desk.our_calls.invoke, "total", (endless(),), int)
    await wait_all_tasks_blocked()
    match ended_by:
        case "answer":
            desk.our_calls.complete(Completion("2", result=raw(3)[0]))
        case "cancelling":
            waiting.scope.cancel()
        case _:
            desk.our_calls.complete(Completion("2", "broken there"))
    await wait_all_tasks_blocked()
    last = [cancel("2")] if ended_by == "cancelling" else []
    assert desk.sent[2:] == [ended("1", "Stream canceled by client."), *last]
    if ended_by == "error":
        assert type(waiting.outcome) is HubException


async def test_uploads_are_filed_by_their_ids_while_they_go_on(desk: Desk) -> None:
    async with desk.our_calls.stream("count", [endless(), endless()], int, 10):
        await wait_all_tasks_blocked()
        assert set(desk.outgoing.by_id) == {"1", "2"}
    assert not desk.outgoing.by_id


async def test_leaving_a_stream_ends_its_uploads(desk: Desk) -> None:
    async with desk.our_calls.stream("double", (endless(),), int, 10):
        await wait_all_tasks_blocked()
    assert desk.sent[2:] == [ended("1", "Stream canceled by client."), cancel("2")]


async def test_uploads_of_a_stream_may_go_on_beside_a_generator(desk: Desk) -> None:
    async with desk.our_calls.stream("double", (count_up(2), endless()), int, 10, uploads_in_background=True):
        await wait_all_tasks_blocked()
        assert len(desk.sent) == 1 + 3 + 1
    await wait_all_tasks_blocked()
    assert [message["type"] for message in desk.sent[-2:]] == [5, 3]
    assert "error" in desk.sent[-1]


async def test_an_upload_ends_quietly_with_the_connection(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.our_calls.send("total", (count_up(1_000_000),))
    await wait_all_tasks_blocked()
    assert desk.outbox.full
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_outbox, desk.outbox)
        await wait_all_tasks_blocked()  # nobody takes what it sends
        desk.outbox.give_up()
    await wait_all_tasks_blocked()
    assert caplog.records == []
    assert desk.sent[-1]["type"] == 2


# ---- the connection's end


async def test_calls_that_wait_fail_with_the_connection(desk: Desk, nursery: trio.Nursery) -> None:
    calls = [Waiting(nursery, desk.our_calls.invoke, "slow", (), int) for _ in range(2)]
    with_upload = Waiting(nursery, desk.our_calls.invoke, "slow", (endless(),), int)
    await wait_all_tasks_blocked()
    desk.our_calls.abandon(GONE)
    await wait_all_tasks_blocked()
    outcomes = [call.outcome for call in (*calls, with_upload)]
    assert [(type(outcome), str(outcome)) for outcome in outcomes] == [(ConnectionClosed, "gone")] * 3
    assert [vars(outcome) for outcome in outcomes] == [vars(GONE)] * 3
    assert len({id(outcome) for outcome in (*outcomes, GONE)}) == 4
    assert cancel("1") not in desk.sent


@CALLS
@pytest.mark.parametrize("outbox_over", [False, True])
async def test_later_calls_fail_with_the_same_text(desk: Desk, call: Call, outbox_over: bool) -> None:
    desk.our_calls.abandon(GONE)
    if outbox_over:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_outbox, desk.outbox)
            await desk.outbox.finish(1)
    errors: list[ConnectionClosed] = []
    for _ in range(3):
        with pytest.raises(ConnectionClosed, match=r"^gone$") as caught:
            await call(desk.our_calls, count_up(3))
        errors.append(caught.value)
    assert [vars(error) for error in errors] == [vars(GONE)] * 3
    assert len({id(error) for error in (*errors, GONE)}) == 4
    assert len({depth(error) for error in errors}) == 1
    assert desk.sent == []


@CALLS
async def test_calls_that_wait_for_room_fail_with_the_connection(
    desk: Desk, nursery: trio.Nursery, call: Call
) -> None:
    fill(desk)
    waiting = Waiting(nursery, call, desk.our_calls, count_up(3))
    await wait_all_tasks_blocked()
    desk.our_calls.abandon(GONE)
    desk.incoming.fail_all(GONE)
    await make_room(desk, nursery)
    assert type(waiting.outcome) is ConnectionClosed
    assert str(waiting.outcome) == "gone"
    assert waiting.outcome is not GONE
    assert desk.sent == [PING]
    await desk.outbox.finish(1)


async def test_a_stream_fails_with_the_connection_after_its_items(desk: Desk) -> None:
    async with desk.our_calls.stream("count", (), int, 10) as reader:
        desk.incoming.feed("1", raw(1))
        desk.our_calls.abandon(GONE)
        desk.incoming.fail_all(GONE)
        assert await reader.read() == 1
        with pytest.raises(ConnectionClosed, match="gone"):
            await reader.read()
    assert len(desk.sent) == 1


async def test_a_reader_can_be_an_upload(desk: Desk) -> None:
    """What one call streams to us can be handed to the next."""
    async with desk.our_calls.stream("count", (), int, 10) as reader:
        assert isinstance(reader, ChannelReader)
        desk.incoming.feed("1", raw(1))
        desk.incoming.complete("1", None)
        await desk.our_calls.send("total", (reader,))
        await wait_all_tasks_blocked()
    assert desk.sent[1:] == [call("total", uploads=["2"]), item("2", 1), ended("2")]


async def test_idle_is_when_no_call_stream_or_upload_goes_on(desk: Desk, nursery: trio.Nursery) -> None:
    writer, reader = open_channel(int)
    Waiting(nursery, desk.our_calls.invoke, "total", (), int)
    await wait_all_tasks_blocked()
    streaming = Waiting(nursery, call_for_a_stream, desk.our_calls)
    await wait_all_tasks_blocked()
    await desk.our_calls.send("sum", (reader,))
    idle = Waiting(nursery, desk.our_calls.wait_idle)
    await wait_all_tasks_blocked()
    for end in (
        lambda: desk.our_calls.complete(Completion("1", result=raw(3)[0])),
        streaming.scope.cancel,
        writer.complete,
    ):
        assert not idle.ended
        end()
        await wait_all_tasks_blocked()
    assert idle.ended


# ---- what is held around them


async def test_what_is_held_around_a_call_gives_its_headers_and_sees_its_end(
    desk: Desk, nursery: trio.Nursery
) -> None:
    seen: list[str] = []

    @contextmanager
    def around(target: str) -> Iterator[Mapping[str, str]]:
        seen.append(f"{target} begins")
        try:
            yield {"trace": target}
        except HubException as error:
            seen.append(f"{target} fails: {error}")
            raise
        else:
            seen.append(f"{target} ends")

    desk.our_calls.around = around
    await desk.our_calls.send("send", (1,))
    good = Waiting(nursery, desk.our_calls.invoke, "good", (), int)
    await wait_all_tasks_blocked()
    bad = Waiting(nursery, desk.our_calls.invoke, "bad", (), int)
    await wait_all_tasks_blocked()
    async with desk.our_calls.stream("stream", (), int, 1):
        assert seen == ["send begins", "send ends", "good begins", "bad begins", "stream begins"]
    assert desk.our_calls.complete(Completion("1", result=raw(7)[0]))
    assert desk.our_calls.complete(Completion("2", error="no"))
    await wait_all_tasks_blocked()
    assert good.outcome == 7
    assert isinstance(bad.outcome, HubException)
    assert seen[5] == "stream ends"
    assert sorted(seen[6:]) == ["bad fails: no", "good ends"]
    assert [message["headers"] for message in desk.sent if "headers" in message] == [
        {"trace": target} for target in ("send", "good", "bad", "stream")
    ]
