"""What clients are told, in the server's words and never in a client's."""

from collections.abc import AsyncIterator

import pytest
from trio.testing import MockClock

from tests.hub_peer import open_client
from tests.messages import Message, call, cancel, ended, item, stream
from trio_hubs import ChannelReader, Deadline, Hub, HubException


class Spoken(Hub):
    """Methods that fail in each way."""

    async def total(self, items: ChannelReader[int]) -> int:
        return sum([number async for number in items])

    async def count(self, stop: int) -> AsyncIterator[int]:
        for number in range(stop):
            yield number
        raise HubException("counted out")

    async def ask(self) -> int:
        answer: int = await self.clients.caller.invoke("Answer", result_type=int)
        return answer

    async def within(self, deadline: Deadline) -> None:
        await self.clients.caller.invoke("Answer")


UNEXPECTED = "An unexpected error occurred invoking '{}' on the server. HubException: {}"


@pytest.mark.parametrize(
    ("messages", "answer"),
    [
        (
            [call("No", id="1")],
            "Failed to invoke 'No' due to an error on the server. HubException: Method does not exist.",
        ),
        ([call("Count", "x", id="1")], "Failed to invoke 'Count' due to an error on the server."),
        (
            [call("Count", 1, id="1")],
            "The client attempted to invoke the streaming 'Count' method with a non-streaming invocation.",
        ),
        (
            [call("Total", id="1")],
            UNEXPECTED.format("Total", "Client sent 0 stream(s), Hub method expects 1."),
        ),
        (
            [stream("Count", 0)],
            "An error occurred on the server while streaming results. HubException: counted out",
        ),
        ([call("Ask", id="1"), cancel("1")], "The invocation was canceled by the client."),
        ([call("Within", 0, id="1")], "The deadline of 'Within' has passed."),
        ([call("Ask", id="1"), ended("s1")], UNEXPECTED.format("Ask", "The client gave no result.")),
        ([call("Ask", id="1"), item("s1", 1)], UNEXPECTED.format("Ask", "The client answers with a stream.")),
        (
            [call("Total", id="1", uploads=("u",)), item("u", "x")],
            UNEXPECTED.format("Total", "Failed to bind Stream message."),
        ),
    ],
)
async def test_what_a_client_is_told_of_its_calls(
    autojump_clock: MockClock, messages: list[Message], answer: str
) -> None:
    async with open_client(Spoken) as client:
        arrived: list[Message] = []
        for message in messages:
            await client.send(message)
            arrived = await client.arrived()
        assert arrived[-1] == ended("1", answer)
