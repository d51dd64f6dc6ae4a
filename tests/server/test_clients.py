"""The clients that a hub can call: the caller, and all of them at once."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import PROTOCOLS, members_of, open_client, served_hub
from tests.messages import call, ended, result, stream
from trio_hubs import BindingError, ConnectionClosed, Hub, open_channel
from trio_hubs.server.clients import Groups

both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


class Callers(Hub):
    """Calls its clients."""

    async def caller(self, name: str, value: object) -> None:
        await self.clients.caller.send(name, value, [value])

    async def all(self, name: str, value: object) -> None:
        await self.clients.all.send(name, value)

    async def bad(self, whom: str) -> None:
        await getattr(self.clients, whom).send("Bad", object())

    async def all_streaming(self) -> AsyncIterator[int]:
        await self.clients.all.send("Started")
        yield 1

    async def nothing(self) -> None:
        await self.clients.caller.send("Nothing")


@both_protocols
async def test_the_caller_alone_is_called(protocol: str, autojump_clock: MockClock) -> None:
    served = served_hub(Callers)
    async with open_client(served, protocol, id="a") as one, open_client(served, protocol, id="b") as other:
        await one.send(call("Caller", "Hear", 5, id="1"), call("Nothing"))
        assert await one.take(3) == [call("Hear", 5, [5]), result("1", None), call("Nothing")]
        assert await other.arrived() == []


async def test_all_are_called_whatever_they_speak(autojump_clock: MockClock) -> None:
    served = served_hub(Callers)
    async with (
        open_client(served, "json", id="a") as first,
        open_client(served, "messagepack", id="b") as second,
        open_client(served_hub(Callers), id="c") as elsewhere,
    ):
        await second.send(call("All", "Hear", {"a": [None, 1.5, "é"]}, id="1"))
        assert await first.arrived() == [call("Hear", {"a": [None, 1.5, "é"]})]
        assert await second.arrived() == [call("Hear", {"a": [None, 1.5, "é"]}), result("1", None)]
        assert await elsewhere.arrived() == []


async def test_one_that_has_left_is_called_no_more(autojump_clock: MockClock) -> None:
    served = served_hub(Callers)
    async with open_client(served, id="a") as stays:
        async with open_client(served, id="b"):
            assert set(members_of(served).by_id) == {"a", "b"}
        assert set(members_of(served).by_id) == {"a"}
        await stays.send(call("All", "Hear", 1))
        assert await stays.arrived() == [call("Hear", 1)]


@pytest.mark.parametrize("whom", ["caller", "all"])
async def test_an_argument_that_cannot_be_written_fails_the_call_alone(
    whom: str, autojump_clock: MockClock
) -> None:
    async with open_client(Callers) as client:
        await client.send(call("Bad", whom, id="1"), call("Nothing"))
        text = "An unexpected error occurred invoking 'Bad' on the server."
        assert await client.take(2) == [ended("1", text), call("Nothing")]


async def test_a_group_is_named_by_a_text(autojump_clock: MockClock) -> None:
    served = served_hub(Callers)
    groups = Groups(served.roster)
    async with open_client(served, id="a"):
        for change in groups.add, groups.remove:
            with pytest.raises(TypeError, match=r"^a group's name must be str, not int$"):
                await change("a", 5)  # type: ignore[arg-type]
        assert await groups.names() == set()


async def test_a_stream_may_call_all(autojump_clock: MockClock) -> None:
    async with open_client(Callers) as client:
        await client.send(stream("AllStreaming"))
        assert [message["type"] for message in await client.take(3)] == [1, 2, 3]


async def test_a_last_word_to_a_client_that_has_left_says_that_it_has(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[Exception] = []

    class LastWord(Hub):
        async def wait(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    try:
                        await self.clients.caller.send("Bye")
                    except ConnectionClosed as error:
                        failures.append(error)

        async def wait_and_tell(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await self.clients.caller.send("Bye")

    async with open_client(LastWord, maximum_parallel_invocations=2) as client:
        await client.send(call("Wait"), call("WaitAndTell"))
        await client.arrived()
        client.leave()
        await client.served()
    assert [type(error) for error in failures] == [ConnectionClosed]
    assert "failed" not in caplog.text


async def test_sending_to_a_client_that_takes_nothing_waits(autojump_clock: MockClock) -> None:
    sent: list[int] = []

    class Talkative(Hub):
        async def talk(self) -> None:
            for number in range(1000):
                await self.clients.caller.send("Word", "x" * 1000)
                sent.append(number)

    async with open_client(Talkative, capacity=1) as client:
        await client.send(call("Talk", id="1"))
        await trio.testing.wait_all_tasks_blocked()
        assert 0 < len(sent) < 500
        assert await client.take(1000) == [call("Word", "x" * 1000)] * 1000
        assert await client.receive() == result("1", None)


async def test_a_client_too_slow_for_a_broadcast_is_told_of_no_more_and_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[str] = []

    class Radio(Hub):
        async def all(self, text: str) -> None:
            await self.clients.all.send("Heard", text)

        async def on_disconnected(self, error: Exception | None) -> None:
            errors.append(f"{self.context.connection_id}: {error}")

    served = served_hub(Radio, broadcast_buffer_limit=10_000)
    async with open_client(served, id="fast") as fast, open_client(served, id="slow", capacity=0) as slow:
        for _ in range(100):
            await fast.send(call("All", "x" * 1000))
            await fast.receive()
        await slow.over.wait()
        assert errors == ["slow: The peer does not take its messages fast enough."]
    assert "connection slow is too slow for its messages: disconnected" in caplog.text


async def test_a_stream_cannot_be_sent_to_a_client(autojump_clock: MockClock) -> None:
    faults: list[BindingError] = []

    class Streaming(Hub):
        async def stream(self) -> None:
            writer, reader = open_channel(int)
            writer.complete()
            with pytest.raises(BindingError, match=r"A stream cannot be sent to a client.*'Hear'") as caught:
                await self.clients.caller.send("Hear", 1, reader)
            faults.append(caught.value)

    async with open_client(Streaming) as client:
        await client.send(call("Stream", id="1"))
        assert await client.receive() == result("1", None)
    assert len(faults) == 1
