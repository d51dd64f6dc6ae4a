"""Text that is no Unicode, which JSON's grammar allows, is the fault of one call, and of no connection."""

from typing import Any

import pytest
from trio.testing import MockClock

from tests.hub_peer import open_client, open_raw_server
from tests.messages import call, ended, item, result
from trio_hubs import ChannelReader, Hub, HubException

HALF = "\ud83d"  # what is left of an emoji when JavaScript cuts it


class Texts(Hub):
    """Takes text in every way."""

    def echo(self, text: str) -> str:
        return text

    async def join(self, items: ChannelReader[str]) -> str:
        try:
            return "".join([text async for text in items])
        except HubException as error:
            return str(error)

    async def ask(self) -> str:
        try:
            answer: str = await self.clients.caller.invoke("Answer", result_type=str)
        except Exception as error:  # noqa: BLE001 - whatever it is
            return f"{type(error).__name__}: {error}"
        return answer


async def test_our_server(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with open_client(Texts, maximum_parallel_invocations=5) as client:
        failed = "Failed to invoke 'Echo' due to an error on the server."
        await client.send(call("Echo", HALF, id="1"), call("Echo", "a", id="2"))
        assert await client.arrived() == [ended("1", failed), result("2", "a")]
        await client.send(call("Join", id="3", uploads=("s",)), item("s", "a"), item("s", HALF))
        assert await client.arrived() == [result("3", "Failed to bind Stream message.")]
        await client.send(call("Join", id="4", uploads=("t",)), item("t", "a"), ended("t", f"a{HALF}"))
        assert await client.arrived() == [result("4", "a\ufffd")]
        for answer, text in (
            (result("", HALF), "BindingError: A value does not fit the type 'str'."),
            (ended("", f"no{HALF}"), "HubException: no\ufffd"),
        ):
            await client.send(call("Ask", id="5"))
            (asked,) = await client.arrived()
            await client.send({**answer, "invocationId": asked["invocationId"]})
            assert await client.arrived() == [result("5", text)]
        await client.send({"type": 6, "unknown": HALF}, call("Echo", "b", id="6"))
        assert await client.arrived() == [result("6", "b")]
    assert "argument 1: Text that is not Unicode @ $" in caplog.text


async def test_our_client(autojump_clock: MockClock) -> None:
    heard: list[Any] = []

    def fail() -> None:
        raise ValueError(HALF)

    def hear(text: str) -> None:
        heard.append(text)

    async with open_raw_server(handlers={"Hear": hear, "Fail": fail}) as (connection, server):
        await server.send(call("Hear", HALF), call("Hear", "a"), call("Fail", id="1"))
        assert await server.arrived() == [ended("1", "?")]
        assert heard == ["a"]
        await connection.send("Still here")
        assert await server.arrived() == [call("Still here")]
