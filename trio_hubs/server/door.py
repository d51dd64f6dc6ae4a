"""Where clients come in by sockets, from listeners or from another worker."""

from __future__ import annotations

from typing import Any

import trio

from ..connections.server.http_server import HttpServer
from ..connections.server.listeners import AnyListener
from ..connections.server.router import Router
from .worker import Worker


class Door:
    """The way in by sockets.

    Args:
        router: What answers requests.
        worker: Which of several processes this is, if there are several.

    Attributes:
        worker: As given.
    """

    def __init__(self, router: Router, worker: Worker | None) -> None:
        self.worker = worker
        self._router = router
        self._accepting = trio.CancelScope()
        self._server: HttpServer | None = None  # while it is open

    @property
    def token_prefix(self) -> str:
        """Stands before the tokens of this process, so that other workers know whose they are."""
        return "" if self.worker is None else self.worker.others.token_prefix

    async def open(
        self, listeners: list[AnyListener], doors: trio.Nursery, *, task_status: trio.TaskStatus[Any]
    ) -> None:
        """Let clients in until cancelled.

        Args:
            listeners: Where they come from.
            doors: The nursery in which each is served.
            task_status: Started once they can come.
        """
        others = None if self.worker is None else self.worker.others
        server = self._server = HttpServer(self._router, elsewhere=others)
        await doors.start(server.arrivals.run)
        if others is not None:
            doors.start_soon(others.run, server, doors)
        with trio.CancelScope() as self._accepting:
            await trio.serve_listeners(
                server.serve_stream, listeners, handler_nursery=doors, task_status=task_status
            )
        await trio.sleep_forever()  # those that are in stay

    async def wait_answered(self) -> None:
        """Wait until the requests that are under way now have been answered. A checkpoint."""
        await trio.lowlevel.checkpoint()
        if self._server is not None:
            await self._server.wait_answered()

    async def leave_to_others(self) -> None:
        """Let nobody in any more, where other workers do. Not always a checkpoint."""
        if self.worker is not None:
            self._accepting.cancel()
            await self.worker.others.leave()
            if self._server is not None:
                self._server.arrivals.leave()
