"""What every roster does: a class of tests, to be derived from with a way to open the roster.

The clients of a hub are spread over two processes, of both protocols, and are called from each of them.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import RawClient, open_client
from tests.messages import Message, call, close, ended, result
from trio_hubs import (
    BindingError,
    Conflate,
    ConnectionClosed,
    Disconnect,
    DropOldest,
    Hub,
    HubException,
    HubOptions,
    SlowClientPolicy,
    User,
    Wait,
)
from trio_hubs.server.address import Address
from trio_hubs.server.roster import ClientCall, Roster
from trio_hubs.server.served_hub import ServedHub

# Of each client: the process that it is connected to, its protocol and its user.
CLIENTS = {
    "a": (0, "json", User("ann")),
    "b": (1, "json", User("ann")),
    "c": (0, "messagepack", User("carl")),
    "d": (1, "messagepack", None),
}
GROUPS = {"room": "abc", "club": "bc"}

# Whom an address stands for: a letter for each time that a client is called.
ADDRESSES = {
    "all": (Address.all(), "abcd"),
    "all but two": (Address.all(excluded=("a", "d", "nobody")), "bc"),
    "a connection": (Address.connections("b"), "b"),
    "connections": (Address.connections("d", "b", "d", "nobody"), "bd"),
    "nobody": (Address.connections(), ""),
    "a group": (Address.groups("room"), "abc"),
    "a group in another letter case": (Address.groups("Room"), ""),
    "groups": (Address.groups("room", "club", "nowhere"), "abbcc"),
    "a group but two": (Address.groups("room", excluded=("b", "d")), "ac"),
    "a user": (Address.users("ann"), "ab"),
    "users": (Address.users("carl", "ann", "nobody"), "abc"),
}


class Member(Hub):
    """Its clients are told that they have come, by all who have."""

    async def on_connected(self) -> None:
        await self.clients.caller.send("Welcome")


@attrs.frozen
class Fleet:
    """Two processes that serve one hub, and its clients."""

    rosters: tuple[Roster, Roster]
    clients: dict[str, RawClient]
    settle: Callable[[], Awaitable[float]]

    async def send(self, address: Address, *arguments: Any, process: int = 0) -> None:
        await self.rosters[process].send(address, ClientCall("Hear", arguments), Disconnect())

    async def arrived(self, id: str) -> list[Message]:
        """What a client has been told by now."""
        return await self.clients[id].arrived(await self.settle())

    async def heard(self, *arguments: Any) -> str:
        """Who was called with something and nothing else: a letter for each time."""
        calls = {id: await self.arrived(id) for id in self.clients}
        assert all(message == call("Hear", *arguments) for each in calls.values() for message in each), calls
        return "".join(id * len(each) for id, each in sorted(calls.items()))


def from_each_process(test: Any) -> Any:
    return pytest.mark.parametrize("process", [0, 1])(test)


class RosterContract(ABC):
    """What every roster does."""

    @abstractmethod
    async def open_rosters(self, stack: AsyncExitStack) -> tuple[Roster, Roster]:
        """The rosters of two processes that serve one hub; twice the same where there is but one.

        Args:
            stack: Closes what has to be.
        """

    async def settle(self) -> float:
        """Wait until what was sent has arrived in both processes; then in how many seconds their clients hear it."""
        return 0.001

    @asynccontextmanager
    async def open_fleet(self) -> AsyncGenerator[Fleet]:
        async with AsyncExitStack() as stack:
            rosters = await self.open_rosters(stack)
            hubs = [ServedHub(Member, Member, HubOptions(), roster=roster) for roster in rosters]
            clients: dict[str, RawClient] = {}
            for id, (process, protocol, user) in CLIENTS.items():
                client = open_client(hubs[process], protocol, id=id, user=user)
                clients[id] = await stack.enter_async_context(client)
                assert await clients[id].take(1) == [call("Welcome")]
            for name, ids in GROUPS.items():
                for id in ids:
                    await rosters[CLIENTS[id][0]].join(id, name)
            yield Fleet(rosters, clients, self.settle)

    # ---- addresses

    @from_each_process
    @pytest.mark.parametrize("name", ADDRESSES)
    async def test_an_address_stands_for(self, autojump_clock: MockClock, name: str, process: int) -> None:
        address, expected = ADDRESSES[name]
        async with self.open_fleet() as fleet:
            await fleet.send(address, name, process=process)
            assert await fleet.heard(name) == expected

    @pytest.mark.parametrize("policy", [Disconnect(), Wait(), DropOldest(), Conflate("key")])
    async def test_clients_that_keep_up_get_everything_by_any_policy(
        self, autojump_clock: MockClock, policy: SlowClientPolicy
    ) -> None:
        async with self.open_fleet() as fleet:
            for number in range(5):
                await fleet.rosters[0].send(Address.all(), ClientCall("Hear", (number,)), policy)
                assert await fleet.heard(number) == "abcd"

    async def test_what_one_task_sends_comes_in_its_order(self, autojump_clock: MockClock) -> None:
        ways = [Address.all(), Address.groups("club"), Address.users("ann"), Address.connections("b")]
        async with self.open_fleet() as fleet:
            for number in range(200):
                await fleet.send(ways[number % 4], number)
            assert await fleet.arrived("b") == [call("Hear", number) for number in range(200)]

    async def test_what_cannot_be_encoded_reaches_nobody(self, autojump_clock: MockClock) -> None:
        async with self.open_fleet() as fleet:
            with pytest.raises(BindingError):
                await fleet.send(Address.all(), object())
            await fleet.send(Address.all(), "good")
            assert await fleet.heard("good") == "abcd"

    async def test_a_send_that_is_cancelled_beforehand_reaches_nobody(
        self, autojump_clock: MockClock
    ) -> None:
        async with self.open_fleet() as fleet:
            with trio.CancelScope() as scope:
                scope.cancel()
                await fleet.send(Address.all())
            assert scope.cancelled_caught
            assert await fleet.heard() == ""

    # ---- who is there

    @from_each_process
    async def test_groups_are_joined_and_left_from_anywhere_at_once(
        self, autojump_clock: MockClock, process: int
    ) -> None:
        async with self.open_fleet() as fleet:
            roster = fleet.rosters[process]
            for id in "aabd":
                await roster.join(id, "new")
            await fleet.send(Address.groups("new"), 1, process=process)
            assert await fleet.heard(1) == "abd"
            for id in "acd":
                await roster.leave(id, "new")
            await fleet.send(Address.groups("new"), 2, process=process)
            assert await fleet.heard(2) == "b"

    @from_each_process
    @pytest.mark.parametrize("gone", ["a", "b"])
    async def test_a_client_that_has_left_is_nowhere_any_more(
        self, autojump_clock: MockClock, process: int, gone: str
    ) -> None:
        async with self.open_fleet() as fleet:
            leaving = fleet.clients.pop(gone)
            leaving.leave()
            await leaving.served()
            fleet.rosters[CLIENTS[gone][0]].remove(gone)  # which it is already
            await fleet.rosters[process].join(gone, "room")
            await fleet.rosters[process].leave(gone, "club")
            for address in (Address.all(), Address.groups("room"), Address.connections(gone)):
                await fleet.send(address, process=process)
            await fleet.send(Address.users("ann"), process=process)
            assert await fleet.heard() == {"a": "bbbccd", "b": "aaaccd"}[gone]

    @from_each_process
    async def test_the_groups_of_a_process_have_the_sizes_that_they_have_there(
        self, autojump_clock: MockClock, process: int
    ) -> None:
        async with self.open_fleet() as fleet:
            assert sum(roster.group_sizes["room"] for roster in set(fleet.rosters)) == 3
            assert sum(roster.group_sizes["club"] for roster in set(fleet.rosters)) == 2
            assert fleet.rosters[process].group_sizes.keys() <= GROUPS.keys()

    @from_each_process
    async def test_several_groups_are_joined_at_once(self, autojump_clock: MockClock, process: int) -> None:
        async with self.open_fleet() as fleet:
            await fleet.rosters[process].join("d", "room", "club", "new")
            await fleet.send(Address.groups("room", "club", "new"), process=process)
            assert await fleet.heard() == "abbccddd"

    @from_each_process
    async def test_what_comes_after_a_joining_comes_after_what_is_told_next(
        self, autojump_clock: MockClock, process: int
    ) -> None:
        """Where the client is connected to the same process."""
        id = "ab"[process]
        async with self.open_fleet() as fleet:
            over = trio.Event()

            async def publish() -> None:
                while not over.is_set():
                    for name in ("new", "newer"):
                        await fleet.send(Address.groups(name), "update", process=process)
                    await trio.lowlevel.checkpoint()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(publish)
                for _ in range(5):
                    await trio.lowlevel.checkpoint()
                await fleet.rosters[process].join(id, "new", "newer")
                await fleet.send(Address.connections(id), "snapshot", process=process)
                for _ in range(5):
                    await trio.lowlevel.checkpoint()
                over.set()
            first, *others = await fleet.arrived(id)
            assert first == call("Hear", "snapshot")
            assert others.count(call("Hear", "update")) == len(others) > 5

    @from_each_process
    async def test_it_tells_who_is_there(self, autojump_clock: MockClock, process: int) -> None:
        async with self.open_fleet() as fleet:
            roster = fleet.rosters[process]
            for address, expected in ADDRESSES.values():
                found = await roster.find(address)
                assert sorted(each.id for each in found) == sorted(set(expected)), address
            assert await roster.users() == {"ann", "carl"}
            assert await roster.groups() == {"room", "club"}
            (bob,) = await roster.find(Address.connections("b"))
            assert (bob.user, bob.transport, set(bob.groups)) == (User("ann"), None, {"room", "club"})
            assert abs((datetime.now(UTC) - bob.since).total_seconds()) < 60

    @from_each_process
    async def test_who_is_about_to_end_is_not_there(self, autojump_clock: MockClock, process: int) -> None:
        async with self.open_fleet() as fleet:
            for id in "bc":
                leaving = fleet.clients.pop(id)
                leaving.leave()
                await leaving.served()
            roster = fleet.rosters[process]
            assert {each.id for each in await roster.find(Address.all())} == {"a", "d"}
            assert await roster.users() == {"ann"}
            assert await roster.groups() == {"room"}

    @from_each_process
    @pytest.mark.parametrize("reason", ["", "Go \u2603 away"])
    async def test_clients_are_sent_away_with_a_reason(
        self, autojump_clock: MockClock, process: int, reason: str
    ) -> None:
        async with self.open_fleet() as fleet:
            await fleet.rosters[process].abort(Address.users("ann"), reason)
            for id in "ab":
                client = fleet.clients.pop(id)
                assert await client.arrived(await self.settle()) == [close(reason)]
                await client.served()
            assert await fleet.heard() == ""
            await fleet.rosters[process].abort(Address.connections("a", "nobody"), reason)

    # ---- results of clients

    @from_each_process
    @pytest.mark.parametrize("id", CLIENTS)
    async def test_a_client_gives_a_result(self, autojump_clock: MockClock, process: int, id: str) -> None:
        answers: list[Any] = []
        async with self.open_fleet() as fleet, trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                answers.append(await fleet.rosters[process].invoke(id, "Ask", (1,), tuple[int, int]))

            question = await fleet.clients[id].receive()
            assert question == call("Ask", 1, id=question["invocationId"])
            await fleet.clients[id].send(result(question["invocationId"], [2, 3]))
        assert answers == [(2, 3)]

    @from_each_process
    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (lambda id: ended(id, "no"), HubException("no")),
            (lambda id: result(id, "text"), BindingError),
            (None, ConnectionClosed("Connection 'a' disconnected.")),
        ],
    )
    async def test_a_client_that_gives_none_fails_the_call(
        self, autojump_clock: MockClock, process: int, answer: Any, error: Any
    ) -> None:
        async with self.open_fleet() as fleet, trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                with pytest.raises(type(error) if isinstance(error, Exception) else error) as caught:
                    await fleet.rosters[process].invoke("a", "Ask", (), int)
                if isinstance(error, Exception):
                    assert str(caught.value) == str(error)

            question = await fleet.clients["a"].receive()
            if answer is None:
                fleet.clients["a"].leave()
            else:
                await fleet.clients["a"].send(answer(question["invocationId"]))

    @from_each_process
    async def test_a_client_that_is_not_there_fails_the_call(
        self, autojump_clock: MockClock, process: int
    ) -> None:
        async with self.open_fleet() as fleet:
            with pytest.raises(ConnectionClosed, match=r"^Connection 'nobody' does not exist\.$"):
                await fleet.rosters[process].invoke("nobody", "Ask", (), int)

    @from_each_process
    async def test_a_question_can_be_cancelled(self, autojump_clock: MockClock, process: int) -> None:
        async with self.open_fleet() as fleet:
            with trio.move_on_after(5) as scope:
                await fleet.rosters[process].invoke("a", "Ask", (), int)
            assert scope.cancelled_caught
            question = await fleet.clients["a"].receive()
            await fleet.clients["a"].send(result(question["invocationId"], 1))  # which is too late
            await fleet.send(Address.all(), process=process)
            assert await fleet.heard() == "abcd"
