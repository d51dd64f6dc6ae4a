"""Law 3: exactly one Completion answers every invocation that has an id."""

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import open_client
from tests.messages import Message, call, cancel, ended, item, result, stream

from .answers import Answers
from .witness import both_protocols


@both_protocols
@pytest.mark.parametrize(
    "messages",
    [
        [call("Nope", id="1")],
        [stream("Nope")],
        [call("Inline", id="1")],
        [call("Inline", 1, 2, id="1")],
        [call("Plain", 5, id="1")],
        [stream("Plain")],
        [call("Count", 1, id="1")],
        [call("InlineFailing", id="1")],
        [call("Plain", id="1")],
        [call("Plain", id="1"), cancel("1"), cancel("1")],
        [call("Failing", id="1")],
        [call("Unwritable", id="1")],
        [call("ChildFails", id="1")],
        [call("InlineChildFails", id="1")],
        [call("Forever", id="1"), cancel("1"), cancel("1")],
        [call("FailsWhenCancelled", id="1"), cancel("1")],
        [call("FinishesWhenCancelled", id="1"), cancel("1")],
        [stream("Count", 0)],
        [stream("Count", 3), cancel("1")],
        [stream("Count", "x")],
        [stream("CountFailing")],
        [stream("CountUnwritable")],
        [stream("CountForever"), cancel("1"), cancel("1")],
        [stream("CountFailsWhenCancelled"), cancel("1")],
        [stream("CountYieldsWhenClosed"), cancel("1")],
        [stream("ChannelWithFailingChild")],
        [stream("ChannelWithFailingChild"), cancel("1")],
        [stream("NoReader")],
        [call("Total", id="1")],
        [call("Total", id="1", uploads=("9",)), ended("9"), ended("9"), ended("1")],
        [call("Total", id="1", uploads=("9",)), ended("9", "oops"), item("9", 1)],
        [call("Total", id="1", uploads=("9",)), item("9", "x")],
        [call("Total", id="1", uploads=("9",)), cancel("1"), ended("9")],
    ],
    ids=lambda messages: "-".join(f"{message['type']}{message.get('target', '')}" for message in messages),
)
@pytest.mark.parametrize("together", [True, False])
async def test_exactly_one_completion_answers_each_invocation(
    autojump_clock: MockClock, protocol: str, messages: list[Message], together: bool
) -> None:
    async with open_client(Answers, protocol) as client:
        answers: list[Message] = []
        if together:
            await client.send(*messages)
        else:
            for message in messages:
                await client.send(message)
                answers += await client.arrived()
        await trio.sleep(10)
        answers += await client.arrived()
        assert [answer["type"] for answer in answers if answer["type"] != 2] == [3]
        assert answers[-1]["type"] == 3
        assert {answer["invocationId"] for answer in answers} == {"1"}
        await client.send(call("Inline", id="2"))
        assert await client.arrived() == [result("2", 1)]


@both_protocols
@pytest.mark.parametrize(
    "message",
    [
        call("Nope"),
        call("Inline"),
        call("Inline", 1),
        call("InlineFailing"),
        call("Plain"),
        call("Failing"),
        call("Count", 1),
        call("Unwritable"),
        call("InlineChildFails"),
    ],
    ids=lambda message: str(message["target"]),
)
async def test_an_invocation_without_an_id_is_never_answered(
    autojump_clock: MockClock, protocol: str, message: Message
) -> None:
    async with open_client(Answers, protocol) as client:
        await client.send(message)
        assert await client.arrived() == []
        await client.send(call("Inline", id="2"))
        assert await client.arrived() == [result("2", 1)]


@both_protocols
async def test_a_cancelled_stream_completes_without_error(autojump_clock: MockClock, protocol: str) -> None:
    async with open_client(Answers, protocol) as client:
        await client.send(stream("CountForever", id="1"), stream("CountFailsWhenCancelled", id="2"))
        await client.arrived()
        await client.send(cancel("1"))
        assert await client.arrived() == [ended("1")]
        await client.send(cancel("2"))
        assert await client.arrived() == [ended("2")]


@both_protocols
async def test_plain_calls_of_one_id_are_each_answered(autojump_clock: MockClock, protocol: str) -> None:
    async with open_client(Answers, protocol) as client:
        await client.send(call("Plain", id="1"), call("Plain", id="1"), call("Inline", id="1"))
        assert await client.arrived() == [result("1", 1)] * 3


@both_protocols
async def test_the_id_of_a_running_stream_is_refused_and_the_stream_goes_on(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(Answers, protocol) as client:
        await client.send(stream("CountForever", id="1"))
        assert await client.arrived() == [item("1", 1)]
        await client.send(stream("CountForever", id="1"))
        assert await client.arrived() == [ended("1", "Invocation ID '1' is already in use.")]
        await client.send(cancel("1"))
        assert await client.arrived() == [ended("1")]
        await client.send(stream("Count", 1, id="1"))
        assert await client.arrived() == [item("1", 0), ended("1")]
