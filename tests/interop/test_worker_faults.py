"""Workers, and their supervisor, that are stopped, killed or lie, as real processes: the others go on."""

from __future__ import annotations

import os
import resource
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from signal import SIGKILL

import httpx2
import pytest
import trio

from trio_hubs import ConnectionClosed, HubException
from trio_hubs.tasks import open_background
from trio_hubs.workers import supervisor as supervisor_module
from trio_hubs.workers.supervisor import Supervisor, serve_workers

from .faults import PATIENCE, Client, Process, is_running, running_app, stopped, two_clients, wait_until

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="it looks into /proc")


@asynccontextmanager
async def open_workers() -> AsyncGenerator[tuple[Supervisor, Process]]:
    """Two workers whose supervisor is in this process."""
    async with open_background() as nursery:
        with trio.fail_after(PATIENCE):
            serve = partial(serve_workers, "tests.interop.faults_app:app", "127.0.0.1", 0, workers=2)
            supervisor = await nursery.start(serve)
        yield supervisor, Process(supervisor.addresses[0], os.getpid())


async def hear_in_order(client: Client, numbers: range) -> None:
    """A client hears these numbers, one after another, and nothing else."""
    with trio.fail_after(PATIENCE):
        for number in numbers:
            assert await client.told.receive() == f"{number}"


async def test_a_worker_that_is_stopped_delays_nobody_and_catches_up_or_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor_module, "ALIVE_PERIOD", 0.5)
    monkeypatch.setattr(supervisor_module, "SILENCE_TIMEOUT", 12.0)  # workers give a sign each 5 s
    async with open_workers() as (supervisor, process), AsyncExitStack() as stack:
        first, second = await two_clients(process, stack)
        victim, worker = await second.call("Process"), await second.call("Worker")
        with stopped(victim):
            for number in range(300):
                await first.call("CallAll", f"{number}")
            await hear_in_order(first, range(300))
        await hear_in_order(second, range(300))

        async with trio.open_nursery() as nursery:
            with stopped(victim):
                nursery.start_soon(refused, process, f"{worker}-none")
                for number in count():
                    await first.call("CallAll", f"{number}")
                    await hear_in_order(first, range(number, number + 1))
                    if not is_running(victim):
                        break
                    assert nursery.child_tasks
        with pytest.raises(ConnectionClosed):
            await second.call("Process")
        await serves_again(process, first)
        assert victim not in supervisor.processes


async def refused(process: Process, token: str) -> None:
    """A request for the worker that is stopped waits there, until its successor does not know the connection."""
    async with httpx2.AsyncClient(timeout=PATIENCE) as http:
        assert (await http.get(f"{process.address}/hub?id={token}")).status_code == 404


async def serves_again(process: Process, first: Client) -> None:
    """Wait until there are two workers, and one hears what clients of the other say."""
    await process.kept(2)
    async with AsyncExitStack() as stack:
        for client in await two_clients(process, stack):
            await first.call("CallAll", "back")
            await client.hear("back")


async def test_a_worker_that_is_killed_under_load_or_sends_rubbish_harms_no_other() -> None:
    async with open_workers() as (supervisor, process), AsyncExitStack() as stack:
        first, second = await two_clients(process, stack)
        before = supervisor.processes

        async def call_all(client: Client) -> None:
            for number in count():
                await client.call("CallAll", f"{number}")

        async with open_background() as nursery:
            nursery.start_soon(call_all, first)
            await hear_in_order(second, range(100))
            os.kill(await second.call("Process"), SIGKILL)
            await hear_in_order(first, range(500))
            await wait_until(lambda: _is_another(supervisor, before))
        await serves_again(process, first)
        assert not await _answers(second)

        before = supervisor.processes
        first, second = await two_clients(process, stack)
        await process.get("/lie")
        await wait_until(lambda: _is_another(supervisor, before))
        (kept,) = [client for client in (first, second) if await _answers(client)]
        await serves_again(process, kept)


async def _is_another(supervisor: Supervisor, before: tuple[int, ...]) -> bool:
    return len(supervisor.processes) == 2 and supervisor.processes != before


async def _answers(client: Client) -> bool:
    try:
        return bool(await client.call("Add", 1, 2) == 3)
    except ConnectionClosed:
        return False


async def test_a_supervisor_that_is_stopped_or_killed() -> None:
    with running_app(workers=2) as process:
        workers = await process.kept(2)
        for worker in workers:
            assert list(names_of_unix_sockets(worker)) == []  # by which others could come in
        async with AsyncExitStack() as stack:
            first, second = await two_clients(process, stack)
            worker = await first.call("Process")
            before = resident(worker)
            with stopped(process.id):
                # Its own clients are served, until there is no more room for what is for the others.
                sent = 0
                with pytest.raises(HubException):
                    for sent in count():
                        text = f"{sent} ".ljust(10_000)
                        await first.call("CallAll", text)
                        await first.hear(text)
                assert 40 <= sent < 400  # in both protocols
                assert await _answers(first)
                assert await _answers(second)
                assert resident(worker) - before < 64 * 1024 * 1024
            for number in range(sent):
                await second.hear(f"{number} ".ljust(10_000))
            await first.call("CallAll", "goes on")
            await second.hear("goes on")
            assert (await process.kept(2)).keys() == workers.keys()

            os.kill(process.id, SIGKILL)
            await wait_until(lambda: _ended(workers))
            assert not await _answers(first)
            assert not await _answers(second)


def names_of_unix_sockets(process: int) -> Iterator[str]:
    """The names of a process's sockets."""
    inodes = {str(link.readlink()) for link in Path(f"/proc/{process}/fd").iterdir()}
    for line in Path(f"/proc/{process}/net/unix").read_text(encoding="utf-8").splitlines()[1:]:
        columns = line.split(maxsplit=7)
        if f"socket:[{columns[6]}]" in inodes:
            yield from columns[7:]


def resident(process: int) -> int:
    """Bytes of memory that a process has."""
    pages = Path(f"/proc/{process}/statm").read_text(encoding="utf-8").split()[1]
    return int(pages) * resource.getpagesize()


async def _ended(processes: Iterable[int]) -> bool:
    return not any(map(is_running, processes))
