"""What servers call on our client: the same from the real ASP.NET Core server as from ours, over all ways."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio
import trio.lowlevel

from trio_hubs import ChannelReader, HubConnection, HubException

from .ways import PATIENCE, Server

pytestmark = pytest.mark.interop


# ---- client results


async def test_a_handler_answers(server: Server) -> None:
    async def answer(question: str) -> str:
        await trio.lowlevel.checkpoint()
        return f"{question}!"

    async with server.connect(handlers={"Answer": answer}) as connection:
        assert await connection.invoke("AskCaller", "why") == "why!"
        assert await connection.invoke("AskConnection", connection.connection_id, "why") == "why!"


async def test_a_handler_that_fails_or_is_not_there_is_an_error_at_the_server(server: Server) -> None:
    def fail(question: str) -> str:
        raise HubException(f"no answer to {question}")

    async with server.connect() as connection:
        assert (await connection.invoke("AskCaller", "why")).startswith("error: ")
        remove = connection.on("Answer", fail)
        assert "no answer to why" in await connection.invoke("AskCaller", "why")
        remove()
        assert (await connection.invoke("AskCaller", "why")).startswith("error: ")
        assert await connection.invoke("Add", 40, 2) == 42


async def test_a_handler_that_is_too_slow_is_not_waited_for(server: Server) -> None:
    ended = trio.Event()

    async def answer(_: str) -> str:
        await ended.wait()
        return "too late"

    async with server.connect(handlers={"Answer": answer}) as connection:
        assert await connection.invoke("AskWithTimeout", 100) == "timed out"
        ended.set()
        assert await connection.invoke("Add", 40, 2) == 42


async def test_a_handler_may_call_the_hub(server: Server) -> None:
    """The hub waits for it, so its call must have a place of its own."""

    async def answer(question: str) -> str:
        total: int = await connection.invoke("Add", 40, 2, result_type=int)
        return f"{question} {total}"

    async with server.connect("/parallel", handlers={"Answer": answer}) as connection:
        assert await connection.invoke("AskCaller", "sum") == "sum 42"


async def test_two_handlers_of_a_name_both_run_and_one_answers(server: Server) -> None:
    heard: list[str] = []

    def hear(question: str) -> None:
        heard.append(question)

    def answer(question: str) -> str:
        return question.upper()

    async with server.connect() as connection:
        connection.on("Answer", hear)
        connection.on("Answer", answer)
        assert await connection.invoke("AskCaller", "why") == "WHY"
    assert heard == ["why"]


async def test_an_object_has_the_handlers(server: Server) -> None:
    class Listener:
        def answer(self, question: str) -> str:
            return f"{question}?"

    async with server.connect(handlers=Listener()) as connection:
        assert await connection.invoke("AskCaller", "why") == "why?"


# ---- whom messages reach


@asynccontextmanager
async def several(
    server: Server, *paths: str, tokens: tuple[str, ...] = ()
) -> AsyncIterator[tuple[list[HubConnection], Callable[[int], ChannelReader[str]]]]:
    """Connections, and the readers of their messages."""
    async with AsyncExitStack() as stack:
        connections: list[HubConnection] = []
        readers: list[ChannelReader[str]] = []
        for number, path in enumerate(paths):
            options: dict[str, Any] = {"access_token": tokens[number]} if tokens else {}
            connection = await stack.enter_async_context(server.connect(path, **options))
            connections.append(connection)
            readers.append(await stack.enter_async_context(connection.messages("Message", str)))
        yield connections, lambda number: readers[number]


async def heard(readers: Callable[[int], ChannelReader[str]], count: int) -> list[list[str]]:
    """What each has heard up to a last message, which all get."""
    got: list[list[str]] = [[] for _ in range(count)]
    with trio.fail_after(PATIENCE):
        for number in range(count):
            while (text := await readers(number).read()) != "end":
                got[number].append(text)
    return got


async def test_messages_reach_those_they_are_for(server: Server) -> None:
    async with several(server, "/conformance", "/conformance", "/conformance") as (connections, readers):
        first, second, third = (connection.connection_id for connection in connections)
        one = connections[0]
        await one.invoke("CallConnection", second, "one")
        await one.invoke("CallConnections", [second, third], "two of them")
        await one.invoke("CallCaller", "Message", "caller")
        await connections[1].invoke("JoinGroup", "room")
        await one.invoke("AddConnectionToGroup", third, "room")
        await one.invoke("CallGroup", "room", "room")
        await one.invoke("CallGroups", ["room", "empty"], "rooms")
        await one.invoke("CallGroupExcept", "room", third, "room but third")
        await connections[1].invoke("CallOthersInGroup", "room", "others in room")
        await connections[1].invoke("LeaveGroup", "room")
        await one.invoke("CallGroup", "room", "left")
        for id in (first, second, third):
            await one.invoke("CallConnection", id, "end")
        assert await heard(readers, 3) == [
            ["caller"],
            ["one", "two of them", "room", "rooms", "room but third"],
            ["two of them", "room", "rooms", "others in room", "left"],
        ]


async def test_messages_reach_a_user_wherever_it_is(server: Server) -> None:
    async with several(server, *["/auth"] * 3, tokens=("ann", "bob", "ann")) as (connections, readers):
        await connections[1].invoke("CallUser", "ann", "for ann")
        for connection in connections:
            await connections[1].invoke("CallConnection", connection.connection_id, "end")
        assert await heard(readers, 3) == [["for ann"], [], ["for ann"]]


async def test_who_is_let_in_may_do_what_its_role_allows(server: Server) -> None:
    async with server.connect("/auth", access_token="ann") as connection:
        assert await connection.invoke("ForUsers") == "for users"
        with pytest.raises(HubException, match="user is unauthorized"):
            await connection.invoke("ForAdmins")
    async with server.connect() as connection:
        with pytest.raises(HubException, match="user is unauthorized"):
            await connection.invoke("ForUsers")


# ---- a reader instead of a handler


async def test_a_reader_gets_messages_in_order_with_their_types(server: Server) -> None:
    async with server.connect() as connection, connection.messages("News", str) as reader:
        for number in range(100):
            await connection.send("CallCaller", "News", f"{number}")
        with trio.fail_after(PATIENCE):
            assert [await reader.read() for _ in range(100)] == [f"{number}" for number in range(100)]
