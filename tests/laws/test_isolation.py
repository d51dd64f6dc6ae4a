"""Law 5: a bug in one invocation never touches its siblings or the connection."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import members_of, no_task_left, open_client, served_hub
from tests.messages import Message, call, cancel, close, ended, item, result, stream

from .answers import Answers
from .ends import ENDS, PARALLEL, each_end, garbage
from .witness import CLOSED, Witness, both_protocols, witness

STREAMING = "An error occurred on the server while streaming results."


@both_protocols
@pytest.mark.parametrize(
    "bug",
    [
        call("InlineFailing", id="9"),
        call("Failing", id="9"),
        call("ChildFails", id="9"),
        call("InlineChildFails", id="9"),
        call("Unwritable", id="9"),
        stream("CountFailing", id="9"),
        stream("CountUnwritable", id="9"),
        stream("ChannelWithFailingChild", id="9"),
    ],
    ids=lambda message: str(message["target"]),
)
async def test_a_bug_harms_no_sibling(autojump_clock: MockClock, protocol: str, bug: Message) -> None:
    async with open_client(Answers, protocol, maximum_parallel_invocations=3) as client:
        await client.send(stream("CountForever", id="1"), call("FinishesWhenCancelled", id="2"), bug)
        await client.arrived()
        await trio.sleep(6)
        assert result("2", 1) in await client.arrived()
        await client.send(cancel("1"))
        assert await client.arrived() == [ended("1")]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (call("ChildFails", id="1"), "An unexpected error occurred invoking 'ChildFails' on the server."),
        (
            call("InlineChildFails", id="1"),
            "An unexpected error occurred invoking 'InlineChildFails' on the server.",
        ),
        (stream("ChannelWithFailingChild"), STREAMING),
    ],
)
async def test_what_a_child_raises_is_told_bare(
    autojump_clock: MockClock, message: Message, text: str
) -> None:
    async with open_client(Answers, detailed_errors=True) as client:
        await client.send(message)
        assert await client.receive() == ended("1", f"{text} ValueError: child")


@both_protocols
@pytest.mark.parametrize("with_child", [False, True])
@each_end
async def test_a_method_that_fails_while_the_connection_ends_harms_nothing(
    autojump_clock: MockClock, protocol: str, with_child: bool, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[str] = []

    class Stubborn(Witness):
        async def fail(self) -> None:
            if with_child:
                self.start_soon(self._child)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("stubborn")

        async def fail_streaming(self) -> AsyncIterator[int]:
            if with_child:
                self.start_soon(self._child)
            try:
                yield 1
                await trio.sleep_forever()
            finally:
                raise ValueError("stubborn")

        async def fail_in_child(self) -> None:
            self.start_soon(self.fail)
            await trio.sleep_forever()

    served = served_hub(Stubborn, lambda: Stubborn(events), maximum_parallel_invocations=PARALLEL)
    with no_task_left():
        async with open_client(served, protocol, beating=end == "the client is silent") as client:
            await client.send(
                call("Careful", id="1"), call("Fail"), stream("FailStreaming", id="2"), call("FailInChild")
            )
            await client.arrived()
            await client.send(cancel("1")) if end == "the hub aborts" else None
            await ENDS[end](client)
            await client.served()
    assert events.count("careful cleaned up") == 1
    assert events[-1] == "disconnected"
    assert events.count("disconnected") == 1
    assert "ValueError: stubborn" in caplog.text
    assert not members_of(served).by_id


@both_protocols
async def test_bad_input_of_one_client_touches_no_other(autojump_clock: MockClock, protocol: str) -> None:
    served = witness([])
    async with open_client(served, protocol, id="a") as good, open_client(served, protocol, id="b") as bad:
        await good.send(stream("Generator", 3))
        await bad.send_bytes(garbage(protocol))
        assert (await bad.rest())[-1] == close(CLOSED, allow_reconnect=True)
        assert await good.take(4) == [item("1", 0), item("1", 1), item("1", 2), ended("1")]
