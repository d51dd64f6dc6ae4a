"""A hub's methods called alone, and the record of what they do to clients and groups."""

from collections.abc import AsyncIterator
from math import inf
from typing import Any, Protocol

import pytest
import trio
from trio.testing import MockClock

from trio_hubs import (
    BindingError,
    ChannelReader,
    ChannelWriter,
    Conflate,
    ConnectionClosed,
    Hub,
    HubException,
    HubOptions,
    Request,
    User,
    open_channel,
)
from trio_hubs.testing import Aborted, Address, Invoked, Joined, Left, Sent, make_hub, recorded


class ChatClient(Protocol):
    """What chat clients offer."""

    async def said(self, user: str, text: str) -> None: ...

    async def age(self) -> int: ...


class Chat(Hub[ChatClient]):
    def __init__(self, greeting: str = "hello") -> None:
        self.greeting = greeting

    async def on_connected(self) -> None:
        self.context.items["room"] = self.context.request.query.get("room", "lobby")
        await self.groups.add(self.context.connection_id, self.context.items["room"])
        await self.clients.others.said("server", self.greeting)

    async def say(self, text: str) -> None:
        if not text:
            raise HubException("say something")
        assert self.context.user_id is not None
        room = self.clients.group(self.context.items["room"])
        await room.said(self.context.user_id, text)

    async def move(self, room: str) -> None:
        await self.groups.remove(self.context.connection_id, self.context.items["room"])
        await self.groups.add(self.context.connection_id, room)

    async def is_grown_up(self) -> bool:
        return await self.clients.caller.age() >= 18

    def leave(self) -> None:
        self.context.abort()


class Plain(Hub):
    async def send(self, *arguments: Any) -> None:
        await self.clients.user("ann").send("Hear", *arguments)

    async def ask(self, id: str) -> int:
        answer: int = await self.clients.client(id).invoke("Ask", 1, result_type=int)
        return answer

    async def newest(self) -> None:
        await self.clients.when_slow(Conflate()).caller.send("Price", 7)
        await self.clients.when_slow(Conflate()).others_in_group("room").send("Price", 7)

    async def count(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    def counted(self, count: int) -> ChannelReader[int]:
        writer, reader = open_channel(int)
        self.start_soon(self._write, writer, count)
        return reader

    async def _write(self, writer: ChannelWriter[int], count: int) -> None:
        with writer:
            for number in range(count):
                await writer.write(number)

    async def total(self, numbers: AsyncIterator[int]) -> int:
        return sum([number async for number in numbers])


async def test_calls_and_groups_are_recorded_in_their_order() -> None:
    items: dict[Any, Any] = {}
    hub = make_hub(Chat, connection_id="7", items=items, request=Request(query={"room": "red"}))
    await hub.on_connected()
    assert recorded(hub) == [
        Joined("7", "red"),
        Sent(Address.all(excluded=("7",)), "Said", "server", "hello"),
    ]
    hub = make_hub(Chat, user=User("ann"), connection_id="7", items=items)
    await hub.say("hi")
    await hub.move("blue")
    hub.leave()
    assert recorded(hub) == [
        Sent(Address.groups("red"), "Said", "ann", "hi"),
        Left("7", "red"),
        Joined("7", "blue"),
        Aborted(),
    ]


async def test_a_hub_may_be_made_by_a_function() -> None:
    hub = make_hub(lambda: Chat("welcome"))
    await hub.on_connected()
    assert recorded(hub)[-1] == Sent(Address.all(excluded=("1",)), "Said", "server", "welcome")


async def test_what_a_method_raises_is_raised() -> None:
    hub = make_hub(Chat)
    with pytest.raises(HubException, match="say something"):
        await hub.say("")
    assert recorded(hub) == []


async def test_a_policy_for_slow_clients_changes_no_record() -> None:
    hub = make_hub(Plain)
    await hub.newest()
    assert recorded(hub) == [
        Sent(Address.connections("1"), "Price", 7),
        Sent(Address.groups("room", excluded=("1",)), "Price", 7),
    ]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_clients_answer_by_a_function(asynchronous: bool) -> None:
    asked: list[Invoked] = []

    def plain(call: Invoked) -> int:
        asked.append(call)
        return 17

    async def slow(call: Invoked) -> int:
        await trio.lowlevel.checkpoint()
        return plain(call)

    hub = make_hub(Chat, answer=slow if asynchronous else plain)
    assert not await hub.is_grown_up()
    assert recorded(hub) == asked == [Invoked("1", "Age")]
    assert await make_hub(Plain, answer=plain).ask("9") == 17
    assert asked[1:] == [Invoked("9", "Ask", 1)]


@pytest.mark.parametrize("error", [HubException("no"), ConnectionClosed("gone")])
async def test_a_client_fails_as_the_function_says(error: Exception) -> None:
    def fail(_: Invoked) -> int:
        raise error

    with pytest.raises(type(error)):
        await make_hub(Chat, answer=fail).is_grown_up()


async def test_an_answer_of_another_type_is_refused_as_a_clients_would_be() -> None:
    with pytest.raises(BindingError):
        await make_hub(Chat, answer=lambda _: "seventeen").is_grown_up()


async def test_without_a_function_the_error_says_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match="'Age' is called for a result: give make_hub an answer"):
        await make_hub(Chat).is_grown_up()


async def test_what_cannot_be_sent_to_clients_is_an_error_here_too() -> None:
    hub = make_hub(Plain)
    with pytest.raises(BindingError):
        await hub.send(object())
    with pytest.raises(BindingError):
        await hub.send(inf)  # of which there is none in JSON
    assert recorded(hub) == []
    hub = make_hub(Plain, options=HubOptions(supported_protocols=("messagepack",)))
    await hub.send(inf)
    assert recorded(hub) == [Sent(Address.users("ann"), "Hear", inf)]


async def test_streams_are_read_and_written_as_they_are(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    hub = make_hub(Plain, nursery=nursery)
    assert [number async for number in hub.count(3)] == [0, 1, 2]
    assert [number async for number in hub.counted(3)] == [0, 1, 2]
    assert await hub.total(hub.count(4)) == 6


async def test_a_child_task_needs_a_nursery() -> None:
    with pytest.raises(RuntimeError, match="a child task needs a nursery: give make_hub one"):
        make_hub(Plain).counted(3)


async def test_a_hub_that_no_app_would_take_is_refused() -> None:
    class Bad(Hub):
        async def hear(self, text: "Nothing") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(TypeError, match="hear"):
        make_hub(Bad)


async def test_groups_are_those_that_were_joined_and_not_left() -> None:
    class Rooms(Hub):
        async def move(self, *rooms: str) -> frozenset[str]:
            await self.groups.add("1", "hall", *rooms)
            await self.groups.remove("1", "hall")
            return await self.groups.names()

    hub = make_hub(Rooms)
    assert await hub.move("a", "b") == {"a", "b"}
    assert recorded(hub) == [Joined("1", "hall"), Joined("1", "a"), Joined("1", "b"), Left("1", "hall")]


def test_a_reason_is_recorded() -> None:
    hub = make_hub(Chat)
    hub.context.abort("Enough.")
    assert hub.context.transport is None
    assert recorded(hub) == [Aborted("Enough.")]
