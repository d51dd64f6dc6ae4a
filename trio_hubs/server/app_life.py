"""An app's life, whatever brings its requests: it begins with its lifespan, and ends in the opposite order.

At the end, however it comes, all connections and requests end in order, while what carries them and the lifespan still
stand. Then the lifespan ends.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from math import inf
from typing import Generic, TypeVar

import trio

from ..connections.server.admission import Admission
from ..logs import get_logger
from ..tasks import open_background, open_tasks, unwrapping
from .site import Site

logger = get_logger(__name__)

LAST_CLIENTS_TIMEOUT = 10.0
"""Seconds that connections have to end, once a drain's time is up."""

LIFESPAN_TIMEOUT = 10.0
"""Seconds that a lifespan has to end, once all connections have."""

NO_TRIO = (
    "a HubApp runs on trio, and what runs here does not: of ASGI servers Hypercorn does, with its trio worker: "
    "'hypercorn --worker-class trio module:app'"
)

S = TypeVar("S")
T = TypeVar("T")


class AppLife(Generic[S]):
    """The life of an app.

    Args:
        site: What it offers.
        admission: The count of its connections.

    Attributes:
        draining: Whether it is running empty, or will before long.
        doors: The nursery of doors, while it runs and requests may come.
    """

    def __init__(self, site: Site, admission: Admission) -> None:
        self.draining = False
        self.doors: trio.Nursery | None = None
        self._site = site
        self._admission = admission
        self._states: list[S] = []  # one, while it runs

    @property
    def state(self) -> S:
        """What the lifespan has yielded.

        Raises:
            RuntimeError: The app does not run, or its lifespan has not yielded yet.
        """
        if not self._states:
            raise RuntimeError("an app has its state while it runs: from its lifespan's yield on, to its end")
        return self._states[0]

    @asynccontextmanager
    async def run(
        self, lifespan: AbstractAsyncContextManager[S], backplane: AbstractAsyncContextManager[None]
    ) -> AsyncGenerator[trio.Nursery]:
        """Run for the body; says how it ends at the top of this file.

        Args:
            lifespan: Held around everything, but for the backplane.
            backplane: Joins this server with others.

        Yields:
            The nursery of doors, for what serves requests. Its tasks are cancelled at the end, but only when the
            connections have ended that run in no request of their own, as those of long polling, and need theirs.

        Raises:
            RuntimeError: The app is running already, or the event loop is not trio's.
            BaseException: The exception of the body, or of the lifespan, bare.
        """
        if not trio.lowlevel.in_trio_task():
            raise RuntimeError(NO_TRIO)
        if self._site.closed:
            raise RuntimeError("the app is being served already")
        self._site.closed = True
        try:
            async with _held(backplane), _held(lifespan, LIFESPAN_TIMEOUT) as state:
                self._states.append(state)
                async with _held(open_background()) as doors, open_background() as nursery:
                    for endpoint in self._site.endpoints:
                        await nursery.start(endpoint.run)
                    for _, served in self._site.hubs:
                        nursery.start_soon(served.watch)
                    for roster in {served.roster for _, served in self._site.hubs}:
                        nursery.start_soon(roster.run)
                    self.doors = doors
                    try:
                        yield doors
                    finally:
                        self.doors = None
        finally:
            self._states.clear()
            self._site.closed = False

    async def drain(self, seconds: float, notice: float) -> None:
        """See :meth:`HubApp.drain`."""
        if notice:
            await trio.sleep(notice)
        self._admission.draining = True
        for _, served in self._site.hubs:
            served.drain()
        with trio.move_on_after(seconds):
            await self._admission.wait_empty()
        if not self._admission.active:
            return
        logger.warning("%d connections are ended before they are done", self._admission.active)
        for endpoint in self._site.endpoints:
            endpoint.ask_all_to_end()
        with trio.move_on_after(LAST_CLIENTS_TIMEOUT):
            await self._admission.wait_empty()


@asynccontextmanager
async def _held(held: AbstractAsyncContextManager[T], timeout: float = inf) -> AsyncGenerator[T]:
    """Hold a context around a body, in a task that is not cancelled with it: it ends in order, when the body has.

    Args:
        held: The context.
        timeout: Seconds that its end may take.
    """
    body_over = trio.Event()
    scope = trio.CancelScope()

    async def hold(*, task_status: trio.TaskStatus[T]) -> None:
        with scope, unwrapping():
            async with held as value:
                task_status.started(value)
                await body_over.wait()
                scope.deadline = trio.current_time() + timeout
        if scope.cancelled_caught:
            logger.error(
                "the lifespan was cancelled, as it ran %g s after its yield: have it end its tasks",
                timeout,
            )

    async with open_tasks() as nursery:
        try:
            value = await nursery.start(hold)
            scope.shield = True  # not before: a start that is cancelled does not come out of its own nursery
            yield value
        finally:
            body_over.set()
