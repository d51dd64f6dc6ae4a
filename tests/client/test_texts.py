"""The official clients' texts, letter by letter."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import open_raw_server
from tests.messages import Message, call, cancel, ended, item, stream
from trio_hubs import HubConnection, HubException, open_channel
from trio_hubs.calls.refusals import DeadlinePassed, Refusal, TooManyCalls
from trio_hubs.client import texts
from trio_hubs.protocol.messages import Close


def test_a_silent_server() -> None:
    assert texts.silence(30) == (
        "Server timeout (30000.00ms) elapsed without receiving a message from the server."
    )


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Close(), "The server closed the connection."),
        (Close(allow_reconnect=True), "The server closed the connection."),
        (Close(error="bad"), "The server closed the connection with the following error: bad"),
    ],
)
def test_a_server_that_says_goodbye(message: Close, text: str) -> None:
    assert texts.closed(message) == text


def test_a_handshake_without_success() -> None:
    assert texts.NO_HANDSHAKE == "The server disconnected before sending a handshake response."
    assert texts.handshake_refused("no") == (
        "Unable to complete handshake with the server due to an error: no"
    )


async def hear(seconds: float) -> None:
    await trio.sleep(seconds)
    raise ValueError("broken")


@pytest.mark.parametrize(
    ("messages", "answer"),
    [
        ([call("No", id="1")], "Client didn't provide a result."),
        ([call("Hear", "much", id="1")], "Client failed to parse argument(s)."),
        ([call("Hear", 0, id="1")], "broken"),
        ([call("Hear", 9, id="1"), cancel("1")], "The invocation was canceled by the server."),
        ([stream("Hear", 0)], "Client methods do not stream."),
        ([call("Hear", 0, id="1", uploads=("u",))], "Client methods do not stream."),
    ],
)
async def test_what_a_server_is_told_of_its_calls(
    autojump_clock: MockClock, messages: list[Message], answer: str
) -> None:
    async with open_raw_server(handlers={"Hear": hear}) as (_, server):
        await server.send(*messages)
        assert await server.arrived() == [ended("1", answer)]


async def test_what_a_server_is_told_of_uploads_and_a_caller_of_a_stream(autojump_clock: MockClock) -> None:
    caught: list[str] = []

    async def invoke(connection: HubConnection, *arguments: Any) -> None:
        try:
            await connection.invoke("Sum", *arguments)
        except HubException as error:
            caught.append(str(error))

    async with open_raw_server() as (connection, server), trio.open_nursery() as nursery:
        writer, reader = open_channel(int)
        writer.complete(ValueError("broken"))
        nursery.start_soon(invoke, connection, reader)
        assert ended("1", "Stream errored by client: 'broken'") in await server.arrived()
        await server.send(item("2", 1))
        with trio.move_on_after(1):
            await connection.invoke("Sum", open_channel(int)[1])
        assert ended("3", "Stream canceled by client.") in await server.arrived()
    assert caught == ["The server answers with a stream: call this method with stream(), not invoke()."]


@pytest.mark.parametrize(
    ("refusal", "text"),
    [
        (TooManyCalls("Hear"), "Too many calls wait: 'Hear' was not queued."),
        (DeadlinePassed("Hear"), "The deadline of 'Hear' has passed."),
    ],
)
def test_what_a_server_that_asks_too_much_is_told(refusal: Refusal, text: str) -> None:
    assert texts.refused(refusal) == text
