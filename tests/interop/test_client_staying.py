"""How our client stays with the real ASP.NET Core server and with ours: over cuts, kicks and ends, over all ways."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx2
import pytest
import trio

from trio_hubs import (
    ConnectionClosed,
    HubConnection,
    HubConnectionOptions,
    HubConnectionState,
    HubLink,
    Transport,
)

from .conftest import cutter
from .ways import PATIENCE, Server, Way

pytestmark = pytest.mark.interop

SOON = 0.05
STATES = HubConnectionState


class Gate:
    """A way to a server that can be cut.

    Attributes:
        server: The server, behind it.
    """

    def __init__(self, control: str, address: str, way: Way) -> None:
        self.server = Server(address, way)
        self._control = control
        self._port = address.rpartition(":")[2]

    async def do(self, what: str, **how: object) -> None:
        """Ask something of it, as `cutting_proxy.py` has it."""
        query = "".join(f"&{name}={value}" for name, value in how.items())
        async with httpx2.AsyncClient() as http:
            (await http.post(f"{self._control}/{what}?port={self._port}{query}")).raise_for_status()


@pytest.fixture(params=["conformance_server", "dotnet_server"], ids=["ours", "dotnet"], scope="module")
def control(request: pytest.FixtureRequest) -> Iterator[str]:
    """The control of a cutting proxy before our own server, then before the official one."""
    with cutter(request.getfixturevalue(request.param)) as control:
        yield control


@pytest.fixture
async def gate(control: str, way: Way) -> Gate:
    """A gate before a server."""
    async with httpx2.AsyncClient() as http:
        address = (await http.post(f"{control}/open")).text
    return Gate(control, address, way)


async def becomes(connection: HubConnection, state: HubConnectionState) -> None:
    with trio.fail_after(PATIENCE), connection.state_changes() as changes:
        while connection.state is not state:
            await changes.read()


@asynccontextmanager
async def waiting(connection: HubConnection) -> AsyncIterator[list[ConnectionClosed]]:
    """A call that never returns, for the body; and what it fails with."""
    failures: list[ConnectionClosed] = []

    async def hang() -> None:
        try:
            await connection.invoke("Delay", "x", 1_000_000)
        except ConnectionClosed as failure:
            failures.append(failure)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hang)
        yield failures


async def test_a_cut_connection_comes_back(gate: Gate) -> None:
    groups: list[str | None] = []

    async def join(link: HubLink) -> None:
        await link.invoke("JoinGroup", "room")
        groups.append(link.connection_id)

    async with gate.server.connect(reconnect=lambda *_: SOON, setup=join) as connection:
        first = connection.connection_id
        async with waiting(connection) as failures:
            await gate.do("cut")
            await becomes(connection, STATES.RECONNECTING)
        assert len(failures) == 1
        assert await connection.invoke("Add", 40, 2, wait_for_ready=True) == 42
        assert first != connection.connection_id
        assert groups == [first, connection.connection_id]
        async with connection.messages("Message", str) as reader:
            await connection.invoke("CallGroup", "room", "hello")
            assert await reader.read() == "hello"


async def test_attempts_go_on_while_the_server_cannot_be_reached(gate: Gate) -> None:
    attempts: list[int] = []

    def policy(attempt: int, *_: object) -> float:
        attempts.append(attempt)
        return SOON

    async with gate.server.connect(reconnect=policy) as connection:
        await gate.do("refuse")
        await becomes(connection, STATES.RECONNECTING)
        while len(attempts) < 4:  # noqa: ASYNC110  # a policy is no place for an event
            await trio.sleep(SOON)
        with pytest.raises(ConnectionClosed):
            await connection.invoke("Add", 40, 2)
        await gate.do("heal")
        assert await connection.invoke("Add", 40, 2, wait_for_ready=True) == 42
    assert attempts == list(range(len(attempts)))


async def test_a_lost_connection_is_given_up(gate: Gate) -> None:
    delays = [SOON, SOON, None]
    async with gate.server.connect(reconnect=lambda attempt, *_: delays[attempt]) as connection:
        async with waiting(connection) as failures:
            await gate.do("refuse")
            reason = await connection.wait_closed()
        assert "given up after 2 attempts" in str(reason)
        assert len(failures) == 1
        assert connection.state is STATES.DISCONNECTED


async def test_a_silent_network_is_noticed(gate: Gate) -> None:
    if gate.server.transport is Transport.LONG_POLLING:
        return  # its polls are answered after 90 s at the latest
    async with gate.server.connect(
        "/impatient",
        reconnect=lambda *_: SOON,
        options=HubConnectionOptions(keep_alive_interval=0.3, server_timeout=2),
    ) as connection:
        with connection.state_changes() as changes:
            await gate.do("silence")
            lost = await changes.read()
            assert lost.state is STATES.RECONNECTING
            assert "Server timeout (2000.00ms) elapsed" in str(lost.reason)
        assert await connection.invoke("Add", 40, 2, wait_for_ready=True) == 42


async def test_leaving_while_it_is_lost_is_quick(gate: Gate) -> None:
    async with gate.server.connect(reconnect=lambda *_: 1000) as connection:
        await gate.do("refuse")
        await becomes(connection, STATES.RECONNECTING)
        began = trio.current_time()
    assert trio.current_time() - began < 4


async def test_a_kick_is_final(server: Server) -> None:
    async with server.connect(reconnect=lambda *_: SOON) as connection:
        await connection.send("Abort")
        with trio.fail_after(PATIENCE):
            reason = await connection.wait_closed()
        assert not reason.retriable
        with pytest.raises(ConnectionClosed):
            await connection.invoke("Add", 1, 1, wait_for_ready=True)


async def test_draining_lets_calls_end(server: Server) -> None:
    got: list[object] = []

    async def invoke() -> None:
        got.append(await connection.invoke("Delay", "done", 300))

    async def read() -> None:
        async with connection.stream("Counter", 5, 50) as reader:
            got.append([number async for number in reader])

    async with server.connect("/parallel") as connection, trio.open_nursery() as nursery:
        nursery.start_soon(invoke)
        nursery.start_soon(read)
        await trio.sleep(0.1)
        await connection.drain()
        await connection.wait_closed()
    assert sorted(map(str, got)) == ["[0, 1, 2, 3, 4]", "done"]


async def test_the_changes_of_state_are_told(gate: Gate) -> None:
    async with gate.server.connect(reconnect=lambda *_: SOON) as connection:
        with connection.state_changes() as changes:
            await gate.do("cut")
            lost = await changes.read()
            assert (lost.state, lost.reason is None) == (STATES.RECONNECTING, False)
            assert (await changes.read()).state is STATES.CONNECTED
            connection.stop()
            await connection.wait_closed()
            rest = [change async for change in changes]
        assert [(change.state, change.reason) for change in rest] == [
            (STATES.DISCONNECTING, None),
            (STATES.DISCONNECTED, None),
        ]


async def use(connection: HubConnection) -> None:
    """A call, a stream, an upload, and messages, in order."""

    async def numbers() -> AsyncIterator[int]:
        for number in range(10):
            yield number

    every = list(range(10))
    assert await connection.invoke("Add", 40, 2) == 42
    async with connection.stream("Counter", 10, 0) as reader:
        assert [number async for number in reader] == every
    async with connection.stream("Double", numbers()) as reader:
        assert [number async for number in reader] == [2 * number for number in every]
    async with connection.messages("Message", str) as messages:
        for number in every:
            await connection.send("CallConnection", connection.connection_id, f"{number}")
        assert [int(await messages.read()) for _ in every] == every


async def test_bytes_may_come_one_by_one(gate: Gate) -> None:
    await gate.do("split")
    async with gate.server.connect() as connection:
        await use(connection)


async def test_a_slow_network_loses_nothing(gate: Gate) -> None:
    delay = 0.1
    async with gate.server.connect(
        "/impatient", options=HubConnectionOptions(keep_alive_interval=0.3, server_timeout=2)
    ) as connection:
        await gate.do("delay", seconds=delay)
        began = trio.current_time()
        assert await connection.invoke("Add", 40, 2) == 42
        assert trio.current_time() - began > 2 * delay
        await use(connection)


@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_connection_that_has_ended_one_way_only_comes_back(gate: Gate, side: str) -> None:
    async with gate.server.connect(reconnect=lambda *_: SOON) as connection:
        first = connection.connection_id
        assert await connection.invoke("Add", 40, 2) == 42
        with connection.state_changes() as changes:
            await gate.do("half-close", side=side)
            assert (await changes.read()).state is STATES.RECONNECTING
        assert await connection.invoke("Add", 40, 2, wait_for_ready=True) == 42
        assert first != connection.connection_id
