"""A connection lives until either side ends it, ends in order, and each cause is told as .NET tells it."""

import logging
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.messages import PING, call, cancel, close, ended, item, result, stream
from trio_hubs.calls.session_end import TRANSITIONS, Event, State
from trio_hubs.errors import ConnectionClosed, UploadBroken

from .session_log import Log, last_message
from .support import Side, encode, open_side

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
    async with open_side(maximum_parallel_invocations=3) as side:
        Log(side)
        await side.peer.send(call("asks", id="1"), call("slow", id="2"))
        assert await side.peer.receive() == call("ask", id="1")
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
            await side.session.our_calls.send("more", ())


@pytest.mark.parametrize("end", [end_by_eof, end_by_close, end_by_us, end_by_garbage])
async def test_a_cut_off_upload_raises_in_the_method(end: Callable[[Side], Awaitable[None]]) -> None:
    async with open_side() as side:
        Log(side)
        await side.peer.send(call("total", id="1", uploads=["2"]), item("2", 1))
        await end(side)
        await side.over.wait()
        assert side.life.events[1].startswith("UploadBroken: broken: ")


async def test_a_shutdown_cancels_a_method_that_reads_an_upload() -> None:
    async with open_side() as side:
        Log(side)
        await side.peer.send(call("total", id="1", uploads=["2"]), item("2", 1))
        await end_by_shutdown(side)
        await side.over.wait()
        assert side.life.events == ["opened", ("closed", "")]
        assert await side.peer.rest() == [close(allow_reconnect=True)]


async def test_a_stream_of_ours_fails_with_the_connection() -> None:
    async with open_side() as side, side.session.our_calls.stream("a", (), int, 10) as reader:
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
        await side.peer.connection.send(encode(call("note", 1), close(), call("note", 2)))
        await side.peer.connection.send(encode(call("note", 3)))
        await side.over.wait()
    assert ran == [1]


async def test_items_behind_a_close_in_its_packet_are_not_taken() -> None:
    async with open_side() as side, side.session.our_calls.stream("a", (), int, 10) as reader:
        await side.peer.connection.send(encode(item("1", 1), close(), item("1", 2)))
        await side.over.wait()
        assert await reader.read() == 1
        with pytest.raises((ConnectionClosed, UploadBroken)):
            await reader.read()


async def test_calls_that_wait_do_not_start_when_the_connection_ends() -> None:
    ran: list[int] = []
    async with open_side() as side:

        async def end() -> None:
            side.session.end()

        async def note(number: int) -> None:
            ran.append(number)

        side.method(end)
        side.method(note)
        await side.peer.send(call("end", id="1"), *[call("note", n) for n in range(3)])
        await side.over.wait()
    assert ran == []


async def test_the_last_bytes_follow_what_closed_sends() -> None:
    async with open_side() as side:
        side.face.add("plain", lambda: 1)
        await side.peer.send(call("plain", id="1"))
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
            assert await last_message(side) == close()


async def test_only_the_first_end_counts() -> None:
    async with open_side() as side:
        side.session.end(ValueError("first"))
        side.session.end(ValueError("second"), allow_reconnect=True)
        assert await last_message(side) == close("ended: first")
        assert side.life.events[-1] == ("closed", "first")


async def test_a_peer_that_vanishes_at_once_is_closed_in_order() -> None:
    async with open_side() as side:
        Log(side)
        await side.peer.send(stream("count", 1_000_000))
        side.peer.connection.cut()
        await side.over.wait()
        assert side.life.events[0] == "opened"
        assert side.life.events[-1][0] == "closed"


STEPS = [
    call("asks", id="1"),
    stream("count", 1_000_000, id="2"),
    call("total", id="3", uploads=["4"]),
    item("4", 1),
    cancel("2"),
    ended("4"),
    result("1", 3),
]


@pytest.mark.parametrize("count", range(len(STEPS) + 1))
@pytest.mark.parametrize("how", ["close", "cut", "half a message"])
async def test_a_peer_may_vanish_after_each_message(count: int, how: str) -> None:
    async with open_side(maximum_parallel_invocations=3) as side:
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
        assert await last_message(side) == close()
        assert side.life.events[-1] == ("closed", "")


async def test_closed_by_the_peer_with_an_error() -> None:
    async with open_side() as side:
        await side.peer.send(close("peer's fault"))
        assert await last_message(side) == close()
        assert side.life.events[-1] == ("closed", "peer's fault")


async def test_an_end_of_input_allows_to_come_back() -> None:
    async with open_side() as side:
        side.peer.connection.close()
        assert await last_message(side) == close(allow_reconnect=True)
        assert side.life.events[-1] == ("closed", "")


async def test_a_peer_that_is_lost_but_still_hears_us_may_come_back() -> None:
    """As where only its half of a TCP connection has ended."""
    async with open_side() as side:
        side.peer.connection._cut = True
        side.peer.connection.close()
        assert await last_message(side) == close(allow_reconnect=True)


async def test_a_shutdown_allows_to_come_back() -> None:
    async with open_side() as side:
        side.scope.cancel()
        assert await last_message(side) == close(allow_reconnect=True)
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
        await side.peer.connection.send(encode(call("unknown", id="1")) + data)
        await side.over.wait()
        first, last = await side.peer.rest()
        assert first == ended("1", "unknown is unknown")
        assert last["error"].startswith("ended: ")
        assert text in last["error"]
        assert last["allowReconnect"]
        assert text in side.life.events[-1][1]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


async def test_an_end_inside_a_message_is_a_protocol_error() -> None:
    async with open_side() as side:
        await side.peer.connection.send(encode(PING)[:3])
        side.peer.connection.close()
        assert await last_message(side) == close(
            "ended: Connection terminated while reading a message.", allow_reconnect=True
        )


async def test_a_broken_connection_is_noticed_by_the_reader() -> None:
    async with open_side() as side:
        side.connection.cut()
        await side.over.wait()
        assert side.life.events[-1] == ("closed", "The connection was cut.")


async def test_a_broken_connection_is_noticed_by_the_writer() -> None:
    async with open_side() as side:
        side.peer.connection._incoming.close()
        await side.session.our_calls.send("x", ())
        await side.over.wait()
        assert side.life.events[-1] == ("closed", "The connection is over.")


async def test_waiting_calls_hear_why_the_connection_ended() -> None:
    async with open_side() as side:
        side.session.end(ValueError("a fault"))
        await side.over.wait()
        with pytest.raises(ConnectionClosed, match="a fault"):
            await side.session.our_calls.send("x", ())


async def test_what_is_lost_inside_a_message_is_a_protocol_error() -> None:
    async with open_side() as side:
        await side.peer.connection.send(b'{"type"')
        await wait_all_tasks_blocked()
        side.peer.connection.cut()
        await side.over.wait()
        assert side.life.events[-1] == ("closed", "Connection terminated while reading a message.")


async def test_a_beginning_that_does_not_wait_comes_before_anything_is_read() -> None:
    def prepare(side: Side) -> None:
        side.life.waits = False

        @side.method
        def plain() -> str:
            assert side.life.events == ["opened"]
            return "done"

    async with open_side(data=encode(call("plain", id="1")), prepare=prepare) as side:
        assert await side.peer.receive() == result("1", "done")


# ---- the table of states


class Staged:
    """A session whose beginning waits for a gate, whatever comes, and that has one call that never ends."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.gate = trio.Event()
        side.life.on_open = self._open
        side.face.add("wait", trio.sleep_forever)

    async def _open(self) -> None:
        with trio.CancelScope(shield=True):
            await self.gate.wait()

    @property
    def state(self) -> State:
        return self.side.session._end.state

    async def meet(self, *events: Event) -> None:
        for event in events:
            match event:
                case Event.OPENED:
                    self.gate.set()
                case Event.DRAIN:
                    self.side.session.drain()
                case Event.IDLE:
                    self.side.session._on_idle()
                case Event.LEFT if not self.side.over.is_set():
                    await self.side.peer.send(close())
                case Event.END:
                    self.side.session.end()
                case _:
                    assert self.side.over.is_set()
            await wait_all_tasks_blocked()


WAYS = {
    State.OPENING: (),
    State.DUE_TO_DRAIN: (Event.DRAIN,),
    State.OPEN: (Event.OPENED,),
    State.DRAINING: (Event.OPENED, Event.DRAIN),
    State.LEFT_EARLY: (Event.LEFT,),
    State.PARTING: (Event.OPENED, Event.LEFT),
    State.ENDING_EARLY: (Event.END,),
    State.ENDING: (Event.OPENED, Event.END),
}


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
async def test_every_event_in_every_state_is_as_the_table_says(state: State, event: Event) -> None:
    staged: list[Staged] = []
    data = encode(call("wait"))
    async with open_side(
        data=data, prepare=lambda side: staged.append(Staged(side)), goodbye_timeout=1000
    ) as side:
        (session,) = staged
        await session.meet(*WAYS[state])
        assert session.state is state
        await session.meet(event)
        assert session.state is TRANSITIONS.get((state, event), state)
        assert side.session.ended is not session.state.reads
        assert side.session.parting is session.state.parting
        assert side.over.is_set() is (session.state is State.ENDING)
        assert ("opened" in side.life.events) is session.state.opened
        session.gate.set()
