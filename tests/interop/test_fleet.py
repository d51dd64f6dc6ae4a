"""Fleets of real servers that a real Redis joins: two of ours, two of ASP.NET Core's, and one of each.

What holds for two of ASP.NET Core's holds for every fleet. The clients are ours, of both protocols.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial

import attrs
import pytest
import trio

from trio_hubs import HubConnection, HubException, Transport
from trio_hubs.tasks import open_background

from .conftest import running_server
from .redis_process import RedisProcess
from .ways import PATIENCE, Protocol, Server

# Of each client: the server that it is connected to, its protocol and its user.
CLIENTS: dict[str, tuple[int, Protocol, str]] = {
    "a": (0, "json", "ann"),
    "b": (1, "json", "ann"),
    "c": (0, "messagepack", "carl"),
    "d": (1, "messagepack", ""),
}

QUIET = 0.3  # seconds in which nobody should be told anything more

FLEETS = [("ours", "ours"), ("ours", "dotnet"), ("dotnet", "ours"), ("dotnet", "dotnet")]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path_factory.mktemp("redis"))
    yield process
    process.kill()


@pytest.fixture(scope="module")
def servers(redis: RedisProcess, dotnet_peer: str) -> Iterator[dict[str, tuple[str, str]]]:
    """The addresses of two servers of each kind."""
    with ExitStack() as stack:
        ours = (sys.executable, "-m", "tests.interop.conformance_server", "--redis", redis.url)
        dotnet = (dotnet_peer, "server", "--port", "0", "--redis", redis.address)
        yield {
            kind: (
                stack.enter_context(running_server(*command))[0],
                stack.enter_context(running_server(*command))[0],
            )
            for kind, command in (("ours", ours), ("dotnet", dotnet))
        }


@attrs.frozen
class Fleet:
    """Two servers, and their clients by name, with the names of these by id, and what each was told."""

    clients: dict[str, HubConnection]
    ids: dict[str, str]
    told: dict[str, trio.MemoryReceiveChannel[str]]

    @asynccontextmanager
    async def client(
        self, like: str, addresses: tuple[str, str]
    ) -> AsyncGenerator[tuple[HubConnection, trio.MemoryReceiveChannel[str]]]:
        """A further client that is as one of these, and what it is told."""
        number, protocol, user = CLIENTS[like]
        send, told = trio.open_memory_channel[str](100)
        server = Server(addresses[number], (protocol, Transport.WEBSOCKETS))
        async with server.connect(access_token=user or None, handlers={"Message": send.send}) as client:
            yield client, told

    async def call(self, caller: str, method: str, *arguments: object) -> None:
        await self.clients[caller].invoke(method, *arguments)

    async def expect(self, text: str, names: str) -> None:
        """Wait until these are told a text, a letter for each time, and then a while for what nobody should be."""
        heard: list[str] = []
        all_heard = trio.Event()

        async def listen(name: str) -> None:
            while True:
                assert await self.told[name].receive() == text
                heard.append(name)
                if len(heard) >= len(names):
                    all_heard.set()

        async with open_background() as nursery:
            for name in self.clients:
                nursery.start_soon(listen, name)
            with trio.move_on_after(PATIENCE):
                if names:
                    await all_heard.wait()
                await trio.sleep(QUIET)
        assert "".join(sorted(heard)) == names, text


@pytest.fixture(params=FLEETS, ids=["+".join(fleet) for fleet in FLEETS])
def addresses(request: pytest.FixtureRequest, servers: dict[str, tuple[str, str]]) -> tuple[str, str]:
    first, second = request.param
    return servers[first][0], servers[second][1]


@asynccontextmanager
async def open_fleet(addresses: tuple[str, str]) -> AsyncGenerator[Fleet]:
    async with AsyncExitStack() as stack:
        fleet = Fleet({}, {}, {})
        for name in CLIENTS:
            client, fleet.told[name] = await stack.enter_async_context(fleet.client(name, addresses))
            fleet.clients[name] = client
            fleet.ids[name] = await client.invoke("ConnectionId")
        yield fleet


ADDRESSES = {
    "CallAll": ((), "abcd"),
    "CallOthers": ((), "bcd"),
    "CallConnection": (("b",), "b"),
    "CallConnections": ((["d", "b"],), "bd"),
    "CallAllExcept": (("d",), "abc"),
    "CallUser": (("ann",), "ab"),
    "CallGroup": (("room",), "abc"),
    "CallGroups": ((["room", "club"],), "abbcc"),
    "CallGroupExcept": (("room", "b"), "ac"),
    "CallOthersInGroup": (("room",), "bc"),
}


async def test_every_address(addresses: tuple[str, str]) -> None:
    async with open_fleet(addresses) as fleet:

        def with_ids(argument: object) -> object:
            if isinstance(argument, list):
                return [with_ids(each) for each in argument]
            return fleet.ids.get(str(argument), argument)

        for group, names in {"room": "abc", "club": "bc"}.items():
            for name in names:
                await fleet.call(name, "JoinGroup", group)
        for method, (arguments, expected) in ADDRESSES.items():
            await fleet.call("a", method, *map(with_ids, arguments), method)
            await fleet.expect(method, expected)


async def test_groups_of_clients_elsewhere(addresses: tuple[str, str]) -> None:
    async with open_fleet(addresses) as fleet:
        for name in "abbd":
            await fleet.call("a", "AddConnectionToGroup", fleet.ids[name], "new")
        await fleet.call("c", "CallGroup", "new", "1")
        await fleet.expect("1", "abd")
        await fleet.call("d", "LeaveGroup", "new")
        await fleet.call("a", "CallGroup", "new", "2")
        await fleet.expect("2", "ab")
        async with fleet.client("b", addresses) as (client, told):
            await fleet.call("a", "AddConnectionToGroup", await client.invoke("ConnectionId"), "new")
            await fleet.call("a", "CallGroup", "new", "3")
            assert await told.receive() == "3"
        await fleet.expect("3", "ab")
        await fleet.call("a", "CallGroup", "new", "4")
        await fleet.expect("4", "ab")


@pytest.mark.parametrize("asked", ["b", "d"])
async def test_results_of_clients_elsewhere(addresses: tuple[str, str], asked: str) -> None:
    async def answer(question: str) -> str:
        if question == "no":
            raise HubException("will not")
        return f"{question}!"

    async with open_fleet(addresses) as fleet:
        client = fleet.clients[asked]
        client.on("Answer", answer)
        ask = partial(fleet.clients["a"].invoke, "AskConnection", fleet.ids[asked])
        answers = [await ask(question) for question in ("one", "no", "two")]
    assert answers == ["one!", "error: will not", "two!"]


async def test_a_client_that_exists_nowhere_or_leaves_is_told_of(addresses: tuple[str, str]) -> None:
    asked = trio.Event()

    async def answer(question: str) -> str:
        asked.set()
        await trio.sleep_forever()
        raise AssertionError

    async with open_fleet(addresses) as fleet:
        with trio.fail_after(PATIENCE):
            assert "does not exist" in await fleet.clients["a"].invoke("AskConnection", "nobody", "?")
        async with fleet.client("b", addresses) as (client, _told), trio.open_nursery() as nursery:
            client.on("Answer", answer)
            id = await client.invoke("ConnectionId")

            @nursery.start_soon
            async def _() -> None:
                assert "disconnected" in await fleet.clients["a"].invoke("AskConnection", id, "?")

            await asked.wait()
            client.stop()
