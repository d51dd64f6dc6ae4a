"""Results of clients elsewhere, where what every roster does says nothing: servers that die, lie or are .NET's."""

from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import open_client
from tests.messages import ended, result
from tests.server.roster_contract import Member
from trio_hubs import HubOptions
from trio_hubs.calls.observer import call_headers
from trio_hubs.errors import BackplaneError, ConnectionClosed, HubException
from trio_hubs.fleet import client_results
from trio_hubs.fleet.bus import LOOK_AFTER
from trio_hubs.fleet.messages import FleetCompletion, FleetInvocation, decode, encode
from trio_hubs.server.served_hub import ServedHub

from .memory_bus import MemoryBroker
from .test_roster import open_roster

ASK = b'{"type":1,"invocationId":"ID","target":"Ask","arguments":[1]}\x1e'


async def test_a_server_that_dies_is_found_out(autojump_clock: MockClock) -> None:
    async with AsyncExitStack() as stack:
        broker = MemoryBroker()
        bus, other = broker.open(), broker.open()
        roster = await open_roster(stack, bus)
        other.subscribe("Hub:connection:a", lambda _: None)
        nursery = await stack.enter_async_context(trio.open_nursery())

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(ConnectionClosed, match=r"^Connection 'a' disconnected\.$"):
                await roster.invoke("a", "Ask", (), int)

        await trio.sleep(LOOK_AFTER * 3.5)
        assert nursery.child_tasks
        other.away = True
        await trio.sleep(LOOK_AFTER)
        assert not nursery.child_tasks
        assert not roster._results._questions


async def test_a_bus_that_is_away(autojump_clock: MockClock) -> None:
    async with AsyncExitStack() as stack:
        bus = MemoryBroker().open()
        roster = await open_roster(stack, bus)
        bus.away = True
        with pytest.raises(BackplaneError):
            await roster.invoke("a", "Ask", (), int)
        assert not roster._results._questions


async def ask(stack: AsyncExitStack, broker: MemoryBroker, answers: list[FleetCompletion]) -> Any:
    """A client of a server of ours, and what another server hears."""
    bus = broker.open()
    roster = await open_roster(stack, bus)
    hub = ServedHub(Member, Member, HubOptions(), roster=roster)
    client = await stack.enter_async_context(open_client(hub, "json", id="a"))
    await client.take(1)
    broker.open().subscribe("back", lambda data: answers.append(decode(FleetCompletion, data)))
    return client


async def test_a_question_of_dotnet(autojump_clock: MockClock) -> None:
    answers: list[FleetCompletion] = []
    async with AsyncExitStack() as stack:
        broker = MemoryBroker()
        client = await ask(stack, broker, answers)
        broker.put("Hub:connection:a", encode(FleetInvocation((), {"json": ASK}, "ID", "back")))
        question = await client.receive()
        assert question["target"] == "Ask"
        await client.send(result(question["invocationId"], {"x": [1]}))
        await wait_all_tasks_blocked()
        broker.put("Hub:connection:a", encode(FleetInvocation((), {"json": ASK}, "ID2", "back")))
        await client.send(ended((await client.receive())["invocationId"], "no"))
        await wait_all_tasks_blocked()
        broker.put("Hub:connection:a", encode(FleetInvocation((), {"json": ASK}, "ID3", "back")))
        await client.receive()
        client.leave()
        await client.served()
    assert [each.completion for each in answers] == [
        b'{"type":3,"invocationId":"ID","result":{"x": [1]}}\x1e',
        b'{"type":3,"invocationId":"ID2","error":"no"}\x1e',
        b'{"type":3,"invocationId":"ID3","error":"Connection disconnected."}\x1e',
    ]


async def test_the_headers_of_a_question_reach_its_client(autojump_clock: MockClock) -> None:
    async with AsyncExitStack() as stack:
        broker = MemoryBroker()
        client = await ask(stack, broker, [])
        other = await open_roster(stack, broker.open())
        call_headers.set(lambda: {"traceparent": "of here"})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.invoke, "a", "Ask", (), Any)
            question = await client.receive()
            assert question["headers"] == {"traceparent": "of here"}
            await client.send(result(question["invocationId"], 1))
        client.leave()
        await client.served()


async def test_an_answer_that_cannot_be_sent(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as stack:
        broker = MemoryBroker()
        client = await ask(stack, broker, [])
        broker.put("Hub:connection:a", encode(FleetInvocation((), {"json": ASK}, "ID", "back")))
        question = await client.receive()
        broker.buses[0].away = True
        await client.send(result(question["invocationId"], 1))
        await wait_all_tasks_blocked()
        assert "is not sent to the server that asked" in caplog.text


async def test_more_questions_than_clients_may_have(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_results, "MOST_QUESTIONS", 2)
    async with AsyncExitStack() as stack:
        broker = MemoryBroker()
        client = await ask(stack, broker, [])
        for number in range(3):
            broker.put("Hub:connection:a", encode(FleetInvocation((), {"json": ASK}, f"{number}", "back")))
        assert len(await client.arrived()) == 2
        assert "2 others are" in caplog.text


async def test_a_client_that_never_answers_is_not_asked_for_ever(autojump_clock: MockClock) -> None:
    answers: list[FleetCompletion] = []
    async with AsyncExitStack() as stack:
        broker = MemoryBroker()
        client = await ask(stack, broker, answers)
        broker.put("Hub:connection:a", encode(FleetInvocation((), {"json": ASK}, "ID", "back")))
        assert len(await client.arrived()) == 1
        await trio.sleep(61)
    assert [each.completion for each in answers] == [
        b'{"type":3,"invocationId":"ID","error":"Connection \'a\' did not answer \'Ask\' within 60 s."}\x1e'
    ]


@pytest.mark.parametrize(
    "message",
    [
        FleetInvocation((), {}, "ID", "back"),
        FleetInvocation((), {"json": b"{}"}, "ID", "back"),
        FleetInvocation((), {"json": ASK + ASK}, "ID", "back"),
        FleetInvocation((), {"json": ASK[:-1]}, "ID", "back"),
        FleetInvocation((), {"json": b'{"type":6}\x1e'}, "ID", "back"),
        FleetInvocation((), {"messagepack": b"\xc1"}, "ID", "back"),
    ],
)
async def test_questions_that_are_none(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, message: FleetInvocation
) -> None:
    async with AsyncExitStack() as stack:
        broker = MemoryBroker()
        client = await ask(stack, broker, [])
        broker.put("Hub:connection:a", encode(message))
        assert await client.arrived() == []
        assert "cannot be read" in caplog.text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        encode(FleetCompletion("blazorpack", b"x")),
        encode(FleetCompletion("json", b"x\x1e")),
        encode(FleetCompletion("json", ASK)),
        encode(FleetCompletion("messagepack", b"\x05")),
    ],
)
async def test_answers_that_are_none(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    async with AsyncExitStack() as stack:
        broker = MemoryBroker()
        bus = broker.open()
        await open_roster(stack, bus)
        broker.put(f"Hub:internal:return:{bus.server}", data)
        await wait_all_tasks_blocked()
        assert "cannot be read" in caplog.text


async def test_the_first_answer_counts(autojump_clock: MockClock) -> None:
    async with AsyncExitStack() as stack:
        broker = MemoryBroker()
        bus, other = broker.open(), broker.open()
        roster = await open_roster(stack, bus)
        asked: list[FleetInvocation] = []
        other.subscribe("Hub:connection:a", lambda data: asked.append(decode(FleetInvocation, data)))
        nursery = await stack.enter_async_context(trio.open_nursery())

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(HubException, match=r"^first$"):
                await roster.invoke("a", "Ask", (), int)

        await wait_all_tasks_blocked()
        for text in ("first", "second"):
            told = f'{{"type":3,"invocationId":"{asked[0].invocation_id}","error":"{text}"}}\x1e'.encode()
            broker.put(asked[0].return_channel, encode(FleetCompletion("json", told)))
