"""A client that resumes its connection finds its hub as it left it, and the hub has not noticed."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import RawPeer, members_of, served_hub
from tests.messages import call, item, result, stream
from trio_hubs import ChannelReader, Hub, Request
from trio_hubs.calls.heartbeat import beat
from trio_hubs.connections.memory import memory_connection_pair
from trio_hubs.connections.resumable import ResumableConnection
from trio_hubs.connections.websocket import WebSocketConnection
from trio_hubs.server.served_hub import ServedHub

EVENTS: list[str] = []


@pytest.fixture(autouse=True)
def events() -> list[str]:
    EVENTS.clear()
    return EVENTS


class Room(Hub):
    """Notes who comes and goes, and greets at once."""

    async def on_connected(self) -> None:
        EVENTS.append("connected")
        await self.groups.add(self.context.connection_id, "room")
        await self.clients.caller.send("Welcome")

    async def on_disconnected(self, error: Exception | None) -> None:
        EVENTS.append("disconnected")

    async def tell(self, text: str) -> None:
        await self.clients.group("room").send("Told", text)

    async def remember(self, text: str) -> str:
        before = self.context.items.get("text", "")
        self.context.items["text"] = text
        return str(before)

    async def echo(self, items: ChannelReader[int]) -> AsyncGenerator[int]:
        async for number in items:
            yield number


class Client:
    """A raw client over one link after another; it speaks JSON, and a protocol's version that resumes."""

    def __init__(self, nursery: trio.Nursery, served: ServedHub, version: int) -> None:
        self.connection = ResumableConnection("torn", Request())
        self.served = served
        self.version = version
        self.over = trio.Event()
        self._nursery = nursery

    async def serve(self) -> None:
        await self.served.handle(self.connection)
        self.connection.close()
        self.over.set()

    async def attach(self, data: bytes = b"") -> None:
        self._link, end = memory_connection_pair(capacity=1000)
        self.peer = RawPeer(end, "json")
        self._nursery.start_soon(self.connection.carry, cast("WebSocketConnection", self._link))
        if data:
            await self.peer.send_bytes(data)
        await wait_all_tasks_blocked()

    async def tear(self) -> None:
        self._link.cut()
        await wait_all_tasks_blocked()

    async def resume(self, first: int) -> None:
        await self.attach(json.dumps({"type": 9, "sequenceId": first}).encode() + b"\x1e")

    async def arrived(self) -> list[dict[str, Any]]:
        """What has arrived, without pings and acknowledgements."""
        return [message for message in await self.peer.arrived() if message.get("type") not in (6, 8)]


@asynccontextmanager
async def open_torn(*, version: int = 2, **options: Any) -> AsyncGenerator[Client]:
    served = served_hub(Room, **options)
    async with trio.open_nursery() as nursery:
        client = Client(nursery, served, version)
        await client.attach(b'{"protocol":"json","version":%d}\x1e' % version)
        nursery.start_soon(client.serve)
        nursery.start_soon(beat, lambda: served.sessions, 1)
        await wait_all_tasks_blocked()
        assert await client.peer.receive_record() == {}
        yield client
        client.connection.close()
        with trio.fail_after(20):
            await client.over.wait()
        assert not members_of(served).by_id
        nursery.cancel_scope.cancel()


WELCOME = {"type": 1, "target": "Welcome", "arguments": []}


def told(text: str) -> dict[str, Any]:
    return {"type": 1, "target": "Told", "arguments": [text]}


def sequence(number: int) -> dict[str, Any]:
    return {"type": 9, "sequenceId": number}


@pytest.mark.parametrize(
    "attempt", range(6)
)  # what leaves together with the handshake's answer is a matter of luck
async def test_the_answer_to_the_handshake_does_not_come_again(
    autojump_clock: MockClock, attempt: int
) -> None:
    async with open_torn() as client:
        assert await client.arrived() == [WELCOME]
        await client.tear()
        await client.resume(1)
        assert await client.arrived() == [sequence(1), WELCOME]


async def test_groups_items_and_the_hubs_events_outlive_a_tear(autojump_clock: MockClock) -> None:
    async with open_torn() as client:
        await client.peer.send(call("Remember", "me", id="1"))
        assert await client.arrived() == [WELCOME, result("1", "")]
        await client.tear()
        await client.served.clients.group("room").send("Told", "meanwhile")
        await trio.sleep(10)
        await client.resume(2)
        await client.peer.send(call("Remember", "you", id="2"), call("Tell", "all"))
        assert await client.arrived() == [
            sequence(1),
            WELCOME,
            result("1", ""),
            told("meanwhile"),
            result("2", "me"),
            told("all"),
        ]
        assert EVENTS == ["connected"]
    assert EVENTS == ["connected", "disconnected"]


async def test_a_broadcast_is_deferred_to_nobody_who_is_away(autojump_clock: MockClock) -> None:
    async with open_torn() as client:
        await client.tear()
        for number in range(1000):
            await client.served.clients.all.send("Told", f"{number}")
        await client.resume(1)
        arrived = await client.arrived()
        assert arrived == [sequence(1), WELCOME, *(told(f"{number}") for number in range(1000))]


async def test_a_stream_both_ways_outlives_tears(autojump_clock: MockClock) -> None:
    async with open_torn() as client:
        await client.peer.send(stream("Echo", id="1", uploads=("u",)))
        sent = 1
        received: list[Any] = []
        for number in range(50):
            await client.peer.send(item("u", number))
            sent += 1
            if number % 5 == 4:
                received += [each["item"] for each in await client.arrived() if each["type"] == 2]
                await client.peer.send({"type": 8, "sequenceId": 1 + len(received)})
                await client.tear()
                await client.resume(sent + 1)
        await client.peer.send({"type": 3, "invocationId": "u"})
        *_, last = arrived = await client.arrived()
        received += [each["item"] for each in arrived if each["type"] == 2]
        assert received == list(range(50))
        assert last == {"type": 3, "invocationId": "1"}


async def test_the_first_version_does_not_resume(autojump_clock: MockClock) -> None:
    async with open_torn(version=1) as client:
        assert await client.arrived() == [WELCOME]
        await client.tear()
        with trio.fail_after(1):
            await client.over.wait()
        assert EVENTS == ["connected", "disconnected"]


async def test_a_client_that_stays_away_is_gone(autojump_clock: MockClock) -> None:
    async with open_torn() as client:
        await client.tear()
        await trio.sleep(14)
        assert EVENTS == ["connected"]
        client.connection.close()
        with trio.fail_after(1):
            await client.over.wait()
        assert EVENTS == ["connected", "disconnected"]
