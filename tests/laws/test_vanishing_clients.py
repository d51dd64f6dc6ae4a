"""Bad input: a client that vanishes at any step leaves nothing behind."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import RawClient, members_of, no_task_left, open_client
from tests.messages import Message, call, cancel, encode, ended, item, stream

from .ends import ENDS
from .witness import both_protocols, witness

Step = tuple[str, Any]


def sends(*messages: Message) -> Step:
    return "send", messages


def halves(message: Message) -> list[Step]:
    return [("first half", message), ("second half", message)]


def receives(count: int = 1) -> Step:
    return "receive", count


SCRIPTS: dict[str, list[Step]] = {
    **{
        f"{method}": [sends(stream(method, 3)), *[receives()] * 4]
        for method in ("Generator", "CarefulGenerator", "Iterator", "Channel", "ChannelLater")
    },
    **{
        f"{method}, cancelled": [sends(stream(method, 3)), receives(), sends(cancel("1")), receives()]
        for method in ("Generator", "CarefulGenerator", "Iterator", "Channel", "ChannelLater")
    },
    "upload": [
        sends(call("Total", id="1", uploads=("9",))),
        sends(item("9", 1)),
        *halves(item("9", 2)),
        *halves(ended("9")),
        receives(),
    ],
    "broken upload": [
        *halves(call("Total", id="1", uploads=("9",))),
        sends(item("9", 1)),
        sends(ended("9", "oops")),
        receives(),
    ],
    "two uploads": [
        sends(call("TotalTwo", id="1", uploads=("8", "9")), item("9", 1)),
        sends(item("8", 1), item("9", 2)),
        sends(ended("9")),
        sends(item("8", 3)),
        sends(ended("8")),
        receives(),
    ],
    "upload and nobody answers": [
        sends(call("Total", uploads=("9",))),
        sends(item("9", 1)),
        sends(ended("9")),
    ],
    "an upload that nobody reads": [
        sends(call("Ignore", id="1", uploads=("9",))),
        *[sends(*[item("9", number) for number in range(20)])] * 2,
        sends(ended("9")),
        sends(cancel("1")),
        receives(),
    ],
    "both ways": [
        sends(stream("Double", uploads=("9",))),
        sends(item("9", 1)),
        receives(),
        *halves(item("9", 2)),
        receives(),
        sends(ended("9")),
        receives(),
    ],
    "both ways, cancelled": [
        sends(stream("Double", uploads=("9",))),
        sends(item("9", 1)),
        receives(),
        sends(cancel("1")),
        receives(),
        sends(item("9", 2)),
    ],
}


async def play(client: RawClient, steps: list[Step]) -> None:
    for kind, what in steps:
        if kind == "send":
            await client.send(*what)
        elif kind == "receive":
            await client.take(what)
        else:
            data = encode(client.protocol, what)
            await client.send_bytes(data[:7] if kind == "first half" else data[7:])


@both_protocols
@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize("end", ["the client vanishes", "the client closes", "the server shuts down"])
@pytest.mark.parametrize("script", SCRIPTS)
async def test_a_client_that_vanishes_at_any_step_leaves_nothing_behind(
    autojump_clock: MockClock, protocol: str, settled: bool, end: str, script: str
) -> None:
    steps = SCRIPTS[script]
    for count in range(len(steps) + 1):
        events: list[str] = []
        served = witness(events)
        with no_task_left():
            async with open_client(served, protocol) as client:
                await trio.testing.wait_all_tasks_blocked()
                await play(client, steps[:count])
                if settled:
                    await trio.testing.wait_all_tasks_blocked()
                await ENDS[end](client)
                await client.served()
        assert not members_of(served).by_id
        assert events.count("disconnected") == 1
        assert events[-1] == "disconnected"
        began = [event for event in events if event.endswith(" began")]
        assert sorted(
            event.replace(" ended", " began") for event in events if event.endswith(" ended")
        ) == sorted(began)
        if settled and count > 1:
            assert began
