"""Our client comes back, to the real ASP.NET Core server and to ours: over cuts, and after a restart of the server."""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest
import trio

from tests.interop.conftest import cutter, running_server
from trio_hubs import (
    Backoff,
    ConnectionFailed,
    HubConnection,
    HubConnectionOptions,
    HubConnectionState,
    HubLink,
    StreamGap,
    Transport,
    open_hub_connection,
)

pytestmark = pytest.mark.interop

PATIENCE = 60.0  # seconds; a busy machine takes some
CLIENTS = 100

CONNECTED, RECONNECTING = HubConnectionState.CONNECTED, HubConnectionState.RECONNECTING
QUICKLY = Backoff((0.0, 0.5, 1.0, 2.0), forever=True)
SPREAD = Backoff((0.5, 1.0, 2.0), forever=True)


@pytest.fixture(scope="module", params=["conformance_server", "dotnet_server"], ids=["ours", "dotnet"])
def control(request: pytest.FixtureRequest) -> Iterator[str]:
    """The control of a cutting proxy before our server, then before the official one."""
    with cutter(request.getfixturevalue(request.param)) as address:
        yield address


class Gate:
    """A gate of its own for one test."""

    def __init__(self, control: str, address: str) -> None:
        self._control = control
        self.address = address

    async def do(self, what: str) -> None:
        """Ask something of it, as `cutting_proxy.py` has it."""
        async with httpx2.AsyncClient() as http:
            await http.post(f"{self._control}/{what}?port={self.address.rpartition(':')[2]}")


@pytest.fixture
async def gate(control: str) -> Gate:
    async with httpx2.AsyncClient() as http:
        return Gate(control, (await http.post(f"{control}/open")).text)


@pytest.mark.parametrize("transport", Transport)
async def test_a_cut_connection_comes_back_and_is_set_up_anew(gate: Gate, transport: Transport) -> None:
    got, heard = trio.open_memory_channel[str](10)
    ids: list[str | None] = []

    async def join(link: HubLink) -> None:
        ids.append(link.connection_id)
        await link.invoke("JoinGroup", f"room of {id(gate)}")

    options = HubConnectionOptions(transports=[transport])
    with trio.fail_after(PATIENCE):
        async with open_hub_connection(
            f"{gate.address}/conformance",
            reconnect=QUICKLY,
            setup=join,
            handlers={"Message": got.send_nowait},
            options=options,
        ) as connection:
            for round in range(3):
                if round:
                    with connection.state_changes() as changes:
                        await gate.do("cut")
                        lost = await changes.read()
                        assert lost.state is RECONNECTING
                        assert lost.reason is not None
                        back = await changes.read()
                        assert (back.state, back.recovered) == (CONNECTED, False)
                await connection.send("CallGroup", f"room of {id(gate)}", f"round {round}")
                assert await heard.receive() == f"round {round}"
                assert await connection.invoke("ConnectionId") == connection.connection_id == ids[-1]
    assert len(set(ids)) == 3


async def test_a_stream_goes_on_over_cuts_and_a_call_waits(gate: Gate) -> None:
    runs: list[list[int]] = [[]]
    with trio.fail_after(PATIENCE):
        async with (
            open_hub_connection(f"{gate.address}/conformance", reconnect=QUICKLY) as connection,
            connection.stream(
                "Counter", 1000, 1, item_type=int, resume=lambda _: [1000, 1], gaps=True
            ) as reader,
        ):
            async for item in reader:
                if isinstance(item, StreamGap):
                    runs.append([])
                    assert await connection.invoke("Add", 40, 2, wait_for_ready=True) == 42
                else:
                    runs[-1].append(item)
                    if item == 50 and len(runs) < 4:
                        await gate.do("cut")
    assert len(runs) == 4
    assert all(run == list(range(len(run))) and len(run) > 50 for run in runs)
    assert len(runs[-1]) == 1000


# ---- restarts


@pytest.fixture(params=["ours", "dotnet"])
def command(request: pytest.FixtureRequest) -> list[str]:
    """What starts a server of the test's own."""
    if request.param == "ours":
        return [sys.executable, "-m", "tests.interop.conformance_server"]
    return [request.getfixturevalue("dotnet_peer"), "server"]


@pytest.fixture
def port() -> Iterator[int]:
    """A port at which servers may be started one after the other, and that nobody else is given meanwhile."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "terminated"])
async def test_a_hundred_clients_come_back_to_a_server_that_is_started_again(
    command: list[str], port: int, killed: bool
) -> None:
    back = 0
    delays: list[float] = []  # before the first attempt of each loss
    all_back = trio.Event()
    gone = trio.Event()  # the first server, which takes clients until it has ended

    async def live(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal back
        due = 0.0  # its next attempt

        def spread(attempt: int, elapsed: float, error: ConnectionFailed) -> float | None:
            nonlocal due
            seconds = SPREAD(attempt, elapsed, error)
            assert seconds is not None
            if attempt == 0:
                delays.append(seconds)
            due = trio.current_time() + seconds
            return seconds

        async with open_hub_connection(
            f"http://127.0.0.1:{port}/conformance", reconnect=spread
        ) as connection:
            with connection.state_changes() as changes:
                task_status.started()
                while (await changes.read()).state is not CONNECTED or not gone.is_set():
                    pass
            assert trio.current_time() >= due
            back += 1
            if back == CLIENTS:
                all_back.set()
            assert await connection.invoke("Add", 40, 2) == 42
            await stay(connection)

    async def stay(connection: HubConnection) -> None:
        with connection.state_changes() as changes:
            pytest.fail(f"lost again: {await changes.read()}")

    async def start(stack: ExitStack) -> Any:
        running = running_server(*command, "--port", str(port))
        return (await trio.to_thread.run_sync(stack.enter_context, running))[1]

    with ExitStack() as first, ExitStack() as second, trio.fail_after(2 * PATIENCE):
        process = await start(first)
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as starting:
                for _ in range(CLIENTS):
                    starting.start_soon(nursery.start, live)
            if killed:
                process.kill()
            await trio.to_thread.run_sync(first.close)
            gone.set()
            await start(second)
            with trio.fail_after(PATIENCE):
                await all_back.wait()
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
    assert len(set(delays)) >= CLIENTS
    assert max(delays) - min(delays) > 0.3
