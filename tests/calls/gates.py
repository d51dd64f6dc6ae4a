"""Methods of a desk that wait at gates until a test lets them through."""

from collections.abc import AsyncIterator
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from .support import Desk

CANCELLED = "The invocation was canceled by the client."


def started(nursery: trio.Nursery, **changes: Any) -> Desk:
    desk = Desk(**changes)
    desk.their_calls.start(nursery)
    return desk


class Gates:
    """Async methods that end when they are let through, and what became of them, in order."""

    def __init__(self, desk: Desk) -> None:
        self.notes: list[str] = []
        self._events: dict[str, trio.Event] = {}
        desk.face.add("wait", self.wait)
        desk.face.add("stream", self.stream)

    async def wait(self, name: str) -> str:
        await self._pass(name)
        return name

    async def stream(self, name: str) -> AsyncIterator[str]:
        yield name
        await self._pass(name)

    async def _pass(self, name: str) -> None:
        self.notes.append(f"{name} started")
        self._events[name] = trio.Event()
        try:
            await self._events[name].wait()
        except trio.Cancelled:
            self.notes.append(f"{name} cancelled")
            raise

    async def open(self, name: str) -> None:
        self._events[name].set()
        await wait_all_tasks_blocked()


def plain() -> str:
    return "plain"
