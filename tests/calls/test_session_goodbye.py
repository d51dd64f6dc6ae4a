"""When the peer says goodbye in order, what it cannot wait for may finish; what is lost is cancelled at once."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.messages import call, cancel, close, ended, item, result, stream
from trio_hubs.calls.refusals import Refusal
from trio_hubs.errors import ConnectionClosed, HubException

from .session_log import last_message
from .support import Side, encode, open_side, turns

GRACE = 5.0


async def by_close(side: Side) -> None:
    await side.peer.connection.send(encode(close()))


async def by_close_with_an_error(side: Side) -> None:
    await side.peer.connection.send(encode(close("bye")))


async def by_eof(side: Side) -> None:
    side.peer.connection.close()


async def by_loss(side: Side) -> None:
    side.peer.connection.cut()


GOODBYES = pytest.mark.parametrize("goodbye", [by_close, by_close_with_an_error, by_eof])


class Saving:
    """A method that takes a second, and notes in the side's diary what becomes of it."""

    def __init__(self, side: Side) -> None:
        self.events = side.life.events
        side.face.add("save", self.save)

    async def save(self, name: str, seconds: float = 1.0) -> None:
        self.events.append(f"{name} began")
        try:
            await trio.sleep(seconds)
            self.events.append(f"{name} done")
        except trio.Cancelled:
            self.events.append(f"{name} cancelled")
            raise


@GOODBYES
async def test_a_call_without_an_id_may_finish(
    goodbye: Callable[[Side], Awaitable[None]], autojump_clock: MockClock
) -> None:
    async with open_side(goodbye_timeout=GRACE) as side:
        Saving(side)
        await side.peer.send(call("save", "a"))
        await goodbye(side)
        await side.over.wait()
        *events, (closed, _) = side.life.events
        assert [*events, closed] == ["opened", "a began", "a done", "closed"]
        assert autojump_clock.current_time() == 1


@GOODBYES
async def test_calls_without_an_id_behind_others_begin_in_their_order_and_finish(
    goodbye: Callable[[Side], Awaitable[None]], autojump_clock: MockClock
) -> None:
    async with open_side(goodbye_timeout=GRACE) as side:
        Saving(side)
        calls = [call("save", name, id=id) for id, name in (("", "a"), ("1", "b"), ("", "c"))]
        await side.peer.connection.send(encode(*calls))
        await goodbye(side)
        await side.over.wait()
        assert side.life.events[:-1] == [
            "opened",
            "a began",
            "a done",
            "b began",
            "b cancelled",
            "c began",
            "c done",
        ]


async def test_in_one_piece_with_the_goodbye_all_is_the_same(autojump_clock: MockClock) -> None:
    async with open_side(goodbye_timeout=GRACE) as side:
        Saving(side)
        await side.peer.connection.send(encode(call("save", "a"), call("save", "b", id="1"), close()))
        await side.over.wait()
        assert side.life.events[:-1] == ["opened", "a began", "a done", "b began", "b cancelled"]
        assert await side.peer.rest() == [close()]


async def test_calls_that_wait_until_the_connection_is_open_begin_all_the_same(
    autojump_clock: MockClock,
) -> None:
    async def slow() -> None:
        await trio.sleep(2)

    def prepare(side: Side) -> None:
        side.life.on_open = slow
        Saving(side)

    data = encode(call("save", "a"), call("save", "b", id="1"), close())
    async with open_side(data=data, prepare=prepare, goodbye_timeout=GRACE) as side:
        await side.over.wait()
        assert side.life.events[:-1] == ["opened", "a began", "a done", "b began", "b cancelled"]


@pytest.mark.parametrize("id", ["", "1"])
@pytest.mark.parametrize("goodbye", [by_close, by_close_with_an_error, by_eof, by_loss])
async def test_a_call_that_waits_until_the_connection_is_open_begins_whatever_comes_behind_it(
    goodbye: Callable[[Side], Awaitable[None]], id: str, autojump_clock: MockClock
) -> None:
    async def slow() -> None:
        await trio.sleep(2)

    def prepare(side: Side) -> None:
        side.life.on_open = slow
        Saving(side)

    async with open_side(
        data=encode(call("save", "a", id=id)), prepare=prepare, goodbye_timeout=GRACE
    ) as side:
        await goodbye(side)
        await side.over.wait()
        end = "done" if goodbye is not by_loss and not id else "cancelled"
        assert side.life.events[:-1] == ["opened", "a began", f"a {end}"]


@pytest.mark.parametrize("goodbye", [by_close, by_eof, by_loss])
async def test_a_connection_that_does_not_open_in_time_drops_the_calls_of_a_peer_that_has_left(
    goodbye: Callable[[Side], Awaitable[None]], autojump_clock: MockClock
) -> None:
    def prepare(side: Side) -> None:
        side.life.on_open = trio.sleep_forever
        Saving(side)

    async with open_side(
        data=encode(call("save", "a", id="1")), prepare=prepare, goodbye_timeout=GRACE
    ) as side:
        await goodbye(side)
        await side.over.wait()
        assert side.life.events == []
    assert autojump_clock.current_time() == GRACE


async def test_without_calls_nothing_waits_until_the_connection_is_open(autojump_clock: MockClock) -> None:
    async with open_side(
        data=encode(close()),
        prepare=lambda side: setattr(side.life, "on_open", trio.sleep_forever),
        goodbye_timeout=GRACE,
    ) as side:
        await side.over.wait()
        assert side.life.events == []
    assert autojump_clock.current_time() == 0


async def test_a_connection_that_is_refused_runs_none_of_its_calls(autojump_clock: MockClock) -> None:
    async def refuse() -> None:
        await trio.sleep(1)
        raise HubException("not you")

    def prepare(side: Side) -> None:
        side.life.on_open = refuse
        Saving(side)

    async with open_side(
        data=encode(call("save", "a"), close()), prepare=prepare, goodbye_timeout=GRACE
    ) as side:
        await side.over.wait()
        assert side.life.events == []
    assert autojump_clock.current_time() == 1


@pytest.mark.parametrize("shielded", [False, True])
async def test_what_takes_too_long_is_cancelled_and_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, shielded: bool
) -> None:
    async with open_side(goodbye_timeout=GRACE) as side:
        Saving(side)

        async def stubborn() -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(9)

        side.method(stubborn)
        last = call("stubborn") if shielded else call("save", "b", 100)
        await side.peer.send(last, call("save", "never"), close())
        await side.over.wait()
        assert "never began" not in side.life.events
        assert autojump_clock.current_time() == (9 if shielded else 5)
        assert side.life.events[-1] == ("closed", "")
    (record,) = caplog.records
    assert record.getMessage() == "connection memory is over: calls without an id are cancelled"


async def test_what_is_lost_is_cancelled_at_once(autojump_clock: MockClock) -> None:
    async with open_side(goodbye_timeout=GRACE) as side:
        Saving(side)
        await side.peer.send(call("save", "a"), call("save", "b"))
        side.peer.connection.cut()
        await side.over.wait()
        assert side.life.events[:-1] == ["opened", "a began", "a cancelled"]
    assert autojump_clock.current_time() == 0


@pytest.mark.parametrize("how", ["ended by us", "shut down", "drained"])
async def test_our_own_end_does_not_wait_for_the_grace(autojump_clock: MockClock, how: str) -> None:
    async with open_side(goodbye_timeout=GRACE) as side:
        Saving(side)
        await side.peer.send(call("save", "a", 4), close())
        if how == "shut down":
            side.scope.cancel()
        elif how == "drained":
            side.session.drain()
        else:
            side.session.end()
        await side.over.wait()
        last = "a done" if how == "drained" else "a cancelled"
        assert side.life.events[:-1] == ["opened", "a began", last]


async def test_what_cannot_be_sent_meanwhile_cuts_nothing_off(autojump_clock: MockClock) -> None:
    async with open_side(goodbye_timeout=GRACE) as side:
        Saving(side)
        await side.peer.send(call("save", "a"), close())
        side.peer.connection.cut()
        side.session.outbox.put(b"what nobody takes")
        await side.over.wait()
        assert side.life.events[:-1] == ["opened", "a began", "a done"]


async def test_what_waits_for_the_peer_fails_before_what_may_finish(autojump_clock: MockClock) -> None:
    seen: list[str] = []
    async with open_side(goodbye_timeout=GRACE) as side:

        @side.method
        async def ask() -> None:
            try:
                await side.session.our_calls.invoke("answer", (), int)
            except ConnectionClosed as error:
                seen.append(str(error))
            await trio.sleep(1)
            seen.append("done")

        await side.peer.send(call("ask"))
        await side.peer.send(close())
        assert seen == ["The connection has been closed."]
        await side.over.wait()
        assert seen[1:] == ["done"]


async def test_nothing_behind_the_goodbye_is_heeded(autojump_clock: MockClock) -> None:
    async with open_side(goodbye_timeout=GRACE) as side:
        Saving(side)
        await side.peer.send(call("save", "a"), close(), cancel("1"), item("9", 1), call("save", "b"))
        await side.over.wait()
        assert side.life.events[:-1] == ["opened", "a began", "a done"]


async def test_by_default_nothing_may_go_on(autojump_clock: MockClock) -> None:
    async with open_side() as side:
        Saving(side)
        await side.peer.send(call("save", "a"), close())
        await side.over.wait()
        assert side.life.events[:-1] == ["opened", "a began", "a cancelled"]


# ---- others have their turns


async def test_calls_of_one_read_let_others_have_a_turn(mock_clock: MockClock) -> None:
    """Each takes a while; what comes behind one that took too long waits for the next pass, in its order."""
    seen: list[int] = []
    async with open_side() as side, turns() as taken:

        def work(number: int) -> int:
            mock_clock.jump(0.002)
            assert number == len(seen)
            seen.append(taken())
            return number

        side.method(work)
        await side.peer.connection.send(
            encode(*[call("work", number, id=str(number)) for number in range(9)])
        )
        assert [await side.peer.receive() for _ in range(9)] == [result(str(n), n) for n in range(9)]
    first, second, third = seen[:3], seen[3:6], seen[6:]
    assert first[0] == first[2] <= second[0] == second[2] <= third[0] == third[2]
    assert third[0] > first[0]


async def test_calls_of_streams_that_are_refused_let_others_have_a_turn(
    mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    async with open_side() as side, turns() as taken:

        def text(_: Refusal) -> str:
            mock_clock.jump(0.002)
            seen.append(taken())
            return "unknown"

        monkeypatch.setattr(side.face, "text", text)
        await side.peer.connection.send(encode(*[stream("no", id=str(number)) for number in range(9)]))
        assert [await side.peer.receive() for _ in range(9)] == [ended(str(n), "unknown") for n in range(9)]
    assert seen[::3] == seen[2::3]
    assert seen[0] < seen[6]  # passes come in random order, so between two of ours may be none of the others'


async def test_what_was_not_reached_before_the_end_is_dropped(mock_clock: MockClock) -> None:
    ran: list[int] = []
    async with open_side() as side:

        def work(number: int) -> None:
            mock_clock.jump(1)
            ran.append(number)
            if number == 1:
                side.session.end()

        side.method(work)
        await side.peer.send(*[call("work", number) for number in range(5)])
        await side.over.wait()
        await wait_all_tasks_blocked()
        assert ran == [0, 1]
        assert (await last_message(side))["type"] == 7
