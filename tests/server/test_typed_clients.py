"""Hubs of typed clients: they call their clients by an interface, and are refused with one that no client can offer."""

from typing import Protocol, assert_type

import pytest
from trio.testing import MockClock

from tests.hub_peer import PROTOCOLS, open_client, served_hub
from tests.messages import call, result
from trio_hubs import ClientProxy, Hub, HubApp


class ChatClient(Protocol):
    """What a chat's client offers."""

    async def receive_message(self, user: str, text: str) -> None: ...

    async def notify(self, text: str, level: int = 1, note: "str | None" = None) -> None: ...

    async def answer(self, question: str) -> "list[int]": ...


class NotAsync(Protocol):
    def act(self) -> None: ...


class Chat(Hub[ChatClient]):
    """Calls its clients by their interface; the assertions of types are the type checkers' tests."""

    async def say(self, text: str) -> None:
        assert_type(self.clients.all, ChatClient)
        assert_type(self.clients.caller, ChatClient)
        assert_type(self.clients.group("a"), ChatClient)
        await self.clients.all.receive_message("ann", text)
        await self.clients.others.notify(text, note="to others")

    async def ask(self) -> list[int]:
        answer = await self.clients.caller.answer("why?")
        assert_type(answer, list[int])
        return answer

    async def ask_all(self) -> list[int]:
        return await self.clients.all.answer("why?")

    async def mistake(self) -> None:
        await self.clients.all.receive_message("ann")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

    async def misnamed(self) -> None:
        await self.clients.all.receive("ann")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


class Untyped(Hub):
    """Has no interface: its clients are called by name."""

    async def say(self, text: str) -> None:
        assert_type(self.clients.all, ClientProxy)
        await self.clients.all.send("Anything", text)


def proxies_from_outside(app: HubApp) -> None:
    """Only for the type checkers."""
    assert_type(app.hub(Chat).clients.all, ChatClient)
    assert_type(app.hub(Untyped).clients.all, ClientProxy)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_hub_calls_its_clients_by_their_interface(protocol: str, autojump_clock: MockClock) -> None:
    served = served_hub(Chat)
    async with open_client(served, protocol, id="a") as one, open_client(served, protocol, id="b") as other:
        await one.send(call("Say", "hello", id="1"))
        assert await one.take(2) == [call("ReceiveMessage", "ann", "hello"), result("1", None)]
        assert await other.take(2) == [
            call("ReceiveMessage", "ann", "hello"),
            call("Notify", "hello", 1, "to others"),
        ]


async def test_a_hub_asks_its_caller_by_the_interface(autojump_clock: MockClock) -> None:
    async with open_client(Chat) as client:
        await client.send(call("Ask", id="1"))
        question = await client.receive()
        assert question == call("Answer", "why?", id=question["invocationId"])
        await client.send(result(question["invocationId"], [1, 2]))
        assert await client.receive() == result("1", [1, 2])


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("AskAll", "TypeError: 'Answer' can only be invoked on a single client"),
        ("Mistake", "TypeError: ChatClient.receive_message: missing a required argument: 'text'"),
        ("Misnamed", "AttributeError: 'ChatClient' object has no attribute 'receive'"),
    ],
)
async def test_a_mistake_fails_the_call(method: str, text: str, autojump_clock: MockClock) -> None:
    async with open_client(Chat, detailed_errors=True) as client:
        await client.send(call(method, id="1"))
        assert text in (await client.receive())["error"]


def test_an_interface_that_no_client_can_offer_is_refused_with_its_hub() -> None:
    class Wrong(Hub[NotAsync]):
        pass

    with pytest.raises(TypeError, match=r"NotAsync.act is no method of a client"):
        HubApp().add_hub("/wrong", Wrong)
