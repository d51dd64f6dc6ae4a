"""The way in by sockets: with other workers it is closed while the app runs empty, alone it stays open."""

from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fleet.memory_bus import MemoryBroker
from tests.fleet.test_backplane import MemoryBackplane
from trio_hubs import HubApp, Response
from trio_hubs.connections.server.http_server import HttpServer
from trio_hubs.server.backplane import Backplane
from trio_hubs.server.worker import Worker, current_worker


class Others:
    """The other workers, of which there are none."""

    token_prefix = "7-"
    up = (7,)
    heir = None

    def __init__(self) -> None:
        self.given: list[Any] = []
        self.left = 0

    def owner(self, token: str) -> int | None:
        return None

    async def hand_over(
        self, owner: int, stream: trio.abc.Stream, data: bytes, scheme: str, client: str | None
    ) -> bool:
        raise AssertionError(owner)

    async def run(self, server: HttpServer, nursery: trio.Nursery) -> None:
        self.given.append(server)

    async def leave(self) -> None:
        self.left += 1

    def backplane(self, own: Backplane | None) -> Backplane:
        self.given.append(own)
        return MemoryBackplane(MemoryBroker().open())


@pytest.mark.parametrize("worker", [True, False])
async def test_who_may_come_in_while_the_app_runs_empty(autojump_clock: MockClock, worker: bool) -> None:
    others = Others()
    before = current_worker.set(Worker(7, others) if worker else None)
    app = HubApp()
    current_worker.reset(before)
    app.add_route("/", lambda _: Response("here"))
    assert app.worker_number == (7 if worker else None)
    assert app.workers_up == ((7,) if worker else ())
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            listener = Listener()
            serving = trio.CancelScope()

            async def serve(
                listener: Any = listener,
                serving: trio.CancelScope = serving,
                *,
                task_status: trio.TaskStatus[str],
            ) -> None:
                with serving:
                    await app.serve(listeners=[listener], task_status=task_status)

            await nursery.start(serve)
            assert listener.listening
            await app.drain(1)
            await wait_all_tasks_blocked()
            assert listener.listening is not worker
            assert bool(others.left) is worker
            serving.cancel()
            await wait_all_tasks_blocked()
    assert len(others.given) == (3 if worker else 0)


class Listener(trio.abc.Listener[trio.abc.Stream]):
    """Nobody comes."""

    listening = False

    async def accept(self) -> trio.abc.Stream:
        self.listening = True
        await trio.sleep_forever()
        raise AssertionError

    async def aclose(self) -> None:
        self.listening = False
        await trio.lowlevel.checkpoint()
