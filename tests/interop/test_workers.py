"""Workers on one port, as real processes: no client needs to come to the same one, and none notices who comes and goes.

The clients are ours, over every way; those of others have their turn in their own suites.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import httpx2
import pytest
import trio

from trio_hubs import ConnectionClosed, HubConnection, Transport, open_hub_connection
from trio_hubs.tasks import open_background
from trio_hubs.workers.supervisor import Supervisor, WorkerFailed, serve_workers

from .ways import WAYS, Server, Way

PATIENCE = 120.0  # seconds; each worker is a Python that starts
APP = "tests.interop.workers_app:app"
CLOSE = {"Connection": "close"}


class Workers:
    """Two workers, and who is connected."""

    def __init__(self, supervisor: Supervisor, stack: AsyncExitStack) -> None:
        self.supervisor = supervisor
        (self.address,) = supervisor.addresses
        self._stack = stack

    async def connect(self, way: Way) -> tuple[HubConnection, trio.MemoryReceiveChannel[str]]:
        """A client, and what it is told; open to the end."""
        send, told = trio.open_memory_channel[str](1000)
        connecting = Server(self.address, way, PATIENCE).connect(handlers={"Message": send.send})
        return await self._stack.enter_async_context(connecting), told

    async def worker(self) -> str:
        """The number of the worker that has answered a new client."""
        async with httpx2.AsyncClient() as http:
            return (await http.get(f"{self.address}/worker", headers=CLOSE)).text


@asynccontextmanager
async def open_workers(*, drain: float = 0.0, notice: float = 0.0) -> AsyncGenerator[Workers]:
    async with open_background() as nursery, AsyncExitStack() as stack:
        with trio.fail_after(PATIENCE):
            serve = partial(serve_workers, APP, "127.0.0.1", 0, workers=2, drain=drain, notice=notice)
            supervisor = await nursery.start(serve)
        yield Workers(supervisor, stack)


async def test_every_way_goes_over_any_worker() -> None:
    async with open_workers() as workers:
        for pid in workers.supervisor.processes:  # orders may have a password in them
            assert APP.encode() not in await trio.Path(f"/proc/{pid}/cmdline").read_bytes()
        clients = [await workers.connect(way) for way in WAYS * 4]
        for client, _ in clients:
            assert await client.invoke("Add", 40, 2) == 42
            async with client.stream("Counter", 20, 0) as reader:
                assert [item async for item in reader] == list(range(20))
            assert await client.invoke("Sum", _numbers()) == 10
        await clients[0][0].invoke("CallAll", "to all")
        for _, told in clients:
            assert await told.receive() == "to all"
        ids = [await client.invoke("ConnectionId") for client, _ in clients]
        for id, (client, _) in zip(ids, clients, strict=True):
            client.on("Answer", str.upper)
            assert await clients[0][0].invoke("AskConnection", id, "x") == "X"
            await clients[0][0].invoke("AddConnectionToGroup", id, "room")
        await clients[1][0].invoke("CallGroup", "room", "to the room")
        for _, told in clients:
            assert await told.receive() == "to the room"


async def _numbers() -> AsyncGenerator[int]:
    for number in range(5):
        yield number


async def test_a_worker_that_is_killed_is_started_again_and_its_clients_come_back() -> None:
    async with open_workers() as workers:
        clients: list[HubConnection] = []
        back = 0

        def heard(_: str) -> None:
            nonlocal back
            back += 1

        async with AsyncExitStack() as stack:
            for _ in range(20):
                server = Server(workers.address, ("json", Transport.WEBSOCKETS), PATIENCE)
                connecting = server.connect(reconnect=lambda *_: 0.05, handlers={"Message": heard})
                clients.append(await stack.enter_async_context(connecting))
            async with httpx2.AsyncClient() as http:
                assert (await http.get(f"{workers.address}/up")).json() == [0, 1]
            for victim in workers.supervisor.processes:
                os.kill(victim, signal.SIGKILL)
            for client in clients:
                with trio.fail_after(PATIENCE):
                    while True:
                        try:
                            await client.invoke("CallCaller", "Message", "back", wait_for_ready=True)
                            break
                        except ConnectionClosed:  # it has not noticed yet
                            await trio.sleep(0.01)
            assert back == 20


async def test_a_hangup_replaces_the_workers_and_refuses_nobody() -> None:
    async with open_workers(drain=5) as workers:
        before = workers.supervisor.processes
        begun, over = trio.Event(), trio.Event()
        answered = 0

        async def read() -> None:
            async with client.stream("Counter", 50, 10) as reader:
                assert await anext(reader) == 0
                begun.set()
                assert [item async for item in reader] == list(range(1, 50))

        async def ask(headers: dict[str, str]) -> None:
            nonlocal answered
            async with httpx2.AsyncClient(headers=headers) as http:
                while not over.is_set():
                    assert (await http.get(f"{workers.address}/worker")).text in ("0", "1")
                    answer = await http.post(f"{workers.address}/hub/negotiate?negotiateVersion=1")
                    assert answer.status_code == 200
                    answered += 1

        client, _ = await workers.connect(("json", Transport.LONG_POLLING))
        async with trio.open_nursery() as nursery:
            for headers in ({"Connection": "close"}, {}, {}):
                nursery.start_soon(ask, headers)
            nursery.start_soon(read)
            await begun.wait()
            await workers.supervisor.replace_all()
            over.set()
        assert answered > 10
        assert not set(before) & set(workers.supervisor.processes)


async def test_before_all_workers_end_they_say_so_and_all_goes_on() -> None:
    async with open_workers(drain=5, notice=3600) as workers:
        client, _ = await workers.connect(("json", Transport.WEBSOCKETS))
        async with httpx2.AsyncClient() as http:

            async def ready() -> str:
                return (await http.get(f"{workers.address}/ready", headers=CLOSE)).text

            assert await ready() in ("0", "1")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(workers.supervisor.stop)
                with trio.fail_after(PATIENCE):
                    while await ready() not in ("0 draining", "1 draining"):
                        pass
                assert await client.invoke("Add", 40, 2) == 42
                async with Server(workers.address, ("json", Transport.WEBSOCKETS), PATIENCE).connect() as new:
                    assert await new.invoke("Add", 40, 2) == 42
                nursery.cancel_scope.cancel()


async def test_an_app_that_is_none() -> None:
    with pytest.raises(WorkerFailed, match="has no 'nothing'"):
        await serve_workers("tests.interop.workers_app:nothing", "127.0.0.1", 0, workers=2)


@asynccontextmanager
async def open_command(folder: Path, app: str) -> AsyncGenerator[tuple[trio.Process, str]]:
    """The command line, serving the app by two workers; and where."""
    (folder / "site_app.py").write_text(app, encoding="utf-8")
    command = [sys.executable, "-m", "trio_hubs", "serve", "site_app:app", "--port", "0", "--workers", "2"]
    process = await trio.lowlevel.open_process(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        with trio.fail_after(PATIENCE):
            assert process.stdout is not None
            line = b""
            while not line.endswith(b"\n"):
                line += await process.stdout.receive_some()
            assert line.startswith(b"listening http://")
            yield process, line.split()[1].decode()
    finally:
        process.kill()


async def test_the_command_line_serves_by_workers(tmp_path: Path) -> None:
    app = """
import os
import trio_hubs
class Chat(trio_hubs.Hub):
    def pid(self) -> int:
        return os.getpid()
app = trio_hubs.HubApp()
app.add_hub("/chat", Chat)
"""
    async with open_command(tmp_path, app) as (process, address):
        async with open_hub_connection(f"{address}/chat") as connection:
            assert await connection.invoke("pid") != process.pid
        process.terminate()
        assert await process.wait() == 0


async def test_an_app_that_is_broken_when_its_workers_are_replaced(tmp_path: Path) -> None:
    """The other workers go on, and the app is tried again until it can be imported."""
    app = """
import trio_hubs
app = trio_hubs.HubApp()
app.add_route("/", lambda _: trio_hubs.Response.json(["first", *app.workers_up]))
"""
    async with open_command(tmp_path, app) as (process, address), httpx2.AsyncClient() as http:
        assert process.stderr is not None
        site = tmp_path / "site_app.py"
        site.write_text("import nothing_of_this_name\n", encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        said = b""
        while said.count(b"worker 0 ended with status 2") < 2:
            said += await process.stderr.receive_some()
        assert (await http.get(address)).json() == ["first", 1]
        site.write_text(app.replace("first", "second"), encoding="utf-8")
        while (answer := (await http.get(address)).json()) != ["second", 0, 1]:
            assert len(answer) > 1  # somebody is always up
        process.terminate()
        assert await process.wait() == 0


async def test_each_worker_may_serve_an_app_of_its_own_beside(tmp_path: Path) -> None:
    """So monitors can ask each for its figures."""
    app = """
from contextlib import asynccontextmanager
import trio
from trio_hubs import HubApp, Response
from trio_hubs.prometheus import prometheus
@asynccontextmanager
async def lifespan(app):
    metrics = HubApp()
    metrics.add_route("/metrics", prometheus(app))
    async with trio.open_nursery() as nursery:
        yield await nursery.start(metrics.serve, "127.0.0.1", 0)
        nursery.cancel_scope.cancel()
app = HubApp(lifespan=lifespan)
app.add_route("/metrics-at", lambda request: Response(request.app.state))
"""
    async with open_command(tmp_path, app) as (process, address), httpx2.AsyncClient() as http:
        places: set[str] = set()
        while len(places) < 2:
            answer = await http.get(f"{address}/metrics-at", headers={"Connection": "close"})
            places.add(answer.text)
        for place in places:
            assert "# TYPE trio_hubs_connections gauge" in (await http.get(f"{place}/metrics")).text
        process.terminate()
        assert await process.wait() == 0
