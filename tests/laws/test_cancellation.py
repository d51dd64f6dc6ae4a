"""Law 1: each invocation has its scope as soon as its message is read; all that ends it cancels that."""

import pytest
from trio.testing import MockClock

from tests.hub_peer import members_of, no_task_left, open_client
from tests.messages import Message, call, cancel, ended, item, result, stream

from .ends import ENDS, PARALLEL, each_end
from .witness import CANCELED, both_protocols, witness


@both_protocols
async def test_a_cancel_in_the_same_packet_works(autojump_clock: MockClock, protocol: str) -> None:
    events: list[str] = []
    async with open_client(witness(events), protocol) as client:
        await client.send(stream("Generator", 9, id="1"), cancel("1"), call("Plain", id="2"), cancel("2"))
        answers = await client.arrived()
        assert sorted(answers, key=lambda answer: str(answer["invocationId"])) == [
            item("1", 0),  # the stream begins all the same
            ended("1"),
            ended("2", CANCELED),
        ]
    assert [event for event in events if "ended" not in event] == [
        "generator began",
        "plain began",
        "disconnected",
    ]


@both_protocols
@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (call("Plain", id="1"), ended("1", CANCELED)),
        (call("PlainWithChild", id="1"), ended("1", CANCELED)),
        (call("InlineWithChild", id="1"), ended("1", CANCELED)),
        (call("Ignore", id="1", uploads=("9",)), ended("1", CANCELED)),
        (stream("Generator", 9), ended("1")),
        (stream("Iterator", 9), ended("1")),
        (stream("Channel", 9), ended("1")),
        (stream("ChannelLater", 9), ended("1")),
        (stream("Double", uploads=("9",)), ended("1")),
    ],
)
async def test_the_clients_cancel_ends_a_method_that_did_not_prepare_for_it(
    autojump_clock: MockClock, protocol: str, message: Message, answer: Message
) -> None:
    events: list[str] = []
    async with open_client(witness(events), protocol) as client:
        await client.send(message)
        await client.arrived()
        assert [event for event in events if event.endswith("ended")] == []
        await client.send(cancel("1"))
        assert await client.arrived() == [answer]
        assert len([event for event in events if event.endswith("ended")]) == len(events) / 2 > 0
        await client.send(call("Add", 1, 2, id="2"))
        assert await client.arrived() == [result("2", 3)]


@both_protocols
@each_end
@pytest.mark.parametrize(
    "message",
    [
        call("Plain", id="1"),
        call("Careful", id="1"),
        call("PlainWithChild", id="1"),
        call("InlineWithChild", id="1"),
        call("Ignore", id="1", uploads=("9",)),
        call("Total", id="1", uploads=("9",)),
        stream("CarefulGenerator", 999),
        stream("Iterator", 999),
        stream("Channel", 999),
        stream("Double", uploads=("9",)),
    ],
    ids=lambda message: str(message["target"]),
)
async def test_whatever_ends_the_connection_ends_its_invocations(
    autojump_clock: MockClock, protocol: str, end: str, message: Message
) -> None:
    events: list[str] = []
    served = witness(events, maximum_parallel_invocations=PARALLEL)
    with no_task_left():
        async with open_client(served, protocol, beating=end == "the client is silent") as client:
            await client.send(message)
            await client.arrived()
            assert [event for event in events if event.endswith("ended")] == []
            await ENDS[end](client)
            await client.served()
    began = [event.removesuffix(" began") for event in events if event.endswith(" began")]
    assert began
    assert sorted(event.removesuffix(" ended") for event in events if event.endswith(" ended")) == sorted(
        began
    )
    assert events[-1] == "disconnected"
    assert events.count("disconnected") == 1
    assert not members_of(served).by_id


async def test_a_call_that_waits_can_be_cancelled_and_never_begins(autojump_clock: MockClock) -> None:
    events: list[str] = []
    async with open_client(witness(events)) as client:
        await client.send(call("Plain", id="1"), call("Careful", id="2"), cancel("2"), cancel("1"))
        assert await client.take(2) == [ended("2", CANCELED), ended("1", CANCELED)]  # as soon as may be
    assert "careful began" not in events
