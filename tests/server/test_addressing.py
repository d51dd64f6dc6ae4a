"""Every way to say whom to call, from everywhere, to clients of both protocols at once; and who is in a group."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import RawClient, members_of, open_client, served_hub
from tests.messages import call, result
from trio_hubs import ClientProxy, Hub, HubCallerClients, HubClients, User
from trio_hubs.protocol.json_protocol import JsonHubProtocol
from trio_hubs.protocol.messagepack_protocol import MessagePackHubProtocol
from trio_hubs.server.served_hub import ServedHub

Members: TypeAlias = dict[str, RawClient]
Clients: TypeAlias = HubClients[ClientProxy]

SPEAKS = {"a": "json", "b": "messagepack", "c": "json", "d": "messagepack"}
USERS = {"a": User("ann"), "b": User("ann"), "c": User("carl"), "d": None}
GROUPS = {"room": "abc", "club": "bc"}

# Whom a way calls: a letter for each time that a client is.
ANYWHERE: dict[str, tuple[Callable[[Clients], ClientProxy], str]] = {
    "all": (lambda clients: clients.all, "abcd"),
    "all_except": (lambda clients: clients.all_except("a", "d", "nobody"), "bc"),
    "all_except nobody": (lambda clients: clients.all_except(), "abcd"),
    "client": (lambda clients: clients.client("b"), "b"),
    "client that is none": (lambda clients: clients.client("nobody"), ""),
    "clients": (lambda clients: clients.clients("d", "b", "d", "nobody"), "bd"),
    "clients of none": (lambda clients: clients.clients(), ""),
    "group": (lambda clients: clients.group("room"), "abc"),
    "group in another case": (lambda clients: clients.group("Room"), ""),
    "group that is none": (lambda clients: clients.group("nowhere"), ""),
    "groups": (lambda clients: clients.groups("room", "club", "nowhere"), "abbcc"),
    "the same group twice": (lambda clients: clients.groups("club", "club"), "bbcc"),
    "group_except": (lambda clients: clients.group_except("room", "b", "d"), "ac"),
    "user": (lambda clients: clients.user("ann"), "ab"),
    "user that is none": (lambda clients: clients.user("nobody"), ""),
    "users": (lambda clients: clients.users("carl", "ann", "carl", "nobody"), "abc"),
}
FROM_A: dict[str, tuple[Callable[[HubCallerClients], ClientProxy], str]] = {
    "caller": (lambda clients: clients.caller, "a"),
    "others": (lambda clients: clients.others, "bcd"),
    "others_in_group": (lambda clients: clients.others_in_group("room"), "bc"),
}
FROM_D = {
    "caller": (FROM_A["caller"][0], "d"),
    "others": (FROM_A["others"][0], "abc"),
    "others_in_group": (FROM_A["others_in_group"][0], "abc"),
}


class Speaker(Hub):
    """Calls whomever a test says, from wherever it says."""

    def __init__(self, told: dict[str, Callable[["Speaker"], Awaitable[object]]]) -> None:
        self.told = told

    async def on_connected(self) -> None:
        id = self.context.connection_id
        for name, ids in GROUPS.items():
            if id in ids:
                await self.groups.add(id, name)
        if "on_connected" in self.told and id == "d":
            await self.told["on_connected"](self)

    async def on_disconnected(self, error: Exception | None) -> None:
        if "on_disconnected" in self.told and self.context.connection_id == "a":
            await self.told["on_disconnected"](self)

    async def speak(self) -> None:
        await self.told["speak"](self)


class Told:
    """What a Speaker does, and the hub that it is of."""

    def __init__(self) -> None:
        self.does: dict[str, Callable[[Speaker], Awaitable[object]]] = {}
        self.served = served_hub(Speaker, lambda: Speaker(self.does))


@asynccontextmanager
async def everybody(served: ServedHub) -> AsyncGenerator[Members]:
    async with AsyncExitStack() as stack:
        members: Members = {}
        for id, protocol in SPEAKS.items():
            members[id] = await stack.enter_async_context(
                open_client(served, protocol, id=id, user=USERS[id])
            )
            await trio.testing.wait_all_tasks_blocked()
        yield members


async def heard(members: Members, text: str) -> str:
    """Who was called with a text and nothing else: a letter for each time."""
    calls = {id: await member.arrived() for id, member in members.items()}
    assert all(message == call("Hear", text) for messages in calls.values() for message in messages), calls
    return "".join(id * len(messages) for id, messages in sorted(calls.items()))


@pytest.mark.parametrize("way", [*ANYWHERE, *FROM_A])
async def test_from_a_hub_method(way: str, autojump_clock: MockClock) -> None:
    choose, expected = (ANYWHERE | FROM_A)[way]
    told = Told()
    told.does["speak"] = lambda hub: choose(hub.clients).send("Hear", way)
    async with everybody(told.served) as members:
        await members["a"].send(call("Speak"))
        assert await heard(members, way) == expected


@pytest.mark.parametrize("way", ANYWHERE)
async def test_from_outside(way: str, autojump_clock: MockClock) -> None:
    choose, expected = ANYWHERE[way]
    told = Told()
    async with everybody(told.served) as members:
        await choose(told.served.clients).send("Hear", way)
        assert await heard(members, way) == expected


@pytest.mark.parametrize("way", [*ANYWHERE, *FROM_D])
async def test_from_on_connected_of_the_last_to_come(way: str, autojump_clock: MockClock) -> None:
    choose, expected = (ANYWHERE | FROM_D)[way]
    told = Told()
    told.does["on_connected"] = lambda hub: choose(hub.clients).send("Hear", way)
    async with everybody(told.served) as members:
        assert await heard(members, way) == expected


@pytest.mark.parametrize("way", [*ANYWHERE, *FROM_A])
async def test_from_on_disconnected_all_but_the_one_that_has_left_are_called(
    way: str, autojump_clock: MockClock
) -> None:
    choose, expected = (ANYWHERE | FROM_A)[way]
    told = Told()
    failed: list[Exception] = []

    async def speak(hub: Speaker) -> None:
        try:
            await choose(hub.clients).send("Hear", way)
        except Exception as error:  # noqa: BLE001
            failed.append(error)

    told.does["on_disconnected"] = speak
    async with everybody(told.served) as members:
        gone = members.pop("a")
        gone.leave()
        await gone.served()
        assert await heard(members, way) == expected.replace("a", "")
    assert [type(error).__name__ for error in failed] == (["ConnectionClosed"] if way == "caller" else [])


async def test_a_proxy_that_is_kept_calls_whoever_is_there_then(autojump_clock: MockClock) -> None:
    told = Told()
    room, everyone, ann = (
        told.served.clients.group("room"),
        told.served.clients.all,
        told.served.clients.user("ann"),
    )
    async with everybody(told.served) as members:
        for proxy, text, expected in ((room, "r", "abc"), (everyone, "e", "abcd"), (ann, "u", "ab")):
            await proxy.send("Hear", text)
            assert await heard(members, text) == expected


async def test_a_message_to_many_is_encoded_once_for_each_protocol(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    for protocol in (JsonHubProtocol, MessagePackHubProtocol):

        def encode(self: Any, message: Any, plain: Any = protocol.encode) -> bytes:
            encoded.append(self.name)
            return plain(self, message)  # type: ignore[no-any-return]

        monkeypatch.setattr(protocol, "encode", encode)
    told = Told()
    async with everybody(told.served) as members:
        encoded.clear()
        await told.served.clients.groups("room", "club").send("Hear", "x")
        assert sorted(encoded) == ["json", "messagepack"]
        assert await heard(members, "x") == "abbcc"


# ---- groups


class Joining(Hub):
    """Joins and leaves as it is told."""

    async def join(self, name: str) -> None:
        await self.groups.add(self.context.connection_id, name)

    async def quit(self, name: str) -> None:
        await self.groups.remove(self.context.connection_id, name)

    async def tell(self, name: str) -> None:
        await self.clients.group(name).send("Told", name)


async def test_joining_twice_is_joining_once(autojump_clock: MockClock) -> None:
    async with open_client(Joining) as client:
        await client.send(call("Join", "g"), call("Join", "g"), call("Tell", "g"))
        assert await client.arrived() == [call("Told", "g")]
        await client.send(call("Quit", "g"), call("Tell", "g", id="1"))
        assert await client.arrived() == [result("1", None)]


async def test_leaving_what_one_is_not_in_changes_nothing(autojump_clock: MockClock) -> None:
    served = served_hub(Joining)
    async with open_client(served, id="a") as one, open_client(served, id="b") as other:
        await other.send(call("Join", "g"))
        await other.arrived()
        await one.send(call("Quit", "g", id="1"), call("Quit", "nowhere", id="2"), call("Tell", "g"))
        assert await one.arrived() == [result("1", None), result("2", None)]
        assert await other.arrived() == [call("Told", "g")]


async def test_one_that_left_a_group_may_join_it_again(autojump_clock: MockClock) -> None:
    async with open_client(Joining) as client:
        await client.send(call("Join", "g"), call("Quit", "g"), call("Join", "g"), call("Tell", "g"))
        assert await client.arrived() == [call("Told", "g")]


async def test_who_has_left_the_hub_joins_nothing_any_more(autojump_clock: MockClock) -> None:
    served = served_hub(Joining)
    async with open_client(served, id="a"):
        pass
    await served.groups.add("a", "g")
    await served.groups.add("never", "g")
    await served.groups.remove("never", "g")
    await served.clients.group("g").send("Told", "g")
    assert not members_of(served)._groups
    assert not members_of(served).by_id


async def test_groups_can_be_filled_from_outside_and_by_others(autojump_clock: MockClock) -> None:
    served = served_hub(Joining)
    async with open_client(served, id="a") as one, open_client(served, id="b") as other:
        await served.groups.add("a", "g")
        await served.groups.add("b", "g")
        await served.groups.remove("a", "g")
        await one.send(call("Tell", "g"))
        assert await one.arrived() == []
        assert await other.arrived() == [call("Told", "g")]


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_all_memberships_end_with_the_connection_and_empty_groups_vanish(
    autojump_clock: MockClock, protocol: str
) -> None:
    served = served_hub(Joining)
    async with open_client(served, id="stays") as stays:
        async with open_client(served, protocol, id="goes", user=User("u")) as goes:
            for name in ("one", "two", ""):
                await goes.send(call("Join", name))
                await stays.send(call("Join", name))
            await stays.send(call("Join", "own"))
            await goes.arrived()
            await stays.send(call("Quit", "two"))
            await stays.arrived()
        assert {name: set(members) for name, members in members_of(served)._groups.items()} == {
            "one": {"stays"},
            "": {"stays"},
            "own": {"stays"},
        }
        assert not members_of(served)._users
    assert not members_of(served)._groups
    assert not members_of(served).by_id


async def test_a_group_is_left_only_after_on_disconnected(autojump_clock: MockClock) -> None:
    told: list[str] = []

    class Last(Joining):
        async def on_disconnected(self, error: Exception | None) -> None:
            told.extend(members_of(served)._groups)
            await self.groups.add(self.context.connection_id, "too late")
            await self.clients.others_in_group("g").send("Left", self.context.connection_id)

    served = served_hub(Last)
    async with open_client(served, id="a") as stays:
        await stays.send(call("Join", "g"))
        async with open_client(served, id="b") as goes:
            await goes.send(call("Join", "g"))
            await goes.arrived()
        assert await stays.arrived() == [call("Left", "b")]
        assert set(members_of(served)._groups) == {"g"}
    assert told == ["g", "g"]


async def test_who_is_refused_in_on_connected_is_in_no_group(autojump_clock: MockClock) -> None:
    class Refusing(Hub):
        async def on_connected(self) -> None:
            await self.groups.add(self.context.connection_id, "g")
            raise ValueError

    served = served_hub(Refusing)
    async with open_client(served) as client:
        await client.rest()
        await client.served()
    assert not members_of(served)._groups
    assert not members_of(served).by_id


async def test_who_is_refused_hears_nothing_behind_its_close(autojump_clock: MockClock) -> None:
    """It does not take its close yet, so its connection lasts a while."""

    class Refusing(Hub):
        async def on_connected(self) -> None:
            await self.groups.add(self.context.connection_id, "g")
            raise ValueError

    served = served_hub(Refusing)
    async with open_client(served, capacity=1, handshake=False) as client:
        await client.send_bytes(b'{"protocol":"json","version":1}\x1e')
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            await served.clients.group("g").send("Secret", 1)
            await served.clients.all.send("Secret", 2)
        assert await client.receive_record() == {}
        assert [message["type"] for message in await client.rest()] == [7]


async def test_groups_are_joined_at_a_checkpoint_and_not_when_cancelled(autojump_clock: MockClock) -> None:
    served = served_hub(Joining)
    async with open_client(served, id="a"):
        with trio.CancelScope() as scope:
            scope.cancel()
            await served.groups.add("a", "g")
        assert scope.cancelled_caught
        assert not members_of(served)._groups
        await served.groups.add("a", "g")
        with trio.CancelScope() as scope:
            scope.cancel()
            await served.groups.remove("a", "g")
        assert scope.cancelled_caught
        assert set(members_of(served)._groups) == {"g"}
