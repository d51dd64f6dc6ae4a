"""The way out: one writer, joined messages, whole frames, fairness."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import PROTOCOLS, members_of, open_client, served_hub
from tests.messages import call, cancel, ended, item, stream
from trio_hubs import Hub
from trio_hubs.protocol.payloads import Payloads

from .witness import both_protocols, witness


@both_protocols
async def test_an_item_is_on_the_wire_as_soon_as_its_producer_waits(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(witness([]), protocol) as client:
        await client.send(stream("Generator", 3, id="1"), stream("Channel", 3, id="2"))
        for number in range(3):
            arrived = await client.arrived()
            assert sorted(arrived, key=lambda message: str(message["invocationId"])) == [
                item("1", number),
                item("2", number),
            ]
            await trio.sleep(0.5)
            assert await client.arrived() == []
            await trio.sleep(0.5)


@both_protocols
async def test_items_that_are_made_at_once_are_sent_together(
    autojump_clock: MockClock, protocol: str
) -> None:
    class Fast(Hub):
        async def count(self) -> AsyncIterator[int]:
            for number in range(1000):
                yield number

    async with open_client(Fast, protocol) as client:
        await client.send(stream("Count"))
        assert await client.take(1001) == [*[item("1", number) for number in range(1000)], ended("1")]
        assert len(client.pieces) < 100


@both_protocols
async def test_a_cancelled_producer_never_cuts_a_message(autojump_clock: MockClock, protocol: str) -> None:
    class Large(Hub):
        async def large(self) -> AsyncIterator[str]:
            for _ in range(500):
                yield "x" * 50_000

    async with open_client(Large, protocol, capacity=1) as client:
        for number in range(5):
            await client.send(stream("Large", id=str(number)))
            await client.receive()
            await client.send(cancel(str(number)))
            while (message := await client.receive())["type"] == 2:
                assert message["item"] == "x" * 50_000
            assert message == ended(str(number))


async def test_streams_of_one_connection_share_it_fairly(autojump_clock: MockClock) -> None:
    class Greedy(Hub):
        async def forever(self) -> AsyncIterator[str]:
            for _ in range(50_000):
                yield "x" * 100

    async with open_client(Greedy, capacity=1) as client:
        await client.send(*[stream("Forever", id=str(number)) for number in range(4)])
        counts = dict.fromkeys("0123", 0)
        for message in await client.take(20_000):
            counts[message["invocationId"]] += 1
    assert min(counts.values()) > 0.5 * max(counts.values())


class Radio(Hub):
    """Broadcasts."""

    async def broadcast(self, text: str) -> None:
        await self.clients.all.send("Heard", text)


async def test_a_broadcast_is_encoded_once_for_each_protocol(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    dump = Payloads.dump_arguments

    def counting(self: Payloads, args: Any) -> bytes:
        encoded.append(self.format)
        return dump(self, args)

    monkeypatch.setattr(Payloads, "dump_arguments", counting)
    served = served_hub(Radio)
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(open_client(served, PROTOCOLS[number % 2], id=str(number)))
            for number in range(6)
        ]
        await clients[0].send(call("Broadcast", "hello"))
        for client in clients:
            assert await client.receive() == call("Heard", "hello")
    assert sorted(encoded) == ["json", "messagepack"]


async def test_a_slow_client_delays_no_other_and_is_disconnected(autojump_clock: MockClock) -> None:
    served = served_hub(Radio, broadcast_buffer_limit=100_000)
    async with (
        open_client(served, id="fast") as fast,
        open_client(served, id="slow", capacity=1) as slow,
    ):
        for _ in range(200):
            await fast.send(call("Broadcast", "x" * 1000))
            assert await fast.receive() == call("Heard", "x" * 1000)
        with trio.fail_after(60):
            await slow.over.wait()
        assert set(members_of(served).by_id) == {"fast"}
        assert trio.current_time() < 60
