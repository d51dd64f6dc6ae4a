"""An app in processes of its own that tests of faults may stop, kill and ask what they keep."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Any

import attrs
import httpx2
import trio

from trio_hubs import HubConnection, Transport

from .conftest import running_server
from .ways import Server

PATIENCE = 120.0  # seconds; processes start, on a busy machine


@attrs.frozen
class Process:
    """An app, by one process or by a supervisor with its workers.

    Attributes:
        address: Where it is served.
        id: Of the process, or the supervisor's.
    """

    address: str
    id: int

    @asynccontextmanager
    async def connect(self, user: str | None = None, **options: Any) -> AsyncGenerator[Client]:
        """A client, for the body."""
        send, told = trio.open_memory_channel[str](100_000)
        server = Server(self.address, ("json", Transport.WEBSOCKETS), PATIENCE)
        options.setdefault("handlers", {"Message": send.send_nowait})
        async with server.connect("/hub", access_token=user, **options) as connection:
            yield Client(connection, told, await connection.invoke("ConnectionId"))

    async def get(self, path: str) -> Any:
        """What a route of the app answers."""
        async with httpx2.AsyncClient(timeout=PATIENCE) as http:
            answer = await http.get(self.address + path, headers={"Connection": "close"})
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.content else None

    async def wait_nobody(self) -> None:
        """Wait until no client is there, in no group and as no user."""
        await wait_until(self._nobody)

    async def _nobody(self) -> bool:
        return bool(await self.get("/there") == [[], [], []])

    async def kept(self, processes: int = 1) -> dict[int, dict[str, int]]:
        """What each of so many processes keeps, by its id."""
        found: dict[int, dict[str, int]] = {}
        with trio.fail_after(PATIENCE):
            while len(found) < processes:
                kept = await self.get("/kept")
                found[kept.pop("process")] = kept
        return found


@attrs.frozen
class Client:
    """A client, what it is told, and its id."""

    connection: HubConnection
    told: trio.MemoryReceiveChannel[str]
    id: str

    async def call(self, method: str, *arguments: object) -> Any:
        return await self.connection.invoke(method, *arguments)

    async def hear(self, text: str) -> None:
        """Wait until it is told a text, whatever else it is told before."""
        with trio.fail_after(PATIENCE):
            while await self.told.receive() != text:
                pass


async def two_clients(process: Process, stack: AsyncExitStack) -> tuple[Client, Client]:
    """A client of each of two workers."""
    first = await stack.enter_async_context(process.connect())
    first_worker = await first.call("Process")
    while True:
        client = await stack.enter_async_context(process.connect())
        if await client.call("Process") != first_worker:
            return first, client


@contextmanager
def running_app(redis: str | None = None, *, workers: int = 1) -> Generator[Process]:
    """The app in a process of its own, or in several."""
    command = [sys.executable, "-m", "trio_hubs", "serve", "tests.interop.faults_app:app", "--port", "0"]
    if workers > 1:
        command += ["--workers", f"{workers}"]
    if redis is not None:
        command = ["/usr/bin/env", f"FAULTS_REDIS={redis}", *command]
    with running_server(*command) as (address, process):
        yield Process(address, process.pid)


async def wait_until(is_so: Callable[[], Awaitable[object]]) -> None:
    """Ask again and again until something is so."""
    with trio.fail_after(PATIENCE):
        while not await is_so():  # noqa: ASYNC110 - it is so in another process
            await trio.sleep(0.05)


def is_running(process: int) -> bool:
    """Whether there is a process that has not ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def stopped(process: int) -> Generator[None]:
    """A process does nothing for the body, in which it may be killed."""
    os.kill(process, SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(process, SIGCONT)
