"""A session that is drained lets the calls end that its peer has made, then it ends for its peer to reconnect."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.messages import call, cancel, close, ended, item, result, stream
from trio_hubs.calls.channels import ChannelReader
from trio_hubs.errors import ConnectionClosed

from .session_log import last_message
from .support import Side, open_side
from .torn import open_torn

GOODBYE = close(allow_reconnect=True)


class Gate:
    """Methods that end when a test lets them."""

    def __init__(self, side: Side) -> None:
        self.open = trio.Event()
        for method in (self.slow, self.stream, self.total, self.fails):
            side.method(method)
        side.face.add("plain", lambda: "plain")

    async def slow(self, text: str = "slow") -> str:
        await self.open.wait()
        return text

    async def fails(self) -> None:
        await self.open.wait()
        raise ValueError("failed")

    async def stream(self) -> AsyncIterator[int]:
        yield 1
        await self.open.wait()
        yield 2

    async def total(self, items: ChannelReader[int]) -> int:
        return sum([number async for number in items])


async def test_an_idle_session_ends_at_once() -> None:
    async with open_side() as side:
        side.session.drain()
        assert await last_message(side) == GOODBYE
        assert side.life.events == ["opened", ("closed", "")]


async def test_one_that_has_been_busy_and_is_not_any_more_ends_at_once() -> None:
    async with open_side() as side:
        gate = Gate(side)
        gate.open.set()
        await side.peer.send(call("slow", id="1"), call("plain", id="2"), stream("stream", id="3"))
        side.session.drain()
        assert await last_message(side) == GOODBYE


@pytest.mark.parametrize(
    ("method", "answer"),
    [("slow", result("1", "slow")), ("fails", ended("1", "fails failed: failed"))],
)
async def test_the_last_call_is_answered_first(method: str, answer: dict[str, object]) -> None:
    async with open_side() as side:
        gate = Gate(side)
        await side.peer.send(call(method, id="1"))
        side.session.drain()
        await wait_all_tasks_blocked()
        assert not side.over.is_set()
        gate.open.set()
        await side.over.wait()
        assert await side.peer.rest() == [answer, GOODBYE]


async def test_calls_that_wait_for_their_turn_are_answered_too() -> None:
    async with open_side() as side:
        gate = Gate(side)
        await side.peer.send(*(call("slow", id=id) for id in "123"))
        side.session.drain()
        gate.open.set()
        await side.over.wait()
        assert await side.peer.rest() == [*(result(id, "slow") for id in "123"), GOODBYE]


async def test_calls_without_an_answer_are_waited_for() -> None:
    async with open_side() as side:
        gate = Gate(side)
        await side.peer.send(call("slow"))
        side.session.drain()
        await wait_all_tasks_blocked()
        assert not side.over.is_set()
        gate.open.set()
        assert await last_message(side) == GOODBYE


async def test_a_call_that_comes_meanwhile_is_answered() -> None:
    async with open_side(maximum_parallel_invocations=2) as side:
        gate = Gate(side)
        await side.peer.send(call("slow", id="1"))
        side.session.drain()
        await side.peer.send(call("plain", id="2"), call("slow", id="3"))
        gate.open.set()
        await side.over.wait()
        first, *others, last = await side.peer.rest()
        assert first == result("2", "plain")
        assert {message["invocationId"] for message in others} == {"1", "3"}
        assert last == GOODBYE


async def test_a_stream_is_waited_for() -> None:
    async with open_side() as side:
        gate = Gate(side)
        await side.peer.send(stream("stream"))
        side.session.drain()
        await wait_all_tasks_blocked()
        assert not side.over.is_set()
        gate.open.set()
        await side.over.wait()
        assert await side.peer.rest() == [item("1", 1), item("1", 2), ended("1"), GOODBYE]


async def test_a_stream_that_the_peer_cancels_is_not_waited_for() -> None:
    async with open_side() as side:
        Gate(side)
        await side.peer.send(stream("stream"))
        side.session.drain()
        await side.peer.send(cancel("1"))
        await side.over.wait()
        assert await side.peer.rest() == [item("1", 1), ended("1"), GOODBYE]


async def test_an_upload_is_waited_for() -> None:
    async with open_side() as side:
        Gate(side)
        await side.peer.send(call("total", id="1", uploads=("u",)))
        side.session.drain()
        await side.peer.send(item("u", 4), item("u", 5))
        assert not side.over.is_set()
        await side.peer.send(ended("u"))
        await side.over.wait()
        assert await side.peer.rest() == [result("1", 9), GOODBYE]


async def test_a_call_that_ran_in_the_readers_task_and_needs_its_own_is_waited_for() -> None:
    async with open_side() as side:
        gate = Gate(side)
        side.face.add("lazy", lambda: gate.slow("lazy"))
        await side.peer.send(call("lazy", id="1"))
        side.session.drain()
        await wait_all_tasks_blocked()
        assert not side.over.is_set()
        gate.open.set()
        await side.over.wait()
        assert await side.peer.rest() == [result("1", "lazy"), GOODBYE]


async def test_a_call_refused_is_not_waited_for() -> None:
    async with open_side() as side:
        await side.peer.send(call("unknown", id="1"))
        side.session.drain()
        await side.over.wait()
        assert await side.peer.rest() == [ended("1", "unknown is unknown"), GOODBYE]


async def test_a_method_may_drain_its_own_session() -> None:
    async with open_side() as side:

        @side.method
        async def leave() -> int:
            side.session.drain()
            await trio.lowlevel.checkpoint()
            return 1

        await side.peer.send(call("leave", id="1"))
        await side.over.wait()
        assert await side.peer.rest() == [result("1", 1), GOODBYE]


async def test_a_method_in_the_readers_task_may_drain_its_own_session() -> None:
    async with open_side() as side:

        @side.method
        def leave() -> int:
            side.session.drain()
            return 1

        await side.peer.send(call("leave", id="1"), call("leave", id="2"))
        await side.over.wait()
        assert (await side.peer.rest())[-1] == GOODBYE


async def test_our_own_calls_are_not_waited_for(nursery: trio.Nursery) -> None:
    async with open_side() as side:
        failures: list[str] = []

        async def ask() -> None:
            try:
                await side.session.our_calls.invoke("ask", (), int)
            except ConnectionClosed as error:
                failures.append(str(error))

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        side.session.drain()
        assert await last_message(side) == GOODBYE
        assert len(failures) == 1


async def test_a_call_that_asks_the_peer_is_waited_for() -> None:
    async with open_side() as side:

        @side.method
        async def asks() -> int:
            return 1 + int(await side.session.our_calls.invoke("ask", (), int))

        await side.peer.send(call("asks", id="1"))
        side.session.drain()
        assert await side.peer.receive() == call("ask", id="1")
        await side.peer.send(result("1", 6))
        await side.over.wait()
        assert await side.peer.rest() == [result("1", 7), GOODBYE]


@pytest.mark.parametrize("waiting", [False, True])
async def test_an_opening_is_waited_for(waiting: bool) -> None:
    opening = trio.Event()

    def prepare(side: Side) -> None:
        side.life.on_open = opening.wait

    async with open_side(prepare=prepare) as side:
        Gate(side)
        if waiting:
            await side.peer.send(call("plain", id="1"), call("total", id="2", uploads=("u",)))
        side.session.drain()
        await wait_all_tasks_blocked()
        assert not side.over.is_set()
        opening.set()
        await wait_all_tasks_blocked()
        if waiting:
            await side.peer.send(ended("u"))
        await side.over.wait()
        answers = [result("1", "plain"), result("2", 0)] if waiting else []
        assert await side.peer.rest() == [*answers, GOODBYE]
        assert side.life.events == ["opened", ("closed", "")]


async def test_an_opening_that_fails_is_no_less_refused() -> None:
    opening = trio.Event()

    async def refuse() -> None:
        await opening.wait()
        raise ValueError("not today")

    def prepare(side: Side) -> None:
        side.life.on_open = refuse

    async with open_side(prepare=prepare) as side:
        side.session.drain()
        opening.set()
        await side.over.wait()
        assert await side.peer.rest() == [close("ended: not today")]


async def test_the_last_waiting_call_may_be_cancelled_instead() -> None:
    async with open_side() as side:
        gate = Gate(side)
        await side.peer.send(call("slow", id="1"), call("slow", id="2"))
        side.session.drain()
        await side.peer.send(cancel("1"))
        assert not side.over.is_set()
        await side.peer.send(cancel("2"))
        await side.over.wait()
        assert not gate.open.is_set()
        assert (await side.peer.rest())[-1] == GOODBYE


async def test_draining_twice_is_draining() -> None:
    async with open_side() as side:
        gate = Gate(side)
        await side.peer.send(call("slow", id="1"))
        side.session.drain()
        side.session.drain()
        gate.open.set()
        assert await last_message(side) == GOODBYE


@pytest.mark.parametrize("end", ["close", "eof", "us"])
async def test_another_end_comes_first(end: str) -> None:
    async with open_side() as side:
        Gate(side)
        await side.peer.send(call("slow", id="1"))
        side.session.drain()
        if end == "close":
            await side.peer.send(close("enough"))
        elif end == "eof":
            side.peer.connection.close()
        else:
            side.session.end(ValueError("other"))
        last = await last_message(side)
        assert last == {"close": close(), "eof": GOODBYE, "us": close("ended: other")}[end]


async def test_who_is_not_drained_does_not_end_with_its_last_call() -> None:
    async with open_side() as side:
        Gate(side)
        await side.peer.send(call("plain", id="1"), stream("stream", id="2"), cancel("2"))
        assert not side.over.is_set()


async def test_a_call_of_a_client_that_is_away_is_waited_for(autojump_clock: MockClock) -> None:
    async with open_torn() as side:

        @side.method
        async def slow() -> int:
            await trio.sleep(5)
            return 1

        await side.peer.send(call("slow", id="1"))
        await side.tear()
        side.session.drain()
        await trio.sleep(3)
        assert not side.over.is_set()
        await side.attach()
        await trio.sleep(3)
        assert side.over.is_set()
        messages = await side.peer.rest()
        assert messages[-2:] == [result("1", 1), GOODBYE]


async def test_a_peer_that_takes_nothing_is_drained_in_bounded_time(autojump_clock: MockClock) -> None:
    async with open_side(capacity=0) as side:
        await side.session.our_calls.send("x", ())
        await wait_all_tasks_blocked()
        side.session.drain()
        with trio.fail_after(6):
            await side.over.wait()
